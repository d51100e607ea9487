//! Telling systemd how far the service is (`Type=notify`).
//!
//! Source: `sd_notify(3)`. A datagram to the socket that `NOTIFY_SOCKET` names; without that variable
//! nothing is sent. Nothing depends on whether it arrives.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

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
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&name),
    };
    let sent = UnixDatagram::unbound()
        .and_then(|socket| socket.send_to_addr(message.as_bytes(), &address?));
    if let Err(error) = sent {
        tracing::debug!(%error, "systemd could not be told");
    }
}
