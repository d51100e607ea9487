//! `tollgate run`: starts the service and says, for people, how to use it.

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::task::JoinHandle;

use super::banner::Banner;
use super::handover::{self, Image};
use super::notify::{State, Watchdog, notify};
use super::signals::{self, Asked, Signals};
use super::{Exit, Failure, output, source};
use crate::app::{
    self, EdgeError, IdentityError, KeptSockets, LoadConfig, Only, Running, StartError, Stopped,
};
use crate::config::{Config, Log, LogFormat, Overrides};
use crate::foundation::sockets::PassedSockets;
use crate::pipeline::StopReport;
use crate::telemetry;
use crate::telemetry::log::{LevelError, LogRules};

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
delivery.stop_deadline. A second signal stops at once.
SIGHUP takes over what the configuration says now (docs/reload.md). SIGUSR2 hands over to the program that stands where this one
was started from, in the same process and with the same listening sockets: connections wait meanwhile,
and none is refused. Sockets may be passed in by systemd, by the names ingest, admin, logstore and those
of [[ingest.listener]].

Exit codes: 0 stopped, nothing was lost, 69 an address could not be bound, 70 a part has died, 73 the data
directory or a key cannot be made or read, 75 stopped with events that were not delivered, 78 the
configuration is wrong.";

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
    // Before any thread: it changes the environment.
    let passed = handover::passed()?;
    let image = Image::of_this_process();
    let config = args.configuration()?;
    // Before any thread (the log has one), which would not be blocked; and after what may take long.
    signals::hold().map_err(|error| Failure::new(Exit::Internal, error))?;
    start_log(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Internal, error))?;
    let (path, overrides) = (args.config.clone(), args.overrides());
    let load = LoadConfig {
        path: path.clone(),
        overridden: overrides.keys().map(str::to_owned).collect(),
        load: Box::new(move || source::reload(path.as_deref(), &overrides)),
    };
    let service = Service {
        config: &config,
        path: args.config.as_deref(),
        overrides: args.overrides(),
        image,
    };
    let end = runtime.block_on(service.run(args.only, load, passed))?;
    match end {
        End::Exit(exit) => {
            runtime.shutdown_background();
            Ok(exit)
        }
        End::HandOver(image, sockets) => {
            runtime.shutdown_timeout(LAST_TASKS);
            telemetry::log::flush();
            Err(image.replace(&sockets.into_inner()))
        }
    }
}

/// Time for the last tasks of the runtime, before a handover.
const LAST_TASKS: Duration = Duration::from_secs(2);

/// How the service ended.
enum End {
    /// With the process.
    Exit(Exit),
    /// With a new image of the program in the same process, and the listening sockets for it.
    HandOver(Image, KeptSockets),
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

/// The service, from start to end.
struct Service<'c> {
    config: &'c Config,
    path: Option<&'c Path>,
    overrides: Overrides,
    image: Option<Image>,
}

/// Why the service stops.
enum Why {
    Asked,
    Failed,
    HandOver(Image),
}

