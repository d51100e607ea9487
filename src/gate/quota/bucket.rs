//! The state of the keys of one limit, and what new keys cost.
//!
//! Promise: a key that is known is held to its windows exactly. As long as it is new all that it takes
//! is charged to its parent as well (the prefix around an address, or all keys together), so that keys
//! that are given up while they are new get no more in all than the parent allows. A key is new for as
//! long as its burst takes to come back: by then it could have sent as much without being another. Time
//! alone ends that: one that sent a unit and waited may then send a burst that its parent never sees,
//! so of all keys that are kept each may have its own limit. A key for which there is no place
//! ([`Place::Full`]) is charged to the parent alone, each time, until it has a place; one that asks
//! often gets a pinned place (`heavy`). Nothing in use is ever forgotten, so nobody gains by being
//! pushed out.
//!
//! What bounds over-admission: a key without a place is not held to its own windows. All such keys
//! of one parent together are held to the parent's.
//!
//! Locks are taken from a key to its parent, never the other way.

use super::above::{Above, take_all};
use super::heavy::{Heavy, HeavyKeys};
use super::table::{Place, Table};
use super::window::{Factor, Now, Room, Window};

/// Windows of a limit, the halves for the reserve included.
pub const MAX_WINDOWS: usize = 8;

/// In place of a parent's hash: there is none, and new keys are charged to what is above parents.
pub const NO_PARENT: u64 = u64::MAX;

/// The words of one key: one for each window, and until when it is new.
pub type Words = [u64; MAX_WINDOWS + 1];

/// Keys of one kind, and what is above them.
#[derive(Debug)]
pub struct Bucket {
    /// The windows; from `ordinary` on they bind only events without a reserve.
    windows: Box<[Window]>,
    ordinary: usize,
    table: Table,
    /// Nanoseconds in which all that a key can take at once comes back, by its rates; 0: it has none.
    rest: u64,
    heavy: HeavyKeys,
    above: Above,
}

/// A request for units.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The hash of the key, then those of its parents.
    pub hashes: &'a [u64],
    /// Units.
    pub units: u64,
    /// Whether they may use the reserve.
    pub reserved: bool,
    /// How much of the limit the key gets.
    pub factor: Factor,
    /// When.
    pub now: Now,
}

/// What was charged: a bit for each level, the key's own first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charged(pub(super) u8);

impl Charged {
    const LEASED: u8 = 0x80;

    /// The same, and that a lease was charged as well.
    pub(super) fn leased(self) -> Self {
        Self(self.0 | Self::LEASED)
    }

    /// What was charged, seen from the level below, which was not.
    fn of_above(self) -> Self {
        Self(self.0 << 1)
    }

    /// Whether a lease was charged, and the rest.
    pub(super) fn split(self) -> (bool, Self) {
        (self.0 & Self::LEASED != 0, Self(self.0 & !Self::LEASED))
    }
}

/// Not enough room, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Nanoseconds to wait; `None`: it would never pass.
    pub wait: Option<u64>,
    /// Whether it was the key itself that had no room, and not what new keys are charged to.
    pub own: bool,
}

impl Bucket {
    /// Keys with these windows, at most `keys` at once; new ones are charged to all keys together,
    /// by `root`. A part of each window, in percent, is open only to what may use the reserve.
    ///
    /// At most four windows count: the configuration allows no more.
    #[must_use]
    pub fn new(windows: &[Window], keys: u32, reserve: u8, root: &[Window]) -> Self {
        let main = windows.iter().take(MAX_WINDOWS / 2);
        let twins = main.clone().filter(|_| reserve > 0);
        let ordinary = main.len();
        let windows: Box<[Window]> = main
            .clone()
            .cloned()
            .chain(twins.map(|window| window.percent(100_u8.saturating_sub(reserve))))
            .collect();
        let rates = windows.iter().filter_map(|window| match window {
            Window::Rate(rate) => Some(rate.rest()),
            Window::Budget(_) => None,
        });
        Self {
            rest: rates.max().unwrap_or_default(),
            table: Table::new(keys, windows.len() + 1),
            windows,
            ordinary,
            heavy: HeavyKeys::default(),
            above: Above::all(root),
        }
    }

