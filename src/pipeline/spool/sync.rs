//! Making parts durable.
//!
//! Promise: a sync that failed is never tried again on that file, since the next one may say that
//! all is well after the pages were dropped. The file is cut where it was known to be durable, and
//! what was behind is handed back to the caller.
//! A sync may run without the log: [`Log::begin_sync`], [`SyncTicket::run`], [`Log::finish_sync`].

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::append::Fault;
use super::files::{Files, Handle};
use super::format::{BundleId, Cut};
use super::log::{End, Log};

/// Names a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId {
    /// Its bundle.
    pub bundle: BundleId,
    /// Its number in the bundle.
    pub number: u16,
}

/// A sync failed. These parts are no longer in the log; they may be on disk, or not. Each is to be
/// appended again, with the same number, or to be refused by whoever was to be told of it. Parts of
/// bundles that memory has let go are not among them: nobody could append them again, and they count
/// as lost.
#[derive(Debug, thiserror::Error)]
#[error("{} parts of the spool may not be durable ({fault:?}): {source}", parts.len())]
pub struct InDoubt {
    /// Which, sorted. Parts that were appended while the sync ran are among them where they went
    /// to the same file.
    pub parts: Vec<PartId>,
    /// Its kind.
    pub fault: Fault,
    /// What the operating system said.
    pub source: io::Error,
}

#[derive(Debug)]
struct Target {
    number: u64,
    handle: Arc<dyn Handle>,
    upto: u64,
}

/// What is to be made durable.
#[derive(Debug)]
pub struct SyncTicket {
    files: Arc<dyn Files>,
    targets: Vec<Target>,
    folders: Vec<PathBuf>,
}

/// How that went; for [`Log::finish_sync`].
#[derive(Debug)]
#[must_use = "the log must know"]
pub struct SyncOutcome {
    files: Vec<(u64, u64, Result<(), Failure>)>,
    folders: Option<io::Result<()>>,
}

#[derive(Debug)]
enum Failure {
    Sync(io::Error),
    /// The file has no name any more: all of it is lost.
    Deleted,
}

impl SyncTicket {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Blocks until the disk has answered. To be called once: a ticket is used up.
    pub fn run(self) -> SyncOutcome {
        let sync = |target: &Target| match target.handle.sync_data() {
            Err(error) => Err(Failure::Sync(error)),
            Ok(()) => match target.handle.is_linked() {
                Ok(true) => Ok(()),
                Ok(false) => Err(Failure::Deleted),
                Err(error) => Err(Failure::Sync(error)),
            },
        };
        let files = self.targets.iter().map(|t| (t.number, t.upto, sync(t)));
        let files = files.collect();
        let mut folders = self.folders.iter();
        let synced = || folders.try_for_each(|folder| self.files.sync_folder(folder));
        SyncOutcome {
            files,
            folders: (!self.folders.is_empty()).then(synced),
        }
    }
}

impl Log {
    /// Makes everything durable that was appended.
    ///
    /// # Errors
    /// [`InDoubt`]: all other parts are durable.
    pub fn sync(&mut self) -> Result<(), InDoubt> {
        match self.begin_sync() {
            Some(ticket) => self.finish_sync(ticket.run()),
            None => Ok(()),
        }
    }

    /// Begins a sync of everything that was appended until now. `None` while another is on its way:
    /// a second one could report success for what the first has lost.
    pub fn begin_sync(&mut self) -> Option<SyncTicket> {
        if self.syncing {
            return None;
        }
        self.syncing = true;
        let closing = self.closing.iter().map(|closing| Target {
            number: closing.number,
            handle: Arc::clone(&closing.handle),
            upto: closing.length,
        });
        let open = self.writer.iter().filter(|w| w.synced < w.length);
        let open = open.map(|writer| Target {
            number: writer.number,
            handle: Arc::clone(&writer.handle),
            upto: writer.length,
        });
        let targets: Vec<Target> = closing.chain(open).collect();
        let mut folders = Vec::new();
        let anchored =
            |target: &Target| self.segments.get(&target.number).is_none_or(|s| s.anchored);
        if !targets.iter().all(anchored) {
            folders.push(self.folder.clone());
            if self.adrift {
                // The project's directory, and the spool's.
                folders.extend(self.folder.ancestors().skip(1).take(2).map(PathBuf::from));
            }
        }
        Some(SyncTicket {
            files: Arc::clone(&self.files),
            targets,
            folders,
        })
    }

