//! What is known of a topic, and the connections to its partitions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rskafka::BackoffConfig;
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record;
use tokio::time::Instant;

use super::super::Failure;
use super::error::{failure, no_topic};
use super::{KafkaRules, Login, SaslMechanism};
use crate::logstore::error::RetryReason;

/// Bytes of an answer: the list of all topics is the largest.
const MAX_ANSWER: usize = 16 << 20;

/// A cluster as it was when we last looked.
pub(super) struct Connection {
    client: Client,
    topic: String,
    partitions: i32,
    open: Mutex<BTreeMap<i32, Arc<PartitionClient>>>,
    since: Instant,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("topic", &self.topic)
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) async fn open(rules: &KafkaRules, now: Instant) -> Result<Self, Failure> {
        let mut builder = ClientBuilder::new(rules.brokers.clone())
            .client_id("tollgate")
            .max_message_size(MAX_ANSWER)
            .backoff_config(once());
        if let Some(tls) = &rules.tls {
            builder = builder.tls_config(Arc::clone(tls));
        }
        if let Some(login) = &rules.login {
            let login = login().map_err(|words| Failure::retry(RetryReason::Credential, words))?;
            builder = builder.sasl_config(sasl(&login)?);
        }
        let client = builder.build().await.map_err(|error| failure(&error))?;
        let topics = client
            .list_topics()
            .await
            .map_err(|error| failure(&error))?;
        let partitions = topics
            .iter()
            .find(|topic| topic.name == rules.topic)
            .map_or(0, |topic| topic.partitions.len());
        let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        if partitions == 0 {
            return Err(no_topic(&rules.topic));
        }
        Ok(Self {
            client,
            topic: rules.topic.clone(),
            partitions,
            open: Mutex::default(),
            since: now,
        })
    }

    pub(super) fn partitions(&self) -> i32 {
        self.partitions
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    pub(super) async fn produce(
        &self,
        partition: i32,
        records: Vec<Record>,
        compression: Compression,
    ) -> Result<(), Failure> {
        let known = self.known().get(&partition).map(Arc::clone);
        let client = match known {
            Some(client) => client,
            None => {
                let unknown = UnknownTopicHandling::Error;
                let opening = self
                    .client
                    .partition_client(&*self.topic, partition, unknown);
                let client = Arc::new(opening.await.map_err(|error| failure(&error))?);
                self.known().insert(partition, Arc::clone(&client));
                client
            }
        };
        let produced = client.produce(records, compression).await;
        produced.map(|_offsets| ()).map_err(|error| failure(&error))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<i32, Arc<PartitionClient>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One try: what comes next is for the worker to decide, who knows the breaker.
fn once() -> BackoffConfig {
    BackoffConfig {
        init_backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(1),
        deadline: Some(Duration::ZERO),
        ..BackoffConfig::default()
    }
}

fn sasl(login: &Login) -> Result<SaslConfig, Failure> {
    let unusable = || Failure::retry(RetryReason::Credential, "the password is no text");
    let password = login.password.expose_text().ok_or_else(unusable)?;
    let credentials = Credentials::new(login.user.clone(), password.to_owned());
    Ok(match login.mechanism {
        SaslMechanism::Plain => SaslConfig::Plain(credentials),
        SaslMechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
        SaslMechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
    })
}
