//! A client for the API of SLS: writes, and the reads that show what was written.
//!
//! Promise: each call is signed (what is relayed, by its sender), takes at most the endpoint's timeout
//! from dialling to the last byte of the answer, and succeeds only when the store itself said so. A
//! call is made once; whoever holds the events decides with [`next_step`] whether to call again. The
//! two exceptions: when a kept-alive connection turns out closed, a fresh one is dialled, once; and when
//! the access key is refused and another one is to be had by now, that is used. Not here: queues, pauses, and how many calls of ours go at once.
//!
//! # Cancel safety
//! A call that is dropped is closed, but the store may have taken its body all the same: what is
//! sent again after that may be stored twice. Nothing in the client itself is left half done.

mod connect;
mod exchange;
mod key;
mod read;
mod relay;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HOST, HeaderValue};
use http::{HeaderMap, Method, Request};
use serde::Deserialize;
use tokio::sync::Semaphore;

pub use self::connect::tls_config;
use self::connect::{Base, connector};
pub use self::exchange::OnResend;
use self::exchange::{Answer, TOO_LARGE, Wire, exchange, is_quiet};
use self::key::Key;
pub use self::key::{KeyKeeper, KeyRead, KeySource};
pub use self::read::{
    CursorFrom, MAX_PULL, Packed, PullError, PullOrder, Pulled, ShardInfo, is_at,
};
use self::read::{json, unexpected};
use self::relay::MAX_RELAYS;
pub use self::relay::{RelayError, RelayHost, RelayRequest, RelayedAnswer, is_signed};
use super::codec::Codec;
use super::error::{
    ErrorAnswer, MAX_ERROR_BODY, NextStep, RetryReason, StoreError, TransportFailure, next_step,
    server_time,
};
use super::header;
use super::signature::{AccessKey, Signer, Unsigned};
use crate::config::{Delivery, SignatureVersion};
use crate::foundation::clock;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::trace_context::{TRACEPARENT, TraceContext};

/// Bytes of a list of shards or a cursor.
const MAX_JSON: usize = 1024 * 1024;

/// Where a store is, and how to speak to it.
#[derive(Clone, Debug)]
pub struct StoreEndpoint {
    /// `http://` or `https://` and the endpoint without the project.
    pub base: String,
    /// Dial this address instead of looking the name up. Host and TLS name stay.
    pub address: Option<SocketAddr>,
    /// Region, for v4 signatures.
    pub region: String,
    /// The key to sign with.
    pub key: AccessKey,
    /// Version of the signature.
    pub signature: SignatureVersion,
    /// PEM file with the certificate authorities to trust instead of the built-in ones.
    pub ca_file: Option<PathBuf>,
    /// Times of one call.
    pub timeouts: Timeouts,
}

/// How long the phases of a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// All of it, answer included.
    pub whole: Duration,
    /// A new connection: name, TCP and TLS.
    pub connect: Duration,
    /// Time in which the store reads nothing of the body.
    pub write: Duration,
    /// From the end of the body to the head of the answer.
    pub answer: Duration,
    /// Age of a connection that is not used again.
    pub connection_age: Duration,
}

impl Timeouts {
    /// Those of deliveries.
    #[must_use]
    pub fn of(delivery: &Delivery) -> Self {
        Self {
            whole: delivery.timeout.get(),
            connect: delivery.connect_timeout.get(),
            write: delivery.write_timeout.get(),
            answer: delivery.answer_timeout.get(),
            connection_age: delivery.connection_age.get(),
        }
    }
}

/// A whole call may take so long, and each phase of it.
impl From<Duration> for Timeouts {
    fn from(whole: Duration) -> Self {
        Self {
            whole,
            connect: whole,
            write: whole,
            answer: whole,
            connection_age: Duration::from_secs(300),
        }
    }
}

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StoreClientError {
    /// The endpoint cannot be read.
    #[error(
        "`{0}` is not an endpoint: write http:// or https:// and a host name or IPv4 address, \
         without project and path"
    )]
    Endpoint(String),
    /// The file of certificate authorities cannot be used.
    #[error("cannot use the certificate authorities in {path}: {reason}", path = path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
}

