//! The sections of the configuration, their defaults, and what each key means.

mod admin;
mod dashboard;
mod delivery;
mod destinations;
mod embedded;
mod guards;
mod identity;
mod ingest;
mod jwt;
mod listeners;
mod metrics;
mod overload;
mod proxies;
mod quota;
mod redis;
mod reload;
mod routes;
mod sample;
mod schema;
mod signed;
mod spool;
mod ticket;
mod tls;
mod token_step;
mod traces;
mod transform;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::admin::{AdminClient, AdminRole, CERTIFICATE_NAMES, certificate_name};
pub use self::dashboard::Dashboard;
pub use self::delivery::{Batch, Breaker, Delivery, Log, LogFormat, RefusedEvents};
pub use self::destinations::{
    FilesFormat, FilesUpstream, KafkaCompression, KafkaKey, KafkaSasl, KafkaUpstream, KafkaValue,
};
pub use self::embedded::{Embedded, Faults, SyncMode};
pub use self::guards::{AtBound, Cardinality, Dedup, DuplicateKeys, Guards, Letters, ReservedKeys};
use self::identity::default_token_places;
pub use self::identity::{Accept, Identity, TokenPlace};
pub use self::ingest::{Http2, Ingest, Listener, MAIN_LISTENER};
pub use self::jwt::{ClaimNames, JwtAlgorithm, JwtKey};
pub use self::listeners::{Admin, Limits, OutsideWindow, TimeWindow};
pub use self::metrics::MetricsRules;
pub use self::overload::{Overload, Priority};
use self::overload::{default_priority, default_weight};
pub use self::proxies::{ProxyProtocol, ProxyRole, TrustedProxies, UntrustedPeer};
pub use self::quota::{
    BudgetPeriod, BudgetRule, Class, Limit, LimitAction, LimitMode, LimitUnit, ParentRule, Quota,
    RateRule, WithoutStore,
};
pub use self::redis::Redis;
pub use self::reload::{Reload, ReloadBy};
pub use self::routes::{
    ClientAddress, Compression, IdentityMode, Logstore, Project, QuotaAnswer, SignatureVersion,
    Upstream, UpstreamKind,
};
use self::routes::{
    default_allow_origins, default_client_address, default_compression, default_development,
    default_signature,
};
pub use self::sample::Sample;
pub use self::schema::{
    OnInvalid, Quarantine, QuarantineUse, Repair, SchemaRule, SchemaUse, UnknownEvents,
};
pub use self::signed::{AccessKeyRule, PolicyRule, Role, Signed, Sts, StsToken};
pub use self::spool::{Ack, ShardBy, Spool, SpoolOrder, SpoolUse, WhenFull};
pub use self::ticket::{Cookies, Revocations, SecurityEvents, Session, Tickets};
pub use self::tls::{Certificate, ClientAuth, Tls, TlsVersion};
pub use self::token_step::{DecodeToken, EncodeToken, TokenAlgorithm, TokenOptions};
pub use self::traces::{IncomingTrace, Traces};
pub use self::transform::{
    AddField, AddressField, AddressForm, AgentField, HashEncoding, HashFields, KeepFields,
    MaskFields, Missing, OnError, ParseJson, PersonalPattern, PrivacyAction, PrivacySignal,
    PrivacySignals, RefererField, RefererForm, RemoveFields, RenameField, RouteEvents,
    SampleEvents, ServerField, SplitQuery, TimeField, TimeFormat, Transform, When,
};
use crate::foundation::names::{LogstoreName, ProjectName};

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder for generated keys and for the embedded logstore. Made on first start, mode 0700.
    pub data_dir: PathBuf,
    /// The public listener, where clients send events.
    pub ingest: Ingest,
    /// The private listener: health, metrics, the dashboard and the admin API.
    pub admin: Admin,
    /// Bounds on what a client may send and on memory.
    pub limits: Limits,
    /// Who is refused when memory, the store or the machine is short; see docs/overload.md.
    pub overload: Overload,
    /// What happens with the time that a client gives an event.
    pub time: TimeWindow,
    /// Who may send: keys, roles and policies, and where a token is looked for.
    pub identity: Identity,
    /// What all limits have in common.
    pub quota: Quota,
    /// Limits on what may be sent, in the order in which they are asked.
    #[serde(rename = "limit")]
    pub limit_rules: Vec<Limit>,
    /// Classes of events, for limits and for what is shed first.
    #[serde(rename = "class")]
    pub classes: Vec<Class>,
    /// Schemas of events, for logstores to use.
    #[serde(rename = "schema")]
    pub schemas: Vec<SchemaRule>,
    /// Events that are set aside.
    pub quarantine: Quarantine,
    /// A sample of requests, to be looked at and tried out.
    pub sample: Sample,
    /// Security events: failed logons, revoked keys in use, replays and policy denials, as events in a logstore.
    pub security_events: SecurityEvents,
    /// How events are packed into LogGroups.
    pub batch: Batch,
    /// How LogGroups are delivered, and what happens on failure and on stopping.
    pub delivery: Delivery,
    /// Events on local disk on their way to the store; see docs/durability.md.
    pub spool: Spool,
    /// Who may have the configuration reloaded while the service runs; see docs/reload.md.
    pub reload: Reload,
    /// Log lines of Tollgate itself, on standard error.
    pub log: Log,
    /// What `/metrics` shows.
    pub metrics: MetricsRules,
    /// Traces of requests and deliveries for a collector, by OTLP over HTTP; see docs/traces.md.
    pub traces: Traces,
    /// The embedded logstore: the API of SLS on local disk.
    pub embedded: Embedded,
    /// Where LogGroups go. Each has a name that projects refer to.
    #[serde(rename = "upstream")]
    pub upstreams: Vec<Upstream>,
    /// The projects and logstores that clients may name. Anything else is refused with 404.
    #[serde(rename = "project")]
    pub projects: Vec<Project>,
}

