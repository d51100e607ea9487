//! What the rule of a limit comes to: the parts of its key, when it can be asked, and the memory
//! that its state takes. Both the check of a configuration and the limits themselves ask here.

use http::HeaderName;

use super::{Limit, LimitUnit};

/// A part of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The client's address, cut to a prefix.
    Address,
    /// The name of the credential.
    Credential,
    /// The subject of the credential.
    Subject,
    /// A claim of a token.
    Claim(Box<str>),
    /// A header, such as a device fingerprint.
    Header(HeaderName),
    /// A trusted cookie.
    Cookie(Box<str>),
    /// The Origin of the page.
    Origin,
    /// The project.
    Project,
    /// The logstore.
    Logstore,
    /// The topic of the events.
    Topic,
    /// A field of the event.
    Event(Box<str>),
}

/// Why a part could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no part of a key; there are address, credential, subject, claim:NAME, header:NAME, cookie:NAME, origin, project, logstore, topic and event:FIELD"
)]
pub struct PartError(String);

impl std::str::FromStr for Part {
    type Err = PartError;

    fn from_str(text: &str) -> Result<Self, PartError> {
        let bad = || PartError(text.to_owned());
        let named = |name: &str| {
            let good = !name.is_empty() && name.len() <= 128;
            good.then(|| Box::from(name)).ok_or_else(bad)
        };
        Ok(match text.split_once(':') {
            None => match text {
                "address" => Self::Address,
                "credential" => Self::Credential,
                "subject" => Self::Subject,
                "origin" => Self::Origin,
                "project" => Self::Project,
                "logstore" => Self::Logstore,
                "topic" => Self::Topic,
                _ => return Err(bad()),
            },
            Some(("claim", name)) => Self::Claim(named(name)?),
            Some(("header", name)) => Self::Header(name.parse().map_err(|_| bad())?),
            Some(("cookie", name)) => Self::Cookie(named(name)?),
            Some(("event", name)) => Self::Event(named(name)?),
            Some(_) => return Err(bad()),
        })
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address => f.write_str("address"),
            Self::Credential => f.write_str("credential"),
            Self::Subject => f.write_str("subject"),
            Self::Claim(name) => write!(f, "claim:{name}"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Origin => f.write_str("origin"),
            Self::Project => f.write_str("project"),
            Self::Logstore => f.write_str("logstore"),
            Self::Topic => f.write_str("topic"),
            Self::Event(name) => write!(f, "event:{name}"),
        }
    }
}

/// How much of a request has to be known before a limit can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The address alone.
    Door,
    /// Project and logstore.
    Head,
    /// Who sends it.
    Caller,
    /// The events.
    Events,
}

impl Part {
    /// Whether the client says what it is, and may say something else each time.
    #[must_use]
    pub fn is_chosen_by_clients(&self) -> bool {
        match self {
            Self::Header(_) | Self::Cookie(_) | Self::Origin | Self::Topic | Self::Event(_) => true,
            Self::Address
            | Self::Credential
            | Self::Subject
            | Self::Claim(_)
            | Self::Project
            | Self::Logstore => false,
        }
    }

    /// From when on it is known.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self {
            Self::Address => Stage::Door,
            Self::Project | Self::Logstore => Stage::Head,
            Self::Credential
            | Self::Subject
            | Self::Claim(_)
            | Self::Header(_)
            | Self::Cookie(_)
            | Self::Origin => Stage::Caller,
            Self::Topic | Self::Event(_) => Stage::Events,
        }
    }
}

/// Places of a set of a table. A table has a power of two of sets.
pub const TABLE_WAYS: usize = 8;
/// Places of the table of parents, as a part of those of the keys.
const PARENTS_PER_KEY: u32 = 4;
const FEWEST_PARENTS: u32 = 64;
/// Words of the lease of a key, for a shared limit.
pub const WORDS_OF_LEASE: usize = 9;
/// What is kept beside a table: the keys that send the most, and those that have no place in it.
const BESIDE_TABLE: u64 = 48 << 10;

/// Places of a table that is to hold so many keys.
#[must_use]
pub fn table_places(keys: u32) -> usize {
    (keys as usize).div_ceil(TABLE_WAYS).next_power_of_two() * TABLE_WAYS
}

/// Bytes of a table of so many keys with so many words each, and of what stands beside it.
#[must_use]
pub fn table_bytes(keys: u32, words: usize) -> u64 {
    (table_places(keys) * (words + 1) * size_of::<u64>()) as u64 + BESIDE_TABLE
}

impl Limit {
    /// From when on everything is known that it has to know.
    ///
    /// # Errors
    /// A part of its key, or of its parent's, that does not exist.
    pub fn stage(&self) -> Result<Stage, PartError> {
        let unscoped = self.projects.is_empty() && self.logstores.is_empty();
        let looks_at_events = self.unit != LimitUnit::Requests
            || !self.classes.is_empty()
            || !self.reserve.is_empty();
        let stage = match stage_of(&self.key)? {
            _ if looks_at_events => Stage::Events,
            Stage::Door if !unscoped => Stage::Head,
            stage => stage,
        };
        let parent = match &self.parent {
            Some(parent) => stage_of(&parent.key)?,
            None => Stage::Door,
        };
        Ok(stage.max(parent))
    }

    /// Whether its new keys have a parent of their own, without one being named: keys of which there
    /// are as many as the configuration has projects and logstores need none.
    #[must_use]
    pub fn has_parent(&self) -> bool {
        let configured = |part: &String| part == "project" || part == "logstore";
        !self.key.iter().all(configured)
    }

    /// Places for its parents.
    #[must_use]
    pub fn parent_keys(&self) -> u32 {
        (self.max_keys / PARENTS_PER_KEY).max(FEWEST_PARENTS)
    }

    /// Bytes that its state takes.
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        let windows = self.rates.len() + self.budgets.len();
        let words = if self.reserve.is_empty() {
            windows
        } else {
            2 * windows
        };
        // Each key has a word for when it is no longer new.
        let rates_above = match &self.parent {
            Some(parent) => parent.rates.len(),
            None if self.has_parent() => self.rates.len(),
            None => 0,
        };
        let above = match rates_above {
            0 => 0,
            rates => table_bytes(self.parent_keys(), rates + 1),
        };
        let leases = if self.shared {
            table_bytes(self.max_keys, WORDS_OF_LEASE)
        } else {
            0
        };
        table_bytes(self.max_keys, words + 1) + above + leases
    }
}

/// From when on all parts of a key are known.
///
/// # Errors
/// A part that does not exist.
pub fn stage_of(key: &[String]) -> Result<Stage, PartError> {
    let mut latest = Stage::Door;
    for part in key {
        latest = latest.max(part.parse::<Part>()?.stage());
    }
    Ok(latest)
}
