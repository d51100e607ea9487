//! What came of a request, held against what was expected of it.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde_json::Value;

use super::file::{EventResult, Expect};
use crate::app::TrialAnswer;
use crate::cli::traced;
use crate::config::Scalar;
use crate::logstore::proto::LogGroup;

/// Events that are shown of those that are stored.
const SHOWN: usize = 3;

/// Characters that are shown of what was expected or found.
const LONGEST: usize = 2000;

/// An expectation that was not met.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unmet {
    /// The key in the file.
    pub(super) key: String,
    pub(super) expected: String,
    pub(super) found: String,
}

/// A stored event: its fields by name; topic, source, time and tags as a store shows them.
type Stored = BTreeMap<String, String>;

/// What of `expect` was not met.
pub(super) fn unmet(expect: &Expect, answer: &TrialAnswer) -> Vec<Unmet> {
    let mut list = Unmets(Vec::new());
    of_answer(expect, answer, &mut list);
    of_events(expect, answer, &mut list);
    of_stored(expect, answer, &mut list);
    list.0
}

struct Unmets(Vec<Unmet>);

impl Unmets {
    fn add(&mut self, key: impl Into<String>, expected: impl Display, found: impl Display) {
        self.0.push(Unmet {
            key: key.into(),
            expected: cut(expected.to_string()),
            found: cut(found.to_string()),
        });
    }

    fn compare<T: PartialEq + Display>(&mut self, key: &str, expected: Option<T>, found: &T) {
        if let Some(expected) = expected.filter(|expected| expected != found) {
            self.add(key, expected, found);
        }
    }

    fn compare_word(&mut self, key: &str, expected: Option<&String>, found: Option<&str>) {
        if let Some(expected) = expected.filter(|expected| Some(expected.as_str()) != found) {
            self.add(key, expected, found.unwrap_or("none"));
        }
    }
}

/// The first part of a text that is very long.
fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(at);
        text.push_str("...");
    }
    text
}

/// Why a request was refused: as its stages say, or else as its answer does.
pub(super) fn reason_of(answer: &TrialAnswer) -> Option<&str> {
    let header = || answer.headers.get("x-tollgate-reason")?.to_str().ok();
    answer.reason.map(|reason| reason.label()).or_else(header)
}

fn of_answer(expect: &Expect, answer: &TrialAnswer, list: &mut Unmets) {
    let traced = &answer.traced;
    list.compare("status", expect.status, &answer.status.as_u16());
    list.compare_word("reason", expect.reason.as_ref(), reason_of(answer));
    let mut steps = traced.steps.iter();
    let refused = steps.find(|step| step.refused.is_some());
    let stage = refused.map(|step| step.stage.label());
    list.compare_word("stage", expect.stage.as_ref(), stage);
    list.compare_word("limit", expect.limit.as_ref(), traced.limit.as_deref());
    let denied = traced.caller.as_ref().and_then(|caller| caller.denied);
    let observed = denied.filter(|_| answer.reason != denied);
    let observed = observed.map(|reason| reason.label());
    list.compare_word("observed", expect.observed.as_ref(), observed);
    if let Some(part) = &expect.message {
        let message = message_of(&answer.body);
        if !message.contains(part.as_str()) {
            let message = if message.is_empty() { "none" } else { &message };
            list.add("message", format!("...{part}..."), message);
        }
    }
    for (name, expected) in &expect.headers {
        let values = answer.headers.get_all(name).iter();
        let found: Vec<_> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        let met = match expected {
            Scalar::Boolean(there) => *there != found.is_empty(),
            other => found.iter().any(|value| **value == other.to_string()),
        };
        if !met {
            let expected = match expected {
                Scalar::Boolean(true) => "any".to_owned(),
                Scalar::Boolean(false) => "none".to_owned(),
                other => other.to_string(),
            };
            let found = if found.is_empty() {
                "none".to_owned()
            } else {
                found.join(", ")
            };
            list.add(format!("headers.{name}"), expected, found);
        }
    }
}

