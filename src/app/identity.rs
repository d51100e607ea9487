//! Identity, put together: what is trusted, what is remembered, and how both follow a changed
//! configuration without a restart.
//!
//! Promise: a reload that fails changes nothing and says everything that is wrong. Keys, roles,
//! policies, limits and the rules of tickets and of the token service are taken over; a configuration
//! that differs in anything else is refused, with what differs (`reload`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::limits::Limits;
use super::quality::{QualityControl, QualityErrors};
use super::reload::check_fixed;
use super::sharing;
use crate::config::{Config, PartError};
use crate::foundation::clock;
use crate::gate::identity::state::{IdentityState, OpenError};
use crate::gate::identity::sts::ReplayWindow;
use crate::gate::identity::{Authenticator, JwtVerifier, SourceStatus, Trust, TrustErrors};
use crate::telemetry::{JwksFigures, Metrics};

/// Reads the configuration again, or says what is wrong with it.
pub type LoadConfig = Box<dyn Fn() -> Result<Config, String> + Send + Sync>;

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
    /// What runs.
    running: Config,
    load: LoadConfig,
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
        load: LoadConfig,
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
        let authenticator = Arc::new(Authenticator::new(trust, Arc::clone(&state)));
        // Not held: what is remembered holds the metrics.
        let watched = Arc::downgrade(&authenticator);
        metrics.watch_jwks(move || watched.upgrade().map(|it| figures(&it)).unwrap_or_default());
        Ok(Arc::new(Self {
            authenticator,
            state,
            limits,
            quality: QualityControl::start(config)?,
            nonces,
            running: config.clone(),
            load,
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

    /// Takes over what the configuration says now. Sets of keys whose rules are the same are kept.
    /// Blocks on files, and until every other set that has a URL was asked for once; one that cannot
    /// be had is told of, and its tokens are refused until it can.
    ///
    /// # Errors
    /// Everything that is wrong. Nothing has changed then.
    pub fn reload(&self) -> Result<String, String> {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        let mut config = (self.load)()?;
        config.data_dir.clone_from(&self.running.data_dir);
        check_fixed(&self.running, &config)?;
        let trust = Trust::load(&config, &self.nonces).map_err(|errors| errors.to_string())?;
        let limits = self.limits.prepare(&config);
        let limits = limits.map_err(|error| error.to_string())?;
        let quality = self.quality.prepare(&config, trust.attached());
        let quality = quality.map_err(|error| error.to_string())?;
        trust.jwt().inherit(self.authenticator.trust().jwt());
        let stop = self.stop.child_token();
        self.tasks
            .spawn(Arc::clone(trust.jwt()).refresh(stop.clone()));
        let missing = Handle::current().block_on(wait_for_sets(trust.jwt()));
        let told = self.state.reload(&config.data_dir, &config.identity);
        if let Err(error) = told {
            stop.cancel();
            return Err(error.to_string());
        }
        self.authenticator.swap(trust);
        self.limits.take_over(limits, &config);
        self.quality.take_over(quality);
        std::mem::replace(&mut *fetching, stop).cancel();
        let identity = &config.identity;
        let mut summary = format!(
            "identity reloaded: {} token keys, {} access keys, {} roles, {} policies, {} limits, {} schemas",
            identity.jwt.len(),
            identity.access_keys.len(),
            identity.roles.len(),
            identity.policies.len(),
            config.limit_rules.len(),
            config.schemas.len(),
        );
        for missing in missing {
            tracing::warn!("{missing}");
            summary.push_str("; ");
            summary.push_str(&missing);
        }
        tracing::info!("{summary}");
        Ok(summary)
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
