//! Personal data that a schema marks: `x-tollgate-mask`.

use std::collections::BTreeMap;

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

impl MaskAction {
    /// The order in which marks of one field count. Numbers with a checksum come before phones, which
    /// a part of them may look like.
    fn place(self) -> u8 {
        match self {
            Self::Remove => 0,
            Self::Mask => 1,
            Self::Hash => 2,
            Self::Personal(PersonalPattern::IdCard) => 3,
            Self::Personal(PersonalPattern::BankCard) => 4,
            Self::Personal(PersonalPattern::Phone) => 5,
            Self::Personal(PersonalPattern::Email) => 6,
        }
    }

    /// Whether nothing of the value stays.
    fn is_whole(self) -> bool {
        !matches!(self, Self::Personal(_))
    }
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
    /// What comes of marks, of which a field may have several: a mark that takes the whole value goes
    /// before those that look for personal data inside it, the one that hides more before the others;
    /// of patterns all run.
    #[must_use]
    pub fn of_marks(marks: impl IntoIterator<Item = (String, MaskAction)>) -> Vec<Self> {
        let mut of_field: BTreeMap<String, Vec<MaskAction>> = BTreeMap::new();
        for (field, action) in marks {
            of_field.entry(field).or_default().push(action);
        }
        let mut annotations = Vec::new();
        for (field, mut actions) in of_field {
            actions.sort_by_key(|action| action.place());
            actions.dedup();
            if let Some(whole) = actions.iter().find(|it| it.is_whole()).copied() {
                actions = vec![whole];
            }
            annotations.extend(actions.into_iter().map(|action| Self {
                field: field.clone(),
                action,
            }));
        }
        annotations
    }

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
