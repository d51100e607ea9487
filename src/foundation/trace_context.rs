//! W3C trace context: the header `traceparent`, as <https://www.w3.org/TR/trace-context/> says.
//!
//! Promise: what is read is a trace id and a span id that are not zero, or nothing. The header comes
//! from strangers: nothing of it but these two numbers and one flag is kept.

use std::fmt;

/// The name of the header.
pub const TRACEPARENT: &str = "traceparent";

/// Length of the header of version 00, in bytes.
const LENGTH: usize = 55;

/// The flag that says that whoever sent the header records the trace.
const SAMPLED: u8 = 1;

/// A span: the trace that it is in, its own id, and whether it is recorded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
    sampled: bool,
}

impl TraceContext {
    /// Reads the value of a `traceparent`. Versions that are not known yet are read as far as
    /// version 00 goes; `ff` is none, nor are ids of zeros only, nor upper-case letters.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let [version] = hex(known.get(..2)?)?;
        let grown = rest.is_empty() || (version > 0 && rest.first() == Some(&b'-'));
        let dashes = [2, 35, 52].map(|at| known.get(at) == Some(&b'-'));
        if version == 0xff || !grown || dashes != [true; 3] {
            return None;
        }
        let trace: [u8; 16] = hex(known.get(3..35)?)?;
        let span: [u8; 8] = hex(known.get(36..52)?)?;
        let [flags] = hex(known.get(53..)?)?;
        (trace != [0; 16] && span != [0; 8]).then_some(Self {
            trace,
            span,
            sampled: flags & SAMPLED != 0,
        })
    }

    /// A first span of a trace of its own, which is recorded; `None`: there is no randomness to be had.
    #[must_use]
    pub fn root() -> Option<Self> {
        let mut trace = [0; 16];
        getrandom::fill(&mut trace).ok()?;
        let root = Self {
            trace,
            span: [0; 8],
            sampled: true,
        };
        (trace != [0; 16]).then_some(root)?.child()
    }

    /// A span of the same trace, which is recorded.
    #[must_use]
    pub fn child(&self) -> Option<Self> {
        let span = getrandom::u64().ok()?.to_be_bytes();
        (span != [0; 8]).then_some(Self {
            trace: self.trace,
            span,
            sampled: true,
        })
    }

    /// The trace.
    #[must_use]
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace
    }

    /// The span.
    #[must_use]
    pub fn span_id(&self) -> [u8; 8] {
        self.span
    }

    /// Whether it is recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The trace in lower-case hex, as tools for traces show it.
    #[must_use]
    pub fn trace_text(&self) -> String {
        let digits = self.trace.iter().map(|byte| format!("{byte:02x}"));
        digits.collect()
    }
}

/// The value of a `traceparent` of version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        for byte in self.trace {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("-")?;
        for byte in self.span {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "-{:02x}", u8::from(self.sampled))
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceContext({self})")
    }
}

/// Bytes in lower-case hex, two digits each.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let pairs = digits.chunks(2);
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_standard_is_read_and_written_again() {
        let context = TraceContext::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(context.to_string(), GOOD);
        assert_eq!(context.trace_text(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id()[..2], [0x00, 0xf0]);
        assert!(context.is_sampled());
    }

    #[test]
    fn of_the_flags_only_the_first_counts() {
        for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("ff", true)] {
            let text = format!("{}{flags}", &GOOD[..53]);
            let context = TraceContext::parse(text.as_bytes()).unwrap();
            assert_eq!(context.is_sampled(), sampled, "{text}");
        }
    }

    #[test]
    fn a_version_to_come_is_read_as_far_as_it_is_known() {
        let later = |end: &str| format!("cc{}{end}", &GOOD[2..]);
        for good in [
            later(""),
            later("-"),
            later("-what-the-future-will-be-like"),
        ] {
            let read = TraceContext::parse(good.as_bytes()).unwrap();
            assert_eq!(read.to_string(), GOOD, "{good}");
        }
        assert_eq!(TraceContext::parse(later(".what").as_bytes()), None);
    }

    #[test]
    fn what_the_standard_calls_invalid_is_none() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0101",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0A",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-011",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473\u{e9}-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_child_is_in_the_trace_of_its_parent_and_two_roots_are_not_in_one() {
        let (one, other) = (TraceContext::root().unwrap(), TraceContext::root().unwrap());
        assert_ne!(one.trace_id(), other.trace_id());
        let child = one.child().unwrap();
        assert_eq!(child.trace_id(), one.trace_id());
        assert_ne!(child.span_id(), one.span_id());
        let read = TraceContext::parse(child.to_string().as_bytes());
        assert_eq!(read, Some(child));
    }

    /// The same rules, written as one would read them aloud.
    fn by_the_book(text: &str) -> bool {
        let parts: Vec<&str> = text.splitn(5, '-').collect();
        let [version, trace, span, flags, more @ ..] = &parts[..] else {
            return false;
        };
        let hex = |part: &str, digits: usize| {
            part.len() == digits && part.chars().all(|c| "0123456789abcdef".contains(c))
        };
        hex(version, 2)
            && *version != "ff"
            && (*version != "00" || more.is_empty())
            && hex(trace, 32)
            && trace.chars().any(|c| c != '0')
            && hex(span, 16)
            && span.chars().any(|c| c != '0')
            && hex(flags, 2)
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not_and_never_more(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(TraceContext::parse(&bytes).is_some(), std::str::from_utf8(&bytes).is_ok_and(by_the_book));
        }

        #[test]
        fn what_looks_like_one_is_read_by_the_book(
            text in "(00|01|cc|ff|0G|[0-9a-f]{2})-([0-9a-f]{32}|0{32}|[0-9A-F]{31,33})-([0-9a-f]{16}|0{16}|[0-9a-f]{15,17})-[0-9a-f]{1,3}(-[a-z]{0,3}|\\.|)",
        ) {
            prop_assert_eq!(TraceContext::parse(text.as_bytes()).is_some(), by_the_book(&text), "{}", text);
        }

        #[test]
        fn one_byte_that_differs_is_judged_by_the_book(at in 0..55usize, byte in any::<u8>()) {
            let mut bytes = GOOD.as_bytes().to_vec();
            bytes[at] = byte;
            let expected = std::str::from_utf8(&bytes).is_ok_and(by_the_book);
            prop_assert_eq!(TraceContext::parse(&bytes).is_some(), expected);
        }
    }
}
