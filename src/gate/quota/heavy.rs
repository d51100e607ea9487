//! Who sends the most, in a fixed amount of memory.
//!
//! The sketch is Space-Saving (Metwally, Agrawal, El Abbadi 2005): of `SIZE` counters, a key that
//! has none takes over the smallest one and its count, which is kept as its error. Whoever sent more
//! than 1/`SIZE` of all is in it for sure. Counts are halved every minute, so that it tells of now.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bucket::Words;

/// Keys that are told apart.
const SIZE: usize = 128;
/// Keys that get a place of their own though the table has none for them.
const PINS: usize = 256;
/// Sightings of a key since the last halving, beyond its possible error, after which it is pinned.
const PIN_AFTER: u64 = 16;
const HALVING: u64 = 60_000_000_000;
/// The longest text of a key that is kept, in bytes.
const MAX_TEXT: usize = 160;

/// A key that sends much.
#[derive(Clone, Debug)]
pub struct Heavy {
    /// The hash of the key.
    pub hash: u64,
    /// The key as text, at most 160 bytes.
    pub text: Box<str>,
    /// Whether the text was longer, so that it names no key any more.
    pub cut: bool,
    /// About how many units it asked for in the last minute or two; never too few.
    pub count: u64,
    /// By how many `count` may be too high.
    pub error: u64,
}

/// What is told of a key.
#[derive(Debug)]
struct Told {
    error: u64,
    /// As text. `None`: it has taken over a counter and was not seen again, as nearly all keys of a
    /// flood, whose texts nobody will read.
    text: Option<Box<str>>,
    cut: bool,
}

impl Told {
    fn write(&mut self, mut text: String) {
        self.cut = text.len() > MAX_TEXT;
        if self.cut {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
        }
        self.text = Some(text.into_boxed_str());
    }
}

/// The keys that send the most, and the state of those of them that the table has no place for.
#[derive(Debug, Default)]
pub struct HeavyKeys {
    sketch: Mutex<Sketch>,
    /// Whether anything was ever pinned, so that nobody looks in vain.
    has_pins: AtomicBool,
}

/// Counters stand apart from what is told of their keys, since every sighting looks through all of
/// them.
#[derive(Debug, Default)]
struct Sketch {
    hashes: Vec<u64>,
    counts: Vec<u64>,
    told: Vec<Told>,
    halved: u64,
    pins: Vec<(u64, Words)>,
}

impl HeavyKeys {
    /// Counts what a key asked for.
    pub fn see(&self, hash: u64, units: u64, nanos: u64, text: impl FnOnce() -> String) {
        self.lock().see(hash, units, nanos, text);
    }

    /// The keys, the heaviest first; without those that were seen once, after others had been counted
    /// in their place.
    #[must_use]
    pub fn top(&self, nanos: u64) -> Vec<Heavy> {
        let mut sketch = self.lock();
        sketch.halve(nanos);
        let mut top: Vec<Heavy> = sketch.known().collect();
        drop(sketch);
        top.sort_by_key(|heavy| std::cmp::Reverse(heavy.count));
        top
    }

    /// Looks up a key that the table has no place for: its words, if it is pinned.
    pub fn pinned<R>(&self, hash: u64, found: impl FnOnce(&mut Words) -> R) -> Option<R> {
        if !self.has_pins.load(Ordering::Relaxed) {
            return None;
        }
        let mut sketch = self.lock();
        let pin = sketch.pins.iter_mut().find(|(pinned, _)| *pinned == hash)?;
        Some(found(&mut pin.1))
    }

    /// Shows every pinned key.
    pub fn each_pin(&self, mut see: impl FnMut(u64, &Words)) {
        let pins = self.lock().pins.clone();
        for (hash, words) in &pins {
            see(*hash, words);
        }
    }

    /// Pins a key that was pinned before, if there is room.
    pub fn pin(&self, hash: u64, words: &Words) -> bool {
        let mut sketch = self.lock();
        let room = sketch.pins.len() < PINS;
        self.has_pins.store(true, Ordering::Relaxed);
        if room {
            sketch.pins.push((hash, *words));
        }
        room
    }

    /// Counts a key that the table has no place for, and gives it one here once it is heavy. A pin
    /// is given to another key only when its words may be forgotten.
    pub fn see_homeless(
        &self,
        hash: u64,
        words: &Words,
        nanos: u64,
        is_idle: impl Fn(&Words) -> bool,
        text: impl FnOnce() -> String,
    ) {
        let mut sketch = self.lock();
        sketch.see(hash, 1, nanos, text);
        if sketch.surely(hash) < PIN_AFTER {
            return;
        }
        self.has_pins.store(true, Ordering::Relaxed);
        if sketch.pins.iter().any(|(pinned, _)| *pinned == hash) {
            // Another request of the same key was faster.
        } else if sketch.pins.len() < PINS {
            sketch.pins.push((hash, *words));
        } else if let Some(idle) = sketch.pins.iter_mut().find(|(_, words)| is_idle(words)) {
            *idle = (hash, *words);
        }
    }

