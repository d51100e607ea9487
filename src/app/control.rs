//! Taking over another configuration while the service runs: one way for SIGHUP, the admin API and
//! files that change.
//!
//! Promise: all of a configuration is taken over or nothing of it. Everything that can fail is made
//! ready first; then lanes, limits, trust and the front change hands, and a request is told by the front
//! that it found, so none sees half of one and half of the other. A refused reload leaves everything as
//! it was and says all that is wrong. One at a time.
//! Not here: what can change at all (`plan`), lanes that come and go (`pipeline`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::admin::{PrivateTls, Rules as PrivateRules};
use super::identity::Identity;
use super::lanes::{
    Clients, LaneMaker, LaneParts, Stores, close_logs, lane_names, open_logs, pipeline_rules,
};
use super::plan::{Plan, plan};
use super::reload_told::{because, dry_message, needs_restart, problem_of, refused_of};
use super::site::{SiteMaker, security_lane};
use super::sockets::ADMIN_SOCKET;
use super::spool::{OpenSpool, spool_keys};
use super::store_access::StoreAccess;
use super::upstreams::upstream_names;
use super::{certificate_problems, identity};
use crate::admin::{AdminClients, ReloadOrder, ReloadProblem, ReloadRefused, ReloadReport};
use crate::config::{Checked, Config, Problems, ReloadBy, Severity, UpstreamKind};
use crate::edge::{self, Edge};
use crate::embedded::EmbeddedLogstore;
use crate::foundation::clock;
use crate::foundation::secret::Secret;
use crate::front::{Front, FrontParts, SecurityEvents, StandingFront};
use crate::gate::identity::state::{admin_token, known_admin_token};
use crate::pipeline::quarantine::Quarantine;
use crate::pipeline::spool::KeyRing;
use crate::pipeline::{Changed, Lane, LaneSpec, Pipeline, PipelineRules};
use crate::telemetry::spans::SpanQueue;
use crate::telemetry::{Metrics, ReloadOutcome, ReloadSource};

/// Where the configuration comes from.
pub struct LoadConfig {
    /// Its file, where there is one.
    pub path: Option<PathBuf>,
    /// Keys that the command line has set, which stay so.
    pub overridden: Vec<String>,
    /// Reads it again, or says what is wrong with it.
    pub load: Box<dyn Fn() -> Result<Checked, Problems> + Send + Sync>,
}

impl std::fmt::Debug for LoadConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadConfig")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Time that a logstore which was taken out a moment ago gets to give its disk free, when it is wanted
/// again.
const LEAVING: Duration = Duration::from_secs(5);
/// How often it is looked whether something has gone.
const LOOK: Duration = Duration::from_millis(20);
/// Time that requests get which still know a logstore that was taken out.
const LAST_REQUESTS: Duration = Duration::from_secs(120);

/// The parts that a reload changes.
pub(super) struct Parts {
    pub(super) identity: Arc<Identity>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) fronts: Arc<StandingFront>,
    pub(super) quarantine: Arc<Quarantine>,
    pub(super) spool: Option<Arc<OpenSpool>>,
    pub(super) embedded: Option<Arc<EmbeddedLogstore>>,
    pub(super) embedded_at: Option<SocketAddr>,
    pub(super) store_access: Option<Arc<StoreAccess>>,
    pub(super) edge: Arc<Edge>,
    pub(super) admin_tls: Option<Arc<PrivateTls>>,
    pub(super) spans: Option<SpanQueue>,
    pub(super) admin_clients: Arc<AdminClients>,
    pub(super) metrics: Arc<Metrics>,
}

/// Reloads the configuration of a running service.
pub struct Control {
    parts: Parts,
    load: LoadConfig,
    running: ArcSwap<Config>,
    generation: AtomicU64,
    /// Clients of the stores of that, to read with.
    readers: ArcSwap<Clients>,
    /// Held while reloading.
    reloading: Mutex<Stores>,
    /// Held while another configuration is put in force. Whether the service stops.
    stopped: Mutex<bool>,
    /// Fronts that requests may still know.
    past: Mutex<Vec<Weak<Front>>>,
    /// A signal was sent that no reload has begun for.
    signalled: AtomicBool,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

/// All that a configuration needs to be put in force.
struct Ready {
    identity: identity::Prepared,
    lanes: Vec<LaneSpec>,
    clients: Clients,
    stores: Stores,
    admin_token: Option<Secret>,
    edge: edge::Prepared,
    admin_tls: Option<PrivateRules>,
    spool_keys: Option<Arc<KeyRing>>,
}

impl Control {
    pub(super) fn new(parts: Parts, load: LoadConfig, config: &Config, stores: Stores) -> Self {
        let cells = &parts.metrics.configuration;
        cells.generation.set(1);
        cells.loaded.set(clock::unix_seconds());
        Self {
            parts,
            load,
            running: ArcSwap::from_pointee(config.clone()),
            generation: AtomicU64::new(1),
            readers: ArcSwap::from_pointee(stores.readers()),
            reloading: Mutex::new(stores),
            stopped: Mutex::new(false),
            past: Mutex::default(),
            signalled: AtomicBool::new(false),
        }
    }

