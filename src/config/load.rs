//! From text to a checked configuration.
//!
//! Promise: every problem is told at once, each with its place. A TOML error is one problem: past
//! it, the text has no meaning. A configuration with a warning loads; one with an error does not.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::DeTable;

use super::Config;
use super::check::{Finding, check};
use super::excerpt::Source;
use super::overrides::Overrides;
use super::problems::{Place, Problem, Problems};
use super::reader::Reader;
use super::schema;
use super::walk::Walk;

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
        let origin = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| {
            let problem = Problem::error("", format!("cannot read the file: {error}"));
            Problems::one(&origin, problem)
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let problem = Problem::error("", format!("the file is not UTF-8, from byte {at} on"));
            Problems::one(&origin, problem)
        })?;
        Self::parse(&text, &origin, overrides)
    }

    /// The same with a text. `origin` is its name in problems.
    ///
    /// # Errors
    /// Everything that is wrong, warnings included.
    pub fn parse(text: &str, origin: &str, overrides: &Overrides) -> Result<Self, Problems> {
        let source = Source::new(text, schema::root());
        let mut table = DeTable::parse(text).map_err(|error| {
            let problem = Problem::error("", format!("not TOML: {}", error.message()));
            let span = error.span().unwrap_or_default();
            Problems::one(origin, problem.at(source.place_of_syntax(&span)))
        })?;
        let mut walk = Walk::new(&source);
        let span = table.span();
        walk.table(schema::root(), "", table.get_mut(), &span);
        let Walk {
            mut problems,
            mut places,
            ..
        } = walk;
        let mut config: Config = match read(table, &source) {
            Ok(config) => config,
            // After other problems, what the walk took out may be all that is missing now.
            Err(problem) => {
                let known = Problems::of(origin, problems);
                return Err(known.unwrap_or_else(|| Problems::one(origin, *problem)));
            }
        };
        config.apply(overrides);
        overrides.keys().for_each(|key| places.forget(key));
        add_findings(&mut problems, check(&config), |keys| {
            places.find(keys).map(|span| source.place(&span))
        });
        settle(config, origin, problems)
    }

    /// Checks a configuration that does not come from a text, such as [`Config::quickstart`].
    ///
    /// # Errors
    /// Everything that is wrong, warnings included.
    pub fn new(config: Config, origin: &str) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        add_findings(&mut problems, check(&config), |_| None);
        settle(config, origin, problems)
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

/// Adds what the check found, but not what only follows from a value that was already refused.
fn add_findings(
    problems: &mut Vec<Problem>,
    found: Vec<Finding>,
    place: impl Fn(&[String]) -> Option<Place>,
) {
    let refused: Vec<String> = problems.iter().map(|problem| problem.key.clone()).collect();
    for finding in found {
        let follows = finding
            .keys
            .iter()
            .any(|key| refused.iter().any(|other| touches(key, other)));
        if !follows {
            let place = place(&finding.keys);
            problems.push(Problem {
                place,
                ..finding.problem()
            });
        }
    }
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

fn settle(config: Config, origin: &str, problems: Vec<Problem>) -> Result<Checked, Problems> {
    match Problems::of(origin, problems) {
        Some(problems) if problems.has_errors() => Err(problems),
        warnings => Ok(Checked { config, warnings }),
    }
}
