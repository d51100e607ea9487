//! How long things take: histograms with fixed bounds, and the stages of a request.
//!
//! Promise: to observe is two atomic additions and a search of some bounds, with no lock. A request
//! that is not timed pays for a look at a counter of its thread, and for one at an `Option` at each
//! stage; one of [`ONE_IN`] is timed, and reads the clock once for each stage. So does one that has a
//! span ([`StageTimes`]), which is not in the histograms unless it is its turn.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::declared;
use super::exposition::{Family, Form};
use super::labels::RequestStage;
use super::metrics::{Counter, Metrics};
use crate::foundation::clock;
use crate::foundation::request_id::RequestId;
use crate::foundation::trace_context::TraceContext;

/// Of so many requests of a worker thread the first is timed.
pub const ONE_IN: u32 = 16;

/// Bounds of a histogram, and one bucket more.
const SLOTS: usize = 20;

/// Upper bounds of the buckets, in nanoseconds.
pub trait Scale {
    /// Rising.
    const BOUNDS: [u64; SLOTS - 1];
}

/// From some microseconds to some seconds.
#[derive(Debug, Default)]
pub struct Fine;

/// From a millisecond to a day.
#[derive(Debug, Default)]
pub struct Coarse;

const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

impl Scale for Fine {
    const BOUNDS: [u64; SLOTS - 1] = [
        5 * MICRO,
        10 * MICRO,
        25 * MICRO,
        50 * MICRO,
        100 * MICRO,
        250 * MICRO,
        500 * MICRO,
        MILLI,
        2_500 * MICRO,
        5 * MILLI,
        10 * MILLI,
        25 * MILLI,
        50 * MILLI,
        100 * MILLI,
        250 * MILLI,
        500 * MILLI,
        SECOND,
        5 * SECOND,
        15 * SECOND,
    ];
}

impl Scale for Coarse {
    const BOUNDS: [u64; SLOTS - 1] = [
        MILLI,
        5 * MILLI,
        10 * MILLI,
        25 * MILLI,
        50 * MILLI,
        100 * MILLI,
        250 * MILLI,
        500 * MILLI,
        SECOND,
        2_500 * MILLI,
        5 * SECOND,
        10 * SECOND,
        30 * SECOND,
        60 * SECOND,
        300 * SECOND,
        900 * SECOND,
        3_600 * SECOND,
        14_400 * SECOND,
        86_400 * SECOND,
    ];
}

/// Observations in buckets.
#[derive(Debug, Default)]
pub struct Histogram<S> {
    counts: [Counter; SLOTS],
    nanos: Counter,
    scale: PhantomData<S>,
}

impl<S: Scale> Histogram<S> {
    /// Notes that something took so long. Returns the bucket.
    #[expect(
        clippy::indexing_slicing,
        reason = "there is one bucket more than bounds"
    )]
    pub fn observe(&self, took: Duration) -> usize {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let index = S::BOUNDS.partition_point(|bound| *bound < nanos);
        self.counts[index].inc();
        self.nanos.add(nanos);
        index
    }

    /// How many were noted.
    #[cfg(test)]
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().map(Counter::get).sum()
    }

    /// What was observed until now.
    pub(super) fn read(&self) -> Observed {
        Observed {
            bounds: &const { S::BOUNDS },
            counts: std::array::from_fn(|index| self.counts.get(index).map_or(0, Counter::get)),
            nanos: self.nanos.get(),
        }
    }
}

/// What a histogram has observed.
#[derive(Debug)]
pub(super) struct Observed {
    bounds: &'static [u64; SLOTS - 1],
    counts: [u64; SLOTS],
    nanos: u64,
}

impl Observed {
    /// Each bucket: its upper bound as a label, and how many are in it.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (String, u64)> {
        let bounds = self.bounds.iter().map(|nanos| bound_label(*nanos));
        let bounds = bounds.chain(["+Inf".to_owned()]);
        bounds.zip(self.counts)
    }

    /// Both, of the same scale.
    fn and(mut self, other: Self) -> Self {
        for (sum, more) in self.counts.iter_mut().zip(other.counts) {
            *sum += more;
        }
        self.nanos = self.nanos.wrapping_add(other.nanos);
        self
    }

    pub(super) fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanos).as_secs_f64()
    }
}

/// A bound in seconds, as OpenMetrics writes numbers.
fn bound_label(nanos: u64) -> String {
    let seconds = Duration::from_nanos(nanos).as_secs_f64();
    let text = seconds.to_string();
    if text.contains('.') {
        text
    } else {
        text + ".0"
    }
}

