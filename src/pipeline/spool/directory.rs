//! The directory of all lanes.
//!
//! Promise: one process at a time; who has it is told. A lock file that was left behind is no
//! obstacle, since the lock ends with the process.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::files::{Files, LockError};
use super::keys::{KeyRing, StandingKeys};
use super::log::{Log, LogRules};
use super::opening::Ground;
use super::space::Space;
use super::{checkpoint, damaged, folder_of, number_of};
use crate::foundation::names::{LogstoreName, ProjectName};

/// Name of the lock file; no project can be so named.
const LOCK: &str = ".lock";

/// Why a spool was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it, or the lock file cannot be used.
    #[error("the spool {} cannot be locked: {source}", path.display())]
    Locked {
        /// The spool's directory.
        path: PathBuf,
        /// Why.
        source: LockError,
    },
    /// Its directory cannot be made or listed.
    #[error("the spool {} cannot be opened: {source}", path.display())]
    Files {
        /// Which directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The log of that lane is open already.
    #[error("the log of {0}/{1} is open already")]
    Twice(ProjectName, LogstoreName),
}

/// A lane that has a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundLane {
    /// Its project.
    pub project: ProjectName,
    /// Its logstore.
    pub logstore: LogstoreName,
    /// Its segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What was deleted of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Segments.
    pub segments: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// The spool of this process.
pub struct SpoolDirectory {
    files: Arc<dyn Files>,
    path: PathBuf,
    keys: StandingKeys,
    space: Arc<Space>,
    open: Mutex<HashSet<(ProjectName, LogstoreName)>>,
    _lock: Box<dyn Send + Sync>,
}

impl std::fmt::Debug for SpoolDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpoolDirectory")
            .field("path", &self.path)
            .field("space", &self.space)
            .finish_non_exhaustive()
    }
}

impl SpoolDirectory {
    /// Makes the directory where there is none, and takes its lock.
    ///
    /// With `keys`, what is appended from now on is encrypted with the first of them.
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing that is in the directory is an error.
    pub fn open(
        files: Arc<dyn Files>,
        path: &Path,
        space: Arc<Space>,
        keys: Option<Arc<KeyRing>>,
    ) -> Result<Self, OpenError> {
        files
            .create_folder(path)
            .map_err(|source| OpenError::Files {
                path: path.to_owned(),
                source,
            })?;
        // The spool's own name. Who may not read the directory above has made it durable before.
        if let Some(above) = path.parent()
            && files.sync_folder(above).is_err()
        {}
        let lock = files
            .lock(&path.join(LOCK))
            .map_err(|source| OpenError::Locked {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            files,
            path: path.to_owned(),
            keys: StandingKeys::new(keys),
            space,
            open: Mutex::default(),
            _lock: lock,
        })
    }

    /// What is appended from now on is encrypted with the first of these, or not at all. What was there before
    /// can be read as long as this lives.
    pub fn set_keys(&self, keys: Option<&KeyRing>) {
        self.keys.set(keys);
    }

    /// The lanes that have left segments here, also those that nobody has configured any more:
    /// what they take is charged only once their log is open.
    ///
    /// # Errors
    /// When a directory cannot be listed.
    pub fn lanes(&self) -> Result<Vec<FoundLane>, OpenError> {
        lanes_in(&*self.files, &self.path).map_err(|source| OpenError::Files {
            path: self.path.clone(),
            source,
        })
    }

    /// Opens the log of a lane; its directory is made when there is none. Quick: what earlier lives
    /// left is read by [`Log::recover`].
    ///
    /// # Errors
    /// See [`OpenError`]. A log that was opened is opened again only after [`SpoolDirectory::closed`].
    pub fn log(
        &self,
        project: &ProjectName,
        logstore: &LogstoreName,
        rules: LogRules,
    ) -> Result<Log, OpenError> {
        let names = (project.clone(), logstore.clone());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.contains(&names) {
            return Err(OpenError::Twice(names.0, names.1));
        }
        let folder = folder_of(&self.path, project, logstore);
        let ground = Ground {
            files: Arc::clone(&self.files),
            folder: folder.clone(),
            names: names.clone(),
            keys: self.keys.clone(),
            space: Arc::clone(&self.space),
        };
        let log = Log::open(ground, rules).map_err(|source| OpenError::Files {
            path: folder,
            source,
        })?;
        open.insert(names);
        Ok(log)
    }

