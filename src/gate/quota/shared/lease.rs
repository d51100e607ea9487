//! What a node may let pass of a shared limit before the store is heard again.
//!
//! For each key a cell holds credit: units that the store has charged and that are not used yet, at
//! most [`Lease::held`]. Credit may go below nothing, to [`Lease::debt`], so that the first requests
//! of a key pass at once; the store is told, and always charges debt. Once the store has said that
//! there is no room, nothing passes until the time that it gave.
//!
//! Promise: in any stretch of time all nodes together admit at most what the limit allows, and for
//! each node `held + debt` units (a lease; of a key that was raised or lowered so much more or less, at
//! least one each) and one request beyond. For: what is admitted is what the
//! store has charged, and the credit at the beginning, and the debt at the end. A node makes debt
//! only after the store's last word was that there is room, or that there would be by now; between
//! two such words at most `debt` and the request that goes over it. So what the store has charged is
//! never more than that for each node ahead of the limit.
//!
//! Not here: what passes while the store is away (`Bucket`, with the node's share).

use std::sync::Arc;

use super::super::bucket::Bucket;
use super::super::table::{Place, Table};
use super::super::window::{Factor, Now, Window};
use super::desk::{Ask, Digest, Store};
use super::script::{Answer, Claim};
use crate::config;
use crate::telemetry::Counter;

/// Words of a cell.
const WORDS: usize = config::WORDS_OF_LEASE;
const MILLI: u64 = 1_000_000;
/// An answer that is later than this is not reckoned with: the key goes on alone until it comes.
const LATE: u64 = 5 * MILLI;
/// A lease that was asked for so long ago is asked for again.
const LOST: u64 = 1000 * MILLI;
/// How often the store is asked again whether there is still no room.
const RECHECK: u64 = 1000 * MILLI;
/// A key that the store could not serve is left to the node for this time.
const ASIDE: u64 = 1000 * MILLI;
/// A cell that was not used for this time may be given to another key.
const IDLE: u64 = 60_000 * MILLI;
/// The same, while the store has to be told of a budget.
const IDLE_OWING: u64 = 24 * 3600 * 1000 * MILLI;
/// What a rate brings in this part of a second may be leased, where its burst is small.
const PART_OF_SECOND: u64 = 100;

/// The leases of one limit.
#[derive(Debug)]
pub struct Lease {
    limit: Arc<str>,
    windows: Box<[Window]>,
    has_budgets: bool,
    held: u64,
    debt: u64,
    cells: Table,
    bucket: Arc<Bucket>,
    store: Arc<Store>,
    /// Refused because debt was used up before the store had answered.
    pub outrun: Counter,
    /// Decided by the node alone, since the store was away or late.
    pub alone: Counter,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    /// Units, below 0 when the store has to be told of them.
    credit: i64,
    /// No room until then, by the store's word.
    until: u64,
    /// When the store was asked; 0: it has answered.
    asked: u64,
    /// When it last answered.
    heard: u64,
    /// When the key was last used.
    touched: u64,
    /// Units of budgets that passed while the store was away.
    away: u64,
    /// The birth of the key in the store.
    birth: u64,
    /// What the store had room for beyond the credit.
    room: u64,
    /// The store cannot serve this key; it is left alone until then.
    aside: u64,
}

/// What becomes of units that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// They pass.
    Passed,
    /// They do not; after so many nanoseconds they might. `None`: they never do.
    Full(Option<u64>),
    /// The node has to decide by itself.
    Alone,
    /// There is no cell for the key: the node has to decide by itself, whatever the store does.
    Homeless,
}

impl Cell {
    #[expect(clippy::cast_possible_wrap, reason = "a word is bits")]
    fn read(words: &[u64]) -> Self {
        let [
            credit,
            until,
            asked,
            heard,
            touched,
            away,
            birth,
            room,
            aside,
            ..,
        ] = *words
        else {
            return Self::default();
        };
        Self {
            credit: credit as i64,
            until,
            asked,
            heard,
            touched,
            away,
            birth,
            room,
            aside,
        }
    }

