//! Live numbers: one look at everything each second, made once for all pages, as server-sent events.
//!
//! Promise: without a page nothing is done. A page that reads slowly misses looks, and one that does
//! not read at all is closed by the listener; nothing is queued for either. At `max_viewers` a further
//! page is refused; a quarter of the seats is out of reach of tickets, and half of the others out of
//! reach of any one ticket. A stream ends with its session, and when the listener stops.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::super::clients::Visitor;
use super::Dashboard;
use super::scope;
use super::sessions::{Gone, Guest, SessionKey, Sharer, Viewer, shares_of};
use super::sources::{About, StageLatency};
use crate::foundation::clock;
use crate::gate::identity::state::TicketId;
use crate::gate::quota::{LimitControl, LimitDetail};
use crate::telemetry::{LogstoreOverview, Metrics, Numbers, Overview};

/// A look that is not older than this serves further pages.
const FRESH: Duration = Duration::from_millis(900);
/// From looks that are further apart no rate is told.
const LONGEST: Duration = Duration::from_secs(10);
/// Limits, and keys of each, that a look shows.
const MOST_LIMITS: usize = 50;
const TOP_KEYS: usize = 5;
/// Limits are looked at in each so-many-th look: their top keys are sorted for it.
const LIMITS_EACH: u64 = 3;

/// Makes the looks.
pub(super) struct Hub {
    metrics: Arc<Metrics>,
    limits: Arc<LimitControl>,
    max_viewers: u32,
    seats: Mutex<Seats>,
    last: Mutex<Last>,
    stop: CancellationToken,
}

/// Seats that are taken.
#[derive(Default)]
struct Seats {
    all: u32,
    /// Those of whoever has a share only.
    shared: u32,
    /// Only of those that have some.
    of_each: BTreeMap<Sharer, u32>,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSeat {
    /// As many pages look on as there may be, or as guests may have.
    Full,
    /// As many of this ticket, or certificate, do.
    FullForOne,
}

#[derive(Default)]
struct Last {
    at: Option<Instant>,
    number: u64,
    seen: Overview,
    limits: Arc<Vec<LimitDetail>>,
    shown: Option<Arc<Look>>,
}

/// One look, and what was made of it for those who are shown it.
pub(super) struct Look {
    time: u64,
    number: u64,
    about: About,
    overview: Overview,
    /// A second, of the counts of each logstore, in its order; none in the first look.
    rates: Option<Vec<Rates>>,
    unrouted: Option<Rates>,
    limits: Arc<Vec<LimitDetail>>,
    latency: Vec<StageLatency>,
    whole: OnceLock<Bytes>,
    of_guests: Mutex<BTreeMap<TicketId, Bytes>>,
}

/// Counts a second, by name; those of 0 are left out.
type Rates = BTreeMap<String, f64>;

impl Hub {
    pub(super) fn new(
        metrics: Arc<Metrics>,
        limits: Arc<LimitControl>,
        max_viewers: u32,
        stop: CancellationToken,
    ) -> Self {
        Self {
            metrics,
            limits,
            max_viewers,
            seats: Mutex::default(),
            last: Mutex::default(),
            stop,
        }
    }

    /// A look that is fresh, and when the next one is due.
    fn look(&self, dashboard: &Dashboard) -> Arc<Look> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let since = last.at.map(|at| now.saturating_duration_since(at));
        if let (Some(shown), Some(since)) = (&last.shown, since)
            && since < FRESH
        {
            return Arc::clone(shown);
        }
        let overview = self.metrics.overview();
        let since = since.filter(|since| *since <= LONGEST);
        let of_logstores = since.map(|since| rates_of_logstores(&last.seen, &overview, since));
        let unrouted = since.map(|since| rates(&last.seen.unrouted, &overview.unrouted, since));
        if last.number.is_multiple_of(LIMITS_EACH) || since.is_none() {
            last.limits = Arc::new(self.details());
        }
        let look = Arc::new(Look {
            time: clock::unix_millis(),
            number: last.number,
            about: dashboard.sources.about(),
            overview: overview.clone(),
            rates: of_logstores,
            unrouted,
            limits: Arc::clone(&last.limits),
            latency: dashboard.sources.latency(),
            whole: OnceLock::new(),
            of_guests: Mutex::default(),
        });
        last.number += 1;
        last.at = Some(now);
        last.seen = overview;
        last.shown = Some(Arc::clone(&look));
        self.metrics.dashboard.snapshots.inc();
        look
    }

