//! How statements and policies decide together.

use super::*;

const ALLOW: &str = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;
const DENY: &str = r#"{"Effect":"Deny","Action":"*","Resource":"*"}"#;
const ALLOW_A: &str = r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"tollgate:Topic":"a"}}}"#;
const DENY_A: &str = r#"{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"tollgate:Topic":"a"}}}"#;
const OTHER: &str = r#"{"Effect":"Allow","Action":"*","Resource":"acs:log:*:*:project/other/*"}"#;

/// `+` with the statement's number for allowed, `-` for explicitly and `0` for implicitly denied,
/// `s` before it when the session policy did it; `?` when it takes the body.
fn shown(decision: &Decision<'_>) -> String {
    let step = |step: &Step| match step {
        Step::Session => "s",
        Step::IdentityAndProject => "",
    };
    match decision {
        Decision::Allowed(grant) => {
            let by = grant
                .by
                .map_or("none".to_owned(), |by| by.statement().to_string());
            format!("+{by}")
        }
        Decision::Denied(Denial::Explicit(at, by)) => format!("{}-{}", step(at), by.statement()),
        Decision::Denied(Denial::Implicit(at)) => format!("{}0", step(at)),
        Decision::NeedsBody => "?".to_owned(),
    }
}

fn policy(kind: PolicyKind, statements: &[&str]) -> Policy {
    let json = format!(
        r#"{{"Version":"1","Statement":[{}]}}"#,
        statements.join(",")
    );
    Policy::parse(kind, "test", &json).unwrap()
}

fn ask(facts: &Facts) -> Question<'_> {
    const PUT: &ActionName = &ActionName::Known(Action::PutLogs);
    Question {
        action: PUT,
        resource: WEB,
        context: facts,
    }
}

/// Decisions with topic `a`, with topic `b`, and before the body.
fn decided(
    identity: &[&[&str]],
    session: Option<&[&str]>,
    project: Option<&[&str]>,
) -> [String; 3] {
    let of = |kind: PolicyKind| move |statements: &&[&str]| policy(kind, statements);
    let identity: Vec<_> = identity
        .iter()
        .map(of(PolicyKind::Identity))
        .map(Arc::new)
        .collect();
    let session = session.as_ref().map(of(PolicyKind::Session));
    let project = project.as_ref().map(of(PolicyKind::Project));
    let policies = Policies {
        identity: &identity,
        session: session.as_ref(),
        project: project.as_ref(),
    };
    facts().map(|facts| shown(&policies.decide(&ask(&facts))))
}

fn facts() -> [Facts; 3] {
    let before = Facts {
        before_body: true,
        ..Facts::default()
    };
    let of = |topic| Facts::default().text("tollgate:Topic", topic);
    [of("a"), of("b"), before]
}

#[test]
fn of_one_step_any_deny_wins_else_any_allow() {
    for (statements, expected) in [
        (&[OTHER][..], ["0", "0", "0"]),
        (&[OTHER, ALLOW], ["+1", "+1", "+1"]),
        (&[ALLOW, DENY], ["-1", "-1", "-1"]),
        (&[DENY, ALLOW], ["-0", "-0", "-0"]),
        (&[ALLOW_A], ["+0", "0", "?"]),
        (&[ALLOW_A, ALLOW], ["+0", "+1", "+1"]),
        (&[DENY_A, ALLOW], ["-0", "+1", "?"]),
        (&[DENY_A, ALLOW_A], ["-0", "0", "?"]),
        (&[DENY_A], ["-0", "0", "0"]),
        (&[ALLOW_A, DENY], ["-1", "-1", "-1"]),
        (&[DENY_A, DENY], ["-0", "-1", "-1"]),
    ] {
        assert_eq!(
            decided(&[statements], None, None),
            expected,
            "{statements:?}"
        );
        // Spread over policies, and with the last one in the project's policy: the same verdict.
        let spread: Vec<&[&str]> = statements.chunks(1).collect();
        let signs = |shown: [String; 3]| shown.map(|shown| shown.chars().next());
        let expected = expected.map(|shown| shown.chars().next());
        assert_eq!(
            signs(decided(&spread, None, None)),
            expected,
            "{statements:?}"
        );
        let (last, rest) = spread.split_last().unwrap();
        assert_eq!(
            signs(decided(rest, None, Some(last))),
            expected,
            "{statements:?}"
        );
    }
    assert_eq!(decided(&[], None, None), ["0", "0", "0"]);
}

#[test]
fn a_session_policy_must_allow_too_and_adds_nothing() {
    for (identity, session, expected) in [
        (&[ALLOW][..], &[ALLOW][..], ["+0", "+0", "+0"]),
        (&[ALLOW], &[OTHER], ["s0", "s0", "s0"]),
        (&[ALLOW], &[DENY, ALLOW], ["s-0", "s-0", "s-0"]),
        (&[OTHER], &[ALLOW], ["0", "0", "0"]),
        (&[DENY], &[ALLOW], ["-0", "-0", "-0"]),
        (&[ALLOW], &[ALLOW_A], ["+0", "s0", "?"]),
        (&[ALLOW_A], &[ALLOW], ["+0", "0", "?"]),
        (&[OTHER], &[ALLOW_A], ["0", "s0", "0"]),
        (&[ALLOW], &[DENY_A, ALLOW], ["s-0", "+0", "?"]),
        (&[DENY], &[ALLOW_A], ["-0", "s0", "-0"]),
    ] {
        assert_eq!(
            decided(&[identity], Some(session), None),
            expected,
            "{identity:?} {session:?}"
        );
    }
    // The project's policy can grant, but not past the session policy.
    assert_eq!(
        decided(&[], Some(&[ALLOW]), Some(&[ALLOW])),
        ["+0", "+0", "+0"]
    );
    assert_eq!(
        decided(&[], Some(&[OTHER]), Some(&[ALLOW])),
        ["s0", "s0", "s0"]
    );
}

