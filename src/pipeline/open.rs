//! The open batches of one lane: one per topic, source and set of tags.
//!
//! Promise: a request is taken whole or not at all, and into a batch that is open already it is
//! taken without an allocation, but for the growth of that batch. A batch stays within the limits
//! of its configuration, unless a single event does not.
//! When there are too many batches: the oldest is sealed. When memory is short: the request is
//! refused and nothing is kept of it.
//! Not here: the lock around it and the clock (`lane`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::batch::{BundleIds, Logs, OpenBatch, write_key};
use super::due::Due;
use super::lane_spool::{Job, LaneSpool, PartJob};
use super::parts::Parts;
use super::queue::SealedQueue;
use super::receipt::{Receipt, Waiter};
use super::spool::BundleId;
use crate::config::{Ack, Batch};
use crate::event::{EventGroup, Reason};
use crate::foundation::budget::{BudgetFull, Lease, Loan};
use crate::foundation::trace_context::TraceContext;
use crate::telemetry::LogstoreMetrics;

/// The largest LogGroup that a store takes (SLS: PostBodyTooLarge), in bytes.
const MAX_LOG_GROUP: usize = 10 << 20;

/// When a batch is sealed.
#[derive(Clone, Copy, Debug)]
struct BatchLimits {
    max_bytes: usize,
    max_events: u32,
    max_age: Duration,
    max_open: usize,
}

impl BatchLimits {
    fn of(limits: &Batch) -> Self {
        Self {
            max_bytes: limits.max_bytes.as_usize(),
            max_events: limits.max_events,
            max_age: limits.max_age.get(),
            max_open: limits.max_open.max(1) as usize,
        }
    }
}

/// Batches that still take events, and where they go when they are sealed.
pub(super) struct OpenBatches {
    /// The batch of each key, by its number. Seeded at random, and never more than `max_open`
    /// entries: clients choose the keys.
    numbers: HashMap<Arc<[u8]>, u64, foldhash::fast::RandomState>,
    /// Batches by number, which is also by age: numbers only grow.
    batches: BTreeMap<u64, OpenBatch>,
    ids: Arc<BundleIds>,
    /// The key of the group at hand; a buffer that is reused.
    key: Vec<u8>,
    limits: BatchLimits,
    metrics: Arc<LogstoreMetrics>,
    sealed: Arc<SealedQueue>,
    safety: Safety,
    due: Arc<Due>,
}

/// How safe events are before their client is answered, and the disk that is there for it.
#[derive(Clone, Default)]
pub(super) struct Safety {
    pub(super) ack: Ack,
    /// How long a client waits for it.
    pub(super) patience: Duration,
    pub(super) spool: Option<Arc<LaneSpool>>,
}

impl OpenBatches {
    /// None yet.
    pub(super) fn new(
        limits: &Batch,
        metrics: Arc<LogstoreMetrics>,
        sealed: Arc<SealedQueue>,
        safety: Safety,
    ) -> Self {
        Self {
            numbers: HashMap::default(),
            batches: BTreeMap::new(),
            ids: match &safety.spool {
                Some(spool) => Arc::clone(spool.ids()),
                None => Arc::new(BundleIds::new()),
            },
            key: Vec::new(),
            limits: BatchLimits::of(limits),
            metrics,
            sealed,
            safety,
            due: Arc::new(Due::new()),
        }
    }

    /// Seals by other limits from now on; clients wait so long for what makes their events safe.
    pub(super) fn change_limits(&mut self, limits: &Batch, patience: Duration) {
        self.limits = BatchLimits::of(limits);
        self.safety.patience = patience;
        self.show_due();
    }

    /// When its oldest batch is to be sealed, for who looks at many lanes.
    pub(super) fn due(&self) -> Arc<Due> {
        Arc::clone(&self.due)
    }

    /// How long a client waits for what makes its events safe.
    pub(super) fn patience(&self) -> Duration {
        self.safety.patience
    }

