//! What decides the shard of a LogGroup, where that is not left to the store.
//!
//! Promise: a LogGroup that is sent again has the same key, and so have its parts when it is sent in
//! parts: who reads one shard sees all that came twice.

use std::fmt;

use md5::{Digest as _, Md5};

use crate::config::ShardBy;
use crate::event::{LOG_TAGS_TAG, SOURCE_TAG, pair_of};
use crate::foundation::wire::{Field, Reader};

const SOURCE: u32 = (SOURCE_TAG >> 3) as u32;
const LOG_TAGS: u32 = (LOG_TAGS_TAG >> 3) as u32;

/// A place in the space that the shards divide between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) struct HashKey(u128);

impl HashKey {
    /// That of a LogGroup in wire form. One without source goes by its pack id, so that not all of them
    /// go to the same shard; one without that goes wherever the store likes.
    pub(super) fn of(raw: &[u8], by: ShardBy) -> Option<Self> {
        if by == ShardBy::Any {
            return None;
        }
        let (mut source, mut pack): (&[u8], &[u8]) = (b"", b"");
        let mut reader = Reader::new(raw);
        while let Ok(Some(field)) = reader.next_field() {
            match field {
                Field::Bytes(SOURCE, value) => source = value,
                Field::Bytes(LOG_TAGS, tag) => {
                    let (key, value) = pair_of(tag);
                    if key == b"__pack_id__" {
                        pack = value;
                    }
                }
                _ => {}
            }
        }
        // A part has the id of its LogGroup, a dot, and its place.
        let whole = pack.split(|byte| *byte == b'.').next().unwrap_or(pack);
        let of = match by {
            ShardBy::Source if !source.is_empty() => source,
            _ => whole,
        };
        let digest: [u8; 16] = Md5::digest(of).into();
        (!of.is_empty()).then_some(Self(u128::from_be_bytes(digest)))
    }
}

/// As the API wants it: 32 hex digits.
impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::put_tag;
    use crate::foundation::wire::put_bytes;

    fn group(source: &str, pack: &str) -> Vec<u8> {
        let mut raw = Vec::new();
        put_bytes(&mut raw, SOURCE_TAG, source.as_bytes());
        put_tag(&mut raw, b"room", b"kitchen");
        if !pack.is_empty() {
            put_tag(&mut raw, b"__pack_id__", pack.as_bytes());
        }
        raw
    }

    fn key(source: &str, pack: &str, by: ShardBy) -> String {
        let key = HashKey::of(&group(source, pack), by);
        key.map_or("none".to_owned(), |key| key.to_string())
    }

    #[test]
    fn a_resend_and_its_parts_have_the_key_of_the_first() {
        // md5 of `ABC-1`.
        let whole = key("", "ABC-1", ShardBy::PackId);
        assert_eq!(whole.len(), 32);
        assert_eq!(key("10.0.0.1", "ABC-1.0-7F", ShardBy::PackId), whole);
        assert_ne!(key("", "ABC-2", ShardBy::PackId), whole);
    }

    #[test]
    fn a_source_has_one_key_and_one_without_goes_by_its_pack_id() {
        let by = ShardBy::Source;
        assert_eq!(key("a", "ABC-1", by), "0cc175b9c0f1b6a831c399e269772661");
        assert_eq!(key("a", "ABC-1", by), key("a", "DEF-9", by));
        assert_ne!(key("a", "ABC-1", by), key("b", "ABC-1", by));
        assert_eq!(key("", "ABC-1", by), key("", "ABC-1", ShardBy::PackId));
        assert_eq!(key("", "", by), "none");
        assert_eq!(key("a", "ABC-1", ShardBy::Any), "none");
    }
}
