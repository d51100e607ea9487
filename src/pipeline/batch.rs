//! A batch while it is open, and after it is sealed.
//!
//! Promise: what a batch holds is paid for by its lease down to the capacity of its buffer, and its
//! events end exactly once: delivered, set aside, or dropped with a reason. A batch that vanishes counts its
//! events as lost, so that a bug of ours shows.
//! When memory is short: [`OpenBatch::append`] takes the least that it needs, which its caller has
//! leased before.
//! Not here: which batch an event belongs to (`open`), and what happens to a sealed one (`forward`).

use std::borrow::Borrow;
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::delivery::span::Links;
use super::lane_spool::Ending;
use super::receipt::Waiter;
use super::spool::BundleId;
use crate::event::{EventGroup, SOURCE_TAG, TOPIC_TAG, put_tag};
use crate::foundation::budget::{Budget, Lease};
use crate::foundation::clock;
use crate::foundation::trace_context::TraceContext;
use crate::foundation::wire;
use crate::telemetry::{DropReason, Judge, LogstoreMetrics};

/// Bytes charged for each batch beyond its buffers: its entries in the tables and the queue, and
/// what the allocator rounds up. It makes ten thousand batches of one event cost what they take.
pub(super) const BATCH_OVERHEAD: usize = 512;

/// The most that a pack id appends: a LogTags field of `__pack_id__` and 33 characters.
const PACK_ROOM: usize = 50;

/// Events that we hold. Ends in [`Held::delivered`], [`Held::quarantined`] or [`Held::dropped`].
#[must_use = "dropping it counts its events as lost"]
pub(super) struct Held {
    metrics: Arc<LogstoreMetrics>,
    events: u64,
    bytes: u64,
}

impl Held {
    fn nothing(metrics: Arc<LogstoreMetrics>) -> Self {
        Self {
            metrics,
            events: 0,
            bytes: 0,
        }
    }

    fn add(&mut self, more: Logs<'_>) {
        self.events += u64::from(more.events);
        self.bytes += more.bytes.len() as u64;
        self.metrics.events_held.add(u64::from(more.events));
        self.metrics.load.bytes_held.add(more.bytes.len() as u64);
    }

    /// Their size before compression.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of events.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// The store has acknowledged them.
    pub(super) fn delivered(mut self) {
        self.metrics.events_delivered.add(self.events);
        self.let_go();
    }

    /// The store will not take them, and they have been set aside.
    pub(super) fn quarantined(mut self) {
        let quarantined = self.metrics.events_quarantined.at(Judge::Store as usize);
        quarantined.add(self.events);
        self.let_go();
    }

    /// The disk has them, and memory holds them no longer.
    pub(super) fn moved_to_disk(mut self) {
        self.metrics.spool.waiting.add(self.events);
        self.let_go();
    }

    /// Events that come back from disk.
    pub(super) fn resumed(metrics: Arc<LogstoreMetrics>, events: u64, bytes: u64) -> Self {
        metrics.events_held.add(events);
        metrics.load.bytes_held.add(bytes);
        Self {
            metrics,
            events,
            bytes,
        }
    }

    /// Takes some of them, which end on their own from now on; the last ones take all bytes that are
    /// left.
    pub(super) fn take(&mut self, events: u64, bytes: u64) -> Self {
        let events = events.min(self.events);
        let bytes = if events == self.events {
            self.bytes
        } else {
            bytes.min(self.bytes)
        };
        self.events -= events;
        self.bytes -= bytes;
        Self {
            metrics: Arc::clone(&self.metrics),
            events,
            bytes,
        }
    }

    /// They will not reach the store.
    pub(super) fn dropped(mut self, reason: DropReason) {
        self.count_dropped(reason);
        self.let_go();
    }

    fn count_dropped(&self, reason: DropReason) {
        let dropped = self.metrics.events_dropped.at(reason as usize);
        dropped.add(self.events);
    }

    /// Comes last, so that an event that is no longer held has been counted.
    fn let_go(&mut self) {
        self.metrics.load.bytes_held.sub(mem::take(&mut self.bytes));
        self.metrics.events_held.sub(mem::take(&mut self.events));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.events > 0 {
            self.count_dropped(DropReason::Lost);
            self.let_go();
            debug_assert!(
                std::thread::panicking(),
                "events were dropped without an outcome"
            );
        }
    }
}

/// Some `LogGroup.Logs` fields, whole ones, and how many they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Logs<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) events: u32,
}

