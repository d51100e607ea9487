//! What became of a request that was tried out, for people and for machines.

use serde_json::Value;

use super::{Failure, output};
use crate::app::{Traced, TrialAnswer, explained};
pub(super) use crate::app::{events, tags, text};
use crate::event::Refusal;

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
    serde_json::to_value(explained(answer)).unwrap_or_default()
}
