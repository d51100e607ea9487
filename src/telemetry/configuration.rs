//! The configuration that is in force: which one it is, and how reloading went.

use super::declared;
use super::exposition::Family;
use super::labels::{ReloadOutcome, ReloadSource};
use super::metrics::{Counter, Gauge, Metrics};
use crate::foundation::clock;

/// What is counted of the configuration.
#[derive(Debug, Default)]
pub struct ConfigurationMetrics {
    /// The number of the configuration that is in force: 1 at the start, one more after each reload.
    pub generation: Generation,
    /// When it was taken over, in Unix seconds.
    pub loaded: Gauge,
    reloads: [[Reloads; ReloadOutcome::COUNT]; ReloadSource::COUNT],
}

/// The number of a configuration. It stands in each line of the log, too.
#[derive(Debug, Default)]
pub struct Generation(Gauge);

impl Generation {
    /// This one is in force from now on.
    pub fn set(&self, generation: u64) {
        self.0.set(generation);
        super::log::set_generation(generation);
    }

    /// The one that is in force.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// Reloads that somebody asked for, with one outcome.
#[derive(Debug, Default)]
pub struct Reloads {
    count: Counter,
    /// When the last one was, in Unix milliseconds.
    last: Gauge,
}

impl Reloads {
    /// One more.
    pub fn inc(&self) {
        self.last.set(clock::unix_millis());
        self.count.inc();
    }

    /// How many there were.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.count.get()
    }
}

impl ConfigurationMetrics {
    /// The count of reloads that somebody asked for, with an outcome.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "there is a cell for each pair")]
    pub fn reloads(&self, source: ReloadSource, outcome: ReloadOutcome) -> &Reloads {
        &self.reloads[source as usize][outcome as usize]
    }

    /// When the last reload with this outcome was, in Unix milliseconds; 0: never.
    fn last(&self, outcome: ReloadOutcome) -> u64 {
        let of = |source: &ReloadSource| self.reloads(*source, outcome).last.get();
        ReloadSource::ALL.iter().map(of).max().unwrap_or_default()
    }
}

impl Metrics {
    pub(super) fn configuration_families(&self) -> [Family; 5] {
        let cells = &self.configuration;
        let mut generation = Family::of(&declared::CONFIG_GENERATION);
        generation.push(vec![], cells.generation.get());
        let mut loaded = Family::of(&declared::CONFIG_LOADED_TIMESTAMP_SECONDS);
        loaded.push(vec![], cells.loaded.get());
        let mut reloads = Family::of(&declared::CONFIG_RELOADS);
        for source in ReloadSource::ALL {
            for outcome in ReloadOutcome::ALL {
                let labels = vec![("source", source.label()), ("outcome", outcome.label())];
                reloads.push(labels, cells.reloads(*source, *outcome).get());
            }
        }
        let mut last = Family::of(&declared::CONFIG_LAST_RELOAD_TIMESTAMP_SECONDS);
        let mut well = Family::of(&declared::CONFIG_LAST_RELOAD_SUCCESSFUL);
        // One that was only asked about was none.
        let (done, refused) = (
            cells.last(ReloadOutcome::Done),
            cells.last(ReloadOutcome::Refused),
        );
        if done.max(refused) > 0 {
            last.push_part(vec![], done.max(refused), 1000);
            well.push(vec![], u64::from(done > refused));
        }
        [generation, loaded, reloads, last, well]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Form;

    #[test]
    fn the_last_reload_is_told_and_dry_runs_are_not() {
        let metrics = Metrics::new();
        metrics.configuration.generation.set(7);
        let count = |outcome| {
            let cell = metrics.configuration.reloads(ReloadSource::Api, outcome);
            cell.inc();
        };
        count(ReloadOutcome::DryRun);
        let text = metrics.render(Form::Text);
        assert!(text.contains("\ntollgate_config_generation 7\n"), "{text}");
        assert!(!text.contains("last_reload"), "{text}");
        count(ReloadOutcome::Done);
        let text = metrics.render(Form::Text);
        assert!(text.contains("tollgate_config_last_reload_successful 1\n"));
        std::thread::sleep(std::time::Duration::from_millis(2));
        count(ReloadOutcome::Refused);
        count(ReloadOutcome::DryRun);
        let text = metrics.render(Form::Text);
        assert!(text.contains("tollgate_config_last_reload_successful 0\n"));
        let line = "tollgate_config_reloads_total{source=\"api\",outcome=\"refused\"} 1\n";
        assert!(text.contains(line), "{text}");
    }
}
