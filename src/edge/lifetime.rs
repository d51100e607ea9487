//! How far a connection is, and until when it may stay so.
//!
//! The stream tells what arrives, the service tells what is asked and answered, and `connection`
//! asks after each step what is due. One lock for each connection, held for some instructions.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::refusals::Waiting;
use super::transport::HTTP2_PREFACE;
use crate::telemetry::ConnectionEnd;

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// Bounds of a connection's life.
#[derive(Clone, Copy, Debug)]
pub(super) struct LifeBounds {
    pub(super) first_byte_timeout: Duration,
    pub(super) header_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) max_age: Duration,
    pub(super) max_requests: u32,
    pub(super) body_timeout: Duration,
    pub(super) max_header: usize,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing has come; of HTTP/2, not the whole preface.
    Silent,
    /// A part of a request head has come.
    Head,
    /// Requests are being answered.
    Busy,
    /// All requests are answered.
    Idle,
}

/// What is due on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before this moment.
    At(Instant),
    /// It needs no buffers for now.
    Rest,
    /// It takes no further requests, and is told so.
    Drain,
    /// It is closed.
    Close(ConnectionEnd),
}

/// What a connection does, for who looks for one that can give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing since then.
    Still(Instant),
    /// A head has been coming since then.
    Head(Instant),
    /// Its requests have been refused since then, and their answers wait.
    Refused(Instant),
    /// Requests are being answered, or it has been asked to give way, or its client has hung up.
    Busy,
}

/// When the protocol may learn that the client has hung up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HangUp {
    Now,
    /// After one more step, in which it takes up what came before.
    NextStep,
    /// When the requests under way are answered.
    Answered,
}

/// The life of one connection.
#[derive(Debug)]
pub(super) struct Lifetime {
    protocol: Protocol,
    bounds: LifeBounds,
    born: Instant,
    state: Mutex<State>,
    /// Wakes the connection to look at what is due.
    called: Notify,
    /// Wakes the answers that are held back.
    hurry: Notify,
    /// Whether the protocol has read all that has come, and waits for more.
    starved: AtomicBool,
    /// Whether all that the protocol has written is on its way.
    flushed: AtomicBool,
    /// Whether it takes no further requests: `State::last` is there.
    retired: AtomicBool,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// Whether the phase began in the step that is being taken: `since` is told by its end (`due`), which
    /// reads the clock anyway.
    fresh: bool,
    in_flight: u32,
    requests: u32,
    /// Bytes received, of interest as long as the preface is awaited.
    received: usize,
    /// Why it takes no further requests.
    last: Option<ConnectionEnd>,
    /// Since when its client has been told so.
    draining: Option<Instant>,
    /// When the client closed its side.
    hung_up: Option<Instant>,
    /// Whether the client does not take what is written.
    broken: bool,
    /// Whether the protocol has had a step without a new request since then.
    quiet: bool,
    /// Whether it is to close when it has no request, since others wait.
    gives_way: bool,
    /// Whether it goes on asking long after it was told to end.
    late: bool,
    /// Bytes that no request has paid for, and when that was reckoned.
    owed: usize,
    reckoned: Instant,
    /// Answers that are held back.
    waiting: Waiting,
    /// Whether it has given its buffers back.
    resting: bool,
}

impl State {
    fn ends_step(&mut self, now: Instant) {
        if std::mem::take(&mut self.fresh) {
            self.since = now;
        }
    }

    /// When its phase began.
    fn since(&self) -> Instant {
        if self.fresh {
            Instant::now()
        } else {
            self.since
        }
    }
}

/// Time without anything to do after which a connection of HTTP/1 gives its buffers back, or for a
/// head to come in one piece. A client that asks more often never pays for new ones.
const REST: Duration = Duration::from_millis(100);
/// Bytes of HTTP/2, other than bodies, that a client may send without asking for anything: so many
/// and a head, and so many a second.
const FRAMES_BURST: usize = 64 << 10;
const FRAMES_RATE: usize = 16 << 10;
/// Bytes that a request may need besides its head: the heads of its frames, acknowledgements, windows.
const REQUEST_FRAMES: usize = 512;
/// Time for the requests of a client that has hung up.
const LINGER: Duration = Duration::from_secs(5);
/// Far enough to be never.
const FAR: Duration = Duration::from_secs(365 * 86_400);

