//! Sockets that are passed in, and the handover to a new image of the program: on the real binary,
//! under a steady load of new connections.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::{OPEN, PROJECT, binary, exchange};

const PATIENCE: Duration = Duration::from_secs(40);

/// A `tollgate` whose output goes to files, so that it outlives its image.
struct Service {
    child: Child,
    folder: tempfile::TempDir,
}

impl Service {
    fn start(mut command: Command, folder: tempfile::TempDir) -> Self {
        let file = |name: &str| std::fs::File::create(folder.path().join(name)).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Waits until a file of output has so many lines with a text.
    fn wait_for(&mut self, file: &str, text: &str, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.read(file).matches(text).count() < times {
            let ended = self.child.try_wait().unwrap();
            assert!(
                Instant::now() < deadline && ended.is_none(),
                "no `{text}` ({ended:?}):\n{}\n{}",
                self.read("stdout"),
                self.read("stderr")
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The address in the first banner.
    fn address(&self, what: &str) -> SocketAddr {
        let banner = self.read("stdout");
        let line = banner
            .lines()
            .find_map(|line| line.trim_start().strip_prefix(what))
            .unwrap();
        let line = line.trim_start().strip_prefix("http://").unwrap();
        line.split(' ').next().unwrap().parse().unwrap()
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill {name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success());
    }

    /// Sends a signal without anything that takes time.
    fn signal_now(&self, signal: Signal) {
        kill_process(pid(&self.child), signal).unwrap();
    }

    fn stop(&mut self) -> Option<i32> {
        self.signal("-TERM");
        self.ended()
    }

    /// How it ended, once it has.
    fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "{}", self.read("stderr"));
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The field `n` of every event in the open logstore.
    fn stored(&self, logstore: SocketAddr) -> BTreeSet<String> {
        let url = format!("http://{logstore}");
        let output = binary()
            .args([
                "tail",
                "--project",
                PROJECT,
                "--logstore",
                OPEN,
                "--logstore-url",
                &url,
            ])
            .args(["--from", "begin", "--format", "json", "--data-dir"])
            .arg(self.folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|event| event["n"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap()).unwrap()
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn on_free_ports(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("NO_COLOR", "1")
        .args([
            "run",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ])
        .args(["--logstore-listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder);
    command
}

/// Sends one event on a connection of its own; what was answered, or how it went wrong.
fn send(address: SocketAddr, n: &str) -> Result<u16, String> {
    let told = |error: std::io::Error| format!("{n}: {error}");
    let body = format!("{{\"__logs__\":[{{\"n\":\"{n}\"}}]}}");
    let mut stream = TcpStream::connect(address).map_err(told)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(told)?;
    let request = format!(
        "POST /logstores/{OPEN}/track HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).map_err(told)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(told)?;
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
    status.ok_or_else(|| format!("{n}: no answer in {answer:?}"))
}

/// New connections without a pause, from several threads, until it is stopped. Gives what was
/// acknowledged, and what went wrong.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<(Vec<String>, Vec<String>)>>,
}

impl Load {
    fn on(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let one = |thread: usize| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let (mut taken, mut wrong) = (Vec::new(), Vec::new());
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    let n = format!("{thread}-{count}");
                    count += 1;
                    match send(address, &n) {
                        Ok(200) => taken.push(n),
                        Ok(status) => wrong.push(format!("{n}: {status}")),
                        Err(error) => wrong.push(error),
                    }
                    // All of them together stay below what one address may open in a second.
                    thread::sleep(Duration::from_millis(6));
                }
                (taken, wrong)
            })
        };
        let threads = (0..4).map(one).collect();
        Self { stop, threads }
    }

    fn finish(self) -> (BTreeSet<String>, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut taken, mut wrong) = (BTreeSet::new(), Vec::new());
        for thread in self.threads {
            let (more, worse) = thread.join().unwrap();
            taken.extend(more);
            wrong.extend(worse);
        }
        (taken, wrong)
    }
}

fn assert_all_stored(service: &Service, logstore: SocketAddr, taken: &BTreeSet<String>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stored = service.stored(logstore);
        if taken.is_subset(&stored) {
            return;
        }
        let missing: Vec<_> = taken.difference(&stored).take(5).collect();
        assert!(Instant::now() < deadline, "not stored: {missing:?}");
        thread::sleep(Duration::from_millis(200));
    }
}

/// Asks for what is not there, on a connection that is to be kept: the head of the answer.
fn ask(stream: &mut TcpStream) -> String {
    stream
        .write_all(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn a_listener_that_the_next_configuration_does_not_have_ends_with_the_handover() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let text = std::fs::read_to_string("config/quickstart.toml").unwrap();
    let more = "[[ingest.listener]]\nname = \"more\"\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(&path, format!("{text}\n{more}")).unwrap();
    let mut command = on_free_ports(Path::new(env!("CARGO_BIN_EXE_tollgate")), folder.path());
    command.arg("--config").arg(&path);
    let mut service = Service::start(command, folder);
    service.wait_for("stdout", "Ctrl-C stops it", 1);
    let ingest = service.address("events in");
    let banner = service.read("stdout");
    let line = banner.lines().find(|it| it.trim_end().ends_with(" more"));
    let more = line.unwrap().split("http://").nth(1).unwrap();
    let more: SocketAddr = more.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(send(more, "there"), Ok(200));
    std::fs::write(&path, text).unwrap();
    service.signal("-USR2");
    service.wait_for("stderr", "no listener of this configuration", 1);
    service.wait_for("stdout", "Ctrl-C stops it", 2);
    assert_eq!(send(ingest, "goes on"), Ok(200));
    assert!(TcpStream::connect(more).is_err(), "nobody listens there");
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn a_handover_refuses_no_connection_and_loses_no_event() {
    let folder = tempfile::tempdir().unwrap();
    let command = on_free_ports(Path::new(env!("CARGO_BIN_EXE_tollgate")), folder.path());
    let mut service = Service::start(command, folder);
    service.wait_for("stdout", "Ctrl-C stops it", 1);
    let [ingest, logstore] = ["events in", "logstore"].map(|what| service.address(what));
    let pid = service.child.id();
    // One that has asked nothing yet when the handover begins, and one that stands idle.
    let mut early = TcpStream::connect(ingest).unwrap();
    let mut idle = TcpStream::connect(ingest).unwrap();
    ask(&mut idle);
    let load = Load::on(ingest);
    // Both hold no buffers by then.
    thread::sleep(Duration::from_millis(800));
    for handover in 1..=2 {
        service.signal("-USR2");
        service.wait_for("stderr", "handing over", handover);
        if handover == 1 {
            let answer = ask(&mut idle);
            assert!(answer.contains("connection: close"), "{answer}");
            early
                .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            early.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        }
        service.wait_for("stdout", "is ready", handover + 1);
        thread::sleep(Duration::from_millis(300));
    }
    let (taken, wrong) = load.finish();
    assert_eq!(wrong, Vec::<String>::new(), "{}", service.read("stderr"));
    assert!(taken.len() > 100, "{} events", taken.len());
    assert_eq!(service.child.id(), pid);
    let banner = service.read("stdout");
    let line = format!("http://{ingest}  POST");
    assert_eq!(banner.matches(&line).count(), 3, "{banner}");
    assert_all_stored(&service, logstore, &taken);
    assert_eq!(service.stop(), Some(0));
}

/// A copy of the program that can be replaced.
fn copy_of_program(folder: &Path) -> PathBuf {
    let program = folder.join("tollgate");
    std::fs::copy(env!("CARGO_BIN_EXE_tollgate"), &program).unwrap();
    program
}

/// Puts a file in the place of another at once, as an upgrade does.
fn put(program: &Path, contents: &str) {
    let new = program.with_extension("new");
    std::fs::write(&new, contents).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&new, program).unwrap();
}

#[test]
fn the_program_that_stands_there_now_takes_over_and_a_bad_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let program = copy_of_program(folder.path());
    let mut service = Service::start(on_free_ports(&program, folder.path()), folder);
    service.wait_for("stdout", "Ctrl-C stops it", 1);
    let ingest = service.address("events in");

    put(&program, "#!/bin/sh\nexit 3\n");
    service.signal("-USR2");
    service.wait_for("stderr", "nothing is handed over", 1);
    assert_eq!(send(ingest, "after-a-bad-one"), Ok(200));

    // A new version, which says that it ran.
    let mark = service.folder.path().join("ran");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = run ] && echo \"$LISTEN_PID $$\" > {}\nexec {} \"$@\"\n",
        mark.display(),
        env!("CARGO_BIN_EXE_tollgate")
    );
    put(&program, &script);
    service.signal("-USR2");
    service.wait_for("stdout", "is ready", 2);
    let pid = service.child.id();
    let ran = std::fs::read_to_string(mark).unwrap();
    assert_eq!(ran.trim(), format!("{pid} {pid}"));
    assert_eq!(send(ingest, "after-a-new-one"), Ok(200));
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn a_stop_ends_a_handover() {
    let folder = tempfile::tempdir().unwrap();
    let command = on_free_ports(Path::new(env!("CARGO_BIN_EXE_tollgate")), folder.path());
    let mut service = Service::start(command, folder);
    service.wait_for("stdout", "Ctrl-C stops it", 1);
    // It holds the handover up for as long as connections have to ask something.
    let silent = TcpStream::connect(service.address("events in")).unwrap();
    service.signal("-USR2");
    service.wait_for("stderr", "handing over", 1);
    assert_eq!(service.stop(), Some(0));
    assert!(service.read("stderr").contains("stopping instead"));
    assert_eq!(service.read("stdout").matches("is ready").count(), 1);
    drop(silent);
}

#[test]
fn a_reload_at_any_moment_of_a_handover_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let command = on_free_ports(Path::new(env!("CARGO_BIN_EXE_tollgate")), folder.path());
    let mut service = Service::start(command, folder);
    service.wait_for("stdout", "Ctrl-C stops it", 1);
    let ingest = service.address("events in");
    let pid = pid(&service.child);
    // From here on without a pause, through every moment of every handover.
    let over = Arc::new(AtomicBool::new(false));
    let reloads = {
        let over = Arc::clone(&over);
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                // It may have ended; that is noticed below.
                kill_process(pid, Signal::HUP).ok();
                thread::sleep(Duration::from_millis(1));
            }
        })
    };
    for handover in 1..=6 {
        service.signal("-USR2");
        service.wait_for("stdout", "is ready", handover + 1);
        assert_eq!(send(ingest, &format!("after-{handover}")), Ok(200));
    }
    over.store(true, Ordering::Relaxed);
    reloads.join().unwrap();
    assert_eq!(service.child.id(), pid.as_raw_pid().cast_unsigned());
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn a_stop_at_any_moment_of_a_handover_stops_and_loses_nothing() {
    for delay in [0, 1, 2, 4, 8, 12, 18, 25, 35, 50, 80, 130] {
        let folder = tempfile::tempdir().unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_tollgate"));
        let command = on_free_ports(program, folder.path());
        let mut service = Service::start(command, folder);
        service.wait_for("stdout", "Ctrl-C stops it", 1);
        let ingest = service.address("events in");
        let taken: BTreeSet<String> = (0..5).map(|n| n.to_string()).collect();
        for n in &taken {
            assert_eq!(send(ingest, n), Ok(200));
        }
        service.signal_now(Signal::USR2);
        while !service.read("stderr").contains("handing over") {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(delay));
        service.signal_now(Signal::TERM);
        let ended = service.ended();
        assert_eq!(ended, Some(0), "{delay}: {}", service.read("stderr"));

        // What was acknowledged is in the data folder, for whoever opens it next.
        let folder = std::mem::replace(&mut service.folder, tempfile::tempdir().unwrap());
        let command = on_free_ports(program, folder.path());
        let mut again = Service::start(command, folder);
        again.wait_for("stdout", "Ctrl-C stops it", 1);
        let logstore = again.address("logstore");
        assert_all_stored(&again, logstore, &taken);
        assert_eq!(again.stop(), Some(0));
    }
}

