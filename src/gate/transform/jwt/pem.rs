//! The one key in a PEM text (RFC 7468).
//!
//! Promise: what the text holds is never repeated, and copies of it are wiped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::MAX_KEY;
use super::error::KeyFault;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// The forms of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// PrivateKeyInfo (RFC 5208).
    Pkcs8,
    /// RSAPrivateKey (RFC 8017).
    Pkcs1,
    /// ECPrivateKey (RFC 5915).
    Sec1,
    /// SubjectPublicKeyInfo (RFC 5280).
    Spki,
    /// RSAPublicKey (RFC 8017).
    Pkcs1Public,
}

/// The key in a text, as DER.
pub(super) fn read(text: &[u8]) -> Result<(Form, Zeroizing<Vec<u8>>), KeyFault> {
    if text.len() > MAX_KEY {
        return Err(KeyFault::TooLong);
    }
    let mut rest = std::str::from_utf8(text).map_err(|_| KeyFault::NotPem)?;
    let (mut found, mut others) = (None, false);
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let (label, after) = after.split_once(DASHES).ok_or(KeyFault::NotPem)?;
        let (body, after) = after.split_once(END).ok_or(KeyFault::NotPem)?;
        let after = after.strip_prefix(label).ok_or(KeyFault::NotPem)?;
        rest = after.strip_prefix(DASHES).ok_or(KeyFault::NotPem)?;
        let form = match label {
            "PRIVATE KEY" => Form::Pkcs8,
            "RSA PRIVATE KEY" => Form::Pkcs1,
            "EC PRIVATE KEY" => Form::Sec1,
            "PUBLIC KEY" => Form::Spki,
            "RSA PUBLIC KEY" => Form::Pkcs1Public,
            "ENCRYPTED PRIVATE KEY" => return Err(KeyFault::Encrypted),
            // `openssl ecparam -genkey` writes EC PARAMETERS before the key, which names them too.
            _ => {
                others = true;
                continue;
            }
        };
        // The header of the old way to encrypt a key (RFC 1421).
        if body.contains("Proc-Type:") {
            return Err(KeyFault::Encrypted);
        }
        let mut compact = Zeroizing::new(String::with_capacity(body.len()));
        compact.extend(body.split_ascii_whitespace());
        let der = STANDARD.decode(&*compact).map_err(|_| KeyFault::NotPem)?;
        if found.replace((form, Zeroizing::new(der))).is_some() {
            return Err(KeyFault::Several);
        }
    }
    found.ok_or(if others {
        KeyFault::Form
    } else {
        KeyFault::NotPem
    })
}
