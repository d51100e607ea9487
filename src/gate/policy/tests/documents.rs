//! Which documents are read, what is said of the others, and what actions and resources mean.

use super::*;

fn problems(kind: PolicyKind, json: &str) -> Vec<String> {
    match Policy::parse(kind, "test", json) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.to_string().lines().map(str::to_owned).collect(),
    }
}

/// A statement with this member, which takes the place of the usual one.
fn with(member: &str) -> String {
    let mut members = vec![
        r#""Effect":"Allow""#,
        r#""Action":"log:PutLogs""#,
        r#""Resource":"*""#,
    ];
    let name = member.split(':').next().unwrap();
    members.retain(|usual| !usual.starts_with(name));
    members.push(member);
    format!(
        r#"{{"Version":"1","Statement":[{{{}}}]}}"#,
        members.join(",")
    )
}

#[test]
fn the_policy_of_the_mini_program_guide_means_what_it_says() {
    let of = |project, logstore| resource_name("cn-shanghai", "12", project, logstore);
    let there = of("sls-webtracking-mini", "web-tracking-logstore");
    // The guide is printed with the one and with both.
    for actions in [
        r#""log:PostLogStoreLogs""#,
        r#""log:PostLogStoreLogs","log:PutLogs""#,
    ] {
        let policy = identity(&format!(
            r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":[{actions}],"Resource":["acs:log:*:*:project/sls-webtracking-mini/logstore/web-tracking-logstore"]}}]}}"#
        ));
        for action in [
            "log:PostLogStoreLogs",
            "log:PutLogs",
            "LOG:postlogstorelogs",
        ] {
            assert!(allows(&policy, action, &there), "{action}");
            for (project, logstore) in [
                ("sls-webtracking-mini", "web-tracking-logstore2"),
                ("sls-webtracking-mini", "web-tracking-logstor"),
                ("sls-webtracking-min", "web-tracking-logstore"),
                ("sls-webtracking-minis", "web-tracking-logstore"),
            ] {
                assert!(
                    !allows(&policy, action, &of(project, logstore)),
                    "{project} {logstore}"
                );
            }
        }
        for action in [
            "log:PutWebTracking",
            "log:WebTracking",
            "log:GetLogStoreLogs",
            "",
        ] {
            assert!(!allows(&policy, action, &there), "{action}");
        }
        assert!(!policy.needs_body());
        assert!(policy.warnings().is_empty());
    }
}

