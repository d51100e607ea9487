//! What Tollgate's ingest costs: processor time and latency of a request beside bare hyper on the
//! same machine in the same minute; memory over a million events; and what floods and held connections
//! do to good clients.
//!
//! `cargo bench --bench ingest -- --help` tells the options; `benches/README.md` how to read the
//! figures. Linux only: it reads `/proc`.

mod bare;
mod compare;
mod flood;
mod generator;
mod growth;
mod h2;
mod held;
mod machine;
mod memory;
mod outage;
mod peers;
mod recovery;
mod report;
mod scenario;
mod servers;
mod setup;
mod siege;
mod traffic;
mod wire;

use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What Tollgate's ingest costs, beside bare hyper.
#[derive(Debug, Parser)]
#[command(name = "ingest", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    compare: compare::Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Resident memory of the gateway while a million events go through it.
    Memory(memory::Options),
    /// A million distinct bad tokens beside good clients: memory, and the good ones' latency.
    Flood(flood::Options),
    /// Bad tokens from 10,000 addresses, more than the machine can refuse, beside good clients.
    Siege(siege::Options),
    /// 10,000 idle connections and 2,000 with unfinished heads: memory, and the good ones' latency.
    Held(held::Options),
    /// A million tokens and addresses, a thousand logstores and a hundred schemas, beside few of each.
    Growth(growth::Options),
    /// A store that is down for long at full load, and comes back: memory, the backlog, and latency.
    Outage(outage::Options),
    /// How fast a start reads what is on disk, beside a plain read of the same files.
    Recovery(recovery::Options),
    /// The yardstick, in a process of its own.
    #[command(hide = true)]
    HyperBare(bare::Options),
}

/// Cargo adds it for `cargo bench`. Without it this is a build check of `cargo test`, and does nothing.
const FROM_CARGO: &str = "--bench";

fn main() -> ExitCode {
    let (from_cargo, arguments): (Vec<_>, _) = std::env::args().partition(|a| a == FROM_CARGO);
    match run(
        &Cli::parse_from::<Vec<_>, _>(arguments),
        !from_cargo.is_empty(),
    ) {
        Ok(code) => code,
        Err(error) => {
            tell(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli, bench: bool) -> anyhow::Result<ExitCode> {
    let honest = match &cli.command {
        Some(Command::HyperBare(options)) => {
            return bare::run(options).map(|()| ExitCode::SUCCESS);
        }
        _ if !bench => {
            tell(format_args!(
                "a bench does nothing in a test run; use `cargo bench`"
            ));
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Memory(options)) => memory::run(options)?,
        Some(Command::Flood(options)) => flood::run(options)?,
        Some(Command::Siege(options)) => siege::run(options)?,
        Some(Command::Held(options)) => held::run(options)?,
        Some(Command::Growth(options)) => growth::run(options)?,
        Some(Command::Outage(options)) => outage::run(options)?,
        Some(Command::Recovery(options)) => recovery::run(options)?,
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
