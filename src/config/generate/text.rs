//! A configuration as TOML with the doc comments beside the keys.

use serde_json::Value;

use crate::config::Config;
use crate::config::schema::{Kind, Shape, join, root};

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
        for (key, inner) in shape.properties() {
            if inner.section().is_none() {
                self.entry(inner, key, values.get(key));
            }
        }
        for (key, inner) in shape.properties() {
            let value = values.get(key).unwrap_or(&Value::Null);
            let path = join(path, key);
            match inner.section() {
                Some((table, false)) => {
                    self.section(inner, table, &path, &format!("[{path}]"), value);
                }
                Some((table, true)) => {
                    for value in value.as_array().into_iter().flatten() {
                        self.section(inner, table, &path, &format!("[[{path}]]"), value);
                    }
                }
                None => {}
            }
        }
    }

    fn section(&mut self, about: Shape, shape: Shape, path: &str, header: &str, value: &Value) {
        let before = self.out.len();
        self.out.push('\n');
        self.comment(about.description());
        self.out.push_str(header);
        self.out.push('\n');
        let empty = self.out.len();
        self.table(shape, path, value);
        if self.only_changed && self.out.len() == empty {
            self.out.truncate(before);
        }
    }

    fn entry(&mut self, shape: Shape, key: &str, value: Option<&Value>) {
        let value = value.filter(|value| !value.is_null());
        if self.only_changed && (value.is_none() || value == shape.default()) {
            return;
        }
        self.comment(shape.description());
        for (word, meaning) in shape.choices() {
            self.comment(&format!("- {}: {}", quoted(word), meaning.description()));
        }
        match value {
            Some(value) => {
                let empty = matches!(value, Value::Array(list) if list.is_empty())
                    || matches!(value, Value::Object(map) if map.is_empty());
                if let (true, Some(example)) = (empty, shape.example()) {
                    self.comment(&format!("Example: {key} = {}", toml_value(example)));
                }
                self.line(&format!("{key} = {}", toml_value(value)));
            }
            None => {
                let example = shape.example().unwrap_or(&Value::Null);
                self.line(&format!("# {key} = {}", toml_value(example)));
            }
        }
        if !self.only_changed {
            self.out.push('\n');
        }
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    /// A comment, broken at spaces.
    fn comment(&mut self, text: &str) {
        let mut line = String::from("#");
        for word in text.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(&line);
                "#".clone_into(&mut line);
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
        Kind::Table => "table".to_owned(),
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
    }
}
