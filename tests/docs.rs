//! The documents tell the truth: the table of reasons in docs/protocol.md is the one of the code, so are the
//! tables of docs/metrics.md, the tests that docs/security.md names are there, and every command of
//! `tollgate` on any page is one. What the pages print is run by tests/clients/cases/snippets.py.
//! So does `./test long`: what it calls a run has run something.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tollgate::event::Reason;
use tollgate::telemetry::GROUPS;

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md")
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

fn metrics() -> String {
    let mut tables = String::new();
    for group in GROUPS {
        write!(
            tables,
            "## {}\n\n| metric | kind | labels | what it says |\n|---|---|---|---|\n",
            group.title
        )
        .unwrap();
        for metric in group.metrics {
            let labels: Vec<String> = metric.labels.iter().map(|it| format!("`{it}`")).collect();
            let unit = metric
                .unit()
                .map_or_else(String::new, |it| format!(", {it}"));
            writeln!(
                tables,
                "| `{}` | {}{unit} | {} | {} |",
                metric.name,
                metric.kind.label(),
                labels.join(" "),
                metric.help.replace('|', "\\|")
            )
            .unwrap();
        }
        tables.push('\n');
    }
    tables
}

#[test]
fn the_tables_of_metrics_are_those_of_the_code() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once("<!-- metrics").unwrap();
    let (marker, rest) = rest.split_once("-->\n").unwrap();
    let (_, after) = rest.split_once("<!-- /metrics -->").unwrap();
    let fresh = format!(
        "{before}<!-- metrics{marker}-->\n\n{}<!-- /metrics -->{after}",
        metrics()
    );
    if std::env::var("TOLLGATE_WRITE").is_ok() {
        std::fs::write(page, fresh).unwrap();
    } else if text != fresh {
        panic!("docs/metrics.md is stale; TOLLGATE_WRITE=1 cargo test --test docs");
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_call_of_the_admin_api_is_on_its_page() {
    let described = std::fs::read_to_string(root().join("docs/openapi.json")).unwrap();
    let described: serde_json::Value = serde_json::from_str(&described).unwrap();
    let page = std::fs::read_to_string(root().join("docs/admin-api.md")).unwrap();
    let paths = described["paths"].as_object().unwrap();
    assert!(paths.len() > 20, "{}", paths.len());
    for path in paths.keys() {
        let path = path.strip_prefix("/api/v1").unwrap();
        assert!(
            page.contains(&format!(" {path}`")),
            "docs/admin-api.md does not name {path}"
        );
    }
}

/// Whether a file has a test of this name: a function of Rust below `#[test]` that is not ignored, or one of
/// Python below `@case`.
fn has_test(file: &Path, name: &str) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let (start, marks) = match file.extension().and_then(|it| it.to_str()) {
        Some("py") => (format!("def {name}("), vec!["@case"]),
        _ => (format!("fn {name}("), vec!["#[test]", "#[tokio::test"]),
    };
    let Some(at) = text.find(&start) else {
        return false;
    };
    let (before, _) = text[..at].rsplit_once('\n').unwrap_or_default();
    let above: Vec<&str> = before.lines().rev().take(6).collect();
    let attributes: Vec<&&str> = above
        .iter()
        .take_while(|line| !line.trim().is_empty() && line.trim() != "}")
        .collect();
    attributes
        .iter()
        .any(|line| marks.iter().any(|mark| line.contains(mark)))
        && !attributes.iter().any(|line| line.contains("#[ignore"))
}

#[test]
fn every_threat_is_shown_by_a_test_that_is_there() {
    let text = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let (_, rest) = text.split_once("<!-- threats -->").unwrap();
    let (table, _) = rest.split_once("<!-- /threats -->").unwrap();
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.contains("| shown by |"));
    let mut threats = 0;
    let mut missing = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [attack, answer, shown] = cells.as_slice() else {
            panic!("three cells: {row}")
        };
        assert!(!attack.is_empty() && !answer.is_empty(), "{row}");
        let tests: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test: {row}");
        for test in tests {
            let (file, name) = test.split_once("::").unwrap();
            if !has_test(&root().join(file), name) {
                missing.push(test);
            }
        }
        threats += 1;
    }
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
    assert!(threats >= 50, "found only {threats}");
}

/// The words of a command line as a shell takes them, up to what ends the command; None when a quotation
/// does not end.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        it if it == char => break,
                        it => word.push(it),
                    }
                }
            }
            '|' | ';' | '&' | ')' | '>' | '<' => break,
            '#' if word.is_none() => break,
            it if it.is_whitespace() => words.extend(word.take()),
            it => word.get_or_insert_default().push(it),
        }
    }
    words.extend(word);
    Some(words)
}

