//! The keys of the configuration, their types, ranges and defaults, read from the JSON Schema that
//! the structs of [`super::model`] derive. Nothing else lists keys. Other documents in TOML
//! ([`super::document`]) are described in the same way.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use super::Config;

/// The key that tells which keys a tagged table has.
pub(super) const TAG: &str = "type";

/// Stands for any value at all.
static ANYTHING: Value = Value::Bool(true);

static SCHEMA: LazyLock<Value> = LazyLock::new(schema_of::<Config>);

/// The JSON Schema of a document. Every type stands in its place: it has no `$ref`.
pub(super) fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .with_transform(RecursiveTransform(remove_null));
    let schema: Schema = SchemaGenerator::new(settings).into_root_schema_for::<T>();
    schema.to_value()
}

/// The JSON Schema of the configuration. Every type stands in its place: it has no `$ref`.
pub(super) fn document() -> &'static Value {
    &SCHEMA
}

/// The top table.
pub(super) fn root() -> Shape {
    Shape(&SCHEMA)
}

/// TOML has no null: a key that may be left out is left out.
fn remove_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if object.get("default") == Some(&Value::Null) {
        object.remove("default");
    }
}

/// What the schema says about one key or table.
#[derive(Clone, Copy)]
pub(super) struct Shape(&'static Value);

impl Shape {
    /// The top table of a schema that [`schema_of`] made.
    pub(super) fn of(schema: &'static Value) -> Self {
        Self(schema)
    }
}

/// What a value must be.
pub(super) enum Kind {
    /// A table with these keys and no others.
    Table,
    /// A table whose keys are free.
    Map(Shape),
    /// An array.
    Array(Shape),
    /// A table whose keys depend on its `type`.
    Tagged,
    /// One of a few words.
    Choice,
    /// Text in a form that `Shape::format` names, if any.
    Text,
    /// A size: text or a number.
    Size,
    /// A whole number from, to.
    Integer(i64, i64),
    /// A number from, to.
    Float(f64, f64),
    /// True or false.
    Boolean,
    /// A text, a number, true or false.
    Scalar,
    /// What JSON can say.
    Any,
}

impl Shape {
    fn text(self, name: &str) -> Option<&'static str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// The doc comment.
    pub(super) fn description(self) -> &'static str {
        self.text("description").unwrap_or_default()
    }

    /// The name of the form that a text must have.
    pub(super) fn format(self) -> Option<&'static str> {
        self.text("format")
    }

    /// The value of a key that is left out.
    pub(super) fn default(self) -> Option<&'static Value> {
        self.0.get("default")
    }

    /// A value to show where there is no default.
    pub(super) fn example(self) -> Option<&'static Value> {
        self.0.get("examples").and_then(|list| list.get(0))
    }

    /// The keys of a table, in the order of the struct; of a tagged one those of all its kinds.
    pub(super) fn properties(self) -> impl Iterator<Item = (&'static str, Self)> {
        let kinds = self.variants().map(|(_, shape)| shape);
        let tables = std::iter::once(self).chain(kinds);
        let objects = tables.filter_map(|table| table.0.get("properties")?.as_object());
        objects
            .flatten()
            .map(|(name, value)| (name.as_str(), Self(value)))
    }

    /// The kinds of a tagged table, by the word of their `type`.
    pub(super) fn variants(self) -> impl Iterator<Item = (&'static str, Self)> {
        let list = self.0.get("oneOf").and_then(Value::as_array);
        let shapes = list.into_iter().flatten().map(Self);
        shapes.filter_map(|shape| Some((shape.property(TAG)?.text("const")?, shape)))
    }

    /// The kind of a tagged table whose `type` is this word.
    pub(super) fn variant(self, word: &str) -> Option<Self> {
        let mut variants = self.variants();
        variants
            .find(|(known, _)| *known == word)
            .map(|(_, shape)| shape)
    }

    /// A key of a table.
    pub(super) fn property(self, name: &str) -> Option<Self> {
        let object = self.0.get("properties")?;
        object.get(name).map(Self)
    }

    /// Keys that must be there.
    pub(super) fn required(self) -> impl Iterator<Item = &'static str> {
        let list = self.0.get("required").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    }

    /// The words of a choice, each with its meaning.
    pub(super) fn choices(self) -> impl Iterator<Item = (&'static str, Self)> {
        let list = self.0.get("oneOf").and_then(Value::as_array);
        let shapes = list.into_iter().flatten().map(Self);
        shapes.filter_map(|shape| shape.text("const").map(|word| (word, shape)))
    }

    /// What a value must be.
    pub(super) fn kind(self) -> Kind {
        if *self.0 == ANYTHING {
            return Kind::Any;
        }
        if self.variants().next().is_some() {
            return Kind::Tagged;
        }
        if self.0.get("oneOf").is_some() {
            return Kind::Choice;
        }
        match self.text("type") {
            Some("object") => match self.0.get("additionalProperties") {
                Some(values @ Value::Object(_)) => Kind::Map(Self(values)),
                Some(Value::Bool(true)) => Kind::Map(Self(&ANYTHING)),
                _ => Kind::Table,
            },
            Some("array") => Kind::Array(Self(self.0.get("items").unwrap_or(&Value::Null))),
            Some("integer") => {
                let most = match self.format() {
                    Some("uint8") => i64::from(u8::MAX),
                    Some("uint16") => i64::from(u16::MAX),
                    Some("uint32") => i64::from(u32::MAX),
                    _ => i64::MAX,
                };
                let bound = |name| self.0.get(name).and_then(Value::as_i64);
                Kind::Integer(
                    bound("minimum").unwrap_or(0),
                    bound("maximum").unwrap_or(most),
                )
            }
            Some("number") => {
                let bound = |name| self.0.get(name).and_then(Value::as_f64);
                Kind::Float(
                    bound("minimum").unwrap_or(f64::MIN),
                    bound("maximum").unwrap_or(f64::MAX),
                )
            }
            Some("boolean") => Kind::Boolean,
            None if self.format() == Some("byte-size") => Kind::Size,
            None if self.format() == Some("scalar") => Kind::Scalar,
            _ => Kind::Text,
        }
    }

    /// Whether a list of one table may be written as that table: `x-alone` of the schema.
    pub(super) fn may_stand_alone(self) -> bool {
        self.0.get("x-alone") == Some(&Value::Bool(true))
    }

    /// Whether the value is a table or a list of tables, and so has a `[header]`.
    pub(super) fn section(self) -> Option<(Self, bool)> {
        match self.kind() {
            Kind::Table => Some((self, false)),
            Kind::Array(items) if matches!(items.kind(), Kind::Table | Kind::Tagged) => {
                Some((items, true))
            }
            _ => None,
        }
    }
}

