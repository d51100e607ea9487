//! From text to a checked configuration.
//!
//! Promise: every problem is told at once, each with its place. A TOML error is one problem: past
//! it, the text has no meaning. Where a part is missing that nothing can be read without, rules over
//! several keys wait for it, and that is said. A configuration with a warning loads; one with an
//! error does not.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::DeTable;

use super::Config;
use super::check::{Finding, check};
use super::excerpt::Source;
use super::overrides::Overrides;
use super::problems::{Problem, Problems, Severity};
use super::reader::Reader;
use super::schema;
use super::walk::{Places, Walk};

/// A configuration that passed every check, and what it was warned about.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The configuration.
    pub config: Config,
    /// Things that someone should look at.
    pub warnings: Option<Problems>,
}

impl Config {
    /// Reads and checks a file. Warnings are left out; see [`Checked::load`].
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        Checked::load(path, &Overrides::default()).map(|checked| checked.config)
    }

    /// Reads and checks a text. `origin` is its name in problems.
    ///
    /// # Errors
    /// Everything that is wrong with the text.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Problems> {
        Checked::parse(text, origin, &Overrides::default()).map(|checked| checked.config)
    }
}

impl Checked {
    /// Reads a file, puts what the command line says in place of it, and checks the whole.
    ///
    /// # Errors
    /// Everything that is wrong, warnings included.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, Problems> {
        Examined::load(path, overrides).settle()
    }

    /// The same with a text. `origin` is its name in problems.
    ///
    /// # Errors
    /// Everything that is wrong, warnings included.
    pub fn parse(text: &str, origin: &str, overrides: &Overrides) -> Result<Self, Problems> {
        Examined::parse(text.to_owned(), origin, overrides).settle()
    }

    /// Checks a configuration that does not come from a text, such as [`Config::quickstart`].
    ///
    /// # Errors
    /// Everything that is wrong, warnings included.
    pub fn new(config: Config, origin: &str) -> Result<Self, Problems> {
        Examined::new(config, origin).settle()
    }
}

/// A configuration as far as it can be read, and all that is known to be wrong with it.
#[derive(Debug)]
pub struct Examined {
    origin: String,
    text: String,
    places: Places,
    problems: Vec<Problem>,
    /// Keys whose values were refused.
    refused: Vec<String>,
    config: Option<Config>,
}

impl Examined {
    /// Reads a file, and puts what the command line says in place of it.
    #[must_use]
    pub fn load(path: &Path, overrides: &Overrides) -> Self {
        let origin = path.display().to_string();
        let text = std::fs::read(path)
            .map_err(|error| format!("cannot read the file: {error}"))
            .and_then(|bytes| {
                String::from_utf8(bytes).map_err(|error| {
                    let at = error.utf8_error().valid_up_to();
                    format!("the file is not UTF-8, from byte {at} on")
                })
            });
        match text {
            Ok(text) => Self::parse(text, &origin, overrides),
            Err(message) => Self {
                problems: vec![Problem::error("", message)],
                ..Self::empty(String::new(), &origin)
            },
        }
    }

    /// The same with a text. `origin` is its name in problems.
    #[must_use]
    pub fn parse(text: String, origin: &str, overrides: &Overrides) -> Self {
        let mut examined = Self::empty(String::new(), origin);
        let source = Source::new(&text, schema::root());
        match DeTable::parse(&text) {
            Ok(table) => examined.take(table, &source, overrides),
            Err(error) => {
                let problem = Problem::error("", format!("not TOML: {}", error.message()));
                let span = error.span().unwrap_or_default();
                examined.problems = vec![problem.at(source.place_of_syntax(&span))];
            }
        }
        Self { text, ..examined }
    }

    /// One that does not come from a text.
    #[must_use]
    pub fn new(config: Config, origin: &str) -> Self {
        let mut examined = Self::empty(String::new(), origin);
        let found = check(&config);
        examined.config = Some(config);
        examined.add(found.into_iter().map(Finding::problem));
        examined.refused = examined.keys_of_errors();
        examined
    }

