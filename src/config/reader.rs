//! Values out of a TOML document: one way for every type.
//!
//! Own code, since serde makes a copy of what reads a type for each kind of map that may hold it. The
//! deserializer of `toml` has three (tables, dates, spans), and what tells the path of an error wraps each
//! in its own: together they were a tenth of the binary. This one has one kind of map, one of lists, and
//! tells path and place itself.
//!
//! Not here: dates, which no key takes, and what can be told better (`walk`, which comes before).

use std::fmt::{self, Display};
use std::ops::Range;
use std::vec::IntoIter;

use serde::Deserializer;
use serde::de::{
    DeserializeSeed, EnumAccess, Error as _, IntoDeserializer as _, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeInteger, DeString, DeTable, DeValue};

/// Why a value cannot be read.
#[derive(Debug)]
pub(super) struct ReadError(Box<Told>);

#[derive(Debug)]
struct Told {
    message: String,
    /// Where it stands in the text.
    span: Option<Range<usize>>,
    /// The names of keys and numbers of elements on the way to it, the innermost first.
    way: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Key(String),
    Element(usize),
}

impl ReadError {
    pub(super) fn message(&self) -> &str {
        &self.0.message
    }

    pub(super) fn span(&self) -> Option<Range<usize>> {
        self.0.span.clone()
    }

    /// The key, as problems name it.
    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        for step in self.0.way.iter().rev() {
            match step {
                Step::Key(key) if path.is_empty() => path.push_str(key),
                Step::Key(key) => {
                    path.push('.');
                    path.push_str(key);
                }
                Step::Element(index) => {
                    path.push_str(&format!("[{index}]"));
                }
            }
        }
        path
    }

    /// The same, at a place if none is known yet.
    fn at(mut self, span: &Range<usize>) -> Self {
        self.0.span.get_or_insert_with(|| span.clone());
        self
    }

    fn below(mut self, step: Step) -> Self {
        self.0.way.push(step);
        self
    }
}

impl Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for ReadError {}

impl serde::de::Error for ReadError {
    fn custom<T: Display>(message: T) -> Self {
        Self(Box::new(Told {
            message: message.to_string(),
            span: None,
            way: Vec::new(),
        }))
    }
}

/// A value of a document.
pub(super) struct Reader<'t> {
    value: DeValue<'t>,
    span: Range<usize>,
}

impl<'t> Reader<'t> {
    /// Of a whole document.
    pub(super) fn new(table: Spanned<DeTable<'t>>) -> Self {
        let span = table.span();
        Self {
            value: DeValue::Table(table.into_inner()),
            span,
        }
    }

    fn of(value: Spanned<DeValue<'t>>) -> Self {
        let span = value.span();
        Self {
            value: value.into_inner(),
            span,
        }
    }
}

fn visit_integer<'de, V: Visitor<'de>>(
    value: &DeInteger<'_>,
    visitor: V,
) -> Result<V::Value, ReadError> {
    let (digits, radix) = (value.as_str(), value.radix());
    if let Ok(number) = i64::from_str_radix(digits, radix) {
        return visitor.visit_i64(number);
    }
    match u64::from_str_radix(digits, radix) {
        Ok(number) => visitor.visit_u64(number),
        Err(_) => Err(ReadError::custom("integer number overflowed")),
    }
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let span = self.span;
        let read = match self.value {
            DeValue::String(text) => visitor.visit_string(text.into_owned()),
            DeValue::Integer(value) => visit_integer(&value, visitor),
            DeValue::Float(value) => match value.as_str().parse() {
                Ok(number) => visitor.visit_f64(number),
                Err(_) => Err(ReadError::custom("floating-point number overflowed")),
            },
            DeValue::Boolean(value) => visitor.visit_bool(value),
            DeValue::Datetime(value) => visitor.visit_string(value.to_string()),
            DeValue::Array(values) => visitor.visit_seq(Elements {
                left: values.into_iter().collect::<Vec<_>>().into_iter(),
                index: 0,
            }),
            DeValue::Table(table) => visitor.visit_map(Entries::new(table)),
        };
        read.map_err(|error| error.at(&span))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        // What is not there is not read at all.
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let span = self.span.clone();
        let (name, value) = match self.value {
            DeValue::String(name) => (name, None),
            DeValue::Table(table) => {
                let mut entries = table.into_iter();
                let (Some((name, value)), None) = (entries.next(), entries.next()) else {
                    return Err(ReadError::custom("wanted exactly 1 element").at(&span));
                };
                (name.into_inner(), Some(Self::of(value)))
            }
            _ => return Err(ReadError::custom("wanted string or table").at(&span)),
        };
        let read = visitor.visit_enum(Variant { name, value });
        read.map_err(|error| error.at(&span))
    }

    forward_to_deserialize_any! {
        bool u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64 char str string seq bytes byte_buf map unit
        struct ignored_any unit_struct tuple_struct tuple identifier
    }
}

