//! The load generator: blocking sockets on threads of this process, and requests rendered before.
//!
//! At a fixed rate each request has a moment when it is due, whatever came of the ones before, and
//! its latency counts from that moment: a server that stalls cannot make the generator wait with it
//! and so hide the stall. As fast as possible, each thread keeps one request in flight on every one
//! of its connections; latencies then only say how long the queue is and are not kept.
//!
//! The number of requests is fixed before a run at a rate, so a slow server makes the run longer,
//! not endless. Not here: pipelining, TLS, chunked answers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Threads that share the connections when there is no rate to keep.
const CLOSED_LOOP_THREADS: usize = 4;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
const ANSWER_BUFFER: usize = 16 * 1024;

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
        address: SocketAddr,
        requests: &'a dyn Requests,
        connections: usize,
    ) -> anyhow::Result<(Self, Outcome)> {
        Self::connect_from(address, requests, connections, |_| Ipv4Addr::LOCALHOST)
    }

    /// As [`Generator::connect`], each connection from the address that `source` has for its number.
    pub fn connect_from(
        address: SocketAddr,
        requests: &'a dyn Requests,
        connections: usize,
        source: impl Fn(usize) -> Ipv4Addr,
    ) -> anyhow::Result<(Self, Outcome)> {
        let mut generator = Self {
            connections: Vec::new(),
            requests,
        };
        let mut outcome = Outcome::default();
        for index in 0..connections {
            let mut connection = Connection::open(address, source(index))?;
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
    address: SocketAddr,
    source: Ipv4Addr,
    stream: TcpStream,
    buffer: Vec<u8>,
    waits: bool,
}

impl Connection {
    fn open(address: SocketAddr, source: Ipv4Addr) -> anyhow::Result<Self> {
        let stream = dial(address, source)?;
        Ok(Self {
            address,
            source,
            stream,
            buffer: vec![0; ANSWER_BUFFER],
            waits: false,
        })
    }

    fn exchange(&mut self, request: &[u8], outcome: &mut Outcome) -> anyhow::Result<()> {
        self.send(request)?;
        self.receive(outcome)
    }

    fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.stream
            .write_all(request)
            .context("a request could not be sent")?;
        self.waits = true;
        Ok(())
    }

    /// Reads one answer; opens the connection again when the server said that it closes it.
    fn receive(&mut self, outcome: &mut Outcome) -> anyhow::Result<()> {
        let answer = self.read_answer()?;
        self.waits = false;
        *outcome.statuses.entry(answer.status).or_default() += 1;
        if answer.closes {
            self.stream = dial(self.address, self.source)?;
            outcome.reconnects += 1;
        }
        Ok(())
    }

    fn read_answer(&mut self) -> anyhow::Result<Answer> {
        read_answer(&self.stream, &mut self.buffer)
    }
}

/// Sends a request on a connection of the caller's, and counts its answer.
pub fn exchange(
    mut stream: &TcpStream,
    request: &[u8],
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    stream.write_all(request)?;
    let answer = read_answer(stream, &mut [0; 4096])?;
    *outcome.statuses.entry(answer.status).or_default() += 1;
    Ok(())
}

fn read_answer(mut stream: &TcpStream, buffer: &mut [u8]) -> anyhow::Result<Answer> {
    let mut filled = 0;
    loop {
        let free = buffer.get_mut(filled..).unwrap_or_default();
        let read = stream.read(free).context("an answer could not be read")?;
        if read == 0 {
            bail!("the server closed a connection, or its answer is too large");
        }
        filled += read;
        let bytes = buffer.get(..filled).unwrap_or_default();
        if let Some(answer) = Answer::parse(bytes)? {
            return Ok(answer);
        }
    }
}

/// Opens a connection from a source address of the loopback network.
pub fn dial(address: SocketAddr, source: Ipv4Addr) -> anyhow::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    if source != Ipv4Addr::LOCALHOST {
        socket.bind(&SockAddr::from(SocketAddr::from((source, 0))))?;
    }
    socket
        .connect(&SockAddr::from(address))
        .context("no connection to the server")?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(stream)
}

/// What matters of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    closes: bool,
}

impl Answer {
    /// The answer, when it is whole.
    fn parse(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
            return Ok(None);
        };
        let (head, body) = bytes
            .split_at_checked(end + 4)
            .context("an answer without an end")?;
        let head = std::str::from_utf8(head)?;
        let status = head
            .split(' ')
            .nth(1)
            .context("an answer without a status")?
            .parse()?;
        let mut length = 0;
        let mut closes = false;
        for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse()?;
            } else if name.eq_ignore_ascii_case("connection") {
                closes = value.eq_ignore_ascii_case("close");
            }
        }
        match body.len() {
            got if got < length => Ok(None),
            got if got == length => Ok(Some(Self { status, closes })),
            _ => bail!("more than one answer to one request"),
        }
    }
}