/// A request that fell into a bucket.
#[derive(Clone, Debug)]
pub(super) struct Exemplar {
    pub(super) id: RequestId,
    /// The trace that it is in, where it has a span.
    pub(super) trace: Option<TraceContext>,
    pub(super) seconds: f64,
    pub(super) unix_millis: u64,
}

/// How long an exemplar with a trace stays when only others come, in milliseconds: few requests have one.
const TRACE_STAYS: u64 = 60_000;

/// How long requests take.
#[derive(Debug, Default)]
pub struct Latency {
    requests: Histogram<Fine>,
    stages: [Histogram<Fine>; RequestStage::COUNT],
    /// The last one of each bucket of `requests`.
    exemplars: [Mutex<Option<Exemplar>>; SLOTS],
}

thread_local! {
    static TURN: Cell<u32> = const { Cell::new(0) };
}

impl Latency {
    /// Times the request that begins now, if it is its turn, or its span wants to know.
    #[must_use]
    pub fn begin<'a>(&'a self, span: Option<&'a StageTimes>) -> Option<Timer<'a>> {
        let turn = TURN.get();
        TURN.set(turn.wrapping_add(1));
        let latency = turn.is_multiple_of(ONE_IN).then_some(self);
        (latency.is_some() || span.is_some()).then(|| Timer::new(latency, span))
    }
}

/// Observations of whole requests and of their stages, by bucket, at one moment.
#[derive(Clone, Debug)]
pub struct LatencyCounts([[u64; SLOTS]; RequestStage::COUNT + 1]);

/// How long something took, of the observations between two moments: upper bounds of the buckets, in
/// microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    /// A stage, or `request` for all of it.
    pub of: &'static str,
    /// Half of them took no longer.
    pub p50: u64,
    /// Nine of ten took no longer.
    pub p90: u64,
    /// 99 of 100 took no longer.
    pub p99: u64,
    /// How many there were.
    pub count: u64,
}

impl Latency {
    /// What was observed until now.
    #[must_use]
    pub fn counts(&self) -> LatencyCounts {
        let mut counts = LatencyCounts([[0; SLOTS]; RequestStage::COUNT + 1]);
        let all = std::iter::once(&self.requests).chain(&self.stages);
        for (counts, histogram) in counts.0.iter_mut().zip(all) {
            *counts = histogram.read().counts;
        }
        counts
    }
}

impl LatencyCounts {
    /// What was observed since `before`, of what was observed at all.
    #[must_use]
    pub fn since(&self, before: &Self) -> Vec<Percentiles> {
        let names = std::iter::once("request").chain(RequestStage::ALL.iter().map(|it| it.label()));
        let rows = self.0.iter().zip(&before.0).zip(names);
        let rows = rows.map(|((now, before), of)| {
            let new: [u64; SLOTS] = std::array::from_fn(|index| {
                let at = |row: &[u64; SLOTS]| row.get(index).copied().unwrap_or_default();
                at(now).saturating_sub(at(before))
            });
            let count = new.iter().sum();
            let [p50, p90, p99] = [50, 90, 99].map(|percent| within(&new, count, percent));
            Percentiles {
                of,
                p50,
                p90,
                p99,
                count,
            }
        });
        rows.filter(|row| row.count > 0).collect()
    }
}

/// The bound, in microseconds, within which so many percent of the observations lie; that of the last
/// bucket, which has none, is told as the largest that there is.
fn within(counts: &[u64; SLOTS], count: u64, percent: u64) -> u64 {
    let wanted = count.saturating_mul(percent).div_ceil(100);
    let mut seen = 0;
    let mut last = 0;
    for (count, bound) in counts.iter().zip(Fine::BOUNDS) {
        seen += count;
        last = bound / 1000;
        if seen >= wanted {
            break;
        }
    }
    last
}

/// When the stages of a request began, for its span.
#[derive(Debug, Default)]
pub struct StageTimes(Mutex<Vec<(RequestStage, u64)>>);

/// More stages than any request has.
const MOST_STAGES: usize = 32;

