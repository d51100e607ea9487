//! Checking a signature, as the store does.
//!
//! Promise: [`verify`] says yes only when the holder of the key signed this method, path, query,
//! these headers and (unless a v4 client left it out on purpose) this body, not long ago.
//! Comparisons take the same time wherever two values differ, and an unknown key costs the same
//! work as a wrong secret.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, StatusCode};
use subtle::ConstantTimeEq;

use super::canonical::{Repeated, parse_query, path_forms, single};
use super::date::{http_date, parse_basic_date, parse_http_date};
use super::{AccessKey, mac, v1, v4};
use crate::config::SignatureVersion;
use crate::logstore::header;

/// How far the time of a request may be from the server's (SLS limits).
pub const TIME_WINDOW: Duration = Duration::from_secs(15 * 60);
/// Longest id of a key that is read, in bytes.
const MAX_KEY_ID: usize = 128;
/// How much of what was signed is told to a client whose signature does not match, in characters.
const MAX_ECHO: usize = 4096;

/// A request whose signature is checked, without its body.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Path as it stood on the wire, not decoded.
    pub path: &'a str,
    /// Query as it stood on the wire, without `?`; may be empty.
    pub query: &'a str,
    /// Headers.
    pub headers: &'a HeaderMap,
}

/// What an `Authorization` header says. Nothing of it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorization<'a> {
    /// `LOG {key_id}:{signature}`.
    V1 {
        /// Id of the key. May be empty: one official client sends that while it has no key yet.
        key_id: &'a str,
        /// Base64.
        signature: &'a str,
    },
    /// `SLS4-HMAC-SHA256 Credential={key_id}/{day}/{region}/sls/aliyun_v4_request,Signature={..}`.
    V4 {
        /// Id of the key.
        key_id: &'a str,
        /// `YYYYMMDD`.
        day: &'a str,
        /// Region of the store, as the client believes.
        region: &'a str,
        /// Lower-case hex.
        signature: &'a str,
    },
}

impl<'a> Authorization<'a> {
    /// Id of the key.
    #[must_use]
    pub fn key_id(&self) -> &'a str {
        match self {
            Self::V1 { key_id, .. } | Self::V4 { key_id, .. } => key_id,
        }
    }
}

/// Proof that a request was signed with a known key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified<'a> {
    /// Id of the key.
    pub key_id: &'a str,
    /// Version of the signature.
    pub version: SignatureVersion,
    /// Region that was signed (v4).
    pub region: Option<&'a str>,
}

/// Why a request is not taken as signed. Each has its answer in the error table of SLS:
/// [`VerifyError::answer`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A header is missing.
    #[error("missing http extend header key : {0}")]
    MissingHeader(HeaderName),
    /// A header cannot be read, or is there twice.
    #[error("Http extend {0} pair is invalid")]
    InvalidHeader(HeaderName),
    /// No such key.
    #[error("AccessKeyId not found: {key_id}")]
    UnknownKey {
        /// What the request said.
        key_id: String,
    },
    /// The key needs another token, or none.
    #[error("The security token you provided is invalid.")]
    SecurityToken,
    /// The request's time is too far from the server's.
    #[error("request time{request} has been expired while server time is {server}")]
    Expired {
        /// The request's time, as it was sent.
        request: String,
        /// The server's time, as an HTTP date.
        server: String,
    },
    /// Signed by another secret, or changed on the way.
    #[error("Signature {signature} not matched. The server signs: {string_to_sign}")]
    NotMatched {
        /// The signature that was sent.
        signature: String,
        /// What the server signs, with any security token hidden; for v4 with the canonical request.
        string_to_sign: String,
    },
    /// The body is not the one that the digest in this header was made of.
    #[error("{0} does not match the body")]
    Digest(HeaderName),
}

impl VerifyError {
    /// The status, error code and message for the client.
    #[must_use]
    pub fn answer(&self) -> (StatusCode, &'static str, String) {
        let (status, code) = match self {
            Self::MissingHeader(_) => (StatusCode::BAD_REQUEST, "MissingParameter"),
            Self::InvalidHeader(_) => (StatusCode::BAD_REQUEST, "ParameterInvalid"),
            Self::UnknownKey { .. } | Self::SecurityToken => {
                (StatusCode::UNAUTHORIZED, "Unauthorized")
            }
            Self::Expired { .. } => (StatusCode::BAD_REQUEST, "RequestTimeExpired"),
            Self::NotMatched { .. } => (StatusCode::UNAUTHORIZED, "SignatureNotMatch"),
            Self::Digest(_) => (StatusCode::BAD_REQUEST, "PostBodyInvalid"),
        };
        (status, code, self.to_string())
    }
}