/// The message in the body of an answer.
fn message_of(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut members = ["errorMessage", "detail"].iter();
    let message = members.find_map(|name| json.get(name)?.as_str());
    message.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned)
}

fn of_events(expect: &Expect, answer: &TrialAnswer, list: &mut Unmets) {
    let others = &answer.traced.others;
    let count = |end: EventResult| {
        let of_end = others.iter().filter(|other| other.end == end.label());
        u32::try_from(of_end.count()).unwrap_or(u32::MAX)
    };
    let quarantined = count(EventResult::Quarantined);
    list.compare("quarantined", expect.quarantined, &quarantined);
    list.compare("dropped", expect.dropped, &count(EventResult::Dropped));
    if let Some(expected) = &expect.results {
        let ends: BTreeMap<u32, &str> = others.iter().map(|it| (it.event, it.end)).collect();
        let all = match answer.status.is_success() {
            true => answer.traced.events,
            false => 0,
        };
        let accepted = EventResult::Accepted.label();
        let found: Vec<&str> = (0..all)
            .map(|event| ends.get(&event).copied().unwrap_or(accepted))
            .collect();
        let expected: Vec<&str> = expected.iter().map(|it| it.label()).collect();
        if expected != found {
            list.add("results", words(&expected), words(&found));
        }
    }
}

fn words(list: &[&str]) -> String {
    match list {
        [] => "none".to_owned(),
        list => list.join(", "),
    }
}

fn of_stored(expect: &Expect, answer: &TrialAnswer, list: &mut Unmets) {
    let looked_at = |logstore: &str| {
        let only = expect.logstore.as_ref();
        only.is_none_or(|only| only.as_str() == logstore)
    };
    let groups = answer.stored.iter();
    let stored: Vec<Stored> = groups
        .filter(|(_, logstore, _)| looked_at(logstore.as_str()))
        .flat_map(|(_, _, group)| stored_in(group))
        .collect();
    let count = u32::try_from(stored.len()).unwrap_or(u32::MAX);
    list.compare("stored_count", expect.stored_count, &count);
    let asks_more = expect.stored.is_some() || expect.stored_count.is_some();
    if let Some(logstore) = expect.logstore.as_ref().filter(|_| !asks_more)
        && stored.is_empty()
    {
        list.add(
            "logstore",
            format!("events in {logstore}"),
            shown_all(answer),
        );
    }
    for field in expect.absent.iter().flatten() {
        let holder = stored.iter().find(|event| event.contains_key(field));
        if let Some(event) = holder {
            list.add(format!("absent `{field}`"), "in no event", shown(event));
        } else if stored.is_empty() {
            list.add(format!("absent `{field}`"), "stored events", "none");
        }
    }
    let expected: Vec<Stored> = expect.stored.iter().flatten().map(texts).collect();
    for index in unmatched(&expected, &stored) {
        let Some(wanted) = expected.get(index) else {
            continue;
        };
        let found = nearest(wanted, &stored).map_or_else(|| shown_all(answer), shown);
        list.add(format!("stored[{index}]"), shown(wanted), found);
    }
}

fn texts(fields: &BTreeMap<String, Scalar>) -> Stored {
    let text = |(name, value): (&String, &Scalar)| (name.clone(), value.to_string());
    fields.iter().map(text).collect()
}

/// The events of a LogGroup.
fn stored_in(group: &LogGroup) -> Vec<Stored> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut common = Stored::new();
    for (name, value) in [("__topic__", &group.topic), ("__source__", &group.source)] {
        let value = value.as_ref().filter(|value| !value.is_empty());
        common.extend(value.map(|value| (name.to_owned(), text(value))));
    }
    if let Value::Object(tags) = traced::tags(group) {
        for (name, value) in tags {
            let value = value.as_str().unwrap_or_default().to_owned();
            common.insert(format!("__tag__:{name}"), value);
        }
    }
    let event = |log: &crate::logstore::proto::Log| {
        let mut event = common.clone();
        event.insert("__time__".to_owned(), log.time.to_string());
        let fields = log.contents.iter();
        event.extend(fields.map(|field| (text(&field.key), text(&field.value))));
        event
    };
    group.logs.iter().map(event).collect()
}

