//! The jobs of a lane's disk, done.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Ending, Job, Jobs, LaneSpool, PartJob, State, UPKEEP};
use crate::event::Reason;
use crate::foundation::clock;
use crate::pipeline::batch::{Held, SealedBatch};
use crate::pipeline::spool::{AppendError, BundleId, Fault, InDoubt, Log, Part, PartId};
use crate::telemetry::DropReason;

/// Bytes of parts that share a sync, at most.
const MAX_GROUP: u64 = 8 << 20;
/// Bytes of earlier lives that are looked through between other jobs.
const RECOVERED: u64 = 16 << 20;

/// What was to be appended, and is told once that is synced.
enum Appended {
    Part(PartJob),
    Batch(SealedBatch),
    /// Of this one nothing was: the disk did not take it.
    Refused(SealedBatch),
}

impl Appended {
    fn part_id(&self) -> PartId {
        match self {
            Self::Part(part) => PartId {
                bundle: part.id,
                number: part.number,
            },
            Self::Batch(batch) | Self::Refused(batch) => PartId {
                bundle: batch.id,
                number: 0,
            },
        }
    }
}

/// What is done once the rest is on disk.
#[derive(Default)]
struct Then {
    /// Batches of which the parts were appended before.
    released: Vec<SealedBatch>,
    done: Vec<BundleId>,
    told: Vec<oneshot::Sender<()>>,
    recover: bool,
}

impl LaneSpool {
    /// Does the jobs until there are none.
    pub(super) fn work(self: &Arc<Self>) {
        let _running = Running(self);
        loop {
            std::thread::sleep(self.pause());
            let jobs = {
                let mut jobs = self.jobs();
                if jobs.queue.is_empty() {
                    jobs.running = false;
                    return;
                }
                take_group(&mut jobs)
            };
            let recover = self.commit(jobs);
            self.upkeep();
            if recover && !self.jobs().closed {
                self.jobs().queue.push_back(Job::Recover);
            }
        }
    }

    /// How long what clients wait for may wait for others to share its sync. A sync costs as much as
    /// some tens of requests, so without it a disk that is quick would be asked for each request alone.
    fn pause(&self) -> Duration {
        let jobs = self.jobs();
        match jobs.synced {
            Some(last) if jobs.bytes > 0 && jobs.bytes < MAX_GROUP && !jobs.closed => {
                self.used.commit_interval.saturating_sub(last.elapsed())
            }
            _ => Duration::ZERO,
        }
    }

