//! What the clients send: requests of a mini-program page, rendered whole before a run.
//!
//! Each of a thousand clients has a token or a session of its own and its own values in the events, so
//! that neither a cache of tokens nor a branch predictor sees one request again and again. An event has
//! ten fields; one is 248 bytes of JSON, and the envelope of a request 78 bytes more.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use tollgate::config::{Config, SignatureVersion};
use tollgate::foundation::clock;
use tollgate::foundation::secret::Secret;
use tollgate::gate::identity::sts::{NewSession, ReplayWindow};
use tollgate::gate::identity::{self, Origin, SigningKey, Trust};
use tollgate::logstore::codec::{self, Codec};
use tollgate::logstore::header;
use tollgate::logstore::signature::{AccessKey, Signer, Unsigned};

use crate::h2;
use crate::setup::ROLE;
use crate::wire::Wire;

/// Clients with a token of their own.
const CLIENTS: usize = 1000;
/// Life of the tokens, of sessions and of signatures; longer than a run of the bench.
pub const TOKEN_SECONDS: u64 = 6 * 3600;
/// Takes events with a credential only.
pub const LOGSTORE: &str = "web-tracking-logstore";

/// What is right or wrong about the credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// As the gateway's own key makes them.
    Good,
    /// Right in all but the key that signed them.
    Forged,
    /// There is none.
    Missing,
    /// The requests are signed (v1) by temporary credentials of the gateway's.
    Sts,
}

/// One kind of requests.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Events in a request.
    pub events: usize,
    /// How many of them break the schema of the logstore.
    pub bad: usize,
    /// Who sends them.
    pub tokens: Tokens,
    /// How bodies are compressed.
    pub codec: Codec,
    /// How requests go over a connection.
    pub wire: Wire,
}

impl Traffic {
    /// Good requests, plain over HTTP/1.1.
    pub const fn good(events: usize) -> Self {
        Self {
            events,
            bad: 0,
            tokens: Tokens::Good,
            codec: Codec::None,
            wire: Wire::Plain,
        }
    }

    /// Whether this event of a request is a bad one. They stand evenly among the good ones.
    fn is_bad(&self, index: usize) -> bool {
        let Some(step) = self.events.checked_div(self.bad) else {
            return false;
        };
        index % step == step / 2 && index / step < self.bad
    }

    /// Events of a request that are stored.
    pub fn stored(&self) -> usize {
        self.events.saturating_sub(self.bad)
    }
}

/// Requests as they go over a connection.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// One of each client.
    pub requests: Vec<Vec<u8>>,
    /// Bytes of the body of the first.
    pub body_bytes: usize,
}

/// Renders one request a client, with `events` events each, for HTTP/1.1.
pub fn requests(config: &Config, tokens: Tokens, events: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    let traffic = Traffic {
        tokens,
        ..Traffic::good(events)
    };
    Ok(rendered(config, &traffic)?.requests)
}

/// Renders one request a client.
pub fn rendered(config: &Config, traffic: &Traffic) -> anyhow::Result<Rendered> {
    let issuer = Issuer::new(config, traffic.tokens)?;
    let mut requests = Vec::with_capacity(CLIENTS);
    let mut body_bytes = None;
    for client in 0..CLIENTS {
        let mut message = Message::new(client, traffic)?;
        issuer.add_credential(&mut message, client)?;
        body_bytes.get_or_insert(message.body.len());
        requests.push(match traffic.wire {
            Wire::Plain | Wire::Tls => message.http1(),
            Wire::Http2 => h2::request(&message.target(), &message.headers, &message.body)?,
        });
    }
    Ok(Rendered {
        requests,
        body_bytes: body_bytes.unwrap_or_default(),
    })
}

/// The bytes of a request with this token, up to it and from it on. Its body is one event.
pub fn around_token() -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    const TOKEN: &str = "<token>";
    let mut message = Message::new(0, &Traffic::good(1))?;
    message.bear(TOKEN);
    let text = message.http1();
    let at = memchr::memmem::find(&text, TOKEN.as_bytes()).context("no token")?;
    let (head, rest) = text.split_at_checked(at).context("no token")?;
    let tail = rest.get(TOKEN.len()..).unwrap_or_default();
    Ok((head.to_vec(), tail.to_vec()))
}

/// The first key that signs tokens.
pub fn signing_key(config: &Config) -> anyhow::Result<SigningKey> {
    let keys = identity::load_jwt_keys(&config.identity, &config.data_dir)?;
    keys.into_iter()
        .next()
        .context("the configuration has no key of tokens")
}

/// A token of this client for a logstore of the first project.
fn token(
    config: &Config,
    key: &SigningKey,
    client: usize,
    logstore: &str,
) -> anyhow::Result<String> {
    let project = config.projects.first().context("no project")?;
    let subject = format!("visitor-{client:06}");
    let name = project.name.as_str();
    Ok(identity::mint(
        key,
        name,
        logstore,
        TOKEN_SECONDS,
        Some(&subject),
    )?)
}

/// Gives out credentials.
enum Issuer<'a> {
    Nobody,
    Key(&'a Config, Box<SigningKey>),
    Sessions(Box<Trust>),
}

