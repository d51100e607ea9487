//! Formats that a text may have.

use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

use super::super::format::Format;

/// The formats that are recognised, the narrowest first.
const NAMES: [&str; 7] = ["uuid", "date-time", "date", "ipv4", "ipv6", "email", "uri"];

/// A set of formats, as bits by their place in [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FormatSet(u8);

impl FormatSet {
    /// Every one.
    pub(super) const ALL: Self = Self(0x7f);

    /// The narrowest.
    pub(super) fn name(self) -> Option<&'static str> {
        let named = NAMES.iter().enumerate();
        let mut left = named.filter(|(bit, _)| self.0 & (1 << bit) != 0);
        left.next().map(|(_, name)| *name)
    }
}

/// Checks formats as a compiled schema does.
pub(super) struct Formats {
    /// In the order of [`NAMES`]; the crate's validator where the check is not ours.
    checks: Vec<(Option<Format>, Option<Validator>)>,
    text: Value,
}

impl Formats {
    pub(super) fn new() -> Self {
        let checks = NAMES.iter().map(|name| {
            let own = Format::named(name);
            let options = jsonschema::options()
                .with_draft(Draft::Draft202012)
                .offline()
                .should_validate_formats(true);
            let validator = match own {
                Some(_) => None,
                None => options.build(&json!({ "format": name })).ok(),
            };
            (own, validator)
        });
        Self {
            checks: checks.collect(),
            text: Value::Null,
        }
    }

    /// Those of a set that a text has.
    pub(super) fn of(&mut self, text: &str, among: FormatSet) -> FormatSet {
        let mut left = among;
        for (bit, (own, validator)) in self.checks.iter().enumerate() {
            if left.0 & (1 << bit) == 0 {
                continue;
            }
            let fits = match (own, validator) {
                (Some(format), _) => format.fits(text.as_bytes()),
                (None, Some(validator)) => {
                    self.text = Value::String(text.to_owned());
                    validator.is_valid(&self.text)
                }
                (None, None) => false,
            };
            if !fits {
                left.0 &= !(1 << bit);
            }
        }
        left
    }
}
