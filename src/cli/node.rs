//! The node that a command changes: the running one, by its admin API; or, when nothing listens
//! there, the files that it left, whose lock keeps the two apart.
//!
//! Promise: a command says on standard error which of the two it did, and never falls back after a
//! request was sent. Redirects are not followed, and the token is in no message.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::{Method, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::admin_args::AdminArgs;
use super::api::Api;
use super::source::ConfigSource;
use super::{Exit, Failure, output};
use crate::app;
use crate::config::Config;
use crate::event::{AsideError, PurgeOrder, Purged, ReplayOrder, ReplayReport};
use crate::gate::identity::state::{
    ChangeError, ExtendTicket, IdentityState, MadeTicket, NewRevocation, NewTicket, Revocation,
    RevocationKind, RevocationPage, TicketId, TicketPage, TicketRecord, known_admin_token,
};
use crate::gate::quota::{
    KeyView, LimitControl, LimitDetail, LimitList, NewOverride, OverrideView, Overrides, Quotas,
};
use crate::pipeline::quarantine::Quarantine;
use crate::telemetry::Metrics;

/// Time to find out whether somebody listens.
const CONNECT: Duration = Duration::from_secs(5);
/// Time for one call.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a sample: as much as `sample.memory` may be, and the ends of the lines.
pub(super) const MAX_SAMPLE: usize = 65 << 20;
/// Entries of a list that are asked for at once.
pub(super) const PAGE: usize = 500;
/// Who the records name as their maker.
pub(super) const BY: &str = "command line";

/// Which node a command is about.
#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    #[command(flatten)]
    source: ConfigSource,
    #[command(flatten)]
    admin: Box<AdminArgs>,
}

/// A node that can be changed.
pub(super) enum Node {
    /// It runs.
    Running(Box<Api>),
    /// It does not; these are its files.
    Stopped(Box<Stopped>),
}

/// The files of a node that does not run. Open, so that none starts meanwhile.
pub(super) struct Stopped {
    state: IdentityState,
    config: Config,
}

impl Stopped {
    /// The limits of the configuration, with the overrides that are kept. What keys have used is not
    /// looked at.
    fn limits(&self) -> Result<LimitControl, Failure> {
        let config = &self.config;
        let quotas = Quotas::new(config, 0).map_err(|error| Failure::new(Exit::Config, error))?;
        let max = config.quota.max_overrides;
        let overrides = Overrides::open(&config.data_dir, max, Arc::clone(&quotas));
        if overrides.was_damaged() {
            output::note(
                "warning: bans and raises could not be read; the file is kept as overrides.json.damaged",
            );
        }
        Ok(LimitControl {
            quotas,
            overrides: Arc::new(overrides),
        })
    }
}

impl NodeArgs {
    /// A node that another command names.
    pub(super) fn of(config: Option<PathBuf>, data_dir: Option<PathBuf>, admin: AdminArgs) -> Self {
        Self {
            source: ConfigSource { config, data_dir },
            admin: Box::new(admin),
        }
    }

    /// The configuration, and the node that is to be changed.
    pub(super) fn find(&self) -> Result<(Config, Node), Failure> {
        let (config, api) = self.running()?;
        if let Some(api) = api {
            return Ok((config, Node::Running(api)));
        }
        let state = open(&config)?;
        output::note(format_args!(
            "nothing listens at {}: working on the files in {}; a node reads them when it starts",
            reachable(config.admin.listen),
            config.data_dir.display()
        ));
        let stopped = Stopped {
            state,
            config: config.clone(),
        };
        Ok((config, Node::Stopped(Box::new(stopped))))
    }

    /// The configuration, and the running node, if one listens.
    pub(super) fn running(&self) -> Result<(Config, Option<Box<Api>>), Failure> {
        let config = self.source.load()?;
        let api = running(&config, &self.admin, None)?;
        if let Some(api) = &api {
            let url = api.base();
            output::note(format_args!("by the admin API of the running node, {url}"));
        }
        Ok((config, api))
    }
}

/// Whether what is sent there can be read on the way.
fn sends_in_clear(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|it| it.is_loopback());
    url.scheme_str() == Some("http") && !is_here
}

