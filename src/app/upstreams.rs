//! What the configuration says of stores, as the parts want it: names, keys, codecs, addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use super::StartError;
use crate::config::{Compression, Config, Upstream, UpstreamKind};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::secret::SecretError;
use crate::gate::identity::load_or_make;
use crate::logstore::codec::Codec;
use crate::logstore::signature::AccessKey;

pub(super) fn upstream_project(project: &crate::config::Project) -> &ProjectName {
    project.upstream_project.as_ref().unwrap_or(&project.name)
}

/// The account that policies may name: that of the roles, which are all of one.
pub(super) fn account_of(config: &Config) -> &str {
    let arn = config.identity.roles.first().map(|role| role.arn.as_str());
    let account = arn.and_then(|arn| arn.split(':').nth(3));
    account.unwrap_or_default()
}

/// The region that policies may name: that of the logstore's store.
pub(super) fn region_of<'c>(
    config: &'c Config,
    project: &crate::config::Project,
    logstore: &crate::config::Logstore,
) -> &'c str {
    match config.upstream(project.upstream_of(logstore)) {
        Some(upstream) if upstream.kind == UpstreamKind::Embedded => &config.embedded.region,
        Some(upstream) => upstream.effective_region().unwrap_or_default(),
        None => "",
    }
}

pub(super) fn upstream_logstore(logstore: &crate::config::Logstore) -> &LogstoreName {
    logstore
        .upstream_logstore
        .as_ref()
        .unwrap_or(&logstore.name)
}

/// The projects and logstores, by their names at the upstreams of one kind.
pub(super) fn upstream_names(
    config: &Config,
    kind: UpstreamKind,
) -> Vec<(ProjectName, Vec<LogstoreName>)> {
    let mut names: BTreeMap<ProjectName, BTreeSet<LogstoreName>> = BTreeMap::new();
    for project in &config.projects {
        for logstore in &project.logstores {
            let of_kind = |u: &Upstream| project.sends(logstore, &u.name) && u.kind == kind;
            if config.upstreams.iter().any(of_kind) {
                // Several projects may share one at the upstream.
                let logstores = names.entry(upstream_project(project).clone()).or_default();
                logstores.insert(upstream_logstore(logstore).clone());
            }
        }
    }
    names
        .into_iter()
        .map(|(project, logstores)| (project, logstores.into_iter().collect()))
        .collect()
}

pub(super) fn codec_of(compression: Compression) -> Codec {
    match compression {
        Compression::Lz4 => Codec::Lz4,
        Compression::Zstd => Codec::Zstd,
        Compression::None => Codec::None,
    }
}

/// An address to connect to: one that listens on every address is reached by loopback.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
    } else {
        address
    }
}

pub(super) fn embedded_key(config: &Config) -> Result<AccessKey, StartError> {
    let secret = match &config.embedded.access_key_secret {
        Some(reference) => reference
            .read()
            .map_err(|source| StartError::UpstreamSecret {
                upstream: "embedded".to_owned(),
                source,
            })?,
        None => load_or_make(&config.data_dir, "logstore")?,
    };
    Ok(AccessKey {
        id: config.embedded.access_key_id.clone(),
        secret,
        security_token: None,
    })
}

pub(super) fn upstream_key(upstream: &Upstream) -> Result<AccessKey, StartError> {
    let failed = |source| StartError::UpstreamSecret {
        upstream: upstream.name.clone(),
        source,
    };
    let secret = upstream
        .access_key_secret
        .as_ref()
        .ok_or(failed(SecretError::Form))?;
    let token = upstream
        .security_token
        .as_ref()
        .map(|token| token.read())
        .transpose();
    Ok(AccessKey {
        id: upstream.key_id().map_err(failed)?,
        secret: secret.read().map_err(failed)?,
        security_token: token.map_err(failed)?,
    })
}
