//! Whether the machine is short of time, and how many requests each lane may bring then: pure, with
//! what was measured as arguments.
//!
//! The measure is how late a task runs that asked to sleep. When it is too late the requests of the
//! last moment were too many: fewer are taken, until it is on time again; then slowly more. What is
//! taken is divided by weighted max-min: a lane that brings less than its share loses none, and what
//! it leaves is for the others.

use std::time::Duration;

/// The part of a new sample in the smoothed lag.
const NEW: f64 = 0.1;
/// What is left of the requests of the last moment when they were too many.
const FEWER: f64 = 0.8;
/// The least part of what arrives that is taken: the lag may not be of our making, and then refusing
/// does not end it.
const LEAST: f64 = 0.05;
/// Requests of a moment that are taken in any case: so few cannot be what makes a machine late.
const FEW: f64 = 10.0;
/// What is added when the machine is on time.
const MORE: f64 = 1.1;
/// Moments on time, with nothing refused, after which nothing is limited any more.
const CALM: u32 = 10;

/// How late tasks run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lag {
    seconds: f64,
}

impl Lag {
    /// Takes a sample in.
    pub(super) fn sample(&mut self, late: Duration) {
        self.seconds += NEW * (late.as_secs_f64() - self.seconds);
    }

    /// The smoothed lag.
    pub(super) fn get(self) -> Duration {
        Duration::from_secs_f64(self.seconds.max(0.0))
    }
}

/// What one lane brought in the last moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brought {
    /// Its weight.
    pub(super) weight: u32,
    /// Requests that came.
    pub(super) arrived: u64,
    /// Requests that were taken.
    pub(super) admitted: u64,
}

/// Decides from moment to moment.
#[derive(Debug)]
pub(super) struct Machine {
    max_lag: Duration,
    /// Requests that may be taken in a moment, while they are limited.
    capacity: Option<f64>,
    calm: u32,
}

impl Machine {
    pub(super) fn new(max_lag: Duration) -> Self {
        Self {
            max_lag,
            capacity: None,
            calm: 0,
        }
    }

    /// Lets tasks be late by so much from now on.
    pub(super) fn set_max_lag(&mut self, max_lag: Duration) {
        self.max_lag = max_lag;
    }

    /// Whether it has to know what lanes bring: requests are limited, or may be soon.
    pub(super) fn counts(&self, lag: Duration) -> bool {
        self.capacity.is_some() || lag >= self.max_lag / 2
    }

    /// After a moment: the requests that one unit of weight may bring in the next; `None` is no
    /// limit. A lane that has been silent has its part of it too.
    pub(super) fn next(&mut self, lag: Duration, lanes: &[Brought]) -> Option<f64> {
        let admitted = float(lanes.iter().map(|lane| lane.admitted).sum());
        let arrived = float(lanes.iter().map(|lane| lane.arrived).sum());
        let late = lag > self.max_lag;
        let on_time = lag < self.max_lag / 2;
        let capacity = match self.capacity {
            None if !late => return None,
            None => admitted * FEWER,
            Some(capacity) if late => capacity.min(admitted) * FEWER,
            Some(capacity) if on_time => capacity * MORE + 1.0,
            Some(capacity) => capacity,
        };
        self.calm = if on_time && arrived <= capacity {
            self.calm + 1
        } else {
            0
        };
        if self.calm >= CALM {
            (self.capacity, self.calm) = (None, 0);
            return None;
        }
        let capacity = capacity.max(arrived * LEAST).max(FEW);
        self.capacity = Some(capacity);
        Some(level(capacity, lanes))
    }
}

/// The requests of one unit of weight with which all lanes together bring at most `capacity`, when
/// they bring again what they brought.
fn level(capacity: f64, lanes: &[Brought]) -> f64 {
    let need = |lane: &Brought| float(lane.arrived) / f64::from(lane.weight.max(1));
    let mut lanes: Vec<&Brought> = lanes.iter().collect();
    lanes.sort_by(|a, b| need(a).total_cmp(&need(b)));
    let mut left = capacity;
    let mut weights: f64 = lanes.iter().map(|lane| f64::from(lane.weight.max(1))).sum();
    let mut level = capacity;
    for lane in lanes {
        level = left / weights;
        if need(lane) >= level {
            break;
        }
        left -= float(lane.arrived);
        weights -= f64::from(lane.weight.max(1));
        if weights < 0.5 {
            // All of them fit, and there is some left for any that brings more.
            level = need(lane) + left / f64::from(lane.weight.max(1));
        }
    }
    level
}

