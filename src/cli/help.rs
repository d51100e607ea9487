//! Help as a terminal shows it.
//!
//! Promise: the notes below the options are broken where the terminal ends, and nowhere else;
//! examples stay as they are typed. Not here: docs/cli.md and manual pages, whose width is known.

use clap::Command;

/// The command line with the notes of each command as [`joined`] has them.
pub(super) fn flowing(mut command: Command) -> Command {
    if let Some(text) = command.get_after_help().map(ToString::to_string) {
        command = command.after_help(joined(&text));
    }
    if let Some(text) = command.get_after_long_help().map(ToString::to_string) {
        command = command.after_long_help(joined(&text));
    }
    command.mut_subcommands(flowing)
}

/// From where on indented lines are prose again: what an example does.
const PROSE: usize = 6;

/// Text whose paragraphs are a line each. A command that goes on in the next line is left alone.
fn joined(text: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let (mut out, mut last) = (String::with_capacity(text.len()), "");
    let mut of_command = false;
    for line in text.lines() {
        let depth = indent(line);
        let prose = depth == 0 || depth >= PROSE;
        let goes_on = prose
            && !line.is_empty()
            && !last.is_empty()
            && depth == indent(last)
            && !of_command
            && !last.ends_with([':', '\\']);
        match goes_on {
            true => out.push(' '),
            false if out.is_empty() => {}
            false => out.push('\n'),
        }
        out.push_str(if goes_on { line.trim_start() } else { line });
        of_command = last.ends_with('\\');
        last = line;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    #[test]
    fn paragraphs_are_joined_and_commands_are_not() {
        let text = "Examples:\n  a b \\\n      --c\n      does\n      more\n  d\n\nOne\ntwo:\n{}; three\n\nFour";
        assert_eq!(
            joined(text),
            "Examples:\n  a b \\\n      --c\n      does more\n  d\n\nOne two:\n{}; three\n\nFour"
        );
    }

    #[test]
    fn help_is_broken_at_the_end_of_the_terminal_only() {
        for width in [60, 80, 100] {
            let mut command = flowing(command()).term_width(width);
            command.build();
            let run = command.find_subcommand_mut("run").unwrap();
            let help = run.render_long_help().to_string();
            let (_, notes) = help.split_once("SIGTERM or SIGINT").unwrap();
            let (paragraph, _) = notes.split_once("\n\n").unwrap();
            let lines: Vec<&str> = paragraph.lines().skip(1).collect();
            let (_, full) = lines.split_last().unwrap();
            for line in full {
                // The longest word of them has 26 characters.
                assert!(
                    line.len() <= width && line.len() + 27 > width,
                    "{width}: {line:?}"
                );
            }
        }
    }
}
