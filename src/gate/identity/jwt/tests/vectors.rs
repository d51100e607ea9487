//! Tokens and keys of the standards, made by others.

use super::super::jwk::{Jwk, Origin, read_keys};
use super::super::method::Method;
use super::*;

/// RFC 7515 appendices A.1 to A.4, RFC 8037 appendix A.4: keys as they stand there.
const A1_KEY: &str = r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
const A2_KEY: &str = r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;
const A3_KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const ED_KEY: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// Tokens of RFC 7515, whose payload expired in 2011: `iss` joe, `exp` 1300819380.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const A1_HEADER: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9";
const A1_SIGNATURE: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const A2_HEADER: &str = "eyJhbGciOiJSUzI1NiJ9";
const A2_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const A3_HEADER: &str = "eyJhbGciOiJFUzI1NiJ9";
const A3_SIGNATURE: &str =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
const ED_MESSAGE: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
const ED_SIGNATURE: &str =
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fn jwk(json: &str, algorithm: JwtAlgorithm) -> Jwk {
    let mut keys = read_keys(json.as_bytes(), Origin::File, &[algorithm]).unwrap();
    assert_eq!(keys.len(), 1);
    keys.remove(0).ok().unwrap()
}

fn verifies(json: &str, algorithm: JwtAlgorithm, message: &str, signature: &str) -> bool {
    let key = jwk(json, algorithm);
    key.methods[0]
        .1
        .verify(message.as_bytes(), signature.as_bytes())
        .is_some()
}

#[test]
fn signatures_of_the_standards_verify_with_their_keys() {
    for (key, algorithm, message, signature) in [
        (
            A1_KEY,
            JwtAlgorithm::HS256,
            format!("{A1_HEADER}.{PAYLOAD}"),
            A1_SIGNATURE,
        ),
        (
            A2_KEY,
            JwtAlgorithm::RS256,
            format!("{A2_HEADER}.{PAYLOAD}"),
            A2_SIGNATURE,
        ),
        (
            A3_KEY,
            JwtAlgorithm::ES256,
            format!("{A3_HEADER}.{PAYLOAD}"),
            A3_SIGNATURE,
        ),
        (
            ED_KEY,
            JwtAlgorithm::EdDSA,
            ED_MESSAGE.to_owned(),
            ED_SIGNATURE,
        ),
    ] {
        assert!(
            verifies(key, algorithm, &message, signature),
            "{algorithm:?}"
        );
        assert!(
            !verifies(key, algorithm, &format!("{message}A"), signature),
            "{algorithm:?}"
        );
    }
}

#[test]
fn the_p521_key_of_the_standard_is_for_nothing_here() {
    // RFC 7515 appendix A.4: ES512, which is not an algorithm of ours.
    let key = r#"{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qTxcWceqwQGk","y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}"#;
    let keys = read_keys(key.as_bytes(), Origin::File, &ALL).unwrap();
    assert!(keys[0].is_err());
}

#[test]
fn a_token_of_the_standard_is_verified_first_and_then_found_expired() {
    for (key, algorithm, header, signature) in [
        (A1_KEY, JwtAlgorithm::HS256, A1_HEADER, A1_SIGNATURE),
        (A2_KEY, JwtAlgorithm::RS256, A2_HEADER, A2_SIGNATURE),
        (A3_KEY, JwtAlgorithm::ES256, A3_HEADER, A3_SIGNATURE),
    ] {
        let file = file(key);
        let rules = JwtKey {
            issuer: "joe".to_owned(),
            jwks: Some(file.path().to_owned()),
            ..rules("k1", &[algorithm])
        };
        let verifier = load([rules]).unwrap();
        // It has no audience, which is asked for before the time is looked at.
        let whole = format!("{header}.{PAYLOAD}.{signature}");
        let refusal = verifier.verify(whole.as_bytes(), NOW).unwrap_err();
        assert_eq!(refusal.reason(), Reason::TokenClaims);
        let forged = format!("{header}.{PAYLOAD}.{}", signature.replacen('j', "k", 1));
        assert_eq!(refused_by(&verifier, &forged), Some(Reason::TokenSignature));
    }
    let mut claims = good_claims();
    claims["exp"] = json!(1_300_819_380);
    let expired = token(JwtAlgorithm::RS256, "k1", &claims);
    assert_eq!(
        refused(JwtAlgorithm::RS256, &expired),
        Some(Reason::TokenExpired)
    );
}

