//! Identity, put together: what is trusted, what is remembered, and how both follow a changed
//! configuration without a restart.
//!
//! Promise: what a changed configuration asks for is made ready whole ([`Identity::prepare`]) before
//! any of it is taken over, and taking it over cannot fail.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::limits::Limits;
use super::quality::{self, QualityControl, QualityErrors};
use super::reload_told::problem_of;
use super::sharing;
use crate::admin::{ReloadProblem, ReloadRefused};
use crate::config::{Config, PartError};
use crate::foundation::clock;
use crate::front::Front;
use crate::gate::identity::state::{IdentityState, OpenError};
use crate::gate::identity::sts::ReplayWindow;
use crate::gate::identity::{Authenticator, JwtVerifier, SourceStatus, Trust, TrustErrors};
use crate::gate::quota::QuotaSet;
use crate::telemetry::{JwksFigures, Metrics};

/// How long a reload waits for sets of keys to be fetched.
const FETCHING: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(50);

/// Why identity could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Something that the configuration names cannot be had.
    #[error(transparent)]
    Trust(#[from] TrustErrors),
    /// What is remembered cannot be opened.
    #[error(transparent)]
    State(#[from] OpenError),
    /// A limit has a key that does not exist; the check of the configuration tells of it first.
    #[error(transparent)]
    Limits(#[from] PartError),
    /// What events are held to cannot be put together.
    #[error(transparent)]
    Quality(#[from] QualityErrors),
}

/// Identity of a running service.
pub struct Identity {
    pub(super) authenticator: Arc<Authenticator>,
    state: Arc<IdentityState>,
    limits: Limits,
    quality: QualityControl,
    nonces: Arc<ReplayWindow>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Writes what is remembered, once more when it ends.
    keeping: Mutex<Option<JoinHandle<()>>>,
    /// Ends the fetching of the sets of keys that are trusted now. Held while reloading.
    fetching: Mutex<CancellationToken>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads keys and policies, opens what is remembered, and starts what keeps both fresh.
    pub(super) fn start(
        config: &Config,
        metrics: &Arc<Metrics>,
        tasks: &TaskTracker,
    ) -> Result<Arc<Self>, IdentityError> {
        let window = config.identity.signed.window.get();
        let nonces = Arc::new(ReplayWindow::new(window, ReplayWindow::USUAL));
        let trust = Trust::load(config, &nonces)?;
        let state = Arc::new(IdentityState::open(
            &config.data_dir,
            &config.identity,
            metrics,
        )?);
        // After that: its lock keeps a second process off what is kept of limits, too.
        let limits = Limits::start(config, metrics, tasks, sharing::store(config))?;
        let stop = CancellationToken::new();
        let keeping = tasks.spawn(Arc::clone(&state).run(stop.clone()));
        let fetching = stop.child_token();
        tasks.spawn(Arc::clone(trust.jwt()).refresh(fetching.clone()));
        metrics.journal_damaged_lines.set(state.damaged_lines());
        let authenticator = Arc::new(Authenticator::new(Arc::new(trust), Arc::clone(&state)));
        // Not held: what is remembered holds the metrics.
        let watched = Arc::downgrade(&authenticator);
        metrics.watch_jwks(move || watched.upgrade().map(|it| figures(&it)).unwrap_or_default());
        Ok(Arc::new(Self {
            authenticator,
            state,
            limits,
            quality: QualityControl::start(config)?,
            nonces,
            tasks: tasks.clone(),
            stop,
            keeping: Mutex::new(Some(keeping)),
            fetching: Mutex::new(fetching),
        }))
    }

    /// Revocations and tickets.
    pub(super) fn state(&self) -> &Arc<IdentityState> {
        &self.state
    }

    /// The limits.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What events are held to.
    pub(super) fn quality(&self) -> &QualityControl {
        &self.quality
    }

    /// Ends what keeps identity fresh, and writes down what is only counted so far.
    pub(super) async fn finish(&self, deadline: Instant) {
        self.stop.cancel();
        let keeping = self
            .keeping
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(keeping) = keeping
            && tokio::time::timeout_at(deadline, keeping).await.is_err()
        {
            tracing::error!("what is known of tickets was not written in time");
        }
        self.limits.finish(deadline).await;
    }

    /// Makes ready what a changed configuration asks for. Sets of keys whose rules are the same are kept.
    /// Blocks on files. Nothing has changed yet.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(super) fn prepare(&self, config: &Config) -> Result<Prepared, ReloadRefused> {
        let wrong = |key: Option<&str>, message: String| ReloadProblem {
            place: key.map(str::to_owned),
            message,
            ..ReloadProblem::default()
        };
        let mut problems = Vec::new();
        let trust = Trust::load(config, &self.nonces).map_err(|errors| {
            let all = errors.0.iter();
            problems.extend(all.map(|error| wrong(None, error.to_string())));
        });
        let limits = self.limits.prepare(config);
        let limits = limits.map_err(|error| problems.push(wrong(None, error.to_string())));
        let Ok(trust) = trust else {
            return Err(ReloadRefused { problems });
        };
        let quality = self.quality.prepare(config, trust.attached());
        let quality = quality.map_err(|errors| {
            let all = errors.problems().iter();
            problems.extend(all.map(|problem| problem_of(None, problem)));
        });
        let (Ok(limits), Ok(quality)) = (limits, quality) else {
            return Err(ReloadRefused { problems });
        };
        trust.jwt().inherit(self.authenticator.trust().jwt());
        Ok(Prepared {
            trust: Arc::new(trust),
            limits: Some(limits),
            quality: Some(quality),
            fetching: None,
        })
    }

    /// Keeps tickets and revocations by the rules of another configuration.
    ///
    /// # Errors
    /// When what is remembered cannot be written; it is as it was then.
    pub(super) fn keep_state_by(&self, config: &Config) -> Result<(), String> {
        let told = self.state.reload(&config.data_dir, &config.identity);
        told.map(drop).map_err(|error| error.to_string())
    }

    /// Takes over what was made ready, for `front`, which serves next.
    pub(super) fn take_over(&self, prepared: Prepared, config: &Config, front: &Front) {
        let mut prepared = prepared;
        let fetching = prepared.fetching.take();
        self.authenticator.swap(Arc::clone(&prepared.trust));
        if let Some(limits) = prepared.limits.take() {
            self.limits.take_over(limits, config);
        }
        if let Some(quality) = prepared.quality.take() {
            self.quality.take_over(quality, front);
        }
        if let Some(fetching) = fetching {
            let mut before = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *before, fetching).cancel();
        }
    }
}

/// Identity, limits and quality of a changed configuration, to be taken over. What was begun for them
/// ends when they are not.
pub(super) struct Prepared {
    trust: Arc<Trust>,
    limits: Option<QuotaSet>,
    quality: Option<quality::Prepared>,
    /// Ends the fetching of its sets of keys.
    fetching: Option<CancellationToken>,
}

impl Prepared {
    /// Whom it trusts.
    pub(super) fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }

    /// Fetches sets of keys that nothing is had of, and says which could not be had; their tokens are
    /// refused until they can.
    pub(super) fn fetch(&mut self, identity: &Identity) -> Vec<String> {
        let stop = identity.stop.child_token();
        let fetching = Arc::clone(self.trust.jwt()).refresh(stop.clone());
        identity.tasks.spawn(fetching);
        self.fetching = Some(stop);
        Handle::current().block_on(wait_for_sets(self.trust.jwt()))
    }

    /// How much of everything there is, for the log.
    pub(super) fn summary(&self, config: &Config) -> String {
        let identity = &config.identity;
        format!(
            "{} token keys, {} access keys, {} roles, {} policies, {} limits, {} schemas",
            identity.jwt.len(),
            identity.access_keys.len(),
            identity.roles.len(),
            identity.policies.len(),
            config.limit_rules.len(),
            config.schemas.len(),
        )
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(fetching) = &self.fetching {
            fetching.cancel();
        }
    }
}

