//! Wildcards: `*` for any characters, `?` for exactly one.
//!
//! Promise: matching takes time linear in the text and allocates nothing, whatever the pattern. It
//! works on characters, not on bytes, and changes no letters: what looks alike is not alike.

use memchr::memmem::Finder;

/// The most characters of a part with `?` between two `*`: one bit of a word for each.
pub(super) const LONGEST_MASKED: usize = 64;

/// A pattern, ready to match.
#[derive(Debug)]
pub(in crate::gate) enum Pattern {
    /// `*`.
    Any,
    /// No wildcard.
    Exact(Box<str>),
    /// One `*`, at the end.
    Prefix(Box<str>),
    /// `?`, and no `*`.
    Whole(Anchor),
    /// Anything else.
    General(Box<General>),
}

/// The parts around each `*`.
#[derive(Debug)]
pub(in crate::gate) struct General {
    first: Anchor,
    middle: Box<[Middle]>,
    last: Anchor,
}

/// A part that stands at one end of the text.
#[derive(Debug)]
pub(in crate::gate) struct Anchor {
    text: Box<str>,
    masked: bool,
}

/// A part that stands anywhere.
#[derive(Debug)]
enum Middle {
    Literal(Box<Finder<'static>>),
    Masked(Masked),
}

/// A part with `?`, searched by one bit for each of its characters (Shift-And).
#[derive(Debug)]
struct Masked {
    /// The places of each character, sorted by character.
    places: Box<[(char, u64)]>,
    /// The places of `?`.
    any: u64,
    /// The last place.
    last: u64,
}

/// Why a text is no pattern: a part with `?` between two `*` is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gate) struct TooLong;

impl Pattern {
    pub(in crate::gate) fn new(text: &str) -> Result<Self, TooLong> {
        let Some((first, rest)) = text.split_once('*') else {
            let anchor = Anchor::new(text);
            return Ok(match anchor.masked {
                true => Self::Whole(anchor),
                false => Self::Exact(anchor.text),
            });
        };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        let (first, last) = (Anchor::new(first), Anchor::new(last));
        let middle = middle
            .split('*')
            .filter(|part| !part.is_empty())
            .map(Middle::new)
            .collect::<Result<Box<[_]>, _>>()?;
        Ok(
            if !middle.is_empty() || !last.text.is_empty() || first.masked {
                Self::General(Box::new(General {
                    first,
                    middle,
                    last,
                }))
            } else if first.text.is_empty() {
                Self::Any
            } else {
                Self::Prefix(first.text)
            },
        )
    }

    pub(in crate::gate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => **exact == *text,
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Whole(anchor) => anchor.strip_from_start(text) == Some(""),
            Self::General(general) => general.matches(text),
        }
    }
}

impl General {
    /// Each part is taken where it first stands: what is left for the next ones is then the most.
    fn matches(&self, text: &str) -> bool {
        let rest = self.first.strip_from_start(text);
        let Some(mut rest) = rest.and_then(|rest| self.last.strip_from_end(rest)) else {
            return false;
        };
        for part in &self.middle {
            match part.rest_after(rest) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        true
    }
}

impl Anchor {
    fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            masked: text.contains('?'),
        }
    }

    fn strip_from_start<'t>(&self, text: &'t str) -> Option<&'t str> {
        if !self.masked {
            return text.strip_prefix(&*self.text);
        }
        let mut chars = text.chars();
        for wanted in self.text.chars() {
            if !stands_for(wanted, chars.next()?) {
                return None;
            }
        }
        Some(chars.as_str())
    }

    fn strip_from_end<'t>(&self, text: &'t str) -> Option<&'t str> {
        if !self.masked {
            return text.strip_suffix(&*self.text);
        }
        let mut chars = text.chars();
        for wanted in self.text.chars().rev() {
            if !stands_for(wanted, chars.next_back()?) {
                return None;
            }
        }
        Some(chars.as_str())
    }
}

fn stands_for(wanted: char, found: char) -> bool {
    wanted == '?' || wanted == found
}

impl Middle {
    fn new(part: &str) -> Result<Self, TooLong> {
        if part.contains('?') {
            Masked::new(part).map(Self::Masked)
        } else {
            Ok(Self::Literal(Box::new(Finder::new(part).into_owned())))
        }
    }

    /// What follows the first place where the part stands.
    fn rest_after<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Literal(finder) => {
                let at = finder.find(text.as_bytes())?;
                text.get(at + finder.needle().len()..)
            }
            Self::Masked(masked) => masked.rest_after(text),
        }
    }
}

