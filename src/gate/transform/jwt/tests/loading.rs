//! Which keys and rules are taken, and which are refused.

use serde_json::{Value, json};

use super::*;

fn signing(algorithm: Algorithm, key: &str) -> LoadError {
    Encoding::new(algorithm, key.as_bytes(), &[]).unwrap_err()
}

fn verifying(algorithms: &[Algorithm], key: &str) -> LoadError {
    Decoding::new(key.as_bytes(), &rules(algorithms)).unwrap_err()
}

#[test]
fn a_key_of_another_kind_is_no_secret() {
    use base64::engine::general_purpose::STANDARD;
    let der = |pem: &str| {
        let body = pem.lines().filter(|line| !line.starts_with('-'));
        STANDARD.decode(body.collect::<String>()).unwrap()
    };
    let ssh = "ssh-rsa AAAAB3NzaC1yc2E someone@somewhere";
    let jwk = r#" {"kty":"RSA","n":"x","e":"AQAB"}"#;
    for (algorithm, key) in [
        (Algorithm::HS256, keys::SMALL_PUBLIC.as_bytes().to_vec()),
        (Algorithm::HS384, keys::SMALL_SPKI.as_bytes().to_vec()),
        (Algorithm::HS512, keys::RSA_SPKI.as_bytes().to_vec()),
        (Algorithm::HS256, keys::RSA_PKCS8.as_bytes().to_vec()),
        (Algorithm::HS256, keys::ED25519.as_bytes().to_vec()),
        (Algorithm::HS256, format!(" \n{}", keys::P256_SPKI).into()),
        (Algorithm::HS256, der(keys::SMALL_PUBLIC)),
        (Algorithm::HS256, der(keys::SMALL_SPKI)),
        (Algorithm::HS256, der(keys::RSA_PUBLIC)),
        (Algorithm::HS256, der(keys::P384_SPKI)),
        (Algorithm::HS256, ssh.into()),
        (Algorithm::HS256, jwk.into()),
    ] {
        let expected = LoadError::NotASecret(algorithm);
        assert_eq!(
            Encoding::new(algorithm, &key, &[]).unwrap_err(),
            expected.clone()
        );
        let rules = rules(&[algorithm]);
        assert_eq!(Decoding::new(&key, &rules).unwrap_err(), expected);
    }
    for key in ["s", "{", "{}", "ssh-rsa", "0", "sk-12", "key with words"] {
        assert!(Encoding::new(Algorithm::HS256, key.as_bytes(), &[]).is_ok());
    }
}

#[test]
fn a_key_of_another_type_is_refused() {
    let ec = [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512];
    let found = |algorithm, found| LoadError::Mismatch { algorithm, found };
    for algorithm in ec {
        let expected = found(algorithm, KeyType::Rsa);
        assert_eq!(signing(algorithm, keys::RSA_PKCS8), expected);
        assert_eq!(signing(algorithm, keys::SMALL_PKCS1), expected);
        assert_eq!(verifying(&[algorithm], keys::RSA_SPKI), expected);
        assert_eq!(verifying(&[algorithm], keys::SMALL_SPKI), expected);
        for (key, kind, own) in [
            (keys::P256_SEC1, KeyType::P256, Algorithm::ES256),
            (keys::P384_SEC1, KeyType::P384, Algorithm::ES384),
            (keys::P521_SPKI, KeyType::P521, Algorithm::ES512),
        ] {
            if own != algorithm {
                assert_eq!(verifying(&[algorithm], key), found(algorithm, kind));
            }
        }
    }
    let expected = found(Algorithm::PS256, KeyType::P256);
    assert_eq!(signing(Algorithm::PS256, keys::P256_PKCS8), expected);
    let both = [Algorithm::RS256, Algorithm::ES256];
    let expected = found(Algorithm::ES256, KeyType::Rsa);
    assert_eq!(verifying(&both, keys::RSA_SPKI), expected);
}

#[test]
fn one_key_is_not_a_secret_and_a_public_key() {
    for key in [keys::RSA_SPKI, "secret"] {
        let both = [Algorithm::RS256, Algorithm::HS256];
        assert_eq!(verifying(&both, key), LoadError::AlgorithmsMixed);
    }
    assert_eq!(verifying(&[], "secret"), LoadError::AlgorithmsMissing);
    for algorithm in Algorithm::ALL {
        assert_eq!(verifying(&[algorithm], ""), LoadError::KeyMissing);
        assert_eq!(signing(algorithm, ""), LoadError::KeyMissing);
    }
}

