//! The jobs of a lane's disk, done.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Job, Jobs, LaneSpool, PartJob, State, UPKEEP};
use crate::event::Reason;
use crate::foundation::clock;
use crate::pipeline::batch::{Held, SealedBatch};
use crate::pipeline::spool::{AppendError, BundleId, Counts, Fault, InDoubt, Log, Part, PartId};
use crate::telemetry::DropReason;

/// Bytes of parts that share a sync, at most.
const MAX_GROUP: u64 = 8 << 20;
/// Bytes of earlier lives that are looked through between other jobs.
const RECOVERED: u64 = 16 << 20;

/// What was appended, and is told once it is synced.
enum Appended {
    Part(PartJob),
    Batch(SealedBatch),
}

impl Appended {
    fn part_id(&self) -> PartId {
        match self {
            Self::Part(part) => PartId {
                bundle: part.id,
                number: part.number,
            },
            Self::Batch(batch) => PartId {
                bundle: batch.id,
                number: 0,
            },
        }
    }
}

/// What is done once the rest is on disk.
#[derive(Default)]
struct Then {
    released: Vec<(BundleId, Held)>,
    done: Vec<BundleId>,
    recover: bool,
}

impl LaneSpool {
    /// Does the jobs until there are none.
    pub(super) fn work(self: &Arc<Self>) {
        let mut last = None::<Instant>;
        loop {
            if let Some(last) = last
                && self.is_awaited()
            {
                std::thread::sleep(self.used.commit_interval.saturating_sub(last.elapsed()));
            }
            let jobs = {
                let mut jobs = self.jobs();
                if jobs.queue.is_empty() {
                    jobs.running = false;
                    return;
                }
                take_group(&mut jobs)
            };
            last = Some(Instant::now());
            let recover = self.commit(jobs);
            self.upkeep();
            if recover && !self.jobs().closed {
                self.jobs().queue.push_back(Job::Recover);
            }
        }
    }

    /// Whether clients wait for what is in the queue, and could share the next sync with others.
    fn is_awaited(&self) -> bool {
        let jobs = self.jobs();
        jobs.bytes > 0 && jobs.bytes < MAX_GROUP && !jobs.closed
    }

    /// Appends, syncs, and tells. Whether there is more to recover.
    fn commit(&self, jobs: Vec<Job>) -> bool {
        let now = clock::unix_millis();
        let (mut appended, mut then) = (Vec::new(), Then::default());
        let ticket = {
            let mut log = self.log();
            for job in jobs {
                match job {
                    Job::Part(part) => self.append_part(&mut log, part, now, &mut appended),
                    Job::Spill(batch) => {
                        self.spill(&mut log, batch, now, (&mut appended, &mut then))
                    }
                    Job::Done(id) => then.done.push(id),
                    Job::Recover => then.recover = true,
                    Job::Tend => {}
                }
            }
            log.begin_sync()
        };
        if let Some(ticket) = ticket {
            let outcome = ticket.run();
            let synced = self.log().finish_sync(outcome);
            if let Err(doubt) = synced {
                self.append_again(&doubt, now, &mut appended);
            }
        }
        for appended in appended {
            match appended {
                Appended::Part(part) => part.waiter.safe(),
                Appended::Batch(batch) => self.let_go(batch),
            }
        }
        for (id, held) in then.released {
            self.wait_on_disk(id, held);
        }
        {
            let mut log = self.log();
            for id in then.done {
                self.partial().remove(&id);
                log.done(id);
            }
        }
        then.recover && self.recover()
    }

    fn append_part(&self, log: &mut Log, part: PartJob, now: u64, appended: &mut Vec<Appended>) {
        let result = log.append(
            &Part {
                bundle: part.id,
                number: part.number,
                last: false,
                events: part.events,
                key: part.key.as_deref(),
                logs: &part.logs,
            },
            now,
        );
        match result {
            Ok(()) => {
                self.now(State::Well);
                appended.push(Appended::Part(part));
            }
            Err(error) => self.refuse(part, &error),
        }
    }

    fn refuse(&self, part: PartJob, error: &AppendError) {
        self.partial().insert(part.id);
        part.waiter.failed(self.failed(error));
    }

    /// Gives a batch to the disk.
    fn spill(
        &self,
        log: &mut Log,
        batch: SealedBatch,
        now: u64,
        (appended, then): (&mut Vec<Appended>, &mut Then),
    ) {
        if batch.logged {
            if self.partial().contains(&batch.id) {
                // Only memory has all of it.
                self.sealed.push(batch);
            } else {
                self.metrics.batches_waiting.sub(1);
                let (id, held) = batch.into_held();
                then.released.push((id, held));
            }
            return;
        }
        let (logs, key) = batch.parts();
        let result = log.append(
            &Part {
                bundle: batch.id,
                number: 0,
                last: true,
                events: u32::try_from(batch.held.events()).unwrap_or(u32::MAX),
                key: Some(key),
                logs,
            },
            now,
        );
        match result {
            Ok(()) => {
                self.now(State::Well);
                appended.push(Appended::Batch(batch));
            }
            Err(error) => {
                self.failed(&error);
                self.sealed.push(batch);
            }
        }
    }