/// The requests that a lane of `weight` may bring, at least one.
pub(super) fn allotment(level: f64, weight: u32) -> u64 {
    let requests = (level * f64::from(weight)).ceil().max(1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is at least 1, and a cast from a float saturates"
    )]
    let requests = requests as u64;
    // Above it are the marks of a turnstile without a limit.
    requests.min(u64::MAX - 2)
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests of a moment")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX_LAG: Duration = Duration::from_millis(100);
    const LATE: Duration = Duration::from_millis(150);
    const BETWEEN: Duration = Duration::from_millis(70);
    const ON_TIME: Duration = Duration::from_millis(5);

    fn brought(weight: u32, arrived: u64, admitted: u64) -> Brought {
        Brought {
            weight,
            arrived,
            admitted,
        }
    }

    /// Brings `demand` moment by moment under what was allotted. What was admitted in the last one.
    fn run(machine: &mut Machine, lag: Duration, demand: &[(u32, u64)], moments: u32) -> Vec<u64> {
        let mut level = None;
        let mut last = Vec::new();
        for _ in 0..moments {
            let lanes: Vec<Brought> = demand
                .iter()
                .map(|&(weight, arrived)| {
                    let most = level.map_or(u64::MAX, |level| allotment(level, weight));
                    brought(weight, arrived, arrived.min(most))
                })
                .collect();
            last = lanes.iter().map(|lane| lane.admitted).collect();
            level = machine.next(lag, &lanes);
        }
        last
    }

    #[test]
    fn one_stall_is_no_lag_and_many_are() {
        let mut lag = Lag::default();
        lag.sample(Duration::from_millis(800));
        assert!(lag.get() < MAX_LAG);
        for _ in 0..12 {
            lag.sample(LATE);
        }
        assert!(lag.get() > MAX_LAG);
        for _ in 0..30 {
            lag.sample(ON_TIME);
        }
        assert!(lag.get() < MAX_LAG / 2);
    }

    #[test]
    fn the_lane_that_floods_is_cut_and_the_others_are_not() {
        let mut machine = Machine::new(MAX_LAG);
        assert_eq!(machine.next(ON_TIME, &[brought(1, 9999, 9999)]), None);
        let admitted = run(&mut machine, LATE, &[(1, 2000), (1, 50), (1, 50)], 5);
        assert!(admitted[0] < 1000, "{admitted:?}");
        assert_eq!(admitted[1..], [50, 50]);
    }

    #[test]
    fn weights_divide_what_is_taken() {
        let mut machine = Machine::new(MAX_LAG);
        let admitted = run(&mut machine, LATE, &[(3, 1000), (1, 1000)], 8);
        assert!((admitted[0] / admitted[1]) == 3 || admitted[0] == admitted[1] * 3);
    }

    #[test]
    fn it_opens_again_slowly_and_only_when_it_is_on_time() {
        let mut machine = Machine::new(MAX_LAG);
        let demand = [(1, 1000), (1, 10)];
        let cut = run(&mut machine, LATE, &demand, 5)[0];
        let kept = run(&mut machine, BETWEEN, &demand, 50)[0];
        assert!(kept < 1000 && kept + 100 > cut.min(900), "{cut} {kept}");
        assert!(
            machine.capacity.is_some(),
            "between the two nothing changes"
        );
        run(&mut machine, ON_TIME, &demand, 100);
        assert_eq!(machine.capacity, None);
    }

    #[test]
    fn a_machine_that_is_late_without_requests_still_takes_a_few() {
        let mut machine = Machine::new(MAX_LAG);
        run(&mut machine, LATE, &[(1, 0), (1, 0)], 100);
        let level = machine
            .next(LATE, &[brought(1, 0, 0), brought(1, 0, 0)])
            .unwrap();
        assert_eq!(allotment(level, 1), 10);
        assert_eq!(allotment(0.0, 1), 1);
        assert_eq!(allotment(f64::MAX, 100), u64::MAX - 2);
    }

    #[test]
    fn lag_that_refusing_does_not_end_leaves_a_part_of_the_service() {
        let mut machine = Machine::new(MAX_LAG);
        let admitted = run(&mut machine, LATE, &[(1, 10_000)], 200);
        assert_eq!(admitted, [500]);
    }

    proptest! {
        /// What the lanes bring again under their allotments is the capacity, but for rounding up,
        /// and no lane is cut while another that brings more for its weight is not.
        #[test]
        fn the_level_divides_by_weighted_max_min(
            lanes in prop::collection::vec((1u32..=100, 0u64..10_000), 1..20),
            capacity in 1.0f64..200_000.0,
        ) {
            let lanes: Vec<Brought> = lanes.iter().map(|&(w, n)| brought(w, n, n)).collect();
            let level = level(capacity, &lanes);
            let again: f64 = lanes
                .iter()
                .map(|lane| float(lane.arrived).min(level * f64::from(lane.weight)))
                .sum();
            let demand: f64 = lanes.iter().map(|lane| float(lane.arrived)).sum();
            prop_assert!((again - demand.min(capacity)).abs() < 1e-6 * capacity.max(demand).max(1.0));
        }
    }
}
