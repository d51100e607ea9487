//! What supervisors and containers ask: the watchdog of systemd, and `tollgate healthcheck`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::{Output, Stdio};
use std::thread;
use std::time::Duration;

use support::{Tollgate, binary};

const PATIENCE: Duration = Duration::from_secs(40);

fn ask(arguments: &[&str]) -> Output {
    let mut command = binary();
    command.arg("healthcheck").args(arguments);
    command.output().unwrap()
}

/// The exit code, and what was said.
fn verdict(arguments: &[&str]) -> (Option<i32>, String) {
    let output = ask(arguments);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn a_node_says_whether_it_is_ready_and_lives() {
    let tollgate = Tollgate::start();
    let url = format!("http://{}", tollgate.admin);
    let (code, said) = verdict(&["--admin-url", &url]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("/readyz: 200"), "{said}");
    let by_name = format!("http://localhost:{}/", tollgate.admin.port());
    let (code, said) = verdict(&["--admin-url", &by_name, "--live"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("/healthz: 200"), "{said}");
    drop(tollgate);
    let (code, said) = verdict(&["--admin-url", &url]);
    assert_eq!(code, Some(69), "{said}");
}

/// A server that gives one answer, and then listens no more.
fn one_answer(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let length = stream.read(&mut request).unwrap();
        assert!(request[..length].starts_with(b"GET /readyz HTTP/1.1\r\n"));
        stream.write_all(answer).unwrap();
        if answer.is_empty() {
            thread::sleep(PATIENCE);
        }
    });
    url
}

#[test]
fn a_node_that_is_not_ready_and_what_is_no_node_have_codes_of_their_own() {
    for (answer, code, says) in [
        (&b"HTTP/1.1 503 Service Unavailable\r\n\r\n"[..], 1, "503"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", 1, "404"),
        (b"220 mail.example ESMTP\r\n", 69, "does not speak HTTP"),
        (&[b'x'; 4096], 69, "does not speak HTTP"),
        (b"", 69, "did not answer"),
    ] {
        let url = one_answer(answer);
        let (ended, said) = verdict(&["--admin-url", &url, "--timeout", "1"]);
        assert_eq!(ended, Some(code), "{said}");
        assert!(said.contains(says), "{said}");
    }
    for url in [
        "ftp://127.0.0.1:1",
        "127.0.0.1:1",
        "http://a/b",
        "http://u:p@a",
    ] {
        assert_eq!(ask(&["--admin-url", url]).status.code(), Some(2), "{url}");
    }
    let nobody = ask(&["--admin-url", "https://127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(69), "nobody is there");
}

/// Messages to systemd until one says so much.
fn told_until(systemd: &UnixDatagram, state: &str) -> Vec<String> {
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut told = Vec::new();
    let mut message = [0; 256];
    while !told
        .iter()
        .any(|it: &String| it.lines().any(|line| line == state))
    {
        let length = systemd.recv(&mut message).unwrap();
        told.push(String::from_utf8_lossy(&message[..length]).into_owned());
    }
    told
}

#[test]
fn the_watchdog_of_systemd_is_served_until_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    let mut command = binary();
    let data = folder.path().join("data");
    command
        .args([
            "run",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ])
        .args(["--logstore-listen", "127.0.0.1:0", "--data-dir"])
        .arg(&data)
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "60000")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    told_until(&systemd, "READY=1");
    for _ in 0..3 {
        told_until(&systemd, "WATCHDOG=1");
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    told_until(&systemd, "STOPPING=1");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
