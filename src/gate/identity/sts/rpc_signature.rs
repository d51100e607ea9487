//! The two ways in which calls of the token service are signed.
//!
//! - `Authorization: ACS3-HMAC-SHA256 Credential=..,SignedHeaders=..,Signature=..` (clients since
//!   about 2021). The body's hash, the query and the headers that it names are signed. It must name
//!   `host`, every `x-acs-` header that arrives, and `content-type` when there is a body.
//! - The parameter `Signature` (older clients): HMAC-SHA1 or HMAC-SHA256 over all other parameters
//!   and the method. A body that is not a form is refused, since it would not be signed.
//!
//! Promise: a [`Signed`] call was signed by the holder of its key, not long ago, with all that is
//! acted upon. An unknown key costs the work of a wrong secret. Not here: whether the nonce is new.

use std::time::Duration;

use http::{HeaderMap, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::RpcRequest;
use super::answer::{Code, Failure};
use super::parameters::Parameters;
use crate::gate::identity::access_keys::{AccessKeys, TEMPORARY};
use crate::logstore::signature::{SigningSecret, VerifyError, mac, parse_iso_date};

/// The scheme of newer clients.
pub(super) const ACS3: &str = "ACS3-HMAC-SHA256";
/// The version of the token service's API.
const VERSION: &str = "2015-04-01";
/// The most headers that a call may sign.
const MAX_SIGNED: usize = 32;
/// Longest nonce, in bytes.
const MAX_NONCE: usize = 128;
/// How much of what was signed is told, in characters.
const MAX_ECHO: usize = 4096;
/// What RFC 3986 calls unreserved stays as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A call that the holder of a key has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signed<'a> {
    /// Id of the key.
    pub(super) key_id: &'a str,
    /// What the key uses once.
    pub(super) nonce: &'a str,
    /// What is called.
    pub(super) action: &'a str,
}

/// Against what a call is checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Against<'a> {
    pub(super) keys: &'a AccessKeys,
    /// How far the time of a call may be from the server's.
    pub(super) window: Duration,
}

