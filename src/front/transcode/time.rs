//! The time that a client gives an event.

use super::rules::Context;

/// From here on a number is taken as milliseconds: as seconds it would be past the year 5138.
const MILLISECONDS_FROM: u64 = 100_000_000_000;
const NANOSECONDS: u32 = 1_000_000_000;

/// A time that may become `Log.Time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventTime {
    /// Seconds since the Unix epoch.
    pub(super) seconds: u32,
    /// Nanoseconds within the second, if the client was as exact as that.
    pub(super) nanoseconds: Option<u32>,
}

impl EventTime {
    /// Reads the text of `__time__`: whole seconds or milliseconds in decimal digits; a fraction
    /// is cut off. `None` when it is something else, or outside the window.
    pub(super) fn read(text: &[u8], context: &Context<'_>) -> Option<Self> {
        let number = decimal(text)?;
        if number < MILLISECONDS_FROM {
            return Self::of_seconds(number, context);
        }
        let time = Self::of_seconds(number / 1000, context)?;
        let nanoseconds = u32::try_from(number % 1000 * 1_000_000).ok();
        Some(Self {
            nanoseconds,
            ..time
        })
    }

    /// Takes seconds if they are in the window.
    pub(super) fn of_seconds(seconds: u64, context: &Context<'_>) -> Option<Self> {
        let oldest = context.received.saturating_sub(context.rules.past);
        let newest = context.received.saturating_add(context.rules.future);
        let seconds = (oldest..=newest).contains(&seconds).then_some(seconds)?;
        Some(Self {
            seconds: u32::try_from(seconds).ok()?,
            nanoseconds: None,
        })
    }
}

/// Reads the text of `__time_ns_part__`: digits, below one second. `None` for anything else.
pub(super) fn nanosecond_part(text: &[u8]) -> Option<u32> {
    let value = u32::try_from(digits(text)?).ok()?;
    within_a_second(value)
}

/// `value`, if it is a number of nanoseconds within a second.
pub(super) fn within_a_second(value: u32) -> Option<u32> {
    (value < NANOSECONDS).then_some(value)
}

fn decimal(text: &[u8]) -> Option<u64> {
    let Some(point) = text.iter().position(|&byte| byte == b'.') else {
        return digits(text);
    };
    let (whole, fraction) = text.split_at_checked(point)?;
    let (_, fraction) = fraction.split_first()?;
    let numeric = !fraction.is_empty() && fraction.iter().all(u8::is_ascii_digit);
    numeric.then(|| digits(whole))?
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Limits, TimeWindow};
    use crate::front::transcode::Rules;

    const NOW: u64 = 1_781_510_400;

    fn read(text: &str) -> Option<EventTime> {
        let rules = Rules::new(&Limits::default(), &TimeWindow::default());
        let context = Context {
            rules: &rules,
            received: NOW,
            stamp: b"",
            attached: crate::event::AttachedNames::NONE,
            check: None,
        };
        EventTime::read(text.as_bytes(), &context)
    }

    #[test]
    fn seconds_and_milliseconds_are_told_apart_by_size() {
        let exactly = |nanoseconds| {
            Some(EventTime {
                seconds: 1_781_510_400,
                nanoseconds,
            })
        };
        assert_eq!(read("1781510400"), exactly(None));
        assert_eq!(read("1781510400.999"), exactly(None));
        assert_eq!(read("1781510400123"), exactly(Some(123_000_000)));
        assert_eq!(read("1781510400123.9"), exactly(Some(123_000_000)));
        assert_eq!(read("1781510400000"), exactly(Some(0)));
    }

    #[test]
    fn the_window_includes_both_its_ends() {
        let (past, future) = (7 * 86_400, 900);
        assert!(read(&(NOW - past).to_string()).is_some());
        assert!(read(&(NOW - past - 1).to_string()).is_none());
        assert!(read(&(NOW + future).to_string()).is_some());
        assert!(read(&(NOW + future + 1).to_string()).is_none());
    }

    #[test]
    fn what_is_no_decimal_number_is_no_time() {
        let bad = [
            "",
            " 1781510400",
            "+1781510400",
            "-1781510400",
            "1781510400.",
            ".5",
            "1.78e9",
            "null",
            "{}",
            "1781510400.x",
            "99999999999999999999999",
            "18446744073709551616",
        ];
        for text in bad {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_nanosecond_part_is_below_one_second() {
        assert_eq!(nanosecond_part(b"999999999"), Some(999_999_999));
        for bad in [&b"1000000000"[..], b"", b"-1", b"1.5", b"x"] {
            assert_eq!(nanosecond_part(bad), None);
        }
    }
}
