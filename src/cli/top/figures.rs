//! Two readings of a node, and what changed between them.

use std::collections::BTreeMap;
use std::time::Instant;

use http::StatusCode;
use serde_json::{Value, json};

use crate::cli::api::Api;
use crate::cli::scrape::{Sample, Scrape};
use crate::cli::{Exit, Failure};
use crate::telemetry::{Books, UpstreamReports};

/// What a node says at one moment.
#[derive(Debug)]
pub(super) struct Reading {
    at: Instant,
    scrape: Scrape,
    books: Books,
    upstreams: UpstreamReports,
}

/// What is known of a logstore.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct LaneView {
    pub(super) name: String,
    /// Of the last interval.
    pub(super) events_in: f64,
    pub(super) events_out: f64,
    pub(super) refused: f64,
    /// Bytes of memory that it holds, and that it may hold now.
    pub(super) leased: f64,
    pub(super) allowed: f64,
    pub(super) held: u64,
    pub(super) waiting: u64,
    pub(super) spool_bytes: f64,
    /// Seconds until what is held is delivered.
    pub(super) delay: f64,
    pub(super) upstream: String,
    pub(super) breaker: String,
}

/// What changed between two readings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Frame {
    pub(super) base: String,
    pub(super) version: String,
    pub(super) accepted: f64,
    pub(super) events: f64,
    pub(super) bytes: f64,
    /// Requests a second by reason, the most first.
    pub(super) refused: Vec<(String, f64)>,
    pub(super) connections: (f64, f64),
    pub(super) memory: (f64, f64),
    pub(super) shedding: bool,
    pub(super) balanced: bool,
    /// Seconds within which half, and 99 %, of requests were answered, where the node measures it.
    pub(super) latency: Option<(f64, f64)>,
    pub(super) lanes: Vec<LaneView>,
}

impl Reading {
    /// Asks a node.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) fn take(api: &Api) -> Result<Self, Failure> {
        let (status, text) = api.page("/metrics")?;
        if status != StatusCode::OK {
            let message = format!("{}/metrics answered {status}", api.base());
            return Err(Failure::new(Exit::Unavailable, message));
        }
        Ok(Self {
            at: Instant::now(),
            scrape: Scrape::parse(&String::from_utf8_lossy(&text)),
            books: api.books()?,
            upstreams: api.upstreams()?,
        })
    }

    /// A metric by a label.
    fn by(&self, name: &str, key: impl Fn(&Sample) -> Option<String>) -> BTreeMap<String, f64> {
        let mut all = BTreeMap::new();
        for sample in self.scrape.of(name) {
            if let Some(key) = key(sample) {
                *all.entry(key).or_default() += sample.value;
            }
        }
        all
    }

    fn by_lane(&self, name: &str) -> BTreeMap<String, f64> {
        self.by(name, |sample| {
            let (project, logstore) = (sample.label("project")?, sample.label("logstore")?);
            Some(format!("{project}/{logstore}"))
        })
    }
}

/// What was added a second. A node that was started anew counts from 0 again.
fn rates(
    first: &BTreeMap<String, f64>,
    second: &BTreeMap<String, f64>,
    seconds: f64,
) -> BTreeMap<String, f64> {
    let rate = |(key, now): (&String, &f64)| {
        let before = first.get(key).copied().unwrap_or(0.0);
        let added = if *now >= before { now - before } else { *now };
        (key.clone(), added / seconds)
    };
    second.iter().map(rate).collect()
}