/// Writes what decides the batch of a group: its topic, source and tags, in the wire form in which
/// they end the LogGroup. A field that is empty is left out. Two groups with the same key are
/// written to the store as one, and parsing it gives the three parts back, so no two differ that
/// have the same key.
pub(super) fn write_key(group: &EventGroup, key: &mut Vec<u8>) {
    key.clear();
    for (tag, value) in [(TOPIC_TAG, &group.topic), (SOURCE_TAG, &group.source)] {
        if !value.is_empty() {
            wire::put_bytes(key, tag, value);
        }
    }
    key.extend_from_slice(&group.tags);
}

/// A batch that still takes events.
pub(super) struct OpenBatch {
    id: BundleId,
    key: Arc<[u8]>,
    logs: Vec<u8>,
    held: Held,
    lease: Lease,
    opened: Instant,
    /// Parts that were given to the disk.
    parts: u16,
    /// Who waits until the store has their events.
    waiters: Vec<Waiting>,
    /// Requests that are traced for a collector.
    links: Links,
}

/// Who waits until the store has some events of a batch.
pub(super) struct Waiting {
    pub(super) waiter: Waiter,
    /// Their places in the batch.
    pub(super) events: Range<usize>,
}

impl OpenBatch {
    /// An empty batch, paid from `lease`, which holds at least [`OpenBatch::fixed_cost`].
    pub(super) fn new(
        id: BundleId,
        key: Arc<[u8]>,
        lease: &mut Lease<impl Borrow<Arc<Budget>>>,
        metrics: Arc<LogstoreMetrics>,
        opened: Instant,
    ) -> Self {
        let logs = Vec::with_capacity(Self::ending(key.len()));
        let cost = Self::fixed_cost(key.len());
        Self {
            id,
            logs,
            held: Held::nothing(metrics),
            lease: lease.split(cost as u64),
            opened,
            key,
            parts: 0,
            waiters: Vec::new(),
            links: Links::default(),
        }
    }

    /// Bytes charged for a batch with a key of `key` bytes and no events: the overhead, the key, and
    /// room for the key and the pack id at the end of the LogGroup, so that sealing moves nothing.
    pub(super) fn fixed_cost(key: usize) -> usize {
        BATCH_OVERHEAD + key + Self::ending(key)
    }

    /// Bytes that end the LogGroup of a batch with a key of `key` bytes, at most.
    pub(super) fn ending(key: usize) -> usize {
        key + PACK_ROOM
    }

    /// What decided that events belong here.
    pub(super) fn key(&self) -> &Arc<[u8]> {
        &self.key
    }

    /// When the batch was opened.
    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    /// How many events it holds.
    pub(super) fn events(&self) -> u64 {
        self.held.events()
    }

    /// Size of the LogGroup if it were sealed now, at most.
    pub(super) fn size(&self) -> usize {
        self.logs.len() + Self::ending(self.key.len())
    }

    /// Whether it takes so many bytes of events without growing: they are paid for.
    pub(super) fn has_spare(&self, bytes: usize) -> bool {
        self.size() + bytes <= self.logs.capacity()
    }

    /// Adds events. The batch has [spare](Self::has_spare) room for them, or `lease` holds at least as many
    /// bytes as `more`, and pays.
    ///
    /// The buffer doubles, up to `max_bytes`, as far as memory allows; else it grows to what is
    /// needed and no more.
    pub(super) fn append(
        &mut self,
        more: Logs<'_>,
        lease: &mut Lease<impl Borrow<Arc<Budget>>>,
        max_bytes: usize,
    ) {
        let capacity = self.logs.capacity();
        let needed = self.size() + more.bytes.len();
        if needed > capacity {
            let roomy = needed.max(capacity.saturating_mul(2).min(max_bytes));
            let price = (roomy - capacity) as u64;
            let affordable = lease.bytes() >= price || lease.resize(price).is_ok();
            let target = if affordable { roomy } else { needed };
            self.lease.merge(lease.split((target - capacity) as u64));
            self.logs.reserve_exact(target - self.logs.len());
        }
        self.logs.extend_from_slice(more.bytes);
        self.held.add(more);
    }

    /// Its id, which is also its pack id.
    pub(super) fn id(&self) -> BundleId {
        self.id
    }

    /// The number of the next part that is given to the disk; `None` when there have been too many.
    pub(super) fn next_part(&mut self) -> Option<u16> {
        let number = self.parts;
        self.parts = number.checked_add(1)?;
        Some(number)
    }

    /// Whether the disk has been given all the parts that a bundle may have.
    pub(super) fn is_out_of_parts(&self) -> bool {
        self.parts == u16::MAX
    }

    /// Somebody waits until the store has the last so many events.
    pub(super) fn await_delivery(&mut self, waiter: Waiter, events: u32) {
        let end = usize::try_from(self.held.events()).unwrap_or(usize::MAX);
        let events = end.saturating_sub(events as usize)..end;
        self.waiters.push(Waiting { waiter, events });
    }

