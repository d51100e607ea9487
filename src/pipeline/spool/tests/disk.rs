//! A simulated file system: it keeps apart what is written and what is durable, and fails, tears
//! and forgets wherever a real one may.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::super::{Files, Handle, Listed, LockError};

const SECTOR: u64 = 512;

/// A small generator of numbers (splitmix64): histories are replayed by their seed.
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// True in so many of a thousand.
    pub(super) fn in_thousand(&mut self, count: u64) -> bool {
        count > 0 && self.below(1000) < count
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Clone, Debug)]
enum Change {
    Put(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, Node),
}

#[derive(Debug, Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    dirty: Vec<(u64, Vec<u8>)>,
}

/// What goes wrong, in so many of a thousand calls.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) write: u64,
    pub(super) short: u64,
    pub(super) sync: u64,
    pub(super) folder: u64,
    pub(super) names: u64,
    pub(super) read: u64,
    /// What is free, unless there is enough.
    pub(super) free: Option<u64>,
    /// No space: writes and new files fail.
    pub(super) full: bool,
    /// The n-th call from now on fails, and that one only.
    pub(super) nth: Option<u64>,
    /// From the n-th call on the machine is dead.
    pub(super) dies: Option<u64>,
}

#[derive(Debug)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    pending: Vec<(PathBuf, Change)>,
    dice: Dice,
    faults: Faults,
    dead: bool,
    hit: u64,
    locked: Option<Arc<()>>,
}

/// The disk.
#[derive(Clone, Debug)]
pub(super) struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_owned()
}

fn put(bytes: &mut Vec<u8>, offset: u64, piece: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + piece.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(piece);
}

