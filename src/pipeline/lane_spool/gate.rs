//! A disk for tests that does not answer for a while.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::pipeline::spool::{Files, Handle, Listed, LockError, RealFiles};

/// A file system whose files are not synced while it is shut.
#[derive(Debug)]
pub(in crate::pipeline) struct Gate {
    real: RealFiles,
    shut: Arc<(Mutex<Shut>, Condvar)>,
}

#[derive(Debug, Default)]
struct Shut {
    shut: bool,
    /// Syncs that wait.
    waiting: usize,
}

impl Gate {
    pub(in crate::pipeline) fn new() -> Arc<Self> {
        Arc::new(Self {
            real: RealFiles,
            shut: Arc::default(),
        })
    }

    pub(in crate::pipeline) fn set(&self, shut: bool) {
        self.shut.0.lock().unwrap().shut = shut;
        self.shut.1.notify_all();
    }

    /// Waits until a sync waits.
    pub(in crate::pipeline) async fn reached(&self) {
        while self.shut.0.lock().unwrap().waiting == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn guarded(&self, inner: Arc<dyn Handle>) -> Arc<dyn Handle> {
        let shut = Arc::clone(&self.shut);
        Arc::new(Guarded { inner, shut })
    }
}

struct Guarded {
    inner: Arc<dyn Handle>,
    shut: Arc<(Mutex<Shut>, Condvar)>,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Handle for Guarded {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.inner.write_at(bytes, offset)
    }
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(into, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut shut = self.shut.0.lock().unwrap();
        shut.waiting += 1;
        let mut shut = self.shut.1.wait_while(shut, |it| it.shut).unwrap();
        shut.waiting -= 1;
        drop(shut);
        self.inner.sync_data()
    }
    fn bytes(&self) -> io::Result<u64> {
        self.inner.bytes()
    }
    fn is_linked(&self) -> io::Result<bool> {
        self.inner.is_linked()
    }
}

impl Files for Gate {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.real.create_folder(path)
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Handle>> {
        Ok(self.guarded(self.real.create(path)?))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn Handle>> {
        Ok(self.guarded(self.real.open(path)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.real.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.real.remove(path)
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        self.real.list(folder)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.real.sync_folder(folder)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.real.free_bytes(path)
    }
    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>, LockError> {
        self.real.lock(path)
    }
    fn random(&self) -> u64 {
        self.real.random()
    }
}
