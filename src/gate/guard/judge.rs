//! The judging of one request: each guard asked about each event, in one pass over its fields.

use std::hash::BuildHasher;
use std::sync::Arc;

use super::Guards;
use super::cells::Check;
use super::letters::{Letter, Wanted};
use super::recent::Sight;
use super::reservation::{Held, Reservation, Table};
use crate::config::{
    AtBound, DuplicateKeys, LimitMode, OnInvalid, OutsideWindow, ReservedKeys, TimeWindow,
};
use crate::event::{
    AttachedNames, EventFault, EventFields, EventGroup, FieldPlaces, MAX_TEXT, MAX_TOLD,
    MAX_VIOLATIONS, Violation,
};
use crate::foundation::wire::{self, Reader};

/// Where the text of a time is kept that we have replaced.
pub(super) const CLIENT_TIME: &[u8] = b"__client_time__";

/// One request, as guards see it.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Its events, of which none has been taken out yet.
    pub group: &'a EventGroup,
    /// The fields that were added to the end of each event: `Contents` fields, one after another.
    pub stamp: &'a [u8],
    /// Names that only we give.
    pub attached: &'a AttachedNames,
    /// When it was received, in seconds since the Unix epoch.
    pub received: u64,
    /// The same on a clock that does not go back, in milliseconds ([`super::StandingGuards::millis`]).
    pub millis: u64,
    /// A hash of the sender: its credential, or its address where it has none.
    pub sender: u64,
    /// How many events of the same request came before the first of these that were told apart from it
    /// by their turn alone: 0 but for a replay, which brings an event of a request by itself.
    pub turn: u32,
}

/// Memory that is kept from request to request.
#[derive(Debug, Default)]
pub struct Work {
    pub(super) places: FieldPlaces,
    pub(super) names: Vec<(u64, u32)>,
    pub(super) log: Vec<u8>,
    pub(super) keys: Vec<(u64, u32)>,
}

/// What the guards say of a request.
#[derive(Debug, Default)]
pub struct Judged {
    /// Whether it is acted on. If not, all of this was counted as observed, and nothing is to be done
    /// but to confirm the reservation.
    pub enforced: bool,
    /// What is wrong with topic, source and tags: stands for all events. At most [`MAX_VIOLATIONS`].
    /// Pointers begin at the body.
    pub request: Vec<Violation>,
    /// Events that did not pass, in their order. The first [`MAX_TOLD`] say why; of those that are set
    /// aside all say at least one reason.
    pub faults: Vec<EventFault>,
    /// Events that have come before, in their order: to be taken out, and answered as taken.
    pub duplicates: Vec<u32>,
    /// Events that another request is bringing at this very moment and may still lose, in their order.
    /// The request should be refused so that it is sent again (503).
    pub held: Vec<u32>,
    /// Events that [`Guards::repair`] mends, in their order.
    pub repairs: Vec<EventRepair>,
    /// Whether it mends topic, source or tags.
    pub repairs_request: bool,
    /// The names and values that the events brought.
    pub reservation: Reservation,
}

/// An event to be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRepair {
    /// Which event of the request, from 0.
    pub event: u32,
    /// The fields whose value is replaced: a bit for each rule of `cardinality`.
    pub values: u16,
}

/// One event.
pub(super) struct OfEvent<'a> {
    pub(super) index: u32,
    /// Its Log.
    pub(super) log: &'a [u8],
    pub(super) fields: EventFields<'a>,
    /// How many of the fields, from the first, are the client's.
    pub(super) own: usize,
}

/// What was found in one event.
struct Finding {
    /// Violations that are told.
    told: usize,
    first: Option<Check>,
    violations: Vec<Violation>,
    hidden: u32,
    /// Guards that mend it: a bit for each.
    repairs: u8,
    values: u16,
}

/// What is wrong with a name or a value.
enum Wrong<'a> {
    Letter(Letter, char),
    Reserved(&'a str),
    Pattern(&'a str),
}

impl Wrong<'_> {
    fn check(&self) -> Check {
        match self {
            Self::Letter(letter, _) => check_of(*letter),
            Self::Reserved(_) => Check::ReservedPrefixes,
            Self::Pattern(_) => Check::KeyPattern,
        }
    }
}

impl std::fmt::Display for Wrong<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Letter(_, found) => {
                write!(
                    f,
                    "the character U+{:04X} is not allowed",
                    u32::from(*found)
                )
            }
            Self::Reserved(prefix) => write!(f, "names that begin with `{prefix}` are reserved"),
            Self::Pattern(pattern) => write!(f, "the name does not match `{pattern}`"),
        }
    }
}

fn check_of(letter: Letter) -> Check {
    match letter {
        Letter::Control => Check::ControlCharacters,
        Letter::Direction => Check::DirectionCharacters,
    }
}