impl From<Repeated> for VerifyError {
    fn from(Repeated(name): Repeated) -> Self {
        Self::InvalidHeader(name)
    }
}

/// Reads an `Authorization` header.
///
/// # Errors
/// [`VerifyError::InvalidHeader`] when it has neither form.
pub fn parse_authorization(value: &[u8]) -> Result<Authorization<'_>, VerifyError> {
    let bad = || VerifyError::InvalidHeader(http::header::AUTHORIZATION);
    let text = std::str::from_utf8(value).map_err(|_| bad())?;
    let parsed = match text.split_once(' ') {
        Some(("LOG", rest)) => rest
            .split_once(':')
            .map(|(key_id, signature)| Authorization::V1 { key_id, signature }),
        Some((v4::ALGORITHM, rest)) => parse_v4(rest),
        _ => None,
    };
    let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    parsed
        .filter(|it| it.key_id().len() <= MAX_KEY_ID && printable(it.key_id()))
        .ok_or_else(bad)
}

fn parse_v4(text: &str) -> Option<Authorization<'_>> {
    let (credential, signature) = text.split_once(',')?;
    let signature = signature.trim_start().strip_prefix("Signature=")?;
    let mut parts = credential.strip_prefix("Credential=")?.split('/');
    let (key_id, day, region) = (parts.next()?, parts.next()?, parts.next()?);
    let end = (parts.next()?, parts.next()?, parts.next());
    (end == (v4::SERVICE, v4::TERMINATOR, None)).then_some(Authorization::V4 {
        key_id,
        day,
        region,
        signature,
    })
}

/// What a request claims, and what the server makes of it.
struct Comparison {
    matched: bool,
    claimed_time: u64,
    request_time: String,
    string_to_sign: Vec<u8>,
}

/// Checks that a request was signed with a key that `lookup` knows, within `window` of
/// `unix_seconds`, and that `body` (as it was sent, before decompression) is the one signed.
///
/// # Errors
/// See [`VerifyError`].
pub fn verify<'a, 'k>(
    parts: &RequestParts<'a>,
    body: &[u8],
    lookup: impl FnOnce(&str) -> Option<&'k AccessKey>,
    unix_seconds: u64,
    window: Duration,
) -> Result<Verified<'a>, VerifyError> {
    let name = http::header::AUTHORIZATION;
    let value = single(parts.headers, &name)?.ok_or(VerifyError::MissingHeader(name))?;
    let authorization = parse_authorization(value)?;
    let key = lookup(authorization.key_id());
    let secret = key.map_or(&b""[..], |key| key.secret.expose());
    let (comparison, signature) = match authorization {
        Authorization::V1 { signature, .. } => (compare_v1(parts, secret, signature)?, signature),
        Authorization::V4 {
            day,
            region,
            signature,
            ..
        } => (
            compare_v4(parts, secret, (day, region), signature)?,
            signature,
        ),
    };
    let Some(key) = key else {
        return Err(VerifyError::UnknownKey {
            key_id: authorization.key_id().to_owned(),
        });
    };
    if comparison.claimed_time.abs_diff(unix_seconds) > window.as_secs() {
        return Err(VerifyError::Expired {
            request: comparison.request_time,
            server: http_date(unix_seconds),
        });
    }
    if !comparison.matched {
        return Err(VerifyError::NotMatched {
            signature: printable(signature.as_bytes()),
            string_to_sign: printable(&comparison.string_to_sign),
        });
    }
    let (version, region) = match authorization {
        Authorization::V1 { .. } => {
            check_md5(parts.headers, body)?;
            (SignatureVersion::V1, None)
        }
        Authorization::V4 { region, .. } => {
            check_sha256(parts.headers, body)?;
            (SignatureVersion::V4, Some(region))
        }
    };
    check_token(parts.headers, key)?;
    Ok(Verified {
        key_id: authorization.key_id(),
        version,
        region,
    })
}

