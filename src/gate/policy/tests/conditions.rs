//! What conditions mean: operators, lists, facts that are absent or still to come.

use super::*;

/// Whether an Allow with this condition allows.
fn holds(condition: &str, facts: &Facts) -> Option<bool> {
    let policy = statements(&format!(
        r#"{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{condition}}}"#
    ));
    match decide(&policy, "log:PutLogs", WEB, facts) {
        Decision::Allowed(_) => Some(true),
        Decision::Denied(_) => Some(false),
        Decision::NeedsBody => None,
    }
}

/// Whether the operator holds for a topic and a value or a list.
fn topic(operator: &str, fact: &str, values: &str) -> bool {
    let facts = Facts::default().text("tollgate:Topic", fact);
    holds(
        &format!(r#"{{"{operator}":{{"tollgate:Topic":{values}}}}}"#),
        &facts,
    )
    .unwrap()
}

fn absent(operator: &str, values: &str) -> bool {
    let condition = format!(r#"{{"{operator}":{{"tollgate:Topic":{values}}}}}"#);
    holds(&condition, &Facts::default()).unwrap()
}

/// An operator, its negation, values, facts for which it holds, and facts for which it does not.
type Row = (
    &'static str,
    Option<&'static str>,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const ROWS: &[Row] = &[
    (
        "StringEquals",
        Some("StringNotEquals"),
        r#"["a*","é"]"#,
        &["a*", "é"],
        &["", "a", "ab", "A*", "É", "e\u{301}"],
    ),
    (
        "StringEqualsIgnoreCase",
        Some("StringNotEqualsIgnoreCase"),
        r#"["aBc","k"]"#,
        &["abc", "ABC", "K"],
        &["", "ab", "\u{212a}"],
    ),
    (
        "StringLike",
        Some("StringNotLike"),
        r#"["d-?0","web*"]"#,
        &["d-10", "d-é0", "web", "web/a:b"],
        &["", "d-0", "Web", "xweb"],
    ),
    (
        "StringEquals",
        Some("StringNotEquals"),
        r#""""#,
        &[""],
        &[" "],
    ),
    (
        "NumericEquals",
        Some("NumericNotEquals"),
        r#"["5","-1.5"]"#,
        &["5", "5.0", "05", "-1.50"],
        &["", "4", "5.1", "five", "5e0", " 5"],
    ),
    (
        "NumericLessThan",
        None,
        r#""5""#,
        &["4.999999999", "-6"],
        &["5", "6", "x", ""],
    ),
    (
        "NumericLessThanEquals",
        None,
        r#""5""#,
        &["5", "5.0", "4"],
        &["5.000000001", "x"],
    ),
    (
        "NumericGreaterThan",
        None,
        r#""9007199254740992""#,
        &["9007199254740993"],
        &["9007199254740992", "x"],
    ),
    (
        "NumericGreaterThanEquals",
        None,
        r#""5""#,
        &["5", "6"],
        &["4.9", "x"],
    ),
    (
        "DateEquals",
        Some("DateNotEquals"),
        r#""2020-01-01T00:00:00Z""#,
        &["2020-01-01T00:00:00Z", "2020-01-01T08:00:00+08:00"],
        &["2020-01-01T00:00:01Z", "1577836800", ""],
    ),
    (
        "DateLessThan",
        None,
        r#""2020-01-01T00:00:00Z""#,
        &["2019-12-31T23:59:59Z"],
        &["2020-01-01T00:00:00Z", "x"],
    ),
    (
        "DateLessThanEquals",
        None,
        r#""2020-01-01T00:00:00Z""#,
        &["2020-01-01T00:00:00Z"],
        &["2020-01-01T00:00:01Z", "x"],
    ),
    (
        "DateGreaterThan",
        None,
        r#""2020-01-01T00:00:00Z""#,
        &["2020-01-01T00:00:01Z"],
        &["2020-01-01T00:00:00Z", "x"],
    ),
    (
        "DateGreaterThanEquals",
        None,
        r#""2020-01-01T00:00:00Z""#,
        &["2020-01-01T00:00:00Z"],
        &["2019-12-31T23:59:59Z", "x"],
    ),
    (
        "Bool",
        None,
        r#""true""#,
        &["true"],
        &["false", "True", "1", ""],
    ),
    (
        "IpAddress",
        Some("NotIpAddress"),
        r#"["10.0.0.0/8","2001:db8::/32","192.0.2.7"]"#,
        &["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1", "192.0.2.7"],
        &["11.0.0.1", "2001:db9::1", "192.0.2.8", "x", ""],
    ),
];

#[test]
fn every_operator_compares_as_its_name_says() {
    for (positive, negated, values, same, other) in ROWS {
        for fact in *same {
            assert!(topic(positive, fact, values), "{positive} {fact} {values}");
            if let Some(negated) = negated {
                assert!(!topic(negated, fact, values), "{negated} {fact} {values}");
            }
        }
        for fact in *other {
            assert!(!topic(positive, fact, values), "{positive} {fact} {values}");
            if let Some(negated) = negated {
                assert!(topic(negated, fact, values), "{negated} {fact} {values}");
            }
        }
        assert!(!absent(positive, values), "{positive}");
        if let Some(negated) = negated {
            assert!(absent(negated, values), "{negated}");
        }
    }
}

#[test]
fn every_operator_is_tried() {
    let tried: Vec<_> = ROWS
        .iter()
        .flat_map(|row| [Some(row.0), row.1])
        .flatten()
        .collect();
    for (name, _) in condition::OPERATORS {
        assert!(tried.contains(name), "{name}");
    }
}

#[test]
fn networks_may_be_written_as_mapped_ones_and_every_ipv6_is_not_ipv4() {
    let from = |address: &str, networks: &str| {
        let facts = Facts::default().with("acs:SourceIp", Held::Address(address.parse().unwrap()));
        holds(
            &format!(r#"{{"IpAddress":{{"acs:SourceIp":{networks}}}}}"#),
            &facts,
        )
        .unwrap()
    };
    assert!(from("10.1.1.1", r#""::ffff:10.0.0.0/104""#));
    assert!(from("::ffff:10.1.1.1", r#""10.0.0.0/8""#));
    assert!(from("10.1.1.1", r#""10.9.9.9/8""#));
    assert!(from("10.1.1.1", r#""0.0.0.0/0""#));
    assert!(!from("10.1.1.1", r#""::/0""#));
    assert!(from("2001:db8::1", r#""::/0""#));
    assert!(!from("2001:db8::1", r#""0.0.0.0/0""#));
}

#[test]
fn facts_of_a_kind_of_their_own_are_compared_as_such() {
    let facts = Facts::default()
        .with("acs:CurrentTime", Held::Time(1_577_836_800))
        .with("acs:SecureTransport", Held::Bool(true))
        .with(
            "acs:SourceIp",
            Held::Address("203.0.113.7".parse().unwrap()),
        );
    let all = r#"{
        "DateGreaterThan": {"acs:CurrentTime": "2019-12-31T23:59:59Z"},
        "DateLessThanEquals": {"ACS:currenttime": "2020-01-01T08:00:00+08:00"},
        "Bool": {"acs:securetransport": ["false", "true"]},
        "IpAddress": {"acs:SourceIp": "203.0.113.0/24"}
    }"#;
    assert_eq!(holds(all, &facts), Some(true));
    assert_eq!(holds(&all.replace("+08:00", "+08:01"), &facts), Some(false));
    assert_eq!(
        holds(&all.replace(r#""false", "true""#, r#""false""#), &facts),
        Some(false)
    );
    assert_eq!(holds(all, &Facts::default()), Some(false));
}

#[test]
fn keys_and_operators_must_all_hold() {
    let condition = r#"{
        "StringEquals": {"tollgate:Project": "shop", "tollgate:Logstore": ["web", "app"]},
        "StringNotEquals": {"tollgate:SessionName": "d-002"}
    }"#;
    let facts = Facts::default()
        .text("tollgate:Project", "shop")
        .text("tollgate:Logstore", "app");
    assert_eq!(holds(condition, &facts), Some(true));
    for (key, value) in [
        ("tollgate:Project", "shop2"),
        ("tollgate:Logstore", "api"),
        ("tollgate:SessionName", "d-002"),
    ] {
        assert_eq!(
            holds(condition, &facts.clone().text(key, value)),
            Some(false)
        );
    }
}

#[test]
fn names_of_tags_and_claims_keep_their_case() {
    let facts = Facts::default()
        .text("tollgate:Tag/Dev", "a")
        .text("tollgate:Claim/Sub", "a");
    for (key, is) in [
        ("tollgate:Tag/Dev", true),
        ("TOLLGATE:tag/Dev", true),
        ("tollgate:Tag/dev", false),
        ("tollgate:Claim/Sub", true),
        ("tollgate:Claim/sub", false),
        ("tollgate:Tag/Sub", false),
    ] {
        let condition = format!(r#"{{"StringEquals":{{"{key}":"a"}}}}"#);
        assert_eq!(holds(&condition, &facts), Some(is), "{key}");
    }
}

#[test]
fn what_tollgate_never_knows_is_absent() {
    for (condition, is) in [
        (r#"{"Bool":{"acs:MFAPresent":["true","false"]}}"#, false),
        (r#"{"StringLike":{"acs:SourceVpc":"*"}}"#, false),
        (r#"{"StringNotEquals":{"acs:SourceVpc":"vpc-1"}}"#, true),
    ] {
        assert_eq!(holds(condition, &Facts::default()), Some(is), "{condition}");
    }
}

#[test]
fn a_condition_on_the_body_waits_for_it_unless_another_one_fails() {
    let facts = Facts {
        before_body: true,
        ..Facts::default()
    }
    .text("tollgate:Project", "shop");
    for key in ["tollgate:Topic", "tollgate:Source", "tollgate:Tag/x"] {
        for operator in ["StringEquals", "StringNotEquals"] {
            let on_body = format!(r#""{operator}":{{"{key}":"a","tollgate:Project":"shop"}}"#);
            let first = format!(r#"{{{on_body}}}"#);
            assert_eq!(
                holds(&first, &facts).is_none(),
                operator == "StringEquals",
                "{first}"
            );
            let fails = format!(r#"{{{on_body},"StringLike":{{"tollgate:Project":"x*"}}}}"#);
            assert_eq!(holds(&fails, &facts), Some(false), "{fails}");
        }
    }
}