    /// Puts a parent above: new keys are charged to it, and its new keys to what is above it.
    #[must_use]
    pub fn below(mut self, parent: Self) -> Self {
        self.above = Above::Bucket(Box::new(parent));
        self
    }

    /// Takes units, or nothing.
    ///
    /// # Errors
    /// [`Full`], and nothing was taken.
    pub fn take(&self, ask: Ask<'_>, text: &dyn Fn() -> String) -> Result<Charged, Full> {
        let Some((own, above)) = ask.hashes.split_first() else {
            return Err(Full {
                wait: None,
                own: true,
            });
        };
        if *own == NO_PARENT {
            return self.above.take(above, ask).map(Charged::of_above);
        }
        let idle = |words: &[u64]| self.worth(words, ask.now);
        let taken = self.table.with(*own, idle, |place| match place {
            Place::Known(words) => Some(self.take_known(words, above, ask)),
            Place::Free(free) => {
                // A place has come free for a key that had only a pin: it moves, with all it has used.
                if let Some(mut words) = self.heavy.unpin(*own) {
                    let taken = self.take_known(&mut words, above, ask);
                    free.claim(&words);
                    return Some(taken);
                }
                let mut words = self.newborn(ask.now);
                let taken = self.take_known(&mut words, above, ask);
                if taken.is_ok() {
                    free.claim(&words);
                }
                Some(taken)
            }
            Place::Full => None,
        });
        taken.unwrap_or_else(|| self.take_homeless(*own, above, ask, text))
    }

    /// Takes from the words of a key, and as long as it is new from what is above as well.
    fn take_known(&self, words: &mut [u64], above: &[u64], ask: Ask<'_>) -> Result<Charged, Full> {
        if !self.is_new(words, ask.now) {
            return self.take_words(words, ask).map(|()| Charged(1));
        }
        let mut after = copy_of(words);
        let taken = self.take_words(&mut after, ask);
        taken.map_err(|full| self.until_above(full, words, above, ask))?;
        let charged = self.above.take(above, ask)?;
        for (word, after) in words.iter_mut().zip(after) {
            *word = after;
        }
        Ok(Charged(charged.0 << 1 | 1))
    }

    /// How long a new key that has no room waits: until there is room above as well, or until it needs
    /// none there.
    fn until_above(&self, full: Full, words: &[u64], above: &[u64], ask: Ask<'_>) -> Full {
        let until = words.get(self.windows.len()).copied().unwrap_or_default();
        let left = until.saturating_sub(ask.now.nanos);
        let wait = full.wait.map(|wait| match self.above.look(above, ask) {
            Err(above) if wait < left => wait.max(above.wait.unwrap_or(left).min(left)),
            _ => wait,
        });
        Full { wait, ..full }
    }

    /// The words of a key that has not taken anything yet. Behind those of its windows stands until when
    /// it is new: until all that it can take at once would have come back. Of a limit of budgets alone
    /// that is the end of the day or month.
    fn newborn(&self, now: Now) -> Words {
        let mut words = Words::default();
        let rests = match self.rest {
            0 => self.windows().iter().map(|window| window.rest(now)).max(),
            rest => Some(rest),
        };
        if let Some(until) = words.get_mut(self.windows.len()) {
            *until = now.nanos.saturating_add(rests.unwrap_or_default().max(1));
        }
        words
    }

    /// Whether a key is new: then what is above it is charged as well.
    fn is_new(&self, words: &[u64], now: Now) -> bool {
        let until = words.get(self.windows.len());
        until.is_some_and(|until| *until > now.nanos)
    }

