//! The rules of ARCHITECTURE.md that a machine can check.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// Each floor and the floors that it may import. What is not named here does not exist.
const FLOORS: &[(&str, &[&str])] = &[
    ("foundation", &[]),
    ("event", &["foundation"]),
    ("config", &["foundation"]),
    ("telemetry", &["event", "foundation"]),
    ("logstore", &["config", "event", "foundation"]),
    (
        "embedded",
        &["config", "event", "foundation", "logstore", "telemetry"],
    ),
    (
        "gate",
        &["config", "event", "foundation", "logstore", "telemetry"],
    ),
    (
        "pipeline",
        &["config", "event", "foundation", "logstore", "telemetry"],
    ),
    (
        "front",
        &[
            "config",
            "event",
            "foundation",
            "gate",
            "logstore",
            "pipeline",
            "telemetry",
        ],
    ),
    (
        "edge",
        &["config", "foundation", "front", "gate", "telemetry"],
    ),
    (
        "admin",
        &["config", "event", "foundation", "gate", "telemetry"],
    ),
    (
        "app",
        &[
            "admin",
            "config",
            "edge",
            "embedded",
            "event",
            "foundation",
            "front",
            "gate",
            "logstore",
            "pipeline",
            "telemetry",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "config",
            "event",
            "foundation",
            "gate",
            "logstore",
            "pipeline",
            "telemetry",
        ],
    ),
];

const LONGEST_FILE: usize = 600;
const NO_NAMES: &[&str] = &[
    "utils", "util", "common", "helpers", "helper", "misc", "manager",
];

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 40, "found only {} files", found.len());
    found
}

fn floor_of(path: &Path) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let first = path.strip_prefix(src).unwrap().components().next().unwrap();
    first
        .as_os_str()
        .to_str()
        .unwrap()
        .trim_end_matches(".rs")
        .to_owned()
}

/// Whether a file holds tests or what only they use.
fn of_tests(path: &Path) -> bool {
    const NAMES: &[&str] = &["tests", "testing", "scripted_store", "vectors"];
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    path.strip_prefix(src).unwrap().components().any(|part| {
        let part = part.as_os_str().to_str().unwrap();
        NAMES.contains(&part.trim_end_matches(".rs"))
    })
}

/// The code of a file, without its tests: a test may use what it likes.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

#[test]
fn imports_point_down() {
    let mut checked = 0;
    for (path, text) in sources() {
        let floor = floor_of(&path);
        if floor == "lib" || floor == "main" || of_tests(&path) {
            continue;
        }
        let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| *name == floor) else {
            panic!("{} is on no floor", path.display());
        };
        for (at, _) in code(&text).match_indices("crate::") {
            let rest = text.get(at + 7..).unwrap();
            let target: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let known = FLOORS.iter().any(|(name, _)| *name == target);
            assert!(known, "{}: crate::{target} is no floor", path.display());
            checked += 1;
            assert!(
                target == floor || allowed.contains(&target.as_str()),
                "{}: {floor} imports {target}",
                path.display()
            );
        }
    }
    assert!(checked > 100, "checked only {checked} imports");
}

#[test]
fn files_are_short_and_named_for_what_they_hold() {
    for (path, text) in sources() {
        let lines = code(&text).lines().count();
        assert!(
            lines <= LONGEST_FILE,
            "{} has {lines} lines of code",
            path.display()
        );
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert!(!NO_NAMES.contains(&stem), "{}", path.display());
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (path, text) in sources() {
        let of_tests = path.to_str().unwrap().contains("tests");
        assert!(
            of_tests || text.starts_with("//!"),
            "{} has no header",
            path.display()
        );
    }
}
