//! Checking a signature, as the store does: the head first, then the body.
//!
//! Promise: [`verify_head`] says yes only when the holder of the key signed this method, path, query
//! and these headers, not long ago; [`VerifiedHead::check_body`] only when the body is the one that
//! the head speaks of. What can be refused without the key is refused before it is looked up;
//! comparisons take the same time wherever two values differ, and an unknown key costs the same
//! work as a wrong secret. Explaining to the holder of a known key what differs costs some more
//! (`explain`).
//!
//! Not here: which key may do what, and whether a signature was seen before.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::canonical::{Repeated, single};
use super::date::{http_date, parse_basic_date, parse_http_date};
use super::explain::{self, Mismatch};
use super::{AccessKey, mac, v1, v4};
use crate::config::SignatureVersion;
use crate::logstore::header;

/// How far the time of a request may be from the server's (SLS limits).
pub const TIME_WINDOW: Duration = Duration::from_secs(15 * 60);
/// Longest id of a key that is read, in bytes.
const MAX_KEY_ID: usize = 128;

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

    /// Version of the signature.
    #[must_use]
    pub fn version(&self) -> SignatureVersion {
        match self {
            Self::V1 { .. } => SignatureVersion::V1,
            Self::V4 { .. } => SignatureVersion::V4,
        }
    }

    fn signature(&self) -> &'a str {
        match self {
            Self::V1 { signature, .. } | Self::V4 { signature, .. } => signature,
        }
    }

    fn region(&self) -> Option<&'a str> {
        match self {
            Self::V1 { .. } => None,
            Self::V4 { region, .. } => Some(region),
        }
    }
}

/// How strict a check is.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How far the time of a request may be from the server's.
    pub window: Duration,
    /// Whether a v4 client may leave its body unsigned, by sending the digest of no bytes with it.
    /// SLS takes that, and some clients have an option for it.
    pub unsigned_bodies: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            window: TIME_WINDOW,
            unsigned_bodies: true,
        }
    }
}

/// What a lookup finds: something with a secret that signs.
pub trait SigningSecret {
    /// The secret. Never for a log, an error or a response.
    fn secret(&self) -> &[u8];
}

impl SigningSecret for AccessKey {
    fn secret(&self) -> &[u8] {
        self.secret.expose()
    }
}

impl<T: SigningSecret + ?Sized> SigningSecret for &T {
    fn secret(&self) -> &[u8] {
        (**self).secret()
    }
}

impl<T: SigningSecret + ?Sized> SigningSecret for Arc<T> {
    fn secret(&self) -> &[u8] {
        (**self).secret()
    }
}

/// What the head of a signed request says of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedBody {
    /// There is none (v1 without Content-MD5).
    Empty,
    /// MD5 of the body as sent (v1).
    Md5([u8; 16]),
    /// SHA-256 of the body as sent (v4).
    Sha256([u8; 32]),
    /// Any: the client left it unsigned on purpose (v4).
    Unsigned,
}

impl SignedBody {
    /// Checks a body, as it was sent, before decompression.
    ///
    /// # Errors
    /// [`VerifyError::MissingHeader`] for a body that came without its digest, and
    /// [`VerifyError::Digest`] for another body than the signed one.
    pub fn check(self, body: &[u8]) -> Result<(), VerifyError> {
        match self {
            Self::Empty if body.is_empty() => Ok(()),
            Self::Empty => Err(VerifyError::MissingHeader(header::CONTENT_MD5)),
            Self::Md5(digest) if digest == mac::md5(body) => Ok(()),
            Self::Md5(_) => Err(VerifyError::Digest(header::CONTENT_MD5)),
            Self::Sha256(digest) if digest == mac::sha256(body) => Ok(()),
            Self::Sha256(_) => Err(VerifyError::Digest(header::CONTENT_SHA256)),
            Self::Unsigned => Ok(()),
        }
    }
}

/// Proof that the head of a request was signed with a known key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedHead<'a, K> {
    /// What the lookup gave.
    pub key: K,
    /// Id of the key.
    pub key_id: &'a str,
    /// Version of the signature.
    pub version: SignatureVersion,
    /// Region that was signed (v4).
    pub region: Option<&'a str>,
    /// The signature. There is one text for it, so it can tell whether a request came before.
    pub signature: &'a str,
    /// What is left to be checked.
    pub body: SignedBody,
}