/// The entries of a table.
struct Entries<'t> {
    left: IntoIter<(Spanned<DeString<'t>>, Spanned<DeValue<'t>>)>,
    next: Option<(String, Spanned<DeValue<'t>>)>,
}

impl<'t> Entries<'t> {
    fn new(table: DeTable<'t>) -> Self {
        Self {
            left: table.into_iter().collect::<Vec<_>>().into_iter(),
            next: None,
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let Some((key, value)) = self.left.next() else {
            return Ok(None);
        };
        let span = key.span();
        let key = key.into_inner().into_owned();
        let name = seed.deserialize(key.as_str().into_deserializer());
        let name =
            name.map_err(|error: ReadError| error.at(&span).below(Step::Key(key.clone())))?;
        self.next = Some((key, value));
        Ok(Some(name))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some((key, value)) = self.next.take() else {
            return Err(ReadError::custom("a value was asked for before its key"));
        };
        let span = value.span();
        let read = seed.deserialize(Reader::of(value));
        read.map_err(|error| error.at(&span).below(Step::Key(key)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.len())
    }
}

/// The elements of a list.
struct Elements<'t> {
    left: IntoIter<Spanned<DeValue<'t>>>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some(value) = self.left.next() else {
            return Ok(None);
        };
        let index = self.index;
        self.index += 1;
        let read = seed.deserialize(Reader::of(value));
        let read = read.map_err(|error| error.below(Step::Element(index)));
        read.map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.len())
    }
}

/// One of several: its name alone, or a table with one key.
struct Variant<'t> {
    name: DeString<'t>,
    value: Option<Reader<'t>>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = ReadError;
    type Variant = Content<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Content<'de>), ReadError> {
        let name = seed.deserialize(self.name.as_ref().into_deserializer())?;
        Ok((name, Content(self.value)))
    }
}

/// What stands beside the name of one of several.
struct Content<'t>(Option<Reader<'t>>);

impl<'t> Content<'t> {
    fn there(self) -> Result<Reader<'t>, ReadError> {
        let missing = || ReadError::custom("a table is wanted, and not its name alone");
        self.0.ok_or_else(missing)
    }
}