    /// The log of a lane was left ([`Log::leave`]), and may be opened again.
    pub fn closed(&self, project: &ProjectName, logstore: &LogstoreName) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&(project.clone(), logstore.clone()));
    }

    /// Deletes everything of a lane whose log is not open: segments, the checkpoint and what is in
    /// `damaged/`. Other files stay. What goes is gone for good.
    ///
    /// # Errors
    /// See [`OpenError`]. What was deleted before that is gone; the rest is there, and may be tried
    /// again.
    pub fn purge(
        &self,
        project: &ProjectName,
        logstore: &LogstoreName,
    ) -> Result<Deleted, OpenError> {
        let names = (project.clone(), logstore.clone());
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.contains(&names) {
            return Err(OpenError::Twice(names.0, names.1));
        }
        let folder = folder_of(&self.path, project, logstore);
        self.delete_in(&folder).map_err(|source| OpenError::Files {
            path: folder,
            source,
        })
    }

    /// Segments first, the checkpoint last: whatever is left half-way is told right.
    fn delete_in(&self, folder: &Path) -> io::Result<Deleted> {
        let mut deleted = Deleted::default();
        let listed = self.files.list(folder)?;
        for file in listed.iter().filter(|it| !it.folder) {
            if number_of(&file.name).is_some() {
                self.files.remove(&folder.join(&file.name))?;
                deleted.segments += 1;
                deleted.bytes += file.bytes;
            }
        }
        let copies = folder.join(damaged::FOLDER);
        if listed
            .iter()
            .any(|it| it.folder && it.name == damaged::FOLDER)
        {
            for file in self.files.list(&copies)?.iter().filter(|it| !it.folder) {
                self.files.remove(&copies.join(&file.name))?;
                deleted.bytes += file.bytes;
            }
            self.files.sync_folder(&copies)?;
        }
        self.files.sync_folder(folder)?;
        if let Some(file) = listed
            .iter()
            .find(|it| !it.folder && it.name == checkpoint::FILE)
        {
            self.files.remove(&folder.join(checkpoint::FILE))?;
            deleted.bytes += file.bytes;
            self.files.sync_folder(folder)?;
        }
        Ok(deleted)
    }

    /// What all open lanes take together.
    #[must_use]
    pub fn space(&self) -> &Arc<Space> {
        &self.space
    }
}

/// The lanes below a spool's directory, sorted. What is not named as a lane is not looked into.
pub(super) fn lanes_in(files: &dyn Files, path: &Path) -> io::Result<Vec<FoundLane>> {
    let mut found = Vec::new();
    for project in files.list(path)?.into_iter().filter(|listed| listed.folder) {
        let Ok(project) = ProjectName::new(&project.name) else {
            continue;
        };
        let folder = path.join(project.as_str());
        for logstore in files
            .list(&folder)?
            .into_iter()
            .filter(|listed| listed.folder)
        {
            let Ok(logstore) = LogstoreName::of_lane(&logstore.name) else {
                continue;
            };
            let inside = files.list(&folder.join(logstore.as_str()))?;
            let of_segment = |listed: &&super::files::Listed| {
                !listed.folder && number_of(&listed.name).is_some()
            };
            found.push(FoundLane {
                project: project.clone(),
                segments: inside.iter().filter(of_segment).count() as u64,
                bytes: inside.iter().filter(of_segment).map(|l| l.bytes).sum(),
                logstore,
            });
        }
    }
    found.sort();
    Ok(found)
}
