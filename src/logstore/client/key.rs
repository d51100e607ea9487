//! The access key of a client, read again from time to time, and when the store refuses it.
//!
//! Promise: a key that was changed where it is kept is used soon, before the old one has expired where
//! that is kept long enough, and from the first refusal on, without a restart. What cannot be read changes
//! nothing. It is read in the background while calls go on with the key that is there, and for a refusal
//! at most once in [`PAUSE`]; each by one task.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::logstore::signature::AccessKey;

/// The least time between two readings.
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
    /// Hears what each reading gave.
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
    now: Arc<ArcSwap<AccessKey>>,
    keeper: Option<KeyKeeper>,
    read: Mutex<Read>,
}

/// When it was read.
struct Read {
    last: Instant,
    refused: Option<Instant>,
}

impl Key {
    pub(super) fn new(key: AccessKey) -> Self {
        Self {
            now: Arc::new(ArcSwap::from_pointee(key)),
            keeper: None,
            read: Mutex::new(Read {
                last: Instant::now(),
                refused: None,
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
        if let Some(keeper) = self.keeper.as_ref().filter(|it| self.is_old(it.every)) {
            let (keeper, now) = (keeper.clone(), Arc::clone(&self.now));
            tokio::task::spawn_blocking(move || read(&keeper, &now));
        }
        self.now.load_full()
    }

    /// The store has refused `used`: whether there is another one by now.
    pub(super) async fn refused(&self, used: &AccessKey) -> bool {
        if !self.now.load().is(used) {
            return true;
        }
        let Some(keeper) = self.keeper.as_ref().filter(|_| self.is_due()) else {
            return false;
        };
        let (keeper, now) = (keeper.clone(), Arc::clone(&self.now));
        let reading = tokio::task::spawn_blocking(move || read(&keeper, &now));
        reading.await.is_ok() && !self.now.load().is(used)
    }

    /// Whether it was refused, and not read for that for a while.
    fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = read.refused;
        let due = refused.is_none_or(|last| now.duration_since(last) >= PAUSE);
        if due {
            (read.refused, read.last) = (Some(now), now);
        }
        due
    }

    /// Whether it was not read for so long.
    fn is_old(&self, every: Duration) -> bool {
        let now = Instant::now();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let old = every > Duration::ZERO && now.duration_since(read.last) >= every;
        if old {
            read.last = now;
        }
        old
    }
}

/// Reads the key, and puts another one in the place of the one that is used.
fn read(keeper: &KeyKeeper, now: &ArcSwap<AccessKey>) {
    let read = match (keeper.source)() {
        Ok(key) if key.is(&now.load()) => KeyRead::Same,
        Ok(key) => {
            tracing::info!(
                access_key_id = key.id,
                "the access key of the store has changed and was read again"
            );
            now.store(Arc::new(key));
            KeyRead::Changed
        }
        Err(error) => {
            tracing::warn!(error, "the access key of the store cannot be read again");
            KeyRead::Failed
        }
    };
    (keeper.told)(read);
}

/// The key shows no secret, and its source has nothing to show.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("now", &self.now.load())
            .finish_non_exhaustive()
    }
}
