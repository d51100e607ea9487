//! `ls`, `show` and `verify`: from the files, without a lock; `ls` also by a running node.

use serde_json::json;

use super::super::api::Api;
use super::super::form::{self, Form};
use super::super::progress::Progress;
use super::super::tail::lines;
use super::super::{Exit, Failure, moment, output};
use super::carry::{log_group, tell_unread};
use super::{LsArgs, ShowArgs, VerifyArgs, unreadable};
use crate::pipeline::spool::{Bundle, LaneReport, LaneView, SegmentState, SegmentView};

/// What a running node says of its spool.
fn list_there(api: &Api, form: Form) -> Result<Exit, Failure> {
    let lanes = api.spool()?;
    if form == Form::Json {
        lanes.iter().try_for_each(form::print)?;
        return Ok(Exit::Success);
    }
    if lanes.is_empty() {
        output::note("nothing is in its spool");
        return Ok(Exit::Success);
    }
    let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let rows = lanes.iter().map(|lane| {
        let note = match (lane.configured, lane.recovering) {
            (false, _) => "not configured",
            (true, true) => "being looked through",
            (true, false) => "-",
        };
        vec![
            output::escape(&format!("{}/{}", lane.project, lane.logstore)),
            count(lane.waiting),
            count(lane.held),
            lane.bytes.to_string(),
            count(lane.part),
            lane.segments.to_string(),
            note.to_owned(),
        ]
    });
    let head = [
        "logstore",
        "waiting",
        "in memory",
        "bytes",
        "kept for it",
        "segments",
        "notes",
    ];
    output::table(&head, rows.collect())?;
    Ok(Exit::Success)
}

pub(super) fn list(args: &LsArgs) -> Result<Exit, Failure> {
    if args.live.admin_url.is_some() && args.spool.spool_dir.is_some() {
        let why = "--spool-dir is for files here, and --admin-url for a node";
        return Err(Failure::new(Exit::CommandLine, why));
    }
    if let Some(api) = args.live.node(&args.spool.source.load()?)? {
        return list_there(&api, args.form.output);
    }
    let spool = args.spool.find()?;
    let mut rows = Vec::new();
    for lane in spool.lanes()? {
        let report = spool.lane(&lane).verify();
        let report = report.map_err(|error| unreadable(&error))?;
        let (project, logstore) = (lane.project.as_str(), lane.logstore.as_str());
        match args.form.output {
            Form::Json => output::line(json!({
                "project": project, "logstore": logstore,
                "events": report.waiting_events(), "bundles": report.waiting_bundles,
                "bytes": bytes(&report), "segments": report.segments.len(),
                "oldest": report.oldest().map(|oldest| oldest / 1000),
                "damaged": report.is_damaged(),
                "locked": count(&report, |it| it.locked),
                "newer": count(&report, |it| matches!(it.state, SegmentState::Newer(_))),
            }))?,
            Form::Text => rows.push(vec![
                format!("{project}/{logstore}"),
                report.waiting_events().to_string(),
                report.waiting_bundles.to_string(),
                bytes(&report).to_string(),
                report.segments.len().to_string(),
                report
                    .oldest()
                    .map_or_else(|| "-".to_owned(), |it| moment::format(it / 1000)),
                notes(&report),
            ]),
        }
    }
    if args.form.output == Form::Text {
        if rows.is_empty() {
            output::note(format_args!("no spool is in {}", spool.dir.display()));
            return Ok(Exit::Success);
        }
        let head = [
            "logstore", "events", "bundles", "bytes", "segments", "oldest", "notes",
        ];
        output::table(&head, rows)?;
    }
    Ok(Exit::Success)
}

fn bytes(report: &LaneReport) -> u64 {
    report.segments.iter().map(|it| it.bytes).sum()
}

fn count(report: &LaneReport, which: impl Fn(&&SegmentView) -> bool) -> usize {
    report.segments.iter().filter(which).count()
}

/// What is special about a lane, in a few words.
fn notes(report: &LaneReport) -> String {
    let locked = count(report, |it| it.locked);
    let newer = count(report, |it| matches!(it.state, SegmentState::Newer(_)));
    let foreign = count(report, |it| it.state == SegmentState::Foreign);
    let mut notes = Vec::new();
    if report.is_damaged() {
        notes.push("damaged".to_owned());
    }
    for (count, what) in [
        (locked, "without their key"),
        (newer, "of a newer version"),
        (foreign, "of another logstore"),
    ] {
        if count > 0 {
            notes.push(format!("{count} {what}"));
        }
    }
    match notes.is_empty() {
        true => "-".to_owned(),
        false => notes.join(", "),
    }
}

