//! What is wanted: the options, and what is usual where none says it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;

use super::{InitArgs, reference};
use crate::cli::{Exit, Failure};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::network::Network;
use crate::foundation::secret::Secret;

/// Who sends events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Clients {
    /// Web pages, with tokens (JWT) that your backend makes.
    #[default]
    Web,
    /// Mini programs, with temporary credentials that your app server asks for, or tokens.
    MiniProgram,
    /// Anyone: for a demo.
    Open,
}

/// Where events go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum StoreKind {
    /// The embedded logstore, on local disk.
    #[default]
    Embedded,
    /// Simple Log Service.
    Sls,
}

/// A store of Simple Log Service.
#[derive(Clone, Debug)]
pub(super) struct Sls {
    pub(super) endpoint: String,
    pub(super) region: Option<String>,
    pub(super) key_id: String,
    pub(super) key_secret: String,
}

/// What stands in front.
#[derive(Clone, Debug)]
pub(super) enum Front {
    /// Nothing, or a proxy of this machine.
    Plain,
    /// Load balancers in these networks.
    LoadBalancer(Vec<Network>),
    /// Clients speak TLS with Tollgate.
    Tls { cert: PathBuf, key: PathBuf },
}

/// What several nodes share limits through.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) urls: Vec<String>,
    pub(super) password: Option<String>,
    pub(super) nodes: u32,
}

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) clients: Clients,
    pub(super) project: String,
    pub(super) logstore: String,
    pub(super) origins: Vec<String>,
    pub(super) sls: Option<Sls>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) domains: Vec<String>,
    pub(super) front: Front,
    pub(super) shared: Option<Shared>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) make_keys: bool,
}

/// The endpoint that stands in an example.
pub(super) const ENDPOINT: &str = "https://cn-hangzhou.log.aliyuncs.com";
/// Where the access key usually is.
pub(super) const KEY_ID: &str = "env:SLS_ACCESS_KEY_ID";
/// Where its secret usually is.
pub(super) const KEY_SECRET: &str = "env:SLS_ACCESS_KEY_SECRET";

/// Where a secret is. What was given is not repeated in an error: it may be the secret.
fn placed(option: &str, given: Option<&Secret>) -> Result<Option<String>, Failure> {
    let Some(given) = given else {
        return Ok(None);
    };
    let text = given.expose_text().unwrap_or_default();
    let read = reference(text)
        .map_err(|why| Failure::new(Exit::CommandLine, format!("{option}: {why}")))?;
    Ok(Some(read.to_string()))
}

/// A URL without a user and a password: the configuration may be read by anyone. The text is not repeated
/// in an error.
pub(super) fn without_password(url: &str, how: &str) -> Result<String, String> {
    match url.contains('@') {
        true => Err(format!("no user and no password stand in the URL; {how}")),
        false => Ok(url.to_owned()),
    }
}

/// How the key of the endpoint is named.
pub(super) const OF_ENDPOINT: &str = "name the key by --access-key-id, and where its secret is by --access-key-secret env:NAME or file:PATH";
/// How the password of Redis is named.
pub(super) const OF_REDIS: &str = "name where the password is by --redis-password env:NAME or file:PATH; a user goes into quota.redis.user";

impl Plan {
    /// What the options say.
    ///
    /// # Errors
    /// When a secret stands in the place of where it is.
    pub(super) fn of(args: &InitArgs) -> Result<Self, Failure> {
        let urls = args.redis.iter().map(|url| ("--redis", url, OF_REDIS));
        let endpoint = args.endpoint.iter();
        let endpoint = endpoint.map(|url| ("--endpoint", url, OF_ENDPOINT));
        for (option, url, how) in urls.chain(endpoint) {
            without_password(url, how)
                .map_err(|why| Failure::new(Exit::CommandLine, format!("{option}: {why}")))?;
        }
        let to_sls = args.store == Some(StoreKind::Sls) || args.endpoint.is_some();
        let key_secret = placed("--access-key-secret", args.access_key_secret.as_ref())?;
        let password = placed("--redis-password", args.redis_password.as_ref())?;
        let sls = to_sls.then(|| Sls {
            endpoint: args.endpoint.clone().unwrap_or_else(|| ENDPOINT.to_owned()),
            region: args.region.clone(),
            key_id: args
                .access_key_id
                .clone()
                .unwrap_or_else(|| KEY_ID.to_owned()),
            key_secret: key_secret.unwrap_or_else(|| KEY_SECRET.to_owned()),
        });
        let front = match (&args.tls_cert, &args.tls_key) {
            (Some(cert), Some(key)) => Front::Tls {
                cert: cert.clone(),
                key: key.clone(),
            },
            _ if !args.load_balancer.is_empty() => Front::LoadBalancer(args.load_balancer.clone()),
            _ => Front::Plain,
        };
        let shared = (!args.redis.is_empty()).then(|| Shared {
            urls: args.redis.clone(),
            password,
            nodes: args.nodes.unwrap_or(2),
        });
        let project = args.project.as_ref().map(ProjectName::as_str);
        let logstore = args.logstore.as_ref().map(LogstoreName::as_str);
        Ok(Self {
            clients: args.clients.unwrap_or_default(),
            project: project.unwrap_or("my-project").to_owned(),
            logstore: logstore.unwrap_or("web-tracking").to_owned(),
            origins: args.origin.clone(),
            sls,
            listen: args.listen,
            domains: args.domain.clone(),
            front,
            shared,
            data_dir: args.data_dir.clone(),
            make_keys: args.make_keys,
        })
    }

    /// Where clients connect.
    pub(super) fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or(match self.front {
            Front::Plain => SocketAddr::from(([127, 0, 0, 1], 8080)),
            Front::LoadBalancer(_) => SocketAddr::from(([0, 0, 0, 0], 8080)),
            Front::Tls { .. } => SocketAddr::from(([0; 8], 8443)),
        })
    }
}