    /// Appends, syncs, and tells. Whether there is more to recover.
    fn commit(self: &Arc<Self>, jobs: Vec<Job>) -> bool {
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
                    Job::Tell(who) => then.told.push(who),
                    Job::Recover => then.recover = true,
                    Job::Tend => {}
                }
            }
            log.begin_sync()
        };
        if let Some(ticket) = ticket {
            let began = Instant::now();
            self.jobs().synced = Some(began);
            let outcome = ticket.run();
            self.metrics.spool.sync.observe(began.elapsed());
            let synced = self.log().finish_sync(outcome);
            if let Err(doubt) = synced {
                self.append_again(&doubt, now, &mut appended);
            }
        }
        for appended in appended {
            match appended {
                Appended::Part(PartJob {
                    waiter,
                    logs,
                    lease,
                    ..
                }) => {
                    // Before the client hears of it.
                    drop((logs, lease));
                    waiter.safe();
                }
                Appended::Batch(batch) => self.let_go(batch),
                Appended::Refused(batch) => self.keep_in_memory(batch),
            }
        }
        for batch in then.released {
            let whole = is_whole(&self.log(), &batch);
            if whole {
                self.let_go(batch);
            } else {
                // Only memory has all of it.
                self.sealed.push(batch);
            }
        }
        {
            let mut log = self.log();
            for id in then.done {
                log.done(id);
            }
        }
        self.progress.fetch_add(1, Ordering::AcqRel);
        for who in then.told {
            // Who does not listen any more has given up.
            if who.send(()).is_err() {}
        }
        then.recover && self.recover()
    }

    fn append_part(&self, log: &mut Log, part: PartJob, now: u64, appended: &mut Vec<Appended>) {
        let append = |log: &mut Log, key| {
            let part = Part {
                bundle: part.id,
                number: part.number,
                last: false,
                events: part.events,
                key,
                logs: &part.logs,
            };
            log.append(&part, now)
        };
        let first = (part.number == 0).then_some(&*part.key);
        let result = match append(log, first) {
            // The disk has not taken the first one.
            Err(AppendError::Keyless) => append(log, Some(&*part.key)),
            other => other,
        };
        match result {
            Ok(()) => {
                self.now(State::Well);
                appended.push(Appended::Part(part));
            }
            Err(error) => self.refuse(part, &error),
        }
    }

    fn refuse(&self, part: PartJob, error: &AppendError) {
        part.waiter.failed(self.failed(error));
    }

    /// Gives a batch to the disk.
    fn spill(
        self: &Arc<Self>,
        log: &mut Log,
        batch: SealedBatch,
        now: u64,
        (appended, then): (&mut Vec<Appended>, &mut Then),
    ) {
        let batch_id = batch.id;
        let partial = batch.logged && !is_whole(log, &batch);
        if partial && self.closing.load(Ordering::Acquire) {
            // All of it is written once more, under another id: there is no later in which the workers
            // could send it from memory.
            let whole = batch.anew(self.ids.next(), Ending::of(self, batch_id));
            self.append_batch(log, whole, now, appended);
        } else if batch.logged {
            then.released.push(batch);
        } else {
            self.append_batch(log, batch, now, appended);
        }
    }

    /// Appends a batch of which the disk has nothing; one that it does not take stays in memory.
    fn append_batch(
        &self,
        log: &mut Log,
        batch: SealedBatch,
        now: u64,
        appended: &mut Vec<Appended>,
    ) {
        let (logs, key) = batch.parts();
        let result = log.append(
            &Part {
                bundle: batch.id,
                number: 0,
                last: true,
                events: batch.events,
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
                appended.push(Appended::Refused(batch));
            }
        }
    }

    /// The disk has nothing of a batch under its id, and the workers get it.
    fn keep_in_memory(&self, batch: SealedBatch) {
        self.sealed.push(batch);
    }

    /// A stop: what the disk has of a batch stays there, and memory lets it go; what it does not have is
    /// lost.
    pub(in crate::pipeline) fn leave(&self, batch: SealedBatch) {
        self.metrics.batches_waiting.sub(1);
        let bundle = batch.bundle();
        let mut held = batch.held;
        let known = bundle.map_or(0, |id| self.log().events_of(id));
        let bytes = held.bytes();
        let there = held.take(known, bytes);
        match bundle {
            Some(id) if there.events() > 0 => {
                self.wait_on_disk(id, there);
            }
            _ => there.dropped(DropReason::Stopped),
        }
        held.dropped(DropReason::Stopped);
    }

    /// A sync failed: what it was for is written once more, to another file.
    fn append_again(&self, doubt: &InDoubt, now: u64, appended: &mut Vec<Appended>) {
        tracing::warn!(error = %doubt, "the disk did not take what was written; it is written again");
        // What is not written again is whole in memory alone (`is_whole`).
        let in_doubt = |it: &Appended| doubt.parts.binary_search(&it.part_id()).is_ok();
        let (doubtful, good): (Vec<Appended>, Vec<Appended>) =
            std::mem::take(appended).into_iter().partition(in_doubt);
        *appended = good;
        let mut again = Vec::new();
        let ticket = {
            let mut log = self.log();
            for it in doubtful {
                match it {
                    Appended::Part(part) => self.append_part(&mut log, part, now, &mut again),
                    Appended::Batch(batch) | Appended::Refused(batch) => {
                        self.append_batch(&mut log, batch, now, &mut again);
                    }
                }
            }
            log.begin_sync()
        };
        let synced = ticket.map_or(Ok(()), |ticket| {
            let began = Instant::now();
            let outcome = ticket.run();
            self.metrics.spool.sync.observe(began.elapsed());
            self.log().finish_sync(outcome)
        });
        let lost = match synced {
            Ok(()) => Vec::new(),
            Err(doubt) => {
                tracing::error!(error = %doubt, "the disk does not take what is written");
                self.now(State::Failing);
                doubt.parts
            }
        };
        for it in again {
            if lost.binary_search(&it.part_id()).is_err() {
                appended.push(it);
                continue;
            }
            match it {
                Appended::Part(part) => part.waiter.failed(Reason::SpoolFailed),
                Appended::Batch(batch) | Appended::Refused(batch) => self.keep_in_memory(batch),
            }
        }
    }

    /// The disk has a batch: memory lets it go.
    fn let_go(&self, batch: SealedBatch) {
        self.metrics.batches_waiting.sub(1);
        let there = self.wait_on_disk(batch.id, batch.held);
        if let Some(other) = batch.instead_of.filter(|_| there) {
            other.one_less();
        }
    }

    /// A bundle waits on disk from now on. False when it is not there.
    fn wait_on_disk(&self, id: BundleId, held: Held) -> bool {
        let events = held.events();
        let mut log = self.log();
        // Before anybody can take it.
        held.moved_to_disk();
        if log.release(id) {
            // Under the lock, as in all places: no bundle is forgotten.
            self.backlog.fetch_add(1, Ordering::AcqRel);
            drop(log);
            self.ready.notify_one();
            return true;
        }
        drop(log);
        tracing::error!(bundle = %id, events, "a batch that was to wait on disk is not there");
        let dropped = &self.metrics.events_dropped;
        dropped.at(DropReason::Lost as usize).add(events);
        self.metrics.spool.waiting.sub(events);
        false
    }

    /// Looks through some of what earlier lives have left. Whether there is more.
    fn recover(&self) -> bool {
        let mut log = self.log();
        let before = log.counts();
        let recovered = log.recover(RECOVERED);
        let after = log.counts();
        let events = after.recovered_events - before.recovered_events;
        self.metrics.spool.recovered.add(events);
        self.metrics.spool.waiting.add(events);
        let bundles = after.recovered_bundles - before.recovered_bundles;
        self.backlog.fetch_add(bundles, Ordering::AcqRel);
        drop(log);
        let through = recovered.unwrap_or_else(|error| {
            tracing::warn!(%error, "what an earlier life has left cannot be read; it is tried again");
            std::thread::sleep(Duration::from_millis(200));
            false
        });
        if through {
            self.recovering.store(false, Ordering::Release);
            self.metrics.spool.recovering.set(0);
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
        self.changed.store(true, Ordering::Release);
        {
            let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
            if checked.elapsed() < UPKEEP {
                return;
            }
            *checked = Instant::now();
        }
        self.changed.store(false, Ordering::Release);
        let ticket = {
            let mut log = self.log();
            log.expire(clock::unix_millis());
            log.begin_checkpoint()
        };
        if let Some(ticket) = ticket {
            let outcome = ticket.run();
            let noted = self.log().finish_checkpoint(outcome);
            if let Err(error) = noted {
                tracing::debug!(%error, "what was delivered could not be noted now");
            }
        }
        self.mirror();
    }

    /// What an error of the disk means for clients.
    fn failed(&self, error: &AppendError) -> Reason {
        let (state, reason) = match error {
            AppendError::Full(_) => (State::Full, Reason::SpoolFull),
            AppendError::Disk {
                fault: Fault::NoSpace,
                ..
            } => (State::Full, Reason::SpoolFull),
            AppendError::Disk { .. } => (State::Failing, Reason::SpoolFailed),
            // Nothing is wrong with the disk.
            AppendError::TooLarge | AppendError::Keyless | AppendError::Repeated(_) => {
                tracing::error!(%error, "a part was not written to disk");
                return Reason::SpoolFailed;
            }
        };
        if self.now(state) {
            tracing::error!(%error, "the disk takes no events; it is tried again");
        }
        reason
    }

    /// Whether that is news.
    fn now(&self, state: State) -> bool {
        self.state.store(state as u8, Ordering::Release);
        let shown = &self.metrics.spool.state;
        let before = shown.get();
        shown.set(state as u64);
        before != state as u64
    }
}

/// A task works on the jobs. When it dies, the next job gets another.
struct Running<'a>(&'a LaneSpool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the task of a logstore's disk has died: what it was at is lost");
            self.0.jobs().running = false;
        }
    }
}

/// Whether the disk has all events of a batch whose parts were given to it: not when it has refused one,
/// or has lost one since.
fn is_whole(log: &Log, batch: &SealedBatch) -> bool {
    log.events_of(batch.id) >= u64::from(batch.events)
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
            Job::Done(_) | Job::Tell(_) | Job::Recover | Job::Tend => 0,
        };
        group.push(job);
    }
    group
}
