//! Everything of one logstore on its way: its share of memory, its open batches, its queue.
//!
//! Promise: when [`Lane::submit`] returns `Ok`, the events are held, and will be delivered or be
//! counted as dropped. It never waits for more than the lane's lock, under which bytes are copied
//! and nothing else is done.
//! When it cannot keep up: [`Lane::admit`] refuses. One lane never takes more than its share, so a
//! store that is down does not starve the others.
//! Not here: who is let in (`admission`), delivery (`forward`).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::admission::Admission;
use super::lane_spool::LaneSpool;
use super::open::{OpenBatches, Safety};
use super::queue::SealedQueue;
use super::receipt::Receipt;
use crate::config::{Ack, Batch};
use crate::event::{EventGroup, Priority, Reason, Refusal};
use crate::foundation::budget::{Budget, Lease};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::telemetry::LogstoreMetrics;

/// The way of the events of one logstore.
pub struct Lane {
    project: ProjectName,
    logstore: LogstoreName,
    admission: Admission,
    /// `None` once the lane is closed.
    open: Mutex<Option<OpenBatches>>,
    sealed: Arc<SealedQueue>,
    safety: Safety,
}

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
        if let Some(spool) = &safety.spool {
            admission.use_disk(spool);
        }
        let open = OpenBatches::new(limits, metrics, Arc::clone(&sealed), safety.clone());
        Self {
            project,
            logstore,
            admission,
            open: Mutex::new(Some(open)),
            sealed,
            safety,
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
    pub fn admit(&self, bytes: u64, priority: Priority) -> Result<Lease, Refusal> {
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
            let open = self.lock();
            let batches = open.as_ref().ok_or(Reason::Stopping)?;
            batches.price(group)?
        };
        self.admission.admit(price, priority)
    }

    /// Asks again for what [`Lane::admit`] has given, when the priority is known only after the body
    /// was read.
    ///
    /// # Errors
    /// As [`Lane::admit`]; the lease stays as it was.
    pub fn admit_again(&self, lease: &mut Lease, priority: Priority) -> Result<(), Refusal> {
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
    pub fn submit(&self, group: &EventGroup, lease: Lease) -> Result<Receipt, Refusal> {
        let mut open = self.lock();
        let batches = open.as_mut().ok_or(Reason::Stopping)?;
        batches
            .add(group, lease, Instant::now())
            .map_err(Refusal::from)
    }

    /// Seals the batches that are old enough.
    pub(super) fn seal_aged(&self) {
        if let Some(batches) = self.lock().as_mut() {
            batches.seal_aged(Instant::now());
        }
        if let Some(spool) = &self.safety.spool {
            spool.tend();
        }
        self.admission.settle();
    }

    /// Seals the batches that are open.
    pub(super) fn seal_now(&self) {
        if let Some(batches) = self.lock().as_mut() {
            batches.seal_all();
        }
    }

    pub(super) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Refuses what comes from now on, and seals what is open. Again does nothing.
    pub(super) fn close(&self) {
        if let Some(mut batches) = self.lock().take() {
            batches.seal_all();
        }
        self.sealed.close();
    }

    pub(super) fn sealed(&self) -> &SealedQueue {
        &self.sealed
    }

    fn lock(&self) -> MutexGuard<'_, Option<OpenBatches>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
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
