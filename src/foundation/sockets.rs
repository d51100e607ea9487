//! Listening sockets that somebody else opened: systemd, or this program before it was replaced.

use std::net::TcpListener;

/// Listening sockets by the names of the listeners that they are for. A name may stand more than
/// once.
#[derive(Debug, Default)]
pub struct PassedSockets(Vec<(String, TcpListener)>);

impl PassedSockets {
    /// These sockets.
    #[must_use]
    pub fn new(sockets: Vec<(String, TcpListener)>) -> Self {
        Self(sockets)
    }

    /// Takes the first one of a name.
    pub fn take(&mut self, name: &str) -> Option<TcpListener> {
        let index = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(index).1)
    }

    /// Whether there is none, or none left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names that are left.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }
}
