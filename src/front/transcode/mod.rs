//! From bodies to LogGroup bytes in one pass.
//!
//! Promise: what comes out is the canonical protobuf encoding of exactly what came in, by the rules
//! of [`json()`], [`query()`] and [`protobuf()`]; no tree of values is built, and an event allocates
//! nothing once the buffers of the thread and of the [`EventGroup`] have grown. Work and memory are
//! linear in the body.
//!
//! What cannot be taken is refused with a [`Refusal`] that says where (RFC 6901 pointer and byte
//! offset); the output then holds rubbish, except for the number of events read so far.
//!
//! Not here: the size of bodies and queries, decompression, the verification of tokens.

mod document;
mod escape;
mod fault;
mod json;
mod names;
mod nested;
mod open_log;
mod protobuf;
mod query;
mod rules;
mod scan;
mod scratch;
mod seen;
mod time;

pub use self::json::{events, json};
pub(super) use self::names::LIMIT;
pub use self::protobuf::protobuf;
pub use self::query::query;
pub use self::rules::{Context, EventCheck, Rules};
pub use crate::event::put_content;

#[cfg(doc)]
use crate::event::{EventGroup, Refusal};
