//! What the compiled steps do to one event.

use super::address::AddressStep;
use super::agent::AgentStep;
use super::draft::Draft;
use super::facts::{TransformFacts, put_referer, put_time, render};
use super::hash::{HashKey, HashStep};
use super::json::ParseStep;
use super::mask::Mask;
use super::names::NameSet;
use super::outcome::{DropReason, Fault};
use super::query::SplitStep;
use super::token::{DecodeStep, EncodeStep};
use super::trouble::Trouble;
use super::work::Work;
use crate::config::{Missing, Piece, PrivacySignal, RefererForm, TimeFormat};
use crate::event::AttachedNames;
use crate::foundation::names::is_reserved_field;

/// What a step does.
#[derive(Debug)]
pub(super) enum Act {
    Add(AddStep),
    Rename {
        from: Box<[u8]>,
        to: Box<[u8]>,
    },
    Remove(NameSet),
    KeepOnly(NameSet),
    Address(AddressStep),
    Agent(AgentStep),
    Referer {
        field: Box<[u8]>,
        form: RefererForm,
    },
    Time {
        field: Box<[u8]>,
        format: TimeFormat,
    },
    Server {
        field: Box<[u8]>,
    },
    Mask(Mask),
    Hash(HashStep),
    Privacy(PrivacyStep),
    Sample(SampleStep),
    Parse(ParseStep),
    Split(SplitStep),
    Encode(EncodeStep),
    Decode(DecodeStep),
    Route(usize),
}

/// What becomes of an event after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It goes on to the next step.
    On,
    /// It is dropped.
    Drop(DropReason),
    /// It goes on, and then to this target.
    To(usize),
}

/// A step that sets a field to a text.
#[derive(Debug)]
pub(super) struct AddStep {
    pub(super) field: Box<[u8]>,
    pub(super) pieces: Box<[Piece]>,
    pub(super) missing: Missing,
}

/// A step that heeds signals of browsers.
#[derive(Debug)]
pub(super) struct PrivacyStep {
    pub(super) signals: Box<[PrivacySignal]>,
    pub(super) action: PrivacyAct,
}

#[derive(Debug)]
pub(super) enum PrivacyAct {
    Drop,
    Remove(NameSet),
    Hash(HashStep),
}

/// A step that lets a share of the events through.
#[derive(Debug)]
pub(super) struct SampleStep {
    /// Hashes below it pass. `None`: all.
    pub(super) below: Option<u64>,
    pub(super) by: Box<[Box<[Piece]>]>,
    pub(super) key: HashKey,
}

/// Adds fields whose names come from clients: what is there already stays, and names that are not
/// theirs are refused.
#[derive(Debug)]
pub(super) struct Adder<'a> {
    pub(super) attached: &'a AttachedNames,
}

impl Adder<'_> {
    pub(super) fn add(
        &self,
        draft: &mut Draft<'_>,
        name: &[u8],
        value: &[u8],
    ) -> Result<(), Fault> {
        if is_reserved_field(name) || self.attached.has_field(name) {
            return Err(Fault::ReservedName);
        }
        match draft.find(name) {
            Some(_) => Ok(()),
            None => draft.add(name, value),
        }
    }
}

/// Everything beside the event that a step works with.
#[derive(Debug)]
pub(super) struct Tools<'a, 'f> {
    pub(super) facts: &'a TransformFacts<'f>,
    pub(super) adder: Adder<'a>,
    pub(super) work: &'a mut Work,
}

