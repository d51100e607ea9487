//! The node that a command changes: the running one, by its admin API; or, when nothing listens
//! there, the files that it left, whose lock keeps the two apart.
//!
//! Promise: a command says on standard error which of the two it did, and never falls back after a
//! request was sent. Redirects are not followed, and the token is in no message.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use super::source::ConfigSource;
use super::{Exit, Failure, output};
use crate::app;
use crate::config::Config;
use crate::event::{AsideError, PurgeOrder, Purged, ReplayOrder, ReplayReport};
use crate::foundation::secret::Secret;
use crate::gate::identity::state::{
    ChangeError, ExtendTicket, IdentityState, MadeTicket, NewRevocation, NewTicket, Revocation,
    RevocationKind, RevocationPage, TicketId, TicketPage, TicketRecord, known_admin_token,
};
use crate::gate::quota::{
    KeyView, LimitControl, LimitDetail, LimitList, NewOverride, OverrideView, Overrides, Quotas,
};
use crate::pipeline::quarantine::Quarantine;
use crate::telemetry::{Books, Metrics};

/// Time to find out whether somebody listens.
const CONNECT: Duration = Duration::from_secs(5);
/// Time for one call.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read: a list of the longest tickets.
const MAX_ANSWER: usize = 8 << 20;
/// Bytes of a sample: as much as `sample.memory` may be, and the ends of the lines.
const MAX_SAMPLE: usize = 65 << 20;
/// Entries of a list that are asked for at once.
const PAGE: usize = 500;
/// Who the records name as their maker.
pub(super) const BY: &str = "command line";

/// Which node a command is about.
#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    #[command(flatten)]
    source: ConfigSource,
    /// Private listener of the running node. Without it: `admin.listen` of the configuration, and
    /// the files in the data directory when nothing listens there.
    #[arg(long, value_name = "URL")]
    admin_url: Option<Uri>,
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
    pub(super) fn of(
        config: Option<PathBuf>,
        data_dir: Option<PathBuf>,
        admin_url: Option<Uri>,
    ) -> Self {
        Self {
            source: ConfigSource { config, data_dir },
            admin_url,
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
        let token = known_admin_token(&config.admin, &config.data_dir)
            .map_err(|error| Failure::new(Exit::DataDir, error))?;
        let url = match &self.admin_url {
            Some(url) => url.clone(),
            None => {
                let address = reachable(config.admin.listen);
                if !listens(address)? {
                    return Ok((config, None));
                }
                Uri::try_from(format!("http://{address}"))
                    .map_err(|error| Failure::new(Exit::Internal, error))?
            }
        };
        let token = token.ok_or_else(|| {
            let message = format!(
                "no token for the admin API at {url}: there is no keys/admin.key in {}; name the data directory of that node with --data-dir, or its configuration with --config",
                config.data_dir.display()
            );
            Failure::new(Exit::DataDir, message)
        })?;
        let api = Api::new(&url, &token)?;
        output::note(format_args!("by the admin API of the running node, {url}"));
        Ok((config, Some(Box::new(api))))
    }
}

/// An address to connect to: one that listens on every address is reached by loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
    } else {
        address
    }
}

fn listens(address: SocketAddr) -> Result<bool, Failure> {
    match TcpStream::connect_timeout(&address, CONNECT) {
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

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The admin API of a running node.
pub(super) struct Api {
    runtime: Runtime,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    authorization: HeaderValue,
}

impl Api {
    fn new(url: &Uri, token: &Secret) -> Result<Self, Failure> {
        let form = "--admin-url is `http://` or `https://`, a host and perhaps a port";
        let known = matches!(url.scheme_str(), Some("http" | "https"));
        if !known || url.authority().is_none() || url.query().is_some() {
            return Err(Failure::new(Exit::Config, form));
        }
        let internal = |error: &dyn std::fmt::Display| Failure::new(Exit::Internal, error);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| internal(&error))?;
        let value = [b"Bearer ", token.expose()].concat();
        let mut authorization = HeaderValue::from_maybe_shared(Bytes::from(value))
            .map_err(|_| Failure::new(Exit::Config, "the admin token cannot stand in a header"))?;
        authorization.set_sensitive(true);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(provider)
            .map_err(|error| internal(&error))?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            runtime,
            client: Client::builder(TokioExecutor::new()).build(connector),
            base: url.to_string().trim_end_matches('/').to_owned(),
            authorization,
        })
    }

    /// What came in, and where it is or how it ended.
    pub(super) fn books(&self) -> Result<Books, Failure> {
        self.call(Method::GET, "books", None)
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::new(Exit::Internal, error))?;
        self.call(Method::POST, path, Some(body))
    }

    fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        filter: &str,
        cursor: Option<&str>,
    ) -> Result<T, Failure> {
        let cursor = cursor.map_or_else(String::new, |c| format!("&cursor={}", encode(c)));
        let path = format!("{path}?limit={PAGE}{filter}{cursor}");
        self.call(Method::GET, &path, None)
    }

    /// The body of an answer, of at most `most` bytes.
    fn fetch(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        most: usize,
    ) -> Result<Vec<u8>, Failure> {
        let base = &self.base;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{base}/api/v1/{path}"))
            .header(AUTHORIZATION, self.authorization.clone());
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| Failure::new(Exit::Internal, error))?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|e| causes(&e))?;
            let (head, body) = response.into_parts();
            let body = read(body, most).await?;
            Ok::<_, String>((head.status, body))
        };
        let exchange = async { tokio::time::timeout(TIMEOUT, exchange).await };
        let answer = self.runtime.block_on(exchange);
        let no_answer = || Err(format!("no answer within {} s", TIMEOUT.as_secs()));
        let (status, body) = answer.unwrap_or_else(|_| no_answer()).map_err(|why| {
            let message = format!("the admin API at {base}: {why}");
            Failure::new(Exit::Unavailable, message)
        })?;
        if !status.is_success() {
            return Err(self.failure(status, &body));
        }
        Ok(body)
    }

    fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<T, Failure> {
        let body = self.fetch(method, path, body, MAX_ANSWER)?;
        let base = &self.base;
        serde_json::from_slice(&body).map_err(|error| {
            let message = format!("the admin API at {base} gave an answer that is none: {error}");
            Failure::new(Exit::Unavailable, message)
        })
    }

    fn failure(&self, status: StatusCode, body: &[u8]) -> Failure {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct ErrorBody {
            error_message: String,
        }
        let base = &self.base;
        let told = serde_json::from_slice::<ErrorBody>(body).map(|body| body.error_message);
        let message = match (&told, status) {
            (_, StatusCode::UNAUTHORIZED) => format!(
                "the node at {base} does not take the token of this data directory: is it another node? Name its own with --data-dir or --config"
            ),
            (Ok(told), _) => output::escape(told),
            (Err(_), StatusCode::NOT_FOUND) => {
                format!(
                    "there is no admin API at {base}; name the private listener with --admin-url"
                )
            }
            (Err(_), _) => format!("the admin API at {base} answered {status}"),
        };
        let exit = match status {
            StatusCode::UNAUTHORIZED => Exit::Config,
            _ if told.is_err() || status.is_server_error() => Exit::Unavailable,
            _ => Exit::Partial,
        };
        Failure::new(exit, message)
    }
}

/// Reads an answer of at most `most` bytes.
async fn read(mut body: Incoming, most: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| causes(&error))?.into_data() {
            if bytes.len() + data.len() > most {
                return Err("the answer is too long".to_owned());
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

/// An error with its causes: that of the client alone says only that a request failed.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