impl StageTimes {
    fn note(&self, stage: RequestStage, nanos: u64) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() < MOST_STAGES {
            times.push((stage, nanos));
        }
    }

    /// The stages in their order: where each began and ended, in nanoseconds since the request did.
    /// The last one ended after `end` of them.
    #[must_use]
    pub fn spans(self, end: u64) -> Vec<(RequestStage, u64, u64)> {
        let times = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let began = std::iter::once((RequestStage::Head, 0)).chain(times.iter().copied());
        let ends = times.iter().map(|(_, at)| *at).chain([end]);
        let spans = began.zip(ends).map(|((stage, from), to)| (stage, from, to));
        spans.filter(|(_, from, to)| from < to).collect()
    }
}

/// The watch of one request. Only the task of the request uses it, so its numbers are read and written
/// plainly; they are atomics since a task goes from thread to thread.
#[derive(Debug)]
pub struct Timer<'a> {
    /// The histograms, where it is its turn.
    latency: Option<&'a Latency>,
    span: Option<&'a StageTimes>,
    began: Instant,
    /// Nanoseconds from then to the begin of the stage.
    since: AtomicU64,
    stage: AtomicU8,
}

impl<'a> Timer<'a> {
    fn new(latency: Option<&'a Latency>, span: Option<&'a StageTimes>) -> Self {
        Self {
            latency,
            span,
            began: Instant::now(),
            since: AtomicU64::new(0),
            stage: AtomicU8::new(RequestStage::Head as u8),
        }
    }

    /// The next stage begins.
    pub fn enter(&self, stage: RequestStage) {
        let now = self.enter_unseen(stage);
        if let Some(span) = self.span {
            span.note(stage, now);
        }
    }

    /// The next stage begins; in nanoseconds since the first one did.
    fn enter_unseen(&self, stage: RequestStage) -> u64 {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let since = self.since.load(Ordering::Relaxed);
        self.since.store(now, Ordering::Relaxed);
        let before = self.stage.load(Ordering::Relaxed);
        self.stage.store(stage as u8, Ordering::Relaxed);
        let stages = self.latency.map(|latency| &latency.stages);
        if let Some(histogram) = stages.and_then(|stages| stages.get(usize::from(before))) {
            histogram.observe(Duration::from_nanos(now.saturating_sub(since)));
        }
        now
    }

    /// The answer is there, after so many nanoseconds. `trace`: the span of the request.
    pub fn finish(self, id: Option<RequestId>, trace: Option<TraceContext>) -> u64 {
        // Any stage: it ends here.
        let nanos = self.enter_unseen(RequestStage::Answer);
        if let Some(latency) = self.latency {
            latency.finished(Duration::from_nanos(nanos), id, trace);
        }
        nanos
    }
}