#[test]
fn a_grant_names_the_statement_of_the_session_policy_too() {
    let identity = [Arc::new(policy(PolicyKind::Identity, &[ALLOW]))];
    let session = policy(PolicyKind::Session, &[OTHER, ALLOW]);
    let policies = Policies {
        identity: &identity,
        session: Some(&session),
        project: None,
    };
    let facts = Facts::default();
    let Decision::Allowed(grant) = policies.decide(&ask(&facts)) else {
        panic!("denied");
    };
    assert_eq!(
        grant.by.unwrap().to_string(),
        "/Statement/0 of the identity policy `test`"
    );
    assert_eq!(
        grant.session.unwrap().to_string(),
        "/Statement/1 of the session policy `test`"
    );
}

#[test]
fn a_caller_without_policies_is_bound_by_the_denials_of_the_project_alone() {
    for (statements, expected) in [
        (&[OTHER][..], ["+none", "+none", "+none"]),
        (&[ALLOW], ["+none", "+none", "+none"]),
        (&[ALLOW, DENY], ["-1", "-1", "-1"]),
        (&[DENY_A, ALLOW], ["-0", "+none", "?"]),
        (&[ALLOW_A], ["+none", "+none", "+none"]),
    ] {
        let project = policy(PolicyKind::Project, statements);
        let decided =
            facts().map(|facts| shown(&decide_without_identity(Some(&project), &ask(&facts))));
        assert_eq!(decided, expected, "{statements:?}");
    }
    for facts in facts() {
        assert_eq!(shown(&decide_without_identity(None, &ask(&facts))), "+none");
    }
}

#[test]
fn the_body_is_asked_for_only_where_a_key_of_it_stands() {
    for (key, is) in [
        ("tollgate:Topic", true),
        ("tollgate:source", true),
        ("tollgate:Tag/x", true),
        ("tollgate:Claim/x", false),
        ("tollgate:Origin", false),
    ] {
        let one = format!(
            r#"{{"Effect":"Deny","Action":"*","Resource":"*","Condition":{{"StringLike":{{"{key}":"*"}}}}}}"#
        );
        let asks = Arc::new(policy(PolicyKind::Identity, &[ALLOW, &one]));
        let other = Arc::new(policy(PolicyKind::Identity, &[ALLOW]));
        assert_eq!(asks.needs_body(), is, "{key}");
        let [first, last] = [
            [asks.clone(), other.clone()],
            [other.clone(), other.clone()],
        ];
        let policies = |identity, session, project| Policies {
            identity,
            session,
            project,
        };
        assert_eq!(policies(&first, None, None).needs_body(), is);
        assert_eq!(policies(&last, Some(&*asks), None).needs_body(), is);
        assert_eq!(policies(&last, None, Some(&*asks)).needs_body(), is);
        assert!(!policies(&last, Some(&*other), Some(&*other)).needs_body());
    }
}

#[test]
fn a_device_cannot_write_to_the_logstore_or_the_topic_of_another() {
    let role = [Arc::new(policy(
        PolicyKind::Identity,
        &[r#"{"Effect":"Allow","Action":"log:PutLogs","Resource":"acs:log:*:*:project/shop/*"}"#],
    ))];
    let own_logstore = r#"{"Effect":"Allow","Action":"log:PutLogs","Resource":"acs:log:*:*:project/shop/logstore/d-001"}"#;
    let own_topic = r#"{"Effect":"Allow","Action":"log:PutLogs","Resource":"acs:log:*:*:project/shop/logstore/web","Condition":{"StringEquals":{"tollgate:Topic":"d-001"}}}"#;
    let action = ActionName::Known(Action::PutLogs);
    let ask = |session: &str, logstore: &str, facts: &Facts| {
        let session = policy(PolicyKind::Session, &[session]);
        let policies = Policies {
            identity: &role,
            session: Some(&session),
            project: None,
        };
        shown(&policies.decide(&Question {
            action: &action,
            resource: &resource_name("", "", "shop", logstore),
            context: facts,
        }))
    };
    let none = Facts::default();
    assert_eq!(ask(own_logstore, "d-001", &none), "+0");
    for other in ["d-002", "d-0010", "d-00", "D-001", "d-00\u{661}", "", "web"] {
        assert_eq!(ask(own_logstore, other, &none), "s0", "{other}");
    }
    let topic = |topic| Facts::default().text("tollgate:Topic", topic);
    assert_eq!(ask(own_topic, "web", &topic("d-001")), "+0");
    for other in [
        "d-002",
        "d-0010",
        "d-00",
        "D-001",
        "d-00\u{661}",
        "",
        "*",
        "d-001 ",
    ] {
        assert_eq!(ask(own_topic, "web", &topic(other)), "s0", "{other}");
    }
    let before = Facts {
        before_body: true,
        ..Facts::default()
    };
    assert_eq!(ask(own_topic, "web", &before), "?");
    assert_eq!(ask(own_topic, "d-001", &before), "s0");
}
