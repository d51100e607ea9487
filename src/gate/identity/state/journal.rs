//! The file that keeps what the admin API has changed: one line a change, appended.
//!
//! A line is a checksum (16 hex digits of its SHA-256), a space and a JSON document. A change is on
//! disk before [`Change::commit`] says so. A use count ([`Journal::append`]) is handed to the
//! system and not waited for: it survives the death of the process, not always that of the machine.
//!
//! A line that is torn or damaged is skipped and counted; later ones are still read, and a copy of
//! the file is kept as `journal.damaged` when it is next written anew. A line that is whole but not
//! understood is of a newer version: nothing is opened then, since it may be a revocation. When the
//! disk is full the change is refused and what was written of it is cut off.
//!
//! Not here: what the entries mean (`revocations`, `tickets`), and when to write the file anew.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::{ChangeError, OpenError};
use super::revocation::{Revocation, RevocationKind};
use super::ticket::TicketRecord;
use super::ticket_id::TicketId;

/// The format that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;
/// Bytes of a line. No change comes near it (a ticket is the largest).
const MAX_LINE: usize = 16 << 10;
/// Hex digits of a line's checksum.
const SUM: usize = 16;
/// Bytes of use counts that may come while the file is written anew. Beyond it that is given up and
/// tried again later.
const MAX_MIRROR: usize = 4 << 20;

const FILE: &str = "journal";
const DRAFT: &str = "journal.new";
const DAMAGED: &str = "journal.damaged";
const LOCK: &str = "lock";

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Entry {
    /// The first line: the format of all others.
    Format(u32),
    /// A revocation, in place of an earlier one of the same.
    Revoke(Revocation),
    /// A revocation is undone.
    Lift {
        kind: RevocationKind,
        value: Box<str>,
    },
    /// A ticket as it stood then.
    Ticket(Box<TicketRecord>),
    /// A ticket ends later. The latest counts.
    Extend { id: TicketId, expires: u64 },
    /// How often a ticket has been used. The greatest counts: two threads may write out of order.
    Uses { id: TicketId, count: u64 },
}

impl Entry {
    fn line(&self) -> io::Result<Vec<u8>> {
        let json = serde_json::to_vec(self)?;
        let mut line = sum(&json).into_bytes();
        line.push(b' ');
        line.extend_from_slice(&json);
        line.push(b'\n');
        if line.len() > MAX_LINE {
            return Err(io::Error::other("the entry is longer than a line may be"));
        }
        Ok(line)
    }
}

fn sum(json: &[u8]) -> String {
    let digest = Sha256::digest(json);
    let half = digest.iter().take(SUM / 2);
    half.map(|byte| format!("{byte:02x}")).collect()
}

/// What a line turned out to be.
enum Line {
    Entry(Entry),
    Blank,
    Damaged,
    Unknown,
}

fn read_line(line: &[u8]) -> Line {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    if line.is_empty() {
        return Line::Blank;
    }
    let Some((found, json)) = line.split_at_checked(SUM) else {
        return Line::Damaged;
    };
    let Some(json) = json.strip_prefix(b" ") else {
        return Line::Damaged;
    };
    if sum(json).as_bytes() != found {
        return Line::Damaged;
    }
    serde_json::from_slice(json).map_or(Line::Unknown, Line::Entry)
}

/// What reading the file came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Replay {
    /// Lines skipped because they are torn or damaged.
    pub(super) damaged: u64,
}

/// The open file.
#[derive(Debug)]
struct Tail {
    file: Arc<File>,
    /// Where the last whole line ends, when that is known.
    length: Option<u64>,
    lines: u64,
    /// The file may end in a part of a line.
    torn: bool,
    /// What is on disk may not be what was said: the file has to be written anew first.
    broken: bool,
    /// What is appended while the file is written anew.
    mirror: Option<Vec<u8>>,
}

impl Tail {
    fn push(&mut self, line: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        if self.torn {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(line);
        if let Err(error) = (&*self.file).write_all(&bytes) {
            // A part of it may have been written.
            let cut = self
                .length
                .is_some_and(|end| self.file.set_len(end).is_ok());
            if !cut {
                self.torn = true;
                self.length = None;
            }
            return Err(error);
        }
        self.torn = false;
        self.length = match self.length {
            Some(end) => Some(end + bytes.len() as u64),
            None => self.file.metadata().ok().map(|data| data.len()),
        };
        self.lines += 1;
        if let Some(mirror) = &mut self.mirror {
            mirror.extend_from_slice(line);
            if mirror.len() > MAX_MIRROR {
                self.mirror = None;
            }
        }
        Ok(())
    }
}

/// The journal of one data directory. Only one process has it open.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    changes: Mutex<()>,
    tail: Mutex<Tail>,
    /// Held until the end; the system lets it go with the process.
    _lock: File,
}

