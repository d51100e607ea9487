//! What the bearer of a ticket may see. Everything that a guest is given goes through here.

use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::sources::{Pair, PreviewEvent};
use crate::gate::identity::state::View;

/// The name of the one dashboard that there is.
pub(super) const OVERVIEW: &str = "overview";

/// Why a guest sees no live numbers: they count all events, which the ticket does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Hidden {
    /// It shows only events with some values.
    Filters,
    /// It shows another time.
    Time,
}

/// Whether a logstore is shown.
pub(super) fn shows(view: &View, project: &str, logstore: &str) -> bool {
    let named = view.logstores.iter().any(|one| one.as_str() == logstore);
    view.project.as_str() == project && (view.logstores.is_empty() || named)
}

/// The first and the last second that is shown.
pub(super) fn window(view: &View, now: u64) -> (u64, u64) {
    let last = view.last_seconds.map_or(0, |last| now.saturating_sub(last));
    let from = view.from.unwrap_or(0).max(last);
    (from, view.to.unwrap_or(u64::MAX))
}

/// Whether numbers that count every event of now may be shown.
pub(super) fn shows_numbers(view: &View, now: u64) -> Result<(), Hidden> {
    let (from, to) = window(view, now);
    if !view.filters.is_empty() {
        return Err(Hidden::Filters);
    }
    if !(from..=to).contains(&now) {
        return Err(Hidden::Time);
    }
    Ok(())
}

/// An event as it may be shown, if it may be.
pub(super) fn event<'a>(
    view: &View,
    now: u64,
    event: PreviewEvent<'a>,
) -> Option<PreviewEvent<'a>> {
    let (from, to) = window(view, now);
    if !(from..=to).contains(&u64::from(event.time)) {
        return None;
    }
    let has = |name: &str, value: &str| match name {
        "__topic__" => event.topic == value,
        "__source__" => event.source == value,
        _ => match name.strip_prefix("__tag__:") {
            // What the edge adds may be a field under the name that a tag has.
            Some(tag) => {
                pair(&event.tags, tag) == Some(value) || pair(&event.fields, name) == Some(value)
            }
            None => pair(&event.fields, name) == Some(value),
        },
    };
    let matches =
        |filter: &crate::gate::identity::state::FieldFilter| has(&filter.field, &filter.value);
    if !view.filters.iter().all(matches) {
        return None;
    }
    Some(without_hidden(view, event))
}

fn pair<'a>(pairs: &'a [Pair<'_>], name: &str) -> Option<&'a str> {
    let mut found = pairs.iter().filter(|(key, _)| key == name);
    let (_, value) = found.next()?;
    // Of a field that is there twice it cannot be said which counts.
    found.next().is_none().then_some(value.as_ref())
}

fn without_hidden<'a>(view: &View, mut event: PreviewEvent<'a>) -> PreviewEvent<'a> {
    let hidden = |name: &str| view.hidden.iter().any(|one| one == name);
    event.fields.retain(|(name, _)| !hidden(name));
    event
        .tags
        .retain(|(name, _)| !hidden(&format!("__tag__:{name}")));
    if hidden("__topic__") {
        event.topic = Cow::Borrowed("");
    }
    if hidden("__source__") {
        event.source = Cow::Borrowed("");
    }
    event
}

/// A record of the quarantine as it may be shown, if it may be: when, what found it wanting, and the
/// event; never who sent it.
pub(super) fn record(view: &View, now: u64, line: &str) -> Option<Value> {
    let mut record: Map<String, Value> = serde_json::from_str(line).ok()?;
    let received = record.get("received")?.as_u64()?;
    let (from, to) = window(view, now);
    if !(from..=to).contains(&received) {
        return None;
    }
    let text = |record: &Map<String, Value>, name: &str| {
        let value = record.get(name).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let (topic, source) = (
        Cow::Owned(text(&record, "topic")),
        Cow::Owned(text(&record, "source")),
    );
    let tags = pairs(record.get("tags"));
    let fields = pairs(record.get("event"));
    let shown = event(
        view,
        now,
        PreviewEvent {
            time: u32::try_from(received).ok()?,
            nanos: None,
            topic,
            source,
            tags,
            fields,
            cut: false,
        },
    )?;
    let names: Vec<&str> = shown.fields.iter().map(|(name, _)| name.as_ref()).collect();
    let violations = record.remove("violations").unwrap_or_default();
    let violations = violations.as_array().map(|all| {
        let told = all.iter().filter(|one| is_about(one, &names));
        // A message may repeat a value of another field.
        let place = |one: &Value| {
            serde_json::json!({"pointer": one.get("pointer"), "keyword": one.get("keyword")})
        };
        told.map(place).collect::<Vec<Value>>()
    });
    Some(serde_json::json!({
        "received": received,
        "cause": record.get("cause"),
        "check": record.get("check"),
        "violations": violations.unwrap_or_default(),
        "topic": shown.topic,
        "source": shown.source,
        "event": shown.fields.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
    }))
}

/// Whether a violation is about the event as a whole, or about a field that is shown.
fn is_about(violation: &Value, names: &[&str]) -> bool {
    let pointer = violation.get("pointer").and_then(Value::as_str);
    let mut parts = pointer.unwrap_or_default().split('/').skip(1);
    parts.next().is_none_or(|first| {
        let first = first.replace("~1", "/").replace("~0", "~");
        names.contains(&first.as_str())
    })
}

/// The members of an object, as an event has them once it is stored.
fn pairs(value: Option<&Value>) -> Vec<Pair<'static>> {
    let members = value.and_then(Value::as_object).into_iter().flatten();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    members
        .map(|(name, value)| (Cow::Owned(name.clone()), Cow::Owned(text(value))))
        .collect()
}

/// Whether refused requests may be shown: whose they were cannot be told by their fields, since they
/// were refused, perhaps unread.
pub(super) fn shows_refusals(view: &View) -> bool {
    view.filters.is_empty()
}

/// A refused request as a guest may see it: when and why, and nothing of what it held or who sent it.
pub(super) fn refusal(
    view: &View,
    now: u64,
    request: &crate::event::SampledRequest,
) -> Option<Value> {
    let verdict = &request.verdict;
    let (project, logstore) = verdict.logstore.as_ref()?;
    let (from, to) = window(view, now);
    let in_time = (from..=to).contains(&(request.time / 1000));
    if !shows(view, project, logstore) || !in_time || !shows_refusals(view) {
        return None;
    }
    Some(serde_json::json!({
        "time": request.time,
        "method": request.method,
        "status": verdict.status,
        "reason": verdict.reason,
        "stage": verdict.stage,
        "logstore": verdict.logstore,
        "events": verdict.events,
    }))
}

/// A record as the bearer of the admin token sees it.
pub(super) fn whole_record(line: &str) -> Option<Box<RawValue>> {
    serde_json::from_str(line).ok()
}
