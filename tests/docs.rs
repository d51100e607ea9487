//! The documents tell the truth: the examples of docs/protocol.md run, and its table of reasons is
//! the one of the code.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use support::Tollgate;
use tollgate::event::Reason;

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md")
}

/// Commands, each with the lines that its answer must hold.
fn examples(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("```sh\n") {
        let (command, after) = after.split_once("\n```\n```http\n").unwrap();
        let (answer, after) = after.split_once("```").unwrap();
        found.push((
            command.to_owned(),
            answer.lines().map(str::to_owned).collect(),
        ));
        rest = after;
    }
    found
}

#[test]
fn every_example_answers_as_printed() {
    let tollgate = Tollgate::start();
    let text = std::fs::read_to_string(page()).unwrap();
    let examples = examples(&text);
    assert!(
        examples.len() >= 10,
        "found only {} examples",
        examples.len()
    );
    for (command, lines) in examples {
        let output = Command::new("bash")
            .args(["-c", &command])
            .env("INGEST", format!("http://{}", tollgate.ingest.unwrap()))
            .env("TOKEN", tollgate.token())
            .output()
            .unwrap();
        let answer = String::from_utf8_lossy(&output.stdout);
        for line in lines {
            assert!(
                answer.contains(&line),
                "{command}\n\nhas no `{line}`:\n{answer}"
            );
        }
    }
}

/// The blocks of the README's tour, with the addresses and the binary of this test.
fn tour(tollgate: &Tollgate) -> Vec<String> {
    let readme = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let (_, tour) = text.split_once("## Five minutes").unwrap();
    let (tour, _) = tour.split_once("\n## ").unwrap();
    let binary = env!("CARGO_BIN_EXE_tollgate");
    let data = tollgate.data_dir().display();
    let ingest = tollgate.ingest.unwrap();
    let logstore = tollgate.logstore.unwrap();
    let tour = tour
        .replace("/tmp/", &format!("{data}/"))
        .replace("127.0.0.1:8080", &ingest.to_string())
        .replace("127.0.0.1:8081", &tollgate.admin.to_string())
        .replace(
            "target/release/tollgate token mint",
            &format!("{binary} token mint --data-dir {data}"),
        )
        .replace(
            "target/release/tollgate tail",
            &format!("sleep 3; {binary} tail --data-dir {data} --logstore-url http://{logstore}"),
        )
        .replace(
            "target/release/tollgate send",
            &format!("{binary} send --data-dir {data} --url http://{ingest}"),
        );
    assert!(!tour.contains("target/release"), "{tour}");
    let blocks = tour.split("```sh\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_tour_of_the_readme_works_as_printed() {
    let tollgate = Tollgate::start();
    let blocks = tour(&tollgate);
    let expected: [&[&str]; 6] = [
        &["HTTP/1.1 200 OK", "x-tollgate-ack: memory"],
        &["HTTP/1.1 401 Unauthorized", "credential_missing"],
        &["HTTP/1.1 200 OK"],
        &["event=view_product product=Tablet price=500", "event=click"],
        &["3"],
        &["tollgate_events_accepted_total"],
    ];
    assert_eq!(blocks.len(), expected.len(), "{blocks:#?}");
    for (block, expected) in blocks.iter().zip(expected) {
        let script = format!("set -eu\n{block}");
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{block}\n{answer}\n{errors}");
        for text in expected {
            assert!(
                answer.contains(text),
                "{block}\n\nhas no `{text}`:\n{answer}\n{errors}"
            );
        }
    }
}

fn reasons() -> String {
    let mut table =
        "| reason | status | errorCode | what happened | how to mend it |\n|---|---|---|---|---|\n"
            .to_owned();
    for reason in Reason::ALL {
        writeln!(
            table,
            "| `{}` | {} | `{}` | {} | {} |",
            reason.label(),
            reason.status().as_u16(),
            reason.code().as_str(),
            reason.what(),
            reason.fix().replace('|', "\\|")
        )
        .unwrap();
    }
    table
}

#[test]
fn the_table_of_reasons_is_the_one_of_the_code() {
    let text = std::fs::read_to_string(page()).unwrap();
    let (before, rest) = text.split_once("<!-- reasons").unwrap();
    let (marker, rest) = rest.split_once("-->\n").unwrap();
    let (_, after) = rest.split_once("<!-- /reasons -->").unwrap();
    let fresh = format!(
        "{before}<!-- reasons{marker}-->\n\n{}\n<!-- /reasons -->{after}",
        reasons()
    );
    if std::env::var("TOLLGATE_WRITE").is_ok() {
        std::fs::write(page(), fresh).unwrap();
    } else if text != fresh {
        panic!("docs/protocol.md is stale; TOLLGATE_WRITE=1 cargo test --test docs");
    }
}