impl Default for Config {
    /// Every key at its default, with no project: not yet a configuration that can run.
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./tollgate-data"),
            ingest: Ingest::default(),
            admin: Admin::default(),
            limits: Limits::default(),
            overload: Overload::default(),
            time: TimeWindow::default(),
            identity: Identity::default(),
            quota: Quota::default(),
            limit_rules: Vec::new(),
            classes: Vec::new(),
            schemas: Vec::new(),
            quarantine: Quarantine::default(),
            sample: Sample::default(),
            security_events: SecurityEvents::default(),
            batch: Batch::default(),
            delivery: Delivery::default(),
            spool: Spool::default(),
            reload: Reload::default(),
            log: Log::default(),
            metrics: MetricsRules::default(),
            traces: Traces::default(),
            embedded: Embedded::default(),
            upstreams: Vec::new(),
            projects: Vec::new(),
        }
    }
}

impl Config {
    /// The built-in configuration of `tollgate run` without `--config`: the sample project of the
    /// mini-program guide on the embedded logstore. `config/quickstart.toml` is the same as text.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "the names are constants, and a test makes them"
    )]
    pub fn quickstart() -> Self {
        let project = ProjectName::new("sls-webtracking-mini").expect("a project name");
        let logstore = |name: &str, accept| Logstore {
            name: LogstoreName::new(name).expect("a logstore name"),
            upstream_logstore: None,
            upstream: None,
            fallback: None,
            also: None,
            accept,
            identity_mode: IdentityMode::Enforce,
            token_from: default_token_places(),
            allow_origins: default_allow_origins(),
            appids: Vec::new(),
            development: default_development(),
            json_answer: false,
            cookie_fields: BTreeMap::new(),
            client_address: default_client_address(),
            quota_answer: QuotaAnswer::Auto,
            weight: default_weight(),
            priority: default_priority(),
            schema: None,
            quarantine: QuarantineUse::default(),
            guards: Guards::default(),
            transforms: Vec::new(),
            ack: Ack::default(),
            shard_by: ShardBy::default(),
            spool: SpoolUse::default(),
        };
        Self {
            ingest: Ingest {
                default_project: Some(project.clone()),
                ..Ingest::default()
            },
            identity: Identity {
                jwt: vec![JwtKey::named("quickstart", "tollgate", "tollgate")],
                ..Identity::default()
            },
            upstreams: vec![Upstream {
                name: "embedded".to_owned(),
                kind: UpstreamKind::Embedded,
                endpoint: None,
                address: None,
                region: None,
                access_key_id: None,
                access_key_secret: None,
                security_token: None,
                signature: default_signature(),
                compression: default_compression(),
                ca_file: None,
                kafka: None,
                files: None,
            }],
            projects: vec![Project {
                name: project,
                upstream: "embedded".to_owned(),
                fallback: None,
                also: None,
                upstream_project: None,
                policy: None,
                logstores: vec![
                    logstore("web-tracking-logstore", Accept::by_default()),
                    logstore("anonymous-demo", vec![Accept::Anonymous]),
                ],
            }],
            ..Self::default()
        }
    }
}
