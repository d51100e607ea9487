//! The access key of a client, read again when the store refuses it.
//!
//! Promise: a key that was changed where it is kept is used from the first refusal on, without a
//! restart. What cannot be read changes nothing. It is read at most once in [`PAUSE`], by one task.

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

/// The key, and where it comes from.
pub(super) struct Key {
    now: ArcSwap<AccessKey>,
    source: Option<KeySource>,
    read: Mutex<Option<Instant>>,
}

impl Key {
    pub(super) fn new(key: AccessKey) -> Self {
        Self {
            now: ArcSwap::from_pointee(key),
            source: None,
            read: Mutex::new(None),
        }
    }

    pub(super) fn with_source(self, source: KeySource) -> Self {
        Self {
            source: Some(source),
            ..self
        }
    }

    pub(super) fn now(&self) -> Arc<AccessKey> {
        self.now.load_full()
    }

    /// The store has refused `used`: whether there is another one by now.
    pub(super) async fn refused(&self, used: &AccessKey) -> bool {
        if !self.now.load().is(used) {
            return true;
        }
        let Some(source) = self.source.as_ref().filter(|_| self.is_due()) else {
            return false;
        };
        let source = Arc::clone(source);
        match tokio::task::spawn_blocking(move || source()).await {
            Ok(Ok(key)) if !key.is(used) => {
                tracing::info!(
                    access_key_id = key.id,
                    "the access key of the store was read again"
                );
                self.now.store(Arc::new(key));
                true
            }
            Ok(Ok(_)) => false,
            Ok(Err(error)) => {
                tracing::warn!(error, "the access key of the store cannot be read again");
                false
            }
            Err(_) => false,
        }
    }

    fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let due = read.is_none_or(|last| now.duration_since(last) >= PAUSE);
        if due {
            *read = Some(now);
        }
        due
    }
}

/// The key shows no secret, and its source has nothing to show.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}
