//! JSON as text: values, strings and members, by way of serde_json.

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The text of a JSON value, as it is stored.
pub fn text(raw: &str) -> String {
    match raw.as_bytes()[0] {
        b'"' => string(raw),
        b'{' | b'[' => compact(raw),
        _ => raw.to_owned(),
    }
}

/// Decodes a JSON string. serde_json leaves half of a surrogate pair as three bytes that are not
/// UTF-8 (ED A0..BF ..), when it is asked for bytes.
fn string(raw: &str) -> String {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a string")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
            Ok(replace_surrogates(bytes))
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    deserializer.deserialize_bytes(Text).unwrap()
}

fn replace_surrogates(bytes: &[u8]) -> String {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while let Some((&byte, after)) = rest.split_first() {
        if let [0xed, 0xa0..=0xbf, _, after @ ..] = rest {
            out.extend_from_slice("\u{fffd}".as_bytes());
            rest = after;
        } else {
            out.push(byte);
            rest = after;
        }
    }
    String::from_utf8(out).unwrap()
}

/// Removes whitespace outside of strings.
fn compact(raw: &str) -> String {
    let (mut out, mut in_string, mut escaped) = (String::new(), false, false);
    for character in raw.chars() {
        if in_string || !matches!(character, ' ' | '\t' | '\n' | '\r') {
            out.push(character);
        }
        match character {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
    }
    out
}

/// How deeply containers are nested.
pub fn depth(raw: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in raw.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
    }
    deepest
}

/// The members of an object in order, keys decoded, values as they are written. `None`: no object.
pub fn members(raw: &str) -> Option<Vec<(String, String)>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(key) = map.next_key_seed(Key)? {
                let value: &RawValue = map.next_value()?;
                members.push((key, value.get().to_owned()));
            }
            Ok(members)
        }
    }
    struct Key;
    impl<'de> DeserializeSeed<'de> for Key {
        type Value = String;

        fn deserialize<D: serde::Deserializer<'de>>(self, key: D) -> Result<String, D::Error> {
            key.deserialize_bytes(self)
        }
    }
    impl Visitor<'_> for Key {
        type Value = String;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a key")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
            Ok(replace_surrogates(bytes))
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    deserializer.deserialize_map(Members).ok()
}
