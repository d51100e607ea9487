//! The metrics of the spool.

use super::declare;

declare! {
    SPOOL_GROUP "Events on disk"
    SPOOL_EVENTS = gauge "tollgate_spool_events" ["project", "logstore"]
        "Events that wait on disk and are not in memory.";
    SPOOL_RECOVERED_EVENTS = counter "tollgate_spool_recovered_events_total" ["project", "logstore"]
        "Events that an earlier life of the process had left on disk.";
    SPOOL_EXPIRED_EVENTS = counter "tollgate_spool_expired_events_total" ["project", "logstore"]
        "Events that waited on disk for longer than spool.max_age.";
    SPOOL_SHED_EVENTS = counter "tollgate_spool_shed_events_total" ["project", "logstore"]
        "Events on disk that made room for newer ones (when_full = drop_oldest).";
    SPOOL_BYTES = gauge "tollgate_spool_bytes" ["project", "logstore"]
        "Bytes on disk.";
    SPOOL_PART_BYTES = gauge "tollgate_spool_part_bytes" ["project", "logstore"]
        "Bytes of spool.max_size that are kept for the logstore (spool.guaranteed).";
    SPOOL_SEGMENTS = gauge "tollgate_spool_segments" ["project", "logstore"]
        "Files on disk.";
    SPOOL_PARTS = counter "tollgate_spool_parts_total" ["project", "logstore"]
        "Parts of batches that were written to disk.";
    SPOOL_DAMAGE = counter "tollgate_spool_damage_total" ["project", "logstore"]
        "Records on disk that were damaged, and runs of bytes that are no records. Copies are in damaged/.";
    SPOOL_FAILURES = counter "tollgate_spool_failures_total" ["project", "logstore"]
        "Writes and syncs that the disk refused.";
    SPOOL_STATE = worst "tollgate_spool_state" ["project", "logstore"]
        "0: the disk takes events. 1: it is full. 2: it fails.";
    SPOOL_RECOVERING = gauge "tollgate_spool_recovering" ["project", "logstore"]
        "1 while what an earlier life of the process has left on disk is being looked through.";
    SPOOL_SYNC_SECONDS = histogram "tollgate_spool_sync_seconds" []
        "Time of each sync of the spool to disk.";
}
