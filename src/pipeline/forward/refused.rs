//! What becomes of a LogGroup that the store refuses for its content: it is sent in parts, until the
//! events that are refused stand alone; those are set aside.
//!
//! Promise: each event ends once. The bundle of such a LogGroup is done on disk only once what was set
//! aside of it is synced there ([`Ending`]), so a crash in between brings it again and loses nothing.
//! When stopping comes in between, only the parts that have not ended are kept, with the ids that they
//! have, so that a reader can drop what came twice. So it is with refused events of such a bundle for which
//! the quarantine has no room: they go back to the disk, and are tried again in their turn.
//! Not here: which part is next (`delivery::splitter`).

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::{Forwarder, NotTaken, take_all};
use crate::event::Reason;
use crate::foundation::budget::Lease;
use crate::foundation::clock;
use crate::pipeline::batch::{Held, SealedBatch};
use crate::pipeline::delivery::anatomy::Anatomy;
use crate::pipeline::delivery::records;
use crate::pipeline::delivery::span::Links;
use crate::pipeline::delivery::splitter::{Refused, Splitter};
use crate::pipeline::destination::{Failure, Parcel, Taken};
use crate::pipeline::lane_spool::{Ending, LaneSpool};
use crate::pipeline::quarantine::{Quarantine, Room};
use crate::telemetry::DropReason;

/// What becomes of events that the store refuses.
#[derive(Clone, Debug)]
pub(in crate::pipeline) struct RefusedRules {
    /// Where they are set aside; `None`: they are dropped.
    pub(in crate::pipeline) quarantine: Option<Arc<Quarantine>>,
    /// Times that one LogGroup is split.
    pub(in crate::pipeline) max_splits: u32,
}

/// How long a worker waits for the quarantine to take refused events, and how often it asks.
const ROOM_PATIENCE: Duration = Duration::from_secs(10);
/// The same for events that can go back to the disk, when the quarantine had no room the last time: long
/// enough that those that come and go do not keep a worker busy, and short enough for others.
const ROOM_AGAIN: Duration = Duration::from_secs(1);
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// A LogGroup that is sent in parts, and how far that is.
pub(super) struct Parting {
    anatomy: Anatomy,
    splitter: Splitter,
    /// The part at hand.
    now: Range<usize>,
    /// What the destination has of that part, by its places in it.
    own: Taken,
    /// Events that have ended: taken, or set aside.
    ended: Taken,
    /// Those of them that the destination has refused.
    refused: Taken,
    /// Refused events for which there was no room: they go back to the disk.
    unplaced: Vec<Range<usize>>,
}

impl Parting {
    fn new(anatomy: Anatomy, max_splits: u32) -> Self {
        Self {
            splitter: Splitter::new(anatomy.events(), max_splits),
            now: 0..anatomy.events(),
            own: Taken::default(),
            ended: Taken::default(),
            refused: Taken::default(),
            unplaced: Vec::new(),
            anatomy,
        }
    }

    /// Notes what the destination has of the part at hand and was not known yet: events and bytes.
    fn note_taken(&mut self) -> (u64, u64) {
        let (mut events, mut bytes) = (0, 0);
        for (place, event) in self.now.clone().enumerate() {
            if self.own.has(place) && self.ended.mark(event) {
                events += 1;
                bytes += self.anatomy.bytes(&(event..event + 1));
            }
        }
        (events, bytes)
    }

    /// What has not ended: of those for which there was no room, of the part at hand, which may be one of
    /// them, and of those that are still to be sent.
    fn left(&self) -> Vec<Range<usize>> {
        let mut told = self.ended.clone();
        let at_hand = std::iter::once(&self.now);
        let mut left = Vec::new();
        for part in self
            .unplaced
            .iter()
            .chain(at_hand)
            .chain(self.splitter.left())
        {
            for run in told.rest(part) {
                for event in run.clone() {
                    told.mark(event);
                }
                left.push(run);
            }
        }
        left
    }

    /// Whether an attempt to send the part at hand is under way.
    pub(super) fn is_asked(&self) -> bool {
        self.own.is_asked()
    }

    /// How some of its events have ended.
    ///
    /// # Errors
    /// The destination has refused one, or one has not ended.
    pub(super) fn end_of(&self, events: &Range<usize>) -> Result<(), Reason> {
        if events.clone().any(|event| self.refused.has(event)) {
            return Err(Reason::StoreRefused);
        }
        match self.ended.rest(events).is_empty() {
            true => Ok(()),
            false => Err(Reason::Stopping),
        }
    }

