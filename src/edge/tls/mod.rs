//! TLS of the public listeners: which certificate a client is shown, how they are read again when
//! their files change, and whose certificates are taken from clients.
//!
//! Promise: a listener that speaks TLS never speaks plain HTTP, and never stops for a bad file: what
//! was good before stays in use. Connections that are open live on with what they began with.
//!
//! Not here: the deadline of a handshake and the bound on those in flight (`edge`'s listener).

mod advice;
mod choose;
mod facts;
mod pair;
mod settings;
mod slot;
mod stamp;
#[cfg(test)]
mod tests;
mod view;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::{HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection};
use tokio_util::sync::CancellationToken;

pub use self::advice::check;
use self::choose::Chooser;
pub use self::pair::{FileError, FileFault};
use self::settings::{Settings, authorities};
use self::slot::{Slot, Trouble};
use self::stamp::Stamp;
pub use self::view::{CertificateFacts, CertificateView, view};
use crate::config::{ClientAuth, Tls};
use crate::foundation::clock;
use crate::telemetry::{CertificateMetrics, Metrics, TlsHandshake};

/// Why a listener cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// rustls refuses the whole.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// What to count a finished handshake as.
pub(super) fn kind(session: &ServerConnection) -> TlsHandshake {
    let new = session.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    match (new, resumed) {
        (false, false) => TlsHandshake::Tls12,
        (false, true) => TlsHandshake::Tls12Resumed,
        (true, false) => TlsHandshake::Tls13,
        (true, true) => TlsHandshake::Tls13Resumed,
    }
}

/// TLS of one listener.
#[derive(Debug)]
pub struct ListenerTls {
    settings: Settings,
    current: ArcSwap<ServerConfig>,
    /// Ends, and begins anew, when an authority of clients is taken out.
    trust: ArcSwap<Trust>,
    /// Held while files are read, never while a connection is made.
    files: Mutex<Files>,
}

/// What connections of clients with a certificate live by.
#[derive(Debug, Default)]
struct Trust {
    lasts: CancellationToken,
    /// A connection has asked for it. Those of public listeners do not.
    asked: AtomicBool,
}

impl Trust {
    fn end(&self) {
        if self.asked.load(Ordering::Relaxed) {
            tracing::info!(
                "an authority of clients was taken out; connections that have shown a certificate end"
            );
        }
        self.lasts.cancel();
    }
}

#[derive(Debug)]
struct Files {
    certificates: Vec<Slot>,
    clients: Option<Authorities>,
    /// Another one has taken its place, which ends what they share.
    followed: bool,
}

/// Whose client certificates are taken.
#[derive(Debug)]
struct Authorities {
    path: PathBuf,
    stamp: Stamp,
    roots: Arc<RootCertStore>,
    trouble: Trouble,
    metrics: Arc<CertificateMetrics>,
}

impl ListenerTls {
    /// Reads certificates and keys of the listener that metrics call `listener`. It speaks
    /// `protocols`, the preferred first.
    ///
    /// # Errors
    /// When a file cannot be used; it is named.
    pub fn load(
        listener: &str,
        rules: &Tls,
        protocols: &[&str],
        metrics: &Metrics,
    ) -> Result<Arc<Self>, TlsError> {
        let settings = Settings::new(rules, protocols)?;
        let mut slots = Vec::with_capacity(rules.certificates.len());
        for files in &rules.certificates {
            let cells = metrics.certificate(listener, &files.cert.display().to_string());
            slots.push(Slot::load(files, &settings.provider, cells)?);
        }
        let clients = match &rules.client_ca {
            Some(path) => Some(Authorities {
                path: path.clone(),
                stamp: Stamp::of(path),
                roots: authorities(path)?,
                trouble: Trouble::default(),
                metrics: metrics.certificate(listener, &path.display().to_string()),
            }),
            None => None,
        };
        let mut files = Files {
            certificates: slots,
            clients,
            followed: false,
        };
        let current = ArcSwap::new(files.config(&settings)?);
        files.remind(clock::unix_seconds());
        Ok(Arc::new(Self {
            settings,
            current,
            trust: ArcSwap::default(),
            files: Mutex::new(files),
        }))
    }

