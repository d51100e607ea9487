//! Signature version 4: `SLS4-HMAC-SHA256 Credential={id}/{scope},Signature={hex}`.
//!
//! The header does not say which headers are signed: both sides derive that.

use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::canonical::{
    Param, Repeated, SignedHeader, decoded_path, is_store_header, parse_query, signed_headers,
    without_charset, write_headers,
};
use super::mac;
use super::verify::{RequestParts, VerifyError, required};
use crate::logstore::header;

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

/// How parameters stand in the canonical request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Values encoded, and no `=` before an empty one.
    Standard,
    /// Values as they are. No server signs that; some clients do by mistake.
    Plain,
    /// Values encoded, and `=` before empty ones, as in v1: another mistake.
    EmptyValues,
}

/// The request in one form: method, path, query, headers, their names, and the hash of the body.
#[derive(Clone, Copy, Debug)]
pub(super) struct CanonicalRequest<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a [u8],
    pub(super) params: &'a [Param<'a>],
    pub(super) encoding: Encoding,
    pub(super) headers: &'a [SignedHeader<'a>],
    pub(super) content_sha256: &'a [u8],
}

impl CanonicalRequest<'_> {
    /// Writes it in place of what `out` holds.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.method.as_bytes());
        out.push(b'\n');
        out.extend_from_slice(self.path);
        out.push(b'\n');
        for (at, param) in self.params.iter().enumerate() {
            if at > 0 {
                out.push(b'&');
            }
            self.write_param(out, param);
        }
        out.push(b'\n');
        write_headers(out, self.headers);
        out.push(b'\n');
        for (at, (name, _)) in self.headers.iter().enumerate() {
            if at > 0 {
                out.push(b';');
            }
            out.extend_from_slice(name.as_str().as_bytes());
        }
        out.push(b'\n');
        out.extend_from_slice(self.content_sha256);
    }

    fn write_param(&self, out: &mut Vec<u8>, param: &Param<'_>) {
        out.extend_from_slice(&param.key);
        let value = param.value.as_deref().unwrap_or_default();
        if !value.is_empty() || self.encoding == Encoding::EmptyValues {
            out.push(b'=');
        }
        if self.encoding == Encoding::Plain {
            out.extend_from_slice(value);
        } else {
            for piece in percent_encode(value, VALUE) {
                out.extend_from_slice(piece.as_bytes());
            }
        }
    }
}

/// The headers that are signed, in order.
pub(super) fn headers(headers: &HeaderMap) -> Result<Vec<SignedHeader<'_>>, Repeated> {
    let is_signed = |name: &str| is_store_header(name) || name == "content-type" || name == "host";
    signed_headers(headers, is_signed)
}

/// When and where a signature holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    /// `x-log-date`.
    pub(super) date: &'a str,
    /// `YYYYMMDD`.
    pub(super) day: &'a str,
    pub(super) region: &'a str,
}

impl Scope<'_> {
    /// The scope of a key: a day and a region.
    pub(super) fn text(&self) -> String {
        format!("{}/{}/{SERVICE}/{TERMINATOR}", self.day, self.region)
    }

    /// The key of the day and the region.
    pub(super) fn signing_key(&self, secret: &[u8]) -> [u8; 32] {
        let mut root = zeroize::Zeroizing::new(Vec::with_capacity(9 + secret.len()));
        root.extend_from_slice(b"aliyun_v4");
        root.extend_from_slice(secret);
        let of_day = mac::hmac_sha256(&root, &[self.day.as_bytes()]);
        [self.region, SERVICE, TERMINATOR]
            .iter()
            .fold(of_day, |key, part| {
                mac::hmac_sha256(&key, &[part.as_bytes()])
            })
    }

    /// The MAC of a canonical request.
    pub(super) fn mac(&self, signing_key: &[u8], canonical_request: &[u8]) -> [u8; 32] {
        let hash = mac::hex32(&mac::sha256(canonical_request));
        let lines = [
            ALGORITHM.as_bytes(),
            b"\n",
            self.date.as_bytes(),
            b"\n",
            self.day.as_bytes(),
            b"/",
            self.region.as_bytes(),
            b"/",
            SERVICE.as_bytes(),
            b"/",
            TERMINATOR.as_bytes(),
            b"\n",
            &hash,
        ];
        mac::hmac_sha256(signing_key, &lines)
    }
}

/// A request as version 4 sees it.
#[derive(Debug)]
pub(super) struct Presented<'a> {
    pub(super) scope: Scope<'a>,
    pub(super) parts: RequestParts<'a>,
    pub(super) headers: Vec<SignedHeader<'a>>,
    pub(super) params: Vec<Param<'a>>,
    pub(super) content_sha256: &'a [u8],
}

impl<'a> Presented<'a> {
    /// Reads a request whose date was found already.
    pub(super) fn read(parts: &RequestParts<'a>, scope: Scope<'a>) -> Result<Self, VerifyError> {
        let of_date = scope.date.split_once('T').map(|(day, _)| day);
        if of_date != Some(scope.day) {
            return Err(VerifyError::InvalidHeader(header::DATE));
        }
        Ok(Self {
            scope,
            parts: *parts,
            headers: headers(parts.headers)?,
            params: parse_query(parts.query),
            content_sha256: required(parts.headers, header::CONTENT_SHA256)?,
        })
    }

    /// What the server signs first: the headers and the path as they stand on the wire.
    pub(super) fn canonical_request(&self) -> CanonicalRequest<'_> {
        CanonicalRequest {
            method: self.parts.method,
            path: self.parts.path.as_bytes(),
            params: &self.params,
            encoding: Encoding::Standard,
            headers: &self.headers,
            content_sha256: self.content_sha256,
        }
    }

    /// Whether one of the at most four forms that a client may sign was signed with `secret`.
    pub(super) fn matches(&self, secret: &[u8], signature: &[u8]) -> bool {
        let key = self.scope.signing_key(secret);
        let mut text = Vec::with_capacity(1024);
        let mut is_signed = |form: &CanonicalRequest<'_>| {
            form.write(&mut text);
            mac::is_hex_of(signature, &self.scope.mac(&key, &text))
        };
        let wire = self.canonical_request();
        if is_signed(&wire) {
            return true;
        }
        let bare = self.bare_headers();
        let with = |headers| CanonicalRequest { headers, ..wire };
        if bare.as_ref().is_some_and(|bare| is_signed(&with(bare))) {
            return true;
        }
        let Some(path) = decoded_path(self.parts.path) else {
            return false;
        };
        [Some(&self.headers), bare.as_ref()]
            .into_iter()
            .flatten()
            .any(|headers| {
                is_signed(&CanonicalRequest {
                    path: &path,
                    ..with(headers)
                })
            })
    }

    /// The headers, when the charset of the content type is left out.
    fn bare_headers(&self) -> Option<Vec<SignedHeader<'a>>> {
        let at = self
            .headers
            .iter()
            .position(|(name, _)| **name == http::header::CONTENT_TYPE)?;
        let mut headers = self.headers.clone();
        let (_, value) = headers.get_mut(at)?;
        *value = without_charset(value)?;
        Some(headers)
    }
}
