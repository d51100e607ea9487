//! What the configuration says of destinations that are no stores, as the pipeline wants it.

use std::sync::Arc;

use super::StartError;
use super::upstreams::codec_of;
use crate::config::{
    Config, FilesFormat, FilesUpstream, KafkaCompression as Packing, KafkaKey, KafkaSasl,
    KafkaUpstream, KafkaValue, Upstream,
};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::logstore::client::tls_config;
use crate::pipeline::destination::files::{FileFormat, FileRules};
use crate::pipeline::destination::kafka::{
    KafkaCompression, KafkaRules, Login, LoginSource, MessageKey, MessageValue, SaslMechanism,
};

/// How a topic is written.
pub(super) fn kafka(
    config: &Config,
    upstream: &Upstream,
    kafka: &KafkaUpstream,
    topic: String,
) -> Result<KafkaRules, StartError> {
    let tls = match kafka.tls {
        true => Some(tls_config(upstream.ca_file.as_deref())),
        false => None,
    };
    let tls = tls.transpose().map_err(|source| StartError::Upstream {
        upstream: upstream.name.clone(),
        source,
    })?;
    let mechanism = match kafka.sasl {
        KafkaSasl::None => None,
        KafkaSasl::Plain => Some(SaslMechanism::Plain),
        KafkaSasl::ScramSha256 => Some(SaslMechanism::ScramSha256),
        KafkaSasl::ScramSha512 => Some(SaslMechanism::ScramSha512),
    };
    let login = mechanism.map(|mechanism| login(mechanism, kafka));
    Ok(KafkaRules {
        brokers: kafka.brokers.clone(),
        topic,
        value: match kafka.value {
            KafkaValue::Json => MessageValue::Json,
            KafkaValue::Protobuf => MessageValue::Protobuf,
        },
        key: match kafka.key {
            KafkaKey::None => MessageKey::None,
            KafkaKey::Topic => MessageKey::Topic,
            KafkaKey::ClientAddress => MessageKey::ClientAddress,
            KafkaKey::Field => MessageKey::Field(kafka.key_field.clone().unwrap_or_default()),
        },
        compression: match kafka.compression {
            Packing::None => KafkaCompression::None,
            Packing::Gzip => KafkaCompression::Gzip,
            Packing::Snappy => KafkaCompression::Snappy,
            Packing::Zstd => KafkaCompression::Zstd,
        },
        max_bytes: kafka.max_batch.as_usize(),
        tls: tls.map(Arc::new),
        login,
        timeout: config.delivery.timeout.get(),
        max_age: config.delivery.connection_age.get(),
    })
}

fn login(mechanism: SaslMechanism, kafka: &KafkaUpstream) -> LoginSource {
    let user = kafka.username.clone().unwrap_or_default();
    let password = kafka.password.clone();
    Arc::new(move || {
        let password = password.as_ref().ok_or("there is no password")?;
        Ok(Login {
            mechanism,
            user: user.clone(),
            password: password.read().map_err(|error| error.to_string())?,
        })
    })
}

/// How the files of a logstore are written.
pub(super) fn files(
    config: &Config,
    files: &FilesUpstream,
    (project, logstore): (&ProjectName, &LogstoreName),
) -> FileRules {
    let (keep_age, keep_bytes) = (files.keep_age.get(), files.keep_size.get());
    FileRules {
        folder: files.dir.join(project.as_str()).join(logstore.as_str()),
        format: match files.format {
            FilesFormat::Ndjson => FileFormat::Ndjson,
            FilesFormat::Protobuf => FileFormat::Protobuf,
        },
        codec: codec_of(files.compression),
        max_bytes: files.max_size.get(),
        max_age: files.max_age.get(),
        keep_age: (!keep_age.is_zero()).then_some(keep_age),
        keep_bytes: (keep_bytes > 0).then_some(keep_bytes),
        reserve: files.reserve.get(),
        timeout: config.delivery.timeout.get(),
    }
}
