//! Looking at a spool without its lock, while another process may write to it.
//!
//! Promise: nothing is changed. What is written meanwhile may or may not be seen; a record that is
//! half written is a torn tail here, and no error.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bundle_set::BundleSet;
use super::checkpoint::Checkpoint;
use super::directory::{FoundLane, lanes_in};
use super::files::{Files, read_full_at};
use super::format::{DATA_START, HeaderRead, RECORD_HEADER, SegmentHeader};
use super::keys::KeyRing;
use super::payload::{Content, unpack};
use super::read::Bundle;
use super::scan::{Found, Scanner};
use super::{BundleId, folder_of, number_of, segment_name};
use crate::foundation::names::{LogstoreName, ProjectName};

/// Unfinished bundles that are held in memory while a lane is read, in bytes; what is beyond is
/// given without the parts that may follow.
const MAX_OPEN: usize = 256 << 20;
/// Places of damage that are told of one segment.
const MAX_PLACES: usize = 16;

/// What is known of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentView {
    /// Its number, as in its name.
    pub number: u64,
    /// Its length.
    pub bytes: u64,
    /// Its state.
    pub state: SegmentState,
    /// When it was made, in Unix milliseconds; 0 where that is not known.
    pub created: u64,
    /// Whether it is encrypted.
    pub sealed: bool,
    /// It is encrypted, and its key is not at hand.
    pub locked: bool,
    /// Whole records, whether they are done or not.
    pub records: u64,
    /// Events in them.
    pub events: u64,
    /// Events in records that are not done, as far as the checkpoint tells.
    pub waiting_events: u64,
    /// When the oldest record that is not done was appended.
    pub oldest: Option<u64>,
    /// Records whose payload is damaged.
    pub damaged_records: u64,
    /// Bytes between records that are none.
    pub garbage_bytes: u64,
    /// Where the damage is: offset and length in bytes, of the first finds.
    pub damage: Vec<(u64, u64)>,
    /// Bytes behind the last whole record. Not damage where the spool is in use.
    pub tail_bytes: u64,
    /// Bytes behind a cut: written in vain.
    pub cut_bytes: u64,
}

/// Whether a segment can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// Its records can be found.
    Good,
    /// Of a newer version of the format.
    Newer(u16),
    /// It has no readable header.
    Headerless,
    /// It says that it is of another lane.
    Foreign,
    /// Nothing was ever confirmed in it: no records, or zeros.
    Empty,
}

/// A spool, or a copy of one.
#[derive(Clone, Debug)]
pub struct SpoolView {
    files: Arc<dyn Files>,
    path: PathBuf,
    keys: Option<Arc<KeyRing>>,
}

/// One lane of it.
#[derive(Clone, Debug)]
pub struct LaneView {
    files: Arc<dyn Files>,
    folder: PathBuf,
    names: (ProjectName, LogstoreName),
    keys: Option<Arc<KeyRing>>,
}

/// What one pass over a lane has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneReport {
    /// The segments, oldest first.
    pub segments: Vec<SegmentView>,
    /// The checkpoint is there and cannot be read.
    pub bad_checkpoint: bool,
    /// Bundles of which something is not done, as far as the checkpoint tells.
    pub waiting_bundles: u64,
    /// Parts that could not be opened, for want of a key or because they are damaged.
    pub unopened_parts: u64,
    /// Bundles that were not given because no part says where they belong.
    pub headless_bundles: u64,
}

impl LaneReport {
    /// Whether something is damaged. Torn tails are not: a crash leaves them.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        let bad = |segment: &SegmentView| {
            segment.damaged_records > 0
                || segment.garbage_bytes > 0
                || segment.state == SegmentState::Headerless
        };
        self.bad_checkpoint || self.segments.iter().any(bad)
    }

    /// Events that are not done, as far as the checkpoint tells.
    #[must_use]
    pub fn waiting_events(&self) -> u64 {
        self.segments.iter().map(|it| it.waiting_events).sum()
    }

    /// When the oldest record that is not done was appended, in Unix milliseconds.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.segments.iter().filter_map(|it| it.oldest).min()
    }
}

