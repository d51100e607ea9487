//! From the configuration of a step to what runs.

use super::address::AddressStep;
use super::agent::{self, AgentStep};
use super::condition::Condition;
use super::hash::{HashForm, HashKey, HashStep};
use super::json::ParseStep;
use super::mask::{Mask, Pen, What};
use super::names::NameSet;
use super::problem::Defect;
use super::query::SplitStep;
use super::steps::{Act, AddStep, PrivacyAct, PrivacyStep, SampleStep};
use super::token::{DecodeStep, EncodeStep};
use super::{Step, Target};
use crate::config::{
    AddressField, AddressForm, HashEncoding, MIN_HASH_KEY, MaskFields, OnError, Piece,
    PrivacyAction, PrivacySignals, RouteEvents, SampleEvents, Transform, compile_regex,
    parse_template,
};
use crate::event::AttachedNames;
use crate::foundation::names::is_reserved_field;
use crate::foundation::secret::{Secret, SecretRef};

/// What compiling needs beside the step.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) attached: &'a AttachedNames,
    /// For choices and hashes of steps that name no key.
    pub(super) seed: &'a Secret,
    /// Where steps route to, in the order of the steps.
    pub(super) targets: &'a mut Vec<Target>,
}

impl Context<'_> {
    /// Compiles one step.
    pub(super) fn step(&mut self, place: usize, config: &Transform) -> Result<Step, Defect> {
        let (act, on_error) = self.act(config)?;
        let when = config.when().map(Condition::new).transpose()?;
        Ok(Step {
            label: format!("{}_{place}", config.kind()).into(),
            // A condition is asked of an event, and they are of the request.
            labels: when.is_none() && act.names_labels(),
            when,
            on_error,
            act,
        })
    }

    fn act(&mut self, config: &Transform) -> Result<(Act, OnError), Defect> {
        // What only the edge knows must not be left to what a client wrote under the same name.
        let edge = OnError::DropField;
        Ok(match config {
            Transform::Add(add) => {
                let step = AddStep {
                    field: self.writes("field", &add.field)?,
                    pieces: template("value", &add.value)?,
                    missing: add.missing,
                };
                (Act::Add(step), add.on_error)
            }
            Transform::Rename(rename) => {
                let from = rename.from.as_bytes().into();
                let to = self.writes("to", &rename.to)?;
                (Act::Rename { from, to }, OnError::Keep)
            }
            Transform::Remove(remove) => (Act::Remove(names(&remove.fields)?), edge),
            Transform::KeepOnly(keep) => (Act::KeepOnly(names(&keep.fields)?), edge),
            Transform::ClientAddress(address) => (self.address(address)?, edge),
            Transform::UserAgent(config) => {
                let step = AgentStep::new(&config.field, config.parse);
                self.writes("field", &config.field)?;
                for part in step.parts.iter().flatten() {
                    self.free("field", part)?;
                }
                if config.parse {
                    agent::prepare().map_err(|why| Defect::new("parse", why))?;
                }
                (Act::Agent(step), edge)
            }
            Transform::Referer(referer) => {
                let field = self.writes("field", &referer.field)?;
                let form = referer.form;
                (Act::Referer { field, form }, edge)
            }
            Transform::ReceiveTime(time) => {
                let field = self.writes("field", &time.field)?;
                let format = time.format;
                (Act::Time { field, format }, edge)
            }
            Transform::ServerId(server) => {
                let field = self.writes("field", &server.field)?;
                (Act::Server { field }, edge)
            }
            Transform::Mask(config) => (Act::Mask(mask(config)?), config.on_error),
            Transform::Hash(config) => {
                let longest = match config.encoding {
                    HashEncoding::Hex => 64,
                    HashEncoding::Base64url => 43,
                };
                let step = HashStep {
                    fields: names(&config.fields)?,
                    key: key(Some(&config.key))?,
                    form: HashForm {
                        encoding: config.encoding,
                        length: config.length.map_or(longest, usize::from),
                    },
                    by_field: config.by_field,
                };
                (Act::Hash(step), config.on_error)
            }
            other => return self.other(other),
        })
    }

    /// Steps that do more than write a field.
    fn other(&mut self, config: &Transform) -> Result<(Act, OnError), Defect> {
        let edge = OnError::DropField;
        Ok(match config {
            Transform::PrivacySignals(config) => (Act::Privacy(privacy(config)?), edge),
            Transform::Sample(config) => (Act::Sample(self.sample(config)?), edge),
            Transform::ParseJson(config) => {
                self.free("prefix", config.prefix.as_bytes())?;
                let step = ParseStep {
                    field: config.field.as_bytes().into(),
                    prefix: config.prefix.as_bytes().into(),
                    flatten: config.flatten,
                    max_fields: config.max_fields as usize,
                    keep_source: config.keep_source,
                };
                (Act::Parse(step), config.on_error)
            }
            Transform::SplitQuery(config) => {
                self.free("prefix", config.prefix.as_bytes())?;
                let step = SplitStep {
                    field: config.field.as_bytes().into(),
                    prefix: config.prefix.as_bytes().into(),
                    max_fields: config.max_fields as usize,
                    keep_source: config.keep_source,
                };
                (Act::Split(step), config.on_error)
            }
            Transform::JwtEncoding(config) => {
                let target = self.writes("target", &config.target)?;
                let step = EncodeStep::new(config, target)?;
                (Act::Encode(step), config.on_error)
            }
            Transform::JwtDecoding(config) => {
                let target = self.writes("target", &config.target)?;
                let step = DecodeStep::new(config, target)?;
                (Act::Decode(step), config.on_error)
            }
            Transform::Route(route) => (Act::Route(self.target(route)), edge),
            _ => return Err(Defect::new("type", "is no step")),
        })
    }

    /// A name that may be written.
    fn writes(&self, key: &'static str, name: &str) -> Result<Box<[u8]>, Defect> {
        if name.is_empty() {
            return Err(Defect::new(key, "a field has a name"));
        }
        self.free(key, name.as_bytes())?;
        Ok(name.as_bytes().into())
    }

    /// Names of the store, and those that stand for claims and cookies, mean what they say.
    fn free(&self, key: &'static str, name: &[u8]) -> Result<(), Defect> {
        if is_reserved_field(name) || self.attached.has_field(name) {
            let name = String::from_utf8_lossy(name);
            let message = format!("`{name}` is reserved, or given by a credential or cookie");
            return Err(Defect::new(key, message));
        }
        Ok(())
    }

    fn address(&self, config: &AddressField) -> Result<Act, Defect> {
        let (ipv4, ipv6) = match config.form {
            AddressForm::Prefix => (24, 48),
            AddressForm::KeyedHash => (32, 64),
            AddressForm::Whole => (32, 128),
        };
        let hashed = config.form == AddressForm::KeyedHash;
        let key = hashed.then(|| key(config.key.as_ref())).transpose()?;
        Ok(Act::Address(AddressStep {
            field: self.writes("field", &config.field)?,
            ipv4_prefix: config.ipv4_prefix.unwrap_or(ipv4),
            ipv6_prefix: config.ipv6_prefix.unwrap_or(ipv6),
            key,
        }))
    }

    fn sample(&self, config: &SampleEvents) -> Result<SampleStep, Defect> {
        let mut by = Vec::new();
        for part in &config.by {
            by.push(if part.contains('$') {
                template("by", part)?
            } else {
                Box::from([Piece::Field(part.as_str().into())])
            });
        }
        let key = match &config.key {
            Some(reference) => key(Some(reference))?,
            None => of_bytes(self.seed.expose())?,
        };
        Ok(SampleStep {
            below: threshold(config.percent),
            by: by.into(),
            key,
        })
    }

    fn target(&mut self, route: &RouteEvents) -> usize {
        self.targets.push(Target {
            logstore: route.logstore.clone(),
            topic: route.topic.as_deref().map(|topic| topic.as_bytes().into()),
        });
        self.targets.len() - 1
    }
}

