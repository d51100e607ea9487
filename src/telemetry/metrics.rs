//! The cells that are counted on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::archive::ArchiveMetrics;
use super::books::{Earlier, LogstoreBook};
use super::certificates::Certificates;
use super::configuration::ConfigurationMetrics;
use super::dashboard::DashboardMetrics;
use super::embedded::EmbeddedMetrics;
use super::exposition::OTHER;
use super::guards::GuardsWatch;
use super::labels::{
    AddressOutcome, AdminCall, AdminHandshake, AdminOutcome, ConnectionEnd, CredentialKind,
    DropReason, HttpVersion, Judge, PlatformLabel, RelayOutcome, RouteLabel, TlsHandshake,
    TokenSource,
};
use super::latency::Latency;
use super::limits::LimitsWatch;
use super::load::{LogstoreLoad, MachineLoad};
use super::names::Names;
use super::node::DrainMetrics;
use super::span_metrics::SpanMetrics;
use super::spool::LogstoreSpool;
use super::tally::Tally;
use super::transforms::TransformsWatch;
use super::upstreams::{LogstoreDelivery, UpstreamMetrics};
use crate::event::Reason;
use crate::foundation::budget::Budget;
use crate::foundation::clock;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The sum so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Takes `count` away.
    pub fn sub(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    /// Takes `count` away, or all that there is.
    pub fn sub_at_most(&self, count: u64) {
        let less = |now: u64| Some(now.saturating_sub(count));
        let changed = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        debug_assert!(changed.is_ok(), "it always gives a number");
    }

    /// Sets the value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Reason {
    /// Position in [`Reason::ALL`], for an array of cells.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Cells indexed by an enum.
#[derive(Debug)]
pub struct Cells<const N: usize>([Counter; N]);

impl<const N: usize> Default for Cells<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl<const N: usize> Cells<N> {
    /// The cell at `index`; past the end, the last.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "the index is cut to the length")]
    pub fn at(&self, index: usize) -> &Counter {
        &self.0[index.min(N - 1)]
    }
}

/// How many reasons there are.
pub const REASONS: usize = Reason::ALL.len();

/// What is counted for one logstore.
///
/// In the order of memory: what every request counts that is taken stands first and together, on two or
/// three cache lines that hold nothing that is only read.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct LogstoreMetrics {
    /// Requests answered with 200.
    pub requests_accepted: Counter,
    /// Events read from requests.
    pub events_entered: Counter,
    /// Events of requests of which is not yet known what becomes of them.
    pub events_deciding: Gauge,
    /// Events that its lane holds, or has held.
    pub events_accepted: Counter,
    /// Kind of credential of accepted requests.
    pub credential: Cells<{ CredentialKind::COUNT }>,
    /// Where the credential of accepted requests stood.
    pub token_source: Cells<{ TokenSource::COUNT }>,
    /// Platform of accepted requests.
    pub platform: Cells<{ PlatformLabel::COUNT }>,
    /// Requests refused, by reason.
    pub requests_refused: Cells<REASONS>,
    /// Requests that were taken only because the logstore observes, by the reason that would have
    /// refused them.
    pub requests_observed: Cells<REASONS>,
    /// Requests relayed to the upstream, by the class of its answer.
    pub requests_relayed: Cells<{ RelayOutcome::COUNT }>,
    /// Events that did not come with a request: from other logstores, copies, replays, our own.
    pub events_added: Counter,
    /// Events of requests that went to other logstores, by a step or a limit.
    pub events_routed: Counter,
    /// Events that were refused; of a body that could not be read, those before that.
    pub events_refused: Cells<REASONS>,
    /// Bytes of bodies of refused requests, as they were sent.
    pub bytes_refused: Cells<REASONS>,
    /// Events that were set aside, by what found them wanting.
    pub events_quarantined: Cells<{ Judge::COUNT }>,
    /// Events that were stored although they were found wanting, since that only observes.
    pub events_observed: Cells<{ Judge::COUNT }>,
    /// Events that were repaired, and stored then.
    pub events_repaired: Counter,
    /// Events that a step left out: a sample, or a privacy signal.
    pub events_sampled: Counter,
    /// Events that were taken before, and are not stored again.
    pub events_duplicate: Counter,
    /// Bytes of accepted requests before compression.
    pub bytes_accepted: Counter,
    /// Fields left out because their name is reserved.
    pub fields_reserved: Counter,
    /// Events whose time was replaced.
    pub times_replaced: Counter,
    /// Events that the store has acknowledged.
    pub events_delivered: Counter,
    /// Events that were accepted and did not reach the store.
    pub events_dropped: Cells<{ DropReason::COUNT }>,
    /// Events held in memory now.
    pub events_held: Gauge,
    /// Batches open now.
    pub batches_open: Gauge,
    /// Sealed batches waiting or on their way now.
    pub batches_waiting: Gauge,
    /// Batches sealed because there were too many open ones.
    pub batches_sealed_early: Counter,
    /// LogGroups delivered.
    pub groups_delivered: Counter,
    /// Bytes of delivered LogGroups before compression.
    pub raw_bytes_delivered: Counter,
    /// Bytes of delivered LogGroups as sent.
    pub sent_bytes_delivered: Counter,
    /// Attempts that failed and were, or will be, tried again.
    pub delivery_retries: Counter,
    /// How loaded it is.
    pub load: LogstoreLoad,
    /// How its LogGroups are sent.
    pub delivery: LogstoreDelivery,
    /// Its disk.
    pub spool: LogstoreSpool,
    /// Its files, where it goes to files.
    pub archive: ArchiveMetrics,
}