fn fits(wanted: &Stored, event: &Stored) -> bool {
    wanted
        .iter()
        .all(|(name, value)| event.get(name) == Some(value))
}

/// Which of the expected events have no stored event of their own, when as many as can have one.
fn unmatched(expected: &[Stored], stored: &[Stored]) -> Vec<usize> {
    let mut taken: BTreeMap<usize, usize> = BTreeMap::new();
    (0..expected.len())
        .filter(|index| {
            let mut tried = vec![false; stored.len()];
            !find_place(*index, (expected, stored), &mut taken, &mut tried)
        })
        .collect()
}

/// Finds a stored event for an expected one; others that can have another give way.
fn find_place(
    index: usize,
    (expected, stored): (&[Stored], &[Stored]),
    taken: &mut BTreeMap<usize, usize>,
    tried: &mut [bool],
) -> bool {
    let Some(wanted) = expected.get(index) else {
        return false;
    };
    for (place, event) in stored.iter().enumerate() {
        let untried = tried
            .get_mut(place)
            .is_some_and(|it| !std::mem::replace(it, true));
        if !untried || !fits(wanted, event) {
            continue;
        }
        let free = match taken.get(&place).copied() {
            None => true,
            Some(other) => find_place(other, (expected, stored), taken, tried),
        };
        if free {
            taken.insert(place, index);
            return true;
        }
    }
    false
}

/// The stored event that has the most of the expected fields.
fn nearest<'s>(wanted: &Stored, stored: &'s [Stored]) -> Option<&'s Stored> {
    let equal = |event: &&Stored| {
        let same = |(name, value): &(&String, &String)| event.get(*name) == Some(value);
        wanted.iter().filter(same).count()
    };
    stored.iter().max_by_key(equal)
}

fn shown(event: &Stored) -> String {
    let fields = event
        .iter()
        .map(|(name, value)| format!("{name}={}", Value::from(value.as_str())));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
}

/// The first of the stored events, wherever they are.
fn shown_all(answer: &TrialAnswer) -> String {
    let groups = answer.stored.iter();
    let mut events = groups.flat_map(|(_, logstore, group)| {
        let events = stored_in(group).into_iter();
        events.map(move |event| format!("{logstore} {}", shown(&event)))
    });
    let first: Vec<String> = events.by_ref().take(SHOWN).collect();
    match (first.as_slice(), events.count()) {
        ([], _) => "nothing is stored".to_owned(),
        (first, 0) => first.join("; "),
        (first, more) => format!("{}; and {more} more", first.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(fields: &[(&str, &str)]) -> Stored {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        fields.iter().map(own).collect()
    }

    #[test]
    fn as_many_expected_events_as_can_have_one_of_their_own() {
        let wide = event(&[("a", "1")]);
        let narrow = event(&[("a", "1"), ("b", "2")]);
        let stored = [narrow.clone(), wide.clone()];
        assert!(unmatched(&[wide.clone(), narrow.clone()], &stored).is_empty());
        assert_eq!(unmatched(&[narrow.clone(), narrow], &stored), [1]);
        assert_eq!(unmatched(&[wide], &[]), [0]);
        assert!(unmatched(&[event(&[])], &stored).is_empty());
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(cut("é".repeat(LONGEST)).chars().count(), LONGEST);
        assert_eq!(cut("é".repeat(LONGEST + 1)).chars().count(), LONGEST + 3);
    }

    #[test]
    fn the_nearest_event_is_shown() {
        let stored = [event(&[("a", "1")]), event(&[("b", "2"), ("c", "3")])];
        let wanted = event(&[("b", "2"), ("c", "4")]);
        assert_eq!(nearest(&wanted, &stored), stored.last());
    }
}
