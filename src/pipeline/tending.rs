//! Looking after destinations that want it, from time to time, and at the end.
//!
//! Promise: one that hangs holds up nothing, no other destination either. A stop waits for a disk of a destination for a bounded time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::destination::Destination;

/// How often destinations are looked after.
const TENDING: Duration = Duration::from_secs(1);
/// How long a stop waits for them to end.
const LAST_TENDING: Duration = Duration::from_secs(8);

/// Destinations that are looked after.
pub(super) type Tended = Mutex<Vec<Arc<Destination>>>;

/// All of them.
pub(super) fn tended(all: &Tended) -> MutexGuard<'_, Vec<Arc<Destination>>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks after destinations, and ends those that no worker has any more: these stay in the list until
/// they have ended.
pub(super) async fn tend(all: Arc<Tended>, stopping: CancellationToken) {
    let mut ticks = tokio::time::interval(TENDING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way = UnderWay::default();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stopping.cancelled() => return,
        }
        // Only the list has one that is left.
        let look = |it: &Arc<Destination>| (Arc::strong_count(it) == 1, Arc::clone(it));
        let here: Vec<(bool, Arc<Destination>)> = tended(&all).iter().map(look).collect();
        for (is_left, destination) in here {
            let (place, all) = (Arc::as_ptr(&destination).addr(), Arc::clone(&all));
            under_way.begin(place, move || {
                if !is_left {
                    destination.tend();
                } else if destination.close() {
                    tended(&all).retain(|it| !Arc::ptr_eq(it, &destination));
                }
            });
        }
    }
}

/// Work on destinations, by where each is: one that hangs is waited for, and holds up no other.
#[derive(Default)]
struct UnderWay(BTreeMap<usize, JoinHandle<()>>);

impl UnderWay {
    /// Begins work that may block, unless there is still some of that place under way.
    fn begin(&mut self, place: usize, work: impl FnOnce() + Send + 'static) {
        self.0.retain(|_, work| !work.is_finished());
        self.0
            .entry(place)
            .or_insert_with(|| tokio::task::spawn_blocking(work));
    }
}

/// Ends what destinations have under way, side by side. What is not ended by then is taken up by the next
/// start.
pub(super) async fn close(all: &Tended) {
    let destinations = std::mem::take(&mut *tended(all));
    let begin = |it: Arc<Destination>| tokio::task::spawn_blocking(move || it.close());
    let closing: Vec<JoinHandle<bool>> = destinations.into_iter().map(begin).collect();
    let closed = async {
        let mut all = true;
        for it in closing {
            all &= it.await.unwrap_or(false);
        }
        all
    };
    if tokio::time::timeout(LAST_TENDING, closed).await != Ok(true) {
        tracing::warn!("files are left unfinished; the next start completes them");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn a_destination_that_hangs_is_waited_for_and_holds_up_no_other() {
        let mut under_way = UnderWay::default();
        let begun = Arc::new(AtomicU32::new(0));
        let (release, hangs) = channel::<()>();
        let count = Arc::clone(&begun);
        under_way.begin(1, move || {
            count.fetch_add(1, Ordering::Relaxed);
            if hangs.recv().is_err() {}
        });
        let count = Arc::clone(&begun);
        under_way.begin(1, move || {
            count.fetch_add(100, Ordering::Relaxed);
        });
        let (told, other) = tokio::sync::oneshot::channel();
        under_way.begin(2, move || if told.send(()).is_err() {});
        other.await.unwrap();
        drop(release);
        while !under_way.0.values().all(JoinHandle::is_finished) {
            tokio::task::yield_now().await;
        }
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        let (told, again) = tokio::sync::oneshot::channel();
        under_way.begin(1, move || if told.send(()).is_err() {});
        again.await.unwrap();
    }
}
