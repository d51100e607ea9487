//! A file that is replaced as a whole: after a crash there is the old one or the new one. The new one
//! belongs to whom the old one belonged to, where this process may do that.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// Puts what `write` writes in place of the file at `path`, and waits until it is on disk. The
/// folder is made when it is not there. Only one thread may write a path at a time.
///
/// # Errors
/// When it cannot be written; the old file stays then.
pub fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let draft = beside(path, "new");
    let owner = fs::metadata(path).ok().map(|it| (it.uid(), it.gid()));
    let result = write_draft(&draft, owner, write).and_then(|()| fs::rename(&draft, path));
    if result.is_err() {
        // It may hold the space that is missing.
        drop(fs::remove_file(&draft));
    }
    result?;
    File::open(folder)?.sync_all()
}

fn write_draft(
    draft: &Path,
    owner: Option<(u32, u32)>,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut writer = BufWriter::with_capacity(64 << 10, options.open(draft)?);
    write(&mut writer)?;
    writer.flush()?;
    let file = writer.get_ref();
    let own = file.metadata().map(|it| (it.uid(), it.gid())).ok();
    if let Some((user, group)) = owner.filter(|owner| Some(*owner) != own) {
        // A command of the administrator must not take the file from the service. Others may not do
        // this, and need not: the service's own unit does not let it.
        drop(fchown(file, Some(user), Some(group)));
    }
    file.sync_all()
}

/// Moves a file that cannot be read to `NAME.damaged`, over an earlier one.
pub fn set_aside(path: &Path) {
    if let Err(error) = fs::rename(path, beside(path, "damaged")) {
        tracing::error!(%error, path = %path.display(), "a damaged file could not be set aside");
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_replaced_keeps_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        // Only root may give it to another.
        drop(std::os::unix::fs::chown(&path, Some(54_321), Some(54_322)));
        let before = fs::metadata(&path).unwrap();
        replace(&path, |out| out.write_all(b"new")).unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(
            (after.uid(), after.gid(), after.mode() & 0o777),
            (before.uid(), before.gid(), 0o600)
        );
    }
}
