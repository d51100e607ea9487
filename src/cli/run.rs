//! `tollgate run`: starts the service and says, for people, how to use it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Exit, Failure, output, source};
use crate::app::{self, IdentityError, LoadConfig, Only, Running, StartError};
use crate::config::{Accept, Config, Log, LogFormat, MAIN_LISTENER, Overrides};
use crate::gate::identity;
use crate::pipeline::StopReport;

const EXAMPLES: &str = "\
Examples:
  tollgate run
      ingest on 127.0.0.1:8080, health and metrics on 127.0.0.1:8081, and an embedded logstore
      with the API of SLS on 127.0.0.1:8082; data under ./tollgate-data
  tollgate run --config tollgate.toml
      as the file says
  tollgate run --only logstore
      a stand-in for SLS, for tests of programs that write to it or read from it

SIGTERM or SIGINT stops it: no new connections, requests in flight answered, events delivered until
delivery.stop_deadline. A second signal stops at once.";

/// Arguments of `tollgate run`.
#[derive(Debug, Default, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RunArgs {
    /// Configuration file. Without it: the built-in defaults (config/quickstart.toml).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the public listener.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Address of the private listener: health and metrics.
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
    /// Address of the embedded logstore's API.
    #[arg(long, value_name = "ADDRESS")]
    logstore_listen: Option<SocketAddr>,
    /// Folder of generated keys and of the embedded logstore.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Run one part only.
    #[arg(long)]
    only: Option<Only>,
}

pub(super) fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let config = args.configuration()?;
    start_log(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Internal, error))?;
    let (path, overrides) = (args.config.clone(), args.overrides());
    let load = move || source::reload(path.as_deref(), &overrides);
    let exit = runtime.block_on(serve(&config, args.only, Box::new(load)))?;
    runtime.shutdown_background();
    Ok(exit)
}

impl RunArgs {
    fn configuration(&self) -> Result<Config, Failure> {
        source::load(self.config.as_deref(), &self.overrides())
    }

    fn overrides(&self) -> Overrides {
        Overrides {
            listen: self.listen,
            admin_listen: self.admin_listen,
            logstore_listen: self.logstore_listen,
            data_dir: self.data_dir.clone(),
        }
    }
}

async fn serve(config: &Config, only: Option<Only>, load: LoadConfig) -> Result<Exit, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::new(Exit::Internal, error))?;
    let running = app::start(config, only, load)
        .await
        .map_err(|error| start_failure(&error))?;
    banner(config, &running)?;
    let failed = loop {
        tokio::select! {
            signal = signals.any() => match signal {
                Asked::Stop => break false,
                Asked::Reload => reload(&running),
            },
            () = running.failed() => break true,
        }
    };
    if failed {
        tracing::error!("a part of the pipeline has died; stopping, so that it is noticed");
    } else {
        tracing::info!("stopping; a second signal stops at once");
    }
    let metrics = Arc::clone(running.metrics());
    let report = tokio::select! {
        report = running.stop(config.delivery.stop_deadline.get()) => report,
        () = signals.next() => StopReport { lost: metrics.events_held(), ..StopReport::default() },
    };
    let exit = end(&report);
    Ok(if failed && exit == Exit::Success {
        Exit::Internal
    } else {
        exit
    })
}

/// Takes over what the configuration says of identity now, without holding anything up.
fn reload(running: &Running) {
    let Some(identity) = running.identity() else {
        return;
    };
    let identity = Arc::clone(identity);
    // The outcome is in the log; nothing waits for it.
    drop(tokio::task::spawn_blocking(move || {
        if let Err(error) = identity.reload() {
            tracing::error!("identity was not reloaded, and is as it was: {error}");
        }
    }));
}

fn end(report: &StopReport) -> Exit {
    if report.lost > 0 || report.dropped > 0 {
        output::error(format_args!(
            "stopped with {} events undelivered and {} refused by the store",
            report.lost, report.dropped
        ));
        return Exit::EventsLost;
    }
    tracing::info!(delivered = report.delivered, "stopped; nothing was lost");
    Exit::Success
}

