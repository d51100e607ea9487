//! The metrics of steps on events: read from them at each scrape, since they are made anew at a reload.

use std::sync::OnceLock;

use super::declared;
use super::exposition::{Family, OTHER};
use super::families::base;
use super::metrics::Metrics;

/// How the steps of one logstore stand, for metrics.
#[derive(Clone, Debug, Default)]
pub struct TransformFigures {
    /// The project.
    pub project: String,
    /// The logstore.
    pub logstore: String,
    /// Each step by its label, and why it failed: how often.
    pub errors: Vec<(String, &'static str, u64)>,
    /// Events left out, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// Events sent elsewhere.
    pub routed: u64,
}

type Figures = Box<dyn Fn() -> Vec<TransformFigures> + Send + Sync>;

/// Says how the steps stand now.
#[derive(Default)]
pub(super) struct TransformsWatch(OnceLock<Figures>);

impl std::fmt::Debug for TransformsWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransformsWatch").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Shows what `figures` says of the steps, at each reading. The first watch stays.
    pub fn watch_transforms(
        &self,
        figures: impl Fn() -> Vec<TransformFigures> + Send + Sync + 'static,
    ) {
        self.transforms.0.get_or_init(|| Box::new(figures));
    }

    pub(super) fn transform_families(&self) -> Vec<Family> {
        let Some(figures) = self.transforms.0.get() else {
            return Vec::new();
        };
        let mut errors = Family::of(&declared::TRANSFORM_ERRORS);
        let mut dropped = Family::of(&declared::TRANSFORM_DROPPED);
        let mut routed = Family::of(&declared::TRANSFORM_ROUTED);
        for of in figures() {
            let (project, logstore) = self.shown(&of.project, &of.logstore);
            let labels = || base(project, logstore);
            for (step, fault, count) in &of.errors {
                let step = if project == OTHER {
                    OTHER
                } else {
                    step.as_str()
                };
                let labels = [labels(), vec![("step", step), ("fault", fault)]].concat();
                errors.push(labels, *count);
            }
            for (reason, count) in of.dropped.iter().filter(|(_, count)| *count > 0) {
                dropped.push([labels(), vec![("reason", *reason)]].concat(), *count);
            }
            if of.routed > 0 {
                routed.push(labels(), of.routed);
            }
        }
        vec![errors, dropped, routed]
    }
}