/// The command lines of `tollgate` in a text, from each place where one begins.
fn commands(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines() {
        let at_start = |at: usize| {
            // The program may be named with its folder.
            let folder = line[..at].rfind([' ', '(']).map_or(0, |it| it + 1);
            let before = line[..folder].trim_end();
            (folder == at || line[folder..at].ends_with('/'))
                && (before.is_empty()
                    || before.ends_with(['$', '|', '(', ';'])
                    || before.ends_with("&&")
                    || before.ends_with("--"))
        };
        for (at, _) in line
            .match_indices("tollgate ")
            .filter(|(at, _)| at_start(*at))
        {
            found.extend(words(&line[at..]));
        }
    }
    found
}

/// What clap says of a command line, unless it is a good one or asks for help.
fn problem(words: &[String]) -> Option<clap::Error> {
    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
    let parsed = tollgate::cli::command().try_get_matches_from(words);
    let placeholder = words.get(1).is_some_and(|it| it == "COMMAND");
    parsed
        .err()
        .filter(|error| !matches!(error.kind(), DisplayHelp | DisplayVersion) && !placeholder)
}

fn pages() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap();
    let mut pages: Vec<PathBuf> = docs.map(|it| it.unwrap().path()).collect();
    pages.retain(|it| it.extension().is_some_and(|it| it == "md"));
    pages.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|it| root().join(it)));
    pages
}

#[test]
fn every_command_of_the_pages_is_one() {
    let mut seen = 0;
    let mut wrong = Vec::new();
    for page in pages() {
        let name = page.file_name().unwrap().display().to_string();
        let text = std::fs::read_to_string(&page).unwrap();
        let mut fenced = None;
        let mut block = String::new();
        let mut prose = String::new();
        for line in text.lines() {
            if let Some(info) = line.trim_start().strip_prefix("```") {
                if fenced.take().is_none() {
                    fenced = Some(info.split(' ').next().unwrap().to_owned());
                } else {
                    block.push('\n');
                }
            } else if let Some(language) = &fenced {
                // Of what the program prints as help, the examples.
                let example = line.starts_with("  tollgate ") || line.starts_with("      ");
                if matches!(language.as_str(), "sh" | "console") || name == "cli.md" && example {
                    // What stands behind two spaces is a remark.
                    let line = if name == "cli.md" {
                        line.trim().split("  ").next().unwrap()
                    } else {
                        line
                    };
                    block.push_str(line);
                    block.push('\n');
                }
            } else {
                prose.push_str(line);
                prose.push('\n');
            }
        }
        for words in commands(&block) {
            seen += 1;
            wrong.extend(problem(&words).map(|it| (name.clone(), words.join(" "), it)));
        }
        for span in prose.split('`').skip(1).step_by(2) {
            for words in commands(span) {
                // In a sentence a command may be named without all that it needs, and with words for values.
                use clap::error::ErrorKind::{
                    DisplayHelpOnMissingArgumentOrSubcommand, InvalidValue,
                    MissingRequiredArgument, MissingSubcommand, ValueValidation,
                };
                seen += 1;
                let told = problem(&words).filter(|error| {
                    !matches!(
                        error.kind(),
                        MissingRequiredArgument
                            | MissingSubcommand
                            | DisplayHelpOnMissingArgumentOrSubcommand
                            | InvalidValue
                            | ValueValidation
                    )
                });
                wrong.extend(told.map(|it| (name.clone(), words.join(" "), it)));
            }
        }
    }
    let wrong: Vec<String> = wrong
        .iter()
        .map(|(page, command, error)| format!("{page}: {command}\n{error}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 200, "found only {seen}");
}

#[test]
fn a_long_run_whose_filter_matches_nothing_fails() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let cargo = folder.path().join("cargo");
    let path = std::env::var("PATH").unwrap();
    for (passed, code) in [(0, 1), (3, 0)] {
        let text =
            format!("#!/bin/sh\necho 'test result: ok. {passed} passed; 0 failed; 0 ignored'\n");
        std::fs::write(&cargo, text).unwrap();
        std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o700)).unwrap();
        let output = std::process::Command::new("./test")
            .args(["long", "policies"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PATH", format!("{}:{path}", folder.path().display()))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains("20,000 policies"), "{told}");
    }
}
