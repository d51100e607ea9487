//! Events that were set aside: kept on local disk with why, until somebody looks at them.
//!
//! Promise: a record that [`Room::put`] took is written in the order of arrival, and leaves
//! only by its age, by the bound on bytes of its logstore (oldest first), or by a purge; each is
//! counted. The queue before the disk is bounded in bytes; when it is full there is no room, and
//! the request is refused, so that nobody is told of a record that is not kept.
//!
//! On disk: `{data_dir}/quarantine/{project}/{logstore}/{number}.ndjson`, one JSON object a line,
//! segments of at most an eighth of the bound; beside them `replayed`, the ids of records that were
//! replayed; one that begins with `-` takes an id back. A torn last line is skipped by readers.
//!
//! Not here: which events are set aside (`front`), what a replay makes of them (`front::replay`).

mod read;
mod record;
mod segments;
mod store;
#[cfg(test)]
mod tests;

pub use self::read::{
    Kept, KeptRecord, Place, each_record, each_record_from, newest_records, places, replayed,
};
pub use self::record::{Attached, Record, RecordEvent, Sender, Tags};
pub use self::store::{Quarantine, QuarantineError, Room};
