//! The servers under measurement, each a process of its own: bare hyper, and Tollgate's gateway with
//! its embedded logstore in a third process. All are killed when dropped.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;
use tollgate::config::Config;
use tollgate::foundation::units::Span;

use crate::setup::Certificate;

/// What the line says that ends a server's first output.
pub const READY: &str = "Ctrl-C stops it";

/// Tokio takes the number of its worker threads from here, in all servers.
pub const WORKERS: &str = "TOKIO_WORKER_THREADS";

/// How long Tollgate may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(10);

/// A server process.
#[derive(Debug)]
pub struct Server {
    child: Child,
    banner: String,
}

impl Server {
    /// Starts a server and waits until it says that it is ready. Its log goes to `log`.
    fn start(mut command: Command, workers: usize, log: &Path) -> anyhow::Result<Self> {
        let mut child = command
            .env(WORKERS, workers.to_string())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(log)?)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let mut lines = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut server = Self {
            child,
            banner: String::new(),
        };
        while !server.banner.contains(READY) {
            if lines.read_line(&mut server.banner)? == 0 {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                bail!("{command:?} did not start:\n{}{said}", server.banner);
            }
        }
        Ok(server)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The address of a listener, as its first output names it.
    fn address(&self, what: &str) -> anyhow::Result<SocketAddr> {
        self.banner
            .lines()
            .find_map(|line| {
                let rest = line.trim_start().strip_prefix(what)?.trim_start();
                rest.strip_prefix("http://")
                    .or_else(|| rest.strip_prefix("https://"))?
                    .split(' ')
                    .next()?
                    .parse()
                    .ok()
            })
            .with_context(|| format!("`{what}` is missing in:\n{}", self.banner))
    }
}

impl Server {
    /// Asks it to stop, and waits so long at most. A server built to write down what it ran does that at
    /// its end (`deploy/release/build`).
    fn stop(&mut self, deadline: Duration) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        let until = Instant::now() + deadline;
        while self.child.try_wait()?.is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Bare hyper: this program again, with another argument.
#[derive(Debug)]
pub struct Bare {
    server: Server,
    _folder: TempDir,
    /// Where it takes requests.
    pub ingest: SocketAddr,
}

impl Bare {
    /// Starts one that answers everything with this status, over TLS when it has a certificate; with so
    /// many workers of one runtime, or each with a runtime of its own.
    pub fn start(
        (workers, own_threads): (usize, bool),
        status: u16,
        certificate: Option<&Certificate>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["hyper-bare", &status.to_string()]);
        if own_threads {
            command.arg("--own-threads");
        }
        if let Some(certificate) = certificate {
            command.arg("--cert").arg(&certificate.cert);
            command.arg("--key").arg(&certificate.key);
        }
        let server = Server::start(command, workers, &folder.path().join("bare.log"))?;
        let ingest = server.address("events in")?;
        Ok(Self {
            server,
            _folder: folder,
            ingest,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }
}

/// Tollgate as it is built for release, and the store that it delivers to.
#[derive(Debug)]
pub struct Tollgate {
    gateway: Server,
    /// `None` while it is down.
    logstore: Option<Server>,
    workers: usize,
    folder: TempDir,
    /// The configuration of both processes.
    pub config: Config,
    /// Where it takes requests.
    pub ingest: SocketAddr,
    admin: SocketAddr,
}

impl Tollgate {
    /// Starts both on the built-in configuration, in a data directory of their own. `change` may
    /// change it before.
    pub fn start(
        workers: usize,
        change: impl FnOnce(&mut Config) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut config = Config::quickstart();
        config.data_dir = folder.path().join("data");
        // The generator keeps its connections for the whole run.
        config.ingest.max_requests = u32::MAX;
        config.ingest.max_connections_per_prefix = config.ingest.max_connections;
        // What a refusal costs is measured, not how long its client is made to wait.
        config.ingest.refusal_delay = Span::default();
        change(&mut config)?;
        // Made before the processes start, so that both find the same keys.
        tollgate::gate::identity::load_jwt_keys(&config.identity, &config.data_dir)?;
        config.embedded.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let logstore = start_part(folder.path(), "logstore", &config, workers)?;
        config.embedded.listen = logstore.address("logstore")?;
        let gateway = start_part(folder.path(), "gateway", &config, workers)?;
        let ingest = gateway.address("events in")?;
        let admin = gateway.address("private")?;
        Ok(Self {
            gateway,
            logstore: Some(logstore),
            workers,
            folder,
            config,
            ingest,
            admin,
        })
    }

