//! The real binary on free ports, and HTTP over raw sockets: what is sent is what stands here.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support"
)]
#![expect(dead_code, reason = "each test file uses its part of the support")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub const PROJECT: &str = "sls-webtracking-mini";
pub const GUARDED: &str = "web-tracking-logstore";
pub const OPEN: &str = "anonymous-demo";

/// A running `tollgate`, killed when dropped.
pub struct Tollgate {
    child: Child,
    pub ingest: Option<SocketAddr>,
    pub admin: SocketAddr,
    pub logstore: Option<SocketAddr>,
    pub banner: String,
    stderr: PathBuf,
    data: Data,
}

pub enum Data {
    Own(tempfile::TempDir),
    Kept(PathBuf),
}

impl Data {
    pub fn path(&self) -> &Path {
        match self {
            Self::Own(folder) => folder.path(),
            Self::Kept(path) => path,
        }
    }
}

/// A configuration that delivers to a store by its protocol, with short pauses, and more for its batches and
/// its upstream. It ends in the section of its logstore.
pub fn delivering_to(store: SocketAddr, secret: &Path, (batch, upstream): (&str, &str)) -> String {
    format!(
        r#"
[admin]
listen = "127.0.0.1:1"
[ingest]
default_project = "{PROJECT}"
[batch]
{batch}
[delivery]
backoff_min = "5ms"
backoff_max = "50ms"
[delivery.breaker]
pause_min = "50ms"
pause_max = "100ms"
[[upstream]]
name = "store"
kind = "sls"
endpoint = "http://{store}"
{upstream}
access_key_secret = "file:{secret}"
[[project]]
name = "{PROJECT}"
upstream = "store"
[[project.logstore]]
name = "{OPEN}"
accept = ["anonymous"]
"#,
        secret = secret.display(),
    )
}

/// Waits for something that has to come.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.env("NO_COLOR", "1");
    command
}

impl Tollgate {
    /// On built-in defaults, in a folder of its own.
    pub fn start() -> Self {
        Self::start_with(Data::Own(tempfile::tempdir().unwrap()), &[])
    }

