//! Mail addresses: a local part, a sign, and a domain with at least two labels.

use super::Find;

/// Finds the local part of each address.
pub(super) fn find_all(text: &str, finds: &mut Vec<Find>) {
    let mut from = 0;
    while let Some((at, length)) = next_sign(text, from) {
        let before = text.get(from..at).unwrap_or_default();
        let local: usize = before
            .chars()
            .rev()
            .take_while(|c| is_local(*c))
            .map(char::len_utf8)
            .sum();
        let after = text.get(at + length..).unwrap_or_default();
        if local > 0 && starts_with_domain(after) {
            finds.push(Find {
                start: at - local,
                end: at,
            });
        }
        from = at + length;
    }
}

/// Where the next sign stands, and its length: `@`, the full-width and the small one, and `%40` as it
/// stands in URLs.
fn next_sign(text: &str, from: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut at = from;
    while let Some(rest) = bytes.get(at..) {
        // 0xef begins the other two signs, as much else.
        let found = at + memchr::memchr3(b'@', b'%', 0xef, rest)?;
        let sign = bytes.get(found..).unwrap_or_default();
        for form in ["@", "%40", "\u{ff20}", "\u{fe6b}"] {
            if sign.starts_with(form.as_bytes()) {
                return Some((found, form.len()));
            }
        }
        at = found + 1;
    }
    None
}

/// RFC 5322 allows more, such as `=` and `&`, which in a URL end what stands before them.
fn is_local(character: char) -> bool {
    let narrow = narrow(character);
    narrow.is_ascii_alphanumeric() || "._%+-~'".contains(narrow)
}

/// The ASCII character of a full-width one.
fn narrow(character: char) -> char {
    match character {
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(character) - 0xff01 + 0x21).unwrap_or(character)
        }
        '\u{3002}' | '\u{ff61}' => '.',
        other => other,
    }
}

/// Whether a text begins with two labels and a dot between them.
fn starts_with_domain(text: &str) -> bool {
    let mut label = 0;
    // A name has 253 characters at most.
    for character in text.chars().take(254) {
        match narrow(character) {
            '.' if label > 0 => {
                let rest = text.split_once(character).map_or("", |(_, rest)| rest);
                return rest.chars().next().is_some_and(char::is_alphanumeric);
            }
            '-' if label > 0 => label += 1,
            c if c.is_alphanumeric() => label += 1,
            _ => return false,
        }
    }
    false
}