/// Listens, then becomes the program with the sockets from descriptor 3 on, as systemd does it. Says
/// the addresses first.
const ACTIVATE: &str = r#"
import os, socket, sys
names = sys.argv[1].split(":")
sockets = []
for name in names:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    if os.environ.get("ACTIVATE") != "bound":
        listening.listen(64)
    sockets.append(listening)
with open(sys.argv[2], "w") as told:
    told.write("".join("127.0.0.1:%d\n" % s.getsockname()[1] for s in sockets))
high = [os.dup2(s.fileno(), 100 + i) for i, s in enumerate(sockets)]
for i, descriptor in enumerate(high):
    os.dup2(descriptor, 3 + i, inheritable=True)
    os.close(descriptor)
pid = {"nobody": "", "another": "1", "nonsense": "x"}
os.environ["LISTEN_PID"] = pid.get(os.environ.get("ACTIVATE"), str(os.getpid()))
os.environ["LISTEN_FDS"] = str(len(names))
os.environ["LISTEN_FDNAMES"] = sys.argv[1]
os.execv(sys.argv[3], sys.argv[3:])
"#;

fn activated(names: &str, config: Option<&str>) -> (Service, Vec<SocketAddr>) {
    activated_as("good", names, config)
}

/// The same, with something wrong.
fn activated_as(how: &str, names: &str, config: Option<&str>) -> (Service, Vec<SocketAddr>) {
    let folder = tempfile::tempdir().unwrap();
    let addresses = folder.path().join("addresses");
    let mut command = Command::new("python3");
    command
        .env("NO_COLOR", "1")
        .env("ACTIVATE", how)
        .args(["-c", ACTIVATE, names])
        .arg(&addresses)
        .arg(env!("CARGO_BIN_EXE_tollgate"))
        .args([
            "run",
            "--admin-listen",
            "127.0.0.1:0",
            "--logstore-listen",
            "127.0.0.1:0",
        ])
        .arg("--data-dir")
        .arg(folder.path());
    if let Some(config) = config {
        let path = folder.path().join("config.toml");
        std::fs::write(&path, config).unwrap();
        command.arg("--config").arg(path);
    }
    let service = Service::start(command, folder);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(&addresses).unwrap_or_default();
        let listed: Vec<SocketAddr> = text.lines().map(|line| line.parse().unwrap()).collect();
        if listed.len() == names.split(':').count() {
            return (service, listed);
        }
        assert!(Instant::now() < deadline, "{}", service.read("stderr"));
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn passed_sockets_are_taken_by_their_names_and_handed_on() {
    let quickstart = concat!(env!("CARGO_MANIFEST_DIR"), "/config/quickstart.toml");
    let more = "\n[[ingest.listener]]\nname = \"inside\"\nlisten = \"127.0.0.1:1\"\n";
    let config = std::fs::read_to_string(quickstart).unwrap() + more;
    let (mut service, addresses) = activated("admin:inside:ingest", Some(&config));
    let [admin, inside, ingest] = addresses[..] else {
        panic!("three addresses");
    };
    // It waits in the kernel's queue until the service is there.
    assert_eq!(send(inside, "inside"), Ok(200));
    for image in 1..=2 {
        service.wait_for("stdout", "Ctrl-C stops it", image);
        assert_eq!(send(ingest, &format!("ingest-{image}")), Ok(200));
        assert_eq!(send(inside, &format!("inside-{image}")), Ok(200));
        let health = exchange(
            admin,
            "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"",
        );
        assert_eq!(health.status, 200);
        if image == 1 {
            service.signal("-USR2");
        }
    }
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn a_passed_socket_that_no_listener_is_named_by_is_refused() {
    let (mut service, _) = activated("ingest:metrics", None);
    assert_eq!(service.ended(), Some(69));
    let told = service.read("stderr");
    assert!(told.contains("`metrics`"), "{told}");
}

#[test]
fn descriptors_are_taken_only_when_they_are_for_this_process_and_listen() {
    for (how, why) in [
        ("nobody", "LISTEN_PID is not set"),
        ("nonsense", "LISTEN_PID is no process id"),
        ("bound", "`ingest` does not listen"),
    ] {
        let (mut service, _) = activated_as(how, "ingest", None);
        assert_eq!(service.ended(), Some(69), "{how}");
        let told = service.read("stderr");
        assert!(told.contains(why), "{told}");
    }
    // Variables of another process, which this one inherited, say nothing about it.
    let config = "[ingest]\nlisten = \"127.0.0.1:0\"\n";
    let quickstart = concat!(env!("CARGO_MANIFEST_DIR"), "/config/quickstart.toml");
    let text = std::fs::read_to_string(quickstart).unwrap();
    let config = text.replacen("[ingest]\n", config, 1);
    let (mut service, addresses) = activated_as("another", "ingest", Some(&config));
    service.wait_for("stdout", "Ctrl-C stops it", 1);
    assert_ne!(service.address("events in"), addresses[0]);
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn the_sockets_of_the_unit_files_are_taken() {
    let name_of = |file: &str| {
        let path = format!("{}/deploy/systemd/{file}", env!("CARGO_MANIFEST_DIR"));
        let unit = std::fs::read_to_string(path).unwrap();
        let name = unit
            .lines()
            .find_map(|line| line.strip_prefix("FileDescriptorName="));
        name.unwrap().to_owned()
    };
    let names = ["tollgate.socket", "tollgate-admin.socket"].map(name_of);
    let (mut service, addresses) = activated(&names.join(":"), None);
    assert_eq!(send(addresses[0], "activated"), Ok(200));
    // The public socket is served a moment before the node says that it is ready.
    service.wait_for("stdout", "Ctrl-C stops it", 1);
    let request = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(exchange(addresses[1], request, b"").status, 200);
    assert_eq!(service.stop(), Some(0));
}

/// What systemd is told.
fn told(socket: &std::os::unix::net::UnixDatagram, state: &str) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut message = [0; 256];
    let length = socket.recv(&mut message).unwrap();
    let message = String::from_utf8_lossy(&message[..length]).into_owned();
    assert!(message.lines().any(|line| line == state), "{message}");
}

#[test]
fn systemd_is_told_how_far_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let systemd = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_tollgate"));
    let mut command = on_free_ports(program, folder.path());
    command.env("NOTIFY_SOCKET", &path);
    let mut service = Service::start(command, folder);
    told(&systemd, "READY=1");
    service.signal("-USR2");
    told(&systemd, "RELOADING=1");
    told(&systemd, "READY=1");
    service.signal("-TERM");
    told(&systemd, "STOPPING=1");
    assert_eq!(service.child.wait().unwrap().code(), Some(0));
}
