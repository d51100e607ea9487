//! When something is due, for who looks at many and must not lock each to learn it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

/// A moment that may be set anew, or none.
#[derive(Debug)]
pub(super) struct Due {
    born: Instant,
    /// In milliseconds since then; [`NEVER`] is nothing.
    at: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl Due {
    pub(super) fn new() -> Self {
        Self {
            born: Instant::now(),
            at: AtomicU64::new(NEVER),
        }
    }

    pub(super) fn set(&self, at: Option<Instant>) {
        let millis = |at: Instant| u64::try_from(at.duration_since(self.born).as_millis());
        let at = at.map_or(NEVER, |at| millis(at).unwrap_or(NEVER));
        self.at.store(at, Ordering::Release);
    }

    /// Whether it is due by now, to the millisecond.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let at = self.at.load(Ordering::Acquire);
        at != NEVER && now.duration_since(self.born).as_millis() >= u128::from(at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_over_from_its_millisecond_on_and_never_when_there_is_none() {
        let (due, begun) = (Due::new(), Instant::now());
        let after = |millis| begun + Duration::from_millis(millis);
        assert!(!due.is_over(after(1 << 40)));
        due.set(Some(after(2000)));
        assert!(!due.is_over(after(1999)) && due.is_over(after(2000)));
        due.set(None);
        assert!(!due.is_over(after(2000)));
    }
}
