//! A file that is replaced as a whole: after a crash there is the old one or the new one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
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
    let result = write_draft(&draft, write).and_then(|()| fs::rename(&draft, path));
    if result.is_err() {
        // It may hold the space that is missing.
        drop(fs::remove_file(&draft));
    }
    result?;
    File::open(folder)?.sync_all()
}

fn write_draft(
    draft: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut writer = BufWriter::with_capacity(64 << 10, options.open(draft)?);
    write(&mut writer)?;
    writer.flush()?;
    writer.get_ref().sync_all()
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
