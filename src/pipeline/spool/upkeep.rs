//! What is done from time to time: checkpoints, deletion, age, and making room.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::BundleId;
use super::append::Fault;
use super::checkpoint::{Checkpoint, Progress};
use super::files::Files;
use super::format::DATA_START;
use super::index::Entry;
use super::log::{End, Log, Segment, State};
use super::ranges::Ranges;

/// A segment whose bundles are all done is closed and deleted once it is this long, in bytes.
const IDLE_BYTES: u64 = 1 << 20;
/// Deleted segments that are remembered until the next checkpoint.
const MAX_REMOVED: usize = 1024;

/// A checkpoint that is to be written.
#[derive(Debug)]
pub struct CheckpointTicket {
    files: Arc<dyn Files>,
    folder: PathBuf,
    checkpoint: Checkpoint,
    /// How many of the segments that are to be deleted it tells of; new ones come behind.
    doomed: usize,
    removed: Vec<(u64, u64)>,
}

/// How that went; for [`Log::finish_checkpoint`].
#[derive(Debug)]
#[must_use = "the log must know"]
pub struct CheckpointOutcome {
    result: io::Result<()>,
    doomed: usize,
    removed: Vec<(u64, u64)>,
}

impl CheckpointTicket {
    /// Blocks until the disk has answered.
    pub fn run(self) -> CheckpointOutcome {
        CheckpointOutcome {
            result: self.checkpoint.write(&*self.files, &self.folder),
            doomed: self.doomed,
            removed: self.removed,
        }
    }
}

impl Log {
    /// Writes down what is done, so that it is not sent again after a restart, and then deletes the
    /// segments of which nothing is needed: in this order, so that of a bundle that lies in two
    /// segments no half comes back. To be called every second or so, and before stopping.
    ///
    /// # Errors
    /// When the disk refuses. Nothing is lost; the next one tells the same.
    pub fn checkpoint(&mut self) -> io::Result<()> {
        match self.begin_checkpoint() {
            Some(ticket) => self.finish_checkpoint(ticket.run()),
            None => Ok(()),
        }
    }

    /// Begins a checkpoint that may be written without the log. `None` while another is on its way.
    pub fn begin_checkpoint(&mut self) -> Option<CheckpointTicket> {
        if self.checkpointing {
            return None;
        }
        self.checkpointing = true;
        Some(CheckpointTicket {
            files: Arc::clone(&self.files),
            folder: self.folder.clone(),
            checkpoint: self.progress(),
            doomed: self.doomed.len(),
            removed: self.removed.clone(),
        })
    }

    /// Notes how a checkpoint went.
    ///
    /// # Errors
    /// As [`Log::checkpoint`].
    pub fn finish_checkpoint(&mut self, outcome: CheckpointOutcome) -> io::Result<()> {
        self.checkpointing = false;
        if let Err(error) = outcome.result {
            self.counts.failed_upkeep += 1;
            if Fault::of(&error) == Fault::NoSpace {
                self.sweep(usize::MAX);
            }
            return Err(error);
        }
        self.removed.retain(|gone| !outcome.removed.contains(gone));
        self.sweep(outcome.doomed);
        let (segments, doomed) = (&self.segments, &self.doomed);
        self.cuts.retain(|cut| {
            segments.contains_key(&cut.segment) || doomed.iter().any(|d| d.0 == cut.segment)
        });
        Ok(())
    }

    /// Deletes at once what need not stay; whether there was something.
    pub(super) fn delete_now(&mut self) -> bool {
        let before = self.doomed.len();
        if before > 0 && (self.checkpointing || self.checkpoint().is_err()) {
            self.sweep(usize::MAX);
        }
        self.doomed.len() < before
    }

