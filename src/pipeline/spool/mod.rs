//! The spool: a write-ahead log of bundles on disk, one log for each lane.
//!
//! A *bundle* becomes one LogGroup at the store. Its id is also its `__pack_id__`, so what is sent
//! again after a crash bears the same id. It is appended in *parts*, each some events; one part (at
//! best the first) says the topic, source and tags. This module is plain and blocking: it knows no
//! tasks, no metrics and no configuration.
//!
//! # Use
//! ```text
//! SpoolDirectory::open -> log(lane) -> Log
//! Log::recover until true            bundles of earlier lives wait
//! Log::append.. Log::sync            parts are durable; the bundle is taken by its holder
//! Log::done(bundle)                  delivered from memory
//! Log::release(bundle)               the holder has given it up: now it waits
//! Log::take_next -> read -> done          what waits comes back in the lane's order
//! Log::checkpoint, Log::expire       every second or so
//! ```
//!
//! # Promises
//! - A part whose sync went well is read back exactly, in order and once for each bundle, until its
//!   bundle is done, expired, or dropped for room; each of these is counted ([`Counts`]).
//! - Nothing is read that was not appended. Done bundles come back only if they were done after the
//!   last checkpoint that the disk has kept.
//! - A flipped bit costs at most the record that it hits, and is counted; its bytes are copied to
//!   `damaged/`. Torn tails are passed over. No file of an earlier life is ever written to.
//! - A sync that failed is never tried again on that file ([`InDoubt`]).
//!
//! # Layout
//! ```text
//! {dir}/.lock                                 the process id of who has the spool
//! {dir}/{project}/{logstore}/{number:016x}.seg   segments
//! {dir}/{project}/{logstore}/checkpoint        what is done
//! {dir}/{project}/{logstore}/damaged/          copies of damaged bytes, bounded
//! ```
//! Directories have mode 0700, files 0600. Numbers below are little-endian.
//!
//! ## Segment
//! Two copies of the header, at 0 and at 512; records from 1024 on, without gaps.
//! ```text
//! 8  magic "TGSPOOL\n"   2 version   2 length of the copy, checksum included
//! 8  number   8 identity (random)   8 prefix of all bundle ids   8 base number of bundle ids
//! 8  made at (Unix ms)   8 id of the key, 0 where not encrypted
//! 1  count of cuts, and for each: 8 segment, 8 length. Behind it nothing counts there
//! 1+ project   1+ logstore (each a length and the text)
//! 4  CRC32C of the copy
//! ```
//! The first twelve bytes and the place of the checksum are the same in all versions.
//!
//! ## Record
//! ```text
//! 2 magic A7 5E   1 flags   2 number of the part   3 ms since the segment was made
//! 3 stored length   3 length before packing   3 events   3 bundle's number - base, signed
//! 4 CRC32C of identity, the 20 bytes above, payload   4 CRC32C of identity, the 24 bytes above
//! ```
//! Flags: 1 last part of its bundle, 2 the payload begins with the key (4 bytes length, the key),
//! 4 encrypted, 10/20 (hex) packed with LZ4 or Zstandard. Every checksum begins with the segment's
//! identity, so that remains of other files never look like records.
//! Encrypted: AES-256-GCM, nonce = identity and offset (4 bytes), the 20 bytes as associated data.
//!
//! ## Checkpoint
//! ```text
//! 8 magic "TGSPDONE"   2 version   8 next number   4 count, and for each segment:
//! 8 number   8 identity   8 as of (only records that begin below)   8 cut   4 count of ranges,
//! and for each: 8 first, 8 last number of bundles that are done
//! 4 CRC32C
//! ```

mod append;
mod bundle_set;
mod bytes;
mod checkpoint;
mod counts;
mod damaged;
mod directory;
mod files;
mod format;
mod index;
mod keys;
mod log;
mod opening;
mod payload;
mod ranges;
mod read;
mod recover;
mod scan;
mod space;
mod sync;
mod upkeep;
mod view;
mod windows;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use append::{AppendError, Fault, Part};
pub use bundle_set::BundleSet;
pub use counts::Counts;
pub use directory::{Deleted, FoundLane, OpenError, SpoolDirectory};
pub use files::{Files, Handle, Listed, LockError, RealFiles};
pub use format::{BundleId, Packing};
pub use keys::{KeyRing, KeyRingError};
pub use log::{Log, LogRules, Order, Taken, WhenFull};
pub use read::{Bundle, Fetch, ReadError, Reading};
pub use space::{Claim, Full, Room, Space};
pub use sync::{InDoubt, PartId, SyncOutcome, SyncTicket};
pub use upkeep::{CheckpointOutcome, CheckpointTicket};
pub use view::{LaneReport, LaneView, SegmentState, SegmentView, SpoolView};

use crate::foundation::names::{LogstoreName, ProjectName};

/// The directory of a lane. The names were checked, so it lies below `root`.
fn folder_of(root: &Path, project: &ProjectName, logstore: &LogstoreName) -> PathBuf {
    root.join(project.as_str()).join(logstore.as_str())
}

/// The name of a segment's file.
fn segment_name(number: u64) -> String {
    format!("{number:016x}.seg")
}

/// The number in the name of a segment's file; `None` for any other file.
fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let plain = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let ours = digits.len() == 16 && digits.bytes().all(plain);
    ours.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}
