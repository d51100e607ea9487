//! Turns: so many of one kind of work at once, of which guests, and bearers of certificates, never have all.
//!
//! Promise: whatever they ask for, one turn is left for the bearer of the admin token. Who waits does
//! so in turn, and not for long.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many at once.
#[derive(Debug)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    guests: Arc<Semaphore>,
}

/// Somebody's turn, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    _all: OwnedSemaphorePermit,
    _guest: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// So many at once, all but one of them for guests too.
    pub(super) fn new(most: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(most)),
            guests: Arc::new(Semaphore::new(most.saturating_sub(1))),
        }
    }

    /// A turn, if there is one within `patience`.
    pub(super) async fn take(&self, shares: bool, patience: Duration) -> Option<Turn> {
        let taking = async {
            // In this order: a guest that waits for the others of its kind stands in nobody's way.
            let guest = match shares {
                true => Some(Arc::clone(&self.guests).acquire_owned().await.ok()?),
                false => None,
            };
            let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Turn {
                _all: all,
                _guest: guest,
            })
        };
        tokio::time::timeout(patience, taking).await.ok()?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    #[tokio::test]
    async fn guests_leave_a_turn_for_the_admin() {
        let turns = Turns::new(3);
        let first = turns.take(true, AT_ONCE).await.unwrap();
        let _second = turns.take(true, AT_ONCE).await.unwrap();
        assert!(turns.take(true, AT_ONCE).await.is_none());
        let admin = turns.take(false, AT_ONCE).await.unwrap();
        assert!(turns.take(false, AT_ONCE).await.is_none(), "all are taken");
        drop(first);
        assert!(turns.take(true, AT_ONCE).await.is_some(), "given back");
        drop(admin);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_the_next_one() {
        let turns = Turns::new(2);
        let first = turns.take(true, AT_ONCE).await.unwrap();
        let second = turns.take(true, Duration::from_secs(5));
        let later = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(second, later);
        assert!(second.is_some());
    }
}
