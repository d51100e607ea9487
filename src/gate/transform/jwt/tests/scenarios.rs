//! The seven scenarios in the documentation of the log-processing functions, byte for byte.

use super::*;

const PLAIN: &str = r#"{"some":"payload"}"#;
const T1: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzb21lIjoicGF5bG9hZCJ9.Joh1R2dYzkRvDkqv3sygm5YyK8Gi4ShZqbhK2gxcs2U";
const T2: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJzb21lIjoicGF5bG9hZCJ9.Ewwls5YPuJCmAR3XR2tcptOLrH83wVCzmUaUpGMzMLcPknRrIvbDmFGlNlQha-PMx0jsxt3t1oxpz7P3z3SR9o4qyWusAb99UG_Jn8oP8W0a5GKSy4UEJB0xgpVvJl5F2JaIPeUSHpV0VeS2WAsGSBBSAaOMkrc-8uie-H4J9M0";
const T3: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiIsImtpZCI6IjIzMDQ5ODE1MWMyMTRiNzg4ZGQ5N2YyMmI4NTQxMGE1In0.eyJzb21lIjoicGF5bG9hZCJ9.gdQ884yjlnLnIrYjfQaClE6rJC2x8v2OP2s_eXOLhZA";
const P5: &str = r#"{"some":"payload","iss":[1,2],"sub":"name","nbf":123,"iat":"22"}"#;
const T5: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzb21lIjoicGF5bG9hZCIsImlzcyI6WzEsMl0sInN1YiI6Im5hbWUiLCJuYmYiOjEyMywiaWF0IjoiMjIifQ.2j5Q4Oag1oBBaQYV5GH2bJWrk4f-OKqsGTPvE9q-syQ";
const P6: &str = r#"{"some":"payload","iss":"urn:foo"}"#;
const T6: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzb21lIjoicGF5bG9hZCIsImlzcyI6InVybjpmb28ifQ.KUsdL-cGUBYkqRJTCt1IDxI_YTN4-1CwcZdWkPk1vP8";
const P7: &str = r#"{"some":"payload","aud":["urn:foo","urn:bar"]}"#;
const T7: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzb21lIjoicGF5bG9hZCIsImF1ZCI6WyJ1cm46Zm9vIiwidXJuOmJhciJdfQ.Xhlfx9T5kTyehePsxKpcD81EB5tZ8sCoMHHP6kSE1v8";

#[test]
fn scenario_1_a_secret() {
    assert_eq!(encode(&secret_encoding(), PLAIN), T1);
    let decoding = secret_decoding(&secret_rules());
    assert_eq!(decode(&decoding, T1).unwrap(), PLAIN);
}

#[test]
fn scenario_2_an_rsa_key_of_1024_bits() {
    let key = keys::SMALL_PKCS1.as_bytes();
    let encoding = Encoding::new(Algorithm::RS256, key, &[]).unwrap();
    assert_eq!(encode(&encoding, PLAIN), T2);
    let key = keys::SMALL_PUBLIC.as_bytes();
    let decoding = Decoding::new(key, &rules(&[Algorithm::RS256])).unwrap();
    assert_eq!(decode(&decoding, T2).unwrap(), PLAIN);
}

#[test]
fn scenario_3_a_key_id_in_the_header() {
    let kid = ("kid".to_owned(), "230498151c214b788dd97f22b85410a5".into());
    let encoding = Encoding::new(Algorithm::HS256, b"secret", &[kid]).unwrap();
    assert_eq!(encode(&encoding, PLAIN), T3);
    let decoding = secret_decoding(&secret_rules());
    assert_eq!(decode(&decoding, T3).unwrap(), PLAIN);
}

#[test]
fn scenario_4_read_without_verification() {
    assert_eq!(decode(&unverified(), T1).unwrap(), PLAIN);
}

#[test]
fn scenario_5_required_claims() {
    let encoding = Encoding::new(Algorithm::default(), b"secret", &[]).unwrap();
    assert_eq!(encode(&encoding, P5), T5);
    let mut rules = secret_rules();
    rules.options.require = vec!["iat".to_owned()];
    rules.options.verify_iat = Some(true);
    assert_eq!(decode(&secret_decoding(&rules), T5).unwrap(), P5);
    let missing = DecodeError::Missing("iat".into());
    assert_eq!(decode(&secret_decoding(&rules), T1), Err(missing));
}

#[test]
fn scenario_6_an_issuer() {
    assert_eq!(encode(&secret_encoding(), P6), T6);
    let mut rules = secret_rules();
    rules.issuer = Some("urn:foo".to_owned());
    assert_eq!(decode(&secret_decoding(&rules), T6).unwrap(), P6);
    rules.issuer = Some("urn:bar".to_owned());
    assert_eq!(
        decode(&secret_decoding(&rules), T6),
        Err(DecodeError::Issuer)
    );
}

#[test]
fn scenario_7_an_audience() {
    assert_eq!(encode(&secret_encoding(), P7), T7);
    let mut rules = secret_rules();
    rules.audience = vec!["urn:foo".to_owned()];
    assert_eq!(decode(&secret_decoding(&rules), T7).unwrap(), P7);
    rules.audience = vec!["urn:other".to_owned()];
    assert_eq!(
        decode(&secret_decoding(&rules), T7),
        Err(DecodeError::Audience)
    );
}