impl<'a> Issuer<'a> {
    fn new(config: &'a Config, tokens: Tokens) -> anyhow::Result<Self> {
        Ok(match tokens {
            Tokens::Missing => Self::Nobody,
            Tokens::Good => Self::Key(config, Box::new(signing_key(config)?)),
            Tokens::Forged => {
                let key = SigningKey {
                    secret: Secret::new("another-key-".repeat(6)),
                    ..signing_key(config)?
                };
                Self::Key(config, Box::new(key))
            }
            Tokens::Sts => {
                let window = ReplayWindow::new(Duration::from_secs(900), ReplayWindow::USUAL);
                Self::Sessions(Box::new(Trust::load(config, &Arc::new(window))?))
            }
        })
    }

    fn add_credential(&self, message: &mut Message, client: usize) -> anyhow::Result<()> {
        match self {
            Self::Nobody => Ok(()),
            Self::Key(config, key) => {
                message.bear(&token(config, key, client, LOGSTORE)?);
                Ok(())
            }
            Self::Sessions(trust) => {
                let made = trust.service().issue(&NewSession {
                    role_arn: ROLE,
                    session_name: &format!("visitor-{client:06}"),
                    duration: TOKEN_SECONDS,
                    origin: &Origin::Nobody,
                    policy: None,
                    unix_seconds: clock::unix_seconds(),
                });
                let made = made?;
                message.sign(&AccessKey {
                    id: made.access_key_id,
                    secret: Secret::new(made.access_key_secret),
                    security_token: Some(Secret::new(made.security_token)),
                })
            }
        }
    }
}

/// A request that is not yet bytes.
#[derive(Debug)]
struct Message {
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Headers of every request, but for its length and its credential.
const HEADERS: [(&str, &str); 5] = [
    ("host", "127.0.0.1"),
    (
        "user-agent",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 MicroMessenger/8.0.60 NetType/WIFI Language/zh_CN",
    ),
    (
        "referer",
        "https://servicewechat.com/wx0123456789abcdef/42/page-frame.html",
    ),
    ("accept", "*/*"),
    ("content-type", "application/json"),
];

const QUERY: (&str, &str) = ("APIVersion", "0.6.0");

impl Message {
    /// One of this client, without a credential.
    fn new(client: usize, traffic: &Traffic) -> anyhow::Result<Self> {
        let mut text =
            String::from("{\"__topic__\":\"web\",\"__source__\":\"mini\",\"__logs__\":[");
        for index in 0..traffic.events {
            if index > 0 {
                text.push(',');
            }
            event(&mut text, client, index, traffic.is_bad(index))?;
        }
        text.push_str("],\"__tags__\":{\"app\":\"shop\"}}");
        let mut headers = HeaderMap::new();
        for (name, value) in HEADERS {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        if let Some(name) = traffic.codec.as_header() {
            headers.insert(header::COMPRESS_TYPE, HeaderValue::from_static(name));
            headers.insert(header::BODY_RAW_SIZE, HeaderValue::from(text.len()));
        }
        Ok(Self {
            path: format!("/logstores/{LOGSTORE}/track"),
            headers,
            body: codec::compress(traffic.codec, text.as_bytes())?,
        })
    }

    /// Gives it a token.
    fn bear(&mut self, token: &str) {
        if let Ok(value) = format!("Bearer {token}").parse() {
            self.headers.insert(AUTHORIZATION, value);
        }
    }

    fn sign(&mut self, key: &AccessKey) -> anyhow::Result<()> {
        let signer = Signer {
            version: SignatureVersion::V1,
            key,
            region: "local",
        };
        let request = Unsigned {
            method: &Method::POST,
            path: &self.path,
            query: &[QUERY],
            body: &self.body,
        };
        Ok(signer.sign(&request, &mut self.headers, clock::unix_seconds())?)
    }

    /// Path and query.
    fn target(&self) -> String {
        let (key, value) = QUERY;
        format!("{}?{key}={value}", self.path)
    }

    /// Its bytes in HTTP/1.1.
    fn http1(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.body.len() + 1024);
        bytes.extend_from_slice(format!("POST {} HTTP/1.1\r\n", self.target()).as_bytes());
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", self.body.len()).as_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// One event of ten fields. A bad one has a word or a number that the schema does not take.
fn event(body: &mut String, client: usize, index: usize, bad: bool) -> std::fmt::Result {
    const KINDS: [&str; 5] = ["view ", "click", "share", "input", "leave"];
    const PAGES: [&str; 3] = [
        "pages/index/index",
        "pages/order/lists",
        "pages/goods/items",
    ];
    let step = client * 31 + index;
    let kind = KINDS.get(step % KINDS.len()).copied().unwrap_or_default();
    let page = PAGES.get(step % PAGES.len()).copied().unwrap_or_default();
    let seconds = 10_000 + step * 37 % 90_000;
    let (kind, duration) = match (bad, step % 2) {
        (false, _) => (kind, seconds.to_string()),
        (true, 0) => ("bogus", seconds.to_string()),
        (true, _) => (kind, "later".to_owned()),
    };
    write!(
        body,
        "{{\"event\":\"{kind}\",\"page\":\"{page}\",\"element\":\"pay-button-{:04}\",\
         \"session\":\"{:016x}\",\"visitor\":\"visitor-{client:06}\",\"network\":\"wifi\",\
         \"device\":\"iPhone 15 Pro Max\",\"version\":\"3.14.{:02}-rc1\",\"duration\":\"{duration}\",\
         \"note\":\"加入购物车 {index:04}\"}}",
        step % 10_000,
        step * 0x9e37_79b9_7f4a,
        step % 100,
    )
}
