//! What all nodes have to know: the entries of ledgers, such as revocations and bans.
//!
//! Promise: while the store answers, an entry that one node has is on all others within seconds
//! (a second for it to be seen here, a second for it to be read there), and so is that it was taken
//! back. Of two for one name the later counts; what a node changes is later than anything that it
//! has seen of that name, whatever its clock says. A store that comes back empty is filled again
//! with what the nodes have. Each node's own journal stays its truth over a restart.
//!
//! What is not understood is passed over and counted. Nothing of it stops the leases.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::desk::{Store, is_forgotten};
use super::link::{Link, fault_of_code};
use super::status::StoreFault;
use crate::foundation::clock;

/// Between two looks at the store and at the ledgers.
const ROUND: Duration = Duration::from_secs(1);
/// Seconds after which a node that is silent is not counted any more.
const SILENT: u64 = 10;
/// Seconds that the store keeps it all after the last node has gone: 90 days.
const KEPT: u64 = 90 * 86_400;
/// Seconds that the store remembers that an entry was taken back.
const LIFT_KEPT: u64 = 30 * 86_400;
/// Entries of one round trip, and round trips of one look.
const PAGE: usize = 500;
const PAGES: usize = 20;
/// Bytes of an entry.
const LONGEST: usize = 4096;
/// What stands in place of an entry that was taken back.
const LIFTED: &str = "-";

/// Something that all nodes keep.
pub trait Ledger: Send + Sync + fmt::Debug {
    /// What its entries are, in the names of the store. Without a `:`.
    fn kind(&self) -> &'static str;
    /// How many entries there may be.
    fn bound(&self) -> usize;
    /// A number that changes whenever [`Ledger::list`] may have changed.
    fn version(&self) -> u64;
    /// All entries that are in force.
    fn list(&self) -> Vec<Item>;
    /// Takes an entry of another node over. May block on the disk.
    ///
    /// # Errors
    /// When it is not understood, or cannot be kept.
    fn put(&self, item: &Item) -> Result<(), String>;
    /// Takes an entry back. May block on the disk. That there is none is no error.
    ///
    /// # Errors
    /// When that cannot be kept.
    fn lift(&self, name: &str) -> Result<(), String>;
}

/// An entry of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is about. One name has one entry.
    pub name: String,
    /// What it says, without line breaks.
    pub body: String,
    /// When it was made, unix milliseconds.
    pub made: u64,
    /// When it ends, unix seconds.
    pub expires: Option<u64>,
}

/// What is known of a name.
#[derive(Clone, Debug)]
struct Known {
    item: Item,
    /// It was taken back.
    is_lifted: bool,
    /// The ledger holds it, or no longer holds it, as it says.
    is_applied: bool,
}

/// A ledger, and what the store is known to hold of it.
#[derive(Debug)]
struct Desk {
    ledger: Arc<dyn Ledger>,
    /// The version that was last compared.
    seen: Option<u64>,
    known: HashMap<String, Known>,
    /// The store takes no more of them, and that was said.
    is_full: bool,
}

/// What is carried between the ledgers and the store.
#[derive(Debug)]
pub(super) struct News {
    store: Arc<Store>,
    desks: Vec<Desk>,
    scripts: Option<Scripts>,
    /// The birth of the store's ledgers, and the number of the last entry that was read.
    birth: String,
    read: u64,
    is_crowded: bool,
}

#[derive(Clone, Debug)]
struct Scripts {
    beat: String,
    put: String,
    read: String,
}

/// What a look at the store shows.
struct Beat {
    birth: String,
    last: u64,
}

impl News {
    pub(super) fn new(store: Arc<Store>, ledgers: Vec<Arc<dyn Ledger>>) -> Self {
        let desk = |ledger| Desk {
            ledger,
            seen: None,
            known: HashMap::new(),
            is_full: false,
        };
        Self {
            store,
            desks: ledgers.into_iter().map(desk).collect(),
            scripts: None,
            birth: String::new(),
            read: 0,
            is_crowded: false,
        }
    }

