//! Telling systemd how far the service is (`Type=notify`), and that it lives (`WatchdogSec=`).
//!
//! Source: `sd_notify(3)`, `sd_watchdog_enabled(3)`. A datagram to the socket that `NOTIFY_SOCKET`
//! names; without that variable nothing is sent. Nothing depends on whether it arrives.

use std::ffi::{OsStr, OsString};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::task::TaskTracker;

/// How far the service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It takes requests.
    Ready,
    /// It makes room for its successor in the same process.
    HandingOver,
    /// It stops.
    Stopping,
}

/// Tells a state.
pub(super) fn notify(state: State) {
    let message = match state {
        State::Ready => "READY=1\nSTATUS=taking requests\n",
        State::HandingOver => "RELOADING=1\nSTATUS=handing over to a new process image\n",
        State::Stopping => "STOPPING=1\nSTATUS=delivering what is held\n",
    };
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET") {
        tell(&socket, message);
    }
}

fn tell(socket: &OsStr, message: &str) {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(socket),
    };
    let sent = UnixDatagram::unbound()
        .and_then(|socket| socket.send_to_addr(message.as_bytes(), &address?));
    if let Err(error) = sent {
        tracing::debug!(%error, "systemd could not be told");
    }
}

/// Pings the watchdog of systemd until it is dropped.
///
/// The ping is a task like those that serve requests, and each thread that serves connections has a turn
/// before it: when one of them does nothing any more, neither does the ping, and systemd ends the process
/// and starts it again.
#[derive(Debug)]
pub(super) struct Watchdog {
    pings: Option<AbortHandle>,
    watched: Arc<OnceLock<Vec<Handle>>>,
}

impl Watchdog {
    /// Starts to ping, where systemd asked for it. Within the runtime.
    pub(super) fn start() -> Self {
        let asked = asked(
            std::env::var_os("WATCHDOG_USEC"),
            std::env::var_os("WATCHDOG_PID"),
        );
        let watched = Arc::default();
        let pings = match (asked, std::env::var_os("NOTIFY_SOCKET")) {
            (Some(limit), Some(socket)) => Some(ping(socket, limit, Arc::clone(&watched))),
            _ => None,
        };
        Self { pings, watched }
    }

    /// From now on these runtimes are watched as well.
    pub(super) fn watch(&self, runtimes: Vec<Handle>) {
        self.watched.get_or_init(|| runtimes);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some(pings) = &self.pings {
            pings.abort();
        }
    }
}

/// How long this process may be silent, if systemd watches it.
fn asked(limit: Option<OsString>, process: Option<OsString>) -> Option<Duration> {
    let number = |text: OsString| text.to_str()?.parse::<u64>().ok();
    let other = process.is_some_and(|it| number(it) != Some(u64::from(std::process::id())));
    let micros = number(limit?).filter(|micros| *micros > 0 && !other)?;
    Some(Duration::from_micros(micros))
}

/// Three pings in the time that systemd waits for one.
fn ping(socket: OsString, limit: Duration, watched: Arc<OnceLock<Vec<Handle>>>) -> AbortHandle {
    let pause = (limit / 3).max(Duration::from_millis(1));
    let tasks = TaskTracker::new();
    let pings = tasks.clone().spawn(async move {
        let mut ticks = tokio::time::interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for runtime in watched.get().into_iter().flatten() {
                // One that has been stopped says so at once.
                drop(tasks.spawn_on(async {}, runtime).await);
            }
            tell(&socket, "WATCHDOG=1\n");
        }
    });
    pings.abort_handle()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn only_the_process_that_is_meant_is_watched() {
        let own = std::process::id().to_string();
        let asked = |limit: Option<&str>, process: Option<&str>| {
            asked(limit.map(OsString::from), process.map(OsString::from))
        };
        let limit = Some(Duration::from_micros(30_000_000));
        assert_eq!(asked(Some("30000000"), None), limit);
        assert_eq!(asked(Some("30000000"), Some(&own)), limit);
        for (watched, process) in [
            (Some("30000000"), Some("1")),
            (Some("30000000"), Some("nobody")),
            (Some("0"), None),
            (Some("soon"), None),
            (None, Some(&*own)),
        ] {
            assert_eq!(asked(watched, process), None, "{watched:?} {process:?}");
        }
    }

    #[test]
    fn a_runtime_that_stands_still_does_not_ping() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        let heard = |patience: u64| {
            let limit = Some(Duration::from_millis(patience));
            systemd.set_read_timeout(limit).unwrap();
            let mut message = [0; 64];
            let length = systemd.recv(&mut message).ok()?;
            Some(String::from_utf8_lossy(&message[..length]).into_owned())
        };
        let start = || {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(1).enable_all().build().unwrap()
        };
        let (runtime, edge, stopped) = (start(), start(), start());
        let gone = stopped.handle().clone();
        stopped.shutdown_background();
        let watched = Arc::new(OnceLock::from(vec![gone, edge.handle().clone()]));
        let inside = runtime.enter();
        let limit = Duration::from_millis(15);
        let pings = ping(path.into_os_string(), limit, watched);
        for stands_still in [&runtime, &edge] {
            for _ in 0..3 {
                assert_eq!(heard(30_000).as_deref(), Some("WATCHDOG=1\n"));
            }
            // A task that never gives its thread back.
            let (stands, standing) = mpsc::channel();
            let (go_on, wait) = mpsc::channel::<()>();
            let stand = async move {
                stands.send(()).unwrap();
                wait.recv().ok();
            };
            TaskTracker::new().spawn_on(stand, stands_still.handle());
            standing.recv().unwrap();
            while heard(1).is_some() {}
            assert_eq!(heard(200), None);
            go_on.send(()).unwrap();
            assert!(heard(30_000).is_some());
        }
        drop(inside);
        pings.abort();
    }
}
