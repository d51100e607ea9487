//! What is refused first when something is short.

/// What is refused first when something is short: low, then normal, then high.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Refused first.
    Low,
    /// Refused before high.
    #[default]
    Normal,
    /// Refused last.
    High,
}