/// Ids that a pass has met.
#[derive(Default)]
struct Met {
    waiting: BundleSet,
    done: BundleSet,
}

impl SpoolView {
    /// Looks at the spool in a directory. Nothing is read yet.
    #[must_use]
    pub fn new(files: Arc<dyn Files>, path: &Path, keys: Option<Arc<KeyRing>>) -> Self {
        Self {
            files,
            path: path.to_owned(),
            keys,
        }
    }

    /// Its lanes, sorted.
    ///
    /// # Errors
    /// When a directory cannot be listed.
    pub fn lanes(&self) -> io::Result<Vec<FoundLane>> {
        lanes_in(&*self.files, &self.path)
    }

    /// One lane, whether it has a directory or not.
    #[must_use]
    pub fn lane(&self, project: &ProjectName, logstore: &LogstoreName) -> LaneView {
        LaneView {
            files: Arc::clone(&self.files),
            folder: folder_of(&self.path, project, logstore),
            names: (project.clone(), logstore.clone()),
            keys: self.keys.clone(),
        }
    }
}

/// A bundle of which not all parts were met.
#[derive(Default)]
struct Unfinished {
    parts: BTreeMap<u16, (Content, u32)>,
    last: Option<u16>,
    time: u64,
    bytes: usize,
}

impl Unfinished {
    fn is_whole(&self) -> bool {
        self.last
            .is_some_and(|last| self.parts.len() == usize::from(last) + 1)
    }

    fn join(self, id: BundleId) -> Option<Bundle> {
        let key = self
            .parts
            .values()
            .find(|(content, _)| content.is_keyed())?;
        let key = key.0.key().to_vec();
        let mut log_group = Vec::with_capacity(self.bytes + 64);
        let mut events = 0;
        for (content, count) in self.parts.values() {
            log_group.extend_from_slice(content.logs());
            events += u64::from(*count);
        }
        let logs_bytes = log_group.len();
        log_group.extend_from_slice(&key);
        Some(Bundle {
            id,
            log_group,
            logs_bytes,
            events,
            time: self.time,
        })
    }
}

/// A segment whose records can be read.
struct Readable {
    at: usize,
    file: Arc<dyn super::files::Handle>,
    header: SegmentHeader,
    limit: u64,
}

impl LaneView {
    /// The file of a segment.
    #[must_use]
    pub fn segment_path(&self, number: u64) -> PathBuf {
        self.folder.join(segment_name(number))
    }

    /// The file of the checkpoint.
    #[must_use]
    pub fn checkpoint_path(&self) -> PathBuf {
        self.folder.join(super::checkpoint::FILE)
    }

    /// Reads every record of the lane, and checks it. Memory: one record.
    ///
    /// # Errors
    /// When a file cannot be read. One that is deleted meanwhile is left out.
    pub fn verify(&self) -> io::Result<LaneReport> {
        self.meet().map(|(report, _)| report)
    }

    /// The ids of all bundles of which a whole record is there, whether they are done or not.
    ///
    /// # Errors
    /// As [`LaneView::verify`].
    pub fn ids(&self) -> io::Result<BundleSet> {
        let (_, met) = self.meet()?;
        let mut ids = met.waiting;
        ids.merge(met.done);
        Ok(ids)
    }

    fn meet(&self) -> io::Result<(LaneReport, Met)> {
        let (mut report, checkpoint, readable) = self.look()?;
        let mut met = Met::default();
        for segment in readable {
            self.pass(
                &segment,
                &checkpoint,
                (&mut report, &mut met),
                |_, _, _, _| {},
            )?;
        }
        report.waiting_bundles = met.waiting.count();
        Ok((report, met))
    }

