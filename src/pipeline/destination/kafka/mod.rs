//! A Kafka topic, by `rskafka`.
//!
//! Promise: an event counts as taken when all in-sync replicas have it (acks=all). The events of a
//! LogGroup go to partitions by their keys, in their order within a partition; those of one partition
//! are taken together or not at all, and what was taken is not sent again when others failed.
//! When brokers are away: one attempt ends by its time, the connections are given up, and the next one
//! begins with the configured brokers. Neither pauses nor further attempts are made here: rskafka's own
//! are set to none.

mod connection;
mod error;
mod kept;
mod message;
mod partition;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use rskafka::client::partition::Compression;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::connection::Connection;
use self::kept::Kept;
use self::message::{Chunk, Messages, Queue};
pub use self::message::{MessageKey, MessageValue};
use super::{Failure, Parcel, Taken};
use crate::foundation::secret::Secret;
use crate::logstore::error::{NextStep, RetryReason};
use crate::pipeline::delivery::aimd::Sign;
use crate::pipeline::delivery::breaker::Verdict;

/// Partitions that are written to at once by one attempt.
const AT_ONCE: usize = 16;
/// Bytes of messages on their way at once in one attempt, before compression; what goes together to one
/// partition may be more, alone.
const AT_ONCE_BYTES: usize = 4 << 20;

/// How a topic is written.
pub struct KafkaRules {
    /// Brokers to begin with, as `host:port`.
    pub brokers: Vec<String>,
    /// The topic.
    pub topic: String,
    /// What a message holds.
    pub value: MessageValue,
    /// What decides its partition.
    pub key: MessageKey,
    /// Compression of what is sent.
    pub compression: KafkaCompression,
    /// Bytes of messages that are sent together to a partition, before compression.
    pub max_bytes: usize,
    /// Trusted authorities, where TLS is spoken.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Reads who we are, where the brokers ask for it.
    pub login: Option<LoginSource>,
    /// Time of one attempt.
    pub timeout: Duration,
    /// Connections and what is known of the topic are so old at most.
    pub max_age: Duration,
}

/// Compression of record batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KafkaCompression {
    /// None.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// Zstandard.
    Zstd,
}

/// Reads name and password anew, so that one that has changed is used.
pub type LoginSource = Arc<dyn Fn() -> Result<Login, String> + Send + Sync>;

/// Who we are to the brokers.
#[derive(Debug)]
pub struct Login {
    /// How it is proven.
    pub mechanism: SaslMechanism,
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// How a password is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// It is sent.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
}

impl std::fmt::Debug for KafkaRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaRules")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

/// A Kafka topic.
#[derive(Debug)]
pub struct Kafka {
    rules: Arc<KafkaRules>,
    connection: Kept<Connection>,
}

/// What became of messages that went together to one partition.
struct Sent {
    /// The events in them.
    events: Vec<usize>,
    result: Result<(), Failure>,
    /// What the partition gets after them.
    rest: Option<Queue>,
    /// What was counted for them.
    bytes: usize,
}

impl Kafka {
    /// A topic. Nothing is connected yet.
    #[must_use]
    pub fn new(rules: KafkaRules) -> Self {
        Self {
            rules: Arc::new(rules),
            connection: Kept::default(),
        }
    }

    pub(super) async fn put(&self, parcel: &Parcel, taken: &mut Taken) -> Result<(), Failure> {
        let (time, before) = (self.rules.timeout, taken.count());
        let mut used = None;
        let attempt = self.attempt(parcel, taken, &mut used);
        let result = match tokio::time::timeout(time, attempt).await {
            Ok(result) => result,
            Err(_) => Err(late(time, taken.count() > before)),
        };
        if let (Err(failure), Some(used)) = (&result, &used)
            && failure.next != NextStep::Drop
        {
            // Whatever it was, the next attempt looks at the cluster anew.
            self.connection.give_up(used);
        }
        result
    }