impl Latency {
    fn finished(&self, took: Duration, id: Option<RequestId>, trace: Option<TraceContext>) {
        let bucket = self.requests.observe(took);
        let (Some(id), Some(cell)) = (id, self.exemplars.get(bucket)) else {
            return;
        };
        // Another one is as good.
        let mut last = match cell.try_lock() {
            Ok(last) => last,
            Err(TryLockError::Poisoned(last)) => last.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let unix_millis = clock::unix_millis();
        let is_new = |it: &Exemplar| unix_millis.saturating_sub(it.unix_millis) < TRACE_STAYS;
        let traced = last.as_ref().filter(|it| it.trace.is_some());
        if trace.is_none() && traced.is_some_and(is_new) {
            return;
        }
        *last = Some(Exemplar {
            id,
            trace,
            seconds: took.as_secs_f64(),
            unix_millis,
        });
    }
}

impl Metrics {
    pub(super) fn latency_families(&self, form: Form) -> Vec<Family> {
        let latency = &self.latency;
        let exemplars: Vec<Option<Exemplar>> = match form {
            Form::Text => Vec::new(),
            Form::OpenMetrics => {
                let read = |cell: &Mutex<Option<Exemplar>>| cell.lock().ok()?.clone();
                latency.exemplars.iter().map(read).collect()
            }
        };
        let mut requests = Family::of(&declared::REQUEST_DURATION_SECONDS);
        requests.push_histogram(&vec![], &latency.requests.read(), &exemplars);
        let mut stages = Family::of(&declared::REQUEST_STAGE_SECONDS);
        for (stage, histogram) in RequestStage::ALL.iter().zip(&latency.stages) {
            stages.push_histogram(&vec![("stage", stage.label())], &histogram.read(), &[]);
        }
        // Of all logstores together: each of its own would be many series for little.
        let logstores = self.each_logstore();
        let waits = logstores
            .iter()
            .map(|(_, cells)| cells.delivery.wait.read());
        let syncs = logstores.iter().map(|(_, cells)| cells.spool.sync.read());
        let mut wait = Family::of(&declared::BATCH_WAIT_SECONDS);
        let all = waits.fold(Histogram::<Coarse>::default().read(), Observed::and);
        wait.push_histogram(&vec![], &all, &[]);
        let mut sync = Family::of(&declared::SPOOL_SYNC_SECONDS);
        let all = syncs.fold(Histogram::<Fine>::default().read(), Observed::and);
        sync.push_histogram(&vec![], &all, &[]);
        vec![requests, stages, wait, sync]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_came_between_two_moments() {
        let latency = Latency::default();
        let took = |times, micros| {
            for _ in 0..times {
                latency.requests.observe(Duration::from_micros(micros));
            }
        };
        took(1000, 3_000_000);
        let before = latency.counts();
        took(98, 100);
        took(2, 50_000);
        let rows = latency.counts().since(&before);
        let [row] = &*rows else {
            panic!("only requests were observed: {rows:?}");
        };
        assert_eq!((row.of, row.count), ("request", 100));
        assert!(
            (100..1000).contains(&row.p50) && row.p90 == row.p50,
            "{row:?}"
        );
        assert!((50_000..500_000).contains(&row.p99), "{row:?}");
        assert!(latency.counts().since(&latency.counts()).is_empty());
    }

    #[test]
    fn a_bound_belongs_to_its_bucket_and_what_is_longer_to_the_next() {
        let histogram = Histogram::<Fine>::default();
        for nanos in [0, 5_000, 5_001, 15 * SECOND, 15 * SECOND + 1, u64::MAX / 2] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        let read = histogram.read();
        let buckets: Vec<(String, u64)> = read.buckets().filter(|(_, count)| *count > 0).collect();
        let expected = [("0.000005", 2), ("0.00001", 1), ("15.0", 1), ("+Inf", 2)];
        assert_eq!(
            buckets,
            expected.map(|(bound, count)| (bound.to_owned(), count))
        );
        assert!(Fine::BOUNDS.is_sorted() && Coarse::BOUNDS.is_sorted());
    }

    #[test]
    fn one_of_so_many_requests_is_timed_from_stage_to_stage() {
        let metrics = Metrics::new();
        // A thread of its own: the turn is the thread's.
        let timed = std::thread::scope(|scope| {
            let run = || {
                (0..ONE_IN * 3)
                    .filter_map(|_| metrics.latency.begin(None))
                    .count()
            };
            scope.spawn(run).join().unwrap()
        });
        assert_eq!(timed, 3);
        let times = StageTimes::default();
        let timer = Timer::new(Some(&metrics.latency), Some(&times));
        timer.enter(RequestStage::Body);
        timer.enter(RequestStage::Answer);
        let context = TraceContext::root().unwrap();
        let took = timer.finish(Some(RequestId::next(7)), Some(context));
        let stages = times.spans(took);
        let names: Vec<&str> = stages.iter().map(|(stage, ..)| stage.label()).collect();
        assert_eq!(names, ["head", "body", "answer"]);
        assert_eq!((stages[0].1, stages[2].2), (0, took));
        assert!(stages.windows(2).all(|pair| pair[0].2 == pair[1].1));
        let seen = |stage: RequestStage| {
            let read = metrics.latency.stages[stage as usize].read();
            read.counts.iter().sum::<u64>()
        };
        let of = [RequestStage::Head, RequestStage::Body, RequestStage::Answer].map(seen);
        assert_eq!((of, seen(RequestStage::Commit)), ([1, 1, 1], 0));
        let text = metrics.render(Form::OpenMetrics);
        assert!(text.contains("# {request_id=\"00000007"), "{text}");
        let trace = format!("\",trace_id=\"{}\"}}", context.trace_text());
        assert!(text.contains(&trace), "{text}");
        assert!(!metrics.render(Form::Text).contains(" # {"));
    }

    #[test]
    fn a_request_with_a_span_is_timed_and_not_counted_unless_it_is_its_turn() {
        let metrics = Metrics::new();
        let counted = std::thread::scope(|scope| {
            let run = || {
                for _ in 0..ONE_IN * 2 {
                    let times = StageTimes::default();
                    let timer = metrics.latency.begin(Some(&times)).unwrap();
                    timer.enter(RequestStage::Body);
                    timer.finish(None, None);
                }
                metrics.latency.requests.read().counts.iter().sum::<u64>()
            };
            scope.spawn(run).join().unwrap()
        });
        assert_eq!(counted, 2);
    }
}
