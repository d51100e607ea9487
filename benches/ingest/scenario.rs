//! The scenarios and their goals.

use std::time::Duration;

use tollgate::logstore::codec::Codec;

use crate::generator::Pace;
use crate::setup::Gateway;
use crate::traffic::{Tokens, Traffic};
use crate::wire::Wire;

/// How hard a scenario loads the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadKind {
    /// So many requests a second, on so many connections, whatever the answers take.
    Rate { per_second: u32, connections: usize },
    /// As many as the server answers.
    Saturate { connections: usize },
}

/// What Tollgate is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yardstick {
    /// Bare hyper, which answers this status, whatever it is sent.
    Bare(u16),
    /// Tollgate with another configuration, which must answer the same.
    Tollgate(Gateway),
}

impl Yardstick {
    /// Its name in reports.
    pub fn name(self) -> String {
        match self {
            Self::Bare(status) => format!("bare {status}"),
            Self::Tollgate(_) => "memory".to_owned(),
        }
    }
}

/// What is asked of a scenario, beside its yardstick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// Processor time of a request: at most this multiple.
    Ratio(f64),
    /// Processor time of an event beyond the yardstick's: at most so many microseconds.
    EventMicros(f64),
    /// Answers a second: at least this share.
    Throughput(f64),
}

/// Whether peers are measured in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peers {
    /// They are not.
    Absent,
    /// They are.
    Beside,
    /// They are, and Tollgate is held against them.
    Judged,
}

/// One kind of traffic and the goal set for it.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Name on the command line and in reports.
    pub name: &'static str,
    /// What is sent.
    pub traffic: Traffic,
    /// How hard.
    pub load: LoadKind,
    /// Which of Tollgate's configurations it is for.
    pub gateway: Gateway,
    /// What that is held against.
    pub yardstick: Yardstick,
    /// The status that Tollgate must answer.
    pub expected: u16,
    /// Connections that are held beside the load on either side, each of which had one request.
    pub idle: usize,
    /// What is asked of it.
    pub goal: Option<Goal>,
    /// Whether peers are measured in it.
    pub peers: Peers,
}

impl Scenario {
    /// One whose requests are right, with everything on.
    const fn good(name: &'static str, events: usize, load: LoadKind, goal: Option<Goal>) -> Self {
        Self {
            name,
            traffic: Traffic::good(events),
            load,
            gateway: Gateway::Full,
            yardstick: Yardstick::Bare(200),
            expected: 200,
            idle: 0,
            goal,
            peers: Peers::Absent,
        }
    }

    /// One whose requests are refused, beside bare hyper that answers `bare`.
    const fn refused(name: &'static str, tokens: Tokens, load: LoadKind, bare: u16) -> Self {
        let (gateway, expected) = match tokens {
            Tokens::Good | Tokens::Sts => (Gateway::UsedUp, 403),
            Tokens::Forged | Tokens::Missing => (Gateway::Plain, 401),
        };
        Self {
            traffic: Traffic {
                tokens,
                ..Traffic::good(1)
            },
            gateway,
            yardstick: Yardstick::Bare(bare),
            expected,
            ..Self::good(name, 1, load, None)
        }
    }

    const fn asks(self, goal: Goal) -> Self {
        Self {
            goal: Some(goal),
            ..self
        }
    }

    const fn with(self, traffic: Traffic) -> Self {
        Self { traffic, ..self }
    }

    const fn on(self, gateway: Gateway) -> Self {
        Self { gateway, ..self }
    }

    const fn beside(self, yardstick: Yardstick) -> Self {
        Self { yardstick, ..self }
    }

    const fn peers(self, peers: Peers) -> Self {
        Self { peers, ..self }
    }

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

    /// Connections of the load.
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

    /// The configurations of Tollgate that it needs.
    pub fn gateways(&self) -> impl Iterator<Item = Gateway> {
        let other = match self.yardstick {
            Yardstick::Bare(_) => None,
            Yardstick::Tollgate(gateway) => Some(gateway),
        };
        std::iter::once(self.gateway).chain(other)
    }
}

const fn rate(per_second: u32) -> LoadKind {
    LoadKind::Rate {
        per_second,
        connections: 32,
    }
}

