//! The private listener of a running service: its TLS, and what it serves.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::HeaderValue;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::sockets::ADMIN_SOCKET;
use super::stopping::Serving;
use super::{Running, StartError};
use crate::admin::{Admin, AdminApi};
use crate::config::{Config, Tls};
use crate::edge::EdgeError;
use crate::edge::tls::ListenerTls;
use crate::foundation::peers::Peers;
use crate::foundation::serve::{Connected, Handshake, ServeOptions, TlsSide, serve};
use crate::gate::identity::state::admin_token;
use crate::telemetry::{AdminHandshake, Metrics, ReloadSource};

/// TLS of the private listener, whose rules a reload changes.
pub(super) struct PrivateTls {
    now: ArcSwap<Rules>,
    /// What answers say of https.
    hsts: Arc<ArcSwapOption<HeaderValue>>,
    metrics: Arc<Metrics>,
    /// Ends with it.
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The rules of a configuration, and what was read by them.
pub(super) struct Rules {
    rules: Tls,
    files: Arc<ListenerTls>,
    /// Ends looking at the files.
    fresh: CancellationToken,
}

impl PrivateTls {
    /// Reads the certificates; none where the listener speaks plain HTTP.
    pub(super) fn load(
        rules: &Tls,
        metrics: &Arc<Metrics>,
        tasks: &TaskTracker,
    ) -> Result<Option<Arc<Self>>, StartError> {
        if !rules.is_on() {
            return Ok(None);
        }
        let stop = CancellationToken::new();
        let made = Self {
            now: ArcSwap::from_pointee(read(rules, metrics, &stop)?),
            hsts: Arc::new(ArcSwapOption::from_pointee(hsts(rules))),
            metrics: Arc::clone(metrics),
            stop,
            tasks: tasks.clone(),
        };
        Ok(Some(Arc::new(made)))
    }

    /// Makes ready what a changed configuration asks for; none where it asks for the same.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub(super) fn prepare(&self, rules: &Tls) -> Result<Option<Rules>, EdgeError> {
        if self.now.load().rules == *rules {
            return Ok(None);
        }
        read(rules, &self.metrics, &self.stop).map(Some)
    }

    /// Puts in force what was made ready, and reads all files again. To be called in a runtime.
    pub(super) fn take_over(&self, prepared: Option<Rules>) {
        let Some(prepared) = prepared else {
            self.now.load().files.refresh(true);
            return;
        };
        self.hsts.store(hsts(&prepared.rules).map(Arc::new));
        prepared.files.follow(&self.now.load().files);
        let before = self.now.swap(Arc::new(prepared));
        before.fresh.cancel();
        self.keep_fresh();
    }

    /// Looks at the files from now on.
    fn keep_fresh(&self) {
        let now = self.now.load();
        let fresh = Arc::clone(&now.files).keep_fresh(now.fresh.clone());
        self.tasks.spawn(fresh);
    }
}

fn read(rules: &Tls, metrics: &Metrics, stop: &CancellationToken) -> Result<Rules, EdgeError> {
    let files = ListenerTls::load(ADMIN_SOCKET, rules, &["http/1.1"], metrics);
    let files = files.map_err(|source| EdgeError::Tls {
        listener: ADMIN_SOCKET.to_owned(),
        source,
    })?;
    Ok(Rules {
        rules: rules.clone(),
        files,
        fresh: stop.child_token(),
    })
}

impl Drop for PrivateTls {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl TlsSide for PrivateTls {
    fn config(&self) -> Arc<ServerConfig> {
        self.now.load().files.config()
    }

    fn trust(&self) -> CancellationToken {
        self.now.load().files.trust()
    }

    fn ended(&self, handshake: Handshake) {
        let outcome = match handshake {
            Handshake::Done => AdminHandshake::Done,
            Handshake::Failed => AdminHandshake::Failed,
            Handshake::TimedOut => AdminHandshake::Timeout,
        };
        self.metrics.admin_handshakes.at(outcome as usize).inc();
    }
}

/// What answers say of https.
fn hsts(rules: &Tls) -> Option<HeaderValue> {
    let age = rules.hsts?;
    format!("max-age={}", age.as_secs()).parse().ok()
}

/// Connections of the private listener for scrapes, probes and calls, beside those of pages: a browser
/// holds one for live numbers, and some more for its calls.
const CONNECTIONS: u32 = 64;
const CONNECTIONS_OF_A_PAGE: u32 = 4;

/// Bounds of the private listener.
const ADMIN_OPTIONS: ServeOptions = ServeOptions {
    max_connections: CONNECTIONS,
    header_timeout: Duration::from_secs(10),
    write_timeout: Duration::from_secs(10),
    max_header: 16 << 10,
    peers: None,
};

impl Running {
    pub(super) fn start_admin(
        &mut self,
        config: &Config,
        listener: TcpListener,
    ) -> Result<(), StartError> {
        self.addresses.admin = listener.local_addr().ok();
        let stop = CancellationToken::new();
        let mut dashboard = None;
        let api = match (&self.identity, &self.aside, &self.control) {
            (Some(identity), Some(aside), Some(control)) => {
                let token = admin_token(&config.admin, &config.data_dir)?;
                self.admin_clients.set(&config.admin, Some(token));
                dashboard = self.dashboard(config, &stop);
                let reloading = Arc::clone(control);
                let sampling = Arc::clone(&aside.fronts);
                Some(Arc::new(AdminApi {
                    state: Arc::clone(identity.state()),
                    limits: Arc::clone(identity.limits().control()),
                    aside: Box::new(aside.clone()),
                    node: Box::new(self.node(control)),
                    sample: Box::new(move || sampling.now().sample()),
                    clients: Arc::clone(&self.admin_clients),
                    reload: Box::new(move |order| reloading.reload(ReloadSource::Api, order)),
                    metrics: Arc::clone(&self.metrics),
                }))
            }
            _ => None,
        };
        let admin = Admin {
            readiness: Arc::clone(&self.readiness),
            metrics: Arc::clone(&self.metrics),
            scrapes: Arc::default(),
            clients: Arc::clone(&self.admin_clients),
            api,
            dashboard,
            hsts: self
                .admin_tls
                .as_ref()
                .map(|it| Arc::clone(&it.hsts))
                .unwrap_or_default(),
        };
        let connections = CONNECTIONS + CONNECTIONS_OF_A_PAGE * config.admin.dashboard.max_viewers;
        let metrics = Arc::clone(&self.metrics);
        let options = ServeOptions {
            max_connections: connections,
            // Half: a proxy in front has room for its pages, and probes have room beside it.
            peers: Some(Peers::new(connections / 2, move || {
                metrics.dashboard.connections_refused.inc();
            })),
            ..ADMIN_OPTIONS
        };
        let tls = self.admin_tls.clone();
        if let Some(tls) = &tls {
            tls.keep_fresh();
        }
        let tls = tls.map(|tls| -> Arc<dyn TlsSide> { tls });
        let service = move |connected: Connected| admin.for_connected(&connected);
        let task = serve(listener, options, tls, service, stop.clone());
        self.admin = Some(Serving {
            task: self.tasks.spawn(task),
            stop,
        });
        Ok(())
    }
}
