use proptest::prelude::*;
use serde_json::{Value, json};

use super::scope;
use super::sources::PreviewEvent;
use crate::gate::identity::state::View;

const NOW: u64 = 1_800_000_000;

fn view(more: Value) -> View {
    let mut view = json!({"project": "shop", "dashboard": "overview"});
    for (key, value) in more.as_object().unwrap() {
        view[key] = value.clone();
    }
    serde_json::from_value(view).unwrap()
}

fn event<'a>(fields: &[(&'a str, &'a str)]) -> PreviewEvent<'a> {
    let fields = fields.iter().map(|(k, v)| ((*k).into(), (*v).into()));
    PreviewEvent {
        time: u32::try_from(NOW).unwrap(),
        topic: "web".into(),
        source: "203.0.113.7".into(),
        tags: vec![("env".into(), "live".into())],
        fields: fields.collect(),
        ..PreviewEvent::default()
    }
}

#[test]
fn an_event_is_shown_when_all_filters_hold() {
    let shown = |filters: Value, fields: &[(&str, &str)]| {
        let view = view(json!({"filters": filters}));
        scope::event(&view, NOW, event(fields)).is_some()
    };
    let filter = |field: &str, value: &str| json!({"field": field, "value": value});
    let acme = filter("tenant", "acme");
    assert!(shown(json!([acme]), &[("tenant", "acme")]));
    assert!(!shown(json!([acme]), &[("tenant", "acme2")]));
    assert!(!shown(json!([acme]), &[]));
    assert!(
        !shown(json!([acme]), &[("tenant", "globex"), ("tenant", "acme")]),
        "which counts?"
    );
    assert!(
        !shown(json!([acme, filter("env", "live")]), &[("tenant", "acme")]),
        "a tag is no field"
    );
    for (name, value) in [
        ("__topic__", "web"),
        ("__source__", "203.0.113.7"),
        ("__tag__:env", "live"),
    ] {
        assert!(
            shown(json!([acme, filter(name, value)]), &[("tenant", "acme")]),
            "{name}"
        );
        assert!(!shown(json!([filter(name, "other")]), &[]), "{name}");
    }
}

#[test]
fn limits_in_time_hold_together() {
    let in_time = |view: &View, time: u64| {
        let one = PreviewEvent {
            time: u32::try_from(time).unwrap(),
            ..PreviewEvent::default()
        };
        scope::event(view, NOW, one).is_some()
    };
    let last = view(json!({"lastSeconds": 60}));
    assert!(in_time(&last, NOW - 60) && !in_time(&last, NOW - 61) && in_time(&last, NOW + 5));
    let both = view(json!({"lastSeconds": 60, "from": NOW - 30, "to": NOW - 10}));
    assert!(in_time(&both, NOW - 30) && in_time(&both, NOW - 10));
    assert!(!in_time(&both, NOW - 31) && !in_time(&both, NOW - 9));
    assert_eq!(scope::shows_numbers(&last, NOW), Ok(()));
    assert_eq!(scope::shows_numbers(&both, NOW), Err(scope::Hidden::Time));
}

#[test]
fn a_record_is_shown_without_its_sender_and_without_what_is_hidden() {
    let line = json!({
        "id": "r/0", "received": NOW, "cause": "schema", "check": "pay@1", "client": "203.0.113.7",
        "violations": [
            {"pointer": "/email", "keyword": "format", "message": "a@example.com is no number"},
            {"pointer": "/amount", "keyword": "type", "message": "a@example.com"},
            {"pointer": "", "keyword": "required", "message": "a@example.com"},
        ],
        "topic": "web", "tags": {"env": "live"}, "attached": {"subject": "a@example.com"},
        "event": {"amount": "much", "email": "a@example.com", "tenant": "acme"},
    })
    .to_string();
    let hides = json!({"hidden": ["email"], "filters": [{"field": "tenant", "value": "acme"}]});
    let shown = scope::record(&view(hides), NOW, &line).unwrap();
    assert_eq!(shown["event"], json!({"amount": "much", "tenant": "acme"}));
    assert_eq!(shown["violations"].as_array().unwrap().len(), 2, "{shown}");
    let text = shown.to_string();
    assert!(
        !text.contains("example.com") && !text.contains("203.0.113.7"),
        "{text}"
    );
    let other = json!({"filters": [{"field": "tenant", "value": "globex"}]});
    assert!(scope::record(&view(other), NOW, &line).is_none());
    assert!(scope::record(&view(json!({"to": NOW - 1})), NOW, &line).is_none());
    assert!(scope::record(&view(json!({})), NOW, "{torn").is_none());
}

#[test]
fn a_logstore_is_shown_when_it_is_named_or_none_is() {
    let all = view(json!({}));
    assert!(scope::shows(&all, "shop", "web") && !scope::shows(&all, "other", "web"));
    let some = view(json!({"logstores": ["web"]}));
    assert!(scope::shows(&some, "shop", "web") && !scope::shows(&some, "shop", "orders"));
}

proptest! {
    /// Whatever an event holds, no hidden field and no event that a filter leaves out is shown.
    #[test]
    fn what_is_hidden_stays_hidden(
        pairs in proptest::collection::vec(("[a-c]", "[x-z]"), 0..6),
        tags in proptest::collection::vec(("[a-c]", "[x-z]"), 0..4),
        hidden in proptest::collection::vec("(__tag__:)?[a-c]", 0..3),
    ) {
        let view = view(json!({"hidden": hidden, "filters": [{"field": "a", "value": "x"}]}));
        let own = |pairs: &[(String, String)]| {
            let pairs = pairs.iter().map(|(name, value)| (name.clone().into(), value.clone().into()));
            pairs.collect::<Vec<_>>()
        };
        let one = PreviewEvent { fields: own(&pairs), tags: own(&tags), time: 1, ..PreviewEvent::default() };
        let of_a: Vec<_> = pairs.iter().filter(|(name, _)| name == "a").collect();
        let passes = matches!(of_a.as_slice(), [(_, value)] if value == "x");
        let shown = scope::event(&view, NOW, one);
        prop_assert_eq!(shown.is_some(), passes);
        if let Some(shown) = shown {
            for (name, _) in &shown.fields {
                prop_assert!(!hidden.iter().any(|it| it == name));
            }
            for (name, _) in &shown.tags {
                let name = format!("__tag__:{name}");
                prop_assert!(!hidden.contains(&name));
            }
        }
    }
}
