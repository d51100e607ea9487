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
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::sockopt;

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
/// Set where this program passes its sockets on, to tell that from systemd.
const HANDED_OVER: &str = "TOLLGATE_HANDED_OVER";
/// The name of a lone socket that has none.
const LONE_SOCKET: &str = "ingest";

/// The sockets that were passed to this process. Call it before any thread is started: the variables
/// are taken out of the environment.
///
/// # Errors
/// When it is not said whose they are, or one is not a listening TCP socket or has no name. What is
/// said to be another process's is not looked at, as `sd_listen_fds(3)` has it.
#[expect(
    clippy::disallowed_methods,
    reason = "sockets are passed by the environment"
)]
pub(super) fn passed() -> Result<PassedSockets, Failure> {
    let names = std::env::var("LISTEN_FDNAMES").ok();
    let count = std::env::var("LISTEN_FDS").ok();
    let bad = |message: String| Failure::new(Exit::Unavailable, message);
    if count
        .as_ref()
        .is_some_and(|count| count.parse::<usize>().map_or(true, |count| count > MOST))
    {
        return Err(bad(format!("LISTEN_FDS is no number up to {MOST}")));
    }
    if count.as_ref().is_some_and(|count| count != "0") {
        // Without it nobody knows whom they are for, and the numbers may stand for anything.
        let process = std::env::var("LISTEN_PID").unwrap_or_default();
        if process.is_empty() {
            let told =
                "LISTEN_FDS is set and LISTEN_PID is not set: it says whose sockets they are";
            return Err(bad(told.to_owned()));
        }
        if process.parse::<u32>().is_err() {
            return Err(bad("LISTEN_PID is no process id".to_owned()));
        }
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
        let Some(socket) = taken else { continue };
        if !matches!(sockopt::socket_acceptconn(&socket), Ok(true)) {
            return Err(bad(format!(
                "the socket passed as `{name}` does not listen"
            )));
        }
        sockets.push((name.to_owned(), socket));
    }
    let by_this_program = std::env::var(HANDED_OVER).is_ok_and(|it| it == own_id());
    Ok(match by_this_program {
        true => PassedSockets::handed_over(sockets),
        false => PassedSockets::new(sockets),
    })
}

fn own_id() -> String {
    std::process::id().to_string()
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
        let mut lowered = Vec::new();
        let names = match passed_on(sockets, &mut lowered) {
            Ok(names) => names,
            Err(error) => return Failure::new(Exit::Internal, error),
        };
        let exec = |program: &Path| {
            Command::new(program)
                .arg0(&self.program)
                .args(&self.arguments)
                .env("LISTEN_PID", own_id())
                .env(HANDED_OVER, own_id())
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
/// [`FIRST`] on. A number past [`MOST`] cannot be passed on: that socket gets the lowest free one, which
/// `lowered` holds.
fn passed_on<'s>(
    sockets: &'s [(String, OwnedFd)],
    lowered: &mut Vec<OwnedFd>,
) -> std::io::Result<Vec<&'s str>> {
    let mut names = Vec::new();
    for (name, socket) in sockets {
        let mut number = place(socket);
        if number.is_none() {
            let low = fcntl_dupfd_cloexec(socket, FIRST)?;
            number = place(&low);
            fcntl_setfd(&low, FdFlags::empty())?;
            lowered.push(low);
        } else {
            fcntl_setfd(socket, FdFlags::empty())?;
        }
        let Some(index) = number else {
            let message = format!("no descriptor below {MOST} is free for the socket `{name}`");
            return Err(std::io::Error::other(message));
        };
        if names.len() <= index {
            names.resize(index + 1, "");
        }
        if let Some(place) = names.get_mut(index) {
            *place = name.as_str();
        }
    }
    Ok(names)
}

/// The place of a descriptor among those that can be passed on.
fn place(socket: &OwnedFd) -> Option<usize> {
    let index = usize::try_from(socket.as_raw_fd() - FIRST).ok()?;
    (index < MOST).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_with_a_high_number_is_passed_on_under_a_low_one() {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let raised = rustix::process::Rlimit {
            current: limit.maximum,
            ..limit
        };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let high = FIRST + i32::try_from(MOST).unwrap();
        let high = fcntl_dupfd_cloexec(&socket, high).unwrap();
        assert_eq!(place(&high), None);
        let sockets = [("ingest".to_owned(), high)];
        let mut lowered = Vec::new();
        let names = passed_on(&sockets, &mut lowered).unwrap();
        let low = lowered.pop().unwrap();
        assert_eq!(names[place(&low).unwrap()], "ingest");
        assert_eq!(names.iter().filter(|name| !name.is_empty()).count(), 1);
        assert!(
            !rustix::io::fcntl_getfd(&low)
                .unwrap()
                .contains(FdFlags::CLOEXEC)
        );
        let low = std::net::TcpListener::from(low);
        assert_eq!(low.local_addr().unwrap(), address);
    }
}
