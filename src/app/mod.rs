//! The composition root: builds the parts, starts them from the bottom up, stops them from the top
//! down. No logic of its own.

mod admin;
mod aside;
mod books;
mod control;
mod dashboard;
mod destinations;
mod drain;
mod identity;
mod lanes;
mod limits;
mod node;
mod plan;
mod preview;
mod quality;
mod reading;
mod reload_told;
mod sharing;
mod site;
mod sockets;
mod spool;
mod stopping;
mod store_access;
mod traces;
mod trial;
mod upstreams;
mod watch;

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::admin::PrivateTls;
use self::aside::Aside;
pub use self::aside::purge;
use self::books::BookKeeper;
use self::control::Parts;
pub use self::control::{Control, LoadConfig};
pub use self::drain::{Draining, drain};
pub use self::identity::{Identity, IdentityError};
use self::lanes::{LaneMaker, LaneParts, Stores, open_logs, pipeline_rules};
use self::node::RunningNode;
pub use self::plan::differences;
pub use self::quality::{QualityErrors, load_schema, load_schema_and_document, schema_report};
pub use self::reading::{EventReader, LookAtEvent, TextForm};
use self::site::{SiteMaker, security_lane};
pub use self::sockets::{ADMIN_SOCKET, KeptSockets};
use self::sockets::{LOGSTORE_SOCKET, none_left, private};
use self::spool::OpenSpool;
pub use self::spool::{command_log_rules, lock_spool, spool_dir, spool_keys};
use self::stopping::Serving;
pub use self::stopping::Stopped;
use self::store_access::StoreAccess;
pub use self::traces::probe_collector;
pub use self::trial::{
    BadRequest, Stage, Step, Traced, TracedEvent, Trial, TrialAnswer, TrialRequest, TrialSetup,
    events, existing_data_dir, explained, tags, text,
};
use self::upstreams::{embedded_key, upstream_names};
use crate::admin::{AdminClients, Readiness};
pub use crate::admin::{
    ConfigView, ExplainOrder, Explained, NodeState, ReloadOrder, ReloadReport, SpoolLane, SpoolPage,
};
use crate::config::{Config, Problem, UpstreamKind};
pub use crate::edge::EdgeError;
pub use crate::edge::descriptors::room as connection_room;
pub use crate::edge::tls::{CertificateFacts, CertificateView};
use crate::edge::{self, BindError, Bound, Edge};
use crate::embedded::{self, EmbeddedLogstore};
use crate::foundation::clock;
use crate::foundation::secret::SecretError;
use crate::foundation::sockets::PassedSockets;
use crate::front::{Front, FrontParts, SecurityEvents, StandingFront};
use crate::gate::identity::state::StateKeyError;
use crate::gate::identity::{KeyError, SigningKey};
use crate::logstore::client::StoreClientError;
use crate::pipeline::quarantine::QuarantineError;
use crate::pipeline::{Pipeline, PipelineRules};
use crate::telemetry::Metrics;
use crate::telemetry::spans::SpanQueue;

