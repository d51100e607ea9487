//! What the clients send: requests of a mini-program page, rendered whole before a run.
//!
//! Each of a thousand clients has a token of its own and its own values in the events, so that
//! neither a cache of tokens nor a branch predictor sees one request again and again. An event has
//! ten fields; one is 248 bytes of JSON, and the envelope of a request 78 bytes more.

use std::fmt::Write;

use anyhow::Context;
use tollgate::config::Config;
use tollgate::foundation::secret::Secret;
use tollgate::gate::identity::{self, SigningKey};

/// Clients with a token of their own.
const CLIENTS: usize = 1000;
/// Life of the tokens; longer than a run of the bench.
const TOKEN_SECONDS: u64 = 6 * 3600;
/// Takes events with a token only.
const LOGSTORE: &str = "web-tracking-logstore";

/// What is right or wrong about the tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// As the gateway's own key makes them.
    Good,
    /// Right in all but the key that signed them.
    Forged,
}

/// Renders one request a client, with `events` events each.
pub fn requests(config: &Config, tokens: Tokens, events: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    let project = config
        .projects
        .first()
        .context("the configuration has no project")?;
    let keys = identity::load_jwt_keys(&config.identity, &config.data_dir)?;
    let key = keys
        .into_iter()
        .next()
        .context("the configuration has no key of tokens")?;
    let key = match tokens {
        Tokens::Good => key,
        Tokens::Forged => SigningKey {
            secret: Secret::new("another-key-".repeat(6)),
            ..key
        },
    };
    (0..CLIENTS)
        .map(|client| {
            let subject = format!("visitor-{client:06}");
            let name = project.name.as_str();
            let token = identity::mint(&key, name, LOGSTORE, TOKEN_SECONDS, Some(&subject))?;
            Ok(render(client, &token, events)?)
        })
        .collect()
}

/// The bytes of a request with this token, up to it and from it on. Its body is one event.
pub fn around_token() -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    const TOKEN: &str = "<token>";
    let text = render(0, TOKEN, 1)?;
    let at = memchr::memmem::find(&text, TOKEN.as_bytes()).context("no token")?;
    let (head, rest) = text.split_at_checked(at).context("no token")?;
    let tail = rest.get(TOKEN.len()..).unwrap_or_default();
    Ok((head.to_vec(), tail.to_vec()))
}

/// Bytes of the body of a rendered request.
pub fn body_bytes(request: &[u8]) -> usize {
    memchr::memmem::find(request, b"\r\n\r\n").map_or(0, |end| request.len() - end - 4)
}

fn render(client: usize, token: &str, events: usize) -> Result<Vec<u8>, std::fmt::Error> {
    let mut body = String::from("{\"__topic__\":\"web\",\"__source__\":\"mini\",\"__logs__\":[");
    for index in 0..events {
        if index > 0 {
            body.push(',');
        }
        event(&mut body, client, index)?;
    }
    body.push_str("],\"__tags__\":{\"app\":\"shop\"}}");
    let mut request = String::with_capacity(body.len() + 1024);
    write!(
        request,
        "POST /logstores/{LOGSTORE}/track?APIVersion=0.6.0 HTTP/1.1\r\n\
         Host: 127.0.0.1\r\n\
         User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 \
         MicroMessenger/8.0.60 NetType/WIFI Language/zh_CN\r\n\
         Referer: https://servicewechat.com/wx0123456789abcdef/42/page-frame.html\r\n\
         Accept: */*\r\n\
         Content-Type: application/json\r\n\
         Authorization: Bearer {token}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )?;
    request.push_str(&body);
    Ok(request.into_bytes())
}

/// One event of ten fields.
fn event(body: &mut String, client: usize, index: usize) -> std::fmt::Result {
    const KINDS: [&str; 5] = ["view ", "click", "share", "input", "leave"];
    const PAGES: [&str; 3] = [
        "pages/index/index",
        "pages/order/lists",
        "pages/goods/items",
    ];
    let step = client * 31 + index;
    let kind = KINDS.get(step % KINDS.len()).copied().unwrap_or_default();
    let page = PAGES.get(step % PAGES.len()).copied().unwrap_or_default();
    write!(
        body,
        "{{\"event\":\"{kind}\",\"page\":\"{page}\",\"element\":\"pay-button-{:04}\",\
         \"session\":\"{:016x}\",\"visitor\":\"visitor-{client:06}\",\"network\":\"wifi\",\
         \"device\":\"iPhone 15 Pro Max\",\"version\":\"3.14.{:02}-rc1\",\"duration\":\"{:05}\",\
         \"note\":\"加入购物车 {index:04}\"}}",
        step % 10_000,
        step * 0x9e37_79b9_7f4a,
        step % 100,
        step * 37 % 100_000,
    )
}
