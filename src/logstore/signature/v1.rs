//! Signature version 1: `LOG {id}:{base64 of an HMAC}`.

use http::HeaderMap;

use super::canonical::{Param, Repeated, is_store_header, signed_headers, single};
use super::mac;
use crate::logstore::header;

/// The hash of the HMAC, as `x-log-signaturemethod` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Every classic client.
    HmacSha1,
    /// The generated (OpenAPI) clients.
    HmacSha256,
}

impl Method {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha1 => "hmac-sha1",
            Self::HmacSha256 => "hmac-sha256",
        }
    }

    pub(super) fn from_header(value: &[u8]) -> Option<Self> {
        [Self::HmacSha1, Self::HmacSha256]
            .into_iter()
            .find(|method| value == method.as_str().as_bytes())
    }

    pub(super) fn mac(self, secret: &[u8], message: &[u8]) -> Vec<u8> {
        match self {
            Self::HmacSha1 => mac::hmac_sha1(secret, message),
            Self::HmacSha256 => mac::hmac_sha256(secret, message),
        }
    }
}

/// The text that is signed: the method, three headers as they were sent, the store's headers, and
/// the path with its decoded query.
pub(super) fn string_to_sign(
    method: &str,
    path: &[u8],
    params: &[Param<'_>],
    headers: &HeaderMap,
) -> Result<Vec<u8>, Repeated> {
    let mut text = Vec::with_capacity(512);
    text.extend_from_slice(method.as_bytes());
    text.push(b'\n');
    let date = match single(headers, &header::DATE)? {
        Some(date) => date,
        None => single(headers, &http::header::DATE)?.unwrap_or_default(),
    };
    let lines = [
        single(headers, &header::CONTENT_MD5)?.unwrap_or_default(),
        single(headers, &http::header::CONTENT_TYPE)?.unwrap_or_default(),
        date,
    ];
    for line in lines {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    let is_signed = |name: &str| is_store_header(name) && name != header::DATE.as_str();
    for (name, value) in signed_headers(headers, is_signed)? {
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        text.extend_from_slice(value);
        text.push(b'\n');
    }
    text.extend_from_slice(path);
    for (at, param) in params.iter().enumerate() {
        text.push(if at == 0 { b'?' } else { b'&' });
        text.extend_from_slice(&param.key);
        if let Some(value) = &param.value {
            text.push(b'=');
            text.extend_from_slice(value);
        }
    }
    Ok(text)
}
