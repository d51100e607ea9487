//! Upstreams that are no stores: Kafka and files.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Compression;
use crate::foundation::secret::SecretRef;
use crate::foundation::units::{ByteSize, Span};

/// A Kafka topic; see docs/destinations.md. For an upstream of kind `kafka`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaUpstream {
    /// Brokers to begin with, as `host:port`. The others are found through them.
    #[schemars(example = vec!["kafka-1:9092", "kafka-2:9092"])]
    pub brokers: Vec<String>,
    /// The topic, which must be there. `{project}` and `{logstore}` stand for the names at the upstream (`upstream_project`, `upstream_logstore`).
    #[schemars(example = "{project}.{logstore}")]
    pub topic: String,
    /// What a message holds.
    #[serde(default)]
    pub value: KafkaValue,
    /// What a message has for its key. Messages of one key are in one partition, as Kafka's own client chooses it (murmur2), and in their order; those without a key go where their batch goes.
    #[serde(default)]
    pub key: KafkaKey,
    /// The field whose value is the key, with `key = "field"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"user_id")]
    pub key_field: Option<String>,
    /// Compression of what is sent. `zstd` asks for Kafka 2.1 or later.
    #[serde(default)]
    pub compression: KafkaCompression,
    /// Bytes of messages that are sent together to one partition, before compression. Not more than `max.message.bytes` of the topic.
    #[serde(default = "default_max_batch")]
    pub max_batch: ByteSize,
    /// Speaks TLS. The authorities are the built-in ones, or those of the upstream's `ca_file`.
    #[serde(default)]
    pub tls: bool,
    /// How the password is proven to the brokers.
    #[serde(default)]
    pub sasl: KafkaSasl,
    /// Name of the user, with `sasl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"tollgate")]
    pub username: Option<String>,
    /// Password of the user, with `sasl`. Read again for each new connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "env:KAFKA_PASSWORD")]
    pub password: Option<SecretRef>,
}

/// What a message holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KafkaValue {
    /// One event, as a flat JSON object: `__time__`, `__topic__`, `__source__`, `__tag__:...` and its fields, all but the time as texts.
    #[default]
    Json,
    /// A LogGroup in protobuf, as SLS gets it: the events of one batch that have the same key.
    Protobuf,
}

/// What a message has for its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KafkaKey {
    /// None.
    #[default]
    None,
    /// The topic that the event came with.
    Topic,
    /// The client's address, where the logstore keeps it (`client_address`).
    ClientAddress,
    /// The value of the field `key_field`; events that do not have it have no key.
    Field,
}

/// Compression of what is sent to Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KafkaCompression {
    /// None.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// Zstandard.
    #[default]
    Zstd,
}

/// How a password is proven to the brokers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KafkaSasl {
    /// They ask for none.
    #[default]
    #[serde(rename = "none")]
    None,
    /// It is sent as it is: with `tls` only.
    #[serde(rename = "plain")]
    Plain,
    /// SCRAM-SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// SCRAM-SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

/// Files on local disk; see docs/destinations.md. For an upstream of kind `files`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesUpstream {
    /// Folder of the files; each logstore has its own in it, `{project}/{logstore}`. Made when it is not there, mode 0700.
    #[schemars(example = "/var/lib/tollgate/archive")]
    pub dir: PathBuf,
    /// What a file holds.
    #[serde(default)]
    pub format: FilesFormat,
    /// Compression of each batch in it, as a frame that `lz4 -d` and `zstd -d` read.
    #[serde(default = "default_files_compression")]
    pub compression: Compression,
    /// A file is complete before it would hold more bytes.
    #[serde(default = "default_max_size")]
    pub max_size: ByteSize,
    /// A file is complete when it was begun so long ago.
    #[serde(default = "default_max_age")]
    pub max_age: Span,
    /// Complete files of a logstore are deleted when they are so old. `0s` keeps them.
    #[serde(default = "default_keep_age")]
    pub keep_age: Span,
    /// The oldest files of a logstore are deleted when all of its complete ones take more bytes. 0 asks for no bound.
    #[serde(default = "default_keep_size")]
    pub keep_size: ByteSize,
    /// Bytes of the disk that are left free. Past it batches wait, as when it is full.
    #[serde(default = "default_reserve")]
    pub reserve: ByteSize,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FilesFormat {
    /// One event a line, as a flat JSON object, which `tollgate send` reads.
    #[default]
    Ndjson,
    /// LogGroups in protobuf, each behind its length as a varint.
    Protobuf,
}

fn default_max_batch() -> ByteSize {
    ByteSize::kib(900)
}

fn default_files_compression() -> Compression {
    Compression::Zstd
}

fn default_max_size() -> ByteSize {
    ByteSize::mib(128)
}

fn default_max_age() -> Span {
    Span::secs(3600)
}

fn default_keep_age() -> Span {
    Span::secs(0)
}

fn default_keep_size() -> ByteSize {
    ByteSize::mib(0)
}

fn default_reserve() -> ByteSize {
    ByteSize::mib(512)
}
