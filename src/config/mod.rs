//! The configuration: typed sections whose doc comments are the manual, read from TOML and checked
//! once, between the file and the program.
//!
//! Promise: a [`Config`] that comes from here obeys every rule, and what is wrong with a text is
//! told all at once, with its place and a way to mend it.
//!
//! `docs/config.md`, `config/tollgate.toml`, `config/quickstart.toml` and
//! `config/tollgate.schema.json` are made from the structs; a test fails when they are stale.

mod check;
mod destinations;
mod document;
mod endpoint;
mod excerpt;
pub mod generate;
mod guard_rule;
mod hosts;
mod jwks_url;
mod limit_rule;
mod load;
mod model;
mod overrides;
mod problems;
mod reader;
mod redis_url;
mod schema;
mod secrets;
mod traces_url;
mod transform_rule;
mod url;
mod walk;

pub use self::document::{Document, DocumentForm, Scalar};
pub use self::endpoint::region_of;
pub use self::guard_rule::{KeyPattern, PatternError, RecentShape};
pub use self::hosts::{HostAdvice, Platform, render_host_advice};
pub use self::jwks_url::JwksUrl;
pub use self::limit_rule::{
    Part, PartError, Stage, TABLE_WAYS, WORDS_OF_LEASE, stage_of, table_bytes, table_places,
};
pub use self::load::{Checked, Examined};
pub use self::model::*;
pub use self::overrides::Overrides;
pub use self::problems::{Place, Problem, Problems, Severity};
pub use self::redis_url::RedisUrl;
pub use self::traces_url::TracesUrl;
pub use self::transform_rule::{
    MAX_GLOB, MAX_TRANSFORMS, MIN_HASH_KEY, Piece, TemplateError, TemplateFact, compile_regex,
    parse_template,
};
pub use self::walk::nearest as nearest_word;
