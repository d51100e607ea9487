//! What became of a request that was tried out, for people and for machines.

use serde_json::{Value, json};

use super::{Failure, output};
use crate::app::{Traced, TrialAnswer};
use crate::event::Refusal;
use crate::logstore::proto::LogGroup;

/// Prints the stages that a request came to, each on a line with what was found below it.
///
/// # Errors
/// As [`output::line`].
pub(super) fn print(traced: &Traced) -> Result<(), Failure> {
    for line in lines(traced) {
        output::line(format_args!("  {line}"))?;
    }
    Ok(())
}

/// The stages that a request came to.
pub(super) fn lines(traced: &Traced) -> Vec<String> {
    let mut lines = Vec::new();
    for step in &traced.steps {
        let stage = step.stage.label();
        let verdict = match &step.refused {
            None => "ok".to_owned(),
            Some(refusal) => format!("REFUSED {}", told(refusal)),
        };
        let mut notes = step.notes.iter();
        let beside = match (&step.refused, notes.next()) {
            (None, Some(note)) => format!("      {}", output::escape(note)),
            (Some(_), Some(note)) => {
                // What was found comes before what it came to.
                lines.push(format!("{stage:<11} {}", output::escape(note)));
                for note in notes.by_ref() {
                    lines.push(format!("{:<11} {}", "", output::escape(note)));
                }
                lines.push(format!("{:<11} {verdict}", ""));
                continue;
            }
            (_, None) => String::new(),
        };
        lines.push(format!("{stage:<11} {verdict}{beside}"));
        lines.extend(notes.map(|note| format!("{:<11}         {}", "", output::escape(note))));
    }
    for other in &traced.others {
        let (event, end, check) = (other.event, other.end, output::escape(&other.check));
        lines.push(format!("event {event}: {end} ({check})"));
        for (pointer, message) in &other.violations {
            let told = format!("{pointer}: {message}");
            lines.push(format!("    {}", output::escape(&told)));
        }
    }
    lines
}

fn told(refusal: &Refusal) -> String {
    let told = format!("{}: {}", refusal.reason().label(), refusal.message());
    output::escape(&told)
}

/// All of an answer, as JSON.
pub(super) fn as_json(answer: &TrialAnswer) -> Value {
    let traced = &answer.traced;
    let stages = traced.steps.iter().map(|step| {
        let refused = step.refused.as_ref().map(|refusal| {
            let reason = refusal.reason();
            json!({"reason": reason.label(), "message": refusal.message(), "fix": reason.fix()})
        });
        json!({"stage": step.stage.label(), "notes": step.notes, "refused": refused})
    });
    let others = traced.others.iter().map(|other| {
        let violations = other.violations.iter();
        let violations = violations.map(|(at, why)| json!({"pointer": at, "message": why}));
        json!({
            "event": other.event, "result": other.end, "check": other.check,
            "violations": violations.collect::<Vec<_>>(),
        })
    });
    let stored = answer.stored.iter().map(|(project, logstore, group)| {
        json!({
            "project": project.as_str(), "logstore": logstore.as_str(),
            "topic": text(group.topic()), "source": text(group.source()), "tags": tags(group),
            "events": events(group),
        })
    });
    json!({
        "status": answer.status.as_u16(),
        "reason": answer.reason.map(|reason| reason.label()),
        "limit": traced.limit,
        "stages": stages.collect::<Vec<_>>(),
        "events": traced.events,
        "others": others.collect::<Vec<_>>(),
        "stored": stored.collect::<Vec<_>>(),
    })
}

/// The tags of a LogGroup, but for the id of its batch, which is made up.
pub(super) fn tags(group: &LogGroup) -> Value {
    let own = group
        .log_tags
        .iter()
        .filter(|tag| &tag.key[..] != b"__pack_id__");
    let pairs = own.map(|tag| (text(&tag.key), Value::from(text(&tag.value))));
    Value::Object(pairs.collect())
}

/// The events of a LogGroup: fields by name, the last of a name.
pub(super) fn events(group: &LogGroup) -> Vec<Value> {
    let of = |log: &crate::logstore::proto::Log| {
        let time = ("__time__".to_owned(), Value::from(log.time));
        let fields = log.contents.iter();
        let fields = fields.map(|field| (text(&field.key), Value::from(text(&field.value))));
        Value::Object(std::iter::once(time).chain(fields).collect())
    };
    group.logs.iter().map(of).collect()
}

/// Bytes of an event as text.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
