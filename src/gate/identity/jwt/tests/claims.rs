//! What a token says, and how it is taken.

use super::*;

const HS: JwtAlgorithm = JwtAlgorithm::HS256;

fn verdict(claims: &Value) -> Option<Reason> {
    refused(HS, &token(HS, "k1", claims))
}

fn verdict_of(change: impl FnOnce(&mut Value)) -> Option<Reason> {
    let mut claims = good_claims();
    change(&mut claims);
    verdict(&claims)
}

/// A verdict on claims that no JSON library writes. `exp` is replaced by `members`.
fn verdict_of_text(members: &str) -> Option<Reason> {
    let payload =
        format!(r#"{{"iss":"issuer","aud":"edge","project":"shop","logstore":"web",{members}}}"#);
    let header = r#"{"alg":"HS256","kid":"k1"}"#;
    refused(HS, &token_of(&PAIRS, HS, header, payload.as_bytes()))
}

fn bearer_by(verifier: &JwtVerifier, claims: &Value) -> Bearer {
    let token = token(HS, "k1", claims);
    verifier.verify(token.as_bytes(), NOW).unwrap()
}

#[test]
fn a_time_is_a_number_of_seconds_and_nothing_else() {
    assert_eq!(verdict_of_text(&format!(r#""exp":{}"#, NOW + 1)), None);
    assert_eq!(verdict_of_text(&format!(r#""exp":{}.5"#, NOW + 1)), None);
    assert_eq!(verdict_of_text(&format!(r#""exp":{}e0"#, NOW + 1)), None);
    assert_eq!(
        verdict_of_text(&format!(r#""exp":{}"#, NOW)),
        Some(Reason::TokenExpired)
    );
    assert_eq!(
        verdict_of_text(&format!(r#""exp":{}.9"#, NOW)),
        Some(Reason::TokenExpired)
    );
    assert_eq!(verdict_of_text(r#""exp":0"#), Some(Reason::TokenExpired));
    for wrong in [
        "null",
        "true",
        "[1781511000]",
        "{}",
        r#""1781511000""#,
        r#""soon""#,
        "-1",
        "-1e3",
        "-0.5",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "1e300",
        "1781511000000",
        "253402300800",
    ] {
        for name in ["exp", "nbf", "iat"] {
            let exp = if name == "exp" {
                String::new()
            } else {
                format!(r#""exp":{},"#, NOW + 1)
            };
            let members = format!(r#"{exp}"{name}":{wrong}"#);
            assert_eq!(
                verdict_of_text(&members),
                Some(Reason::TokenClaims),
                "{members}"
            );
        }
    }
    for broken in ["1e400", "NaN", "Infinity", "+1", "01", "0x10", "1.", ".5"] {
        let members = format!(r#""exp":{broken}"#);
        assert!(verdict_of_text(&members).is_some(), "{members}");
    }
    assert_eq!(
        verdict_of_text(r#""sub":"x""#),
        Some(Reason::TokenClaims),
        "no exp"
    );
}

#[test]
fn a_claim_stands_once() {
    let exp = format!(r#""exp":{}"#, NOW + 1);
    for (members, good) in [
        (exp.clone(), true),
        (format!(r#"{exp},"x":1,"y":1"#), true),
        (format!("{exp},{exp}"), false),
        (format!(r#"{exp},"iss":"issuer""#), false),
        (format!(r#"{exp},"logstore":"web""#), false),
        (format!(r#"{exp},"sub":"a","s\u0075b":"a""#), false),
        (format!(r#"{exp},"x":1,"x":1"#), false),
        (format!(r#"{exp},"x":1,"\u0078":1"#), false),
    ] {
        let wanted = (!good).then_some(Reason::TokenClaims);
        assert_eq!(verdict_of_text(&members), wanted, "{members}");
    }
    let many = |count: usize| {
        let others: Vec<_> = (0..count).map(|n| format!(r#""c{n}":0"#)).collect();
        format!("{exp},{}", others.join(","))
    };
    assert_eq!(verdict_of_text(&many(128)), None);
    assert_eq!(verdict_of_text(&many(129)), Some(Reason::TokenClaims));
}

#[test]
fn times_are_compared_to_the_second_and_with_the_leeway() {
    let mut claims = good_claims();
    claims["nbf"] = json!(NOW - 10);
    claims["iat"] = json!(NOW - 20);
    for leeway in [0, 30] {
        let verifier = verifier_with(HS, |rules| rules.leeway = Span::secs(leeway));
        let text = token(HS, "k1", &claims);
        let at = |now: u64| reason(verifier.verify(text.as_bytes(), now));
        assert_eq!(at(NOW - 10 - leeway), None);
        assert_eq!(at(NOW - 11 - leeway), Some(Reason::TokenNotYetValid));
        assert_eq!(at(NOW + 599 + leeway), None);
        assert_eq!(at(NOW + 600 + leeway), Some(Reason::TokenExpired));
        assert_eq!(at(0), Some(Reason::TokenNotYetValid));
        assert_eq!(at(u64::MAX), Some(Reason::TokenExpired));
        let bearer = verifier.verify(text.as_bytes(), NOW).unwrap();
        assert_eq!(bearer.accepted_until(), NOW + 599 + leeway);
    }
    assert_eq!(
        verdict_of(|c| c["iat"] = json!(NOW + 1)),
        Some(Reason::TokenNotYetValid)
    );
}

#[test]
fn a_token_lives_no_longer_and_is_no_older_than_allowed() {
    let lived = |issued: Option<u64>, expires: u64, now: u64| {
        let mut claims = good_claims();
        claims["exp"] = json!(expires);
        match issued {
            Some(issued) => claims["iat"] = json!(issued),
            None => drop(claims.as_object_mut().unwrap().remove("iat")),
        }
        let text = token(HS, "k1", &claims);
        reason(verifiers()[&HS].verify(text.as_bytes(), now))
    };
    let too_long = Some(Reason::TokenClaims);
    assert_eq!(lived(None, NOW + 3600, NOW), None);
    assert_eq!(lived(None, NOW + 3601, NOW), too_long);
    assert_eq!(lived(Some(NOW), NOW + 3600, NOW), None);
    assert_eq!(lived(Some(NOW), NOW + 3601, NOW), too_long);
    // It does not become good when less of its life is left: a revocation may have ended by then.
    assert_eq!(lived(Some(NOW), NOW + 3600, NOW + 3599), None);
    for now in [NOW + 1, NOW + 1800, NOW + 3599, NOW + 7199] {
        assert_eq!(lived(Some(NOW), NOW + 3601, now), too_long, "{now}");
        assert_eq!(lived(Some(NOW), NOW + 7200, now), too_long, "{now}");
        assert_eq!(lived(Some(0), NOW + 7200, now), too_long, "{now}");
    }
    let verifier = verifier_with(HS, |rules| rules.max_age = Some(Span::secs(100)));
    let aged = |age: u64| {
        let mut claims = good_claims();
        claims["iat"] = json!(NOW - age);
        refused_by(&verifier, &token(HS, "k1", &claims))
    };
    assert_eq!(aged(100), None);
    assert_eq!(aged(101), Some(Reason::TokenExpired));
    let mut claims = good_claims();
    claims.as_object_mut().unwrap().remove("iat");
    assert_eq!(
        refused_by(&verifier, &token(HS, "k1", &claims)),
        Some(Reason::TokenClaims)
    );
}

#[test]
fn issuer_and_audience_are_compared_exactly() {
    assert_eq!(verdict_of(|c| c["aud"] = json!(["other", "edge"])), None);
    for iss in [
        json!("Issuer"),
        json!("issuer "),
        json!("issuer/"),
        json!("issue"),
        json!("issuer.example.com"),
        json!(""),
        json!(["issuer"]),
        json!(null),
        json!(1),
        json!({"issuer": 1}),
    ] {
        assert_eq!(
            verdict_of(|c| c["iss"] = iss.clone()),
            Some(Reason::TokenClaims),
            "{iss}"
        );
    }
    for aud in [
        json!("EDGE"),
        json!("edge2"),
        json!("edg"),
        json!("*"),
        json!([]),
        json!(["other"]),
        json!(["edge", 1]),
        json!([["edge"]]),
        json!({"edge": 1}),
        json!(null),
        json!(1),
    ] {
        assert_eq!(
            verdict_of(|c| c["aud"] = aud.clone()),
            Some(Reason::TokenClaims),
            "{aud}"
        );
    }
    for missing in ["iss", "aud", "exp"] {
        let verdict = verdict_of(|c| drop(c.as_object_mut().unwrap().remove(missing)));
        assert_eq!(verdict, Some(Reason::TokenClaims), "{missing}");
    }
}

#[test]
fn required_claims_must_be_there() {
    let verifier = verifier_with(HS, |rules| {
        rules.required_claims = vec!["sub".to_owned(), "tenant".to_owned()];
    });
    let with = |tenant: Option<Value>| {
        let mut claims = good_claims();
        if let Some(tenant) = tenant {
            claims["tenant"] = tenant;
        }
        verifier.verify(token(HS, "k1", &claims).as_bytes(), NOW)
    };
    assert!(with(Some(json!("t"))).is_ok());
    assert!(with(Some(json!(0))).is_ok());
    assert_eq!(reason(with(Some(json!(null)))), Some(Reason::TokenClaims));
    let refusal = with(None).unwrap_err();
    assert_eq!(refusal.reason(), Reason::TokenClaims);
    assert!(
        refusal.message().contains("`tenant`"),
        "{}",
        refusal.message()
    );
}

#[test]
fn a_bearer_may_do_what_the_token_says_and_nothing_else() {
    let bearer = |change: &dyn Fn(&mut Value)| {
        let mut claims = good_claims();
        change(&mut claims);
        bearer_by(&verifiers()[&HS], &claims)
    };
    let post = ["log:PostLogStoreLogs", "log:PutLogs"];
    let plain = bearer(&|_| {});
    assert_eq!(plain.may("shop", "web", &post), Ok(()));
    assert_eq!(plain.may("shop", "app", &post), Ok(()));
    for (project, logstore) in [
        ("shop", "secrets"),
        ("shop", "we"),
        ("other", "web"),
        ("", ""),
    ] {
        let refusal = plain.may(project, logstore, &post).unwrap_err();
        assert_eq!(refusal.reason(), Reason::TokenScope, "{project} {logstore}");
    }
    for (action, good) in [
        (json!("log:PutLogs"), true),
        (json!(["log:WebTracking", "log:PostLogStoreLogs"]), true),
        (json!("log:PutWebTracking"), false),
        (json!("log:*"), false),
        (json!("LOG:PUTLOGS"), false),
        (json!([]), false),
    ] {
        let bearer = bearer(&|c| c["action"] = action.clone());
        assert_eq!(bearer.may("shop", "web", &post).is_ok(), good, "{action}");
    }
    for missing in ["project", "logstore"] {
        let bearer = bearer(&|c| drop(c.as_object_mut().unwrap().remove(missing)));
        assert!(bearer.may("shop", "web", &post).is_err(), "{missing}");
    }
    for wrong in [
        "project", "logstore", "action", "platform", "appid", "sub", "jti",
    ] {
        let verdict = verdict_of(|c| c[wrong] = json!(1));
        assert_eq!(verdict, Some(Reason::TokenClaims), "{wrong}");
    }
    assert_eq!(
        verdict_of(|c| c["project"] = json!(["shop"])),
        Some(Reason::TokenClaims)
    );
}

#[test]
fn claims_may_have_other_names_and_be_given_by_the_key() {
    let verifier = verifier_with(HS, |rules| {
        rules.claims.project = "https://example.com/project".to_owned();
        rules.claims.logstore = "aud".to_owned();
        rules.claims.appid = "sub".to_owned();
        rules.project = Some("given".to_owned());
        rules.logstores = vec!["spare".to_owned()];
    });
    let mut claims = good_claims();
    claims["aud"] = json!(["edge", "web"]);
    let bearer = bearer_by(&verifier, &claims);
    assert_eq!(bearer.project(), Some("given"));
    assert_eq!(bearer.may("given", "web", &["x"]), Ok(()));
    assert!(bearer.may("given", "spare", &["x"]).is_err());
    assert!(bearer.may("shop", "web", &["x"]).is_err());
    assert_eq!(
        (bearer.appid(), bearer.subject()),
        (Some("someone"), Some("someone"))
    );
    // As some libraries write it.
    let payload = format!(
        r#"{{"iss":"issuer","aud":"edge","exp":{},"https:\/\/example.com\/project":"sh\u006fp"}}"#,
        NOW + 1
    );
    let header = r#"{"alg":"HS256","kid":"k1"}"#;
    let escaped = token_of(&PAIRS, HS, header, payload.as_bytes());
    let bearer = verifier.verify(escaped.as_bytes(), NOW).unwrap();
    assert_eq!(bearer.may("shop", "edge", &["x"]), Ok(()));

    let verifier = verifier_with(HS, |rules| rules.logstores = vec!["spare".to_owned()]);
    let mut claims = good_claims();
    claims.as_object_mut().unwrap().remove("logstore");
    let bearer = bearer_by(&verifier, &claims);
    assert_eq!(bearer.may("shop", "spare", &["x"]), Ok(()));
    assert!(bearer.may("shop", "web", &["x"]).is_err());
}

#[test]
fn a_bearer_tells_what_the_token_holds() {
    let mut claims = good_claims();
    claims["action"] = json!("log:PutLogs");
    claims["platform"] = json!("wechat");
    claims["appid"] = json!("wx1\"2");
    claims["tenant"] = json!("中\n文");
    claims["count"] = json!(1.50);
    claims["admin"] = json!(false);
    claims["groups"] = json!(["a"]);
    let bearer = bearer_by(&verifiers()[&HS], &claims);
    assert_eq!(bearer.issuer(), "issuer");
    assert_eq!((bearer.kid(), bearer.key_name()), ("k1", "k1"));
    assert_eq!(
        (bearer.subject(), bearer.id()),
        (Some("someone"), Some("one"))
    );
    assert_eq!(
        (bearer.expires(), bearer.issued_at()),
        (NOW + 600, Some(NOW))
    );
    assert_eq!(bearer.logstores().collect::<Vec<_>>(), ["web", "app"]);
    assert_eq!(
        bearer.actions().unwrap().collect::<Vec<_>>(),
        ["log:PutLogs"]
    );
    assert_eq!(
        (bearer.platform(), bearer.appid()),
        (Some("wechat"), Some("wx1\"2"))
    );
    let claim = |name: &str| bearer.claim(name).map(std::borrow::Cow::into_owned);
    assert_eq!(claim("tenant").as_deref(), Some("中\n文"));
    assert_eq!(claim("count").as_deref(), Some("1.5"));
    assert_eq!(claim("admin").as_deref(), Some("false"));
    assert_eq!(claim("sub").as_deref(), Some("someone"));
    assert_eq!((claim("groups"), claim("nothing")), (None, None));
    assert_eq!((bearer.fields(), bearer.tags()), (&[][..], &[][..]));
}

#[test]
fn mapped_claims_come_as_fields_in_wire_form_and_as_tags() {
    let verifier = verifier_with(HS, |rules| {
        rules.fields = [("sub", "user"), ("level", "level"), ("none", "none")]
            .map(|(claim, field)| (claim.to_owned(), field.to_owned()))
            .into();
        rules.tags = [("tenant", "tenant"), ("sub", "who")]
            .map(|(claim, tag)| (claim.to_owned(), tag.to_owned()))
            .into();
    });
    let mut claims = good_claims();
    claims["sub"] = json!("a".repeat(1024));
    claims["level"] = json!(7);
    claims["tenant"] = json!("t1");
    let bearer = bearer_by(&verifier, &claims);
    let mut wanted = Vec::new();
    // In the order of the claims.
    for (key, value) in [("user", &*"a".repeat(1024)), ("level", "7")] {
        let mut content = Vec::new();
        crate::foundation::wire::put_bytes(&mut content, 0x0a, key.as_bytes());
        crate::foundation::wire::put_bytes(&mut content, 0x12, value.as_bytes());
        crate::foundation::wire::put_bytes(&mut wanted, 0x12, &content);
    }
    assert!(
        bearer.fields() == wanted,
        "{}",
        bearer.fields().escape_ascii()
    );
    let tags: Vec<_> = bearer
        .tags()
        .iter()
        .map(|(key, value)| (&**key, value.len()))
        .collect();
    assert_eq!(tags, [("tenant", 2), ("who", 1024)]);
    for wrong in [
        json!("a".repeat(1025)),
        json!(["t1"]),
        json!({}),
        json!(null),
    ] {
        claims["tenant"] = wrong;
        let verdict = refused_by(&verifier, &token(HS, "k1", &claims));
        assert_eq!(verdict, Some(Reason::TokenClaims));
    }
}

#[test]
fn a_minted_token_is_good_for_its_logstore_has_a_name_of_its_own_and_the_claims_it_was_given() {
    for algorithm in [
        JwtAlgorithm::HS256,
        JwtAlgorithm::HS384,
        JwtAlgorithm::HS512,
    ] {
        let key = SigningKey {
            rules: JwtKey {
                algorithms: vec![algorithm],
                typ: Some("session+jwt".to_owned()),
                ..rules("k1", &[])
            },
            secret: Secret::new(SECRET),
        };
        let verifier = JwtVerifier::of_keys(std::slice::from_ref(&key));
        let now = clock::unix_seconds();
        let verify = |token: &str| verifier.verify(token.as_bytes(), now).unwrap();
        let first = mint(&key, "shop", "web", 60, Some("alice")).unwrap();
        let second = mint(&key, "shop", "web", 60, Some("alice")).unwrap();
        let (first, second) = (verify(&first), verify(&second));
        assert_eq!(first.subject(), Some("alice"));
        assert_eq!(first.may("shop", "web", &["x"]), Ok(()));
        assert!(first.may("shop", "app", &["x"]).is_err());
        assert_eq!(first.id().unwrap().len(), 22);
        assert_ne!(first.id(), second.id());

        let extra = json!({"channel": "spring", "n": 1})
            .as_object()
            .unwrap()
            .clone();
        let new = NewToken {
            project: "shop",
            logstores: &["web", "app"],
            ttl_seconds: 60,
            id: Some("this one"),
            extra,
            ..NewToken::default()
        };
        let minted = mint_token(&key, new.clone()).unwrap();
        let bearer = verify(&minted.token);
        assert_eq!(bearer.id(), Some("this one"));
        assert_eq!(minted.expires, bearer.expires());
        assert_eq!(bearer.logstores().collect::<Vec<_>>(), ["web", "app"]);
        assert_eq!(bearer.claim("channel").as_deref(), Some("spring"));
        assert!(!format!("{minted:?}").contains(&minted.token));
        for taken in ["exp", "jti", "sub", "nbf", "project", "logstore"] {
            let mut new = new.clone();
            new.extra.insert(taken.to_owned(), json!("x"));
            assert!(
                matches!(mint_token(&key, new), Err(MintError::Claim(_))),
                "{taken}"
            );
        }
    }
}
