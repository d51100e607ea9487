//! `ls`, `show` and `export`.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufWriter, IsTerminal as _, Write};

use serde::Deserialize;
use serde_json::json;

use super::super::form::{self, Form};
use super::super::out_file::{OWNER_ONLY, OutFile};
use super::super::progress::Progress;
use super::super::{Exit, Failure, moment, output};
use super::pretty::pretty;
use super::shelf::Shelf;
use super::{ExportArgs, ListArgs, ShowArgs};
use crate::event::RecordFilter;
use crate::pipeline::quarantine::KeptRecord;

/// Records of a logstore that are listed when nobody says how many.
const USUAL: usize = 20;
/// Rows of counts; what is left over counts together.
const MAX_ROWS: usize = 1000;

/// What is shown of a violation.
#[derive(Deserialize)]
struct Violation {
    #[serde(default)]
    pointer: String,
    #[serde(default)]
    keyword: String,
    #[serde(default)]
    message: String,
}

fn first_violation(record: &KeptRecord<'_>) -> Option<Violation> {
    let all: Vec<Violation> = serde_json::from_str(record.violations.get()).ok()?;
    all.into_iter().next()
}

/// What a row of counts is about.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Why {
    project: String,
    logstore: String,
    cause: String,
    check: String,
    reason: String,
}

#[derive(Default)]
struct Counts {
    records: u64,
    replayed: u64,
    oldest: u64,
    newest: u64,
}

pub(super) fn list(args: &ListArgs) -> Result<Exit, Failure> {
    let filter = args.filter.filter(&[]);
    let places = args.places.find()?;
    if args.places.logstore.is_none() && args.count.is_none() {
        counts(&places, &filter, args.form.output)?;
        return Ok(Exit::Success);
    }
    let count = args.count.unwrap_or(USUAL);
    for kept in &places {
        records(kept, &filter, count, args.form.output)?;
    }
    if places.is_empty() {
        output::note("nothing was set aside there");
    }
    Ok(Exit::Success)
}

fn counts(places: &[Shelf], filter: &RecordFilter, form: Form) -> Result<(), Failure> {
    let mut rows: BTreeMap<Why, Counts> = BTreeMap::new();
    for kept in places {
        kept.each(filter, |record, is_replayed, _| {
            let reason = first_violation(record).map_or_else(String::new, |it| it.keyword);
            let mut why = Why {
                project: kept.project.clone(),
                logstore: kept.logstore.clone(),
                cause: record.cause.to_string(),
                check: record.check.to_string(),
                reason,
            };
            if rows.len() >= MAX_ROWS && !rows.contains_key(&why) {
                (why.cause, why.check, why.reason) =
                    (String::new(), "other".to_owned(), String::new());
            }
            let row = rows.entry(why).or_insert(Counts {
                oldest: u64::MAX,
                ..Counts::default()
            });
            row.records += 1;
            row.replayed += u64::from(is_replayed);
            row.oldest = row.oldest.min(record.received);
            row.newest = row.newest.max(record.received);
            true
        })?;
    }
    if form == Form::Json {
        return rows.iter().try_for_each(|(why, counts)| {
            let row = json!({
                "project": why.project, "logstore": why.logstore, "cause": why.cause,
                "check": why.check, "reason": why.reason, "records": counts.records,
                "replayed": counts.replayed, "oldest": counts.oldest, "newest": counts.newest,
            });
            output::line(output::escape_json(&row.to_string()))
        });
    }
    if rows.is_empty() {
        output::note("nothing was set aside");
        return Ok(());
    }
    let rows = rows.iter().map(|(why, counts)| {
        vec![
            why.project.clone(),
            why.logstore.clone(),
            why.cause.clone(),
            why.check.clone(),
            why.reason.clone(),
            counts.records.to_string(),
            counts.replayed.to_string(),
            moment::format(counts.oldest),
            moment::format(counts.newest),
        ]
    });
    let head = [
        "project", "logstore", "cause", "check", "reason", "records", "replayed", "oldest",
        "newest",
    ];
    output::table(&head, rows.collect())
}

