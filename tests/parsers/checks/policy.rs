//! Policy documents. What is read is held to the model on a few questions.

use std::sync::Arc;

use serde_json::Value;
use tollgate::gate::policy::{
    ActionName, Decision, Policies, Policy, PolicyKind, Question, decide_without_identity,
};

use super::policy_model::{Asked, Facts, Known, allows, leaves_alone};

const ACTIONS: &[&[&str]] = &[
    &["log:PostLogStoreLogs", "log:PutLogs"],
    &["log:PutWebTracking"],
    &["log:WebTracking"],
    &["log:GetLogStore"],
];
const RESOURCES: &[&str] = &[
    "acs:log:cn-hangzhou:1:project/shop/logstore/web",
    "acs:log:::project/a/logstore/b",
    "",
];
/// Topic, source and the tag `device`.
const BODIES: &[[&str; 3]] = &[
    ["", "", "d-001"],
    ["web", "203.0.113.7", "5"],
    ["d-001", "", "2020-01-01T00:00:00Z"],
];

/// Panics unless a text is a document that every decision agrees with, or its problems are bounded
/// and can be shown. Says whether it is a document.
pub fn policy(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    let [identity, session, project] = [
        PolicyKind::Identity,
        PolicyKind::Session,
        PolicyKind::Project,
    ]
    .map(|kind| {
        let policy = Policy::parse(kind, "fuzz", text);
        if let Err(problems) = &policy {
            let shown = problems.to_string();
            assert!(!problems.is_empty() && shown.len() < 64 * 1024);
            assert!(
                shown.chars().all(|c| c == '\n' || !c.is_control()),
                "{shown:?}"
            );
        }
        policy
    });
    let is_short = text.chars().count() <= 2048;
    assert_eq!(session.is_ok(), identity.is_ok() && is_short, "{text}");
    let Ok(project) = project else {
        assert!(identity.is_err(), "{text}");
        return false;
    };
    let json: Value = serde_json::from_str(text).unwrap();
    assert_eq!(json["Version"], "1");
    decide(
        &project,
        identity.ok().map(Arc::new).as_slice(),
        session.ok().as_ref(),
        &json,
    );
    true
}

fn decide(project: &Policy, identity: &[Arc<Policy>], session: Option<&Policy>, json: &Value) {
    let policies = Policies {
        identity,
        session,
        project: None,
    };
    for names in ACTIONS {
        for resource in RESOURCES {
            let alone = agree(
                names,
                resource,
                |question| decide_without_identity(Some(project), question),
                |asked| leaves_alone(json, asked),
            );
            assert!(!alone || project.needs_body());
            if !identity.is_empty() {
                let session = session.map(|_| json);
                let waits = agree(
                    names,
                    resource,
                    |question| policies.decide(question),
                    |asked| allows(&[json], session, None, asked),
                );
                assert!(!waits || policies.needs_body());
            }
        }
    }
}

/// Panics unless the decision is that of the model, and the one before the body that of every body.
/// Says whether it waits for the body.
fn agree<'p>(
    names: &[&str],
    resource: &str,
    decide: impl Fn(&Question<'_>) -> Decision<'p>,
    model: impl Fn(Asked<'_>) -> bool,
) -> bool {
    let action = &ActionName::new(names[0]);
    let ask = |facts: &Facts| {
        decide(&Question {
            action,
            resource,
            context: facts,
        })
    };
    let mut facts = facts();
    facts.before_body = true;
    let early = ask(&facts);
    facts.before_body = false;
    for body in BODIES {
        for (key, value) in ["tollgate:Topic", "tollgate:Source", "tollgate:Tag/device"]
            .iter()
            .zip(body)
        {
            facts
                .facts
                .insert((*key).to_owned(), Known::Text((*value).to_owned()));
        }
        let allowed = model(Asked {
            actions: names,
            resource,
            facts: &facts,
        });
        assert_eq!(
            matches!(ask(&facts), Decision::Allowed(_)),
            allowed,
            "{facts:?}"
        );
        assert_eq!(
            matches!(ask(&facts), Decision::Denied(_)),
            !allowed,
            "{facts:?}"
        );
        match early {
            Decision::Allowed(_) => assert!(allowed, "{facts:?}"),
            Decision::Denied(_) => assert!(!allowed, "{facts:?}"),
            Decision::NeedsBody => {}
        }
    }
    early == Decision::NeedsBody
}

fn facts() -> Facts {
    let text = |text: &str| Known::Text(text.to_owned());
    let facts = [
        (
            "acs:SourceIp",
            Known::Address("203.0.113.7".parse().unwrap()),
        ),
        ("acs:CurrentTime", Known::Time(1_781_510_400)),
        ("acs:SecureTransport", Known::Bool(true)),
        ("tollgate:Origin", text("https://shop.example.com")),
        ("tollgate:Project", text("shop")),
        ("tollgate:Logstore", text("web")),
        ("tollgate:SessionName", text("d-001")),
        ("tollgate:Claim/n", text("9007199254740993")),
    ];
    Facts {
        facts: facts
            .into_iter()
            .map(|(key, fact)| (key.to_owned(), fact))
            .collect(),
        before_body: false,
    }
}
