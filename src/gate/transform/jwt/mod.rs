//! Tokens inside fields: what `jwt_encoding` and `jwt_decoding` compute.
//!
//! Promise: nothing here identifies a caller. These tokens are data of an event, and their rules are
//! those of the log-processing functions of the same name, which are laxer than those of
//! `gate::identity`: secrets may be short, RSA keys may have 1024 bits, and a token may be read
//! without its signature when the operator says so. Keys, tokens and payloads stand in no error and
//! in no `Debug`. Not here: which fields they come from and go to, and what follows from an error.

mod algorithm;
mod claims;
mod decode;
mod encode;
mod error;
mod hmac_key;
mod json;
mod key;
mod pem;
mod sign;
mod small_rsa;
mod verify;

#[cfg(test)]
mod tests;

pub use algorithm::{Algorithm, KeyType};
pub use decode::{DecodeRules, Decoding};
pub use encode::Encoding;
pub use error::{DecodeError, EncodeError, KeyFault, LoadError};
pub use json::{JsonFault, MAX_DEPTH, MAX_MEMBERS};

/// The longest token in bytes, read or written. Also the longest text of a payload.
pub const MAX_TOKEN: usize = 64 << 10;
/// The longest header in bytes of JSON, read or written.
pub const MAX_HEADER: usize = 16 << 10;
/// The longest key in bytes of text.
pub const MAX_KEY: usize = 64 << 10;
/// The most claims that a decoding can require.
pub const MAX_REQUIRED: usize = 64;