impl<K> VerifiedHead<'_, K> {
    /// Checks the body, as it was sent, before decompression.
    ///
    /// # Errors
    /// See [`SignedBody::check`].
    pub fn check_body(&self, body: &[u8]) -> Result<(), VerifyError> {
        self.body.check(body)
    }
}

/// Why a request is not taken as signed. Each has its answer in the error table of SLS:
/// [`VerifyError::answer`], or a refusal of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A header is missing.
    #[error("missing http extend header key : {0}")]
    MissingHeader(HeaderName),
    /// A header cannot be read, or is there twice.
    #[error("Http extend {0} pair is invalid")]
    InvalidHeader(HeaderName),
    /// No such key. An empty id is that of a client that has no key yet.
    #[error("AccessKeyId not found: {key_id}")]
    UnknownKey {
        /// What the request said.
        key_id: String,
    },
    /// The key is there, and may not be used.
    #[error("AccessKeyId is disabled: {key_id}")]
    DisabledKey {
        /// What the request said.
        key_id: String,
    },
    /// The key needs another token, or none.
    #[error("The security token you provided is invalid.")]
    SecurityToken,
    /// A temporary key came without its token.
    #[error(
        "The security token you provided is invalid: temporary credentials need x-acs-security-token"
    )]
    SecurityTokenMissing,
    /// The token was good once.
    #[error("The security token you provided has expired")]
    SecurityTokenExpired,
    /// The request's time is too far from the server's.
    #[error("request time{request} has been expired while server time is {server}")]
    Expired {
        /// The request's time, as it was sent.
        request: String,
        /// The server's time, as an HTTP date.
        server: String,
    },
    /// Signed by another secret, or changed on the way.
    #[error("{0}")]
    NotMatched(Box<Mismatch>),
    /// The body is not the one that the digest in this header was made of.
    #[error("{0} does not match the body")]
    Digest(HeaderName),
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

/// Either version, read but not compared.
enum Presented<'a> {
    V1(v1::Presented<'a>),
    V4(v4::Presented<'a>),
}

/// Checks that the head of a request was signed with a key that `lookup` finds, within the window of
/// `unix_seconds`. `lookup` is given the id of the key and the security token that came with it, and
/// decides whether the two belong together.
///
/// # Errors
/// See [`VerifyError`]; what `lookup` said comes back as it is.
pub fn verify_head<'a, K: SigningSecret>(
    parts: &RequestParts<'a>,
    unix_seconds: u64,
    rules: &Rules,
    lookup: impl FnOnce(&'a str, Option<&'a [u8]>) -> Result<K, VerifyError>,
) -> Result<VerifiedHead<'a, K>, VerifyError> {
    let headers = parts.headers;
    let value = required(headers, http::header::AUTHORIZATION)?;
    let authorization = parse_authorization(value)?;
    let date = Date::of(headers, &authorization)?;
    if date.unix_seconds.abs_diff(unix_seconds) > rules.window.as_secs() {
        return Err(VerifyError::Expired {
            request: explain::printable(date.text),
            server: http_date(unix_seconds),
        });
    }
    let presented = read(parts, &authorization, date.text)?;
    let body = signed_body(&presented, rules)?;
    let signature = authorization.signature();
    let found = lookup(
        authorization.key_id(),
        single(headers, &header::SECURITY_TOKEN)?,
    );
    let secret = found.as_ref().map_or(&b""[..], SigningSecret::secret);
    let matched = match &presented {
        Presented::V1(request) => request.matches(secret, signature.as_bytes()),
        Presented::V4(request) => request.matches(secret, signature.as_bytes()),
    };
    let key = match found {
        Ok(key) if matched => key,
        Ok(key) => {
            let secret = key.secret();
            let mismatch = match &presented {
                Presented::V1(request) => explain::v1(request, secret, signature),
                Presented::V4(request) => explain::v4(request, secret, signature),
            };
            return Err(VerifyError::NotMatched(Box::new(mismatch)));
        }
        Err(error) => return Err(error),
    };
    Ok(VerifiedHead {
        key,
        key_id: authorization.key_id(),
        version: authorization.version(),
        region: authorization.region(),
        signature,
        body,
    })
}

