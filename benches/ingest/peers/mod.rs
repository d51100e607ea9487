//! Peers: other servers that check the token of a request, ask a limit, read the body and answer.
//! `HAProxy` and nginx as they are installed, with a configuration made for the run, and programs by path.
//!
//! Each is a tree of processes in the foreground, on a port of loopback, and is killed when dropped.
//! Not here: JSON, schemas, and a store, which none of them has.

pub mod report;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tempfile::TempDir;
use tollgate::config::Config;

use crate::machine::{self, Process};
use crate::scenario::{Peers, Scenario};
use crate::servers::WORKERS;
use crate::tell;
use crate::traffic::{self, Tokens};
use crate::wire;

/// The environment variable that names the file of the key of the tokens.
const KEY_FILE: &str = "HS256_KEY_FILE";
/// Where Debian has nginx's modules.
const NGINX_MODULES: &str = "/usr/lib/nginx/modules";
/// Where Debian has servers, which is not on everybody's `PATH`.
const SERVERS: &str = "/usr/sbin";
/// How long a peer may take until its port takes connections.
const START: Duration = Duration::from_secs(10);
/// How long it may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(2);
/// How much of the end of its output is shown.
const SHOWN: u64 = 2048;

/// Which peers are measured.
#[derive(Debug, clap::Args)]
pub struct Choice {
    /// Measure the peers that are installed as well: haproxy and nginx.
    #[arg(long)]
    peers: bool,
    /// Measure this program as a peer as well; may be repeated. It is started with an address to
    /// listen on; `HS256_KEY_FILE` names the file of the key that tokens are signed with.
    #[arg(long, value_name = "NAME=PROGRAM", value_parser = named)]
    peer: Vec<Found>,
}

fn named(text: &str) -> Result<Found, String> {
    match text.split_once('=') {
        Some((name, program)) if !name.is_empty() && !program.is_empty() => Ok(Found {
            name: name.to_owned(),
            program: program.into(),
            kind: Kind::Program,
        }),
        _ => Err("NAME=PROGRAM".to_owned()),
    }
}

impl Choice {
    /// The peers to start, no two of one name. Tells which are not installed.
    pub fn found(&self) -> anyhow::Result<Vec<Found>> {
        let mut found = Vec::new();
        if self.peers {
            for program in ["haproxy", "nginx"] {
                match installed(program) {
                    Some(path) => found.push(Found::known(program, path)),
                    None => tell(format_args!("{program} is not installed")),
                }
            }
        }
        found.extend(self.peer.iter().cloned());
        let mut names = BTreeSet::new();
        if let Some(twice) = found.iter().find(|peer| !names.insert(&peer.name)) {
            bail!("two peers have the name `{}`", twice.name);
        }
        Ok(found)
    }
}

fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([SERVERS.into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Haproxy,
    NginxLua,
    NginxEmpty,
    Program,
}

/// A peer that can be started.
#[derive(Clone, Debug)]
pub struct Found {
    name: String,
    program: PathBuf,
    kind: Kind,
}

impl Found {
    fn known(program: &str, path: PathBuf) -> Self {
        let has_lua = Path::new(NGINX_MODULES).join("ngx_http_lua_module.so");
        let (name, kind) = match program {
            "haproxy" => ("haproxy", Kind::Haproxy),
            _ if has_lua.is_file() => ("nginx-lua", Kind::NginxLua),
            _ => ("nginx-empty", Kind::NginxEmpty),
        };
        Self {
            name: name.to_owned(),
            program: path,
            kind,
        }
    }

    /// The command that runs it on this address, and its configuration in the folder.
    fn command(
        &self,
        folder: &Path,
        listen: SocketAddr,
        key: &str,
        workers: usize,
    ) -> anyhow::Result<Command> {
        let key_file = folder.join("key");
        std::fs::write(&key_file, key)?;
        let text = match self.kind {
            Kind::Haproxy => include_str!("haproxy.cfg"),
            Kind::NginxLua => include_str!("nginx-lua.conf"),
            Kind::NginxEmpty => include_str!("nginx-empty.conf"),
            Kind::Program => "",
        };
        let place = folder.to_str().context("a folder's name is no text")?;
        let text = text
            .replace("@folder@", place)
            .replace("@listen@", &listen.to_string())
            .replace("@workers@", &workers.to_string())
            .replace("@modules@", NGINX_MODULES)
            .replace("@key_file@", KEY_FILE)
            .replace("@key@", key);
        let config = folder.join("config");
        std::fs::write(&config, text)?;
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Haproxy => command.args(["-db", "-f"]).arg(&config),
            Kind::NginxLua | Kind::NginxEmpty => command
                .args(["-e", "stderr", "-p", place, "-c"])
                .arg(&config),
            Kind::Program => command.arg(listen.to_string()),
        };
        command.env(KEY_FILE, key_file);
        Ok(command)
    }

    /// What it says of itself, where that is known to be harmless to ask.
    fn version(&self) -> Option<String> {
        if self.kind == Kind::Program {
            return None;
        }
        let told = Command::new(&self.program).arg("-v").output().ok()?;
        let text = [told.stdout, told.stderr].concat();
        let first = String::from_utf8_lossy(&text).lines().next()?.to_owned();
        Some(first)
    }
}

/// What peers are started with.
pub struct Setting {
    workers: usize,
    key: String,
    good: Vec<u8>,
    forged: Vec<u8>,
}

impl Setting {
    /// With the tokens of this gateway.
    pub fn new(config: &Config, workers: usize) -> anyhow::Result<Self> {
        let key = traffic::signing_key(config)?;
        let key = key.secret.expose_text().unwrap_or_default().to_owned();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            bail!("the key of the tokens cannot stand in a peer's configuration");
        }
        let request = |tokens| {
            let requests = traffic::requests(config, tokens, 1)?;
            requests.into_iter().next().context("no request")
        };
        Ok(Self {
            workers,
            key,
            good: request(Tokens::Good)?,
            forged: request(Tokens::Forged)?,
        })
    }
}

/// What a run was with.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    name: String,
    program: PathBuf,
    version: Option<String>,
    checks_tokens: bool,
}

impl Description {
    /// Prints it.
    pub fn print(&self) {
        let version = self.version.as_deref();
        tell(format_args!(
            "{}: {}, {}{}",
            self.name,
            self.program.display(),
            version.map(|it| format!("{it}, ")).unwrap_or_default(),
            if self.checks_tokens {
                "checks tokens"
            } else {
                "does NOT check tokens: left out where they are wrong"
            },
        ));
    }
}

/// A peer that runs.
#[derive(Debug)]
pub struct Peer {
    found: Found,
    child: RefCell<Child>,
    /// Its processes when it was last seen to run.
    processes: RefCell<Vec<Process>>,
    folder: TempDir,
    /// Where it takes requests.
    pub ingest: SocketAddr,
    /// Whether a forged token is refused.
    pub checks_tokens: bool,
}