    fn progress(&self) -> Checkpoint {
        let mut live: HashMap<u64, Vec<u64>, foldhash::fast::RandomState> = HashMap::default();
        for (_, entry) in self.index.iter() {
            for segment in entry.segments() {
                live.entry(segment).or_default().push(entry.id.number);
            }
        }
        let doomed = self
            .doomed
            .iter()
            .map(|(number, identity, _)| (number, identity));
        let removed = self
            .removed
            .iter()
            .map(|(number, identity)| (number, identity));
        let gone = doomed.chain(removed).map(|(number, identity)| Progress {
            segment: *number,
            identity: *identity,
            as_of: u64::MAX,
            cut: u64::MAX,
            done: Ranges::all(),
        });
        let mut segments: Vec<Progress> = gone.collect();
        for (number, segment) in &self.segments {
            let (done, as_of) = match &segment.state {
                State::Awake => {
                    let mut but = live.remove(number).unwrap_or_default();
                    but.sort_unstable();
                    let range = segment.numbers;
                    let done = range.map(|(low, high)| Ranges::except(low, high, &but));
                    (done.unwrap_or_default(), segment.length)
                }
                State::Asleep { done, .. } => (done.clone(), segment.length),
                State::Unscanned { done, as_of } | State::Locked { done, as_of } => {
                    (done.clone(), *as_of)
                }
            };
            if segment.cut || !done.is_empty() {
                segments.push(Progress {
                    segment: *number,
                    identity: segment.header.identity,
                    as_of,
                    cut: if segment.cut {
                        segment.length
                    } else {
                        u64::MAX
                    },
                    done,
                });
            }
        }
        Checkpoint {
            next_number: self.next_number,
            segments,
        }
    }

    /// Sees to it that a segment is deleted when nothing in it is needed.
    pub(super) fn remove_if_spent(&mut self, number: u64) {
        let Some(segment) = self.segments.get(&number) else {
            return;
        };
        let awake = match &segment.state {
            State::Awake => true,
            State::Asleep { bundles, .. } => *bundles == 0,
            State::Unscanned { .. } | State::Locked { .. } => false,
        };
        if segment.live > 0 || !awake {
            return;
        }
        if let Some(writer) = self.writer.as_ref().filter(|w| w.number == number) {
            let long = IDLE_BYTES.min(self.segment_limit() / 4).max(DATA_START);
            if writer.length > long {
                // Comes back here, when it is closed.
                self.retire_writer();
            }
            return;
        }
        self.remove_segment(number);
    }

    /// Nothing in a segment is needed: the next checkpoint deletes it.
    pub(super) fn remove_segment(&mut self, number: u64) {
        self.closing.retain(|closing| closing.number != number);
        if let Some(segment) = self.segments.remove(&number) {
            let identity = segment.header.identity;
            self.doomed.push((number, identity, segment.bytes));
        }
    }

