//! What a credential that we gave out was given for: it may not survive that.
//!
//! An origin stands in every security token, sealed, and in the token of every session, signed. At
//! each use it is asked whether the origin still counts (`authenticator`).

use serde::{Deserialize, Serialize};

use super::jwt::Bearer;
use crate::event::{Reason, Refusal};

/// The claim of a session's token that tells its origin, as JSON in a text.
pub(super) const ORIGIN_CLAIM: &str = "tollgate_origin";
/// How the `jti` of a session's token begins. Only such tokens are asked for their origin, so that
/// others are not read for it at each use.
pub(super) const SESSION_ID: &str = "tollgate-session.";
/// The longest origin, as JSON, in bytes. A security token has room for it.
const MAX_ORIGIN: usize = 1024;

/// What a credential was given for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Origin {
    /// A call that an access key has signed.
    AccessKey {
        /// Its id.
        id: String,
    },
    /// A token.
    Token {
        /// The `kid` of `[[identity.jwt]]`.
        key: String,
        /// The name of the key that verified it.
        kid: String,
        /// `jti`.
        jti: Option<String>,
        /// `sub`.
        subject: Option<String>,
        /// `iat`, unix seconds.
        issued_at: Option<u64>,
        /// When it is a session's: what that was opened with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opened_with: Option<Box<Self>>,
    },
    /// A ticket.
    Ticket {
        /// Its id.
        id: String,
        /// When it was made, unix seconds.
        issued_at: u64,
    },
    /// None: whoever asks gets one.
    Nobody,
}

/// Whose account a token has proven, to whoever remembers that longer than the token was at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenAccount {
    /// The subject of the token.
    pub subject: String,
    /// When the token ends by itself, unix seconds.
    pub ends: u64,
    /// The token, by its names.
    pub(super) origin: Origin,
}

impl Origin {
    /// That of what is given for a token.
    ///
    /// # Errors
    /// As [`Origin::of_session`].
    pub(super) fn of_bearer(bearer: &Bearer) -> Result<Self, Refusal> {
        Ok(Self::Token {
            key: bearer.key_name().to_owned(),
            kid: bearer.kid().to_owned(),
            jti: bearer.id().map(str::to_owned),
            subject: bearer.subject().map(str::to_owned),
            issued_at: bearer.issued_at(),
            opened_with: Self::of_session(bearer)?.map(Box::new),
        })
    }

    /// Whether it is a session.
    pub(super) fn is_session(&self) -> bool {
        matches!(
            self,
            Self::Token {
                opened_with: Some(_),
                ..
            }
        )
    }

    /// It as text; `None` when that is too long to be carried along.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let text = serde_json::to_string(self).ok()?;
        (text.len() <= MAX_ORIGIN).then_some(text)
    }

    /// It from its text.
    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// That of a session's token; `None` for a token that is no session's.
    ///
    /// # Errors
    /// [`Reason::TokenClaims`] when it cannot be read: another version of this program may have
    /// written it, and what it asks for is not known here.
    pub(super) fn of_session(bearer: &Bearer) -> Result<Option<Self>, Refusal> {
        if !bearer.id().is_some_and(|id| id.starts_with(SESSION_ID)) {
            return Ok(None);
        }
        let Some(text) = bearer.claim(ORIGIN_CLAIM) else {
            return Ok(None);
        };
        let unreadable = || Refusal::new(Reason::TokenClaims, ORIGIN_CLAIM);
        Self::read(&text).map(Some).ok_or_else(unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_reads_as_it_was_written_and_has_a_bound() {
        let token = |subject: &str| Origin::Token {
            key: "quickstart".to_owned(),
            kid: "2026".to_owned(),
            jti: None,
            subject: Some(subject.to_owned()),
            issued_at: Some(7),
            opened_with: None,
        };
        let ticket = Origin::Ticket {
            id: "t".to_owned(),
            issued_at: 7,
        };
        let key = Origin::AccessKey {
            id: "server-1".to_owned(),
        };
        for origin in [token("é\"\\"), ticket, key, Origin::Nobody] {
            assert_eq!(Origin::read(&origin.text().unwrap()), Some(origin));
        }
        assert!(token(&"a".repeat(900)).text().is_some());
        assert!(token(&"a".repeat(1024)).text().is_none());
        // A limit that is not known here is not passed over.
        assert_eq!(Origin::read(r#"{"access_key":{"id":"a","until":7}}"#), None);
    }
}
