//! Texts inside JSON that is kept as it was written: they may be escaped, and so hide what they say.
//!
//! Promise: what is no JSON, or only nearly, is read as far as it goes, and the rest is left as it is.
//! Linear in the text for each level of JSON inside texts of JSON, of which there are [`MAX_LEVELS`].

/// Levels of JSON inside texts of JSON that are opened.
const MAX_LEVELS: usize = 4;

/// Whether a text may be an object or array with escaped texts.
pub(super) fn has_escapes(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && text.contains('\\')
}

/// Shows each text that is escaped to `rewrite`, as it reads, and puts what comes back in its place.
/// `None`: nothing came back.
pub(super) fn rewrite(
    text: &str,
    rewrite: &mut dyn FnMut(&str) -> Option<String>,
) -> Option<String> {
    rewrite_level(text, MAX_LEVELS, rewrite)
}

fn rewrite_level(
    text: &str,
    levels: usize,
    rewrite: &mut dyn FnMut(&str) -> Option<String>,
) -> Option<String> {
    let levels = levels.checked_sub(1).filter(|_| has_escapes(text))?;
    let mut out = String::new();
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
        let read = unescaped(inner);
        let deeper = rewrite_level(&read, levels, rewrite);
        let shown = rewrite(deeper.as_deref().unwrap_or(&read)).or(deeper);
        if let Some(shown) = shown {
            out.push_str(text.get(written..open).unwrap_or_default());
            // A text can always be written.
            out.push_str(&serde_json::to_string(&shown).unwrap_or_default());
            written = at;
        }
    }
    if written == 0 {
        return None;
    }
    out.push_str(text.get(written..).unwrap_or_default());
    Some(out)
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

/// A text as it reads. An escape that is none stands for its letter, half a character for `\u{fffd}`.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut letters = after.chars();
        let letter = letters.next().unwrap_or('\\');
        rest = letters.as_str();
        match letter {
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'u' => {
                let Some((unit, after)) = unit_of(rest) else {
                    out.push('u');
                    continue;
                };
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
            other => out.push(other),
        }
    }
    out.push_str(rest);
    out
}

/// Four hexadecimal digits, and what follows them.
fn unit_of(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let unit = u16::from_str_radix(digits, 16).ok().filter(|_| plain)?;
    Some((unit, rest))
}
