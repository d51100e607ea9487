//! What is told of tests.

use serde_json::{Value, json};

use super::Failed;
use super::outcome::reason_of;
use super::prepare::Prepared;
use crate::cli::form::Form;
use crate::cli::{Exit, Failure, output, traced};

/// What came of the tests so far.
pub(super) struct Tally {
    form: Form,
    good: u64,
    failed: u64,
}

impl Tally {
    pub(super) fn new(form: Form) -> Self {
        Self {
            form,
            good: 0,
            failed: 0,
        }
    }

    /// Tells of a test.
    ///
    /// # Errors
    /// As [`output::line`].
    pub(super) fn test(
        &mut self,
        origin: &str,
        test: &Prepared<'_>,
        failed: Option<&Failed>,
    ) -> Result<(), Failure> {
        match failed {
            None => self.good += 1,
            Some(_) => self.failed += 1,
        }
        match self.form {
            Form::Json => {
                let told = as_json(origin, test, failed).to_string();
                output::line(output::escape_json(&told))
            }
            Form::Text => {
                let word = if failed.is_none() { "ok" } else { "FAILED" };
                let name = format!("{origin}: {}", test.test.name);
                output::line(format_args!("{word:<7} {}", output::escape(&name)))?;
                failed.map_or(Ok(()), |failed| show(test, failed))
            }
        }
    }

    /// Tells of all tests.
    ///
    /// # Errors
    /// As [`output::line`].
    pub(super) fn end(&self) -> Result<Exit, Failure> {
        let (good, failed) = (self.good, self.failed);
        let all = good + failed;
        let many = if all == 1 { "" } else { "s" };
        let summary = format!("{all} test{many}: {good} ok, {failed} failed");
        match self.form {
            Form::Text => output::line(format_args!("\n{summary}"))?,
            Form::Json => output::note(summary),
        }
        Ok(match failed {
            0 => Exit::Success,
            _ => Exit::Partial,
        })
    }
}

/// Which request it was, where there are several.
fn whereabouts(test: &Prepared<'_>, failed: &Failed) -> String {
    let place = failed.request.checked_sub(1);
    let request = place.and_then(|place| test.requests.get(place));
    let (shown, repeat) = request.map_or(("", 1), |it| (it.shown.as_str(), it.spec.repeat));
    let mut told = match test.requests.len() {
        1 => "request".to_owned(),
        all => format!("request {} of {all}", failed.request),
    };
    if repeat > 1 {
        told.push_str(&format!(", time {} of {repeat}", failed.repetition));
    }
    format!("{told}: {shown}")
}

fn show(test: &Prepared<'_>, failed: &Failed) -> Result<(), Failure> {
    let line = |text: String| output::line(format_args!("  {}", output::escape(&text)));
    line(whereabouts(test, failed))?;
    for unmet in &failed.unmet {
        line(format!("{}:", unmet.key))?;
        line(format!("  expected {}", unmet.expected))?;
        line(format!("  found    {}", unmet.found))?;
    }
    let status = failed.answer.status.as_u16();
    let reason = reason_of(&failed.answer).map(|reason| format!(", {reason}"));
    line(format!("stages ({status}{}):", reason.unwrap_or_default()))?;
    for told in traced::lines(&failed.answer.traced) {
        output::line(format_args!("    {told}"))?;
    }
    Ok(())
}

fn as_json(origin: &str, test: &Prepared<'_>, failed: Option<&Failed>) -> Value {
    let mut told = json!({"file": origin, "name": test.test.name, "ok": failed.is_none()});
    if let (Some(failed), Value::Object(members)) = (failed, &mut told) {
        let unmet = failed
            .unmet
            .iter()
            .map(|it| json!({"key": it.key, "expected": it.expected, "found": it.found}));
        members.insert("request".to_owned(), failed.request.into());
        members.insert("repetition".to_owned(), failed.repetition.into());
        members.insert("unmet".to_owned(), unmet.collect());
        members.insert("answer".to_owned(), traced::as_json(&failed.answer));
    }
    told
}
