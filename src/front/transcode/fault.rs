//! What is wrong with a body, and where. Only refused requests pay for this.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::event::{Reason, Refusal};
use crate::foundation::wire::Malformed;

/// Bytes of one segment of a pointer; the rest of a longer key is cut.
const SEGMENT_LIMIT: usize = 128;

/// A problem on its way out of the reader. Boxed, so that the way without problems stays narrow.
#[derive(Debug)]
pub(super) struct Fault {
    reason: Reason,
    offset: usize,
    what: Cow<'static, str>,
    pointer: String,
}

impl Fault {
    /// A problem at `offset` of the body.
    #[cold]
    pub(super) fn new(
        reason: Reason,
        offset: usize,
        what: impl Into<Cow<'static, str>>,
    ) -> Box<Self> {
        Box::new(Self {
            reason,
            offset,
            what: what.into(),
            pointer: String::new(),
        })
    }

    /// A length or a number that is above its limit.
    #[cold]
    pub(super) fn above(reason: Reason, offset: usize, found: usize, limit: usize) -> Box<Self> {
        Self::new(
            reason,
            offset,
            format!("{found} is above the limit of {limit}"),
        )
    }

    /// The same problem, seen from one level further out.
    #[cold]
    pub(super) fn within(mut self: Box<Self>, segment: &[u8]) -> Box<Self> {
        let mut pointer = String::from("/");
        for character in String::from_utf8_lossy(segment).chars() {
            if pointer.len() > SEGMENT_LIMIT {
                pointer.push('…');
                break;
            }
            match character {
                '~' => pointer.push_str("~0"),
                '/' => pointer.push_str("~1"),
                '"' | '\'' | '\\' => pointer.push(character),
                _ => pointer.extend(character.escape_debug()),
            }
        }
        pointer.push_str(&self.pointer);
        self.pointer = pointer;
        self
    }

    /// The same problem, inside the element `index` of an array.
    #[cold]
    pub(super) fn within_element(self: Box<Self>, index: usize) -> Box<Self> {
        self.within(index.to_string().as_bytes())
    }
}

impl From<Malformed> for Box<Fault> {
    #[cold]
    fn from(malformed: Malformed) -> Self {
        Fault::new(
            Reason::NotProtobuf,
            malformed.offset,
            "a field is cut or malformed",
        )
    }
}

impl From<Box<Fault>> for Refusal {
    #[cold]
    fn from(fault: Box<Fault>) -> Self {
        let mut detail = format!("{}, at byte {}", fault.what, fault.offset);
        if !fault.pointer.is_empty() {
            // Writing to a String cannot fail.
            write!(detail, " in {}", fault.pointer).unwrap_or_default();
        }
        Self::new(fault.reason, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_escaped_and_bounded() {
        let fault = Fault::new(Reason::NotJson, 7, "why")
            .within("a/b~c\n\u{1b}\u{202e}".as_bytes())
            .within_element(3)
            .within(b"__logs__");
        let message = Refusal::from(fault).message();
        assert!(
            message.contains("why, at byte 7 in /__logs__/3/a~1b~0c\\n\\u{1b}\\u{202e}."),
            "{message}"
        );
        let long = Fault::new(Reason::InvalidKey, 0, "why").within(&[b'k'; 100_000]);
        assert!(Refusal::from(long).message().len() < 400);
    }
}
