//! Classes of events.

use std::collections::{HashMap, HashSet};

use super::facts::EventPart;
use crate::config;

type Names = HashSet<Box<[u8]>, foldhash::quality::RandomState>;

/// The classes of the configuration.
#[derive(Debug, Default)]
pub struct Classes {
    by_topic: HashMap<Box<[u8]>, usize, foldhash::quality::RandomState>,
    by_field: Vec<(Box<str>, Names, usize)>,
    names: Vec<Box<str>>,
}

impl Classes {
    /// The classes, in their order.
    #[must_use]
    pub fn new(classes: &[config::Class]) -> Self {
        let mut made = Self::default();
        for (index, class) in classes.iter().enumerate() {
            for topic in &class.topics {
                let topic = topic.as_bytes().into();
                made.by_topic.entry(topic).or_insert(index);
            }
            if let Some(field) = &class.field {
                let values = class.values.iter().map(|value| value.as_bytes().into());
                made.by_field
                    .push((field.as_str().into(), values.collect(), index));
            }
            made.names.push(class.name.as_str().into());
        }
        made
    }

    /// The class of an event, by its place in the configuration: the first that names its topic or
    /// the value of its field.
    #[must_use]
    pub fn of(&self, topic: &[u8], event: EventPart<'_>) -> Option<usize> {
        let topic = self.by_topic.get(topic).copied();
        let mut fields = self.by_field.iter();
        let field = fields.find_map(|(name, values, index)| {
            let value = event.field(name)?;
            values.contains(value).then_some(*index)
        });
        match (topic, field) {
            (Some(topic), Some(field)) => Some(topic.min(field)),
            (one, other) => one.or(other),
        }
    }

    /// The place of a class in the configuration.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| **known == *name)
    }
}
