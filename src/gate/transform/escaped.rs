//! Texts inside JSON that is kept as it was written: they may be escaped, and so hide what they say.
//!
//! Promise: what is no JSON, or only nearly, is read as far as it goes, and the rest is left as it is.
//! Linear in the text for each level of JSON inside texts of JSON, of which there are [`MAX_LEVELS`].

use std::ops::Range;

/// Levels of JSON inside texts of JSON that are opened.
const MAX_LEVELS: usize = 4;

/// Whether a text may be an object or array with escaped texts.
pub(super) fn has_escapes(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && text.contains('\\')
}

/// Where a text stands that is escaped: what was found in it was found as it reads.
pub(super) type Apart = [Range<usize>];

/// Whether a piece of a text lies within one that is escaped.
pub(super) fn is_apart(apart: &Apart, start: usize, end: usize) -> bool {
    let place = apart.partition_point(|it| it.end < end);
    apart.get(place).is_some_and(|it| it.start <= start)
}

/// Shows each text that is escaped to `rewrite`, as it reads, and puts what comes back in its place; and
/// then the whole, in which the escaped ones are to be left alone: a letter of an escape is none of
/// theirs. `None`: nothing came back.
pub(super) fn rewrite(
    text: &str,
    rewrite: &mut dyn FnMut(&str, &Apart) -> Option<String>,
) -> Option<String> {
    rewrite_level(text, MAX_LEVELS, rewrite)
}

fn rewrite_level(
    text: &str,
    levels: usize,
    rewrite: &mut dyn FnMut(&str, &Apart) -> Option<String>,
) -> Option<String> {
    let opened = levels.checked_sub(1).filter(|_| has_escapes(text));
    let Some(levels) = opened else {
        return rewrite(text, &[]);
    };
    let mut out = String::new();
    let mut apart = Vec::new();
    let mut changed = false;
    let (mut written, mut at) = (0, 0);
    while let Some(open) = find(text, at, b'"') {
        let Some(close) = end_of(text, open + 1) else {
            break;
        };
        at = close + 1;
        let inner = text.get(open + 1..close).unwrap_or_default();
        if !inner.contains('\\') {
            continue;
        }
        let Some(read) = unescaped(inner) else {
            continue;
        };
        out.push_str(text.get(written..open).unwrap_or_default());
        written = at;
        let start = out.len();
        if let Some(shown) = rewrite_level(&read, levels, rewrite) {
            changed = true;
            // A text can always be written.
            out.push_str(&serde_json::to_string(&shown).unwrap_or_default());
        } else {
            out.push_str(text.get(open..at).unwrap_or_default());
        }
        apart.push(start..out.len());
    }
    out.push_str(text.get(written..).unwrap_or_default());
    rewrite(&out, &apart).or(changed.then_some(out))
}

fn find(text: &str, from: usize, byte: u8) -> Option<usize> {
    let rest = text.as_bytes().get(from..)?;
    memchr::memchr(byte, rest).map(|place| from + place)
}

/// Where the text ends that begins at a place: at its closing quote.
fn end_of(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = from;
    loop {
        let place = at + memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(place) == Some(&b'"') {
            return Some(place);
        }
        at = place + 2;
    }
}

/// A text as it reads; half a character stands for `\u{fffd}`. `None`: an escape is none, so this is no JSON.
fn unescaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut letters = after.chars();
        let letter = letters.next()?;
        rest = letters.as_str();
        match letter {
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'u' => {
                let (unit, after) = unit_of(rest)?;
                rest = after;
                let low = after.strip_prefix("\\u").and_then(unit_of);
                let pair = low.and_then(|(low, after)| {
                    let mut both = char::decode_utf16([unit, low]);
                    let whole = both.next()?.ok()?;
                    both.next().is_none().then_some((whole, after))
                });
                if let Some((whole, after)) = pair {
                    out.push(whole);
                    rest = after;
                } else {
                    let alone = char::from_u32(u32::from(unit));
                    out.push(alone.unwrap_or(char::REPLACEMENT_CHARACTER));
                }
            }
            '"' | '\\' | '/' => out.push(letter),
            _ => return None,
        }
    }
    out.push_str(rest);
    Some(out)
}

/// Four hexadecimal digits, and what follows them.
fn unit_of(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let unit = u16::from_str_radix(digits, 16).ok().filter(|_| plain)?;
    Some((unit, rest))
}
