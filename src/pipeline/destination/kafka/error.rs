//! What an error of Kafka means. Events are given up only when a broker names them itself as too large
//! or not well-formed; everything else is tried again.

use rskafka::client::error::{Error, ProtocolError, RequestError};
use rskafka::{BackoffError, ConnectionError};

use super::super::Failure;
use crate::logstore::error::RetryReason;
use crate::pipeline::delivery::aimd::Sign;
use crate::pipeline::delivery::breaker::Verdict;

/// Of the texts of rskafka, which has the cause of a failed connection in no other form.
const LOGIN_FAILED: &str = "Sasl handshake failed";
const NOT_TRUSTED: &str = "invalid peer certificate";
/// Characters of a message that are kept.
const MAX_WORDS: usize = 512;

/// The topic is not there.
pub(super) fn no_topic(topic: &str) -> Failure {
    Failure {
        verdict: Verdict::Up,
        ..Failure::retry(
            RetryReason::NotFound,
            format!("there is no topic `{topic}`"),
        )
    }
}

/// What becomes of the events of a failed attempt.
pub(super) fn failure(error: &Error) -> Failure {
    let words = words(error);
    match error {
        Error::ServerError { protocol_error, .. } => of_broker(*protocol_error, words),
        Error::RetryFailed(BackoffError::DeadlineExceded { source, .. }) => {
            if let Some(cause) = source.downcast_ref::<Error>() {
                return failure(cause);
            }
            of_connection(words)
        }
        // It may have been on its way.
        Error::Request(RequestError::NoVersionMatch { .. }) => {
            Failure::retry(RetryReason::Intermediary, words)
        }
        Error::Request(_) | Error::Timeout => Failure::down(RetryReason::Network, words).in_doubt(),
        Error::Connection(ConnectionError::SaslFailed(_)) => credential(words),
        Error::Connection(_) => of_connection(words),
        // A leader that nobody knows, and answers that are not ours.
        _ => Failure::retry(RetryReason::Busy, words),
    }
}

fn credential(words: String) -> Failure {
    Failure {
        verdict: Verdict::Up,
        ..Failure::retry(RetryReason::Credential, words)
    }
}

fn of_connection(words: String) -> Failure {
    if words.contains(LOGIN_FAILED) {
        return credential(words);
    }
    let reason = match words.contains(NOT_TRUSTED) {
        true => RetryReason::Intermediary,
        false => RetryReason::Network,
    };
    Failure::down(reason, words)
}

/// The error codes of Kafka, as its own client takes them.
fn of_broker(code: ProtocolError, words: String) -> Failure {
    use ProtocolError as E;
    let up = |reason: RetryReason, sign: Sign| Failure {
        sign,
        verdict: Verdict::Up,
        ..Failure::retry(reason, words.clone())
    };
    match code {
        E::MessageTooLarge | E::RecordListTooLarge | E::InvalidTimestamp | E::InvalidRecord => {
            Failure::refused(&format!("{code:?}"), words)
        }
        E::UnknownTopicOrPartition | E::InvalidTopicException => {
            up(RetryReason::NotFound, Sign::None)
        }
        E::TopicAuthorizationFailed
        | E::ClusterAuthorizationFailed
        | E::SaslAuthenticationFailed
        | E::UnsupportedSaslMechanism
        | E::IllegalSaslState => up(RetryReason::Credential, Sign::None),
        E::ThrottlingQuotaExceeded => up(RetryReason::Quota, Sign::Congested),
        // The leader moves.
        E::LeaderNotAvailable
        | E::NotLeaderOrFollower
        | E::ReplicaNotAvailable
        | E::FencedLeaderEpoch
        | E::UnknownLeaderEpoch
        | E::OffsetNotAvailable
        | E::CorruptMessage => up(RetryReason::Busy, Sign::None),
        // The leader has it, and the others have not, or nobody knows.
        E::NotEnoughReplicasAfterAppend | E::RequestTimedOut | E::UnknownServerError => {
            Failure::down(RetryReason::Busy, words).in_doubt()
        }
        E::NotEnoughReplicas
        | E::BrokerNotAvailable
        | E::NetworkException
        | E::KafkaStorageError => Failure::down(RetryReason::Busy, words),
        _ => up(RetryReason::Intermediary, Sign::None),
    }
}

/// What is told of it: bounded, and without control characters.
fn words(error: &Error) -> String {
    let words = match error {
        Error::ServerError {
            protocol_error,
            error_message,
            ..
        } => match error_message {
            Some(message) => format!("Kafka: {protocol_error:?}: {message}"),
            None => format!("Kafka: {protocol_error:?}"),
        },
        _ => format!("Kafka: {error}"),
    };
    let plain = words.chars().filter(|c| !c.is_control());
    plain.take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use rskafka::client::error::RequestContext;

    use super::*;
    use crate::logstore::error::NextStep;

    fn of(code: i16) -> Failure {
        failure(&Error::ServerError {
            protocol_error: ProtocolError::new(code).unwrap(),
            error_message: None,
            request: RequestContext::Partition("t".to_owned(), 0),
            response: None,
            is_virtual: false,
        })
    }

    #[test]
    fn only_what_is_wrong_with_events_themselves_is_final() {
        let final_ones = (-1..=120)
            .filter(|code| *code != 0)
            .filter(|code| of(*code).next == NextStep::Drop);
        // MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, INVALID_TIMESTAMP, INVALID_RECORD
        assert_eq!(final_ones.collect::<Vec<_>>(), [10, 18, 32, 87]);
    }

    #[test]
    fn codes_say_when_to_try_again_and_whether_the_cluster_is_down() {
        use RetryReason::{Busy, Credential, Intermediary, NotFound, Quota};
        for (code, reason, verdict, in_doubt) in [
            (3, NotFound, Verdict::Up, false),
            (6, Busy, Verdict::Up, false),
            (7, Busy, Verdict::Down, true),
            (19, Busy, Verdict::Down, false),
            (20, Busy, Verdict::Down, true),
            (29, Credential, Verdict::Up, false),
            (56, Busy, Verdict::Down, false),
            (58, Credential, Verdict::Up, false),
            (76, Intermediary, Verdict::Up, false),
            (89, Quota, Verdict::Up, false),
            (1234, Intermediary, Verdict::Up, false),
        ] {
            let told = of(code);
            assert_eq!(told.next, NextStep::Retry { reason }, "{code}");
            assert_eq!((told.verdict, told.in_doubt), (verdict, in_doubt), "{code}");
        }
    }

    #[test]
    fn what_is_told_is_bounded_and_plain() {
        let error = Error::InvalidResponse(format!("bad\n\u{1b}[2J{}", "x".repeat(9000)));
        let told = failure(&error);
        assert!(told.words.len() < 600);
        assert!(!told.words.contains(['\n', '\u{1b}']));
    }
}