impl State {
    /// Counts a call; an error when its turn to fail has come.
    fn call(&mut self, chance: u64) -> io::Result<()> {
        let due = |count: &mut Option<u64>| match count {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        if self.dead || due(&mut self.faults.dies) {
            self.dead = true;
            return Err(io::Error::other("the machine is dead"));
        }
        if due(&mut self.faults.nth) {
            self.faults.nth = None;
            self.hit += 1;
            return Err(io::Error::from_raw_os_error(5));
        }
        if self.dice.in_thousand(chance) {
            self.hit += 1;
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    }

    fn change(&mut self, folder: PathBuf, change: Change) {
        apply(&mut self.names, &change);
        self.pending.push((folder, change));
    }

    fn no_space(&self) -> io::Result<()> {
        if self.faults.full {
            return Err(io::Error::from_raw_os_error(28));
        }
        Ok(())
    }
}

fn apply(names: &mut BTreeMap<PathBuf, Node>, change: &Change) {
    match change {
        Change::Put(path, node) => {
            names.insert(path.clone(), *node);
        }
        Change::Remove(path) => {
            names.remove(path);
        }
        Change::Rename(from, to, node) => {
            names.remove(from);
            names.insert(to.clone(), *node);
        }
    }
}

impl SimDisk {
    pub(super) fn new(seed: u64) -> Self {
        let root = BTreeMap::from([(PathBuf::from("/"), Node::Folder)]);
        Self(Arc::new(Mutex::new(State {
            inodes: Vec::new(),
            names: root.clone(),
            durable: root,
            pending: Vec::new(),
            dice: Dice(seed),
            faults: Faults::default(),
            dead: false,
            hit: 0,
            locked: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    pub(super) fn faults(&self) -> Faults {
        self.state().faults
    }

    /// How many calls were made to fail.
    pub(super) fn hit(&self) -> u64 {
        self.state().hit
    }

    pub(super) fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// The power goes: of what was not durable, any part is kept.
    pub(super) fn crash(&self) {
        let mut state = self.state();
        let state = &mut *state;
        let dice = &mut state.dice;
        for inode in &mut state.inodes {
            // All, none, the first so many, or any.
            let style = dice.below(4);
            let pieces: u64 = inode
                .dirty
                .iter()
                .map(|(_, b)| b.len() as u64 / SECTOR + 2)
                .sum();
            let mut left = dice.below(pieces + 1);
            for (offset, bytes) in std::mem::take(&mut inode.dirty) {
                let (mut at, end) = (offset, offset + bytes.len() as u64);
                while at < end {
                    let stop = end.min((at / SECTOR + 1) * SECTOR);
                    let keep = match style {
                        0 => true,
                        1 => false,
                        2 => left > 0,
                        _ => dice.below(2) == 0,
                    };
                    left = left.saturating_sub(1);
                    let piece = &bytes[(at - offset) as usize..(stop - offset) as usize];
                    if keep {
                        put(&mut inode.durable, at, piece);
                    } else if dice.below(8) == 0 && inode.durable.len() < stop as usize {
                        // The length is kept, and the content is not.
                        inode.durable.resize(stop as usize, 0);
                    }
                    at = stop;
                }
            }
            inode.cached = inode.durable.clone();
        }
        let style = dice.below(3);
        for (_, change) in std::mem::take(&mut state.pending) {
            if style == 0 || (style == 1 && dice.below(2) == 0) {
                apply(&mut state.durable, &change);
            }
        }
        let durable = state.durable.clone();
        state.durable.retain(|path, _| {
            let mut above = path.ancestors().skip(1);
            above.all(|folder| durable.get(folder) == Some(&Node::Folder))
        });
        state.names = state.durable.clone();
        state.dead = false;
        state.faults = Faults::default();
        state.locked = None;
    }

    /// Flips a bit of a file whose name ends so; false when there is none.
    pub(super) fn flip(&self, ending: &str) -> bool {
        let mut state = self.state();
        let state = &mut *state;
        let file = |(path, node): (&PathBuf, &Node)| match node {
            Node::File(inode) if path.to_str().unwrap().ends_with(ending) => Some(*inode),
            _ => None,
        };
        let found: Vec<usize> = state.names.iter().filter_map(file).collect();
        let found: Vec<usize> = found
            .into_iter()
            .filter(|inode| !state.inodes[*inode].cached.is_empty())
            .collect();
        if found.is_empty() {
            return false;
        }
        let inode = &mut state.inodes[found[state.dice.below(found.len() as u64) as usize]];
        let at = state.dice.below(inode.cached.len() as u64) as usize;
        let bit = 1 << state.dice.below(8);
        inode.cached[at] ^= bit;
        if let Some(byte) = inode.durable.get_mut(at) {
            *byte ^= bit;
        }
        true
    }

    /// The files whose names end so, and their content.
    pub(super) fn contents(&self, ending: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.state();
        let content = |(path, node): (&PathBuf, &Node)| match node {
            Node::File(inode) if path.to_str().unwrap().ends_with(ending) => {
                Some((path.clone(), state.inodes[*inode].cached.clone()))
            }
            _ => None,
        };
        state.names.iter().filter_map(content).collect()
    }

    /// Writes a file as if it had always been so.
    pub(super) fn plant(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let inode = state.inodes.len();
        state.inodes.push(Inode {
            cached: bytes.to_vec(),
            durable: bytes.to_vec(),
            dirty: Vec::new(),
        });
        state.names.insert(path.to_owned(), Node::File(inode));
        state.durable.insert(path.to_owned(), Node::File(inode));
    }

    /// Deletes a file or a folder with all that is in it, as a person would.
    pub(super) fn unplant(&self, path: &Path) {
        let mut state = self.state();
        state.names.retain(|name, _| !name.starts_with(path));
        state.durable.retain(|name, _| !name.starts_with(path));
        state.pending.retain(|(_, change)| match change {
            Change::Put(name, _) | Change::Remove(name) => !name.starts_with(path),
            Change::Rename(from, to, _) => !from.starts_with(path) && !to.starts_with(path),
        });
    }
}

impl Handle for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        let chance = state.faults.write;
        state.call(chance)?;
        let short = state.faults.short;
        let full = state.no_space();
        let mut length = bytes.len();
        if full.is_err() {
            // What is left of the last block.
            length = state.dice.below(64).min(length as u64) as usize;
            if length == 0 || state.dice.below(2) == 0 {
                full?;
            }
        } else if length > 1 && state.dice.in_thousand(short) {
            length = 1 + state.dice.below(length as u64 - 1) as usize;
        }
        let inode = &mut state.inodes[self.inode];
        put(&mut inode.cached, offset, &bytes[..length]);
        inode.dirty.push((offset, bytes[..length].to_vec()));
        Ok(length)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        let chance = state.faults.read;
        if chance > 0 || state.dead || state.faults.nth.is_some() || state.faults.dies.is_some() {
            state.call(chance)?;
        }
        let bytes = &state.inodes[self.inode].cached;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let length = rest.len().min(into.len());
        into[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let chance = state.faults.sync;
        let result = state.call(chance);
        let dead = state.dead;
        let state = &mut *state;
        let inode = &mut state.inodes[self.inode];
        if dead {
            return result;
        }
        for (offset, bytes) in std::mem::take(&mut inode.dirty) {
            // After an error the pages count as clean, whatever has become of them: the next sync
            // says that all is well.
            if result.is_ok() || state.dice.below(2) == 0 {
                put(&mut inode.durable, offset, &bytes);
            }
        }
        result
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].cached.len() as u64)
    }

    fn is_linked(&self) -> io::Result<bool> {
        let state = self.disk.state();
        Ok(state
            .names
            .values()
            .any(|node| *node == Node::File(self.inode)))
    }
}

impl Files for SimDisk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let chance = state.faults.names;
        state.call(chance)?;
        let mut missing: Vec<&Path> = path.ancestors().collect();
        missing.retain(|folder| !state.names.contains_key(*folder));
        for folder in missing.into_iter().rev() {
            let change = Change::Put(folder.to_owned(), Node::Folder);
            state.change(parent(folder), change);
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn Handle>> {
        let mut state = self.state();
        let chance = state.faults.names;
        state.call(chance)?;
        if state.dice.below(2) == 0 {
            state.no_space()?;
        }
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if state.names.get(&parent(path)) != Some(&Node::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.change(
            parent(path),
            Change::Put(path.to_owned(), Node::File(inode)),
        );
        let disk = self.clone();
        Ok(Arc::new(SimFile { disk, inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn Handle>> {
        let mut state = self.state();
        let chance = state.faults.read;
        state.call(chance)?;
        match state.names.get(path) {
            Some(&Node::File(inode)) => {
                let disk = self.clone();
                Ok(Arc::new(SimFile { disk, inode }))
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let chance = state.faults.names;
        state.call(chance)?;
        let node = state.names.get(from).copied();
        let node = node.ok_or(io::ErrorKind::NotFound)?;
        let change = Change::Rename(from.to_owned(), to.to_owned(), node);
        state.change(parent(from), change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let chance = state.faults.names;
        state.call(chance)?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(parent(path), Change::Remove(path.to_owned()));
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        let mut state = self.state();
        let chance = state.faults.read;
        state.call(chance)?;
        if state.names.get(folder) != Some(&Node::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state
            .names
            .iter()
            .filter(|(path, _)| path.parent() == Some(folder));
        Ok(inside
            .map(|(path, node)| Listed {
                name: path.file_name().unwrap().to_str().unwrap().to_owned(),
                folder: *node == Node::Folder,
                bytes: match node {
                    Node::Folder => 0,
                    Node::File(inode) => state.inodes[*inode].cached.len() as u64,
                },
            })
            .collect())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        let chance = state.faults.folder;
        state.call(chance)?;
        if state.names.get(folder) != Some(&Node::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let all = std::mem::take(&mut state.pending);
        let (now, later) = all.into_iter().partition(|(of, _)| of == folder);
        state.pending = later;
        let now: Vec<(PathBuf, Change)> = now;
        for (_, change) in now {
            apply(&mut state.durable, &change);
        }
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let faults = self.state().faults;
        Ok(match faults.full {
            true => 0,
            false => faults.free.unwrap_or(1 << 40),
        })
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>, LockError> {
        let mut state = self.state();
        if state
            .locked
            .as_ref()
            .is_some_and(|lock| Arc::strong_count(lock) > 1)
        {
            return Err(LockError::Held(Some(1)));
        }
        state.names.entry(path.to_owned()).or_insert(Node::Folder);
        let lock = Arc::new(());
        state.locked = Some(Arc::clone(&lock));
        Ok(Box::new(lock))
    }

    fn random(&self) -> u64 {
        self.state().dice.next()
    }
}
