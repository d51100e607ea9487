//! Personal data that a schema marks: `x-tollgate-mask`.

use super::hash::{HashForm, HashKey, HashStep};
use super::mask::{Mask, Pen, What};
use super::names::NameSet;
use super::problem::Defect;
use super::steps::Act;
use crate::config::PersonalPattern;
use crate::foundation::secret::Secret;

/// What happens to a field that a schema marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskAction {
    /// The whole value is masked.
    Mask,
    /// The value becomes a keyed hash, under the seed of the transforms.
    Hash,
    /// The field is taken away.
    Remove,
    /// Personal data inside the value is masked.
    Personal(PersonalPattern),
}

impl std::str::FromStr for MaskAction {
    type Err = UnknownMask;

    fn from_str(word: &str) -> Result<Self, UnknownMask> {
        Ok(match word {
            "mask" => Self::Mask,
            "hash" => Self::Hash,
            "remove" => Self::Remove,
            "email" => Self::Personal(PersonalPattern::Email),
            "phone" => Self::Personal(PersonalPattern::Phone),
            "id_card" => Self::Personal(PersonalPattern::IdCard),
            "bank_card" => Self::Personal(PersonalPattern::BankCard),
            _ => return Err(UnknownMask),
        })
    }
}

/// A word that `x-tollgate-mask` does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("x-tollgate-mask is one of mask, hash, remove, email, phone, id_card, bank_card")]
pub struct UnknownMask;

/// A field that a schema marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Its name.
    pub field: String,
    /// What happens to it.
    pub action: MaskAction,
}

impl Annotation {
    /// The step that it comes to.
    pub(super) fn act(&self, seed: &Secret) -> Result<Act, Defect> {
        let names = || {
            let exact = [self.field.clone()];
            NameSet::exactly(&exact)
        };
        let mask = |what| {
            Act::Mask(Mask {
                fields: names(),
                what,
                pen: Pen {
                    first: 0,
                    last: 0,
                    character: '*',
                },
            })
        };
        Ok(match self.action {
            MaskAction::Mask => mask(What::Whole),
            MaskAction::Personal(pattern) => mask(What::Personal(pattern)),
            MaskAction::Remove => Act::Remove(names()),
            MaskAction::Hash => Act::Hash(HashStep {
                fields: names(),
                key: HashKey::new(seed.expose())
                    .ok_or_else(|| Defect::new("key", "cannot be used"))?,
                form: HashForm::WHOLE,
                by_field: false,
            }),
        })
    }
}