impl<'de> VariantAccess<'de> for Content<'de> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.0 {
            None => Ok(()),
            Some(value) => Err(ReadError::custom("a name alone is wanted").at(&value.span)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        seed.deserialize(self.there()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.there()?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.there()?.deserialize_any(visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::config::{Config, Limit};

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        name: String,
        size: Option<u16>,
        share: Option<f64>,
        big: Option<u64>,
        on: Option<bool>,
        #[serde(default)]
        inner: Vec<Inner>,
        #[serde(default)]
        map: BTreeMap<String, Vec<i8>>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        One,
        Two,
        Many { count: u8 },
        Wrapped(Name),
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Name(String);

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        word: Word,
        name: Option<Name>,
        pair: Option<(u8, String)>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "type", rename_all = "lowercase")]
    enum Tagged {
        Plain { at: u8 },
        Nested { inner: Inner },
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Steps {
        steps: Vec<Tagged>,
    }

    type Told = (String, String, Option<Range<usize>>);

    fn ours<T: DeserializeOwned>(text: &str) -> Result<T, Told> {
        let read = T::deserialize(Reader::new(DeTable::parse(text).unwrap()));
        read.map_err(|error| (error.path(), error.message().to_owned(), error.span()))
    }

    fn theirs<T: DeserializeOwned>(text: &str) -> Result<T, Told> {
        let table = toml::de::Deserializer::from(DeTable::parse(text).unwrap());
        serde_path_to_error::deserialize(table).map_err(|error| {
            let path = error.path().to_string();
            let path = if path == "." { String::new() } else { path };
            let inner = error.into_inner();
            (path, inner.message().to_owned(), inner.span())
        })
    }

    #[test]
    fn what_it_reads_and_what_it_says_is_what_the_crates_do() {
        for text in [
            "name = \"a\"",
            "name = \"a\"\nsize = 7\nshare = 1.5\nbig = 0xffff_ffff_ffff_ffff\non = true",
            "name = \"a\"\nshare = inf",
            "name = \"a\"\n[map]\na = [1, -2]\n\"b.c\" = []",
            "name = \"a\"\n[[inner]]\nword = \"two\"\nname = \"x\"\npair = [1, \"y\"]",
            "name = \"a\"\ninner = [{ word = { many = { count = 3 } } }, { word = { wrapped = \"w\" } }]",
            "",
            "size = 7",
            "name = 7",
            "name = \"a\"\nsize = 70000",
            "name = \"a\"\nsize = -1",
            "name = \"a\"\nsize = \"1\"",
            "name = \"a\"\nbig = 1.5",
            "name = \"a\"\non = 1",
            "name = \"a\"\nwhat = 1",
            "name = \"a\"\ninner = 1",
            "name = \"a\"\n[[inner]]\n",
            "name = \"a\"\n[[inner]]\nword = \"one\"\n[[inner]]\nword = \"two\"\nname = 1",
            "name = \"a\"\n[[inner]]\nword = \"one\"\npair = [1]",
            "name = \"a\"\n[map]\na = [1, 2, 300]",
            "name = \"a\"\nmap = []",
        ] {
            assert_eq!(ours::<Outer>(text), theirs::<Outer>(text), "{text}");
        }
        for text in [
            "steps = [{ type = \"plain\", at = 1 }, { type = \"nested\", inner = { word = \"one\" } }]",
            "steps = [{ type = \"plain\", at = 1 }, { type = \"plain\", at = 1000 }]",
            "steps = [{ type = \"nested\", inner = { word = \"none\" } }]",
            "steps = [{ at = 1 }]",
        ] {
            assert_eq!(ours::<Steps>(text), theirs::<Steps>(text), "{text}");
        }
    }

    #[test]
    fn whole_configurations_are_read_alike() {
        // Read as it runs: the image is built without them.
        let file = |name: &str| std::fs::read_to_string(format!("config/{name}")).unwrap();
        for text in [
            &*file("quickstart.toml"),
            &*file("tollgate.toml"),
            "[ingest]\nheader_timeout = \"soon\"",
            "[limits]\nmemory = \"much\"",
            "[[project]]\nname = \"a/b\"",
            "[[project]]\nname = \"shop\"\n[[project.logstore]]\nname = \"web\"\naccept = [\"all\"]",
        ] {
            assert_eq!(ours::<Config>(text), theirs::<Config>(text), "{text}");
        }
        let limit = "name = \"a\"\nrate = [{ count = 1, per = \"1 second and a bit\" }]";
        assert_eq!(ours::<Limit>(limit), theirs::<Limit>(limit));
    }

    #[test]
    fn one_of_several_is_a_name_or_a_table_with_one() {
        for (text, message) in [
            ("word = \"three\"", "unknown variant `three`"),
            ("word = 1", "wanted string or table"),
            ("word = {}", "wanted exactly 1 element"),
            ("word = { one = 1, two = 2 }", "wanted exactly 1 element"),
            ("word = \"many\"", "a table is wanted"),
            ("word = { one = 1 }", "a name alone is wanted"),
            (
                "word = { many = { count = 999 } }",
                "invalid value: integer `999`",
            ),
        ] {
            let (path, told, span) = ours::<Inner>(text).unwrap_err();
            assert!(path.starts_with("word"), "{text}: {path}");
            assert!(told.contains(message), "{text}: {told}");
            assert!(span.is_some_and(|span| span.start >= 7), "{text}");
        }
    }
}
