//! The load generator: blocking sockets on threads of this process, and requests rendered before.
//!
//! At a fixed rate each request has a moment when it is due, whatever came of the ones before, and
//! its latency counts from that moment: a server that stalls cannot make the generator wait with it
//! and so hide the stall. As fast as possible, each thread keeps one request in flight on every one
//! of its connections; latencies then only say how long the queue is and are not kept.
//!
//! The number of requests is fixed before a run at a rate, so a slow server makes the run longer,
//! not endless. Not here: pipelining, chunked answers.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::wire::{Line, Route};

/// Threads that share the connections when there is no rate to keep.
const CLOSED_LOOP_THREADS: usize = 4;

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many a second, evenly, for this long (open loop).
    Rate { per_second: u32, duration: Duration },
    /// The next one when the one before it is answered, for this long (closed loop).
    Saturate { duration: Duration },
    /// The next one when the one before it is answered, until so many are sent (closed loop).
    Count { requests: u64 },
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// From the moment a request was due to its whole answer, in nanoseconds, sorted. Only at a rate.
    pub latencies: Vec<u64>,
    /// Connections that the server closed and that were opened again.
    pub reconnects: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

impl Outcome {
    /// Requests answered.
    pub fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Requests answered with this status.
    pub fn answered(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    /// A latency of the sorted list, in nanoseconds; `share` from 0 to 1.
    pub fn percentile(&self, share: f64) -> Option<u64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index of a list, from a share between 0 and 1"
        )]
        let index = (self.latencies.len() as f64 * share) as usize;
        self.latencies
            .get(index.min(self.latencies.len().saturating_sub(1)))
            .copied()
    }

    fn merge(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.latencies.extend(other.latencies);
        self.reconnects += other.reconnects;
    }
}

/// What to send.
pub trait Requests: Sync {
    /// The request of this number, whole; `scratch` may be used to render it.
    fn request<'s>(&'s self, index: usize, scratch: &'s mut Vec<u8>) -> &'s [u8];
    /// How many there are before the first comes again.
    fn count(&self) -> usize;
}

/// Requests that were rendered before, again and again.
impl Requests for Vec<Vec<u8>> {
    fn request<'s>(&'s self, index: usize, _: &'s mut Vec<u8>) -> &'s [u8] {
        let index = index.checked_rem(self.len()).unwrap_or(0);
        self.get(index).map_or(&[], Vec::as_slice)
    }

    fn count(&self) -> usize {
        self.len()
    }
}

/// Open connections to one server, and what to send on them.
pub struct Generator<'a> {
    connections: Vec<Connection>,
    requests: &'a dyn Requests,
}

impl<'a> Generator<'a> {
    /// Opens the connections and sends one request on each, so that neither side pays for first
    /// times while it is measured. The answers are in the returned outcome.
    pub fn connect(
        route: impl Into<Route>,
        requests: &'a dyn Requests,
        connections: usize,
    ) -> anyhow::Result<(Self, Outcome)> {
        Self::connect_from(route, requests, connections, |_| Ipv4Addr::LOCALHOST)
    }

    /// As [`Generator::connect`], each connection from the address that `source` has for its number.
    pub fn connect_from(
        route: impl Into<Route>,
        requests: &'a dyn Requests,
        connections: usize,
        source: impl Fn(usize) -> Ipv4Addr,
    ) -> anyhow::Result<(Self, Outcome)> {
        let route = route.into();
        let mut generator = Self {
            connections: Vec::new(),
            requests,
        };
        let mut outcome = Outcome::default();
        for index in 0..connections {
            let mut connection = Connection::open(&route, source(index))?;
            connection.exchange(requests.request(index, &mut Vec::new()), &mut outcome)?;
            generator.connections.push(connection);
        }
        Ok((generator, outcome))
    }

