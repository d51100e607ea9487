//! A terminal that is drawn on, and its keys.
//!
//! Promise: the terminal is given back as it was, also when a signal ends the program. A frame is
//! written at once, so that it does not flicker.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// How long keys are waited for before it is looked whether there is something new.
const WAIT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
/// The other screen, without a cursor; and back.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
const LEAVE: &[u8] = b"\x1b[?25h\x1b[?1049l";

/// What is pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Pause,
    Sort,
    Reverse,
    Up,
    Down,
    /// None: the screen has another size.
    Resized,
}

/// The terminal, for as long as it is drawn on.
pub(super) struct Screen {
    before: Termios,
    signals: SignalFd,
}

impl Screen {
    /// Takes the terminal. Signals that would end the program are keys from here on.
    pub(super) fn open() -> io::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
            Signal::SIGWINCH,
        ] {
            set.add(signal);
        }
        set.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(&set, flags)?;
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Flush, &raw)?;
        let screen = Self { before, signals };
        let mut out = io::stdout().lock();
        out.write_all(ENTER)?;
        out.flush()?;
        Ok(screen)
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (usize::from(size.ws_col), usize::from(size.ws_row))
            }
            _ => (80, 24),
        }
    }

    /// Draws lines that fit.
    pub(super) fn show(&mut self, lines: &[String], width: usize) -> io::Result<()> {
        let mut text = String::with_capacity(lines.len() * width.min(400));
        text.push_str("\x1b[H");
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                text.push_str("\r\n");
            }
            text.push_str(line);
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Waits for a key, or a little while.
    pub(super) fn wait(&mut self) -> io::Result<Option<Key>> {
        let stdin = io::stdin();
        let mut waits = [
            PollFd::new(&stdin, PollFlags::IN),
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
        ];
        match poll(&mut waits, Some(&WAIT)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let pressed = !waits.first().is_none_or(|it| it.revents().is_empty());
        if let Some(signal) = self.signals.read_signal()? {
            let resized = i32::try_from(signal.ssi_signo) == Ok(Signal::SIGWINCH as i32);
            return Ok(Some(if resized { Key::Resized } else { Key::Quit }));
        }
        if !pressed {
            return Ok(None);
        }
        let mut bytes = [0_u8; 16];
        // Past the buffer of the library, which `poll` does not see.
        let read = rustix::io::read(&stdin, &mut bytes)?;
        Ok(key(bytes.get(..read).unwrap_or_default()))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nobody to tell when the terminal is gone.
        tcsetattr(io::stdin(), OptionalActions::Flush, &self.before).unwrap_or_default();
        let mut out = io::stdout().lock();
        drop(out.write_all(LEAVE).and_then(|()| out.flush()));
    }
}

/// The key of what a terminal sends for it. Nothing: the terminal is gone.
fn key(bytes: &[u8]) -> Option<Key> {
    match bytes {
        [] | [b'q' | b'Q' | 3 | 4 | 27] => Some(Key::Quit),
        [b'p' | b'P' | b' ', ..] => Some(Key::Pause),
        [b's' | b'S', ..] => Some(Key::Sort),
        [b'r' | b'R', ..] => Some(Key::Reverse),
        [b'k', ..] | [27, b'[' | b'O', b'A', ..] => Some(Key::Up),
        [b'j', ..] | [27, b'[' | b'O', b'B', ..] => Some(Key::Down),
        [b'q' | b'Q' | 3, ..] => Some(Key::Quit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_by_what_a_terminal_sends() {
        for quit in [&b"q"[..], b"\x03", b"\x1b", b""] {
            assert_eq!(key(quit), Some(Key::Quit), "{quit:?}");
        }
        assert_eq!(key(b" "), Some(Key::Pause));
        assert_eq!(key(b"\x1b[A"), Some(Key::Up));
        assert_eq!(key(b"\x1bOB"), Some(Key::Down));
        assert_eq!(key(b"\x1b[5~"), None);
        assert_eq!(key(b"x"), None);
    }
}
