//! Credentials to a [`Principal`].
//!
//! Promise: only [`Authenticator::verify`] and [`Principal::anonymous`] make a principal, and a
//! refusal never repeats the token. Not here: where in a request a credential stands (`front`).

pub mod access_keys;
mod claims;
mod facts;
mod jwt;
mod keys;
pub mod sts;

pub use self::facts::{Action, Facts};
pub use self::jwt::{Authenticator, mint};
pub use self::keys::{KeyError, SigningKey, load_jwt_keys, load_or_make};

use crate::config::TokenPlace;
use crate::telemetry::TokenSource;

/// A credential as it stood in the head of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// A token, and where it stood.
    Token(&'a [u8], TokenPlace),
    /// An `Authorization` header of the SLS signature schemes.
    Signed,
    /// Nothing.
    None,
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Token(_, place) => write!(f, "Token(hidden, {place:?})"),
            Self::Signed => f.write_str("Signed"),
            Self::None => f.write_str("None"),
        }
    }
}

/// Who is allowed to write this request's events. The proof that identity was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal {
    source: TokenSource,
}

impl Principal {
    /// Nobody in particular, where the logstore is open.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            source: TokenSource::Anonymous,
        }
    }

    fn of_token(place: TokenPlace) -> Self {
        let source = match place {
            TokenPlace::Authorization => TokenSource::Authorization,
            TokenPlace::Path => TokenSource::Path,
            TokenPlace::Query => TokenSource::Query,
            TokenPlace::Cookie => TokenSource::Cookie,
            TokenPlace::Body => TokenSource::Body,
        };
        Self { source }
    }

    /// Where the credential stood.
    #[must_use]
    pub fn source(self) -> TokenSource {
        self.source
    }
}
