//! Why a signature does not match: what the server signs, and which line the client signed
//! differently.
//!
//! Promise: only the holder of a known key id gets here; what is shown was in the request itself,
//! without the security token, without control characters, and not without end. The work is bounded:
//! at most [`MAX_TRIES`] signatures of at most [`MAX_TRIED`] bytes each. When no line can be named,
//! none is: the secret may be another one.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};

use super::canonical::{SignedHeader, single};
use super::{mac, v1, v4};
use crate::logstore::header;

/// A header in which a client may send its own string-to-sign (v4: its canonical request), base64.
/// It is not signed. The answer to a mismatch then names the first line that differs.
pub const CLIENT_TEXT: HeaderName = HeaderName::from_static("x-tollgate-string-to-sign");
/// Longest value of that header that is read, in bytes.
const MAX_CLIENT_TEXT: usize = 8192;
/// Common mistakes that are tried at most.
const MAX_TRIES: usize = 10;
/// Longest text for which they are tried, in bytes.
const MAX_TRIED: usize = 4096;
/// How much of what was signed is told, in characters.
const MAX_ECHO: usize = 4096;
/// How much of a line that differs is told, in characters.
const MAX_LINE: usize = 256;

/// A signature that does not match, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The signature that was sent.
    pub signature: String,
    /// Which line differs, when that can be told; a sentence.
    pub difference: Option<String>,
    /// What the server signs, with any security token hidden; for v4 the canonical request.
    pub string_to_sign: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature {} not matched. ", self.signature)?;
        if let Some(difference) = &self.difference {
            write!(f, "{difference} ")?;
        }
        write!(f, "The server signs: {}", self.string_to_sign)
    }
}

/// Explains a mismatch of version 1.
pub(super) fn v1(request: &v1::Presented<'_>, secret: &[u8], signature: &str) -> Mismatch {
    let mut text = Vec::with_capacity(1024);
    request.string_to_sign().write(&mut text);
    let said = |client: &[u8]| first_difference(client, &text, name_v1);
    let difference = client_text(request.parts.headers)
        .map(|client| said(&client))
        .or_else(|| {
            let tried = (text.len() <= MAX_TRIED).then(|| mistake_v1(request, secret, signature));
            tried.flatten().map(signed_differently)
        });
    Mismatch {
        signature: printable(signature.as_bytes()),
        difference,
        string_to_sign: printable(&text),
    }
}

/// Explains a mismatch of version 4.
pub(super) fn v4(request: &v4::Presented<'_>, secret: &[u8], signature: &str) -> Mismatch {
    let mut text = Vec::with_capacity(1024);
    request.canonical_request().write(&mut text);
    let said = |client: &[u8]| first_difference(client, &text, name_v4);
    let difference = client_text(request.parts.headers)
        .map(|client| said(&client))
        .or_else(|| {
            let tried = (text.len() <= MAX_TRIED).then(|| mistake_v4(request, secret, signature));
            tried.flatten().map(signed_differently)
        });
    let scope = format!("{}\n{}\n", v4::ALGORITHM, request.scope.date);
    let of = " and the SHA-256 of the canonical request: ";
    let before = format!("{scope}{}{of}", request.scope.text());
    Mismatch {
        signature: printable(signature.as_bytes()),
        difference,
        string_to_sign: printable(&[before.as_bytes(), &text].concat()),
    }
}

fn signed_differently((line, how): (&'static str, &'static str)) -> String {
    format!("The client signed the line `{line}` differently: {how}.")
}

/// What the client says it has signed.
fn client_text(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = single(headers, &CLIENT_TEXT).ok()??;
    if value.len() > MAX_CLIENT_TEXT {
        return None;
    }
    STANDARD.decode(value).ok()
}

/// The name of a line by its place from 0, its own text, and whether it is the last one.
type Name = fn(usize, &str, bool) -> String;

fn name_v1(at: usize, line: &str, last: bool) -> String {
    match at {
        0 => "method".to_owned(),
        1 => "Content-MD5".to_owned(),
        2 => "Content-Type".to_owned(),
        3 => "date".to_owned(),
        _ if last => "path and query".to_owned(),
        _ => header_name(line),
    }
}

fn name_v4(at: usize, line: &str, last: bool) -> String {
    match at {
        0 => "method".to_owned(),
        1 => "path".to_owned(),
        2 => "query".to_owned(),
        _ if last => "hash of the body".to_owned(),
        _ if line.is_empty() => "empty line after the headers".to_owned(),
        _ if line.contains(':') => header_name(line),
        _ => "names of the signed headers".to_owned(),
    }
}

fn header_name(line: &str) -> String {
    line.split_once(':')
        .map_or(line, |(name, _)| name)
        .to_owned()
}

