//! Where the value of a JSON Pointer stands in a line.
//!
//! The line has been read by the service's own reader before, so it is JSON. Should it be none, a
//! place may be wrong or missing, and no more than that.

use std::ops::Range;

/// Keywords that are about the name of a field.
const OF_NAMES: [&str; 3] = [
    "additionalProperties",
    "propertyNames",
    "unevaluatedProperties",
];

/// Whether a text is a body of web tracking: an object with `__logs__`.
pub(super) fn is_body(text: &[u8]) -> bool {
    let start = skip_space(text, 0);
    Members::of(text, start).any(|(key, _)| text.get(key) == Some(b"\"__logs__\""))
}

/// Where the event number `index` of a text stands, from 0.
pub(super) fn event(text: &[u8], index: u32) -> Option<Range<usize>> {
    let start = skip_space(text, 0);
    let index = usize::try_from(index).ok()?;
    match text.get(start)? {
        b'[' => Items::of(text, start).nth(index),
        b'{' if is_body(text) => {
            let mut members = Members::of(text, start);
            let (_, list) =
                members.find(|(key, _)| text.get(key.clone()) == Some(b"\"__logs__\""))?;
            Items::of(text, list.start).nth(index)
        }
        _ => {
            let mut at = start;
            for _ in 0..index {
                at = skip_space(text, skip_value(text, at)?);
            }
            Some(at..skip_value(text, at)?)
        }
    }
}

/// The part of an event that a violation is about: the value of its pointer; for a field that is
/// missing the bracket that ends what it is missing from; the name, where the name is at fault.
pub(super) fn fault(
    text: &[u8],
    event: Range<usize>,
    pointer: &str,
    keyword: &str,
) -> Range<usize> {
    let mut at = event;
    let mut name = None;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let below = match text.get(at.start) {
            Some(b'{') => Members::of(text, at.start)
                .filter(|(key, _)| is_named(text, key.clone(), &token))
                .last()
                .map(|(key, value)| (Some(key), value)),
            Some(b'[') => token
                .parse()
                .ok()
                .and_then(|index| Items::of(text, at.start).nth(index))
                .map(|value| (None, value)),
            // A text that was read as JSON: its inside has no place of its own.
            _ => break,
        };
        match below {
            Some((key, value)) => (name, at) = (key, value),
            None => return at.end.saturating_sub(1)..at.end,
        }
    }
    match name {
        Some(name) if OF_NAMES.contains(&keyword) => name,
        _ => at,
    }
}

/// Whether a key, with its quotes, is this name.
fn is_named(text: &[u8], key: Range<usize>, name: &str) -> bool {
    let raw = text.get(key).unwrap_or_default();
    let plain = raw
        .strip_prefix(b"\"")
        .and_then(|it| it.strip_suffix(b"\""));
    plain == Some(name.as_bytes())
        || (raw.contains(&b'\\')
            && serde_json::from_slice::<String>(raw).is_ok_and(|decoded| decoded == name))
}

/// Keys and values of an object.
struct Members<'a> {
    text: &'a [u8],
    at: Option<usize>,
}

impl<'a> Members<'a> {
    fn of(text: &'a [u8], start: usize) -> Self {
        let at = (text.get(start) == Some(&b'{')).then_some(start + 1);
        Self { text, at }
    }
}

impl Iterator for Members<'_> {
    type Item = (Range<usize>, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = skip_space(self.text, self.at.take()?);
        if self.text.get(key) != Some(&b'"') {
            return None;
        }
        let key_end = skip_string(self.text, key)?;
        let colon = skip_space(self.text, key_end);
        let value = skip_space(self.text, colon + 1);
        let end = skip_value(self.text, value)?;
        let next = skip_space(self.text, end);
        self.at = (self.text.get(next) == Some(&b',')).then_some(next + 1);
        Some((key..key_end, value..end))
    }
}

/// The items of an array.
struct Items<'a> {
    text: &'a [u8],
    at: Option<usize>,
}

impl<'a> Items<'a> {
    fn of(text: &'a [u8], start: usize) -> Self {
        let at = (text.get(start) == Some(&b'[')).then_some(start + 1);
        Self { text, at }
    }
}

impl Iterator for Items<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = skip_space(self.text, self.at.take()?);
        let end = skip_value(self.text, start)?;
        let next = skip_space(self.text, end);
        self.at = (self.text.get(next) == Some(&b',')).then_some(next + 1);
        Some(start..end)
    }
}

fn skip_space(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    at + rest.iter().take_while(space).count()
}

/// Past the string that begins at a quote.
fn skip_string(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match text.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

fn skip_value(text: &[u8], start: usize) -> Option<usize> {
    match text.get(start)? {
        b'"' => skip_string(text, start),
        b'{' | b'[' => {
            let (mut at, mut depth) = (start, 0_usize);
            loop {
                match text.get(at)? {
                    b'"' => {
                        at = skip_string(text, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(at + 1);
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
        }
        _ => {
            let rest = text.get(start..)?;
            let scalar =
                |byte: &&u8| !matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n');
            let length = rest.iter().take_while(scalar).count();
            (length > 0).then_some(start + length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, index: u32, pointer: &str, keyword: &str) -> String {
        let event = event(text.as_bytes(), index).unwrap();
        text[fault(text.as_bytes(), event, pointer, keyword)].to_owned()
    }

    #[test]
    fn the_place_of_a_pointer_is_found_in_every_form_of_text() {
        let one = r#" {"a":{"b":[1, {"c~/":"é"}]} , "n" : -5e1}"#;
        assert_eq!(at(one, 0, "/a/b/1/c~0~1", "type"), "\"é\"");
        assert_eq!(at(one, 0, "/n", "type"), "-5e1");
        assert_eq!(at(one, 0, "/n", "additionalProperties"), "\"n\"");
        assert_eq!(at(one, 0, "/x", "required"), "}");
        assert_eq!(at(one, 0, "/a/x", "required"), "}");
        assert_eq!(at(one, 0, "/a/b/7", "required"), "]");
        assert!(at(one, 0, "", "minProperties").starts_with('{'));
        assert_eq!(at(r#"[{"a":1},{"a":2}]"#, 1, "/a", ""), "2");
        assert_eq!(at(r#"{"a":1} {"a":"}"}{"a":3}"#, 2, "/a", ""), "3");
        let body = r#"{"__topic__":"[","__logs__":[{"a":"\"]"},{"\u0061":"b"}]}"#;
        assert_eq!(at(body, 1, "/a", ""), "\"b\"");
        assert_eq!(at(body, 0, "/a", ""), r#""\"]""#);
        assert_eq!(
            at(r#"{"j":"{\"k\":1}"}"#, 0, "/j/k", "type"),
            r#""{\"k\":1}""#
        );
    }

    #[test]
    fn what_is_no_json_ends_without_a_place() {
        for text in [
            "", "{", "[", "{\"", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":[", "}", "{,}", "\\",
        ] {
            assert!(!is_body(text.as_bytes()), "{text}");
            for index in 0..3 {
                if let Some(span) = event(text.as_bytes(), index) {
                    let part = fault(text.as_bytes(), span, "/a/b", "");
                    assert!(part.end <= text.len(), "{text}");
                }
            }
        }
    }
}
