//! What is told of an event that a schema refuses.

use serde_json::{Value, json};

use super::input::Refused;
use super::{caret, counted, place};
use crate::cli::output;
use crate::event::Violation;

/// An event that is not valid.
pub(super) struct Bad {
    /// Which event of its line, from 0.
    pub(super) event: u32,
    pub(super) violations: Vec<Violation>,
    /// Violations that are not told.
    pub(super) hidden: u32,
}

/// Where an event stands, for people.
pub(super) fn whereabouts(line: u64, event: u32, of: u32) -> String {
    if of > 1 {
        format!("line {line}, event {}", event + 1)
    } else {
        format!("line {line}")
    }
}

/// Each violation, with the line and carets under the value at fault.
pub(super) fn violations(text: &[u8], bad: &Bad) -> Vec<String> {
    let line = String::from_utf8_lossy(text);
    let event = place::event(text, bad.event);
    let mut told = Vec::new();
    for it in &bad.violations {
        let pointer = match it.pointer.as_str() {
            "" => "the event",
            pointer => pointer,
        };
        let message = format!("  {pointer}: {} ({})", it.message, it.keyword);
        told.push(output::escape(&message));
        if let Some(event) = event.clone() {
            let part = place::fault(text, event, &it.pointer, &it.keyword);
            let (shown, carets) = caret::drawn(&line, part);
            told.push(format!("    | {shown}"));
            told.push(format!("    | {carets}"));
        }
    }
    if bad.hidden > 0 {
        let more = counted(u64::from(bad.hidden), "violation");
        told.push(format!("  and {more} more"));
    }
    told
}

/// A line that holds no events.
pub(super) fn refused(line: u64, refused: &Refused) -> String {
    let Refused { reason, message } = refused;
    output::escape(&format!(
        "line {line}: refused before any schema ({reason}): {message}"
    ))
}

/// A verdict as JSON.
pub(super) fn verdict(line: u64, event: u32, text: &[u8], bad: Option<&Bad>) -> Value {
    let Some(bad) = bad else {
        return json!({"line": line, "event": event, "valid": true});
    };
    let span = place::event(text, event);
    let told = bad.violations.iter().map(|it| {
        let part = span
            .clone()
            .map(|span| place::fault(text, span, &it.pointer, &it.keyword));
        json!({
            "pointer": it.pointer,
            "keyword": it.keyword,
            "message": it.message,
            "start": part.as_ref().map(|part| part.start),
            "end": part.as_ref().map(|part| part.end),
        })
    });
    let told: Vec<Value> = told.collect();
    json!({"line": line, "event": event, "valid": false, "violations": told, "hidden": bad.hidden})
}

/// A line that holds no events, as JSON.
pub(super) fn refused_verdict(line: u64, refused: &Refused) -> Value {
    let Refused { reason, message } = refused;
    json!({"line": line, "valid": false, "reason": reason, "message": message})
}

/// JSON that may be shown by a terminal: what it would obey is written as escapes. Line breaks stay.
pub(super) fn safe(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || output::is_harmless(c) {
            out.push(c);
        } else {
            // All such characters are in the first plane, so that one escape holds each.
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
    }
    out
}