    /// Some of its events are of this request.
    pub(super) fn link(&mut self, span: TraceContext) {
        self.links.add(span);
    }

    /// Closes the batch: its LogGroup is complete, with its pack id.
    pub(super) fn seal(self) -> SealedBatch {
        let age = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Self {
            id,
            key,
            logs: mut raw,
            held,
            mut lease,
            parts,
            waiters,
            links,
            ..
        } = self;
        let start = raw.len();
        raw.extend_from_slice(&key);
        let key = start..raw.len();
        put_tag(&mut raw, b"__pack_id__", id.to_string().as_bytes());
        lease.shrink_to((raw.capacity() + BATCH_OVERHEAD) as u64);
        SealedBatch {
            raw,
            events: u32::try_from(held.events()).unwrap_or(u32::MAX),
            held,
            lease,
            id,
            key,
            logged: parts > 0,
            from_disk: false,
            instead_of: None,
            since: clock::unix_millis().saturating_sub(age),
            waiters,
            links,
        }
    }
}

/// A batch that is complete: one LogGroup in wire form. There is no way back.
pub(super) struct SealedBatch {
    /// The LogGroup.
    pub(super) raw: Vec<u8>,
    /// Its events, which someone must end.
    pub(super) held: Held,
    /// Pays for `raw`.
    pub(super) lease: Lease,
    /// Its id, which is also its pack id.
    pub(super) id: BundleId,
    /// How many events `raw` holds.
    pub(super) events: u32,
    /// Where topic, source and tags stand in `raw`, without the pack id.
    pub(super) key: Range<usize>,
    /// Whether parts of it were given to the disk.
    pub(super) logged: bool,
    /// Whether it waited on disk.
    pub(super) from_disk: bool,
    /// The bundle on disk that has its events as well, and is done once this one is there, or has ended.
    pub(super) instead_of: Option<Arc<Ending>>,
    /// When its first event came, or was first written to disk, in Unix milliseconds.
    pub(super) since: u64,
    /// Who waits until the store has their events.
    pub(super) waiters: Vec<Waiting>,
    /// Requests that are traced for a collector. The disk does not keep them.
    pub(super) links: Links,
}

impl SealedBatch {
    /// Its events, and what decides their batch.
    pub(super) fn parts(&self) -> (&[u8], &[u8]) {
        let logs = self.raw.get(..self.key.start).unwrap_or_default();
        let key = self.raw.get(self.key.clone()).unwrap_or_default();
        (logs, key)
    }

    /// The bundle on disk that has its events, or some of them.
    pub(super) fn bundle(&self) -> Option<BundleId> {
        match &self.instead_of {
            Some(other) => Some(other.id()),
            None => self.logged.then_some(self.id),
        }
    }

    /// The same events under another id, for a disk that has only a part of them under the old one.
    /// The LogGroup keeps its pack id.
    pub(super) fn anew(self, id: BundleId, instead_of: Arc<Ending>) -> Self {
        Self {
            key: self.key.start..self.raw.len(),
            id,
            logged: false,
            instead_of: Some(instead_of),
            ..self
        }
    }
}

/// The ids of the bundles of one lane of one process: the first half at random. With the number behind
/// it a reader can order the LogGroups of one writer, and tell what came twice (`__pack_id__`).
#[derive(Debug)]
pub(super) struct BundleIds {
    prefix: u64,
    last: AtomicU64,
}

impl BundleIds {
    /// From 1 on.
    pub(super) fn new() -> Self {
        let fallback = |_| clock::unix_millis().rotate_left(32);
        Self {
            prefix: getrandom::u64().unwrap_or_else(fallback),
            last: AtomicU64::new(0),
        }
    }