    /// What has not ended, as batches for the disk: each part with its own pack id. `ending`: of the
    /// bundle that has all of it. `since`: when the first event of the whole came, in Unix milliseconds.
    pub(super) fn rest(
        self,
        (mut held, mut lease): (Held, Lease),
        spool: &Arc<LaneSpool>,
        ending: Option<&Arc<Ending>>,
        since: u64,
    ) -> Vec<SealedBatch> {
        let parts = self.left();
        let anatomy = self.anatomy;
        let mut batches = Vec::with_capacity(parts.len());
        for part in parts {
            let raw = anatomy.part(&part);
            let logs = anatomy.bytes(&part);
            let key = usize::try_from(logs).unwrap_or(raw.len());
            if let Some(ending) = ending {
                ending.one_more();
            }
            batches.push(SealedBatch {
                key: key..raw.len(),
                held: held.take(part.len() as u64, logs),
                lease: lease.split(raw.len() as u64),
                raw,
                id: spool.next_id(),
                events: u32::try_from(part.len()).unwrap_or(u32::MAX),
                logged: false,
                from_disk: false,
                instead_of: ending.map(Arc::clone),
                since,
                waiters: Vec::new(),
                links: Links::default(),
            });
        }
        if held.events() > 0 {
            held.dropped(DropReason::Lost);
        }
        batches
    }
}

impl Forwarder {
    /// Sends the halves of a refused LogGroup, and theirs, until the events that are refused stand
    /// alone or the splits of one LogGroup are used up. Those in `before` were taken all the same.
    /// `ending`: of the bundle that is on disk, which is done once what was set aside is synced as well.
    ///
    /// # Cancel safety
    /// What has not ended is in `parting` and `held`.
    pub(super) async fn send_in_parts(
        &self,
        parcel: &Parcel,
        (mut refusal, before): (Failure, &Taken),
        ending: Option<&Arc<Ending>>,
        held: &mut Held,
        parting: &mut Option<Parting>,
    ) {
        let unpacked = parcel.unpack().await;
        let Some(anatomy) = unpacked.filter(|it| it.events() as u64 == held.events()) else {
            self.on_refused(&refusal, held.events());
            take_all(held).dropped(DropReason::UpstreamRefused);
            return;
        };
        let parting = parting.insert(Parting::new(anatomy, self.aside.max_splits));
        parting.own.clone_from(before);
        self.deliver_taken(parting, held);
        loop {
            match parting.splitter.refused(&parting.now) {
                // Its halves are to be sent, and nothing is at hand.
                Refused::Halved => {
                    self.metrics.delivery.splits.inc();
                    parting.now.start = parting.now.end;
                }
                Refused::Single => self.set_aside(parting, (&refusal, ending), held).await,
                Refused::Bound => {
                    self.metrics.delivery.splits_exhausted.inc();
                    self.set_aside(parting, (&refusal, ending), held).await;
                }
            }
            refusal = loop {
                let Some(next) = parting.splitter.next() else {
                    return;
                };
                parting.own = parting.ended.of(&next);
                parting.now = next;
                let result = self.send_part(parting).await;
                self.deliver_taken(parting, held);
                match result {
                    Ok(()) => parting.splitter.taken(),
                    Err(NotTaken::Refused(refusal)) => break refusal,
                    // It does not give way: what is half sent stays with this worker.
                    Err(NotTaken::Relieved) => return,
                }
            };
        }
    }

    /// Sends the part at hand.
    ///
    /// # Cancel safety
    /// What the destination has of it is noted in `parting`.
    async fn send_part(&self, parting: &mut Parting) -> Result<(), NotTaken> {
        let part = parting.now.clone();
        if parting.ended.rest(&part).is_empty() {
            return Ok(());
        }
        let raw = parting.anatomy.part(&part);
        let parcel = Parcel::pack(self.packing, raw, None).await;
        let parcel = parcel.map_err(|error| {
            NotTaken::Refused(Failure::refused("Unsendable", error.to_string()))
        })?;
        self.settle(&parcel, &mut parting.own, false).await?;
        for event in 0..part.len() {
            parting.own.mark(event);
        }
        Ok(())
    }

    /// Counts what was taken of the part at hand and not known yet.
    pub(super) fn deliver_taken(&self, parting: &mut Parting, held: &mut Held) {
        let (events, bytes) = parting.note_taken();
        if events > 0 {
            self.delivered(held.take(events, bytes));
        }
    }

    /// Ends what is left of the part at hand: in the quarantine, as far as that takes it. The rest is kept for
    /// the disk where that has the events already, and dropped else.
    async fn set_aside(
        &self,
        parting: &mut Parting,
        why: (&Failure, Option<&Arc<Ending>>),
        held: &mut Held,
    ) {
        for run in parting.ended.rest(&parting.now) {
            self.set_run_aside(parting, run, why, held).await;
        }
    }

