//! The metrics of archives: upstreams of kind `files`.

use super::declare;

declare! {
    ARCHIVE_GROUP "Files of archives"
    ARCHIVE_WRITTEN_BYTES = counter "tollgate_archive_written_bytes_total" ["project", "logstore"]
        "Bytes written and synced to files, of an upstream of kind files.";
    ARCHIVE_FILES_COMPLETED = counter "tollgate_archive_files_completed_total" ["project", "logstore"]
        "Files that were completed and got their last name.";
    ARCHIVE_FILES_LOST = counter "tollgate_archive_files_lost_total" ["project", "logstore"]
        "Files that others deleted or moved while they were written. Their events count as delivered. Alert on growth.";
    ARCHIVE_FILES_DELETED = counter "tollgate_archive_files_deleted_total" ["project", "logstore"]
        "Complete files that were deleted by keep_age or keep_size.";
    ARCHIVE_DELETED_BYTES = counter "tollgate_archive_deleted_bytes_total" ["project", "logstore"]
        "Bytes of those files.";
    ARCHIVE_FAILURES = counter "tollgate_archive_failures_total" ["project", "logstore"]
        "Uses of the disk that failed. Nothing is lost: batches wait and are tried again. Alert on growth.";
    ARCHIVE_FILES = gauge "tollgate_archive_files" ["project", "logstore"]
        "Complete files that are there, as last counted.";
    ARCHIVE_BYTES = gauge "tollgate_archive_bytes" ["project", "logstore"]
        "Bytes of the complete files that are there. Bound: keep_size, where it is set.";
}