impl Service<'_> {
    async fn run(
        &self,
        only: Option<Only>,
        load: LoadConfig,
        passed: PassedSockets,
    ) -> Result<End, Failure> {
        let mut signals = Signals::listen().map_err(|error| Failure::new(Exit::Internal, error))?;
        let took_over = !passed.is_empty();
        // Until the end: who stops or hands over is watched as well.
        let watchdog = Watchdog::start();
        let running = app::start(self.config, only, load, passed)
            .await
            .map_err(|error| start_failure(&error))?;
        watchdog.watch(running.edge_runtimes());
        // After a handover nobody may be left who reads it.
        if let (Err(failure), false) = (self.greet(&running), took_over) {
            return Err(failure);
        }
        notify(State::Ready);
        let why = self.wait(&mut signals, &running).await;
        self.stop(why, signals, running).await
    }

    /// Says where everything is and what to type next.
    fn greet(&self, running: &Running) -> Result<(), Failure> {
        let banner = Banner {
            config: self.config,
            path: self.path,
            overrides: &self.overrides,
            addresses: running.addresses(),
            keys: &running.keys(),
            program: &program(),
            terminal: io::stdout().is_terminal(),
        };
        output::line(banner.text()?)
    }

    /// Serves until there is a reason to stop.
    async fn wait(&self, signals: &mut Signals, running: &Running) -> Why {
        let mut checking: Option<JoinHandle<Option<Image>>> = None;
        loop {
            let checked = async {
                match &mut checking {
                    Some(checking) => checking.await.ok().flatten(),
                    None => std::future::pending().await,
                }
            };
            // Signals first: who asks to stop is not overtaken by a handover.
            tokio::select! {
                biased;
                asked = signals.any() => match asked {
                    Asked::Stop => return Why::Asked,
                    Asked::Reload => reload(running),
                    Asked::HandOver if checking.is_some() => {}
                    Asked::HandOver => checking = Some(self.check_image()),
                },
                image = checked => {
                    checking = None;
                    if let Some(image) = image {
                        return Why::HandOver(image);
                    }
                }
                () = running.failed() => return Why::Failed,
            }
        }
    }

    /// Looks whether there is a program to hand over to, without holding anything up.
    fn check_image(&self) -> JoinHandle<Option<Image>> {
        let (image, path) = (self.image.clone(), self.path.map(Path::to_owned));
        tokio::task::spawn_blocking(move || {
            let checked = match &image {
                Some(image) => image.check(path.as_deref()),
                None => Err("the path of this program is not known".to_owned()),
            };
            match checked {
                Ok(()) => image,
                Err(why) => {
                    tracing::error!("nothing is handed over, and all is as it was: {why}");
                    None
                }
            }
        })
    }

    async fn stop(&self, why: Why, mut signals: Signals, running: Running) -> Result<End, Failure> {
        let failed = matches!(why, Why::Failed);
        let mut image = match why {
            Why::HandOver(image) => Some(image),
            Why::Asked | Why::Failed => None,
        };
        if failed {
            tracing::error!("a part of the pipeline has died; stopping, so that it is noticed");
        } else if image.is_some() {
            tracing::info!("handing over: connections wait until the new image accepts them");
        } else {
            tracing::info!("stopping; a second signal stops at once");
        }
        notify(match image {
            Some(_) => State::HandingOver,
            None => State::Stopping,
        });
        let metrics = Arc::clone(running.metrics());
        let unwritten = running.unwritten();
        let current = running.control().map(|control| control.running());
        let config = current.as_deref().unwrap_or(self.config);
        let deadline = config.delivery.stop_deadline.get();
        // Nobody is turned away by a handover, and nothing is served by a node that has failed.
        let delay = match failed || image.is_some() {
            true => Duration::ZERO,
            false => config.ingest.drain_delay.get(),
        };
        let to_hand_over = image.is_some();
        let mut stopping = pin!(async {
            running.announce_stop(delay, deadline).await;
            running.stop(deadline, to_hand_over).await
        });
        let Stopped {
            report,
            unwritten,
            sockets,
        } = loop {
            tokio::select! {
                biased;
                () = signals.stop() => {
                    if image.take().is_some() {
                        tracing::info!("stopping instead of handing over; a second signal stops at once");
                        notify(State::Stopping);
                        continue;
                    }
                    let report = StopReport { lost: metrics.events_held(), ..StopReport::default() };
                    break Stopped { report, unwritten: unwritten(), sockets: KeptSockets::default() };
                }
                stopped = &mut stopping => break stopped,
            }
        };
        // What comes after this is for the next image. The last moment for a signal to be for this one.
        if image.is_some() && signals.close().await {
            image = None;
            tracing::info!("stopping instead of handing over");
            notify(State::Stopping);
        }
        let exit = end(&report, unwritten);
        Ok(match image {
            Some(image) => End::HandOver(image, sockets),
            None if failed && exit == Exit::Success => End::Exit(Exit::Internal),
            None => End::Exit(exit),
        })
    }
}

/// Takes over what the configuration says now, without holding anything up.
fn reload(running: &Running) {
    let Some(control) = running.control() else {
        tracing::warn!("this node serves no clients: nothing is reloaded");
        return;
    };
    control.on_signal();
}

fn end(report: &StopReport, unwritten: u64) -> Exit {
    if report.lost > 0 || report.dropped > 0 {
        output::error(format_args!(
            "stopped with {} events undelivered and {} refused by the store",
            report.lost, report.dropped
        ));
        return Exit::EventsLost;
    }
    if unwritten > 0 {
        output::error(format_args!(
            "stopped with {unwritten} bytes of events that were set aside and are not on disk"
        ));
        return Exit::EventsLost;
    }
    if report.on_disk > 0 {
        tracing::info!(
            delivered = report.delivered,
            on_disk = report.on_disk,
            "stopped; nothing was lost: what is on disk is delivered by the next start"
        );
        return Exit::Success;
    }
    tracing::info!(delivered = report.delivered, "stopped; nothing was lost");
    Exit::Success
}

/// The failure of a service that could not start.
pub(super) fn start_failure(error: &StartError) -> Failure {
    let exit = match error {
        StartError::Bind(_)
        | StartError::Edge(EdgeError::Bind(_) | EdgeError::Threads(_))
        | StartError::Socket { .. }
        | StartError::UnknownSocket(_) => Exit::Unavailable,
        StartError::DataDir { .. }
        | StartError::Key(_)
        | StartError::Logstore(_)
        | StartError::AdminToken(_)
        | StartError::Quarantine(_)
        | StartError::Spool(_)
        | StartError::Identity(IdentityError::State(_)) => Exit::DataDir,
        StartError::Edge(EdgeError::Tls { .. })
        | StartError::SpoolKey(_)
        | StartError::UpstreamSecret { .. }
        | StartError::Upstream { .. }
        | StartError::Quality(_)
        | StartError::Traces(_)
        | StartError::Identity(
            IdentityError::Trust(_) | IdentityError::Limits(_) | IdentityError::Quality(_),
        ) => Exit::Config,
    };
    Failure::new(exit, error)
}

/// The program as it was started, to be pasted.
fn program() -> String {
    std::env::args()
        .next()
        .unwrap_or_else(|| "tollgate".to_owned())
}

/// Writes the log of this process to standard error.
///
/// # Errors
/// When `log.level` cannot be read, or no thread can be had.
pub(super) fn start_log(log: &Log) -> Result<(), Failure> {
    let rules = LogRules {
        level: &log.level,
        json: log.format == LogFormat::Json,
        colours: output::colour(&io::stderr()),
    };
    telemetry::log::start(rules).map_err(|error| match error {
        LevelError::Log(_) => Failure::new(Exit::Internal, error),
        error => Failure::new(Exit::Config, format!("log.level: {error}")),
    })
}