    async fn set_run_aside(
        &self,
        parting: &mut Parting,
        mut part: Range<usize>,
        (refusal, ending): (&Failure, Option<&Arc<Ending>>),
        held: &mut Held,
    ) {
        let Parting {
            anatomy,
            ended,
            refused,
            unplaced,
            ..
        } = parting;
        let mut end = |run: &Range<usize>| {
            for event in run.clone() {
                ended.mark(event);
                refused.mark(event);
            }
            held.take(run.len() as u64, anatomy.bytes(run))
        };
        self.on_refused(refusal, part.len() as u64);
        while let Some(quarantine) = &self.aside.quarantine
            && part.start < part.end
        {
            let (lines, count) = records::lines(anatomy, &part, refusal, clock::unix_seconds());
            let patience = match ending {
                None => ROOM_PATIENCE,
                // Once for a LogGroup is enough.
                Some(_) if !unplaced.is_empty() => Duration::ZERO,
                Some(_) if self.quarantine_full.load(Ordering::Relaxed) => ROOM_AGAIN,
                Some(_) => ROOM_PATIENCE,
            };
            let room = self.room_aside(quarantine, lines.len(), patience).await;
            let Some(room) = room else {
                if ending.is_some() {
                    put_back(unplaced, part);
                    return;
                }
                break;
            };
            self.put_aside(room, lines, ending);
            let now = part.start..part.start + count;
            end(&now).quarantined();
            part.start = now.end;
        }
        if part.start < part.end {
            end(&part).dropped(DropReason::UpstreamRefused);
        }
    }

    fn put_aside(&self, room: Room, lines: Vec<u8>, ending: Option<&Arc<Ending>>) {
        let (project, logstore) = (self.lane.project(), self.lane.logstore());
        let Some(ending) = ending.map(Arc::clone) else {
            room.put(project.as_str(), logstore.as_str(), lines);
            return;
        };
        ending.one_more();
        // Stopping waits a while for it.
        let token = self.signals.records.token();
        room.put_then(project.as_str(), logstore.as_str(), lines, move || {
            ending.one_less();
            drop(token);
        });
    }

    /// Room in the quarantine. Its queue is full only while the disk takes nothing: then a while is
    /// waited, and no longer, since other events wait behind these.
    async fn room_aside(
        &self,
        quarantine: &Arc<Quarantine>,
        bytes: usize,
        patience: Duration,
    ) -> Option<Room> {
        let until = Instant::now() + patience;
        let room = loop {
            match quarantine.room(bytes) {
                Ok(room) => break Some(room),
                Err(_) if Instant::now() >= until => break None,
                Err(_) => tokio::time::sleep(ROOM_PAUSE).await,
            }
        };
        self.quarantine_full
            .store(room.is_none(), Ordering::Relaxed);
        room
    }
}

/// Adds events for which there was no room. Neighbours go back to the disk together, so that they come
/// again as one bundle.
fn put_back(unplaced: &mut Vec<Range<usize>>, part: Range<usize>) {
    match unplaced.last_mut() {
        Some(last) if last.end == part.start => last.end = part.end,
        _ => unplaced.push(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::events;

    fn parting(names: &[&str]) -> Parting {
        let anatomy = Anatomy::of(events("a", names).logs).unwrap();
        Parting::new(anatomy, 10)
    }

    #[test]
    fn what_was_taken_of_a_part_under_way_is_not_left() {
        let mut parting = parting(&["1", "2", "3", "4"]);
        parting.splitter.refused(&parting.now);
        parting.now = parting.splitter.next().unwrap();
        // A stop comes when the destination has one of the two.
        parting.own.mark(1);
        assert_eq!(parting.note_taken().0, 1);
        assert_eq!(parting.note_taken().0, 0);
        assert_eq!(parting.left(), [0..1, 2..4]);
        assert_eq!(parting.end_of(&(1..2)), Ok(()));
    }

    #[test]
    fn what_nobody_had_room_for_is_left_once() {
        let mut parting = parting(&["1", "2", "3", "4", "5"]);
        put_back(&mut parting.unplaced, 1..2);
        parting.now = 4..5;
        parting.ended.mark(0);
        parting.ended.mark(2);
        put_back(&mut parting.unplaced, 3..4);
        // Neighbours are left together.
        put_back(&mut parting.unplaced, 4..5);
        assert_eq!(parting.left(), [1..2, 3..5]);
        assert_eq!(parting.end_of(&(1..2)), Err(Reason::Stopping));
    }
}
