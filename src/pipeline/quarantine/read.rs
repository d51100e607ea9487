//! Reading what was set aside; of a live process as well as of a dead one.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::record::Sender;
use super::segments::{NOT_REPLAYED, REPLAYED, numbers, path_of};

/// The longest line that is read: an event of the greatest size, escaped.
const MAX_LINE: u64 = 16 << 20;

/// The folder of one logstore's records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    /// The project.
    pub project: String,
    /// The logstore.
    pub logstore: String,
    folder: PathBuf,
}

impl Kept {
    /// The folder of a logstore under the data directory.
    #[must_use]
    pub fn of(data_dir: &Path, project: &str, logstore: &str) -> Self {
        Self {
            project: project.to_owned(),
            logstore: logstore.to_owned(),
            folder: data_dir.join("quarantine").join(project).join(logstore),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it has any records, or notes of them.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.folder.is_dir()
    }

    /// Bytes of its records on disk.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn bytes(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for number in numbers(&self.folder)? {
            bytes += fs::metadata(path_of(&self.folder, number)).map_or(0, |about| about.len());
        }
        Ok(bytes)
    }
}

/// A record, as it was kept.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "as in `Record`")]
pub struct KeptRecord<'a> {
    #[serde(borrow)]
    pub id: std::borrow::Cow<'a, str>,
    pub received: u64,
    pub cause: std::borrow::Cow<'a, str>,
    pub check: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    pub violations: &'a RawValue,
    #[serde(default)]
    pub client: Option<std::net::IpAddr>,
    #[serde(default)]
    pub sender: Option<Sender>,
    #[serde(default)]
    pub turn: u32,
    #[serde(default)]
    pub do_not_track: bool,
    #[serde(default)]
    pub global_privacy_control: bool,
    #[serde(default)]
    pub topic: std::borrow::Cow<'a, str>,
    #[serde(default)]
    pub source: std::borrow::Cow<'a, str>,
    #[serde(default)]
    pub tags: Pairs,
    #[serde(borrow)]
    pub event: &'a RawValue,
    #[serde(default)]
    pub attached: std::collections::BTreeMap<String, String>,
}

/// Names and values in their order.
#[derive(Debug, Default)]
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = members.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Every logstore that has records, by name.
///
/// # Errors
/// When a folder cannot be read.
pub fn places(data_dir: &Path) -> io::Result<Vec<Kept>> {
    let mut places = Vec::new();
    for project in folders(&data_dir.join("quarantine"))? {
        for logstore in folders(&data_dir.join("quarantine").join(&project))? {
            places.push(Kept::of(data_dir, &project, &logstore));
        }
    }
    places.sort();
    Ok(places)
}

fn folders(of: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(of) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

/// Where a record stands in the files of its logstore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    segment: u64,
    offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment, self.offset)
    }
}

impl std::str::FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (segment, offset) = text.split_once(':')?;
            Some(Self {
                segment: segment.parse().ok()?,
                offset: offset.parse().ok()?,
            })
        };
        read().ok_or("is no place that an earlier call told")
    }
}

/// Shows each record, oldest first, with its line, until `see` says no. How many lines were damaged.
///
/// # Errors
/// When a file cannot be read.
pub fn each_record(
    kept: &Kept,
    mut see: impl FnMut(&KeptRecord<'_>, &str) -> bool,
) -> io::Result<u64> {
    each_record_from(kept, Place::default(), |record, line, _| see(record, line))
}

/// The same from a place on, with the place of each record.
///
/// # Errors
/// When a file cannot be read.
pub fn each_record_from(
    kept: &Kept,
    from: Place,
    see: impl FnMut(&KeptRecord<'_>, &str, Place) -> bool,
) -> io::Result<u64> {
    each_record_in(&kept.folder, from, see)
}

pub(super) fn each_record_in(
    folder: &Path,
    from: Place,
    mut see: impl FnMut(&KeptRecord<'_>, &str, Place) -> bool,
) -> io::Result<u64> {
    let mut damaged = 0;
    for segment in numbers(folder)? {
        if segment < from.segment {
            continue;
        }
        let mut file = match File::open(path_of(folder, segment)) {
            // It was deleted in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let mut offset = 0;
        if segment == from.segment {
            // A place that nobody was told of may be behind the end.
            let place = from.offset.min(file.metadata()?.len());
            offset = file.seek(SeekFrom::Start(place))?;
        }
        let mut reader = BufReader::with_capacity(64 << 10, file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader
                .by_ref()
                .take(MAX_LINE)
                .read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            let place = Place { segment, offset };
            offset += read as u64;
            let whole = line.strip_suffix(b"\n");
            let text = whole.and_then(|line| std::str::from_utf8(line).ok());
            let record = text.and_then(|text| Some((serde_json::from_str(text).ok()?, text)));
            match record {
                Some((record, text)) if !see(&record, text, place) => return Ok(damaged),
                Some(_) => {}
                None => damaged += 1,
            }
        }
    }
    Ok(damaged)
}

/// Bytes of files that [`newest_records`] reads at most.
const MOST_READ: u64 = 16 << 20;
/// Bytes that it reads at once, before it goes further back.
const STRETCH: u64 = 256 << 10;

/// Shows the line of each record, the newest first, until `see` says no; not further back than some
/// megabytes.
///
/// # Errors
/// When a file cannot be read.
pub fn newest_records(kept: &Kept, see: &mut dyn FnMut(&str) -> bool) -> io::Result<()> {
    let mut left = MOST_READ;
    for segment in numbers(&kept.folder)?.into_iter().rev() {
        let mut file = match File::open(path_of(&kept.folder, segment)) {
            // It was deleted in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let mut end = file.metadata()?.len();
        // The beginning of a line whose end was read before.
        let mut rest = Vec::new();
        while end > 0 && left > 0 {
            let stretch = STRETCH.min(end);
            end -= stretch;
            left = left.saturating_sub(stretch);
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(end))?;
            file.by_ref().take(stretch).read_to_end(&mut bytes)?;
            bytes.append(&mut rest);
            let mut lines = bytes.split(|byte| *byte == b'\n').rev();
            // What follows the last line end is torn, or the beginning of what was seen.
            let mut whole: Vec<&[u8]> = lines.by_ref().collect();
            let first = if end > 0 { whole.pop() } else { None };
            for line in whole.iter().filter(|line| !line.is_empty()) {
                let shown = std::str::from_utf8(line).ok().map(&mut *see);
                if shown == Some(false) {
                    return Ok(());
                }
            }
            rest = first.unwrap_or_default().to_vec();
        }
    }
    Ok(())
}

/// The ids of records that were replayed.
///
/// # Errors
/// When their file cannot be read.
pub fn replayed(kept: &Kept) -> io::Result<HashSet<String>> {
    read_replayed(&kept.folder)
}

pub(super) fn read_replayed(folder: &Path) -> io::Result<HashSet<String>> {
    let file = match File::open(folder.join(REPLAYED)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
        file => file?,
    };
    let mut ids = HashSet::new();
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(ids);
        }
        // A line that was torn by a crash was never answered for.
        let Some(Ok(text)) = line.strip_suffix(b"\n").map(std::str::from_utf8) else {
            continue;
        };
        match text.strip_prefix(NOT_REPLAYED) {
            Some(id) => ids.remove(id),
            None => ids.insert(text.to_owned()),
        };
    }
}
