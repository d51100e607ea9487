//! Room on disk, shared by all lanes of a spool.
//!
//! Promise: the bytes of all segments together stay within `max_bytes`, whatever the number of
//! threads that ask, and the disk keeps `reserve` bytes free as far as the file system tells.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::files::Files;

/// How long an answer about free bytes is believed, in milliseconds.
const FREE_FOR: u64 = 500;

/// Which bound was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Full {
    /// The lane has its share.
    Lane,
    /// All lanes together have what the spool may take.
    Spool,
    /// The disk has no more than the reserve.
    Disk,
}

/// The bytes that all lanes take together.
#[derive(Debug)]
pub struct Space {
    max_bytes: u64,
    reserve: u64,
    used: AtomicU64,
    /// What the disk had free, less what was taken since.
    free: AtomicU64,
    /// When that was asked, in milliseconds; `u64::MAX` for never.
    asked: AtomicU64,
}

impl Space {
    /// At most `max_bytes` for all lanes; `reserve` bytes of the disk stay free.
    #[must_use]
    pub fn new(max_bytes: u64, reserve: u64) -> Self {
        Self {
            max_bytes,
            reserve,
            used: AtomicU64::new(0),
            free: AtomicU64::new(0),
            asked: AtomicU64::new(u64::MAX),
        }
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The most that may be in use.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Takes bytes that are on disk already.
    pub(super) fn occupy(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives bytes back.
    pub(super) fn release(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        // Cannot fail: the closure always gives a value.
        let _before = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Takes bytes that are about to be written in `folder`.
    pub(super) fn take(
        &self,
        bytes: u64,
        files: &dyn Files,
        folder: &Path,
        now: u64,
    ) -> Result<(), Full> {
        if self.reserve > 0 {
            let asked = self.asked.load(Ordering::Relaxed);
            if asked == u64::MAX || now.abs_diff(asked) > FREE_FOR {
                // A file system that does not tell is believed to have room: writing will tell.
                let free = files.free_bytes(folder).unwrap_or(u64::MAX);
                self.free.store(free, Ordering::Relaxed);
                self.asked.store(now, Ordering::Relaxed);
            }
            let free = self.free.load(Ordering::Relaxed);
            if free.saturating_sub(bytes) < self.reserve {
                return Err(Full::Disk);
            }
            self.free.store(free - bytes.min(free), Ordering::Relaxed);
        }
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.max_bytes);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_or(Err(Full::Spool), |_| Ok(()))
    }

    /// Forgets what the disk had free: something was deleted.
    pub(super) fn look_again(&self) {
        self.asked.store(u64::MAX, Ordering::Relaxed);
    }
}