impl Finding {
    fn new(told: usize) -> Self {
        Self {
            told,
            first: None,
            violations: Vec::new(),
            hidden: 0,
            repairs: 0,
            values: 0,
        }
    }

    fn bad(&mut self, check: Check, pointer: &[u8], message: impl std::fmt::Display) {
        self.first.get_or_insert(check);
        if self.violations.len() < self.told {
            self.violations.push(Violation {
                pointer: pointer_of(b"", pointer),
                keyword: check.keyword().into(),
                message: cut(message.to_string()),
            });
        } else {
            self.hidden = self.hidden.saturating_add(1);
        }
    }

    /// Whether nothing more would be told of the event.
    fn is_settled(&self) -> bool {
        self.hidden > 0
    }

    fn mend(&mut self, check: Check) {
        self.repairs |= 1 << check.number();
    }
}

impl Guards {
    /// Judges the events of a request, and holds what names and values they bring.
    #[must_use]
    pub fn judge(self: &Arc<Self>, ask: &Ask<'_>, work: &mut Work) -> Judged {
        let mut judged = Judged {
            enforced: self.rule.mode == LimitMode::Enforce
                && ask.sender % 100 < u64::from(self.rule.percent),
            ..Judged::default()
        };
        self.judge_request(ask, &mut judged);
        let stamped = fields_of(ask.stamp);
        let mut holds: Vec<Held> = Vec::new();
        let Work {
            places,
            names,
            keys,
            ..
        } = work;
        names.clear();
        for (index, place) in (0..).zip(ask.group.each_log()) {
            let logs = ask.group.logs.get(..place.end).unwrap_or_default();
            places.read(logs, place.body..place.end);
            let fields = places.of(logs);
            let event = OfEvent {
                index,
                log: logs.get(place.body..).unwrap_or_default(),
                fields,
                own: fields.count().saturating_sub(stamped),
            };
            // A record of the quarantine says why, whatever its place in the request.
            let told = match judged.faults.len() < MAX_TOLD {
                true => MAX_VIOLATIONS,
                false => usize::from(judged.enforced && self.sets_aside()),
            };
            let mut finding = Finding::new(told);
            self.check_fields(&event, keys, &mut finding);
            self.check_time(ask, &event, &mut finding);
            let before = holds.len();
            if finding.first.is_none() || !judged.enforced {
                self.check_values(ask, &event, &mut finding, judged.enforced, &mut holds);
            }
            if !self.settle(&event, finding, &mut judged) {
                for held in holds.drain(before..) {
                    self.release(&held);
                }
                continue;
            }
            if let Some(ids) = &self.ids {
                match self.name_of(ids, ask, &event) {
                    Some(name) => names.push((name, index)),
                    None => self.cells.dedup.unnamed.inc(),
                }
            }
        }
        self.judge_names(ask, names, &mut judged, &mut holds);
        judged.reservation = Reservation::new(self, holds, ask.millis);
        judged
    }

    /// Whether bad events go to the quarantine.
    fn sets_aside(&self) -> bool {
        !matches!(self.rule.on_invalid, OnInvalid::Drop | OnInvalid::Reject)
    }

    /// Notes and counts what was found in an event. `false`: it is out.
    fn settle(&self, event: &OfEvent<'_>, finding: Finding, judged: &mut Judged) -> bool {
        let bad = finding.first;
        if finding.repairs != 0 && (bad.is_none() || !judged.enforced) {
            judged.repairs.push(EventRepair {
                event: event.index,
                values: finding.values,
            });
            for check in Check::ALL {
                if finding.repairs & 1 << check.number() != 0 {
                    let cells = self.cells.of(check);
                    match judged.enforced {
                        true => cells.repaired.inc(),
                        false => cells.observed.inc(),
                    }
                }
            }
        }
        let Some(check) = bad else {
            return true;
        };
        let cells = self.cells.of(check);
        match judged.enforced {
            true => cells.refused.inc(),
            false => cells.observed.inc(),
        }
        judged.faults.push(EventFault {
            event: event.index,
            check: check.number(),
            violations: finding.violations,
            hidden: finding.hidden,
            kinds: Vec::new(),
        });
        !judged.enforced
    }

    fn judge_names(
        &self,
        ask: &Ask<'_>,
        names: &mut [(u64, u32)],
        judged: &mut Judged,
        holds: &mut Vec<Held>,
    ) {
        let Some(ids) = &self.ids else {
            return;
        };
        let sorted = self.sort_names(ids, names, ask, holds);
        let cells = &self.cells.dedup;
        cells.untracked.add(sorted.untracked);
        cells.held.add(sorted.held.len() as u64);
        let duplicates = sorted.duplicates.len() as u64;
        match judged.enforced {
            true => cells.dropped.add(duplicates),
            false => cells.observed.add(duplicates),
        }
        if judged.enforced && duplicates > 0 {
            holds.retain(|held| {
                let stays = sorted.duplicates.binary_search(&held.event).is_err();
                if !stays {
                    self.release(held);
                }
                stays
            });
        }
        (judged.duplicates, judged.held) = (sorted.duplicates, sorted.held);
    }

