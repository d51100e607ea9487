//! The description of the API is that of the code, in both directions.

use std::collections::BTreeSet;

use super::*;
use crate::admin::table::{CALLS, COMMON, find};
use crate::telemetry::AdminCall;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");

#[test]
fn the_file_is_what_is_served() {
    if std::env::var_os("TOLLGATE_WRITE").is_some() {
        std::fs::write(FILE, openapi()).unwrap();
    }
    let file = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        file == openapi(),
        "docs/openapi.json is stale: TOLLGATE_WRITE=1 cargo nextest run --lib described"
    );
}

#[test]
fn every_call_is_in_the_table_once_and_is_found_by_its_path() {
    let labels: BTreeSet<&str> = CALLS.iter().map(|spec| spec.label.label()).collect();
    assert_eq!(labels.len(), CALLS.len(), "a call stands twice");
    // What the page of the dashboard asks is its own affair, and changes with it.
    let others = [
        AdminCall::Unknown,
        AdminCall::Live,
        AdminCall::Dashboard,
        AdminCall::Open,
    ];
    for label in AdminCall::ALL.iter().filter(|it| !others.contains(it)) {
        assert!(labels.contains(label.label()), "{label:?} is not described");
    }
    for spec in CALLS {
        let parts: Vec<&str> = spec.path.split('/').collect();
        let named: Vec<&str> = parts
            .iter()
            .filter(|it| it.starts_with('{'))
            .copied()
            .collect();
        let (found, given) = find(&spec.method, &parts).unwrap();
        assert_eq!(found.label, spec.label, "{}", spec.path);
        assert_eq!(given, named);
        let wanted = spec.in_path.iter().map(|it| format!("{{{}}}", it.name));
        assert!(wanted.eq(named), "{}", spec.path);
        assert!(!spec.summary.is_empty());
        assert!(
            parts.len() <= 4,
            "{}: the fourth part takes the rest",
            spec.path
        );
    }
}

#[tokio::test]
async fn every_call_answers_as_it_is_described() {
    let fixture = fixture();
    let document: Value = serde_json::from_str(openapi()).unwrap();
    for spec in CALLS {
        let path = spec
            .path
            .replace("{id}", "e0f7faec-e9b1-48ac-94d0-884fe3b1d43d");
        let path = path.replace("{kind}", "jti").replace("{name}", "door");
        let path = path.replace(['{', '}'], "");
        let body = if spec.body.is_some() {
            json!({})
        } else {
            Value::Null
        };
        if spec.label == AdminCall::ReadSample {
            continue;
        }
        let answer = fixture.call(spec.method.as_str(), &path, body).await;
        let known = std::iter::once(&spec.status)
            .chain(COMMON)
            .chain(spec.refusals);
        let known: Vec<u16> = known.copied().collect();
        assert!(known.contains(&answer.status), "{path}: {}", answer.status);
        let response = match answer.status == spec.status {
            true => {
                let method = spec.method.as_str().to_lowercase();
                let path = format!("/api/v1/{}", spec.path).replace('/', "~1");
                let at = format!("/paths/{path}/{method}/responses/{}", spec.status);
                document.pointer(&at).unwrap()
            }
            false => {
                let at = format!("/components/responses/Refused{}", answer.status);
                document.pointer(&at).unwrap()
            }
        };
        let mut schema = response["content"]["application/json"]["schema"].clone();
        schema["components"] = document["components"].clone();
        let schema = jsonschema::validator_for(&schema).unwrap();
        let wrong: Vec<String> = schema
            .iter_errors(&answer.json)
            .map(|it| it.to_string())
            .collect();
        assert!(wrong.is_empty(), "{path}: {wrong:?} in {}", answer.json);
        // A parameter that is not described is refused.
        let more = format!("{path}?nothing=1");
        let answer = fixture.call(spec.method.as_str(), &more, Value::Null).await;
        assert_eq!(answer.error(), (400, "ParameterInvalid"), "{more}");
    }
}
