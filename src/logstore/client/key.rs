//! The access key of a client, read again from time to time, and when the store refuses it.
//!
//! Promise: a key that was changed where it is kept is used soon, before the old one has expired where
//! that is kept long enough, and from the first refusal on, without a restart. What cannot be read changes
//! nothing. It is read in the background while calls go on with the key that is there, and for a refusal
//! at most once in [`PAUSE`]; one reading at a time. In the background another key is used once two
//! readings in a row have found it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::logstore::signature::AccessKey;

/// The least time between two readings for refusals, and the most before one that has to agree.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads the access key where it is kept. May block on files.
pub type KeySource = Arc<dyn Fn() -> Result<AccessKey, String> + Send + Sync>;

/// Where an access key is kept.
#[derive(Clone)]
pub struct KeyKeeper {
    /// Reads it.
    pub source: KeySource,
    /// How often it is read while the store takes it; zero: not then.
    pub every: Duration,
    /// Hears what each reading gave, but for one that found a key which another has to find as well.
    pub told: Arc<dyn Fn(KeyRead) + Send + Sync>,
}

/// It has nothing to show.
impl fmt::Debug for KeyKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyKeeper")
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}

/// What came of reading an access key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRead {
    /// It is the same.
    Same,
    /// It is another one, and used from now on.
    Changed,
    /// It could not be read.
    Failed,
}

/// The key, and where it comes from.
pub(super) struct Key {
    keeper: Option<KeyKeeper>,
    read: Mutex<Read>,
    found: Arc<Found>,
}

/// When it was read.
struct Read {
    last: Instant,
    refused: Option<Instant>,
}

/// What readings have found.
struct Found {
    /// The key that is used.
    now: ArcSwap<AccessKey>,
    /// Another one, which the next reading has to find as well.
    next: Mutex<Option<AccessKey>>,
    /// A reading is under way.
    reading: AtomicBool,
}

impl Key {
    pub(super) fn new(key: AccessKey) -> Self {
        Self {
            keeper: None,
            read: Mutex::new(Read {
                last: Instant::now(),
                refused: None,
            }),
            found: Arc::new(Found {
                now: ArcSwap::from_pointee(key),
                next: Mutex::default(),
                reading: AtomicBool::new(false),
            }),
        }
    }

    pub(super) fn kept_by(self, keeper: KeyKeeper) -> Self {
        Self {
            keeper: Some(keeper),
            ..self
        }
    }

    /// The key to sign with. Has it read again, for those who come later, when that is due.
    pub(super) fn now(&self) -> Arc<AccessKey> {
        if let Some(keeper) = &self.keeper
            && let Some(reading) = self.is_old(keeper.every)
        {
            let keeper = keeper.clone();
            tokio::task::spawn_blocking(move || reading.read(&keeper, false));
        }
        self.found.now.load_full()
    }

    /// The store has refused `used`: whether there is another one by now.
    pub(super) async fn refused(&self, used: &AccessKey) -> bool {
        if !self.found.now.load().is(used) {
            return true;
        }
        let Some(keeper) = &self.keeper else {
            return false;
        };
        let Some(reading) = self.is_due() else {
            return false;
        };
        let keeper = keeper.clone();
        let read = tokio::task::spawn_blocking(move || reading.read(&keeper, true));
        read.await.is_ok() && !self.found.now.load().is(used)
    }

    /// The right to read it, where it was refused, and not read for that for a while.
    fn is_due(&self) -> Option<Reading> {
        let now = Instant::now();
        let mut read = lock(&self.read);
        let refused = read.refused;
        if refused.is_some_and(|last| now.duration_since(last) < PAUSE) {
            return None;
        }
        let reading = Reading::begin(&self.found)?;
        (read.refused, read.last) = (Some(now), now);
        Some(reading)
    }

    /// The right to read it, where that was not done for so long. One that was found needs not wait.
    fn is_old(&self, every: Duration) -> Option<Reading> {
        if every.is_zero() {
            return None;
        }
        let pause = match lock(&self.found.next).is_some() {
            true => every.min(PAUSE),
            false => every,
        };
        let now = Instant::now();
        let mut read = lock(&self.read);
        if now.duration_since(read.last) < pause {
            return None;
        }
        let reading = Reading::begin(&self.found)?;
        read.last = now;
        Some(reading)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one reading that is under way: one that hangs holds one thread, however long it does.
struct Reading(Arc<Found>);

impl Reading {
    /// `None`: another one is under way.
    fn begin(found: &Arc<Found>) -> Option<Self> {
        let other = found.reading.swap(true, Ordering::AcqRel);
        (!other).then(|| Self(Arc::clone(found)))
    }

    /// Reads the key, and puts another one in the place of the one that is used. While that one is not
    /// `refused`, a second reading has to agree: files that are written one after the other may be of two
    /// keys at the first. Blocks.
    fn read(self, keeper: &KeyKeeper, refused: bool) {
        let read = (keeper.source)();
        let before = lock(&self.0.next).take();
        let outcome = match read {
            Ok(key) if key.is(&self.0.now.load()) => KeyRead::Same,
            Ok(key) if refused || before.is_some_and(|before| before.is(&key)) => {
                tracing::info!(
                    access_key_id = key.id,
                    "the access key of the store has changed and was read again"
                );
                self.0.now.store(Arc::new(key));
                KeyRead::Changed
            }
            Ok(key) => {
                *lock(&self.0.next) = Some(key);
                return;
            }
            Err(error) => {
                tracing::warn!(error, "the access key of the store cannot be read again");
                KeyRead::Failed
            }
        };
        (keeper.told)(outcome);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.reading.store(false, Ordering::Release);
    }
}

/// The key shows no secret, and its source has nothing to show.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("now", &self.found.now.load())
            .finish_non_exhaustive()
    }
}
