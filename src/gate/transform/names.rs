//! Sets of field names, by name and by pattern.

use crate::foundation::names::{is_label, is_reserved_field};
use crate::gate::policy::pattern::Pattern;

/// A set of names.
#[derive(Debug)]
pub(super) struct NameSet {
    exact: Box<[Box<[u8]>]>,
    patterns: Box<[Glob]>,
    all: bool,
}

#[derive(Debug)]
struct Glob {
    pattern: Pattern,
    /// Whether it means names that only the store and the edge write, too.
    reserved: bool,
}

impl NameSet {
    /// These names and patterns. `None`: one of the patterns is too long.
    pub(super) fn new(texts: &[String]) -> Option<Self> {
        let (mut exact, mut patterns) = (Vec::<Box<[u8]>>::new(), Vec::new());
        for text in texts {
            if text.contains(['*', '?']) {
                patterns.push(Glob {
                    pattern: Pattern::new(text).ok()?,
                    reserved: text.starts_with("__"),
                });
            } else {
                exact.push(text.as_bytes().into());
            }
        }
        exact.sort_unstable();
        exact.dedup();
        Some(Self {
            exact: exact.into(),
            patterns: patterns.into(),
            all: false,
        })
    }

    /// These names, none of which is a pattern.
    pub(super) fn exactly(names: &[String]) -> Self {
        let mut exact: Vec<Box<[u8]>> = names.iter().map(|name| name.as_bytes().into()).collect();
        exact.sort_unstable();
        Self {
            exact: exact.into(),
            patterns: Box::default(),
            all: false,
        }
    }

    /// Every name that is not reserved.
    pub(super) fn all() -> Self {
        Self {
            exact: Box::default(),
            patterns: Box::default(),
            all: true,
        }
    }

    /// Whether the name of a topic, source or tag is in it.
    pub(super) fn has_label(&self, name: &[u8]) -> bool {
        self.all || self.has(name)
    }

    /// Whether it may have the name of a topic, source or tag.
    pub(super) fn has_labels(&self) -> bool {
        self.all
            || self.exact.iter().any(|name| is_label(name))
            || self.patterns.iter().any(|glob| glob.reserved)
    }

    /// Whether a name is in it.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        if self.all {
            return !is_reserved_field(name);
        }
        if self.exact.binary_search_by(|one| (**one).cmp(name)).is_ok() {
            return true;
        }
        if self.patterns.is_empty() {
            return false;
        }
        let reserved = is_reserved_field(name);
        let Ok(name) = std::str::from_utf8(name) else {
            return false;
        };
        let mut patterns = self.patterns.iter();
        patterns.any(|glob| (glob.reserved || !reserved) && glob.pattern.matches(name))
    }
}