impl Peer {
    /// Starts one, and sees that it takes a good request, and what it does about a forged token.
    pub fn start(found: &Found, setting: &Setting) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let ingest = free_address()?;
        let mut command = found.command(folder.path(), ingest, &setting.key, setting.workers)?;
        let output = File::create(folder.path().join("output"))?;
        let child = command
            .env(WORKERS, setting.workers.to_string())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("peer `{}`: cannot start {command:?}", found.name))?;
        let mut peer = Self {
            found: found.clone(),
            child: RefCell::new(child),
            processes: RefCell::default(),
            folder,
            ingest,
            checks_tokens: false,
        };
        let checks_tokens = peer.blamed("its start", || {
            peer.wait_until_ready()?;
            peer.try_out(setting)
        })?;
        peer.checks_tokens = checks_tokens;
        Ok(peer)
    }

    fn wait_until_ready(&self) -> anyhow::Result<()> {
        let until = Instant::now() + START;
        while TcpStream::connect_timeout(&self.ingest, START).is_err() {
            self.still_runs()?;
            if Instant::now() > until {
                bail!("no connection to {} within {START:?}", self.ingest);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.still_runs()
    }

    /// Whether it checks tokens.
    fn try_out(&self, setting: &Setting) -> anyhow::Result<bool> {
        let (good, text) = wire::ask(self.ingest, &setting.good)?;
        if good != 200 {
            bail!("a good request was answered with {good}, not 200: {text:?}");
        }
        let (forged, text) = wire::ask(self.ingest, &setting.forged)?;
        match (self.found.kind, forged) {
            (Kind::Haproxy | Kind::NginxLua | Kind::Program, 401) => Ok(true),
            (Kind::NginxEmpty | Kind::Program, 200) => Ok(false),
            _ => bail!("a forged token was answered with {forged}, not 401: {text:?}"),
        }
    }

    /// Its name in reports.
    pub fn name(&self) -> &str {
        &self.found.name
    }

    /// The first of its processes.
    pub fn pid(&self) -> u32 {
        self.child.borrow().id()
    }

    /// Whether it is measured in this scenario.
    pub fn does(&self, scenario: &Scenario) -> bool {
        scenario.peers != Peers::Absent
            && (self.checks_tokens || scenario.traffic.tokens == Tokens::Good)
    }

    /// What Tollgate's processor time is to be of its own, for one event.
    pub fn goal(&self) -> Option<f64> {
        match self.found.kind {
            Kind::Haproxy => Some(0.8),
            Kind::NginxLua => Some(0.7),
            Kind::NginxEmpty | Kind::Program => None,
        }
    }

    /// What a run was with.
    pub fn description(&self) -> Description {
        Description {
            name: self.found.name.clone(),
            program: self.found.program.clone(),
            version: self.found.version(),
            checks_tokens: self.checks_tokens,
        }
    }

    /// An error when its first process has ended.
    pub fn still_runs(&self) -> anyhow::Result<()> {
        if let Some(status) = self.child.borrow_mut().try_wait()? {
            bail!("it has ended ({status})");
        }
        self.processes.replace(machine::tree(self.pid())?);
        Ok(())
    }

    /// Does something with it. What goes wrong is told with its name and the end of its output.
    pub fn blamed<T>(
        &self,
        what: &str,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        work().map_err(|error| {
            // A connection that broke says less than the end of the process.
            let ended = self.still_runs().err().map(|it| it.to_string());
            let ended = ended.filter(|it| *it != error.to_string());
            let ended = ended.map(|it| format!("; {it}")).unwrap_or_default();
            let said = self.said().unwrap_or_default();
            let said = match said.trim() {
                "" => "it said nothing".to_owned(),
                text => format!("it said:\n{text}"),
            };
            anyhow::anyhow!("peer `{}` in {what}: {error:#}{ended}; {said}", self.name())
        })
    }

    /// The end of its output.
    fn said(&self) -> anyhow::Result<String> {
        let mut file = File::open(self.folder.path().join("output"))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(SHOWN)))?;
        let mut end = Vec::new();
        file.take(SHOWN).read_to_end(&mut end)?;
        Ok(String::from_utf8_lossy(&end).into_owned())
    }
}

impl Drop for Peer {
    /// The first process stops the others when it is asked to; what is left is killed, also what has
    /// another parent by now.
    fn drop(&mut self) {
        if self.still_runs().is_ok() {
            let pid = Pid::from_child(self.child.get_mut());
            kill_process(pid, Signal::TERM).unwrap_or_default();
            let until = Instant::now() + STOP;
            while self.still_runs().is_ok() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let child = self.child.get_mut();
        drop(child.kill());
        drop(child.wait());
        for process in self.processes.take() {
            process.kill();
        }
    }
}

/// An address of loopback that nobody listens on. Peers cannot tell one that they chose.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
