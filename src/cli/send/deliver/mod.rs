//! A batch to its end: accepted, refused event by event, or stopped.
//!
//! Promise: one bad event does not take its neighbours with it, and each attempt is repeated at most
//! `tries` times. The service takes a request whole or not at all, so halves of a refused batch are
//! sent until the events that it was refused for stand alone: about `2 log2 n` requests for one of n.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::batch::Envelope;
use super::lines::Event;
use super::post::{Answer, Endpoint, Told};
use super::report::Refused;

/// Longest pause that the service may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// How long to keep trying.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Attempts in all, at least 1.
    pub(super) tries: u32,
    /// Pause after the first; each further one doubles.
    pub(super) first_pause: Duration,
    /// Longest pause of ours.
    pub(super) longest_pause: Duration,
}

impl Patience {
    /// The pause after attempt `tried` (from 1). What the service asks for is kept, within reason.
    fn pause(&self, tried: u32, asked: Option<Duration>) -> Duration {
        let doubled = 2u32.saturating_pow(tried.saturating_sub(1));
        let own = self
            .first_pause
            .saturating_mul(doubled)
            .min(self.longest_pause);
        own.max(asked.unwrap_or_default().min(LONGEST_RETRY_AFTER))
    }
}

/// Why nothing more is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// The service refused for a reason that is not in the events, or was busy for too long.
    Refused(Told),
    /// The service gave no answer.
    Unreachable(String),
    /// The user asked to stop.
    Interrupted,
}

/// What became of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Delivered {
    /// Events accepted.
    pub(super) accepted: u64,
    /// Events refused.
    pub(super) refused: Vec<Refused>,
    /// Why the rest was not sent.
    pub(super) halt: Option<Halt>,
}

/// Delivers batches.
#[derive(Debug)]
pub(super) struct Courier {
    pub(super) endpoint: Endpoint,
    pub(super) envelope: Envelope,
    pub(super) patience: Patience,
    /// Cancelled: no attempt is begun any more.
    pub(super) stop: CancellationToken,
    /// The service has answered at least once.
    pub(super) reached: AtomicBool,
}

enum Settled {
    Accepted,
    Content(Told),
}

impl Courier {
    /// Delivers one batch.
    pub(super) async fn deliver(&self, batch: &[Event]) -> Delivered {
        let mut delivered = Delivered::default();
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            match self.settle(part).await {
                Ok(Settled::Accepted) => delivered.accepted += part.len() as u64,
                Ok(Settled::Content(told)) => match part {
                    [event] => {
                        let refused = Refused::new(event.line, &told.reason, &told.message);
                        delivered.refused.push(refused);
                    }
                    _ => {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                    }
                },
                Err(halt) => {
                    delivered.halt = Some(halt);
                    break;
                }
            }
        }
        delivered
    }

    /// Posts until the answer is about the events.
    async fn settle(&self, part: &[Event]) -> Result<Settled, Halt> {
        let body = Bytes::from(self.envelope.body(part));
        let mut tried = 0;
        loop {
            if self.stop.is_cancelled() {
                return Err(Halt::Interrupted);
            }
            let answer = self.endpoint.post(body.clone()).await;
            tried += 1;
            let (halt, asked) = match answer {
                Answer::Accepted => return Ok(self.answered(Settled::Accepted)),
                Answer::Content(told) => return Ok(self.answered(Settled::Content(told))),
                Answer::Never(told) => return Err(self.answered(Halt::Refused(told))),
                Answer::Busy(told, asked) => (self.answered(Halt::Refused(told)), asked),
                Answer::Unreachable(why) => (Halt::Unreachable(why), None),
            };
            // A service that has never answered is an address mistyped rather than one restarting.
            let never = !self.reached.load(Ordering::Relaxed);
            if tried >= self.patience.tries || never {
                return Err(halt);
            }
            let pause = self.patience.pause(tried, asked);
            if self
                .stop
                .run_until_cancelled(tokio::time::sleep(pause))
                .await
                .is_none()
            {
                return Err(Halt::Interrupted);
            }
        }
    }

    fn answered<T>(&self, answer: T) -> T {
        self.reached.store(true, Ordering::Relaxed);
        answer
    }
}

#[cfg(test)]
mod tests;