pub(super) fn show(args: &ShowArgs) -> Result<Exit, Failure> {
    let spool = args.spool.find()?;
    let Some(lane) = spool.find_lane(&args.place)? else {
        output::note(format_args!("nothing of {} is in the spool", args.place));
        return Ok(Exit::Success);
    };
    let mut rows = Vec::new();
    let mut failed = None;
    let report = lane.bundles(|bundle| {
        let shown = match (args.events, args.form.output) {
            (true, _) => show_events(&bundle),
            (false, Form::Json) => output::line(json!({
                "id": bundle.id.to_string(), "time": bundle.time,
                "events": bundle.events, "bytes": bundle.log_group.len(),
            })),
            (false, Form::Text) => {
                rows.push(vec![
                    bundle.id.to_string(),
                    moment::format(bundle.time / 1000),
                    bundle.events.to_string(),
                    bundle.log_group.len().to_string(),
                ]);
                Ok(())
            }
        };
        shown.map_err(|failure| {
            failed = Some(failure);
            std::io::Error::other("standard output")
        })
    });
    if let Some(failure) = failed {
        return Err(failure);
    }
    let report = report.map_err(|error| unreadable(&error))?;
    if !args.events && args.form.output == Form::Text && !rows.is_empty() {
        output::table(&["bundle", "since", "events", "bytes"], rows)?;
    }
    Ok(tell_unread(&args.place, &report))
}

fn show_events(bundle: &Bundle) -> Result<(), Failure> {
    let group = log_group(bundle).map_err(|error| Failure::new(Exit::Partial, error))?;
    let mut text = String::new();
    lines(&group, None, &mut text);
    match text.trim_end_matches('\n') {
        "" => Ok(()),
        text => output::line(text),
    }
}

pub(super) fn verify(args: &VerifyArgs) -> Result<Exit, Failure> {
    let spool = args.spool.find()?;
    let (mut segments, mut records, mut wrong) = (0, 0, 0_u64);
    let lanes = spool.lanes()?;
    let bar = Progress::of(lanes.len() as u64, "logstores");
    for found in lanes {
        let lane = spool.lane(&found);
        let report = lane.verify().map_err(|error| unreadable(&error))?;
        segments += report.segments.len();
        records += report.segments.iter().map(|it| it.records).sum::<u64>();
        let mut finds = Vec::new();
        if report.bad_checkpoint {
            let what = "the checkpoint cannot be read: what is done is sent again".to_owned();
            finds.push((lane.checkpoint_path(), what));
        }
        for segment in &report.segments {
            let wrong = findings(segment).into_iter();
            finds.extend(wrong.map(|what| (lane.segment_path(segment.number), what)));
            if segment.tail_bytes > 0 {
                let path = lane.segment_path(segment.number);
                let bytes = segment.tail_bytes;
                bar.note(&format!(
                    "note: {}: {bytes} bytes of an unfinished record at its end, which is no damage",
                    path.display()
                ));
            }
        }
        let unopened = report.unopened_parts;
        if unopened > 0 && count(&report, |it| it.locked) == 0 {
            let what = format!("{unopened} records cannot be unpacked");
            finds.push((folder(&lane), what));
        }
        wrong += finds.len() as u64;
        bar.aside(|| {
            finds.iter().try_for_each(|(path, what)| {
                let path = path.display();
                match args.form.output {
                    Form::Text => output::line(output::escape(&format!("{path}: {what}"))),
                    Form::Json => form::print(&json!({
                        "project": found.project, "logstore": found.logstore,
                        "file": path.to_string(), "what": what,
                    })),
                }
            })
        })?;
        bar.add(1);
    }
    bar.clear();
    output::note(format_args!(
        "{segments} segments and {records} whole records were read; {}",
        match wrong {
            0 => "all is well".to_owned(),
            wrong => format!("{wrong} findings"),
        }
    ));
    Ok(if wrong == 0 {
        Exit::Success
    } else {
        Exit::Partial
    })
}

fn folder(lane: &LaneView) -> std::path::PathBuf {
    let mut path = lane.checkpoint_path();
    path.pop();
    path
}

/// What is wrong with a segment, for people.
fn findings(segment: &SegmentView) -> Vec<String> {
    let mut found = Vec::new();
    match segment.state {
        SegmentState::Good | SegmentState::Empty => {}
        SegmentState::Newer(version) => {
            found.push(format!("is of version {version} of the format, which this program does not know; it is left alone"));
        }
        SegmentState::Headerless => found.push("has no readable header".to_owned()),
        SegmentState::Foreign => {
            found.push("says that it is of another logstore; it is left alone".to_owned());
        }
    }
    if segment.locked {
        found
            .push("is encrypted with a key that is not in spool.keys; it is left alone".to_owned());
    }
    if segment.damaged_records + segment.garbage_bytes > 0 {
        let places = segment.damage.iter();
        let places = places.map(|(offset, length)| format!("{offset} ({length} bytes)"));
        let places: Vec<String> = places.collect();
        found.push(format!(
            "{} damaged records and {} bytes that are no records, at {}; {} records are whole",
            segment.damaged_records,
            segment.garbage_bytes,
            places.join(", "),
            segment.records,
        ));
    }
    found
}
