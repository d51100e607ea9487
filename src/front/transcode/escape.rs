//! Escapes in JSON strings (RFC 8259, section 7).

use memchr::memchr;

/// Appends the decoded form of the inside of a string whose escapes have been checked.
///
/// Half of a surrogate pair, which UTF-8 cannot hold, becomes U+FFFD.
pub(super) fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some((plain, escape)) = memchr(b'\\', rest).and_then(|at| rest.split_at_checked(at)) {
        out.extend_from_slice(plain);
        rest = match escape {
            [_, b'u', digits @ ..] => unicode(digits, out),
            [_, letter, after @ ..] => {
                out.push(match letter {
                    b'b' => 0x08,
                    b'f' => 0x0c,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    itself => *itself,
                });
                after
            }
            _ => &[],
        };
    }
    out.extend_from_slice(rest);
}

/// Decodes one `\u` escape, or two that make a pair, and returns what follows.
fn unicode<'a>(digits: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let Some((unit, after)) = code_unit(digits) else {
        return &[];
    };
    let (character, after) = match (unit, after) {
        (0xd800..=0xdbff, [b'\\', b'u', second @ ..]) => match code_unit(second) {
            Some((low @ 0xdc00..=0xdfff, after)) => {
                let pair = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                (char::from_u32(pair), after)
            }
            _ => (None, after),
        },
        _ => (char::from_u32(unit), after),
    };
    let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    after
}

/// The value of four hexadecimal digits, and what follows them.
pub(super) fn code_unit(digits: &[u8]) -> Option<(u32, &[u8])> {
    let (four, after) = digits.split_first_chunk::<4>()?;
    let value = four.iter().try_fold(0, |value, &digit| {
        Some(value << 4 | char::from(digit).to_digit(16)?)
    })?;
    Some((value, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(raw: &str) -> String {
        let mut out = Vec::new();
        unescape(raw.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_escape_is_decoded() {
        assert_eq!(
            decoded(r#"a\"\\\/\b\f\n\r\tz\u0041\u00e9\u4e2d"#),
            "a\"\\/\u{8}\u{c}\n\r\tzAé中"
        );
        assert_eq!(decoded(r"\ud83d\ude00!"), "😀!");
        assert_eq!(decoded(r"\u0000"), "\0");
    }

    #[test]
    fn half_of_a_surrogate_pair_becomes_the_replacement_character() {
        assert_eq!(decoded(r"\ud800"), "\u{fffd}");
        assert_eq!(decoded(r"\udc00x"), "\u{fffd}x");
        assert_eq!(decoded(r"\ud800\u0041"), "\u{fffd}A");
        assert_eq!(decoded(r"\ud800\n"), "\u{fffd}\n");
        assert_eq!(decoded(r"\ud800\ud83d\ude00"), "\u{fffd}😀");
        assert_eq!(decoded(r"\udc00\ud800"), "\u{fffd}\u{fffd}");
    }
}
