//! `tollgate schema`: schemas proposed from events, tried on events, and compared.
//!
//! Promise: events are read by the code that the service reads requests with, and judged by the
//! schema that it compiles, so a verdict here is the verdict there. Memory does not grow with the
//! input. Not here: what becomes of a bad event (configuration).

mod caret;
mod diff;
mod infer;
mod input;
mod lines;
mod place;
mod shown;
mod test;

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Exit, Failure, output};
use crate::gate::schema::{Options, Schema};

#[derive(Debug, Subcommand)]
pub(super) enum SchemaCommand {
    /// Propose a schema from events.
    Infer(infer::InferArgs),
    /// Say which events a schema accepts, and what is wrong with the others.
    Test(test::TestArgs),
    /// Say what a changed schema would newly refuse.
    Diff(diff::DiffArgs),
}

pub(super) fn run(command: &SchemaCommand) -> Result<Exit, Failure> {
    match command {
        SchemaCommand::Infer(args) => infer::run(args),
        SchemaCommand::Test(args) => test::run(args),
        SchemaCommand::Diff(args) => diff::run(args),
    }
}

/// How a schema is read: `coerce` and `formats` of `[[schema]]`.
#[derive(Clone, Copy, Debug, Args)]
struct ReadingArgs {
    /// Texts are not read as numbers, booleans and null where the schema does not ask for it:
    /// `coerce = false` of the configuration.
    #[arg(long)]
    no_coerce: bool,
    /// `format` is only a note: `formats = false` of the configuration.
    #[arg(long)]
    no_formats: bool,
}

impl ReadingArgs {
    fn options(self) -> Options {
        Options {
            coerce: !self.no_coerce,
            assert_formats: !self.no_formats,
        }
    }
}

/// Reads and compiles a schema.
///
/// # Errors
/// With all that is wrong with it.
fn load(path: &Path, options: Options) -> Result<(Value, Schema), Failure> {
    let loaded = crate::app::load_schema_and_document(path, options);
    loaded.map_err(|problems| {
        let told = problems.into_iter().map(|(message, hint)| {
            let help = match hint.as_str() {
                "" => String::new(),
                hint => format!("\n  help: {hint}"),
            };
            let message = output::escape(&format!("{}: {message}", path.display()));
            format!(
                "error: {message}{}",
                output::escape(&help).replace("\\n", "\n")
            )
        });
        Failure::rendered(Exit::Config, told.collect::<Vec<_>>().join("\n"))
    })
}

/// `1 event`, `2 events`.
fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