/// What the store gave for a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutReceipt {
    /// `x-log-requestid`.
    pub request_id: String,
}

/// What came of a call that was made to see whether calls are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The store's clock, in Unix seconds, where its answer says it.
    pub server_time: Option<u64>,
    /// How many shards the logstore has, or why that is not known.
    pub shards: Result<usize, StoreError>,
}

/// A LogGroup as it is written.
#[derive(Clone, Debug)]
pub struct PackedGroup {
    /// How `body` is compressed.
    pub codec: Codec,
    /// The LogGroup.
    pub body: Bytes,
    /// Its size before compression, in bytes.
    pub raw_size: usize,
    /// Our span that the write is, for the store to continue.
    pub span: Option<TraceContext>,
    /// 32 hex digits that decide its shard. `None`: the store picks one.
    pub hash_key: Option<String>,
    /// Hears that it was sent again on a fresh connection, when the store may have taken it.
    pub on_resend: OnResend,
}

impl PackedGroup {
    /// One that no trace is of.
    #[must_use]
    pub fn new(codec: Codec, body: Bytes, raw_size: usize) -> Self {
        Self {
            codec,
            body,
            raw_size,
            span: None,
            hash_key: None,
            on_resend: OnResend::default(),
        }
    }
}

/// A request to be made.
#[derive(Clone)]
struct Call<'a> {
    method: Method,
    project: &'a ProjectName,
    path: String,
    query: &'a [(&'a str, &'a str)],
    headers: HeaderMap,
    body: Bytes,
    /// Bytes that a successful answer may have.
    cap: usize,
    on_resend: OnResend,
}

impl<'a> Call<'a> {
    fn get(project: &'a ProjectName, path: String, query: &'a [(&'a str, &'a str)]) -> Self {
        Self {
            method: Method::GET,
            project,
            path,
            query,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            cap: MAX_JSON,
            on_resend: OnResend::default(),
        }
    }
}

/// A client for one store. It keeps connections, so make one and share it.
#[derive(Debug)]
pub struct StoreClient {
    base: Base,
    region: String,
    key: Key,
    signature: SignatureVersion,
    timeouts: Timeouts,
    wire: Wire,
    /// Seconds that the store's clock is ahead of ours, as it last told us.
    clock_ahead: AtomicI64,
    /// Requests of others that may be on their way at once.
    relays: Semaphore,
}

impl StoreClient {
    /// Makes a client. Nothing is connected yet.
    ///
    /// # Errors
    /// When the endpoint or the file of certificate authorities cannot be read.
    pub fn new(endpoint: StoreEndpoint) -> Result<Self, StoreClientError> {
        let base = Base::parse(&endpoint.base)?;
        let connector = connector(
            &base,
            endpoint.address,
            endpoint.ca_file.as_deref(),
            endpoint.timeouts.connect,
        )?;
        Ok(Self {
            base,
            region: endpoint.region,
            key: Key::new(endpoint.key),
            signature: endpoint.signature,
            timeouts: endpoint.timeouts,
            wire: Wire::new(&connector, endpoint.timeouts),
            clock_ahead: AtomicI64::new(0),
            relays: Semaphore::new(MAX_RELAYS),
        })
    }

    /// The same client, which has its access key read again from time to time, and when the store refuses
    /// it.
    #[must_use]
    pub fn with_key_kept_by(self, keeper: KeyKeeper) -> Self {
        Self {
            key: self.key.kept_by(keeper),
            ..self
        }
    }

