//! What happens when a step fails at one of several fields.

use super::draft::Draft;
use super::outcome::{Fault, StepCounts};
use crate::config::OnError;
use crate::telemetry::Counter;

/// The failures of one step at one event.
#[derive(Debug)]
pub(super) struct Trouble<'c> {
    pub(super) on_error: OnError,
    /// Where failures are counted.
    counts: Option<&'c StepCounts>,
    /// How often it failed.
    pub(super) errors: u32,
}

impl<'c> Trouble<'c> {
    pub(super) fn new(on_error: OnError, counts: Option<&'c StepCounts>) -> Self {
        Self {
            on_error,
            counts,
            errors: 0,
        }
    }

    /// Acts on what became of the field at a place. True: the field is gone.
    ///
    /// # Errors
    /// The fault, where the event is set aside.
    pub(super) fn field(
        &mut self,
        result: Result<(), Fault>,
        draft: &mut Draft<'_>,
        place: usize,
    ) -> Result<bool, Fault> {
        let Err(fault) = result else {
            return Ok(false);
        };
        self.count(fault);
        match self.on_error {
            OnError::Quarantine => return Err(fault),
            OnError::Keep => {}
            OnError::DropField => draft.remove_at(place),
        }
        Ok(self.on_error == OnError::DropField)
    }

    /// Acts on what became of the one field that a step is about.
    ///
    /// # Errors
    /// The fault, where the event is set aside.
    pub(super) fn one(
        &mut self,
        result: Result<(), Fault>,
        draft: &mut Draft<'_>,
        name: &[u8],
    ) -> Result<(), Fault> {
        let Err(fault) = result else {
            return Ok(());
        };
        self.count(fault);
        match self.on_error {
            OnError::Quarantine => return Err(fault),
            OnError::Keep => {}
            OnError::DropField => draft.remove(name),
        }
        Ok(())
    }

    /// Counts a failure.
    pub(super) fn count(&mut self, fault: Fault) {
        self.errors += 1;
        let counter = self
            .counts
            .and_then(|counts| counts.errors.get(fault.index()));
        counter.into_iter().for_each(Counter::inc);
    }
}
