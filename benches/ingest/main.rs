//! What Tollgate's ingest costs: processor time and latency of a request beside bare hyper on the
//! same machine in the same minute, and memory over a million events.
//!
//! `cargo bench --bench ingest -- --help` tells the options; `benches/README.md` how to read the
//! figures. Linux only: it reads `/proc`.

mod bare;
mod compare;
mod generator;
mod machine;
mod memory;
mod report;
mod scenario;
mod servers;
mod traffic;

use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What Tollgate's ingest costs, beside bare hyper.
#[derive(Debug, Parser)]
#[command(name = "ingest", args_conflicts_with_subcommands = true)]
struct Cli {
    /// Cargo says so for `cargo bench`; without it this is a build check and does nothing.
    #[arg(long, hide = true, global = true)]
    bench: bool,
    #[command(flatten)]
    compare: compare::Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Resident memory of the gateway while a million events go through it.
    Memory(memory::Options),
    /// The yardstick, in a process of its own.
    #[command(hide = true)]
    HyperBare,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            tell(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let honest = match &cli.command {
        Some(Command::HyperBare) => return bare::run().map(|()| ExitCode::SUCCESS),
        _ if !cli.bench => {
            tell(format_args!(
                "a bench does nothing in a test run; use `cargo bench`"
            ));
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Memory(options)) => memory::run(options)?,
        None => compare::run(&cli.compare)?,
    };
    Ok(if honest {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints one line. A reader who closed the pipe wants no more of it, which is no failure.
fn tell(line: std::fmt::Arguments<'_>) {
    drop(writeln!(stdout(), "{line}"));
}
