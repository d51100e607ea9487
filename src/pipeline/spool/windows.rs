//! What is known of bundles one by one, and what only as a sum.
//!
//! Promise: the index stays within `index_bytes`, but for one segment at the head, one at hand, and
//! the bundles that someone has taken or that lie across segments. What is beyond sleeps: of such a
//! segment the log remembers sums and which numbers are done, and reads it again when its turn comes.

use std::io;
use std::sync::Arc;

use super::BundleId;
use super::index::{Entry, Put};
use super::log::{End, Log, Order, Segment, State};
use super::ranges::Ranges;
use super::recover::Met;

/// How often a segment may fail to be opened before others are read in its place.
const GIVE_UP: u8 = 10;

impl Log {
    /// Puts segments to sleep until the index is small enough.
    pub(super) fn sleep_if_large(&mut self) {
        while self.index.bytes() > self.rules.index_bytes {
            let Some(number) = self.sleepy() else {
                return;
            };
            self.put_to_sleep(number);
        }
    }

    /// The segment whose turn comes last, of those that can sleep.
    fn sleepy(&self) -> Option<u64> {
        let order = self.rules.order;
        let head = self
            .index
            .first_waiting(order)
            .map(|((segment, _), _)| segment);
        let can = |(number, segment): &(&u64, &Segment)| {
            matches!(segment.state, State::Awake)
                && Some(**number) != head
                && !self.is_open(**number)
                && self
                    .index
                    .at_home(**number)
                    .any(|entry| self.may_sleep(**number, entry))
        };
        let found = match order {
            Order::OldestFirst => self.segments.iter().rev().find(can),
            Order::NewestFirst => self.segments.iter().find(can),
        };
        found.map(|(number, _)| *number)
    }

    /// Whether a segment is written or waits for its sync.
    pub(super) fn is_open(&self, number: u64) -> bool {
        self.writer.as_ref().is_some_and(|w| w.number == number)
            || self.closing.iter().any(|closing| closing.number == number)
    }

    /// Whether nothing of the bundle lies outside the segment, or may yet come: of one that waits its
    /// holder has said so, or its holder is gone and all of its parts were looked through.
    fn may_sleep(&self, number: u64, entry: &Entry) -> bool {
        entry.waiting
            && entry.places.iter().all(|place| place.segment == number)
            && ((entry.is_whole() && entry.is_keyed()) || !self.is_recovering())
    }

    fn put_to_sleep(&mut self, number: u64) {
        let done = self.done_of(number);
        let sleeping = self
            .index
            .at_home(number)
            .filter(|entry| self.may_sleep(number, entry));
        let ids: Vec<BundleId> = sleeping.map(|entry| entry.id).collect();
        let (mut events, mut raw) = (0, 0);
        for id in &ids {
            if let Some(entry) = self.index.take(*id) {
                events += entry.events();
                raw += entry.raw();
            }
        }
        if let Some(segment) = self.segments.get_mut(&number) {
            let bundles = ids.len() as u64;
            segment.live = segment.live.saturating_sub(bundles);
            segment.state = State::Asleep {
                done,
                bundles,
                events,
                raw,
            };
        }
    }

    /// Numbers of the bundles of an awake segment that are done.
    fn done_of(&self, number: u64) -> Ranges {
        let here = |entry: &&Entry| entry.places.iter().any(|place| place.segment == number);
        let live = self.index.iter().map(|(_, entry)| entry).filter(here);
        let mut live: Vec<u64> = live.map(|entry| entry.id.number).collect();
        live.sort_unstable();
        let range = self
            .segments
            .get(&number)
            .and_then(|segment| segment.numbers);
        range.map_or_else(Ranges::default, |(low, high)| {
            Ranges::except(low, high, &live)
        })
    }

    /// Wakes what comes before the first bundle that waits.
    pub(super) fn wake_for_next(&mut self) -> io::Result<()> {
        loop {
            let order = self.rules.order;
            let sleeps = |(_, segment): &(&u64, &Segment)| matches!(segment.state, State::Asleep { bundles, .. } if bundles > 0);
            let found = match order {
                Order::OldestFirst => self.segments.iter().find(sleeps),
                Order::NewestFirst => self.segments.iter().rev().find(sleeps),
            };
            let Some((&number, _)) = found else {
                return Ok(());
            };
            let before = |((segment, _), _): ((u64, u32), BundleId)| match order {
                Order::OldestFirst => number < segment,
                Order::NewestFirst => number > segment,
            };
            if !self.index.first_waiting(order).is_none_or(before) {
                return Ok(());
            }
            self.wake(number)?;
            self.sleep_if_large();
        }
    }

    fn wake(&mut self, number: u64) -> io::Result<()> {
        let Some(segment) = self.segments.get(&number) else {
            return Ok(());
        };
        let prefix = segment.header.prefix;
        let State::Asleep {
            done,
            bundles,
            events,
            raw,
        } = &segment.state
        else {
            return Ok(());
        };
        let (done, expected) = (done.clone(), (*bundles, *events, *raw));
        let kept = Arc::new(done.clone());
        let met = match self.scan(number, false, |met| {
            (!kept.contains(met.number)).then_some(met)
        }) {
            Ok(met) => met,
            Err(error) if self.is_missing(number, &error) => {
                self.counts.missing_segments += 1;
                self.forget_segment(number);
                return Ok(());
            }
            Err(error) => {
                if let Some(segment) = self.segments.get_mut(&number)
                    && segment.tries >= GIVE_UP
                {
                    self.counts.locked_segments += 1;
                    segment.state = State::Locked {
                        done,
                        as_of: u64::MAX,
                    };
                }
                return Err(error);
            }
        };
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.state = State::Awake;
        }
        self.put_woken(number, prefix, met, expected);
        Ok(())
    }

    fn put_woken(
        &mut self,
        number: u64,
        prefix: u64,
        mut met: Vec<Met>,
        expected: (u64, u64, u64),
    ) {
        // These never slept: they are taken, or lie across segments.
        met.retain(|met| {
            !self.index.contains(BundleId {
                prefix,
                number: met.number,
            })
        });
        let (mut bundles, mut events, mut raw) = (0_u64, 0_u64, 0_u64);
        for met in met {
            let id = BundleId {
                prefix,
                number: met.number,
            };
            let fresh = !self.index.contains(id);
            if self.index.put(id, met.place, met.time, true) != Put::Repeated {
                bundles += u64::from(fresh);
                events += u64::from(met.place.events);
                raw += u64::from(met.place.raw);
            }
        }
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.live += bundles;
        }
        // What was damaged while it slept.
        let lost = (
            expected.1.saturating_sub(events),
            expected.2.saturating_sub(raw),
        );
        self.counts.held_bundles -= expected.0.saturating_sub(bundles);
        self.count_end(End::Lost, lost.0, lost.1);
        // The order of a bundle and of what it was a part of when it slept cannot bring more.
        let more = events.saturating_sub(expected.1);
        self.counts.recovered_events += more;
        self.counts.held_events += more;
        self.counts.held_raw_bytes += raw.saturating_sub(expected.2);
        self.counts.held_bundles += bundles.saturating_sub(expected.0);
        self.remove_if_spent(number);
    }
}
