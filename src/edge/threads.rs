//! The threads that serve connections.
//!
//! Each has a runtime of its own with one worker, and a connection stays with the thread that it was
//! given to, the one that had the fewest. One runtime with several workers wakes another with nearly
//! every request, to look for work that is done by then: at a moderate rate that cost half as much as
//! the request. What is not about a connection (deliveries, the spool, the admin listener) has the
//! runtime that the service was started in.
//!
//! Work that holds a thread for long holds up its other connections: whoever has such work lets the
//! thread go for it (`foundation::apart`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle, Runtime};

/// The threads of one edge.
#[derive(Debug)]
pub(super) struct Threads(Vec<Thread>);

#[derive(Debug)]
struct Thread {
    /// There until it is dropped.
    runtime: Option<Runtime>,
    connections: Arc<AtomicUsize>,
}

/// A connection, counted for its thread.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(connections: &Arc<AtomicUsize>) -> Self {
        connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connections))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many threads so many are, with 0 for as many as the runtime has that asks; outside of one, as there
/// are processors.
pub(super) fn count(threads: u32) -> usize {
    match (threads, Handle::try_current()) {
        (0, Ok(runtime)) => runtime.metrics().num_workers(),
        (0, Err(_)) => std::thread::available_parallelism().map_or(1, usize::from),
        (threads, _) => usize::try_from(threads).unwrap_or(1),
    }
}

impl Threads {
    /// Starts so many, as [`count`] counts them.
    ///
    /// # Errors
    /// When the system does not give them.
    pub(super) fn start(count: u32) -> io::Result<Self> {
        let start = |_| {
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("tollgate-edge")
                .enable_all()
                .build()?;
            Ok(Thread {
                runtime: Some(runtime),
                connections: Arc::default(),
            })
        };
        let threads: io::Result<Vec<_>> = (0..self::count(count)).map(start).collect();
        threads.map(Self)
    }

    /// Their runtimes.
    pub(super) fn handles(&self) -> Vec<Handle> {
        let runtimes = self.0.iter().filter_map(|it| it.runtime.as_ref());
        runtimes.map(|it| it.handle().clone()).collect()
    }

    /// The thread that has the fewest connections: its runtime, and what counts another one for it.
    pub(super) fn choose(&self) -> Option<(&Handle, Counted)> {
        let held = |thread: &&Thread| thread.connections.load(Ordering::Relaxed);
        let fewest = self.0.iter().min_by_key(held)?;
        let runtime = fewest.runtime.as_ref()?;
        Some((runtime.handle(), Counted::new(&fewest.connections)))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // A runtime that is dropped waits for its threads, which no task may.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::{Notify, mpsc};
    use tokio_util::task::TaskTracker;

    fn serve(
        threads: &Threads,
        tasks: &TaskTracker,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let (runtime, counted) = threads.choose().unwrap();
        let served = async move {
            let _counted = counted;
            connection.await;
        };
        tasks.spawn_on(served, runtime);
    }

    fn connections(threads: &Threads) -> Vec<usize> {
        let count = |it: &Thread| it.connections.load(Ordering::Relaxed);
        threads.0.iter().map(count).collect()
    }

    #[tokio::test]
    async fn connections_are_spread_and_stay_on_their_thread() {
        let (threads, tasks) = (Threads::start(3).unwrap(), TaskTracker::new());
        let (ends, (told, mut tell)) = (Arc::new(Notify::new()), mpsc::channel(9));
        for _ in 0..9 {
            let (ends, told) = (Arc::clone(&ends), told.clone());
            serve(&threads, &tasks, async move {
                let id = || std::thread::current().id();
                let first = id();
                told.try_send(first).unwrap();
                let end = ends.notified();
                tokio::task::yield_now().await;
                assert_eq!(id(), first);
                end.await;
                assert_eq!(id(), first);
            });
        }
        assert_eq!(connections(&threads), [3, 3, 3]);
        let mut ids = std::collections::HashSet::new();
        for _ in 0..9 {
            ids.insert(tell.recv().await.unwrap());
        }
        assert_eq!(ids.len(), 3);
        tasks.close();
        while !tasks.is_empty() {
            ends.notify_waiters();
            tokio::task::yield_now().await;
        }
        assert_eq!(connections(&threads), [0, 0, 0]);
    }

    #[tokio::test]
    async fn there_are_as_many_as_the_runtime_has_where_none_is_named() {
        assert_eq!(connections(&Threads::start(0).unwrap()), [0]);
    }

    #[tokio::test]
    async fn a_thread_that_a_request_holds_serves_the_others_meanwhile() {
        let (threads, tasks) = (Threads::start(1).unwrap(), TaskTracker::new());
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(Notify::new());
        let holds = Arc::clone(&held);
        serve(&threads, &tasks, async move {
            crate::foundation::apart::apart(|| {
                holds.notify_one();
                wait.recv().unwrap();
            });
        });
        held.notified().await;
        let (done, is_done) = tokio::sync::oneshot::channel();
        serve(&threads, &tasks, async move { done.send(()).unwrap() });
        is_done.await.unwrap();
        go.send(()).unwrap();
        tasks.close();
        tasks.wait().await;
    }
}
