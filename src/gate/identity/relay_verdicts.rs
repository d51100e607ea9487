//! What the store has said of keys that are not ours.
//!
//! Promise: a verdict is remembered only when the store said that the key itself, or its security
//! token, is of no use, and named the very key that was sent. A wrong signature, a wrong date, a
//! missing grant or a used-up quota are never remembered: anyone can send a bad request in the name of
//! another's key, and would lock it out. Verdicts end after a minute, and are neither prolonged by
//! use nor by further requests, which are refused before they reach the store.
//! When full: another verdict makes room, and costs one more question to the store.

use std::fmt;

use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use crate::event::{Reason, Refusal};
use crate::logstore::error::ErrorAnswer;

/// Verdicts that are kept.
const MAX_VERDICTS: usize = 10_000;
/// How long a verdict is believed, in seconds.
const LIFE: u64 = 60;

/// Whose request it is, as the store is told. Nothing of it is verified.
#[derive(Clone, Copy)]
pub struct RelaySender<'a> {
    /// The store that is asked: its host for the project, which another store does not share.
    pub store: &'a str,
    /// The Host header that it gets. A sender may choose it, and the store may know other keys under
    /// another name.
    pub host: &'a [u8],
    /// Id of the key.
    pub key_id: &'a str,
    /// `x-acs-security-token`, if it was sent. An empty one is not the same as none.
    pub security_token: Option<&'a [u8]>,
}

/// The token is a credential.
impl fmt::Debug for RelaySender<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelaySender")
            .field("store", &self.store)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

impl RelaySender<'_> {
    /// What verdicts are kept under: a digest, so that no token is.
    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [self.store.as_bytes(), self.host, self.key_id.as_bytes()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        if let Some(token) = self.security_token {
            hash.update(b"token");
            hash.update(token);
        }
        hash.finalize().into()
    }
}

/// What the store said of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Unknown,
    Disabled,
    TokenInvalid,
    TokenExpired,
}

impl Verdict {
    /// Reads an answer of the store (SLS error table). Only sentences that name this key, or speak
    /// of a token that was sent, are believed: other parts of a message may hold what a client sent.
    fn of(answer: &ErrorAnswer, sender: &RelaySender<'_>) -> Option<Self> {
        if answer.status != 401 {
            return None;
        }
        let message = answer.message.as_str();
        let names_this_key = |start: &str| {
            let rest = message.strip_prefix(start);
            rest.is_some_and(|rest| rest.trim().trim_end_matches('.') == sender.key_id)
        };
        let says = |start: &str| {
            let rest = message.strip_prefix(start);
            rest.is_some_and(|rest| rest.trim_end_matches('.').is_empty())
        };
        let with_token = sender.security_token.is_some_and(|it| !it.is_empty());
        match answer.code.as_str() {
            "Unauthorized" if names_this_key("AccessKeyId not found:") => Some(Self::Unknown),
            "Unauthorized" if names_this_key("AccessKeyId is disabled:") => Some(Self::Disabled),
            "InvalidAccessKeyId"
                if names_this_key("The access key id you provided is invalid:") =>
            {
                Some(Self::Unknown)
            }
            "Unauthorized" if with_token && says("The security token you provided is invalid") => {
                Some(Self::TokenInvalid)
            }
            "Unauthorized" if with_token && says("The security token you provided has expired") => {
                Some(Self::TokenExpired)
            }
            _ => None,
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::Unknown => "AccessKeyId not found",
            Self::Disabled => "AccessKeyId is disabled",
            Self::TokenInvalid => "The security token you provided is invalid",
            Self::TokenExpired => "The security token you provided has expired",
        }
    }
}

/// The verdicts of the last minute.
#[derive(Debug)]
pub struct RelayVerdicts {
    /// By [`RelaySender::digest`]: the verdict, and the first second in which it no longer holds.
    kept: Cache<[u8; 32], (Verdict, u64)>,
}

impl Default for RelayVerdicts {
    fn default() -> Self {
        Self {
            kept: Cache::new(MAX_VERDICTS),
        }
    }
}