/// What a key name holds, wherever it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyNature {
    /// Some section has the key, and it holds no secret.
    Plain,
    /// It refers to a secret, so people may write the secret itself there.
    Secret,
    /// In some sections it does, in others it holds something else.
    Mixed,
    /// No section has it.
    Unknown,
}

/// What a key of this name holds, in the document whose top table is `root`.
pub(super) fn nature(root: Shape, name: &str) -> KeyNature {
    let (mut secret, mut plain) = (false, false);
    for (_, shape) in keys_named(root, name) {
        match shape.format() {
            Some("secret-reference") => secret = true,
            _ => plain = true,
        }
    }
    match (secret, plain) {
        (true, false) => KeyNature::Secret,
        (true, true) => KeyNature::Mixed,
        (false, true) => KeyNature::Plain,
        (false, false) => KeyNature::Unknown,
    }
}

/// The dotted sections that have a key of this name, with the key's shape.
pub(super) fn keys_named(root: Shape, name: &str) -> Vec<(String, Shape)> {
    fn visit(table: Shape, path: &str, name: &str, found: &mut Vec<(String, Shape)>) {
        for (key, shape) in table.properties() {
            if key == name {
                found.push((path.to_owned(), shape));
            }
            if let Some((inner, _)) = shape.section() {
                visit(inner, &join(path, key), name, found);
            }
        }
    }
    let mut found = Vec::new();
    visit(root, "", name, &mut found);
    found
}

/// `section.key`, or only the key at the top.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_uses_only_what_the_walk_understands() {
        let text = document().to_string();
        for word in ["$ref", "anyOf", "allOf", "\"null\""] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }

    #[test]
    fn every_key_is_described() {
        fn visit(table: Shape, path: &str) {
            for (key, shape) in table.properties() {
                // A word that chooses among tables is described by each of those.
                let chooses = key == "type";
                assert!(chooses || !shape.description().is_empty(), "{path}.{key}");
                if let Some((inner, _)) = shape.section() {
                    visit(inner, key);
                }
            }
        }
        visit(root(), "");
    }

    #[test]
    fn secret_keys_are_known_as_such() {
        let nature = |name| nature(root(), name);
        assert_eq!(nature("access_key_secret"), KeyNature::Secret);
        assert_eq!(nature("key"), KeyNature::Mixed);
        assert_eq!(nature("max_bytes"), KeyNature::Plain);
        assert_eq!(nature("max_byte"), KeyNature::Unknown);
    }
}