    /// Notes units that somebody else let pass: a key that is known is charged whatever room it has,
    /// a new one is charged to what is above it.
    ///
    /// # Errors
    /// [`Full`] when there is no room for a new key, and nothing was noted.
    pub fn note(&self, ask: Ask<'_>, text: &dyn Fn() -> String) -> Result<Charged, Full> {
        let Some((own, above)) = ask.hashes.split_first() else {
            return Ok(Charged::default());
        };
        let note = |words: &mut [u64]| {
            let charged = match self.is_new(words, ask.now) {
                true => Charged(self.above.take(above, ask)?.0 << 1 | 1),
                false => Charged(1),
            };
            for (window, word) in self.windows.iter().zip(words) {
                *word = window.note(*word, ask.units, ask.factor, ask.now);
            }
            Ok(charged)
        };
        let idle = |words: &[u64]| self.worth(words, ask.now);
        let noted = self.table.with(*own, idle, |place| match place {
            Place::Known(words) => Some(note(words)),
            Place::Free(free) => {
                if let Some(mut words) = self.heavy.unpin(*own) {
                    let noted = note(&mut words);
                    free.claim(&words);
                    return Some(noted);
                }
                let mut words = self.newborn(ask.now);
                let noted = note(&mut words);
                if noted.is_ok() {
                    free.claim(&words);
                }
                Some(noted)
            }
            Place::Full => None,
        });
        noted.unwrap_or_else(|| {
            let full = |full: Full| Full { own: false, ..full };
            self.take_homeless(*own, above, ask, text).map_err(full)
        })
    }

    /// Whether units would pass. Nothing is taken, and nothing is kept of a key that is not known.
    ///
    /// # Errors
    /// [`Full`], as [`Bucket::take`] would say.
    pub fn look(&self, ask: Ask<'_>) -> Result<(), Full> {
        let Some((own, above)) = ask.hashes.split_first() else {
            return Ok(());
        };
        if *own == NO_PARENT {
            return self.above.look(above, ask);
        }
        let known = self.known(*own, copy_of);
        let mut words = known.unwrap_or_else(|| self.newborn(ask.now));
        let taken = self.take_words(&mut words, ask);
        taken.map_err(|full| self.until_above(full, &words, above, ask))?;
        match self.is_new(&words, ask.now) {
            true => self.above.look(above, ask),
            false => Ok(()),
        }
    }

    /// Whether units that somebody else lets pass would be noted: see [`Bucket::note`].
    ///
    /// # Errors
    /// [`Full`], as [`Bucket::note`] would say.
    pub fn look_noted(&self, ask: Ask<'_>) -> Result<(), Full> {
        let Some((own, above)) = ask.hashes.split_first() else {
            return Ok(());
        };
        match self.known(*own, |words| self.is_new(words, ask.now)) {
            Some(false) => Ok(()),
            Some(true) | None => self.above.look(above, ask),
        }
    }

    /// What a key has used of each window that is a budget, in their order; 0 for rates.
    #[must_use]
    pub fn spent(&self, own: u64, now: Now) -> Vec<u64> {
        let spent = |words: &mut [u64]| -> Vec<u64> {
            let pairs = self.windows.iter().zip(words);
            pairs
                .map(|(window, word)| window.spent(*word, now))
                .collect()
        };
        self.known(own, spent).unwrap_or_default()
    }

    /// Sees the words of a key that is known, in its place or by its pin.
    fn known<R>(&self, own: u64, see: impl FnOnce(&mut [u64]) -> R) -> Option<R> {
        let mut see = Some(see);
        let never = |_: &[u64]| None::<(bool, u64)>;
        let placed = self.table.with(own, never, |place| match place {
            Place::Known(words) => see.take().map(|see| see(words)),
            Place::Free(_) | Place::Full => None,
        });
        placed.or_else(|| {
            let see = see.take()?;
            self.heavy.pinned(own, |words| see(words))
        })
    }