impl RelayVerdicts {
    /// Lets a sender through, unless the store has said lately that its key is of no use.
    ///
    /// # Errors
    /// [`Reason::RelayKeyRefused`], with what the store said.
    pub fn check(&self, sender: &RelaySender<'_>, unix_seconds: u64) -> Result<(), Refusal> {
        // Keys are rarely refused, and a digest is not free.
        if self.kept.is_empty() {
            return Ok(());
        }
        let digest = sender.digest();
        match self.kept.get(&digest) {
            Some((verdict, until)) if holds(until, unix_seconds) => {
                Err(Refusal::new(Reason::RelayKeyRefused, verdict.detail()))
            }
            Some(_) => {
                self.kept
                    .remove_if(&digest, |(_, until)| !holds(*until, unix_seconds));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Learns from an answer of the store to a request of this sender; says whether it was a verdict
    /// on the key.
    pub fn learn(&self, sender: &RelaySender<'_>, answer: &ErrorAnswer, unix_seconds: u64) -> bool {
        let Some(verdict) = Verdict::of(answer, sender) else {
            return false;
        };
        let until = unix_seconds.saturating_add(LIFE);
        self.kept.insert(sender.digest(), (verdict, until));
        true
    }
}

/// A clock that was set back does not make a verdict last longer than one life.
fn holds(until: u64, unix_seconds: u64) -> bool {
    (until.saturating_sub(LIFE)..until).contains(&unix_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_781_510_400;
    const KEY: &str = "LTAI-victim";

    fn sender(key_id: &str) -> RelaySender<'_> {
        RelaySender {
            store: "demo.cn-x.example.com",
            host: b"demo.cn-x.example.com",
            key_id,
            security_token: None,
        }
    }

    fn with_token<'a>(key_id: &'a str, token: &'a str) -> RelaySender<'a> {
        RelaySender {
            security_token: Some(token.as_bytes()),
            ..sender(key_id)
        }
    }

    fn answer(status: u16, code: &str, message: &str) -> ErrorAnswer {
        ErrorAnswer {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
            request_id: Some("A".to_owned()),
            server_time: None,
            retry_after: None,
        }
    }

    fn is_refused(verdicts: &RelayVerdicts, sender: &RelaySender<'_>, at: u64) -> bool {
        match verdicts.check(sender, at) {
            Ok(()) => false,
            Err(refusal) => {
                assert_eq!(refusal.reason(), Reason::RelayKeyRefused);
                true
            }
        }
    }

    /// Whether `sender` is refused after it got this answer.
    fn learnt(sender: &RelaySender<'_>, status: u16, code: &str, message: &str) -> bool {
        let verdicts = RelayVerdicts::default();
        let told = verdicts.learn(sender, &answer(status, code, message), NOW);
        let refused = is_refused(&verdicts, sender, NOW);
        assert_eq!(told, refused);
        refused
    }

    #[test]
    fn what_the_store_says_of_the_key_itself_is_remembered() {
        for (code, message) in [
            ("Unauthorized", "AccessKeyId not found: LTAI-victim"),
            ("Unauthorized", "AccessKeyId not found: LTAI-victim."),
            ("Unauthorized", "AccessKeyId is disabled: LTAI-victim"),
            (
                "InvalidAccessKeyId",
                "The access key id you provided is invalid: LTAI-victim.",
            ),
        ] {
            assert!(learnt(&sender(KEY), 401, code, message), "{message}");
        }
        for message in [
            "The security token you provided is invalid.",
            "The security token you provided has expired.",
        ] {
            assert!(learnt(&with_token(KEY, "t"), 401, "Unauthorized", message));
        }
    }

    #[test]
    fn nobody_can_lock_out_the_key_of_another() {
        let not_found = "AccessKeyId not found: LTAI-victim";
        for (status, code, message) in [
            (401, "SignatureNotMatch", "Signature x not matched."),
            (401, "SignatureNotMatch", not_found),
            (400, "RequestTimeExpired", "request time has been expired"),
            (400, "Unauthorized", not_found),
            (403, "WriteQuotaExceed", "quota"),
            (403, "Unauthorized", not_found),
            (500, "InternalServerError", not_found),
            (200, "Unauthorized", not_found),
            (401, "Unauthorized", "The AccessKeyId is unauthorized."),
            (401, "Unauthorized", "The project does not belong to you."),
            // The names of logstores are the sender's to choose.
            (
                401,
                "Unauthorized",
                "denied by sts or ram, action: log:PostLogStoreLogs, resource: \
                 acs:log:cn:1:project/p/logstore/AccessKeyId not found: LTAI-victim",
            ),
            // A store that cuts `LOG LTAI-victim:x:signature` at another colon than we do.
            (401, "Unauthorized", "AccessKeyId not found: LTAI-victim:x"),
            (401, "Unauthorized", "AccessKeyId not found: LTAI-other"),
            (401, "Unauthorized", "AccessKeyId not found"),
            (401, "InvalidAccessKeyId", "The service is not opened."),
            // There was no token to be wrong.
            (
                401,
                "Unauthorized",
                "The security token you provided is invalid.",
            ),
        ] {
            assert!(!learnt(&sender(KEY), status, code, message), "{message}");
        }
        let invalid = "The security token you provided is invalid.";
        assert!(!learnt(&with_token(KEY, ""), 401, "Unauthorized", invalid));
        let echo = "The security token you provided is invalid. AccessKeyId not found: LTAI-victim";
        assert!(!learnt(&with_token(KEY, "t"), 401, "Unauthorized", echo));
    }

    #[test]
    fn a_verdict_on_one_token_store_or_host_is_none_on_another() {
        let verdicts = RelayVerdicts::default();
        let junk = with_token(KEY, "junk");
        let invalid = "The security token you provided is invalid.";
        assert!(verdicts.learn(&junk, &answer(401, "Unauthorized", invalid), NOW));
        assert!(is_refused(&verdicts, &junk, NOW));
        let others = [
            sender(KEY),
            with_token(KEY, "good"),
            with_token(KEY, ""),
            with_token("LTAI-other", "junk"),
            RelaySender {
                store: "demo.cn-y.example.com",
                ..junk
            },
            RelaySender {
                host: b"other.example.com",
                ..junk
            },
        ];
        for other in &others {
            assert!(!is_refused(&verdicts, other, NOW), "{other:?}");
        }
    }

    #[test]
    fn parts_that_run_together_are_two_senders() {
        let one = RelaySender {
            store: "ab",
            host: b"c",
            ..sender("d")
        };
        let two = RelaySender {
            store: "a",
            host: b"bc",
            ..sender("d")
        };
        assert_ne!(one.digest(), two.digest());
        assert_ne!(sender("ktoken").digest(), with_token("k", "").digest());
    }

    #[test]
    fn a_verdict_lasts_a_minute_whatever_the_clock_does() {
        let verdicts = RelayVerdicts::default();
        let gone = answer(401, "Unauthorized", "AccessKeyId not found: LTAI-victim");
        assert!(!is_refused(&verdicts, &sender(KEY), NOW));
        verdicts.learn(&sender(KEY), &gone, NOW);
        for _ in 0..100 {
            assert!(is_refused(&verdicts, &sender(KEY), NOW + 59));
        }
        assert!(!is_refused(&verdicts, &sender(KEY), NOW + 60));
        assert!(verdicts.kept.is_empty(), "what has ended is taken out");
        verdicts.learn(&sender(KEY), &gone, NOW);
        assert!(!is_refused(&verdicts, &sender(KEY), NOW - 3600));
    }

    #[test]
    fn verdicts_are_bounded() {
        let verdicts = RelayVerdicts::default();
        for n in 0..3 * MAX_VERDICTS {
            let id = format!("LTAI-{n}");
            let message = format!("AccessKeyId not found: {id}");
            let gone = answer(401, "Unauthorized", &message);
            assert!(verdicts.learn(&sender(&id), &gone, NOW));
        }
        let kept = verdicts.kept.len();
        assert!((1..=MAX_VERDICTS).contains(&kept), "{kept}");
    }

    #[test]
    fn tokens_are_not_printed() {
        let text = format!("{:?}", with_token(KEY, "hunter2"));
        assert!(text.contains(KEY) && !text.contains("hunter2"), "{text}");
    }
}