#[test]
fn keys_that_cannot_be_used_say_why() {
    let rs = Algorithm::RS256;
    let long = format!("{}{}", keys::RSA_SPKI, " ".repeat(MAX_KEY));
    for (key, fault) in [
        ("secret", KeyFault::NotPem),
        ("-----BEGIN PUBLIC KEY-----\nAAAA", KeyFault::NotPem),
        (
            "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----",
            KeyFault::NotPem,
        ),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
            KeyFault::Unknown,
        ),
        (
            "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
            KeyFault::Unknown,
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----",
            KeyFault::Unknown,
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
            KeyFault::Form,
        ),
        (&long, KeyFault::TooLong),
        (keys::ENCRYPTED_PKCS8, KeyFault::Encrypted),
        (keys::ENCRYPTED_PKCS1, KeyFault::Encrypted),
        (
            &[keys::RSA_PKCS8, keys::RSA_SPKI].concat(),
            KeyFault::Several,
        ),
        (keys::RSA_512_PKCS1, KeyFault::Strength),
        (keys::RSA_512_SPKI, KeyFault::Strength),
        (keys::K256_PKCS8, KeyFault::Unknown),
        (keys::K256_SPKI, KeyFault::Unknown),
        (keys::ED25519, KeyFault::Unknown),
    ] {
        assert_eq!(verifying(&[rs], key), fault.into(), "{key}");
    }
    let hidden = verifying(&[rs], "secret").to_string();
    assert!(!hidden.contains("secret"), "{hidden}");
    let long = LoadError::from(KeyFault::TooLong);
    assert_eq!(signing(Algorithm::HS256, &"s".repeat(MAX_KEY + 1)), long);
    for key in [keys::RSA_SPKI, keys::SMALL_PUBLIC] {
        assert_eq!(signing(rs, key), LoadError::PublicCannotSign);
    }
    // 1024 bits have no room for a hash of 512 and a salt of as many.
    let short = LoadError::TooShortFor(Algorithm::PS512);
    assert_eq!(signing(Algorithm::PS512, keys::SMALL_PKCS8), short);
    assert_eq!(verifying(&[Algorithm::PS512], keys::SMALL_SPKI), short);
}

#[test]
fn headers_follow_in_their_order() {
    let header = |headers: &[(&str, Value)]| {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let encoding = Encoding::new(Algorithm::HS256, b"secret", &headers)?;
        let token = encode(&encoding, "{}");
        assert_eq!(
            decode(&secret_decoding(&secret_rules()), &token).unwrap(),
            "{}"
        );
        let header = URL_SAFE_NO_PAD.decode(token.split_once('.').unwrap().0);
        Ok(String::from_utf8(header.unwrap()).unwrap())
    };
    let expected = r#"{"typ":"JWT","alg":"HS256","z":1,"a":"\"é","kid":{"b":[null]}}"#;
    let given = [
        ("z", json!(1)),
        ("a", json!("\"é")),
        ("kid", json!({"b": [null]})),
    ];
    assert_eq!(header(&given).unwrap(), expected);
    let given = [("kid", json!("k")), ("typ", json!("at+jwt"))];
    let expected = r#"{"typ":"at+jwt","alg":"HS256","kid":"k"}"#;
    assert_eq!(header(&given).unwrap(), expected);
    for name in ["alg", "crit", "b64"] {
        let refused = LoadError::Header(name);
        assert_eq!(header(&[(name, json!("none"))]), Err(refused));
    }
    assert_eq!(header(&[("typ", json!(1))]), Err(LoadError::HeaderType));
    let twice = Err(LoadError::Headers(JsonFault::Twice));
    assert_eq!(header(&[("kid", json!(1)), ("kid", json!(2))]), twice);
    let long = json!("x".repeat(MAX_HEADER));
    assert_eq!(header(&[("x", long)]), Err(LoadError::HeadersTooLong));
}

#[test]
fn no_more_claims_are_required_than_the_bound() {
    let mut rules = secret_rules();
    rules.options.require = vec!["a".to_owned(); MAX_REQUIRED];
    assert!(Decoding::new(b"secret", &rules).is_ok());
    rules.options.require.push("a".to_owned());
    let refused = Decoding::new(b"secret", &rules).unwrap_err();
    assert_eq!(refused, LoadError::TooManyRequired);
}

#[test]
fn neither_shows_its_key() {
    let shown = format!("{:?}", secret_encoding());
    assert_eq!(shown, "Encoding { algorithm: HS256, .. }");
    let shown = format!("{:?}", secret_decoding(&secret_rules()));
    assert_eq!(shown, "Decoding { verify_signature: true, .. }");
}
