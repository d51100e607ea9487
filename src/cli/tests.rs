use clap::Command as Clap;
use clap::error::ErrorKind;

use super::*;

#[test]
fn the_command_line_is_well_formed_and_runs_without_a_command() {
    command().debug_assert();
    assert!(Cli::try_parse_from(["tollgate"]).unwrap().command.is_none());
    let version = Cli::try_parse_from(["tollgate", "--version"])
        .unwrap_err()
        .to_string();
    assert!(version.contains("commit"), "{version}");
}

/// Each command that does something, with its name.
fn leaves(command: &Clap, name: &str, all: &mut Vec<(String, Clap)>) {
    let below: Vec<&Clap> = command.get_subcommands().collect();
    if below.is_empty() || name == "tollgate limits" || name == "tollgate" {
        all.push((name.to_owned(), command.clone()));
    }
    for inner in below {
        leaves(inner, &format!("{name} {}", inner.get_name()), all);
    }
}

fn all() -> Vec<(String, Clap)> {
    let mut all = Vec::new();
    leaves(&command(), "tollgate", &mut all);
    all
}

fn after_help(command: &Clap) -> String {
    let text = command
        .get_after_long_help()
        .or_else(|| command.get_after_help());
    text.map_or_else(String::new, ToString::to_string)
}

/// The words of a command as a shell takes them apart, one list for each `tollgate` of a line.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars().peekable();
    let mut ended = false;
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some('"') | None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '|' | '&') => {
                found.last_mut().unwrap().extend(word.take());
                found.push(Vec::new());
                ended = false;
            }
            (None, '>') => ended = true,
            (None, ' ') => {
                let whole = word.take().filter(|_| !ended);
                found.last_mut().unwrap().extend(whole);
                // What stands further away is an explanation.
                if chars.peek() == Some(&' ') {
                    ended = true;
                }
            }
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    found.last_mut().unwrap().extend(word.filter(|_| !ended));
    let tollgate = |words: Vec<String>| {
        let settings = words.iter().take_while(|word| word.contains('=')).count();
        let rest: Vec<String> = words.into_iter().skip(settings).collect();
        (rest.first().map(String::as_str) == Some("tollgate")).then_some(rest)
    };
    found.into_iter().filter_map(tollgate).collect()
}

#[test]
fn every_command_has_examples_and_exit_codes_and_every_example_is_a_command_line() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for (name, command) in all() {
        let text = after_help(&command);
        assert!(text.contains("Example"), "{name} has no example");
        assert!(text.contains("Exit codes:"), "{name} has no exit codes");
        // A line that goes on, as one.
        let mut parts = text.split(" \\\n");
        let first = parts.next().unwrap_or_default().to_owned();
        let lines = parts.fold(first, |lines, part| lines + " " + part.trim_start());
        let lines = lines.lines().filter(|line| line.starts_with("  "));
        let mut own = 0;
        for words in lines.flat_map(|line| commands(line.trim_start())) {
            let words: Vec<String> = words;
            seen += 1;
            own += usize::from(words.join(" ").starts_with(&name));
            match Cli::try_parse_from(&words) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::DisplayHelp => {}
                Err(error) => wrong.push(format!("{name}: {words:?}\n{error}")),
            }
        }
        if own == 0 {
            wrong.push(format!("no example of {name} is of it"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 80, "only {seen} examples");
}

#[test]
fn words_are_taken_apart_as_a_shell_does() {
    let words = commands("A=1 tollgate x 'a b' \"c\\\"d\" > f | jq '.a | b'");
    assert_eq!(words, [["tollgate", "x", "a b", "c\"d"]]);
    assert_eq!(commands("tollgate y      does y"), [["tollgate", "y"]]);
    assert_eq!(commands("a | tollgate z -").len(), 1);
}

#[test]
fn every_command_that_prints_results_takes_output() {
    // What prints no results, or only one form of them.
    let without = [
        "tollgate",
        "tollgate run",
        "tollgate schema infer",
        "tollgate completions",
        "tollgate healthcheck",
    ];
    for (name, command) in all() {
        let argument = command.get_arguments().find(|it| it.get_id() == "output");
        let json = argument.is_some_and(|it| {
            let values = it.get_possible_values();
            values.iter().any(|value| value.get_name() == "json")
        });
        assert_eq!(json, !without.contains(&name.as_str()), "{name}");
    }
}
