//! Upstreams, projects and logstores.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::destinations::{FilesUpstream, KafkaUpstream};
use super::guards::Guards;
use super::identity::{Accept, TokenPlace, default_token_places};
use super::overload::{Priority, default_priority, default_weight};
use super::schema::{QuarantineUse, SchemaUse};
use super::spool::{Ack, ShardBy, SpoolUse};
use super::transform::Transform;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::secret::SecretRef;

/// Where LogGroups go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Name, for `upstream`, `fallback` and `also` of projects and logstores.
    pub name: String,
    /// Kind of store.
    pub kind: UpstreamKind,
    /// `http://` or `https://` and the endpoint without the project, such as `https://cn-hangzhou.log.aliyuncs.com`. Not for kind `embedded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "https://cn-hangzhou.log.aliyuncs.com")]
    pub endpoint: Option<String>,
    /// Connect to this address instead of looking the endpoint's name up. The Host header and the TLS name stay. For tests and private networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "socket-address"), example = "10.0.0.7:443")]
    pub address: Option<SocketAddr>,
    /// Region, for v4 signatures. Left out: taken from the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "cn-hangzhou")]
    pub region: Option<String>,
    /// Access key id; or `env:NAME` or `file:PATH`, which hold it. Files of an access key are read again when the store refuses the key: see docs/delivery.md.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "LTAI-your-key-id")]
    pub access_key_id: Option<String>,
    /// Access key secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "env:SLS_ACCESS_KEY_SECRET")]
    pub access_key_secret: Option<SecretRef>,
    /// STS token that belongs to a temporary access key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "env:SLS_SECURITY_TOKEN")]
    pub security_token: Option<SecretRef>,
    /// Version of the request signature.
    #[serde(default = "default_signature")]
    pub signature: SignatureVersion,
    /// Compression of LogGroups: on their way to a store, and while they wait in memory. Kafka and files have another one for what they get.
    #[serde(default = "default_compression")]
    pub compression: Compression,
    /// PEM file with the certificate authorities to trust instead of the built-in ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "/etc/tollgate/ca.pem")]
    pub ca_file: Option<PathBuf>,
    /// The topic, for kind `kafka`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaUpstream>,
    /// The files, for kind `files`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesUpstream>,
}

/// Kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamKind {
    /// The embedded logstore of this process.
    Embedded,
    /// Simple Log Service, or what speaks its API.
    Sls,
    /// A Kafka topic.
    Kafka,
    /// Files on local disk.
    Files,
}

impl UpstreamKind {
    /// The word in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Sls => "sls",
            Self::Kafka => "kafka",
            Self::Files => "files",
        }
    }
}

/// Version of the request signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignatureVersion {
    /// `LOG`, HMAC-SHA1.
    V1,
    /// `SLS4-HMAC-SHA256`.
    V4,
}

/// Compression of LogGroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// A raw LZ4 block.
    Lz4,
    /// A Zstandard frame: smaller, slower.
    Zstd,
    /// None.
    None,
}

/// A project that clients may name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// Name, as clients write it.
    pub name: ProjectName,
    /// Name of the upstream that takes its events. A logstore may name another one, and its own `fallback` and `also`.
    pub upstream: String,
    /// Name of an upstream that takes its events while the breaker of the first is not closed (`delivery.breaker`): the first does not answer. Project and logstores have the same names there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "store-of-another-region")]
    pub fallback: Option<String>,
    /// Name of an upstream that gets a copy of its events, apart from the first: with its own memory, spool and books, as `LOGSTORE@UPSTREAM`. An event whose copy is not taken, for want of room, is delivered all the same; see docs/destinations.md.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"archive")]
    pub also: Option<String>,
    /// Name of the project at the upstream. Left out: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "project-at-the-store")]
    pub upstream_project: Option<ProjectName>,
    /// Name of the project's own policy. Its Deny binds every caller, anonymous ones too; its Allow adds to the policies of access keys and roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "office-only")]
    pub policy: Option<String>,
    /// Its logstores.
    #[serde(rename = "logstore", default)]
    pub logstores: Vec<Logstore>,
}