    /// On a configuration.
    pub fn start_config(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, config).unwrap();
        let path = path.to_str().unwrap().to_owned();
        Self::start_with(Data::Own(folder), &["--config", &path])
    }

    /// On a configuration with one project of these logstores, of which clients may come with minted
    /// tokens, and these limits.
    pub fn start_quotas(logstores: &str, limits: &str) -> Self {
        Self::start_config(&format!(
            r#"
[ingest]
default_project = "{PROJECT}"

[identity.cookies]
allow = ["visitor"]

[[identity.jwt]]
kid = "quickstart"
issuer = "tollgate"
audience = "tollgate"

[[upstream]]
name = "store"
kind = "embedded"

[[project]]
name = "{PROJECT}"
upstream = "store"

{logstores}
{limits}
"#
        ))
    }

    pub fn start_with(data: Data, arguments: &[&str]) -> Self {
        Self::spawn(data, binary(), arguments)
    }

    /// On a configuration, with limits set by the shell: `ulimit -n 512`.
    pub fn start_limited(limits: &str, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, config).unwrap();
        let path = path.to_str().unwrap().to_owned();
        let mut command = Command::new("sh");
        command.env("NO_COLOR", "1");
        command.args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")]);
        command.arg(env!("CARGO_BIN_EXE_tollgate"));
        Self::spawn(Data::Own(folder), command, &["--config", &path])
    }

    /// With a file system of its own of `size` (as `mount` reads it) at `folder` of the data directory,
    /// which nobody else sees. `None` where this machine does not allow that.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    pub fn start_small(data: Data, folder: &str, size: &str, arguments: &[&str]) -> Option<Self> {
        let place = data.path().join(folder);
        std::fs::create_dir_all(&place).unwrap();
        let mount = format!("mount -t tmpfs -o size={size} tmpfs '{}'", place.display());
        let probe = Command::new("unshare")
            .args(["-m", "sh", "-c", &mount])
            .output();
        if !probe.is_ok_and(|it| it.status.success()) {
            eprintln!(
                "skipped: no file system can be mounted here; src/pipeline/spool/tests has a simulated one"
            );
            return None;
        }
        let mut command = Command::new("unshare");
        command.env("NO_COLOR", "1");
        command.args(["-m", "sh", "-c", &format!("{mount} && exec \"$0\" \"$@\"")]);
        command.arg(env!("CARGO_BIN_EXE_tollgate"));
        Some(Self::spawn(data, command, arguments))
    }

    /// With a file of hosts of its own in the place of `/etc/hosts`: who writes into that file changes
    /// what names stand for. `None` where this machine does not allow that.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    pub fn start_with_hosts(data: Data, hosts: &Path, arguments: &[&str]) -> Option<Self> {
        let mount = format!("mount --bind '{}' /etc/hosts", hosts.display());
        let probe = Command::new("unshare")
            .args(["-m", "sh", "-c", &mount])
            .output();
        if !probe.is_ok_and(|it| it.status.success()) {
            eprintln!("skipped: /etc/hosts cannot be put in the place of here");
            return None;
        }
        let mut command = Command::new("unshare");
        command.env("NO_COLOR", "1");
        command.args(["-m", "sh", "-c", &format!("{mount} && exec \"$0\" \"$@\"")]);
        command.arg(env!("CARGO_BIN_EXE_tollgate"));
        Some(Self::spawn(data, command, arguments))
    }

    /// A path as the process sees it, which may have mounts of its own.
    pub fn inside(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid()));
        root.join(path.strip_prefix("/").unwrap())
    }

    /// Bytes of memory that the process has now.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() * 1024
    }

    fn spawn(data: Data, mut command: Command, arguments: &[&str]) -> Self {
        let stderr = data
            .path()
            .join(format!("stderr-{}.log", std::process::id()));
        // A store that comes back is to have its old address.
        let logstore: &[&str] = match arguments.contains(&"--logstore-listen") {
            true => &[],
            false => &["--logstore-listen", "127.0.0.1:0"],
        };
        let mut child = command
            .args([
                "run",
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
            ])
            .args(logstore)
            .arg("--data-dir")
            .arg(data.path())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        let mut banner = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !banner.contains("Ctrl-C stops it") {
            if lines.read_line(&mut banner).unwrap() == 0 {
                let log = std::fs::read_to_string(&stderr).unwrap();
                panic!(
                    "tollgate did not start: {:?}\n{banner}\n{log}",
                    child.wait()
                );
            }
        }
        let address = |what: &str| {
            banner.lines().find_map(|line| {
                let rest = line.trim_start().strip_prefix(what)?.trim_start();
                rest.strip_prefix("http://")
                    .or(rest.strip_prefix("https://"))?
                    .split(' ')
                    .next()?
                    .parse()
                    .ok()
            })
        };
        Self {
            ingest: address("events in"),
            admin: address("private").expect("an admin address"),
            logstore: address("logstore"),
            banner,
            stderr,
            data,
            child,
        }
    }

    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged. A thread of its own writes the lines, a moment after what they tell of; so
    /// this waits for a moment.
    pub fn stderr(&self) -> String {
        std::thread::sleep(Duration::from_millis(30));
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    /// A token for the guarded logstore, as the command line mints it.
    pub fn token(&self) -> String {
        mint(self.data_dir(), GUARDED)
    }

    /// Sends one request to the front and reads the answer.
    pub fn send(&self, head: &str, body: &[u8]) -> Answer {
        exchange(self.ingest.unwrap(), head, body)
    }

    /// `POST` of a JSON body to a logstore's track route.
    pub fn track(&self, logstore: &str, extra: &str, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let head = format!(
            "POST /logstores/{logstore}/track HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{extra}\r\n",
            body.len()
        );
        self.send(&head, body)
    }

    pub fn get(&self, target: &str) -> Answer {
        self.send(
            &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            b"",
        )
    }

    pub fn admin_get(&self, path: &str) -> Answer {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        exchange(self.admin, &head, b"")
    }

    pub fn metrics(&self) -> String {
        exchange(
            self.admin,
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"",
        )
        .text()
    }

    /// The value of a metric line that begins so; 0 when there is none.
    pub fn metric(&self, line: &str) -> u64 {
        let text = self.metrics();
        let value = text
            .lines()
            .find_map(|l| l.strip_prefix(line)?.trim().parse().ok());
        value.unwrap_or(0)
    }

    /// Waits until a logstore has so many events, and reads them with `tollgate tail`.
    pub fn events(&self, logstore: &str, count: usize) -> Vec<serde_json::Value> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let events = tail(self, logstore);
            if events.len() >= count || Instant::now() > deadline {
                assert_eq!(
                    events.len(),
                    count,
                    "events of {logstore}: {events:#?}\n{}",
                    self.stderr()
                );
                return events;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn signal(&self, name: &str) {
        // The shell has it built in: no package is needed.
        let kill = format!("kill {name} {}", self.pid());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(40);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("tollgate does not end\n{}", self.stderr());
    }

    /// SIGTERM, and the end of the process.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("-TERM");
        self.wait()
    }
}

