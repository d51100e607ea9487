//! Whether an object names a key twice.
//!
//! An open-addressing table over the decoded keys, reused for every object: a generation number in
//! each slot says whether the slot belongs to the present one, so that nothing is cleared between
//! events. The hash is seeded per thread and equal hashes are settled by comparing the keys. The
//! table doubles as keys come and never shrinks; the caller bounds the number of keys.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::quality::RandomState;

use super::escape::unescape;

const FIRST_SLOTS: usize = 64;

/// A decoded key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key<'a> {
    /// It stands in the body as it is, at this offset.
    Plain(usize, &'a [u8]),
    /// It had to be decoded, and stands in the arena.
    Decoded(Span),
}

impl Key<'_> {
    /// Bytes of the key.
    #[inline]
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Plain(_, bytes) => bytes.len(),
            Self::Decoded(span) => span.length,
        }
    }
}

/// Where a decoded key stands: in the body, or past its end, in the arena of decoded keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    start: usize,
    length: usize,
}

#[derive(Clone, Debug)]
struct Slot {
    generation: u32,
    hash: u64,
    key: Span,
}

const FREE: Slot = Slot {
    generation: 0,
    hash: 0,
    key: Span {
        start: 0,
        length: 0,
    },
};

/// The keys of the object being read.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// None, or a power of two; at least twice as many as keys.
    slots: Vec<Slot>,
    generation: u32,
    keys: usize,
    /// Keys that do not stand in the body as they are: those with escapes.
    arena: Vec<u8>,
    state: RandomState,
}

impl Seen {
    /// Forgets all keys: a new object begins.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.keys = 0;
        self.arena.clear();
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            self.slots.fill(FREE);
            self.generation = 1;
        }
    }

    /// Decodes a JSON key with escapes into the arena. `body` is what offsets refer to.
    pub(super) fn unescaped<'a>(&mut self, body: &[u8], raw: &[u8]) -> Key<'a> {
        self.decoded(body, |arena| unescape(raw, arena))
    }

    /// Has `decode` append a key to the arena. `body` is what offsets refer to.
    pub(super) fn decoded<'a>(
        &mut self,
        body: &[u8],
        decode: impl FnOnce(&mut Vec<u8>),
    ) -> Key<'a> {
        let from = self.arena.len();
        decode(&mut self.arena);
        Key::Decoded(Span {
            start: body.len() + from,
            length: self.arena.len() - from,
        })
    }

    /// The bytes of a key.
    #[inline]
    pub(super) fn name<'b>(&'b self, body: &'b [u8], key: Key<'b>) -> &'b [u8] {
        match key {
            Key::Plain(_, name) => name,
            Key::Decoded(span) => bytes(body, &self.arena, span),
        }
    }

    /// Notes a key. `false`: the object has named it before.
    #[inline]
    pub(super) fn insert(&mut self, body: &[u8], key: Key<'_>) -> bool {
        if self.slots.len() <= self.keys * 2 {
            self.grow();
        }
        let (name, span) = match key {
            Key::Plain(start, name) => {
                let length = name.len();
                (name, Span { start, length })
            }
            Key::Decoded(span) => (bytes(body, &self.arena, span), span),
        };
        let mut hasher = self.state.build_hasher();
        hasher.write(name);
        let hash = hasher.finish();
        let mask = self.slots.len().wrapping_sub(1);
        let mut index = start_of_probe(hash) & mask;
        while let Some(slot) = self.slots.get_mut(index) {
            if slot.generation != self.generation {
                *slot = Slot {
                    generation: self.generation,
                    hash,
                    key: span,
                };
                self.keys += 1;
                return true;
            }
            if slot.hash == hash && bytes(body, &self.arena, slot.key) == name {
                return false;
            }
            index = (index + 1) & mask;
        }
        true
    }

    /// Gives memory back if the arena or the table takes more than so many bytes.
    pub(super) fn give_back_above(&mut self, limit: usize) {
        if self.arena.capacity() > limit {
            self.arena = Vec::new();
        }
        if self.slots.capacity() * size_of::<Slot>() > limit {
            self.slots = Vec::new();
        }
    }

    #[cold]
    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(FIRST_SLOTS);
        let old = std::mem::replace(&mut self.slots, vec![FREE; size]);
        let mask = size - 1;
        let present = self.generation;
        for slot in old.into_iter().filter(|slot| slot.generation == present) {
            let mut index = start_of_probe(slot.hash) & mask;
            while let Some(place) = self.slots.get_mut(index) {
                if place.generation != present {
                    *place = slot;
                    break;
                }
                index = (index + 1) & mask;
            }
        }
    }
}

#[inline]
fn start_of_probe(hash: u64) -> usize {
    // 32 bits are plenty for a table of keys, and the same on every platform.
    usize::try_from(hash & 0xffff_ffff).unwrap_or_default()
}

#[inline]
fn bytes<'b>(body: &'b [u8], arena: &'b [u8], span: Span) -> &'b [u8] {
    let (bytes, start) = match span.start.checked_sub(body.len()) {
        None => (body, span.start),
        Some(start) => (arena, start),
    };
    bytes.get(start..start + span.length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(body: &[u8], start: usize, length: usize) -> Key<'_> {
        Key::Plain(start, &body[start..start + length])
    }

    #[test]
    fn a_key_is_seen_once_until_the_next_object_begins() {
        let body = b"abab";
        let mut seen = Seen::default();
        for _ in 0..3 {
            seen.begin();
            assert!(seen.insert(body, plain(body, 0, 2)));
            assert!(seen.insert(body, plain(body, 0, 1)));
            assert!(!seen.insert(body, plain(body, 2, 2)));
        }
    }

    #[test]
    fn a_key_with_escapes_equals_its_plain_twin() {
        let body = b"k";
        let mut seen = Seen::default();
        seen.begin();
        assert!(seen.insert(body, plain(body, 0, 1)));
        let twin = seen.unescaped(body, br"\u006b");
        assert_eq!(seen.name(body, twin), b"k");
        assert!(!seen.insert(body, twin));
    }

    #[test]
    fn keys_survive_the_growth_of_the_table() {
        let body: Vec<u8> = (0..4000u32).flat_map(u32::to_be_bytes).collect();
        let mut seen = Seen::default();
        seen.begin();
        for index in 0..4000 {
            assert!(seen.insert(&body, plain(&body, index * 4, 4)));
        }
        for index in 0..4000 {
            assert!(!seen.insert(&body, plain(&body, index * 4, 4)));
        }
    }

    #[test]
    fn slots_of_an_old_object_do_not_come_back_when_the_generation_wraps() {
        let mut seen = Seen::default();
        seen.begin();
        assert!(seen.insert(b"ab", plain(b"ab", 0, 1)));
        seen.generation = u32::MAX;
        seen.begin();
        assert!(seen.insert(b"ab", plain(b"ab", 0, 1)));
    }
}
