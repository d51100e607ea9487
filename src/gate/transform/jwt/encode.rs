//! `jwt_encoding`: an object becomes the payload of a token.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::algorithm::Algorithm;
use super::error::{EncodeError, LoadError};
use super::json;
use super::sign::Signer;
use super::{MAX_HEADER, MAX_TOKEN};

/// Makes tokens with one key. Compiled once, when the configuration is loaded.
pub struct Encoding {
    algorithm: Algorithm,
    /// The header in base64url, and a dot.
    head: String,
    signer: Signer,
}

impl Encoding {
    /// Puts a key to an algorithm. The key is the bytes of a secret (HS), or the PEM text of a
    /// private key. `headers` follow `typ` and `alg` in the order given; a `typ` among them takes
    /// the place of `JWT`.
    ///
    /// # Errors
    /// When the key does not fit, or the headers cannot be written.
    pub fn new(
        algorithm: Algorithm,
        key: &[u8],
        headers: &[(String, Value)],
    ) -> Result<Self, LoadError> {
        Ok(Self {
            algorithm,
            head: head(algorithm, headers)?,
            signer: Signer::new(algorithm, key)?,
        })
    }

    /// Appends the token of `payload`, the text of a JSON object, to `out`. Members, texts and
    /// numbers stay as they are; white space between them goes. After an error `out` is as before.
    ///
    /// # Errors
    /// When the payload is not an object, or out of bounds.
    pub fn encode(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if payload.len() > MAX_TOKEN {
            return Err(EncodeError::TooLong);
        }
        let mut compact = Vec::new();
        json::compact(payload, &mut compact, |_, _| {})?;
        let payload = URL_SAFE_NO_PAD.encode(&compact);
        let message = [self.head.as_str(), payload.as_str()].concat();
        if message.len() > MAX_TOKEN {
            return Err(EncodeError::TooLong);
        }
        let signature = self.signer.sign(message.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signature.ok_or(EncodeError::Signing)?);
        if message.len() + 1 + signature.len() > MAX_TOKEN {
            return Err(EncodeError::TooLong);
        }
        out.extend_from_slice(message.as_bytes());
        out.push(b'.');
        out.extend_from_slice(signature.as_bytes());
        Ok(())
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoding")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// The first part of every token, with its dot.
fn head(algorithm: Algorithm, headers: &[(String, Value)]) -> Result<String, LoadError> {
    let mut typ = "JWT";
    let mut others = String::new();
    for (name, value) in headers {
        match name.as_str() {
            "alg" => return Err(LoadError::Header("alg")),
            "crit" => return Err(LoadError::Header("crit")),
            "b64" => return Err(LoadError::Header("b64")),
            "typ" => typ = value.as_str().ok_or(LoadError::HeaderType)?,
            name => {
                let name = Value::from(name);
                others.push_str(&format!(",{name}:{value}"));
            }
        }
    }
    let typ = Value::from(typ);
    let text = format!(r#"{{"typ":{typ},"alg":"{algorithm}"{others}}}"#);
    if text.len() > MAX_HEADER {
        return Err(LoadError::HeadersTooLong);
    }
    let mut compact = Vec::new();
    json::compact(text.as_bytes(), &mut compact, |_, _| {}).map_err(LoadError::Headers)?;
    let mut head = URL_SAFE_NO_PAD.encode(compact);
    head.push('.');
    Ok(head)
}
