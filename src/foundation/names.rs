//! Names of projects and logstores, checked once.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a {what} name has 3 to 63 characters: lower-case letters, digits, `-`{underscore}; \
     it starts and ends with a letter or a digit"
)]
pub struct NameError {
    what: &'static str,
    underscore: &'static str,
}

fn is_name(text: &str, underscore: bool) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes
            .iter()
            .all(|b| plain(*b) || *b == b'-' || (underscore && *b == b'_'))
        && bytes.first().is_some_and(|b| plain(*b))
        && bytes.last().is_some_and(|b| plain(*b))
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $underscore:literal, $hint:literal, $format:literal, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks a name.
            ///
            /// # Errors
            /// When the text breaks the rules of SLS for such names.
            pub fn new(text: &str) -> Result<Self, NameError> {
                if is_name(text, $underscore) {
                    Ok(Self(text.into()))
                } else {
                    Err(NameError { what: $what, underscore: $hint })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format, "pattern": $pattern })
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// A project name: a DNS label, since it stands in front of the endpoint.
    ProjectName,
    "project",
    false,
    "",
    "project-name",
    "^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$"
);
name_type!(
    /// A logstore name: 3 to 63 of lower-case letters, digits, `-` and `_` (SLS data model).
    LogstoreName,
    "logstore",
    true,
    ", `_`",
    "logstore-name",
    "^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$"
);

impl LogstoreName {
    /// The name of what takes the events of a logstore for a second destination: `web@archive`. No
    /// client can name it, and no configuration.
    ///
    /// # Errors
    /// When the name of the destination is not of letters, digits, `-`, `_` and `.`, or longer than 63.
    pub fn copy_for(&self, destination: &str) -> Result<Self, NameError> {
        Self::of_lane(&format!("{self}@{destination}"))
    }

    /// The name of a logstore, or of what takes its events for a second destination.
    ///
    /// # Errors
    /// When the text breaks the rules for either.
    pub fn of_lane(text: &str) -> Result<Self, NameError> {
        let Some((logstore, destination)) = text.split_once('@') else {
            return Self::new(text);
        };
        let known = Self::new(logstore)?;
        if is_destination(destination) {
            Ok(Self(format!("{known}@{destination}").into()))
        } else {
            Err(NameError {
                what: "logstore",
                underscore: ", `_`",
            })
        }
    }
}

/// Whether a destination of this name may get copies: the name is that of a folder as well.
#[must_use]
pub fn is_destination(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=63).contains(&name.len()) && name.bytes().all(plain)
}

/// Whether a field of this name is written by the store or by Tollgate alone, or is part of an event's
/// head (SLS: reserved fields).
#[must_use]
pub fn is_reserved_field(name: &[u8]) -> bool {
    name.first() == Some(&b'_')
        && (name.starts_with(b"__tag__:")
            || matches!(
                name,
                b"__time__"
                    | b"__time_ns_part__"
                    | b"__source__"
                    | b"__topic__"
                    | b"__partition_time__"
                    | b"_extract_others_"
                    | b"__extract_others__"
                    | b"__pack_id__"
                    | b"__token__"
                    | b"__client_time__"
            ))
}

/// What the name of a tag begins with where it stands among names of fields.
pub const LABEL_TAG: &[u8] = b"__tag__:";

/// Whether a name is that of the topic, the source or a tag.
#[must_use]
pub fn is_label(name: &[u8]) -> bool {
    matches!(name, b"__topic__" | b"__source__") || name.starts_with(LABEL_TAG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_the_store() {
        for good in ["abc", "web-tracking-logstore", "a_b", "0a0"] {
            assert!(LogstoreName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "-abc",
            "abc-",
            "Abc",
            "a/b",
            "a.b",
            "äbc",
            &"a".repeat(64),
        ] {
            assert!(LogstoreName::new(bad).is_err(), "{bad}");
        }
        assert!(ProjectName::new("a_b").is_err(), "a project is a DNS label");
    }
}
