//! The newest events of a logstore, read from its store by shards and cursors, as consumers do: it
//! needs no index.
//!
//! Promise: a preview ends within some seconds and some pulls, holds one answer of bounded size and what
//! it shows, and unpacks off the threads that serve requests. The store tells events in the order in
//! which it received them, so stretches of time are read, the latest first, each to its end or to some
//! pulls; a shard that has more than that takes nothing from the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::lanes::Clients;
use super::upstreams::{upstream_logstore, upstream_project};
use crate::admin::{Pair, Preview, PreviewError, PreviewEvent, PreviewOrder, ShownEvent};
use crate::config::{Config, Logstore, Project};
use crate::foundation::clock;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::logstore::client::{CursorFrom, Packed, PullError, PullOrder, StoreClient, is_at};
use crate::logstore::error::StoreError;
use crate::logstore::proto::{Log, LogGroup};

/// Time for one.
const TIME: Duration = Duration::from_secs(8);
/// Pulls of each shard for each stretch of time, and LogGroups of each pull.
const MOST_PULLS: u32 = 60;
const GROUPS: u32 = 10;
/// Bytes of one pull, before and after decompression. What is larger is pulled a LogGroup at a time.
const MAX_PULL: usize = 8 << 20;
/// Bytes of events that are shown.
const MAX_SHOWN: usize = 4 << 20;
/// Where stretches of time begin, in seconds before the last event that is asked for.
const BACK: [u64; 10] = [
    10, 40, 160, 640, 2560, 10_240, 40_960, 163_840, 655_360, 2_678_400,
];
/// Seconds that events are on their way to the store, at most, for all that is known here: those of a
/// time that is over are looked for so much longer.
const LATE: u64 = 300;

/// Reads previews of the logstores of one configuration.
#[derive(Debug)]
pub(super) struct Reader {
    /// Where each is read; none where its events go where they cannot be read back.
    places: BTreeMap<(String, String), Option<Place>>,
}

/// Where the store keeps a logstore.
#[derive(Clone, Debug)]
struct Place {
    client: Arc<StoreClient>,
    project: ProjectName,
    logstore: LogstoreName,
}

impl Reader {
    pub(super) fn new(config: &Config, clients: &Clients) -> Self {
        let mut places = BTreeMap::new();
        for project in &config.projects {
            for logstore in &project.logstores {
                let mut add = |name: &LogstoreName, upstream: &str| {
                    let key = (project.name.as_str().to_owned(), name.as_str().to_owned());
                    places.insert(key, place(clients, (project, logstore), upstream));
                };
                add(&logstore.name, project.upstream_of(logstore));
                let also = project.also_of(logstore);
                let copy = also.and_then(|it| Some((it, logstore.name.copy_for(it).ok()?)));
                if let Some((also, name)) = copy {
                    add(&name, also);
                }
            }
        }
        Self { places }
    }

    /// The logstores that there are, and those that take copies, whether they can be read or not.
    pub(super) fn logstores(&self) -> Vec<(String, String)> {
        self.places.keys().cloned().collect()
    }

    pub(super) async fn read(
        self: Arc<Self>,
        order: PreviewOrder,
    ) -> Result<Preview, PreviewError> {
        let name = (order.project.clone(), order.logstore.clone());
        let place = self.places.get(&name).ok_or(PreviewError::NotFound)?;
        let place = place.as_ref().ok_or(PreviewError::Unreadable)?;
        let mut reading = Reading {
            order,
            events: Vec::new(),
            cut: false,
        };
        let read = tokio::time::timeout(TIME, reading.read(place)).await;
        let partial = match read {
            Ok(Ok(whole)) => !whole,
            Ok(Err(error)) => return Err(PreviewError::Store(told(&error))),
            Err(_) if reading.events.is_empty() => {
                let message = format!("the store gave no events within {} s", TIME.as_secs());
                return Err(PreviewError::Store(message));
            }
            Err(_) => true,
        };
        Ok(Preview {
            events: reading.events,
            partial: partial || reading.cut,
        })
    }
}