    /// A sync failed: what it was for is written once more, to another file.
    fn append_again(&self, doubt: &InDoubt, now: u64, appended: &mut Vec<Appended>) {
        tracing::warn!(error = %doubt, "the disk did not take what was written; it is written again");
        let (good, doubtful): (Vec<Appended>, Vec<Appended>) = std::mem::take(appended)
            .into_iter()
            .partition(|it| doubt.parts.binary_search(&it.part_id()).is_err());
        *appended = good;
        let before = appended.len();
        let ticket = {
            let mut log = self.log();
            let mut nothing = Then::default();
            for it in doubtful {
                match it {
                    Appended::Part(part) => self.append_part(&mut log, part, now, appended),
                    Appended::Batch(batch) => {
                        self.spill(&mut log, batch, now, (appended, &mut nothing));
                    }
                }
            }
            log.begin_sync()
        };
        let Some(ticket) = ticket else { return };
        let outcome = ticket.run();
        let synced = self.log().finish_sync(outcome);
        let Err(doubt) = synced else { return };
        tracing::error!(error = %doubt, "the disk does not take what is written");
        self.now(State::Failing);
        let again = appended.split_off(before);
        for it in again {
            match it {
                it if doubt.parts.binary_search(&it.part_id()).is_err() => appended.push(it),
                Appended::Part(part) => {
                    self.partial().insert(part.id);
                    part.waiter.failed(Reason::SpoolFailed);
                }
                Appended::Batch(batch) => self.sealed.push(batch),
            }
        }
    }

    /// The disk has a batch: memory lets it go.
    fn let_go(&self, batch: SealedBatch) {
        self.metrics.batches_waiting.sub(1);
        let (id, held) = batch.into_held();
        self.wait_on_disk(id, held);
    }

    /// A bundle waits on disk from now on.
    fn wait_on_disk(&self, id: BundleId, held: Held) {
        if self.log().release(id) {
            held.to_disk();
            self.backlog.fetch_add(1, Ordering::AcqRel);
            self.ready.notify_one();
        } else {
            tracing::error!(bundle = %id, "a batch that was to wait on disk is not there");
            held.dropped(DropReason::Lost);
        }
    }

    /// Looks through some of what earlier lives have left. Whether there is more.
    fn recover(&self) -> bool {
        let mut log = self.log();
        let before = log.counts();
        let through = match log.recover(RECOVERED) {
            Ok(through) => through,
            Err(error) => {
                tracing::warn!(%error, "what an earlier life has left cannot be read; it is tried again");
                std::thread::sleep(Duration::from_millis(200));
                false
            }
        };
        let after = log.counts();
        drop(log);
        let events = after.recovered_events - before.recovered_events;
        self.metrics.spool.recovered.add(events);
        self.metrics.spool.waiting.add(events);
        let bundles = after.recovered_bundles - before.recovered_bundles;
        self.backlog.fetch_add(bundles, Ordering::AcqRel);
        if through {
            self.ready.notify_waiters();
            if after.recovered_events > 0 {
                let events = after.recovered_events;
                tracing::info!(events, "events of an earlier life wait on disk");
            }
        }
        !through
    }

    /// What is due from time to time.
    fn upkeep(&self) {
        let now = clock::unix_millis();
        let last = self.checked.swap(now, Ordering::AcqRel);
        if now.saturating_sub(last) < UPKEEP {
            self.checked.store(last, Ordering::Release);
            self.changed.store(true, Ordering::Release);
            return;
        }
        self.changed.store(false, Ordering::Release);
        let mut log = self.log();
        let before = log.counts();
        log.expire(now);
        if let Err(error) = log.checkpoint() {
            tracing::debug!(%error, "what was delivered could not be noted now");
        }
        let after = log.counts();
        drop(log);
        let gone = |before: u64, after: u64| after.saturating_sub(before);
        let expired = gone(before.expired_events, after.expired_events);
        let shown = &self.metrics.spool;
        shown.expired.add(expired);
        shown.waiting.sub(expired);
        self.note_shed(&after);
        shown.bytes.set(after.disk_bytes);
        shown.segments.set(after.segments);
        shown.parts.set(after.appended_parts);
        shown
            .damaged
            .set(after.damaged_records + after.garbage + after.torn_tails);
        shown
            .failures
            .set(after.failed_appends + after.failed_syncs);
    }

    /// Events that made room for newer ones are held no longer.
    fn note_shed(&self, counts: &Counts) {
        let before = self.shed.swap(counts.dropped_events, Ordering::AcqRel);
        let shed = counts.dropped_events.saturating_sub(before);
        self.metrics.spool.shed.add(shed);
        self.metrics.spool.waiting.sub(shed);
    }

    /// What an error of the disk means for clients.
    fn failed(&self, error: &AppendError) -> Reason {
        let (state, reason) = match error {
            AppendError::Full(_) => (State::Full, Reason::SpoolFull),
            AppendError::Disk {
                fault: Fault::NoSpace,
                ..
            } => (State::Full, Reason::SpoolFull),
            _ => (State::Failing, Reason::SpoolFailed),
        };
        if self.now(state) {
            tracing::error!(%error, "the disk takes no events; it is tried again");
        }
        reason
    }

    /// Whether that is news.
    fn now(&self, state: State) -> bool {
        let before = self.state.swap(state as u8, Ordering::AcqRel);
        self.metrics.spool.state.set(state as u64);
        before != state as u8
    }
}

/// Jobs that share a sync.
fn take_group(jobs: &mut Jobs) -> Vec<Job> {
    let mut group = Vec::new();
    let mut bytes = 0;
    while bytes < MAX_GROUP
        && let Some(job) = jobs.queue.pop_front()
    {
        bytes += match &job {
            Job::Part(part) => {
                jobs.bytes -= part.logs.len() as u64;
                part.logs.len() as u64
            }
            Job::Spill(batch) => batch.raw.len() as u64,
            Job::Done(_) | Job::Recover | Job::Tend => 0,
        };
        group.push(job);
    }
    group
}
