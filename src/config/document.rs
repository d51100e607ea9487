//! Documents in TOML beside the configuration: read, held against the schema of their type, and told
//! about in the same way.
//!
//! Promise: as of the configuration, every unknown key, wrong type and wrong word is told at once, each
//! with its place.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::de::DeTable;

use super::excerpt::Source;
use super::load::read;
use super::problems::{Problem, Problems};
use super::schema::{Shape, schema_of};
use super::walk::{Places, Walk};

/// What a kind of document may hold. To be kept in a static.
#[derive(Debug)]
pub struct DocumentForm(Value);

/// A text, a number, true or false.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Float(f64),
    /// A text.
    Text(String),
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            // As JSON writes it: 3.0 keeps its fraction.
            Self::Float(value) => Value::from(*value).fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "format": "scalar" })
    }
}

/// A document that was read.
#[derive(Debug)]
pub struct Document<T> {
    /// What it says.
    pub value: T,
    form: &'static DocumentForm,
    text: String,
    origin: String,
    places: Places,
}

impl DocumentForm {
    /// The form of the documents of a type.
    #[must_use]
    pub fn of<T: JsonSchema>() -> Self {
        Self(schema_of::<T>())
    }

    fn shape(&'static self) -> Shape {
        Shape::of(&self.0)
    }
}

impl<T: DeserializeOwned> Document<T> {
    /// Reads a text. `origin` is its name in problems.
    ///
    /// # Errors
    /// Everything that is wrong with the keys and values of the text.
    pub fn parse(
        form: &'static DocumentForm,
        text: String,
        origin: &str,
    ) -> Result<Self, Problems> {
        let source = Source::new(&text, form.shape());
        let mut table = DeTable::parse(&text).map_err(|error| {
            let problem = Problem::error("", format!("not TOML: {}", error.message()));
            let span = error.span().unwrap_or_default();
            Problems::one(origin, problem.at(source.place_of_syntax(&span)))
        })?;
        let mut walk = Walk::new(&source);
        let span = table.span();
        walk.table(form.shape(), "", table.get_mut(), &span);
        let Walk {
            problems, places, ..
        } = walk;
        if let Some(problems) = Problems::of(origin, problems) {
            return Err(problems);
        }
        let value = read(table, &source).map_err(|problem| Problems::one(origin, *problem))?;
        Ok(Self {
            value,
            form,
            origin: origin.to_owned(),
            places,
            text,
        })
    }
}

impl<T> Document<T> {
    /// The name of the document in problems.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Problems that a further check found, each at the place of its key; `None` when there are none.
    #[must_use]
    pub fn problems(&self, found: Vec<Problem>) -> Option<Problems> {
        let source = Source::new(&self.text, self.form.shape());
        let placed = found.into_iter().map(|problem| {
            let span = self.places.find(std::slice::from_ref(&problem.key));
            Problem {
                place: span.map(|span| source.place(&span)),
                ..problem
            }
        });
        Problems::of(&self.origin, placed.collect())
    }
}
