//! Identity, put together: what is trusted, what is remembered, and how both follow a changed
//! configuration without a restart.
//!
//! Promise: a reload that fails changes nothing and says everything that is wrong. Keys, roles,
//! policies and the rules of tickets and of the token service are taken over; a configuration that
//! differs in anything else is refused, with what differs (`reload`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::reload::check_fixed;
use crate::config::Config;
use crate::gate::identity::state::{IdentityState, OpenError};
use crate::gate::identity::sts::ReplayWindow;
use crate::gate::identity::{Authenticator, JwtVerifier, Trust, TrustErrors};
use crate::telemetry::Metrics;

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
}

/// Identity of a running service.
pub struct Identity {
    pub(super) authenticator: Arc<Authenticator>,
    state: Arc<IdentityState>,
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
        let stop = CancellationToken::new();
        let keeping = tasks.spawn(Arc::clone(&state).run(stop.clone()));
        let fetching = stop.child_token();
        tasks.spawn(Arc::clone(trust.jwt()).refresh(fetching.clone()));
        Ok(Arc::new(Self {
            authenticator: Arc::new(Authenticator::new(trust, Arc::clone(&state))),
            state,
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
    }

    /// Takes over what the configuration says now. Blocks on files, and until every set of keys that
    /// has a URL was fetched once, so that no token is refused for want of a key.
    ///
    /// # Errors
    /// Everything that is wrong. Nothing has changed then.
    pub fn reload(&self) -> Result<String, String> {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        let mut config = (self.load)()?;
        config.data_dir.clone_from(&self.running.data_dir);
        check_fixed(&self.running, &config)?;
        let trust = Trust::load(&config, &self.nonces).map_err(|errors| errors.to_string())?;
        let stop = self.stop.child_token();
        self.tasks
            .spawn(Arc::clone(trust.jwt()).refresh(stop.clone()));
        if let Err(error) = wait_for_sets(trust.jwt()) {
            stop.cancel();
            return Err(error);
        }
        let told = self.state.reload(&config.data_dir, &config.identity);
        if let Err(error) = told {
            stop.cancel();
            return Err(error.to_string());
        }
        self.authenticator.swap(trust);
        std::mem::replace(&mut *fetching, stop).cancel();
        let identity = &config.identity;
        let summary = format!(
            "identity reloaded: {} token keys, {} access keys, {} roles, {} policies",
            identity.jwt.len(),
            identity.access_keys.len(),
            identity.roles.len(),
            identity.policies.len(),
        );
        tracing::info!("{summary}");
        Ok(summary)
    }
}

/// Waits until every set of keys with a URL was fetched.
fn wait_for_sets(jwt: &JwtVerifier) -> Result<(), String> {
    let mut waited = Duration::ZERO;
    loop {
        let sources = jwt.sources();
        let failed = sources.iter().find(|source| source.failures > 0);
        if let Some(source) = failed {
            let why = source.last_error.as_deref().unwrap_or("it failed");
            return Err(format!(
                "the keys of `{}` cannot be fetched: {why}",
                source.name
            ));
        }
        if sources.iter().all(|source| source.fetched_at.is_some()) {
            return Ok(());
        }
        if waited >= FETCHING {
            return Err("the keys of an issuer were not fetched in time".to_owned());
        }
        std::thread::sleep(LOOK);
        waited += LOOK;
    }
}
