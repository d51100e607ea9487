//! How long a refused client is told to wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Seconds to be told as Retry-After for a wait: at least 1, at most `most`, with up to 10 % more
/// than was worked out, so that clients that were refused together do not come back together.
#[must_use]
pub fn retry_seconds(wait: Duration, most: u32) -> u32 {
    spread(wait, most, next_share())
}

/// `share` is from 0 to 1023.
fn spread(wait: Duration, most: u32, share: u64) -> u32 {
    let most_millis = u64::from(most) * 1000;
    // Room for the jitter: those who wait longest must be spread too.
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let millis = millis.min(most_millis / 11 * 10);
    let seconds = (millis + millis * share / 10_240).div_ceil(1000);
    u32::try_from(seconds).unwrap_or(most).clamp(1, most.max(1))
}

/// A number from 0 to 1023: even, cheap, and no secret.
fn next_share() -> u64 {
    static STATE: AtomicU64 = AtomicU64::new(0);
    // SplitMix64.
    let state = STATE.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed >> 54
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_wait_is_told_in_whole_seconds_with_a_tenth_of_jitter_and_within_its_bounds() {
        let told = |millis, share| spread(Duration::from_millis(millis), 300, share);
        assert_eq!((told(0, 0), told(0, 1023)), (1, 1));
        assert_eq!((told(900, 0), told(1001, 0)), (1, 2));
        assert_eq!((told(100_000, 0), told(100_000, 1023)), (100, 110));
        assert_eq!((told(u64::MAX, 0), told(u64::MAX, 1023)), (273, 300));
        assert_eq!(spread(Duration::MAX, 0, 1023), 1);
    }

    #[test]
    fn those_who_are_refused_together_do_not_come_back_together() {
        let told = |_| retry_seconds(Duration::from_secs(100), 300);
        let told: BTreeSet<u32> = (0..200).map(told).collect();
        assert!(told.iter().all(|seconds| (100..=110).contains(seconds)));
        assert!(told.len() >= 8, "{told:?}");
    }
}
