//! The schemas of a logstore, as they look at events while those are read.

use std::cell::RefCell;
use std::sync::Arc;

use crate::config::{OnInvalid, SchemaUse};
use crate::event::{EventFault, EventFields, Kind, MAX_TOLD};
use crate::front::transcode::EventCheck;
use crate::gate::schema::{Detail, Schema, SchemaSet, Verdict, Work};

thread_local! {
    static WORK: RefCell<Work> = RefCell::default();
}

/// The schemas of a logstore, and what becomes of events that do not pass.
#[derive(Debug)]
pub struct SchemaJudge {
    set: SchemaSet,
    rule: SchemaUse,
    /// `name@version` of each entry of the set.
    labels: Vec<Arc<str>>,
}

impl SchemaJudge {
    /// The schemas that `rule` uses.
    #[must_use]
    pub fn new(set: SchemaSet, rule: SchemaUse) -> Self {
        let entries = set.entries().iter();
        let labels = entries.map(|entry| format!("{}@{}", entry.name, entry.version).into());
        Self {
            labels: labels.collect(),
            set,
            rule,
        }
    }

    /// Its part of the configuration.
    #[must_use]
    pub fn rule(&self) -> &SchemaUse {
        &self.rule
    }

    /// The name of the schema that found an event bad.
    pub(super) fn label(&self, check: u16) -> &str {
        let label = self.labels.get(usize::from(check));
        // No schema is for events of that type.
        label.map_or("unknown", |label| label)
    }

    /// The schema that found an event bad.
    pub(super) fn schema(&self, check: u16) -> Option<&Schema> {
        self.set.entry(check).map(|entry| &*entry.schema)
    }

    /// What is wrong with an event; `None` when nothing is.
    pub(super) fn look(
        &self,
        index: u32,
        event: EventFields<'_>,
        detail: Detail,
    ) -> Option<EventFault> {
        let mut violations = Vec::new();
        let verdict =
            WORK.with_borrow_mut(|work| self.set.check(event, work, detail, &mut violations));
        let Verdict::Invalid { hidden } = verdict.verdict else {
            return None;
        };
        Some(EventFault {
            event: index,
            check: verdict.check,
            violations,
            hidden,
            kinds: event.iter().map(|field| field.kind).collect::<Vec<Kind>>(),
        })
    }
}

impl EventCheck for SchemaJudge {
    fn check(&self, index: u32, event: EventFields<'_>, faults: &mut Vec<EventFault>) {
        // A record of the quarantine says why, whatever its place in the request.
        let aside = match self.rule.on_invalid {
            OnInvalid::Repair => self.rule.unrepaired,
            other => other,
        };
        let told = faults.len() < MAX_TOLD || aside == OnInvalid::Quarantine;
        let detail = if told { Detail::Told } else { Detail::First };
        faults.extend(self.look(index, event, detail));
    }
}
