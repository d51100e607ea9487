//! Signing a request.

use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderName, HeaderValue};
use http::{HeaderMap, Method};

use super::canonical::{Repeated, plain_query, single};
use super::date::{basic_date, http_date};
use super::{AccessKey, mac, v1, v4};
use crate::config::SignatureVersion;
use crate::logstore::header;

/// What signs requests.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    /// Version of the signature.
    pub version: SignatureVersion,
    /// The key.
    pub key: &'a AccessKey,
    /// Region of the store; part of v4 signatures only.
    pub region: &'a str,
}

/// A request to be signed, without its headers.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// HTTP method.
    pub method: &'a Method,
    /// Path, as it will stand on the wire.
    pub path: &'a str,
    /// Parameters of the query, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// Body, as it will stand on the wire.
    pub body: &'a [u8],
}

/// Why a request could not be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The id, the token or the region of the key holds bytes that no header may hold.
    #[error("the access key cannot be sent: it holds bytes that an HTTP header cannot")]
    Unprintable,
    /// The caller gave a header twice that may be signed once.
    #[error("header {0} is there twice")]
    Repeated(HeaderName),
}

impl From<Repeated> for SignError {
    fn from(Repeated(name): Repeated) -> Self {
        Self::Repeated(name)
    }
}

impl Signer<'_> {
    /// Adds the headers of a signed request: version, time, hash of the body, token and
    /// `Authorization`. `unix_seconds` is the time that the request claims.
    ///
    /// Before it, the caller sets Content-Type and, for v4, Host; for a compressed body also
    /// `x-log-compresstype` and `x-log-bodyrawsize` (otherwise that becomes the body's length).
    /// After it, no `x-log-` or `x-acs-` header may be added or changed.
    ///
    /// # Errors
    /// See [`SignError`]. The headers are then of no use.
    pub fn sign(
        &self,
        request: &Unsigned<'_>,
        headers: &mut HeaderMap,
        unix_seconds: u64,
    ) -> Result<(), SignError> {
        headers.insert(
            header::API_VERSION,
            HeaderValue::from_static(header::API_VERSION_VALUE),
        );
        headers
            .entry(header::BODY_RAW_SIZE)
            .or_insert_with(|| HeaderValue::from(request.body.len()));
        if let Some(token) = &self.key.security_token {
            let mut value =
                HeaderValue::from_bytes(token.expose()).map_err(|_| SignError::Unprintable)?;
            value.set_sensitive(true);
            headers.insert(header::SECURITY_TOKEN, value);
        }
        let authorization = match self.version {
            SignatureVersion::V1 => self.sign_v1(request, headers, unix_seconds)?,
            SignatureVersion::V4 => self.sign_v4(request, headers, unix_seconds)?,
        };
        let mut value = text(&authorization)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
        Ok(())
    }

    fn sign_v1(
        &self,
        request: &Unsigned<'_>,
        headers: &mut HeaderMap,
        unix_seconds: u64,
    ) -> Result<String, SignError> {
        let method = v1::Method::HmacSha1;
        headers.insert(
            header::SIGNATURE_METHOD,
            HeaderValue::from_static(method.as_str()),
        );
        headers.insert(DATE, text(&http_date(unix_seconds))?);
        if !request.body.is_empty() {
            headers.insert(header::CONTENT_MD5, text(&mac::md5_hex(request.body))?);
        }
        let value = |name| Ok::<_, Repeated>(single(headers, &name)?.unwrap_or_default());
        let date = single(headers, &header::DATE)?;
        let mut string_to_sign = Vec::with_capacity(512);
        v1::StringToSign {
            method: request.method.as_str(),
            md5: value(header::CONTENT_MD5)?,
            content_type: value(CONTENT_TYPE)?,
            date: date.unwrap_or(value(DATE)?),
            headers: &v1::headers(headers)?,
            path: request.path.as_bytes(),
            query: v1::Query::Decoded(&plain_query(request.query)),
        }
        .write(&mut string_to_sign);
        let signature = method.sign(self.key.secret.expose(), &string_to_sign);
        Ok(format!("LOG {}:{signature}", self.key.id))
    }

    fn sign_v4(
        &self,
        request: &Unsigned<'_>,
        headers: &mut HeaderMap,
        unix_seconds: u64,
    ) -> Result<String, SignError> {
        let date = basic_date(unix_seconds);
        let (day, _) = date.split_once('T').unwrap_or((&date, ""));
        let content = mac::hex(&mac::sha256(request.body));
        headers.insert(header::DATE, text(&date)?);
        headers.insert(header::CONTENT_SHA256, text(&content)?);
        let mut canonical = Vec::with_capacity(1024);
        v4::CanonicalRequest {
            method: request.method.as_str(),
            path: request.path.as_bytes(),
            params: &plain_query(request.query),
            encoding: v4::Encoding::Standard,
            headers: &v4::headers(headers)?,
            content_sha256: content.as_bytes(),
        }
        .write(&mut canonical);
        let scope = v4::Scope {
            date: &date,
            day,
            region: self.region,
        };
        let key = scope.signing_key(self.key.secret.expose());
        let signature = mac::hex(&scope.mac(&key, &canonical));
        Ok(format!(
            "{} Credential={}/{},Signature={signature}",
            v4::ALGORITHM,
            self.key.id,
            scope.text()
        ))
    }
}

fn text(value: &str) -> Result<HeaderValue, SignError> {
    HeaderValue::from_str(value).map_err(|_| SignError::Unprintable)
}