    /// Topic, source and tags.
    fn judge_request(&self, ask: &Ask<'_>, judged: &mut Judged) {
        let group = ask.group;
        let mut finding = Finding::new(0);
        let found = &mut judged.request;
        let mut bad = |parent: &[u8], name: &[u8], wrong: Option<Wrong<'_>>| {
            if let Some(wrong) = wrong.filter(|_| found.len() < MAX_VIOLATIONS) {
                found.push(Violation {
                    pointer: pointer_of(parent, name),
                    keyword: wrong.check().keyword().into(),
                    message: cut(wrong.to_string()),
                });
            }
        };
        let labels: [(&[u8], &[u8]); 2] =
            [(b"__topic__", &group.topic), (b"__source__", &group.source)];
        for (name, text) in labels {
            bad(b"", name, self.check_text(text, false, &mut finding));
        }
        for (name, value) in group.each_tag() {
            if !ask.attached.has_tag(name) {
                bad(b"/__tags__", name, self.check_name(name, &mut finding));
            }
            let wrong = self.check_text(value, false, &mut finding);
            bad(b"/__tags__", name, wrong);
        }
        judged.repairs_request = finding.repairs != 0;
        if !judged.request.is_empty() {
            self.cells.requests.inc();
        }
    }

    /// Names and characters.
    fn check_fields(&self, event: &OfEvent<'_>, keys: &mut Vec<(u64, u32)>, finding: &mut Finding) {
        for (index, field) in event.fields.iter().enumerate() {
            let own = index < event.own && field.name != CLIENT_TIME;
            if own && let Some(wrong) = self.check_name(field.name, finding) {
                finding.bad(wrong.check(), field.name, wrong);
            }
            if let Some(wrong) = self.check_text(field.value, false, finding) {
                finding.bad(wrong.check(), field.name, wrong);
            }
            if finding.is_settled() {
                return;
            }
        }
        for name in &self.rule.required {
            let field = event.fields.get(name.as_bytes());
            if field.is_none_or(|field| field.value.is_empty()) {
                let message = "it must be there, and not empty";
                finding.bad(Check::Required, name.as_bytes(), message);
            }
        }
        if self.rule.duplicate_keys != DuplicateKeys::Allow {
            self.check_repeats(event, keys, finding);
        }
    }

    /// Whether two fields have one name.
    fn check_repeats(
        &self,
        event: &OfEvent<'_>,
        keys: &mut Vec<(u64, u32)>,
        finding: &mut Finding,
    ) {
        self.sort_keys(&event.fields, keys);
        for place in repeated(keys) {
            if self.rule.duplicate_keys == DuplicateKeys::Last {
                finding.mend(Check::DuplicateKeys);
                return;
            }
            let place = usize::try_from(place).unwrap_or_default();
            let name = event.fields.iter().nth(place).map_or(&b""[..], |f| f.name);
            let message = "another field has the same name";
            finding.bad(Check::DuplicateKeys, name, message);
            if finding.is_settled() {
                return;
            }
        }
    }

    /// The hashes of names and the places of their fields, in order.
    pub(super) fn sort_keys(&self, fields: &EventFields<'_>, keys: &mut Vec<(u64, u32)>) {
        keys.clear();
        let hashes = fields.iter().map(|field| self.seed.hash_one(field.name));
        keys.extend(hashes.zip(0..));
        keys.sort_unstable();
    }

    /// What is wrong with a name that a client has given.
    fn check_name(&self, name: &[u8], finding: &mut Finding) -> Option<Wrong<'_>> {
        if let Some(wrong) = self.check_text(name, true, finding) {
            return Some(wrong);
        }
        if let Some(prefix) = self.reserved(name) {
            if self.rule.reserved_keys == ReservedKeys::Refuse {
                return Some(Wrong::Reserved(prefix));
            }
            // It is left out, so it need not match the pattern.
            finding.mend(Check::ReservedPrefixes);
            return None;
        }
        let pattern = self.pattern.as_ref()?;
        let written = self.rule.key_pattern.as_deref().unwrap_or_default();
        (!pattern.matches(name)).then_some(Wrong::Pattern(written))
    }

    /// The reserved beginning of a name.
    pub(super) fn reserved(&self, name: &[u8]) -> Option<&str> {
        let mut prefixes = self.rule.reserved_prefixes.iter();
        let prefix = prefixes.find(|prefix| name.starts_with(prefix.as_bytes()))?;
        Some(prefix)
    }

    /// Which characters are replaced in a name or in a value.
    pub(super) fn replaced_in(&self, is_name: bool) -> Wanted {
        self.letters.replaced.in_name(is_name)
    }

    /// What is wrong with the characters of a name or a value.
    fn check_text(&self, text: &[u8], is_name: bool, finding: &mut Finding) -> Option<Wrong<'_>> {
        let refused = self.letters.refused.in_name(is_name);
        if let Some((letter, found)) = refused.find(text) {
            return Some(Wrong::Letter(letter, found));
        }
        if let Some((letter, _)) = self.replaced_in(is_name).find(text) {
            finding.mend(check_of(letter));
        }
        None
    }

    /// The time of an event against the logstore's own window.
    fn check_time(&self, ask: &Ask<'_>, event: &OfEvent<'_>, finding: &mut Finding) {
        let Some(window) = &self.rule.clock else {
            return;
        };
        let replaced = event.fields.iter().any(|field| field.name == CLIENT_TIME);
        match (window.outside, replaced) {
            (OutsideWindow::Replace, true) => {}
            (_, false) if is_within(window, seconds_of(event.log), ask.received) => {}
            (OutsideWindow::Replace, _) => finding.mend(Check::Clock),
            (OutsideWindow::Refuse, _) => {
                let TimeWindow { past, future, .. } = window;
                let message = format_args!(
                    "the time is not within {past} before and {future} after the receipt"
                );
                finding.bad(Check::Clock, b"__time__", message);
            }
        }
    }

    /// Distinct values.
    fn check_values(
        &self,
        ask: &Ask<'_>,
        event: &OfEvent<'_>,
        finding: &mut Finding,
        enforced: bool,
        holds: &mut Vec<Held>,
    ) {
        for (index, values) in (0..16u8).zip(&self.values) {
            let Some(field) = event.fields.get(values.rule.field.as_bytes()) else {
                continue;
            };
            let hash = self.seed.hash_one(field.value);
            match values.seen.see(hash, ask.millis) {
                Sight::Known => continue,
                Sight::Fresh | Sight::Held => {
                    holds.push(Held {
                        hash,
                        event: event.index,
                        table: Table::Values(index),
                    });
                    continue;
                }
                Sight::Full => {}
            }
            let cells = &values.cells;
            match (enforced, values.rule.at_bound) {
                (false, _) => cells.observed.inc(),
                (true, AtBound::Refuse) => cells.refused.inc(),
                (true, AtBound::Replace) => cells.replaced.inc(),
            }
            match values.rule.at_bound {
                AtBound::Refuse => {
                    let max = values.rule.max;
                    let message = format_args!("the field has {max} distinct values already");
                    finding.bad(Check::Cardinality, field.name, message);
                }
                AtBound::Replace => {
                    finding.mend(Check::Cardinality);
                    finding.values |= 1 << index;
                }
            }
        }
    }
}

