//! A connection to the store.
//!
//! Promise: a [`Link`] has proven that it takes writes, and everything that is asked of it is
//! answered in time or is a [`StoreFault`]. Passwords are read for each connection, and are in no
//! error.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{AsyncConnectionConfig, ErrorKind, Pipeline, RedisConnectionInfo, RedisError, Value};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::status::StoreFault;
use crate::config::{Redis, RedisUrl};
use crate::foundation::secret::SecretRef;
use crate::logstore::client::tls_config;

/// Requests that may wait in a connection. Only a batch, a heartbeat and a piece of news do.
const WAITING: usize = 64;

/// How a store is reached.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    pub(super) urls: Vec<RedisUrl>,
    user: Option<String>,
    password: Option<SecretRef>,
    ca_file: Option<PathBuf>,
    connect_timeout: Duration,
    timeout: Duration,
}

impl Reach {
    /// As the configuration says. A URL that cannot be read is left out: its check has told.
    pub(super) fn new(redis: &Redis) -> Self {
        let urls = redis.urls.iter().map(|url| RedisUrl::parse(url));
        Self {
            urls: urls.filter_map(Result::ok).collect(),
            user: redis.user.clone(),
            password: redis.password.clone(),
            ca_file: redis.ca_file.clone(),
            connect_timeout: redis.connect_timeout.get(),
            timeout: redis.timeout.get(),
        }
    }

    /// The same with another time to connect, and to answer.
    pub(super) fn within(self, time: Duration) -> Self {
        Self {
            connect_timeout: time,
            timeout: time,
            ..self
        }
    }

    /// Connects, and learns the scripts by heart. The second part of what comes back has to run
    /// beside whatever uses the link.
    pub(super) async fn connect(&self, url: &RedisUrl) -> Result<(Link, Driver), StoreFault> {
        let connecting = self.connect_slowly(url);
        match timeout(self.connect_timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(StoreFault::Timeout),
        }
    }

    async fn connect_slowly(&self, url: &RedisUrl) -> Result<(Link, Driver), StoreFault> {
        let mut info = RedisConnectionInfo::default()
            .set_db(i64::from(url.database))
            .set_skip_set_lib_name();
        if let Some(user) = &self.user {
            info = info.set_username(user);
        }
        if let Some(reference) = &self.password {
            let secret = reference.read().map_err(|_| StoreFault::Secret)?;
            let text = secret.expose_text().ok_or(StoreFault::Secret)?;
            info = info.set_password(text);
        }
        let stream = self.stream(url).await?;
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WAITING);
        let made = MultiplexedConnection::new_with_config(&info, stream, config).await;
        let (connection, driver) = made.map_err(|error| fault_of(&error))?;
        let link = Link {
            connection,
            timeout: self.timeout,
        };
        Ok((link, Box::pin(driver)))
    }

    async fn stream(&self, url: &RedisUrl) -> Result<Stream, StoreFault> {
        let connected = TcpStream::connect((url.host.as_str(), url.port)).await;
        let stream = connected.map_err(|_| StoreFault::Connect)?;
        stream.set_nodelay(true).map_err(|_| StoreFault::Connect)?;
        if !url.tls {
            return Ok(Box::new(stream));
        }
        let config = tls_config(self.ca_file.as_deref()).map_err(|_| StoreFault::Tls)?;
        let name = ServerName::try_from(url.host.clone()).map_err(|_| StoreFault::Tls)?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, stream).await;
        Ok(Box::new(stream.map_err(|_| StoreFault::Tls)?))
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
type Stream = Box<dyn Duplex>;

/// What moves the bytes of a connection.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection. Its copies share one.
#[derive(Clone, Debug)]
pub(super) struct Link {
    connection: MultiplexedConnection,
    timeout: Duration,
}

impl Link {
    /// Asks all of it in one round trip. An error of one request is its answer.
    pub(super) async fn ask(&mut self, requests: &Pipeline) -> Result<Vec<Value>, StoreFault> {
        let count = requests.len();
        let answers = self.connection.req_packed_commands(requests, 0, count);
        match timeout(self.timeout, answers).await {
            Ok(Ok(answers)) if answers.len() == count => Ok(answers),
            Ok(Ok(_)) => Err(StoreFault::Protocol),
            Ok(Err(error)) => Err(fault_of(&error)),
            Err(_) => Err(StoreFault::Timeout),
        }
    }

    /// Gives a script to the store, and says what it is called there.
    pub(super) async fn learn(&mut self, script: &str) -> Result<String, StoreFault> {
        let mut pipe = redis::pipe();
        pipe.cmd("SCRIPT").arg("LOAD").arg(script);
        let answers = self.ask(&pipe).await?;
        match answers.first() {
            Some(Value::BulkString(name)) => {
                String::from_utf8(name.clone()).map_err(|_| StoreFault::Protocol)
            }
            Some(Value::ServerError(error)) => Err(fault_of_code(error.code())),
            _ => Err(StoreFault::Protocol),
        }
    }
}

/// What an error is about. Its text is not kept: it may repeat what was sent.
fn fault_of(error: &RedisError) -> StoreFault {
    if error.is_timeout() {
        return StoreFault::Timeout;
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => StoreFault::Auth,
        ErrorKind::Io => StoreFault::Closed,
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => StoreFault::Protocol,
        _ => error.code().map_or(StoreFault::Refused, fault_of_code),
    }
}

/// What the first word of an error of the store means.
pub(super) fn fault_of_code(code: &str) -> StoreFault {
    match code {
        "NOAUTH" | "WRONGPASS" | "NOPERM" => StoreFault::Auth,
        "READONLY" => StoreFault::ReadOnly,
        "LOADING" | "MASTERDOWN" | "NOREPLICAS" | "CLUSTERDOWN" | "MISCONF" | "BUSY"
        | "TRYAGAIN" => StoreFault::NotReady,
        "OOM" => StoreFault::Memory,
        "WRONGTYPE" => StoreFault::WrongType,
        _ => StoreFault::Refused,
    }
}