#[test]
fn the_two_names_of_an_action_are_one() {
    for name in [
        "log:PutLogs",
        "log:PostLogStoreLogs",
        "LOG:PUTLOGS",
        "log:Post*",
        "log:Put?ogs",
    ] {
        let policy = identity(&with(&format!(r#""Action":"{name}""#)));
        assert!(allows(&policy, "log:PutLogs", WEB), "{name}");
        assert!(allows(&policy, "log:PostLogStoreLogs", WEB), "{name}");
        let not = identity(
            &with(&format!(r#""NotAction":"{name}""#)).replace(r#""Action":"log:PutLogs","#, ""),
        );
        assert!(!allows(&not, "log:PutLogs", WEB), "{name}");
        assert!(!allows(&not, "log:PostLogStoreLogs", WEB), "{name}");
        assert!(allows(&not, "log:WebTracking", WEB), "{name}");
        assert!(allows(&not, "log:GetLogStore", WEB), "{name}");
    }
}

#[test]
fn actions_ignore_case_and_resources_do_not() {
    let policy = identity(&with(r#""Action":["LOG:put*","log:get?ogstore"]"#));
    assert!(allows(&policy, "log:PutWebTracking", WEB));
    assert!(allows(&policy, "Log:GetLogStore", WEB));
    assert!(!allows(&policy, "log:GetLogStores", WEB));
    // The Kelvin sign lowers to k, and must not.
    let policy = identity(&with(r#""Action":"log:PutWebTracking""#));
    assert!(!allows(&policy, "log:PutWebTrac\u{212a}ing", WEB));
    let policy = identity(&with(r#""Resource":"acs:log:*:*:project/Shop/*""#));
    assert!(!allows(&policy, "log:PutLogs", WEB));
}

#[test]
fn resources_match_whole_names() {
    for (resource, text, is) in [
        ("*", "", true),
        (
            "acs:log:*:*:project/shop/logstore/test*",
            "acs:log:::project/shop/logstore/test",
            true,
        ),
        (
            "acs:log:*:*:project/shop/logstore/test*",
            "acs:log:::project/shop/logstore/tes",
            false,
        ),
        ("acs:log:*:*:project/shop/logstore/w?b", WEB, true),
        ("acs:log:*:*:project/shop/logstore/we", WEB, false),
        ("acs:log:*:*:project/shop/logstore/webs", WEB, false),
        ("acs:log:*:*:project/sh*", WEB, true),
        ("acs:log:*:*:project/shop", WEB, false),
        ("acs:log:cn-hangzhou:*:project/shop/*", WEB, true),
        ("acs:log:cn-beijing:*:project/shop/*", WEB, false),
        // Cyrillic о: it looks like the name and is another.
        ("acs:log:*:*:project/sh\u{43e}p/*", WEB, false),
        ("acs:log:*:*:project/sh\u{ff4f}p/*", WEB, false),
    ] {
        let policy = identity(&with(&format!(r#""Resource":"{resource}""#)));
        assert_eq!(
            allows(&policy, "log:PutLogs", text),
            is,
            "{resource} {text}"
        );
        let not =
            with(&format!(r#""NotResource":["{resource}"]"#)).replace(r#""Resource":"*","#, "");
        assert_eq!(
            allows(&identity(&not), "log:PutLogs", text),
            !is,
            "not {resource} {text}"
        );
    }
}

#[test]
fn one_statement_may_stand_without_a_list() {
    let policy =
        identity(r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"},"Version":"1"}"#);
    let Decision::Allowed(grant) = decide(&policy, "log:PutLogs", WEB, &Facts::default()) else {
        panic!("denied");
    };
    assert_eq!(grant.by.unwrap().pointer(), "/Statement");
}

#[test]
fn what_is_not_understood_is_refused_at_its_place() {
    for (json, problem) in [
        ("", "the document is not JSON: EOF while parsing"),
        ("nonsense", "the document is not JSON"),
        (
            r#"{"Version":"1"} x"#,
            "the document is not JSON: trailing characters",
        ),
        ("[]", "a list stands here; write an object"),
        ("{}", "the object is empty"),
        (r#"{"Version":"1"}"#, "`Statement` is missing"),
        (r#"{"Statement":[]}"#, "`Version` is missing"),
        (
            r#"{"Version":1,"Statement":[]}"#,
            "/Version: a number stands here",
        ),
        (
            r#"{"Version":"2012-10-17","Statement":[]}"#,
            "/Version: `2012-10-17` is not a version",
        ),
        (
            r#"{"Version":"1","Statement":[]}"#,
            "/Statement: the list is empty",
        ),
        (
            r#"{"Version":"1","Statement":null}"#,
            "/Statement: null stands here",
        ),
        (
            r#"{"Version":"1","Statement":["x"]}"#,
            "/Statement/0: a string stands here",
        ),
        (
            r#"{"Version":"1","version":"1","Statement":[]}"#,
            "/version: this member is not known; did you mean `Version`?",
        ),
        (
            r#"{"Version":"1","Version":"1","Statement":[]}"#,
            "/Version: this member stands twice",
        ),
    ] {
        let found = problems(PolicyKind::Identity, json);
        assert!(
            found.iter().any(|line| line.starts_with(problem)),
            "{json}: {found:?}"
        );
    }
}

#[test]
fn a_statement_that_is_not_understood_is_refused_at_its_place() {
    for (member, problem) in [
        (r#""Effect":"allow""#, "/Effect: `allow` is no effect"),
        (r#""Effect":"Permit""#, "/Effect: `Permit` is no effect"),
        (r#""Effect":["Allow"]"#, "/Effect: a list stands here"),
        (r#""Sid":"x""#, "/Sid: this member is not known"),
        (
            r#""Conditions":{}"#,
            "/Conditions: this member is not known; did you mean `Condition`?",
        ),
        (
            r#""NotAction":"*""#,
            ": both `Action` and `NotAction` stand here",
        ),
        (
            r#""NotResource":"*""#,
            ": both `Resource` and `NotResource` stand here",
        ),
        (r#""Action":"""#, "/Action: `` is no action"),
        (r#""Action":"PutLogs""#, "/Action: `PutLogs` is no action"),
        (r#""Action":"log:""#, "/Action: `log:` is no action"),
        (
            r#""Action":"log:Put:Logs""#,
            "/Action: `log:Put:Logs` is no action",
        ),
        (
            r#""Action":"l\u043eg:PutLogs""#,
            "/Action: `lоg:PutLogs` is no action",
        ),
        (r#""Action":[]"#, "/Action: the list is empty"),
        (
            r#""Action":["*",1]"#,
            "/Action/1: a number stands here; write a string",
        ),
        (r#""Action":{"a":"b"}"#, "/Action: an object stands here"),
        (r#""Resource":"""#, "/Resource: `` is no resource"),
        (
            r#""Resource":"project/shop/*""#,
            "/Resource: `project/shop/*` is no resource",
        ),
        (r#""Resource":["*",null]"#, "/Resource/1: null stands here"),
        (
            r#""Resource":"acs:log:*:*:project/${tollgate:Project}/*""#,
            "/Resource: `${` stands here",
        ),
        (
            r#""Principal":"*""#,
            "/Principal: only a project policy has a Principal",
        ),
        (r#""Condition":{}"#, "/Condition: the object is empty"),
        (r#""Condition":null"#, "/Condition: null stands here"),
        (
            r#""Condition":{"StringEquals":{}}"#,
            "/Condition/StringEquals: the object is empty",
        ),
        (
            r#""Condition":{"stringEquals":{"tollgate:Topic":"a"}}"#,
            "/Condition/stringEquals: this is no operator that is known; did you mean `StringEquals`?",
        ),
        (
            r#""Condition":{"ForAnyValue:StringEquals":{"tollgate:Topic":"a"}}"#,
            "/Condition/ForAnyValue:StringEquals: this is no operator",
        ),
        (
            r#""Condition":{"StringEquals":{"tollgate:Topik":"a"}}"#,
            "/Condition/StringEquals/tollgate:Topik: this is no condition key that is known; did you mean `tollgate:Topic`?",
        ),
        (
            r#""Condition":{"StringEquals":{"tollgate:Tag/":"a"}}"#,
            "/Condition/StringEquals/tollgate:Tag~1: this is no condition key",
        ),
        (
            r#""Condition":{"StringEquals":{"oss:Prefix":"a"}}"#,
            "/Condition/StringEquals/oss:Prefix: this is no condition key",
        ),
        (
            r#""Condition":{"StringEquals":{"tollgate:Topic":[]}}"#,
            "/Condition/StringEquals/tollgate:Topic: the list is empty",
        ),
        (
            r#""Condition":{"StringEquals":{"tollgate:Topic":[["a"]]}}"#,
            "/Condition/StringEquals/tollgate:Topic/0: a list stands here",
        ),
        (
            r#""Condition":{"StringEquals":{"tollgate:Topic":"a","tollgate:topic":"b"}}"#,
            "/Condition/StringEquals/tollgate:topic: the key stands twice",
        ),
        (
            r#""Condition":{"StringEquals":{"acs:SourceIp":"10.0.0.1"}}"#,
            "/Condition/StringEquals/acs:SourceIp: acs:SourceIp is an address; use IpAddress",
        ),
        (
            r#""Condition":{"StringLike":{"acs:CurrentTime":"2*"}}"#,
            "/Condition/StringLike/acs:CurrentTime: acs:CurrentTime is a time",
        ),
        (
            r#""Condition":{"NumericEquals":{"acs:SecureTransport":"1"}}"#,
            "/Condition/NumericEquals/acs:SecureTransport: acs:SecureTransport is true or false",
        ),
        (
            r#""Condition":{"Bool":{"acs:SecureTransport":true}}"#,
            "/Condition/Bool/acs:SecureTransport: a boolean stands here; write a string in quotes",
        ),
        (
            r#""Condition":{"Bool":{"acs:SecureTransport":"yes"}}"#,
            "/Condition/Bool/acs:SecureTransport: `yes` is no truth",
        ),
        (
            r#""Condition":{"NumericEquals":{"tollgate:Claim/n":"1e3"}}"#,
            "/Condition/NumericEquals/tollgate:Claim~1n: `1e3` is no number",
        ),
        (
            r#""Condition":{"DateLessThan":{"acs:CurrentTime":"2012-11-11"}}"#,
            "/Condition/DateLessThan/acs:CurrentTime: `2012-11-11` is no time",
        ),
        (
            r#""Condition":{"IpAddress":{"acs:SourceIp":["10.0.0.1","10.0.0.0/33"]}}"#,
            "/Condition/IpAddress/acs:SourceIp/1: `10.0.0.0/33` is no address",
        ),
    ] {
        let json = with(member);
        let found = problems(PolicyKind::Identity, &json);
        let wanted = format!("/Statement/0{problem}");
        assert!(
            found.iter().any(|line| line.starts_with(&wanted)),
            "{json}: {found:?}"
        );
    }
}

#[test]
fn one_try_tells_everything_that_is_wrong() {
    let json = r#"{
        "Version": "2",
        "Statement": [
            {"Effect": "allow", "Resource": "*"},
            {"Effect": "Deny", "Action": ["log:*", "x"], "Resource": 1, "Condition": {
                "IpAddres": {"acs:SourceIp": "10.0.0.1"},
                "Bool": {"acs:SecureTransport": "no", "x": "y"}
            }}
        ]
    }"#;
    let found = problems(PolicyKind::Identity, json);
    let at: Vec<_> = found
        .iter()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        at,
        [
            "/Version",
            "/Statement/0/Effect",
            "/Statement/0",
            "/Statement/1/Action/1",
            "/Statement/1/Resource",
            "/Statement/1/Condition/IpAddres",
            "/Statement/1/Condition/Bool/acs:SecureTransport",
            "/Statement/1/Condition/Bool/x",
        ],
        "{found:#?}"
    );
}

#[test]
fn principal_is_everyone_and_only_in_a_project_policy() {
    for principal in [r#""*""#, r#"["*"]"#] {
        let json = with(&format!(r#""Principal":{principal}"#));
        assert!(Policy::parse(PolicyKind::Project, "test", &json).is_ok());
        assert_eq!(problems(PolicyKind::Identity, &json).len(), 1);
        assert_eq!(problems(PolicyKind::Session, &json).len(), 1);
    }
    for principal in [
        r#""acs:ram::1:root""#,
        "[]",
        r#"["*","*"]"#,
        r#"{"RAM":"*"}"#,
        "null",
    ] {
        let json = with(&format!(r#""Principal":{principal}"#));
        let found = problems(PolicyKind::Project, &json);
        assert!(
            found[0].starts_with("/Statement/0/Principal: only \"*\""),
            "{found:?}"
        );
    }
}

#[test]
fn documents_have_bounds_and_say_so() {
    let sized = |bytes: usize| {
        let json = with(r#""Effect":"Allow""#);
        json.clone() + &" ".repeat(bytes - json.len())
    };
    let too_long = "the document is too long";
    assert!(problems(PolicyKind::Session, &sized(2048)).is_empty());
    assert!(problems(PolicyKind::Session, &sized(2049))[0].starts_with(too_long));
    assert!(problems(PolicyKind::Session, &sized(100_000))[0].starts_with(too_long));
    assert!(problems(PolicyKind::Identity, &sized(16 * 1024)).is_empty());
    assert!(problems(PolicyKind::Identity, &sized(16 * 1024 + 1))[0].starts_with(too_long));
    assert!(problems(PolicyKind::Project, &sized(16 * 1024 + 1))[0].starts_with(too_long));
    // Characters, not bytes.
    let topic = "日".repeat(300);
    let topics = vec![format!("\"{topic}\""); 6].join(",");
    let json = with(&format!(
        r#""Condition":{{"StringEquals":{{"tollgate:Topic":[{topics}]}}}}"#
    ));
    assert!(json.len() > 2048 && json.chars().count() <= 2048);
    assert!(problems(PolicyKind::Session, &json).is_empty());

    let many = |count: usize| {
        let list = vec![r#"{"Effect":"Deny","Action":"*","Resource":"*"}"#; count].join(",");
        problems(
            PolicyKind::Identity,
            &format!(r#"{{"Version":"1","Statement":[{list}]}}"#),
        )
    };
    assert!(many(100).is_empty());
    assert!(many(101)[0].starts_with("/Statement: 101 statements of at most 100"));

    let values = |count: usize| {
        problems(
            PolicyKind::Identity,
            &with(&format!(
                r#""Resource":[{}]"#,
                vec!["\"*\""; count].join(",")
            )),
        )
    };
    assert!(values(500).is_empty());
    assert!(values(501)[0].starts_with("/Statement/0/Resource: 501 values of at most 500"));

    let long = |bytes: usize| {
        problems(
            PolicyKind::Identity,
            &with(&format!(r#""Resource":"*{}""#, "a".repeat(bytes - 1))),
        )
    };
    assert!(long(1024).is_empty());
    assert!(long(1025)[0].starts_with("/Statement/0/Resource: 1025 bytes of at most 1024"));

    let masked = with(&format!(r#""Resource":"*{}?*""#, "a".repeat(64)));
    let found = problems(PolicyKind::Identity, &masked);
    assert!(
        found[0].starts_with("/Statement/0/Resource: a part with `?`"),
        "{found:?}"
    );

    let deep = "[".repeat(8000) + &"]".repeat(8000);
    let found = problems(PolicyKind::Identity, &deep);
    assert!(
        found[0].starts_with("the document is not JSON: recursion limit"),
        "{found:?}"
    );
}

#[test]
fn what_is_told_of_a_hostile_document_is_short_and_harmless() {
    let name = "\\u001b[31m\\u202e/~".to_owned() + &"x".repeat(1500);
    let members: Vec<_> = (0..500).map(|n| format!(r#""{n}":0"#)).collect();
    for json in [
        with(&format!(r#""{name}":1"#)),
        with(&format!(r#""Effect":"{name}""#)),
        with(&format!(
            r#""Condition":{{"{name}":{{"{name}":"{name}"}}}}"#
        )),
        with(&members.join(",")),
        "{\"Version\": \"1\"\u{1b}[31m}".to_owned(),
    ] {
        let problems = Policy::parse(PolicyKind::Identity, "test", &json).unwrap_err();
        let text = problems.to_string();
        assert!(text.len() < 5000, "{}", text.len());
        assert!(
            text.chars().all(|c| c == '\n' || !c.is_control()),
            "{text:?}"
        );
        assert!(!text.contains('\u{202e}'), "{text:?}");
        assert!(text.lines().count() <= 21);
    }
    let problems =
        Policy::parse(PolicyKind::Identity, "test", &with(&members.join(","))).unwrap_err();
    assert_eq!(problems.iter().count(), 20);
    assert_eq!(problems.more(), 480);
}

#[test]
fn a_misspelt_key_of_acs_is_no_key_that_is_never_known() {
    for effect in ["Allow", "Deny"] {
        for (key, hint) in [
            ("acs:SorceIp", "; did you mean `acs:SourceIp`?"),
            ("acs:MFAPresnt", "; did you mean `acs:MFAPresent`?"),
            ("acs:NothingLikeAnyOfThem", ""),
        ] {
            for operator in ["IpAddress", "NotIpAddress", "StringNotEquals"] {
                let member = format!(
                    r#""Effect":"{effect}","Condition":{{"{operator}":{{"{key}":"10.0.0.1"}}}}"#
                );
                let found = problems(PolicyKind::Identity, &with(&member));
                let wanted = format!(
                    "/Statement/0/Condition/{operator}/{key}: this is no condition key that is known{hint}"
                );
                assert_eq!(found, [wanted]);
            }
        }
    }
}

#[test]
fn what_can_never_matter_is_warned_of() {
    let warnings = |member: &str| identity(&with(member)).warnings().to_string();
    let mfa = warnings(r#""Condition":{"Bool":{"acs:MFAPresent":"true"}}"#);
    assert!(
        mfa.starts_with("/Statement/0/Condition/Bool/acs:MFAPresent: Tollgate never knows"),
        "{mfa}"
    );
    let region = warnings(r#""Resource":["*","acs:log:cn-hangzhou:*:project/shop/*"]"#);
    assert!(
        region.starts_with("/Statement/0/Resource/1: the region and the account"),
        "{region}"
    );
    for quiet in [
        r#""Resource":"acs:log:*:*:project/shop/*""#,
        r#""Resource":"acs:log:*""#,
    ] {
        assert_eq!(warnings(quiet), "");
    }
}
