//! Tests of the spool.

mod disk;
mod histories;
pub(super) mod versions;
