//! Keeps events and delivers them.

mod batch;
mod lane;
mod open;
mod parts;
mod queue;
mod retry;
#[cfg(test)]
mod testing;

pub use self::lane::Lane;
