//! `import`.
//!
//! Promise: what is told as imported is durable. A bundle is in the spool whole or not at all, and one
//! whose id the spool knows is left out. Memory: one line of the file, and the ids of the logstores
//! that it is about.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use serde_json::json;

use super::super::form;
use super::super::progress::Progress as Bar;
use super::super::{Exit, Failure, output};
use super::carry::Carried;
use super::{ImportArgs, Place, Spool, unreadable};
use crate::app;
use crate::foundation::clock;
use crate::logstore::proto::LogGroup;
use crate::pipeline::spool::{AppendError, BundleId, BundleSet, Log, Part, SpoolDirectory};

/// The longest line that is read, in bytes: a LogGroup of 10 MiB, as base64, and its names.
const MAX_LINE: u64 = 24 << 20;
/// Bytes of bundles that share a sync.
const GROUP: usize = 8 << 20;
/// Lines that are told one by one.
const MAX_TOLD: u64 = 10;

/// A bundle as it is appended.
struct Ready {
    id: BundleId,
    time: u64,
    events: u32,
    key: Vec<u8>,
    logs: Vec<u8>,
}

/// A logstore that takes bundles.
struct Taker {
    log: Log,
    known: BundleSet,
    place: Place,
    /// Events that were appended since the last sync.
    unnoted: u64,
}

/// How it goes.
#[derive(Default)]
struct Progress {
    bundles: u64,
    events: u64,
    known: u64,
    bad: u64,
    /// Appended since the last sync.
    unsynced: (u64, u64),
    bytes: usize,
}

pub(super) fn import(args: &ImportArgs) -> Result<Exit, Failure> {
    let spool = args.spool.find()?;
    let of_file = |error: io::Error| {
        let name = args.file.display();
        Failure::new(Exit::DataDir, format!("{name}: {error}"))
    };
    let mut input: Box<dyn BufRead> = match args.file.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(BufReader::new(File::open(&args.file).map_err(of_file)?)),
    };
    let directory = spool.lock()?;
    let mut importing = Importing {
        spool: &spool,
        directory: &directory,
        to: args.to.as_ref(),
        takers: HashMap::new(),
        progress: Progress::default(),
        bar: Bar::bytes(input_length(&args.file)),
    };
    let result = importing.all(&mut input, &of_file);
    let result = importing.sync().and(result);
    let progress = &importing.progress;
    importing.bar.clear();
    if args.form.is_json() {
        form::print(&json!({
            "bundles": progress.bundles, "events": progress.events,
            "known": progress.known, "unusable": progress.bad,
        }))?;
    }
    output::note(format_args!(
        "imported {} events in {} bundles; {} bundles were in the spool already; {} lines could not be used",
        progress.events, progress.bundles, progress.known, progress.bad
    ));
    result?;
    Ok(match progress.known + progress.bad {
        0 => Exit::Success,
        _ => Exit::Partial,
    })
}

struct Importing<'a> {
    spool: &'a Spool,
    directory: &'a SpoolDirectory,
    to: Option<&'a Place>,
    takers: HashMap<String, Taker>,
    progress: Progress,
    bar: Bar,
}