    /// Adds the events of a request. What `lease` holds beyond their price goes back. Events that go into
    /// a buffer that is paid already have none.
    ///
    /// # Errors
    /// [`Reason::MemoryFull`] when the lease is smaller than the price and cannot grow, and
    /// [`Reason::BodyTooLarge`] when one event is larger than the largest LogGroup. Nothing is kept.
    pub(super) fn add(
        &mut self,
        group: &EventGroup,
        mut lease: Loan<'_>,
    ) -> Result<Receipt, Reason> {
        write_key(group, &mut self.key);
        let logs = Logs {
            bytes: &group.logs,
            events: group.events,
        };
        let ending = OpenBatch::ending(self.key.len());
        let max_part = self.limits.max_bytes.saturating_sub(ending);
        let parts = Parts::new(logs, max_part, self.limits.max_events);
        if parts
            .clone()
            .any(|part| part.bytes.len() + ending > MAX_LOG_GROUP)
        {
            return Err(Reason::BodyTooLarge);
        }
        if self.safety.ack == Ack::Disk
            && let Some(spool) = &self.safety.spool
        {
            spool.enter()?;
        }
        let count = parts.clone().count();
        let ready = self.ready(logs).filter(|_| count == 1);
        // Paid in front, as if each part opened a batch, so that nothing can fail half-way.
        let kept = match ready {
            Some(_) => 0,
            None => group.logs.len() + OpenBatch::fixed_cost(self.key.len()) * count,
        };
        let copies = self.copies(logs);
        let price = (kept + copies.unwrap_or_default()) as u64;
        if lease.bytes() < price {
            lease
                .resize(price)
                .map_err(|BudgetFull| Reason::MemoryFull)?;
        }
        let (waiter, receipt) = self.waiter(count);
        // Apart, so that no batch grows at their cost.
        let mut copies = copies.map(|bytes| lease.split(bytes as u64));
        for part in parts {
            let id = ready.unwrap_or_else(|| self.id_for(part));
            let leases = (&mut lease, copies.as_mut());
            self.place((part, id), leases, (waiter.as_ref(), group.span));
        }
        self.show();
        Ok(receipt)
    }

    /// Bytes that the disk gets as copies, where it gets any.
    fn copies(&self, logs: Logs<'_>) -> Option<usize> {
        let to_disk = self.safety.ack == Ack::Disk && self.safety.spool.is_some();
        to_disk.then_some(logs.bytes.len())
    }

    /// The batch that takes `logs` without growing.
    fn ready(&self, logs: Logs<'_>) -> Option<BundleId> {
        let number = *self.numbers.get(self.key.as_slice())?;
        let batch = self.with_room(number, logs)?;
        batch.has_spare(logs.bytes.len()).then(|| batch.id())
    }

    /// Who waits for so many parts, where somebody does.
    fn waiter(&self, parts: usize) -> (Option<Waiter>, Receipt) {
        let Safety { ack, patience, .. } = self.safety;
        let overdue = match ack {
            Ack::Logstore => Reason::AckTimeout,
            Ack::Memory | Ack::Disk => Reason::SpoolFailed,
        };
        match ack {
            Ack::Memory => (None, Receipt::Held),
            Ack::Disk | Ack::Logstore => {
                let (waiter, receipt) = Waiter::new(parts, patience, overdue);
                (Some(waiter), receipt)
            }
        }
    }

    /// What a group costs at most ([`OpenBatches::add`]).
    ///
    /// # Errors
    /// [`Reason::BodyTooLarge`] when one event is larger than the largest LogGroup.
    pub(super) fn price(&self, group: &EventGroup) -> Result<u64, Reason> {
        let mut key = Vec::new();
        write_key(group, &mut key);
        let logs = Logs {
            bytes: &group.logs,
            events: group.events,
        };
        let ending = OpenBatch::ending(key.len());
        let max_part = self.limits.max_bytes.saturating_sub(ending);
        let parts = Parts::new(logs, max_part, self.limits.max_events);
        let too_large = |part: Logs<'_>| part.bytes.len() + ending > MAX_LOG_GROUP;
        if parts.clone().any(too_large) {
            return Err(Reason::BodyTooLarge);
        }
        let batches = OpenBatch::fixed_cost(key.len()) * parts.count();
        Ok((group.logs.len() + self.copies(logs).unwrap_or_default() + batches) as u64)
    }

    /// Seals every batch whose first event is `max_age` old.
    pub(super) fn seal_aged(&mut self, now: Instant) {
        while let Some(oldest) = self.batches.first_entry()
            && now.duration_since(oldest.get().opened()) >= self.limits.max_age
        {
            let number = *oldest.key();
            self.seal(number);
        }
        self.show();
    }