impl Frame {
    /// What changed between two readings of the node at `base`.
    pub(super) fn between(first: &Reading, second: &Reading, base: &str) -> Self {
        let seconds = (second.at - first.at).as_secs_f64().max(0.001);
        let rate = |name: &str, key: &dyn Fn(&Sample) -> Option<String>| {
            rates(&first.by(name, key), &second.by(name, key), seconds)
        };
        // What came in. Copies for a second destination came in once, with the events that they are of.
        let came = |sample: &Sample| match sample.label("logstore") {
            Some(lane) if lane.contains('@') => None,
            _ => Some(String::new()),
        };
        let all = |name: &str| rate(name, &came).values().sum::<f64>();
        let reason = |sample: &Sample| sample.label("reason").map(str::to_owned);
        let mut refused = rate("tollgate_requests_refused_total", &reason);
        for (reason, rate) in rate("tollgate_unrouted_requests_refused_total", &reason) {
            *refused.entry(reason).or_default() += rate;
        }
        let mut refused: Vec<(String, f64)> =
            refused.into_iter().filter(|(_, it)| *it > 0.0).collect();
        refused.sort_by(|a, b| b.1.total_cmp(&a.1));
        let scrape = &second.scrape;
        let pair = |now: &str, most: &str| (scrape.sum(now), scrape.sum(most));
        let version = scrape.of("tollgate_build_info").next();
        Self {
            base: base.to_owned(),
            version: version
                .and_then(|it| it.label("version"))
                .unwrap_or_default()
                .to_owned(),
            accepted: all("tollgate_requests_accepted_total"),
            events: all("tollgate_events_accepted_total"),
            bytes: all("tollgate_accepted_bytes_total"),
            refused,
            connections: pair("tollgate_connections_open", "tollgate_connections_limit"),
            memory: pair(
                "tollgate_memory_leased_bytes",
                "tollgate_memory_limit_bytes",
            ),
            shedding: scrape.sum("tollgate_shedding") > 0.0,
            balanced: second.books.balanced,
            latency: latency(first, second),
            lanes: lanes(first, second, seconds),
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let refused = self.refused.iter();
        let refused: serde_json::Map<String, Value> = refused
            .map(|(reason, rate)| (reason.clone(), Value::from(*rate)))
            .collect();
        let lanes = self.lanes.iter().map(|it| {
            json!({
                "logstore": it.name, "eventsInPerSecond": it.events_in,
                "eventsOutPerSecond": it.events_out, "refusedPerSecond": it.refused,
                "memoryBytes": it.leased, "memoryAllowedBytes": it.allowed,
                "eventsInMemory": it.held, "eventsOnDisk": it.waiting,
                "spoolBytes": it.spool_bytes, "expectedDelaySeconds": it.delay,
                "upstream": it.upstream, "breaker": it.breaker,
            })
        });
        json!({
            "node": self.base, "version": self.version,
            "requests": {
                "acceptedPerSecond": self.accepted, "refusedPerSecond": refused,
                "eventsPerSecond": self.events, "bytesPerSecond": self.bytes,
                "latencySeconds": self.latency.map(|(half, most)| json!({"p50": half, "p99": most})),
            },
            "connections": {"open": self.connections.0, "limit": self.connections.1},
            "memory": {"bytes": self.memory.0, "limit": self.memory.1},
            "shedding": self.shedding, "balanced": self.balanced,
            "logstores": lanes.collect::<Vec<_>>(),
        })
    }
}

/// The upstream of each lane, and the state of its breaker: the first of the lane, not its fallback.
fn upstreams(reports: &UpstreamReports) -> BTreeMap<String, (String, String)> {
    let mut all = BTreeMap::new();
    for report in &reports.upstreams {
        for lane in report.logstores.iter().filter(|lane| !lane.fallback) {
            let name = format!("{}/{}", lane.project, lane.logstore);
            all.insert(name, (report.upstream.clone(), report.state.clone()));
        }
    }
    all
}

fn lanes(first: &Reading, second: &Reading, seconds: f64) -> Vec<LaneView> {
    let rate = |name: &str| rates(&first.by_lane(name), &second.by_lane(name), seconds);
    let events_in = rate("tollgate_events_accepted_total");
    let events_out = rate("tollgate_events_delivered_total");
    let refused = rate("tollgate_requests_refused_total");
    let leased = second.by_lane("tollgate_logstore_leased_bytes");
    let allowed = second.by_lane("tollgate_logstore_allowed_bytes");
    let spool_bytes = second.by_lane("tollgate_spool_bytes");
    let delay = second.by_lane("tollgate_expected_delay_seconds");
    let ways = upstreams(&second.upstreams);
    let books = second.books.logstores.iter();
    let lane = books.map(|book| {
        let name = format!("{}/{}", book.project, book.logstore);
        let of = |all: &BTreeMap<String, f64>| all.get(&name).copied().unwrap_or(0.0);
        let way = ways.get(&name).cloned();
        let (upstream, breaker) = way.unwrap_or_else(|| (String::new(), "-".to_owned()));
        LaneView {
            events_in: of(&events_in),
            events_out: of(&events_out),
            refused: of(&refused),
            leased: of(&leased),
            allowed: of(&allowed),
            held: book.held,
            waiting: book.waiting,
            spool_bytes: of(&spool_bytes),
            delay: of(&delay),
            upstream,
            breaker,
            name,
        }
    });
    lane.collect()
}

/// The half and the 99 % of the requests of the interval, from the node's histogram.
fn latency(first: &Reading, second: &Reading) -> Option<(f64, f64)> {
    let bound = |sample: &Sample| sample.label("le").map(str::to_owned);
    let name = "tollgate_request_duration_seconds_bucket";
    let added = rates(&first.by(name, bound), &second.by(name, bound), 1.0);
    let mut buckets: Vec<(f64, f64)> = added
        .into_iter()
        .filter_map(|(bound, count)| Some((bound.parse().ok()?, count)))
        .collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all = buckets.last().map(|it| it.1).filter(|all| *all > 0.0)?;
    let at = |share: f64| {
        let found = buckets.iter().find(|(_, count)| *count >= share * all);
        found.map_or(f64::INFINITY, |it| it.0)
    };
    Some((at(0.5), at(0.99)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{LaneReport, LogstoreBook, UpstreamReport};

    fn reading(text: &str) -> Reading {
        Reading {
            at: Instant::now(),
            scrape: Scrape::parse(text),
            books: Books::default(),
            upstreams: UpstreamReports::default(),
        }
    }

    #[test]
    fn copies_do_not_come_in_and_each_lane_has_its_own_upstream() {
        let of = |events: u32| {
            let mut reading = reading(&format!(
                "tollgate_events_accepted_total{{project=\"shop\",logstore=\"web\"}} {events}\n\
                 tollgate_events_accepted_total{{project=\"shop\",logstore=\"web@files\"}} {events}\n"
            ));
            reading.at = Instant::now();
            let lane = |logstore: &str, fallback| LaneReport {
                project: "shop".to_owned(),
                logstore: logstore.to_owned(),
                fallback,
                ..LaneReport::default()
            };
            let upstream = |name: &str, state: &str, logstores| UpstreamReport {
                upstream: name.to_owned(),
                state: state.to_owned(),
                logstores,
                ..UpstreamReport::default()
            };
            reading.upstreams.upstreams = vec![
                upstream("files", "open", vec![lane("web@files", false)]),
                upstream("sls", "closed", vec![lane("web", false)]),
                upstream("spare", "half_open", vec![lane("web", true)]),
            ];
            let book = |logstore: &str| LogstoreBook {
                project: "shop".to_owned(),
                logstore: logstore.to_owned(),
                ..LogstoreBook::default()
            };
            reading.books.logstores = vec![book("web"), book("web@files"), book("new")];
            reading
        };
        let (first, mut second) = (of(100), of(200));
        second.at = first.at + std::time::Duration::from_secs(10);
        let frame = Frame::between(&first, &second, "");
        assert!((frame.events - 10.0).abs() < 0.001, "{}", frame.events);
        let lanes: Vec<_> = frame.lanes.iter().collect();
        let shown = lanes
            .iter()
            .map(|it| (&*it.upstream, &*it.breaker, it.events_in));
        let wanted = [
            ("sls", "closed", 10.0),
            ("files", "open", 10.0),
            ("", "-", 0.0),
        ];
        assert_eq!(shown.collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn rates_are_of_the_interval_and_a_restart_counts_from_nothing() {
        let of = |n: f64| BTreeMap::from([("a".to_owned(), n)]);
        assert_eq!(rates(&of(10.0), &of(30.0), 2.0), of(10.0));
        assert_eq!(rates(&of(30.0), &of(4.0), 2.0), of(2.0));
        assert_eq!(rates(&BTreeMap::new(), &of(4.0), 1.0), of(4.0));
    }

    #[test]
    fn latency_is_that_of_the_requests_of_the_interval() {
        let of = |a: u32, b: u32, all: u32| {
            reading(&format!(
                "tollgate_request_duration_seconds_bucket{{le=\"0.001\"}} {a}\n\
                 tollgate_request_duration_seconds_bucket{{le=\"0.1\"}} {b}\n\
                 tollgate_request_duration_seconds_bucket{{le=\"+Inf\"}} {all}\n"
            ))
        };
        assert_eq!(
            latency(&of(0, 50, 100), &of(60, 149, 200)),
            Some((0.001, 0.1))
        );
        assert_eq!(latency(&of(1, 2, 3), &of(1, 2, 3)), None);
        assert_eq!(latency(&reading(""), &reading("")), None);
    }
}
