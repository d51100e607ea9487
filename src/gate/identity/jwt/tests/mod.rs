//! Tests of tokens: makers of tokens with every algorithm, which can also make wrong ones.

mod attacks;
mod claims;
mod inherit;
mod keys;
mod sources;
mod vectors;
mod verdicts;

use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::Hmac;
use serde_json::{Value, json};
use sha2::{Sha256, Sha384, Sha512};

use super::header::MAX_TOKEN;
use super::*;
use crate::config::JwtKey;
use crate::foundation::clock;
use crate::foundation::secret::{Secret, SecretRef};
use crate::foundation::units::Span;

pub(super) const ALL: [JwtAlgorithm; 12] = [
    JwtAlgorithm::HS256,
    JwtAlgorithm::HS384,
    JwtAlgorithm::HS512,
    JwtAlgorithm::RS256,
    JwtAlgorithm::RS384,
    JwtAlgorithm::RS512,
    JwtAlgorithm::PS256,
    JwtAlgorithm::PS384,
    JwtAlgorithm::PS512,
    JwtAlgorithm::ES256,
    JwtAlgorithm::ES384,
    JwtAlgorithm::EdDSA,
];

/// The time of the tests: 2026-06-15.
pub(super) const NOW: u64 = 1_781_510_400;
const SECRET: &[u8] = b"a secret that is as long as the longest hash of all of them: 64+.";

/// A pair of keys of each type. `new` makes others.
struct Pairs {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

static PAIRS: LazyLock<Pairs> = LazyLock::new(Pairs::new);
static OTHER_PAIRS: LazyLock<Pairs> = LazyLock::new(Pairs::new);

impl Pairs {
    fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            ed25519: Ed25519KeyPair::generate().unwrap(),
        }
    }

    /// The signature of an algorithm over `message`; HMACs with the secret.
    fn sign(&self, algorithm: JwtAlgorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |encoding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa
                .sign(encoding, &random, message, &mut signature)
                .unwrap();
            signature
        };
        let ec = |pair: &EcdsaKeyPair| pair.sign(&random, message).unwrap().as_ref().to_vec();
        match algorithm {
            JwtAlgorithm::HS256 | JwtAlgorithm::HS384 | JwtAlgorithm::HS512 => {
                hmac(algorithm, SECRET, message)
            }
            JwtAlgorithm::RS256 => rsa(&RSA_PKCS1_SHA256),
            JwtAlgorithm::RS384 => rsa(&RSA_PKCS1_SHA384),
            JwtAlgorithm::RS512 => rsa(&RSA_PKCS1_SHA512),
            JwtAlgorithm::PS256 => rsa(&RSA_PSS_SHA256),
            JwtAlgorithm::PS384 => rsa(&RSA_PSS_SHA384),
            JwtAlgorithm::PS512 => rsa(&RSA_PSS_SHA512),
            JwtAlgorithm::ES256 => ec(&self.p256),
            JwtAlgorithm::ES384 => ec(&self.p384),
            JwtAlgorithm::EdDSA => self.ed25519.sign(message).as_ref().to_vec(),
        }
    }

    fn spki(&self, algorithm: JwtAlgorithm) -> Vec<u8> {
        let der = match KeyType::of(algorithm) {
            KeyType::Secret => panic!("a secret has no public key"),
            KeyType::Rsa => self.rsa.public_key().as_der(),
            KeyType::P256 => self.p256.public_key().as_der(),
            KeyType::P384 => self.p384.public_key().as_der(),
            KeyType::Ed25519 => self.ed25519.public_key().as_der(),
        };
        der.unwrap().as_ref().to_vec()
    }

    /// The public key, or the secret, as a JWK.
    fn jwk(&self, algorithm: JwtAlgorithm) -> Value {
        let ec = |crv: &str, pair: &EcdsaKeyPair| {
            let (x, y) =
                pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
            json!({"kty": "EC", "crv": crv, "x": base64(x), "y": base64(y)})
        };
        match KeyType::of(algorithm) {
            KeyType::Secret => json!({"kty": "oct", "k": base64(SECRET)}),
            KeyType::Rsa => {
                // SEQUENCE, INTEGER of 257 bytes, INTEGER of 3 bytes.
                let der = self.rsa.public_key().as_ref();
                json!({"kty": "RSA", "n": base64(&der[9..265]), "e": base64(&der[267..])})
            }
            KeyType::P256 => ec("P-256", &self.p256),
            KeyType::P384 => ec("P-384", &self.p384),
            KeyType::Ed25519 => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64(self.ed25519.public_key().as_ref())})
            }
        }
    }
}