    /// What new connections begin with.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Ends once an authority by which clients are let in now is taken out. To be asked for before
    /// [`Self::config`].
    #[must_use]
    pub fn trust(&self) -> CancellationToken {
        let trust = self.trust.load();
        trust.asked.store(true, Ordering::Relaxed);
        trust.lasts.clone()
    }

    /// It takes the place of another: whom that has let in stays only where nobody is missing here.
    /// The other looks at its files no more, not even where it has just begun to.
    pub fn follow(&self, before: &Self) {
        let held = |tls: &Self, followed: bool| {
            let mut files = tls.files.lock().unwrap_or_else(PoisonError::into_inner);
            files.followed |= followed;
            let asks = tls.settings.rules.client_auth != ClientAuth::None;
            files.authorities().filter(|_| asks)
        };
        if are_kept(held(before, true).as_deref(), held(self, false).as_deref()) {
            self.trust.store(before.trust.load_full());
        } else {
            before.trust.load().end();
        }
    }

    /// Looks at the files every `reload_interval` until `stop`.
    pub async fn keep_fresh(self: Arc<Self>, stop: CancellationToken) {
        let interval: Duration = self.settings.rules.reload_interval.get();
        loop {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = stop.cancelled() => return,
            }
            let this = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || this.refresh(false)).await;
            if let Err(error) = looked {
                tracing::error!(%error, "certificates could not be looked at");
            }
        }
    }

    /// Reads what has changed, or everything when `forced`, and takes it into use for new connections.
    /// Blocks on files.
    pub fn refresh(&self, forced: bool) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if files.followed {
            return;
        }
        let now = clock::unix_seconds();
        let before = files.authorities();
        if files.look(&self.settings, forced, now) {
            match files.config(&self.settings) {
                Ok(config) => {
                    self.current.store(config);
                    if !are_kept(before.as_deref(), files.authorities().as_deref()) {
                        self.trust.swap(Arc::default()).end();
                    }
                }
                Err(error) => tracing::error!(%error, "changed certificates cannot be used"),
            }
        }
        files.remind(now);
    }
}

/// Whether all authorities of the one store are in the other.
fn are_kept(before: Option<&RootCertStore>, now: Option<&RootCertStore>) -> bool {
    let known = now.map_or(&[][..], |it| &it.roots);
    before.is_none_or(|it| it.roots.iter().all(|root| known.contains(root)))
}

impl Files {
    fn authorities(&self) -> Option<Arc<RootCertStore>> {
        self.clients.as_ref().map(|it| Arc::clone(&it.roots))
    }

    /// Looks at every file; true when something is new.
    fn look(&mut self, settings: &Settings, forced: bool, now: u64) -> bool {
        let mut changed = false;
        for slot in &mut self.certificates {
            changed |= slot.look(&settings.provider, forced, now);
        }
        if let Some(clients) = &mut self.clients {
            changed |= clients.look(forced);
        }
        changed
    }

    fn config(&self, settings: &Settings) -> Result<Arc<ServerConfig>, rustls::Error> {
        let pairs = self.certificates.iter().map(|slot| &slot.pair);
        let chooser = Chooser::new(pairs, settings.rules.strict_sni);
        settings.config(chooser, self.clients.as_ref().map(|it| &it.roots))
    }

    fn remind(&mut self, now: u64) {
        for slot in &mut self.certificates {
            slot.remind(now);
        }
    }
}

impl Authorities {
    fn look(&mut self, forced: bool) -> bool {
        let stamp = Stamp::of(&self.path);
        if !forced && !self.trouble.is_there() && stamp == self.stamp {
            return false;
        }
        self.stamp = stamp;
        match authorities(&self.path) {
            Ok(roots) => {
                self.trouble.clear();
                self.metrics.reloaded.inc();
                tracing::info!(file = %self.path.display(), authorities = roots.len(), "client authorities were read again");
                self.roots = roots;
                true
            }
            Err(error) => {
                if self.trouble.note(&error.to_string(), forced) {
                    self.metrics.failed.inc();
                    tracing::error!(
                        "changed client authorities cannot be used, and those before them stay: {error}"
                    );
                }
                false
            }
        }
    }
}