impl Importing<'_> {
    fn all(
        &mut self,
        input: &mut dyn BufRead,
        of_file: &dyn Fn(io::Error) -> Failure,
    ) -> Result<(), Failure> {
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let mut limited = io::Read::take(&mut *input, MAX_LINE);
            let read = limited.read_until(b'\n', &mut line).map_err(of_file)?;
            if read == 0 {
                break;
            }
            self.bar.add(read as u64);
            if read as u64 == MAX_LINE && line.last() != Some(&b'\n') {
                self.skip(number, "it is too long");
                skip_line(input).map_err(of_file)?;
                continue;
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match read_line(&line) {
                Ok((place, ready)) => self.take(self.to.cloned().unwrap_or(place), &ready)?,
                Err(why) => self.skip(number, &why),
            }
        }
        Ok(())
    }

    fn skip(&mut self, number: u64, why: &str) {
        self.progress.bad += 1;
        if self.progress.bad <= MAX_TOLD {
            let told = output::escape(&format!("line {number}: {why}"));
            self.bar.note(&told);
        }
    }

    fn take(&mut self, place: Place, ready: &Ready) -> Result<(), Failure> {
        let name = place.to_string();
        if !self.takers.contains_key(&name) {
            let taker = self.taker(&place)?;
            self.takers.insert(name.clone(), taker);
        }
        let Some(taker) = self.takers.get_mut(&name) else {
            return Err(Failure::new(Exit::Internal, "a log went away"));
        };
        if !taker.known.insert(ready.id) {
            self.progress.known += 1;
            return Ok(());
        }
        let part = Part {
            bundle: ready.id,
            number: 0,
            last: true,
            events: ready.events,
            key: Some(&ready.key),
            logs: &ready.logs,
        };
        // Its age counts from when it was taken from its client.
        let time = ready.time.min(clock::unix_millis());
        taker.log.append(&part, time).map_err(|error| {
            let hint = match error {
                AppendError::Full(_) => "; make room, or raise spool.max_size, and import again",
                _ => "",
            };
            Failure::new(Exit::DataDir, format!("{name}: {error}{hint}"))
        })?;
        taker.unnoted += u64::from(ready.events);
        let progress = &mut self.progress;
        progress.unsynced.0 += 1;
        progress.unsynced.1 += u64::from(ready.events);
        progress.bytes += ready.logs.len();
        if progress.bytes >= GROUP {
            self.sync()?;
        }
        Ok(())
    }

    fn taker(&self, place: &Place) -> Result<Taker, Failure> {
        let (project, logstore) = (&place.project, &place.logstore);
        let config = &self.spool.config;
        if config.logstore_of_lane(project, logstore).is_none() {
            output::note(format_args!(
                "warning: {place} is not configured; its events wait until it is"
            ));
        }
        let rules = app::command_log_rules(config, project, logstore);
        let log = self.directory.log(project, logstore, rules);
        let log = log.map_err(|error| Failure::new(Exit::DataDir, error))?;
        let ids = self.spool.view.lane(project, logstore).ids();
        Ok(Taker {
            log,
            known: ids.map_err(|error| unreadable(&error))?,
            place: place.clone(),
            unnoted: 0,
        })
    }

    /// What was appended is durable from here on, and counts as imported.
    fn sync(&mut self) -> Result<(), Failure> {
        for (name, taker) in &mut self.takers {
            taker
                .log
                .sync()
                .map_err(|error| Failure::new(Exit::DataDir, format!("{name}: {error}")))?;
            let put = std::mem::take(&mut taker.unnoted);
            if put > 0 {
                self.spool.note(&taker.place, 0, put);
            }
        }
        let progress = &mut self.progress;
        let (bundles, events) = std::mem::take(&mut progress.unsynced);
        progress.bundles += bundles;
        progress.events += events;
        progress.bytes = 0;
        Ok(())
    }
}

/// Bytes of the input, where that is known.
fn input_length(path: &Path) -> Option<u64> {
    let found = std::fs::metadata(path).ok()?;
    found.is_file().then_some(found.len())
}

/// Reads to the end of a line.
fn skip_line(input: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

/// The bundle of a line.
fn read_line(line: &[u8]) -> Result<(Place, Ready), String> {
    let carried: Carried =
        serde_json::from_slice(line).map_err(|error| format!("this is no bundle: {error}"))?;
    let id = bundle_id(&carried.id).ok_or("the id is not that of a bundle")?;
    let raw = STANDARD.decode(&carried.log_group);
    let raw = raw.map_err(|error| format!("logGroup: {error}"))?;
    let mut group =
        LogGroup::decode(raw.as_slice()).map_err(|error| format!("logGroup: {error}"))?;
    if group.logs.len() as u64 != carried.events || group.logs.is_empty() {
        let found = group.logs.len();
        return Err(format!("it has {found} events and not {}", carried.events));
    }
    let logs = LogGroup {
        logs: std::mem::take(&mut group.logs),
        ..LogGroup::default()
    };
    let ready = Ready {
        id,
        time: carried.time,
        events: u32::try_from(carried.events).map_err(|error| error.to_string())?,
        key: group.encode_to_vec(),
        logs: logs.encode_to_vec(),
    };
    let place = Place {
        project: carried.project,
        logstore: carried.logstore,
    };
    Ok((place, ready))
}

/// An id as `__pack_id__` has it.
fn bundle_id(text: &str) -> Option<BundleId> {
    let (prefix, number) = text.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let id = BundleId {
        prefix: hex(prefix)?,
        number: hex(number)?,
    };
    (id.to_string() == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_in_no_other_form() {
        let id = BundleId {
            prefix: 0x0123_4567_89ab_cdef,
            number: 255,
        };
        assert_eq!(bundle_id(&id.to_string()), Some(id));
        for bad in [
            "",
            "-",
            "1-2",
            "0123456789ABCDEF-",
            "0123456789abcdef-ff",
            "+123456789ABCDEF-1",
        ] {
            assert_eq!(bundle_id(bad), None, "{bad}");
        }
    }
}