impl Masked {
    fn new(part: &str) -> Result<Self, TooLong> {
        if part.chars().count() > LONGEST_MASKED {
            return Err(TooLong);
        }
        let mut places: Vec<(char, u64)> = Vec::new();
        let (mut any, mut last, mut place) = (0, 0, 1);
        for c in part.chars() {
            if c == '?' {
                any |= place;
            } else {
                match places.binary_search_by_key(&c, |(known, _)| *known) {
                    Ok(at) => places
                        .get_mut(at)
                        .into_iter()
                        .for_each(|(_, b)| *b |= place),
                    Err(at) => places.insert(at, (c, place)),
                }
            }
            last = place;
            place <<= 1;
        }
        Ok(Self {
            places: places.into(),
            any,
            last,
        })
    }

    fn rest_after<'t>(&self, text: &'t str) -> Option<&'t str> {
        let mut chars = text.chars();
        let mut begun = 0u64;
        while let Some(c) = chars.next() {
            let at = self.places.binary_search_by_key(&c, |(known, _)| *known);
            let fits = at.ok().and_then(|at| self.places.get(at));
            begun = ((begun << 1) | 1) & (fits.map_or(0, |(_, bits)| *bits) | self.any);
            if begun & self.last != 0 {
                return Some(chars.as_str());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(text)
    }

    #[test]
    fn a_star_is_any_characters_and_a_question_mark_is_one() {
        for (pattern, text) in [
            ("*", ""),
            ("**", "a"),
            ("", ""),
            ("a", "a"),
            ("a*", "a"),
            ("a*", "a/b:c"),
            ("*a", "ba"),
            ("a*a", "aa"),
            ("a*b*c", "abbcbc"),
            ("?", "é"),
            ("??", "日本"),
            ("*?", "x"),
            ("?*", "x"),
            ("a?c*", "abcd"),
            ("*b?d*", "abbcd"),
            ("*?*?*", "日本"),
            (
                "acs:log:*:*:project/p/logstore/l",
                "acs:log:cn:1:project/p/logstore/l",
            ),
            ("acs:log:*:*:project/p/*", "acs:log:::project/p/logstore/l"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("a", "A"),
            ("a*a", "a"),
            ("?", ""),
            ("?", "ab"),
            ("*?", ""),
            ("*??*", "x"),
            ("ab*ba", "aba"),
            ("a*bc*bc", "abc"),
            ("test*", "tes"),
            ("test*", "xtest"),
            ("acs:log:*:*:project/p/*", "acs:log:project/p/x"),
            ("acs:log:*:*:project/p/*", "acs:log:::project/p"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn letters_that_look_alike_are_not_alike() {
        // Kelvin sign, Cyrillic o, full-width a, composed and decomposed é.
        for (pattern, text) in [
            ("k", "\u{212a}"),
            ("log*", "l\u{43e}g1"),
            ("a", "\u{ff41}"),
            ("*\u{e9}*", "e\u{301}"),
            ("?", "e\u{301}"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let text = "a".repeat(1 << 20);
        let stars = "*a".repeat(500) + "*b";
        assert!(!matches(&stars, &text));
        let masked = format!("*{}?b*c", "a".repeat(62));
        assert!(!matches(&masked, &text));
    }

    #[test]
    fn a_part_with_question_marks_between_stars_has_at_most_64_characters() {
        let most = "é".repeat(63);
        assert!(matches(&format!("*{most}?*"), &format!("x{most}yz")));
        let pattern = Pattern::new(&format!("*{most}a?*"));
        assert_eq!(pattern.unwrap_err(), TooLong);
        assert!(Pattern::new(&format!("{most}ab?*")).is_ok());
    }

    /// What the rules say, tried in every way.
    fn slowly(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=text.len()).any(|n| slowly(rest, &text[n..])),
            (['?', rest @ ..], [_, after @ ..]) => slowly(rest, after),
            ([p, rest @ ..], [t, after @ ..]) if p == t => slowly(rest, after),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_pattern_matches_what_the_slow_one_matches(pattern in "[ab日*?]{0,8}", text in "[ab日]{0,9}") {
            let [p, t] = [&pattern, &text].map(|s| s.chars().collect::<Vec<_>>());
            prop_assert_eq!(matches(&pattern, &text), slowly(&p, &t), "{} {}", pattern, text);
        }
    }
}