impl Lifetime {
    pub(super) fn new(protocol: Protocol, bounds: LifeBounds) -> Self {
        let born = Instant::now();
        Self {
            protocol,
            bounds,
            born,
            state: Mutex::new(State {
                phase: Phase::Silent,
                since: born,
                fresh: false,
                in_flight: 0,
                requests: 0,
                received: 0,
                last: None,
                draining: None,
                hung_up: None,
                broken: false,
                quiet: false,
                gives_way: false,
                late: false,
                owed: 0,
                reckoned: born,
                waiting: Waiting::new(born),
                resting: false,
            }),
            called: Notify::new(),
            hurry: Notify::new(),
            starved: AtomicBool::new(false),
            flushed: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes have come.
    pub(super) fn received(&self, count: usize) {
        self.starved.store(false, Ordering::Relaxed);
        let mut state = self.state();
        let next = match (self.protocol, state.phase) {
            (Protocol::Http1, Phase::Silent | Phase::Idle) => Phase::Head,
            (Protocol::Http2, Phase::Silent) => {
                state.received += count;
                if state.received < HTTP2_PREFACE.len() {
                    return;
                }
                Phase::Idle
            }
            _ => return,
        };
        state.phase = next;
        state.fresh = true;
    }

    /// The protocol has asked for more, and nothing is there. It does so when it has no use for what
    /// it has: all of it is handled, or is a part of a head.
    pub(super) fn starves(&self) {
        self.starved.store(true, Ordering::Relaxed);
    }

    /// Whether all that the protocol has to write is on its way.
    pub(super) fn flushes(&self, all: bool) {
        self.flushed.store(all, Ordering::Relaxed);
    }

    /// Whether it has given its buffers back.
    pub(super) fn rests(&self, resting: bool) {
        self.state().resting = resting;
    }

    /// Whether a part of a head has come.
    pub(super) fn awaits_head(&self) -> bool {
        self.state().phase == Phase::Head
    }

    /// When it is to give its buffers back, if it can.
    fn rests_at(&self, state: &State) -> Option<Instant> {
        let waits = matches!(state.phase, Phase::Head | Phase::Idle) && !state.resting;
        let is_still = self.protocol == Protocol::Http1
            && self.starved.load(Ordering::Relaxed)
            && self.flushed.load(Ordering::Relaxed);
        (waits && is_still).then(|| state.since + REST)
    }

    /// A request has come whole, but for its body; its head had about so many bytes. Whether it is
    /// taken: a client of HTTP/2 that was told to end and asks on for longer than a head may take is
    /// not, since the protocol binds it only when it acknowledges.
    pub(super) fn request_began(&self, head: usize) -> bool {
        let mut state = self.state();
        let told = state.draining.filter(|_| self.protocol == Protocol::Http2);
        if told.is_some_and(|told| told.elapsed() > self.bounds.header_timeout) {
            state.late = true;
            return false;
        }
        state.owed = state.owed.saturating_sub(head + REQUEST_FRAMES);
        state.phase = Phase::Busy;
        state.quiet = false;
        state.gives_way = false;
        state.in_flight += 1;
        state.requests = state.requests.saturating_add(1);
        if state.requests >= self.bounds.max_requests {
            self.is_to_end(&mut state, ConnectionEnd::MaxRequests);
        }
        true
    }

    /// Bytes of HTTP/2 have come that are no body.
    pub(super) fn owes(&self, bytes: usize) {
        let mut state = self.state();
        let now = Instant::now();
        let past = now.saturating_duration_since(state.reckoned).as_millis();
        let forgiven = usize::try_from(past).unwrap_or(usize::MAX);
        let forgiven = forgiven.saturating_mul(FRAMES_RATE) / 1000;
        // A part of a millisecond is not lost.
        if forgiven > 0 {
            state.owed = state.owed.saturating_sub(forgiven);
            state.reckoned = now;
        }
        state.owed = state.owed.saturating_add(bytes);
    }

    /// A request was answered, or given up.
    pub(super) fn request_ended(&self) {
        let mut state = self.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        if state.in_flight == 0 {
            state.phase = Phase::Idle;
            state.fresh = true;
        }
    }

    /// The client has closed its side. When the protocol may learn of it: HTTP/2 forgets requests
    /// that have come whole as soon as it knows, so it learns when they are answered.
    pub(super) fn hung_up(&self) -> HangUp {
        if self.protocol == Protocol::Http1 {
            return HangUp::Now;
        }
        let mut state = self.state();
        state.hung_up.get_or_insert_with(Instant::now);
        if state.in_flight > 0 {
            HangUp::Answered
        } else if std::mem::replace(&mut state.quiet, true) {
            HangUp::Now
        } else {
            HangUp::NextStep
        }
    }

    /// The client does not take what is written.
    pub(super) fn gone(&self) {
        let mut state = self.state();
        state.hung_up.get_or_insert_with(Instant::now);
        state.broken = true;
    }

    /// Whether the answer that is being made is the last one of the connection.
    pub(super) fn is_last(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// It takes no further requests, for this reason unless there was one before.
    fn is_to_end(&self, state: &mut State, end: ConnectionEnd) {
        state.last.get_or_insert(end);
        self.retired.store(true, Ordering::Release);
    }

    /// The next answer is the connection's last, for this reason. HTTP/2 clients are told at once.
    pub(super) fn retire(&self, end: ConnectionEnd) {
        self.is_to_end(&mut self.state(), end);
    }

    /// The connection takes no further requests, for this reason.
    pub(super) fn drain(&self, end: ConnectionEnd) {
        let mut state = self.state();
        self.is_to_end(&mut state, end);
        state.draining.get_or_insert_with(Instant::now);
    }

    /// Its protocol.
    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// When it began.
    pub(super) fn born(&self) -> Instant {
        self.born
    }

    /// What it does.
    pub(super) fn standing(&self) -> Standing {
        let state = self.state();
        match state.phase {
            _ if state.gives_way || state.hung_up.is_some() => Standing::Busy,
            Phase::Silent | Phase::Idle => Standing::Still(state.since()),
            Phase::Head => Standing::Head(state.since()),
            Phase::Busy => state
                .waiting
                .only_since(state.in_flight)
                .map_or(Standing::Busy, Standing::Refused),
        }
    }

    /// Asks it to close, if it has stood still since before then, or has nothing under way but
    /// answers that are held back: those are given at once. A request that has come whole by the time
    /// that it looks is answered all the same.
    pub(super) fn give_way(&self, before: Instant) -> bool {
        let mut state = self.state();
        if state.gives_way || state.hung_up.is_some() {
            return false;
        }
        if state.waiting.only_since(state.in_flight).is_some() {
            // Known before the answers go: they say so.
            self.is_to_end(&mut state, ConnectionEnd::Crowded);
            drop(state);
            self.hurry();
        } else if state.phase != Phase::Busy && state.since() <= before {
            state.gives_way = true;
            drop(state);
        } else {
            return false;
        }
        self.called.notify_one();
        true
    }

    /// An answer is to be held back for this long. Until when it is, and whether it is
    /// the only one; `None` when none are any more.
    pub(super) fn holds_back(&self, wait: Duration) -> Option<(Instant, bool)> {
        self.state().waiting.add(wait)
    }

    /// An answer that was held back is given, or was given up.
    /// Whether it was the last one that is.
    pub(super) fn lets_go(&self, given_up: bool) -> bool {
        let mut state = self.state();
        let last = state.waiting.leave(given_up);
        if state.waiting.is_futile() {
            drop(state);
            self.called.notify_one();
        }
        last
    }

    /// Something of the client was taken: what was refused before is forgotten.
    pub(super) fn forgives(&self) {
        self.state().waiting.forgive();
    }

    /// No answer is held back any longer.
    pub(super) fn hurry(&self) {
        self.state().waiting.end();
        self.hurry.notify_waiters();
    }

    /// Ends when answers are not held back any longer.
    pub(super) async fn hurried(&self) {
        let mut hurried = pin!(self.hurry.notified());
        // Whoever calls from here on is heard.
        hurried.as_mut().enable();
        if !self.state().waiting.is_over() {
            hurried.await;
        }
    }

    /// Whether nothing has told it yet to take no further requests.
    pub(super) fn may_go_on(&self) -> bool {
        self.state().last.is_none()
    }

    /// The next answer is its last, since others wait.
    pub(super) fn retire_for_others(&self) {
        self.retire(ConnectionEnd::Crowded);
        self.called.notify_one();
    }

    /// Ends when it is to close since others wait.
    pub(super) async fn asked_to_go(&self) {
        while !self.state().gives_way {
            self.called().await;
        }
    }

    /// Waits until it is to look at what is due.
    pub(super) async fn called(&self) {
        self.called.notified().await;
    }

    /// Why a connection ended that ended without an error.
    pub(super) fn end(&self) -> ConnectionEnd {
        let state = self.state();
        if state.broken {
            return ConnectionEnd::Broken;
        }
        state.last.unwrap_or(ConnectionEnd::Closed)
    }

    /// What is due now.
    pub(super) fn due(&self) -> Due {
        let now = Instant::now();
        let mut state = self.state();
        state.ends_step(now);
        if state.owed > FRAMES_BURST.saturating_add(self.bounds.max_header) {
            return Due::Close(ConnectionEnd::FrameFlood);
        }
        if state.waiting.is_futile() {
            return Due::Close(ConnectionEnd::Refused);
        }
        if state.gives_way {
            self.is_to_end(&mut state, ConnectionEnd::Crowded);
            if self.protocol == Protocol::Http2 && state.draining.is_none() {
                // It closes right after it has said so.
                state.draining = Some(now);
                return Due::Drain;
            }
            return Due::Close(ConnectionEnd::Crowded);
        }
        if let Some(hung_up) = state.hung_up {
            let over = hung_up + LINGER;
            return if now >= over {
                Due::Close(ConnectionEnd::Broken)
            } else {
                Due::At(over)
            };
        }
        let (deadline, end) = match (state.phase, state.draining) {
            // Nothing has been asked for.
            (Phase::Silent, Some(told)) => (told, state.last.unwrap_or(ConnectionEnd::Closed)),
            (Phase::Silent, None) => (
                state.since + self.bounds.first_byte_timeout,
                ConnectionEnd::FirstByteTimeout,
            ),
            (Phase::Head, _) => (
                state.since + self.bounds.header_timeout,
                ConnectionEnd::HeaderTimeout,
            ),
            // What was taken is answered by then, or given up: the others hold it open.
            (Phase::Busy, Some(told)) if state.late => (
                told + self.bounds.header_timeout + self.bounds.body_timeout,
                state.last.unwrap_or(ConnectionEnd::Closed),
            ),
            (Phase::Busy, _) => (now + FAR, ConnectionEnd::Closed),
            (Phase::Idle, Some(told)) => (
                state.since.max(told) + self.bounds.header_timeout,
                state.last.unwrap_or(ConnectionEnd::Closed),
            ),
            (Phase::Idle, None) => (
                state.since + self.bounds.idle_timeout,
                ConnectionEnd::IdleTimeout,
            ),
        };
        if now >= deadline {
            if state.phase == Phase::Idle && state.draining.is_none() {
                self.is_to_end(&mut state, end);
                state.draining = Some(now);
                return Due::Drain;
            }
            return Due::Close(end);
        }
        if state.draining.is_some() {
            return Due::At(deadline);
        }
        let old = self.born + self.bounds.max_age;
        if now >= old {
            self.is_to_end(&mut state, ConnectionEnd::MaxAge);
        }
        // A HTTP/1 client is told by its next answer: closed between two requests, it may lose one
        // that is on its way.
        // One that has asked nothing yet may still ask; it is told then.
        let told = self.protocol == Protocol::Http2 && state.phase != Phase::Silent;
        if state.last.is_some() && told {
            state.draining = Some(now);
            return Due::Drain;
        }
        let next = if now >= old {
            deadline
        } else {
            deadline.min(old)
        };
        match self.rests_at(&state) {
            Some(at) if now >= at => Due::Rest,
            Some(at) => Due::At(next.min(at)),
            None => Due::At(next),
        }
    }
}