fn first_difference(client: &[u8], server: &[u8], name: Name) -> String {
    let (client, server) = (
        String::from_utf8_lossy(client),
        String::from_utf8_lossy(server),
    );
    if client == server {
        return "Both sides sign the same text, so the secret or the hash method differs."
            .to_owned();
    }
    let count = server.split('\n').count();
    let (mut theirs, mut ours) = (client.split('\n'), server.split('\n'));
    for at in 0.. {
        let (their, our) = (theirs.next(), ours.next());
        if their == our {
            if their.is_none() {
                break;
            }
            continue;
        }
        let named = name(at, our.or(their).unwrap_or_default(), at + 1 == count);
        return format!(
            "Line {} ({}) differs: the client signs {}, the server {}.",
            at + 1,
            shown(&named),
            quoted(their),
            quoted(our)
        );
    }
    "The texts differ.".to_owned()
}

fn quoted(line: Option<&str>) -> String {
    line.map_or_else(
        || "no such line".to_owned(),
        |line| format!("`{}`", shown(line)),
    )
}

/// A line, short and printable, and without a token.
fn shown(line: &str) -> String {
    let token = line.split_once(':').filter(|(name, _)| {
        name.trim()
            .eq_ignore_ascii_case(header::SECURITY_TOKEN.as_str())
    });
    match token {
        Some((name, _)) => format!("{}:(hidden)", name.trim()),
        None => line
            .chars()
            .filter(|c| !c.is_control())
            .take(MAX_LINE)
            .collect(),
    }
}

/// A line, and what the client made of it.
type Mistake = (&'static str, &'static str);

/// Tries one mistake after another, until one explains the signature or the bound is reached.
struct Tries<F> {
    is_signed: F,
    left: usize,
    found: Option<Mistake>,
}

impl<F> Tries<F> {
    fn new(is_signed: F) -> Self {
        Self {
            is_signed,
            left: MAX_TRIES,
            found: None,
        }
    }

    /// Tries `form`, if the request is one in which the mistake could be made.
    fn when<T>(&mut self, possible: bool, form: &T, mistake: Mistake)
    where
        F: FnMut(&T) -> bool,
    {
        if possible && self.found.is_none() && self.left > 0 {
            self.left -= 1;
            self.found = (self.is_signed)(form).then_some(mistake);
        }
    }
}

/// Where and how the text of version 1 often goes wrong.
fn mistake_v1(request: &v1::Presented<'_>, secret: &[u8], signature: &str) -> Option<Mistake> {
    let signature = signature.as_bytes();
    let mut text = Vec::with_capacity(1024);
    let right = request.string_to_sign();
    let mut tries = Tries::new(|form: &(v1::Method, v1::StringToSign<'_>)| {
        form.1.write(&mut text);
        form.0.matches(secret, &text, signature)
    });
    let hash = request.hash;
    let other_hash = match hash {
        v1::Method::HmacSha1 => v1::Method::HmacSha256,
        v1::Method::HmacSha256 => v1::Method::HmacSha1,
    };
    let mistake = (
        "x-log-signaturemethod",
        "it signed with another hash than the header names",
    );
    tries.when(true, &(other_hash, right), mistake);

    let of_http = single(request.parts.headers, &http::header::DATE)
        .ok()
        .flatten();
    let unset = of_http.is_none_or(|date| date == request.date);
    let form = v1::StringToSign {
        date: of_http.filter(|_| !unset).unwrap_or_default(),
        ..right
    };
    let mistake = if unset {
        ("date", "it left the line empty")
    } else {
        ("date", "it signed Date, but x-log-date is there and counts")
    };
    tries.when(true, &(hash, form), mistake);

    for (possible, content_type, how) in content_types(request.content_type) {
        let form = v1::StringToSign {
            content_type,
            ..right
        };
        tries.when(possible, &(hash, form), ("Content-Type", how));
    }

    let has_md5 = !request.md5.is_empty();
    let form = v1::StringToSign { md5: b"", ..right };
    tries.when(
        has_md5,
        &(hash, form),
        ("Content-MD5", "it left the line empty"),
    );
    let other_case = other_case(request.md5);
    let form = v1::StringToSign {
        md5: &other_case,
        ..right
    };
    let mistake = (
        "Content-MD5",
        "it signed the hex in the other case than it sent",
    );
    tries.when(has_md5, &(hash, form), mistake);

    headers_v1(&mut tries, request, right);
    tries.found
}

/// Where the headers or the query of version 1 often go wrong.
fn headers_v1<F>(tries: &mut Tries<F>, request: &v1::Presented<'_>, right: v1::StringToSign<'_>)
where
    F: for<'x> FnMut(&(v1::Method, v1::StringToSign<'x>)) -> bool,
{
    let hash = request.hash;
    for (name, line) in [
        (header::BODY_RAW_SIZE, "x-log-bodyrawsize"),
        (header::SECURITY_TOKEN, "x-acs-security-token"),
    ] {
        let headers = without(&request.headers, &name);
        let form = v1::StringToSign {
            headers: &headers,
            ..right
        };
        let possible = headers.len() < request.headers.len();
        tries.when(
            possible,
            &(hash, form),
            (line, "it did not sign this header"),
        );
    }

    let form = v1::StringToSign {
        query: v1::Query::Wire(request.parts.query),
        ..right
    };
    let mistake = (
        "path and query",
        "it signed the query encoded or unsorted; it is signed decoded and sorted by key",
    );
    tries.when(!request.params.is_empty(), &(hash, form), mistake);

    let dated = with_date(request);
    let form = v1::StringToSign {
        headers: &dated,
        ..right
    };
    let mistake = (
        "x-log-date",
        "it signed this header among the others; in v1 it stands in the line of the date only",
    );
    tries.when(dated.len() > request.headers.len(), &(hash, form), mistake);
}

