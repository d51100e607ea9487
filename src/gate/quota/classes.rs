//! Classes of events.

use std::collections::{HashMap, HashSet};

use super::facts::EventPart;
use crate::config;
use crate::event::{EventGroup, LogPlace, Priority};

type Names = HashSet<Box<[u8]>, foldhash::quality::RandomState>;

/// The classes of the configuration.
#[derive(Debug, Default)]
pub struct Classes {
    by_topic: HashMap<Box<[u8]>, usize, foldhash::quality::RandomState>,
    by_field: Vec<(Box<str>, Names, usize)>,
    names: Vec<Box<str>>,
    priorities: Vec<Option<Priority>>,
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
            made.priorities
                .push(class.priority.map(|priority| match priority {
                    config::Priority::Low => Priority::Low,
                    config::Priority::Normal => Priority::Normal,
                    config::Priority::High => Priority::High,
                }));
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

    /// The priority that a request is let in with before its events are known: the highest that they
    /// may turn out to have. `usual` is that of events without a class that says one.
    #[must_use]
    pub fn entry_priority(&self, usual: Priority) -> Priority {
        let highest = self.priorities.iter().flatten().max();
        highest.map_or(usual, |highest| usual.max(*highest))
    }

    /// The priority of the events of a request: that of the most precious one. `None` when no class
    /// says one, so that nothing has to be asked again.
    #[must_use]
    pub fn priority_of(&self, group: &EventGroup, usual: Priority) -> Option<Priority> {
        if self.priorities.iter().all(Option::is_none) {
            return None;
        }
        let of = |log: LogPlace| {
            let event = EventPart(group.logs.get(log.body..log.end).unwrap_or_default());
            let class = self.of(&group.topic, event);
            let said = class.and_then(|class| *self.priorities.get(class)?);
            said.unwrap_or(usual)
        };
        group.each_log().map(of).max()
    }

    /// The place of a class in the configuration.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| **known == *name)
    }
}