    /// `used` becomes the connection that is used. What was taken is marked as soon as it is known.
    async fn attempt(
        &self,
        parcel: &Parcel,
        taken: &mut Taken,
        used: &mut Option<Arc<Connection>>,
    ) -> Result<(), Failure> {
        let is_good = |it: &Connection| it.since().elapsed() < self.rules.max_age;
        let opening = Connection::open(&self.rules, Instant::now());
        let connection = used.insert(self.connection.get(is_good, opening).await?);
        let (rules, packed, known) = (Arc::clone(&self.rules), parcel.packed(), taken.clone());
        let partitions = connection.partitions();
        let made = tokio::task::spawn_blocking(move || {
            let messages = Messages::of(packed.plain()?, rules)?;
            let queues = messages.queues(&known, partitions);
            Some((Arc::new(messages), queues))
        });
        let made = made.await.ok().flatten();
        let unreadable = || Failure::refused("Unreadable", "the LogGroup cannot be read");
        let (messages, mut waiting) = made.ok_or_else(unreadable)?;
        let mut sending = JoinSet::new();
        let (mut worst, mut on_their_way) = (None, 0);
        loop {
            while let Some(queue) = waiting.pop_front() {
                let bytes = messages.most(&queue);
                let fits = sending.len() < AT_ONCE && on_their_way + bytes <= AT_ONCE_BYTES;
                if !(fits || sending.is_empty()) {
                    waiting.push_front(queue);
                    break;
                }
                on_their_way += bytes;
                let (connection, messages) = (Arc::clone(connection), Arc::clone(&messages));
                let compression = self.rules.compression();
                sending.spawn(send(connection, messages, queue, (compression, bytes)));
            }
            let Some(ended) = sending.join_next().await else {
                break;
            };
            let sent = ended.unwrap_or_else(|error| Sent {
                result: Err(Failure::down(RetryReason::Busy, error.to_string()).in_doubt()),
                events: Vec::new(),
                rest: None,
                bytes: 0,
            });
            on_their_way -= sent.bytes;
            match sent.result {
                Ok(()) => sent.events.into_iter().for_each(|event| {
                    taken.mark(event);
                }),
                Err(failure) => worst = Some(worse(worst, failure)),
            }
            waiting.extend(sent.rest);
        }
        worst.map_or(Ok(()), Err)
    }
}

/// Sends the next messages of one partition. There is no rest after a failure that is tried again: what
/// is left has to come after what has failed.
async fn send(
    connection: Arc<Connection>,
    messages: Arc<Messages>,
    mut queue: Queue,
    (compression, bytes): (Compression, usize),
) -> Sent {
    let partition = queue.partition;
    let made = tokio::task::spawn_blocking(move || (messages.chunk(&mut queue), queue));
    let (
        Chunk {
            events, records, ..
        },
        queue,
    ) = match made.await {
        Ok(made) => made,
        Err(error) => {
            return Sent {
                events: Vec::new(),
                result: Err(Failure::down(RetryReason::Busy, error.to_string())),
                rest: None,
                bytes,
            };
        }
    };
    let result = connection.produce(partition, records, compression).await;
    let is_over = |failure: &Failure| failure.next != NextStep::Drop;
    let stops = queue.is_empty() || result.as_ref().is_err_and(is_over);
    Sent {
        events,
        rest: (!stops).then_some(queue),
        result,
        bytes,
    }
}

/// Of two failures the one that decides. What can be tried again comes first: only then is it known what
/// is refused for good. A doubt of either is one of both.
fn worse(worst: Option<Failure>, failure: Failure) -> Failure {
    let in_doubt = failure.in_doubt || worst.as_ref().is_some_and(|it| it.in_doubt);
    let decides = match worst {
        Some(worst) if failure.next == NextStep::Drop => worst,
        _ => failure,
    };
    Failure {
        in_doubt,
        ..decides
    }
}

/// An attempt has had its time. `slow`: partitions have taken messages.
fn late(time: Duration, slow: bool) -> Failure {
    let words = format!("no answer of Kafka in {} ms", time.as_millis());
    let failure = match slow {
        true => Failure {
            sign: Sign::Congested,
            verdict: Verdict::Up,
            ..Failure::retry(RetryReason::Busy, words)
        },
        false => Failure::down(RetryReason::Network, words),
    };
    failure.in_doubt()
}

impl KafkaRules {
    fn compression(&self) -> Compression {
        match self.compression {
            KafkaCompression::None => Compression::NoCompression,
            KafkaCompression::Gzip => Compression::Gzip,
            KafkaCompression::Snappy => Compression::Snappy,
            KafkaCompression::Zstd => Compression::Zstd,
        }
    }
}
