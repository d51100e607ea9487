//! Sockets that come in (systemd, or this program before), and the handover to a new image of this
//! program.
//!
//! Both ways follow the protocol of `sd_listen_fds(3)`: `LISTEN_FDS` descriptors from number 3, their
//! names in `LISTEN_FDNAMES`. This program hands on its sockets under the numbers that they have; a
//! number between them that holds none has an empty name, and is not looked at.

use std::ffi::OsString;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use listenfd::ListenFd;
use rustix::io::{FdFlags, fcntl_setfd};

use super::{Exit, Failure};
use crate::foundation::sockets::PassedSockets;

/// The first descriptor of the protocol.
const FIRST: RawFd = 3;
/// Descriptors that are looked at, at most.
const MOST: usize = 4096;
/// Time for the new image to look at the configuration.
const TIME_TO_CHECK: Duration = Duration::from_secs(10);
/// How often is looked whether it has.
const LOOK: Duration = Duration::from_millis(20);
/// The name of a lone socket that has none.
const LONE_SOCKET: &str = "ingest";

/// The sockets that were passed to this process. Call it before any thread is started: the variables
/// are taken out of the environment.
///
/// # Errors
/// When one is not a TCP socket, or has no name.
#[expect(
    clippy::disallowed_methods,
    reason = "sockets are passed by the environment"
)]
pub(super) fn passed() -> Result<PassedSockets, Failure> {
    let names = std::env::var("LISTEN_FDNAMES").ok();
    let count = std::env::var("LISTEN_FDS").ok();
    let bad = |message: String| Failure::new(Exit::Unavailable, message);
    if count.is_some_and(|count| count.parse::<usize>().map_or(true, |count| count > MOST)) {
        return Err(bad(format!("LISTEN_FDS is no number up to {MOST}")));
    }
    let mut listening = ListenFd::from_env();
    let names = names.unwrap_or_default();
    let names: Vec<&str> = match names.split(':').collect::<Vec<_>>().as_slice() {
        // As systemd names a socket whose unit says nothing.
        [name] if listening.len() == 1 && is_no_name(name) => vec![LONE_SOCKET],
        [""] => Vec::new(),
        names => names.to_vec(),
    };
    let mut sockets = Vec::new();
    for index in 0..listening.len() {
        let name = *names.get(index).ok_or_else(|| {
            bad("the sockets in LISTEN_FDS have no names (FileDescriptorName=)".to_owned())
        })?;
        if name.is_empty() {
            continue;
        }
        let taken = listening.take_tcp_listener(index);
        let taken =
            taken.map_err(|error| bad(format!("the socket passed as `{name}`: {error}")))?;
        sockets.extend(taken.map(|socket| (name.to_owned(), socket)));
    }
    Ok(PassedSockets::new(sockets))
}

fn is_no_name(name: &str) -> bool {
    name.is_empty() || name == "unknown" || name.ends_with(".socket")
}

/// The program to hand over to: what stands where this one was started from.
#[derive(Clone, Debug)]
pub(super) struct Image {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Image {
    /// The file that this process was started from, found at its start: by the path that it was
    /// called by, so that a link that has been set to a new version is followed, or else by the file
    /// itself.
    pub(super) fn of_this_process() -> Option<Self> {
        let mut arguments = std::env::args_os();
        let called = PathBuf::from(arguments.next()?);
        let program = if called.components().count() > 1 {
            std::path::absolute(called).ok()?
        } else {
            std::env::current_exe().ok()?
        };
        Some(Self {
            program,
            arguments: arguments.collect(),
        })
    }

    /// Looks whether the program can take over: it runs, and finds the configuration good. Blocks.
    ///
    /// # Errors
    /// Why not, for the log.
    pub(super) fn check(&self, config: Option<&Path>) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        let shown = match config {
            Some(config) => {
                command.arg("check").arg("--config").arg(config);
                format!(
                    "`{} check --config {}`",
                    self.program.display(),
                    config.display()
                )
            }
            None => {
                command.arg("--version");
                format!("`{} --version`", self.program.display())
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn();
        let mut child = child.map_err(|error| format!("{shown} could not be run: {error}"))?;
        let deadline = Instant::now() + TIME_TO_CHECK;
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("{shown} says no: {status}")),
                Err(error) => return Err(format!("{shown}: {error}")),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(LOOK),
                Ok(None) => break,
            }
        }
        drop(child.kill());
        drop(child.wait());
        Err(format!("{shown} took too long"))
    }

    /// Replaces this process by the program, with these listening sockets. Comes back only when that
    /// was not possible.
    pub(super) fn replace(&self, sockets: &[(String, OwnedFd)]) -> Failure {
        let names = match passed_on(sockets) {
            Ok(names) => names,
            Err(error) => return Failure::new(Exit::Internal, error),
        };
        let exec = |program: &Path| {
            Command::new(program)
                .arg0(&self.program)
                .args(&self.arguments)
                .env("LISTEN_PID", std::process::id().to_string())
                .env("LISTEN_FDS", names.len().to_string())
                .env("LISTEN_FDNAMES", names.join(":"))
                .env_remove("LISTEN_FDS_FIRST_FD")
                .exec()
        };
        let error = exec(&self.program);
        tracing::error!(%error, program = %self.program.display(), "the program cannot be run; going on with the one that runs");
        let error = exec(Path::new("/proc/self/exe"));
        Failure::new(Exit::Internal, format!("handover: {error}"))
    }
}

/// Lets exactly these sockets outlive the program, and gives the names of the descriptors from
/// [`FIRST`] on.
fn passed_on(sockets: &[(String, OwnedFd)]) -> std::io::Result<Vec<&str>> {
    let mut names = Vec::new();
    for (name, socket) in sockets {
        let index = usize::try_from(socket.as_raw_fd() - FIRST).unwrap_or(MOST);
        if index >= MOST {
            let message = format!("the socket `{name}` has the descriptor {socket:?}");
            return Err(std::io::Error::other(message));
        }
        if names.len() <= index {
            names.resize(index + 1, "");
        }
        if let Some(place) = names.get_mut(index) {
            *place = name.as_str();
        }
        fcntl_setfd(socket, FdFlags::empty())?;
    }
    Ok(names)
}
