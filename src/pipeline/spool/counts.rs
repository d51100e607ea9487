//! What a log has counted.

/// Plain numbers of one lane. The first group balances at any moment:
/// `appended + recovered = held + done + expired + dropped + lost + withdrawn`, in events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events of parts that were appended.
    pub appended_events: u64,
    /// Events that were found on disk after the log was opened, and are not done.
    pub recovered_events: u64,
    /// Events of bundles that are done.
    pub done_events: u64,
    /// Events that became too old.
    pub expired_events: u64,
    /// Events that made room for newer ones.
    pub dropped_events: u64,
    /// Events that were on disk alone, and could not be read when their turn came or were deleted
    /// under us.
    pub lost_events: u64,
    /// Events of parts that the disk may not have, and memory has: of those whose sync failed (handed
    /// back in [`InDoubt`](super::InDoubt)), and of segments that were deleted under us.
    pub withdrawn_events: u64,
    /// Events in the log now.
    pub held_events: u64,

    /// Bundles in the log now.
    pub held_bundles: u64,
    /// Bytes of what is in the log now, before it was packed.
    pub held_raw_bytes: u64,
    /// Bytes of this lane on disk, without the checkpoint and `damaged/`.
    pub disk_bytes: u64,
    /// Segments of this lane on disk.
    pub segments: u64,
    /// Bytes of segments that recovery has still to read.
    pub unscanned_bytes: u64,
    /// What the tables of bundles take, in bytes.
    pub index_bytes: u64,

    /// Bundles that were found on disk after the log was opened.
    pub recovered_bundles: u64,
    /// Parts that were appended.
    pub appended_parts: u64,
    /// Bytes that were appended, headers included.
    pub appended_bytes: u64,
    /// Parts that were found twice, and read once.
    pub repeated_parts: u64,
    /// Records whose header is whole and whose payload is not.
    pub damaged_records: u64,
    /// Events of those records, as far as they were not counted as held before.
    pub damaged_events: u64,
    /// Runs of bytes between records that are no records.
    pub garbage: u64,
    /// Segments that end in an unfinished record.
    pub torn_tails: u64,
    /// Bytes that belong to no record: garbage and torn tails.
    pub skipped_bytes: u64,
    /// Bytes that the disk refused to read, more than once.
    pub unreadable_bytes: u64,
    /// Bundles without a readable part that says their topic, source and tags; their events.
    pub headless_events: u64,
    /// Segments without a readable header.
    pub headerless_segments: u64,
    /// Segments of a newer version of the format, left alone.
    pub newer_segments: u64,
    /// Segments whose key is not at hand, or which the disk does not let us read at all, left alone.
    pub locked_segments: u64,
    /// Segments that say that they are of another lane, left alone.
    pub foreign_segments: u64,
    /// Copies of segments that were there twice, set aside.
    pub twin_segments: u64,
    /// Segments that were deleted under us.
    pub missing_segments: u64,
    /// Checkpoints that could not be read: what was done is sent again.
    pub bad_checkpoints: u64,
    /// Damaged bytes for which `damaged/` had no room.
    pub not_copied: u64,
    /// Appends that the disk refused.
    pub failed_appends: u64,
    /// Syncs that the disk refused.
    pub failed_syncs: u64,
    /// Checkpoints and deletions that the disk refused; they are tried again.
    pub failed_upkeep: u64,
}

impl Counts {
    /// Whether the first group balances.
    #[must_use]
    pub fn balance(&self) -> bool {
        self.appended_events + self.recovered_events
            == self.held_events
                + self.done_events
                + self.expired_events
                + self.dropped_events
                + self.lost_events
                + self.withdrawn_events
    }
}
