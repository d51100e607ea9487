//! What the rule of a guard comes to: the pattern of names, and the memory that its state takes.
//! Both the check of a configuration and the guards themselves ask here.

use regex::bytes::{Regex, RegexBuilder};

use super::{Guards, LimitMode};

/// A compiled pattern, and what it may use while it runs.
const PATTERN_SIZE: usize = 256 << 10;
/// Letters of a pattern.
const LONGEST_PATTERN: usize = 512;

/// Keys of one shard of a [`RecentShape`], on average, where there are several: so many that none
/// gets an eighth more than its part.
const SHARD_KEYS: u64 = 4096;
const MOST_SHARDS: u64 = 256;
/// A key and its mark.
const SLOT_BYTES: u64 = 12;

/// The form of a table that remembers `max` keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentShape {
    /// Parts with a lock of their own, a power of two.
    pub shards: usize,
    /// Slots of each, a power of two.
    pub slots: usize,
}

impl RecentShape {
    /// The form for so many keys: at most four of five slots are used.
    #[must_use]
    pub fn of(max: u32) -> Self {
        let max = u64::from(max).max(1);
        let shards = (max / SHARD_KEYS).clamp(1, MOST_SHARDS);
        let shards = 1 << shards.ilog2();
        let slots = (max.div_ceil(shards) * 5 / 4 + 1).next_power_of_two();
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            shards: size(shards),
            slots: size(slots.max(16)),
        }
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.shards as u64 * self.slots as u64 * SLOT_BYTES
    }
}

impl Guards {
    /// Bytes that the state of these guards takes, whatever comes.
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        if self.mode == LimitMode::Off {
            return 0;
        }
        let values = self.cardinality.iter().map(|rule| rule.max);
        let ids = self.dedup.iter().map(|rule| rule.max_ids);
        values
            .chain(ids)
            .map(|max| RecentShape::of(max).bytes())
            .fold(0, u64::saturating_add)
    }

    /// Whether anything is asked of events.
    #[must_use]
    pub fn is_on(&self) -> bool {
        let nothing = Self {
            mode: self.mode,
            percent: self.percent,
            on_invalid: self.on_invalid,
            line_breaks: self.line_breaks,
            reserved_keys: self.reserved_keys,
            ..Self::default()
        };
        self.mode != LimitMode::Off && *self != nothing
    }
}

/// What names must match, from end to end. Time is linear in the name.
#[derive(Clone, Debug)]
pub struct KeyPattern(Form);

#[derive(Clone, Debug)]
enum Form {
    /// One of these ASCII characters, then any number of those: a bit for each.
    Classes { first: u128, rest: u128 },
    /// Anything else.
    Regex(Box<Regex>),
}

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

impl KeyPattern {
    /// Compiles a pattern. Plain ones (`[a-z_][a-z0-9_]*`, `[a-z_]+`) become tables.
    ///
    /// # Errors
    /// It is no regular expression, or one that takes too much memory.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > LONGEST_PATTERN {
            let message = format!("longer than {LONGEST_PATTERN} bytes");
            return Err(PatternError(message));
        }
        // First alone, so that a message shows what was written.
        compile(text)?;
        if let Some((first, rest)) = classes(text) {
            return Ok(Self(Form::Classes { first, rest }));
        }
        let whole = compile(&format!(r"\A(?:{text})\z"))?;
        Ok(Self(Form::Regex(Box::new(whole))))
    }

    /// Whether a name matches.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        match &self.0 {
            Form::Classes { first, rest } => {
                let is_in = |set: u128, byte: u8| byte < 128 && set >> byte & 1 == 1;
                name.split_first().is_some_and(|(byte, others)| {
                    is_in(*first, *byte) && others.iter().all(|byte| is_in(*rest, *byte))
                })
            }
            Form::Regex(regex) => regex.is_match(name),
        }
    }
}

fn compile(text: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(text)
        .size_limit(PATTERN_SIZE)
        .dfa_size_limit(PATTERN_SIZE)
        .nest_limit(32)
        .build()
        .map_err(|error| PatternError(last_line(&error.to_string())))
}

