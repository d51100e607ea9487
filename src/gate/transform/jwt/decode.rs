//! `jwt_decoding`: the payload of a token, when it is as the rules say.
//!
//! Promise: the payload of a token whose signature is to be verified is not read before it is.
//! Headers choose the algorithm among the allowed ones and do nothing else.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::algorithm::Algorithm;
use super::claims::Claims;
use super::error::{DecodeError, LoadError};
use super::json;
use super::verify::Verifier;
use super::{MAX_HEADER, MAX_REQUIRED, MAX_TOKEN};
use crate::config::TokenOptions;

/// What a decoding asks of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecodeRules {
    /// The algorithms that a token may have. All of the type of the key.
    pub algorithms: Vec<Algorithm>,
    /// What is checked. Checks of claims that are left open follow `verify_signature`: claims that
    /// anybody could have written prove nothing.
    pub options: TokenOptions,
    /// Whom a token may be for. Empty: nobody, so a token with `aud` is refused.
    pub audience: Vec<String>,
    /// Who must have made a token.
    pub issuer: Option<String>,
    /// By how many seconds clocks may differ.
    pub leeway: u64,
}

/// Reads tokens with one key. Compiled once, when the configuration is loaded.
pub struct Decoding {
    /// `None`: signatures are not looked at.
    verifier: Option<Verifier>,
    checks: Checks,
}

/// The checks of claims, with no wish left open.
pub(super) struct Checks {
    pub(super) require: Vec<Arc<str>>,
    pub(super) aud: bool,
    pub(super) iss: bool,
    pub(super) exp: bool,
    pub(super) nbf: bool,
    pub(super) iat: bool,
    pub(super) audience: Vec<String>,
    pub(super) issuer: Option<String>,
    pub(super) leeway: u64,
}

impl Decoding {
    /// Puts a key to the rules. The key is the bytes of a secret (HS), or the PEM text of a public
    /// or private key; without verification it is not looked at and may be empty.
    ///
    /// # Errors
    /// When the key does not fit the algorithms.
    pub fn new(key: &[u8], rules: &DecodeRules) -> Result<Self, LoadError> {
        let options = &rules.options;
        if options.require.len() > MAX_REQUIRED {
            return Err(LoadError::TooManyRequired);
        }
        let verifier = if options.verify_signature {
            Some(Verifier::new(&rules.algorithms, key)?)
        } else {
            None
        };
        let wish = |wish: Option<bool>| wish.unwrap_or(options.verify_signature);
        let checks = Checks {
            require: options
                .require
                .iter()
                .map(|it| it.as_str().into())
                .collect(),
            aud: wish(options.verify_aud),
            iss: wish(options.verify_iss),
            exp: wish(options.verify_exp),
            nbf: wish(options.verify_nbf),
            iat: wish(options.verify_iat),
            audience: rules.audience.clone(),
            issuer: rules.issuer.clone(),
            leeway: rules.leeway,
        };
        Ok(Self { verifier, checks })
    }

    /// Appends the payload of `token` to `out`, as JSON without white space, its members in their
    /// order. `now` is in seconds since 1970. After an error `out` is as before.
    ///
    /// # Errors
    /// When the token is not one, or not as the rules say.
    pub fn decode(&self, token: &[u8], now: u64, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let before = out.len();
        let decoded = self.append(token, now, out);
        if decoded.is_err() {
            out.truncate(before);
        }
        decoded
    }

    fn append(&self, token: &[u8], now: u64, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        if token.len() > MAX_TOKEN {
            return Err(DecodeError::TooLong);
        }
        let parts = Parts::of(token).ok_or(DecodeError::Malformed)?;
        let algorithm = algorithm(&base64url(parts.header)?)?;
        let signature = base64url(parts.signature)?;
        if let Some(verifier) = &self.verifier {
            let name = algorithm.ok_or(DecodeError::Algorithm)?;
            let verified = verifier.verify(&name, parts.message, &signature);
            if !verified.ok_or(DecodeError::Algorithm)? {
                return Err(DecodeError::Signature);
            }
        }
        let payload = base64url(parts.payload)?;
        let mut claims = Claims::new(&self.checks);
        json::compact(&payload, out, |name, place| claims.see(name, place))
            .map_err(DecodeError::Payload)?;
        claims.check(out, now)
    }
}

impl fmt::Debug for Decoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoding")
            .field("verify_signature", &self.verifier.is_some())
            .finish_non_exhaustive()
    }
}

/// A token cut at its dots.
struct Parts<'a> {
    header: &'a [u8],
    payload: &'a [u8],
    /// What is signed: header, dot, payload.
    message: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(token: &'a [u8]) -> Option<Self> {
        let mut dots = memchr::memchr_iter(b'.', token);
        let (first, second) = (dots.next()?, dots.next()?);
        if dots.next().is_some() {
            return None;
        }
        Some(Self {
            header: token.get(..first)?,
            payload: token.get(first + 1..second)?,
            message: token.get(..second)?,
            signature: token.get(second + 1..)?,
        })
    }
}

/// Bytes of base64url without padding and without bits left over: one text for one value.
fn base64url(part: &[u8]) -> Result<Vec<u8>, DecodeError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| DecodeError::Malformed)
}

/// What a header says of the algorithm.
fn algorithm(header: &[u8]) -> Result<Option<String>, DecodeError> {
    if header.len() > MAX_HEADER {
        return Err(DecodeError::Header);
    }
    let mut compact = Vec::new();
    let (mut alg, mut critical) = (None, false);
    json::compact(header, &mut compact, |name, place| match name {
        "alg" => alg = Some(place),
        "crit" | "b64" => critical = true,
        _ => {}
    })
    .map_err(|_| DecodeError::Header)?;
    if critical {
        return Err(DecodeError::Critical);
    }
    let Some(place) = alg else {
        return Ok(None);
    };
    let name = compact.get(place).unwrap_or_default();
    serde_json::from_slice(name).map_err(|_| DecodeError::Header)
}