    /// The number of the configuration that is in force: 1 at the start, one more after each reload.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// When that was taken over, in Unix seconds.
    pub(super) fn loaded(&self) -> u64 {
        self.parts.metrics.configuration.loaded.get()
    }

    /// A client of each store of each project, to read with.
    pub(super) fn readers(&self) -> Arc<Clients> {
        self.readers.load_full()
    }

    /// The public listeners.
    pub(super) fn edge(&self) -> &Edge {
        &self.parts.edge
    }

    /// The lanes.
    pub(super) fn pipeline(&self) -> &Arc<Pipeline> {
        &self.parts.pipeline
    }

    /// The configuration that is in force.
    #[must_use]
    pub fn running(&self) -> Arc<Config> {
        self.running.load_full()
    }

    /// The file of the configuration, where there is one.
    pub(super) fn path(&self) -> Option<&Path> {
        self.load.path.as_deref()
    }

    /// Keys that the command line has set.
    pub(super) fn overridden(&self) -> &[String] {
        &self.load.overridden
    }

    /// SIGHUP was sent. Holds nothing up; however many come while one waits, one more reload is made.
    pub fn on_signal(self: &Arc<Self>) {
        if self.signalled.swap(true, Ordering::AcqRel) {
            return;
        }
        let control = Arc::clone(self);
        // The outcome is counted and in the log.
        drop(tokio::task::spawn_blocking(move || {
            drop(control.reload(ReloadSource::Signal, ReloadOrder::default()));
        }));
    }

    /// Takes over what the configuration says now, or only says what that would change. Blocks on files,
    /// and until sets of keys that are new were asked for once. To be called in a runtime, on a thread
    /// that may block. The outcome is counted and in the log.
    ///
    /// # Errors
    /// All that is wrong. Nothing has changed then.
    pub fn reload(
        &self,
        source: ReloadSource,
        order: ReloadOrder,
    ) -> Result<ReloadReport, ReloadRefused> {
        let result = self.try_reload(source, order);
        let outcome = match &result {
            Ok(report) if report.dry_run => ReloadOutcome::DryRun,
            Ok(_) => ReloadOutcome::Done,
            Err(_) => ReloadOutcome::Refused,
        };
        // Also of a refused one, which may have read files that are not used.
        let files = edge::certificate_files(&self.running(), ADMIN_SOCKET);
        self.parts.metrics.keep_certificates(&files);
        let cells = &self.parts.metrics.configuration;
        cells.reloads(source, outcome).inc();
        let source = source.label();
        match &result {
            Ok(report) if report.dry_run => {}
            Ok(report) => {
                let (generation, changed) = (report.generation, report.changed.len());
                tracing::info!(source, generation, changed, "{}", report.message);
                for warning in &report.warnings {
                    tracing::warn!("{warning}");
                }
            }
            Err(refused) if !order.dry_run => {
                for problem in &refused.problems {
                    let ReloadProblem { line, column, .. } = problem;
                    tracing::error!(
                        source,
                        line,
                        column,
                        "the configuration was not reloaded, and is as it was: {problem}"
                    );
                }
            }
            Err(_) => {}
        }
        result
    }

    fn try_reload(
        &self,
        source: ReloadSource,
        order: ReloadOrder,
    ) -> Result<ReloadReport, ReloadRefused> {
        let mut stores = self
            .reloading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if source == ReloadSource::Signal {
            // What comes from now on may be about a file that was written after it is read.
            self.signalled.store(false, Ordering::Release);
        }
        let running = self.running();
        self.may_ask(source, &running)?;
        let Checked { config, warnings } =
            (self.load.load)().map_err(|problems| refused_of(&problems))?;
        let Plan { live, restart } = plan(&running, &config, self.parts.embedded.is_some());
        if !restart.is_empty() && !order.dry_run {
            return Err(needs_restart(&restart));
        }
        let mut told: Vec<String> = warnings
            .iter()
            .flat_map(|problems| problems.iter())
            .map(|problem| problem_of(None, problem).to_string())
            .collect();
        let mut report = ReloadReport {
            generation: self.generation(),
            dry_run: order.dry_run,
            changed: live,
            needs_restart: restart,
            ..ReloadReport::default()
        };
        if !order.dry_run {
            self.wait_for_disks(&config)?;
        }
        let mut ready = self.prepare(&config, &stores)?;
        if order.dry_run {
            report.message = dry_message(&report);
            report.warnings = told;
            return Ok(report);
        }
        told.extend(self.open(&config, &mut ready)?);
        let summary = ready.identity.summary(&config);
        *stores = self.put_in_force(config, ready)?;
        report.generation = self.generation();
        report.warnings = told;
        report.message = format!(
            "configuration reloaded: generation {}, {} keys changed; {summary}",
            report.generation,
            report.changed.len()
        );
        Ok(report)
    }