    fn take_homeless(
        &self,
        own: u64,
        above: &[u64],
        ask: Ask<'_>,
        text: &dyn Fn() -> String,
    ) -> Result<Charged, Full> {
        let pinned = |words: &mut Words| self.take_known(words, above, ask);
        if let Some(taken) = self.heavy.pinned(own, pinned) {
            return taken;
        }
        let mut words = self.newborn(ask.now);
        self.take_words(&mut words, ask)?;
        let charged = self.above.take(above, ask)?;
        let idle = |words: &Words| self.is_idle(words, ask.now);
        self.heavy
            .see_homeless(own, &words, ask.now.nanos, idle, text);
        Ok(Charged(charged.0 << 1))
    }

    /// The windows that bind units: what may use the reserve is not bound by the halves without it.
    fn binding(&self, reserved: bool) -> &[Window] {
        if reserved {
            self.windows()
        } else {
            &self.windows
        }
    }

    /// Takes from the words of a key: from all windows or from none.
    fn take_words(&self, words: &mut [u64], ask: Ask<'_>) -> Result<(), Full> {
        take_all(self.binding(ask.reserved), words, ask).map_err(|over| Full {
            wait: over.wait,
            own: true,
        })
    }

    /// Gives back what was taken, at the time of `ask`. It comes back to what is above as long as the key
    /// is new; later not: by then it may have what it has because of that charge. A new key of which
    /// nothing is left is forgotten, as if it had never come; one that is pinned begins to be new again.
    pub fn give_back(&self, ask: Ask<'_>, charged: Charged, now: Now) {
        let Some((own, above)) = ask.hashes.split_first() else {
            return;
        };
        let mut comes_back = charged.0 > 1;
        if charged.0 & 1 == 1 {
            // Whatever became of its key since: one that came for this is not new any more.
            comes_back = comes_back && self.is_new(&self.newborn(ask.now), now);
            let windows = self.binding(ask.reserved);
            let mut give = |words: &mut [u64]| {
                for (window, word) in windows.iter().zip(words.iter_mut()) {
                    *word = window.give_back(*word, ask.units, ask.factor, ask.now, now);
                }
                comes_back &= self.is_new(words, now);
                comes_back && self.is_idle(words, now)
            };
            // What is not known any more has nothing to give back to.
            if !self.table.forget_if(*own, &mut give) {
                let _unknown = self.heavy.pinned(*own, |words| {
                    if give(words) {
                        *words = self.newborn(now);
                    }
                });
            }
        }
        if comes_back {
            self.above
                .give_back(above, ask, Charged(charged.0 >> 1), now);
        }
    }

    /// What the windows of a key would let pass now, in their order; without the halves for the
    /// reserve when `reserved`.
    #[must_use]
    pub fn rooms(&self, own: u64, reserved: bool, factor: Factor, now: Now) -> Vec<Room> {
        let kept = self.words_of(own);
        let windows = self.binding(reserved).iter().zip(&kept);
        windows
            .map(|(window, word)| window.room(*word, factor, now))
            .collect()
    }

    /// Whether a unit of a key would pass by its own windows; nothing is taken.
    ///
    /// # Errors
    /// [`Full`].
    pub fn would_pass(&self, own: u64, factor: Factor, now: Now) -> Result<(), Full> {
        let ask = Ask {
            hashes: &[],
            units: 1,
            reserved: false,
            factor,
            now,
        };
        self.take_words(&mut self.words_of(own), ask)
    }

    /// A key gets another factor: what it has used counts in units, not in time, so that a raise
    /// helps at once.
    pub fn rescale(&self, own: u64, from: Factor, to: Factor, now: Now) {
        // A key that is not known has used nothing.
        let _unknown = self.known(own, |words| {
            for (window, word) in self.windows.iter().zip(words) {
                *word = window.rescale(*word, from, to, now);
            }
        });
    }

    /// The words of a key; those of one that is not known say "never used".
    fn words_of(&self, own: u64) -> Words {
        self.known(own, copy_of).unwrap_or_default()
    }