/// The crate shows the pattern with a caret in several lines, and the reason in the last.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or_default().trim();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// The classes of `[...]+` and `[...][...]*`, with or without anchors.
fn classes(text: &str) -> Option<(u128, u128)> {
    let text = text.strip_prefix('^').unwrap_or(text);
    let text = text.strip_suffix('$').unwrap_or(text);
    let (first, text) = class(text)?;
    if text == "+" {
        return Some((first, first));
    }
    let (rest, text) = class(text)?;
    (text == "*").then_some((first, rest))
}

/// A class of single ASCII characters and ranges, as bits, and what follows it.
fn class(text: &str) -> Option<(u128, &str)> {
    let (inner, after) = text.strip_prefix('[')?.split_once(']')?;
    // What has a meaning of its own is left to the crate.
    let plain = |byte: u8| byte.is_ascii_graphic() && !br"[\&~^".contains(&byte);
    if inner.is_empty() || !inner.bytes().all(plain) || inner.contains("--") {
        return None;
    }
    let bytes = inner.as_bytes();
    let mut set = 0u128;
    let mut at = 0;
    while let Some(&from) = bytes.get(at) {
        let range = bytes.get(at + 1) == Some(&b'-');
        let to = bytes.get(at + 2).copied().filter(|_| range);
        match to {
            Some(to) if from <= to && from != b'-' => {
                set |= (from..=to).fold(0, |set, byte| set | 1 << byte);
                at += 3;
            }
            Some(_) => return None,
            None => {
                set |= 1 << from;
                at += 1;
            }
        }
    }
    Some((set, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_table(text: &str) -> bool {
        matches!(KeyPattern::new(text).unwrap().0, Form::Classes { .. })
    }

    #[test]
    fn plain_patterns_are_tables_and_all_match_whole_names() {
        assert!(is_table("[A-Za-z_][A-Za-z0-9_.-]*"));
        assert!(is_table("^[a-z-]+$"));
        assert!(!is_table(r"[\w]+"));
        assert!(!is_table("[^a]+"));
        assert!(!is_table("[a&&b]+"));
        for text in ["[a-z_]+", "(?:[a-z_])+", "^[a-z_]+$"] {
            let pattern = KeyPattern::new(text).unwrap();
            assert!(pattern.matches(b"event_name"), "{text}");
            for bad in ["", "Event", "a b", "a\n", "é", "x9"] {
                assert!(!pattern.matches(bad.as_bytes()), "{text} {bad:?}");
            }
        }
        let either = KeyPattern::new("a|bc").unwrap();
        assert!(either.matches(b"bc") && !either.matches(b"ac"));
        assert!(
            KeyPattern::new(r"\p{Han}+")
                .unwrap()
                .matches("价格".as_bytes())
        );
    }

    #[test]
    fn patterns_that_cost_too_much_or_look_around_are_errors() {
        for text in ["(", "(?=a)b", r"(a)\1", "(?:a{1000}){1000}", r"\w{400}"] {
            let error = KeyPattern::new(text).unwrap_err().to_string();
            assert!(!error.is_empty() && !error.contains('\n'), "{error}");
        }
        assert!(KeyPattern::new(&"a".repeat(600)).is_err());
    }

    proptest! {
        /// A table and the crate agree on every name.
        #[test]
        fn tables_match_what_the_crate_matches(
            first in "[a-zA-Z0-9_.:-]{1,6}",
            rest in "[a-z-]{1,4}",
            name in "[a-zA-Z0-9_.:é-]{0,8}",
        ) {
            let text = format!("[{first}][{rest}]*");
            let Ok(pattern) = KeyPattern::new(&text) else { return Ok(()) };
            let crates = compile(&format!(r"\A(?:{text})\z")).unwrap();
            prop_assert_eq!(
                pattern.matches(name.as_bytes()),
                crates.is_match(name.as_bytes()),
                "{} {}", text, name
            );
        }
    }

    #[test]
    fn memory_follows_the_bound() {
        for max in [1, 100, 4096, 8192, 100_000, 1_000_000, 4_194_304] {
            let shape = RecentShape::of(max);
            let slots = (shape.shards * shape.slots) as u64;
            assert!(slots * 4 >= u64::from(max) * 5, "{max}: {shape:?}");
            assert!(slots <= 16.max(u64::from(max) * 5), "{max}: {shape:?}");
        }
        assert_eq!(RecentShape::of(100_000).bytes(), 131_072 * 12);
    }
}
