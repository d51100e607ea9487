//! What new keys are charged to as well: their parents, or all keys together.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::bucket::{Ask, Bucket, Charged, Full, MAX_WINDOWS, Words};
use super::window::{Factor, Now, Over, Window};

/// What new keys are charged to as well.
#[derive(Debug)]
pub(super) enum Above {
    Bucket(Box<Bucket>),
    /// On lines of their own: they are written at each request of a new key, and what is beside the
    /// bucket's windows and tables only read.
    Root(Box<Root>),
}

/// All keys together.
///
/// Every request of a new key comes by here, of all threads: with one window, as nearly always, its word is
/// taken from without the lock, and to look at what there is never needs it.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Root {
    windows: Box<[Window]>,
    words: [AtomicU64; MAX_WINDOWS],
    /// Held while the words of several windows are changed together.
    changing: Mutex<()>,
}

impl Above {
    /// All keys together, with these windows.
    pub(super) fn all(windows: &[Window]) -> Self {
        Self::Root(Box::new(Root {
            windows: windows.iter().take(MAX_WINDOWS).cloned().collect(),
            words: Default::default(),
            changing: Mutex::default(),
        }))
    }

    /// What is asked of it: parents are not raised with a key, and know no reserve.
    fn asked<'a>(hashes: &'a [u64], ask: Ask<'a>) -> Ask<'a> {
        Ask {
            hashes,
            reserved: false,
            factor: Factor::ONE,
            ..ask
        }
    }

    pub(super) fn take(&self, hashes: &[u64], ask: Ask<'_>) -> Result<Charged, Full> {
        let ask = Self::asked(hashes, ask);
        let taken = match self {
            Self::Bucket(bucket) => bucket.take(ask, &String::new),
            Self::Root(root) => root.take(ask),
        };
        taken.map_err(|full| Full { own: false, ..full })
    }

    pub(super) fn look(&self, hashes: &[u64], ask: Ask<'_>) -> Result<(), Full> {
        let ask = Self::asked(hashes, ask);
        let looked = match self {
            Self::Bucket(bucket) => bucket.look(ask),
            Self::Root(root) => root.look(ask),
        };
        looked.map_err(|full| Full { own: false, ..full })
    }

    pub(super) fn give_back(&self, hashes: &[u64], ask: Ask<'_>, charged: Charged, now: Now) {
        let ask = Self::asked(hashes, ask);
        match self {
            Self::Bucket(bucket) => bucket.give_back(ask, charged, now),
            Self::Root(root) => root.give_back(ask, now),
        }
    }
}

impl Root {
    /// The words now. Of several windows they need not be of one moment, which is enough to look.
    fn words(&self) -> Words {
        let mut words = Words::default();
        for ((to, from), _) in words.iter_mut().zip(&self.words).zip(&*self.windows) {
            *to = from.load(Ordering::Relaxed);
        }
        words
    }

    /// Puts what `change` makes of the words in their place, or leaves them when that is an error.
    fn change<E>(&self, change: impl Fn(&mut Words) -> Result<(), E>) -> Result<(), E> {
        let [word, ..] = &self.words;
        while self.windows.len() == 1 {
            let before = self.words();
            let mut after = before;
            change(&mut after)?;
            let ([before, ..], [after, ..]) = (before, after);
            let put = word.compare_exchange(before, after, Ordering::Relaxed, Ordering::Relaxed);
            if put.is_ok() {
                return Ok(());
            }
        }
        let changing = self.changing.lock();
        let _changing = changing.unwrap_or_else(PoisonError::into_inner);
        let mut words = self.words();
        change(&mut words)?;
        for (word, after) in self.words.iter().zip(words) {
            word.store(after, Ordering::Relaxed);
        }
        Ok(())
    }

    fn look(&self, ask: Ask<'_>) -> Result<(), Full> {
        let looked = take_all(&self.windows, &mut self.words(), ask);
        looked.map_err(|over| Full {
            wait: over.wait,
            own: false,
        })
    }

    fn take(&self, ask: Ask<'_>) -> Result<Charged, Full> {
        let taken = self.change(|words| take_all(&self.windows, words, ask));
        taken.map(|()| Charged(1)).map_err(|over| Full {
            wait: over.wait,
            own: false,
        })
    }

    fn give_back(&self, ask: Ask<'_>, now: Now) {
        let given = self.change(|words| {
            for (window, word) in self.windows.iter().zip(words.iter_mut()) {
                *word = window.give_back(*word, ask.units, ask.factor, ask.now, now);
            }
            Ok::<(), Infallible>(())
        });
        given.unwrap_or_else(|never| match never {});
    }
}

/// Takes from every window, or from none; tells of the one that takes longest.
pub(super) fn take_all(windows: &[Window], words: &mut [u64], ask: Ask<'_>) -> Result<(), Over> {
    let mut after = Words::default();
    let mut over: Option<Over> = None;
    for ((window, word), after) in windows.iter().zip(words.iter()).zip(after.iter_mut()) {
        match window.take(*word, ask.units, ask.factor, ask.now) {
            Ok(word) => *after = word,
            Err(this) => {
                let longer = over.is_none_or(|other| match (this.wait, other.wait) {
                    (Some(this), Some(other)) => this > other,
                    (wait, _) => wait.is_none(),
                });
                if longer {
                    over = Some(this);
                }
            }
        }
    }
    if let Some(over) = over {
        return Err(over);
    }
    let charged = windows.len();
    for (word, after) in words.iter_mut().zip(after).take(charged) {
        *word = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::window::{Budget, Rate};
    use super::super::{Calendar, Unit};
    use super::*;

    const NOW: Now = Now {
        nanos: 1_000_000_000,
        unix_seconds: 1_795_305_600,
    };

    /// How many of 8 threads of 2,000 requests each get a unit, where half of those who get one give it back.
    fn passed(windows: &[Window]) -> usize {
        let above = Above::all(windows);
        let ask = Ask {
            hashes: &[],
            units: 1,
            reserved: false,
            factor: Factor::ONE,
            now: NOW,
        };
        let requests = || {
            let mut kept = 0;
            for turn in 0..2_000 {
                let Ok(charged) = above.take(&[], ask) else {
                    continue;
                };
                match turn % 2 {
                    0 => above.give_back(&[], ask, charged, NOW),
                    _ => kept += 1,
                }
            }
            kept
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(requests)).collect();
            threads.into_iter().map(|it| it.join().unwrap()).sum()
        })
    }

    #[test]
    fn many_threads_get_what_all_keys_may_have_and_no_more() {
        let rate = Window::Rate(Rate::new(1, 1_000_000_000_000, 1_500));
        let budget = Window::Budget(Budget::new(1_000, Calendar::new(Unit::Day, 0)));
        assert_eq!(passed(std::slice::from_ref(&rate)), 1_500);
        assert_eq!(passed(std::slice::from_ref(&budget)), 1_000);
        assert_eq!(passed(&[rate, budget]), 1_000);
    }
}