    /// Counts a key among those that send the most.
    pub fn see(&self, hash: u64, units: u64, now: Now, text: impl FnOnce() -> String) {
        self.heavy.see(hash, units, now.nanos, text);
    }

    /// The keys that send the most.
    #[must_use]
    pub fn top(&self, now: Now) -> Vec<Heavy> {
        self.heavy.top(now.nanos)
    }

    /// Places for keys, and how many hold one.
    #[must_use]
    pub fn places(&self) -> (u64, u64) {
        (self.table.capacity(), self.table.taken())
    }

    /// The windows, without the halves for the reserve.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        self.windows.get(..self.ordinary).unwrap_or_default()
    }

    /// Shows every key whose budgets are in use: its hash, and its words. Rates are left out as 0:
    /// their clock ends with the process.
    pub fn each_budget(&self, now: Now, mut see: impl FnMut(u64, &[u64])) {
        let mut show = |hash: u64, words: &[u64]| {
            let mut kept = Words::default();
            let pairs = self.windows.iter().zip(words).zip(kept.iter_mut());
            let mut used = false;
            for ((window, word), kept) in pairs {
                if window.is_budget() && !window.is_idle(*word, now) {
                    *kept = *word;
                    used = true;
                }
            }
            if used {
                see(hash, kept.get(..self.windows.len()).unwrap_or_default());
            }
        };
        self.table.each(&mut show);
        self.heavy.each_pin(|hash, words| show(hash, words));
    }

    /// Which of a key's words belong to budgets, in their order.
    pub fn budget_words(&self) -> impl Iterator<Item = usize> + '_ {
        let windows = self.windows.iter().enumerate();
        windows.filter_map(|(index, window)| window.is_budget().then_some(index))
    }

    /// Takes up what [`Bucket::each_budget`] once showed of a key. What finds no place is `false`;
    /// what counts no more needs none.
    #[must_use]
    pub fn restore(&self, hash: u64, words: &[u64], now: Now) -> bool {
        if self.is_idle(words, now) {
            return true;
        }
        let idle = |words: &[u64]| self.worth(words, now);
        let merge = |kept: &mut [u64]| {
            for (kept, word) in kept.iter_mut().zip(words) {
                *kept = (*kept).max(*word);
            }
        };
        let placed = self.table.with(hash, idle, |place| match place {
            Place::Known(kept) => {
                merge(kept);
                true
            }
            Place::Free(free) => {
                let mut whole = Words::default();
                merge(&mut whole);
                free.claim(&whole);
                true
            }
            Place::Full => false,
        });
        if placed || self.heavy.pinned(hash, |kept| merge(kept)).is_some() {
            return true;
        }
        let mut whole = Words::default();
        merge(&mut whole);
        self.heavy.pin(hash, &whole)
    }

    /// What is lost when the words of a key are forgotten; `None`: they may not be, since it is not idle.
    /// One that is still new pays its parent anyway; of the others the one idle for longest loses least.
    fn worth(&self, words: &[u64], now: Now) -> Option<(bool, u64)> {
        let last = || {
            let pairs = self.windows.iter().zip(words);
            let rates = pairs.filter(|(window, _)| !window.is_budget());
            let last = rates.map(|(_, word)| *word).max();
            // Those of budgets begin with the period.
            last.or_else(|| words.iter().take(self.windows.len()).copied().max())
        };
        let idle = self.is_idle(words, now);
        idle.then(|| (!self.is_new(words, now), last().unwrap_or_default()))
    }

    fn is_idle(&self, words: &[u64], now: Now) -> bool {
        let mut pairs = self.windows.iter().zip(words);
        pairs.all(|(window, word)| window.is_idle(*word, now))
    }
}

fn copy_of(words: &mut [u64]) -> Words {
    let mut copy = Words::default();
    for (to, from) in copy.iter_mut().zip(words) {
        *to = *from;
    }
    copy
}