impl Journal {
    /// Opens the journal in `folder`, which is made when it is not there, and gives its entries to
    /// `take`, oldest first.
    pub(super) fn open(
        folder: &Path,
        take: impl FnMut(Entry),
    ) -> Result<(Self, Replay), OpenError> {
        let failed = |source| OpenError::Files {
            path: folder.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
        let lock = owned(OpenOptions::new().write(true).create(true).truncate(false))
            .open(folder.join(LOCK))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked {
                    path: folder.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let path = folder.join(FILE);
        let fresh = !path.try_exists().map_err(failed)?;
        let file = owned(OpenOptions::new().read(true).append(true).create(true))
            .open(&path)
            .map_err(failed)?;
        let (mut tail, replay) = replay(file, folder, take)?;
        if fresh {
            Entry::Format(FORMAT)
                .line()
                .and_then(|line| tail.push(&line))
                .and_then(|()| tail.file.sync_all())
                .and_then(|()| sync_folder(folder))
                .map_err(failed)?;
        }
        let journal = Self {
            folder: folder.to_owned(),
            changes: Mutex::new(()),
            tail: Mutex::new(tail),
            _lock: lock,
        };
        Ok((journal, replay))
    }

    /// Begins a change. Changes wait for each other; [`Journal::append`] does not wait for them.
    pub(super) fn begin(&self) -> Change<'_> {
        Change {
            journal: self,
            _one_at_a_time: self.changes.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Appends an entry without waiting for the disk.
    pub(super) fn append(&self, entry: &Entry) -> io::Result<()> {
        let line = entry.line()?;
        self.tail().push(&line)
    }

    /// Lines in the file, and whether it must be written anew before it takes changes again.
    pub(super) fn fill(&self) -> (u64, bool) {
        let tail = self.tail();
        (tail.lines, tail.broken)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self, source: io::Error) -> ChangeError {
        ChangeError::Write {
            path: self.folder.join(FILE),
            source,
        }
    }

    #[cfg(test)]
    pub(super) fn replace_file(&self, file: File) {
        self.tail().file = Arc::new(file);
    }
}

/// The right to change something: one at a time.
#[derive(Debug)]
pub(super) struct Change<'a> {
    journal: &'a Journal,
    _one_at_a_time: MutexGuard<'a, ()>,
}

impl Change<'_> {
    /// Appends an entry and waits until it is on disk. When it fails nothing has changed.
    pub(super) fn commit(&self, entry: &Entry) -> Result<(), ChangeError> {
        let journal = self.journal;
        let line = entry.line().map_err(|error| journal.refused(error))?;
        let file = {
            let mut tail = journal.tail();
            if tail.broken {
                let why = "an earlier change failed; it is written anew within seconds";
                return Err(journal.refused(io::Error::other(why)));
            }
            tail.push(&line).map_err(|error| journal.refused(error))?;
            Arc::clone(&tail.file)
        };
        file.sync_data().map_err(|error| {
            // The line is in the file although the change is refused, and after a failed sync
            // nobody knows what is on disk.
            journal.tail().broken = true;
            journal.refused(error)
        })
    }

    /// Writes the file anew with the entries that `live` gathers and what is appended meanwhile.
    /// When it fails the old file stays.
    pub(super) fn rewrite(
        &self,
        live: impl FnOnce() -> Vec<Entry>,
        keep_old: bool,
    ) -> io::Result<()> {
        let folder = &self.journal.folder;
        let (path, draft) = (folder.join(FILE), folder.join(DRAFT));
        // First this, then the entries: a use counted in between is in one of the two or in both.
        self.journal.tail().mirror = Some(Vec::new());
        let written = write_draft(&draft, live());
        let mut tail = self.journal.tail();
        let mirror = tail.mirror.take();
        let (file, lines) = written?;
        let mirror = mirror.ok_or_else(|| io::Error::other("too many uses meanwhile"))?;
        (&file).write_all(&mirror)?;
        if keep_old {
            let copy = folder.join(DAMAGED);
            match fs::remove_file(&copy) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => fs::hard_link(&path, &copy)?,
            }
        }
        fs::rename(&draft, &path)?;
        *tail = Tail {
            length: Some(file.metadata()?.len()),
            file: Arc::new(file),
            lines: lines + count_lines(&mirror),
            torn: false,
            // Until the folder is on disk the old file may come back.
            broken: true,
            mirror: None,
        };
        drop(tail);
        sync_folder(folder)?;
        self.journal.tail().broken = false;
        Ok(())
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

fn owned(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn write_draft(path: &Path, entries: Vec<Entry>) -> io::Result<(File, u64)> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = owned(OpenOptions::new().append(true).create_new(true)).open(path)?;
    let mut writer = BufWriter::new(file);
    let mut lines = 0;
    for entry in std::iter::once(Entry::Format(FORMAT)).chain(entries) {
        writer.write_all(&entry.line()?)?;
        lines += 1;
    }
    let file = writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok((file, lines))
}

fn replay(
    file: File,
    folder: &Path,
    mut take: impl FnMut(Entry),
) -> Result<(Tail, Replay), OpenError> {
    let failed = |source| OpenError::Files {
        path: folder.to_owned(),
        source,
    };
    let unknown = || OpenError::Format {
        path: folder.join(FILE),
    };
    let mut reader = BufReader::new(&file);
    let mut line = Vec::new();
    let (mut lines, mut torn, mut replay) = (0, false, Replay::default());
    loop {
        line.clear();
        let limit = MAX_LINE as u64;
        let read = (&mut reader).take(limit).read_until(b'\n', &mut line);
        if read.map_err(failed)? == 0 {
            break;
        }
        lines += 1;
        torn = line.last() != Some(&b'\n');
        if torn && line.len() >= MAX_LINE {
            reader.skip_until(b'\n').map_err(failed)?;
        }
        match read_line(&line) {
            Line::Entry(Entry::Format(FORMAT)) | Line::Blank => {}
            Line::Entry(Entry::Format(_)) | Line::Unknown => return Err(unknown()),
            Line::Entry(entry) => take(entry),
            Line::Damaged => replay.damaged += 1,
        }
    }
    let length = file.metadata().map_err(failed)?.len();
    let tail = Tail {
        file: Arc::new(file),
        length: Some(length),
        lines,
        torn,
        broken: false,
        mirror: None,
    };
    Ok((tail, replay))
}