    /// The next one.
    pub(super) fn next(&self) -> BundleId {
        BundleId {
            prefix: self.prefix,
            number: self.last.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::foundation::budget::Budget;
    use crate::logstore::proto::LogGroup;

    const ID: BundleId = BundleId {
        prefix: 0x0123_4567_89AB_CDEF,
        number: 10,
    };

    fn open(key: &[u8], lease: &mut Lease) -> (OpenBatch, Arc<LogstoreMetrics>) {
        let metrics = Arc::new(LogstoreMetrics::default());
        let cells = Arc::clone(&metrics);
        let batch = OpenBatch::new(ID, key.into(), lease, cells, Instant::now());
        (batch, metrics)
    }

    #[test]
    fn a_sealed_batch_is_the_log_group_that_a_protobuf_library_reads() {
        let mut group = EventGroup {
            topic: b"web".to_vec(),
            source: b"203.0.113.7".to_vec(),
            ..EventGroup::default()
        };
        group.put_tag(b"__client_ip__", b"203.0.113.7");
        let mut key = Vec::new();
        write_key(&group, &mut key);
        let log = b"\x0a\x25\x08\x80\xe2\xbe\xd1\x06\x12\x0e\x0a\x05event\x12\x05click\
                    \x12\x0d\x0a\x04path\x12\x05/home";
        let mut lease = Budget::new(10_000).lease(10_000).unwrap();
        let (mut batch, _) = open(&key, &mut lease);
        let logs = Logs {
            bytes: log,
            events: 1,
        };
        batch.append(logs, &mut lease, 1000);
        let sealed = batch.seal();
        sealed.held.delivered();

        let read = LogGroup::decode(sealed.raw.as_slice()).unwrap();
        assert_eq!(read.encode_to_vec(), sealed.raw, "fields in their order");
        assert_eq!(read.logs.len(), 1);
        assert_eq!(read.topic.as_deref(), Some(&b"web"[..]));
        assert_eq!(read.source.as_deref(), Some(&b"203.0.113.7"[..]));
        let tags: Vec<_> = read.log_tags.iter().map(|t| (&*t.key, &*t.value)).collect();
        let client: (&[u8], &[u8]) = (b"__client_ip__", b"203.0.113.7");
        let pack: (&[u8], &[u8]) = (b"__pack_id__", b"0123456789ABCDEF-A");
        assert_eq!(tags, [client, pack]);
    }

    #[test]
    fn the_largest_pack_id_fits_the_room_that_is_kept_for_it() {
        let room = |prefix, number| {
            let mut out = Vec::new();
            let id = BundleId { prefix, number }.to_string();
            put_tag(&mut out, b"__pack_id__", id.as_bytes());
            out.len()
        };
        assert_eq!(room(u64::MAX, u64::MAX - 1), PACK_ROOM);
        assert!(room(0, 0) < PACK_ROOM);
    }

    #[test]
    fn an_empty_topic_or_source_is_left_out() {
        let mut key = vec![1, 2, 3];
        write_key(&EventGroup::default(), &mut key);
        assert_eq!(key, b"");
    }

    #[test]
    fn the_lease_covers_the_capacity_of_the_buffer_and_the_key() {
        let budget = Budget::new(1 << 20);
        let (key, log) = (vec![b'k'; 300], vec![b'l'; 100]);
        let mut lease = budget.lease(100_000).unwrap();
        let (mut batch, _) = open(&key, &mut lease);
        for _ in 0..50 {
            let logs = Logs {
                bytes: &log,
                events: 1,
            };
            batch.append(logs, &mut lease, 4000);
            let owned = batch.logs.capacity() + batch.key.len() + BATCH_OVERHEAD;
            assert_eq!(batch.lease.bytes(), owned as u64);
            assert!(batch.size() <= batch.logs.capacity(), "room to be sealed");
        }
        drop(lease);
        let capacity = batch.logs.capacity();
        let sealed = batch.seal();
        assert_eq!(sealed.raw.capacity(), capacity, "sealing moves nothing");
        assert_eq!(budget.used(), (capacity + BATCH_OVERHEAD) as u64);
        sealed.held.delivered();
    }

    #[test]
    fn a_batch_grows_by_what_it_needs_when_memory_is_short() {
        let log = vec![b'l'; 1000];
        let logs = Logs {
            bytes: &log,
            events: 1,
        };
        let fixed = OpenBatch::fixed_cost(0);
        let budget = Budget::new((fixed + 2 * log.len()) as u64);
        let mut lease = budget.lease(budget.limit()).unwrap();
        let (mut batch, _) = open(b"", &mut lease);
        batch.append(logs, &mut lease, 1 << 20);
        batch.append(logs, &mut lease, 1 << 20);
        assert_eq!((lease.bytes(), budget.used()), (0, budget.limit()));
        batch.held.dropped(DropReason::Stopped);
    }

    #[test]
    fn events_that_vanish_are_counted_as_lost() {
        let metrics = Arc::new(LogstoreMetrics::default());
        let mut held = Held::nothing(Arc::clone(&metrics));
        held.add(Logs {
            bytes: b"abc",
            events: 3,
        });
        let vanish = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(held)));
        assert_eq!(vanish.is_err(), cfg!(debug_assertions));
        let lost = metrics.events_dropped.at(DropReason::Lost as usize).get();
        assert_eq!((lost, metrics.events_held.get()), (3, 0));
        assert_eq!(metrics.load.bytes_held.get(), 0);
    }
}
