//! Cookies that become fields, and the bounds of a Cookie header.

use serde_json::json;
use tollgate::gate::identity::NewToken;

use crate::site::{Site, USUAL, WEB, accepted, claims, with};

fn site() -> Site {
    let cookies = "[identity.cookies]\nallow = [\"visitor\"]\nmax_count = 5\nmax_size = \"200B\"\n";
    let fields = "name = \"web\"\ncookie_fields = { visitor = \"visitor_id\" }\naccept = [\"jwt\", \"anonymous\"]";
    Site::start(&format!(
        "{cookies}{}",
        with(USUAL, &[("name = \"web\"", fields)])
    ))
}

#[test]
fn a_trusted_cookie_becomes_a_field_and_no_other_does() {
    let site = site();
    let body = r#"{"__logs__":[{"k":"v","visitor_id":"forged","customer":"forged"}],"__tags__":{"tenant":"forged"}}"#;
    let cookie = "Cookie: theme=dark; visitor=v%2042; session=secret\r\n";
    accepted(&site.track(WEB, cookie, body));
    accepted(&site.track(WEB, "Cookie: visitor=1;visitor=2\r\n", body));
    accepted(&site.track(WEB, "", body));
    accepted(&site.get("/logstores/web/track?k=v&visitor_id=forged"));
    let events = site.events(WEB, 4);
    let visitors: Vec<_> = events.iter().filter_map(|e| e.get("visitor_id")).collect();
    assert_eq!(visitors, [&json!("v 42")]);
    let text = format!("{events:?}");
    for absent in ["forged", "dark", "secret"] {
        assert!(!text.contains(absent), "{text}");
    }
}

#[test]
fn claims_become_fields_and_tags_that_a_client_cannot_send_itself() {
    let site = site();
    let extra = claims(&[("customer", json!(42)), ("tenant", json!("shop-7"))]);
    let token = site.minted(NewToken {
        extra,
        ..NewToken::default()
    });
    let forged =
        r#"{"__logs__":[{"k":"v","customer":"forged"}],"__tags__":{"tenant":"forged","app":"a"}}"#;
    accepted(&site.track(WEB, &format!("Authorization: Bearer {token}\r\n"), forged));
    let in_body = forged.replace("\"app\"", &format!("\"__token__\":\"{token}\",\"app\""));
    accepted(&site.track(WEB, "", in_body));
    for event in site.events(WEB, 2) {
        assert_eq!(event["customer"], "42");
        assert_eq!(event["__tag__:tenant"], "shop-7");
        assert_eq!(event["__tag__:app"], "a");
        assert!(!event.to_string().contains("forged"));
    }
}

#[test]
fn too_many_and_too_long_cookies_are_refused() {
    let site = site();
    let five = "a=1; b=2; c=3; d=4; visitor=5";
    let body = r#"{"__logs__":[{"k":"v"}]}"#;
    let send = |cookies: &str| site.track(WEB, &format!("Cookie: {cookies}\r\n"), body);
    accepted(&send(five));
    for cookies in [format!("{five}; e=6"), format!("a={}", "x".repeat(199))] {
        let (status, code, reason) = send(&cookies).refusal();
        assert_eq!(
            (status, &*code, &*reason),
            (400, "ParameterInvalid", "cookie_limits")
        );
    }
    accepted(&send(&format!("a={}", "x".repeat(198))));
    site.events(WEB, 2);
}