/// Where and how the canonical request of version 4 often goes wrong.
fn mistake_v4(request: &v4::Presented<'_>, secret: &[u8], signature: &str) -> Option<Mistake> {
    let key = request.scope.signing_key(secret);
    let mut text = Vec::with_capacity(1024);
    let right = request.canonical_request();
    let mut tries = Tries::new(|form: &v4::CanonicalRequest<'_>| {
        form.write(&mut text);
        mac::is_hex_of(signature.as_bytes(), &request.scope.mac(&key, &text))
    });
    let form = |encoding| v4::CanonicalRequest { encoding, ..right };
    let (possible, how) = (
        !request.params.is_empty(),
        "it left the values as they are; in v4 they are percent-encoded",
    );
    tries.when(possible, &form(v4::Encoding::Plain), ("query", how));
    let empty =
        |param: &super::canonical::Param<'_>| param.value.as_deref().unwrap_or_default().is_empty();
    let how = "it wrote `=` before an empty value; in v4 it is left out";
    let form = form(v4::Encoding::EmptyValues);
    tries.when(request.params.iter().any(empty), &form, ("query", how));

    let host = value_of(&request.headers, &http::header::HOST);
    for (possible, host, how) in hosts(host) {
        let headers = replaced(&request.headers, &http::header::HOST, &host);
        let form = v4::CanonicalRequest {
            headers: &headers,
            ..right
        };
        tries.when(possible, &form, ("host", how));
    }

    for (name, line) in [
        (http::header::CONTENT_TYPE, "content-type"),
        (header::SECURITY_TOKEN, "x-acs-security-token"),
        (header::BODY_RAW_SIZE, "x-log-bodyrawsize"),
        (header::DATE, "x-log-date"),
        (http::header::HOST, "host"),
    ] {
        let headers = without(&request.headers, &name);
        let form = v4::CanonicalRequest {
            headers: &headers,
            ..right
        };
        let possible = headers.len() < request.headers.len();
        tries.when(possible, &form, (line, "it did not sign this header"));
    }
    tries.found
}

/// Content types that a client may have signed instead of the one that arrived.
fn content_types(sent: &[u8]) -> [(bool, &[u8], &'static str); 2] {
    let bare = sent.split(|byte| *byte == b';').next().unwrap_or_default();
    let bare = bare.trim_ascii_end();
    [
        (!sent.is_empty(), b"", "it left the line empty"),
        (
            bare.len() < sent.len(),
            bare,
            "it signed the type without its parameters",
        ),
    ]
}

/// Hosts that a client may have signed instead of the one that arrived.
fn hosts(sent: &[u8]) -> [(bool, Vec<u8>, &'static str); 3] {
    let port = sent.iter().rposition(|byte| *byte == b':');
    let bare = port.and_then(|at| sent.get(..at)).unwrap_or_default();
    let (has, sent_bare) = (port.is_some(), !sent.is_empty() && port.is_none());
    [
        (has, bare.to_vec(), "it signed the host without the port"),
        (
            sent_bare,
            [sent, b":443"].concat(),
            "it signed the host with the port 443",
        ),
        (
            sent_bare,
            [sent, b":80"].concat(),
            "it signed the host with the port 80",
        ),
    ]
}

fn other_case(hex: &[u8]) -> Vec<u8> {
    if hex.iter().any(u8::is_ascii_uppercase) {
        hex.to_ascii_lowercase()
    } else {
        hex.to_ascii_uppercase()
    }
}

fn without<'a>(headers: &[SignedHeader<'a>], left_out: &HeaderName) -> Vec<SignedHeader<'a>> {
    let mut kept = headers.to_vec();
    kept.retain(|(name, _)| *name != left_out);
    kept
}

fn value_of<'a>(headers: &[SignedHeader<'a>], wanted: &HeaderName) -> &'a [u8] {
    let found = headers.iter().find(|(name, _)| *name == wanted);
    found.map_or(&b""[..], |(_, value)| value)
}

fn replaced<'a>(
    headers: &[SignedHeader<'a>],
    changed: &HeaderName,
    to: &'a [u8],
) -> Vec<SignedHeader<'a>> {
    let change = |&(name, value)| (name, if name == changed { to } else { value });
    headers.iter().map(change).collect()
}

/// The headers of version 1 and `x-log-date`.
fn with_date<'a>(request: &v1::Presented<'a>) -> Vec<SignedHeader<'a>> {
    let mut headers = request.headers.clone();
    let all = &mut request.parts.headers.iter();
    if let Some((name, value)) = all.find(|(name, _)| *name == header::DATE) {
        headers.push((name, value.as_bytes().trim_ascii()));
        headers.sort_unstable_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
    }
    headers
}

/// What was signed, for people: without the token, without control characters but line breaks, and
/// not without end.
pub(super) fn printable(bytes: &[u8]) -> String {
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
