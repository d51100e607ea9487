//! Files made from the structs: two configurations, the manual of keys, the schema for editors.
//!
//! Promise: what is made loads, and says what the code says; `tests/config.rs` compares the files
//! in the repository with these.

mod manual;
mod text;

use serde_json::{Map, Value};

use super::{Config, schema};

/// A file of the repository that is made from the structs.
#[derive(Clone, Debug)]
pub struct GeneratedFile {
    /// Path from the root of the repository.
    pub path: &'static str,
    /// What it must hold.
    pub contents: String,
}

/// Every generated file.
#[must_use]
pub fn generated_files() -> [GeneratedFile; 4] {
    [
        GeneratedFile {
            path: "config/tollgate.toml",
            contents: text::reference(&sample()),
        },
        GeneratedFile {
            path: "config/quickstart.toml",
            contents: text::quickstart(&Config::quickstart()),
        },
        GeneratedFile {
            path: "config/tollgate.schema.json",
            contents: editor_schema(),
        },
        GeneratedFile {
            path: "docs/config.md",
            contents: manual::manual(),
        },
    ]
}

/// The JSON Schema with its heading first, as people look for it.
fn editor_schema() -> String {
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), Value::Null);
    schema.insert("title".to_owned(), Value::Null);
    schema.insert("description".to_owned(), Value::Null);
    let entries = schema::document().as_object().cloned().unwrap_or_default();
    schema.extend(entries);
    schema.insert("title".to_owned(), "Configuration of Tollgate".into());
    format!("{:#}\n", Value::Object(schema))
}

/// The configuration that `config/tollgate.toml` holds: every key at its default where it has one,
/// and one upstream, token key, project and logstore.
#[must_use]
pub fn sample() -> Config {
    let mut sample = Config::quickstart();
    sample.ingest.default_project = None;
    for project in &mut sample.projects {
        project.logstores.truncate(1);
    }
    sample
}
