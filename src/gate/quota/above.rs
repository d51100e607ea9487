//! What new keys are charged to as well: their parents, or all keys together.

use std::sync::{Mutex, PoisonError};

use super::bucket::{Ask, Bucket, Charged, Full, MAX_WINDOWS, Words};
use super::window::{Factor, Now, Over, Window};

/// What new keys are charged to as well.
#[derive(Debug)]
pub(super) enum Above {
    Bucket(Box<Bucket>),
    Root(Root),
}

/// All keys together.
#[derive(Debug)]
pub(super) struct Root {
    windows: Box<[Window]>,
    words: Mutex<Words>,
}

impl Above {
    /// All keys together, with these windows.
    pub(super) fn all(windows: &[Window]) -> Self {
        Self::Root(Root {
            windows: windows.iter().take(MAX_WINDOWS).cloned().collect(),
            words: Mutex::default(),
        })
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
    fn look(&self, ask: Ask<'_>) -> Result<(), Full> {
        let mut words = *self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let looked = take_all(&self.windows, &mut words, ask);
        looked.map_err(|over| Full {
            wait: over.wait,
            own: false,
        })
    }

    fn take(&self, ask: Ask<'_>) -> Result<Charged, Full> {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        match take_all(&self.windows, words.as_mut_slice(), ask) {
            Ok(()) => Ok(Charged(1)),
            Err(over) => Err(Full {
                wait: over.wait,
                own: false,
            }),
        }
    }

    fn give_back(&self, ask: Ask<'_>, now: Now) {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        for (window, word) in self.windows.iter().zip(words.iter_mut()) {
            *word = window.give_back(*word, ask.units, ask.factor, ask.now, now);
        }
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