    fn details(&self) -> Vec<LimitDetail> {
        let list = self.limits.list();
        let some = list.limits.iter().take(MOST_LIMITS);
        // One that a reload has taken away meanwhile is left out.
        some.filter_map(|it| self.limits.show(&it.name, TOP_KEYS).ok())
            .collect()
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat for one more page.
    ///
    /// # Errors
    /// When there is none for it.
    pub(super) fn seat(self: &Arc<Self>, viewer: &Viewer) -> Result<Seat, NoSeat> {
        let sharer = viewer.sharer();
        let taken = self.seats().take(self.max_viewers, sharer.as_ref());
        match taken {
            Ok(()) => {
                self.metrics.dashboard.viewers.add(1);
                Ok(Seat(Arc::clone(self), sharer))
            }
            Err(why) => {
                self.metrics.dashboard.viewers_refused.inc();
                Err(why)
            }
        }
    }
}

impl Seats {
    fn take(&mut self, most: u32, sharer: Option<&Sharer>) -> Result<(), NoSeat> {
        if self.all >= most {
            return Err(NoSeat::Full);
        }
        if let Some(sharer) = sharer {
            let (shared, of_one) = shares_of(most);
            let has = self.of_each.get(sharer).copied().unwrap_or(0);
            if self.shared >= shared {
                return Err(NoSeat::Full);
            }
            if has >= of_one {
                return Err(NoSeat::FullForOne);
            }
            self.shared += 1;
            self.of_each.insert(sharer.clone(), has + 1);
        }
        self.all += 1;
        Ok(())
    }

    fn give_back(&mut self, sharer: Option<Sharer>) {
        self.all = self.all.saturating_sub(1);
        let Some(sharer) = sharer else {
            return;
        };
        self.shared = self.shared.saturating_sub(1);
        let left = self.of_each.get(&sharer).map_or(0, |has| has - 1);
        match left {
            0 => self.of_each.remove(&sharer),
            left => self.of_each.insert(sharer, left),
        };
    }
}

/// A place among the pages that look on.
pub(super) struct Seat(Arc<Hub>, Option<Sharer>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.seats().give_back(self.1.take());
        self.0.metrics.dashboard.viewers.sub(1);
    }
}

fn rates_of_logstores(before: &Overview, now: &Overview, since: Duration) -> Vec<Rates> {
    let known: BTreeMap<(&str, &str), &Numbers> = before
        .logstores
        .iter()
        .map(|it| ((it.project.as_str(), it.logstore.as_str()), &it.counts))
        .collect();
    let none = Numbers::new();
    let of = |it: &LogstoreOverview| {
        let before = known.get(&(it.project.as_str(), it.logstore.as_str()));
        rates(before.copied().unwrap_or(&none), &it.counts, since)
    };
    now.logstores.iter().map(of).collect()
}

fn rates(before: &Numbers, now: &Numbers, since: Duration) -> Rates {
    let seconds = since.as_secs_f64().max(0.001);
    let grown = now.iter().filter_map(|(name, count)| {
        let more = count.saturating_sub(before.get(name).copied().unwrap_or(0));
        #[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
        let rate = more as f64 / seconds;
        (more > 0).then(|| (name.clone(), (rate * 100.0).round() / 100.0))
    });
    grown.collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    time: u64,
    number: u64,
    about: &'a About,
    logstores: Vec<Value>,
    unrouted: &'a Numbers,
    unrouted_rates: &'a Option<Rates>,
    upstreams: &'a [crate::telemetry::UpstreamOverview],
    certificates: &'a [crate::telemetry::CertificateOverview],
    process: &'a crate::telemetry::ProcessOverview,
    limits: &'a [LimitDetail],
    latency: &'a [StageLatency],
}

impl Look {
    fn rates_at(&self, index: usize) -> Option<&Rates> {
        self.rates.as_ref().and_then(|rates| rates.get(index))
    }

    /// What a viewer is shown of it, as JSON.
    fn of(&self, viewer: &Viewer) -> Bytes {
        match viewer {
            Viewer::Admin(_) => self.whole.get_or_init(|| self.whole()).clone(),
            Viewer::Guest(guest) => {
                let made = &self.of_guests;
                let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
                let entry = made.entry(guest.ticket);
                entry.or_insert_with(|| self.of_guest(guest)).clone()
            }
        }
    }