impl Against<'_> {
    /// Checks the signature of a call, in the way in which it is signed. `claimed` becomes the id
    /// of the key that it names, right or wrong.
    pub(super) fn check<'a>(
        &self,
        request: &RpcRequest<'a>,
        parameters: &'a Parameters<'_>,
        claimed: &mut Option<String>,
    ) -> Result<Signed<'a>, Failure> {
        let shown = |id: &str| Some(id.chars().filter(|c| !c.is_control()).take(128).collect());
        match once(request.headers, "authorization")? {
            Some(value) => {
                let claim = Acs3::parse(value).ok_or_else(incomplete)?;
                *claimed = shown(claim.key_id);
                self.acs3(request, parameters, &claim)
            }
            None => {
                let key_id = parameters.require("AccessKeyId")?;
                *claimed = shown(key_id);
                self.rpc(request, parameters, key_id)
            }
        }
    }

    fn acs3<'a>(
        &self,
        request: &RpcRequest<'a>,
        parameters: &'a Parameters<'_>,
        claim: &Acs3<'a>,
    ) -> Result<Signed<'a>, Failure> {
        let headers = request.headers;
        let version = required(headers, "x-acs-version")?;
        let action = required(headers, "x-acs-action")?;
        same_as_parameter(parameters, "Action", action)?;
        same_as_parameter(parameters, "Version", version)?;
        check_version(version)?;
        self.check_time(required(headers, "x-acs-date")?, request.unix_seconds)?;
        let nonce = check_nonce(required(headers, "x-acs-signature-nonce")?)?;
        let content = required(headers, "x-acs-content-sha256")?;
        if mac::unhex(content.as_bytes()) != Some(mac::sha256(request.body)) {
            let message = "x-acs-content-sha256 is not the hash of the body.";
            return Err(Failure::new(Code::SignatureDoesNotMatch, message));
        }
        claim.covers(request)?;
        let given = once(headers, "x-acs-security-token")?;
        refuse_temporary(claim.key_id, given)?;
        let text = claim.canonical_request(request, content)?;
        let hash = mac::hex32(&mac::sha256(text.as_bytes()));
        self.compare(claim.key_id, &text, |secret| {
            let expected = mac::hmac_sha256(secret, &[ACS3.as_bytes(), b"\n", &hash]);
            mac::is_hex_of(claim.signature.as_bytes(), &expected)
        })?;
        Ok(Signed {
            key_id: claim.key_id,
            nonce,
            action,
        })
    }

    fn rpc<'a>(
        &self,
        request: &RpcRequest<'a>,
        parameters: &'a Parameters<'_>,
        key_id: &'a str,
    ) -> Result<Signed<'a>, Failure> {
        let signature = parameters.require("Signature")?;
        let sha256 = match parameters.require("SignatureMethod")? {
            "HMAC-SHA1" => false,
            "HMAC-SHA256" => true,
            _ => return Err(incomplete()),
        };
        if parameters.get("SignatureVersion") != Some("1.0") {
            return Err(incomplete());
        }
        if !request.body.is_empty() && !is_form(request.headers)? {
            let message = "The body is not application/x-www-form-urlencoded, so nothing signs it.";
            return Err(Failure::new(Code::IncompleteSignature, message));
        }
        check_version(parameters.require("Version")?)?;
        let action = parameters.require("Action")?;
        self.check_time(parameters.require("Timestamp")?, request.unix_seconds)?;
        let nonce = check_nonce(parameters.require("SignatureNonce")?)?;
        refuse_temporary(key_id, parameters.get("SecurityToken"))?;
        let text = rpc_string_to_sign(request.method, parameters);
        self.compare(key_id, &text, |secret| {
            let mut key = zeroize::Zeroizing::new(Vec::with_capacity(secret.len() + 1));
            key.extend_from_slice(secret);
            key.push(b'&');
            let (signature, text) = (signature.as_bytes(), text.as_bytes());
            if sha256 {
                mac::is_base64_of(signature, &mac::hmac_sha256(&key, &[text]))
            } else {
                mac::is_base64_of(signature, &mac::hmac_sha1(&key, &[text]))
            }
        })?;
        Ok(Signed {
            key_id,
            nonce,
            action,
        })
    }

    fn check_time(&self, text: &str, now: u64) -> Result<(), Failure> {
        let time = parse_iso_date(text.as_bytes()).ok_or_else(|| {
            let message = "Specified time stamp or date value is not well formatted.";
            Failure::new(Code::InvalidTimeStampFormat, message)
        })?;
        if time.abs_diff(now) > self.window.as_secs() {
            let message = "Specified time stamp or date value is expired.";
            return Err(Failure::new(Code::InvalidTimeStampExpired, message));
        }
        Ok(())
    }

    /// Compares with the secret of a key; with none, the same work is done.
    fn compare(
        &self,
        key_id: &str,
        text: &str,
        matches: impl Fn(&[u8]) -> bool,
    ) -> Result<(), Failure> {
        let key = self.keys.find(key_id);
        let matched = matches(key.as_ref().map_or(b"", |key| key.secret()));
        match key {
            Ok(_) if matched => Ok(()),
            Ok(_) => {
                let legal = |c: &char| *c == '\n' || !c.is_control();
                let shown: String = text.chars().filter(legal).take(MAX_ECHO).collect();
                let message = format!(
                    "Specified signature is not matched with our calculation. server string to sign is:{shown}"
                );
                Err(Failure::new(Code::SignatureDoesNotMatch, message))
            }
            Err(VerifyError::DisabledKey { .. }) => {
                let message = "Specified access key is disabled.";
                Err(Failure::new(Code::InactiveAccessKeyId, message))
            }
            Err(_) => {
                let message = "Specified access key is not found.";
                Err(Failure::new(Code::InvalidAccessKeyId, message))
            }
        }
    }
}

/// What an `Authorization` header of the newer scheme says.
struct Acs3<'a> {
    key_id: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Acs3<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let (mut key_id, mut signed_headers, mut signature) = (None, None, None);
        for part in value.strip_prefix(ACS3)?.strip_prefix(' ')?.split(',') {
            let (name, value) = part.trim_ascii().split_once('=')?;
            let slot = match name {
                "Credential" => &mut key_id,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return None,
            };
            if slot.replace(value).is_some() {
                return None;
            }
        }
        Some(Self {
            key_id: key_id?,
            signed_headers: signed_headers?,
            signature: signature?,
        })
    }

    fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.signed_headers.split(';')
    }

    /// Checks that everything is signed that matters, in order, once.
    fn covers(&self, request: &RpcRequest<'_>) -> Result<(), Failure> {
        let names: Vec<&str> = self.names().take(MAX_SIGNED + 1).collect();
        let in_order = names.is_sorted_by(|a, b| a < b);
        if names.len() > MAX_SIGNED || !in_order {
            let message = "SignedHeaders must be sorted, each once, and not more than 32.";
            return Err(Failure::new(Code::IncompleteSignature, message));
        }
        for name in request.headers.keys().map(header::HeaderName::as_str) {
            let must = name == "host"
                || name.starts_with("x-acs-")
                || (name == "content-type" && !request.body.is_empty());
            if must && names.binary_search(&name).is_err() {
                let message = format!("The header {name} must be among SignedHeaders.");
                return Err(Failure::new(Code::IncompleteSignature, message));
            }
        }
        if names.binary_search(&"host").is_err() {
            return Err(incomplete());
        }
        Ok(())
    }

    fn canonical_request(&self, request: &RpcRequest<'_>, hash: &str) -> Result<String, Failure> {
        let mut text = String::with_capacity(1024);
        for line in [request.method, request.path] {
            text.push_str(line);
            text.push('\n');
        }
        push_parameters(&mut text, Parameters::read(request.query, "")?.iter());
        text.push('\n');
        for name in self.names() {
            let Some(value) = once(request.headers, name)? else {
                let message = format!("The header {} is signed, but not there.", echo(name));
                return Err(Failure::new(Code::IncompleteSignature, message));
            };
            text.push_str(name);
            text.push(':');
            text.push_str(value);
            text.push('\n');
        }
        text.push('\n');
        text.push_str(self.signed_headers);
        text.push('\n');
        text.push_str(hash);
        Ok(text)
    }
}

