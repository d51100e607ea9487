//! A configuration as TOML with the doc comments beside the keys.

use serde_json::Value;

use crate::config::Config;
use crate::config::schema::{Kind, Shape, TAG, join, root};

const WIDTH: usize = 96;

/// Every key with its default; keys that have none are commented out, with an example.
pub(super) fn reference(sample: &Config) -> String {
    let head = "#:schema ./tollgate.schema.json\n\
        #\n\
        # Every key of Tollgate's configuration, with its default. All of them may be left out, but for\n\
        # those of [[upstream]], [[project]], [[project.logstore]] and [[identity.jwt]] that have no\n\
        # default; what stands there is an example. A key that is commented out has no default.\n\
        #\n\
        # Made from the code: TOLLGATE_WRITE=1 cargo test --test config\n";
    written(head, sample, false)
}

/// Only what differs from the defaults.
pub(super) fn quickstart(config: &Config) -> String {
    let head = "#:schema ./tollgate.schema.json\n\
        #\n\
        # What `tollgate run` does without a configuration: one project on the embedded logstore, with\n\
        # a logstore that asks for tokens and one that is open. Copy it and change it; every other key\n\
        # is in tollgate.toml, with its default.\n\
        #\n\
        # Made from the code: TOLLGATE_WRITE=1 cargo test --test config\n";
    written(head, config, true)
}

fn written(head: &str, config: &Config, only_changed: bool) -> String {
    let mut writer = Writer {
        out: head.to_owned(),
        only_changed,
    };
    // The structs hold only strings, numbers, lists and maps with text keys, which JSON has too.
    let values = serde_json::to_value(config).unwrap_or_default();
    writer.table(root(), "", &values);
    writer.out
}

struct Writer {
    out: String,
    only_changed: bool,
}

impl Writer {
    /// Writes a table: its own keys, then the tables in it, as TOML wants it.
    fn table(&mut self, shape: Shape, path: &str, values: &Value) {
        let own = shape
            .properties()
            .filter(|(_, inner)| inner.section().is_none());
        for (index, (key, inner)) in own.enumerate() {
            if !self.only_changed && (index > 0 || path.is_empty()) {
                self.out.push('\n');
            }
            self.entry(inner, key, values.get(key));
        }
        for (key, inner) in shape.properties() {
            let value = values.get(key).unwrap_or(&Value::Null);
            let path = join(path, key);
            match inner.section() {
                Some((table, false)) if value.is_null() => {
                    self.absent(inner.description(), &path, table);
                }
                Some((table, false)) => {
                    self.header(inner.description(), &format!("[{path}]"), table, value);
                    self.table(table, &path, value);
                }
                Some((table, true)) => {
                    let items = value.as_array().into_iter().flatten();
                    for (index, value) in items.enumerate() {
                        let about = if index == 0 { inner.description() } else { "" };
                        let word = value.get(TAG).and_then(Value::as_str).unwrap_or_default();
                        let table = table.variant(word).unwrap_or(table);
                        self.header(about, &format!("[[{path}]]"), table, value);
                        self.table(table, &path, value);
                    }
                }
                None => {}
            }
        }
    }

    /// Writes a table that is not there by default, commented out: with the defaults that its keys
    /// have once it is there.
    fn absent(&mut self, about: &str, path: &str, table: Shape) {
        let defaults = table
            .properties()
            .map(|(key, inner)| (key.to_owned(), inner.default().cloned().unwrap_or_default()));
        let values = Value::Object(defaults.collect());
        let start = self.out.len();
        self.header(about, &format!("[{path}]"), table, &values);
        self.table(table, path, &values);
        for line in self.out.split_off(start).lines() {
            let bare = line.is_empty() || line.starts_with('#');
            self.line(&if bare {
                line.to_owned()
            } else {
                format!("# {line}")
            });
        }
    }

    /// Writes a header, unless it is one that TOML implies and nothing stands under it.
    fn header(&mut self, about: &str, header: &str, table: Shape, values: &Value) {
        let bare = table
            .properties()
            .all(|(key, inner)| inner.section().is_some() || !self.shows(inner, values.get(key)));
        if bare {
            return;
        }
        self.out.push('\n');
        if !about.is_empty() {
            self.comment(about);
        }
        self.line(header);
    }

    fn shows(&self, shape: Shape, value: Option<&Value>) -> bool {
        let changed = value.is_some_and(|value| !value.is_null()) && value != shape.default();
        !self.only_changed || changed
    }

    fn entry(&mut self, shape: Shape, key: &str, value: Option<&Value>) {
        if !self.shows(shape, value) {
            return;
        }
        self.comment(shape.description());
        for (word, meaning) in shape.choices() {
            self.comment(&format!("- {}: {}", quoted(word), meaning.description()));
        }
        let example = shape.example().map(toml_value).unwrap_or_default();
        match value.filter(|value| !value.is_null()) {
            Some(value) => {
                let empty = matches!(value, Value::Array(list) if list.is_empty())
                    || matches!(value, Value::Object(map) if map.is_empty());
                if empty && !example.is_empty() {
                    self.comment(&format!("Example: {key} = {example}"));
                }
                self.line(&format!("{key} = {}", toml_value(value)));
            }
            None => self.line(&format!("# {key} = {example}")),
        }
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    /// A comment, broken at spaces.
    fn comment(&mut self, text: &str) {
        let indent = if text.starts_with("- ") { "#  " } else { "#" };
        let mut line = String::from("#");
        for word in text.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(&line);
                indent.clone_into(&mut line);
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(&line);
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A value as TOML on one line.
pub(super) fn toml_value(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(toml_value).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{} = {}", quoted(key), toml_value(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

/// What a value must be, in words.
pub(super) fn type_name(shape: Shape) -> String {
    match shape.kind() {
        Kind::Table | Kind::Tagged => "table".to_owned(),
        Kind::Map(values) => format!("table of {}", type_name(values)),
        Kind::Array(items) => format!("list of {}", type_name(items)),
        Kind::Choice => {
            let words: Vec<String> = shape
                .choices()
                .map(|(word, _)| format!("`{}`", quoted(word)))
                .collect();
            words.join(", ")
        }
        Kind::Text => match shape.format() {
            Some(form) => form.replace('-', " "),
            None => "string".to_owned(),
        },
        Kind::Size => "size".to_owned(),
        Kind::Integer(least, most) if most >= i64::from(u32::MAX) => {
            format!("whole number from {least}")
        }
        Kind::Integer(least, most) => format!("whole number, {least} to {most}"),
        Kind::Float(least, most) => format!("number, {least} to {most}"),
        Kind::Boolean => "boolean".to_owned(),
        Kind::Scalar => "text, number or boolean".to_owned(),
        Kind::Any => "any value".to_owned(),
    }
}