    /// Reads the bundles that are not done, as far as the checkpoint tells, and gives each to
    /// `take`; one whose last part is not there comes at the end.
    ///
    /// # Errors
    /// When a file cannot be read, or what `take` says.
    pub fn bundles(
        &self,
        mut take: impl FnMut(Bundle) -> io::Result<()>,
    ) -> io::Result<LaneReport> {
        let (mut report, checkpoint, readable) = self.look()?;
        let mut met = Met::default();
        let mut open: HashMap<BundleId, Unfinished, foldhash::fast::RandomState> =
            HashMap::default();
        // Oldest first, so that what is beyond the bound can be given up in order.
        let mut order: std::collections::VecDeque<BundleId> = std::collections::VecDeque::new();
        let mut held = 0_usize;
        for segment in readable {
            let mut whole = Vec::new();
            let mut result = Ok(());
            let mut headless = 0;
            self.pass(
                &segment,
                &checkpoint,
                (&mut report, &mut met),
                |id, time, found, content| {
                    let Some(content) = content else {
                        return;
                    };
                    let entry = open.entry(id).or_insert_with(|| {
                        order.push_back(id);
                        Unfinished {
                            time,
                            ..Unfinished::default()
                        }
                    });
                    let size = content.key().len() + content.logs().len();
                    if entry
                        .parts
                        .insert(found.part, (content, found.events))
                        .is_none()
                    {
                        entry.bytes += size;
                        held += size;
                    }
                    if found.last {
                        entry.last = Some(found.part);
                    }
                    if entry.is_whole() {
                        whole.push(id);
                    }
                    while held > MAX_OPEN
                        && let Some(oldest) = order.pop_front()
                    {
                        whole.push(oldest);
                        if whole.len() > 1 {
                            break;
                        }
                    }
                    for id in whole.drain(..) {
                        let Some(done) = open.remove(&id) else {
                            continue;
                        };
                        held -= done.bytes;
                        match done.join(id) {
                            Some(bundle) if result.is_ok() => result = take(bundle),
                            Some(_) => {}
                            None => headless += 1,
                        }
                    }
                    if order.len() > 2 * open.len() + 1024 {
                        order.retain(|id| open.contains_key(id));
                    }
                },
            )?;
            report.headless_bundles += headless;
            result?;
        }
        order.retain(|id| open.contains_key(id));
        for id in order {
            let Some(unfinished) = open.remove(&id) else {
                continue;
            };
            match unfinished.join(id) {
                Some(bundle) => take(bundle)?,
                None => report.headless_bundles += 1,
            }
        }
        report.waiting_bundles = met.waiting.count();
        Ok(report)
    }

    /// The headers of all segments, and which records of them count.
    fn look(&self) -> io::Result<(LaneReport, Checkpoint, Vec<Readable>)> {
        let mut report = LaneReport::default();
        let checkpoint = Checkpoint::read(&*self.files, &self.folder)?.unwrap_or_else(|| {
            report.bad_checkpoint = true;
            Checkpoint::default()
        });
        let listed = self.files.list(&self.folder)?.into_iter();
        let mut numbers: Vec<u64> = listed
            .filter(|listed| !listed.folder)
            .filter_map(|listed| number_of(&listed.name))
            .collect();
        numbers.sort_unstable();
        let mut readable = Vec::new();
        for number in numbers {
            let file = match self.files.open(&self.folder.join(segment_name(number))) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            let bytes = file.bytes()?;
            let mut head = vec![0; usize::try_from(bytes.min(DATA_START)).unwrap_or(0)];
            let read = read_full_at(&*file, &mut head, 0)?;
            head.truncate(read);
            let (state, header) = match SegmentHeader::decode(&head) {
                HeaderRead::Newer(version) => (SegmentState::Newer(version), None),
                HeaderRead::Bad if bytes <= DATA_START || head.iter().all(|byte| *byte == 0) => {
                    (SegmentState::Empty, None)
                }
                HeaderRead::Bad => (SegmentState::Headerless, None),
                HeaderRead::Good(header)
                    if (&header.project, &header.logstore) != (&self.names.0, &self.names.1) =>
                {
                    (SegmentState::Foreign, None)
                }
                HeaderRead::Good(header) => (SegmentState::Good, Some(*header)),
            };
            report.segments.push(SegmentView {
                number,
                bytes,
                state,
                created: header.as_ref().map_or(0, |header| header.created),
                sealed: header.as_ref().is_some_and(|header| header.key != 0),
                locked: header.as_ref().is_some_and(|header| self.lacks(header.key)),
                records: 0,
                events: 0,
                waiting_events: 0,
                oldest: None,
                damaged_records: 0,
                garbage_bytes: 0,
                damage: Vec::new(),
                tail_bytes: 0,
                cut_bytes: 0,
            });
            if let Some(header) = header {
                readable.push(Readable {
                    at: report.segments.len() - 1,
                    file,
                    header,
                    limit: bytes,
                });
            }
        }
        self.apply_cuts(&checkpoint, &mut readable, &mut report);
        Ok((report, checkpoint, readable))
    }

