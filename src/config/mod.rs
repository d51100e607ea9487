//! The configuration: typed sections whose doc comments are the manual.
//!
//! `docs/config.md`, `config/tollgate.toml` and `config/tollgate.schema.json` are made from these
//! structs; a test fails when they are stale.

mod model;

pub use self::model::*;