/// Of sorted keys, the places of fields that a later one of the same name follows.
pub(super) fn repeated(keys: &[(u64, u32)]) -> impl Iterator<Item = u32> {
    keys.windows(2).filter_map(|pair| match pair {
        [(one, place), (other, _)] if one == other => Some(*place),
        _ => None,
    })
}

/// Whether a time is within a window around the receipt.
pub(super) fn is_within(window: &TimeWindow, seconds: u64, received: u64) -> bool {
    let earliest = received.saturating_sub(window.past.as_secs());
    let latest = received.saturating_add(window.future.as_secs());
    (earliest..=latest).contains(&seconds)
}

/// `Log.Time`, which is the first field of what we have written.
fn seconds_of(log: &[u8]) -> u64 {
    match Reader::new(log).next_field() {
        Ok(Some(wire::Field::Varint(1, seconds))) => seconds,
        _ => 0,
    }
}

/// How many fields a stamp has.
pub(super) fn fields_of(stamp: &[u8]) -> usize {
    let mut reader = Reader::new(stamp);
    let mut count = 0;
    while let Ok(Some(_)) = reader.next_field() {
        count += 1;
    }
    count
}

/// A JSON Pointer to a name, without characters that could harm who reads it.
fn pointer_of(parent: &[u8], name: &[u8]) -> String {
    const HARMFUL: Wanted = Wanted {
        controls: true,
        line_breaks: false,
        directions: true,
    };
    let mut safe = parent.to_vec();
    safe.push(b'/');
    HARMFUL.replace(name, &mut safe);
    let text = String::from_utf8_lossy(&safe);
    let head = parent.len() + 1;
    let (parent, name) = text.split_at_checked(head).unwrap_or((&text, ""));
    cut(format!(
        "{parent}{}",
        name.replace('~', "~0").replace('/', "~1")
    ))
}

/// At most [`MAX_TEXT`] bytes.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}
