//! Which store to read from, by which names, and with which key.
//!
//! Promise: nothing is made here. A key that is not there is an error that says where it would come
//! from.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Args;

use crate::cli::source::{choose_logstore, secret};
use crate::cli::{Exit, Failure};
use crate::config::{Config, SignatureVersion, Upstream, UpstreamKind, region_of};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::secret::{Secret, SecretRef};
use crate::logstore::client::{StoreClient, StoreEndpoint};
use crate::logstore::signature::AccessKey;

/// Time for one call. A pull may be large and the line slow.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What to do when an embedded logstore cannot be reached.
const START_IT: &str = ". Start `tollgate run`, or name the store with --logstore-url";

/// Which logstore, and how it is reached.
#[derive(Debug, Args)]
pub(in crate::cli) struct StoreArgs {
    /// Project to read. Without it: the first of the configuration.
    #[arg(long)]
    pub(in crate::cli) project: Option<ProjectName>,
    /// Logstore to read. Without it: the first of the project.
    #[arg(long)]
    pub(in crate::cli) logstore: Option<LogstoreName>,
    /// Endpoint of the store, without the project. Without it: the store to which the configuration
    /// delivers the project. Without an access key, it is taken for an embedded logstore whose key
    /// is on this machine.
    #[arg(long, value_name = "URL")]
    logstore_url: Option<String>,
    /// Access key for --logstore-url.
    #[arg(
        long,
        value_name = "ID",
        requires = "access_key_secret",
        requires = "logstore_url"
    )]
    access_key_id: Option<String>,
    /// Where the secret of the access key is: `env:NAME` or `file:PATH`.
    #[arg(long, value_name = "REFERENCE", requires = "access_key_id", value_parser = secret)]
    access_key_secret: Option<Secret>,
    /// Region of the store. Without it: taken from the name of the endpoint.
    #[arg(long, requires = "access_key_id")]
    region: Option<String>,
}

/// A logstore as its store knows it.
#[derive(Debug)]
pub(super) struct Readable {
    pub(super) client: StoreClient,
    /// Where it is.
    pub(super) place: String,
    /// What to do when it cannot be reached, to be put behind the failure.
    pub(super) help: &'static str,
    pub(super) project: ProjectName,
    pub(super) logstore: LogstoreName,
}

/// Decides what is read.
///
/// # Errors
/// When the arguments and the configuration do not say it, or a key cannot be read.
pub(super) fn resolve(args: &StoreArgs, config: &Config) -> Result<Readable, Failure> {
    let (project, logstore) =
        choose_logstore(config, args.project.as_ref(), args.logstore.as_ref())?;
    let (endpoint, help) = match (&args.logstore_url, &args.access_key_id) {
        (Some(url), Some(id)) => (foreign(args, url, id)?, ""),
        (Some(url), None) => (embedded(config, url.clone(), None)?, START_IT),
        (None, _) => {
            let upstream = configured(config, &project, &logstore)?;
            let own = upstream.kind == UpstreamKind::Embedded;
            let help = if own { START_IT } else { "" };
            (endpoint_of(config, upstream)?, help)
        }
    };
    let (project, logstore) = match args.access_key_id {
        Some(_) => (project, logstore),
        None => names_at_store(config, project, logstore),
    };
    let place = match endpoint.address {
        Some(address) if help == START_IT => format!("http://{address}"),
        _ => endpoint.base.clone(),
    };
    let client = StoreClient::new(endpoint).map_err(|error| wrong(&error))?;
    Ok(Readable {
        client,
        place,
        help,
        project,
        logstore,
    })
}

/// A store that only the command line knows.
fn foreign(args: &StoreArgs, url: &str, id: &str) -> Result<StoreEndpoint, Failure> {
    let reference = args
        .access_key_secret
        .as_ref()
        .and_then(Secret::expose_text);
    let reference = reference.unwrap_or_default().to_owned();
    let secret = SecretRef::try_from(reference).and_then(|reference| reference.read());
    let secret = secret.map_err(|error| wrong(&format_args!("--access-key-secret: {error}")))?;
    let region = args
        .region
        .as_deref()
        .or_else(|| region_of(url))
        .ok_or_else(|| {
            wrong(&"the region is not in the name of the endpoint; name it with --region")
        })?;
    Ok(StoreEndpoint {
        base: url.to_owned(),
        address: None,
        region: region.to_owned(),
        key: AccessKey {
            id: id.to_owned(),
            secret,
            security_token: None,
        },
        signature: SignatureVersion::V4,
        ca_file: None,
        timeouts: TIMEOUT.into(),
    })
}

