//! Work that takes long, done by a thread that serves requests.
//!
//! Bound: as many at once in a process as there are processors. More would not be done earlier, and each
//! has buffers of its own.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Handle, RuntimeFlavor};

static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
static MOST: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));

/// A place among those that are under way.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let before = UNDER_WAY.fetch_add(1, Ordering::Relaxed);
        // One too many is given back as it is dropped.
        Some(Self).filter(|_| before < *MOST)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Does work that may take milliseconds. Where the runtime can, and not too many are at it, another thread
/// takes over meanwhile what else this one has to do; the work is done by this one either way, before it
/// returns. That costs some ten microseconds.
pub fn apart<T>(work: impl FnOnce() -> T) -> T {
    let can =
        Handle::try_current().is_ok_and(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread);
    let Some(_place) = can.then(Place::take).flatten() else {
        return work();
    };
    tokio::task::block_in_place(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_done_with_and_without_a_runtime() {
        assert_eq!(apart(|| 1), 1);
        let one = tokio::runtime::Builder::new_current_thread().build();
        assert_eq!(one.unwrap().block_on(async { apart(|| 2) }), 2);
        let many = tokio::runtime::Builder::new_multi_thread().build();
        assert_eq!(many.unwrap().block_on(async { apart(|| 3) }), 3);
    }

    #[test]
    fn there_are_as_many_places_as_processors() {
        let places: Vec<_> = (0..*MOST + 3).map_while(|_| Place::take()).collect();
        assert_eq!(places.len(), *MOST);
        assert_eq!(apart(|| 1), 1, "done all the same");
        drop(places);
        assert_eq!(UNDER_WAY.load(Ordering::Relaxed), 0);
        assert!(Place::take().is_some());
    }
}