    /// Seals every batch.
    pub(super) fn seal_all(&mut self) {
        while let Some((&number, _)) = self.batches.first_key_value() {
            self.seal(number);
        }
        self.show();
    }

    /// Puts events into the batch of `id`. Of the leases the first pays for the batch, the second for what
    /// the disk gets.
    fn place(
        &mut self,
        (part, id): (Logs<'_>, BundleId),
        (lease, copies): (&mut Loan<'_>, Option<&mut Lease>),
        (waiter, span): (Option<&Waiter>, Option<TraceContext>),
    ) {
        let number = id.number;
        let is_first = self.batches.is_empty();
        let batch = self.batches.entry(number).or_insert_with(|| {
            let key: Arc<[u8]> = self.key.as_slice().into();
            self.numbers.insert(Arc::clone(&key), number);
            let now = Instant::now();
            if is_first {
                self.due.set(Some(now + self.limits.max_age));
            }
            OpenBatch::new(id, key, lease, Arc::clone(&self.metrics), now)
        });
        batch.append(part, lease, self.limits.max_bytes);
        if let Some(span) = span {
            batch.link(span);
        }
        match (waiter.cloned(), &self.safety.spool, copies) {
            (None, ..) => {}
            (Some(waiter), Some(spool), Some(copies)) => {
                let lease = copies.split(part.bytes.len() as u64);
                log_part(spool, batch, part, (waiter, lease));
            }
            (Some(waiter), ..) => batch.await_delivery(waiter, part.events),
        }
        let full = batch.size() >= self.limits.max_bytes
            || batch.events() >= u64::from(self.limits.max_events)
            || batch.is_out_of_parts();
        if full {
            self.seal(number);
        }
    }

    /// The id of the batch that takes `part`: the one with its key, or a new one where there is none
    /// or it has no room.
    fn id_for(&mut self, part: Logs<'_>) -> BundleId {
        if let Some(&number) = self.numbers.get(self.key.as_slice()) {
            if let Some(batch) = self.with_room(number, part) {
                return batch.id();
            }
            self.seal(number);
        }
        if self.batches.len() >= self.limits.max_open
            && let Some((&oldest, _)) = self.batches.first_key_value()
        {
            self.seal(oldest);
            self.metrics.batches_sealed_early.inc();
        }
        self.ids.next()
    }

    fn with_room(&self, number: u64, part: Logs<'_>) -> Option<&OpenBatch> {
        let batch = self.batches.get(&number)?;
        let has_room = batch.size() + part.bytes.len() <= self.limits.max_bytes
            && batch.events() + u64::from(part.events) <= u64::from(self.limits.max_events);
        has_room.then_some(batch)
    }

    fn seal(&mut self, number: u64) {
        if let Some(batch) = self.batches.remove(&number) {
            self.numbers.remove(batch.key());
            self.show_due();
            self.metrics.batches_waiting.add(1);
            let batch = batch.seal();
            match &self.safety.spool {
                // Who waits for the store waits for the workers, not for the disk.
                Some(spool) if batch.waiters.is_empty() && spool.wants() => {
                    spool.push(Job::Spill(batch));
                }
                _ => self.sealed.push(batch),
            }
        }
    }

    fn show_due(&self) {
        let oldest = self.batches.first_key_value();
        let opened = oldest.map(|(_, batch)| batch.opened());
        self.due
            .set(opened.map(|opened| opened + self.limits.max_age));
    }

    fn show(&self) {
        self.metrics.batches_open.set(self.batches.len() as u64);
    }
}

/// Gives some events of a batch to the disk.
fn log_part(
    spool: &Arc<LaneSpool>,
    batch: &mut OpenBatch,
    part: Logs<'_>,
    (waiter, lease): (Waiter, Lease),
) {
    let Some(number) = batch.next_part() else {
        // A batch is sealed before that.
        waiter.failed(Reason::Internal);
        return;
    };
    spool.push(Job::Part(PartJob {
        id: batch.id(),
        number,
        events: part.events,
        key: Arc::clone(batch.key()),
        logs: part.bytes.to_vec(),
        lease,
        waiter,
    }));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prost::Message;

    use crate::config::Batch;
    use crate::event::{EventGroup, Reason};
    use crate::foundation::units::{ByteSize, Span};
    use crate::pipeline::batch::BATCH_OVERHEAD;
    use crate::pipeline::testing::{IdleLane, events, names_in, some_events, wide};

    const MEMORY: u64 = 64 << 20;

    #[tokio::test]
    async fn events_of_one_topic_source_and_tags_share_a_batch_and_no_others() {
        let lane = IdleLane::new(&wide(), MEMORY);
        let plain = events("a", ["1"]);
        let mut tagged = events("a", ["2"]);
        tagged.put_tag(b"k", b"v");
        let topic = EventGroup {
            topic: b"a".to_vec(),
            source: Vec::new(),
            ..events("", ["3"])
        };
        for group in [&plain, &tagged, &topic, &plain, &tagged, &topic] {
            lane.submit(group);
        }
        assert_eq!(lane.metrics.batches_open.get(), 3);
        let names: Vec<_> = lane.rest().await.iter().map(names_in).collect();
        assert_eq!(names, [["1", "1"], ["2", "2"], ["3", "3"]]);
        assert_eq!(lane.metrics.batches_open.get(), 0);
    }

    #[tokio::test]
    async fn pack_ids_count_the_batches_of_a_lane() {
        let lane = IdleLane::new(&wide(), MEMORY);
        for source in ["a", "b"] {
            lane.submit(&some_events(source, 1));
        }
        let ids: Vec<_> = lane
            .rest()
            .await
            .iter()
            .map(|g| g.log_tags[0].value.clone())
            .collect();
        assert_eq!(ids[0][..16], ids[1][..16]);
        assert_eq!((&ids[0][16..], &ids[1][16..]), (&b"-1"[..], &b"-2"[..]));
    }

    #[tokio::test]
    async fn a_batch_that_has_no_room_is_sealed_and_no_batch_exceeds_max_bytes() {
        let limits = Batch {
            max_bytes: ByteSize::kib(4),
            ..wide()
        };
        let lane = IdleLane::new(&limits, MEMORY);
        for _ in 0..100 {
            lane.submit(&some_events("a", 3));
        }
        let all = lane.rest().await;
        assert_eq!(all.iter().map(|g| g.logs.len()).sum::<usize>(), 300);
        assert!(all.iter().all(|g| g.encoded_len() <= 4096));
        assert!(all.len() < 12, "and they are nearly full: {}", all.len());
    }

    #[tokio::test]
    async fn a_batch_is_sealed_as_soon_as_it_holds_max_events() {
        let limits = Batch {
            max_events: 5,
            ..wide()
        };
        let lane = IdleLane::new(&limits, MEMORY);
        lane.submit(&some_events("a", 3));
        lane.submit(&some_events("a", 2));
        assert_eq!(lane.next().await.unwrap().logs.len(), 5);
        lane.submit(&some_events("a", 3));
        lane.submit(&some_events("a", 3));
        let rest: Vec<_> = lane.rest().await.iter().map(|g| g.logs.len()).collect();
        assert_eq!(rest, [3, 3], "a request is not torn to fill a batch");
    }

    #[tokio::test]
    async fn a_request_larger_than_a_batch_becomes_several_and_loses_nothing() {
        let limits = Batch {
            max_bytes: ByteSize::kib(64),
            ..wide()
        };
        let lane = IdleLane::new(&limits, MEMORY);
        let names: Vec<String> = (0..5000).map(|n| format!("{n:0>100}")).collect();
        lane.submit(&events("a", &names));
        let all = lane.rest().await;
        assert!(all.iter().all(|g| g.encoded_len() <= 64 << 10));
        let found: Vec<String> = all.iter().flat_map(names_in).collect();
        assert_eq!(found, names, "in their order");
        assert_eq!(lane.lane.budget().used(), 0);
    }

    #[tokio::test]
    async fn one_batch_too_many_seals_the_oldest() {
        let limits = Batch {
            max_open: 3,
            ..wide()
        };
        let lane = IdleLane::new(&limits, MEMORY);
        for source in ["1", "2", "3", "1", "4", "5"] {
            lane.submit(&some_events(source, 1));
        }
        assert_eq!(lane.metrics.batches_open.get(), 3);
        assert_eq!(lane.metrics.batches_sealed_early.get(), 2);
        assert_eq!(&lane.next().await.unwrap().source.unwrap()[..], b"1");
        assert_eq!(&lane.next().await.unwrap().source.unwrap()[..], b"2");
        assert_eq!(lane.rest().await.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_sealed_when_its_first_event_is_old_and_not_before() {
        let limits = Batch {
            max_age: Span::secs(2),
            ..wide()
        };
        let lane = IdleLane::new(&limits, MEMORY);
        lane.submit(&some_events("a", 1));
        tokio::time::advance(Duration::from_millis(1500)).await;
        lane.submit(&some_events("a", 1));
        lane.submit(&some_events("b", 1));
        let seal_aged = || lane.lane.seal_aged(tokio::time::Instant::now());
        seal_aged();
        assert_eq!(lane.metrics.batches_waiting.get(), 0);
        tokio::time::advance(Duration::from_millis(500)).await;
        seal_aged();
        assert_eq!(lane.next().await.unwrap().logs.len(), 2);
        assert_eq!(lane.metrics.batches_open.get(), 1);
        assert_eq!(lane.rest().await.len(), 1);
    }

    #[tokio::test]
    async fn a_request_that_memory_cannot_hold_is_refused_whole() {
        let limits = Batch {
            max_events: 10,
            ..wide()
        };
        let group = some_events("a", 100);
        let size = group.logs.len() as u64;
        let lane = IdleLane::new(&limits, size + 9 * BATCH_OVERHEAD as u64);
        let lease = lane.lane.budget().lease(size).unwrap();
        let refusal = lane.lane.submit(&group, lease).unwrap_err();
        assert_eq!(refusal.reason(), Reason::MemoryFull);
        assert_eq!(lane.lane.budget().used(), 0);
        assert_eq!(lane.metrics.events_held.get(), 0);
        assert!(lane.rest().await.is_empty());
    }

    #[tokio::test]
    async fn events_for_which_their_batch_has_paid_already_take_no_memory() {
        let lane = IdleLane::new(&wide(), MEMORY);
        let budget = lane.lane.budget();
        // A buffer that doubles has room for more of the same.
        (0..9).for_each(|_| lane.submit(&some_events("a", 1)));
        let used = budget.used();
        let rest = budget.lease(MEMORY - used).unwrap();
        let nothing = || budget.lease(0).unwrap();
        let group = some_events("a", 1);
        drop(lane.lane.submit(&group, nothing()).unwrap());
        assert_eq!(
            (budget.used(), lane.metrics.events_held.get()),
            (MEMORY, 10)
        );
        // Not what opens a batch, and not what has no room in the buffer.
        for group in [some_events("b", 1), some_events("a", 100)] {
            let refusal = lane.lane.submit(&group, nothing()).unwrap_err();
            assert_eq!(refusal.reason(), Reason::MemoryFull);
        }
        drop(rest);
        assert_eq!(budget.used(), used);
        let all = lane.rest().await;
        assert_eq!((all.len(), all[0].logs.len()), (1, 10));
    }

    #[tokio::test]
    async fn many_tiny_batches_are_charged_for_more_than_their_bytes() {
        let lane = IdleLane::new(&wide(), MEMORY);
        for source in 0..100 {
            lane.submit(&some_events(&source.to_string(), 1));
        }
        assert!(lane.lane.budget().used() > 100 * BATCH_OVERHEAD as u64);
        assert_eq!(lane.rest().await.len(), 100);
        assert_eq!(lane.lane.budget().used(), 0);
    }

    #[tokio::test]
    async fn a_lease_that_is_larger_than_what_is_kept_goes_back() {
        let lane = IdleLane::new(&wide(), MEMORY);
        let lease = lane.lane.budget().lease(MEMORY).unwrap();
        drop(lane.lane.submit(&some_events("a", 1), lease).unwrap());
        assert!(lane.lane.budget().used() < 2000);
        lane.rest().await;
    }

    #[tokio::test]
    async fn a_closed_lane_refuses_and_a_request_without_events_opens_nothing() {
        let lane = IdleLane::new(&wide(), MEMORY);
        lane.submit(&some_events("a", 0));
        assert!(lane.rest().await.is_empty());
        let lease = lane.lane.budget().lease(10_000).unwrap();
        let refusal = lane.lane.submit(&some_events("a", 1), lease).unwrap_err();
        assert_eq!(refusal.reason(), Reason::Stopping);
        assert_eq!(lane.lane.budget().used(), 0);
    }
}
