//! How the store stands: up or down, since when, and why.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::foundation::clock;
use crate::telemetry::{Counter, Gauge};

/// Why the store did not do what it was asked. A closed set: also a label of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// There is no connection to be had.
    Connect,
    /// It did not answer in time.
    Timeout,
    /// The connection ended.
    Closed,
    /// TLS could not be agreed on, or the certificate is not good.
    Tls,
    /// User or password are refused, or may not do this.
    Auth,
    /// The password cannot be read.
    Secret,
    /// It is a replica.
    ReadOnly,
    /// It is starting, or has lost its primary.
    NotReady,
    /// It has no memory left.
    Memory,
    /// A key holds something else.
    WrongType,
    /// It refused for another reason.
    Refused,
    /// It answered something that is no answer.
    Protocol,
}

impl StoreFault {
    /// Every fault.
    pub const ALL: [Self; 12] = [
        Self::Connect,
        Self::Timeout,
        Self::Closed,
        Self::Tls,
        Self::Auth,
        Self::Secret,
        Self::ReadOnly,
        Self::NotReady,
        Self::Memory,
        Self::WrongType,
        Self::Refused,
        Self::Protocol,
    ];

    /// Its name, as a label and for people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Tls => "tls",
            Self::Auth => "auth",
            Self::Secret => "secret",
            Self::ReadOnly => "read_only",
            Self::NotReady => "not_ready",
            Self::Memory => "memory",
            Self::WrongType => "wrong_type",
            Self::Refused => "refused",
            Self::Protocol => "protocol",
        }
    }

    /// Whether it is about one key, and the store as a whole may be well.
    pub(super) fn is_of_one_key(self) -> bool {
        matches!(self, Self::WrongType | Self::Protocol | Self::Refused)
    }
}

/// What is counted of the store, and whether it answers.
#[derive(Debug, Default)]
pub struct Status {
    up: AtomicBool,
    /// Unix seconds of the last change.
    since: AtomicU64,
    /// The last fault, from 1.
    last: AtomicU8,
    /// Nodes that were seen in the last seconds, this one included.
    pub nodes: Gauge,
    /// Batches that were answered.
    pub round_trips: Counter,
    /// Leases that were asked for.
    pub leases: Counter,
    /// Leases that could not be asked for at once, since too many waited.
    pub crowded: Counter,
    /// Changes between up and down.
    pub changes: Counter,
    /// Revocations, bans and raises that were sent.
    pub news_sent: Counter,
    /// Those that came from other nodes.
    pub news_taken: Counter,
    /// Those that were not understood, or could not be kept.
    pub news_bad: Counter,
    faults: [Counter; StoreFault::ALL.len()],
}

/// A picture of [`Status`], to be shown.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
pub struct StoreFigures {
    /// Whether the store answers.
    pub up: bool,
    /// Since when, unix seconds.
    pub since: u64,
    /// The last fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fault: Option<String>,
    /// Nodes that were seen in the last seconds.
    pub nodes: u64,
    /// Batches that were answered.
    pub round_trips: u64,
    /// Leases that were asked for.
    pub leases: u64,
    /// Leases that could not be asked for at once.
    pub crowded: u64,
    /// Changes between up and down.
    pub changes: u64,
    /// Revocations, bans and raises that were sent, that came, and that were not understood.
    pub news: [u64; 3],
    /// Faults by name; those that never came are left out.
    pub faults: Vec<(String, u64)>,
}

impl Status {
    /// Whether the store answers.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Notes that it answers.
    pub(super) fn set_up(&self, at: &str) {
        if !self.up.swap(true, Ordering::AcqRel) {
            self.changed();
            tracing::info!(store = at, "the store of shared limits answers");
        }
    }

    /// Counts a fault of one key or of a message.
    pub(super) fn count(&self, fault: StoreFault) {
        let index = fault as usize;
        if let Some(cell) = self.faults.get(index) {
            cell.inc();
        }
        let number = u8::try_from(index + 1).unwrap_or_default();
        self.last.store(number, Ordering::Relaxed);
    }

    /// Notes that it does not answer.
    pub(super) fn set_down(&self, at: &str, fault: StoreFault) {
        self.count(fault);
        let first = self.since.load(Ordering::Relaxed) == 0;
        if self.up.swap(false, Ordering::AcqRel) || first {
            self.changed();
            tracing::warn!(
                store = at,
                fault = fault.label(),
                "the store of shared limits does not answer; each limit goes on as its without_store says"
            );
        }
    }

    fn changed(&self) {
        self.changes.inc();
        self.since.store(clock::unix_seconds(), Ordering::Relaxed);
    }

    /// How often a fault came.
    #[must_use]
    pub fn faults(&self, fault: StoreFault) -> u64 {
        self.faults.get(fault as usize).map_or(0, Counter::get)
    }

    /// All of it.
    #[must_use]
    pub fn figures(&self) -> StoreFigures {
        let last = usize::from(self.last.load(Ordering::Relaxed));
        let last = last.checked_sub(1).and_then(|i| StoreFault::ALL.get(i));
        let faults = StoreFault::ALL
            .into_iter()
            .map(|fault| (fault.label().to_owned(), self.faults(fault)));
        StoreFigures {
            up: self.is_up(),
            since: self.since.load(Ordering::Relaxed),
            last_fault: last.map(|fault| fault.label().to_owned()),
            nodes: self.nodes.get(),
            round_trips: self.round_trips.get(),
            leases: self.leases.get(),
            crowded: self.crowded.get(),
            changes: self.changes.get(),
            news: [
                self.news_sent.get(),
                self.news_taken.get(),
                self.news_bad.get(),
            ],
            faults: faults.filter(|(_, count)| *count > 0).collect(),
        }
    }
}
