//! Where events go that are set aside.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::sync::Arc;

use crate::event::{EventGroup, LOGS_TAG, Priority, Reason, Refusal};
use crate::foundation::budget::Lease;
use crate::foundation::wire::{self, Field, Reader};
use crate::front::arrival::Arrival;
use crate::front::service::Front;
use crate::front::site::SiteLogstore;
use crate::front::toll::{Receipts, submit_to};
use crate::front::transcode::put_content;
use crate::gate::guard::Guards;
use crate::pipeline::quarantine::{Attached, Record, RecordEvent, Room, Sender, Tags};

/// Events of a request that are set aside, with room for them taken.
#[derive(Debug)]
pub(super) enum Aside {
    /// There are none.
    Nothing,
    /// On local disk.
    Disk(Room, Vec<u8>),
    /// In another logstore.
    Logstore(Arc<SiteLogstore>, Box<EventGroup>, Lease),
}

/// One event that is to be set aside.
pub(super) struct Bad<'a> {
    pub(super) event: u32,
    pub(super) cause: &'static str,
    pub(super) check: &'a str,
    pub(super) violations: &'a [crate::event::Violation],
    pub(super) hidden: u32,
    pub(super) record: RecordEvent<'a>,
}

/// Bytes that the records of one request may come to: each repeats topic, source and tags, and texts
/// grow when they are escaped, so a small body could come to very much.
const MAX_RECORDS: usize = 8 << 20;

/// The records of a request, as they are written.
#[derive(Debug, Default)]
pub(super) struct Records {
    lines: Vec<u8>,
    /// They came to too much: the request cannot be kept.
    too_much: bool,
    /// Where each line ends, and of which cause it is.
    each: Vec<(usize, &'static str, String)>,
    /// Who sends them, where guards ask.
    sender: Option<u64>,
    /// How guards tell whole events apart, where they do.
    turns: Option<Turns>,
}

/// How many events there are of each content: those that are alike in a request are different events,
/// told apart by their turn.
#[derive(Debug)]
struct Turns {
    ignore_time: bool,
    seen: HashMap<u64, u32>,
}

impl Turns {
    /// How many events like this one there were.
    fn of(&mut self, log: &[u8]) -> u32 {
        let mut hasher = self.seen.hasher().build_hasher();
        let mut fields = Reader::new(log);
        while let Ok(Some(field)) = fields.next_field() {
            match field {
                Field::Bytes(_, content) => content.hash(&mut hasher),
                Field::Varint(_, seconds) if !self.ignore_time => seconds.hash(&mut hasher),
                Field::Fixed32(_, nanos) if !self.ignore_time => nanos.hash(&mut hasher),
                _ => {}
            }
        }
        let seen = self.seen.entry(hasher.finish()).or_default();
        let turn = *seen;
        *seen += 1;
        turn
    }
}

impl Records {
    /// For events of a sender, which guards will be asked of again.
    pub(super) fn of(sender: Option<u64>, guards: Option<&Guards>) -> Self {
        let whole = guards.filter(|guards| guards.names_whole_events());
        Self {
            sender,
            turns: whole.map(|guards| Turns {
                ignore_time: guards.ignores_time(),
                seen: HashMap::new(),
            }),
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    /// Adds a record.
    pub(super) fn add(&mut self, arrival: &Arrival<'_>, group: &EventGroup, bad: &Bad<'_>) {
        // What a record holds, were nothing of it escaped: checked before anything is written.
        let plain = bad.record.log.len() + group.tags.len() + group.topic.len();
        self.too_much |= self.lines.len() + plain > MAX_RECORDS;
        if self.too_much {
            return;
        }
        let turns = self.turns.as_mut();
        let turn = turns.map_or(0, |turns| turns.of(bad.record.log));
        let id = format!("{}-{}", arrival.id.as_str(), bad.event);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (topic, source) = (text(&group.topic), text(&group.source));
        let record = Record {
            id: &id,
            received: arrival.unix_seconds,
            cause: bad.cause,
            check: bad.check,
            violations: bad.violations.iter().map(Into::into).collect(),
            hidden: bad.hidden,
            client: arrival.kept_address(),
            sender: self.sender.map(Sender),
            turn,
            do_not_track: arrival.says("dnt"),
            global_privacy_control: arrival.says("sec-gpc"),
            topic: &topic,
            source: &source,
            tags: Tags(group),
            event: bad.record,
            attached: Attached(bad.record),
        };
        // A `Vec` takes everything, and a record is texts and numbers.
        if serde_json::to_writer(&mut self.lines, &record).is_ok() {
            self.lines.push(b'\n');
        }
        self.too_much |= self.lines.len() > MAX_RECORDS;
        self.each
            .push((self.lines.len(), bad.cause, bad.check.to_owned()));
    }
}

impl Front {
    /// Takes room for records where they are to go.
    ///
    /// # Errors
    /// When there is none: the request is to be sent again.
    pub(super) fn room_aside(
        &self,
        arrival: &Arrival<'_>,
        target: Option<&str>,
        records: Records,
    ) -> Result<Aside, Refusal> {
        if records.too_much {
            let detail = format!("the records of one request may come to {MAX_RECORDS} bytes");
            return Err(Refusal::new(Reason::TooMuchAside, detail));
        }
        if records.is_empty() {
            return Ok(Aside::Nothing);
        }
        let target = target.and_then(|name| self.site.shared_logstore(arrival.project, name));
        let Some(target) = target else {
            let room = self.quarantine.room(records.lines.len())?;
            return Ok(Aside::Disk(room, records.lines));
        };
        let group = Box::new(as_events(arrival, &records));
        let lease = target.lane.admit_group(&group, Priority::Low)?;
        Ok(Aside::Logstore(target, group, lease))
    }
}

impl Aside {
    /// Sets them aside. `receipts` say when they are as safe as the logstore asks.
    pub(super) fn commit(self, arrival: &Arrival<'_>, receipts: &mut Receipts) {
        match self {
            Self::Nothing => {}
            Self::Disk(room, lines) => {
                let lane = &arrival.logstore.lane;
                receipts.add(lane, lane.set_aside(room, lines));
            }
            Self::Logstore(target, group, lease) => {
                submit_to(&target, &group, lease, receipts);
            }
        }
    }
}

/// Records as events of another logstore.
fn as_events(arrival: &Arrival<'_>, records: &Records) -> EventGroup {
    let mut group = EventGroup {
        topic: b"quarantine".to_vec(),
        ..EventGroup::default()
    };
    let mut start = 0;
    for (end, cause, check) in &records.each {
        let line = records.lines.get(start..*end).unwrap_or_default();
        start = *end;
        let mut log = vec![0x08];
        wire::put_varint(&mut log, arrival.unix_seconds.min(u64::from(u32::MAX)));
        let fields: [(&[u8], &[u8]); 4] = [
            (b"logstore", arrival.logstore.rules.name.as_str().as_bytes()),
            (b"cause", cause.as_bytes()),
            (b"check", check.as_bytes()),
            (b"record", line.trim_ascii_end()),
        ];
        for (name, value) in fields {
            put_content(&mut log, name, value);
        }
        wire::put_bytes(&mut group.logs, LOGS_TAG, &log);
        group.events += 1;
    }
    group
}
