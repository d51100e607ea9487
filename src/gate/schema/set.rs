//! The schemas of one logstore, and which of them judges an event.

use std::sync::Arc;

use super::names::Names;
use super::tell::{Teller, below};
use super::{Detail, Schema, Verdict, Work};
use crate::event::{EventFields, Violation};

/// One schema of a set.
#[derive(Clone, Debug)]
pub struct SetEntry {
    /// Its name, for people.
    pub name: String,
    /// Which version of the schema it is.
    pub version: String,
    /// The type of the events that it judges; none for events of all types that have no schema of
    /// their own.
    pub event: Option<String>,
    /// What is checked.
    pub schema: Arc<Schema>,
}

/// What becomes of an event for whose type there is no schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownEvent {
    /// It is accepted unseen.
    Accept,
    /// It is refused.
    #[default]
    Refuse,
}

/// What a set says of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetVerdict {
    /// The index of the entry that judged; [`SchemaSet::NO_CHECK`] when none did. Of an event that
    /// no version accepts the newest.
    pub check: u16,
    /// Whether the event is valid.
    pub verdict: Verdict,
}

/// The schemas of one logstore.
pub struct SchemaSet {
    entries: Vec<SetEntry>,
    /// The types of events that have schemas, and of each the entries, newest first.
    events: Names,
    of_event: Vec<Vec<u16>>,
    /// The entries for all other events, newest first.
    of_others: Vec<u16>,
    event_field: Option<String>,
    version_field: Option<String>,
    unknown: UnknownEvent,
}

impl std::fmt::Debug for SchemaSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchemaSet")
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

impl SchemaSet {
    /// No entry judged.
    pub const NO_CHECK: u16 = u16::MAX;
    /// Entries that a set may have; further ones are left out.
    pub const MAX_ENTRIES: usize = u16::MAX as usize;

    /// A set of entries. Of the entries for one type of events the first is the newest.
    #[must_use]
    pub fn new(
        mut entries: Vec<SetEntry>,
        event_field: Option<String>,
        version_field: Option<String>,
        unknown: UnknownEvent,
    ) -> Self {
        entries.truncate(Self::MAX_ENTRIES);
        let mut names: Vec<&str> = Vec::new();
        let mut places = std::collections::HashMap::new();
        let mut of_event: Vec<Vec<u16>> = Vec::new();
        let mut of_others = Vec::new();
        for (index, entry) in (0_u16..).zip(&entries) {
            let Some(event) = &entry.event else {
                of_others.push(index);
                continue;
            };
            let place = *places.entry(event.as_str()).or_insert_with(|| {
                names.push(event);
                of_event.push(Vec::new());
                of_event.len() - 1
            });
            if let Some(list) = of_event.get_mut(place) {
                list.push(index);
            }
        }
        let events = Names::new(names.iter().map(|name| name.as_bytes().into()).collect());
        Self {
            entries,
            events,
            of_event,
            of_others,
            event_field,
            version_field,
            unknown,
        }
    }

    /// The entry of an index.
    #[must_use]
    pub fn entry(&self, check: u16) -> Option<&SetEntry> {
        self.entries.get(usize::from(check))
    }

    /// All entries, by index.
    #[must_use]
    pub fn entries(&self) -> &[SetEntry] {
        &self.entries
    }

    /// Checks an event by the schema of its type: by the version that it names, else it is valid
    /// when any live version accepts it. Of an event that none accepts the reasons of the newest
    /// are told.
    pub fn check(
        &self,
        event: EventFields<'_>,
        work: &mut Work,
        detail: Detail,
        out: &mut Vec<Violation>,
    ) -> SetVerdict {
        let named = self.event_field.as_deref().map(|field| {
            let value = event.get_near(field.as_bytes(), &mut work.event);
            (field, value.map(|found| found.value))
        });
        let own = named
            .and_then(|(_, value)| {
                let value = value?;
                if !self.events.is(work.of_event, value) {
                    work.of_event = self.events.find(value)?;
                }
                Some(work.of_event)
            })
            .and_then(|place| self.of_event.get(place));
        let live = own.unwrap_or(&self.of_others);
        let Some(newest) = live.first() else {
            return self.unknown_event(named.map(|(field, _)| field), detail, out);
        };
        if let Some(field) = &self.version_field
            && let Some(version) = event.get(field.as_bytes())
        {
            let wanted = |check: &&u16| {
                self.entry(**check)
                    .is_some_and(|entry| entry.version.as_bytes() == version.value)
            };
            return match live.iter().find(wanted) {
                Some(check) => self.one(*check, event, work, detail, out),
                None => refused(
                    *newest,
                    field,
                    "version",
                    "no live schema has this version",
                    detail,
                    out,
                ),
            };
        }
        for check in live {
            // The newest may be told at once when it is the only one.
            let detail = if live.len() == 1 {
                detail
            } else {
                Detail::First
            };
            let verdict = self.one(*check, event, work, detail, out);
            if verdict.verdict == Verdict::Valid || live.len() == 1 {
                return verdict;
            }
        }
        if detail == Detail::Told {
            return self.one(*newest, event, work, detail, out);
        }
        SetVerdict {
            check: *newest,
            verdict: Verdict::Invalid { hidden: 0 },
        }
    }

    fn one(
        &self,
        check: u16,
        event: EventFields<'_>,
        work: &mut Work,
        detail: Detail,
        out: &mut Vec<Violation>,
    ) -> SetVerdict {
        let verdict = self.entry(check).map_or(Verdict::Valid, |entry| {
            entry.schema.check(event, work, detail, out)
        });
        SetVerdict { check, verdict }
    }

    fn unknown_event(
        &self,
        field: Option<&str>,
        detail: Detail,
        out: &mut Vec<Violation>,
    ) -> SetVerdict {
        match self.unknown {
            UnknownEvent::Accept => SetVerdict {
                check: Self::NO_CHECK,
                verdict: Verdict::Valid,
            },
            UnknownEvent::Refuse => refused(
                Self::NO_CHECK,
                field.unwrap_or_default(),
                "event",
                "there is no schema for events of this type",
                detail,
                out,
            ),
        }
    }
}

fn refused(
    check: u16,
    field: &str,
    keyword: &'static str,
    message: &str,
    detail: Detail,
    out: &mut Vec<Violation>,
) -> SetVerdict {
    if detail == Detail::Told {
        let pointer = if field.is_empty() {
            String::new()
        } else {
            below("", field.as_bytes())
        };
        Teller::new(out).say(&pointer, keyword, || message.to_owned());
    }
    SetVerdict {
        check,
        verdict: Verdict::Invalid { hidden: 0 },
    }
}
