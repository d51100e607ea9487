//! The scenarios and their goals.

use std::time::Duration;

use crate::generator::Pace;
use crate::traffic::Tokens;

/// How hard a scenario loads the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadKind {
    /// So many requests a second, on so many connections, whatever the answers take.
    Rate { per_second: u32, connections: usize },
    /// As many as the server answers.
    Saturate { connections: usize },
}

/// How Tollgate is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// As built in.
    Plain,
    /// With a limit on each address, which the bench has used up.
    UsedUp,
}

/// One kind of traffic and the goal set for it.
#[derive(Debug)]
pub struct Scenario {
    /// Name on the command line and in reports.
    pub name: &'static str,
    /// Events in a request.
    pub events: usize,
    /// What is wrong with the tokens, if anything.
    pub tokens: Tokens,
    /// How hard.
    pub load: LoadKind,
    /// Which of Tollgate's configurations it is for.
    pub gateway: Gateway,
    /// The status that Tollgate must answer.
    pub expected: u16,
    /// The status that bare hyper answers, whatever it is sent.
    pub bare: u16,
    /// The most that processor time per request may be, as a multiple of bare hyper's.
    pub goal: Option<f64>,
}

impl Scenario {
    /// The pace for one repetition.
    pub fn pace(&self, duration: Duration) -> Pace {
        match self.load {
            LoadKind::Rate { per_second, .. } => Pace::Rate {
                per_second,
                duration,
            },
            LoadKind::Saturate { .. } => Pace::Saturate { duration },
        }
    }

    /// Connections kept open.
    pub fn connections(&self) -> usize {
        match self.load {
            LoadKind::Rate { connections, .. } | LoadKind::Saturate { connections } => connections,
        }
    }

    /// Whether an answer of Tollgate's is no fault. Past what the store takes, refusing is right.
    pub fn allows(&self, status: u16) -> bool {
        status == self.expected || (!self.is_fixed_rate() && status == BUSY)
    }

    /// Whether it runs without being asked for.
    pub fn is_fixed_rate(&self) -> bool {
        matches!(self.load, LoadKind::Rate { .. })
    }
}

const fn rate(per_second: u32) -> LoadKind {
    LoadKind::Rate {
        per_second,
        connections: 32,
    }
}

const SATURATE: LoadKind = LoadKind::Saturate { connections: 64 };

const fn good(name: &'static str, events: usize, load: LoadKind, goal: Option<f64>) -> Scenario {
    Scenario {
        name,
        events,
        tokens: Tokens::Good,
        load,
        gateway: Gateway::Plain,
        expected: 200,
        bare: 200,
        goal,
    }
}

/// `ServerBusy`: the memory for undelivered events is full.
const BUSY: u16 = 503;

/// Every scenario.
pub const ALL: &[Scenario] = &[
    good("1-event", 1, rate(5000), Some(1.8)),
    good("10-events", 10, rate(2000), Some(2.4)),
    good("100-events", 100, rate(500), Some(3.2)),
    Scenario {
        name: "bad-token",
        events: 1,
        tokens: Tokens::Forged,
        load: rate(5000),
        gateway: Gateway::Plain,
        expected: 401,
        bare: 403,
        goal: Some(1.25),
    },
    Scenario {
        name: "over-quota",
        events: 1,
        tokens: Tokens::Good,
        load: rate(5000),
        gateway: Gateway::UsedUp,
        expected: 403,
        bare: 403,
        goal: Some(1.25),
    },
    good("1-event-saturated", 1, SATURATE, None),
    good("10-events-saturated", 10, SATURATE, None),
    good("100-events-saturated", 100, SATURATE, None),
    Scenario {
        name: "bad-token-saturated",
        events: 1,
        tokens: Tokens::Forged,
        load: SATURATE,
        gateway: Gateway::Plain,
        expected: 401,
        bare: 403,
        goal: None,
    },
    Scenario {
        name: "over-quota-saturated",
        events: 1,
        tokens: Tokens::Good,
        load: SATURATE,
        gateway: Gateway::UsedUp,
        expected: 403,
        bare: 403,
        goal: None,
    },
];
