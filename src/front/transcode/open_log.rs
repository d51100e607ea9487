//! One event being written, in the order of the canonical encoding: Time, Contents, Time_ns.
//!
//! The length of the Log and its time are known only at the end. Room is left for the widths that
//! nearly every event has (two bytes of length, five of time); another width moves the contents.

use super::fault::Fault;
use super::names::CLIENT_TIME;
use super::rules::Context;
use super::scratch;
use super::time::{EventTime, nanosecond_part};
use crate::config::OutsideWindow;
use crate::event::{EventGroup, LOGS_TAG, Reason, put_content};
use crate::foundation::wire::{self, Field, Reader};

const TIME_TAG: u8 = 0x08;
const TIME_NS_TAG: u8 = 0x25;

/// Decimal digits of the largest time.
const DIGITS: usize = 20;

const LENGTH_ROOM: usize = 2;
const TIME_ROOM: usize = 5;
/// The tag of the Log, its length, the tag of its time, its time.
const HEAD: [u8; 2 + LENGTH_ROOM + TIME_ROOM] = [LOGS_TAG, 0, 0, TIME_TAG, 0, 0, 0, 0, 0];

/// Shows a Log that was written whole, from `start` of the output on, to the check of the context:
/// without what we added, and every value as text.
pub(super) fn check_written(context: &Context<'_>, start: usize, out: &mut EventGroup) {
    let Some(check) = context.check else {
        return;
    };
    let mut head = Reader::nested(out.logs.get(start..).unwrap_or_default(), start);
    let Ok(Some(Field::Bytes(_, log))) = head.next_field() else {
        return;
    };
    let mut added = 0;
    let mut stamp = Reader::new(context.stamp);
    while let Ok(Some(_)) = stamp.next_field() {
        added += 1;
    }
    let log = head.offset() - log.len()..head.offset();
    scratch::with(|scratch| {
        let places = &mut scratch.places;
        places.read(&out.logs, log);
        places.drop_last(added);
        places.retain(&out.logs, |name| name != CLIENT_TIME);
        check.check(out.events, places.of(&out.logs), &mut out.faults);
    });
}

/// The state of the event being written; the bytes are in [`EventGroup::logs`].
#[derive(Debug)]
pub(super) struct OpenLog {
    start: usize,
    time: Option<EventTime>,
    nanoseconds: Option<u32>,
    replaced: bool,
}

impl OpenLog {
    /// Begins an event.
    #[inline]
    pub(super) fn begin(out: &mut EventGroup) -> Self {
        let start = out.logs.len();
        out.logs.extend_from_slice(&HEAD);
        Self {
            start,
            time: None,
            nanoseconds: None,
            replaced: false,
        }
    }

    /// Takes the text of `__time__`, which stood at `offset`.
    pub(super) fn set_time(
        &mut self,
        text: &[u8],
        offset: usize,
        context: &Context<'_>,
        out: &mut EventGroup,
    ) -> Result<(), Box<Fault>> {
        self.time = EventTime::read(text, context);
        if self.time.is_none() {
            self.replace_time(text, offset, context, out)?;
        }
        Ok(())
    }

    /// Takes seconds that came as a number.
    pub(super) fn set_seconds(
        &mut self,
        seconds: u64,
        offset: usize,
        context: &Context<'_>,
        out: &mut EventGroup,
    ) -> Result<(), Box<Fault>> {
        self.time = EventTime::of_seconds(seconds, context);
        if self.time.is_none() {
            let mut digits = [0; DIGITS];
            self.replace_time(decimal(seconds, &mut digits), offset, context, out)?;
        }
        Ok(())
    }

    fn replace_time(
        &mut self,
        text: &[u8],
        offset: usize,
        context: &Context<'_>,
        out: &mut EventGroup,
    ) -> Result<(), Box<Fault>> {
        match context.rules.outside {
            OutsideWindow::Refuse => Err(Fault::new(
                Reason::TimeOutOfRange,
                offset,
                format!(
                    "not within {} s before and {} s after {}",
                    context.rules.past, context.rules.future, context.received
                ),
            )),
            OutsideWindow::Replace => {
                put_content(&mut out.logs, CLIENT_TIME, text);
                out.times_replaced += 1;
                self.replaced = true;
                Ok(())
            }
        }
    }

    /// Takes the text of `__time_ns_part__`; what is no part of a second is dropped.
    pub(super) fn set_nanosecond_text(&mut self, text: &[u8]) {
        self.nanoseconds = nanosecond_part(text);
    }

    /// Takes nanoseconds within the second.
    pub(super) fn set_nanoseconds(&mut self, nanoseconds: Option<u32>) {
        self.nanoseconds = nanoseconds;
    }

    /// Ends the event: adds the stamp and puts time and length in their places.
    ///
    /// The nanoseconds of a time that was replaced belong to no second, and are left out.
    pub(super) fn finish(self, context: &Context<'_>, out: &mut EventGroup) {
        let logs = &mut out.logs;
        logs.extend_from_slice(context.stamp);
        let exact = self.time.and_then(|time| time.nanoseconds);
        if let Some(nanoseconds) = self.nanoseconds.or(exact).filter(|_| !self.replaced) {
            logs.push(TIME_NS_TAG);
            logs.extend_from_slice(&nanoseconds.to_le_bytes());
        }
        let seconds = self
            .time
            .map_or_else(|| context.received_time(), |time| time.seconds);
        let length_at = self.start + 1;
        let body_at = length_at + LENGTH_ROOM;
        fill(logs, body_at + 1, TIME_ROOM, u64::from(seconds));
        let length = logs.len().saturating_sub(body_at);
        fill(logs, length_at, LENGTH_ROOM, length as u64);
    }
}

/// Writes `number` in decimal to the end of `digits`.
fn decimal(mut number: u64, digits: &mut [u8; DIGITS]) -> &[u8] {
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    digits.get(DIGITS - used..).unwrap_or_default()
}

/// Writes `value` as a varint to the `room` bytes at `at`, moving what follows if it is not as wide.
fn fill(out: &mut Vec<u8>, at: usize, room: usize, value: u64) {
    let width = wire::varint_length(value);
    let after = at + room;
    if width < room {
        out.copy_within(after.., at + width);
        out.truncate(out.len() - (room - width));
    } else if width > room {
        let end = out.len();
        out.resize(end + (width - room), 0);
        out.copy_within(after..end, at + width);
    }
    if let Some(places) = out.get_mut(at..at + width) {
        let mut rest = value;
        for place in places.iter_mut() {
            *place = (rest & 0x7f) as u8 | 0x80;
            rest >>= 7;
        }
        if let Some(last) = places.last_mut() {
            *last &= 0x7f;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_of_any_width_fits_into_any_room() {
        for width in 1..=10u32 {
            let value = if width == 10 {
                u64::MAX
            } else {
                (1u64 << (7 * width)) - 1
            };
            for room in 1..=10 {
                let mut out = b"before".to_vec();
                out.resize(out.len() + room, 0);
                out.extend_from_slice(b"after");
                fill(&mut out, 6, room, value);
                let mut expected = b"before".to_vec();
                wire::put_varint(&mut expected, value);
                expected.extend_from_slice(b"after");
                assert_eq!(out, expected, "{width} {room}");
            }
        }
    }

    #[test]
    fn every_number_is_written_in_decimal() {
        for number in [0, 9, 10, 1_781_510_400, u64::MAX] {
            let mut digits = [0; DIGITS];
            assert_eq!(decimal(number, &mut digits), number.to_string().as_bytes());
        }
    }
}
