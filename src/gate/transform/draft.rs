//! One event while the steps work on it: a list of fields that point into the request or into an
//! arena of what the steps made.
//!
//! Promise: nothing is set that goes past the limits of an event, or under a reserved name; the time
//! of the event stays; a draft that was not changed is written as it came.

use super::outcome::Fault;
use crate::event::{LOGS_TAG, content_length, put_content};
use crate::foundation::wire::{self, Field, Reader};

const TIME_TAG: u8 = 0x08;
const TIME_NS_TAG: u8 = 0x25;

/// What an event may hold, and how much the events of one request may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Fields of an event.
    pub fields: usize,
    /// Bytes of a name.
    pub key: usize,
    /// Bytes of a value.
    pub value: usize,
    /// Bytes by which the events of a request may grow together.
    pub growth: usize,
}

/// A text: in the request, or in the arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    made: bool,
    start: usize,
    length: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    name: Text,
    value: Text,
}

/// The buffers of drafts, reused from event to event.
#[derive(Debug, Default)]
pub(super) struct Sheets {
    slots: Vec<Slot>,
    arena: Vec<u8>,
    /// The slots as they were saved.
    saved: Vec<Slot>,
}

impl Sheets {
    /// Gives back memory that only a huge event needed.
    pub(super) fn shrink(&mut self, most: usize) {
        self.slots.clear();
        self.arena.clear();
        self.arena.shrink_to(most);
        self.saved.clear();
        for slots in [&mut self.slots, &mut self.saved] {
            slots.shrink_to(most / size_of::<Slot>());
        }
    }
}

/// One event while the steps work on it.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    logs: &'a [u8],
    sheets: &'a mut Sheets,
    bounds: &'a Bounds,
    /// Bytes by which events may still grow.
    room: &'a mut usize,
    time: Option<u64>,
    nanoseconds: Option<u32>,
    changed: bool,
    /// `room` and `changed` as they were saved.
    saved: (usize, bool),
}

impl<'a> Draft<'a> {
    /// Reads the Log that stands in `logs` from `start` to `end`. `None`: it is not well-formed.
    pub(super) fn read(
        logs: &'a [u8],
        (start, end): (usize, usize),
        sheets: &'a mut Sheets,
        bounds: &'a Bounds,
        room: &'a mut usize,
    ) -> Option<Self> {
        sheets.slots.clear();
        sheets.arena.clear();
        let (mut time, mut nanoseconds) = (None, None);
        let mut fields = Reader::nested(logs.get(start..end)?, start);
        while let Some(field) = fields.next_field().ok()? {
            match field {
                Field::Varint(1, seconds) => time = Some(seconds),
                Field::Fixed32(4, part) => nanoseconds = Some(part),
                Field::Bytes(2, content) => {
                    let slot = read_content(content, fields.offset() - content.len())?;
                    sheets.slots.push(slot);
                }
                _ => return None,
            }
        }
        Some(Self {
            logs,
            sheets,
            bounds,
            room,
            time,
            nanoseconds,
            changed: false,
            saved: (0, false),
        })
    }

    /// Notes how the event is, for [`Draft::restore`].
    pub(super) fn save(&mut self) {
        let Sheets { slots, saved, .. } = &mut *self.sheets;
        saved.clone_from(slots);
        self.saved = (*self.room, self.changed);
    }

    /// Makes the event what it was when it was saved.
    pub(super) fn restore(&mut self) {
        let Sheets { slots, saved, .. } = &mut *self.sheets;
        slots.clone_from(saved);
        (*self.room, self.changed) = self.saved;
    }

    /// Whether a step changed anything.
    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    /// How many fields there are.
    pub(super) fn count(&self) -> usize {
        self.sheets.slots.len()
    }

    fn text(&self, text: Text) -> &[u8] {
        let from = if text.made {
            &self.sheets.arena
        } else {
            self.logs
        };
        from.get(text.start..text.start + text.length)
            .unwrap_or_default()
    }

    /// Name and value of the field at a place.
    pub(super) fn at(&self, place: usize) -> Option<(&[u8], &[u8])> {
        let slot = self.sheets.slots.get(place)?;
        Some((self.text(slot.name), self.text(slot.value)))
    }