/// The hash below which so many percent of all lie. `None`: all.
fn threshold(percent: f64) -> Option<u64> {
    if percent >= 100.0 {
        return None;
    }
    // Millionths of a percent are more than enough.
    let millionths = (percent.clamp(0.0, 100.0) * 1e6).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 10^8"
    )]
    let millionths = millionths as u64;
    let below = u128::from(millionths) * (1 << 64) / 100_000_000;
    u64::try_from(below).ok()
}

fn names(texts: &[String]) -> Result<NameSet, Defect> {
    NameSet::new(texts).ok_or_else(|| Defect::new("fields", "a pattern is too long"))
}

fn template(key: &'static str, text: &str) -> Result<Box<[Piece]>, Defect> {
    parse_template(text).map_err(|error| Defect::new(key, error.to_string()))
}

/// Reads a key of hashes.
fn key(reference: Option<&SecretRef>) -> Result<HashKey, Defect> {
    let reference = reference.ok_or_else(|| Defect::new("key", "is missing"))?;
    let secret = reference
        .read()
        .map_err(|error| Defect::new("key", error.to_string()))?;
    if secret.expose().len() < MIN_HASH_KEY {
        let message = format!("has less than {MIN_HASH_KEY} bytes");
        return Err(Defect::new("key", message));
    }
    of_bytes(secret.expose())
}

fn of_bytes(key: &[u8]) -> Result<HashKey, Defect> {
    HashKey::new(key).ok_or_else(|| Defect::new("key", "cannot be used"))
}

fn mask(config: &MaskFields) -> Result<Mask, Defect> {
    let what = match (&config.pattern, &config.regex) {
        (Some(pattern), _) => What::Personal(*pattern),
        (None, Some(text)) => {
            let regex = compile_regex(text).map_err(|why| Defect::new("regex", why))?;
            What::Regex(Box::new(regex))
        }
        (None, None) => What::Whole,
    };
    let fields = if config.fields.is_empty() {
        NameSet::all()
    } else {
        names(&config.fields)?
    };
    let mut characters = config.character.chars();
    let character = characters
        .next()
        .ok_or_else(|| Defect::new("character", "is empty"))?;
    Ok(Mask {
        fields,
        what,
        pen: Pen {
            first: usize::from(config.keep_first),
            last: usize::from(config.keep_last),
            character,
        },
    })
}

fn privacy(config: &PrivacySignals) -> Result<PrivacyStep, Defect> {
    let action = match config.action {
        PrivacyAction::DropEvent => PrivacyAct::Drop,
        PrivacyAction::RemoveFields => PrivacyAct::Remove(names(&config.fields)?),
        PrivacyAction::OnlyHash => PrivacyAct::Hash(HashStep {
            fields: names(&config.fields)?,
            key: key(config.key.as_ref())?,
            form: HashForm::WHOLE,
            by_field: false,
        }),
    };
    Ok(PrivacyStep {
        signals: config.signals.as_slice().into(),
        action,
    })
}
