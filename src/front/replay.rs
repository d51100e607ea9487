//! Events that were set aside, taken once more: by what events are held to now.
//!
//! Promise: a record is stored at most once. It is noted on disk as replayed before its event is handed
//! over; if that then fails, the note is taken back. A crash in between leaves the note, and the event
//! is lost unless it is replayed `again`, as every event is that was held when the process died. Limits
//! are not charged: an operator asked for it. What a second destination had refused goes to that alone. A run holds no more than a batch, asks for memory with
//! the lowest priority, and goes on for [`TIME`] and [`CALL`] records at most; there is one at a time.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use super::quality::{Again, Past, Quality};
use super::service::Front;
use super::site::SiteLogstore;
use super::transcode::{self, Context, put_content};
use crate::config::ClientAddress;
use crate::event::{
    AsideError, AttachedNames, Cause, EventGroup, Priority, Reason, Refusal, ReplayOrder,
    ReplayReport, StillBad, Violation,
};
use crate::foundation::budget::Lease;
use crate::gate::guard::Reservation;
use crate::pipeline::Lane;
use crate::pipeline::quarantine::{KeptRecord, Place, each_record_from, replayed};

/// Time of one call. Who asked goes on from where it stopped.
const TIME: Duration = Duration::from_secs(10);
/// Records of one call, those included that were replayed before.
const CALL: usize = 10_000;
/// Records that are noted and handed over together.
const BATCH: usize = 256;
/// Bytes of them.
const BATCH_BYTES: usize = 1 << 20;
/// Records that are shown with what is still wrong with them.
const SHOWN: usize = 8;

/// A record that passes, with all that its event needs.
struct Ready {
    id: String,
    /// The check that had set it aside.
    check: String,
    lane: Arc<Lane>,
    group: EventGroup,
    lease: Lease,
    reservation: Reservation,
    /// The lane that takes copies has it: it was taken before the store refused it.
    copied: bool,
}

/// What became of a record at the first look.
enum End {
    Passes(Box<Ready>),
    StillBad(StillBad),
    Duplicate,
    InFlight,
    LeftOut,
    /// It never can.
    Refused(Refusal),
    /// There is no room now.
    Busy(Refusal),
}

struct Run<'a> {
    front: &'a Front,
    order: &'a ReplayOrder,
    own: Arc<SiteLogstore>,
    /// What takes the copies of that logstore, where the records are of those.
    copies: Option<Arc<Lane>>,
    quality: Arc<Quality>,
    /// Replayed before.
    noted: HashSet<String>,
    ready: Vec<Ready>,
    ready_bytes: usize,
    /// Names of events that a dry run would have taken: their copies are told as such.
    tried: HashSet<u64>,
    report: ReplayReport,
    until: Instant,
    /// Records that were meant so far.
    looked: usize,
    failed: Option<io::Error>,
}

impl Front {
    /// Replays records of a logstore. Blocks on the disk.
    ///
    /// # Errors
    /// When there is no such logstore, another replay runs, or files cannot be read or written. What
    /// was taken before that stays taken, and is noted.
    pub fn replay(&self, order: &ReplayOrder) -> Result<ReplayReport, AsideError> {
        let _only = self.no_replay()?;
        if order.again && order.only.ids.is_empty() {
            let message = "again: name the records by their ids, since each is stored once more.";
            return Err(AsideError::Invalid(message));
        }
        let from = order.from.as_deref().map(str::parse::<Place>).transpose();
        let from =
            from.map_err(|_| AsideError::Invalid("from is not what an earlier call told."))?;
        let (project, logstore) = (order.project.as_str(), order.logstore.as_str());
        let missing =
            || AsideError::NotFound(format!("there is no logstore {logstore} in {project}."));
        let copied = logstore.split_once('@').map(|(copied, _)| copied);
        let own = self
            .site
            .shared_logstore(project, copied.unwrap_or(logstore));
        let own = own.ok_or_else(missing)?;
        let copies = match copied {
            None => None,
            Some(_) => {
                let lane = own.lane.copy();
                let lane = lane.filter(|lane| lane.logstore().as_str() == logstore);
                Some(lane.ok_or_else(missing)?)
            }
        };
        let kept = self.quarantine.place(project, logstore);
        let mut run = Run {
            front: self,
            order,
            quality: own.quality().unwrap_or_default(),
            own,
            copies,
            noted: replayed(&kept)?,
            ready: Vec::new(),
            ready_bytes: 0,
            tried: HashSet::new(),
            report: ReplayReport::default(),
            until: Instant::now() + TIME,
            looked: 0,
            failed: None,
        };
        let see = |record: &KeptRecord<'_>, _: &str, place| run.see(record, place);
        let damaged = each_record_from(&kept, from.unwrap_or_default(), see)?;
        run.hand_over();
        run.report.damaged = damaged;
        match run.failed {
            Some(error) => Err(error.into()),
            None => Ok(run.report),
        }
    }