    fn empty(text: String, origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            text,
            places: Places::default(),
            problems: Vec::new(),
            refused: Vec::new(),
            config: None,
        }
    }

    fn take(
        &mut self,
        mut table: Spanned<DeTable<'_>>,
        source: &Source<'_>,
        overrides: &Overrides,
    ) {
        let mut walk = Walk::new(source);
        let span = table.span();
        walk.table(schema::root(), "", table.get_mut(), &span);
        self.problems = walk.problems;
        self.places = walk.places;
        let mut config: Config = match read(table, source) {
            Ok(config) => config,
            // After other problems, what the walk took out may be all that is missing now.
            Err(_) if !self.problems.is_empty() => return,
            Err(problem) => {
                self.problems.push(*problem);
                return;
            }
        };
        config.apply(overrides);
        overrides.keys().for_each(|key| self.places.forget(key));
        let found = check(&config);
        self.config = Some(config);
        let refused = self.keys_of_errors();
        self.problems
            .extend(found.into_iter().filter_map(|finding| {
                let place = self
                    .places
                    .find(&finding.keys)
                    .map(|span| source.place(&span));
                let follows = finding.keys.iter().any(|key| follows(key, &refused));
                (!follows).then(|| Problem {
                    place,
                    ..finding.problem()
                })
            }));
        self.refused = self.keys_of_errors();
    }

    fn keys_of_errors(&self) -> Vec<String> {
        let all = self.problems.iter();
        let errors = all.filter(|problem| problem.severity == Severity::Error);
        errors.map(|problem| problem.key.clone()).collect()
    }

    /// What can be read of it: all of it, unless it says nothing or a part is missing that it cannot
    /// be without. What is wrong is not in it.
    #[must_use]
    pub fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    /// Whether something keeps Tollgate from starting.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        let mut all = self.problems.iter();
        all.any(|problem| problem.severity == Severity::Error)
    }

    /// Adds what was found in the files that it names, each at the place of its key, but not what
    /// only follows from a value that was already refused.
    pub fn add(&mut self, found: impl IntoIterator<Item = Problem>) {
        let source = Source::new(&self.text, schema::root());
        let found = found.into_iter();
        let found = found.filter(|problem| !follows(&problem.key, &self.refused));
        let placed = found.map(|problem| {
            let span = self.places.find(std::slice::from_ref(&problem.key));
            let place = span.map(|span| source.place(&span));
            Problem { place, ..problem }
        });
        let placed: Vec<Problem> = placed.collect();
        self.problems.extend(placed);
    }

    /// The configuration, if nothing is wrong with it.
    ///
    /// # Errors
    /// Everything that is wrong, warnings included.
    pub fn settle(self) -> Result<Checked, Problems> {
        let whole = self.config.is_some();
        match (Problems::of(&self.origin, self.problems), self.config) {
            (Some(problems), _) if !whole || problems.has_errors() => Err(match whole {
                true => problems,
                false => problems.unfinished(),
            }),
            (warnings, Some(config)) => Ok(Checked { config, warnings }),
            (None, None) | (Some(_), None) => Err(Problems::one(
                &self.origin,
                Problem::error("", "the configuration cannot be read"),
            )),
        }
    }
}

pub(super) fn read<T: DeserializeOwned>(
    table: Spanned<DeTable<'_>>,
    source: &Source<'_>,
) -> Result<T, Box<Problem>> {
    T::deserialize(Reader::new(table)).map_err(|error| {
        let problem = Problem::error(error.path(), error.message());
        match error.span() {
            Some(span) => Box::new(problem.at(source.place(&span))),
            None => Box::new(problem),
        }
    })
}

/// Whether what was found at a key only follows from what was refused before.
fn follows(key: &str, refused: &[String]) -> bool {
    !key.is_empty() && refused.iter().any(|other| touches(key, other))
}

/// Whether one key is the other, or stands in it.
fn touches(key: &str, other: &str) -> bool {
    let under = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    under(key, other) || under(other, key)
}