    /// Takes the pin of a key away, since the table has a place for it now: its words.
    pub fn unpin(&self, hash: u64) -> Option<Words> {
        if !self.has_pins.load(Ordering::Relaxed) {
            return None;
        }
        let mut sketch = self.lock();
        let place = sketch.pins.iter().position(|(pinned, _)| *pinned == hash)?;
        Some(sketch.pins.swap_remove(place).1)
    }

    fn lock(&self) -> MutexGuard<'_, Sketch> {
        self.sketch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sketch {
    fn see(&mut self, hash: u64, units: u64, nanos: u64, text: impl FnOnce() -> String) {
        self.halve(nanos);
        if let Some(known) = self.hashes.iter().position(|one| *one == hash) {
            if let (Some(count), Some(told)) =
                (self.counts.get_mut(known), self.told.get_mut(known))
            {
                *count = count.saturating_add(units);
                if told.text.is_none() {
                    told.write(text());
                }
            }
            return;
        }
        if self.hashes.len() < SIZE {
            let mut told = Told {
                error: 0,
                text: None,
                cut: false,
            };
            told.write(text());
            self.hashes.push(hash);
            self.counts.push(units);
            self.told.push(told);
            return;
        }
        let counts = self.counts.iter_mut().enumerate();
        let Some((place, least)) = counts.min_by_key(|(_, count)| **count) else {
            return;
        };
        let error = *least;
        *least = error.saturating_add(units);
        if let (Some(one), Some(told)) = (self.hashes.get_mut(place), self.told.get_mut(place)) {
            *one = hash;
            *told = Told {
                error,
                text: None,
                cut: false,
            };
        }
    }

    /// Units that a key asked for, those that may have been another's taken off.
    fn surely(&self, hash: u64) -> u64 {
        let place = self.hashes.iter().position(|one| *one == hash);
        let counted =
            place.and_then(|place| Some((self.counts.get(place)?, self.told.get(place)?)));
        counted.map_or(0, |(count, told)| count.saturating_sub(told.error))
    }

    /// The keys whose text is known.
    fn known(&self) -> impl Iterator<Item = Heavy> {
        let counters = self.hashes.iter().zip(&self.counts).zip(&self.told);
        counters.filter_map(|((hash, count), told)| {
            Some(Heavy {
                hash: *hash,
                text: told.text.clone()?,
                cut: told.cut,
                count: *count,
                error: told.error,
            })
        })
    }

    fn halve(&mut self, nanos: u64) {
        if nanos.saturating_sub(self.halved) < HALVING {
            return;
        }
        let times = (nanos - self.halved) / HALVING;
        self.halved = nanos;
        let shift = u32::try_from(times.min(63)).unwrap_or(63);
        for count in &mut self.counts {
            *count >>= shift;
        }
        for told in &mut self.told {
            told.error >>= shift;
        }
        // From the end, so that what takes the place of another was looked at.
        for place in (0..self.counts.len()).rev() {
            if self.counts.get(place) == Some(&0) {
                self.hashes.swap_remove(place);
                self.counts.swap_remove(place);
                self.told.swap_remove(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_sends_more_than_its_share_is_found_among_many() {
        let heavy = HeavyKeys::default();
        for number in 0..100_000u64 {
            heavy.see(number + 1000, 1, 0, || format!("light {number}"));
            if number % 50 == 0 {
                heavy.see(7, 1, 0, || "seven".to_owned());
            }
        }
        let top = heavy.top(0);
        assert_eq!(
            heavy.lock().hashes.len(),
            SIZE,
            "keys told apart are bounded"
        );
        let once = |one: &&Heavy| one.text.starts_with("light") && one.count == one.error + 1;
        assert_eq!(
            top.iter().filter(once).count(),
            0,
            "nobody reads the texts of a flood"
        );
        let seven = top.iter().find(|one| one.hash == 7).unwrap();
        assert_eq!(&*seven.text, "seven");
        assert!(seven.count >= 2000);
        assert!(heavy.top(HALVING)[0].count <= top[0].count / 2);
        assert!(heavy.top(70 * HALVING).is_empty(), "all is forgotten");
    }

    #[test]
    fn a_heavy_key_without_a_place_is_pinned_and_a_light_one_is_not() {
        let heavy = HeavyKeys::default();
        let words = Words::default();
        let see = |hash| heavy.see_homeless(hash, &words, 0, |_| false, String::new);
        for _ in 0..PIN_AFTER - 1 {
            see(7);
        }
        assert!(heavy.pinned(7, |_| ()).is_none());
        see(7);
        assert!(heavy.pinned(7, |_| ()).is_some());
        see(8);
        assert!(heavy.pinned(8, |_| ()).is_none());
        for hash in 100..1000 {
            (0..2 * PIN_AFTER).for_each(|_| see(hash));
        }
        assert_eq!(heavy.lock().pins.len(), PINS, "pins are bounded");
        assert!(
            heavy.pinned(7, |_| ()).is_some(),
            "and none is taken away while in use"
        );
    }
}
