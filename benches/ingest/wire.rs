//! How requests go over a connection of the load generator: sockets that block, with or without TLS,
//! and HTTP/1.1 or HTTP/2 on them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::h2;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
const ANSWER_BUFFER: usize = 16 * 1024;
/// The name that certificates of the bench are for.
pub const SERVER_NAME: &str = "localhost";

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// HTTP/1.1.
    Plain,
    /// HTTP/1.1 on TLS 1.3.
    Tls,
    /// HTTP/2 on TLS 1.3.
    Http2,
}

impl Wire {
    /// Whether it is on TLS.
    pub fn is_encrypted(self) -> bool {
        self != Self::Plain
    }

    /// Its name in the handshake of TLS.
    pub fn protocol(self) -> &'static [u8] {
        match self {
            Self::Plain | Self::Tls => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// Where a server is, and what is spoken to it.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its address.
    pub address: SocketAddr,
    /// What is spoken.
    pub wire: Wire,
    /// For those that are on TLS.
    pub tls: Option<Arc<ClientConfig>>,
}

impl From<SocketAddr> for Route {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            wire: Wire::Plain,
            tls: None,
        }
    }
}

/// What matters of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Whether the server closes the connection after it.
    pub closes: bool,
}

/// An open connection.
#[derive(Debug)]
pub struct Line {
    stream: Stream,
    http2: Option<h2::Session>,
    buffer: Vec<u8>,
}

impl Line {
    /// Opens one from this address of the loopback network.
    pub fn open(route: &Route, source: Ipv4Addr) -> anyhow::Result<Self> {
        let stream = dial(route.address, source)?;
        let mut stream = match &route.tls {
            None => Stream::Plain(stream),
            Some(config) => {
                let name = SERVER_NAME.try_into()?;
                let session = ClientConnection::new(Arc::clone(config), name)?;
                Stream::Tls(Box::new(StreamOwned::new(session, stream)))
            }
        };
        let http2 = match route.wire {
            Wire::Http2 => Some(h2::Session::open(&mut stream)?),
            Wire::Plain | Wire::Tls => None,
        };
        Ok(Self {
            stream,
            http2,
            buffer: vec![0; ANSWER_BUFFER],
        })
    }

    /// Sends a request.
    pub fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        match &mut self.http2 {
            Some(session) => session.send(&mut self.stream, request)?,
            None => self.stream.write_all(request)?,
        }
        Ok(self.stream.flush()?)
    }

    /// Reads the answer to the one request that has none.
    pub fn receive(&mut self) -> anyhow::Result<Answer> {
        match &mut self.http2 {
            Some(session) => session.receive(&mut self.stream, &mut self.buffer),
            None => read_answer(&mut self.stream, &mut self.buffer),
        }
    }
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Opens a connection from a source address of the loopback network.
pub fn dial(address: SocketAddr, source: Ipv4Addr) -> anyhow::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    if source != Ipv4Addr::LOCALHOST {
        socket.bind(&SockAddr::from(SocketAddr::from((source, 0))))?;
    }
    socket
        .connect(&SockAddr::from(address))
        .context("no connection to the server")?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(stream)
}

/// Sends a request of HTTP/1.1 on a connection of the caller's. The status of its answer.
pub fn exchange(mut stream: &TcpStream, request: &[u8]) -> anyhow::Result<u16> {
    stream.write_all(request)?;
    Ok(read_answer(&mut stream, &mut [0; 4096])?.status)
}

/// Asks a server of HTTP/1.1 once. The status of its answer, and the answer.
pub fn ask(address: SocketAddr, request: &[u8]) -> anyhow::Result<(u16, String)> {
    let mut stream = dial(address, Ipv4Addr::LOCALHOST)?;
    stream.write_all(request)?;
    let mut buffer = vec![0; ANSWER_BUFFER];
    let answer = read_answer(&mut stream, &mut buffer)?;
    let text = String::from_utf8_lossy(&buffer);
    Ok((answer.status, text.trim_end_matches('\0').to_owned()))
}

fn read_answer(stream: &mut impl Read, buffer: &mut [u8]) -> anyhow::Result<Answer> {
    let mut filled = 0;
    loop {
        let free = buffer.get_mut(filled..).unwrap_or_default();
        let read = stream.read(free).context("an answer could not be read")?;
        if read == 0 {
            bail!("the server closed a connection, or its answer is too large");
        }
        filled += read;
        let bytes = buffer.get(..filled).unwrap_or_default();
        if let Some(answer) = Answer::parse(bytes)? {
            return Ok(answer);
        }
    }
}

impl Answer {
    /// The answer of HTTP/1.1, when it is whole.
    fn parse(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
            return Ok(None);
        };
        let (head, body) = bytes
            .split_at_checked(end + 4)
            .context("an answer without an end")?;
        let head = std::str::from_utf8(head)?;
        let status = head
            .split(' ')
            .nth(1)
            .context("an answer without a status")?
            .parse()?;
        let mut length = 0;
        let mut closes = false;
        for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse()?;
            } else if name.eq_ignore_ascii_case("connection") {
                closes = value.eq_ignore_ascii_case("close");
            }
        }
        match body.len() {
            got if got < length => Ok(None),
            got if got == length => Ok(Some(Self { status, closes })),
            _ => bail!("more than one answer to one request"),
        }
    }
}