/// A logstore that clients may write to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Logstore {
    /// Name, as clients write it.
    pub name: LogstoreName,
    /// Name of the logstore at the upstream. Left out: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "logstore-at-the-store")]
    pub upstream_logstore: Option<LogstoreName>,
    /// Name of the upstream that takes its events. Left out: the project's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"kafka")]
    pub upstream: Option<String>,
    /// As `fallback` of the project, in its place; an empty text is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "store-of-another-region")]
    pub fallback: Option<String>,
    /// As `also` of the project, in its place; an empty text is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"archive")]
    pub also: Option<String>,
    /// Kinds of credential that it takes. A kind after `anonymous` would never be looked at, so that stands last: with it the logstore is open to anyone on the network, and a credential of a kind before it must still be good.
    #[serde(default = "Accept::by_default")]
    pub accept: Vec<Accept>,
    /// What happens to a request whose credential is missing or refused.
    #[serde(default = "default_identity_mode")]
    pub identity_mode: IdentityMode,
    /// Where a token may stand.
    #[serde(default = "default_token_places")]
    pub token_from: Vec<TokenPlace>,
    /// Origins of pages that may write here: `https://shop.example.com`, or `*` for all. Requests without an Origin header (mini programs, servers) are not concerned.
    #[serde(default = "default_allow_origins")]
    pub allow_origins: Vec<String>,
    /// Mini programs that may write here, by the appid in their Referer; empty is all. Keeps honest mistakes out, not attackers: a Referer is forged with ease. Requests without an appid are not concerned.
    #[serde(default)]
    #[schemars(example = vec!["wx0123456789abcdef"])]
    pub appids: Vec<String>,
    /// Takes events of mini programs that run in a simulator, or as a trial or review build, by their Referer.
    #[serde(default = "default_development")]
    pub development: bool,
    /// Answers success with the body `{}` and a JSON content type instead of an empty body: Alipay mini programs on base libraries before 2.9.5 take an empty answer for a failure. Other SLS clients dislike a body.
    #[serde(default)]
    pub json_answer: bool,
    /// Trusted cookies (`identity.cookies.allow`) that every event gets as a field: cookie = "field". Values are URL-decoded.
    #[serde(default)]
    pub cookie_fields: BTreeMap<String, String>,
    /// How the client's address is kept.
    #[serde(default = "default_client_address")]
    pub client_address: ClientAddress,
    /// How a client is told that a limit refuses it.
    #[serde(default)]
    pub quota_answer: QuotaAnswer,
    /// How its part of memory, and of requests when the machine is short, compares to that of the other logstores.
    #[serde(default = "default_weight")]
    #[schemars(range(min = 1, max = 100))]
    pub weight: u32,
    /// Priority of its events: how much of what it may hold they may use. See `overload.low_share`.
    #[serde(default = "default_priority")]
    pub priority: Priority,
    /// How safe its events are when their client is told that they were taken.
    #[serde(default)]
    pub ack: Ack,
    /// Which shard of the store takes a LogGroup. Kafka and files do not look at it.
    #[serde(default)]
    pub shard_by: ShardBy,
    /// What it may use of the spool.
    #[serde(default)]
    pub spool: SpoolUse,
    /// What its events are held to. Left out: nothing but `limits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaUse>,
    /// Where its events go that are set aside.
    #[serde(default)]
    pub quarantine: QuarantineUse,
    /// Standing guards on its events, without a schema.
    #[serde(default)]
    pub guards: Guards,
    /// Steps on the fields of its accepted events, in their order; see docs/transforms.md.
    #[serde(rename = "transform", default)]
    pub transforms: Vec<Transform>,
}

/// How a client is told that a limit refuses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QuotaAnswer {
    /// Clients of SLS, by `APIVersion` in their query or a header `x-log-...`, as `sls`; all others as `http`.
    #[default]
    Auto,
    /// 403 `WriteQuotaExceed`, which clients of SLS send again. They do not know 429.
    Sls,
    /// 429 with a problem document (RFC 9457).
    Http,
}

/// How the client's address is kept. Both forms read as `__tag__:__client_ip__`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAddress {
    /// As the tag `__client_ip__` of the LogGroup. Each address then has batches of its own.
    Tag,
    /// As a field `__tag__:__client_ip__` of each event. Addresses share batches: fewer, larger writes where many clients send little.
    Field,
    /// Not at all.
    Off,
}

/// What happens to a request whose credential is missing or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IdentityMode {
    /// It is refused.
    Enforce,
    /// It is counted as one that would have been refused, and its events are taken as if the logstore were open.
    Observe,
}

fn default_identity_mode() -> IdentityMode {
    IdentityMode::Enforce
}

pub(super) fn default_signature() -> SignatureVersion {
    SignatureVersion::V4
}

pub(super) fn default_compression() -> Compression {
    Compression::Lz4
}

pub(super) fn default_allow_origins() -> Vec<String> {
    vec!["*".to_owned()]
}

pub(super) fn default_client_address() -> ClientAddress {
    ClientAddress::Field
}

pub(super) fn default_development() -> bool {
    true
}