/// How the fetched sets of keys stand that are trusted now.
fn figures(authenticator: &Authenticator) -> Vec<JwksFigures> {
    let now = clock::unix_seconds();
    let of = |source: SourceStatus| JwksFigures {
        age_seconds: source.fetched_at.map(|at| now.saturating_sub(at)),
        source: source.name,
        keys: source.keys as u64,
        fetched: source.successes,
        failed: source.failures,
    };
    let sources = authenticator.trust().jwt().sources();
    sources.into_iter().map(of).collect()
}

/// Waits until every set of keys that nothing is had of was asked for once, and says which of them
/// could not be had.
pub(super) async fn wait_for_sets(jwt: &JwtVerifier) -> Vec<String> {
    let mut waited = Duration::ZERO;
    loop {
        let mut sources = jwt.sources();
        sources.retain(|source| source.fetched_at.is_none());
        if sources.iter().all(|source| source.failures > 0) || waited >= FETCHING {
            let missing = sources.iter().map(|source| {
                let why = source.last_error.as_deref();
                format!(
                    "the keys of `{}` could not be fetched yet: {}",
                    source.name,
                    why.unwrap_or("it takes too long")
                )
            });
            return missing.collect();
        }
        tokio::time::sleep(LOOK).await;
        waited += LOOK;
    }
}