    fn whole(&self) -> Bytes {
        let seen = &self.overview;
        let logstores = seen.logstores.iter().enumerate().map(|(index, it)| {
            json!({
                "project": it.project, "logstore": it.logstore, "counts": it.counts,
                "gauges": it.gauges, "rates": self.rates_at(index),
            })
        });
        let whole = Whole {
            time: self.time,
            number: self.number,
            about: &self.about,
            logstores: logstores.collect(),
            unrouted: &seen.unrouted,
            unrouted_rates: &self.unrouted,
            upstreams: &seen.upstreams,
            certificates: &seen.certificates,
            process: &seen.process,
            limits: &self.limits,
            latency: &self.latency,
        };
        Bytes::from(serde_json::to_vec(&whole).unwrap_or_default())
    }

    /// Only the logstores of the ticket, and no sums over times that it does not show.
    fn of_guest(&self, guest: &Guest) -> Bytes {
        let view = &guest.view;
        let hidden = scope::shows_numbers(view, self.time / 1000).err();
        let logstores = self.overview.logstores.iter().enumerate();
        let logstores = logstores
            .filter(|(_, it)| hidden.is_none() && scope::shows(view, &it.project, &it.logstore));
        let logstores = logstores.map(|(index, it)| {
            json!({
                "project": it.project, "logstore": it.logstore, "gauges": it.gauges,
                "rates": self.rates_at(index),
            })
        });
        let shown = json!({
            "time": self.time, "number": self.number, "hidden": hidden,
            "about": {"version": self.about.version},
            "logstores": logstores.collect::<Vec<Value>>(),
        });
        Bytes::from(shown.to_string())
    }
}

/// The stream of one page.
pub(super) struct LiveBody {
    dashboard: Arc<Dashboard>,
    viewer: Viewer,
    /// Of a session, which may end.
    key: Option<SessionKey>,
    visitor: Visitor,
    due: Pin<Box<Sleep>>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
    _seat: Seat,
}

impl LiveBody {
    pub(super) fn new(
        dashboard: &Arc<Dashboard>,
        seat: Seat,
        viewer: Viewer,
        key: Option<SessionKey>,
        visitor: Visitor,
    ) -> Self {
        Self {
            dashboard: Arc::clone(dashboard),
            viewer,
            key,
            visitor,
            due: Box::pin(tokio::time::sleep(Duration::ZERO)),
            stopped: Box::pin(dashboard.hub.stop.clone().cancelled_owned()),
            ended: false,
            _seat: seat,
        }
    }

    fn end(&mut self, why: &str) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.ended = true;
        let text = format!("event: end\ndata: {{\"why\":\"{why}\"}}\n\n");
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))))
    }

    /// Why there is no more to be seen, if the session does not count any more.
    fn over(&self) -> Option<&'static str> {
        let now = clock::unix_seconds();
        let Some(key) = self.key else {
            // It bears the token itself.
            let still = match &self.viewer {
                Viewer::Admin(who) => self.dashboard.clients.has(who),
                Viewer::Guest(_) => false,
            };
            return (!still).then_some("session");
        };
        let found = self.dashboard.sessions.find(key, &self.visitor, now);
        found.err().map(|gone| match gone {
            Gone::Unknown | Gone::Session => "session",
            Gone::Ticket(_) => "ticket",
        })
    }
}

impl std::fmt::Debug for LiveBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveBody").finish_non_exhaustive()
    }
}

impl Body for LiveBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.stopped.as_mut().poll(context).is_ready() {
            return self.end("stopping");
        }
        if self.due.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        if let Some(why) = self.over() {
            return self.end(why);
        }
        // All pages look at the beginning of a second, so that one look serves them.
        let to_next = 1000 - clock::unix_millis() % 1000;
        let next = Instant::now() + Duration::from_millis(to_next.max(1));
        self.due.as_mut().reset(next);
        let json = self.dashboard.hub.look(&self.dashboard).of(&self.viewer);
        let mut text = Vec::with_capacity(json.len() + 32);
        text.extend_from_slice(b"event: look\ndata: ");
        text.extend_from_slice(&json);
        text.extend_from_slice(b"\n\n");
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))))
    }
}