    /// Runs the load and waits for every answer.
    pub fn run(&mut self, pace: Pace) -> anyhow::Result<Outcome> {
        let requests = self.requests;
        let connections = self.connections.len();
        let budget = AtomicU64::new(match pace {
            Pace::Count { requests } => requests,
            Pace::Rate { .. } | Pace::Saturate { .. } => u64::MAX,
        });
        let per_thread = match pace {
            Pace::Rate { .. } => 1,
            _ => connections.div_ceil(CLOSED_LOOP_THREADS),
        };
        // The threads start together, a moment from now, when all of them exist.
        let start = Instant::now() + Duration::from_millis(20);
        let results: Vec<anyhow::Result<Outcome>> = std::thread::scope(|scope| {
            let workers: Vec<_> = self
                .connections
                .chunks_mut(per_thread)
                .enumerate()
                .map(|(thread, own)| {
                    let budget = &budget;
                    scope.spawn(move || match (pace, own) {
                        (
                            Pace::Rate {
                                per_second,
                                duration,
                            },
                            [connection],
                        ) => {
                            let plan = Plan {
                                start,
                                per_second,
                                duration,
                                thread,
                                connections,
                            };
                            at_rate(connection, requests, &plan)
                        }
                        (Pace::Saturate { duration }, own) => {
                            let go_on = || start.elapsed() < duration;
                            closed_loop(own, requests, start, thread, go_on)
                        }
                        (_, own) => closed_loop(own, requests, start, thread, || take_one(budget)),
                    })
                })
                .collect();
            workers.into_iter().map(join).collect()
        });
        let mut outcome = Outcome::default();
        for result in results {
            outcome.merge(result?);
        }
        outcome.elapsed = start.elapsed();
        outcome.latencies.sort_unstable();
        Ok(outcome)
    }
}

/// What a thread came to.
pub fn join(
    worker: std::thread::ScopedJoinHandle<'_, anyhow::Result<Outcome>>,
) -> anyhow::Result<Outcome> {
    worker
        .join()
        .unwrap_or_else(|_| bail!("a thread of the load generator panicked"))
}

fn take_one(budget: &AtomicU64) -> bool {
    let less = |left: u64| left.checked_sub(1);
    budget
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
        .is_ok()
}

/// Which requests of a rate belong to one thread: every n-th, beginning with its own number.
struct Plan {
    start: Instant,
    per_second: u32,
    duration: Duration,
    thread: usize,
    connections: usize,
}

fn at_rate(
    connection: &mut Connection,
    requests: &dyn Requests,
    plan: &Plan,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut scratch = Vec::new();
    for index in (plan.thread..).step_by(plan.connections) {
        let offset = Duration::from_secs(1) * u32::try_from(index)? / plan.per_second;
        if offset >= plan.duration {
            break;
        }
        let due = plan.start + offset;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        connection.exchange(requests.request(index, &mut scratch), &mut outcome)?;
        outcome
            .latencies
            .push(u64::try_from(due.elapsed().as_nanos())?);
    }
    Ok(outcome)
}

/// Goes round its connections: reads the answer, sends the next request. While one answer is read
/// the requests on the other connections are at the server.
fn closed_loop(
    connections: &mut [Connection],
    requests: &dyn Requests,
    start: Instant,
    thread: usize,
    go_on: impl Fn() -> bool,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut scratch = Vec::new();
    // Threads begin at different places of the list, so that they do not send the same token at once.
    let mut next = thread * requests.count() / CLOSED_LOOP_THREADS;
    std::thread::sleep(start.saturating_duration_since(Instant::now()));
    loop {
        let mut in_flight = false;
        for connection in &mut *connections {
            if connection.waits {
                connection.receive(&mut outcome)?;
            }
            if go_on() {
                connection.send(requests.request(next, &mut scratch))?;
                next += 1;
                in_flight = true;
            }
        }
        if !in_flight {
            return Ok(outcome);
        }
    }
}

#[derive(Debug)]
struct Connection {
    route: Route,
    source: Ipv4Addr,
    line: Line,
    waits: bool,
}

impl Connection {
    fn open(route: &Route, source: Ipv4Addr) -> anyhow::Result<Self> {
        Ok(Self {
            line: Line::open(route, source)?,
            route: route.clone(),
            source,
            waits: false,
        })
    }

    fn exchange(&mut self, request: &[u8], outcome: &mut Outcome) -> anyhow::Result<()> {
        self.send(request)?;
        self.receive(outcome)
    }

    fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.line
            .send(request)
            .context("a request could not be sent")?;
        self.waits = true;
        Ok(())
    }

    /// Reads one answer; opens the connection again when the server said that it closes it.
    fn receive(&mut self, outcome: &mut Outcome) -> anyhow::Result<()> {
        let answer = self.line.receive()?;
        self.waits = false;
        *outcome.statuses.entry(answer.status).or_default() += 1;
        if answer.closes {
            self.line = Line::open(&self.route, self.source)?;
            outcome.reconnects += 1;
        }
        Ok(())
    }
}
