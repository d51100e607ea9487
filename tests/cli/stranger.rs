//! What somebody meets who has read nothing yet.

use crate::support::{GUARDED, PROJECT, binary};
use crate::{err, out, run};

#[test]
fn a_closed_pipe_is_no_failure_and_a_full_disk_is_one() {
    let mistakes = tempfile::NamedTempFile::new().unwrap();
    let mistakes = mistakes.path().to_str().unwrap();
    for (arguments, code) in [
        (&["completions", "bash"][..], 0),
        (&["check", "--config", mistakes, "--output", "json"], 78),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = binary().args(arguments).stdout(writer).output().unwrap();
        assert_eq!(
            (output.status.code(), err(&output)),
            (Some(code), String::new()),
            "{arguments:?}"
        );
        let full = std::fs::File::create("/dev/full").unwrap();
        let output = binary().args(arguments).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(err(&output).contains("standard output"), "{}", err(&output));
    }
}

#[test]
fn a_token_of_a_key_that_was_not_there_comes_with_a_warning_and_later_ones_without() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let mint = [
        "token",
        "mint",
        "--project",
        PROJECT,
        "--logstore",
        GUARDED,
        "--data-dir",
        folder,
    ];
    let first = run(&mint);
    assert_eq!(out(&first).trim().split('.').count(), 3);
    let said = err(&first);
    assert!(
        said.contains(folder) && said.contains("--data-dir"),
        "{said}"
    );
    let second = run(&mint);
    assert_eq!(
        (second.status.code(), err(&second)),
        (Some(0), String::new())
    );
}

/// Each problem of a configuration: its key, and the line where it stands.
fn problems(text: &str) -> (Vec<(String, u64)>, bool) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().to_str().unwrap();
    let output = run(&["check", "--config", path, "--output", "json"]);
    assert_eq!(output.status.code(), Some(78), "{}", err(&output));
    let report = crate::json_lines(&output).remove(0);
    let problem = |it: &serde_json::Value| {
        let line = it["line"].as_u64().unwrap_or_default();
        (it["key"].as_str().unwrap().to_owned(), line)
    };
    let all = report["problems"].as_array().unwrap();
    (
        all.iter().map(problem).collect(),
        report["complete"].as_bool().unwrap(),
    )
}

/// Mistakes of form, of keys that do not fit together, and in files that are named.
const MISTAKES: &str = r#"[ingest]
lisen = "127.0.0.1:8080"
default_project = "nobody"
[limits]
body = "10 MB"
[[identity.jwt]]
kid = "k"
issuer = "i"
audience = "a"
secret = "env:TOLLGATE_NO_SUCH_VARIABLE"
[[schema]]
name = "page"
file = "/no/such/schema.json"
[[upstream]]
name = "store"
kind = "embedded"
[[project]]
name = "shop"
upstream = "stoer"
[[project.logstore]]
name = "web"
"#;

#[test]
fn every_mistake_is_told_at_once_with_its_line() {
    let (found, complete) = problems(MISTAKES);
    let expected = [
        ("ingest.lisen", 2),
        ("ingest.default_project", 3),
        ("limits.body", 5),
        ("identity.jwt[0].secret", 10),
        ("schema[0].file", 13),
        // A warning: nothing goes to it.
        ("upstream[0].name", 15),
        ("project[0].upstream", 19),
    ];
    let expected = expected.map(|(key, line)| (key.to_owned(), line));
    assert_eq!(found, expected);
    assert!(complete);
}

#[test]
fn where_mistakes_keep_others_from_being_looked_for_that_is_said() {
    let text = MISTAKES.replace("kind = \"embedded\"", "kind = \"embeded\"");
    let (found, complete) = problems(&text);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(!complete);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let said = err(&run(&["check", "--config", file.path().to_str().unwrap()]));
    assert!(
        said.contains("note: keys that have to fit together"),
        "{said}"
    );
}

#[test]
fn what_keeps_it_from_starting_is_told_with_its_place_and_a_way_out() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let free = [
        "--admin-listen",
        "127.0.0.1:0",
        "--logstore-listen",
        "127.0.0.1:0",
    ];
    let start = |more: &[&str]| run(&[&["run"], free.as_slice(), more].concat());
    let no_folder = start(&["--listen", "127.0.0.1:0", "--data-dir", path]);
    assert_eq!(no_folder.status.code(), Some(73));
    let said = err(&no_folder);
    assert!(said.contains(path) && said.contains("--data-dir"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let no_port = start(&["--listen", &address, "--data-dir", folder]);
    assert_eq!(no_port.status.code(), Some(69));
    let said = err(&no_port);
    assert!(
        said.contains(&address) && said.contains("choose another"),
        "{said}"
    );
}