    fn delete(&mut self, number: u64) -> bool {
        match self.files.remove(&self.path(number)) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(_) => {
                self.counts.failed_upkeep += 1;
                false
            }
        }
    }

    fn note_removed(&mut self, number: u64, identity: u64) {
        if self.removed.len() >= MAX_REMOVED {
            self.removed.remove(0);
        }
        self.removed.push((number, identity));
    }

    /// Deletes the first so many segments that are to be deleted.
    pub(super) fn sweep(&mut self, count: usize) {
        let mut doomed = std::mem::take(&mut self.doomed);
        let later = doomed.split_off(count.min(doomed.len()));
        for (number, identity, bytes) in doomed {
            if self.delete(number) {
                self.uncharge(bytes);
                self.note_removed(number, identity);
            } else {
                self.doomed.push((number, identity, bytes));
            }
        }
        self.doomed.extend(later);
    }

    /// A segment was deleted under us: what was in it is lost, but for what memory has as well.
    pub(super) fn forget_segment(&mut self, number: u64) {
        let Some(segment) = self.segments.remove(&number) else {
            return;
        };
        self.closing.retain(|closing| closing.number != number);
        self.uncharge(segment.bytes);
        if let State::Asleep {
            bundles,
            events,
            raw,
            ..
        } = segment.state
        {
            self.counts.held_bundles -= bundles;
            self.count_end(End::Lost, events, raw);
        }
        for id in self.with_part_in(number, |_| true) {
            self.lose_places(id, |place| place.segment == number);
        }
    }

    /// Bundles of the index that have a part in a segment.
    fn with_part_in(&self, number: u64, which: impl Fn(&Entry) -> bool) -> Vec<BundleId> {
        let here = |entry: &&Entry| entry.places.iter().any(|place| place.segment == number);
        let found = self.index.iter().map(|(_, entry)| entry).filter(here);
        found
            .filter(|entry| which(entry))
            .map(|entry| entry.id)
            .collect()
    }

    /// What becomes of parts of a bundle that the disk has no more: memory has them, or nobody.
    pub(super) fn end_of_gone(&self, id: BundleId) -> End {
        match self.index.get(id).is_some_and(|entry| entry.held) {
            true => End::Withdrawn,
            false => End::Lost,
        }
    }

    /// Parts of a bundle cannot be read any more. True when nothing is left of it.
    pub(super) fn lose_places(
        &mut self,
        id: BundleId,
        which: impl Fn(&super::index::Place) -> bool,
    ) -> bool {
        let before = self.index.get(id).map(Entry::segments).unwrap_or_default();
        let end = self.end_of_gone(id);
        for place in self.index.take_places(id, which) {
            self.count_end(end, u64::from(place.events), u64::from(place.raw));
        }
        let after = self.index.get(id).map(Entry::segments);
        if after.is_none() {
            self.counts.held_bundles -= 1;
        }
        let after = after.unwrap_or_default();
        for segment in before {
            if !after.contains(&segment) {
                self.part_from(segment, id.number);
            }
        }
        after.is_empty()
    }

    /// Ends bundles that wait and are older than the rules allow; how many events that were.
    /// Nothing while [`Log::recover`] is not through.
    pub fn expire(&mut self, now: u64) -> u64 {
        let Some(max_age) = self.rules.max_age.filter(|_| !self.is_recovering()) else {
            return 0;
        };
        let before = self.counts.expired_events;
        let limit = now.saturating_sub(max_age);
        let asleep = |(_, segment): &(&u64, &Segment)| {
            matches!(segment.state, State::Asleep { bundles, .. } if bundles > 0)
                && segment.times.1 < limit
        };
        let old: Vec<u64> = self
            .segments
            .iter()
            .filter(asleep)
            .map(|(n, _)| *n)
            .collect();
        for number in old {
            self.end_sleepers(number, End::Expired);
            self.remove_if_spent(number);
        }
        let old = self.index.waiting().filter(|entry| entry.time < limit);
        let old: Vec<BundleId> = old.map(|entry| entry.id).collect();
        for id in old {
            self.end(id, End::Expired);
        }
        self.counts.expired_events - before
    }

    /// Ends all bundles of a segment that are known only as a sum.
    fn end_sleepers(&mut self, number: u64, end: End) {
        let known = self.with_part_in(number, |_| true);
        let mut known: Vec<u64> = known.iter().map(|id| id.number).collect();
        known.sort_unstable();
        let Some(segment) = self.segments.get_mut(&number) else {
            return;
        };
        let (low, high) = segment.numbers.unwrap_or((0, 0));
        if let State::Asleep {
            done,
            bundles,
            events,
            raw,
        } = &mut segment.state
        {
            *done = Ranges::except(low, high, &known);
            let bundles = std::mem::take(bundles);
            let (events, raw) = (std::mem::take(events), std::mem::take(raw));
            self.counts.held_bundles -= bundles;
            self.count_end(end, events, raw);
        }
    }

    /// Deletes the oldest segment of which nothing is taken, with all that waits in it. False when
    /// there is none.
    pub(super) fn drop_oldest_segment(&mut self) -> bool {
        if self.is_recovering() {
            return false;
        }
        let mut pinned: Vec<u64> = Vec::new();
        for (_, entry) in self.index.iter().filter(|(_, entry)| !entry.waiting) {
            pinned.extend(entry.places.iter().map(|place| place.segment));
        }
        let free = |(number, segment): &(&u64, &Segment)| {
            !matches!(segment.state, State::Locked { .. })
                && !pinned.contains(number)
                && !self.is_open(**number)
        };
        let Some((&number, _)) = self.segments.iter().find(free) else {
            return false;
        };
        self.end_sleepers(number, End::Dropped);
        for id in self.with_part_in(number, |_| true) {
            self.end(id, End::Dropped);
        }
        self.remove_if_spent(number);
        self.delete_now()
    }
}
