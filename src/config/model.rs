//! The sections of the configuration, their defaults, and what each key means.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::secret::SecretRef;
use crate::foundation::units::{ByteSize, Span};

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder for generated keys and for the embedded logstore. Made on first start, mode 0700.
    pub data_dir: PathBuf,
    /// The public listener, where clients send events.
    pub ingest: Ingest,
    /// The private listener: health and metrics.
    pub admin: Admin,
    /// Bounds on what a client may send and on memory.
    pub limits: Limits,
    /// What happens with the time that a client gives an event.
    pub time: TimeWindow,
    /// Who may send: keys of tokens, and where a token is looked for.
    pub identity: Identity,
    /// How events are packed into LogGroups.
    pub batch: Batch,
    /// How LogGroups are delivered, and what happens on failure and on stopping.
    pub delivery: Delivery,
    /// Log lines of Tollgate itself, on standard error.
    pub log: Log,
    /// The embedded logstore: the API of SLS on local disk.
    pub embedded: Embedded,
    /// Where LogGroups go. Each has a name that projects refer to.
    #[serde(rename = "upstream")]
    pub upstreams: Vec<Upstream>,
    /// The projects and logstores that clients may name. Anything else is refused with 404.
    #[serde(rename = "project")]
    pub projects: Vec<Project>,
}

/// The public listener, where clients send events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ingest {
    /// Address and port.
    #[schemars(extend("format" = "socket-address"))]
    pub listen: SocketAddr,
    /// Connections held at once. Past it, new ones wait in the kernel's queue.
    #[schemars(range(min = 1))]
    pub max_connections: u32,
    /// Time for a request head to arrive, also from an idle kept-alive connection.
    pub header_timeout: Span,
    /// Time for a whole body to arrive. Past it: 408 `RequestTimeout`.
    pub body_timeout: Span,
    /// Bytes of a request head. Mini programs of Alipay send long Referers. Past it: 431.
    pub max_header: ByteSize,
    /// The project of requests whose Host names none: an IP address or a name without a dot.
    #[schemars(example = "my-project")]
    pub default_project: Option<ProjectName>,
    /// Parents of the names that clients reach this listener by, through a wildcard record in DNS: `edge.example.com` stands for `{project}.edge.example.com` for every project. The mini-program SDK always puts the project in front. Only for advice: a Host whose first label is a project is that project, whatever follows.
    #[schemars(example = ["edge.example.com"])]
    pub domains: Vec<String>,
    /// Custom domains: host name to project. For clients that send to a name without the project.
    #[schemars(example = serde_json::json!({"track.example.com": "my-project"}))]
    pub hosts: BTreeMap<String, ProjectName>,
}

/// The private listener: health and metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address and port. Keep it off the public network.
    #[schemars(extend("format" = "socket-address"))]
    pub listen: SocketAddr,
}

/// Bounds on what a client may send and on memory. The defaults equal the store's own limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory for bodies, open batches and undelivered LogGroups together. Past it: 503 `ServerBusy`.
    pub memory: ByteSize,
    /// The share of `memory`, in percent, that one logstore may hold, so that a store that is down cannot starve the others.
    #[schemars(range(min = 1, max = 100))]
    pub memory_share: u8,
    /// A body before compression. Past it: 413 `PostBodyTooLarge`.
    pub body: ByteSize,
    /// A body from a client whose token is not verified yet, because the token is inside it. Past it: 413.
    pub unverified_body: ByteSize,
    /// Events in a request. Past it: 413 `PostBodyTooLarge`.
    #[schemars(range(min = 1, max = 40_960))]
    pub events: u32,
    /// The query of a GET. Past it: 413.
    pub query: ByteSize,
    /// Fields of an event. Past it: 400 `PostBodyInvalid`.
    #[schemars(range(min = 1))]
    pub fields: u32,
    /// A key. Past it, or empty: 400 `InvalidKey`.
    pub key: ByteSize,
    /// A value. Past it: 400 `PostBodyInvalid`.
    pub value: ByteSize,
    /// The topic, and the source. Past it: 400 `PostBodyInvalid`.
    pub topic: ByteSize,
    /// Tags of a request. Past it: 400 `PostBodyInvalid`.
    pub tags: u32,
    /// The value of a tag. Past it: 400 `PostBodyInvalid`.
    pub tag_value: ByteSize,
    /// Nesting of JSON, the envelope (3) included. Past it: 400 `PostBodyInvalid`.
    #[schemars(range(min = 3, max = 128))]
    pub depth: u32,
}

/// What happens with the time (`__time__`) that a client gives an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeWindow {
    /// How old an event may be.
    pub past: Span,
    /// How far in the future an event may be.
    pub future: Span,
    /// What happens outside the window.
    pub outside: OutsideWindow,
}

/// What happens to an event whose time is outside the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutsideWindow {
    /// The event gets the time of receipt; what the client said is kept in the field `__client_time__`.
    Replace,
    /// The request is refused with 400 `PostBodyInvalid`, as SLS does.
    Refuse,
}