fn place(
    clients: &Clients,
    (project, logstore): (&Project, &Logstore),
    upstream: &str,
) -> Option<Place> {
    let client = clients.get(&(project.name.clone(), upstream.to_owned()))?;
    Some(Place {
        client: Arc::clone(client),
        project: upstream_project(project).clone(),
        logstore: upstream_logstore(logstore).clone(),
    })
}

/// What the store says, without what only a developer would read.
fn told(error: &StoreError) -> String {
    let mut message = error.to_string();
    if let Some((at, _)) = message.char_indices().nth(300) {
        message.truncate(at);
    }
    message
}

/// What is being read.
struct Reading {
    order: PreviewOrder,
    /// The newest so far, newest first.
    events: Vec<ShownEvent>,
    /// Some were left out because they are large.
    cut: bool,
}

/// A shard, and how far it was read.
struct Shard {
    id: u32,
    /// What stands from here on was read.
    end: String,
}

impl Reading {
    /// Whether all that was asked for was read.
    async fn read(&mut self, place: &Place) -> Result<bool, StoreError> {
        let now = clock::unix_seconds();
        let until = self.order.to.min(now);
        let last = match until.saturating_add(LATE) {
            late if late < now => CursorFrom::Time(late),
            _ => CursorFrom::End,
        };
        let mut shards = place.shards(last).await?;
        let mut whole = true;
        for back in BACK {
            let from = until.saturating_sub(back).max(self.order.from);
            for shard in &mut shards {
                let begin = place.cursor(shard.id, CursorFrom::Time(from)).await?;
                whole &= self.stretch(place, shard, &begin).await?;
                shard.end = begin;
            }
            if self.events.len() >= self.order.count || from == self.order.from {
                break;
            }
        }
        Ok(whole)
    }

    /// Reads a shard from a cursor to where it was read before. Whether it came there.
    async fn stretch(
        &mut self,
        place: &Place,
        shard: &Shard,
        begin: &str,
    ) -> Result<bool, StoreError> {
        let mut cursor = begin.to_owned();
        let mut count = GROUPS;
        for _ in 0..MOST_PULLS {
            if is_at(&cursor, &shard.end) {
                return Ok(true);
            }
            let pull = PullOrder {
                shard: shard.id,
                cursor: &cursor,
                end: Some(&shard.end),
                count,
                cap: MAX_PULL,
            };
            match self.pull(place, pull).await {
                Ok(Some(next)) if next != cursor => cursor = next,
                // The end of what the store still has.
                Ok(_) => return Ok(true),
                Err(PullError::TooLarge) if count > 1 => count = 1,
                Err(PullError::TooLarge) => return Ok(false),
                Err(PullError::Store(error)) => return Err(error),
            }
        }
        Ok(is_at(&cursor, &shard.end))
    }

    /// Takes what one pull gives. Where to go on, unless it gave nothing.
    async fn pull(
        &mut self,
        place: &Place,
        order: PullOrder<'_>,
    ) -> Result<Option<String>, PullError> {
        let (project, logstore) = (&place.project, &place.logstore);
        let packed = place.client.pull_packed(project, logstore, order).await?;
        if packed.is_empty() {
            return Ok(None);
        }
        let next = packed.next_cursor.clone();
        let oldest = self.events.last().map(when);
        let full = self.events.len() >= self.order.count;
        let newest = Newest {
            order: self.order.clone(),
            floor: oldest.filter(|_| full),
            events: Vec::new(),
            bytes: 0,
            cut: false,
        };
        let unpacking = tokio::task::spawn_blocking(move || newest.of(packed));
        let found = unpacking.await.unwrap_or_else(|error| {
            tracing::error!(%error, "events of a preview could not be unpacked");
            Ok((Vec::new(), true))
        });
        let (mut events, cut) = found?;
        events.append(&mut self.events);
        self.cut |= cut | keep_newest(&mut events, self.order.count);
        self.events = events;
        Ok(Some(next))
    }
}

