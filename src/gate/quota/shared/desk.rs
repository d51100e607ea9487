//! The one task that speaks with the store.
//!
//! Requests leave an [`Ask`] in a queue and go on; the task takes what has gathered, asks it in one
//! round trip and settles the leases. When the store does not answer the task says so, and tries the
//! URLs in their order until one takes writes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Pipeline, Value};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::Clock;
use super::super::window::{Factor, Now};
use super::lease::Lease;
use super::link::{Link, Reach, fault_of_code};
use super::news::{Ledger, News};
use super::script::{Answer, Claim, LEASE, arguments};
use super::status::{Status, StoreFault};
use crate::config::Redis;

/// Leases that may wait to be asked for. At the bound a key goes on with what it has, and asks again.
const WAITING: usize = 8192;
/// Leases of one round trip.
const BATCH: usize = 256;
/// Between two attempts to reach a store that is down.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A key, as the store knows it: the beginning of its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest([u8; 16]);

impl Digest {
    pub(super) fn of(text: &str) -> Self {
        let mut short = [0; 16];
        let whole = Sha256::digest(text.as_bytes());
        for (to, from) in short.iter_mut().zip(whole) {
            *to = from;
        }
        Self(short)
    }
}

/// A lease that is wanted.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) lease: Arc<Lease>,
    pub(super) own: u64,
    pub(super) digest: Digest,
    pub(super) factor: Factor,
}

/// The store that nodes share limits through.
#[derive(Debug)]
pub struct Store {
    reach: Reach,
    pub(super) prefix: String,
    pub(super) node: String,
    nodes: u32,
    lease: u8,
    status: Status,
    asks: mpsc::Sender<Ask>,
    waiting: Mutex<Option<mpsc::Receiver<Ask>>>,
    clock: Clock,
}

impl Store {
    /// The store of a configuration. Nothing is connected before [`Store::run`]. `node`: a name that
    /// no other node has.
    #[must_use]
    pub fn new(redis: &Redis, node: String) -> Arc<Self> {
        let (asks, waiting) = mpsc::channel(WAITING);
        Arc::new(Self {
            reach: Reach::new(redis),
            prefix: redis.prefix.clone(),
            node,
            nodes: redis.nodes,
            lease: redis.lease,
            status: Status::default(),
            asks,
            waiting: Mutex::new(Some(waiting)),
            clock: Clock::start(),
        })
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// How many nodes share the limits, at most.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.nodes
    }

    pub(super) fn lease_percent(&self) -> u8 {
        self.lease
    }

    /// The clock of the limits that are shared through it.
    pub(in super::super) fn clock(&self) -> Clock {
        self.clock
    }

    fn now(&self) -> Now {
        self.clock.now()
    }

    /// Leaves an ask for the task. `false`: too many wait.
    pub(super) fn ask(&self, ask: Ask) -> bool {
        let left = self.asks.try_send(ask).is_ok();
        if !left {
            self.status.crowded.inc();
        }
        left
    }

    /// Speaks with the store until `stop`: asks for leases, and carries what is in the ledgers to all
    /// nodes. Once for each store.
    pub async fn run(self: Arc<Self>, ledgers: Vec<Arc<dyn Ledger>>, stop: CancellationToken) {
        let waiting = self
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut waiting) = waiting else {
            tracing::error!("the store of shared limits is served twice");
            return;
        };
        let mut news = News::new(Arc::clone(&self), ledgers);
        let working = async {
            let mut pause = FIRST_PAUSE;
            loop {
                if self.try_all(&mut waiting, &mut news).await {
                    pause = FIRST_PAUSE;
                }
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = working => {}
        }
    }

    /// Serves the first URL that takes writes, until it fails. Says whether there was one.
    async fn try_all(&self, waiting: &mut mpsc::Receiver<Ask>, news: &mut News) -> bool {
        for url in &self.reach.urls {
            let at = url.to_string();
            let (mut link, driver) = match self.reach.connect(url).await {
                Ok(connected) => connected,
                Err(fault) => {
                    self.status.set_down(&at, fault);
                    continue;
                }
            };
            let work = async {
                let scripts = Scripts::learn(&mut link).await?;
                // Before anything else: a replica does not take it.
                news.beat(&mut link).await?;
                self.status.set_up(&at);
                let mut other = link.clone();
                let fault = tokio::select! {
                    fault = self.serve(&mut link, scripts, waiting) => fault,
                    fault = news.carry(&mut other) => fault,
                };
                Err(fault)
            };
            let ended: Result<(), StoreFault> = tokio::select! {
                ended = Box::pin(work) => ended,
                () = driver => Err(StoreFault::Closed),
            };
            let was_up = self.status.is_up();
            if let Err(fault) = ended {
                self.status.set_down(&at, fault);
            }
            if was_up {
                return true;
            }
        }
        if self.reach.urls.is_empty() {
            self.status.set_down("none", StoreFault::Connect);
        }
        false
    }

