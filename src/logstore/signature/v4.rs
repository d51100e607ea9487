//! Signature version 4: `SLS4-HMAC-SHA256 Credential={id}/{scope},Signature={hex}`.
//!
//! The header does not say which headers are signed: both sides derive that.

use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::canonical::{Param, Repeated, is_store_header, signed_headers};
use super::mac;

/// The scheme in `Authorization`, and the first line of what is signed.
pub(super) const ALGORITHM: &str = "SLS4-HMAC-SHA256";
/// The last two parts of a scope.
pub(super) const SERVICE: &str = "sls";
pub(super) const TERMINATOR: &str = "aliyun_v4_request";
/// SHA-256 of no bytes. A client may send it with any body, and thereby leave the body unsigned.
pub(super) const EMPTY_SHA256: &str =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What RFC 3986 calls unreserved stays as it is.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The request in one form: method, path, query, headers, their names, and the hash of the body.
pub(super) fn canonical_request(
    method: &str,
    path: &[u8],
    params: &[Param<'_>],
    headers: &HeaderMap,
    content_sha256: &[u8],
) -> Result<Vec<u8>, Repeated> {
    let mut text = Vec::with_capacity(1024);
    text.extend_from_slice(method.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(path);
    text.push(b'\n');
    for (at, param) in params.iter().enumerate() {
        if at > 0 {
            text.push(b'&');
        }
        text.extend_from_slice(&param.key);
        if let Some(value) = param.value.as_deref().filter(|value| !value.is_empty()) {
            text.push(b'=');
            text.extend(percent_encode(value, VALUE).flat_map(str::bytes));
        }
    }
    text.push(b'\n');
    let is_signed = |name: &str| is_store_header(name) || name == "content-type" || name == "host";
    let signed = signed_headers(headers, is_signed)?;
    for (name, value) in &signed {
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        text.extend_from_slice(value);
        text.push(b'\n');
    }
    text.push(b'\n');
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    text.extend_from_slice(names.join(";").as_bytes());
    text.push(b'\n');
    text.extend_from_slice(content_sha256);
    Ok(text)
}

/// The scope of a key: a day (`YYYYMMDD`) and a region.
pub(super) fn scope(day: &str, region: &str) -> String {
    format!("{day}/{region}/{SERVICE}/{TERMINATOR}")
}

/// `date` is `x-log-date`.
pub(super) fn string_to_sign(date: &str, scope: &str, canonical_request: &[u8]) -> String {
    let hash = mac::sha256_hex(canonical_request);
    format!("{ALGORITHM}\n{date}\n{scope}\n{hash}")
}

/// The key of a day and a region.
pub(super) fn signing_key(secret: &[u8], day: &str, region: &str) -> Vec<u8> {
    let root = [b"aliyun_v4", secret].concat();
    [day, region, SERVICE, TERMINATOR]
        .iter()
        .fold(root, |key, part| mac::hmac_sha256(&key, part.as_bytes()))
}

/// The signature in its text form.
pub(super) fn signature(signing_key: &[u8], string_to_sign: &str) -> String {
    mac::hex(&mac::hmac_sha256(signing_key, string_to_sign.as_bytes()))
}
