//! Copies of damaged bytes, for whoever wants to look at them.
//!
//! Promise: at most `max_files` files and `max_bytes` bytes for each lane; the first are kept, since
//! they tell most. When a copy cannot be made, nothing else is held up.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{Files, Handle, read_full_at, write_all_at};

/// Name of the folder in the lane's.
pub(super) const FOLDER: &str = "damaged";
/// The largest copy of one find, in bytes.
const MAX_COPY: u64 = 1 << 20;

/// The folder of one lane.
#[derive(Debug)]
pub(super) struct Damaged {
    files: Arc<dyn Files>,
    folder: PathBuf,
    max_bytes: u64,
    max_files: usize,
    /// Names and bytes that are there; `None` before the first look.
    held: Option<(u64, usize)>,
}

impl Damaged {
    pub(super) fn new(
        files: Arc<dyn Files>,
        lane: &Path,
        max_bytes: u64,
        max_files: usize,
    ) -> Self {
        Self {
            files,
            folder: lane.join(FOLDER),
            max_bytes,
            max_files,
            held: None,
        }
    }

    /// Copies `length` bytes of a segment, no more than [`MAX_COPY`]; whether it did.
    pub(super) fn keep(
        &mut self,
        segment: u64,
        file: &dyn Handle,
        offset: u64,
        length: u64,
    ) -> bool {
        let length = length.min(MAX_COPY);
        let name = format!("{segment:016x}-{offset:08x}.bytes");
        self.room_for(length) && self.copy(&name, file, offset, length).is_ok()
    }

    /// Moves a segment of which nothing can be read here; whether it did.
    pub(super) fn keep_file(&mut self, from: &Path, segment: u64, length: u64) -> bool {
        let to = self.folder.join(format!("{segment:016x}.seg"));
        self.room_for(length)
            && self.files.create_folder(&self.folder).is_ok()
            && self.files.rename(from, &to).is_ok()
            && {
                self.count(length);
                true
            }
    }

    fn room_for(&mut self, length: u64) -> bool {
        let (bytes, count) = *self.held.get_or_insert_with(|| {
            let found = self.files.list(&self.folder).unwrap_or_default();
            (found.iter().map(|file| file.bytes).sum(), found.len())
        });
        bytes + length <= self.max_bytes && count < self.max_files
    }

    fn count(&mut self, length: u64) {
        if let Some((bytes, count)) = &mut self.held {
            *bytes += length;
            *count += 1;
        }
    }

    fn copy(&mut self, name: &str, file: &dyn Handle, offset: u64, length: u64) -> io::Result<()> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let read = read_full_at(file, &mut bytes, offset)?;
        bytes.truncate(read);
        self.files.create_folder(&self.folder)?;
        let path = self.folder.join(name);
        let copy = match self.files.create(&path) {
            // The same find of an earlier start.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            copy => copy?,
        };
        self.count(length);
        write_all_at(&*copy, &bytes, 0)
    }
}