impl LogstoreMetrics {
    /// Its lane holds events that did not come with a request.
    pub fn take_added(&self, events: u64) {
        self.events_added.add(events);
        self.events_accepted.add(events);
    }

    /// It is gone: what tells how it stands says nothing any more. What was counted stays.
    fn rest(&self) {
        let (load, spool) = (&self.load, &self.spool);
        load.forget();
        let gauges = [
            &load.bytes_held,
            &load.drain_rate,
            &self.delivery.concurrency,
            &spool.waiting,
            &spool.bytes,
            &spool.part,
            &spool.segments,
            &spool.state,
            &spool.recovering,
            &self.archive.files,
            &self.archive.bytes,
        ];
        gauges.into_iter().for_each(|gauge| gauge.set(0));
    }
}

/// What is counted of events that are set aside on local disk.
#[derive(Debug, Default)]
pub struct QuarantineMetrics {
    /// Bytes of records on disk.
    pub bytes: Gauge,
    /// Records deleted by age, or by the bound on bytes.
    pub expired: Counter,
    /// Writes that failed, and are tried again.
    pub write_errors: Counter,
    /// Records that were replayed, and taken then.
    pub replayed: Counter,
}

/// What is counted of public connections.
#[derive(Debug, Default)]
pub struct EdgeMetrics {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections that could not be accepted.
    pub accept_errors: Counter,
    /// Times that a new connection had to wait because of `ingest.max_connections`.
    pub full: Counter,
    /// Connections open now.
    pub open: Gauge,
    /// Connections that hold no buffers now.
    pub resting: Gauge,
    /// Connections that may be open at once.
    pub limit: Gauge,
    /// The limit of file descriptors; 0 when there is none.
    pub descriptor_limit: Gauge,
    /// Tells the descriptors in use.
    pub descriptors: OnceLock<fn() -> Option<u64>>,
    /// Connections ended, by reason.
    pub ended: Cells<{ ConnectionEnd::COUNT }>,
    /// Finished TLS handshakes.
    pub tls_handshakes: Cells<{ TlsHandshake::COUNT }>,
    /// Requests that were sent on to https, or had no host to be sent to.
    pub redirected: Counter,
    /// Refusals whose answer was held back.
    pub refusals_delayed: Counter,
    /// Answers that are held back now.
    pub refusals_waiting: Gauge,
    /// Connections with such answers.
    pub connections_refused: Gauge,
    /// Requests, by version of HTTP.
    pub requests: Tally<{ HttpVersion::COUNT }>,
    /// Requests, by how their client's address was found.
    pub addresses: Tally<{ AddressOutcome::COUNT }>,
}

