//! Events written anew, with what guards mend in them.

use super::Guards;
use super::judge::{Ask, CLIENT_TIME, EventRepair, Judged, Work, fields_of, is_within, repeated};
use crate::config::{DuplicateKeys, OutsideWindow, ReservedKeys};
use crate::event::{AttachedNames, EventFields, EventGroup, LOGS_TAG, put_content};
use crate::foundation::wire::{self, Field, Reader};

const TIME_TAG: u8 = 0x08;
const TIME_NS_TAG: u8 = 0x25;

/// What decides how an event is mended, besides the rule.
struct Mending<'a> {
    attached: &'a AttachedNames,
    received: u64,
    /// How many fields at the end are ours.
    stamped: usize,
}

impl Guards {
    /// Mends what a request may be mended in, as it was judged. Nothing may have been taken out of
    /// the group since. Returns how many events were written anew.
    ///
    /// `stamp`, `attached` and `received` are those of the [`Ask`]. An event never gets larger, but
    /// for a value that becomes `replacement`, and a time that is replaced.
    pub fn repair(
        &self,
        ask: &Repairing<'_>,
        judged: &Judged,
        group: &mut EventGroup,
        work: &mut Work,
    ) -> u32 {
        if !judged.enforced {
            return 0;
        }
        if judged.repairs_request {
            self.repair_request(ask.attached, group);
        }
        if judged.repairs.is_empty() {
            return 0;
        }
        let mending = Mending {
            attached: ask.attached,
            received: ask.received,
            stamped: fields_of(ask.stamp),
        };
        let Work {
            places, log, keys, ..
        } = work;
        let mut out = Vec::with_capacity(group.logs.len());
        let mut repairs = judged.repairs.iter().copied().peekable();
        let (mut written, mut reserved) = (0, 0);
        for (index, place) in (0u32..).zip(group.each_log()) {
            let repair = repairs.next_if(|repair| repair.event == index);
            let logs = group.logs.get(..place.end).unwrap_or_default();
            let Some(repair) = repair else {
                out.extend_from_slice(logs.get(place.start..).unwrap_or_default());
                continue;
            };
            places.read(logs, place.body..place.end);
            log.clear();
            let body = logs.get(place.body..).unwrap_or_default();
            reserved += self.mend(&mending, body, &places.of(logs), repair, (log, keys));
            wire::put_bytes(&mut out, LOGS_TAG, log);
            written += 1;
        }
        group.logs = out;
        group.reserved_fields = group.reserved_fields.saturating_add(reserved);
        written
    }

    /// Writes a Log anew. Returns how many fields were left out because their name is reserved.
    fn mend(
        &self,
        mending: &Mending<'_>,
        log: &[u8],
        fields: &EventFields<'_>,
        repair: EventRepair,
        (out, keys): (&mut Vec<u8>, &mut Vec<(u64, u32)>),
    ) -> u32 {
        let (mut seconds, mut nanoseconds) = (0, None);
        let mut reader = Reader::new(log);
        while let Ok(Some(field)) = reader.next_field() {
            match field {
                Field::Varint(1, value) => seconds = value,
                Field::Fixed32(4, value) => nanoseconds = Some(value),
                _ => {}
            }
        }
        let replaced = fields.iter().any(|field| field.name == CLIENT_TIME);
        let late = !replaced
            && self.rule.clock.as_ref().is_some_and(|window| {
                window.outside == OutsideWindow::Replace
                    && !is_within(window, seconds, mending.received)
            });
        out.push(TIME_TAG);
        wire::put_varint(out, if late { mending.received } else { seconds });
        let own = fields.count().saturating_sub(mending.stamped);
        let mut left_out = 0;
        let mut name = Vec::new();
        let mut value = Vec::new();
        if late {
            put_content(out, CLIENT_TIME, seconds.to_string().as_bytes());
        }
        let mut repeats = Vec::new();
        if self.rule.duplicate_keys == DuplicateKeys::Last {
            self.sort_keys(fields, keys);
            repeats.extend(repeated(keys).map(|place| usize::try_from(place).unwrap_or_default()));
            repeats.sort_unstable();
        }
        let mut repeats = repeats.into_iter().peekable();
        for (index, field) in fields.iter().enumerate() {
            let is_own = index < own && field.name != CLIENT_TIME;
            if repeats.peek() == Some(&index) {
                repeats.next();
                continue;
            }
            name.clear();
            match is_own {
                true => self.replaced_in(true).replace(field.name, &mut name),
                false => name.extend_from_slice(field.name),
            }
            if is_own && self.is_left_out(mending, field.name, &name) {
                left_out += 1;
                continue;
            }
            value.clear();
            match self.replacement(field.name, repair) {
                Some(text) => value.extend_from_slice(text.as_bytes()),
                None => self.replaced_in(false).replace(field.value, &mut value),
            }
            put_content(out, &name, &value);
        }
        if let Some(nanoseconds) = nanoseconds.filter(|_| !late) {
            out.push(TIME_NS_TAG);
            out.extend_from_slice(&nanoseconds.to_le_bytes());
        }
        left_out
    }

    /// Whether a field is left out: its name is reserved, or has become one that is not the client's
    /// to give.
    fn is_left_out(&self, mending: &Mending<'_>, before: &[u8], after: &[u8]) -> bool {
        let reserved = self.reserved(after).is_some();
        (reserved && (before != after || self.rule.reserved_keys == ReservedKeys::Drop))
            || (before != after && mending.attached.has_field(after))
    }

    /// What stands in the place of a value beyond its bound.
    fn replacement(&self, name: &[u8], repair: EventRepair) -> Option<&str> {
        let mut rules = (0..16u8).zip(&self.values);
        rules.find_map(|(index, values)| {
            let replaced = repair.values & 1 << index != 0;
            (replaced && values.rule.field.as_bytes() == name)
                .then_some(values.rule.replacement.as_str())
        })
    }

    fn repair_request(&self, attached: &AttachedNames, group: &mut EventGroup) {
        for label in [&mut group.topic, &mut group.source] {
            let mut text = Vec::with_capacity(label.len());
            self.replaced_in(false).replace(label, &mut text);
            *label = text;
        }
        let mut mended = EventGroup::default();
        let mut left_out = 0;
        for (name, value) in group.each_tag() {
            let ours = attached.has_tag(name);
            let (mut key, mut text) = (Vec::new(), Vec::new());
            match ours {
                true => key.extend_from_slice(name),
                false => self.replaced_in(true).replace(name, &mut key),
            }
            self.replaced_in(false).replace(value, &mut text);
            let reserved =
                !ours && (self.reserved(&key).is_some() || (key != name && attached.has_tag(&key)));
            if reserved {
                left_out += 1;
            } else {
                mended.put_tag(&key, &text);
            }
        }
        group.tags = mended.tags;
        group.reserved_fields = group.reserved_fields.saturating_add(left_out);
    }
}

/// The parts of an [`Ask`] that mending needs, without the group, which it changes.
#[derive(Clone, Copy, Debug)]
pub struct Repairing<'a> {
    /// As [`Ask::stamp`].
    pub stamp: &'a [u8],
    /// As [`Ask::attached`].
    pub attached: &'a AttachedNames,
    /// As [`Ask::received`].
    pub received: u64,
}

impl<'a> Ask<'a> {
    /// The parts that mending needs.
    #[must_use]
    pub fn repairing(&self) -> Repairing<'a> {
        Repairing {
            stamp: self.stamp,
            attached: self.attached,
            received: self.received,
        }
    }
}
