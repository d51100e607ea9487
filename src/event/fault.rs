//! What is wrong with single events of a request, found while it is read and acted on later.

use std::borrow::Cow;

use super::fields::Kind;

/// Violations of one event that are told; further ones are counted.
pub const MAX_VIOLATIONS: usize = 8;
/// Events of one request whose violations are told; of further ones only that they are bad.
pub const MAX_TOLD: usize = 16;
/// Bytes of a pointer, and of a message.
pub const MAX_TEXT: usize = 256;

/// A check that an event did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where: a JSON Pointer (RFC 6901) into the event, empty for all of it.
    pub pointer: String,
    /// Which keyword of the schema, or which guard.
    pub keyword: Cow<'static, str>,
    /// Why, and what was expected. Of the value no more than a short beginning.
    pub message: String,
}

/// One event that did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFault {
    /// Which event of the request, from 0.
    pub event: u32,
    /// Which check, as its maker numbers them.
    pub check: u16,
    /// Why, at most [`MAX_VIOLATIONS`]; empty from the [`MAX_TOLD`]th bad event on.
    pub violations: Vec<Violation>,
    /// How many more there are at least.
    pub hidden: u32,
    /// What its fields were in the body, in their order.
    pub kinds: Vec<Kind>,
}