/// Cells by kind of credential and reason.
#[derive(Debug, Default)]
struct CredentialCells([Cells<REASONS>; CredentialKind::COUNT]);

/// How a fetched set of keys stands, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JwksFigures {
    /// The `kid` of its `[[identity.jwt]]`.
    pub source: String,
    /// Seconds since it was last fetched, if it ever was.
    pub age_seconds: Option<u64>,
    /// Keys of it that are used.
    pub keys: u64,
    /// Fetches that brought a set to use.
    pub fetched: u64,
    /// Fetches that did not.
    pub failed: u64,
}

/// Says how the fetched sets of keys stand now.
#[derive(Default)]
struct JwksWatch(OnceLock<Box<dyn Fn() -> Vec<JwksFigures> + Send + Sync>>);

impl std::fmt::Debug for JwksWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwksWatch").finish_non_exhaustive()
    }
}

/// A project and a logstore.
pub(super) type LogstoreKey = (String, String);

/// Logstores that are gone and whose counts stay in the series that they shared.
const MAX_GONE: usize = 1_000;

/// The cells of a logstore.
#[derive(Debug)]
struct Named {
    /// Whether it has series of its own.
    apart: bool,
    cells: Arc<LogstoreMetrics>,
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Public connections.
    pub edge: EdgeMetrics,
    /// Requests by route, refused ones included.
    pub requests: Tally<{ RouteLabel::COUNT }>,
    /// Requests refused before their logstore was known, by reason.
    pub requests_refused: Cells<REASONS>,
    /// Credentials refused, by kind and reason: row by row of [`CredentialKind`], [`REASONS`] each.
    credentials_refused: CredentialCells,
    /// Calls of the token service that were answered with credentials.
    pub sts_issued: Counter,
    /// Security events that were written.
    pub security_events: Counter,
    /// Security events that were too many, or had no room.
    pub security_events_dropped: Counter,
    /// Requests whose host names the project twice, a mistake of a published sample.
    pub doubled_project: Counter,
    /// Calls of the admin API, by call and outcome.
    admin_calls: Cells<{ AdminCall::COUNT * AdminOutcome::COUNT }>,
    /// Handshakes of TLS at the private listener, by how they went.
    pub admin_handshakes: Cells<{ AdminHandshake::COUNT }>,
    /// Tickets that are kept.
    pub tickets: Gauge,
    /// Revocations that are kept.
    pub revocations: Gauge,
    /// Lines of the journal of tickets and revocations that were skipped when it was opened.
    pub journal_damaged_lines: Gauge,
    /// Events that are set aside on local disk.
    pub quarantine: Arc<QuarantineMetrics>,
    /// The dashboard.
    pub dashboard: DashboardMetrics,
    /// The embedded logstore.
    pub embedded: Arc<EmbeddedMetrics>,
    /// How loaded the process is.
    pub machine: Arc<MachineLoad>,
    /// The configuration that is in force.
    pub configuration: ConfigurationMetrics,
    /// How far a stop is.
    pub drain: DrainMetrics,
    /// How long things take.
    pub latency: Latency,
    /// Spans on their way to a collector.
    pub spans: Arc<SpanMetrics>,
    /// Refused requests that got no line in the log.
    pub refusals_suppressed: Counter,
    /// Time that the last rendering took, in microseconds.
    pub(super) scrape_micros: Gauge,
    /// When counting has begun, in Unix milliseconds.
    pub(super) started_millis: u64,
    /// The fetched sets of keys, for gauges.
    jwks: JwksWatch,
    /// The limits.
    pub(super) limits: LimitsWatch,
    /// The guards.
    pub(super) guards: GuardsWatch,
    /// The steps on events.
    pub(super) transforms: TransformsWatch,
    /// Cells per certificate, from the configuration.
    pub(super) certificates: Certificates,
    /// What earlier lives of the process have counted.
    earlier: Mutex<BTreeMap<LogstoreKey, Earlier>>,
    /// Whether that was read.
    pub(super) knows_earlier: OnceLock<()>,
    /// Cells per project and logstore, from the configuration.
    logstores: Mutex<BTreeMap<LogstoreKey, Named>>,
    /// Cells of those that are not configured any more, whose counts stay in series that they shared: these
    /// never go down.
    gone: Mutex<Vec<Arc<LogstoreMetrics>>>,
    /// Logstores that have series of their own; 0 stands for all.
    max_logstores: Gauge,
    /// Names of the configuration that have series of their own.
    pub(super) names: Names,
    /// Cells per upstream, from the configuration.
    pub(super) upstreams: Mutex<BTreeMap<String, Arc<UpstreamMetrics>>>,
    /// The memory budget, for gauges.
    memory: Mutex<Option<Arc<Budget>>>,
}

