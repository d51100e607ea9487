//! Places for connections, whose number a reload changes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places of all public listeners together.
#[derive(Debug)]
pub(super) struct Room {
    free: Arc<Semaphore>,
    most: Mutex<usize>,
    /// Places that are to go when whoever has them leaves.
    owed: AtomicUsize,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(most)),
            most: Mutex::new(most),
            owed: AtomicUsize::new(0),
        })
    }

    /// So many places from now on. Nobody is sent away for it.
    pub(super) fn resize(&self, most: usize) {
        let mut now = self.most.lock().unwrap_or_else(PoisonError::into_inner);
        if most > *now {
            let mut more = most - *now;
            while more > 0 && self.settle_one() {
                more -= 1;
            }
            self.free.add_permits(more);
        } else {
            let fewer = *now - most;
            let gone = self.free.forget_permits(fewer);
            self.owed.fetch_add(fewer - gone, Ordering::AcqRel);
        }
        *now = most;
    }

    /// A place, if one is free.
    pub(super) fn try_enter(self: &Arc<Self>) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(self.place(permit))
    }

    /// A place, as soon as one is free.
    pub(super) async fn enter(self: &Arc<Self>) -> Option<Place> {
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(self.place(permit))
    }

    fn place(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        Place {
            room: Arc::clone(self),
            permit: Some(permit),
        }
    }

    /// Takes one off what is owed, if anything is.
    fn settle_one(&self) -> bool {
        let less = |owed: usize| owed.checked_sub(1);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        self.owed.fetch_update(set, fetch, less).is_ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take()
            && self.room.settle_one()
        {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_places_send_nobody_away_and_are_never_more_than_there_should_be() {
        let room = Room::new(3);
        let mut held: Vec<Place> = std::iter::from_fn(|| room.try_enter()).collect();
        assert_eq!(held.len(), 3);
        room.resize(1);
        drop(held.pop());
        drop(held.pop());
        assert!(room.try_enter().is_none(), "one is still there");
        drop(held.pop());
        held.extend(std::iter::from_fn(|| room.try_enter()));
        assert_eq!(held.len(), 1);
        room.resize(4);
        held.extend(std::iter::from_fn(|| room.try_enter()));
        assert_eq!(held.len(), 4);
        // Fewer and more again, before anybody has left.
        room.resize(2);
        room.resize(5);
        held.extend(std::iter::from_fn(|| room.try_enter()));
        assert_eq!(held.len(), 5);
        held.clear();
        assert_eq!(
            std::iter::from_fn(|| room.try_enter())
                .collect::<Vec<_>>()
                .len(),
            5
        );
    }
}
