//! What the backlog leaves to new requests: pure, with what was measured as arguments.
//!
//! What is read back takes processors, and so does a store that stands on the same machine. The measure is
//! how long the threads of connections wait for a processor when something has come for them, beside what
//! they wait when nothing is read back. When they wait longer the bytes of the last moment were too many:
//! fewer are sent, until that is over; then slowly more.
//!
//! Promise: the backlog always goes. No fewer are sent than [`LEAST`], and no fewer than twice what goes to
//! disk meanwhile for the logstores whose backlog goes. Where nobody sends new requests there is no bound.

use std::time::Duration;

use crate::telemetry::Waited;

/// Bytes a second that are sent in any case.
const LEAST: f64 = 1_048_576.0;
/// What goes to disk is sent so many times as fast, in any case.
const GAIN: f64 = 2.0;
/// Times a second that threads came to a processor: below that nobody is disturbed.
const FEW: f64 = 100.0;
/// What is left of the bytes of the last moment when they were too many.
const FEWER: f64 = 0.7;
/// What is added when they were not, and before they first were.
const MORE: f64 = 1.1;
const FAST: f64 = 2.0;
/// Threads wait too long when they wait so many times what is usual, and so many seconds longer.
const TIMES: f64 = 1.5;
const LONGER: f64 = 4e-6;
/// The part of a new sample in what is usual, and in how fast the backlog grows.
const NEW: f64 = 0.1;
/// The same of what they wait while the least is sent: most of it may be for that.
const NEW_AT_LEAST: f64 = 0.01;

/// What happened in a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::pipeline) struct Moment {
    /// How long it was.
    pub(in crate::pipeline) time: Duration,
    /// What the threads of connections waited.
    pub(in crate::pipeline) waited: Waited,
    /// Bytes sent from disk, as they were sent.
    pub(in crate::pipeline) sent: u64,
    /// Of logstores whose backlog goes: bytes read back, before compression.
    pub(in crate::pipeline) went: u64,
    /// And those that went to disk.
    pub(in crate::pipeline) came: u64,
}

/// Decides from moment to moment.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct GiveWay {
    /// Seconds that threads wait when little or nothing is read back.
    usual: Option<f64>,
    /// Bytes a second, while they are bounded.
    limit: Option<f64>,
    /// There were too many of them in the last moment; since the backlog began to go.
    late: bool,
    fell: bool,
    /// `sent`, `went` and `came` a second, smoothed.
    flow: [f64; 3],
}

