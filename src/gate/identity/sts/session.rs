//! Temporary credentials in use: tokens that came with requests, opened and kept for a while.
//!
//! Promise: a token counts only with its own key id and until it ends. What is kept is found by the
//! whole token, and only tokens whose bearer could sign with the secret inside are put there, so
//! nobody washes it out with others. At the bound: the least used is opened anew next time.

use std::fmt;
use std::sync::{Arc, OnceLock};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::ring::KeyRing;
use super::seal::{self, Grant, MAX_TOKEN};
use crate::gate::identity::access_keys::{AccessKeys, LongLivedKey, TEMPORARY};
use crate::logstore::signature::{SigningSecret, VerifyError};

/// Memory of the sessions that are kept, in bytes, about.
const MAX_KEPT: u64 = 16 << 20;
/// How many sessions that is, about.
const USUAL_KEPT: usize = 16_384;

/// A token, opened. `P` is the compiled form of its session policy.
pub struct Session<P> {
    grant: Grant,
    policy: OnceLock<P>,
}

impl<P> fmt::Debug for Session<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Session");
        shown.field("grant", &self.grant).finish_non_exhaustive()
    }
}

impl<P> Session<P> {
    /// One whose token is taken as given.
    pub(in crate::gate::identity) fn presumed(grant: Grant) -> Self {
        Self {
            grant,
            policy: OnceLock::new(),
        }
    }

    /// What the credentials are and may do.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The session policy, compiled at its first use; `None` when the caller gave none.
    pub fn policy(&self, compile: impl FnOnce(&str) -> P) -> Option<&P> {
        let text = self.grant.policy.as_deref()?;
        Some(self.policy.get_or_init(|| compile(text)))
    }
}

impl<P> SigningSecret for Session<P> {
    fn secret(&self) -> &[u8] {
        self.grant.secret.expose()
    }
}

/// Who signed a request.
#[derive(Debug)]
pub enum SignedBy<P> {
    /// A long-lived key.
    LongLived(Arc<LongLivedKey>),
    /// Temporary credentials of ours.
    Temporary(Arc<Session<P>>),
}