    /// Writes one LogGroup, to the shard of its hash key, or whichever the store likes.
    ///
    /// # Errors
    /// See [`StoreError`]. After [`RetryReason::ClockSkew`] the next call is signed with the store's
    /// time.
    pub async fn put_log_group(
        &self,
        project: &ProjectName,
        logstore: &LogstoreName,
        group: PackedGroup,
    ) -> Result<PutReceipt, StoreError> {
        let PackedGroup {
            codec,
            body,
            raw_size,
            span,
            hash_key,
            on_resend,
        } = group;
        let mut headers = HeaderMap::new();
        put_span(&mut headers, span);
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-protobuf"),
        );
        headers.insert(header::BODY_RAW_SIZE, HeaderValue::from(raw_size));
        if let Some(name) = codec.as_header() {
            headers.insert(header::COMPRESS_TYPE, HeaderValue::from_static(name));
        }
        let query = hash_key.as_deref().map(|key| ("key", key));
        let shard = if query.is_some() { "route" } else { "lb" };
        let path = format!("/logstores/{logstore}/shards/{shard}");
        let call = Call {
            method: Method::POST,
            headers,
            body,
            on_resend,
            cap: MAX_ERROR_BODY,
            ..Call::get(project, path, query.as_slice())
        };
        let answer = self.send(call).await?;
        if !is_quiet(&answer.body) {
            return Err(unexpected("a write was answered with a page"));
        }
        Ok(PutReceipt {
            request_id: answer.request_id,
        })
    }

    /// The shards of a logstore.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn list_shards(
        &self,
        project: &ProjectName,
        logstore: &LogstoreName,
    ) -> Result<Vec<ShardInfo>, StoreError> {
        let path = format!("/logstores/{logstore}/shards");
        let answer = self.send(Call::get(project, path, &[])).await?;
        json(&answer)
    }

    /// Asks for the shards of a logstore, which changes nothing there, and says what came of it: for
    /// somebody who wants to know whether address, key and clock are good.
    pub async fn probe(&self, project: &ProjectName, logstore: &LogstoreName) -> Probe {
        let path = format!("/logstores/{logstore}/shards");
        match self.send(Call::get(project, path, &[])).await {
            Ok(answer) => Probe {
                server_time: server_time(&answer.headers),
                shards: json::<Vec<ShardInfo>>(&answer).map(|shards| shards.len()),
            },
            Err(error) => Probe {
                server_time: match &error {
                    StoreError::Refused(answer) => answer.server_time,
                    _ => None,
                },
                shards: Err(error),
            },
        }
    }

    /// A cursor into a shard.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn get_cursor(
        &self,
        project: &ProjectName,
        logstore: &LogstoreName,
        shard: u32,
        from: CursorFrom,
    ) -> Result<String, StoreError> {
        #[derive(Deserialize)]
        struct Body {
            cursor: String,
        }
        let path = format!("/logstores/{logstore}/shards/{shard}");
        let from = from.to_string();
        let query = [("type", "cursor"), ("from", from.as_str())];
        let answer = self.send(Call::get(project, path, &query)).await?;
        json::<Body>(&answer).map(|body| body.cursor)
    }

    /// Up to `count` LogGroups (the store takes 1 to 1000) from `cursor` on.
    ///
    /// # Errors
    /// See [`StoreError`]; an answer of more than [`MAX_PULL`] bytes is one.
    pub async fn pull_logs(
        &self,
        project: &ProjectName,
        logstore: &LogstoreName,
        shard: u32,
        cursor: &str,
        count: u32,
    ) -> Result<Pulled, StoreError> {
        let order = PullOrder {
            shard,
            cursor,
            end: None,
            count,
            cap: MAX_PULL,
        };
        let packed = self.pull_packed(project, logstore, order).await?;
        Ok(packed.unpack()?)
    }

    /// The same as it came, not unpacked yet, as far as an end and a size.
    ///
    /// # Errors
    /// See [`PullError`].
    pub async fn pull_packed(
        &self,
        project: &ProjectName,
        logstore: &LogstoreName,
        order: PullOrder<'_>,
    ) -> Result<Packed, PullError> {
        let path = format!("/logstores/{logstore}/shards/{}", order.shard);
        let count = order.count.to_string();
        let mut query = vec![
            ("type", "log"),
            ("cursor", order.cursor),
            ("count", count.as_str()),
        ];
        query.extend(order.end.map(|end| ("end_cursor", end)));
        let mut call = Call::get(project, path, &query);
        call.cap = order.cap;
        call.headers
            .insert(ACCEPT_ENCODING, HeaderValue::from_static("lz4"));
        match self.send(call).await {
            Ok(answer) => Ok(Packed::of(answer, order.cap)?),
            Err(StoreError::NotTheStore { what, .. }) if what == TOO_LARGE => {
                Err(PullError::TooLarge)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn send(&self, call: Call<'_>) -> Result<Answer, StoreError> {
        let key = self.key.now();
        let result = self.send_with(&key, call.clone()).await;
        let refused = NextStep::Retry {
            reason: RetryReason::Credential,
        };
        match result {
            Err(error) if next_step(&error) == refused && self.key.refused(&key).await => {
                self.send_with(&self.key.now(), call).await
            }
            result => result,
        }
    }

    async fn send_with(&self, key: &AccessKey, call: Call<'_>) -> Result<Answer, StoreError> {
        let cap = call.cap;
        let on_resend = call.on_resend.clone();
        let body = call.body.clone();
        let head = self.signed_head(key, call)?;
        let exchange = exchange(&self.wire, head, (body, &on_resend), cap);
        let result = match tokio::time::timeout(self.timeouts.whole, exchange).await {
            Ok(result) => result,
            Err(_) => Err(StoreError::Transport {
                failure: TransportFailure::Timeout,
                detail: format!("{} ms", self.timeouts.whole.as_millis()),
            }),
        };
        result.inspect_err(|error| self.learn_clock(error))
    }

    fn signed_head(&self, key: &AccessKey, call: Call<'_>) -> Result<Request<()>, StoreError> {
        let mut headers = call.headers;
        let host = self.base.host(call.project);
        headers.insert(HOST, HeaderValue::try_from(host).map_err(unaddressable)?);
        let request = Unsigned {
            method: &call.method,
            path: &call.path,
            query: call.query,
            body: &call.body,
        };
        let signer = Signer {
            version: self.signature,
            key,
            region: &self.region,
        };
        signer.sign(&request, &mut headers, self.store_time())?;
        let mut path_and_query = call.path;
        if !call.query.is_empty() {
            path_and_query.push('?');
            path_and_query.push_str(
                &form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(call.query)
                    .finish(),
            );
        }
        let mut head = Request::builder()
            .method(call.method)
            .uri(self.base.url(call.project, &path_and_query))
            .body(())
            .map_err(unaddressable)?;
        *head.headers_mut() = headers;
        Ok(head)
    }

    /// The store's clock, as far as it is known.
    fn store_time(&self) -> u64 {
        clock::unix_seconds().saturating_add_signed(self.clock_ahead.load(Ordering::Relaxed))
    }

    fn learn_clock(&self, error: &StoreError) {
        let skewed = NextStep::Retry {
            reason: RetryReason::ClockSkew,
        };
        if let StoreError::Refused(ErrorAnswer {
            server_time: Some(time),
            ..
        }) = error
            && next_step(error) == skewed
        {
            let ahead = time.cast_signed() - clock::unix_seconds().cast_signed();
            self.clock_ahead.store(ahead, Ordering::Relaxed);
        }
    }
}

/// Names the span that a request is a part of. No signature covers that header.
fn put_span(headers: &mut HeaderMap, span: Option<TraceContext>) {
    let value = span.and_then(|span| HeaderValue::try_from(span.to_string()).ok());
    if let Some(value) = value {
        headers.insert(TRACEPARENT, value);
    }
}

fn unaddressable(error: impl Into<http::Error>) -> StoreError {
    StoreError::Unsendable {
        reason: error.into().to_string(),
    }
}
