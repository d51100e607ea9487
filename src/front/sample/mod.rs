//! A few of the requests that clients send, with what became of them: to be looked at, and to be tried out
//! on another configuration.
//!
//! Promise: no more than so many in a second and so many bytes in all; what is refused does not push out
//! what is taken, nor a common refusal a rare one within a second. No secret is kept (`redact`).

mod record;
mod redact;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::request::Parts;

use self::record::Seen;
use self::redact::Redactor;
use super::reply::Reply;
use super::service::Sender;
use super::trace::Trace;
use crate::config::{Identity, Sample};
use crate::event::Reason;
use crate::foundation::clock;

/// Seconds by which a request may begin in the past. More than that, and the clock was set back.
const SET_BACK: u64 = 60;
/// Requests of a second that are looked at, for each that may be kept.
const BEGUN: u32 = 8;

/// Keeps a few requests.
#[derive(Debug)]
pub(super) struct Sampler {
    rules: Sample,
    parameter: String,
    cookies: [String; 2],
    /// The second in which no more is begun, and of which nothing is asked of the lock.
    full_at: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The second that is counted.
    second: u64,
    /// Requests of which it was written down what becomes of them: more than are kept, since how a request
    /// ends is not known before.
    begun: u32,
    taken: u32,
    refused: u32,
    /// Reasons of this second, a bit each.
    reasons: [u64; Reason::ALL.len().div_ceil(64)],
    kept: Kept,
    refusals: Kept,
}

/// Lines of JSON, within so many bytes.
#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

impl Kept {
    fn put(&mut self, unix_millis: u64, line: Bytes, most: usize) {
        self.bytes += line.len();
        self.lines.push_back((unix_millis, line));
        while self.bytes > most
            && let Some((_, oldest)) = self.lines.pop_front()
        {
            self.bytes -= oldest.len();
        }
    }
}

impl State {
    /// Counts anew in a new second. A request of a second that has passed counts in the one that is
    /// counted, unless the clock was set back.
    fn begin(&mut self, second: u64) {
        if second > self.second || self.second - second > SET_BACK {
            self.second = second;
            (self.begun, self.taken, self.refused) = (0, 0, 0);
            self.reasons = Default::default();
        }
    }
}

impl Sampler {
    pub(super) fn new(rules: &Sample, identity: &Identity) -> Self {
        Self {
            rules: rules.clone(),
            parameter: identity.query_parameter.clone(),
            cookies: [identity.cookie.clone(), identity.session.cookie.clone()],
            full_at: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// Whether it keeps a sample by these rules.
    pub(super) fn has_rules(&self, rules: &Sample, identity: &Identity) -> bool {
        let [cookie, session] = &self.cookies;
        self.rules == *rules
            && self.parameter == identity.query_parameter
            && *cookie == identity.cookie
            && *session == identity.session.cookie
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is to be written down what becomes of a request, if that may be kept.
    pub(super) fn begin(&self, unix_seconds: u64) -> Option<Trace> {
        let per_second = self.rules.per_second;
        if per_second == 0 || self.full_at.load(Ordering::Relaxed) == unix_seconds {
            return None;
        }
        let mut state = self.lock();
        state.begin(unix_seconds);
        state.begun += 1;
        let all_kept = state.taken >= per_second && state.refused >= per_second;
        if all_kept || state.begun > per_second.saturating_mul(BEGUN) {
            self.full_at.store(unix_seconds, Ordering::Relaxed);
            return None;
        }
        drop(state);
        let begun = clock::unix_millis();
        Some(Trace::for_sample(self.rules.max_body.as_usize(), begun))
    }

    /// Keeps a request, if there is room for one that ended so.
    pub(super) fn finish(&self, trace: Trace, (parts, sender): (&Parts, Sender), reply: &Reply) {
        let (traced, body, unix_millis) = trace.finish_with_body();
        let reason = traced.refused_for();
        {
            let mut state = self.lock();
            let full = match reason {
                None => state.taken >= self.rules.per_second,
                Some(reason) => {
                    let (word, bit) = (reason.index() / 64, reason.index() % 64);
                    let reasons = state.reasons.get_mut(word);
                    let seen = reasons.is_some_and(|word| {
                        let seen = *word & (1 << bit) != 0;
                        *word |= 1 << bit;
                        seen
                    });
                    // Half of the room is for reasons that were not seen in this second.
                    let room = match seen {
                        true => self.rules.per_second / 2,
                        false => self.rules.per_second,
                    };
                    state.refused >= room
                }
            };
            if full {
                return;
            }
            match reason {
                None => state.taken += 1,
                Some(_) => state.refused += 1,
            }
        }
        let redactor = Redactor {
            parameter: &self.parameter,
            cookies: [&self.cookies[0], &self.cookies[1]],
            personal: self.rules.hide_personal,
        };
        let seen = Seen {
            parts,
            sender,
            unix_millis,
            reply,
            traced,
            body,
        };
        let Some(line) = seen.line(&redactor) else {
            return;
        };
        let most = self.rules.memory.as_usize() / 2;
        let mut state = self.lock();
        let kept = match reason {
            None => &mut state.kept,
            Some(_) => &mut state.refusals,
        };
        kept.put(unix_millis, line, most);
    }

    /// What is kept: a JSON object each, in the order in which they ended.
    pub(super) fn lines(&self) -> Vec<Bytes> {
        let state = self.lock();
        let lines = state.kept.lines.iter().chain(&state.refusals.lines);
        let mut lines: Vec<(u64, Bytes)> = lines.cloned().collect();
        drop(state);
        lines.sort_by_key(|(unix_millis, _)| *unix_millis);
        lines.into_iter().map(|(_, line)| line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_looked_at_in_a_second_than_a_few_for_each_that_may_be_kept() {
        let rules = Sample {
            per_second: 3,
            ..Sample::default()
        };
        let sampler = Sampler::new(&rules, &Identity::default());
        for second in [100, 101] {
            let begun = (0..1000).filter(|_| sampler.begin(second).is_some());
            assert_eq!(begun.count(), 3 * BEGUN as usize);
        }
        // One that began in a second that has passed does not open that of another anew.
        assert!(sampler.begin(100).is_none() && sampler.begin(101).is_none());
        // The clock may be set back.
        assert!(sampler.begin(1).is_some());
        let none = Sample {
            per_second: 0,
            ..rules
        };
        let sampler = Sampler::new(&none, &Identity::default());
        assert!(sampler.begin(100).is_none());
    }
}
