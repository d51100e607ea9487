//! One file of an archive, from its first batch to its last name.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use tokio::time::Instant;

use super::FileRules;
use super::frame::FileFormat;
use super::whole::{UNSYNCED, whole};
use crate::logstore::codec::Codec;

/// Behind the name of a file that still grows.
const GROWING: &str = ".part";

/// Times that a new file is begun when another process takes it away at once.
const TRIES: u64 = 8;

/// A file that is written.
#[derive(Debug)]
pub(super) struct Segment {
    /// Locked, so that no other process takes it for one that a crash has left.
    file: File,
    /// Its name when it is complete.
    path: PathBuf,
    /// Bytes of whole, synced batches.
    length: u64,
    /// Bytes behind those, of the batch that is being written.
    pending: u64,
    /// Bytes of these that are not synced.
    unsynced: u64,
    begun: Instant,
    /// It may hold more than those, or may not keep what is written.
    broken: bool,
    /// It has got its last name, or none; the folder may not be synced yet.
    ended: Option<Ending>,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It has its last name.
    Complete,
    /// It was empty, and is deleted.
    Empty,
    /// Somebody else has taken it away while it was written.
    Lost,
}

impl Segment {
    /// A new file, for a batch of this id.
    pub(super) fn begin(rules: &FileRules, pack: &str, now: u64) -> io::Result<Self> {
        make_folder(&rules.folder)?;
        for try_ in 0..TRIES {
            // The name of one that is being taken away is not free yet.
            let path = rules.folder.join(name_of(rules, pack, now + try_));
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true).mode(0o600);
            let file = match options.open(growing(&path)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                file => file?,
            };
            if !is_ours(&file)? {
                continue;
            }
            if let Err(error) = sync_folder(&rules.folder) {
                // Nothing is in it, and nobody would come back for it.
                return fs::remove_file(growing(&path)).and(Err(error));
            }
            return Ok(Self {
                file,
                path,
                length: 0,
                pending: 0,
                unsynced: 0,
                begun: Instant::now(),
                broken: false,
                ended: None,
            });
        }
        let message = "others take new files away before they are locked";
        Err(io::Error::new(io::ErrorKind::WouldBlock, message))
    }

    /// Bytes of whole batches.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of these and of the batch that is being written.
    pub(super) fn end(&self) -> u64 {
        self.length + self.pending
    }

    /// Whether no batch is to be added to it, by its age or for what has happened to it.
    pub(super) fn is_over(&self, age: Duration) -> bool {
        self.broken || self.ended.is_some() || self.begun.elapsed() >= age
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a frame of a batch. The batch is safe once it is committed, and to be taken back when one
    /// of its frames fails.
    pub(super) fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        let bytes = frame.len() as u64;
        if self.unsynced > 0 && self.unsynced + bytes > UNSYNCED {
            self.sync()?;
        }
        self.file.write_all_at(frame, self.end())?;
        self.pending += bytes;
        self.unsynced += bytes;
        Ok(())
    }

    /// Syncs the batch that was written. How many bytes it has.
    pub(super) fn commit(&mut self) -> io::Result<u64> {
        self.sync()?;
        if self.file.metadata()?.nlink() == 0 {
            // Whatever is written goes nowhere.
            self.broken = true;
            let message = format!("{} was deleted while it was written", self.path.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        let written = std::mem::take(&mut self.pending);
        self.length += written;
        Ok(written)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.unsynced > 0 {
            // A second sync could succeed without the bytes: nothing more is trusted to this file.
            self.file.sync_data().inspect_err(|_| self.broken = true)?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Takes back what was written of a batch. The file is as it was before, or broken.
    pub(super) fn take_back(&mut self) {
        (self.pending, self.unsynced) = (0, 0);
        if !self.broken {
            // Synced, so that after a crash no more than [`UNSYNCED`] is in doubt.
            let cut = self.file.set_len(self.length);
            self.broken = cut.and_then(|()| self.file.sync_data()).is_err();
        }
    }

    /// Gives the file its last name, or deletes an empty one. To be called again when it fails.
    pub(super) fn complete(&mut self) -> io::Result<Ending> {
        let ending = match self.ended {
            Some(ending) => ending,
            None => *self.ended.insert(self.end_it()?),
        };
        match self.path.parent().map_or(Ok(()), sync_folder) {
            // The folder is gone, and what was in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(match ending {
                Ending::Empty => Ending::Empty,
                _ => Ending::Lost,
            }),
            synced => synced.map(|()| ending),
        }
    }

    fn end_it(&self) -> io::Result<Ending> {
        if self.broken {
            self.file.set_len(self.length)?;
        }
        let growing = growing(&self.path);
        let named = match self.length {
            0 => fs::remove_file(&growing),
            _ => fs::rename(&growing, &self.path),
        };
        match named {
            Ok(()) if self.length == 0 => Ok(Ending::Empty),
            Ok(()) => Ok(Ending::Complete),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Err(_) if self.length == 0 => Ok(Ending::Empty),
            // It may have been renamed by a call that failed all the same.
            Err(_) if is_at(&self.file, &self.path)? => Ok(Ending::Complete),
            Err(_) => Ok(Ending::Lost),
        }
    }
}

/// Locks a file. Whether it is there, and no other process has it.
fn is_ours(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(file.metadata()?.nlink() > 0),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether a name is that of this file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (file, there) = (file.metadata()?, fs::symlink_metadata(path));
    match there {
        Ok(there) => Ok((there.dev(), there.ino()) == (file.dev(), file.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Completes the files that earlier lives have left. How many those were. One that another process
/// writes is left alone.
pub(super) fn recover(rules: &FileRules) -> io::Result<u64> {
    let mut completed = 0;
    let listed = match fs::read_dir(&rules.folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    for entry in listed {
        let path = entry?.path();
        match finish(&path) {
            Ok(done) => completed += u64::from(done),
            // It is left as it is, and does not hold up the others.
            Err(error) => {
                let file = path.display();
                tracing::error!(%file, %error, "an unfinished file of an archive cannot be completed");
            }
        }
    }
    sync_folder(&rules.folder)?;
    Ok(completed)
}

/// Completes a file that an earlier life has left, if it is one. Whether it was.
fn finish(path: &Path) -> io::Result<bool> {
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(complete) = name.and_then(|name| name.strip_suffix(GROWING)) else {
        return Ok(false);
    };
    let Some((format, codec)) = form_of(complete) else {
        return Ok(false);
    };
    let opened = OpenOptions::new().read(true).write(true).open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    // Its owner may have completed it since its name was read.
    if !(is_ours(&file)? && is_at(&file, path)?) {
        return Ok(false);
    }
    let length = file.metadata()?.len();
    let kept = whole(&file, length, format, codec)?;
    if kept < length {
        let (file, cut) = (path.display(), length - kept);
        tracing::info!(%file, cut, "what a crash has left of a batch is cut off");
    }
    if kept == 0 {
        fs::remove_file(path)?;
        return Ok(false);
    }
    file.set_len(kept)?;
    file.sync_all()?;
    fs::rename(path, path.with_file_name(complete))?;
    Ok(true)
}

/// The name that says form and time; the last parts are those of [`form_of`].
fn name_of(rules: &FileRules, pack: &str, now: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(now);
    let time = humantime::format_rfc3339_millis(time).to_string();
    let time: String = time.chars().filter(char::is_ascii_alphanumeric).collect();
    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    let pack: String = pack.chars().filter(plain).take(40).collect();
    let form = match rules.format {
        FileFormat::Ndjson => "ndjson",
        FileFormat::Protobuf => "pb",
    };
    let packed = match rules.codec {
        Codec::Lz4 => ".lz4",
        Codec::Zstd => ".zst",
        _ => "",
    };
    format!("{time}-{pack}.{form}{packed}")
}

/// What a file of this name holds; `None` of a name that is not ours.
pub(super) fn form_of(name: &str) -> Option<(FileFormat, Codec)> {
    let (stem, form) = name.split_once('.')?;
    let (time, pack) = stem.split_once('-')?;
    let digits = time.bytes().filter(u8::is_ascii_digit).count();
    let ours = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if digits != 17 || time.len() != 19 || !pack.bytes().all(ours) {
        return None;
    }
    Some(match form {
        "ndjson" => (FileFormat::Ndjson, Codec::None),
        "ndjson.lz4" => (FileFormat::Ndjson, Codec::Lz4),
        "ndjson.zst" => (FileFormat::Ndjson, Codec::Zstd),
        "pb" => (FileFormat::Protobuf, Codec::None),
        "pb.lz4" => (FileFormat::Protobuf, Codec::Lz4),
        "pb.zst" => (FileFormat::Protobuf, Codec::Zstd),
        _ => return None,
    })
}

fn growing(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(GROWING);
    name.into()
}

fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // The names on the way, too. Who may not read a folder above has made it durable before.
    for above in path.ancestors().skip(1).take(3) {
        if sync_folder(above).is_err() {
            break;
        }
    }
    Ok(())
}

pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
