//! Characters that should not be in a text: controls, and those that turn its direction.

/// Which characters are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// U+0000 to U+001F and U+007F to U+009F.
    pub(super) controls: bool,
    /// Of these, tab, line feed and carriage return are no controls.
    pub(super) line_breaks: bool,
    /// Characters that turn the direction.
    pub(super) directions: bool,
}

/// A class of characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Letter {
    Control,
    Direction,
}

impl Wanted {
    /// The same for a name: line breaks are controls there.
    pub(super) fn in_name(self, is_name: bool) -> Self {
        Self {
            line_breaks: self.line_breaks && !is_name,
            ..self
        }
    }

    /// What a character is, if it is looked for.
    fn class(self, letter: char) -> Option<Letter> {
        match letter {
            '\t' | '\n' | '\r' if self.line_breaks => None,
            letter if letter.is_control() => self.controls.then_some(Letter::Control),
            '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => self.directions.then_some(Letter::Direction),
            _ => None,
        }
    }

    /// The first character that is looked for.
    pub(super) fn find(self, text: &[u8]) -> Option<(Letter, char)> {
        if !(self.controls || self.directions) || !may_have(text) {
            return None;
        }
        each_char(text).find_map(|letter| Some((self.class(letter)?, letter)))
    }

    /// Appends the text, with a question mark for each that is looked for. It never gets longer.
    pub(super) fn replace(self, text: &[u8], out: &mut Vec<u8>) {
        for part in text.utf8_chunks() {
            for letter in part.valid().chars() {
                match self.class(letter) {
                    Some(_) => out.push(b'?'),
                    None => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            }
            out.extend_from_slice(part.invalid());
        }
    }
}

/// The characters of a text that is UTF-8.
fn each_char(text: &[u8]) -> impl Iterator<Item = char> {
    text.utf8_chunks().flat_map(|part| part.valid().chars())
}

/// Whether a byte is there that such a character begins with. Most texts have none, and this is
/// the whole cost of them; in blocks, so that the compiler makes vectors of it.
fn may_have(text: &[u8]) -> bool {
    let begins = |byte: u8| byte < 0x20 || matches!(byte, 0x7f | 0xc2 | 0xd8 | 0xe2);
    let some = |part: &[u8]| part.iter().fold(false, |any, byte| any | begins(*byte));
    let (blocks, rest) = text.as_chunks::<32>();
    blocks.iter().any(|block| some(block)) || some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Wanted = Wanted {
        controls: true,
        line_breaks: false,
        directions: true,
    };

    fn replaced(wanted: Wanted, text: &str) -> String {
        let mut out = Vec::new();
        wanted.replace(text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_control_and_every_turn_is_found_and_nothing_else() {
        for letter in '\0'..=char::MAX {
            let text = format!("a{letter}");
            let control = letter.is_control();
            let turn = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}".contains(letter);
            let found = ALL.find(text.as_bytes());
            let wanted = match (control, turn) {
                (true, _) => Some((Letter::Control, letter)),
                (_, true) => Some((Letter::Direction, letter)),
                _ => None,
            };
            assert_eq!(found, wanted, "{:x}", u32::from(letter));
        }
    }

    #[test]
    fn line_breaks_are_a_choice() {
        let wanted = Wanted {
            line_breaks: true,
            ..ALL
        };
        assert_eq!(wanted.find(b"a\tb\r\n"), None);
        assert_eq!(replaced(wanted, "a\nb\0c\u{9b}d\u{202e}价"), "a\nb?c?d?价");
        assert_eq!(replaced(ALL, "a\nb"), "a?b");
        let none = Wanted {
            controls: false,
            line_breaks: true,
            directions: false,
        };
        assert_eq!(none.find("\0\u{202e}".as_bytes()), None);
    }

    proptest! {
        #[test]
        fn what_is_replaced_has_none_and_is_no_longer(text in "(?s)(.|[\0-\u{9f}]|\u{202e}){0,60}") {
            let after = replaced(ALL, &text);
            prop_assert_eq!(ALL.find(after.as_bytes()), None);
            prop_assert!(after.len() <= text.len());
            prop_assert_eq!(after.chars().count(), text.chars().count());
            prop_assert_eq!(ALL.find(text.as_bytes()).is_none(), after == text);
        }
    }
}
