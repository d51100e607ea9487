//! Watches the configuration and the files that it names, and has them taken over when they change.
//!
//! Promise: a change is taken over once it has stayed the same from one look to the next, so a file that
//! is being written is not read half; what could not be taken over is tried again when something changes
//! again. A look costs a `stat` of each file; which files these are is worked out once for each configuration.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::control::Control;
use crate::admin::ReloadOrder;
use crate::config::{Config, ReloadBy};
use crate::telemetry::ReloadSource;

/// Bytes of a file that are looked at; all files that a configuration names are smaller.
const MOST: u64 = 16 << 20;
/// Members of a configuration that hold the path of a file.
const PATHS: &[&str] = &[
    "ca_file",
    "cert",
    "client_ca",
    "file",
    "jwks",
    "key",
    "public_key",
];
/// What a reference to a secret in a file begins with.
const SECRET: &str = "file:";

/// What tells a file from what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Device, inode, length, and times of content and change.
    stat: (u64, u64, u64, i64, i64, i64, i64),
    content: [u8; 32],
}

/// Files by path; `None` is one that cannot be read.
pub(super) type Picture = BTreeMap<PathBuf, Option<Seen>>;

/// Watches until it is told to stop, from a picture on.
pub(super) async fn watch(control: Arc<Control>, known: Picture, stop: CancellationToken) {
    let (mut known, mut before) = (known.clone(), known);
    let mut named = Named::of(control.running());
    loop {
        let rules = control.running().reload.clone();
        tokio::select! {
            () = tokio::time::sleep(rules.interval.get()) => {}
            () = stop.cancelled() => return,
        }
        let now = look(&control, &mut named, before).await;
        before = now.clone();
        if !rules.by.contains(&ReloadBy::File) {
            // What changes meanwhile is for whoever else reloads.
            known = now;
            continue;
        }
        if same_content(&now, &known) {
            continue;
        }
        // Once more, so that it has come to rest.
        tokio::select! {
            () = tokio::time::sleep(rules.interval.get()) => {}
            () = stop.cancelled() => return,
        }
        let again = look(&control, &mut named, now.clone()).await;
        before = again.clone();
        if !same_content(&again, &now) {
            continue;
        }
        known = again;
        let reloading = Arc::clone(&control);
        let reloaded = tokio::task::spawn_blocking(move || {
            let order = ReloadOrder::default();
            // The outcome is counted and in the log.
            drop(reloading.reload(ReloadSource::File, order));
        });
        if reloaded.await.is_err() {
            return;
        }
        // Files that are named only now are known as they are; the others as they were before.
        let mut now = look(&control, &mut named, before).await;
        before = now.clone();
        for (path, seen) in &mut now {
            if let Some(known) = known.remove(path) {
                *seen = known;
            }
        }
        known = now;
    }
}

/// The files as they are before anything is served: what changes from then on is seen, however late the
/// watch has its first turn. Of no use, and empty, where files are not watched.
pub(super) fn first(control: &Control) -> Picture {
    let config = control.running();
    match config.reload.by.contains(&ReloadBy::File) {
        true => picture(&Named::of(config), control.path(), &Picture::new()),
        false => Picture::new(),
    }
}

async fn look(control: &Arc<Control>, named: &mut Named, before: Picture) -> Picture {
    let (control, last) = (Arc::clone(control), named.clone());
    let looked = tokio::task::spawn_blocking(move || {
        let named = last.now(control.running());
        let picture = picture(&named, control.path(), &before);
        (named, picture)
    });
    let Ok((now, picture)) = looked.await else {
        return Picture::new();
    };
    *named = now;
    picture
}

/// A configuration, and the files that it names.
#[derive(Clone)]
struct Named {
    config: Arc<Config>,
    paths: Arc<[PathBuf]>,
}

impl Named {
    fn of(config: Arc<Config>) -> Self {
        let paths = named(&config).into();
        Self { config, paths }
    }

    /// The same, unless another configuration is in force.
    fn now(self, running: Arc<Config>) -> Self {
        match Arc::ptr_eq(&self.config, &running) {
            true => self,
            false => Self::of(running),
        }
    }
}