    #[expect(clippy::cast_sign_loss, reason = "a word is bits")]
    fn words(self) -> [u64; WORDS] {
        [
            self.credit as u64,
            self.until,
            self.asked,
            self.heard,
            self.touched,
            self.away,
            self.birth,
            self.room,
            self.aside,
        ]
    }

    fn is_idle(&self, now: u64) -> bool {
        let idle = now.saturating_sub(self.touched);
        self.until <= now && idle > if self.away > 0 { IDLE_OWING } else { IDLE }
    }

    fn is_pending(&self, now: u64) -> bool {
        self.asked > 0 && now.saturating_sub(self.asked) < LOST
    }
}

fn signed(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

impl Lease {
    /// The leases of a limit with these windows, for keys that `bucket` counts by the node's share.
    #[must_use]
    pub fn new(
        rule: &config::Limit,
        windows: &[Window],
        bucket: Arc<Bucket>,
        store: Arc<Store>,
    ) -> Self {
        let lease = lease_of(windows, store.nodes(), store.lease_percent());
        Self {
            limit: rule.name.as_str().into(),
            has_budgets: windows.iter().any(Window::is_budget),
            windows: windows.into(),
            held: lease / 2,
            debt: lease - lease / 2,
            cells: Table::new(rule.max_keys, WORDS),
            bucket,
            store,
            outrun: Counter::default(),
            alone: Counter::default(),
        }
    }

    /// Credit that is kept for a key, at most.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Units that pass before the store is told, at most, but for the last request.
    #[must_use]
    pub fn debt(&self) -> u64 {
        self.debt
    }

    /// The limit.
    pub(super) fn limit(&self) -> &str {
        &self.limit
    }

    /// The windows of the whole limit.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Keys that have a cell or had one, and cells.
    #[must_use]
    pub fn places(&self) -> (u64, u64) {
        (self.cells.taken(), self.cells.capacity())
    }

    /// Takes units for a key, or nothing. Never waits. `text`: the key as all nodes write it.
    pub fn take(
        self: &Arc<Self>,
        own: u64,
        units: u64,
        factor: Factor,
        now: Now,
        text: &dyn Fn() -> String,
    ) -> Word {
        if self.is_too_large(units, factor, now) {
            return Word::Full(None);
        }
        if !self.store.status().is_up() {
            self.alone.inc();
            return Word::Alone;
        }
        let mut asks = false;
        let word = self.cell(own, now, |cell| {
            let (word, ask) = self.decide(cell, units, factor, now.nanos);
            if ask {
                cell.asked = now.nanos;
            }
            asks = ask;
            word
        });
        match word {
            Some(Word::Alone) => self.alone.inc(),
            Some(Word::Full(Some(0))) => self.outrun.inc(),
            _ => {}
        }
        if asks {
            self.ask_store(own, factor, text);
        }
        word.unwrap_or(Word::Homeless)
    }

    /// What [`Lease::take`] would say. Nothing is taken, and nothing kept of a key without a cell. The
    /// store is asked again where there is no room, as `take` would: it may not be asked at all.
    pub fn look(
        self: &Arc<Self>,
        own: u64,
        units: u64,
        factor: Factor,
        now: Now,
        text: &dyn Fn() -> String,
    ) -> Word {
        if self.is_too_large(units, factor, now) {
            return Word::Full(None);
        }
        if !self.store.status().is_up() {
            return Word::Alone;
        }
        let mut asks = false;
        let word = self.known(own, |cell| {
            let mut copy = *cell;
            let (word, ask) = self.decide(&mut copy, units, factor, now.nanos);
            if ask && matches!(word, Word::Full(_)) {
                cell.asked = now.nanos;
                asks = true;
            }
            word
        });
        if asks {
            self.ask_store(own, factor, text);
        }
        // The first units of a key pass as a debt.
        word.unwrap_or(Word::Passed)
    }

    fn is_too_large(&self, units: u64, factor: Factor, now: Now) -> bool {
        let most = |window: &Window| window.room(0, factor, now).most;
        let mut windows = self.windows.iter();
        windows.any(|window| most(window) < units.max(1))
    }

    fn ask_store(self: &Arc<Self>, own: u64, factor: Factor, text: &dyn Fn() -> String) {
        let ask = Ask {
            lease: Arc::clone(self),
            own,
            digest: Digest::of(&text()),
            factor,
        };
        if !self.store.ask(ask) {
            let _none = self.known(own, |cell| cell.asked = 0);
        }
    }

    /// What becomes of units, and whether the store is to be asked.
    fn decide(&self, cell: &mut Cell, units: u64, factor: Factor, now: u64) -> (Word, bool) {
        let (held, debt) = (factor.of(self.held), factor.of(self.debt));
        cell.touched = now;
        let free = !cell.is_pending(now);
        if cell.aside > now {
            return (Word::Alone, false);
        }
        let covered = cell.credit >= signed(units);
        if cell.until > now && !covered {
            let again = free && now.saturating_sub(cell.heard) > RECHECK;
            return (Word::Full(Some(cell.until - now)), again);
        }
        if covered || cell.credit > -signed(debt) {
            cell.credit = cell.credit.saturating_sub(signed(units));
            let low = cell.credit <= signed(held / 2);
            return (Word::Passed, low && free && cell.until <= now);
        }
        if !free && now.saturating_sub(cell.asked) > LATE {
            return (Word::Alone, false);
        }
        (Word::Full(Some(0)), free)
    }

    /// Gives back units that passed.
    pub fn give_back(&self, own: u64, units: u64, now: Now) {
        let _none = self.known(own, |cell| {
            cell.credit = cell.credit.saturating_add(signed(units));
            cell.touched = now.nanos;
        });
    }

    /// Notes that the node let units pass by itself. The store is told of them: at once if it is
    /// only late, and of budgets also when it is back. What a rate let pass is over by then.
    pub fn went_alone(&self, own: u64, units: u64, now: Now) {
        let up = self.store.status().is_up();
        if !up && !self.has_budgets {
            return;
        }
        let _none = self.cell(own, now, |cell| {
            cell.touched = now.nanos;
            if up {
                cell.credit = cell.credit.saturating_sub(signed(units));
            } else {
                cell.away = cell.away.saturating_add(units);
            }
        });
    }

    /// Units that would pass now, as far as this node knows, and nanoseconds until there is room
    /// where there is none. `None`: it knows nothing of the key, or goes on alone.
    #[must_use]
    pub fn room(&self, own: u64, now: Now) -> Option<(u64, u64)> {
        if !self.store.status().is_up() {
            return None;
        }
        let cell = self.known(own, |cell| *cell)?;
        let room = signed(cell.room).saturating_add(cell.credit).max(0);
        let room = if cell.until > now.nanos { 0 } else { room };
        Some((
            u64::try_from(room).unwrap_or_default(),
            cell.until.saturating_sub(now.nanos),
        ))
    }

    /// A key gets another factor. One that gets more does not wait for the store's last word to end; one
    /// that gets less keeps no more credit than it may now.
    pub fn rescale(&self, own: u64, from: Factor, to: Factor) {
        let _none = self.known(own, |cell| {
            if to.is_above(from) {
                cell.until = 0;
            } else {
                cell.credit = cell.credit.min(signed(to.of(self.held)));
            }
        });
    }

    /// What the store is to be told and asked for a key.
    pub(super) fn claim(&self, own: u64, factor: Factor) -> Option<Claim> {
        let held = signed(factor.of(self.held));
        self.known(own, |cell| {
            let surplus = cell.credit.saturating_sub(held).max(0);
            // Lost when the store is not reached: too little passes then, not too much.
            cell.credit -= surplus;
            let owed = if surplus > 0 {
                -surplus
            } else {
                (-cell.credit).max(0)
            };
            let wanted = held.saturating_sub(cell.credit.max(0)).max(0);
            Claim {
                owed,
                wanted: u64::try_from(wanted).unwrap_or_default().max(1),
                away: cell.away,
            }
        })
    }

    /// Takes the store's word for a key. What comes back has to be added to its budgets: the store
    /// has lost what it knew of the key.
    pub(super) fn settle(
        &self,
        own: u64,
        claim: &Claim,
        answer: &Answer,
        now: Now,
    ) -> Option<Vec<u64>> {
        let granted = answer.granted.min(claim.wanted);
        let settled = self.known(own, |cell| {
            let before = cell.credit;
            let owed = claim.owed.max(0);
            cell.credit = before.saturating_add(owed).saturating_add(signed(granted));
            cell.away = cell.away.saturating_sub(claim.away);
            let lost = answer.is_new || (cell.birth > 0 && cell.birth != answer.birth);
            cell.birth = answer.birth;
            cell.room = answer.room;
            cell.asked = 0;
            cell.heard = now.nanos;
            cell.until = if granted == 0 {
                now.nanos.saturating_add(answer.wait)
            } else {
                0
            };
            lost.then_some((before, claim.away.saturating_add(cell.away)))
        });
        let (before, away) = settled??;
        if !self.has_budgets {
            return None;
        }
        let missing = |used: u64| {
            let known = signed(used).saturating_add(before);
            u64::try_from(known.saturating_sub(signed(away))).unwrap_or_default()
        };
        let spent = self.bucket.spent(own, now);
        let missing: Vec<u64> = spent.into_iter().map(missing).collect();
        missing.iter().any(|units| *units > 0).then_some(missing)
    }

    /// Notes that the store gave no answer for a key.
    pub(super) fn failed(&self, own: u64, now: Now, of_this_key: bool) {
        let _none = self.known(own, |cell| {
            cell.asked = 0;
            if of_this_key {
                cell.aside = now.nanos.saturating_add(ASIDE);
            }
        });
    }

    fn cell<R>(&self, own: u64, now: Now, see: impl FnOnce(&mut Cell) -> R) -> Option<R> {
        let idle = |words: &[u64]| Cell::read(words).is_idle(now.nanos).then_some(());
        self.cells.with(own, idle, |place| match place {
            Place::Known(words) => {
                let mut cell = Cell::read(words);
                let result = see(&mut cell);
                words.copy_from_slice(&cell.words());
                Some(result)
            }
            Place::Free(free) => {
                let mut cell = Cell::default();
                let result = see(&mut cell);
                free.claim(&cell.words());
                Some(result)
            }
            Place::Full => None,
        })
    }

    fn known<R>(&self, own: u64, see: impl FnOnce(&mut Cell) -> R) -> Option<R> {
        let never = |_: &[u64]| None::<()>;
        self.cells.with(own, never, |place| match place {
            Place::Known(words) => {
                let mut cell = Cell::read(words);
                let result = see(&mut cell);
                words.copy_from_slice(&cell.words());
                Some(result)
            }
            Place::Free(_) | Place::Full => None,
        })
    }
}

/// Units that one node may be ahead of the store: of the tightest window a part of the burst (of a
/// budget a tenth of that part), and at least 2, one to hold and one to owe.
fn lease_of(windows: &[Window], nodes: u32, percent: u8) -> u64 {
    let part = |units: u64, of: u64| {
        let units = u128::from(units) * u128::from(percent) / u128::from(of);
        u64::try_from(units).unwrap_or(u64::MAX)
    };
    let of_window = |window: &Window| match window {
        Window::Rate(rate) => {
            part(rate.burst(), 100).max(rate.in_nanos(1_000_000_000 / PART_OF_SECOND))
        }
        Window::Budget(budget) => part(budget.most(), 1000),
    };
    let tightest = windows.iter().map(of_window).min().unwrap_or_default();
    (tightest / u64::from(nodes.max(1))).max(2)
}

#[cfg(test)]
mod tests {
    use super::super::super::calendar::{Calendar, Unit};
    use super::super::super::window::{Budget, Rate};
    use super::*;

    fn lease() -> Arc<Lease> {
        let rule = "name = \"shared\"\nkey = [\"address\"]\nshared = true\nrate = [{ count = 100, per = \"1h\" }]";
        let rule: config::Limit = toml::from_str(rule).unwrap();
        let redis = toml::from_str("urls = [\"redis://127.0.0.1:1\"]\nnodes = 2").unwrap();
        let hour = 3_600_000_000_000;
        let windows = [Window::Rate(Rate::new(100, hour, 100))];
        let bucket = Arc::new(Bucket::new(&windows, 8, 0, &windows));
        let store = Store::new(&redis, "node".to_owned());
        Arc::new(Lease::new(&rule, &windows, bucket, store))
    }

    #[test]
    fn a_lowered_key_owes_and_holds_less_and_a_raised_one_more() {
        let lease = lease();
        for (thousandths, debt) in [(1000, 5), (100, 1), (10, 1), (4000, 20)] {
            let factor = Factor::thousandths(thousandths);
            let mut cell = Cell::default();
            let pass = |cell: &mut Cell| lease.decide(cell, 1, factor, 1).0 == Word::Passed;
            let passed = (0..100).filter(|_| pass(&mut cell)).count();
            assert_eq!(passed, debt, "{thousandths}");
        }
    }

    #[test]
    fn a_look_takes_nothing_and_asks_the_store_where_there_is_no_room() {
        let lease = lease();
        lease.store.status().set_up("here");
        let now = Now {
            nanos: 1,
            unix_seconds: 1,
        };
        let look = || lease.look(7, 1, Factor::ONE, now, &String::new);
        assert_eq!((look(), lease.places().0), (Word::Passed, 0));
        for _ in 0..5 {
            let word = lease.take(7, 1, Factor::ONE, now, &String::new);
            assert_eq!(
                (word, look() == Word::Passed),
                (Word::Passed, lease.known(7, |it| it.credit) > Some(-5))
            );
        }
        // The ask is lost: nobody but the look would repeat it.
        let _lost = lease.known(7, |cell| cell.asked = 0);
        assert_eq!(look(), Word::Full(Some(0)));
        assert_eq!(
            lease.known(7, |cell| (cell.asked, cell.credit)),
            Some((1, -5))
        );
    }

    #[test]
    fn a_raise_does_not_wait_for_the_last_word_of_the_store() {
        let lease = lease();
        let now = Now {
            nanos: 1,
            unix_seconds: 1,
        };
        let _new = lease.cell(7, now, |cell| {
            cell.until = u64::MAX;
            cell.credit = 4;
        });
        let cell = || lease.known(7, |cell| *cell).unwrap();
        lease.rescale(7, Factor::ONE, Factor::thousandths(10));
        assert_eq!((cell().credit, cell().until), (1, u64::MAX));
        lease.rescale(7, Factor::thousandths(10), Factor::ONE);
        assert_eq!(cell().until, 0);
    }

    #[test]
    fn a_lease_is_a_part_of_the_tightest_window() {
        let second = 1_000_000_000;
        let rate = |count, burst| Window::Rate(Rate::new(count, second, burst));
        assert_eq!(lease_of(&[rate(1000, 1000)], 2, 20), 100);
        assert_eq!(lease_of(&[rate(5, 5)], 3, 20), 2, "one to hold, one to owe");
        assert_eq!(
            lease_of(&[rate(100_000, 100)], 2, 20),
            500,
            "ten milliseconds"
        );
        let day = Window::Budget(Budget::new(10_000, Calendar::new(Unit::Day, 0)));
        assert_eq!(lease_of(&[rate(10_000, 10_000), day], 2, 20), 100);
    }
}
