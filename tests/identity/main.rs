//! Who may write, on the real binary over raw sockets: every kind of credential, what takes it back,
//! and what a client is told.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod accepting;
mod checking;
mod cookies;
mod giving;
mod relaying;
mod revoking;
mod signed;
mod signing;
mod site;
mod store;
mod temporary;
mod tickets;
mod tokens;