impl GiveWay {
    /// The bytes a second of the next moment; 0 is no bound.
    pub(in crate::pipeline) fn next(&mut self, moment: Moment) -> u64 {
        let seconds = moment.time.as_secs_f64().max(1e-3);
        let now = [moment.sent, moment.went, moment.came].map(|bytes| float(bytes) / seconds);
        for (smoothed, now) in self.flow.iter_mut().zip(now) {
            *smoothed += NEW * (now - *smoothed);
        }
        let times = float(moment.waited.times);
        let wait = float(moment.waited.nanos) / 1e9 / times.max(1.0);
        let [sent, ..] = now;
        self.late = false;
        self.limit = if times / seconds < FEW {
            None
        } else if sent > 0.0 {
            self.beside(wait, sent)
        } else {
            self.at_rest(wait)
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "above 0, and a number that is too large is the largest"
        )]
        self.limit.map_or(0, |limit| limit as u64)
    }

    /// Whether the bytes of the last moment were too many.
    pub(in crate::pipeline) fn was_late(&self) -> bool {
        self.late
    }

    /// The fewest bytes a second.
    fn least(&self) -> f64 {
        let [sent, went, came] = self.flow;
        // What came, as it will be sent.
        let grows = if went > 0.0 { sent * came / went } else { 0.0 };
        LEAST.max(GAIN * grows)
    }

    /// Nothing was read back: there is nothing, or those that were let through are at it.
    fn at_rest(&mut self, wait: f64) -> Option<f64> {
        let [sent, ..] = self.flow;
        if sent > 1.0 {
            return self.limit;
        }
        self.learn(wait, NEW);
        self.fell = false;
        Some(self.least())
    }

    /// Bytes were sent beside new requests, which waited so long.
    fn beside(&mut self, wait: f64, sent: f64) -> Option<f64> {
        let least = self.least();
        let limit = self.limit.unwrap_or(f64::INFINITY);
        let usual = *self.usual.get_or_insert(wait);
        if wait > usual * TIMES + LONGER {
            if limit <= least {
                // If that stays so it is not for the backlog.
                self.learn(wait, NEW_AT_LEAST);
            }
            (self.late, self.fell) = (true, true);
            return Some((limit.min(sent) * FEWER).max(least));
        }
        let more = if self.fell { MORE } else { FAST };
        // What is not used does not grow.
        Some((limit.min(sent * FAST) * more).max(least))
    }

    fn learn(&mut self, wait: f64, part: f64) {
        let usual = self.usual.get_or_insert(wait);
        *usual += part * (wait - *usual);
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A tenth of a second in which threads came to a processor 400 times, and waited so many
    /// microseconds each time.
    fn moment(micros: u64, sent: u64) -> Moment {
        Moment {
            time: Duration::from_millis(100),
            waited: Waited {
                nanos: 400 * micros * 1000,
                times: 400,
            },
            sent,
            went: 4 * sent,
            came: 0,
        }
    }

    /// One that has seen new requests alone.
    fn rested() -> GiveWay {
        let mut way = GiveWay::default();
        for _ in 0..50 {
            assert_eq!(way.next(moment(10, 0)), MIB);
        }
        way
    }

    /// The bound after so many moments in which all was sent that it allowed, up to `most` a second, and
    /// requests waited as `wait` says of the bytes a second.
    fn drained(
        way: &mut GiveWay,
        moments: u32,
        most: u64,
        wait: impl Fn(u64) -> u64,
    ) -> (u64, u64) {
        let (mut limit, mut least) = (MIB, u64::MAX);
        for _ in 0..moments {
            let sent = match limit {
                0 => most,
                limit => limit.min(most),
            };
            limit = way.next(moment(wait(sent), sent / 10));
            least = least.min(limit);
        }
        (limit, least)
    }

    #[test]
    fn a_backlog_that_disturbs_nobody_goes_as_fast_as_it_can_within_a_second() {
        let (limit, _) = drained(&mut rested(), 10, 200 * MIB, |_| 12);
        assert!(limit > 200 * MIB, "{limit}");
        // And what the store does not take is not saved up.
        let (limit, _) = drained(&mut rested(), 100, 10 * MIB, |_| 12);
        assert!(limit < 50 * MIB, "{limit}");
    }

    #[test]
    fn a_backlog_that_disturbs_goes_as_fast_as_it_does_not() {
        let at = 20 * MIB;
        let disturbs = |sent| if sent > at { 200 } else { 12 };
        let mut way = rested();
        let (limit, least) = drained(&mut way, 100, 200 * MIB, disturbs);
        assert!((at / 2..at * 3 / 2).contains(&limit), "{limit}");
        assert!(least <= at, "{least}");
        // Where the requests end, so does the bound.
        let mut silent = moment(0, MIB);
        silent.waited.times = 1;
        assert_eq!(way.next(silent), 0);
    }

    #[test]
    fn it_is_never_slower_than_its_least() {
        let mut way = rested();
        let (limit, least) = drained(&mut way, 8, 200 * MIB, |_| 5000);
        assert_eq!((limit, least), (MIB, MIB));
        // They wait all the same: it is not for the backlog, and after some time that is usual.
        let (limit, _) = drained(&mut way, 50, 200 * MIB, |_| 5000);
        assert_eq!(limit, MIB, "not after some seconds");
        let (limit, _) = drained(&mut way, 300, 200 * MIB, |_| 5000);
        assert!(limit > 100 * MIB, "{limit}");
    }

    #[test]
    fn it_is_faster_than_what_goes_to_disk_meanwhile() {
        let mut way = rested();
        let mut limit = MIB;
        for second in 1..200 {
            // Of what is read back the half is sent; 8 MiB/s come.
            limit = way.next(Moment {
                went: limit / 5,
                came: 8 * MIB / 10,
                ..moment(second * 1000, limit / 10)
            });
        }
        assert!((7 * MIB..12 * MIB).contains(&limit), "{limit}");
    }

    #[test]
    fn a_start_with_a_backlog_takes_what_it_finds_for_usual() {
        let (limit, _) = drained(&mut GiveWay::default(), 10, 200 * MIB, |_| 80);
        assert!(limit > 100 * MIB, "{limit}");
    }
}
