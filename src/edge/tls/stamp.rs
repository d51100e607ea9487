//! How a file stands, to notice that it was changed without reading it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What tells one state of a file from another. A change of its rights counts as well: a file that
/// could not be read may be readable now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Option<Seen>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// Where symbolic links lead: Kubernetes and certbot swap those.
    target: Option<PathBuf>,
}

impl Stamp {
    /// How the file stands now. That it cannot be seen is a state too.
    pub(super) fn of(path: &Path) -> Self {
        let seen = std::fs::metadata(path).ok().map(|data| Seen {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
            target: std::fs::canonicalize(path).ok(),
        });
        Self(seen)
    }
}
