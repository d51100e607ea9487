//! `tollgate healthcheck`: asks a running node how it is. For images without a shell.

use std::io;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use http::Uri;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

use super::admin_args::{AdminTlsArgs, hint};
use super::{Exit, Failure, output};
use crate::config::Tls;

const EXAMPLES: &str = "\
It reads no configuration: a file that somebody is about to change says nothing about the node that runs.

Examples:
  tollgate healthcheck
      is the node with its private listener at 127.0.0.1:8081 ready?
  tollgate healthcheck --admin-url http://10.0.0.5:9081 --live
      does that one live? It does while it stops, too
  tollgate healthcheck --admin-url https://127.0.0.1:8081 --admin-ca /etc/tollgate/admin.pem
      one whose private listener speaks TLS, believed by its very certificate

Exit codes: 0 yes, 1 no, 69 it did not answer.";

/// Bytes of an answer that are read: its first line is enough.
const LONGEST_ANSWER: u64 = 1024;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct HealthcheckArgs {
    /// Private listener of the node: `http://` or `https://` and a host, perhaps a port.
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8081",
        visible_alias = "admin",
        value_parser = url
    )]
    admin_url: Uri,
    #[command(flatten)]
    tls: AdminTlsArgs,
    /// Ask whether the process lives (/healthz) and not whether traffic may be sent to it (/readyz).
    #[arg(long)]
    live: bool,
    /// Seconds until no answer is an answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
}

pub(super) fn run(args: &HealthcheckArgs) -> Result<Exit, Failure> {
    let path = if args.live { "/healthz" } else { "/readyz" };
    let tls = match args.admin_url.scheme_str() {
        Some("https") => Some(args.tls.client(&Tls::default())?),
        _ => None,
    };
    let timeout = Duration::from_secs(args.timeout);
    let status = ask(&args.admin_url, tls.as_ref(), path, timeout)?;
    output::line(format_args!("{path}: {status}"))?;
    Ok(if status.starts_with("200") {
        Exit::Success
    } else {
        Exit::Partial
    })
}

/// The status of the answer to one GET, as it stands in its first line.
fn ask(
    url: &Uri,
    tls: Option<&Arc<ClientConfig>>,
    path: &str,
    timeout: Duration,
) -> Result<String, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        let why = why.to_string();
        let hint = hint(&url.to_string(), &why);
        let message = format!("{url} did not answer: {why}{hint}");
        Failure::new(Exit::Unavailable, message)
    };
    let host = url.host().unwrap_or_default();
    let port = url
        .port_u16()
        .unwrap_or(if tls.is_some() { 443 } else { 80 });
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = (bare, port)
        .to_socket_addrs()
        .map_err(|error| failed(&error))?;
    let end = Instant::now() + timeout;
    let mut refused = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, left(end)) {
            Ok(stream) => {
                let stream = Timed { stream, end };
                let line = match tls {
                    None => first_line(stream, host, path),
                    Some(tls) => {
                        secured(stream, bare, tls).and_then(|stream| first_line(stream, host, path))
                    }
                };
                return line.map_err(|error| failed(&error));
            }
            Err(error) => refused = Some(error),
        }
    }
    Err(match refused {
        Some(error) => failed(&error),
        None => failed(&"the name has no address"),
    })
}

/// What is left of the time, and never nothing, which would be for ever.
fn left(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1))
}

/// A connection with one end for all that is done with it, so one that drips gains no time.
struct Timed {
    stream: TcpStream,
    end: Instant,
}

impl Timed {
    fn check(&self) -> io::Result<Duration> {
        match Instant::now() < self.end {
            true => Ok(left(self.end)),
            false => Err(io::Error::from(io::ErrorKind::TimedOut)),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.check()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.check()?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn secured(
    stream: Timed,
    host: &str,
    tls: &Arc<ClientConfig>,
) -> io::Result<StreamOwned<ClientConnection, Timed>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let session = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(session, stream))
}

fn first_line(mut stream: impl Read + Write, host: &str, path: &str) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0; 128];
    while !answer.contains(&b'\n') && (answer.len() as u64) < LONGEST_ANSWER {
        match stream.read(&mut part)? {
            0 => break,
            read => answer.extend(part.iter().take(read)),
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("HTTP/1.1 ")
        .filter(|status| status.len() >= 3)
        .map(output::escape)
        .ok_or_else(|| io::Error::other("what listens there does not speak HTTP"))
}

/// A URL without a path.
fn url(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|_| "this is no URL".to_owned())?;
    let scheme = matches!(url.scheme_str(), Some("http" | "https"));
    let bare = scheme && matches!(url.path(), "" | "/");
    let known = url.authority().is_some_and(|it| !it.as_str().contains('@'));
    if bare && known && url.query().is_none() {
        Ok(url)
    } else {
        Err("this is `http://` or `https://`, a host and perhaps a port".to_owned())
    }
}
