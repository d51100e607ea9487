//! The schema of an event, compiled, and the one pass over its fields.

use std::sync::Arc;

use super::kinds::coerced;
use super::node::{Node, Tools};
use super::shape::Shape;
use super::tell::{Teller, below};
use super::wording;
use crate::event::{Field, Kind};

/// Names of unknown fields that are compared one by one; more are sorted.
const FEW: usize = 16;

/// What becomes of fields that neither a property nor a pattern describes.
pub(super) enum Additional {
    /// They pass.
    Any,
    /// They do not.
    None,
    /// They are checked.
    Node(Arc<Node>),
}

/// What is checked of a field whose name is known.
pub(super) struct Known {
    /// The first of its schemas: most have one.
    pub first: Option<Arc<Node>>,
    /// The others, of patterns that match the name.
    pub more: Vec<Arc<Node>>,
    /// The name is required, but no schema describes it, and others are not allowed.
    pub unwelcome: bool,
    /// The schema of `propertyNames` refuses the name.
    pub bad_name: bool,
    /// For people.
    pub pointer: String,
}

/// What is checked of an event.
pub(super) struct ObjectRules {
    /// By number of the name.
    pub known: Vec<Known>,
    /// A bit for each required name.
    pub required: Vec<u64>,
    /// In the order of [`Shape::patterns`].
    pub patterns: Vec<Arc<Node>>,
    pub additional: Additional,
    pub property_names: Option<Arc<Node>>,
    pub min: u64,
    pub max: u64,
}

/// Memory that is used from event to event.
pub(super) struct Pass<'a> {
    /// A bit for each known name that was seen.
    pub seen: &'a mut Vec<u64>,
    /// Hash of each unknown name.
    pub unknown: &'a mut Vec<u64>,
    /// No name comes twice.
    pub distinct: bool,
}

/// How a pass over the fields ended.
pub(super) enum Passed {
    /// All was checked.
    Done(bool),
    /// A name came twice: only the last of each is to be looked at.
    Twice,
}

impl ObjectRules {
    /// Whether it matters that an unknown name came twice.
    fn minds_unknown(&self) -> bool {
        !matches!(self.additional, Additional::Any)
            || !self.patterns.is_empty()
            || self.property_names.is_some()
            || self.counts()
    }

    fn counts(&self) -> bool {
        self.min > 0 || self.max < u64::MAX
    }