    fn may_ask(&self, source: ReloadSource, running: &Config) -> Result<(), ReloadRefused> {
        let (by, how) = match source {
            ReloadSource::Signal => (ReloadBy::Signal, "a signal"),
            ReloadSource::Api => (ReloadBy::Api, "the admin API"),
            ReloadSource::File => (ReloadBy::File, "a file that changes"),
        };
        if running.reload.by.contains(&by) {
            return Ok(());
        }
        let message = format!("reload.by does not let {how} reload the configuration");
        Err(ReloadRefused::because(message))
    }

    /// Makes ready all that only reads.
    fn prepare(&self, config: &Config, before: &Stores) -> Result<Ready, ReloadRefused> {
        let mut wrong = certificate_problems(config);
        wrong.retain(|problem| problem.severity == Severity::Error);
        if !wrong.is_empty() {
            let problems = wrong.iter().map(|problem| problem_of(None, problem));
            return Err(ReloadRefused {
                problems: problems.collect(),
            });
        }
        let identity = self.parts.identity.prepare(config)?;
        // One that was taken away is made anew only when it is put in force.
        let admin_token = known_admin_token(&config.admin, &config.data_dir).map_err(because)?;
        let admin_tls = self.parts.admin_tls.as_ref();
        let admin_tls = admin_tls
            .map(|it| it.prepare(&config.admin.tls))
            .transpose();
        let maker = LaneMaker {
            config,
            metrics: &self.parts.metrics,
            embedded: self.parts.embedded_at,
            before,
        };
        let LaneParts {
            lanes,
            clients,
            stores,
        } = maker.lanes().map_err(because)?;
        Ok(Ready {
            identity,
            lanes,
            clients,
            stores,
            admin_token,
            edge: self.parts.edge.prepare(config).map_err(because)?,
            admin_tls: admin_tls.map_err(because)?.flatten(),
            spool_keys: spool_keys(config).map_err(because)?,
        })
    }

    /// Opens what has to be opened. What is told of is no reason to refuse.
    fn open(&self, config: &Config, ready: &mut Ready) -> Result<Vec<String>, ReloadRefused> {
        let edge = &self.parts.edge;
        edge.open(config, &mut ready.edge).map_err(because)?;
        let told = ready.identity.fetch(&self.parts.identity);
        if let Some(store) = &self.parts.embedded {
            let names = upstream_names(config, UpstreamKind::Embedded);
            store.have(names).map_err(because)?;
        }
        if let Some(spool) = &self.parts.spool {
            let known = self.parts.pipeline.lanes();
            let is_new = |lane: &LaneSpec| !known.iter().any(|known| is_of(known, lane));
            open_logs(spool, config, &mut ready.lanes, is_new).map_err(because)?;
        }
        // Last: a token that is made is on disk, where the commands read it.
        let kept = self.parts.identity.keep_state_by(config).map_err(because);
        let last = kept.and_then(|()| match ready.admin_token {
            Some(_) => Ok(()),
            None => {
                let token = admin_token(&config.admin, &config.data_dir).map_err(because)?;
                ready.admin_token = Some(token);
                Ok(())
            }
        });
        if let (Err(_), Some(spool)) = (&last, &self.parts.spool) {
            close_logs(spool, &mut ready.lanes);
        }
        last.map(|()| told)
    }

    /// A logstore that was taken out and is wanted again has to be ended first: its events on disk have
    /// one owner, and its counts one life.
    fn wait_for_disks(&self, config: &Config) -> Result<(), ReloadRefused> {
        for (project, logstore) in lane_names(config) {
            let mut waited = Duration::ZERO;
            while self.parts.pipeline.is_leaving(project, &logstore) {
                if waited >= LEAVING {
                    let message = format!(
                        "project[{project}].logstore[{logstore}] was taken out a moment ago, and what it held is still being delivered; try again in a while"
                    );
                    return Err(ReloadRefused::because(message));
                }
                std::thread::sleep(LOOK);
                waited += LOOK;
            }
        }
        Ok(())
    }

