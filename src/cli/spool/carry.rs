//! `export`, and the form that bundles have on their way to another spool.

use std::io::{self, BufWriter, IsTerminal as _, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use super::super::form::{self, Form};
use super::super::out_file::{OWNER_ONLY, OutFile};
use super::super::progress::Progress;
use super::super::tail::lines;
use super::super::{Exit, Failure, output};
use super::{ExportArgs, Place, unreadable};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::logstore::proto::{LogGroup, LogTag};
use crate::pipeline::spool::{Bundle, LaneReport};

/// A line of an export.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Carried {
    pub(super) project: ProjectName,
    #[serde(deserialize_with = "of_lane")]
    pub(super) logstore: LogstoreName,
    /// As in `__pack_id__`.
    pub(super) id: String,
    /// Since when it waits, in Unix milliseconds.
    pub(super) time: u64,
    pub(super) events: u64,
    /// In wire form, as base64. Without its pack id, where that is `id`.
    pub(super) log_group: String,
}

fn of_lane<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LogstoreName, D::Error> {
    let text = String::deserialize(deserializer)?;
    LogstoreName::of_lane(&text).map_err(serde::de::Error::custom)
}

/// A bundle as the store will get it.
pub(super) fn log_group(bundle: &Bundle) -> Result<LogGroup, String> {
    let mut group = LogGroup::decode(bundle.log_group.as_slice())
        .map_err(|error| format!("bundle {}: {error}", bundle.id))?;
    if !bundle.has_pack_id() {
        group.log_tags.push(LogTag {
            key: Bytes::from_static(b"__pack_id__"),
            value: Bytes::from(bundle.id.to_string()),
        });
    }
    Ok(group)
}

/// Says what of a lane could not be read.
pub(super) fn tell_unread(place: &Place, report: &LaneReport) -> Exit {
    let damaged = report.segments.iter().map(|it| it.damaged_records);
    let damaged: u64 = damaged.sum::<u64>() + report.unopened_parts;
    let unread = damaged + report.headless_bundles;
    if unread > 0 {
        output::note(format_args!(
            "warning: {damaged} records of {place} cannot be read, and {} bundles do not say their topic; `tollgate spool verify` says where",
            report.headless_bundles
        ));
        return Exit::Partial;
    }
    Exit::Success
}

/// Where an export goes.
enum Sink {
    Stdout(BufWriter<io::Stdout>),
    File(BufWriter<OutFile>),
}

impl Sink {
    fn open(args: &ExportArgs) -> Result<Self, Failure> {
        let Some(path) = &args.to.out else {
            return Ok(Self::Stdout(BufWriter::new(io::stdout())));
        };
        let file = OutFile::create(path, OWNER_ONLY).map_err(|error| unwritten(&error))?;
        Ok(Self::File(BufWriter::new(file)))
    }

    fn out(&mut self) -> &mut dyn Write {
        match self {
            Self::Stdout(out) => out,
            Self::File(file) => file,
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Stdout(mut out) => out.flush(),
            Self::File(file) => file.into_inner()?.finish(),
        }
    }
}

fn unwritten(error: &io::Error) -> Failure {
    Failure::new(Exit::DataDir, format!("the export: {error}"))
}

pub(super) fn export(args: &ExportArgs) -> Result<Exit, Failure> {
    let spool = args.spool.find()?;
    spool.has_all(&args.places)?;
    let mut sink = Sink::open(args)?;
    let (mut bundles, mut events) = (0_u64, 0_u64);
    let mut exit = Exit::Success;
    let bar = match args.to.out.is_none() && io::stdout().is_terminal() {
        true => Progress::none(),
        false => Progress::counting("events"),
    };
    for found in spool.lanes()? {
        if !args.places.is_empty() && !args.places.iter().any(|place| place.is(&found)) {
            continue;
        }
        let place = Place {
            project: found.project.clone(),
            logstore: found.logstore.clone(),
        };
        let mut failed = None;
        let report = spool.lane(&found).bundles(|bundle| {
            bundles += 1;
            events += bundle.events;
            bar.add(bundle.events);
            let written = match args.events {
                true => write_events(&mut sink, &place, &bundle),
                false => write_bundle(&mut sink, &place, &bundle),
            };
            written.map_err(|error| {
                failed = Some(unwritten(&error));
                io::Error::other("the export")
            })
        });
        if let Some(failure) = failed {
            return Err(failure);
        }
        let report = report.map_err(|error| unreadable(&error))?;
        let told = bar.aside(|| tell_unread(&place, &report));
        if told != Exit::Success {
            exit = Exit::Partial;
        }
    }
    sink.finish().map_err(|error| unwritten(&error))?;
    bar.clear();
    match args.to.output {
        Form::Json => form::print(&json!({"events": events, "bundles": bundles}))?,
        Form::Text => output::note(format_args!(
            "exported {events} events in {bundles} bundles"
        )),
    }
    Ok(exit)
}

fn write_bundle(sink: &mut Sink, place: &Place, bundle: &Bundle) -> io::Result<()> {
    let carried = Carried {
        project: place.project.clone(),
        logstore: place.logstore.clone(),
        id: bundle.id.to_string(),
        time: bundle.time,
        events: bundle.events,
        log_group: STANDARD.encode(&bundle.log_group),
    };
    serde_json::to_writer(sink.out(), &carried)?;
    sink.out().write_all(b"\n")
}

/// Text that `lines` makes is safe for a terminal.
fn write_events(sink: &mut Sink, place: &Place, bundle: &Bundle) -> io::Result<()> {
    let group = log_group(bundle).map_err(io::Error::other)?;
    let mut text = String::new();
    let at = (place.project.as_str(), place.logstore.as_str());
    lines(&group, Some(at), &mut text);
    sink.out().write_all(text.as_bytes())
}
