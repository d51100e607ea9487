//! Everything of one logstore on its way: its share of memory, its open batches, its queue.
//!
//! Promise: when [`Lane::submit`] returns `Ok`, the events are held, and will be delivered or be
//! counted as dropped. It never waits for more than the lane's lock, under which bytes are copied
//! and nothing else is done.
//! When it cannot keep up: [`Lane::admit`] refuses. One lane never takes more than its share, so a
//! store that is down does not starve the others.
//! Not here: who is let in (`admission`), delivery (`forward`).

use std::borrow::Borrow;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::admission::{Admission, AdmissionRules};
use super::due::Due;
use super::lane_spool::LaneSpool;
use super::open::{OpenBatches, Safety};
use super::quarantine::Room;
use super::queue::SealedQueue;
use super::receipt::{Receipt, Waiter};
use crate::config::{Ack, Batch};
use crate::event::{EventGroup, Priority, Reason, Refusal};
use crate::foundation::budget::{Budget, Lease, Loan};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::telemetry::{DropReason, LogstoreMetrics};

/// The way of the events of one logstore.
pub struct Lane {
    project: ProjectName,
    logstore: LogstoreName,
    admission: Admission,
    taking: Mutex<Taking>,
    /// When its oldest batch is to be sealed.
    due: Arc<Due>,
    sealed: Arc<SealedQueue>,
    safety: Safety,
    metrics: Arc<LogstoreMetrics>,
    /// When a copy that was not taken was last told of.
    told: Mutex<Option<Instant>>,
}

/// Where events go that are taken.
struct Taking {
    /// `None` once the lane is closed.
    open: Option<OpenBatches>,
    /// Takes the same events for a second destination.
    copy: Option<Arc<Lane>>,
}

/// The least time between two warnings of copies that were not taken.
const QUIET: Duration = Duration::from_secs(60);

impl Lane {
    pub(super) fn new(
        (project, logstore): (ProjectName, LogstoreName),
        admission: Admission,
        limits: &Batch,
        metrics: Arc<LogstoreMetrics>,
        safety: impl FnOnce(&Arc<SealedQueue>) -> Safety,
    ) -> Self {
        let sealed = Arc::new(SealedQueue::new());
        let safety = safety(&sealed);
        // Who waits for the store is refused when it is slow.
        if let Some(spool) = safety
            .spool
            .as_ref()
            .filter(|_| safety.ack != Ack::Logstore)
        {
            admission.use_disk(spool);
        }
        let cells = Arc::clone(&metrics);
        let open = OpenBatches::new(limits, cells, Arc::clone(&sealed), safety.clone());
        Self {
            project,
            logstore,
            admission,
            due: open.due(),
            taking: Mutex::new(Taking {
                open: Some(open),
                copy: None,
            }),
            sealed,
            safety,
            metrics,
            told: Mutex::default(),
        }
    }

    /// Gives what it takes to `copy` as well, from now on. No request is between the two.
    pub(super) fn copy_to(&self, copy: Option<Arc<Self>>) {
        let before = mem::replace(&mut self.lock().copy, copy);
        drop(before);
    }

    /// The lane that gets what it takes for a second destination.
    #[must_use]
    pub fn copy(&self) -> Option<Arc<Self>> {
        self.lock().copy.clone()
    }

    /// Events were handed over that did not come with a request.
    pub fn count_accepted(&self, events: u64) {
        self.metrics.take_added(events);
    }

    /// Whether another lane gets what it takes.
    pub(super) fn has_copy(&self) -> bool {
        self.lock().copy.is_some()
    }

    /// Goes by other rules from now on. What is held stays held.
    pub(super) fn change_rules(
        &self,
        (batch, patience): (&Batch, Duration),
        weight: u32,
        admission: AdmissionRules,
    ) {
        if let Some(open) = &mut self.lock().open {
            open.change_limits(batch, patience);
        }
        self.admission.change_rules(weight, admission);
        if let Some(spool) = self.spool() {
            spool.weigh(weight);
        }
    }