/// Who may send: keys of tokens, and where a token is looked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Name of the query parameter that may carry a token. It is never stored.
    pub query_parameter: String,
    /// Name of the cookie that may carry a token. Counts only without an Origin header, or from an origin that `allow_origins` names (never through `*`).
    pub cookie: String,
    /// Keys of tokens.
    pub jwt: Vec<JwtKey>,
}

/// A key that verifies tokens (JWT, HS256).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtKey {
    /// Name of the key. A token with a `kid` header must name one of these.
    pub kid: String,
    /// The HMAC secret, at least 32 bytes. Left out: made on first start, in `{data_dir}/keys/{kid}.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "file:/etc/tollgate/jwt.key")]
    pub secret: Option<SecretRef>,
    /// The `iss` that a token must have.
    pub issuer: String,
    /// The `aud` that a token must have.
    pub audience: String,
    /// Clock difference that is forgiven on `exp` and `nbf`.
    #[serde(default = "default_leeway")]
    pub leeway: Span,
    /// The longest life that a token may still have.
    #[serde(default = "default_max_lifetime")]
    pub max_lifetime: Span,
}

/// Places where a token may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenPlace {
    /// `Authorization: Bearer {token}`.
    Authorization,
    /// The path prefix `/t/{token}/logstores/...`.
    Path,
    /// A query parameter, named in `identity.query_parameter`.
    Query,
    /// A cookie, named in `identity.cookie`.
    Cookie,
    /// The tag `__token__` of a JSON body: the one place where the mini-program SDK can renew it.
    Body,
}

/// How events are packed into LogGroups. A batch holds events of one project, logstore, topic, source and set of tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Batch {
    /// A batch is sealed when it holds so many bytes before compression.
    pub max_bytes: ByteSize,
    /// A batch is sealed when it holds so many events.
    #[schemars(range(min = 1, max = 40_960))]
    pub max_events: u32,
    /// A batch is sealed when its first event is so old.
    pub max_age: Span,
    /// Open batches of one logstore. Past it the oldest is sealed at once.
    #[schemars(range(min = 1))]
    pub max_open: u32,
}

/// How LogGroups are delivered, and what happens on failure and on stopping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Delivery {
    /// LogGroups of one logstore on their way at once.
    #[schemars(range(min = 1, max = 1024))]
    pub concurrency: u32,
    /// Time for one attempt, answer included.
    pub timeout: Span,
    /// First pause after a failed attempt; each further one doubles, with jitter.
    pub backoff_min: Span,
    /// Longest pause between attempts.
    pub backoff_max: Span,
    /// Time that stopping may take to deliver what is held. What is left then is lost, counted, and told by the exit code.
    pub stop_deadline: Span,
}

/// Log lines of Tollgate itself, on standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,tollgate::pipeline=debug`.
    pub level: String,
    /// Form of a line.
    pub format: LogFormat,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The embedded logstore: the API of SLS on local disk, for development, tests and small sites.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Embedded {
    /// Address and port of its API.
    #[schemars(extend("format" = "socket-address"))]
    pub listen: SocketAddr,
    /// Region name, part of v4 signatures and of resource names.
    pub region: String,
    /// Id of the access key that may write and read.
    pub access_key_id: String,
    /// Secret of that access key. Left out: made on first start, in `{data_dir}/keys/logstore.key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "env:TOLLGATE_LOGSTORE_SECRET")]
    pub access_key_secret: Option<SecretRef>,
    /// Shards of each logstore.
    #[schemars(range(min = 1, max = 256))]
    pub shards: u32,
    /// Events older than this are removed.
    pub retention: Span,
    /// Bytes that one logstore may take on disk; the oldest events are removed past it.
    pub max_size: ByteSize,
    /// What a 200 promises.
    pub sync: SyncMode,
    /// Connections held at once.
    #[schemars(range(min = 1))]
    pub max_connections: u32,
    /// Faults to inject, for tests of what stands in front of the store.
    pub faults: Faults,
}

/// What a 200 of the embedded logstore promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SyncMode {
    /// The events are on the disk and survive power loss.
    Disk,
    /// The events are with the operating system and survive the death of the process.
    Process,
}

/// Faults that the embedded logstore injects into writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Added to each answer to a write.
    pub delay: Span,
    /// The share of writes, from 0 to 1, that is refused with `error_status` and `error_code`.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub error_rate: f64,
    /// HTTP status of injected errors. 0 closes the connection without an answer.
    pub error_status: u16,
    /// Error code of injected errors.
    pub error_code: String,
    /// Writes a second that one shard takes; past it 403 `ShardWriteQuotaExceed`. 0 is no limit.
    pub shard_writes_per_second: u32,
}

/// Where LogGroups go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Name, for `project.upstream`.
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
    /// Access key id.
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
    /// Compression of LogGroups.
    #[serde(default = "default_compression")]
    pub compression: Compression,
    /// PEM file with the certificate authorities to trust instead of the built-in ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "/etc/tollgate/ca.pem")]
    pub ca_file: Option<PathBuf>,
}

/// Kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamKind {
    /// The embedded logstore of this process.
    Embedded,
    /// Simple Log Service, or what speaks its API.
    Sls,
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
    /// Name of the upstream that takes its events.
    pub upstream: String,
    /// Name of the project at the upstream. Left out: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "project-at-the-store")]
    pub upstream_project: Option<ProjectName>,
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
    /// Takes events without a token. Anyone on the network can then write here.
    #[serde(default)]
    pub anonymous: bool,
    /// Where a token may stand.
    #[serde(default = "default_token_places")]
    pub token_from: Vec<TokenPlace>,
    /// Origins of pages that may write here: `https://shop.example.com`, or `*` for all. Requests without an Origin header (mini programs, servers) are not concerned.
    #[serde(default = "default_allow_origins")]
    pub allow_origins: Vec<String>,
    /// How the client's address is kept.
    #[serde(default = "default_client_address")]
    pub client_address: ClientAddress,
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

fn default_leeway() -> Span {
    Span::secs(30)
}

fn default_max_lifetime() -> Span {
    Span::secs(7 * 86_400)
}

fn default_signature() -> SignatureVersion {
    SignatureVersion::V4
}

fn default_compression() -> Compression {
    Compression::Lz4
}

fn default_token_places() -> Vec<TokenPlace> {
    vec![
        TokenPlace::Authorization,
        TokenPlace::Path,
        TokenPlace::Query,
        TokenPlace::Cookie,
        TokenPlace::Body,
    ]
}

fn default_allow_origins() -> Vec<String> {
    vec!["*".to_owned()]
}

fn default_client_address() -> ClientAddress {
    ClientAddress::Tag
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

impl Default for Config {
    /// Every key at its default, with no project: not yet a configuration that can run.
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./tollgate-data"),
            ingest: Ingest::default(),
            admin: Admin::default(),
            limits: Limits::default(),
            time: TimeWindow::default(),
            identity: Identity::default(),
            batch: Batch::default(),
            delivery: Delivery::default(),
            log: Log::default(),
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
        let logstore = |name: &str, anonymous| Logstore {
            name: LogstoreName::new(name).expect("a logstore name"),
            upstream_logstore: None,
            anonymous,
            token_from: default_token_places(),
            allow_origins: default_allow_origins(),
            client_address: default_client_address(),
        };
        Self {
            ingest: Ingest {
                default_project: Some(project.clone()),
                ..Ingest::default()
            },
            identity: Identity {
                jwt: vec![JwtKey {
                    kid: "quickstart".to_owned(),
                    secret: None,
                    issuer: "tollgate".to_owned(),
                    audience: "tollgate".to_owned(),
                    leeway: default_leeway(),
                    max_lifetime: default_max_lifetime(),
                }],
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
            }],
            projects: vec![Project {
                name: project,
                upstream: "embedded".to_owned(),
                upstream_project: None,
                logstores: vec![
                    logstore("web-tracking-logstore", false),
                    logstore("anonymous-demo", true),
                ],
            }],
            ..Self::default()
        }
    }
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            listen: loopback(8080),
            max_connections: 10_000,
            header_timeout: Span::secs(10),
            body_timeout: Span::secs(30),
            max_header: ByteSize::kib(48),
            default_project: None,
            domains: Vec::new(),
            hosts: BTreeMap::new(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: loopback(8081),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: ByteSize::mib(256),
            memory_share: 50,
            body: ByteSize::mib(10),
            unverified_body: ByteSize::mib(1),
            events: 4096,
            query: ByteSize::kib(16),
            fields: 1024,
            key: ByteSize::bytes(128),
            value: ByteSize::mib(1),
            topic: ByteSize::bytes(128),
            tags: 64,
            tag_value: ByteSize::kib(4),
            depth: 64,
        }
    }
}

impl Default for TimeWindow {
    fn default() -> Self {
        Self {
            past: Span::secs(7 * 86_400),
            future: Span::secs(900),
            outside: OutsideWindow::Replace,
        }
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            query_parameter: "token".to_owned(),
            cookie: "tollgate_token".to_owned(),
            jwt: Vec::new(),
        }
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            max_bytes: ByteSize::kib(512),
            max_events: 4096,
            max_age: Span::secs(2),
            max_open: 1024,
        }
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            concurrency: 4,
            timeout: Span::secs(15),
            backoff_min: Span::millis(200),
            backoff_max: Span::secs(30),
            stop_deadline: Span::secs(25),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

impl Default for Embedded {
    fn default() -> Self {
        Self {
            listen: loopback(8082),
            region: "local".to_owned(),
            access_key_id: "tollgate".to_owned(),
            access_key_secret: None,
            shards: 2,
            retention: Span::secs(30 * 86_400),
            max_size: ByteSize::mib(1024),
            sync: SyncMode::Disk,
            max_connections: 1024,
            faults: Faults::default(),
        }
    }
}