/// Appends encoded parameters, in order.
fn push_parameters<'a, 'b: 'a>(
    text: &mut String,
    parameters: impl Iterator<Item = &'a super::parameters::Pair<'b>>,
) {
    for (at, (name, value)) in parameters.enumerate() {
        if at > 0 {
            text.push('&');
        }
        text.extend(utf8_percent_encode(name, UNRESERVED));
        text.push('=');
        text.extend(utf8_percent_encode(value, UNRESERVED));
    }
}

/// What older clients sign: the method, and all parameters but the signature, encoded twice.
pub(super) fn rpc_string_to_sign(method: &str, parameters: &Parameters<'_>) -> String {
    let mut query = String::with_capacity(1024);
    let signed = parameters.iter().filter(|(name, _)| name != "Signature");
    push_parameters(&mut query, signed);
    format!("{method}&%2F&{}", utf8_percent_encode(&query, UNRESERVED))
}

/// Whether the body has the form of a query.
pub(super) fn is_form(headers: &HeaderMap) -> Result<bool, Failure> {
    let content_type = once(headers, "content-type")?.unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default();
    Ok(essence
        .trim_ascii()
        .eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// A header that may stand once, as text.
fn once<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Failure> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    let text = match first.map(|value| std::str::from_utf8(value.as_bytes())) {
        Some(Ok(text)) => Some(text.trim_ascii()),
        None => None,
        Some(Err(_)) => return Err(unreadable(name)),
    };
    if values.next().is_some() {
        return Err(unreadable(name));
    }
    Ok(text)
}

fn unreadable(name: &str) -> Failure {
    let message = format!("The header {} is there twice, or is not UTF-8.", echo(name));
    Failure::new(Code::IncompleteSignature, message)
}

fn required<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Failure> {
    let value = once(headers, name)?.filter(|value| !value.is_empty());
    value.ok_or_else(|| {
        let message = format!("The header {name} is mandatory for this action.");
        Failure::new(Code::IncompleteSignature, message)
    })
}

/// A header that says what a parameter may say too: they must agree.
fn same_as_parameter(
    parameters: &Parameters<'_>,
    name: &'static str,
    header: &str,
) -> Result<(), Failure> {
    match parameters.get(name) {
        Some(value) if value != header => {
            let message = format!("The parameter {name} is another than the header says.");
            Err(Failure::new(Code::InvalidParameter, message))
        }
        _ => Ok(()),
    }
}

fn check_version(version: &str) -> Result<(), Failure> {
    if version == VERSION {
        return Ok(());
    }
    let message = "Specified parameter Version is not valid.";
    Err(Failure::new(Code::InvalidVersion, message))
}

fn check_nonce(nonce: &str) -> Result<&str, Failure> {
    if nonce.len() <= MAX_NONCE {
        return Ok(nonce);
    }
    let message = "The signature nonce is longer than 128 bytes.";
    Err(Failure::new(Code::IncompleteSignature, message))
}

/// Temporary credentials assume no role: the chain of who acts for whom would be lost.
fn refuse_temporary(key_id: &str, token: Option<&str>) -> Result<(), Failure> {
    if token.is_none_or(str::is_empty) && !key_id.starts_with(TEMPORARY) {
        return Ok(());
    }
    let message = "Temporary credentials assume no role here. Sign with a long-lived key.";
    Err(Failure::new(Code::NoPermission, message))
}

fn incomplete() -> Failure {
    let message = "The request signature does not conform to Aliyun standards.";
    Failure::new(Code::IncompleteSignature, message)
}

fn echo(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}