impl Act {
    /// Does it. What fails is counted in `trouble`.
    pub(super) fn run(
        &self,
        draft: &mut Draft<'_>,
        tools: &mut Tools<'_, '_>,
        trouble: &mut Trouble<'_>,
    ) -> Result<Way, Fault> {
        let Tools { facts, adder, work } = tools;
        let scratch = &mut work.scratch;
        scratch.clear();
        match self {
            Self::Add(add) => {
                let whole = render(&add.pieces, draft, facts, scratch);
                if whole || add.missing == Missing::Empty {
                    let set = draft.set(&add.field, scratch);
                    trouble.one(set, draft, &add.field)?;
                }
            }
            Self::Rename { from, to } => {
                let renamed = draft.rename(from, to);
                trouble.one(renamed, draft, from)?;
            }
            Self::Remove(names) => draft.retain(|name, _| !names.has(name)),
            Self::KeepOnly(names) => {
                draft.retain(|name, _| {
                    names.has(name) || is_reserved_field(name) || adder.attached.has_field(name)
                });
            }
            Self::Address(step) => {
                step.put(facts.client_address, scratch);
                put(draft, &step.field, scratch, trouble)?;
            }
            Self::Agent(step) => step.run(draft, facts, work, trouble)?,
            Self::Referer { field, form } => {
                put_referer(scratch, facts.referer, *form);
                put(draft, field, scratch, trouble)?;
            }
            Self::Time { field, format } => {
                put_time(scratch, facts.received, *format);
                put(draft, field, scratch, trouble)?;
            }
            Self::Server { field } => {
                put(draft, field, facts.server_id.as_bytes(), trouble)?;
            }
            Self::Mask(mask) => mask.run(draft, &mut work.mask, scratch, trouble)?,
            Self::Hash(hash) => hash.run(draft, scratch, trouble)?,
            Self::Privacy(privacy) => return privacy.run(draft, facts, scratch, trouble),
            Self::Sample(sample) => return Ok(sample.way(draft, facts, scratch)),
            Self::Parse(parse) => {
                draft.save();
                let parsed = parse.run(draft, adder, &mut work.json);
                undo(parsed, draft, &parse.field, trouble)?;
            }
            Self::Split(split) => {
                draft.save();
                let parsed = split.run(draft, adder, &mut work.query);
                undo(parsed, draft, &split.field, trouble)?;
            }
            Self::Encode(step) => {
                let encoded = step.run(draft, scratch);
                trouble.one(encoded, draft, &step.payload)?;
            }
            Self::Decode(step) => {
                let decoded = step.run(draft, facts, scratch);
                trouble.one(decoded, draft, &step.field)?;
            }
            Self::Route(target) => return Ok(Way::To(*target)),
        }
        Ok(Way::On)
    }
}

/// Sets a field to what only the edge knows. When there is nothing to know, or no room, what a client
/// wrote there goes too: it would pass for ours.
pub(super) fn put(
    draft: &mut Draft<'_>,
    field: &[u8],
    value: &[u8],
    trouble: &mut Trouble<'_>,
) -> Result<(), Fault> {
    if value.is_empty() {
        draft.remove(field);
        return Ok(());
    }
    let set = draft.set(field, value);
    trouble.one(set, draft, field)
}

/// Takes back what a step did before it failed.
fn undo(
    result: Result<(), Fault>,
    draft: &mut Draft<'_>,
    field: &[u8],
    trouble: &mut Trouble<'_>,
) -> Result<(), Fault> {
    if result.is_err() {
        draft.restore();
    }
    trouble.one(result, draft, field)
}

impl PrivacyStep {
    /// Whether the browser gives one of its signals.
    pub(super) fn is_asked(&self, facts: &TransformFacts<'_>) -> bool {
        let mut signals = self.signals.iter();
        signals.any(|signal| match signal {
            PrivacySignal::Dnt => facts.do_not_track,
            PrivacySignal::Gpc => facts.global_privacy_control,
        })
    }

    fn run(
        &self,
        draft: &mut Draft<'_>,
        facts: &TransformFacts<'_>,
        scratch: &mut Vec<u8>,
        trouble: &mut Trouble<'_>,
    ) -> Result<Way, Fault> {
        if !self.is_asked(facts) {
            return Ok(Way::On);
        }
        match &self.action {
            PrivacyAct::Drop => return Ok(Way::Drop(DropReason::Privacy)),
            PrivacyAct::Remove(names) => draft.retain(|name, _| !names.has(name)),
            PrivacyAct::Hash(hash) => hash.run(draft, scratch, trouble)?,
        }
        Ok(Way::On)
    }
}

impl SampleStep {
    /// A hash of what decides, under a key: who does not know it cannot choose to pass.
    fn way(&self, draft: &Draft<'_>, facts: &TransformFacts<'_>, scratch: &mut Vec<u8>) -> Way {
        let Some(below) = self.below else {
            return Way::On;
        };
        if self.by.is_empty() {
            draft.write(scratch);
        }
        for pieces in &self.by {
            let begin = scratch.len();
            render(pieces, draft, facts, scratch);
            let length = (scratch.len() - begin) as u64;
            scratch.extend_from_slice(&length.to_le_bytes());
        }
        let [a, b, c, d, e, f, g, h, ..] = self.key.of_text(scratch);
        if u64::from_le_bytes([a, b, c, d, e, f, g, h]) < below {
            Way::On
        } else {
            Way::Drop(DropReason::Sample)
        }
    }
}
