//! The tokens of JSON, by the letter of RFC 8259.
//!
//! The scanner finds where tokens end and checks them; it copies nothing and never goes back. The
//! bytes must be UTF-8 already: what is not ASCII can then only stand inside strings, and is taken
//! as it is.
//!
//! The few functions of a member's way are inlined by force, here and in `document`: without, the
//! bench counts some 8 % more instructions per event.

use super::escape::code_unit;
use super::fault::Fault;
use crate::event::Reason;

/// Result of reading: a problem is boxed, so that the way without problems stays narrow.
pub(super) type Scanned<T> = Result<T, Box<Fault>>;

/// The inside of a string.
#[derive(Clone, Copy, Debug)]
pub(super) struct StringToken {
    /// Offset of the first byte after the opening quote.
    pub(super) start: usize,
    /// Offset of the closing quote.
    pub(super) end: usize,
    /// Whether there is an escape in it.
    pub(super) escaped: bool,
}

/// Reads a text from its start to its end.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Reads `bytes`, which are UTF-8, from the offset `at`.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// The whole text.
    #[inline]
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Offset of the next byte.
    #[inline]
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// A part of the text.
    #[inline]
    pub(super) fn slice(&self, start: usize, end: usize) -> &'a [u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// Skips whitespace; the byte that follows, if the text does not end there.
    #[inline]
    pub(super) fn significant(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Steps over a byte that has been looked at.
    #[inline]
    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    /// Skips whitespace and then steps over `byte`.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8, expected: &'static str) -> Scanned<()> {
        if self.significant() == Some(byte) {
            self.advance();
            return Ok(());
        }
        Err(self.unexpected(expected))
    }

    /// Nothing but whitespace follows.
    pub(super) fn end(&mut self) -> Scanned<()> {
        match self.significant() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("expected nothing more after the object")),
        }
    }

    /// The text is not JSON here.
    #[cold]
    pub(super) fn unexpected(&self, expected: &'static str) -> Box<Fault> {
        Fault::new(Reason::NotJson, self.at, expected)
    }

    /// Reads a string; the opening quote has been looked at.
    #[inline(always)]
    pub(super) fn string(&mut self) -> Scanned<StringToken> {
        self.advance();
        let start = self.at;
        match self.stop() {
            Some(b'"') => {
                let end = self.at;
                self.advance();
                Ok(StringToken {
                    start,
                    end,
                    escaped: false,
                })
            }
            _ => self.string_with_escapes(start),
        }
    }

    /// Goes on to the next quote, backslash or control character.
    #[inline(always)]
    fn stop(&mut self) -> Option<u8> {
        let mut at = self.at;
        let mut rest = self.bytes.get(at..)?;
        while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
            let found = stops(u64::from_le_bytes(*chunk));
            if found != 0 {
                at += (found.trailing_zeros() / 8) as usize;
                self.at = at;
                return self.bytes.get(at).copied();
            }
            at += 8;
            rest = after;
        }
        self.at = at;
        self.stop_near_the_end()
    }

    #[inline(never)]
    fn stop_near_the_end(&mut self) -> Option<u8> {
        loop {
            match self.peek() {
                Some(b'"' | b'\\' | 0..0x20) | None => return self.peek(),
                Some(_) => self.at += 1,
            }
        }
    }

    #[inline(never)]
    fn string_with_escapes(&mut self, start: usize) -> Scanned<StringToken> {
        loop {
            match self.stop() {
                Some(b'"') => {
                    let end = self.at;
                    self.advance();
                    return Ok(StringToken {
                        start,
                        end,
                        escaped: true,
                    });
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.unexpected("a raw control character in a string")),
                None => return Err(self.unexpected("the text ends inside a string")),
            }
        }
    }

    fn escape(&mut self) -> Scanned<()> {
        let escape = self.bytes.get(self.at..).unwrap_or_default();
        self.at += match escape {
            [
                _,
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                ..,
            ] => 2,
            [_, b'u', digits @ ..] if code_unit(digits).is_some() => 6,
            _ => return Err(self.unexpected("not an escape of JSON")),
        };
        Ok(())
    }

    /// Reads a number; its first byte, a digit or a minus, has been looked at.
    pub(super) fn number(&mut self) -> Scanned<()> {
        if self.peek() == Some(b'-') {
            self.advance();
        }
        if self.peek() == Some(b'0') {
            self.advance();
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.advance();
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.advance();
            if let Some(b'+' | b'-') = self.peek() {
                self.advance();
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Scanned<()> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = rest
            .iter()
            .position(|byte| !byte.is_ascii_digit())
            .unwrap_or(rest.len());
        if count == 0 {
            return Err(self.unexpected("expected a digit"));
        }
        self.at += count;
        Ok(())
    }

    /// Reads `true`, `false` or `null`.
    pub(super) fn literal(&mut self, literal: &'static [u8]) -> Scanned<()> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if !rest.starts_with(literal) {
            return Err(self.unexpected("expected a JSON value"));
        }
        self.at += literal.len();
        Ok(())
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
}

/// Marks quotes, backslashes and control characters among eight bytes: the lowest set bit is the
/// high bit of the first of them (higher ones may be false).
///
/// A quote becomes 0x20 when its bit 1 is flipped, and control characters stay below 0x21, so that
/// one subtraction borrows for both.
const fn stops(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let quote_or_control = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
    let backslash = (word ^ (ONES * 0x5c)).wrapping_sub(ONES);
    (quote_or_control | backslash) & !word & (ONES * 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_stop_among_eight_bytes_is_found_for_every_byte_at_every_place() {
        for byte in 0..=255u8 {
            for place in 0..8usize {
                for filler in [b'a', 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0xff, b' '] {
                    let mut bytes = [filler; 8];
                    bytes[place] = byte;
                    let found = stops(u64::from_le_bytes(bytes));
                    if matches!(byte, b'"' | b'\\' | 0..0x20) {
                        assert_eq!(found.trailing_zeros() as usize / 8, place, "{bytes:?}");
                    } else {
                        assert_eq!(found, 0, "{bytes:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_follow_the_grammar() {
        let whole = |text: &str| {
            let mut scanner = Scanner::new(text.as_bytes(), 0);
            scanner.number().is_ok() && scanner.offset() == text.len()
        };
        for good in ["0", "-0", "10", "1.5", "-1.50e+10", "1E5", "0e-0", "1e400"] {
            assert!(whole(good), "{good}");
        }
        for bad in [
            "01", "-", "1.", ".5", "1e", "1e+", "-a", "0x10", "1.e5", "--1",
        ] {
            assert!(!whole(bad), "{bad}");
        }
    }
}