impl<P> SigningSecret for SignedBy<P> {
    fn secret(&self) -> &[u8] {
        match self {
            Self::LongLived(key) => key.secret(),
            Self::Temporary(session) => session.secret(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Weight;

impl<P> Weighter<Box<[u8]>, Arc<Session<P>>> for Weight {
    fn weight(&self, token: &Box<[u8]>, _: &Arc<Session<P>>) -> u64 {
        // The token, about as much again for what is in it, and what holds the two.
        2 * token.len() as u64 + 512
    }
}

/// Opens tokens, and keeps those that were proven.
pub struct Sessions<P> {
    ring: Arc<KeyRing>,
    kept: Cache<Box<[u8]>, Arc<Session<P>>, Weight>,
}

impl<P> fmt::Debug for Sessions<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Sessions");
        shown.field("ring", &self.ring).finish_non_exhaustive()
    }
}

impl<P> Sessions<P> {
    /// Sessions of tokens that `ring` opens.
    #[must_use]
    pub fn new(ring: Arc<KeyRing>) -> Self {
        Self::holding(ring, MAX_KEPT)
    }

    fn holding(ring: Arc<KeyRing>, bytes: u64) -> Self {
        Self {
            ring,
            kept: Cache::with_weighter(USUAL_KEPT, bytes, Weight),
        }
    }

    /// Finds what a signed request should be signed with, for
    /// [`verify_head`](crate::logstore::signature::verify_head). An empty token counts as none.
    ///
    /// # Errors
    /// The errors of [`Sessions::open`] and [`AccessKeys::find`];
    /// [`VerifyError::SecurityTokenMissing`] for a temporary id without a token.
    pub fn find(
        &self,
        keys: &AccessKeys,
        key_id: &str,
        token: Option<&[u8]>,
        unix_seconds: u64,
    ) -> Result<SignedBy<P>, VerifyError> {
        match token.filter(|token| !token.is_empty()) {
            Some(token) => {
                let session = self.open(token, key_id, unix_seconds)?;
                Ok(SignedBy::Temporary(session))
            }
            None if key_id.starts_with(TEMPORARY) => Err(VerifyError::SecurityTokenMissing),
            None => keys.find(key_id).cloned().map(SignedBy::LongLived),
        }
    }

    /// Opens a token that came with the key id `key_id`.
    ///
    /// # Errors
    /// [`VerifyError::SecurityToken`] when it is none of ours, was changed, or is of another id;
    /// [`VerifyError::SecurityTokenExpired`] when it has ended.
    pub fn open(
        &self,
        token: &[u8],
        key_id: &str,
        unix_seconds: u64,
    ) -> Result<Arc<Session<P>>, VerifyError> {
        if token.len() > MAX_TOKEN {
            return Err(VerifyError::SecurityToken);
        }
        let session = match self.kept.get(token) {
            Some(session) => session,
            None => Arc::new(Session {
                grant: Grant::open(token, &self.ring).map_err(|_| VerifyError::SecurityToken)?,
                policy: OnceLock::new(),
            }),
        };
        if session.grant.access_key_id != key_id {
            return Err(VerifyError::SecurityToken);
        }
        if session.grant.expires_at <= unix_seconds {
            return Err(VerifyError::SecurityTokenExpired);
        }
        Ok(session)
    }

    /// Keeps a session. Only for one whose secret has just signed a request with this token.
    pub fn keep(&self, token: &[u8], session: &Arc<Session<P>>) {
        if !self.kept.contains_key(token) {
            self.kept.insert(token.into(), Arc::clone(session));
        }
    }

    /// Whether a token says that it is one of ours. One that does not may be of another issuer.
    #[must_use]
    pub fn is_ours(&self, token: &[u8]) -> bool {
        seal::names_key_of(token, &self.ring)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::secret::Secret;
    use crate::gate::identity::Origin;

    const NOW: u64 = 1_781_510_400;
    const ID: &str = "STS.one";

    fn ring() -> Arc<KeyRing> {
        Arc::new(KeyRing::new(&[Secret::new("k".repeat(32))]).unwrap())
    }

    fn token(ring: &KeyRing, session: &str) -> Vec<u8> {
        let grant = Grant {
            role_arn: "acs:ram::1:role/r".to_owned(),
            session_name: session.to_owned(),
            access_key_id: ID.to_owned(),
            secret: Secret::new("the temporary secret"),
            issued_at: NOW - 60,
            expires_at: NOW + 60,
            origin: Origin::Nobody,
            policy: Some("{}".to_owned()),
        };
        grant.seal(ring, [7; 12]).unwrap().into()
    }

    #[test]
    fn a_token_counts_with_its_own_id_until_it_ends_kept_or_not() {
        let sessions = Sessions::<()>::new(ring());
        let token = token(&sessions.ring, "s");
        for kept in [false, true] {
            let session = sessions.open(&token, ID, NOW + 59).unwrap();
            assert_eq!(session.secret(), b"the temporary secret");
            let of = |id, now| sessions.open(&token, id, now).map(|_| ()).unwrap_err();
            assert_eq!(of(ID, NOW + 60), VerifyError::SecurityTokenExpired);
            assert_eq!(of("STS.other", NOW), VerifyError::SecurityToken);
            assert_eq!(of("STS.other", NOW + 60), VerifyError::SecurityToken);
            assert_eq!(sessions.kept.len(), usize::from(kept));
            sessions.keep(&token, &session);
            let again = sessions.open(&token, ID, NOW).unwrap();
            assert!(Arc::ptr_eq(&again, &session));
        }
        assert!(!format!("{sessions:?}").contains("temporary secret"));
    }

    #[test]
    fn a_temporary_id_needs_its_token_and_a_long_lived_one_none() {
        let sessions = Sessions::<()>::new(ring());
        let token = token(&sessions.ring, "s");
        let keys = AccessKeys::default();
        let find = |id, token| sessions.find(&keys, id, token, NOW).map(|_| ());
        assert_eq!(find(ID, Some(&token)), Ok(()));
        assert_eq!(find(ID, None), Err(VerifyError::SecurityTokenMissing));
        assert_eq!(find(ID, Some(b"")), Err(VerifyError::SecurityTokenMissing));
        assert_eq!(find(ID, Some(b"CAIS")), Err(VerifyError::SecurityToken));
        let huge = vec![b'A'; MAX_TOKEN + 1];
        assert_eq!(find(ID, Some(&huge)), Err(VerifyError::SecurityToken));
        let unknown = |id: &str| VerifyError::UnknownKey {
            key_id: id.to_owned(),
        };
        assert_eq!(find("", None), Err(unknown("")));
        assert_eq!(find("server-1", None), Err(unknown("server-1")));
    }

    #[test]
    fn a_token_of_another_issuer_is_told_from_ours() {
        let sessions = Sessions::<()>::new(ring());
        let ours = token(&sessions.ring, "s");
        assert!(sessions.is_ours(&ours));
        let foreign = [b"CAISxx", &ours[6..]].concat();
        for other in [
            &foreign[..],
            b"",
            b"CAIS",
            b"test-security-token-of-some-length",
        ] {
            assert!(!sessions.is_ours(other));
        }
    }

    #[test]
    fn a_session_policy_is_compiled_once() {
        let sessions = Sessions::<usize>::new(ring());
        let session = sessions.open(&token(&sessions.ring, "s"), ID, NOW).unwrap();
        assert_eq!(session.policy(str::len), Some(&2));
        assert_eq!(session.policy(|_| panic!("compiled again")), Some(&2));
    }

    #[test]
    fn no_more_is_kept_than_the_bound() {
        let sessions = Sessions::<()>::holding(ring(), 64 << 10);
        let session = sessions.open(&token(&sessions.ring, "s"), ID, NOW).unwrap();
        for count in 0..2000u32 {
            sessions.keep(&[&count.to_be_bytes()[..], &[0; 200]].concat(), &session);
        }
        assert!(sessions.kept.weight() <= 64 << 10);
        assert!(sessions.kept.len() > 4);
    }
}
