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
