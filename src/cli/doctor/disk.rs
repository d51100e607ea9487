//! What the machine gives: file descriptors, disks, and the rights of key files.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Resource, getrlimit};
use serde_json::Value;

use super::finding::Findings;
use crate::app::{connection_room, spool_dir};
use crate::config::Config;
use crate::foundation::units::ByteSize;

/// Whether the limit of file descriptors has room for the connections of the configuration.
pub(super) fn descriptors(config: &Config, findings: &mut Findings) {
    // A node raises its limit as far as it may.
    let limit = getrlimit(Resource::Nofile).maximum;
    let wanted = u64::from(config.ingest.max_connections);
    let room = connection_room(config, limit);
    let subject = match limit {
        Some(limit) => format!("at most {limit}"),
        None => "without limit".to_owned(),
    };
    if room >= wanted {
        let told = format!("room for {wanted} connections (ingest.max_connections)");
        findings.ok("descriptors", &subject, told);
    } else {
        findings.warn(
            "descriptors",
            &subject,
            format!("room for {room} connections, and ingest.max_connections is {wanted}; fewer are taken"),
            "raise the hard limit (LimitNOFILE= of systemd, `ulimit -Hn`), or lower ingest.max_connections",
        );
    }
}

/// Whether the folders of the configuration can be written, synced, and have room.
pub(super) fn look(config: &Config, findings: &mut Findings) {
    folder(
        "data_dir",
        &config.data_dir,
        config.quarantine.max_size.get(),
        findings,
    );
    if config.spool.enabled {
        let wanted = config.spool.reserve.get().saturating_add(
            // What the spool may grow to is a bound and no promise; a tenth of it is a start.
            config.spool.max_size.get() / 10,
        );
        folder("spool", &spool_dir(config), wanted, findings);
    }
}

/// Looks at a folder, or where it is not there yet at the one that it will be made in.
fn folder(name: &str, path: &Path, wanted: u64, findings: &mut Findings) {
    let subject = format!("{name} {}", path.display());
    let Some(there) = existing(path) else {
        findings.fail("disk", &subject, "no folder above it is there", "make it");
        return;
    };
    let to_come = there != path;
    if !there.is_dir() {
        findings.fail(
            "disk",
            &subject,
            format!("{} is no folder", there.display()),
            "name another place",
        );
        return;
    }
    if let Err(error) = write(&there) {
        let (what, help) = match error.kind() {
            io::ErrorKind::PermissionDenied => (
                "this user may not write to it".to_owned(),
                "run `tollgate doctor` as the user of the service; give the folder to that user (chown, mode 0700)",
            ),
            io::ErrorKind::ReadOnlyFilesystem => (
                "the file system is read-only".to_owned(),
                "name a folder that can be written (ReadWritePaths= or StateDirectory= of systemd)",
            ),
            io::ErrorKind::StorageFull => ("the disk is full".to_owned(), "make room"),
            _ => (format!("cannot be written and synced: {error}"), ""),
        };
        findings.fail("disk", &subject, what, help);
        return;
    }
    let free = match rustix::fs::statvfs(&there) {
        Ok(found) => found.f_bavail.saturating_mul(found.f_frsize),
        Err(error) => {
            findings.fail("disk", &subject, error.to_string(), "");
            return;
        }
    };
    let shown = ByteSize::bytes(free - free % (1 << 20));
    if free < wanted {
        let wanted = ByteSize::bytes(wanted - wanted % (1 << 20));
        findings.warn(
            "disk",
            &subject,
            format!("{shown} are free, and {wanted} are wanted"),
            "make room, or lower spool.max_size and quarantine.max_size",
        );
    } else {
        let when = match to_come {
            true => "made at the first start; its disk can be written and synced",
            false => "can be written and synced",
        };
        findings.ok("disk", &subject, format!("{when}, {shown} are free"));
    }
    let open = std::fs::metadata(path).is_ok_and(|it| it.permissions().mode() & 0o007 != 0);
    if !to_come && open {
        findings.warn(
            "disk",
            &subject,
            "other users of this machine can look into it",
            format!("chmod o= {}", path.display()),
        );
    }
}

/// The path, or the nearest above it that is there.
fn existing(path: &Path) -> Option<PathBuf> {
    let whole = std::path::absolute(path).ok()?;
    let found = whole.ancestors().find(|it| it.exists())?;
    Some(match found == whole {
        true => path.to_owned(),
        false => found.to_owned(),
    })
}

/// Writes and syncs a file without a name, so that nothing is left behind.
fn write(folder: &Path) -> io::Result<()> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut file = match rustix::fs::openat(CWD, folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => File::from(file),
        // Some file systems (of containers, of networks) have no files without names.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => return named(folder),
        Err(error) => return Err(error.into()),
    };
    file.write_all(&[0; 4096])?;
    file.sync_all()
}

fn named(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".tollgate-doctor-{}", std::process::id()));
    let mut file = File::create_new(&path)?;
    let written = file.write_all(&[0; 4096]).and_then(|()| file.sync_all());
    std::fs::remove_file(&path).and(written)
}

/// Whether others can read the files that hold keys.
pub(super) fn keys(config: &Config, findings: &mut Findings) {
    let mut files = BTreeSet::new();
    if let Ok(folder) = std::fs::read_dir(config.data_dir.join("keys")) {
        files.extend(folder.filter_map(|entry| Some(entry.ok()?.path())));
    }
    let listeners = config.ingest.all_listeners();
    let certificates = listeners.iter().flat_map(|it| &it.tls.certificates);
    files.extend(certificates.map(|files| files.key.clone()));
    if let Ok(all) = serde_json::to_value(config) {
        secrets(&all, &mut files);
    }
    let mut good = 0;
    for path in files {
        let subject = path.display().to_string();
        let Ok(found) = std::fs::metadata(&path) else {
            // That it is not there has been told of the configuration.
            continue;
        };
        let mode = found.permissions().mode();
        let help = format!("chmod 0600 {subject}");
        if mode & 0o007 != 0 {
            let told = format!(
                "mode {:04o}: every user of this machine can read or change it",
                mode & 0o7777
            );
            findings.fail("key_file", &subject, told, help);
        } else if mode & 0o070 != 0 {
            let told = format!(
                "mode {:04o}: its group can read or change it",
                mode & 0o7777
            );
            findings.warn("key_file", &subject, told, help);
        } else {
            good += 1;
        }
    }
    if good > 0 {
        let told = format!("{good} are for their owner only");
        findings.ok("key_file", "", told);
    }
}

/// The files that a configuration reads secrets from, wherever a `file:PATH` stands.
fn secrets(value: &Value, files: &mut BTreeSet<PathBuf>) {
    match value {
        Value::String(text) => {
            files.extend(text.strip_prefix("file:").map(PathBuf::from));
        }
        Value::Array(all) => all.iter().for_each(|it| secrets(it, files)),
        Value::Object(all) => all.values().for_each(|it| secrets(it, files)),
        _ => {}
    }
}
