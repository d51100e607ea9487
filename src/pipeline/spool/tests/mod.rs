//! Tests of the spool.
pub(super) mod versions;
