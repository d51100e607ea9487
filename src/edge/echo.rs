//! Wakes that a connection causes while it is being polled.
//!
//! hyper wakes the task of a connection when a body is taken out of the channel in which it put it, in
//! the same step and though nothing is left to do: nearly every request would cost a second turn of
//! its task through the scheduler, with all that is looked at in one. Such a wake is answered with one
//! more step at once; one that comes in that step too, such as from a budget that is used up, goes to
//! the scheduler.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use atomic_waker::AtomicWaker;

/// Nothing is being polled: a wake is one of the task.
const OUTSIDE: u8 = 0;
const POLLING: u8 = 1;
/// A wake has come since the step began.
const WOKEN: u8 = 2;

/// Stands between what is polled and the waker of its task.
pub(super) struct Echo {
    shared: Arc<Shared>,
    waker: Waker,
}

#[derive(Default)]
struct Shared {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Echo {
    pub(super) fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let waker = Waker::from(Arc::clone(&shared));
        Self { shared, waker }
    }

    /// Takes a step, and another one if it woke itself.
    pub(super) fn poll<T>(
        &self,
        context: &Context<'_>,
        mut step: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.shared.task.register(context.waker());
        for _ in 0..2 {
            self.shared.state.store(POLLING, Ordering::Release);
            let result = step(&mut Context::from_waker(&self.waker));
            let woken = self.shared.state.swap(OUTSIDE, Ordering::AcqRel) == WOKEN;
            if result.is_ready() || !woken {
                return result;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Written again where it stands already: the step that is taken for it sees what each of those who
        // woke has done before.
        let noted = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                (state != OUTSIDE).then_some(WOKEN)
            });
        if noted.is_err() {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Steps that are taken and wakes of the task, when each of the first `wakes` steps wakes itself.
    fn run(wakes: usize) -> (usize, usize) {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let context = Context::from_waker(&waker);
        let echo = Echo::new();
        let mut steps = 0;
        let result: Poll<()> = echo.poll(&context, |context| {
            steps += 1;
            if steps <= wakes {
                context.waker().wake_by_ref();
            }
            Poll::Pending
        });
        assert!(result.is_pending());
        (steps, count.0.load(Ordering::Relaxed))
    }

    #[test]
    fn a_step_that_wakes_itself_is_taken_once_more_and_then_the_task_is_woken() {
        assert_eq!(run(0), (1, 0));
        assert_eq!(run(1), (2, 0));
        assert_eq!(run(2), (2, 1));
        assert_eq!(run(9), (2, 1));
    }

    #[test]
    fn a_wake_from_outside_is_one_of_the_task_that_polled_last() {
        let counts = [(); 2].map(|()| Arc::new(Count::default()));
        let echo = Echo::new();
        let mut kept = None;
        for count in &counts {
            let waker = Waker::from(Arc::clone(count));
            let result: Poll<()> = echo.poll(&Context::from_waker(&waker), |context| {
                kept = Some(context.waker().clone());
                Poll::Pending
            });
            assert!(result.is_pending());
        }
        kept.unwrap().wake();
        let counts = counts.map(|count| count.0.load(Ordering::Relaxed));
        assert_eq!(counts, [0, 1]);
    }

    #[test]
    fn no_wake_of_another_thread_is_lost() {
        for _ in 0..2_000 {
            let count = Arc::new(Count::default());
            let waker = Waker::from(Arc::clone(&count));
            let echo = Echo::new();
            let inner = echo.waker.clone();
            let done = AtomicU8::new(0);
            let mut seen = false;
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    done.store(1, Ordering::Release);
                    inner.wake();
                });
                let result: Poll<()> = echo.poll(&Context::from_waker(&waker), |_| {
                    seen = done.load(Ordering::Acquire) == 1;
                    Poll::Pending
                });
                assert!(result.is_pending());
            });
            assert!(seen || count.0.load(Ordering::Relaxed) == 1);
        }
    }
}
