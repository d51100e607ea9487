//! The wakers of a connection: which of its wakes cost a turn of its task, and what is looked at in one.
//!
//! hyper wakes the task of a connection when a body is taken out of the channel in which it put it, in
//! the same step and though nothing is left to do: nearly every request would cost a second turn of
//! its task through the scheduler, with all that is looked at in one. Such a wake is answered with one
//! more step at once; one that comes in that step too, such as from a budget that is used up, goes to
//! the scheduler.
//!
//! What rarely wakes a connection, such as a stop or a deadline, has a waker of its own, a [`Bell`], and is
//! asked only when that has rung: asked in each turn, it would take locks that all connections share.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Nothing is being polled: a wake is one of the task.
const OUTSIDE: u8 = 0;
const POLLING: u8 = 1;
/// A wake has come since the step began.
const WOKEN: u8 = 2;

/// Stands between what is polled and the waker of its task.
pub(super) struct Echo {
    shared: Arc<Shared>,
    waker: Waker,
    /// The waker that `shared` has.
    task: Waker,
}

struct Shared {
    state: AtomicU8,
    /// Held for the moment of a wake: nothing that wakes a task asks for it again.
    task: Mutex<Waker>,
}

impl Shared {
    fn task(&self) -> MutexGuard<'_, Waker> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Echo {
    pub(super) fn new() -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU8::new(OUTSIDE),
            task: Mutex::new(Waker::noop().clone()),
        });
        Self {
            waker: Waker::from(Arc::clone(&shared)),
            shared,
            task: Waker::noop().clone(),
        }
    }

    /// A bell that wakes the same task. It has rung.
    pub(super) fn bell(&self) -> Bell {
        let ring = Arc::new(Ring {
            rung: AtomicBool::new(true),
            shared: Arc::clone(&self.shared),
        });
        Bell {
            waker: Waker::from(Arc::clone(&ring)),
            ring,
        }
    }

    /// The task of `context` is the one to wake from now on. To be called before anything is polled.
    pub(super) fn follow(&mut self, context: &Context<'_>) {
        if !self.task.will_wake(context.waker()) {
            self.task.clone_from(context.waker());
            self.shared.task().clone_from(context.waker());
        }
    }

    /// Takes a step, and another one if it woke itself.
    pub(super) fn poll<T>(&self, mut step: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        for _ in 0..2 {
            self.shared.state.store(POLLING, Ordering::Release);
            let result = step(&mut Context::from_waker(&self.waker));
            let woken = self.shared.state.swap(OUTSIDE, Ordering::AcqRel) == WOKEN;
            if result.is_ready() || !woken {
                return result;
            }
        }
        self.task.wake_by_ref();
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
            self.task().wake_by_ref();
        }
    }
}

/// The waker of what is asked only when it has called.
pub(super) struct Bell {
    ring: Arc<Ring>,
    waker: Waker,
}

struct Ring {
    rung: AtomicBool,
    shared: Arc<Shared>,
}

impl Bell {
    /// Whether it has rung since it was last asked. What may have rung it is to be polled then, with the
    /// context of the bell, or it will not ring again.
    pub(super) fn has_rung(&self) -> bool {
        let rung = &self.ring.rung;
        rung.load(Ordering::Acquire) && rung.swap(false, Ordering::AcqRel)
    }

    /// For what is to ring it.
    pub(super) fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }
}

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.shared.task().wake_by_ref();
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

    impl Count {
        /// One, and a waker that it counts.
        fn new() -> (Arc<Self>, Waker) {
            let count = Arc::new(Self::default());
            (Arc::clone(&count), Waker::from(count))
        }

        fn get(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn poll(echo: &mut Echo, task: &Waker, mut step: impl FnMut(&mut Context<'_>)) {
        echo.follow(&Context::from_waker(task));
        let result: Poll<()> = echo.poll(|context| {
            step(context);
            Poll::Pending
        });
        assert!(result.is_pending());
    }

    /// Steps that are taken and wakes of the task, when each of the first `wakes` steps wakes itself.
    fn run(wakes: usize) -> (usize, usize) {
        let (count, task) = Count::new();
        let mut steps = 0;
        poll(&mut Echo::new(), &task, |context| {
            steps += 1;
            if steps <= wakes {
                context.waker().wake_by_ref();
            }
        });
        (steps, count.get())
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
        let counts = [(); 2].map(|()| Count::new());
        let mut echo = Echo::new();
        let bell = echo.bell();
        let mut kept = None;
        for (_, task) in &counts {
            poll(&mut echo, task, |context| {
                kept = Some(context.waker().clone())
            });
        }
        let kept = kept.unwrap();
        kept.wake_by_ref();
        bell.context().waker().wake_by_ref();
        // Any number of times: a wake does not use up what it wakes.
        kept.wake();
        assert_eq!(counts.map(|(count, _)| count.get()), [0, 3]);
    }

    #[test]
    fn no_wake_of_another_thread_is_lost() {
        for _ in 0..2_000 {
            let (count, task) = Count::new();
            let mut echo = Echo::new();
            let inner = echo.waker.clone();
            let done = AtomicU8::new(0);
            let mut seen = false;
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    done.store(1, Ordering::Release);
                    inner.wake();
                });
                poll(&mut echo, &task, |_| {
                    seen = done.load(Ordering::Acquire) == 1;
                });
            });
            assert!(seen || count.get() == 1);
        }
    }

    #[test]
    fn a_bell_that_has_rung_says_so_once_and_wakes_the_task() {
        let (count, task) = Count::new();
        let mut echo = Echo::new();
        let bell = echo.bell();
        // What it is for has not been polled yet.
        assert!(bell.has_rung() && !bell.has_rung());
        echo.follow(&Context::from_waker(&task));
        let waker = bell.context().waker().clone();
        waker.wake_by_ref();
        waker.wake();
        assert_eq!(count.get(), 2);
        assert!(bell.has_rung() && !bell.has_rung());
    }

    #[test]
    fn a_bell_rings_also_while_its_connection_is_polled() {
        let (count, task) = Count::new();
        let mut echo = Echo::new();
        let bell = echo.bell();
        assert!(bell.has_rung());
        let mut steps = 0;
        poll(&mut echo, &task, |_| {
            steps += 1;
            bell.context().waker().wake_by_ref();
        });
        // It is asked in the next turn of the task, not in another step.
        assert_eq!((steps, count.get()), (1, 1));
        assert!(bell.has_rung());
    }
}
