//! Looks at the machine from moment to moment.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::machine::{Lag, Machine};
use crate::pipeline::Current;
use crate::pipeline::retry::Cap;
use crate::telemetry::MachineLoad;

/// Between two looks at the clock.
const NAP: Duration = Duration::from_millis(10);
/// Looks for which an allotment of requests holds: a moment.
const LOOKS: u32 = 10;

/// Measures how late tasks run, and allots requests to the lanes while that is too late. Ends with
/// `stopping`, which also ends all limits.
pub(in crate::pipeline) async fn watch_machine(
    current: Arc<ArcSwap<Current>>,
    load: Arc<MachineLoad>,
    stopping: CancellationToken,
) {
    let mut watch = Watch {
        machine: Machine::new(current.load().max_lag),
        current,
        lag: Lag::default(),
        since: None,
        counting: false,
        warnings: Cap::default(),
        load,
    };
    let watching = async {
        loop {
            for _ in 0..LOOKS {
                let asked = Instant::now();
                tokio::time::sleep(NAP).await;
                watch.look(asked.elapsed().saturating_sub(NAP));
            }
            watch.allot();
        }
    };
    tokio::select! {
        () = watching => {}
        () = stopping.cancelled() => {}
    }
    watch.open();
}

struct Watch {
    current: Arc<ArcSwap<Current>>,
    lag: Lag,
    machine: Machine,
    /// Since when requests are limited.
    since: Option<Instant>,
    /// Whether lanes count what they bring. Not while the machine is on time: then no lane is looked at,
    /// however many there are.
    counting: bool,
    warnings: Cap,
    load: Arc<MachineLoad>,
}

impl Watch {
    fn look(&mut self, late: Duration) {
        self.lag.sample(late);
        let micros = u64::try_from(self.lag.get().as_micros()).unwrap_or(u64::MAX);
        self.load.lag_micros.set(micros);
    }

    fn allot(&mut self) {
        let current = self.current.load();
        self.machine.set_max_lag(current.max_lag);
        let micros = u64::try_from(current.max_lag.as_micros()).unwrap_or(u64::MAX);
        self.load.max_lag_micros.set(micros);
        match (self.machine.counts(self.lag.get()), self.counting) {
            (true, true) => {}
            // What was brought until now is not known.
            (true, false) => {
                self.counting = true;
                return self.set(None);
            }
            (false, true) => return self.open(),
            (false, false) => return,
        }
        let turnstiles = current
            .lanes
            .iter()
            .map(|lane| lane.admission().turnstile());
        let brought: Vec<_> = turnstiles.map(|turnstile| turnstile.brought()).collect();
        let level = self.machine.next(self.lag.get(), &brought);
        self.tell(level.is_some());
        self.set(level);
    }

    /// Ends all limits, and counting.
    fn open(&mut self) {
        self.set(None);
        for lane in &self.current.load().lanes {
            lane.admission().turnstile().open();
        }
        self.counting = false;
    }

    fn set(&mut self, level: Option<f64>) {
        let now = Instant::now();
        self.since = level.map(|_| self.since.unwrap_or(now));
        let limited_for = self.since.map_or(Duration::ZERO, |since| now - since);
        for lane in &self.current.load().lanes {
            lane.admission().turnstile().set(level, limited_for);
        }
        self.load.shedding.set(u64::from(level.is_some()));
    }

    fn tell(&mut self, limited: bool) {
        let lag = self.lag.get();
        match (self.since, limited) {
            (None, true) if self.warnings.pass(Instant::now()) => {
                tracing::warn!(?lag, "the machine is short of time; requests are refused");
            }
            (Some(_), false) => tracing::info!(?lag, "requests are no longer refused for lag"),
            _ => {}
        }
    }
}
