//! `ls`, `show` and `export`: from the files alone.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fs::OpenOptions;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;

use serde::Deserialize;
use serde_json::json;

use super::super::ticket::Format;
use super::super::{Exit, Failure, moment, output};
use super::pretty::pretty;
use super::{ExportArgs, ListArgs, ShowArgs, unreadable};
use crate::event::RecordFilter;
use crate::pipeline::quarantine::{Kept, KeptRecord, each_record, replayed};

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
        counts(&places, &filter, args.format)?;
        return Ok(Exit::Success);
    }
    let count = args.count.unwrap_or(USUAL);
    for kept in &places {
        records(kept, &filter, count, args.format)?;
    }
    if places.is_empty() {
        output::note("nothing was set aside there");
    }
    Ok(Exit::Success)
}

fn counts(places: &[Kept], filter: &RecordFilter, format: Format) -> Result<(), Failure> {
    let mut rows: BTreeMap<Why, Counts> = BTreeMap::new();
    for kept in places {
        each(kept, filter, |record, is_replayed, _| {
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
    if format == Format::Json {
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
fn records(
    kept: &Kept,
    filter: &RecordFilter,
    count: usize,
    format: Format,
) -> Result<(), Failure> {
    let mut last: VecDeque<(Vec<String>, String)> = VecDeque::new();
    each(kept, filter, |record, is_replayed, line| {
        let whole = match format {
            Format::Text => String::new(),
            Format::Json => with_place(kept, line),
        };
        last.push_back((row(record, is_replayed), whole));
        if last.len() > count {
            last.pop_front();
        }
        true
    })?;
    if format == Format::Json {
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
    let why = why.map_or_else(String::new, |it| format!("{}: {}", it.pointer, it.message));
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
        each(&kept, &filter, |_, is_replayed, line| {
            found = Some((with_place(&kept, line), is_replayed));
            false
        })?;
        if let Some((line, is_replayed)) = found {
            output::line(output::escape_json(&pretty(&line)))?;
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
    let safe = args.output.is_none() && stdout.is_terminal();
    let unwritten = |error: io::Error| match &args.output {
        Some(path) => Failure::new(Exit::DataDir, format!("{}: {error}", path.display())),
        None => Failure::new(Exit::Partial, format!("standard output: {error}")),
    };
    let mut file = None;
    let sink: Box<dyn Write> = match &args.output {
        Some(path) => {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let opened = options.open(path).map_err(unwritten)?;
            file = Some(opened.try_clone().map_err(unwritten)?);
            Box::new(opened)
        }
        None => Box::new(stdout.lock()),
    };
    let mut sink = BufWriter::new(sink);
    let mut written = Ok(());
    let mut count = 0_u64;
    for kept in &places {
        each(kept, &filter, |_, is_replayed, line| {
            if is_replayed && !args.replayed {
                return true;
            }
            let line = with_place(kept, line);
            written = match safe {
                true => writeln!(sink, "{}", output::escape_json(&line)),
                false => writeln!(sink, "{line}"),
            };
            count += 1;
            written.is_ok()
        })?;
    }
    written.and_then(|()| sink.flush()).map_err(unwritten)?;
    if let Some(file) = file {
        file.sync_all().map_err(unwritten)?;
    }
    output::note(format_args!("{count} records"));
    Ok(Exit::Success)
}

/// Shows each record that is meant, whether it was replayed, and its line, until `see` says no.
fn each(
    kept: &Kept,
    filter: &RecordFilter,
    mut see: impl FnMut(&KeptRecord<'_>, bool, &str) -> bool,
) -> Result<(), Failure> {
    let noted: HashSet<String> = replayed(kept).map_err(|error| unreadable(&error))?;
    let damaged = each_record(kept, |record, line| {
        if !filter.takes(&record.id, &record.cause, &record.check, record.received) {
            return true;
        }
        see(record, noted.contains(&*record.id), line)
    });
    let damaged = damaged.map_err(|error| unreadable(&error))?;
    if damaged > 0 {
        let place = format!("{}/{}", kept.project, kept.logstore);
        output::note(format_args!(
            "{}: {damaged} damaged lines were skipped",
            output::escape(&place)
        ));
    }
    Ok(())
}

/// The line of a record, with where it was found.
fn with_place(kept: &Kept, line: &str) -> String {
    let rest = line.strip_prefix('{').unwrap_or(line);
    // Names of folders are texts.
    let (project, logstore) = (json!(kept.project), json!(kept.logstore));
    format!("{{\"project\":{project},\"logstore\":{logstore},{rest}")
}