impl Metrics {
    /// Cells with nothing counted yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            started_millis: clock::unix_millis(),
            ..Self::default()
        })
    }

    /// The cells of one configured logstore; made on first use.
    #[must_use]
    pub fn logstore(&self, project: &str, logstore: &str) -> Arc<LogstoreMetrics> {
        let cells = self.logstore_or_new(project, logstore);
        self.keep_logstore(project, logstore, &cells);
        cells
    }

    /// The cells of a logstore that may yet be configured. New ones are shown nowhere until they are
    /// [kept](Self::keep_logstore).
    #[must_use]
    pub fn logstore_or_new(&self, project: &str, logstore: &str) -> Arc<LogstoreMetrics> {
        let map = self.lock_logstores();
        let known = map.get(&(project.to_owned(), logstore.to_owned()));
        known.map_or_else(Arc::default, |known| Arc::clone(&known.cells))
    }

    /// Shows `cells` as those of a configured logstore.
    pub fn keep_logstore(&self, project: &str, logstore: &str, cells: &Arc<LogstoreMetrics>) {
        let mut map = self.lock_logstores();
        let apart = map.values().filter(|it| it.apart).count() as u64;
        let most = self.max_logstores.get();
        let new = || Named {
            apart: most == 0 || apart < most,
            cells: Arc::clone(cells),
        };
        let key = (project.to_owned(), logstore.to_owned());
        let named = map.entry(key).or_insert_with(new);
        named.cells = Arc::clone(cells);
    }

    /// Forgets the cells of a logstore that is not configured any more, and of which nothing is held: its
    /// series and its books end, and when it comes back it has new ones. Where it shared series its counts
    /// stay there, for the first thousand that go: to a reader a sum that falls is one that began anew.
    pub fn forget_logstore(&self, project: &str, logstore: &str) {
        let key = (project.to_owned(), logstore.to_owned());
        let mut map = self.lock_logstores();
        let Some(Named { apart, cells }) = map.remove(&key) else {
            return;
        };
        let book = LogstoreBook::read(project, logstore, &cells);
        if !apart {
            let mut gone = self.lock_gone();
            if gone.len() < MAX_GONE {
                cells.rest();
                gone.push(cells);
            }
        }
        drop(map);
        self.end_book((key, book));
    }

    /// Forgets the cells of upstreams that `named` does not name any more.
    pub fn keep_upstreams(&self, named: impl Fn(&str) -> bool) {
        let map = self.upstreams.lock();
        let mut map = map.unwrap_or_else(PoisonError::into_inner);
        map.retain(|name, _| named(name));
    }

    /// The count of refusals of a kind of credential for a reason.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "the array has a row for each kind")]
    pub fn credentials_refused(&self, kind: CredentialKind, reason: Reason) -> &Counter {
        self.credentials_refused.0[kind as usize].at(reason.index())
    }

    /// The count of calls of the admin API with an outcome.
    #[must_use]
    pub fn admin_calls(&self, call: AdminCall, outcome: AdminOutcome) -> &Counter {
        let row = call as usize * AdminOutcome::COUNT;
        self.admin_calls.at(row + outcome as usize)
    }

    /// Shows `budget` as the memory gauges.
    pub fn watch_memory(&self, budget: &Arc<Budget>) {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(budget));
    }

    /// Shows what `figures` says of the fetched sets of keys, at each reading. The first watch stays.
    pub fn watch_jwks(&self, figures: impl Fn() -> Vec<JwksFigures> + Send + Sync + 'static) {
        self.jwks.0.get_or_init(|| Box::new(figures));
    }

    /// How the fetched sets of keys stand now.
    pub(super) fn jwks(&self) -> Vec<JwksFigures> {
        self.jwks
            .0
            .get()
            .map(|figures| figures())
            .unwrap_or_default()
    }

    /// Events that are accepted and not yet delivered or dropped, of all logstores.
    #[must_use]
    pub fn events_held(&self) -> u64 {
        self.each_logstore()
            .iter()
            .map(|(_, cells)| cells.events_held.get())
            .sum()
    }

    /// The cells of all logstores, by their names.
    pub(super) fn each_logstore(&self) -> Vec<(LogstoreKey, Arc<LogstoreMetrics>)> {
        let map = self.lock_logstores();
        map.iter()
            .map(|(key, it)| (key.clone(), Arc::clone(&it.cells)))
            .collect()
    }

    /// The same, by the names that their series have: those that came too late share theirs.
    pub(super) fn shown_logstores(&self) -> Vec<(LogstoreKey, Arc<LogstoreMetrics>)> {
        let map = self.lock_logstores();
        let other = || (OTHER.to_owned(), OTHER.to_owned());
        let shown = map.iter().map(|(key, it)| {
            let key = match it.apart {
                true => key.clone(),
                false => other(),
            };
            (key, Arc::clone(&it.cells))
        });
        let gone = self.lock_gone();
        let gone = gone.iter().map(|cells| (other(), Arc::clone(cells)));
        shown.chain(gone).collect()
    }

    /// The names that the series of a logstore have.
    pub(super) fn shown<'a>(&self, project: &'a str, logstore: &'a str) -> (&'a str, &'a str) {
        if self.max_logstores.get() == 0 {
            return (project, logstore);
        }
        let map = self.lock_logstores();
        match map.get(&(project.to_owned(), logstore.to_owned())) {
            Some(it) if it.apart => (project, logstore),
            _ => (OTHER, OTHER),
        }
    }

    /// Gives series of their own to so many logstores, the first that come.
    pub fn bound_logstores(&self, most: u32) {
        self.max_logstores.set(u64::from(most));
    }

    /// Logstores that have no series of their own.
    pub(super) fn folded_logstores(&self) -> u64 {
        match self.max_logstores.get() {
            0 => 0,
            _ => {
                let map = self.lock_logstores();
                map.values().filter(|it| !it.apart).count() as u64
            }
        }
    }

    pub(super) fn lock_earlier(&self) -> MutexGuard<'_, BTreeMap<LogstoreKey, Earlier>> {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be locked after the logstores, where both are.
    fn lock_gone(&self) -> MutexGuard<'_, Vec<Arc<LogstoreMetrics>>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_logstores(&self) -> MutexGuard<'_, BTreeMap<LogstoreKey, Named>> {
        self.logstores
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn memory(&self) -> Option<Arc<Budget>> {
        self.memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
