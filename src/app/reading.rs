//! Events of a file, read as the front reads those of a request, for commands that look at events
//! without a service.

use std::sync::Mutex;

use crate::config::{Identity, Limits, OutsideWindow, TimeWindow};
use crate::event::{AttachedNames, EventFault, EventFields, EventGroup, Refusal};
use crate::foundation::clock;
use crate::front::transcode::{Context, EventCheck, Rules, events, json, protobuf, query};

/// What a text holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextForm {
    /// An array of events, or events one after another.
    Events,
    /// A body of web tracking: events in `__logs__`.
    Body,
    /// A LogGroup in wire form.
    LogGroup,
    /// The query of web tracking by GET: one event.
    Query,
}

/// Is shown each event with its number in the text, from 0.
pub type LookAtEvent<'a> = dyn FnMut(u32, EventFields<'_>) + Send + 'a;

/// Reads events as the front does, and keeps nothing of them.
#[derive(Debug)]
pub struct EventReader {
    rules: Rules,
    group: EventGroup,
    /// The parameter of a query that carries a token.
    token_parameter: String,
}

impl EventReader {
    /// Holds events to these limits. Whatever their time is, it is no reason to refuse them.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let time = TimeWindow {
            outside: OutsideWindow::Replace,
            ..TimeWindow::default()
        };
        Self {
            rules: Rules::new(limits, &time),
            group: EventGroup::default(),
            token_parameter: Identity::default().query_parameter,
        }
    }

    /// Leaves this parameter out of queries, since it carries a token.
    #[must_use]
    pub fn with_token_parameter(mut self, name: &str) -> Self {
        name.clone_into(&mut self.token_parameter);
        self
    }

    /// Shows each event of a text to `look`: its fields without those that only we or the store
    /// give. Returns how many there are.
    ///
    /// # Errors
    /// Why the front would refuse a request with this text. Some of its events may have been shown.
    pub fn read(
        &mut self,
        text: &[u8],
        form: TextForm,
        look: &mut LookAtEvent<'_>,
    ) -> Result<u32, Refusal> {
        self.group.clear();
        let looking = Looking(Mutex::new(look));
        let context = Context {
            rules: &self.rules,
            received: clock::unix_seconds(),
            stamp: b"",
            attached: AttachedNames::NONE,
            check: Some(&looking),
        };
        match form {
            TextForm::Events => events(text, &context, &mut self.group)?,
            TextForm::Body => json(text, &context, &mut self.group)?,
            TextForm::LogGroup => protobuf(text, &context, &mut self.group)?,
            TextForm::Query => query(text, &self.token_parameter, &context, &mut self.group)?,
        }
        Ok(self.group.events)
    }
}

/// A closure as a check that finds nothing wrong.
struct Looking<'a, 'b>(Mutex<&'a mut LookAtEvent<'b>>);

impl std::fmt::Debug for Looking<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Looking").finish_non_exhaustive()
    }
}

impl EventCheck for Looking<'_, '_> {
    fn check(&self, index: u32, event: EventFields<'_>, _: &mut Vec<EventFault>) {
        if let Ok(mut look) = self.0.lock() {
            look(index, event);
        }
    }
}
