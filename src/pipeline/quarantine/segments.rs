//! The files of one logstore's records. Only the writer thread changes them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::read::{Place, each_record_in, read_replayed};

/// The file with the ids of records that were replayed.
pub(super) const REPLAYED: &str = "replayed";
/// Before an id in that file: it was not replayed after all.
pub(super) const NOT_REPLAYED: &str = "-";
/// More bytes than any line of that file has.
const MAX_ID: u64 = 4096;
/// Bytes of that file below which ids of records that are gone stay in it.
const PRUNE_FROM: u64 = 1 << 20;

/// One file of records.
#[derive(Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    /// When it was last written to.
    written: SystemTime,
}

/// The files of one logstore.
#[derive(Debug)]
pub(super) struct Segments {
    folder: PathBuf,
    /// Oldest first; the last is the one that is written to.
    segments: Vec<Segment>,
    open: Option<File>,
    max_bytes: u64,
    /// Bytes from which the ids of replayed records are looked through.
    prune_from: u64,
}

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Deleted {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

impl Segments {
    /// The files in a folder, which need not be there yet.
    pub(super) fn find(folder: PathBuf, max_bytes: u64) -> io::Result<Self> {
        let mut segments = Vec::new();
        for number in numbers(&folder)? {
            let about = fs::metadata(path_of(&folder, number))?;
            segments.push(Segment {
                number,
                bytes: about.len(),
                written: about.modified()?,
            });
        }
        Ok(Self {
            folder,
            segments,
            open: None,
            max_bytes,
            prune_from: PRUNE_FROM,
        })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Appends whole lines. After a failure the next attempt goes to another file, and what was
    /// written of these lines is cut off where that is possible.
    pub(super) fn append(&mut self, lines: &[u8], now: SystemTime) -> io::Result<()> {
        let length = lines.len() as u64;
        let full = |segment: &Segment| segment.bytes + length > (self.max_bytes / 8).max(1);
        if self.open.is_none() || self.segments.last().is_none_or(full) {
            self.begin(now)?;
        }
        let (Some(file), Some(segment)) = (&mut self.open, self.segments.last_mut()) else {
            return Err(io::Error::other("no segment is open"));
        };
        let written = file.write_all(lines).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // What was not cut off is skipped by readers as a torn line, so nothing goes after it.
            if file.set_len(segment.bytes).is_err() {
                self.open = None;
            }
            return Err(error);
        }
        segment.bytes += length;
        segment.written = now;
        Ok(())
    }

    fn begin(&mut self, now: SystemTime) -> io::Result<()> {
        make_folder(&self.folder)?;
        let number = self.segments.last().map_or(1, |last| last.number + 1);
        let mut options = OpenOptions::new();
        options.append(true).create_new(true).mode(0o600);
        let file = options.open(path_of(&self.folder, number))?;
        // From here on the file is there: its number is not given again, whatever fails.
        self.open = Some(file);
        self.segments.push(Segment {
            number,
            bytes: 0,
            written: now,
        });
        File::open(&self.folder)?.sync_all()
    }

    /// Deletes the oldest files until `incoming` more bytes fit the bound.
    pub(super) fn make_room(&mut self, incoming: u64) -> io::Result<Deleted> {
        let mut deleted = Deleted::default();
        while self.bytes() + incoming > self.max_bytes && !self.segments.is_empty() {
            deleted = deleted.and(self.delete_first()?);
        }
        Ok(deleted)
    }

    /// Deletes files whose youngest record is older than `age`.
    pub(super) fn expire(&mut self, age: Duration, now: SystemTime) -> io::Result<Deleted> {
        let mut deleted = Deleted::default();
        let old = |segment: &Segment| {
            now.duration_since(segment.written)
                .is_ok_and(|past| past > age)
        };
        while self.segments.first().is_some_and(old) {
            deleted = deleted.and(self.delete_first()?);
        }
        Ok(deleted)
    }

    /// Deletes every file, and what was noted of replays.
    pub(super) fn purge(&mut self) -> io::Result<Deleted> {
        let mut deleted = Deleted::default();
        while !self.segments.is_empty() {
            deleted = deleted.and(self.delete_first()?);
        }
        match fs::remove_file(self.folder.join(REPLAYED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(deleted),
        }
    }

    fn delete_first(&mut self) -> io::Result<Deleted> {
        let Some(segment) = self.segments.first() else {
            return Ok(Deleted::default());
        };
        let path = path_of(&self.folder, segment.number);
        let bytes = segment.bytes;
        let records = count_lines(&path).unwrap_or_default();
        if self.segments.len() == 1 {
            self.open = None;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.segments.remove(0);
        Ok(Deleted { records, bytes })
    }

    /// Notes that these records are being replayed, on disk before this returns.
    pub(super) fn note_replayed(&self, ids: &[u8]) -> io::Result<()> {
        make_folder(&self.folder)?;
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let mut file = options.open(self.folder.join(REPLAYED))?;
        let whole = cut_torn_line(&file)?;
        let written = file.write_all(ids).and_then(|()| file.sync_data());
        if let Err(error) = written {
            drop(file.set_len(whole));
            return Err(error);
        }
        File::open(&self.folder)?.sync_all()
    }

    /// Forgets the replays of records that are gone, each time that the notes have doubled.
    pub(super) fn prune_replayed(&mut self) -> io::Result<()> {
        let path = self.folder.join(REPLAYED);
        let bytes = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            about => about?.len(),
        };
        if bytes < self.prune_from {
            return Ok(());
        }
        let noted = read_replayed(&self.folder)?;
        let mut kept = Vec::new();
        each_record_in(&self.folder, Place::default(), |record, _, _| {
            if noted.contains(&*record.id) {
                kept.extend_from_slice(record.id.as_bytes());
                kept.push(b'\n');
            }
            true
        })?;
        let anew = self.folder.join("replayed.new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&anew)?;
        file.write_all(&kept)?;
        file.sync_all()?;
        fs::rename(&anew, &path)?;
        self.prune_from = (kept.len() as u64 * 2).max(PRUNE_FROM);
        File::open(&self.folder)?.sync_all()
    }
}

impl Deleted {
    fn and(self, other: Self) -> Self {
        Self {
            records: self.records + other.records,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// Cuts off the beginning of a line at the end of a file, which a crash has left: an id would be read
/// wrong together with it. The bytes of the file.
fn cut_torn_line(file: &File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(MAX_ID);
    let mut end = Vec::new();
    (&*file).seek(SeekFrom::Start(start))?;
    file.take(MAX_ID).read_to_end(&mut end)?;
    let whole = memchr::memrchr(b'\n', &end).map_or(start, |at| start + at as u64 + 1);
    if whole < length {
        file.set_len(whole)?;
    }
    Ok(whole)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The file of a segment.
pub(super) fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.ndjson"))
}

/// The numbers of the segments in a folder, in their order. None when it is not there.
pub(super) fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".ndjson"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn count_lines(path: &Path) -> io::Result<u64> {
    let mut file = io::BufReader::with_capacity(64 << 10, File::open(path)?);
    let mut lines = 0;
    loop {
        let buffer = io::BufRead::fill_buf(&mut file)?;
        if buffer.is_empty() {
            return Ok(lines);
        }
        lines += memchr::memchr_iter(b'\n', buffer).count() as u64;
        let length = buffer.len();
        io::BufRead::consume(&mut file, length);
    }
}