    /// From here on nothing fails.
    fn put_in_force(&self, config: Config, ready: Ready) -> Result<Stores, ReloadRefused> {
        let Ready {
            identity,
            mut lanes,
            clients,
            stores,
            admin_token,
            edge,
            admin_tls,
            spool_keys,
        } = ready;
        let parts = &self.parts;
        let stopped = self.stopped();
        if *stopped {
            if let Some(spool) = &parts.spool {
                close_logs(spool, &mut lanes);
            }
            return Err(ReloadRefused::because("the node is stopping"));
        }
        let rules = PipelineRules {
            spans: parts.spans.as_ref(),
            ..pipeline_rules(&config, &parts.metrics, Some(&parts.quarantine))
        };
        if let Some(spool) = &parts.spool {
            spool.directory.set_keys(spool_keys.as_deref());
        }
        let Changed { lanes, leaving } = parts.pipeline.change(lanes, rules);
        let (before, trust) = (parts.fronts.now(), Arc::clone(identity.trust()));
        let front = self.front(&config, &lanes, &clients, trust, &before);
        parts.identity.take_over(identity, &config, &front);
        if let Some(access) = &parts.store_access {
            access.take_over(&config);
        }
        drop(before);
        let before = parts.fronts.replace(front);
        self.remember(&before);
        drop(before);
        for lane in leaving {
            self.let_go(&lane, &config);
        }
        parts.edge.take_over(&config, edge);
        parts.edge.refresh_certificates();
        if let Some(tls) = &parts.admin_tls {
            tls.take_over(admin_tls);
        }
        parts.admin_clients.set(&config.admin, admin_token);
        let named = |name: &str| config.upstreams.iter().any(|it| it.name == name);
        parts.metrics.keep_upstreams(named);
        self.readers.store(Arc::new(stores.readers()));
        self.running.store(Arc::new(config));
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let cells = &parts.metrics.configuration;
        cells.generation.set(generation);
        cells.loaded.set(clock::unix_seconds());
        drop(stopped);
        Ok(stores)
    }

    fn front(
        &self,
        config: &Config,
        lanes: &[Arc<Lane>],
        clients: &Clients,
        trust: Arc<crate::gate::identity::Trust>,
        before: &Arc<Front>,
    ) -> Arc<Front> {
        let parts = &self.parts;
        let same_bounds = {
            let (new, old) = (&config.limits, &self.running().limits);
            new.body == old.body && new.unverified_body == old.unverified_body
        };
        let site = SiteMaker {
            config,
            metrics: &parts.metrics,
            lanes,
            clients,
            before: Some(before.site()).filter(|_| same_bounds),
        };
        let rules = &config.security_events;
        let lane = security_lane(config, lanes);
        let known = before.security_events();
        let security_events = match known.is_the_same(rules, lane.as_ref()) {
            true => Arc::clone(known),
            false => Arc::new(SecurityEvents::new(rules, lane, Arc::clone(&parts.metrics))),
        };
        let identity = &parts.identity;
        Front::new(
            config,
            FrontParts {
                site: site.site(),
                guards: Arc::clone(identity.quality().guards()),
                quarantine: Arc::clone(&parts.quarantine),
                authenticator: Arc::clone(&identity.authenticator),
                trust,
                quotas: Arc::clone(identity.limits().quotas()),
                security_events,
                metrics: Arc::clone(&parts.metrics),
                spans: parts.spans.clone(),
                before: Some(Arc::clone(before)),
            },
        )
    }

    fn remember(&self, front: &Arc<Front>) {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.retain(|it| it.strong_count() > 0);
        past.push(Arc::downgrade(front));
    }

    /// Ends a lane that is not of the configuration any more.
    fn let_go(&self, lane: &Arc<Lane>, config: &Config) {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let past = past.clone();
        let unknown = async move {
            let waiting = async {
                while past.iter().any(|front| front.strong_count() > 0) {
                    tokio::time::sleep(LOOK).await;
                }
            };
            // Then they are refused: their clients send again.
            drop(tokio::time::timeout(LAST_REQUESTS, waiting).await);
        };
        let (project, logstore) = (lane.project().clone(), lane.logstore().clone());
        let (spool, metrics) = (self.parts.spool.clone(), Arc::clone(&self.parts.metrics));
        let patience = config.delivery.stop_deadline.get();
        tracing::info!(%project, %logstore, "a logstore was taken out; what it holds is delivered");
        let gone = move |replaced: bool| {
            if !replaced {
                metrics.forget_logstore(project.as_str(), logstore.as_str());
            }
            if let Some(spool) = spool {
                spool.directory.closed(&project, &logstore);
            }
            tracing::info!(%project, %logstore, "a logstore that was taken out has ended");
        };
        self.parts.pipeline.let_go(lane, unknown, patience, gone);
    }

    fn stopped(&self) -> MutexGuard<'_, bool> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is reloaded from now on.
    pub(super) fn stop(&self) {
        *self.stopped() = true;
    }
}

/// Whether a lane is the one of a specification.
fn is_of(lane: &Lane, spec: &LaneSpec) -> bool {
    *lane.project() == spec.project && *lane.logstore() == spec.logstore
}
