//! When a bundle on disk is done whose events end in more than one place.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Job, LaneSpool};
use crate::pipeline::spool::BundleId;

/// A bundle on disk that is done once several things are: its batch has ended, what was set aside of it
/// is synced, what is left of it is on disk under other ids. What is never said to be done leaves the
/// bundle where it is, so that the next life of the process finds it.
pub(in crate::pipeline) struct Ending {
    spool: Arc<LaneSpool>,
    id: BundleId,
    left: AtomicUsize,
}

impl std::fmt::Debug for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ending").field("id", &self.id).finish()
    }
}

impl Ending {
    /// One thing is to be done.
    pub(in crate::pipeline) fn of(spool: &Arc<LaneSpool>, id: BundleId) -> Arc<Self> {
        Arc::new(Self {
            spool: Arc::clone(spool),
            id,
            left: AtomicUsize::new(1),
        })
    }

    /// Which bundle.
    pub(in crate::pipeline) fn id(&self) -> BundleId {
        self.id
    }

    /// One more thing is to be done. Only while another is.
    pub(in crate::pipeline) fn one_more(&self) {
        self.left.fetch_add(1, Ordering::AcqRel);
    }

    /// One of them is done. With the last one the bundle is.
    pub(in crate::pipeline) fn one_less(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.spool.push(Job::Done(self.id));
        }
    }
}
