//! The public listeners from outside: raw sockets against the real binary, at and past each limit.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

#[path = "../support/mod.rs"]
mod support;

mod changes;
mod connections;
mod crowded;
mod deadlines;
mod framing;
mod http2;
mod refusals;
mod resting;
mod tls;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use support::{OPEN, PROJECT, Tollgate};

const EVENT: &str = r#"{"__logs__":[{"k":"v"}]}"#;

/// A service with one open logstore, and these lines in `[ingest]`.
fn start(ingest: &str) -> Tollgate {
    Tollgate::start_config(&config(ingest, ""))
}

/// A configuration with one open logstore, these lines in `[ingest]` and these tables after it.
fn config(ingest: &str, tables: &str) -> String {
    format!(
        r#"
        [ingest]
        default_project = "{PROJECT}"
        {ingest}
        {tables}
        [[upstream]]
        name = "embedded"
        kind = "embedded"
        [[project]]
        name = "{PROJECT}"
        upstream = "embedded"
        [[project.logstore]]
        name = "{OPEN}"
        accept = ["anonymous"]
        "#
    )
}

/// A good request with one event, and these headers besides.
fn request(extra: &str) -> String {
    format!(
        "POST /logstores/{OPEN}/track HTTP/1.1\r\nHost: localhost\r\n{extra}Content-Length: {}\r\n\r\n{EVENT}",
        EVENT.len()
    )
}

/// Reads to the end of the connection.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset is an end like any other.
    drop(stream.read_to_end(&mut rest));
    rest
}

/// Waits until a metric line has a value.
fn await_metric(tollgate: &Tollgate, line: &str, value: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = tollgate.metric(line);
        if found == value {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{line} is {found}, not {value}\n{}",
            tollgate.metrics()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until connections have ended for a reason.
fn await_ended(tollgate: &Tollgate, reason: &str, count: u64) {
    let line = format!("tollgate_connections_ended_total{{reason=\"{reason}\"}}");
    await_metric(tollgate, &line, count);
}

fn send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = support::connect(address);
    stream.write_all(bytes).unwrap();
    stream
}