    /// Shows that this node lives. Proves that the store takes writes.
    pub(super) async fn beat(&mut self, link: &mut Link) -> Result<(), StoreFault> {
        self.scripts = Some(Scripts {
            beat: link.learn(include_str!("beat.lua")).await?,
            put: link.learn(include_str!("put.lua")).await?,
            read: link.learn(include_str!("read.lua")).await?,
        });
        self.look(link).await.map(|_| ())
    }

    /// Carries news until the store fails.
    pub(super) async fn carry(&mut self, link: &mut Link) -> StoreFault {
        loop {
            if let Err(fault) = self.round(link).await {
                return fault;
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    async fn round(&mut self, link: &mut Link) -> Result<(), StoreFault> {
        let beat = match self.look(link).await {
            Ok(beat) => beat,
            // Its scripts were flushed.
            Err(StoreFault::Refused) => {
                self.beat(link).await?;
                self.look(link).await?
            }
            Err(fault) => return Err(fault),
        };
        if beat.birth != self.birth {
            self.birth = beat.birth;
            self.read = 0;
            for desk in &mut self.desks {
                desk.seen = None;
            }
        }
        // First what others have said: what is here and was taken back there must not be sent.
        if self.read < beat.last && !self.fetch(link, beat.last).await? {
            return Ok(());
        }
        self.retry().await;
        for index in 0..self.desks.len() {
            self.send(link, index).await?;
        }
        Ok(())
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.store.prefix)
    }

    fn scripts(&self) -> Result<Scripts, StoreFault> {
        self.scripts.clone().ok_or(StoreFault::Refused)
    }

    async fn look(&mut self, link: &mut Link) -> Result<Beat, StoreFault> {
        let mut pipe = redis::pipe();
        let command = pipe.cmd("EVALSHA").arg(self.scripts()?.beat).arg(5);
        for name in ["nodes", "meta", "entries", "order", "ends"] {
            command.arg(self.key(name));
        }
        command.arg(&self.store.node).arg(SILENT).arg(KEPT);
        let answers = link.ask(&pipe).await?;
        let parts = match answers.first() {
            Some(Value::Array(parts)) => parts.as_slice(),
            Some(Value::ServerError(error)) => return Err(fault_of_code(error.code())),
            _ => return Err(StoreFault::Protocol),
        };
        let [
            Value::Int(nodes),
            Value::BulkString(birth),
            Value::Int(last),
        ] = parts
        else {
            return Err(StoreFault::Protocol);
        };
        let nodes = u64::try_from(*nodes).unwrap_or_default();
        self.store.status().nodes.set(nodes);
        let is_crowded = nodes > u64::from(self.store.nodes());
        if is_crowded && !self.is_crowded {
            tracing::warn!(
                nodes,
                configured = self.store.nodes(),
                "more nodes share limits than quota.redis.nodes says: without the store they let too much pass"
            );
        }
        self.is_crowded = is_crowded;
        Ok(Beat {
            birth: String::from_utf8_lossy(birth).into_owned(),
            last: u64::try_from(*last).unwrap_or_default(),
        })
    }

    /// Reads what is new. `false`: there is more, for the next look.
    async fn fetch(&mut self, link: &mut Link, last: u64) -> Result<bool, StoreFault> {
        for _ in 0..PAGES {
            let mut pipe = redis::pipe();
            pipe.cmd("EVALSHA")
                .arg(self.scripts()?.read)
                .arg(2)
                .arg(self.key("entries"))
                .arg(self.key("order"))
                .arg(self.read)
                .arg(PAGE)
                .arg(LONGEST);
            let answers = link.ask(&pipe).await?;
            let page = match answers.into_iter().next() {
                Some(Value::Array(page)) => page,
                Some(Value::ServerError(error)) => return Err(fault_of_code(error.code())),
                _ => return Err(StoreFault::Protocol),
            };
            let is_last = page.len() < 3 * PAGE;
            for entry in page.chunks_exact(3) {
                let [number, Value::BulkString(name), Value::BulkString(text)] = entry else {
                    return Err(StoreFault::Protocol);
                };
                let number: Option<u64> = redis::from_redis_value(number.clone()).ok();
                self.read = self.read.max(number.unwrap_or_default());
                let understood = match (std::str::from_utf8(name), std::str::from_utf8(text)) {
                    (Ok(name), Ok(text)) => self.take(name, text).await,
                    _ => None,
                };
                if understood.is_none() {
                    self.store.status().news_bad.inc();
                }
            }
            if is_last {
                // Its entries may be gone: what has ended is removed.
                self.read = self.read.max(last);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes over an entry of the store. `None`: it is not understood.
    async fn take(&mut self, field: &str, text: &str) -> Option<()> {
        let (kind, name) = field.split_once(':')?;
        let (made, rest) = text.split_once(' ')?;
        let (expires, body) = rest.split_once(' ')?;
        let expires: u64 = expires.parse().ok()?;
        let made: u64 = made.parse().ok()?;
        let desk = self
            .desks
            .iter_mut()
            .find(|desk| desk.ledger.kind() == kind)?;
        let known = desk.known.get(name);
        let now = clock::unix_seconds();
        let has_ended = expires > 0 && expires <= now;
        let is_old = known.is_some_and(|known| known.item.made >= made);
        if is_old || has_ended {
            return Some(());
        }
        // Twice as many: each may have been taken back.
        if known.is_none() && desk.known.len() >= 2 * desk.ledger.bound() {
            return None;
        }
        let mut known = Known {
            item: Item {
                name: name.to_owned(),
                body: body.to_owned(),
                made,
                expires: (expires > 0).then_some(expires),
            },
            is_lifted: body == LIFTED,
            is_applied: false,
        };
        known.is_applied = apply(Arc::clone(&desk.ledger), &known).await;
        let status = self.store.status();
        if known.is_applied {
            status.news_taken.inc();
        } else {
            status.news_bad.inc();
        }
        desk.known.insert(name.to_owned(), known);
        Some(())
    }

    /// Tries again what could not be kept.
    async fn retry(&mut self) {
        let now = clock::unix_seconds();
        for desk in &mut self.desks {
            let ended = |known: &Known| known.item.expires.is_some_and(|expires| expires <= now);
            desk.known.retain(|_, known| !ended(known));
            let open = desk.known.values_mut().filter(|known| !known.is_applied);
            for known in open.take(PAGES) {
                known.is_applied = apply(Arc::clone(&desk.ledger), known).await;
            }
        }
    }

    /// Sends what a ledger has and the store does not.
    async fn send(&mut self, link: &mut Link, index: usize) -> Result<(), StoreFault> {
        let Some(desk) = self.desks.get(index) else {
            return Ok(());
        };
        let version = desk.ledger.version();
        if desk.seen == Some(version) {
            return Ok(());
        }
        let all = desk.seen.is_none();
        let ledger = Arc::clone(&desk.ledger);
        let listed = tokio::task::spawn_blocking(move || ledger.list()).await;
        let changes = desk.changes(listed.unwrap_or_default(), all);
        let mut complete = true;
        for page in changes.chunks(PAGE) {
            complete &= self.put(link, index, page).await?;
        }
        if complete && let Some(desk) = self.desks.get_mut(index) {
            desk.seen = Some(version);
        }
        Ok(())
    }

    /// `false`: something did not get in.
    async fn put(
        &mut self,
        link: &mut Link,
        index: usize,
        changes: &[Known],
    ) -> Result<bool, StoreFault> {
        let scripts = self.scripts()?;
        let keys = ["meta", "entries", "order", "ends"].map(|name| self.key(name));
        // The entries of all ledgers stand in one place; each may have been taken back.
        let bounds = self.desks.iter().map(|desk| desk.ledger.bound());
        let bound = bounds.fold(0, usize::saturating_add).saturating_mul(2);
        let Some(desk) = self.desks.get_mut(index) else {
            return Ok(true);
        };
        let mut pipe = redis::pipe();
        for change in changes {
            let item = &change.item;
            pipe.cmd("EVALSHA")
                .arg(&scripts.put)
                .arg(4)
                .arg(&keys)
                .arg(format!("{}:{}", desk.ledger.kind(), item.name))
                .arg(item.made)
                .arg(item.expires.unwrap_or_default())
                .arg(&item.body)
                .arg(bound);
        }
        let (mut complete, mut is_full) = (true, false);
        for (change, answer) in changes.iter().zip(link.ask(&pipe).await?) {
            match answer {
                Value::Int(number) if number > 0 => {
                    self.store.status().news_sent.inc();
                    desk.known.insert(change.item.name.clone(), change.clone());
                }
                // A later one is there: it is read with the next look.
                Value::Int(0) => complete &= desk.holds(change),
                Value::Int(_) => {
                    complete = false;
                    is_full = true;
                    self.store.status().news_bad.inc();
                }
                answer if is_forgotten(&answer) => return Err(StoreFault::NotReady),
                Value::ServerError(error) => return Err(fault_of_code(error.code())),
                _ => return Err(StoreFault::Protocol),
            }
        }
        if is_full && !desk.is_full {
            tracing::warn!(
                kind = desk.ledger.kind(),
                bound,
                "the store of shared limits holds as many revocations and overrides as it may: further ones stay on their node"
            );
        }
        desk.is_full = is_full;
        Ok(complete)
    }
}

impl Desk {
    fn holds(&self, change: &Known) -> bool {
        let known = self.known.get(&change.item.name);
        known.is_some_and(|known| known.item.made >= change.item.made)
    }

    /// What the store has to be told: entries that are new or differ, and those that were taken
    /// back here. `all`: also what it was told before.
    fn changes(&self, listed: Vec<Item>, all: bool) -> Vec<Known> {
        let millis = clock::unix_millis();
        let now = millis / 1000;
        let mut changes = Vec::new();
        let mut here = std::collections::HashSet::new();
        for mut item in listed {
            here.insert(item.name.clone());
            if item.body.len() + 64 > LONGEST {
                continue;
            }
            match self.known.get(&item.name) {
                Some(known) if !known.is_applied => continue,
                Some(known) if !known.is_lifted && known.item.body == item.body => {
                    if all {
                        changes.push(known.clone());
                    }
                    continue;
                }
                Some(known) => item.made = millis.max(known.item.made + 1),
                None => {}
            }
            changes.push(Known {
                item,
                is_lifted: false,
                is_applied: true,
            });
        }
        for known in self.known.values() {
            if known.is_lifted {
                if all && known.is_applied {
                    changes.push(known.clone());
                }
                continue;
            }
            if !known.is_applied || here.contains(&known.item.name) {
                continue;
            }
            if known.item.expires.is_some_and(|expires| expires <= now) {
                continue;
            }
            changes.push(Known {
                item: Item {
                    name: known.item.name.clone(),
                    body: LIFTED.to_owned(),
                    made: millis.max(known.item.made + 1),
                    expires: Some(now + LIFT_KEPT),
                },
                is_lifted: true,
                is_applied: true,
            });
        }
        changes
    }
}

/// Makes a ledger say what an entry says.
async fn apply(ledger: Arc<dyn Ledger>, known: &Known) -> bool {
    let (item, is_lifted, kind) = (known.item.clone(), known.is_lifted, ledger.kind());
    let done = tokio::task::spawn_blocking(move || {
        if !is_lifted {
            return ledger.put(&item);
        }
        // What was made here after it was taken back there stays.
        let listed = ledger.list();
        let here = listed.iter().find(|here| here.name == item.name);
        match here {
            Some(here) if here.made < item.made => ledger.lift(&item.name),
            _ => Ok(()),
        }
    });
    match done.await {
        Ok(Ok(())) => true,
        Ok(Err(why)) => {
            tracing::warn!(
                kind,
                why,
                "an entry of another node could not be taken over"
            );
            false
        }
        Err(_) => false,
    }
}
