//! A revocation: what it says and what it hits.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::ChangeError;

/// Bytes of what is revoked.
const MAX_VALUE: usize = 512;
/// Bytes of a reason, and of who did it.
const MAX_TEXT: usize = 256;

/// What a revocation is about.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RevocationKind {
    /// A long-lived access key, or one of temporary credentials, by its id.
    AccessKey,
    /// A ticket, by its id.
    Ticket,
    /// A token, by its `jti`.
    Jti,
    /// Temporary credentials, by the name of their session.
    Session,
    /// Whatever a subject (`sub`) holds.
    Subject,
    /// Whatever was given out of a role, by its ARN.
    Role,
    /// Whatever a key of tokens has signed, by its `kid`.
    Kid,
}

impl RevocationKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::AccessKey,
        Self::Ticket,
        Self::Jti,
        Self::Session,
        Self::Subject,
        Self::Role,
        Self::Kid,
    ];

    /// The kind as people and the API write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessKey => "access_key",
            Self::Ticket => "ticket",
            Self::Jti => "jti",
            Self::Session => "session",
            Self::Subject => "subject",
            Self::Role => "role",
            Self::Kid => "kid",
        }
    }
}

impl fmt::Display for RevocationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that is no kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a kind is access_key, ticket, jti, session, subject, role or kid")]
pub struct NoKind;

impl FromStr for RevocationKind {
    type Err = NoKind;

    fn from_str(text: &str) -> Result<Self, NoKind> {
        let text = text.replace('-', "_");
        let mut kinds = Self::ALL.into_iter();
        kinds.find(|kind| kind.name() == text).ok_or(NoKind)
    }
}

/// A revocation. Times are unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revocation {
    /// What it is about.
    pub kind: RevocationKind,
    /// Which one.
    pub value: Box<str>,
    /// Why, for people.
    pub reason: Box<str>,
    /// When it was made.
    pub created: u64,
    /// When it ends; never, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// It hits what was issued until then, that second included; everything, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Who made it.
    pub by: Box<str>,
}

impl Revocation {
    /// Whether it has not ended.
    #[must_use]
    pub fn is_active(&self, now: u64) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// Whether it hits a credential. One that does not say when it was issued is hit.
    #[must_use]
    pub fn hits(&self, issued_at: Option<u64>, now: u64) -> bool {
        let issued_before = match (self.before, issued_at) {
            (Some(before), Some(issued_at)) => issued_at <= before,
            _ => true,
        };
        issued_before && self.is_active(now)
    }

    /// This one and an earlier one of the same as one that hits whatever either hits.
    pub(super) fn widened_by(mut self, earlier: &Self) -> Self {
        let later = |a: Option<u64>, b: Option<u64>| Some(a?.max(b?));
        self.expires = later(self.expires, earlier.expires);
        self.before = later(self.before, earlier.before);
        self
    }

    pub(super) fn check(&self) -> Result<(), ChangeError> {
        let value = &self.value;
        if value.is_empty() || value.len() > MAX_VALUE || value.contains(char::is_control) {
            let why = format!("must be 1 to {MAX_VALUE} bytes without control characters");
            return Err(ChangeError::invalid("value", why));
        }
        check_text("reason", &self.reason)?;
        check_text("by", &self.by)
    }
}

/// Checks a text that only people read.
pub(super) fn check_text(member: &'static str, text: &str) -> Result<(), ChangeError> {
    if text.len() > MAX_TEXT || text.contains(char::is_control) {
        let why = format!("must be at most {MAX_TEXT} bytes without control characters");
        return Err(ChangeError::invalid(member, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revocation(expires: Option<u64>, before: Option<u64>) -> Revocation {
        Revocation {
            kind: RevocationKind::Role,
            value: "r".into(),
            reason: "".into(),
            created: 100,
            expires,
            before,
            by: "test".into(),
        }
    }

    #[test]
    fn before_spares_what_is_issued_later_and_hits_what_does_not_say() {
        let some = revocation(None, Some(100));
        assert!(some.hits(Some(99), 200) && some.hits(Some(100), 200));
        assert!(!some.hits(Some(101), 200));
        assert!(some.hits(None, 200));
        assert!(revocation(None, None).hits(Some(1 << 40), 200));
    }

    #[test]
    fn it_ends_at_its_time() {
        assert!(revocation(Some(200), None).hits(None, 199));
        assert!(!revocation(Some(200), None).hits(None, 200));
    }

    #[test]
    fn a_second_one_never_narrows_the_first() {
        let wide = revocation(None, None);
        let narrow = revocation(Some(200), Some(100));
        assert_eq!(narrow.clone().widened_by(&wide), wide);
        assert_eq!(wide.clone().widened_by(&narrow), wide);
        let later = revocation(Some(300), Some(50));
        assert_eq!(later.widened_by(&narrow), revocation(Some(300), Some(100)));
    }

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in RevocationKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
        }
        assert_eq!("access-key".parse(), Ok(RevocationKind::AccessKey));
        assert!("token".parse::<RevocationKind>().is_err());
    }
}
