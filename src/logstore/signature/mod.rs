//! Signatures of requests: making them as the official producers do, and checking them as the store
//! does.
//!
//! Promise: what [`Signer::sign`] signs, [`verify_head`] accepts, and both agree with signatures recorded
//! from the official SDKs. Not here: which key may do what, and reading bodies.

mod canonical;
mod date;
mod explain;
pub(crate) mod mac;
mod refusal;
mod sign;
mod v1;
mod v4;
mod verify;

#[cfg(test)]
mod tests;

pub use self::date::{http_date, iso_date, parse_http_date, parse_iso_date};
pub use self::explain::{CLIENT_TEXT, Mismatch};
pub use self::sign::{SignError, Signer, Unsigned};
pub use self::verify::{
    Authorization, RequestParts, Rules, SignedBody, SigningSecret, TIME_WINDOW, VerifiedHead,
    VerifyError, parse_authorization, verify, verify_head,
};

use crate::foundation::secret::Secret;

/// An access key: its id goes over the wire, its secret never does.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// Id of the key.
    pub id: String,
    /// Its secret.
    pub secret: Secret,
    /// STS token that belongs to a temporary key; it goes with every request.
    pub security_token: Option<Secret>,
}

impl AccessKey {
    /// Whether both are the same, compared in a time that does not depend on where they differ.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let token = match (&self.security_token, &other.security_token) {
            (Some(one), Some(other)) => one.matches(other.expose()),
            (one, other) => one.is_none() && other.is_none(),
        };
        self.id == other.id && self.secret.matches(other.secret.expose()) && token
    }
}