/// Which parts run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Only {
    /// The gateway without the embedded logstore, which then runs in another process.
    Gateway,
    /// The embedded logstore alone: a local stand-in for SLS.
    Logstore,
}

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says it in its message")]
pub enum StartError {
    #[error(
        "cannot make the data directory {path}: {source}; mend its rights, or choose another with data_dir or --data-dir",
        path = path.display()
    )]
    DataDir {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    AdminToken(#[from] StateKeyError),
    #[error("upstream `{upstream}`: {source}")]
    UpstreamSecret {
        upstream: String,
        source: SecretError,
    },
    #[error("upstream `{upstream}`: {source}")]
    Upstream {
        upstream: String,
        source: StoreClientError,
    },
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("the listening socket `{name}` cannot be kept: {source}")]
    Socket {
        name: String,
        source: std::io::Error,
    },
    #[error(
        "no listener is named by the passed sockets {0}; the names are `ingest`, `admin`, `logstore` and those of [[ingest.listener]] (FileDescriptorName=)"
    )]
    UnknownSocket(String),
    #[error(transparent)]
    Quality(#[from] QualityErrors),
    #[error(transparent)]
    Spool(#[from] crate::pipeline::spool::OpenError),
    #[error("spool.keys: {0}")]
    SpoolKey(String),
    #[error("traces: {0}")]
    Traces(String),
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    #[error(transparent)]
    Edge(#[from] EdgeError),
    #[error(transparent)]
    Logstore(#[from] embedded::OpenError),
}

/// What is wrong with the certificates, keys and client authorities of the listeners, by reading their
/// files.
#[must_use]
pub fn certificate_problems(config: &Config) -> Vec<Problem> {
    let main = ("ingest.tls".to_owned(), &config.ingest.tls);
    let more = config.ingest.listeners.iter().enumerate();
    let more = more.map(|(index, it)| (format!("ingest.listener[{index}].tls"), &it.tls));
    let private = ("admin.tls".to_owned(), &config.admin.tls);
    std::iter::once(main)
        .chain(more)
        .chain([private])
        .flat_map(|(path, rules)| edge::tls::check(&path, rules))
        .collect()
}

/// The certificates of each listener that has any, by its name; last those of the private one,
/// [`ADMIN_SOCKET`].
#[must_use]
pub fn certificates(config: &Config) -> Vec<(String, Vec<CertificateView>)> {
    let listeners = config.ingest.all_listeners().into_iter();
    let seen = listeners.map(|it| (it.name.clone(), edge::tls::view(&it.tls)));
    let private = (ADMIN_SOCKET.to_owned(), edge::tls::view(&config.admin.tls));
    let seen = seen.chain([private]);
    seen.filter(|(_, all)| !all.is_empty()).collect()
}

/// Where a running service listens.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// The public listeners by name, the first one first.
    pub ingest: Vec<(String, SocketAddr)>,
    /// The private listener.
    pub admin: Option<SocketAddr>,
    /// The API of the embedded logstore.
    pub logstore: Option<SocketAddr>,
}

/// A running service.
pub struct Running {
    addresses: Addresses,
    identity: Option<Arc<Identity>>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    tasks: TaskTracker,
    ingest: Option<(edge::Stop, Arc<Edge>, JoinHandle<()>)>,
    /// Speaks with the store of shared limits.
    sharing: Option<Serving>,
    /// Writes the books down.
    books: Option<BookKeeper>,
    pipeline: Option<Arc<Pipeline>>,
    /// Held for as long as its logs are used: its lock keeps others off.
    spool: Option<Arc<OpenSpool>>,
    /// Reloads the configuration, where clients are served.
    control: Option<Arc<Control>>,
    /// Sends spans to a collector.
    tracing: Option<Serving>,
    /// Watches the files of the configuration.
    watching: Option<Serving>,
    store_access: Option<Arc<StoreAccess>>,
    /// Events that are set aside on local disk.
    aside: Option<Aside>,
    logstore: Option<(Serving, Arc<EmbeddedLogstore>)>,
    admin: Option<Serving>,
    /// TLS of the private listener, where it has it.
    admin_tls: Option<Arc<PrivateTls>>,
    /// Who is let in there by a certificate.
    admin_clients: Arc<AdminClients>,
    kept: KeptSockets,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

fn make_data_dir(config: &Config) -> Result<(), StartError> {
    let path = config.data_dir.clone();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path)
        .map_err(|source| StartError::DataDir { path, source })
}

/// Starts the parts that the configuration and `only` ask for.
///
/// # Errors
/// When a key, a socket, the data directory or an upstream cannot be had. Nothing runs then.
pub async fn start(
    config: &Config,
    only: Option<Only>,
    load: LoadConfig,
    mut passed: PassedSockets,
) -> Result<Running, StartError> {
    make_data_dir(config)?;
    let mut running = Running::nothing();
    running
        .metrics
        .bound_logstores(config.metrics.max_logstores);
    running.metrics.bound_names(config.metrics.max_names);
    running.metrics.configuration.generation.set(1);
    let loaded = &running.metrics.configuration.loaded;
    loaded.set(clock::unix_seconds());
    let descriptors = edge::descriptors::raise();
    let watched = &running.metrics.edge;
    watched.descriptor_limit.set(descriptors.unwrap_or(0));
    watched.descriptors.get_or_init(|| edge::descriptors::open);
    let address = config.admin.listen;
    let admin = private(&mut passed, ADMIN_SOCKET, "health and metrics", address).await?;
    running.kept.keep(ADMIN_SOCKET, &admin)?;
    running.admin_clients.set(&config.admin, None);
    running.admin_tls = PrivateTls::load(&config.admin.tls, &running.metrics, &running.tasks)?;
    let ingest = match only {
        Some(Only::Logstore) => None,
        _ => Some(Bound::bind(
            config,
            descriptors,
            &running.metrics,
            &mut passed,
        )?),
    };
    let uses_embedded = config
        .upstreams
        .iter()
        .any(|u| u.kind == UpstreamKind::Embedded);
    let runs_logstore = only == Some(Only::Logstore) || (only.is_none() && uses_embedded);
    let mut logstore = None;
    if runs_logstore {
        let (name, address) = (LOGSTORE_SOCKET, config.embedded.listen);
        let listener = private(&mut passed, name, "the embedded logstore", address).await?;
        running.kept.keep(name, &listener)?;
        logstore = Some(listener);
    }
    none_left(&passed)?;
    if ingest.is_some() {
        let identity = Identity::start(config, &running.metrics, &running.tasks)?;
        running.identity = Some(identity);
    }
    if let Some(listener) = logstore {
        let alone = u64::from(only == Some(Only::Logstore));
        running.metrics.embedded.alone.set(alone);
        running.start_logstore(config, listener)?;
    }
    if let (Some(edge), Some(identity)) = (ingest, running.identity.clone()) {
        running.start_gateway(config, edge, &identity, load)?;
    }
    running.start_admin(config, admin)?;
    // Last: a start that fails is no life, and not told as a kill.
    if running.pipeline.is_some() {
        running.books = Some(BookKeeper::start(config, &running.metrics, &running.tasks));
    }
    running.readiness.set(true);
    Ok(running)
}

impl Running {
    /// No part of a service yet.
    fn nothing() -> Self {
        Self {
            addresses: Addresses::default(),
            identity: None,
            metrics: Metrics::new(),
            readiness: Arc::default(),
            tasks: TaskTracker::new(),
            ingest: None,
            sharing: None,
            books: None,
            pipeline: None,
            spool: None,
            control: None,
            tracing: None,
            watching: None,
            store_access: None,
            aside: None,
            logstore: None,
            admin: None,
            admin_tls: None,
            admin_clients: Arc::default(),
            kept: KeptSockets::default(),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The runtimes that serve connections of clients, a thread each.
    #[must_use]
    pub fn edge_runtimes(&self) -> Vec<Handle> {
        let edge = self.ingest.as_ref().map(|(_, edge, _)| edge.runtimes());
        edge.unwrap_or_default()
    }

    /// The keys of tokens, to make a first token with.
    #[must_use]
    pub fn keys(&self) -> Vec<SigningKey> {
        let keys =
            |identity: &Arc<Identity>| identity.authenticator.trust().signing_keys().to_vec();
        self.identity.as_ref().map(keys).unwrap_or_default()
    }

    /// Who is trusted, where clients are served.
    #[must_use]
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// Reloads the configuration, where clients are served.
    #[must_use]
    pub fn control(&self) -> Option<&Arc<Control>> {
        self.control.as_ref()
    }

    /// Waits until a part of the pipeline dies, which is a bug. Events would stay in it for ever, so
    /// the process should stop.
    pub async fn failed(&self) {
        match &self.pipeline {
            Some(pipeline) => pipeline.failed().await,
            None => std::future::pending().await,
        }
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Bytes of events that were set aside and are not on disk yet, to be asked while it stops.
    pub fn unwritten(&self) -> impl Fn() -> u64 + Send + use<> {
        let quarantine = self.aside.as_ref().map(|it| Arc::clone(&it.quarantine));
        move || quarantine.as_ref().map_or(0, |it| it.waiting())
    }

    fn serving(&self, start: impl FnOnce(CancellationToken) -> JoinHandle<()>) -> Serving {
        let stop = CancellationToken::new();
        Serving {
            task: start(stop.clone()),
            stop,
        }
    }

    fn start_logstore(&mut self, config: &Config, listener: TcpListener) -> Result<(), StartError> {
        let key = embedded_key(config)?;
        self.store_access = self.identity.as_ref().map(|identity| {
            let authenticator = Arc::clone(&identity.authenticator);
            StoreAccess::of(config, authenticator, &self.metrics)
        });
        self.addresses.logstore = listener.local_addr().ok();
        let store = EmbeddedLogstore::open(
            &config.embedded,
            &config.data_dir,
            upstream_names(config, UpstreamKind::Embedded),
            key,
            self.store_access
                .clone()
                .map(|it| -> Arc<dyn embedded::Access> { it }),
            &self.metrics.embedded,
        )?;
        let store = Arc::new(store);
        let serving = self.serving(|stop| {
            let store = Arc::clone(&store);
            self.tasks
                .spawn(async move { store.serve(listener, stop).await })
        });
        self.logstore = Some((serving, store));
        Ok(())
    }

    /// The lanes of a configuration, without their logs.
    fn lanes_of(&self, config: &Config, before: &Stores) -> Result<LaneParts, StartError> {
        let maker = LaneMaker {
            config,
            metrics: &self.metrics,
            embedded: self.addresses.logstore,
            before,
        };
        maker.lanes()
    }

    /// The lanes of a configuration, with their logs. Opens the spool.
    fn lane_specs(&mut self, config: &Config, before: &Stores) -> Result<LaneParts, StartError> {
        let mut parts = self.lanes_of(config, before)?;
        self.spool = spool::open(config)?.map(Arc::new);
        if let Some(spool) = &self.spool {
            open_logs(spool, config, &mut parts.lanes, |_| true)?;
        }
        Ok(parts)
    }

    fn watch_files(&mut self, control: &Arc<Control>) {
        let (watched, known) = (Arc::clone(control), watch::first(control));
        let watching = self.serving(|stop| self.tasks.spawn(watch::watch(watched, known, stop)));
        self.watching = Some(watching);
    }

    fn start_gateway(
        &mut self,
        config: &Config,
        bound: Bound,
        identity: &Arc<Identity>,
        load: LoadConfig,
    ) -> Result<(), StartError> {
        let LaneParts {
            lanes,
            clients,
            stores,
        } = self.lane_specs(config, &Stores::default())?;
        let quarantine = aside::open(config, &self.metrics)?;
        let spans = self.start_tracing(config)?;
        let rules = PipelineRules {
            spans: spans.as_ref(),
            ..pipeline_rules(config, &self.metrics, Some(&quarantine))
        };
        let pipeline = Arc::new(Pipeline::start(lanes, rules));
        self.metrics.watch_memory(pipeline.memory());
        let lanes = pipeline.lanes();
        let site = SiteMaker {
            config,
            metrics: &self.metrics,
            lanes: &lanes,
            clients: &clients,
            before: None,
        };
        if let Some(store) = identity.limits().quotas().store().map(Arc::clone) {
            let overrides = &identity.limits().control().overrides;
            let ledgers = sharing::ledgers(identity.state(), overrides);
            self.sharing = Some(self.serving(|stop| self.tasks.spawn(store.run(ledgers, stop))));
        }
        let trust = identity.authenticator.trust();
        let prepared = identity.quality().prepare(config, trust.attached())?;
        let parts = FrontParts {
            site: site.site(),
            guards: Arc::clone(identity.quality().guards()),
            quarantine: Arc::clone(&quarantine),
            authenticator: Arc::clone(&identity.authenticator),
            trust,
            quotas: Arc::clone(identity.limits().quotas()),
            security_events: Arc::new(SecurityEvents::new(
                &config.security_events,
                security_lane(config, &lanes),
                Arc::clone(&self.metrics),
            )),
            metrics: Arc::clone(&self.metrics),
            spans: spans.clone(),
            before: None,
        };
        let front = Front::new(config, parts);
        identity.quality().take_over(prepared, &front);
        let fronts = StandingFront::new(front);
        identity.quality().show(&fronts, &self.metrics);
        let stop = edge::Stop::default();
        let edge = bound.stand(Arc::clone(&fronts), Arc::clone(&self.metrics), stop.clone())?;
        let edge = Arc::new(edge);
        self.addresses.ingest = edge.addresses();
        let parts = Parts {
            identity: Arc::clone(identity),
            pipeline: Arc::clone(&pipeline),
            fronts: Arc::clone(&fronts),
            quarantine: Arc::clone(&quarantine),
            spool: self.spool.clone(),
            embedded: self.logstore.as_ref().map(|(_, store)| Arc::clone(store)),
            embedded_at: self.addresses.logstore,
            store_access: self.store_access.clone(),
            edge: Arc::clone(&edge),
            admin_tls: self.admin_tls.clone(),
            spans,
            admin_clients: Arc::clone(&self.admin_clients),
            metrics: Arc::clone(&self.metrics),
        };
        let control = Arc::new(Control::new(parts, load, config, stores));
        self.watch_files(&control);
        self.control = Some(control);
        self.aside = Some(Aside {
            fronts: Arc::clone(&fronts),
            quarantine,
            reading: Arc::default(),
        });
        let serving = self.tasks.spawn(Arc::clone(&edge).serve());
        self.ingest = Some((stop, edge, serving));
        self.pipeline = Some(pipeline);
        Ok(())
    }

    /// Sends spans from now on, where there is a collector.
    fn start_tracing(&mut self, config: &Config) -> Result<Option<SpanQueue>, StartError> {
        let Some((queue, exporter)) = traces::exporter(config, &self.metrics)? else {
            return Ok(None);
        };
        self.tracing = Some(self.serving(|stop| self.tasks.spawn(exporter.run(stop))));
        Ok(Some(queue))
    }

    fn node(&self, control: &Arc<Control>) -> RunningNode {
        RunningNode {
            addresses: self.addresses.clone(),
            control: Arc::clone(control),
            pipeline: Arc::clone(control.pipeline()),
            readiness: Arc::clone(&self.readiness),
            spool: self.spool.clone(),
            metrics: Arc::clone(&self.metrics),
            started: clock::unix_seconds(),
            looking: Mutex::default(),
        }
    }
}