    /// Notes how a sync went.
    ///
    /// # Errors
    /// As [`Log::sync`].
    pub fn finish_sync(&mut self, outcome: SyncOutcome) -> Result<(), InDoubt> {
        self.syncing = false;
        let SyncOutcome { files, folders } = outcome;
        let mut failed = None;
        let named = match folders {
            None => None,
            Some(Ok(())) => {
                self.adrift = false;
                Some(true)
            }
            Some(Err(error)) => {
                self.adrift = true;
                failed = Some(error);
                Some(false)
            }
        };
        let mut doubts: BTreeSet<PartId> = std::mem::take(&mut self.doubts).into_iter().collect();
        for (number, upto, result) in files {
            let Some(segment) = self.segments.get_mut(&number) else {
                self.closing.retain(|closing| closing.number != number);
                continue;
            };
            let anchored = segment.anchored || named.unwrap_or(true);
            match result {
                Ok(()) if anchored => {
                    segment.anchored = true;
                    self.note_synced(number, upto);
                }
                Ok(()) => self.withdraw(number, 0, &mut doubts),
                Err(Failure::Sync(error)) => {
                    let from = self.synced_of(number);
                    self.withdraw(number, from, &mut doubts);
                    failed = Some(error);
                }
                Err(Failure::Deleted) => {
                    self.withdraw(number, 0, &mut doubts);
                    failed = Some(io::ErrorKind::NotFound.into());
                }
            }
        }
        if failed.is_none() && doubts.is_empty() {
            return Ok(());
        }
        self.counts.failed_syncs += 1;
        let source = failed.unwrap_or_else(|| io::Error::other("an earlier sync failed"));
        Err(InDoubt {
            parts: doubts.into_iter().collect(),
            fault: Fault::of(&source),
            source,
        })
    }

    fn note_synced(&mut self, number: u64, upto: u64) {
        if let Some(writer) = self.writer.as_mut().filter(|w| w.number == number) {
            writer.synced = upto;
        }
        for closing in self.closing.iter_mut().filter(|c| c.number == number) {
            closing.synced = upto;
        }
        self.closing
            .retain(|closing| closing.synced < closing.length);
    }

    pub(super) fn synced_of(&self, number: u64) -> u64 {
        let open = self.writer.iter().find(|w| w.number == number);
        let closing = self.closing.iter().find(|c| c.number == number);
        open.map(|w| w.synced)
            .or_else(|| closing.map(|c| c.synced))
            .unwrap_or(0)
    }

    /// Cuts a segment and takes out of the index what was behind the cut.
    fn withdraw(&mut self, number: u64, from: u64, doubts: &mut BTreeSet<PartId>) {
        self.cuts.retain(|cut| cut.segment != number);
        self.cuts.push(Cut {
            segment: number,
            length: from,
        });
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.cut = true;
            segment.length = from;
        }
        // The next part goes to a segment whose header tells of the cut.
        self.retire_writer();
        self.closing.retain(|closing| closing.number != number);
        let behind = |place: &super::index::Place| {
            place.segment == number && u64::from(place.offset) >= from
        };
        let hit = self.index.iter().map(|(_, entry)| entry);
        let hit = hit.filter(|entry| entry.places.iter().any(behind));
        let hit: Vec<BundleId> = hit.map(|entry| entry.id).collect();
        for id in hit {
            let before = self.index.get(id).map(super::index::Entry::segments);
            let end = self.end_of_gone(id);
            let mut gone = self.index.take_places(id, behind);
            // What is left is nothing without a part that says where it belongs.
            if self.index.get(id).is_some_and(|entry| !entry.is_keyed()) {
                gone.extend(self.index.take_places(id, |_| true));
            }
            for place in &gone {
                self.count_end(end, u64::from(place.events), u64::from(place.raw));
                if end == End::Withdrawn {
                    doubts.insert(PartId {
                        bundle: id,
                        number: place.part,
                    });
                }
            }
            let left = self.index.get(id).map(super::index::Entry::segments);
            if left.is_none() {
                self.counts.held_bundles -= 1;
            }
            let left = left.unwrap_or_default();
            for segment in before.unwrap_or_default() {
                if !left.contains(&segment) {
                    self.part_from(segment, id.number);
                }
            }
        }
        self.remove_if_spent(number);
    }
}
