//! The schema of an event, compiled, and the one pass over its fields.

use std::sync::Arc;

use super::kinds::coerced;
use super::node::{Node, Tools};
use super::quick::Quick;
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
    /// It must be there.
    pub required: bool,
    /// The name is required, but no schema describes it, and others are not allowed.
    pub unwelcome: bool,
    /// The schema of `propertyNames` refuses the name.
    pub bad_name: bool,
    /// Which values pass without asking the schemas.
    pub quick: Quick,
    /// For people.
    pub pointer: String,
}

/// What is checked of an event.
pub(super) struct ObjectRules {
    /// Tells apart what [`super::Work`] remembers of schemas.
    pub number: usize,
    /// By number of the name.
    pub known: Vec<Known>,
    /// A bit for each required name.
    pub required: Vec<u64>,
    /// How many names are required.
    pub required_count: usize,
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
    /// The known name that came after each one when it was last seen, and in the first place the one
    /// that came first. Clients send their fields in the same order again and again.
    pub order: &'a mut Vec<u16>,
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

impl Pass<'_> {
    /// The number of a name that comes after the one of the number `last` - 1, or first.
    #[inline]
    fn find(&mut self, last: usize, shape: &Shape, name: &[u8]) -> Option<usize> {
        let place = self.order.get_mut(last)?;
        let next = usize::from(*place);
        if shape.names.is(next, name) {
            return Some(next);
        }
        let found = shape.names.find(name)?;
        *place = u16::try_from(found).unwrap_or_default();
        Some(found)
    }

    /// No name has been seen, of so many words of bits.
    fn forget(&mut self, words: usize) {
        self.seen.clear();
        self.seen.resize(words, 0);
        self.unknown.clear();
    }

    /// Notes the number of a name. `false`: it was seen before.
    #[inline]
    fn note(&mut self, index: usize) -> bool {
        let bit = 1 << (index % 64);
        let Some(word) = self.seen.get_mut(index / 64) else {
            return true;
        };
        let before = *word;
        *word |= bit;
        before & bit == 0
    }
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
        let distinct = pass.distinct;
        if !distinct {
            pass.forget(self.required.len());
        }
        if pass.order.len() <= shape.names.count() {
            pass.order.resize(shape.names.count() + 1, 0);
        }
        let minds = self.minds_unknown();
        let (mut valid, mut count, mut required) = (true, 0_usize, 0_usize);
        let mut last = 0_usize;
        let mut rest = fields.clone();
        while let Some(field) = rest.next() {
            count += 1;
            let good = match pass.find(last, shape, field.name) {
                Some(index) => {
                    last = index + 1;
                    if !distinct && !pass.note(index) {
                        return Passed::Twice;
                    }
                    let Some(known) = self.known.get(index) else {
                        continue;
                    };
                    required += usize::from(known.required);
                    if known.quick.passes(field.kind, field.value) {
                        continue;
                    }
                    self.known_field(index, shape, field, tools, teller.as_deref_mut())
                }
                None if minds => {
                    if !distinct {
                        pass.unknown.push(shape.names.hash(field.name));
                    }
                    self.unknown_field(shape, field, tools, teller.as_deref_mut())
                }
                None => true,
            };
            if !good {
                valid = false;
                if teller.is_none() {
                    return if !distinct && rest.any(|later| later.name == field.name) {
                        Passed::Twice
                    } else {
                        Passed::Done(false)
                    };
                }
            }
        }
        if !distinct && has_twice(pass.unknown) {
            return Passed::Twice;
        }
        if required < self.required_count {
            valid = false;
            if let Some(teller) = teller.as_deref_mut() {
                pass.forget(self.required.len());
                for field in fields {
                    if let Some(index) = shape.names.find(field.name) {
                        pass.note(index);
                    }
                }
                self.tell_missing(shape, pass.seen, teller);
            }
        }
        valid &= self.count_fits(count, teller);
        Passed::Done(valid)
    }

    /// What the quick look does not say of a field.
    #[inline(never)]
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
                if let Some(teller) = teller.as_deref_mut()
                    && !teller.passes_over()
                {
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

    fn tell_missing(&self, shape: &Shape, seen: &[u64], teller: &mut Teller<'_>) {
        for (at, (required, seen)) in self.required.iter().zip(seen).enumerate() {
            let mut missing = required & !seen;
            while missing != 0 {
                let index = at * 64 + missing.trailing_zeros() as usize;
                missing &= missing - 1;
                if teller.passes_over() {
                    continue;
                }
                teller.say(&below("", shape.names.get(index)), "required", || {
                    wording::MISSING.to_owned()
                });
            }
        }
    }

    #[inline]
    fn count_fits(&self, count: usize, teller: Option<&mut Teller<'_>>) -> bool {
        let number = count as u64;
        let (few, many) = (number < self.min, number > self.max);
        if !few && !many {
            return true;
        }
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
        false
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