    /// Checks the fields. With a `teller` all is looked at and told, else it ends at the first
    /// field that is refused.
    pub(super) fn check<'e>(
        &self,
        shape: &Shape,
        fields: impl Iterator<Item = Field<'e>> + Clone,
        pass: &mut Pass<'_>,
        tools: &mut Tools<'_>,
        mut teller: Option<&mut Teller<'_>>,
    ) -> Passed {
        pass.seen.clear();
        pass.seen.resize(self.required.len(), 0);
        pass.unknown.clear();
        let minds = self.minds_unknown();
        let (mut valid, mut count) = (true, 0_usize);
        let mut rest = fields;
        while let Some(field) = rest.next() {
            count += 1;
            let good = match shape.names.find(field.name) {
                Some(index) => {
                    if let Some(word) = pass.seen.get_mut(index / 64) {
                        let bit = 1 << (index % 64);
                        if *word & bit != 0 {
                            return Passed::Twice;
                        }
                        *word |= bit;
                    }
                    self.known_field(index, shape, field, tools, teller.as_deref_mut())
                }
                None if minds => {
                    pass.unknown.push(shape.names.hash(field.name));
                    self.unknown_field(shape, field, tools, teller.as_deref_mut())
                }
                None => true,
            };
            if !good {
                valid = false;
                if teller.is_none() {
                    return if rest.any(|later| later.name == field.name) {
                        Passed::Twice
                    } else {
                        Passed::Done(false)
                    };
                }
            }
        }
        if !pass.distinct && has_twice(pass.unknown) {
            return Passed::Twice;
        }
        valid &= self.all_there(shape, pass.seen, teller.as_deref_mut());
        valid &= self.count_fits(count, teller);
        Passed::Done(valid)
    }

    #[inline]
    fn known_field(
        &self,
        index: usize,
        shape: &Shape,
        field: Field<'_>,
        tools: &mut Tools<'_>,
        teller: Option<&mut Teller<'_>>,
    ) -> bool {
        let (Some(known), Some(notes)) = (self.known.get(index), shape.notes.get(index)) else {
            return true;
        };
        let kind = coerced(notes.coerce, field.kind, field.value);
        let good = known
            .first
            .as_ref()
            .is_none_or(|node| node.accepts(kind, field.value, tools))
            && known
                .more
                .iter()
                .all(|node| node.accepts(kind, field.value, tools))
            && !known.unwelcome
            && !known.bad_name;
        if !good && let Some(teller) = teller {
            for node in known.first.iter().chain(&known.more) {
                if !node.accepts(kind, field.value, tools) {
                    teller.value(node, &known.pointer, kind, field.value, tools);
                }
            }
            if known.unwelcome {
                teller.say(&known.pointer, "additionalProperties", || {
                    wording::UNKNOWN.to_owned()
                });
            }
            if known.bad_name {
                self.tell_bad_name(&known.pointer, field.name, tools, teller);
            }
        }
        good
    }

    fn unknown_field(
        &self,
        shape: &Shape,
        field: Field<'_>,
        tools: &mut Tools<'_>,
        mut teller: Option<&mut Teller<'_>>,
    ) -> bool {
        let wanted = shape.coercion_of_unknown(field.name);
        let kind = coerced(wanted, field.kind, field.value);
        let (mut good, mut matched) = (true, false);
        let mut judge = |node: &Node, teller: Option<&mut Teller<'_>>, tools: &mut Tools<'_>| {
            if node.accepts(kind, field.value, tools) {
                return;
            }
            good = false;
            if let Some(teller) = teller {
                teller.value(node, &below("", field.name), kind, field.value, tools);
            }
        };
        for ((pattern, _), node) in shape.patterns.iter().zip(&self.patterns) {
            if pattern.matches(field.name) {
                matched = true;
                judge(node, teller.as_deref_mut(), tools);
            }
        }
        match &self.additional {
            Additional::Node(node) if !matched => judge(node, teller.as_deref_mut(), tools),
            Additional::None if !matched => {
                good = false;
                if let Some(teller) = teller.as_deref_mut() {
                    teller.say(&below("", field.name), "additionalProperties", || {
                        wording::UNKNOWN.to_owned()
                    });
                }
            }
            _ => {}
        }
        if let Some(names) = &self.property_names
            && !names.accepts(Kind::Text, field.name, tools)
        {
            good = false;
            if let Some(teller) = teller {
                self.tell_bad_name(&below("", field.name), field.name, tools, teller);
            }
        }
        good
    }

    fn tell_bad_name(
        &self,
        pointer: &str,
        name: &[u8],
        tools: &mut Tools<'_>,
        teller: &mut Teller<'_>,
    ) {
        let Some(names) = &self.property_names else {
            return;
        };
        let mut inner = Vec::new();
        Teller::new(&mut inner).value(names, pointer, Kind::Text, name, tools);
        let message = inner.into_iter().next().map(|why| why.message);
        teller.say(pointer, "propertyNames", || {
            wording::bad_name(&message.unwrap_or_default())
        });
    }

    fn all_there(&self, shape: &Shape, seen: &[u64], mut teller: Option<&mut Teller<'_>>) -> bool {
        let mut good = true;
        for (at, (required, seen)) in self.required.iter().zip(seen).enumerate() {
            let mut missing = required & !seen;
            if missing == 0 {
                continue;
            }
            good = false;
            let Some(teller) = teller.as_deref_mut() else {
                return false;
            };
            while missing != 0 {
                let index = at * 64 + missing.trailing_zeros() as usize;
                teller.say(&below("", shape.names.get(index)), "required", || {
                    wording::MISSING.to_owned()
                });
                missing &= missing - 1;
            }
        }
        good
    }

    fn count_fits(&self, count: usize, teller: Option<&mut Teller<'_>>) -> bool {
        let number = count as u64;
        let (few, many) = (number < self.min, number > self.max);
        if let Some(teller) = teller {
            if few {
                teller.say("", "minProperties", || {
                    wording::count("at least", self.min, count)
                });
            }
            if many {
                teller.say("", "maxProperties", || {
                    wording::count("at most", self.max, count)
                });
            }
        }
        !few && !many
    }
}

/// Whether two of the hashes are the same. They may be left in another order.
fn has_twice(hashes: &mut [u64]) -> bool {
    if hashes.len() <= FEW {
        return hashes
            .iter()
            .enumerate()
            .any(|(at, one)| hashes.iter().skip(at + 1).any(|other| one == other));
    }
    hashes.sort_unstable();
    hashes.array_windows().any(|[one, other]| one == other)
}
