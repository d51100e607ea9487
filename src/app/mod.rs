//! The composition root: builds the parts, starts them from the bottom up, stops them from the top
//! down. No logic of its own.

mod aside;
mod drain;
mod identity;
mod lanes;
mod limits;
mod quality;
mod reading;
mod reload;
mod sharing;
mod sockets;
mod spool;
mod stopping;
mod store_access;
mod trial;
mod upstreams;

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::aside::Aside;
pub use self::aside::purge;
pub use self::drain::{Draining, drain};
pub use self::identity::{Identity, IdentityError, LoadConfig};
use self::lanes::{Clients, LaneParts, pipeline_rules};
pub use self::quality::{QualityErrors, load_schema, load_schema_and_document, schema_report};
pub use self::reading::{EventReader, LookAtEvent, TextForm};
pub use self::sockets::KeptSockets;
use self::sockets::{ADMIN_SOCKET, LOGSTORE_SOCKET, none_left, private};
pub use self::spool::{command_log_rules, lock_spool, spool_dir, spool_keys};
use self::stopping::Serving;
pub use self::stopping::Stopped;
use self::store_access::StoreAccess;
pub use self::trial::{
    BadRequest, Stage, Step, Traced, TracedEvent, Trial, TrialAnswer, TrialRequest, TrialSetup,
    existing_data_dir,
};
use self::upstreams::{account_of, embedded_key, region_of, upstream_names, upstream_project};
use crate::admin::{Admin, AdminApi, Readiness};
use crate::config::{Config, Problem, UpstreamKind};
pub use crate::edge::EdgeError;
use crate::edge::tls::ListenerTls;
use crate::edge::{self, BindError, Edge};
use crate::embedded::{self, EmbeddedLogstore};
use crate::foundation::secret::SecretError;
use crate::foundation::serve::{ServeOptions, serve};
use crate::foundation::sockets::PassedSockets;
use crate::front::{Front, FrontParts, SecurityEvents, Site, SiteLogstore, SiteParts};
use crate::gate::identity::state::{StateKeyError, admin_token};
use crate::gate::identity::{KeyError, SigningKey};
use crate::gate::policy::resource_name;
use crate::logstore::client::StoreClientError;
use crate::pipeline::quarantine::QuarantineError;
use crate::pipeline::spool::SpoolDirectory;
use crate::pipeline::{Lane, Pipeline};
use crate::telemetry::Metrics;

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
    #[error("cannot make the data directory {path}: {source}", path = path.display())]
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
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    #[error(transparent)]
    Edge(#[from] EdgeError),
    #[error(transparent)]
    Logstore(#[from] embedded::OpenError),
}

/// What is wrong with the certificates, keys and client authorities of the public listeners, by
/// reading their files.
#[must_use]
pub fn certificate_problems(config: &Config) -> Vec<Problem> {
    let main = ("ingest.tls".to_owned(), &config.ingest.tls);
    let more = config.ingest.listeners.iter().enumerate();
    let more = more.map(|(index, it)| (format!("ingest.listener[{index}].tls"), &it.tls));
    std::iter::once(main)
        .chain(more)
        .flat_map(|(path, rules)| edge::tls::check(&path, rules))
        .collect()
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
    certificates: Vec<Arc<ListenerTls>>,
    ingest: Option<(edge::Stop, JoinHandle<()>)>,
    /// Speaks with the store of shared limits.
    sharing: Option<Serving>,
    pipeline: Option<Pipeline>,
    /// Held for as long as its logs are used: its lock keeps others off.
    spool: Option<SpoolDirectory>,
    /// Events that are set aside on local disk.
    aside: Option<Aside>,
    logstore: Option<(Serving, Arc<EmbeddedLogstore>)>,
    admin: Option<Serving>,
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
    let descriptors = edge::descriptors::raise();
    let watched = &running.metrics.edge;
    watched.descriptor_limit.set(descriptors.unwrap_or(0));
    watched.descriptors.get_or_init(|| edge::descriptors::open);
    let address = config.admin.listen;
    let admin = private(&mut passed, ADMIN_SOCKET, "health and metrics", address).await?;
    running.kept.keep(ADMIN_SOCKET, &admin)?;
    let ingest = match only {
        Some(Only::Logstore) => None,
        _ => Some(Edge::bind(
            config,
            descriptors,
            &running.metrics,
            &mut passed,
        )?),
    };
    for (name, socket) in ingest.iter().flat_map(Edge::sockets) {
        running.kept.keep(name, socket)?;
    }
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
        let identity = Identity::start(config, &running.metrics, load, &running.tasks)?;
        running.identity = Some(identity);
    }
    if let Some(listener) = logstore {
        running.start_logstore(config, listener)?;
    }
    if let (Some(edge), Some(identity)) = (ingest, running.identity.clone()) {
        running.start_gateway(config, edge, &identity)?;
    }
    running.start_admin(config, admin)?;
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
            certificates: Vec::new(),
            ingest: None,
            sharing: None,
            pipeline: None,
            spool: None,
            aside: None,
            logstore: None,
            admin: None,
            kept: KeptSockets::default(),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
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

    /// Reads certificates, their keys and client authorities again. Blocks on files; what cannot be
    /// used is told of in the log, and what was there before stays.
    pub fn reload_certificates(&self) -> impl FnOnce() + Send + use<> {
        let all = self.certificates.clone();
        move || all.iter().for_each(|tls| tls.refresh(true))
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
        self.addresses.logstore = listener.local_addr().ok();
        let store = EmbeddedLogstore::open(
            &config.embedded,
            &config.data_dir,
            upstream_names(config, UpstreamKind::Embedded),
            key,
            self.identity.as_ref().map(|identity| {
                let authenticator = Arc::clone(&identity.authenticator);
                StoreAccess::of(config, account_of(config), authenticator, &self.metrics)
            }),
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

    fn start_gateway(
        &mut self,
        config: &Config,
        edge: Edge,
        identity: &Identity,
    ) -> Result<(), StartError> {
        self.addresses.ingest = edge.addresses();
        self.certificates = edge.certificates();
        let LaneParts {
            lanes,
            clients,
            spool,
        } = self.lane_specs(config)?;
        self.spool = spool;
        let quarantine = aside::open(config, &self.metrics)?;
        let rules = pipeline_rules(config, &self.metrics, Some(&quarantine));
        let pipeline = Pipeline::start(lanes, rules);
        self.metrics.watch_memory(pipeline.memory());
        let site = self.site(config, &pipeline, &clients);
        let security_lane = pipeline.lanes().iter().find(|lane| {
            let rules = &config.security_events;
            rules.project.as_ref() == Some(lane.project())
                && rules.logstore.as_ref() == Some(lane.logstore())
        });
        if let Some(store) = identity.limits().quotas().store().map(Arc::clone) {
            let overrides = &identity.limits().control().overrides;
            let ledgers = sharing::ledgers(identity.state(), overrides);
            self.sharing = Some(self.serving(|stop| self.tasks.spawn(store.run(ledgers, stop))));
        }
        let prepared = {
            let trust = identity.authenticator.trust();
            identity.quality().prepare(config, trust.attached())?
        };
        let parts = FrontParts {
            site,
            guards: Arc::clone(identity.quality().guards()),
            quarantine: Arc::clone(&quarantine),
            authenticator: Arc::clone(&identity.authenticator),
            quotas: Arc::clone(identity.limits().quotas()),
            security_events: SecurityEvents::new(
                &config.security_events,
                security_lane.map(Arc::clone),
                Arc::clone(&self.metrics),
            ),
            metrics: Arc::clone(&self.metrics),
        };
        let front = Front::new(config, parts);
        identity.quality().serve(&front, &self.metrics, prepared);
        self.aside = Some(Aside {
            front: Arc::clone(&front),
            quarantine,
        });
        let metrics = Arc::clone(&self.metrics);
        let stop = edge::Stop::default();
        let serving = self.tasks.spawn(edge.serve(front, metrics, stop.clone()));
        self.ingest = Some((stop, serving));
        self.pipeline = Some(pipeline);
        Ok(())
    }

    fn site(&self, config: &Config, pipeline: &Pipeline, clients: &Clients) -> Site {
        let account = account_of(config);
        let projects = config
            .projects
            .iter()
            .map(|project| {
                let (name, logstores) = (project.name.as_str(), project.logstores.iter());
                let logstores = logstores.filter_map(|logstore| {
                    let of_this = |lane: &&Arc<Lane>| {
                        *lane.project() == project.name && *lane.logstore() == logstore.name
                    };
                    let lane = pipeline.lanes().iter().find(of_this)?;
                    let metrics = self.metrics.logstore(name, logstore.name.as_str());
                    let client = clients.get(&project.name).map(Arc::clone);
                    let parts = SiteParts {
                        lane: Arc::clone(lane),
                        metrics,
                        limits: &config.limits,
                        resource: resource_name(
                            region_of(config, project),
                            account,
                            name,
                            logstore.name.as_str(),
                        ),
                        upstream: client.map(|client| (client, upstream_project(project).clone())),
                    };
                    Some(SiteLogstore::new(logstore.clone(), parts))
                });
                (project.name.clone(), logstores.collect())
            })
            .collect();
        Site::new(&config.ingest, projects)
    }

    fn start_admin(&mut self, config: &Config, listener: TcpListener) -> Result<(), StartError> {
        self.addresses.admin = listener.local_addr().ok();
        let api = match (&self.identity, &self.aside) {
            (Some(identity), Some(aside)) => {
                let reloading = Arc::clone(identity);
                let sampling = Arc::clone(&aside.front);
                Some(Arc::new(AdminApi {
                    state: Arc::clone(identity.state()),
                    limits: Arc::clone(identity.limits().control()),
                    aside: Box::new(aside.clone()),
                    sample: Box::new(move || sampling.sample()),
                    token: admin_token(&config.admin, &config.data_dir)?,
                    hosts: config.admin.hosts.clone(),
                    reload: Box::new(move || reloading.reload()),
                    metrics: Arc::clone(&self.metrics),
                }))
            }
            _ => None,
        };
        let admin = Admin {
            readiness: Arc::clone(&self.readiness),
            metrics: Arc::clone(&self.metrics),
            api,
        };
        self.admin = Some(self.serving(|stop| {
            self.tasks
                .spawn(serve(listener, ADMIN_OPTIONS, move |_| admin.clone(), stop))
        }));
        Ok(())
    }
}

/// Bounds of the private listener: scrapes and probes, nothing more.
const ADMIN_OPTIONS: ServeOptions = ServeOptions {
    max_connections: 64,
    header_timeout: Duration::from_secs(10),
    write_timeout: Duration::from_secs(10),
    max_header: 16 << 10,
};
