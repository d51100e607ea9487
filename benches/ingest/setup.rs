//! The configurations that are measured, and the certificate of those that speak TLS.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tollgate::config::{Ack, Config, Limit, PolicyRule, Role, SchemaRule};
use tollgate::foundation::units::Span;

use crate::traffic::{LOGSTORE, TOKEN_SECONDS};
use crate::wire::{SERVER_NAME, Wire};

/// The role of signed requests.
pub const ROLE: &str = "acs:ram::1234567890123456:role/sls-web-tracking";
/// What its holders may do.
const POLICY: &str = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["log:PutWebTracking"],"Resource":["acs:log:*:*:project/*/logstore/*"]}]}"#;

/// Limits that let everything pass that the bench sends: by address, by subject, and of the logstore.
const LIMITS: [&str; 3] = [
    "name = \"per-address\"\nkey = [\"address\"]\nrate = [{ count = 1000000, per = \"1s\" }]",
    "name = \"per-subject\"\nkey = [\"subject\"]\nunit = \"events\"\nrate = [{ count = 1000000, per = \"1s\" }]",
    "name = \"per-logstore\"\nkey = [\"logstore\"]\nunit = \"bytes\"\nrate = [{ count = \"10GiB\", per = \"1s\" }]",
];
/// A limit that the second request of the hour does not keep.
const TIGHT: &str =
    "name = \"per-address\"\nkey = [\"address\"]\nrate = [{ count = 1, per = \"1h\" }]";
/// What a logstore does with the schema.
const SCHEMA_USE: &str = "use = [\"event\"]\nmode = \"enforce\"\non_invalid = \"drop\"";

/// How Tollgate is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gateway {
    /// With everything on: three limits, a schema that is enforced, and a role for signed requests.
    Full,
    /// As built in.
    Plain,
    /// As built in, and with a limit on each address, which the bench has used up.
    UsedUp,
    /// With everything on, and an answer only when events are on disk.
    Disk,
    /// With everything on, and deadlines that let connections stand idle.
    Idle,
    /// With everything on, over TLS.
    Tls,
}

impl Gateway {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "everything on",
            Self::Plain => "built in",
            Self::UsedUp => "used up",
            Self::Disk => "disk",
            Self::Idle => "idle",
            Self::Tls => "tls",
        }
    }

    /// Changes the built-in configuration.
    pub fn configure(self, config: &mut Config, certificate: &Certificate) -> anyhow::Result<()> {
        match self {
            Self::Plain => Ok(()),
            Self::UsedUp => {
                config.limit_rules = vec![toml::from_str(TIGHT)?];
                Ok(())
            }
            Self::Full => everything(config),
            Self::Disk => {
                for logstore in config.projects.iter_mut().flat_map(|it| &mut it.logstores) {
                    logstore.ack = Ack::Disk;
                }
                everything(config)
            }
            Self::Idle => {
                let minutes = Span::secs(3600);
                config.ingest.first_byte_timeout = minutes;
                config.ingest.header_timeout = minutes;
                config.ingest.idle_timeout = minutes;
                everything(config)
            }
            Self::Tls => {
                config.ingest.tls.certificates = vec![tollgate::config::Certificate {
                    cert: certificate.cert.clone(),
                    key: certificate.key.clone(),
                }];
                everything(config)
            }
        }
    }
}

/// Limits, a schema and a role.
pub fn everything(config: &mut Config) -> anyhow::Result<()> {
    config.limit_rules = limits()?;
    config.schemas = vec![schema("event")?];
    let logstores = config.projects.iter_mut().flat_map(|it| &mut it.logstores);
    for logstore in logstores.filter(|it| it.name.as_str() == LOGSTORE) {
        logstore.schema = Some(toml::from_str(SCHEMA_USE)?);
    }
    config.identity.policies = vec![PolicyRule {
        name: "write".to_owned(),
        file: None,
        document: Some(POLICY.to_owned()),
    }];
    config.identity.roles = vec![Role {
        arn: ROLE.to_owned(),
        policies: vec!["write".to_owned()],
        assumed_by: Vec::new(),
        external_id: None,
        max_session_duration: Span::secs(TOKEN_SECONDS),
    }];
    config.identity.signed.window = Span::secs(TOKEN_SECONDS);
    Ok(())
}

/// The limits that everything passes.
fn limits() -> anyhow::Result<Vec<Limit>> {
    let rules = LIMITS.iter().map(|rule| Ok(toml::from_str(rule)?));
    rules.collect()
}

/// The schema of the events that the bench sends, under this name.
pub fn schema(name: &str) -> anyhow::Result<SchemaRule> {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/benches/ingest/event.schema.json"
    );
    Ok(toml::from_str(&format!(
        "name = \"{name}\"\nfile = \"{file}\""
    ))?)
}

/// A certificate for the servers of the bench, which its load generator trusts.
#[derive(Debug)]
pub struct Certificate {
    _folder: TempDir,
    /// PEM file.
    pub cert: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
    roots: Arc<RootCertStore>,
}

impl Certificate {
    /// Makes one.
    pub fn make() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let pair = KeyPair::generate()?;
        let made = CertificateParams::new([SERVER_NAME.to_owned()])?.self_signed(&pair)?;
        let (cert, key) = (
            folder.path().join("cert.pem"),
            folder.path().join("key.pem"),
        );
        std::fs::write(&cert, made.pem())?;
        std::fs::write(&key, pair.serialize_pem())?;
        let mut roots = RootCertStore::empty();
        roots.add(made.der().clone())?;
        Ok(Self {
            _folder: folder,
            cert,
            key,
            roots: Arc::new(roots),
        })
    }

    /// TLS of the load generator, for what is on it.
    pub fn client(&self, wire: Wire) -> anyhow::Result<Option<Arc<ClientConfig>>> {
        if !wire.is_encrypted() {
            return Ok(None);
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .context("TLS 1.3 is not there")?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        config.alpn_protocols = vec![wire.protocol().to_vec()];
        Ok(Some(Arc::new(config)))
    }
}