fn compare_v1(
    parts: &RequestParts<'_>,
    secret: &[u8],
    signature: &str,
) -> Result<Comparison, VerifyError> {
    let headers = parts.headers;
    let method = required(headers, header::SIGNATURE_METHOD)?;
    let method = v1::Method::from_header(method)
        .ok_or(VerifyError::InvalidHeader(header::SIGNATURE_METHOD))?;
    let (name, date) = match single(headers, &header::DATE)? {
        Some(date) => (header::DATE, date),
        None => match single(headers, &http::header::DATE)? {
            Some(date) => (http::header::DATE, date),
            None => return Err(VerifyError::MissingHeader(header::DATE)),
        },
    };
    let claimed_time = parse_http_date(date).ok_or(VerifyError::InvalidHeader(name))?;
    let sent = STANDARD.decode(signature).unwrap_or_default();
    let params = parse_query(parts.query);
    let mut comparison = Comparison {
        matched: false,
        claimed_time,
        request_time: printable(date),
        string_to_sign: Vec::new(),
    };
    for path in path_forms(parts.path) {
        let text = v1::string_to_sign(parts.method, &path, &params, headers)?;
        comparison.matched |= bool::from(method.mac(secret, &text).ct_eq(&sent));
        if comparison.string_to_sign.is_empty() {
            comparison.string_to_sign = text;
        }
    }
    Ok(comparison)
}

fn compare_v4(
    parts: &RequestParts<'_>,
    secret: &[u8],
    (day, region): (&str, &str),
    signature: &str,
) -> Result<Comparison, VerifyError> {
    let bad_date = VerifyError::InvalidHeader(header::DATE);
    let date = std::str::from_utf8(required(parts.headers, header::DATE)?)
        .map_err(|_| bad_date.clone())?;
    let claimed_time = parse_basic_date(date.as_bytes()).ok_or_else(|| bad_date.clone())?;
    if date
        .split_once('T')
        .is_none_or(|(of_date, _)| of_date != day)
    {
        return Err(bad_date);
    }
    let content = required(parts.headers, header::CONTENT_SHA256)?;
    let params = parse_query(parts.query);
    let scope = v4::scope(day, region);
    let key = v4::signing_key(secret, day, region);
    let mut comparison = Comparison {
        matched: false,
        claimed_time,
        request_time: date.to_owned(),
        string_to_sign: Vec::new(),
    };
    for path in path_forms(parts.path) {
        let request = v4::canonical_request(parts.method, &path, &params, parts.headers, content)?;
        let text = v4::string_to_sign(date, &scope, &request);
        let expected = v4::signature(&key, &text);
        comparison.matched |= bool::from(expected.as_bytes().ct_eq(signature.as_bytes()));
        if comparison.string_to_sign.is_empty() {
            comparison.string_to_sign =
                [text.as_bytes(), b" of the canonical request: ", &request].concat();
        }
    }
    Ok(comparison)
}

/// A body must come with its digest, since v1 signs nothing else of it.
fn check_md5(headers: &HeaderMap, body: &[u8]) -> Result<(), VerifyError> {
    let sent = single(headers, &header::CONTENT_MD5)?.unwrap_or_default();
    if sent.is_empty() && body.is_empty() {
        return Ok(());
    }
    if sent.is_empty() {
        return Err(VerifyError::MissingHeader(header::CONTENT_MD5));
    }
    if sent.eq_ignore_ascii_case(mac::md5_hex(body).as_bytes()) {
        Ok(())
    } else {
        Err(VerifyError::Digest(header::CONTENT_MD5))
    }
}

fn check_sha256(headers: &HeaderMap, body: &[u8]) -> Result<(), VerifyError> {
    let sent = required(headers, header::CONTENT_SHA256)?;
    let known = sent == v4::EMPTY_SHA256.as_bytes();
    if known || sent.eq_ignore_ascii_case(mac::sha256_hex(body).as_bytes()) {
        Ok(())
    } else {
        Err(VerifyError::Digest(header::CONTENT_SHA256))
    }
}

fn check_token(headers: &HeaderMap, key: &AccessKey) -> Result<(), VerifyError> {
    let sent = single(headers, &header::SECURITY_TOKEN)?;
    let right = match (&key.security_token, sent) {
        (Some(token), Some(sent)) => token.matches(sent),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    right.then_some(()).ok_or(VerifyError::SecurityToken)
}

fn required(headers: &HeaderMap, name: HeaderName) -> Result<&[u8], VerifyError> {
    single(headers, &name)?.ok_or(VerifyError::MissingHeader(name))
}

/// What was signed, for people: without the token, without control characters but line breaks, and
/// not without end.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let token = format!("\n{}:", header::SECURITY_TOKEN);
    let shown = match text.split_once(&token) {
        Some((before, rest)) => {
            let after = rest.find('\n').and_then(|end| rest.get(end..));
            format!("{before}{token}(hidden){}", after.unwrap_or_default())
        }
        None => text.into_owned(),
    };
    shown
        .chars()
        .filter(|c| *c == '\n' || !c.is_control())
        .take(MAX_ECHO)
        .collect()
}
