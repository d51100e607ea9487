//! Objects of JSON, made compact in one pass.
//!
//! Promise: order of members, texts and numbers stay byte for byte as they are; only the white space
//! between tokens goes. What is written is JSON of an object whose members each stand once, at every
//! depth: readers that take the first of two and readers that take the last see the same.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

/// How deep objects and lists may stand in each other, the outermost object counted.
pub const MAX_DEPTH: usize = 32;
/// The members of an object and of all that is in it.
pub const MAX_MEMBERS: usize = 1024;

/// Why a text is not an object to sign or to give on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Not JSON in UTF-8, or with half a surrogate pair.
    #[error("is not JSON")]
    NotJson,
    /// JSON, but no object.
    #[error("is not a JSON object")]
    NotObject,
    /// Deeper than [`MAX_DEPTH`].
    #[error("is deeper than 32 levels")]
    TooDeep,
    /// More members than [`MAX_MEMBERS`].
    #[error("has more than 1024 members")]
    TooMany,
    /// A member stands twice in an object.
    #[error("has a member twice")]
    Twice,
}

/// Appends the object in `text` to `out` without white space. `see` is told of each of its own
/// members: the name, and where its value stands in `out`. After an error `out` holds a part.
pub(super) fn compact<S>(text: &[u8], out: &mut Vec<u8>, see: S) -> Result<(), JsonFault>
where
    S: FnMut(&str, Range<usize>),
{
    let text = std::str::from_utf8(text).map_err(|_| JsonFault::NotJson)?;
    out.reserve(text.len());
    let mut pass = Pass {
        text,
        at: 0,
        out,
        objects: 0,
        names: HashSet::new(),
        see,
    };
    pass.skip_space();
    match pass.peek() {
        Some(b'{') => pass.object(1)?,
        Some(b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
            return Err(JsonFault::NotObject);
        }
        _ => return Err(JsonFault::NotJson),
    }
    pass.skip_space();
    match pass.peek() {
        None => Ok(()),
        Some(_) => Err(JsonFault::NotJson),
    }
}

struct Pass<'a, 'o, S> {
    text: &'a str,
    at: usize,
    out: &'o mut Vec<u8>,
    /// How many objects have begun; the number of each.
    objects: u32,
    /// The names so far, each with its object.
    names: HashSet<(u32, Cow<'a, str>)>,
    see: S,
}

impl<'a, S: FnMut(&str, Range<usize>)> Pass<'a, '_, S> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Takes `byte`, with white space before it, if it stands here.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let there = self.peek() == Some(byte);
        if there {
            self.at += 1;
            self.out.push(byte);
        }
        there
    }

    fn value(&mut self, depth: usize) -> Result<(), JsonFault> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.list(depth + 1),
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => Err(JsonFault::NotJson),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), JsonFault> {
        if depth > MAX_DEPTH {
            return Err(JsonFault::TooDeep);
        }
        self.take(b'{');
        self.objects += 1;
        let object = self.objects;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.skip_space();
            let name = self.string()?;
            if self.names.len() == MAX_MEMBERS {
                return Err(JsonFault::TooMany);
            }
            if !self.names.insert((object, name.clone())) {
                return Err(JsonFault::Twice);
            }
            if !self.take(b':') {
                return Err(JsonFault::NotJson);
            }
            let start = self.out.len();
            self.value(depth)?;
            if depth == 1 {
                (self.see)(&name, start..self.out.len());
            }
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(JsonFault::NotJson);
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<(), JsonFault> {
        if depth > MAX_DEPTH {
            return Err(JsonFault::TooDeep);
        }
        self.take(b'[');
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(JsonFault::NotJson);
            }
        }
    }

    /// A text as it is; what it says comes back.
    fn string(&mut self) -> Result<Cow<'a, str>, JsonFault> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return Err(JsonFault::NotJson);
        }
        self.at += 1;
        let mut escapes = false;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escapes = true;
                    self.at += 2;
                }
                None | Some(0..=0x1f) => return Err(JsonFault::NotJson),
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        let text: &'a str = self.text;
        let token = text.get(start..self.at).ok_or(JsonFault::NotJson)?;
        let said = if escapes {
            Cow::Owned(serde_json::from_str(token).map_err(|_| JsonFault::NotJson)?)
        } else {
            Cow::Borrowed(token.trim_matches('"'))
        };
        self.out.extend_from_slice(token.as_bytes());
        Ok(said)
    }

    fn number(&mut self) -> Result<(), JsonFault> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        let token = self.text.get(start..self.at).ok_or(JsonFault::NotJson)?;
        self.out.extend_from_slice(token.as_bytes());
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonFault> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start {
            return Err(JsonFault::NotJson);
        }
        Ok(())
    }

    fn literal(&mut self, literal: &str) -> Result<(), JsonFault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(literal) {
            return Err(JsonFault::NotJson);
        }
        self.at += literal.len();
        self.out.extend_from_slice(literal.as_bytes());
        Ok(())
    }
}
