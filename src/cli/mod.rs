//! Arguments, output for people, exit codes.
//!
//! Results go to standard output; logs, progress and errors to standard error.

mod admin_args;
mod api;
mod audit;
mod banner;
mod cert;
mod check;
mod completions;
mod doctor;
mod exit;
mod explain;
mod explain_ip;
mod form;
mod handover;
mod healthcheck;
mod help;
mod init;
mod input;
mod limits;
mod log_level;
mod man;
mod moment;
mod node;
mod node_calls;
mod notify;
mod out_file;
mod output;
mod policy;
mod progress;
mod quarantine;
mod reload;
mod replay;
mod revoke;
mod run;
mod sample;
mod schema;
mod scrape;
mod send;
mod signals;
mod source;
mod spool;
mod tail;
mod test;
mod ticket;
mod token;
mod top;
mod traced;
mod upstreams;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use self::exit::{Exit, Failure};
use self::form::Form;

const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("TOLLGATE_COMMIT"),
    ")"
);

const EXAMPLES: &str = "\
Examples:
  tollgate                                 start on built-in defaults, with an embedded logstore
  tollgate init                            write a first configuration, after a few questions
  tollgate doctor --config tollgate.toml   find what keeps a node from working
  tollgate check --config tollgate.toml    find every mistake of a configuration
  tollgate top                             watch a running node
  tollgate cert self-signed                a certificate for development
  tollgate token mint --project sls-webtracking-mini --logstore web-tracking-logstore
  tollgate ticket create --project sls-webtracking-mini --logstore web-tracking-logstore --max-uses 100
  tollgate revoke add session d-001
  tollgate limits ban per-address address=203.0.113.7 --for 1h --reason flood
  tollgate quarantine ls                   events that were set aside, and why
  tollgate spool ls                        events that wait on disk for the store
  tollgate audit                           whether every event is somewhere, once
  tollgate log-level debug --for 5m        see more in the log of a running node
  tollgate tail --follow                   watch events arrive
  tollgate send events.ndjson              send events through the front
  tollgate schema infer events.ndjson      propose a schema from events
  tollgate test policy-tests.toml          does the configuration decide as it should?
  tollgate explain request.http            what would become of a request, and why
  tollgate replay --config new.toml --live  who would be refused by a new configuration
  tollgate completions bash                complete commands and options in a shell

Exit codes:
  0   all went well, nothing was lost
  1   the work was done, but not all of it succeeded (send: events were refused;
      ticket, revoke, limits, quarantine, spool, log-level: it was refused, is
      damaged, or something is left; audit: the books do not balance;
      upstreams: one is down; policy
      test: denied; explain: refused; explain-ip: the connection would be closed;
      healthcheck: not ready; schema
      test: an event is not valid; schema diff: something would newly fail; replay: a
      verdict would change; test: a test does not hold; doctor: something fails; init: the
      file is there already)
  2   the command line is wrong
  69  an address could not be bound, or a server could not be reached
  70  a fault of Tollgate itself
  73  the data directory, a key file or a certificate cannot be made or read
  75  stopped with events that were not delivered, or set aside and not written;
      standard error says how many
  78  the configuration, a schema or a file of tests is wrong

