//! Calls of the token service, signed in both ways.

mod calls;
mod signatures;

use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::*;
use crate::config::{Config, Role};
use crate::foundation::secret::Secret;
use crate::foundation::units::Span;
use crate::gate::identity::access_keys::LongLivedKey;
use crate::logstore::signature::{VerifyError, iso_date};

/// 2026-11-21T23:56:33Z.
const NOW: u64 = 1_795_305_393;
const ROLE: &str = "acs:ram::123:role/sls-web-tracking";
const SECRET: &str = "the secret of server-1";

fn role(arn: &str) -> Role {
    Role {
        arn: arn.to_owned(),
        policies: vec!["write-web".to_owned()],
        assumed_by: vec!["ak".to_owned(), "server-1".to_owned()],
        external_id: None,
        max_session_duration: Span::secs(7200),
    }
}

fn keys() -> Arc<AccessKeys> {
    let key = |id: &str, enabled| {
        let secret = Secret::new(format!("the secret of {id}"));
        LongLivedKey::new(id, secret, Vec::new(), enabled)
    };
    let keys = [
        Ok(LongLivedKey::of_vector("ak", "sk")),
        key("server-1", true),
        key("server-2", true),
        key("disabled", false),
    ];
    Arc::new(AccessKeys::collect(keys).unwrap())
}

fn identity() -> Identity {
    let mut identity = Config::quickstart().identity;
    let with_id = Role {
        external_id: Some("shop-42".to_owned()),
        max_session_duration: Span::secs(1800),
        ..role("acs:ram::123:role/with-id")
    };
    identity.roles = vec![role(ROLE), with_id];
    identity
}

fn service_with(change: impl FnOnce(&mut Identity), most: usize) -> TokenService {
    let mut identity = identity();
    change(&mut identity);
    let (keys, window) = (keys(), identity.signed.window.get());
    TokenService::new(
        &identity,
        Arc::new(KeyRing::new(&[Secret::new("k".repeat(32))]).unwrap()),
        Arc::clone(&keys),
        Roles::load(&identity, &keys).unwrap(),
        Arc::new(ReplayWindow::new(window, most)),
        Box::new(|policy| match policy.starts_with('{') {
            true => Ok(()),
            false => Err("it is not JSON".to_owned()),
        }),
    )
}

fn service() -> TokenService {
    service_with(|identity| identity.sts.calls_per_second = 10_000, 10_000)
}

fn enc(text: &str) -> String {
    let text = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    [("%2D", "-"), ("%5F", "_"), ("%2E", "."), ("%7E", "~")]
        .iter()
        .fold(text, |text, (from, to)| text.replace(from, to))
}

fn query(pairs: &[(&str, &str)]) -> String {
    let mut pairs = pairs.to_vec();
    pairs.sort_unstable();
    let pairs = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", enc(name), enc(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// A call that can be changed before it is sent.
#[derive(Clone, Debug)]
struct Call {
    method: &'static str,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
    now: u64,
}

impl Call {
    fn send(&self, service: &TokenService) -> RpcAnswer {
        self.send_while(service, &|_| false)
    }

    fn send_while(
        &self,
        service: &TokenService,
        is_revoked: &dyn Fn(Involved<'_>) -> bool,
    ) -> RpcAnswer {
        let request = RpcRequest {
            method: self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            body: &self.body,
            unix_seconds: self.now,
        };
        service.call(&request, is_revoked)
    }

    fn header(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    /// The code of the answer; empty for a success.
    fn code(&self, service: &TokenService) -> String {
        let answer = self.send(service);
        assert_eq!(answer.issued, answer.status == 200);
        let code = answer.failure.map(|(code, _)| code.as_str().into_owned());
        code.unwrap_or_default()
    }
}

/// A nonce that was never used.
fn nonce() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("nonce-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

const USUAL: [(&str, &str); 2] = [("RoleArn", ROLE), ("RoleSessionName", "device-001")];

/// A call of the newer style, not signed yet.
fn acs3(pairs: &[(&str, &str)]) -> Call {
    let mut call = Call {
        method: "POST",
        path: "/".to_owned(),
        query: query(pairs),
        headers: HeaderMap::new(),
        body: Vec::new(),
        now: NOW,
    };
    call.header("host", "127.0.0.1:18999")
        .header("user-agent", "test")
        .header("x-acs-action", "AssumeRole")
        .header("x-acs-version", "2015-04-01")
        .header("x-acs-date", &iso_date(NOW))
        .header("x-acs-signature-nonce", &nonce());
    call
}

/// Signs as the newer clients do, all headers.
fn sign_acs3(mut call: Call, key_id: &str, secret: &str) -> Call {
    let hash = mac::hex(&mac::sha256(&call.body));
    call.header("x-acs-content-sha256", &hash);
    let mut names: Vec<&str> = call.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let value = |name: &str| call.headers[name].to_str().unwrap().to_owned();
    let lines: String = names
        .iter()
        .map(|name| format!("{name}:{}\n", value(name)))
        .collect();
    let (method, path, query, names) = (call.method, &call.path, &call.query, names.join(";"));
    let text = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{hash}");
    let text = format!(
        "ACS3-HMAC-SHA256\n{}",
        mac::hex(&mac::sha256(text.as_bytes()))
    );
    let signature = mac::hex(&mac::hmac_sha256(secret.as_bytes(), &[text.as_bytes()]));
    let authorization =
        format!("ACS3-HMAC-SHA256 Credential={key_id},SignedHeaders={names},Signature={signature}");
    call.header("authorization", &authorization);
    call
}

fn signed(pairs: &[(&str, &str)]) -> Call {
    sign_acs3(acs3(pairs), "server-1", SECRET)
}

/// A call of the older style, signed; `more` goes before the usual parameters.
fn rpc(method: &'static str, hash: &str, more: &[(&str, &str)]) -> Call {
    let (nonce, date) = (nonce(), iso_date(NOW));
    let usual = [
        ("Action", "AssumeRole"),
        ("Version", "2015-04-01"),
        ("AccessKeyId", "server-1"),
        ("SignatureMethod", hash),
        ("SignatureVersion", "1.0"),
        ("SignatureNonce", &nonce),
        ("Timestamp", &date),
        USUAL[0],
        USUAL[1],
    ];
    let mut pairs = more.to_vec();
    for (name, value) in usual {
        if !pairs.iter().any(|(other, _)| *other == name) {
            pairs.push((name, value));
        }
    }
    pairs.retain(|(_, value)| *value != "(none)");
    let all = query(&pairs);
    let text = format!("{method}&%2F&{}", enc(&all));
    let key = format!("{SECRET}&");
    let mac = match hash {
        "HMAC-SHA256" => mac::hmac_sha256(key.as_bytes(), &[text.as_bytes()]).to_vec(),
        _ => mac::hmac_sha1(key.as_bytes(), &[text.as_bytes()]).to_vec(),
    };
    let signature = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, mac);
    let mut call = Call {
        method,
        path: "/".to_owned(),
        query: format!("{all}&Signature={}", enc(&signature)),
        headers: HeaderMap::new(),
        body: Vec::new(),
        now: NOW,
    };
    call.header("host", "sts.example.com");
    call
}

fn json(answer: &RpcAnswer) -> Value {
    assert!(answer.content_type.starts_with("application/json"));
    serde_json::from_slice(&answer.body).unwrap()
}