/// The last records of a place, the newest last.
fn records(kept: &Shelf, filter: &RecordFilter, count: usize, form: Form) -> Result<(), Failure> {
    let mut last: VecDeque<(Vec<String>, String)> = VecDeque::new();
    kept.each(filter, |record, is_replayed, line| {
        let whole = match form {
            Form::Text => String::new(),
            Form::Json => with_place(kept, line),
        };
        last.push_back((row(record, is_replayed), whole));
        if last.len() > count {
            last.pop_front();
        }
        true
    })?;
    if form == Form::Json {
        return last
            .iter()
            .try_for_each(|(_, line)| output::line(output::escape_json(line)));
    }
    output::note(output::escape(&format!(
        "{}/{}",
        kept.project, kept.logstore
    )));
    if last.is_empty() {
        output::note("nothing like that was set aside there");
        return Ok(());
    }
    let head = ["id", "received", "cause", "check", "replayed", "why"];
    output::table(&head, last.into_iter().map(|(row, _)| row).collect())
}

fn row(record: &KeptRecord<'_>, is_replayed: bool) -> Vec<String> {
    let why = first_violation(record);
    let why = why.map_or_else(String::new, |it| match it.pointer.as_str() {
        "" => it.message,
        pointer => format!("{pointer}: {}", it.message),
    });
    let shown = if is_replayed { "yes" } else { "no" };
    vec![
        record.id.to_string(),
        moment::format(record.received),
        record.cause.to_string(),
        record.check.to_string(),
        shown.to_owned(),
        why.chars().take(120).collect(),
    ]
}

pub(super) fn show(args: &ShowArgs) -> Result<Exit, Failure> {
    let filter = RecordFilter {
        ids: vec![args.id.clone()],
        ..RecordFilter::default()
    };
    for kept in args.places.find()? {
        let mut found = None;
        kept.each(&filter, |_, is_replayed, line| {
            found = Some((with_place(&kept, line), is_replayed));
            false
        })?;
        if let Some((line, is_replayed)) = found {
            let shown = match args.form.output {
                Form::Json => line,
                Form::Text => pretty(&line),
            };
            output::line(output::escape_json(&shown))?;
            if is_replayed {
                output::note("it was replayed");
            }
            return Ok(Exit::Success);
        }
    }
    let message = format!("there is no record {}", output::escape(&args.id));
    Err(Failure::new(Exit::Partial, message))
}

pub(super) fn export(args: &ExportArgs) -> Result<Exit, Failure> {
    let places = args.places.find()?;
    let filter = args.filter.filter(&[]);
    let stdout = io::stdout();
    // A file and a program get it byte for byte.
    let safe = args.to.out.is_none() && stdout.is_terminal();
    let unwritten = |error: io::Error| match &args.to.out {
        Some(path) => Failure::new(Exit::DataDir, format!("{}: {error}", path.display())),
        None => Failure::new(Exit::Partial, format!("standard output: {error}")),
    };
    let file = args.to.out.as_ref();
    let file = file.map(|path| OutFile::create(path, OWNER_ONLY));
    let mut file = file.transpose().map_err(unwritten)?;
    let sink: Box<dyn Write + '_> = match &mut file {
        Some(file) => Box::new(file),
        None => Box::new(stdout.lock()),
    };
    let mut sink = BufWriter::new(sink);
    let mut written = Ok(());
    let mut count = 0_u64;
    let bar = match safe {
        true => Progress::none(),
        false => Progress::counting("records"),
    };
    for kept in &places {
        kept.each(&filter, |_, is_replayed, line| {
            if is_replayed && !args.replayed {
                return true;
            }
            let line = with_place(kept, line);
            written = match safe {
                true => writeln!(sink, "{}", output::escape_json(&line)),
                false => writeln!(sink, "{line}"),
            };
            count += 1;
            bar.add(1);
            written.is_ok()
        })?;
    }
    written.and_then(|()| sink.flush()).map_err(unwritten)?;
    drop(sink);
    if let Some(file) = file {
        file.finish().map_err(unwritten)?;
    }
    drop(bar);
    match args.to.output {
        Form::Json => form::print(&json!({"records": count}))?,
        Form::Text => output::note(format_args!("{count} records")),
    }
    Ok(Exit::Success)
}

/// The line of a record, with where it was found.
fn with_place(kept: &Shelf, line: &str) -> String {
    let rest = line.strip_prefix('{').unwrap_or(line);
    // Names of folders are texts.
    let (project, logstore) = (json!(kept.project), json!(kept.logstore));
    format!("{{\"project\":{project},\"logstore\":{logstore},{rest}")
}
