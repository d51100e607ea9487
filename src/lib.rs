//! Tollgate: the edge in front of Simple Log Service web tracking.
//!
//! The map of the code is `ARCHITECTURE.md`. The floors, from the top: `cli`, `app`, then `edge` and
//! `admin`, `front`, `gate` and `pipeline`, `logstore` and `embedded`, and the ground that everyone
//! may import: `config`, `telemetry`, `event`, `foundation`. Imports point down only;
//! `tests/architecture.rs` checks it.
//!
//! The library exists for the binary, its tests and its benches; it is not a public API.

#![forbid(unsafe_code)]

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod edge;
pub mod embedded;
pub mod event;
pub mod foundation;
pub mod front;
pub mod gate;
pub mod logstore;
pub mod pipeline;
pub mod telemetry;