const fn packed(codec: Codec) -> Traffic {
    Traffic {
        codec,
        ..Traffic::good(10)
    }
}

const fn over(wire: Wire) -> Traffic {
    Traffic {
        wire,
        ..Traffic::good(1)
    }
}

const SATURATE: LoadKind = LoadKind::Saturate { connections: 64 };

/// An answer that waits for the disk keeps its connection for some milliseconds, so it takes more of them
/// to load the server as much.
const DISK_RATE: LoadKind = LoadKind::Rate {
    per_second: 2000,
    connections: 128,
};
const DISK_SATURATE: LoadKind = LoadKind::Saturate { connections: 512 };
const MEMORY: Yardstick = Yardstick::Tollgate(Gateway::Full);

/// `ServerBusy`: the memory for undelivered events is full.
const BUSY: u16 = 503;

/// Every scenario.
pub const ALL: &[Scenario] = &[
    Scenario::good("1-event", 1, rate(5000), Some(Goal::Ratio(1.3))).peers(Peers::Judged),
    Scenario::good("1-event-plain", 1, rate(5000), None).on(Gateway::Plain),
    Scenario::good("10-events", 10, rate(2000), Some(Goal::Ratio(1.65))).peers(Peers::Beside),
    Scenario::good("100-events", 100, rate(500), None).peers(Peers::Beside),
    Scenario::good("dirty-events", 10, rate(2000), None).with(Traffic {
        bad: 3,
        ..Traffic::good(10)
    }),
    Scenario::good("gzip-10-events", 10, rate(2000), None).with(packed(Codec::Gzip)),
    Scenario::good("lz4-10-events", 10, rate(2000), None).with(packed(Codec::Lz4)),
    Scenario::good("sts-1-event", 1, rate(5000), Some(Goal::Ratio(1.5))).with(Traffic {
        tokens: Tokens::Sts,
        ..Traffic::good(1)
    }),
    Scenario::good("tls-1-event", 1, rate(5000), None)
        .with(over(Wire::Tls))
        .on(Gateway::Tls),
    Scenario::good("h2-1-event", 1, rate(5000), None)
        .with(over(Wire::Http2))
        .on(Gateway::Tls),
    Scenario::refused("no-token", Tokens::Missing, rate(5000), 200).asks(Goal::Ratio(1.05)),
    Scenario::refused("bad-token", Tokens::Forged, rate(5000), 403)
        .asks(Goal::Ratio(1.25))
        .peers(Peers::Beside),
    Scenario::refused("bad-token-200", Tokens::Forged, rate(5000), 200).asks(Goal::Ratio(1.05)),
    Scenario::refused("over-quota", Tokens::Good, rate(5000), 403).asks(Goal::Ratio(1.25)),
    Scenario::refused("over-quota-200", Tokens::Good, rate(5000), 200).asks(Goal::Ratio(1.15)),
    Scenario::good("disk-10-events", 10, DISK_RATE, Some(Goal::Ratio(1.4)))
        .on(Gateway::Disk)
        .beside(MEMORY),
    Scenario {
        idle: 5000,
        ..Scenario::good("idle-5000", 1, rate(5000), None).on(Gateway::Idle)
    },
    Scenario::good("1-event-saturated", 1, SATURATE, Some(Goal::Ratio(1.4))).peers(Peers::Beside),
    Scenario::good("1-event-plain-saturated", 1, SATURATE, None).on(Gateway::Plain),
    Scenario::good("10-events-saturated", 10, SATURATE, None).peers(Peers::Beside),
    Scenario::good(
        "100-events-saturated",
        100,
        SATURATE,
        Some(Goal::EventMicros(0.9)),
    )
    .peers(Peers::Beside),
    Scenario::good(
        "disk-10-events-saturated",
        10,
        DISK_SATURATE,
        Some(Goal::Throughput(0.7)),
    )
    .on(Gateway::Disk)
    .beside(MEMORY),
    Scenario::refused("bad-token-saturated", Tokens::Forged, SATURATE, 403).peers(Peers::Beside),
    Scenario::refused("over-quota-saturated", Tokens::Good, SATURATE, 403),
];