    /// Process id of the gateway.
    pub fn pid(&self) -> u32 {
        self.gateway.pid()
    }

    /// Process id of the store.
    pub fn logstore_pid(&self) -> u32 {
        self.logstore.as_ref().map_or(0, Server::pid)
    }

    /// Kills the store.
    pub fn stop_store(&mut self) {
        self.logstore = None;
    }

    /// Starts the store again, where it was.
    pub fn start_store(&mut self) -> anyhow::Result<()> {
        let started = start_part(self.folder.path(), "logstore", &self.config, self.workers);
        self.logstore = Some(started?);
        Ok(())
    }

    /// What the gateway counted so far.
    pub fn counts(&self) -> anyhow::Result<Counts> {
        let text = get(self.admin, "/metrics")?;
        let total = |family: &str| sum_of(&text, family);
        Ok(Counts {
            accepted: total("tollgate_events_accepted_total"),
            delivered: total("tollgate_events_delivered_total"),
            dropped: total("tollgate_events_dropped_total"),
            held: total("tollgate_events_held"),
            retries: total("tollgate_delivery_retries_total"),
        })
    }

    /// The sum of a family of metrics.
    pub fn total(&self, family: &str) -> anyhow::Result<u64> {
        Ok(sum_of(&get(self.admin, "/metrics")?, family))
    }

    /// How many series the gateway's metrics have.
    pub fn series(&self) -> anyhow::Result<usize> {
        let text = get(self.admin, "/metrics")?;
        let is_series = |line: &&str| !line.is_empty() && !line.starts_with('#');
        Ok(text.lines().filter(is_series).count())
    }

    /// Waits until nothing is held. Returns the last counts either way.
    pub fn settle(&self, deadline: Duration) -> anyhow::Result<Counts> {
        let until = Instant::now() + deadline;
        loop {
            let counts = self.counts()?;
            if counts.held == 0 || Instant::now() > until {
                return Ok(counts);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Tollgate {
    /// The gateway stops first, while its store is there.
    fn drop(&mut self) {
        drop(self.gateway.stop(STOP));
        if let Some(store) = &mut self.logstore {
            drop(store.stop(STOP));
        }
    }
}

/// Events by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// In requests answered with 200.
    pub accepted: u64,
    /// Acknowledged by the store.
    pub delivered: u64,
    /// Given up.
    pub dropped: u64,
    /// Not yet delivered.
    pub held: u64,
    /// Attempts that failed and were repeated.
    pub retries: u64,
}

/// The environment variable that names another binary than the release build, as for the tests.
const BINARY: &str = "TOLLGATE_BIN";

/// The binary under measurement.
pub fn binary() -> PathBuf {
    std::env::var_os(BINARY).map_or_else(|| env!("CARGO_BIN_EXE_tollgate").into(), PathBuf::from)
}

/// Starts a gateway without its store, or the store alone.
fn start_part(
    folder: &Path,
    only: &str,
    config: &Config,
    workers: usize,
) -> anyhow::Result<Server> {
    let path = write_config(folder, only, config)?;
    let mut command = Command::new(binary());
    command.args(["run", "--only", only, "--admin-listen", "127.0.0.1:0"]);
    command
        .args(["--listen", "127.0.0.1:0", "--config"])
        .arg(path);
    Server::start(command, workers, &folder.join(format!("{only}.log")))
}

fn write_config(folder: &Path, name: &str, config: &Config) -> anyhow::Result<PathBuf> {
    let path = folder.join(format!("{name}.toml"));
    std::fs::write(&path, toml::to_string(config)?)?;
    Ok(path)
}

/// The sum over all series of a family.
fn sum_of(metrics: &str, family: &str) -> u64 {
    metrics
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(family)?;
            let value = match rest.strip_prefix('{') {
                Some(labels) => labels.rsplit_once('}')?.1,
                None => rest,
            };
            value.strip_prefix(' ')?.parse::<u64>().ok()
        })
        .sum()
}

fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .context("no answer from the private listener")?;
    Ok(body.to_owned())
}