/// Head and body at once, with keys that never change, for those who have the whole request.
///
/// # Errors
/// See [`VerifyError`].
pub fn verify<'a, 'k>(
    parts: &RequestParts<'a>,
    body: &[u8],
    lookup: impl FnOnce(&str) -> Option<&'k AccessKey>,
    unix_seconds: u64,
    window: Duration,
) -> Result<VerifiedHead<'a, &'k AccessKey>, VerifyError> {
    let rules = Rules {
        window,
        ..Rules::default()
    };
    let head = verify_head(parts, unix_seconds, &rules, |id, token| {
        let key = lookup(id).ok_or_else(|| VerifyError::UnknownKey {
            key_id: id.to_owned(),
        })?;
        key.check_token(token)?;
        Ok(key)
    })?;
    head.check_body(body)?;
    Ok(head)
}

impl AccessKey {
    /// Whether the token that came with a request is this key's.
    ///
    /// # Errors
    /// [`VerifyError::SecurityToken`] for another one, for a missing one, and for one too many.
    pub fn check_token(&self, sent: Option<&[u8]>) -> Result<(), VerifyError> {
        let right = match (&self.security_token, sent) {
            (Some(token), Some(sent)) => token.matches(sent),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        right.then_some(()).ok_or(VerifyError::SecurityToken)
    }
}

/// The time that a request claims.
struct Date<'a> {
    text: &'a [u8],
    unix_seconds: u64,
}

impl<'a> Date<'a> {
    /// `x-log-date`, in the form of the version; for v1 `Date` does as well.
    fn of(headers: &'a HeaderMap, authorization: &Authorization<'_>) -> Result<Self, VerifyError> {
        let is_v1 = authorization.version() == SignatureVersion::V1;
        let (name, text) = match single(headers, &header::DATE)? {
            Some(text) => (header::DATE, text),
            None if is_v1 => match single(headers, &http::header::DATE)? {
                Some(text) => (http::header::DATE, text),
                None => return Err(VerifyError::MissingHeader(header::DATE)),
            },
            None => return Err(VerifyError::MissingHeader(header::DATE)),
        };
        let parse = if is_v1 {
            parse_http_date
        } else {
            parse_basic_date
        };
        let unix_seconds = parse(text).ok_or(VerifyError::InvalidHeader(name))?;
        Ok(Self { text, unix_seconds })
    }
}

fn read<'a>(
    parts: &RequestParts<'a>,
    authorization: &Authorization<'a>,
    date: &'a [u8],
) -> Result<Presented<'a>, VerifyError> {
    match *authorization {
        Authorization::V1 { .. } => v1::Presented::read(parts, date).map(Presented::V1),
        Authorization::V4 { day, region, .. } => {
            let date =
                std::str::from_utf8(date).map_err(|_| VerifyError::InvalidHeader(header::DATE))?;
            let scope = v4::Scope { date, day, region };
            v4::Presented::read(parts, scope).map(Presented::V4)
        }
    }
}

/// Reads the digest of the body, so that one that cannot be right is refused with the head.
fn signed_body(presented: &Presented<'_>, rules: &Rules) -> Result<SignedBody, VerifyError> {
    match presented {
        Presented::V1(request) if request.md5.is_empty() => Ok(SignedBody::Empty),
        Presented::V1(request) => mac::unhex(request.md5)
            .map(SignedBody::Md5)
            .ok_or(VerifyError::Digest(header::CONTENT_MD5)),
        Presented::V4(request)
            if rules.unsigned_bodies && request.content_sha256 == v4::EMPTY_SHA256.as_bytes() =>
        {
            Ok(SignedBody::Unsigned)
        }
        Presented::V4(request) => mac::unhex(request.content_sha256)
            .map(SignedBody::Sha256)
            .ok_or(VerifyError::Digest(header::CONTENT_SHA256)),
    }
}

pub(super) fn required(headers: &HeaderMap, name: HeaderName) -> Result<&[u8], VerifyError> {
    single(headers, &name)?.ok_or(VerifyError::MissingHeader(name))
}