    /// How safe events are when their client is told that they were taken.
    #[must_use]
    pub fn ack(&self) -> Ack {
        self.safety.ack
    }

    /// Its disk, where it has one.
    pub(super) fn spool(&self) -> Option<&Arc<LaneSpool>> {
        self.safety.spool.as_ref()
    }

    /// The project, as clients name it.
    #[must_use]
    pub fn project(&self) -> &ProjectName {
        &self.project
    }

    /// The logstore, as clients name it.
    #[must_use]
    pub fn logstore(&self) -> &LogstoreName {
        &self.logstore
    }

    /// This lane's share of memory.
    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        self.admission.budget()
    }

    /// Whether a request may come in at all, asked by its head, before anything is done for it.
    /// Counts it. `bytes` is the length that it claims, 0 where it claims none; nothing is taken.
    /// `usual` is the priority of the logstore, `most` the highest that its events may turn out to have:
    /// room is asked for by that one, since it is asked again when they are known.
    ///
    /// # Errors
    /// What is wrong with its disk, where it answers from there; [`Reason::Overloaded`] when the machine is short of time and the lane has brought its share;
    /// what [`Lane::admit`] would say of so many bytes now. Each says when to try again.
    pub fn enter(&self, bytes: u64, usual: Priority, most: Priority) -> Result<(), Refusal> {
        if self.safety.ack == Ack::Disk
            && let Some(spool) = &self.safety.spool
        {
            spool.enter()?;
        }
        self.admission.enter(bytes, usual, most)
    }

    /// Memory for a request of `bytes`, within what `priority` may use of what this lane may hold now.
    /// To be handed over with [`Lane::submit`].
    ///
    /// # Errors
    /// [`Reason::MemoryFull`]; [`Reason::StoreSlow`] or [`Reason::UpstreamQuota`] when the store
    /// would need too long for what is held already. Each says when to try again.
    pub fn admit(&self, bytes: u64, priority: Priority) -> Result<Loan<'_>, Refusal> {
        self.admission.admit(bytes, priority)
    }

    /// Memory for a group that nobody has paid for yet: what [`Lane::submit`] will ask for, so that only
    /// a pipeline that stops refuses it then.
    ///
    /// # Errors
    /// As [`Lane::admit`], and [`Reason::BodyTooLarge`] when one event is larger than the largest
    /// LogGroup.
    pub fn admit_group(&self, group: &EventGroup, priority: Priority) -> Result<Lease, Refusal> {
        let price = {
            let taking = self.lock();
            let batches = taking.open.as_ref().ok_or(Reason::Stopping)?;
            batches.price(group)?
        };
        self.admission.admit(price, priority).map(Loan::into_owned)
    }

    /// Asks again for what [`Lane::admit`] has given, when the priority is known only after the body
    /// was read.
    ///
    /// # Errors
    /// As [`Lane::admit`]; the lease stays as it was.
    pub fn admit_again(&self, lease: &mut Loan<'_>, priority: Priority) -> Result<(), Refusal> {
        self.admission.admit_again(lease, priority)
    }

    /// The same refusal; one for want of memory says from now on when to try again.
    #[must_use]
    pub fn timed(&self, refusal: Refusal) -> Refusal {
        self.admission.timed(refusal)
    }

    /// Takes the events of a request, whole or not at all. `lease` is of [`Lane::admit`]; what it
    /// holds beyond what is kept goes back at once. The receipt says when they are as safe as the
    /// logstore asks ([`Lane::ack`]).
    ///
    /// # Errors
    /// [`Reason::Stopping`] after the pipeline began to stop, and [`Reason::MemoryFull`] when the
    /// lease is smaller than what must be kept and cannot grow, and [`Reason::BodyTooLarge`] when
    /// one event is larger than the largest LogGroup. Nothing is kept then.
    pub fn submit(
        &self,
        group: &EventGroup,
        lease: Lease<impl Borrow<Arc<Budget>>>,
    ) -> Result<Receipt, Refusal> {
        let lease = self.budget().adopt(lease);
        let mut taking = self.lock();
        let batches = taking.open.as_mut().ok_or(Reason::Stopping)?;
        let receipt = batches.add(group, lease)?;
        // Under the lock, so that a stop finds both or none.
        let copy = taking.copy.as_ref();
        let copy = copy.and_then(|copy| copy.take_copy(group));
        drop(taking);
        Ok(receipt.with_copy(copy))
    }

    /// The same, but gives nothing to the lane that takes copies: of events that it has been given.
    ///
    /// # Errors
    /// As [`Lane::submit`].
    pub fn submit_alone(&self, group: &EventGroup, lease: Lease) -> Result<Receipt, Refusal> {
        let lease = self.budget().adopt(lease);
        let mut taking = self.lock();
        let batches = taking.open.as_mut().ok_or(Reason::Stopping)?;
        Ok(batches.add(group, lease)?)
    }

    /// Sets aside records of events that do not go on: whole lines of JSON, for which `room` was taken.
    /// The receipt says when they are as safe as the logstore asks: synced, unless it answers from
    /// memory.
    pub fn set_aside(&self, room: Room, lines: Vec<u8>) -> Receipt {
        let (project, logstore) = (self.project.as_str(), self.logstore.as_str());
        if self.safety.ack == Ack::Memory {
            room.put(project, logstore, lines);
            return Receipt::Held;
        }
        let patience = match &self.lock().open {
            Some(open) => open.patience(),
            None => self.safety.patience,
        };
        let (waiter, receipt) = Waiter::new(1, patience, Reason::QuarantineFull);
        room.put_then(project, logstore, lines, move || waiter.safe());
        receipt
    }

    /// Takes a copy, or counts it as dropped: the events themselves have been taken elsewhere.
    fn take_copy(&self, group: &EventGroup) -> Option<Receipt> {
        let events = u64::from(group.events);
        self.count_accepted(events);
        let lease = self.admit_group(group, Priority::High);
        match lease.and_then(|lease| self.submit(group, lease)) {
            Ok(receipt) => Some(receipt),
            Err(refusal) => {
                let dropped = self.metrics.events_dropped.at(DropReason::NoRoom as usize);
                dropped.add(events);
                self.tell_dropped(&refusal);
                None
            }
        }
    }

    fn tell_dropped(&self, refusal: &Refusal) {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|last| now.duration_since(last) >= QUIET) {
            *told = Some(now);
            let (project, logstore, reason) = (&self.project, &self.logstore, refusal.reason());
            tracing::warn!(
                %project, %logstore, reason = reason.label(),
                "the second destination has no room for copies of events; they are dropped and counted"
            );
        }
    }

    /// Seals the batches that are old enough. Costs one load while there are none.
    pub(super) fn seal_aged(&self, now: Instant) {
        if !self.due.is_over(now) {
            return;
        }
        if let Some(batches) = &mut self.lock().open {
            batches.seal_aged(now);
        }
    }

    /// Looks after the disk, and lets go of what was measured too long ago. To be called now and then.
    pub(super) fn tend(&self) {
        if let Some(spool) = &self.safety.spool {
            spool.tend();
        }
        self.admission.settle();
    }

    /// Seals the batches that are open.
    pub(super) fn seal_now(&self) {
        if let Some(batches) = &mut self.lock().open {
            batches.seal_all();
        }
    }

    pub(super) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Refuses what comes from now on, and seals what is open. Again does nothing.
    pub(super) fn close(&self) {
        if let Some(spool) = &self.safety.spool {
            spool.close();
        }
        if let Some(mut batches) = self.lock().open.take() {
            batches.seal_all();
        }
        self.sealed.close();
    }

    pub(super) fn sealed(&self) -> &SealedQueue {
        &self.sealed
    }

    fn lock(&self) -> MutexGuard<'_, Taking> {
        self.taking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("project", &self.project)
            .field("logstore", &self.logstore)
            .field("admission", &self.admission)
            .finish_non_exhaustive()
    }
}