/// The store to which the configuration delivers a logstore.
fn configured<'c>(
    config: &'c Config,
    project: &ProjectName,
    logstore: &LogstoreName,
) -> Result<&'c Upstream, Failure> {
    let known = config.projects.iter().find(|known| known.name == *project);
    let upstream = known.and_then(|known| {
        let entry = known.logstores.iter().find(|entry| entry.name == *logstore);
        config.upstream(entry.map_or(&*known.upstream, |entry| known.upstream_of(entry)))
    });
    let upstream = upstream.ok_or_else(|| {
        let message = format!(
            "the configuration has no project {project}; name its store with --logstore-url"
        );
        wrong(&message)
    })?;
    if matches!(upstream.kind, UpstreamKind::Kafka | UpstreamKind::Files) {
        let (name, kind) = (&upstream.name, upstream.kind.name());
        let message = format!(
            "the events of {logstore} in {project} go to `{name}`, which is of kind {kind}: there is no logstore to read"
        );
        return Err(wrong(&message));
    }
    Ok(upstream)
}

/// How an upstream is spoken to, with its key of this machine.
///
/// # Errors
/// When the key cannot be read, or it is no store.
pub(in crate::cli) fn endpoint_of(
    config: &Config,
    upstream: &Upstream,
) -> Result<StoreEndpoint, Failure> {
    match upstream.kind {
        UpstreamKind::Embedded => {
            let listen = config.embedded.listen;
            let base = format!("http://localhost:{}", listen.port());
            embedded(config, base, Some(reachable(listen)))
        }
        UpstreamKind::Sls => Ok(StoreEndpoint {
            base: upstream.endpoint.clone().unwrap_or_default(),
            address: upstream.address,
            region: upstream.effective_region().unwrap_or_default().to_owned(),
            key: upstream_key(upstream)?,
            signature: upstream.signature,
            ca_file: upstream.ca_file.clone(),
            timeouts: TIMEOUT.into(),
        }),
        UpstreamKind::Kafka | UpstreamKind::Files => {
            let (name, kind) = (&upstream.name, upstream.kind.name());
            let message = format!("`{name}` is of kind {kind}, and no store");
            Err(wrong(&message))
        }
    }
}

/// The embedded logstore at an address, with its key of this machine.
fn embedded(
    config: &Config,
    base: String,
    address: Option<SocketAddr>,
) -> Result<StoreEndpoint, Failure> {
    Ok(StoreEndpoint {
        base,
        address,
        region: config.embedded.region.clone(),
        key: AccessKey {
            id: config.embedded.access_key_id.clone(),
            secret: embedded_secret(config)?,
            security_token: None,
        },
        signature: SignatureVersion::V4,
        ca_file: None,
        timeouts: TIMEOUT.into(),
    })
}

fn embedded_secret(config: &Config) -> Result<Secret, Failure> {
    if let Some(reference) = &config.embedded.access_key_secret {
        return reference.read().map_err(|error| wrong(&error));
    }
    let path = config.data_dir.join("keys").join("logstore.key");
    SecretRef::File(path).read().map_err(|error| {
        let message = format!(
            "no key of the embedded logstore: {error}. \
             Start `tollgate run` first, or name its folder with --data-dir"
        );
        Failure::new(Exit::DataDir, message)
    })
}

fn upstream_key(upstream: &Upstream) -> Result<AccessKey, Failure> {
    let failed = |error| wrong(&format_args!("upstream `{}`: {error}", upstream.name));
    let read = |reference: &Option<SecretRef>| reference.as_ref().map(SecretRef::read).transpose();
    let secret = read(&upstream.access_key_secret).map_err(failed)?;
    Ok(AccessKey {
        id: upstream.key_id().map_err(failed)?,
        secret: secret.unwrap_or_else(|| Secret::new("")),
        security_token: read(&upstream.security_token).map_err(failed)?,
    })
}

/// What the store calls them: the configuration may give them other names towards clients.
pub(in crate::cli) fn names_at_store(
    config: &Config,
    project: ProjectName,
    logstore: LogstoreName,
) -> (ProjectName, LogstoreName) {
    let Some(known) = config.projects.iter().find(|known| known.name == project) else {
        return (project, logstore);
    };
    let entry = known.logstores.iter().find(|entry| entry.name == logstore);
    let logstore_there = entry.and_then(|entry| entry.upstream_logstore.clone());
    (
        known.upstream_project.clone().unwrap_or(project),
        logstore_there.unwrap_or(logstore),
    )
}

/// One that listens on every address is reached by loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
    } else {
        address
    }
}

fn wrong(message: &dyn Display) -> Failure {
    Failure::new(Exit::Config, message)
}
