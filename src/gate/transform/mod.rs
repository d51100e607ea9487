//! Steps on the fields of accepted events: what is added, taken away, masked, sampled and routed,
//! in the order of the configuration.
//!
//! Promise: pure and bounded. Events are read from their wire form and written back to it, with no
//! tree of values; an event that no step changes is copied as it came. What steps add never goes past
//! the limits of an event, and the events of a request grow together by no more than a body may hold.
//! In the steady state steps allocate nothing for an event, except what `parse_json` needs for numbers
//! of its levels, what masks need for escaped texts inside JSON, changed tags, and what regular
//! expressions keep. Not here: what becomes of events that are set aside
//! or routed (`front`). Documented in docs/transforms.md.

mod address;
mod agent;
mod annotation;
mod apply;
mod compile;
mod condition;
mod draft;
mod escaped;
mod facts;
mod hash;
mod json;
pub mod jwt;
mod labels;
mod mask;
mod names;
mod outcome;
mod personal;
mod problem;
mod query;
mod steps;
#[cfg(test)]
mod tests;
mod token;
mod trouble;
mod work;

pub use self::annotation::{Annotation, MaskAction, UnknownMask};
use self::compile::Context;
use self::condition::Condition;
pub use self::draft::Bounds;
pub use self::facts::TransformFacts;
pub use self::outcome::{
    DropReason, Fault, Outcome, Quarantined, Routed, StepCounts, TransformCounts,
};
pub use self::personal::PersonalFinder;
pub use self::problem::TransformProblem;
use self::steps::Act;
pub use self::work::Work;
use crate::config::{Config, Limits, OnError, Transform};
use crate::event::AttachedNames;
use crate::foundation::names::LogstoreName;
use crate::foundation::secret::Secret;
use crate::gate::identity::attached_names;
use crate::telemetry::Counter;

/// The steps of one logstore, ready to run.
#[derive(Debug)]
pub struct Transforms {
    steps: Box<[Step]>,
    targets: Box<[Target]>,
    bounds: Bounds,
    attached: AttachedNames,
    counts: TransformCounts,
}

/// One step.
#[derive(Debug)]
struct Step {
    /// Its kind and place, such as `mask_3`.
    label: Box<str>,
    when: Option<Condition>,
    on_error: OnError,
    act: Act,
    /// Whether it may do something to topic, source or tags.
    labels: bool,
}

/// Where a step routes to.
#[derive(Debug)]
struct Target {
    logstore: Option<LogstoreName>,
    topic: Option<Box<[u8]>>,
}

impl Bounds {
    /// The bounds of a configuration.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            fields: limits.fields as usize,
            key: count(limits.key.get()),
            value: count(limits.value.get()),
            growth: count(limits.body.get()),
        }
    }
}

impl Transforms {
    /// Compiles the steps of a logstore. Fields that a schema marks (`annotations`) are seen to before
    /// the first step, so that no step sees what is to be hidden. `attached` are names that only
    /// credentials and cookies give; `seed`, of 32 random bytes, keys hashes and choices that name no
    /// key: nodes with one seed choose alike. Secrets are read here, so this is not pure.
    ///
    /// # Errors
    /// Everything that is wrong with the steps; the configuration was checked before, so mostly secrets
    /// that cannot be read, and names that credentials or cookies give.
    pub fn new(
        configs: &[Transform],
        annotations: &[Annotation],
        limits: &Limits,
        attached: &AttachedNames,
        seed: &Secret,
    ) -> Result<Self, Vec<TransformProblem>> {
        let (mut steps, mut targets, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for annotation in annotations {
            match annotation.act(seed) {
                Ok(act) => steps.push(Step {
                    label: "schema".into(),
                    when: None,
                    on_error: OnError::DropField,
                    act,
                    labels: false,
                }),
                Err(defect) => problems.push(defect.of(0)),
            }
        }
        let mut context = Context {
            attached,
            seed,
            targets: &mut targets,
        };
        for (place, config) in configs.iter().enumerate() {
            match context.step(place, config) {
                Ok(step) => steps.push(step),
                Err(defect) => problems.push(defect.of(place)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let counts = TransformCounts {
            steps: steps.iter().map(|_| StepCounts::default()).collect(),
            dropped: Default::default(),
            routed: Counter::default(),
        };
        Ok(Self {
            steps: steps.into(),
            targets: targets.into(),
            bounds: Bounds::new(limits),
            attached: attached.clone(),
            counts,
        })
    }

    /// Tells what keeps the steps of a configuration from being made, each with its key. Secrets are
    /// read.
    #[must_use]
    pub fn check(config: &Config) -> Vec<String> {
        let attached = attached_names(config);
        // What is made is thrown away, so any seed will do.
        let seed = Secret::new([0; 32]);
        let mut told = Vec::new();
        for (index, project) in config.projects.iter().enumerate() {
            for (inner, logstore) in project.logstores.iter().enumerate() {
                let made = Self::new(&logstore.transforms, &[], &config.limits, &attached, &seed);
                let problems = made.err().into_iter().flatten();
                told.extend(
                    problems.map(|problem| format!("project[{index}].logstore[{inner}].{problem}")),
                );
            }
        }
        told
    }

    /// Whether there is no step, so that nothing would be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The name of a step for reports and metrics: its type and its place in the configuration, from 0.
    /// Steps that a schema asks for are all `schema`.
    #[must_use]
    pub fn label(&self, step: usize) -> &str {
        self.steps.get(step).map_or("", |step| &step.label)
    }

    /// What was counted, and the label of each step.
    pub fn counts(&self) -> (&TransformCounts, impl Iterator<Item = &str>) {
        (&self.counts, self.steps.iter().map(|step| &*step.label))
    }
}