fn picture(named: &Named, path: Option<&Path>, before: &Picture) -> Picture {
    let paths = named.paths.iter().cloned().chain(path.map(Path::to_owned));
    let seen = |path: PathBuf| {
        let seen = see(&path, before.get(&path).and_then(Option::as_ref));
        (path, seen)
    };
    paths.map(seen).collect()
}

fn same_content(one: &Picture, other: &Picture) -> bool {
    let content = |picture: &Picture| -> Vec<(PathBuf, Option<[u8; 32]>)> {
        let files = picture.iter();
        let of = files.map(|(path, seen)| (path.clone(), seen.as_ref().map(|it| it.content)));
        of.collect()
    };
    content(one) == content(other)
}

fn see(path: &Path, before: Option<&Seen>) -> Option<Seen> {
    let file = File::open(path).ok()?;
    let meta = file.metadata().ok()?;
    let stat = (
        meta.dev(),
        meta.ino(),
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
    );
    if let Some(before) = before.filter(|before| before.stat == stat) {
        return Some(before.clone());
    }
    if !meta.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(Seen {
        stat,
        content: Sha256::digest(&bytes).into(),
    })
}

/// The files that a configuration names.
fn named(config: &Config) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let value = serde_json::to_value(config).unwrap_or_default();
    collect(&value, "", &mut paths);
    paths
}

fn collect(value: &Value, key: &str, paths: &mut Vec<PathBuf>) {
    match value {
        Value::Object(members) => members
            .iter()
            .for_each(|(key, value)| collect(value, key, paths)),
        Value::Array(list) => list.iter().for_each(|value| collect(value, key, paths)),
        Value::String(text) => {
            if let Some(path) = text.strip_prefix(SECRET) {
                paths.push(path.into());
            } else if PATHS.contains(&key) {
                paths.push(text.into());
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_by_its_content_and_read_only_when_it_was_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "one").unwrap();
        let one = see(&path, None).unwrap();
        assert_eq!(see(&path, Some(&one)).unwrap(), one);
        // Believed as long as it was not touched.
        let wrong = Seen {
            content: [7; 32],
            ..one.clone()
        };
        assert_eq!(see(&path, Some(&wrong)).unwrap(), wrong);
        std::fs::write(&path, "other").unwrap();
        let other = see(&path, Some(&one)).unwrap();
        assert_ne!(other.content, one.content);
        std::fs::write(folder.path().join("b"), "one").unwrap();
        std::fs::rename(folder.path().join("b"), &path).unwrap();
        let moved = see(&path, Some(&other)).unwrap();
        assert_eq!(moved.content, one.content, "the same again");
        assert!(see(&folder.path().join("none"), None).is_none());
        assert!(see(folder.path(), None).is_none(), "a folder");
    }

    #[test]
    fn the_files_of_a_configuration_are_worked_out_once() {
        let config = Arc::new(Config::default());
        let named = Named::of(Arc::clone(&config));
        let same = named.clone().now(config);
        assert!(Arc::ptr_eq(&same.paths, &named.paths));
        let other: Config = toml::from_str("admin.token = 'file:/etc/t/admin.key'").unwrap();
        let other = named.now(Arc::new(other));
        assert!(other.paths.contains(&PathBuf::from("/etc/t/admin.key")));
    }

    #[test]
    fn all_files_that_a_configuration_names_are_watched() {
        let text = r#"
            [admin]
            token = "file:/etc/t/admin.key"
            [ingest.tls]
            certificate = [{ cert = "/etc/t/a.pem", key = "/etc/t/a.key" }]
            [[identity.policy]]
            name = "p"
            file = "/etc/t/p.json"
            [[schema]]
            name = "s"
            file = "/etc/t/s.json"
        "#;
        let config: Config = toml::from_str(text).unwrap();
        let mut found = named(&config);
        found.retain(|path| path.starts_with("/etc"));
        found.sort();
        let names = ["a.key", "a.pem", "admin.key", "p.json", "s.json"];
        let names = names.map(|name| PathBuf::from("/etc/t").join(name));
        assert_eq!(found, names);
    }
}
