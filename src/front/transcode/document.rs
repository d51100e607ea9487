//! Reading JSON into what the rules of web tracking ask for: members, keys, and values as text.

use super::escape::unescape;
use super::fault::Fault;
use super::nested::{nested, too_deep};
use super::rules::Context;
use super::scan::{Scanned, Scanner};
use super::scratch::Scratch;
use super::seen::Key;
use crate::event::{EventGroup, Kind, Reason};

/// The text of a value as it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text<'a> {
    /// It stands in the body.
    Plain(&'a [u8]),
    /// It stands in the scratch memory.
    Scratch,
}

impl<'a> Text<'a> {
    #[inline]
    pub(super) fn resolve<'b>(self, scratch: &'b [u8]) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Self::Plain(text) => text,
            Self::Scratch => scratch,
        }
    }
}

/// A body being read, and what is made of it.
pub(super) struct Document<'a> {
    pub(super) scan: Scanner<'a>,
    pub(super) context: &'a Context<'a>,
    pub(super) scratch: &'a mut Scratch,
    pub(super) out: &'a mut EventGroup,
}

impl<'a> Document<'a> {
    /// Checks a key against the limit and against the keys before it.
    #[inline]
    pub(super) fn new_key(&mut self, key: Key<'_>) -> Scanned<()> {
        let limit = self.context.rules.key;
        if key.length() == 0 || key.length() > limit {
            let what = format!("a key of {} bytes; the limit is {limit}", key.length());
            return Err(Fault::new(Reason::InvalidKey, self.scan.offset(), what));
        }
        if self.scratch.seen.insert(self.scan.bytes(), key) {
            return Ok(());
        }
        Err(named_before(self.scan.offset()))
    }

    /// Reads the object at the next byte, which lies at `depth`, and hands each key to `member`,
    /// which reads the value.
    #[inline(always)]
    pub(super) fn object(
        &mut self,
        depth: usize,
        mut member: impl FnMut(&mut Self, Key<'a>) -> Scanned<()>,
    ) -> Scanned<()> {
        self.enter(depth)?;
        self.scan.advance();
        let mut next = self.scan.significant();
        if next == Some(b'}') {
            self.scan.advance();
            return Ok(());
        }
        loop {
            if next != Some(b'"') {
                return Err(self.scan.unexpected("expected a key in quotes"));
            }
            let key = self.key()?;
            self.scan.expect(b':', "expected a colon")?;
            member(self, key)?;
            match self.scan.significant() {
                Some(b',') => self.scan.advance(),
                Some(b'}') => break,
                _ => return Err(self.scan.unexpected("expected a comma or `}`")),
            }
            next = self.scan.significant();
        }
        self.scan.advance();
        Ok(())
    }

    /// The bytes of a key of the object being read.
    #[inline]
    pub(super) fn name<'b>(&'b self, key: Key<'b>) -> &'b [u8] {
        self.scratch.seen.name(self.scan.bytes(), key)
    }

    #[inline(always)]
    fn key(&mut self) -> Scanned<Key<'a>> {
        let token = self.scan.string()?;
        if token.escaped {
            let raw = self.scan.slice(token.start, token.end);
            return Ok(self.scratch.seen.unescaped(self.scan.bytes(), raw));
        }
        let name = self.scan.slice(token.start, token.end);
        Ok(Key::Plain(token.start, name))
    }

    /// Reads a value; if it is a container, it lies at `depth`.
    #[inline(always)]
    pub(super) fn value(&mut self, depth: usize) -> Scanned<(Kind, Text<'a>)> {
        if self.scan.significant() != Some(b'"') {
            return self.value_without_quotes(depth);
        }
        let token = self.scan.string()?;
        let raw = self.scan.slice(token.start, token.end);
        if !token.escaped {
            return Ok((Kind::Text, Text::Plain(raw)));
        }
        self.scratch.text.clear();
        unescape(raw, &mut self.scratch.text);
        Ok((Kind::Text, Text::Scratch))
    }

    #[inline(never)]
    fn value_without_quotes(&mut self, depth: usize) -> Scanned<(Kind, Text<'a>)> {
        let start = self.scan.offset();
        let kind = match self.scan.significant() {
            Some(open @ (b'{' | b'[')) => {
                let Scratch {
                    containers, text, ..
                } = &mut *self.scratch;
                let limit = self.context.rules.depth;
                nested(&mut self.scan, depth, limit, containers, text)?;
                let kind = match open {
                    b'{' => Kind::Object,
                    _ => Kind::Array,
                };
                if !self.scratch.text.is_empty() {
                    return Ok((kind, Text::Scratch));
                }
                kind
            }
            Some(b'n') => {
                self.scan.literal(b"null")?;
                Kind::Null
            }
            Some(b'-' | b'0'..=b'9') => {
                self.scan.number()?;
                Kind::Number
            }
            Some(b't') => {
                self.scan.literal(b"true")?;
                Kind::Boolean
            }
            Some(b'f') => {
                self.scan.literal(b"false")?;
                Kind::Boolean
            }
            _ => return Err(self.scan.unexpected("expected a JSON value")),
        };
        let text = self.scan.slice(start, self.scan.offset());
        Ok((kind, Text::Plain(text)))
    }

    /// Checks that a container may lie at `depth`.
    pub(super) fn enter(&self, depth: usize) -> Scanned<()> {
        if depth > self.context.rules.depth {
            return Err(too_deep(&self.scan, self.context.rules.depth));
        }
        Ok(())
    }
}

/// A key came twice.
#[cold]
pub(super) fn named_before(offset: usize) -> Box<Fault> {
    Fault::new(Reason::DuplicateKey, offset, "the key was named before")
}
