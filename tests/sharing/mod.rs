//! A real redis-server, nodes in this process, and a tunnel that can be cut.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test support"
)]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test file uses its part"
)]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tollgate::config::Config;
use tollgate::gate::quota::shared::{Ledger, Store};
use tollgate::gate::quota::{Facts, Limit, Quotas, TooMuch};

/// Whether there is a redis-server. On CI there has to be one.
pub fn redis_is_there() -> bool {
    let found = Command::new("redis-server")
        .arg("--version")
        .output()
        .is_ok();
    if !found {
        let ci = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(!ci, "redis-server is not installed");
        eprintln!("skipped: install redis-server (./test install) to run this");
    }
    found
}

/// Waits for something that comes within seconds.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(15);
    while !is_so() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A redis-server, killed when dropped.
pub struct Redis {
    child: Child,
    pub port: u16,
    more: Vec<String>,
}

impl Redis {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(more: &[&str]) -> Self {
        let port = free_port();
        let more: Vec<String> = more.iter().map(|it| (*it).to_owned()).collect();
        let child = spawn(port, &more);
        let redis = Self { child, port, more };
        redis.wait();
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it at the same port, empty.
    pub fn start_again(&mut self) {
        self.child = spawn(self.port, &self.more);
        self.wait();
    }

    pub fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.args([&format!("-{name}"), &self.child.id().to_string()]);
        assert!(kill.status().unwrap().success());
    }

    /// Says something to it by redis-cli.
    pub fn tell(&self, words: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &self.port.to_string()]).args(words);
        String::from_utf8(cli.output().unwrap().stdout).unwrap()
    }

    fn wait(&self) {
        until("redis-server answers", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn spawn(port: u16, more: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args([
            "--save",
            "",
            "--appendonly",
            "no",
            "--repl-diskless-sync-delay",
            "0",
        ])
        .args(["--dir", std::env::temp_dir().to_str().unwrap()])
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The limits of one node, and its task that speaks with the store.
pub struct Node {
    pub quotas: Arc<Quotas>,
    pub store: Arc<Store>,
    runtime: Option<Runtime>,
    stop: CancellationToken,
}

impl Node {
    /// A node with these limits.
    pub fn start(urls: &[String], nodes: u32, limits: &str) -> Self {
        Self::start_with(urls, nodes, limits, Vec::new())
    }

    pub fn start_with(
        urls: &[String],
        nodes: u32,
        limits: &str,
        ledgers: Vec<Arc<dyn Ledger>>,
    ) -> Self {
        let text = format!(
            "{}\n[quota.redis]\nurls = {urls:?}\nnodes = {nodes}\n{limits}",
            include_str!("../../config/quickstart.toml")
        );
        let config = Config::parse(&text, "test.toml").unwrap_or_else(|it| panic!("{it}"));
        let redis = config.quota.store().unwrap();
        let store = Store::new(redis, format!("{:016x}", free_port()));
        let quotas = Quotas::with_store(&config, 7, Some(Arc::clone(&store))).unwrap();
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.spawn(Arc::clone(&store).run(ledgers, stop.clone()));
        Self {
            quotas,
            store,
            runtime: Some(runtime),
            stop,
        }
    }

    pub fn wait_until_up(&self) {
        until("the store is up", || self.store.status().is_up());
    }

    pub fn limit(&self) -> Arc<Limit> {
        Arc::clone(&self.quotas.set().all[0])
    }

    fn ask(&self, address: IpAddr, units: u64) -> Result<(), TooMuch> {
        let limit = self.limit();
        let facts = Facts::of_address(address);
        let hashes = limit.hashes(&facts, None);
        let text = || limit.key_text(&facts, None);
        let taken = limit.take(&hashes, units, false, self.quotas.now(), &text);
        taken.map(|_| ())
    }

    /// Asks for units. The error: nanoseconds to wait, if that helps.
    pub fn take(&self, address: IpAddr, units: u64) -> Result<(), Option<u64>> {
        match self.ask(address, units) {
            Ok(()) => Ok(()),
            Err(TooMuch::Full(full)) => Err(full.wait),
            Err(_) => Err(None),
        }
    }

    /// Whether it refuses because the store is down.
    pub fn is_closed(&self, address: IpAddr) -> bool {
        matches!(self.ask(address, 1), Err(TooMuch::StoreDown))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A way to a port that can be cut: nothing is carried then, and nothing is closed.
pub struct Tunnel {
    address: SocketAddr,
    is_cut: Arc<AtomicBool>,
}

impl Tunnel {
    pub fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let is_cut = Arc::new(AtomicBool::new(false));
        let cut = Arc::clone(&is_cut);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else {
                    continue;
                };
                for (from, to) in [
                    (near.try_clone().unwrap(), far.try_clone().unwrap()),
                    (far, near),
                ] {
                    let cut = Arc::clone(&cut);
                    std::thread::spawn(move || carry(from, to, &cut));
                }
            }
        });
        Self { address, is_cut }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, cut: &AtomicBool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        while cut.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}
