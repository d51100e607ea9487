//! Signed requests, made with the crate's own signer, or by hand where it does not sign so.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderValue, Method};
use sha2::{Digest as _, Sha256};
use tollgate::config::SignatureVersion;
use tollgate::foundation::clock::unix_seconds;
use tollgate::foundation::secret::Secret;
use tollgate::logstore::signature::{AccessKey, Signer, Unsigned, iso_date};

use crate::site::EVENT;
use crate::support::{Answer, PROJECT, exchange};

/// A request that is signed when it is sent.
#[derive(Clone)]
pub struct Call {
    pub key: AccessKey,
    pub version: SignatureVersion,
    /// v1 with HMAC-SHA256, which the crate only checks.
    pub sha256: bool,
    pub method: Method,
    pub host: String,
    pub path: String,
    pub query: Vec<(&'static str, String)>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Seconds by which its time is behind.
    pub age: i64,
    /// What is sent instead of the body that was signed.
    pub sent: Option<Vec<u8>>,
    /// Headers that are changed after they were signed.
    pub changed: HeaderMap,
}

impl Call {
    pub fn new(key: &AccessKey, method: Method, path: &str) -> Self {
        Self {
            key: key.clone(),
            version: SignatureVersion::V1,
            sha256: false,
            method,
            host: format!("{PROJECT}.localhost"),
            path: path.to_owned(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: Vec::new(),
            age: 0,
            sent: None,
            changed: HeaderMap::new(),
        }
    }

    /// PutLogs of JSON.
    pub fn put(key: &AccessKey, logstore: &str) -> Self {
        Self::post(key, &format!("/logstores/{logstore}"), EVENT)
    }

    pub fn post(key: &AccessKey, path: &str, body: &str) -> Self {
        let mut call = Self::new(key, Method::POST, path);
        let json = HeaderValue::from_static("application/json");
        call.headers.insert("content-type", json);
        call.body = body.into();
        call
    }

    pub fn signed_by(mut self, version: SignatureVersion) -> Self {
        self.version = version;
        self
    }

    pub fn aged(mut self, seconds: i64) -> Self {
        self.age = seconds;
        self
    }

    pub fn changing(mut self, name: &'static str, value: &str) -> Self {
        self.changed.insert(name, value.parse().unwrap());
        self
    }

    fn pairs(&self) -> Vec<(&str, &str)> {
        let pairs = self.query.iter();
        pairs.map(|(name, value)| (*name, value.as_str())).collect()
    }

    /// Head and body, as they go over the wire.
    pub fn wire(&self) -> (String, Vec<u8>) {
        let mut headers = self.headers.clone();
        headers.insert("host", self.host.parse().unwrap());
        let query = self.pairs();
        let unsigned = Unsigned {
            method: &self.method,
            path: &self.path,
            query: &query,
            body: &self.body,
        };
        let signer = Signer {
            version: self.version,
            key: &self.key,
            region: "local",
        };
        let time = unix_seconds().checked_add_signed(-self.age).unwrap();
        signer.sign(&unsigned, &mut headers, time).unwrap();
        if self.sha256 {
            self.sign_sha256(&mut headers);
        }
        for (name, value) in &self.changed {
            headers.insert(name, value.clone());
        }
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&query)
            .finish();
        let mark = if query.is_empty() { "" } else { "?" };
        let body = self.sent.as_ref().unwrap_or(&self.body).clone();
        let mut head = format!("{} {}{mark}{query} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &headers {
            head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
        if !body.is_empty() {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        (head, body)
    }

    pub fn send(&self, address: SocketAddr) -> Answer {
        let (head, body) = self.wire();
        exchange(address, &head, &body)
    }

    /// The signature of v1 once more, by HMAC-SHA256: the text is written out here.
    fn sign_sha256(&self, headers: &mut HeaderMap) {
        let method = HeaderValue::from_static("hmac-sha256");
        headers.insert("x-log-signaturemethod", method);
        let value = |name: &str| match headers.get(name) {
            Some(value) => value.to_str().unwrap(),
            None => "",
        };
        let mut lines: Vec<String> = headers
            .keys()
            .filter(|name| {
                name.as_str().starts_with("x-log-") || name.as_str().starts_with("x-acs-")
            })
            .map(|name| format!("{name}:{}", value(name.as_str())))
            .collect();
        lines.sort();
        let mut query = self.pairs();
        query.sort_unstable();
        let query: Vec<_> = query.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        let text = format!(
            "{}\n{}\n{}\n{}\n{}\n{}{mark}{}",
            self.method,
            value("content-md5"),
            value("content-type"),
            value("date"),
            lines.join("\n"),
            self.path,
            query.join("&"),
        );
        let signature = STANDARD.encode(hmac_sha256(self.key.secret.expose(), text.as_bytes()));
        let value = format!("LOG {}:{signature}", self.key.id);
        headers.insert("authorization", value.parse().unwrap());
    }
}

pub fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes()
        .map(|b| match plain(b) {
            true => char::from(b).to_string(),
            false => format!("%{b:02X}"),
        })
        .collect()
}

/// AssumeRole, signed with ACS3-HMAC-SHA256 by hand.
pub fn assume_role(address: SocketAddr, key: &AccessKey, parameters: &[(&str, &str)]) -> Answer {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).unwrap();
    let mut parameters = parameters.to_vec();
    parameters.sort_unstable();
    let query: Vec<_> = parameters
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    let query = query.join("&");
    let hash = hex(&Sha256::digest(b""));
    let headers = [
        ("host", "localhost".to_owned()),
        ("x-acs-action", "AssumeRole".to_owned()),
        ("x-acs-content-sha256", hash.clone()),
        ("x-acs-date", iso_date(unix_seconds())),
        ("x-acs-signature-nonce", hex(&nonce)),
        ("x-acs-version", "2015-04-01".to_owned()),
    ];
    let lines = headers
        .each_ref()
        .map(|(name, value)| format!("{name}:{value}\n"));
    let names = headers.each_ref().map(|(name, _)| *name).join(";");
    let text = format!("POST\n/\n{query}\n{}\n{names}\n{hash}", lines.concat());
    let text = format!("ACS3-HMAC-SHA256\n{}", hex(&Sha256::digest(text)));
    let signature = hex(&hmac_sha256(key.secret.expose(), text.as_bytes()));
    let id = &key.id;
    let mut head = format!("POST /?{query} HTTP/1.1\r\n");
    for (name, value) in &headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!(
        "Authorization: ACS3-HMAC-SHA256 Credential={id},SignedHeaders={names},Signature={signature}\r\nContent-Length: 0\r\n\r\n"
    ));
    exchange(address, &head, b"")
}

/// The credentials of an answer: of AssumeRole, or of `/get_sts_token`.
pub fn credentials(answer: &Answer) -> AccessKey {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let json = answer.json();
    let json = json.get("Credentials").unwrap_or(&json);
    let text = |name: &str| json[name].as_str().unwrap().to_owned();
    AccessKey {
        id: text("AccessKeyId"),
        secret: Secret::new(text("AccessKeySecret")),
        security_token: Some(Secret::new(text("SecurityToken"))),
    }
}