    fn lacks(&self, key: u64) -> bool {
        key != 0 && !self.keys.as_ref().is_some_and(|keys| keys.has(key))
    }

    fn apply_cuts(
        &self,
        checkpoint: &Checkpoint,
        readable: &mut [Readable],
        report: &mut LaneReport,
    ) {
        let told = readable.iter().flat_map(|segment| &segment.header.cuts);
        let told = told.map(|cut| (cut.segment, cut.length));
        let known = checkpoint.segments.iter().map(|p| (p.segment, p.cut));
        let cuts: Vec<(u64, u64)> = told.chain(known).collect();
        for segment in readable {
            let Some(view) = report.segments.get_mut(segment.at) else {
                continue;
            };
            for (_, length) in cuts.iter().filter(|(number, _)| *number == view.number) {
                if *length < segment.limit {
                    segment.limit = (*length).max(DATA_START);
                    view.cut_bytes = view.bytes - segment.limit;
                }
            }
        }
    }

    /// One pass over a segment; gives the parts that are not done.
    fn pass(
        &self,
        segment: &Readable,
        checkpoint: &Checkpoint,
        (report, met): (&mut LaneReport, &mut Met),
        mut take: impl FnMut(BundleId, u64, &super::format::RecordHeader, Option<Content>),
    ) -> io::Result<()> {
        let unopened = &mut report.unopened_parts;
        let Some(view) = report.segments.get_mut(segment.at) else {
            return Ok(());
        };
        let header = &segment.header;
        let known = checkpoint.of(view.number, header.identity);
        let file = Arc::clone(&segment.file);
        let mut scanner = Scanner::new(file, header.identity, segment.limit, false);
        while let Some(found) = scanner.next()? {
            match found {
                Found::Record {
                    offset,
                    header: record,
                    bytes,
                } => {
                    view.records += 1;
                    view.events += u64::from(record.events);
                    let (id, time) = (header.bundle(&record), header.time(&record));
                    let done =
                        known.is_some_and(|p| offset < p.as_of && p.done.contains(id.number));
                    if done {
                        met.done.insert(id);
                    } else {
                        met.waiting.insert(id);
                        view.waiting_events += u64::from(record.events);
                        view.oldest = Some(view.oldest.map_or(time, |oldest| oldest.min(time)));
                        let payload = bytes.get(RECORD_HEADER..).unwrap_or_default();
                        let keys = self.keys.as_deref();
                        let content = unpack(header, keys, &record, bytes, offset, payload);
                        *unopened += u64::from(content.is_none());
                        take(id, time, &record, content);
                    }
                }
                Found::Damaged { offset, header } => {
                    view.damaged_records += 1;
                    let length = RECORD_HEADER as u64 + u64::from(header.stored);
                    note_place(view, offset, length);
                }
                Found::Garbage { offset, length } => {
                    view.garbage_bytes += length;
                    note_place(view, offset, length);
                }
                Found::Tail { length, .. } => view.tail_bytes += length,
            }
        }
        Ok(())
    }
}

fn note_place(view: &mut SegmentView, offset: u64, length: u64) {
    if view.damage.len() < MAX_PLACES {
        view.damage.push((offset, length));
    }
}