/// The running node of a configuration, or the one that is named, if one listens. `time` is for each
/// call; without it: as usual.
pub(super) fn running(
    config: &Config,
    admin: &AdminArgs,
    time: Option<Duration>,
) -> Result<Option<Box<Api>>, Failure> {
    let token = known_admin_token(&config.admin, &config.data_dir)
        .map_err(|error| Failure::new(Exit::DataDir, error))?;
    let url = match &admin.admin_url {
        Some(url) => url.clone(),
        None => {
            let address = reachable(config.admin.listen);
            if !listens(address, time.unwrap_or(CONNECT))? {
                return Ok(None);
            }
            let scheme = if config.admin.tls.is_on() {
                "https"
            } else {
                "http"
            };
            Uri::try_from(format!("{scheme}://{address}"))
                .map_err(|error| Failure::new(Exit::Internal, error))?
        }
    };
    let wants_tls = admin.tls.admin_ca.is_some() || config.admin.tls.is_on();
    if admin.admin_url.is_some() && wants_tls && sends_in_clear(&url) {
        let message = format!(
            "{url} would get the token in clear, and --admin-ca or [admin.tls] asks for TLS: begin its URL with `https://`"
        );
        return Err(Failure::new(Exit::Config, message));
    }
    // For one that is found by the configuration and speaks plain HTTP it may stand in the environment.
    let secure = url.scheme_str() == Some("https");
    let certificate = admin.tls.has_certificate() && (secure || admin.admin_url.is_some());
    if token.is_none() && !certificate {
        let message = format!(
            "no token for the admin API at {url}: there is no keys/admin.key in {}; name the data directory of that node with --data-dir, or its configuration with --config, or a certificate with --admin-cert and --admin-key",
            config.data_dir.display()
        );
        return Err(Failure::new(Exit::DataDir, message));
    }
    let tls = admin.tls.client(&config.admin.tls)?;
    Ok(Some(Box::new(Api::new(
        &url,
        token.as_ref(),
        certificate,
        tls,
        time.unwrap_or(TIMEOUT),
    )?)))
}

/// An address to connect to: one that listens on every address is reached by loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
    } else {
        address
    }
}

fn listens(address: SocketAddr, time: Duration) -> Result<bool, Failure> {
    match TcpStream::connect_timeout(&address, time) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => {
            let message = format!("cannot tell whether a node listens at {address}: {error}");
            Err(Failure::new(Exit::Unavailable, message))
        }
    }
}

fn open(config: &Config) -> Result<IdentityState, Failure> {
    IdentityState::open(&config.data_dir, &config.identity, &Metrics::new())
        .map_err(|error| Failure::new(Exit::DataDir, error))
}

fn refused(error: ChangeError) -> Failure {
    let exit = match error {
        ChangeError::Write { .. } => Exit::DataDir,
        _ => Exit::Partial,
    };
    Failure::new(exit, error)
}

impl Node {
    pub(super) fn create_ticket(&self, new: NewTicket) -> Result<MadeTicket, Failure> {
        match self {
            Self::Running(api) => api.post("tickets", &new),
            Self::Stopped(stopped) => stopped.state.create_ticket(new).map_err(refused),
        }
    }

    pub(super) fn extend_ticket(
        &self,
        id: TicketId,
        extend: ExtendTicket,
    ) -> Result<TicketRecord, Failure> {
        match self {
            Self::Running(api) => api.post(&format!("tickets/{id}/extend"), &extend),
            Self::Stopped(stopped) => stopped.state.extend_ticket(id, extend).map_err(refused),
        }
    }

    pub(super) fn revoke_ticket(&self, id: TicketId, reason: &str) -> Result<Revocation, Failure> {
        match self {
            Self::Running(api) => {
                let (reason, by) = (encode(reason), encode(BY));
                let path = format!("tickets/{id}?reason={reason}&by={by}");
                api.call(Method::DELETE, &path, None)
            }
            Self::Stopped(stopped) => {
                let revoked = stopped.state.revoke_ticket(id, reason, Some(BY));
                revoked.map(Arc::unwrap_or_clone).map_err(refused)
            }
        }
    }

    pub(super) fn revoke(&self, new: NewRevocation) -> Result<Revocation, Failure> {
        match self {
            Self::Running(api) => api.post("revocations", &new),
            Self::Stopped(stopped) => {
                let revoked = stopped.state.revoke(new);
                revoked.map(Arc::unwrap_or_clone).map_err(refused)
            }
        }
    }

    pub(super) fn lift(&self, kind: RevocationKind, value: &str) -> Result<Revocation, Failure> {
        match self {
            Self::Running(api) => {
                let path = format!("revocations/{kind}/{}", encode(value));
                api.call(Method::DELETE, &path, None)
            }
            Self::Stopped(stopped) => {
                let lifted = stopped.state.revocations().lift(kind, value);
                lifted.map(Arc::unwrap_or_clone).map_err(refused)
            }
        }
    }

    /// Whether it runs.
    pub(super) fn runs(&self) -> bool {
        matches!(self, Self::Running(_))
    }

