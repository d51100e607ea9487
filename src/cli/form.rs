//! `--output`: the form in which a command prints its results, by one name for all commands.
//!
//! Promise: with `json`, standard output holds JSON and nothing else, one value on a line, and a
//! command that fails says so by one JSON object, the last line of standard error. docs/cli.md
//! lists the shapes; members are added to them, and none is taken away or changed.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, ValueEnum};
use serde::Serialize;
use serde_json::json;

use super::{Exit, Failure, output};

/// The form in which results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// For people. May change with any version.
    #[default]
    #[value(aliases = ["table", "pretty"])]
    Text,
    /// For programs: JSON.
    Json,
}

/// The option of a command whose results a script may want.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct FormArgs {
    /// Form of the results.
    // Every command had this option by its old name once.
    #[arg(
        long,
        alias = "format",
        value_enum,
        default_value_t,
        value_name = "FORM"
    )]
    pub(super) output: Form,
}

/// Where a command writes what it exports, and the form in which it tells how much that was.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct OutArgs {
    /// Write to a file, which only its owner may read. Without it: standard output.
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// With --out: form of the summary.
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "FORM",
        requires = "out"
    )]
    pub(super) output: Form,
}

impl FormArgs {
    /// Whether the results are for a program.
    pub(super) fn is_json(self) -> bool {
        self.output == Form::Json
    }
}

/// The form that the command line asks for: that of the innermost command.
pub(super) fn asked(mut matches: &ArgMatches) -> Form {
    while let Some((_, inner)) = matches.subcommand() {
        matches = inner;
    }
    match matches.try_get_one::<Form>("output") {
        // A default says nothing of how errors are to be told.
        Ok(Some(form)) if matches.value_source("output") == Some(ValueSource::CommandLine) => *form,
        _ => Form::Text,
    }
}

/// Prints a value as JSON on a line, safe for a terminal.
///
/// # Errors
/// As [`output::line`].
pub(super) fn print(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::new(Exit::Internal, error))?;
    output::line(output::escape_json(&text))
}

/// Says why a command failed, as one JSON object on standard error.
pub(super) fn failure(failure: &Failure) {
    let exit = failure.exit();
    let message = output::without_colours(&failure.to_string());
    let told = json!({"error": {
        "kind": exit.label(), "exit": exit.code(), "message": message.trim_end(),
    }});
    output::note(output::escape_json(&told.to_string()));
}