impl Drop for Tollgate {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub fn mint(data_dir: &Path, logstore: &str) -> String {
    let output = binary()
        .args([
            "token",
            "mint",
            "--project",
            PROJECT,
            "--logstore",
            logstore,
            "--data-dir",
        ])
        .arg(data_dir)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn tail(tollgate: &Tollgate, logstore: &str) -> Vec<serde_json::Value> {
    let url = format!("http://{}", tollgate.logstore.unwrap());
    let output = binary()
        .args([
            "tail",
            "--project",
            PROJECT,
            "--logstore",
            logstore,
            "--logstore-url",
            &url,
        ])
        .args(["--from", "begin", "--format", "json", "--data-dir"])
        .arg(tollgate.data_dir())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// An answer as it came over the socket.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// Status and reason of a refusal, after checking what every refusal must have.
    pub fn refusal(&self) -> (u16, String, String) {
        assert_eq!(
            self.header("content-type"),
            Some("application/json"),
            "{self:?}"
        );
        assert!(
            self.header("access-control-allow-origin").is_some(),
            "{self:?}"
        );
        let json = self.json();
        assert!(json["errorMessage"].as_str().unwrap().len() > 10);
        let text = |key: &str| json[key].as_str().unwrap().to_owned();
        assert_eq!(
            self.header("x-tollgate-reason"),
            Some(text("reason").as_str())
        );
        (self.status, text("errorCode"), text("reason"))
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// Sends bytes and reads one answer.
pub fn exchange(address: SocketAddr, head: &str, body: &[u8]) -> Answer {
    let mut stream = connect(address);
    // An early refusal may close the connection while the body is still on its way.
    drop(
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body)),
    );
    read_answer(&mut stream)
}

/// Sends bytes, closes the sending side and reads what comes.
pub fn exchange_cut(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    drop(stream.write_all(bytes));
    drop(stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    answer
}

pub fn read_answer(stream: &mut impl Read) -> Answer {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    loop {
        let mut line = String::new();
        let read = reader.read_line(&mut line);
        assert!(
            matches!(read, Ok(1..)),
            "the connection ended before an answer: {read:?} after {head:?}"
        );
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut lines = head.lines();
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers: BTreeMap<String, String> = lines
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        })
        .collect();
    let length = headers
        .get("content-length")
        .map_or(0, |v| v.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Answer {
        status,
        headers,
        head,
        body,
    }
}

/// A raw LZ4 block of literals only: legal, and made without an encoder.
pub fn lz4_literals(plain: &[u8]) -> Vec<u8> {
    assert!(plain.len() >= 15);
    let mut block = vec![0xf0];
    let mut rest = plain.len() - 15;
    while rest >= 255 {
        block.push(255);
        rest -= 255;
    }
    block.push(u8::try_from(rest).unwrap());
    block.extend_from_slice(plain);
    block
}
