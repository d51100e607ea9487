//! What an archive keeps, and the room that it leaves.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::FileRules;
use super::segment::{form_of, sync_folder};
use crate::telemetry::ArchiveMetrics;

/// A complete file.
struct Complete {
    path: PathBuf,
    bytes: u64,
    /// When it was written last, in Unix milliseconds.
    written: u64,
}

/// Deletes complete files that are too old, then the oldest as long as there are too many bytes.
/// Files that have other names than ours are not counted and not touched.
pub(super) fn sweep(rules: &FileRules, metrics: &ArchiveMetrics, now: u64) -> io::Result<()> {
    let files = complete(&rules.folder)?;
    let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let mut count = files.len() as u64;
    let oldest = rules.keep_age.map(|age| {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        now.saturating_sub(age)
    });
    let mut deleted = false;
    for file in files {
        let too_old = oldest.is_some_and(|oldest| file.written < oldest);
        let too_many = rules.keep_bytes.is_some_and(|most| bytes > most);
        if !(too_old || too_many) {
            continue;
        }
        let removed = fs::remove_file(&file.path);
        bytes -= file.bytes;
        count -= 1;
        match removed {
            Ok(()) => deleted = true,
            // Somebody else has deleted it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        metrics.files_deleted.inc();
        metrics.bytes_deleted.add(file.bytes);
    }
    metrics.bytes.set(bytes);
    metrics.files.set(count);
    if deleted {
        sync_folder(&rules.folder)
    } else {
        Ok(())
    }
}

/// Complete files by name, which is by time.
fn complete(folder: &Path) -> io::Result<Vec<Complete>> {
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in listed {
        let entry = entry?;
        if entry.file_name().to_str().and_then(form_of).is_none() {
            continue;
        }
        let metadata = match entry.metadata() {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => continue,
            // Somebody has collected it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let written = metadata.modified()?.duration_since(UNIX_EPOCH);
        files.push(Complete {
            path: entry.path(),
            bytes: metadata.len(),
            written: written.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
        });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Whether so many bytes leave the disk the room that it is to keep.
pub(super) fn has_room(rules: &FileRules, bytes: u64) -> io::Result<()> {
    if rules.reserve == 0 {
        return Ok(());
    }
    let existing = rules.folder.ancestors().find(|path| path.exists());
    let disk = rustix::fs::statvfs(existing.unwrap_or(Path::new("/")))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < rules.reserve.saturating_add(bytes) {
        let message = format!(
            "the disk has {free} bytes left, and {} are kept free",
            rules.reserve
        );
        return Err(io::Error::new(io::ErrorKind::StorageFull, message));
    }
    Ok(())
}
