//! A file that a command writes for people.
//!
//! Promise: it is there as a whole, or not at all, and what was there before stays until then. What it
//! may be read by is what is asked for, not what a file of that name had.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Who may read and write: the owner alone.
pub(super) const OWNER_ONLY: u32 = 0o600;
/// As the user's mask has it.
pub(super) const BY_MASK: u32 = 0o666;

/// Names that are tried for a file that is being written.
const DRAFTS: u32 = 16;

/// A file that is being written: under another name beside it. What is not finished is deleted.
#[derive(Debug)]
pub(super) struct OutFile {
    file: File,
    /// Where it is until it is whole; none for what is no file, such as a pipe.
    draft: Option<PathBuf>,
    path: PathBuf,
}

impl OutFile {
    /// Begins a file of this mode.
    ///
    /// # Errors
    /// When there can be none.
    pub(super) fn create(path: &Path, mode: u32) -> io::Result<Self> {
        // Of a link, what it leads to is replaced.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let is_other = std::fs::metadata(&path).is_ok_and(|it| !it.is_file());
        let mut options = OpenOptions::new();
        options.write(true);
        if is_other {
            let file = options.open(&path)?;
            return Ok(Self {
                file,
                draft: None,
                path,
            });
        }
        options.create_new(true).mode(mode);
        let mut number = 0;
        loop {
            let mut draft = path.clone();
            let ending = format!(".{}.{number}.tmp", std::process::id());
            draft.as_mut_os_string().push(ending);
            match options.open(&draft) {
                Ok(file) => {
                    return Ok(Self {
                        file,
                        draft: Some(draft),
                        path,
                    });
                }
                // A process of this id was killed over it: in containers ids come again.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < DRAFTS => {
                    number += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Puts it in place, over what is there.
    ///
    /// # Errors
    /// When it cannot be written; what was there stays then.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let Some(draft) = &self.draft else {
            return self.file.flush();
        };
        self.file.sync_all()?;
        std::fs::rename(draft, &self.path)?;
        self.draft = None;
        Ok(())
    }

    /// Puts it in place, where nothing is yet.
    ///
    /// # Errors
    /// When something is there, or it cannot be written.
    pub(super) fn finish_new(self) -> io::Result<()> {
        if self.draft.is_none() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // Takes the name, so that of two only one goes on.
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&self.path)?;
        let path = self.path.clone();
        self.finish().inspect_err(|_| {
            // What is there is the name, and empty.
            drop(std::fs::remove_file(path));
        })
    }
}

impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if let Some(draft) = &self.draft {
            // Nobody is left to be told.
            drop(std::fs::remove_file(draft));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_what_anyone_could_read_is_so_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let mut file = OutFile::create(&path, OWNER_ONLY).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        drop(file);
        assert_eq!(names(folder.path()), ["a"], "what was not finished is gone");
        let left = format!("a.{}.0.tmp", std::process::id());
        std::fs::write(folder.path().join(&left), "of one that was killed").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut file = OutFile::create(&link, OWNER_ONLY).unwrap();
        file.write_all(b"new").unwrap();
        file.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(folder.path()), ["a", &left, "link"]);
    }

    #[test]
    fn what_is_there_is_kept_and_what_is_no_file_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let file = OutFile::create(&path, BY_MASK).unwrap();
        std::fs::write(&path, "of another").unwrap();
        let error = file.finish_new().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "of another");
        assert_eq!(names(folder.path()), ["a"]);
        let mut null = OutFile::create(Path::new("/dev/null"), OWNER_ONLY).unwrap();
        null.write_all(b"x").unwrap();
        null.finish().unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    }
}
