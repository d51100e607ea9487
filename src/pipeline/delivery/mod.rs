//! The parts of delivery that decide, apart from the workers that act (`forward`).
//!
//! Not here: one attempt (`logstore::client`), what an error means (`logstore::error`).

pub(super) mod aimd;
pub(super) mod anatomy;
pub(super) mod breaker;
pub(super) mod project;
pub(super) mod records;
pub(super) mod span;
pub(super) mod splitter;
#[cfg(test)]
mod tests;
pub(super) mod upstream;
