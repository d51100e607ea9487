//! Signature version 1: `LOG {id}:{base64 of an HMAC}`.

use http::HeaderMap;

use super::canonical::{
    Param, Repeated, SignedHeader, decoded_path, is_store_header, parse_query, signed_headers,
    single, without_charset, write_headers,
};
use super::mac;
use super::verify::{RequestParts, VerifyError, required};
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

    /// The signature in its text form.
    pub(super) fn sign(self, secret: &[u8], text: &[u8]) -> String {
        match self {
            Self::HmacSha1 => mac::base64(&mac::hmac_sha1(secret, &[text])),
            Self::HmacSha256 => mac::base64(&mac::hmac_sha256(secret, &[text])),
        }
    }

    /// Whether `signature` is the one of `text`. The time does not depend on where they differ.
    pub(super) fn matches(self, secret: &[u8], text: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::HmacSha1 => mac::is_base64_of(signature, &mac::hmac_sha1(secret, &[text])),
            Self::HmacSha256 => mac::is_base64_of(signature, &mac::hmac_sha256(secret, &[text])),
        }
    }
}

/// The query in what is signed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Query<'a> {
    /// Decoded parameters, sorted.
    Decoded(&'a [Param<'a>]),
    /// As it stands on the wire. No server signs that; some clients do by mistake.
    Wire(&'a str),
}

/// What is signed: the method, three headers as they were sent, the store's headers, and the path
/// with its query.
#[derive(Clone, Copy, Debug)]
pub(super) struct StringToSign<'a> {
    pub(super) method: &'a str,
    pub(super) md5: &'a [u8],
    pub(super) content_type: &'a [u8],
    pub(super) date: &'a [u8],
    pub(super) headers: &'a [SignedHeader<'a>],
    pub(super) path: &'a [u8],
    pub(super) query: Query<'a>,
}

impl StringToSign<'_> {
    /// Writes it in place of what `out` holds.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        for line in [
            self.method.as_bytes(),
            self.md5,
            self.content_type,
            self.date,
        ] {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        write_headers(out, self.headers);
        out.extend_from_slice(self.path);
        match self.query {
            Query::Decoded(params) => write_params(out, params),
            Query::Wire("") => {}
            Query::Wire(query) => {
                out.push(b'?');
                out.extend_from_slice(query.as_bytes());
            }
        }
    }
}

fn write_params(out: &mut Vec<u8>, params: &[Param<'_>]) {
    for (at, param) in params.iter().enumerate() {
        out.push(if at == 0 { b'?' } else { b'&' });
        out.extend_from_slice(&param.key);
        if let Some(value) = &param.value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
}

/// The store's headers that are signed, in order: all but the date, which has a line of its own.
pub(super) fn headers(headers: &HeaderMap) -> Result<Vec<SignedHeader<'_>>, Repeated> {
    let is_signed = |name: &str| is_store_header(name) && name != header::DATE.as_str();
    signed_headers(headers, is_signed)
}

/// A request as version 1 sees it.
#[derive(Debug)]
pub(super) struct Presented<'a> {
    pub(super) hash: Method,
    pub(super) parts: RequestParts<'a>,
    pub(super) md5: &'a [u8],
    pub(super) content_type: &'a [u8],
    pub(super) date: &'a [u8],
    pub(super) headers: Vec<SignedHeader<'a>>,
    pub(super) params: Vec<Param<'a>>,
}

impl<'a> Presented<'a> {
    /// Reads a request whose date was found already.
    pub(super) fn read(parts: &RequestParts<'a>, date: &'a [u8]) -> Result<Self, VerifyError> {
        let hash = Method::from_header(required(parts.headers, header::SIGNATURE_METHOD)?)
            .ok_or(VerifyError::InvalidHeader(header::SIGNATURE_METHOD))?;
        Ok(Self {
            hash,
            parts: *parts,
            md5: single(parts.headers, &header::CONTENT_MD5)?.unwrap_or_default(),
            content_type: single(parts.headers, &http::header::CONTENT_TYPE)?.unwrap_or_default(),
            date,
            headers: headers(parts.headers)?,
            params: parse_query(parts.query),
        })
    }

    /// What the server signs first: the content type and the path as they stand on the wire.
    pub(super) fn string_to_sign(&self) -> StringToSign<'_> {
        StringToSign {
            method: self.parts.method,
            md5: self.md5,
            content_type: self.content_type,
            date: self.date,
            headers: &self.headers,
            path: self.parts.path.as_bytes(),
            query: Query::Decoded(&self.params),
        }
    }

    /// Whether one of the at most four forms that a client may sign was signed with `secret`.
    pub(super) fn matches(&self, secret: &[u8], signature: &[u8]) -> bool {
        let mut text = Vec::with_capacity(1024);
        let mut is_signed = |form: &StringToSign<'_>| {
            form.write(&mut text);
            self.hash.matches(secret, &text, signature)
        };
        let wire = self.string_to_sign();
        let bare = without_charset(self.content_type);
        let with = |content_type| StringToSign {
            content_type,
            ..wire
        };
        if is_signed(&wire) || bare.is_some_and(|bare| is_signed(&with(bare))) {
            return true;
        }
        let Some(path) = decoded_path(self.parts.path) else {
            return false;
        };
        [Some(self.content_type), bare]
            .into_iter()
            .flatten()
            .any(|content_type| {
                is_signed(&StringToSign {
                    path: &path,
                    ..with(content_type)
                })
            })
    }
}
