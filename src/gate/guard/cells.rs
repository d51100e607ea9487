//! What is counted for the guards of a logstore.

use crate::telemetry::Counter;

/// A guard, as events break it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Control characters.
    ControlCharacters,
    /// Characters that turn the direction of a text.
    DirectionCharacters,
    /// The pattern of names.
    KeyPattern,
    /// Several fields of one name.
    DuplicateKeys,
    /// Reserved beginnings of names.
    ReservedPrefixes,
    /// Fields that must be there.
    Required,
    /// The window of time.
    Clock,
    /// Distinct values of a field.
    Cardinality,
}

impl Check {
    /// Every guard, in the order of its number.
    pub const ALL: [Self; 8] = [
        Self::ControlCharacters,
        Self::DirectionCharacters,
        Self::KeyPattern,
        Self::DuplicateKeys,
        Self::ReservedPrefixes,
        Self::Required,
        Self::Clock,
        Self::Cardinality,
    ];

    /// The word of [`Violation::keyword`](crate::event::Violation::keyword).
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::ControlCharacters => "guard:control_characters",
            Self::DirectionCharacters => "guard:direction_characters",
            Self::KeyPattern => "guard:key_pattern",
            Self::DuplicateKeys => "guard:duplicate_keys",
            Self::ReservedPrefixes => "guard:reserved_prefixes",
            Self::Required => "guard:required",
            Self::Clock => "guard:clock",
            Self::Cardinality => "guard:cardinality",
        }
    }

    /// The same without `guard:`, for metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        let keyword = self.keyword();
        keyword.split_once(':').map_or(keyword, |(_, label)| label)
    }

    /// The guard of that number.
    #[must_use]
    pub fn of_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The number of [`EventFault::check`](crate::event::EventFault::check).
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }
}

/// Counts of one guard.
#[derive(Debug, Default)]
pub struct CheckCells {
    /// Events that it found bad; each event counts for the first guard that it breaks.
    pub refused: Counter,
    /// Events that it mended.
    pub repaired: Counter,
    /// Events that it would have found bad or mended, were it enforced.
    pub observed: Counter,
}

/// Counts of events that have come before.
#[derive(Debug, Default)]
pub struct DedupCells {
    /// Had come before: to be dropped.
    pub dropped: Counter,
    /// Had come before, and stay, since the guard is observed only.
    pub observed: Counter,
    /// Were under way in another request at that moment.
    pub held: Counter,
    /// Not remembered, since `max_ids` are.
    pub untracked: Counter,
    /// Without the fields that name an event.
    pub unnamed: Counter,
}

/// Counts of the guards of a logstore. They go on over a reload.
#[derive(Debug, Default)]
pub struct GuardCells {
    checks: [CheckCells; Check::ALL.len()],
    /// Requests whose topic, source or tags a guard found bad.
    pub requests: Counter,
    /// Events that have come before.
    pub dedup: DedupCells,
}

impl GuardCells {
    /// The counts of one guard.
    #[must_use]
    pub fn of(&self, check: Check) -> &CheckCells {
        let [
            control,
            direction,
            pattern,
            duplicate,
            reserved,
            required,
            clock,
            cardinality,
        ] = &self.checks;
        match check {
            Check::ControlCharacters => control,
            Check::DirectionCharacters => direction,
            Check::KeyPattern => pattern,
            Check::DuplicateKeys => duplicate,
            Check::ReservedPrefixes => reserved,
            Check::Required => required,
            Check::Clock => clock,
            Check::Cardinality => cardinality,
        }
    }
}

/// Counts of events with values beyond the bound of one field.
#[derive(Debug, Default)]
pub struct ValueCells {
    /// Refused.
    pub refused: Counter,
    /// Whose value was replaced.
    pub replaced: Counter,
    /// Would have been, were it enforced.
    pub observed: Counter,
}
