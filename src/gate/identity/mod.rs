//! Who a request is from: credentials to a [`Principal`].
//!
//! Promise: only the [`Authenticator`] and its [`Check`] make a principal, and no refusal repeats a
//! credential. Not here: where in a request a credential stands (`front`).

mod access_keys;
mod authenticator;
mod authority;
mod facts;
mod holder;
mod jwt;
mod keys;
mod made_up;
mod origin;
mod presumed;
mod principal;
mod relay_verdicts;
pub mod state;
pub mod sts;
#[cfg(test)]
mod tests;
mod trust;

pub use self::access_keys::{AccessKeyError, AccessKeys, LongLivedKey};
pub use self::authenticator::{Authenticator, Check};
pub use self::facts::{Action, Facts};
pub use self::holder::{GivenTo, NotMinted};
pub use self::jwt::{
    Bearer, JwtVerifier, MintError, Minted, NewToken, SetProbe, SourceStatus, mint, mint_token,
    probe_sets,
};
pub use self::keys::{KeyError, KeyFault, SigningKey, load_jwt_keys, load_or_make};
pub use self::made_up::{unsigned_ticket, unsigned_token};
pub use self::origin::{Origin, ProvenAccount};
pub use self::presumed::{Presumed, PresumedSession};
pub use self::principal::{Denied, Principal};
pub use self::relay_verdicts::{RelaySender, RelayVerdicts};
pub use self::trust::{Trust, TrustErrors, attached_names};