    /// The place of the field of a name; of several the last, as the store shows it.
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        let mut slots = self.sheets.slots.iter();
        slots.rposition(|slot| slot.name.length == name.len() && self.text(slot.name) == name)
    }

    /// The value of the field of a name.
    pub(super) fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.at(self.find(name)?).map(|(_, value)| value)
    }

    /// Sets the one field of a name.
    ///
    /// # Errors
    /// What is past a limit. Nothing has changed then.
    pub(super) fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        match self.find(name) {
            Some(place) => {
                self.set_value(place, value)?;
                self.only(place);
                Ok(())
            }
            None => self.add(name, value),
        }
    }

    /// Adds a field that is not there yet.
    ///
    /// # Errors
    /// What is past a limit. Nothing has changed then.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        if self.count() >= self.bounds.fields {
            return Err(Fault::TooManyFields);
        }
        if name.is_empty() || name.len() > self.bounds.key {
            return Err(Fault::BadName);
        }
        if value.len() > self.bounds.value {
            return Err(Fault::ValueTooLong);
        }
        self.grow(field_length(content_length(name.len(), value.len())), 0)?;
        let slot = Slot {
            name: self.make(name),
            value: self.make(value),
        };
        self.sheets.slots.push(slot);
        self.changed = true;
        Ok(())
    }

    /// Gives the field at a place another value.
    ///
    /// # Errors
    /// What is past a limit. Nothing has changed then.
    pub(super) fn set_value(&mut self, place: usize, value: &[u8]) -> Result<(), Fault> {
        let Some(slot) = self.sheets.slots.get(place).copied() else {
            return Ok(());
        };
        if self.text(slot.value) == value {
            return Ok(());
        }
        if value.len() > self.bounds.value {
            return Err(Fault::ValueTooLong);
        }
        let length = |value| field_length(content_length(slot.name.length, value));
        self.grow(length(value.len()), length(slot.value.length))?;
        let value = self.make(value);
        if let Some(slot) = self.sheets.slots.get_mut(place) {
            slot.value = value;
        }
        self.changed = true;
        Ok(())
    }

    /// Gives the field of one name another one, in the place of a field that had it.
    ///
    /// # Errors
    /// What is past a limit. Nothing has changed then.
    pub(super) fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), Fault> {
        let Some(place) = self.find(from) else {
            return Ok(());
        };
        let Some(slot) = self.sheets.slots.get(place).copied() else {
            return Ok(());
        };
        if to.len() > self.bounds.key {
            return Err(Fault::BadName);
        }
        let length = |name| field_length(content_length(name, slot.value.length));
        self.grow(length(to.len()), length(from.len()))?;
        // Others of either name go: of several the last one counts.
        let name = self.make(to);
        let mut at = 0;
        self.retain(|found, _| {
            let stays = at == place || (found != from && found != to);
            at += 1;
            stays
        });
        if let Some(place) = self.find(from)
            && let Some(slot) = self.sheets.slots.get_mut(place)
        {
            slot.name = name;
        }
        self.changed = true;
        Ok(())
    }

    /// Takes away the fields to which `stays` says no.
    pub(super) fn retain(&mut self, mut stays: impl FnMut(&[u8], &[u8]) -> bool) {
        let mut slots = std::mem::take(&mut self.sheets.slots);
        let before = slots.len();
        slots.retain(|slot| stays(self.text(slot.name), self.text(slot.value)));
        self.changed |= slots.len() != before;
        self.sheets.slots = slots;
    }

    /// Takes away the fields of a name.
    pub(super) fn remove(&mut self, name: &[u8]) {
        self.retain(|found, _| found != name);
    }

    /// Takes away the field at a place.
    pub(super) fn remove_at(&mut self, place: usize) {
        if place < self.count() {
            self.sheets.slots.remove(place);
            self.changed = true;
        }
    }

    /// Takes away the fields that have the name of the one at a place.
    fn only(&mut self, place: usize) {
        let Some(name) = self.sheets.slots.get(place).map(|slot| slot.name) else {
            return;
        };
        let mut slots = std::mem::take(&mut self.sheets.slots);
        let before = slots.len();
        let mut at = 0;
        slots.retain(|slot| {
            let stays = at == place || self.text(slot.name) != self.text(name);
            at += 1;
            stays
        });
        self.changed |= slots.len() != before;
        self.sheets.slots = slots;
    }

    fn grow(&mut self, new: usize, old: usize) -> Result<(), Fault> {
        let more = new.saturating_sub(old);
        *self.room = self.room.checked_sub(more).ok_or(Fault::NoRoom)?;
        Ok(())
    }

    fn make(&mut self, bytes: &[u8]) -> Text {
        let start = self.sheets.arena.len();
        self.sheets.arena.extend_from_slice(bytes);
        Text {
            made: true,
            start,
            length: bytes.len(),
        }
    }

    /// Appends the event in wire form, in the order of the canonical encoding.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut length = 0;
        if let Some(time) = self.time {
            length += 1 + wire::varint_length(time);
        }
        for slot in &self.sheets.slots {
            length += field_length(content_length(slot.name.length, slot.value.length));
        }
        if self.nanoseconds.is_some() {
            length += 5;
        }
        out.push(LOGS_TAG);
        wire::put_varint(out, length as u64);
        if let Some(time) = self.time {
            out.push(TIME_TAG);
            wire::put_varint(out, time);
        }
        for slot in &self.sheets.slots {
            put_content(out, self.text(slot.name), self.text(slot.value));
        }
        if let Some(nanoseconds) = self.nanoseconds {
            out.push(TIME_NS_TAG);
            out.extend_from_slice(&nanoseconds.to_le_bytes());
        }
    }
}

fn read_content(content: &[u8], base: usize) -> Option<Slot> {
    let nothing = Text {
        made: false,
        start: base,
        length: 0,
    };
    let mut slot = Slot {
        name: nothing,
        value: nothing,
    };
    let mut parts = Reader::nested(content, base);
    while let Some(part) = parts.next_field().ok()? {
        let Field::Bytes(number @ (1 | 2), bytes) = part else {
            return None;
        };
        let text = Text {
            made: false,
            start: parts.offset() - bytes.len(),
            length: bytes.len(),
        };
        match number {
            1 => slot.name = text,
            _ => slot.value = text,
        }
    }
    Some(slot)
}

/// Bytes of a field of so many bytes, with its tag and length.
fn field_length(length: usize) -> usize {
    1 + wire::varint_length(length as u64) + length
}