fn start_failure(error: &StartError) -> Failure {
    let exit = match error {
        StartError::Bind(_) => Exit::Unavailable,
        StartError::DataDir { .. }
        | StartError::Key(_)
        | StartError::Logstore(_)
        | StartError::AdminToken(_)
        | StartError::Identity(IdentityError::State(_)) => Exit::DataDir,
        StartError::UpstreamSecret { .. }
        | StartError::Upstream { .. }
        | StartError::Identity(IdentityError::Trust(_) | IdentityError::Limits(_)) => Exit::Config,
    };
    Failure::new(exit, error)
}

/// Says where everything is and what to type next.
fn banner(config: &Config, running: &Running) -> Result<(), Failure> {
    let addresses = running.addresses();
    output::line(format_args!(
        "tollgate {} is ready.\n",
        env!("CARGO_PKG_VERSION")
    ))?;
    for (name, address) in &addresses.ingest {
        let note = if name == MAIN_LISTENER {
            "POST /logstores/{logstore}/track"
        } else {
            name
        };
        output::line(format_args!(
            "  {:<10} http://{address}  {note}",
            "events in"
        ))?;
    }
    let rows = [
        (
            "private",
            addresses.admin,
            "/metrics /healthz /readyz /api/v1",
        ),
        (
            "logstore",
            addresses.logstore,
            "the API of SLS, on local disk",
        ),
    ];
    for (what, address, note) in rows {
        if let Some(address) = address {
            output::line(format_args!("  {what:<10} http://{address}  {note}"))?;
        }
    }
    output::line(format_args!(
        "  {:<10} {}",
        "data",
        config.data_dir.display()
    ))?;
    if let Some((_, ingest)) = addresses.ingest.first() {
        first_steps(config, running, *ingest)?;
    }
    output::line("\nCtrl-C stops it and delivers what is held.")
}

/// A command to paste for the first logstore that takes a token, and how to watch the events.
fn first_steps(config: &Config, running: &Running, ingest: SocketAddr) -> Result<(), Failure> {
    let logstores = config.projects.iter().flat_map(|project| {
        project
            .logstores
            .iter()
            .map(move |logstore| (project, logstore))
    });
    let mut with_token =
        logstores.filter(|(_, logstore)| !logstore.accept.contains(&Accept::Anonymous));
    let keys = running.keys();
    let (Some((project, logstore)), Some(key)) = (with_token.next(), keys.first()) else {
        return Ok(());
    };
    let ttl = key.rules.max_lifetime.as_secs().min(3600);
    let token = identity::mint(
        key,
        project.name.as_str(),
        logstore.name.as_str(),
        ttl,
        None,
    )
    .map_err(|error| Failure::new(Exit::Internal, error))?;
    let header = if config.ingest.default_project.as_ref() == Some(&project.name) {
        String::new()
    } else {
        format!("\n    -H 'x-log-project: {}' \\", project.name)
    };
    let name = &logstore.name;
    output::line(format_args!(
        "\nSend an event (the token is good for {} minutes):\n\n  \
         curl -i http://{ingest}/logstores/{name}/track \\{header}\n    \
         -H 'Authorization: Bearer {token}' \\\n    \
         -d '{{\"__topic__\":\"demo\",\"__logs__\":[{{\"event\":\"view_product\",\"product\":\"Tablet\",\"price\":\"500\"}}]}}'",
        ttl / 60
    ))?;
    output::line(format_args!(
        "\nWatch events arrive:\n\n  {} tail --follow{}",
        program(),
        tail_arguments(config, running),
    ))
}

/// The program as it was started, to be pasted.
fn program() -> String {
    std::env::args()
        .next()
        .unwrap_or_else(|| "tollgate".to_owned())
}

/// What `tollgate tail` has to be told where this is not the built-in configuration.
fn tail_arguments(config: &Config, running: &Running) -> String {
    let mut arguments = String::new();
    if config.data_dir != Config::default().data_dir {
        arguments.push_str(&format!(" --data-dir {}", config.data_dir.display()));
    }
    if let Some(logstore) = running.addresses().logstore
        && logstore != Config::default().embedded.listen
    {
        arguments.push_str(&format!(" --logstore-url http://{logstore}"));
    }
    arguments
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Stop,
    Reload,
}

/// SIGTERM, SIGINT and SIGHUP.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal.
    async fn any(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// The next signal to stop.
    async fn next(&mut self) {
        while self.any().await == Asked::Reload {}
    }
}

fn start_log(log: &Log) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&log.level)
        .map_err(|error| Failure::new(Exit::Config, format!("log.level: {error}")))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => builder
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
