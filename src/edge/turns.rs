//! Turns for what comes before HTTP on a connection: so many at once, the others wait.
//!
//! Promise: who begins a handshake and never ends it does not keep others out: after a grace its turn
//! passes on to the one that has waited longest, if one waits. A burst of clients that
//! are done within the grace is queued, and none of them pays for it. A handshake that goes on but
//! takes longer counts as one that stalls: from here they look alike.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::telemetry::ConnectionEnd;

/// Turns of all public listeners together.
#[derive(Debug)]
pub(super) struct Turns {
    places: Semaphore,
    line: Mutex<Line>,
    /// Tells who has held its place for the grace that one more waits; the longest first.
    wanted: Notify,
    grace: Duration,
}

/// Who waits for a place, and for whom room is made. `given` is never more than `waiting`.
#[derive(Debug, Default)]
struct Line {
    waiting: usize,
    given: usize,
}

/// One that waits.
struct Waiting<'t>(&'t Turns);

impl<'t> Waiting<'t> {
    fn new(turns: &'t Turns) -> Self {
        turns.line().waiting += 1;
        turns.wanted.notify_one();
        Self(turns)
    }

    /// It has its place now.
    fn served(self) {
        let mut line = self.0.line();
        line.given = line.given.saturating_sub(1);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut line = self.0.line();
        line.waiting = line.waiting.saturating_sub(1);
        line.given = line.given.min(line.waiting);
    }
}

impl Turns {
    /// So many places; who holds one for longer than `grace` gives way when another waits.
    pub(super) fn new(places: usize, grace: Duration) -> Self {
        Self {
            places: Semaphore::new(places.min(Semaphore::MAX_PERMITS)),
            line: Mutex::default(),
            wanted: Notify::new(),
            grace,
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn, in the order of arrival, and takes the steps.
    ///
    /// # Errors
    /// What the steps end in, or that they took too long while another waited.
    pub(super) async fn take<T>(
        &self,
        steps: impl Future<Output = Result<T, ConnectionEnd>>,
    ) -> Result<T, ConnectionEnd> {
        let _place = match self.places.try_acquire() {
            Ok(place) => place,
            Err(_) => {
                let waiting = Waiting::new(self);
                let place = self.places.acquire().await;
                waiting.served();
                place.map_err(|_| ConnectionEnd::Stopped)?
            }
        };
        tokio::select! {
            done = steps => done,
            () = self.wanted() => Err(ConnectionEnd::HandshakeCrowded),
        }
    }

    /// Ends when it has held its place for the grace and there is one that waits and that nobody else
    /// makes room for.
    async fn wanted(&self) {
        tokio::time::sleep(self.grace).await;
        loop {
            {
                let mut line = self.line();
                if line.waiting > line.given {
                    line.given += 1;
                    return;
                }
            }
            // Whoever comes between the look and here has left a permit.
            self.wanted.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;

    use tokio::time::Instant;
    use tokio_util::task::TaskTracker;

    use super::*;

    const GRACE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn who_stalls_gives_way_only_when_another_waits() {
        let turns = Arc::new(Turns::new(2, GRACE));
        let tasks = TaskTracker::new();
        let began = Instant::now();
        let stalled: Vec<_> = (0..2)
            .map(|_| {
                let turns = Arc::clone(&turns);
                tasks.spawn(async move {
                    let end = turns.take::<()>(pending()).await.unwrap_err();
                    (end, began.elapsed())
                })
            })
            .collect();
        tokio::time::sleep(GRACE * 5).await;
        assert!(stalled.iter().all(|it| !it.is_finished()), "nobody waits");
        assert_eq!(turns.take(ready(Ok(7))).await, Ok(7));
        assert_eq!(began.elapsed(), GRACE * 5, "it did not have to wait");
        tokio::task::yield_now().await;
        assert_eq!(
            stalled.iter().filter(|it| it.is_finished()).count(),
            1,
            "one was enough"
        );
        for it in stalled {
            if it.is_finished() {
                let (end, after) = it.await.unwrap();
                assert_eq!((end, after), (ConnectionEnd::HandshakeCrowded, GRACE * 5));
            } else {
                it.abort();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_waits_its_turn_and_nobody_is_pushed_out() {
        let turns = Arc::new(Turns::new(2, GRACE));
        let tasks = TaskTracker::new();
        let began = Instant::now();
        let all: Vec<_> = (0..20)
            .map(|_| {
                let turns = Arc::clone(&turns);
                tasks.spawn(async move {
                    let step = async {
                        tokio::time::sleep(GRACE / 2).await;
                        Ok(())
                    };
                    turns.take(step).await
                })
            })
            .collect();
        for one in all {
            assert_eq!(one.await.unwrap(), Ok(()));
        }
        assert_eq!(began.elapsed(), GRACE * 5);
        {
            let line = turns.line();
            assert_eq!((line.waiting, line.given), (0, 0));
        }
        assert_eq!(turns.places.available_permits(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_pushes_nobody_out() {
        let turns = Turns::new(1, GRACE);
        let holder = turns.take::<()>(pending());
        let waiter = tokio::time::timeout(GRACE / 2, turns.take::<()>(pending()));
        tokio::select! {
            _ = holder => panic!("nobody waits any more"),
            () = async { assert!(waiter.await.is_err()); tokio::time::sleep(GRACE * 5).await; } => {}
        }
        {
            let line = turns.line();
            assert_eq!((line.waiting, line.given), (0, 0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_stalled_ones_lets_others_through_at_the_rate_of_the_places() {
        let turns = Arc::new(Turns::new(10, GRACE));
        let tasks = TaskTracker::new();
        for _ in 0..50 {
            let turns = Arc::clone(&turns);
            tasks.spawn(async move { turns.take::<()>(pending()).await });
        }
        tokio::time::sleep(GRACE / 100).await;
        let began = Instant::now();
        assert_eq!(turns.take(ready(Ok(()))).await, Ok(()));
        // 40 stand before it, and 10 of them are through after each grace.
        let waited = began.elapsed();
        assert!(waited > GRACE * 3 && waited <= GRACE * 5, "{waited:?}");
    }
}