impl Place {
    /// The shards, as if all from a cursor on were read.
    async fn shards(&self, from: CursorFrom) -> Result<Vec<Shard>, StoreError> {
        let listed = self.client.list_shards(&self.project, &self.logstore);
        let mut shards = Vec::new();
        for shard in listed.await? {
            let end = self.cursor(shard.id, from).await?;
            shards.push(Shard { id: shard.id, end });
        }
        Ok(shards)
    }

    async fn cursor(&self, shard: u32, from: CursorFrom) -> Result<String, StoreError> {
        let (project, logstore) = (&self.project, &self.logstore);
        self.client.get_cursor(project, logstore, shard, from).await
    }
}

/// Takes the newest events out of what was pulled, on a thread that may take its time.
struct Newest {
    order: PreviewOrder,
    /// There are enough that are not older.
    floor: Option<When>,
    events: Vec<ShownEvent>,
    /// Of events that came since the last look at them all.
    bytes: usize,
    cut: bool,
}

impl Newest {
    /// The events, newest first, and whether some are left out that should be among them.
    fn of(mut self, packed: Packed) -> Result<(Vec<ShownEvent>, bool), PullError> {
        packed.each_group(|group| self.take(&group))?;
        self.tidy();
        Ok((self.events, self.cut))
    }

    fn take(&mut self, group: &LogGroup) {
        for log in &group.logs {
            let in_time = (self.order.from..=self.order.to).contains(&u64::from(log.time));
            let when = (log.time, log.time_ns);
            if !in_time || self.floor.is_some_and(|floor| when < floor) {
                continue;
            }
            let Some(event) = (self.order.see)(event(group, log)) else {
                continue;
            };
            self.bytes += size(&event);
            self.events.push(event);
            if self.events.len() > 2 * self.order.count || self.bytes > MAX_SHOWN {
                self.tidy();
            }
        }
    }

    fn tidy(&mut self) {
        // Of those of one time the last is the newest.
        self.events.reverse();
        self.cut |= keep_newest(&mut self.events, self.order.count);
        self.bytes = 0;
        if self.events.len() >= self.order.count {
            self.floor = self.events.last().map(when);
        }
    }
}

type When = (u32, Option<u32>);

fn when(event: &ShownEvent) -> When {
    (event.time, event.nanos)
}

/// Sorts events by their time, the newest first, and keeps as many as may be shown. Whether some are
/// left out because they are large.
fn keep_newest(events: &mut Vec<ShownEvent>, count: usize) -> bool {
    events.sort_by_key(|event| std::cmp::Reverse(when(event)));
    events.truncate(count);
    let mut room = MAX_SHOWN;
    let fits = events.iter().take_while(|event| {
        let left = room.checked_sub(size(event));
        room = left.unwrap_or(0);
        left.is_some()
    });
    let fits = fits.count();
    let is_cut = fits < events.len();
    events.truncate(fits);
    is_cut
}

/// Bytes of an event, about.
fn size(event: &ShownEvent) -> usize {
    let pairs = event.fields.iter().chain(&event.tags);
    let pairs = pairs.map(|(name, value)| name.len() + value.len() + 64);
    event.topic.len() + event.source.len() + pairs.sum::<usize>()
}

fn event<'a>(group: &'a LogGroup, log: &'a Log) -> PreviewEvent<'a> {
    let pair = |(name, value): (&'a Bytes, &'a Bytes)| -> Pair<'a> {
        (
            String::from_utf8_lossy(name),
            String::from_utf8_lossy(value),
        )
    };
    PreviewEvent {
        time: log.time,
        nanos: log.time_ns,
        topic: String::from_utf8_lossy(group.topic()),
        source: String::from_utf8_lossy(group.source()),
        tags: group
            .log_tags
            .iter()
            .map(|it| pair((&it.key, &it.value)))
            .collect(),
        fields: log
            .contents
            .iter()
            .map(|it| pair((&it.key, &it.value)))
            .collect(),
        cut: false,
    }
}
