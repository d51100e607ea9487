//! What would become of a request on a running node, by its admin API.

use super::super::api::Api;
use super::super::form::{self, Form};
use super::super::{Exit, Failure, output};
use super::{ExplainArgs, Given, Written, given};
use crate::app::{ExplainOrder, Explained};

pub(super) fn explain(api: &Api, args: &ExplainArgs) -> Result<Exit, Failure> {
    let wrong = |why: &str| Failure::new(Exit::CommandLine, why);
    let Given::Written(request) = given(args)? else {
        let why = "what proves a credential is not in a sample, so a node cannot be asked about one; leave --admin-url out";
        return Err(wrong(why));
    };
    let Written {
        method,
        target,
        headers,
        body,
        secure,
    } = request;
    let shown = format!("{method} {target} on {}", api.base());
    let order = ExplainOrder {
        method: Some(method),
        target,
        headers,
        body: String::from_utf8(body).map_err(|_| {
            wrong("a node can be asked about bodies of text only; leave --admin-url out")
        })?,
        address: args.from.map(|address| address.to_string()),
        secure: args.tls || secure,
        at: args.at,
    };
    let explained = api.explain(&order)?;
    match args.form.output {
        Form::Json => form::print(&explained)?,
        Form::Text => show(&shown, &explained)?,
    }
    Ok(match (200..300).contains(&explained.status) {
        true => Exit::Success,
        false => Exit::Partial,
    })
}

fn show(shown: &str, explained: &Explained) -> Result<(), Failure> {
    output::line(output::escape(shown))?;
    for stage in &explained.stages {
        for (at, note) in stage.notes.iter().enumerate() {
            let name = if at == 0 { stage.stage.as_str() } else { "" };
            output::line(output::escape(&format!("  {name:<11} {note}")))?;
        }
        let verdict = match &stage.refused {
            None if stage.notes.is_empty() => "ok".to_owned(),
            None => continue,
            Some(refused) => format!("REFUSED {}: {}", refused.reason, refused.message),
        };
        let name = match stage.notes.is_empty() {
            true => stage.stage.as_str(),
            false => "",
        };
        output::line(output::escape(&format!("  {name:<11} {verdict}")))?;
    }
    for other in &explained.others {
        output::line(format_args!(
            "  {}",
            output::escape_json(&other.to_string())
        ))?;
    }
    let reason = explained.reason.as_ref();
    let reason = reason.map_or_else(String::new, |it| format!(", {}", output::escape(it)));
    let taken = match (200..300).contains(&explained.status) {
        true => "taken",
        false => "refused",
    };
    output::line(format_args!("{taken}: {}{reason}", explained.status))?;
    for stored in &explained.stored {
        output::line(output::escape_json(&stored.to_string()))?;
    }
    Ok(())
}
