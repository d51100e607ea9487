//! Files that cannot be used, and what is said of them.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::config::{Problem, Severity};

fn load(files: &Certificate) -> String {
    match pair::Pair::load(files, &provider()) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_pair_is_read_with_its_names_and_dates() {
    let folder = Folder::new();
    let files = folder.pair("a", &["Edge.Example.com", "*.example.com", "192.0.2.1"]);
    let pair = pair::Pair::load(&files, &provider()).unwrap();
    assert_eq!(pair.facts.names, ["edge.example.com", "*.example.com"]);
    assert!(pair.facts.has_addresses && !pair.facts.is_nameless());
    assert_eq!(pair.facts.not_before, 1_577_836_800);
    assert_eq!(pair.facts.not_after, 4_070_908_800);
}

#[test]
fn each_fault_of_a_pair_names_its_file() {
    let folder = Folder::new();
    let good = folder.pair("good", &["a.test"]);
    let other = folder.pair("other", &["a.test"]);
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path(name), text).unwrap();
        folder.path(name)
    };
    let text = std::fs::read_to_string(&good.cert).unwrap();
    let half = write("half.pem", &text[..text.len() / 2]);
    let empty = write("empty.pem", "");
    let locked = write(
        "locked.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let garbage = write(
        "garbage.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let bad_key = write(
        "bad.key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    let half_key = write("half.key", "-----BEGIN PRIVATE KEY-----\nhunter2\n");
    let large = write("large.pem", &" ".repeat((1 << 20) + 1));
    let chain = write("chain.pem", &text.repeat(17));
    let with = |cert: &PathBuf, key: &PathBuf| {
        load(&Certificate {
            cert: cert.clone(),
            key: key.clone(),
        })
    };
    for (told, name, word) in [
        (
            with(&folder.path("none.pem"), &good.key),
            "none.pem",
            "cannot be read",
        ),
        (
            with(&good.cert, &folder.path("none.key")),
            "none.key",
            "cannot be read",
        ),
        (with(&half, &good.key), "half.pem", "ends in the middle"),
        (with(&empty, &good.key), "empty.pem", "no certificate"),
        (with(&garbage, &good.key), "garbage.pem", "cannot be read"),
        (with(&large, &good.key), "large.pem", "larger than"),
        (with(&chain, &good.key), "chain.pem", "more than 16"),
        (with(&good.cert, &empty), "empty.pem", "no private key"),
        (with(&good.cert, &good.cert), "good.pem", "no private key"),
        (with(&good.cert, &locked), "locked.key", "under a password"),
        (with(&good.cert, &bad_key), "bad.key", "of a kind"),
        (with(&good.cert, &half_key), "half.key", "not PEM"),
        (
            with(&good.cert, &other.key),
            "other.key",
            "is not the key of the certificate",
        ),
    ] {
        assert!(told.contains(name) && told.contains(word), "{name}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn text_around_a_key_is_passed_over() {
    let folder = Folder::new();
    let files = folder.pair("a", &["a.test"]);
    let text = std::fs::read_to_string(&files.key).unwrap();
    std::fs::write(&files.key, format!("leading text\n{text}\ntrailing text\n")).unwrap();
    assert_eq!(load(&files), "");
}

fn said(problems: &[Problem]) -> Vec<(Severity, &str, &str)> {
    problems
        .iter()
        .map(|it| (it.severity, it.key.as_str(), it.message.as_str()))
        .collect()
}

#[test]
fn a_check_tells_everything_at_once() {
    let folder = Folder::new();
    let open = folder.pair("open", &["a.test"]);
    std::fs::set_permissions(&open.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let closed = |files: Certificate| {
        std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o640)).unwrap();
        files
    };
    let nameless = closed(folder.pair("nameless", &[]));
    let expired = closed(folder.pair_of("expired", &["b.test"], (2020, 2021)));
    let early = closed(folder.pair_of("early", &["c.test"], (2098, 2099)));
    let mut mixed = closed(folder.pair("mixed", &["d.test"]));
    mixed
        .key
        .clone_from(&closed(folder.pair("else", &["d.test"])).key);
    let mut tls = rules(vec![open, nameless, expired, early, mixed]);
    tls.client_ca = Some(folder.path("nothing.pem"));
    let problems = check("ingest.tls", &tls);
    let said = said(&problems);
    let (warning, error) = (Severity::Warning, Severity::Error);
    for (at, (severity, key, words)) in [
        (warning, "ingest.tls.certificate[0].key", "every user"),
        (warning, "ingest.tls.certificate[1].cert", "no name"),
        (warning, "ingest.tls.certificate[2].cert", "has expired"),
        (
            warning,
            "ingest.tls.certificate[3].cert",
            "does not count yet",
        ),
        (error, "ingest.tls.certificate[4].key", "is not the key"),
        (error, "ingest.tls.client_ca", "nothing.pem"),
    ]
    .into_iter()
    .enumerate()
    {
        let found = said[at];
        assert!(
            found.0 == severity && found.1 == key && found.2.contains(words),
            "{found:?}"
        );
    }
    assert_eq!(said.len(), 6, "{said:#?}");
}
