//! Listening sockets that somebody else opened: systemd, or this program before it was replaced.

use std::net::TcpListener;

/// Listening sockets by the names of the listeners that they are for. A name may stand more than
/// once.
#[derive(Debug, Default)]
pub struct PassedSockets {
    sockets: Vec<(String, TcpListener)>,
    /// Whether this program passed them, which knew another configuration.
    handed_over: bool,
}

impl PassedSockets {
    /// These sockets.
    #[must_use]
    pub fn new(sockets: Vec<(String, TcpListener)>) -> Self {
        Self {
            sockets,
            handed_over: false,
        }
    }

    /// These sockets, of this program before it was replaced.
    #[must_use]
    pub fn handed_over(sockets: Vec<(String, TcpListener)>) -> Self {
        Self {
            sockets,
            handed_over: true,
        }
    }

    /// Whether they are of this program before it was replaced.
    #[must_use]
    pub fn are_handed_over(&self) -> bool {
        self.handed_over
    }

    /// Takes the first one of a name.
    pub fn take(&mut self, name: &str) -> Option<TcpListener> {
        let index = self.sockets.iter().position(|(known, _)| known == name)?;
        Some(self.sockets.remove(index).1)
    }

    /// Whether there is none, or none left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// The names that are left.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.sockets.iter().map(|(name, _)| name.as_str()).collect()
    }
}
