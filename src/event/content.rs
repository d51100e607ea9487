//! One field of an event in wire form: a `Contents` of a Log, key 1 and value 2.

use crate::foundation::wire::{self, Field, Reader};

/// Protobuf tag byte of `Log.Contents`.
pub const CONTENTS_TAG: u8 = 0x12;
const KEY_TAG: u8 = 0x0a;
const VALUE_TAG: u8 = 0x12;

/// Appends one `Contents` field of a Log.
#[inline]
pub fn put_content(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let inner = key.len() + value.len() + 4;
    if inner < 0x80 {
        let head = [CONTENTS_TAG, short(inner), KEY_TAG, short(key.len())];
        out.extend_from_slice(&head);
        out.extend_from_slice(key);
        out.extend_from_slice(&[VALUE_TAG, short(value.len())]);
        out.extend_from_slice(value);
    } else {
        out.push(CONTENTS_TAG);
        wire::put_varint(out, content_length(key.len(), value.len()) as u64);
        wire::put_bytes(out, KEY_TAG, key);
        wire::put_bytes(out, VALUE_TAG, value);
    }
}

/// The one-byte varint of a length below 128.
#[inline]
fn short(length: usize) -> u8 {
    (length as u64 & 0x7f) as u8
}

/// Bytes of a Content with a key and a value of these lengths, without its own tag and length.
#[must_use]
pub fn content_length(key: usize, value: usize) -> usize {
    let field = |length: usize| 1 + wire::varint_length(length as u64) + length;
    field(key) + field(value)
}

/// Key and value of a Content, or of a LogTag; of several the last. Empty where they are missing.
#[must_use]
pub fn pair_of(content: &[u8]) -> (&[u8], &[u8]) {
    let mut pair: (&[u8], &[u8]) = (b"", b"");
    let mut parts = Reader::new(content);
    while let Ok(Some(part)) = parts.next_field() {
        match part {
            Field::Bytes(1, key) => pair.0 = key,
            Field::Bytes(2, value) => pair.1 = value,
            _ => {}
        }
    }
    pair
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_the_same_by_the_short_and_by_the_long_way() {
        for length in [0, 1, 100, 119, 120, 121, 127, 128, 20_000] {
            let value = vec![b'v'; length];
            let mut out = Vec::new();
            put_content(&mut out, b"key", &value);
            let mut expected = vec![CONTENTS_TAG];
            wire::put_varint(&mut expected, content_length(3, length) as u64);
            wire::put_bytes(&mut expected, KEY_TAG, b"key");
            wire::put_bytes(&mut expected, VALUE_TAG, &value);
            assert_eq!(out, expected);
            let (_, content) = out.split_at(out.len() - content_length(3, length));
            assert_eq!(pair_of(content), (&b"key"[..], &value[..]));
        }
    }
}