fn hmac(algorithm: JwtAlgorithm, secret: &[u8], message: &[u8]) -> Vec<u8> {
    fn sum<M: hmac::Mac + hmac::KeyInit>(secret: &[u8], message: &[u8]) -> Vec<u8> {
        let mut mac = <M as hmac::KeyInit>::new_from_slice(secret).unwrap();
        mac.update(message);
        mac.finalize().into_bytes().to_vec()
    }
    match algorithm {
        JwtAlgorithm::HS256 => sum::<Hmac<Sha256>>(secret, message),
        JwtAlgorithm::HS384 => sum::<Hmac<Sha384>>(secret, message),
        _ => sum::<Hmac<Sha512>>(secret, message),
    }
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<_> = body
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// A token with any header and payload, signed as `algorithm` says.
fn token_of(pairs: &Pairs, algorithm: JwtAlgorithm, header: &str, payload: &[u8]) -> String {
    let message = format!("{}.{}", base64(header.as_bytes()), base64(payload));
    let signature = pairs.sign(algorithm, message.as_bytes());
    format!("{message}.{}", base64(&signature))
}

/// A token as its issuer makes it.
fn token(algorithm: JwtAlgorithm, kid: &str, claims: &Value) -> String {
    let header = json!({"typ": "JWT", "alg": algorithm.as_str(), "kid": kid}).to_string();
    token_of(&PAIRS, algorithm, &header, claims.to_string().as_bytes())
}

fn good_claims() -> Value {
    json!({
        "iss": "issuer", "aud": "edge", "exp": NOW + 600, "iat": NOW, "sub": "someone",
        "jti": "one", "project": "shop", "logstore": ["web", "app"],
    })
}

/// A file that lives as long as the value.
fn file(content: impl AsRef<[u8]>) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_ref()).unwrap();
    file
}

/// Rules without a key.
fn rules(kid: &str, algorithms: &[JwtAlgorithm]) -> JwtKey {
    JwtKey {
        algorithms: algorithms.to_vec(),
        leeway: Span::secs(0),
        max_lifetime: Span::secs(3600),
        ..JwtKey::named(kid, "issuer", "edge")
    }
}

fn identity(keys: impl IntoIterator<Item = JwtKey>) -> Identity {
    Identity {
        jwt: keys.into_iter().collect(),
        ..Identity::default()
    }
}

fn load(keys: impl IntoIterator<Item = JwtKey>) -> Result<JwtVerifier, Vec<String>> {
    let verifier = JwtVerifier::load(&identity(keys), &no_folder());
    verifier.map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// A verifier with the usual secret or public key of one algorithm, under the name `k1`.
fn verifier(algorithm: JwtAlgorithm) -> JwtVerifier {
    verifier_with(algorithm, |_| {})
}

fn verifier_with(algorithm: JwtAlgorithm, change: impl FnOnce(&mut JwtKey)) -> JwtVerifier {
    let mut rules = rules("k1", &[algorithm]);
    change(&mut rules);
    let keep = match KeyType::of(algorithm) {
        KeyType::Secret => file(SECRET),
        _ => file(pem("PUBLIC KEY", &PAIRS.spki(algorithm))),
    };
    match KeyType::of(algorithm) {
        KeyType::Secret => rules.secret = Some(SecretRef::File(keep.path().to_owned())),
        _ => rules.public_key = Some(keep.path().to_owned()),
    }
    load([rules]).unwrap()
}

/// One verifier for each algorithm, made once.
fn verifiers() -> &'static HashMap<JwtAlgorithm, JwtVerifier> {
    static VERIFIERS: LazyLock<HashMap<JwtAlgorithm, JwtVerifier>> =
        LazyLock::new(|| ALL.into_iter().map(|it| (it, verifier(it))).collect());
    &VERIFIERS
}

fn reason(verdict: Result<Bearer, Refusal>) -> Option<Reason> {
    verdict.err().map(|refusal| refusal.reason())
}

/// Why a verifier refuses a token, if it does.
fn refused_by(verifier: &JwtVerifier, token: &str) -> Option<Reason> {
    reason(verifier.verify(token.as_bytes(), NOW))
}

fn refused(algorithm: JwtAlgorithm, token: &str) -> Option<Reason> {
    refused_by(&verifiers()[&algorithm], token)
}

fn no_folder() -> PathBuf {
    PathBuf::from("/dev/null/none")
}

fn signing_key(kid: &str, secret: &[u8]) -> SigningKey {
    SigningKey {
        rules: rules(kid, &[JwtAlgorithm::HS256]),
        secret: Secret::new(secret),
    }
}
