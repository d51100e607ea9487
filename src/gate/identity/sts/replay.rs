//! What was seen within a window of time: nonces, or signatures.
//!
//! Promise: what was admitted is not admitted again for at least twice the window, which is as long
//! as a request can stay valid whose time lies at the far end of it. At the bound nothing is
//! forgotten early: the new one is turned away.
//!
//! Kept are hashes of 16 bytes in two generations, which take turns.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::logstore::signature::mac;

type Hashes = HashSet<[u8; 16], foldhash::fast::RandomState>;

/// Why something is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// It was seen before.
    #[error("it was seen before")]
    Seen,
    /// So many were seen that no more can be told apart.
    #[error("too many were seen")]
    Full,
}

#[derive(Default)]
struct Generations {
    current: Hashes,
    previous: Hashes,
    /// When the current one began, unix seconds.
    since: u64,
}

/// A memory of what was seen.
pub struct ReplayWindow {
    seen: Mutex<Generations>,
    /// Seconds that a generation lasts.
    span: u64,
    /// The most that a generation holds.
    most: usize,
}

impl fmt::Debug for ReplayWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayWindow")
            .field("span", &self.span)
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

impl ReplayWindow {
    /// Entries of a generation that serve about 140 new ones in a second with the usual window of
    /// 15 minutes. They take about 10 MB when both generations are full.
    pub const USUAL: usize = 1 << 18;

    /// A memory for requests whose time may be `window` away from the server's, with at most `most`
    /// entries in each of two generations.
    #[must_use]
    pub fn new(window: Duration, most: usize) -> Self {
        Self {
            seen: Mutex::default(),
            span: 2 * window.as_secs().max(1),
            most,
        }
    }

    /// Whether `value` of `scope` was admitted before.
    #[must_use]
    pub fn has_seen(&self, scope: &str, value: &[u8]) -> bool {
        let hash = mac::hmac_sha256(scope.as_bytes(), &[value]);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |hash: &[u8; 16]| seen.current.contains(hash) || seen.previous.contains(hash);
        hash.first_chunk().is_some_and(known)
    }

    /// Admits `value` of `scope` (for example a nonce of a key) once.
    ///
    /// # Errors
    /// See [`NotAdmitted`].
    pub fn admit(&self, scope: &str, value: &[u8], unix_seconds: u64) -> Result<(), NotAdmitted> {
        let hash = mac::hmac_sha256(scope.as_bytes(), &[value]);
        let Some(hash) = hash.first_chunk() else {
            return Err(NotAdmitted::Full);
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.turn(unix_seconds, self.span);
        if seen.current.contains(hash) || seen.previous.contains(hash) {
            return Err(NotAdmitted::Seen);
        }
        if seen.current.len() >= self.most {
            return Err(NotAdmitted::Full);
        }
        seen.current.insert(*hash);
        Ok(())
    }
}

impl Generations {
    fn turn(&mut self, now: u64, span: u64) {
        let age = now.saturating_sub(self.since);
        if age < span {
            return;
        }
        self.previous = std::mem::take(&mut self.current);
        if age >= 2 * span {
            self.previous = Hashes::default();
        }
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_781_510_400;

    fn window(most: usize) -> ReplayWindow {
        ReplayWindow::new(Duration::from_secs(900), most)
    }

    #[test]
    fn nothing_is_admitted_twice_in_twice_the_window() {
        for start in [0, 1, 899, 900, 1799] {
            let seen = window(10);
            assert_eq!(seen.admit("k", b"first", NOW), Ok(()));
            assert_eq!(seen.admit("k", b"n", NOW + start), Ok(()));
            for later in [0, 1, 900, 1799] {
                let again = seen.admit("k", b"n", NOW + start + later);
                assert_eq!(again, Err(NotAdmitted::Seen), "{start} {later}");
                assert!(seen.has_seen("k", b"n") && !seen.has_seen("k", b"m"));
            }
            assert_eq!(seen.admit("k", b"n", NOW + start + 7200), Ok(()));
        }
    }

    #[test]
    fn what_is_seen_of_one_key_is_new_of_another() {
        let seen = window(10);
        assert_eq!(seen.admit("k", b"n", NOW), Ok(()));
        assert_eq!(seen.admit("l", b"n", NOW), Ok(()));
    }

    #[test]
    fn at_the_bound_nothing_is_forgotten_and_no_more_is_taken_until_it_is_time() {
        let seen = window(100);
        for count in 0..100u32 {
            assert_eq!(seen.admit("k", &count.to_be_bytes(), NOW), Ok(()));
        }
        assert_eq!(seen.admit("k", b"more", NOW), Err(NotAdmitted::Full));
        assert_eq!(
            seen.admit("k", &7u32.to_be_bytes(), NOW),
            Err(NotAdmitted::Seen)
        );
        assert_eq!(seen.admit("k", b"more", NOW + 1800), Ok(()));
        let first = seen.admit("k", &7u32.to_be_bytes(), NOW + 1800);
        assert_eq!(first, Err(NotAdmitted::Seen));
    }

    #[test]
    fn a_clock_that_goes_back_forgets_nothing() {
        let seen = window(10);
        assert_eq!(seen.admit("k", b"n", NOW), Ok(()));
        assert_eq!(seen.admit("k", b"n", NOW - 10_000), Err(NotAdmitted::Seen));
        assert_eq!(seen.admit("k", b"n", NOW), Err(NotAdmitted::Seen));
    }
}
