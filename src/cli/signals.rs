//! The signals of `tollgate run`, none of which is lost while one image of the program follows the
//! other.
//!
//! They are blocked in every thread but one, the door, which exists from the moment that handlers are
//! installed until the program is replaced. Without it a signal waits in the kernel: the block and what
//! waits outlive `exec`, so the next image gets it as soon as it listens. The default action, which
//! ends the process, is never reached in between.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal as Number};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Exit, Failure};

/// Time for the runtime to pass on what the door has let in. It looks at signals whenever it looks at
/// timers, so any sleep is long enough.
const PASSED_ON: Duration = Duration::from_millis(1);

/// Does the work of a command in a runtime of its own, as [`until_stopped`].
///
/// # Errors
/// Those of the work; and when it was stopped.
pub(super) fn run_until_stopped<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Internal, error))?;
    runtime.block_on(until_stopped(work))
}

/// Does work that leaves something behind when it is cut off: on SIGINT or SIGTERM it is dropped, and
/// cleans up after itself.
///
/// # Errors
/// Those of the work; and when it was stopped.
pub(super) async fn until_stopped<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let failed = |error| Failure::new(Exit::Internal, format!("signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::select! {
        done = work => done,
        _ = terminate.recv() => Err(Failure::new(Exit::Partial, "stopped")),
        _ = interrupt.recv() => Err(Failure::new(Exit::Partial, "stopped")),
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Stop,
    Reload,
    HandOver,
}

fn ours() -> SigSet {
    SigSet::from_iter([
        Number::SIGTERM,
        Number::SIGINT,
        Number::SIGHUP,
        Number::SIGUSR2,
    ])
}

/// Lets signals wait until [`Signals::listen`]: for this thread and all that are started by it. Call it
/// before any thread is started.
///
/// # Errors
/// What the system says.
pub(super) fn hold() -> io::Result<()> {
    Ok(ours().thread_block()?)
}

/// SIGTERM, SIGINT, SIGHUP and SIGUSR2.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user2: Signal,
    door: Option<Door>,
}

/// The one thread that signals are delivered to. It ends when `open` is dropped.
struct Door {
    open: mpsc::Sender<Infallible>,
    thread: JoinHandle<()>,
}

impl Door {
    fn open() -> io::Result<Self> {
        let (open, closed) = mpsc::channel::<Infallible>();
        let (told, unblocked) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let outcome = ours().thread_unblock();
                if told.send(outcome).is_ok() {
                    // Nothing is ever sent: this waits until the other end is dropped.
                    closed.recv().ok();
                }
            })?;
        match unblocked.recv() {
            Ok(outcome) => outcome?,
            Err(_) => return Err(io::Error::other("the thread for signals has died")),
        }
        Ok(Self { open, thread })
    }

    /// From now on signals wait.
    fn close(self) {
        drop(self.open);
        drop(self.thread.join());
    }
}

impl Signals {
    /// Installs handlers, and then lets in what has waited.
    ///
    /// # Errors
    /// When a handler or the thread cannot be had.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user2: signal(SignalKind::user_defined2())?,
            door: Some(Door::open()?),
        })
    }

    /// The next signal.
    pub(super) async fn any(&mut self) -> Asked {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.user2.recv() => Asked::HandOver,
        }
    }

    /// The next signal to stop.
    pub(super) async fn stop(&mut self) {
        while self.any().await != Asked::Stop {}
    }

    /// Lets no more signals in: they wait for the next image of the program. Says whether one to stop
    /// came before.
    pub(super) async fn close(mut self) -> bool {
        if let Some(door) = self.door.take() {
            door.close();
        }
        tokio::time::sleep(PASSED_ON).await;
        tokio::select! {
            biased;
            () = self.stop() => true,
            () = std::future::ready(()) => false,
        }
    }
}
