//! docs/cli.md holds the help of every command, as the binary prints it.

use std::fmt::Write as _;
use std::path::PathBuf;

/// Columns of the text.
const WIDTH: usize = 110;

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md")
}

fn collect(command: &mut clap::Command, name: &str, depth: usize, text: &mut String) {
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let heading = "#".repeat(depth.min(4));
    let help = lines.join("\n");
    writeln!(
        text,
        "{heading} {name}\n\n```text\n{}\n```\n",
        help.trim_end()
    )
    .unwrap();
    let below: Vec<String> = command
        .get_subcommands()
        .map(|it| it.get_name().to_owned())
        .filter(|name| name != "help")
        .collect();
    for inner in below {
        let command = command.find_subcommand_mut(&inner).unwrap();
        collect(command, &format!("{name} {inner}"), depth + 1, text);
    }
}

fn generated() -> String {
    let mut command = tollgate::cli::command().term_width(WIDTH);
    command.build();
    let mut text = String::new();
    collect(&mut command, "tollgate", 2, &mut text);
    text
}

#[test]
fn the_reference_of_commands_is_the_one_of_the_binary() {
    let old = std::fs::read_to_string(page()).unwrap();
    let (head, rest) = old.split_once("<!-- commands -->\n").unwrap();
    let (_, tail) = rest.split_once("<!-- /commands -->").unwrap();
    let fresh = format!(
        "{head}<!-- commands -->\n\n{}<!-- /commands -->{tail}",
        generated()
    );
    let write = std::env::var_os("TOLLGATE_WRITE").is_some();
    if write {
        std::fs::write(page(), &fresh).unwrap();
    }
    assert!(
        write || old == fresh,
        "docs/cli.md is stale: TOLLGATE_WRITE=1 cargo nextest run --locked --test cli reference"
    );
}
