//! What happens when a step fails at one of several fields.

use super::draft::Draft;
use super::outcome::Fault;
use crate::config::OnError;

/// The failures of one step at one event.
#[derive(Debug)]
pub(super) struct Trouble {
    on_error: OnError,
    /// How often it failed and the event goes on.
    pub(super) errors: u32,
}

impl Trouble {
    pub(super) fn new(on_error: OnError) -> Self {
        Self {
            on_error,
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
        match self.on_error {
            OnError::Quarantine => return Err(fault),
            OnError::Keep => {}
            OnError::DropField => draft.remove_at(place),
        }
        self.errors += 1;
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
        match self.on_error {
            OnError::Quarantine => return Err(fault),
            OnError::Keep => {}
            OnError::DropField => draft.remove(name),
        }
        self.errors += 1;
        Ok(())
    }
}
