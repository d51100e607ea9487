//! What the events of a logstore are held to, and what becomes of those that do not pass.
//!
//! The schema looks at each event while the body is read ([`SchemaJudge`]); nothing is decided then,
//! since a token may stand in the body. Once the caller is known, `Front::judge` asks the
//! guards too, and takes out of the group what does not stay: refused with its request, left out, or
//! set aside. It takes all that it needs (room in the quarantine, names of events) before anything is
//! handed over, and `Judged::commit` cannot fail, so a request is kept with all its events or not
//! at all. The steps of `gate::transform` are done last, on what is left; limits on events see what they
//! leave.

mod again;
mod aside;
mod judge;
mod repair;
mod results;
mod schema;
mod steps;

use std::sync::Arc;

pub(super) use self::again::{Again, Past};
pub(super) use self::results::{EventResult, Kept, results_of};
pub use self::schema::SchemaJudge;
use crate::config::{self, QuarantineUse};
use crate::foundation::names::LogstoreName;
use crate::gate::guard::Guards;
use crate::gate::transform::{DropReason, Fault, Transforms};
use crate::telemetry::TransformFigures;

/// What the events of a logstore are held to. Made whole at each load of the configuration.
#[derive(Debug, Default)]
pub struct Quality {
    schema: Option<SchemaJudge>,
    guards: Option<Arc<Guards>>,
    transforms: Option<Transforms>,
    /// The logstore of the project that gets what is set aside; the local disk without one.
    aside_to: Option<LogstoreName>,
}

impl Quality {
    /// What a logstore asks for.
    #[must_use]
    pub fn new(
        schema: Option<SchemaJudge>,
        guards: Option<Arc<Guards>>,
        transforms: Option<Transforms>,
        aside: &QuarantineUse,
    ) -> Self {
        Self {
            schema: schema.filter(|judge| judge.rule().mode != config::LimitMode::Off),
            guards,
            transforms: transforms.filter(|it| !it.is_empty()),
            aside_to: aside.logstore.clone(),
        }
    }

    /// How its steps stand, for metrics.
    pub(super) fn figures(&self, project: &str, logstore: &str) -> Option<TransformFigures> {
        let (counts, labels) = self.transforms.as_ref()?.counts();
        let steps = labels.zip(counts.steps.iter());
        let dropped = DropReason::ALL.iter().zip(counts.dropped.iter());
        Some(TransformFigures {
            project: project.to_owned(),
            logstore: logstore.to_owned(),
            errors: steps
                .flat_map(|(label, step)| {
                    let faults = Fault::LABELS.iter().zip(step.errors.iter());
                    faults.map(move |(fault, count)| (label.to_owned(), *fault, count.get()))
                })
                .filter(|(_, _, count)| *count > 0)
                .collect(),
            dropped: dropped
                .map(|(reason, count)| (reason.label(), count.get()))
                .collect(),
            routed: counts.routed.get(),
        })
    }

    /// What looks at events while they are read.
    pub(super) fn check(&self) -> Option<&dyn super::transcode::EventCheck> {
        let schema = self.schema.as_ref()?;
        Some(schema)
    }

    /// Whether there is nothing to be asked after the body was read.
    pub(super) fn is_empty(&self) -> bool {
        self.schema.is_none() && self.guards.is_none() && self.transforms.is_none()
    }
}
