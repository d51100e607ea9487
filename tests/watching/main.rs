//! What those see who run a node: metrics, the log, the number for autoscalers and a stop, on the real
//! binary.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod draining;
mod logs;
mod metrics;

use support::{Answer, Tollgate, exchange};

/// The built-in configuration, and these tables.
fn config(more: &str) -> String {
    let quickstart = concat!(env!("CARGO_MANIFEST_DIR"), "/config/quickstart.toml");
    let text = std::fs::read_to_string(quickstart).unwrap();
    format!("{text}\n{more}")
}

/// The same, where refusals are answered at once: tests are refused again and again.
fn prompt(tables: &str) -> String {
    config(tables).replace("[ingest]", "[ingest]\nrefusal_delay = \"0s\"")
}

/// `GET` of the private listener.
fn private(tollgate: &Tollgate, path: &str, headers: &str) -> Answer {
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    exchange(tollgate.admin, &head, b"")
}

/// A call of the admin API.
fn api(tollgate: &Tollgate, method: &str, path: &str, body: &str) -> Answer {
    let key = tollgate.data_dir().join("keys/admin.key");
    let key = std::fs::read_to_string(key).unwrap();
    let head = format!(
        "{method} /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        key.trim(),
        body.len()
    );
    exchange(tollgate.admin, &head, body.as_bytes())
}