    /// Keeps replays off while the guard lives.
    ///
    /// # Errors
    /// When one is running.
    pub fn no_replay(&self) -> Result<MutexGuard<'_, ()>, AsideError> {
        match self.replaying.try_lock() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::WouldBlock) => Err(AsideError::Running),
            // What is noted is on disk: an earlier one that died has left nothing else behind.
            Err(TryLockError::Poisoned(error)) => Ok(error.into_inner()),
        }
    }

    /// From now on no replay goes on: the process stops.
    pub fn stop_replays(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}

impl Run<'_> {
    /// Looks at a record. Whether to go on.
    fn see(&mut self, record: &KeptRecord<'_>, place: Place) -> bool {
        if Instant::now() >= self.until {
            self.report.next = Some(place.to_string());
            return false;
        }
        let only = &self.order.only;
        if !only.takes(&record.id, &record.cause, &record.check, record.received) {
            return true;
        }
        if self.looked >= CALL {
            self.report.next = Some(place.to_string());
            return false;
        }
        self.looked += 1;
        // A record that stands twice is one event, whether the first is noted or only ready to be.
        let ready = self.ready.iter().any(|one| one.id == *record.id);
        if ready || !self.order.again && self.noted.contains(&*record.id) {
            self.report.skipped += 1;
            return true;
        }
        if self.front.stopping.load(Ordering::Acquire) {
            self.busy(&Reason::Stopping.into());
        }
        if self.report.stopped.is_some() {
            self.report.left += 1;
            return true;
        }
        let mut end = self.look(record);
        if matches!(end, End::InFlight) && !self.ready.is_empty() {
            // Perhaps one of those that are ready is the same event.
            self.hand_over();
            end = self.look(record);
        }
        if let End::Passes(ready) = &end
            && ready.reservation.names().any(|it| self.tried.contains(&it))
        {
            // The run would have taken the other by now.
            end = End::Duplicate;
        }
        self.note(record, end);
        if self.ready.len() >= BATCH || self.ready_bytes >= BATCH_BYTES {
            self.hand_over();
        }
        self.failed.is_none()
    }

    fn note(&mut self, record: &KeptRecord<'_>, end: End) {
        let report = &mut self.report;
        match end {
            End::Passes(ready) => {
                self.ready_bytes += ready.group.wire_bytes();
                self.ready.push(*ready);
            }
            End::StillBad(bad) => {
                report.still_bad += 1;
                report.of_check(&record.check).still_bad += 1;
                if report.still.len() < SHOWN {
                    report.still.push(bad);
                }
            }
            End::Duplicate => {
                report.duplicates += 1;
                self.note_end(&record.id);
            }
            End::LeftOut => {
                report.left_out += 1;
                self.note_end(&record.id);
            }
            End::Refused(refusal) => self.refused(&refusal),
            End::InFlight => self.refused(&Reason::EventInFlight.into()),
            End::Busy(refusal) => {
                self.busy(&refusal);
                self.report.left += 1;
            }
        }
    }

    /// Notes a record that will not be looked at again.
    fn note_end(&mut self, id: &str) {
        if self.order.dry_run {
            return;
        }
        let order = self.order;
        let (project, logstore) = (order.project.as_str(), order.logstore.as_str());
        match self
            .front
            .quarantine
            .note_replayed(project, logstore, &[id])
        {
            Ok(()) => {
                self.noted.insert(id.to_owned());
            }
            Err(error) => self.failed = Some(error),
        }
    }

    fn refused(&mut self, refusal: &Refusal) {
        self.report.refused += 1;
        let told = || refusal.reason().label().to_owned();
        self.report.refusal.get_or_insert_with(told);
    }

    fn busy(&mut self, refusal: &Refusal) {
        let told = || refusal.reason().label().to_owned();
        self.report.stopped.get_or_insert_with(told);
    }

    /// Reads a record as an event, and judges it.
    fn look(&self, record: &KeptRecord<'_>) -> End {
        let mut stamp = Vec::new();
        for (name, value) in &record.attached {
            put_content(&mut stamp, name.as_bytes(), value.as_bytes());
        }
        let mut group = EventGroup {
            topic: record.topic.as_bytes().to_vec(),
            source: record.source.as_bytes().to_vec(),
            ..EventGroup::default()
        };
        for (name, value) in record.tags.iter() {
            group.put_tag(name.as_bytes(), value.as_bytes());
        }
        // What the store refused was judged, and went through the steps, before it was accepted.
        let judged = record.cause == Cause::Store.label();
        let rules = self.front.rules.for_records();
        let context = Context {
            rules: &rules,
            received: record.received,
            stamp: &stamp,
            // What only we give stands in the record since we gave it.
            attached: AttachedNames::NONE,
            check: if judged { None } else { self.quality.check() },
        };
        let body = format!("{{\"__logs__\":[{}]}}", record.event.get());
        if let Err(refusal) = transcode::json(body.as_bytes(), &context, &mut group) {
            return End::Refused(refusal);
        }
        if judged {
            return self.make_ready(record, &self.own, group, Reservation::default());
        }
        let past = Past {
            received: record.received,
            client: record.client,
            sender: record.sender.map(|sender| (sender.0, record.turn)),
            signals: (record.do_not_track, record.global_privacy_control),
            stamp: &stamp,
        };
        match self.front.judge_again(&self.quality, &past, &mut group) {
            Again::StillBad(check, violations) => End::StillBad(StillBad {
                id: record.id.to_string(),
                check,
                why: violations.first().map_or_else(String::new, shown),
            }),
            Again::Duplicate => End::Duplicate,
            Again::InFlight => End::InFlight,
            Again::LeftOut => End::LeftOut,
            Again::Passes(reservation, routed) => {
                let mut target = Arc::clone(&self.own);
                if let Some(routed) = routed {
                    group = routed.group;
                    if let Some(name) = &routed.logstore {
                        let project = self.order.project.as_str();
                        match self.front.site.shared_logstore(project, name.as_str()) {
                            Some(found) => target = found,
                            None => return End::Refused(Reason::Internal.into()),
                        }
                    }
                }
                self.make_ready(record, &target, group, reservation)
            }
        }
    }

    fn make_ready(
        &self,
        record: &KeptRecord<'_>,
        target: &SiteLogstore,
        mut group: EventGroup,
        reservation: Reservation,
    ) -> End {
        if self.own.rules.client_address == ClientAddress::Tag
            && let Some(client) = record.client
        {
            group.put_tag(b"__client_ip__", client.to_string().as_bytes());
        }
        let lane = match &self.copies {
            Some(copies) => Arc::clone(copies),
            None => Arc::clone(&target.lane),
        };
        let lease = match lane.admit_group(&group, Priority::Low) {
            Ok(lease) => lease,
            Err(refusal) => return End::Busy(refusal),
        };
        End::Passes(Box::new(Ready {
            id: record.id.to_string(),
            check: record.check.to_string(),
            lane,
            group,
            lease,
            reservation,
            copied: record.cause == Cause::Store.label(),
        }))
    }

    /// Notes the records that are ready, and hands their events over.
    fn hand_over(&mut self) {
        let ready = std::mem::take(&mut self.ready);
        self.ready_bytes = 0;
        if ready.is_empty() || self.failed.is_some() {
            return;
        }
        let (project, logstore) = (self.order.project.as_str(), self.order.logstore.as_str());
        let quarantine = &self.front.quarantine;
        if !self.order.dry_run {
            let ids: Vec<&str> = ready.iter().map(|one| one.id.as_str()).collect();
            if let Err(error) = quarantine.note_replayed(project, logstore, &ids) {
                self.failed = Some(error);
                return;
            }
        }
        let mut back: Vec<String> = Vec::new();
        for one in ready {
            if self.order.dry_run {
                self.report.taken += 1;
                self.report.of_check(&one.check).taken += 1;
                self.noted.insert(one.id);
                self.tried.extend(one.reservation.names());
                continue;
            }
            let taken = match one.copied {
                true => one.lane.submit_alone(&one.group, one.lease),
                false => one.lane.submit(&one.group, one.lease),
            };
            match taken {
                Ok(_) => {
                    one.reservation.confirm();
                    let events = u64::from(one.group.events);
                    one.lane.count_accepted(events);
                    self.front.metrics.quarantine.replayed.inc();
                    self.report.taken += 1;
                    self.report.of_check(&one.check).taken += 1;
                    self.noted.insert(one.id);
                }
                Err(refusal) => {
                    if refusal.reason() == Reason::BodyTooLarge {
                        self.refused(&refusal);
                    } else {
                        self.busy(&refusal);
                        self.report.left += 1;
                    }
                    back.push(one.id);
                }
            }
        }
        let back: Vec<&str> = back.iter().map(String::as_str).collect();
        if !back.is_empty()
            && let Err(error) = quarantine.note_not_replayed(project, logstore, &back)
        {
            tracing::error!(%error, records = back.len(), project, logstore,
                "records are noted as replayed and their events were not taken: replay them again by their ids");
            self.failed = Some(error);
        }
    }
}

/// Where, and why.
fn shown(violation: &Violation) -> String {
    let Violation {
        pointer, message, ..
    } = violation;
    if pointer.is_empty() {
        return message.clone();
    }
    format!("{pointer}: {message}")
}
