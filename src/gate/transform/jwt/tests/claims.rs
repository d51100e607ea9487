//! What is asked of claims, option by option.

use super::*;

/// What becomes of a payload under rules.
fn verdict(rules: &DecodeRules, payload: &str) -> Result<(), DecodeError> {
    let token = forged(HEADER, payload.as_bytes());
    decode(&secret_decoding(rules), &token).map(|decoded| assert_eq!(decoded, payload))
}

fn with(change: impl FnOnce(&mut DecodeRules)) -> DecodeRules {
    let mut rules = secret_rules();
    change(&mut rules);
    rules
}

#[test]
fn times_count_to_the_second_and_with_leeway() {
    let expired = Err(DecodeError::Expired);
    let strict = secret_rules();
    let lax = with(|rules| rules.leeway = 10);
    for (payload, strictly, laxly) in [
        (format!(r#"{{"exp":{NOW}}}"#), expired.clone(), Ok(())),
        (format!(r#"{{"exp":{}}}"#, NOW + 1), Ok(()), Ok(())),
        (format!(r#"{{"exp":{}}}"#, NOW - 9), expired.clone(), Ok(())),
        (
            format!(r#"{{"exp":{}}}"#, NOW - 10),
            expired.clone(),
            expired.clone(),
        ),
        (format!(r#"{{"exp":{NOW}.9}}"#), expired.clone(), Ok(())),
        (format!(r#"{{"exp":{}.0}}"#, NOW + 1), Ok(()), Ok(())),
        (r#"{"exp":4e9}"#.to_owned(), Ok(()), Ok(())),
        (r#"{"exp":1e300}"#.to_owned(), Ok(()), Ok(())),
        (
            r#"{"exp":99999999999999999999999}"#.to_owned(),
            Ok(()),
            Ok(()),
        ),
        (r#"{"exp":-1}"#.to_owned(), expired.clone(), expired.clone()),
        (r#"{"exp":-1e300}"#.to_owned(), expired.clone(), expired),
    ] {
        assert_eq!(verdict(&strict, &payload), strictly, "{payload}");
        assert_eq!(verdict(&lax, &payload), laxly, "{payload}");
    }
    let endless = with(|rules| rules.leeway = u64::MAX);
    assert_eq!(verdict(&endless, r#"{"exp":0,"nbf":9e9}"#), Ok(()));
    for name in ["nbf", "iat"] {
        let payload = |at: u64| format!(r#"{{"{name}":{at}}}"#);
        let immature = Err(DecodeError::Immature(name));
        assert_eq!(verdict(&strict, &payload(NOW)), Ok(()));
        assert_eq!(verdict(&strict, &payload(NOW + 1)), immature);
        assert_eq!(verdict(&lax, &payload(NOW + 10)), Ok(()));
        assert_eq!(verdict(&lax, &payload(NOW + 11)), immature);
    }
}

#[test]
fn times_have_the_type_of_a_time_when_they_are_verified() {
    let off = with(|rules| {
        rules.options.verify_exp = Some(false);
        rules.options.verify_nbf = Some(false);
        rules.options.verify_iat = Some(false);
    });
    for name in ["exp", "nbf", "iat"] {
        for value in [
            "\"x\"", "\"\"", "null", "true", "[]", "[1]", "{}", "1e999", "\"1.5\"",
        ] {
            let payload = format!(r#"{{"{name}":{value}}}"#);
            let refused = Err(DecodeError::ClaimType(name));
            assert_eq!(verdict(&secret_rules(), &payload), refused, "{payload}");
            assert_eq!(verdict(&off, &payload), Ok(()), "{payload}");
        }
    }
    // Of the three only `iat` may be a text of a number.
    let rules = secret_rules();
    assert_eq!(verdict(&rules, r#"{"iat":"22"}"#), Ok(()));
    let future = Err(DecodeError::Immature("iat"));
    assert_eq!(verdict(&rules, r#"{"iat":"9999999999"}"#), future);
    for name in ["exp", "nbf"] {
        let refused = Err(DecodeError::ClaimType(name));
        let payload = format!(r#"{{"{name}":"9999999999"}}"#);
        assert_eq!(verdict(&rules, &payload), refused);
    }
}

#[test]
fn each_option_turns_off_its_own_check_alone() {
    let payload = r#"{"exp":1,"nbf":9999999999,"iat":9999999999,"iss":"a","aud":"b"}"#;
    let rules = with(|rules| rules.issuer = Some("x".to_owned()));
    let mut refused = Vec::new();
    let mut rules = rules;
    for _ in 0..6 {
        let Err(error) = verdict(&rules, payload) else {
            break;
        };
        let options = &mut rules.options;
        let option = match error {
            DecodeError::Immature("iat") => &mut options.verify_iat,
            DecodeError::Immature(_) => &mut options.verify_nbf,
            DecodeError::Expired => &mut options.verify_exp,
            DecodeError::Issuer => &mut options.verify_iss,
            DecodeError::Audience => &mut options.verify_aud,
            other => panic!("{other}"),
        };
        assert_eq!(option.replace(false), None);
        refused.push(error.to_string());
    }
    assert_eq!(refused.len(), 5, "{refused:?}");
    assert_eq!(verdict(&rules, payload), Ok(()));
}

#[test]
fn without_the_signature_claims_are_checked_only_when_asked() {
    let payload = r#"{"exp":1,"nbf":9999999999,"iat":"x","iss":"a","aud":"b"}"#;
    let token = forged(HEADER, payload.as_bytes());
    let read = |change: fn(&mut DecodeRules)| {
        let rules = with(|rules| {
            rules.options.verify_signature = false;
            rules.algorithms.clear();
            change(rules);
        });
        decode(&Decoding::new(b"", &rules).unwrap(), &token)
    };
    assert_eq!(read(|_| ()).unwrap(), payload);
    let refused = read(|rules| rules.options.verify_exp = Some(true));
    assert_eq!(refused, Err(DecodeError::Expired));
    let refused = read(|rules| rules.options.verify_iat = Some(true));
    assert_eq!(refused, Err(DecodeError::ClaimType("iat")));
    let refused = read(|rules| rules.options.verify_aud = Some(true));
    assert_eq!(refused, Err(DecodeError::Audience));
    // What must be there must be there in any case.
    let refused = read(|rules| rules.options.require = vec!["jti".to_owned()]);
    assert_eq!(refused, Err(DecodeError::Missing("jti".into())));
}

#[test]
fn required_claims_are_there_and_not_null() {
    let rules = with(|rules| rules.options.require = vec!["sub".to_owned(), "x\"y".to_owned()]);
    let missing = |name: &str| Err(DecodeError::Missing(name.into()));
    assert_eq!(verdict(&rules, r#"{"sub":0,"x\"y":false}"#), Ok(()));
    assert_eq!(verdict(&rules, r#"{"\u0073ub":"","x\u0022y":[]}"#), Ok(()));
    assert_eq!(verdict(&rules, r#"{"sub":null,"x\"y":1}"#), missing("sub"));
    assert_eq!(verdict(&rules, r#"{"sub":1}"#), missing("x\"y"));
    assert_eq!(
        verdict(&rules, r#"{"a":{"sub":1},"x\"y":1}"#),
        missing("sub")
    );
    assert_eq!(verdict(&rules, "{}"), missing("sub"));
}

#[test]
fn an_issuer_is_asked_for_only_when_one_is_given() {
    let none = secret_rules();
    let one = with(|rules| rules.issuer = Some("urn:é".to_owned()));
    for (payload, expected) in [
        (r#"{"iss":"urn:é"}"#, Ok(())),
        (r#"{"iss":"urn:\u00e9"}"#, Ok(())),
        (r#"{"iss":"urn:É"}"#, Err(DecodeError::Issuer)),
        (r#"{"iss":""}"#, Err(DecodeError::Issuer)),
        (r#"{"iss":["urn:é"]}"#, Err(DecodeError::Issuer)),
        (r#"{"iss":null}"#, Err(DecodeError::Issuer)),
        (r#"{"iss":1}"#, Err(DecodeError::Issuer)),
        ("{}", Err(DecodeError::Missing("iss".into()))),
    ] {
        assert_eq!(verdict(&one, payload), expected, "{payload}");
        assert_eq!(verdict(&none, payload), Ok(()), "{payload}");
    }
}

#[test]
fn one_name_of_the_audience_is_enough() {
    let names = |names: &[&str]| {
        with(|rules| rules.audience = names.iter().map(|it| (*it).to_owned()).collect())
    };
    let (none, one, two) = (names(&[]), names(&["a"]), names(&["x", "a"]));
    let other = Err(DecodeError::Audience);
    let wrong = Err(DecodeError::ClaimType("aud"));
    let missing = Err(DecodeError::Missing("aud".into()));
    for (payload, to_none, to_some) in [
        (r#"{"aud":"a"}"#, &other, &Ok(())),
        (r#"{"aud":"\u0061"}"#, &other, &Ok(())),
        (r#"{"aud":["a"]}"#, &other, &Ok(())),
        (r#"{"aud":["b","a"]}"#, &other, &Ok(())),
        (r#"{"aud":"b"}"#, &other, &other),
        (r#"{"aud":"aa"}"#, &other, &other),
        (r#"{"aud":["b","c"]}"#, &other, &other),
        (r#"{"aud":["a",1]}"#, &wrong, &wrong),
        (r#"{"aud":[["a"]]}"#, &wrong, &wrong),
        (r#"{"aud":{"a":"a"}}"#, &wrong, &wrong),
        (r#"{"aud":1}"#, &wrong, &wrong),
        (r#"{"aud":[]}"#, &Ok(()), &missing),
        (r#"{"aud":""}"#, &Ok(()), &missing),
        (r#"{"aud":null}"#, &Ok(()), &missing),
        ("{}", &Ok(()), &missing),
    ] {
        assert_eq!(verdict(&none, payload), *to_none, "{payload}");
        assert_eq!(verdict(&one, payload), *to_some, "{payload}");
        assert_eq!(verdict(&two, payload), *to_some, "{payload}");
    }
}
