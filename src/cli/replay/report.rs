//! What a replay found, for people and for machines.

use std::collections::BTreeMap;

use serde_json::json;

use super::compare::{Change, Compared};
use crate::cli::{Failure, moment, output};
use crate::event::SampledRequest;

/// Clients that are named for each change.
const CLIENTS: usize = 5;

/// What a replay found.
#[derive(Debug, Default)]
pub(super) struct Report {
    requests: usize,
    first: Option<u64>,
    last: Option<u64>,
    same: usize,
    changed: Vec<(SampledRequest, Compared)>,
}

/// Changes that are told together.
#[derive(Debug, Default)]
struct Together<'a> {
    count: usize,
    clients: BTreeMap<String, usize>,
    example: &'a str,
    message: Option<&'a str>,
}

impl Change {
    fn title(&self) -> &'static str {
        match self {
            Self::Same => "as before",
            Self::Refused => "would be refused, and were taken",
            Self::Taken => "would be taken, and were refused",
            Self::OtherReason => "would be refused for another reason",
            Self::OtherEvents => "would be taken, with other events kept",
            Self::Undecided(_) => "cannot be told",
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Refused => "refused",
            Self::Taken => "taken",
            Self::OtherReason => "other_reason",
            Self::OtherEvents => "other_events",
            Self::Undecided(_) => "undecided",
        }
    }
}

const ORDER: [&str; 5] = [
    "refused",
    "taken",
    "other_reason",
    "other_events",
    "undecided",
];

impl Report {
    pub(super) fn add(&mut self, request: SampledRequest, compared: Compared) {
        self.requests += 1;
        self.first.get_or_insert(request.time);
        self.last = Some(request.time);
        match compared.change {
            Change::Same => self.same += 1,
            _ => self.changed.push((request, compared)),
        }
    }

    /// How many verdicts would change.
    pub(super) fn changes(&self) -> usize {
        let changed = self.changed.iter();
        let decided = changed.filter(|(_, it)| !matches!(it.change, Change::Undecided(_)));
        decided.count()
    }

    fn of(&self, label: &str) -> impl Iterator<Item = &(SampledRequest, Compared)> {
        let changed = self.changed.iter();
        changed.filter(move |(_, it)| it.change.label() == label)
    }

    pub(super) fn text(&self) -> Result<(), Failure> {
        let time = |millis: Option<u64>| moment::format(millis.unwrap_or_default() / 1000);
        if self.requests == 0 {
            return output::line("the sample is empty");
        }
        output::line(format_args!(
            "{} requests, {} to {}",
            self.requests,
            time(self.first),
            time(self.last)
        ))?;
        output::line(format_args!("{:>6} as before", self.same))?;
        for label in ORDER {
            let count = self.of(label).count();
            if let Some((_, one)) = self.of(label).next() {
                output::line(format_args!("{count:>6} {}", one.change.title()))?;
            }
        }
        for label in ORDER {
            self.section(label)?;
        }
        Ok(())
    }

    fn section(&self, label: &str) -> Result<(), Failure> {
        let mut together: BTreeMap<(String, String), Together<'_>> = BTreeMap::new();
        let mut title = None;
        for (request, compared) in self.of(label) {
            title = Some(compared.change.title());
            let what = match &compared.change {
                Change::Undecided(why) => (*why).to_owned(),
                _ => format!("{} -> {}", compared.before, compared.after),
            };
            let of = together.entry((what, logstore(request))).or_default();
            of.count += 1;
            *of.clients.entry(client(request)).or_default() += 1;
            of.example = &request.id;
            of.message = compared.message.as_deref();
        }
        let Some(title) = title else { return Ok(()) };
        output::line(format_args!("\n{title}:"))?;
        let mut all: Vec<_> = together.into_iter().collect();
        all.sort_by_key(|(_, it)| std::cmp::Reverse(it.count));
        for ((what, logstore), it) in all {
            let what = output::escape(&what);
            output::line(format_args!(
                "{:>6} {what}, {}",
                it.count,
                output::escape(&logstore)
            ))?;
            if let Some(message) = it.message {
                output::line(format_args!("       {}", output::escape(message)))?;
            }
            let mut clients: Vec<_> = it.clients.into_iter().collect();
            clients.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            let more = clients.len().saturating_sub(CLIENTS);
            let named = clients.iter().take(CLIENTS);
            let named =
                named.map(|(client, count)| format!("{} ({count})", output::escape(client)));
            let mut named = named.collect::<Vec<_>>().join(", ");
            if more > 0 {
                named.push_str(&format!(" and {more} more"));
            }
            output::line(format_args!(
                "       by {named}; e.g. {}",
                output::escape(it.example)
            ))?;
        }
        Ok(())
    }

    pub(super) fn json(&self) -> Result<(), Failure> {
        for (request, compared) in &self.changed {
            let why = match compared.change {
                Change::Undecided(why) => Some(why),
                _ => None,
            };
            output::line(json!({
                "id": request.id, "time": request.time, "change": compared.change.label(),
                "before": compared.before, "after": compared.after, "message": compared.message,
                "why": why, "client": request.client.to_string(),
                "credential": request.credential, "logstore": request.verdict.logstore,
            }))?;
        }
        let counts = ORDER.map(|label| (label.to_owned(), self.of(label).count().into()));
        let mut summary: serde_json::Map<String, serde_json::Value> = counts.into_iter().collect();
        summary.insert("requests".to_owned(), self.requests.into());
        summary.insert("same".to_owned(), self.same.into());
        output::line(json!({"summary": summary}))
    }
}

fn logstore(request: &SampledRequest) -> String {
    match &request.verdict.logstore {
        Some((project, logstore)) => format!("{project}/{logstore}"),
        None => "no logstore".to_owned(),
    }
}

fn client(request: &SampledRequest) -> String {
    let named = request.credential.as_ref();
    match named.and_then(|it| Some((&it.kind, it.name.as_ref()?))) {
        Some((kind, name)) => format!("{kind} `{name}`"),
        None => request.client.to_string(),
    }
}
