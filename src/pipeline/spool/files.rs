//! What the spool asks of a file system, and the real one.
//!
//! Promise: nothing else in the spool touches a disk, so a simulated file system can stand in for
//! the real one and fail, tear and forget wherever a real one may. All calls block.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name. One that is not UTF-8 is not listed: none of ours is so named.
    pub name: String,
    /// Whether it is a directory.
    pub folder: bool,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Why a directory was not locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("it is in use by another process{}", holder(.0))]
    Held(Option<u32>),
    /// The lock file cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(", with process id {pid}"))
}

/// An open file. Positions are in bytes from its start.
pub trait Handle: Send + Sync + fmt::Debug {
    /// Writes at a position; may write less, as `pwrite` does.
    ///
    /// # Errors
    /// What the file system says.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Reads at a position; 0 at the end of the file.
    ///
    /// # Errors
    /// What the file system says.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes the content durable. After an error nothing is known of what was not durable before,
    /// whatever a later call says.
    ///
    /// # Errors
    /// What the file system says.
    fn sync_data(&self) -> io::Result<()>;
    /// How long the file is.
    ///
    /// # Errors
    /// What the file system says.
    fn bytes(&self) -> io::Result<u64>;
    /// Whether the file still has a name. One that was deleted under us still takes writes, and
    /// keeps none of them.
    ///
    /// # Errors
    /// What the file system says.
    fn is_linked(&self) -> io::Result<bool>;
}

/// A file system.
pub trait Files: Send + Sync + fmt::Debug {
    /// Makes a directory that only its owner may enter; no error when it is there.
    ///
    /// # Errors
    /// What the file system says.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes a file that only its owner may read.
    ///
    /// # Errors
    /// What the file system says; also when the file is there.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Handle>>;
    /// Opens a file for reading.
    ///
    /// # Errors
    /// What the file system says.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn Handle>>;
    /// Gives a file another name; a file of that name is replaced.
    ///
    /// # Errors
    /// What the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a file.
    ///
    /// # Errors
    /// What the file system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// What is in a directory, in no order. Symbolic links are not listed.
    ///
    /// # Errors
    /// What the file system says.
    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>>;
    /// Makes names that were made, changed or deleted in a directory durable.
    ///
    /// # Errors
    /// What the file system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Bytes that an ordinary user can still write.
    ///
    /// # Errors
    /// What the file system says.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;
    /// Takes the lock of that file until the value is dropped or the process ends.
    ///
    /// # Errors
    /// See [`LockError`].
    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>, LockError>;
    /// A number that nobody guesses.
    fn random(&self) -> u64;
}

/// Writes all of `bytes` at `offset`.
pub(super) fn write_all_at(
    handle: &dyn Handle,
    mut bytes: &[u8],
    mut offset: u64,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match handle.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until `into` is full or the file ends; how many bytes that were.
pub(super) fn read_full_at(handle: &dyn Handle, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..)
        && !rest.is_empty()
    {
        match handle.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFiles;

impl Handle for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, into, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn is_linked(&self) -> io::Result<bool> {
        Ok(self.metadata()?.nlink() > 0)
    }
}

impl Files for RealFiles {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn Handle>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(Arc::new(options.open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn Handle>> {
        Ok(Arc::new(File::open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            // What is deleted meanwhile is simply not there.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if (metadata.is_file() || metadata.is_dir())
                && let Ok(name) = entry.file_name().into_string()
            {
                found.push(Listed {
                    name,
                    folder: metadata.is_dir(),
                    bytes: metadata.len(),
                });
            }
        }
        Ok(found)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let found = rustix::fs::statvfs(folder)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>, LockError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Who has it is only told, so a file that cannot be read tells nobody.
                let read = (&file).take(16).read_to_string(&mut text);
                return Err(LockError::Held(read.ok().and(text.trim().parse().ok())));
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Box::new(file))
    }

    fn random(&self) -> u64 {
        let clock = |_| crate::foundation::clock::unix_millis().rotate_left(32);
        getrandom::u64().unwrap_or_else(clock)
    }
}