    pub(super) fn limits(&self) -> Result<LimitList, Failure> {
        match self {
            Self::Running(api) => api.call(Method::GET, "limits", None),
            Self::Stopped(stopped) => Ok(stopped.limits()?.list()),
        }
    }

    pub(super) fn limit(&self, name: &str, top: usize) -> Result<LimitDetail, Failure> {
        match self {
            Self::Running(api) => {
                let path = format!("limits/{}?top={top}", encode(name));
                api.call(Method::GET, &path, None)
            }
            Self::Stopped(stopped) => stopped.limits()?.show(name, top).map_err(refused),
        }
    }

    pub(super) fn limit_key(&self, name: &str, key: &str) -> Result<KeyView, Failure> {
        match self {
            Self::Running(api) => {
                let path = format!("limits/{}?key={}", encode(name), encode(key));
                api.call(Method::GET, &path, None)
            }
            Self::Stopped(stopped) => stopped.limits()?.key(name, key).map_err(refused),
        }
    }

    pub(super) fn change_key(
        &self,
        name: &str,
        new: &NewOverride,
    ) -> Result<OverrideView, Failure> {
        match self {
            Self::Running(api) => api.post(&format!("limits/{}/overrides", encode(name)), new),
            Self::Stopped(stopped) => stopped.limits()?.add(name, new).map_err(refused),
        }
    }

    pub(super) fn lift_key(&self, name: &str, key: &str) -> Result<OverrideView, Failure> {
        match self {
            Self::Running(api) => {
                let path = format!("limits/{}/overrides/{}", encode(name), encode(key));
                api.call(Method::DELETE, &path, None)
            }
            Self::Stopped(stopped) => stopped.limits()?.lift(name, key).map_err(refused),
        }
    }

    /// The sample of requests, a JSON object a line. Only a running node has one.
    pub(super) fn sample(&self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Running(api) => api.fetch(Method::GET, "sample", None, MAX_SAMPLE),
            Self::Stopped(_) => Err(Failure::new(
                Exit::Unavailable,
                "the node does not run, and the sample is kept in its memory",
            )),
        }
    }

    /// Replays records, as far as one call goes. Only a running node can.
    pub(super) fn replay(&self, order: &ReplayOrder) -> Result<ReplayReport, Failure> {
        match self {
            Self::Running(api) => api.post("quarantine/replay", order),
            Self::Stopped(_) => Err(Failure::new(
                Exit::Unavailable,
                "the node does not run, and only a running node can replay events; start it first",
            )),
        }
    }

    /// Deletes the records of a logstore.
    pub(super) fn purge(&self, order: &PurgeOrder) -> Result<Purged, Failure> {
        let stopped = match self {
            Self::Running(api) => return api.post("quarantine/purge", order),
            Self::Stopped(stopped) => stopped,
        };
        let config = &stopped.config;
        let quarantine = Quarantine::open(&config.data_dir, &config.quarantine, &Arc::default());
        let quarantine = quarantine.map_err(|error| Failure::new(Exit::DataDir, error))?;
        let purged = app::purge(&quarantine, order);
        quarantine.stop(TIMEOUT);
        purged.map_err(|error| {
            let exit = match error {
                AsideError::Disk(_) => Exit::DataDir,
                _ => Exit::Partial,
            };
            Failure::new(exit, error)
        })
    }

    /// Gives every ticket to `show`.
    pub(super) fn tickets(
        &self,
        mut show: impl FnMut(TicketRecord) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut cursor: Option<String> = None;
        loop {
            let page: TicketPage = match self {
                Self::Running(api) => api.list("tickets", "", cursor.as_deref())?,
                Self::Stopped(stopped) => {
                    let page = stopped.state.ticket_page(cursor.as_deref(), PAGE);
                    page.map_err(refused)?
                }
            };
            page.tickets.into_iter().try_for_each(&mut show)?;
            if page.next.is_none() {
                return Ok(());
            }
            cursor = page.next;
        }
    }

    /// Gives every revocation, or every one of a kind, to `show`.
    pub(super) fn revocations(
        &self,
        kind: Option<RevocationKind>,
        mut show: impl FnMut(Revocation) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let filter = kind.map_or_else(String::new, |kind| format!("&kind={kind}"));
        let mut cursor: Option<String> = None;
        loop {
            let page: RevocationPage = match self {
                Self::Running(api) => api.list("revocations", &filter, cursor.as_deref())?,
                Self::Stopped(stopped) => {
                    let page = stopped.state.revocation_page(kind, cursor.as_deref(), PAGE);
                    page.map_err(refused)?
                }
            };
            page.revocations.into_iter().try_for_each(&mut show)?;
            if page.next.is_none() {
                return Ok(());
            }
            cursor = page.next;
        }
    }
}

pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
