//! What becomes of the fields of an event before it is kept: pure functions, bounded.

pub mod jwt;
