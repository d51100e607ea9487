//! The quota of a project at an upstream: how many LogGroups of all its logstores are on their way at
//! once.
//!
//! Promise: nothing is bounded before the store says that the project is over its quota. Then half as
//! many go at once as did, and one more after each round of good answers while all of that is in use. A
//! lane may always have one on its way, so one whose attempts hang holds up no other.
//! Not here: what one lane may have (`aimd`), which is all that the quota of a shard bounds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::aimd::Sign;
use crate::telemetry::Gauge;

/// What all lanes to one project at one upstream share.
#[derive(Debug)]
pub(super) struct ProjectShare {
    state: Mutex<State>,
    /// Something may begin.
    freed: Notify,
    shown: Arc<Gauge>,
}

#[derive(Debug, Default)]
struct State {
    /// `None`: the store has never said that it is too much.
    limit: Option<f64>,
    /// Attempts of all lanes.
    under_way: usize,
    fell: Option<Instant>,
}

impl State {
    fn has_room(&self) -> bool {
        self.limit.is_none_or(|limit| self.under_way < whole(limit))
    }
}

fn whole(limit: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at least 1, far below any bound, and whole is what is wanted"
    )]
    let whole = limit as usize;
    whole.max(1)
}

impl ProjectShare {
    /// Bounded by nothing yet. `shown` is 0 as long as that is so.
    pub(super) fn new(shown: Arc<Gauge>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            freed: Notify::new(),
            shown,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one lane has of its project.
#[derive(Clone, Debug)]
pub struct ProjectPart {
    share: Arc<ProjectShare>,
    /// Attempts of this lane. Changes under the lock of the share.
    own: Arc<AtomicUsize>,
}

impl ProjectPart {
    pub(super) fn of(share: Arc<ProjectShare>) -> Self {
        Self {
            share,
            own: Arc::default(),
        }
    }

    /// Waits until an attempt may begin. One that shows whether the upstream is back does not wait.
    ///
    /// # Cancel safety
    /// Safe: nothing is taken before it returns.
    pub(in crate::pipeline) async fn slot(&self, is_probe: bool) -> ProjectSlot<'_> {
        loop {
            let mut freed = std::pin::pin!(self.share.freed.notified());
            // From here on no word is missed.
            freed.as_mut().enable();
            if let Some(slot) = self.take(is_probe) {
                return slot;
            }
            freed.await;
        }
    }

    fn take(&self, is_probe: bool) -> Option<ProjectSlot<'_>> {
        let mut state = self.share.lock();
        let may = is_probe || self.own.load(Ordering::Relaxed) == 0 || state.has_room();
        may.then(|| {
            state.under_way += 1;
            self.own.fetch_add(1, Ordering::Relaxed);
            ProjectSlot { part: self }
        })
    }
}

/// The right to make an attempt.
#[derive(Debug)]
pub(in crate::pipeline) struct ProjectSlot<'a> {
    part: &'a ProjectPart,
}

impl ProjectSlot<'_> {
    /// The attempt that began then has ended.
    pub(in crate::pipeline) fn ended(&self, sign: Sign, began: Instant) {
        let share = &self.part.share;
        let mut state = share.lock();
        match (sign, state.limit) {
            // One that was sent by the old limit says nothing of the new one.
            (Sign::ProjectQuota, _) if state.fell.is_some_and(|fell| began < fell) => {}
            (Sign::ProjectQuota, limit) => {
                let under_way = f64::from(u32::try_from(state.under_way).unwrap_or(u32::MAX));
                let before = limit.map_or(under_way, |limit| limit.min(under_way));
                state.limit = Some((before / 2.0).max(1.0));
                state.fell = Some(Instant::now());
            }
            (Sign::Well, Some(limit)) if !state.has_room() => {
                state.limit = Some(limit + 1.0 / limit);
            }
            _ => {}
        }
        let shown = state.limit.map_or(0, whole);
        share.shown.set(shown as u64);
    }
}

impl Drop for ProjectSlot<'_> {
    fn drop(&mut self) {
        let mut state = self.part.share.lock();
        state.under_way -= 1;
        self.part.own.fetch_sub(1, Ordering::Relaxed);
        drop(state);
        self.part.share.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::task::TaskTracker;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    fn two_lanes() -> (ProjectPart, ProjectPart, Arc<Gauge>) {
        let shown = Arc::<Gauge>::default();
        let share = ProjectShare::new(Arc::clone(&shown));
        let first = ProjectPart::of(Arc::clone(&share));
        (first, ProjectPart::of(share), shown)
    }

    async fn waits(part: &ProjectPart) -> bool {
        tokio::time::timeout(SOON, part.slot(false)).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_quota_answer_to_one_lane_halves_what_all_have_together() {
        let (first, second, shown) = two_lanes();
        let began = Instant::now();
        let mut slots = Vec::new();
        for lane in [&first, &second, &first, &second, &first, &second] {
            slots.push(lane.slot(false).await);
        }
        assert_eq!(shown.get(), 0, "nothing is bounded before");
        tokio::time::advance(SOON).await;
        for slot in &slots {
            slot.ended(Sign::ProjectQuota, began);
        }
        assert_eq!(shown.get(), 3, "once for what was on its way together");
        assert!(waits(&first).await && waits(&second).await);
        slots.truncate(3);
        assert!(waits(&first).await, "as many as it may have");
        slots.truncate(2);
        let third = second.slot(false).await;
        assert!(waits(&second).await);
        drop((third, slots));
        assert_eq!(first.share.lock().under_way, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_may_always_have_one_and_a_probe_does_not_wait() {
        let (first, second, shown) = two_lanes();
        let held = [first.slot(false).await, first.slot(false).await];
        held[0].ended(Sign::ProjectQuota, Instant::now());
        assert_eq!(shown.get(), 1);
        let one = second.slot(false).await;
        assert!(waits(&second).await && waits(&first).await);
        let probe = second.slot(true).await;
        drop((held, one, probe));
        assert!(!waits(&second).await);
    }

    #[tokio::test(start_paused = true)]
    async fn it_grows_by_one_with_each_round_of_good_answers_while_it_is_full() {
        let (first, _second, shown) = two_lanes();
        let began = Instant::now();
        let held = [first.slot(false).await, first.slot(false).await];
        held[0].ended(Sign::ProjectQuota, began);
        held[0].ended(Sign::Well, began);
        assert_eq!(shown.get(), 2);
        held[1].ended(Sign::Congested, began);
        assert_eq!(shown.get(), 2, "only a quota of the project narrows it");
        held[0].ended(Sign::Well, began);
        held[1].ended(Sign::Well, began);
        assert_eq!(shown.get(), 2, "2.9");
        held[1].ended(Sign::Well, began);
        assert_eq!(shown.get(), 3);
        drop(held);
        let one = first.slot(false).await;
        for _ in 0..9 {
            one.ended(Sign::Well, began);
        }
        assert_eq!(shown.get(), 3, "what is not used does not grow");
    }

    #[tokio::test]
    async fn who_waits_goes_on_when_another_lane_has_ended() {
        let (first, second, _) = two_lanes();
        let mut held = vec![first.slot(false).await, first.slot(false).await];
        held[0].ended(Sign::ProjectQuota, Instant::now());
        held.push(second.slot(false).await);
        let waiting = second.clone();
        let tasks = TaskTracker::new();
        let waiter = tasks.spawn(async move { drop(waiting.slot(false).await) });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(held);
        waiter.await.unwrap();
    }
}
