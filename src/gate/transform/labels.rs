//! Topic, source and tags: what steps do to what all events of a request share.
//!
//! It is done once for a request, before any event, so that no step copies what is to be hidden.

use super::Transforms;
use super::facts::TransformFacts;
use super::mask::{Mask, MaskSheets};
use super::names::NameSet;
use super::outcome::Fault;
use super::steps::{Act, PrivacyAct};
use super::trouble::Trouble;
use super::work::Work;
use crate::config::OnError;
use crate::event::{AttachedNames, EventGroup, put_tag};
use crate::foundation::names::LABEL_TAG;

const TOPIC: &[u8] = b"__topic__";
const SOURCE: &[u8] = b"__source__";

/// Topic, source and tags of a group, changed.
#[derive(Debug, Default)]
pub(super) struct Labels {
    pub(super) topic: Vec<u8>,
    pub(super) source: Vec<u8>,
    pub(super) tags: Vec<u8>,
}

/// A label by the name that steps know it by.
struct Label {
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Labels {
    /// Gives them to a group.
    pub(super) fn put_to(self, group: &mut EventGroup) {
        (group.topic, group.source, group.tags) = (self.topic, self.source, self.tags);
    }
}

impl Transforms {
    /// What the steps make of topic, source and tags. `None`: they stay as they are.
    pub(super) fn relabel(
        &self,
        group: &EventGroup,
        facts: &TransformFacts<'_>,
        work: &mut Work,
        errors: &mut u32,
    ) -> Option<Labels> {
        if !self.steps.iter().any(|step| step.labels) {
            return None;
        }
        let mut labels = read(group);
        let mut changed = false;
        for (place, step) in self.steps.iter().enumerate() {
            if !step.labels {
                continue;
            }
            let mut trouble = Trouble::new(step.on_error, self.counts.steps.get(place));
            changed |= step
                .act
                .relabel(&mut labels, &self.attached, facts, work, &mut trouble);
            *errors += trouble.errors;
        }
        changed.then(|| written(&labels))
    }
}

fn read(group: &EventGroup) -> Vec<Label> {
    let label = |name: &[u8], value: &[u8]| Label {
        name: name.to_vec(),
        value: value.to_vec(),
    };
    let mut labels = vec![label(TOPIC, &group.topic), label(SOURCE, &group.source)];
    labels.extend(group.each_tag().map(|(name, value)| {
        let name = [LABEL_TAG, name].concat();
        label(&name, value)
    }));
    labels
}

fn written(labels: &[Label]) -> Labels {
    let mut out = Labels::default();
    for Label { name, value } in labels {
        match name.as_slice() {
            TOPIC => out.topic.clone_from(value),
            SOURCE => out.source.clone_from(value),
            name => {
                let name = name.strip_prefix(LABEL_TAG).unwrap_or(name);
                put_tag(&mut out.tags, name, value);
            }
        }
    }
    out
}

impl Act {
    /// Whether it may do something to topic, source or tags.
    pub(super) fn names_labels(&self) -> bool {
        match self {
            Self::KeepOnly(_) => true,
            Self::Remove(names) => names.has_labels(),
            Self::Mask(mask) => mask.fields.has_labels(),
            Self::Hash(hash) => hash.fields.has_labels(),
            Self::Privacy(privacy) => match &privacy.action {
                PrivacyAct::Drop => false,
                PrivacyAct::Remove(names) => names.has_labels(),
                PrivacyAct::Hash(hash) => hash.fields.has_labels(),
            },
            _ => false,
        }
    }

    /// Whether it changed any.
    fn relabel(
        &self,
        labels: &mut Vec<Label>,
        attached: &AttachedNames,
        facts: &TransformFacts<'_>,
        work: &mut Work,
        trouble: &mut Trouble<'_>,
    ) -> bool {
        match self {
            Self::KeepOnly(names) => retain(labels, |name| {
                let tag = name.strip_prefix(LABEL_TAG);
                tag.is_none_or(|tag| names.has_label(name) || attached.has_tag(tag))
            }),
            Self::Remove(names) => retain(labels, |name| !names.has_label(name)),
            Self::Mask(mask) => {
                let Work { mask: sheets, .. } = work;
                let value = |label: &Label| masked(mask, label, sheets);
                change(labels, &mask.fields, trouble, value)
            }
            Self::Hash(hash) => change(labels, &hash.fields, trouble, |label| {
                Ok(Some(hash.hashed(&label.name, &label.value)))
            }),
            Self::Privacy(privacy) if privacy.is_asked(facts) => match &privacy.action {
                PrivacyAct::Drop => false,
                PrivacyAct::Remove(names) => retain(labels, |name| !names.has_label(name)),
                PrivacyAct::Hash(hash) => change(labels, &hash.fields, trouble, |label| {
                    Ok(Some(hash.hashed(&label.name, &label.value)))
                }),
            },
            _ => false,
        }
    }
}

fn masked(mask: &Mask, label: &Label, sheets: &mut MaskSheets) -> Result<Option<Vec<u8>>, Fault> {
    let text = std::str::from_utf8(&label.value).map_err(|_| Fault::NotText)?;
    let mut out = Vec::new();
    Ok(mask.masked(text, sheets, &mut out).then_some(out))
}

/// Takes tags away, and empties topic and source.
fn retain(labels: &mut Vec<Label>, stays: impl Fn(&[u8]) -> bool) -> bool {
    let mut changed = false;
    labels.retain_mut(|label| {
        if stays(&label.name) || (label.is_fixed() && label.value.is_empty()) {
            return true;
        }
        changed = true;
        label.value.clear();
        label.is_fixed()
    });
    changed
}

/// Gives labels other values. What fails goes, unless the step keeps it: a label is of the whole
/// request, so nothing of it can be set aside.
fn change(
    labels: &mut Vec<Label>,
    names: &NameSet,
    trouble: &mut Trouble<'_>,
    mut value: impl FnMut(&Label) -> Result<Option<Vec<u8>>, Fault>,
) -> bool {
    let mut changed = false;
    labels.retain_mut(|label| {
        if !names.has_label(&label.name) || label.value.is_empty() {
            return true;
        }
        match value(label) {
            Ok(None) => true,
            Ok(Some(value)) => {
                changed = true;
                label.value = value;
                true
            }
            Err(fault) => {
                trouble.count(fault);
                if trouble.on_error == OnError::Keep {
                    return true;
                }
                changed = true;
                label.value.clear();
                label.is_fixed()
            }
        }
    });
    changed
}

impl Label {
    /// Topic and source are there always, if only empty.
    fn is_fixed(&self) -> bool {
        self.name == TOPIC || self.name == SOURCE
    }
}