/// Tokens that SLS documents for its log-processing functions: HS256 with the secret `secret`,
/// which is too short for identity, and RS256 with a key of 1024 bits, which is too weak.
const SLS_TOKENS: [(&str, &str); 5] = [
    (
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzb21lIjoicGF5bG9hZCJ9",
        "Joh1R2dYzkRvDkqv3sygm5YyK8Gi4ShZqbhK2gxcs2U",
    ),
    (
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiIsImtpZCI6IjIzMDQ5ODE1MWMyMTRiNzg4ZGQ5N2YyMmI4NTQxMGE1In0.eyJzb21lIjoicGF5bG9hZCJ9",
        "gdQ884yjlnLnIrYjfQaClE6rJC2x8v2OP2s_eXOLhZA",
    ),
    (
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzb21lIjoicGF5bG9hZCIsImlzcyI6WzEsMl0sInN1YiI6Im5hbWUiLCJuYmYiOjEyMywiaWF0IjoiMjIifQ",
        "2j5Q4Oag1oBBaQYV5GH2bJWrk4f-OKqsGTPvE9q-syQ",
    ),
    (
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzb21lIjoicGF5bG9hZCIsImlzcyI6InVybjpmb28ifQ",
        "KUsdL-cGUBYkqRJTCt1IDxI_YTN4-1CwcZdWkPk1vP8",
    ),
    (
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzb21lIjoicGF5bG9hZCIsImF1ZCI6WyJ1cm46Zm9vIiwidXJuOmJhciJdfQ",
        "Xhlfx9T5kTyehePsxKpcD81EB5tZ8sCoMHHP6kSE1v8",
    ),
];
const SLS_RSA: &str = "-----BEGIN RSA PUBLIC KEY-----
MIGJAoGBALWJpSvlyBKEKfTXbv7DXhc3b3ur8i+Jp7Ah4gmwpNkXWEE+wuc0g+ye
q1D0MVuMjKrJm92ZAUMkJIuldpVzrjzJ6mcUMps5+zev4rgKuemjZK5mY1U0NUSL
ikQJeUHPzXTMljXCpUCszuoYDIJxEsGmvBcHrB8SGTcIA/dzb36nAgMBAAE=
-----END RSA PUBLIC KEY-----
";

#[test]
fn documented_tokens_of_sls_are_signed_as_here_and_refused_as_credentials() {
    let method = Method::of_secret(JwtAlgorithm::HS256, b"secret").unwrap();
    for (message, signature) in SLS_TOKENS {
        assert!(
            method
                .verify(message.as_bytes(), signature.as_bytes())
                .is_some()
        );
        // They have no exp, iss or aud that would do.
        let key = SigningKey {
            rules: JwtKey::named("230498151c214b788dd97f22b85410a5", "urn:foo", "urn:foo"),
            secret: Secret::new("secret"),
        };
        let verifier = JwtVerifier::of_keys(&[key]);
        let whole = format!("{message}.{signature}");
        assert_eq!(
            refused_by(&verifier, &whole),
            Some(Reason::TokenClaims),
            "{message}"
        );
    }
}

#[test]
fn the_short_secret_and_the_weak_rsa_key_of_the_documents_are_refused_when_they_are_loaded() {
    let (secret, weak) = (file("secret"), file(SLS_RSA));
    let short = JwtKey {
        secret: Some(SecretRef::File(secret.path().to_owned())),
        ..rules("short", &[JwtAlgorithm::HS256])
    };
    let weak = JwtKey {
        public_key: Some(weak.path().to_owned()),
        ..rules("weak", &[JwtAlgorithm::RS256])
    };
    let errors = load([short, weak]).unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].contains("identity.jwt[0] (`short`)") && errors[0].contains("6 bytes"));
    assert!(errors[1].contains("identity.jwt[1] (`weak`)") && errors[1].contains("2048"));
}