    /// Asks for leases until the store fails.
    async fn serve(
        &self,
        link: &mut Link,
        mut scripts: Scripts,
        waiting: &mut mpsc::Receiver<Ask>,
    ) -> StoreFault {
        let mut asks = Vec::with_capacity(BATCH);
        loop {
            asks.clear();
            // `self` holds a sender, so the queue does not end.
            if waiting.recv_many(&mut asks, BATCH).await == 0 {
                return StoreFault::Closed;
            }
            if let Err(fault) = self.exchange(link, &mut scripts, &asks).await {
                let now = self.now();
                for ask in &asks {
                    ask.lease.failed(ask.own, now, false);
                }
                return fault;
            }
        }
    }

    /// One round trip, and a second one where the store has forgotten something.
    async fn exchange(
        &self,
        link: &mut Link,
        scripts: &mut Scripts,
        asks: &[Ask],
    ) -> Result<(), StoreFault> {
        let claims: Vec<(&Ask, Claim)> = asks
            .iter()
            .filter_map(|ask| Some((ask, ask.lease.claim(ask.own, ask.factor)?)))
            .collect();
        if claims.is_empty() {
            return Ok(());
        }
        self.status.leases.add(claims.len() as u64);
        let mut answers = link.ask(&self.requests(&scripts.lease, &claims)).await?;
        if answers.iter().any(is_forgotten) {
            *scripts = Scripts::learn(link).await?;
            answers = link.ask(&self.requests(&scripts.lease, &claims)).await?;
        }
        self.status.round_trips.inc();
        let mut lost = redis::pipe();
        let mut fault_of_all = None;
        for ((ask, claim), answer) in claims.iter().zip(&answers) {
            match read(answer) {
                Ok(answer) => {
                    let now = self.now();
                    if let Some(missing) = ask.lease.settle(ask.own, claim, &answer, now) {
                        let nothing = Claim {
                            owed: 0,
                            wanted: 0,
                            away: 0,
                        };
                        self.request(&mut lost, &scripts.lease, ask, &nothing, &missing);
                    }
                }
                Err(fault) => {
                    let of_this_key = fault.is_of_one_key();
                    ask.lease.failed(ask.own, self.now(), of_this_key);
                    if of_this_key {
                        self.status.count(fault);
                    } else {
                        fault_of_all = Some(fault);
                    }
                }
            }
        }
        if let Some(fault) = fault_of_all {
            return Err(fault);
        }
        if !lost.is_empty() {
            for answer in &link.ask(&lost).await? {
                if let Err(fault) = read(answer) {
                    self.status.count(fault);
                }
            }
        }
        Ok(())
    }

    fn requests(&self, script: &str, claims: &[(&Ask, Claim)]) -> Pipeline {
        let mut pipe = redis::pipe();
        for (ask, claim) in claims {
            self.request(&mut pipe, script, ask, claim, &[]);
        }
        pipe
    }

    fn request(&self, pipe: &mut Pipeline, script: &str, ask: &Ask, claim: &Claim, add: &[u64]) {
        let mut key = format!("{}:q:{}:", self.prefix, ask.lease.limit());
        for byte in ask.digest.0 {
            key.push_str(&format!("{byte:02x}"));
        }
        let windows = ask.lease.windows();
        let command = pipe.cmd("EVALSHA").arg(script).arg(1).arg(key);
        for argument in arguments(claim, windows, ask.factor, self.nodes, add) {
            command.arg(argument);
        }
    }
}

/// What the scripts are called in the store.
#[derive(Debug)]
struct Scripts {
    lease: String,
}

impl Scripts {
    async fn learn(link: &mut Link) -> Result<Self, StoreFault> {
        let lease = link.learn(LEASE).await?;
        Ok(Self { lease })
    }
}

/// Whether the store does not know the script: it was restarted, or its scripts were flushed.
pub(super) fn is_forgotten(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.code() == "NOSCRIPT")
}

fn read(answer: &Value) -> Result<Answer, StoreFault> {
    match answer {
        Value::ServerError(error) => Err(fault_of_code(error.code())),
        answer => Answer::read(answer),
    }
}
