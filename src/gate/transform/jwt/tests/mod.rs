//! Tokens made and read, and everything that must not be.

mod claims;
mod json;
mod keys;
mod loading;
mod scenarios;
mod tokens;
mod vectors;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::config::TokenOptions;

/// Some time in 2023.
const NOW: u64 = 1_700_000_000;

fn encode(encoding: &Encoding, payload: &str) -> String {
    let mut out = Vec::new();
    encoding.encode(payload.as_bytes(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn decode(decoding: &Decoding, token: &str) -> Result<String, DecodeError> {
    let mut out = b"before".to_vec();
    let decoded = decoding.decode(token.as_bytes(), NOW, &mut out);
    let text = String::from_utf8(out).unwrap();
    let text = text.strip_prefix("before").unwrap();
    assert!(decoded.is_ok() || text.is_empty(), "{text}");
    decoded.map(|()| text.to_owned())
}

/// With the secret `secret` and HS256.
fn secret_encoding() -> Encoding {
    Encoding::new(Algorithm::HS256, b"secret", &[]).unwrap()
}

fn rules(algorithms: &[Algorithm]) -> DecodeRules {
    DecodeRules {
        algorithms: algorithms.to_vec(),
        ..DecodeRules::default()
    }
}

fn secret_rules() -> DecodeRules {
    rules(&[Algorithm::HS256])
}

fn secret_decoding(rules: &DecodeRules) -> Decoding {
    Decoding::new(b"secret", rules).unwrap()
}

/// Reads without verification.
fn unverified() -> Decoding {
    let rules = DecodeRules {
        options: TokenOptions {
            verify_signature: false,
            ..TokenOptions::default()
        },
        ..DecodeRules::default()
    };
    Decoding::new(b"", &rules).unwrap()
}

/// A token of the secret with any header and payload.
fn forged(header: &[u8], payload: &[u8]) -> String {
    let message = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = message.join(".");
    let key = hmac_key::HmacKey::new(Algorithm::HS256, b"secret").unwrap();
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

const HEADER: &[u8] = br#"{"typ":"JWT","alg":"HS256"}"#;