Results go to standard output; notes, progress and errors to standard error. With --output json results
are JSON, and a command that fails says so by one JSON object on the last line of standard error:
{\"error\":{\"kind\":\"config\",\"exit\":78,\"message\":\"...\"}}; a wrong command line is told as text.
Colours and progress bars are for terminals: NO_COLOR and CLICOLOR=0 switch colours off, CLICOLOR_FORCE
switches them on.
";

/// The edge in front of Simple Log Service web tracking: checks tokens, applies limits, packs
/// events into LogGroups and delivers them.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version = LONG_VERSION, after_long_help = EXAMPLES)]
#[command(propagate_version = true)]
struct Cli {
    /// Without a command: `run` on built-in defaults.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the service.
    Run(run::RunArgs),
    /// Find every mistake of a configuration, and print what to enter in the consoles of
    /// mini-program platforms.
    Check(check::CheckArgs),
    /// Have a running node take over its configuration, or say what that would change.
    Reload(reload::ReloadArgs),
    /// Make certificates for development.
    #[command(subcommand)]
    Cert(cert::CertCommand),
    /// Make tokens.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Try policies (RAM policy documents).
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Propose schemas from events, try them, and compare them.
    #[command(subcommand)]
    Schema(schema::SchemaCommand),
    /// Make and manage tickets: links that open without a login.
    #[command(subcommand)]
    Ticket(ticket::TicketCommand),
    /// Revoke credentials.
    #[command(subcommand)]
    Revoke(revoke::RevokeCommand),
    /// See limits, and ban or raise single keys.
    Limits(limits::LimitsArgs),
    /// Look after events that were set aside: see, replay, export and delete them.
    #[command(subcommand)]
    Quarantine(quarantine::QuarantineCommand),
    /// Look after events that wait on disk: see, check, export, import, deliver and delete them.
    #[command(subcommand)]
    Spool(spool::SpoolCommand),
    /// Print the books of a node: what came in, and where it is or how it ended.
    Audit(audit::AuditArgs),
    /// Print how the upstreams of a running node are: breakers, retries, LogGroups at once.
    Upstreams(upstreams::UpstreamsArgs),
    /// See or change the log level of a running node, for a time.
    LogLevel(log_level::LogLevelArgs),
    /// Read events from a logstore, by the read API of SLS.
    Tail(tail::TailArgs),
    /// Run tests of the configuration: which requests are taken, which refused, and what is stored.
    Test(test::TestArgs),
    /// Tell what would become of a request, stage by stage, and why.
    Explain(explain::ExplainArgs),
    /// Read the sample of requests that a running node keeps.
    Sample(sample::SampleArgs),
    /// Try the requests of a sample out on a configuration: who would be refused that is not now?
    Replay(replay::ReplayArgs),
    /// Tell whose address a request counts as, behind proxies.
    ExplainIp(explain_ip::ExplainIpArgs),
    /// Ask a running node whether it takes requests. For containers and supervisors.
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Send events through the front, from a file of one JSON object a line.
    Send(send::SendArgs),
    /// Write a first configuration, after a few questions or by options.
    Init(Box<init::InitArgs>),
    /// Find what keeps a node from working: configuration, ports, disks, certificates, keys, stores.
    Doctor(doctor::DoctorArgs),
    /// Watch a running node: requests, refusals, logstores, memory and disk.
    Top(top::TopArgs),
    /// Print a script that completes the command line in a shell.
    Completions(completions::CompletionsArgs),
    /// Write manual pages.
    Man(man::ManArgs),
}

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let matches = help::flowing(command()).get_matches();
    let form = form::asked(&matches);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let result = run_command(cli.command);
    // Before what the command says itself.
    crate::telemetry::log::flush();
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            match form {
                Form::Json => form::failure(&failure),
                Form::Text => output::failure(&failure),
            }
            failure.exit().into()
        }
    }
}

/// The command line, as clap knows it: for help, completions and manual pages.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

fn run_command(command: Option<Command>) -> Result<Exit, Failure> {
    match command {
        None => run::run(&run::RunArgs::default()),
        Some(Command::Run(args)) => run::run(&args),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Reload(args)) => reload::run(&args),
        Some(Command::Cert(command)) => cert::run(&command),
        Some(Command::Token(command)) => token::run(&command),
        Some(Command::Policy(command)) => policy::run(&command),
        Some(Command::Schema(command)) => schema::run(&command),
        Some(Command::Ticket(command)) => ticket::run(&command),
        Some(Command::Revoke(command)) => revoke::run(&command),
        Some(Command::Limits(args)) => limits::run(&args),
        Some(Command::Quarantine(command)) => quarantine::run(&command),
        Some(Command::Spool(command)) => spool::run(&command),
        Some(Command::Audit(args)) => audit::run(&args),
        Some(Command::Upstreams(args)) => upstreams::run(&args),
        Some(Command::LogLevel(args)) => log_level::run(&args),
        Some(Command::Tail(args)) => tail::run(&args),
        Some(Command::Test(args)) => test::run(&args),
        Some(Command::Explain(args)) => explain::run(&args),
        Some(Command::Sample(args)) => sample::run(&args),
        Some(Command::Replay(args)) => replay::run(&args),
        Some(Command::ExplainIp(args)) => explain_ip::run(&args),
        Some(Command::Healthcheck(args)) => healthcheck::run(&args),
        Some(Command::Send(args)) => send::run(&args),
        Some(Command::Init(args)) => init::run(&args),
        Some(Command::Doctor(args)) => doctor::run(&args),
        Some(Command::Top(args)) => top::run(&args),
        Some(Command::Completions(args)) => completions::run(&args),
        Some(Command::Man(args)) => man::run(&args),
    }
}

#[cfg(test)]
mod tests;
