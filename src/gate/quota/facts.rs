//! What limits may know of a request.

use std::borrow::Cow;
use std::net::IpAddr;

use http::HeaderName;

use crate::event::pair_of;
use crate::foundation::wire::{Field, Reader};
use crate::gate::identity::Principal;
use crate::telemetry::CredentialKind;

/// A request, as far as it is known.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The client's address.
    pub address: IpAddr,
    /// The project.
    pub project: &'a str,
    /// The logstore.
    pub logstore: &'a str,
    /// What else stands in its head.
    pub words: &'a dyn Words,
    /// Who sends it, once that is decided.
    pub caller: Option<&'a Principal>,
    /// The topic of its events, once they are read.
    pub topic: &'a [u8],
}

/// What stands in the head of a request. None of it is proven.
pub trait Words: Sync {
    /// A header.
    fn header(&self, name: &HeaderName) -> Option<&[u8]>;
    /// A trusted cookie.
    fn cookie(&self, name: &str) -> Option<&[u8]>;
    /// The origin of the page.
    fn origin(&self) -> Option<&[u8]>;
    /// Bytes of the body or query before compression, where the head says how many all of them will be
    /// that limits are asked for.
    fn bytes(&self) -> Option<u64> {
        None
    }
}

/// A head of which nothing is known.
struct NoWords;

impl Words for NoWords {
    fn header(&self, _: &HeaderName) -> Option<&[u8]> {
        None
    }

    fn cookie(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn origin(&self) -> Option<&[u8]> {
        None
    }
}

impl<'a> Facts<'a> {
    /// A request of which only the address is known.
    #[must_use]
    pub fn of_address(address: IpAddr) -> Self {
        Self {
            address,
            project: "",
            logstore: "",
            words: &NoWords,
            caller: None,
            topic: b"",
        }
    }

    /// Whether somebody that is known stands behind the request: a verified credential of ours.
    #[must_use]
    pub fn caller_is_known(&self) -> bool {
        self.caller.is_some_and(|caller| {
            matches!(
                caller.kind(),
                CredentialKind::AccessKey
                    | CredentialKind::Sts
                    | CredentialKind::Jwt
                    | CredentialKind::Ticket
            )
        })
    }

    /// The name of the credential, with its kind: `jwt:{kid}`, `access_key:{id}`, `sts:{session}`,
    /// `ticket:{id}`. Kinds share no names: a caller may choose that of a session.
    pub(super) fn credential(&self) -> Option<Cow<'a, [u8]>> {
        let caller = self.caller?;
        let kind = caller.kind().label();
        let name = match caller.bearer() {
            Some(bearer) => format!("{kind}:{}", bearer.key_name()),
            None => format!("{kind}:{}", caller.key()?),
        };
        Some(Cow::Owned(name.into_bytes()))
    }

    /// Whom the credential is for: the `sub` of a token, else as [`Facts::credential`].
    pub(super) fn subject(&self) -> Option<Cow<'a, [u8]>> {
        let caller = self.caller?;
        match caller.bearer() {
            Some(bearer) => bearer.subject().map(|subject| subject.as_bytes().into()),
            None => self.credential(),
        }
    }

    /// A claim of the token: a text, a number or a boolean.
    pub(super) fn claim(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        Some(match self.caller?.bearer()?.claim(name)? {
            Cow::Borrowed(claim) => Cow::Borrowed(claim.as_bytes()),
            Cow::Owned(claim) => Cow::Owned(claim.into_bytes()),
        })
    }
}

impl std::fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facts")
            .field("project", &self.project)
            .field("logstore", &self.logstore)
            .finish_non_exhaustive()
    }
}

/// One event: a `Log` in wire form.
#[derive(Clone, Copy, Debug)]
pub struct EventPart<'a>(pub &'a [u8]);

impl<'a> EventPart<'a> {
    /// The value of a field; of several with one name the last, as the store shows it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        let mut found = None;
        let mut fields = Reader::new(self.0);
        while let Ok(Some(field)) = fields.next_field() {
            let Field::Bytes(2, content) = field else {
                continue;
            };
            let (key, value) = pair_of(content);
            if key == name.as_bytes() {
                found = Some(value);
            }
        }
        found
    }
}
