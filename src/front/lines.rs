//! Lines of the log about requests: some of those that are refused, and the access log.
//!
//! Promise: nothing of a line is a client's choice but its address: no path, query, header or body;
//! names are those of the configuration. A reason to refuse has so many lines a second
//! (`log.refusals_per_second`), and its next line says how many had none.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::request::Parts;
use http::{Method, Version};

use super::reply::{Reply, X_LOG_REQUESTID, X_TOLLGATE_REASON};
use super::route::Target;
use super::service::{Front, Sender};
use super::site::{SiteLogstore, host_of};
use crate::config::{ClientAddress, Log};
use crate::event::Reason;
use crate::telemetry::RouteLabel;

/// How many reasons there are.
const REASONS: usize = Reason::ALL.len();

/// Which requests get a line.
#[derive(Debug)]
pub(super) struct RequestLines {
    per_second: u32,
    reasons: [Window; REASONS],
    access: Share,
}

impl RequestLines {
    pub(super) fn new(log: &Log) -> Self {
        Self {
            per_second: log.refusals_per_second,
            reasons: std::array::from_fn(|_| Window::default()),
            access: Share::new(log.access),
        }
    }

    /// When the request began, if it gets a line of the access log.
    pub(super) fn begin(&self) -> Option<Instant> {
        self.access.next().then(Instant::now)
    }

    /// How many requests had no line since the last one that was refused for this reason; `None`: this
    /// one has none.
    fn of_refused(&self, reason: Reason, now: u64) -> Option<u64> {
        let window = self.reasons.get(reason.index())?;
        window.next(now, self.per_second)
    }
}

/// The lines of one reason.
#[derive(Debug, Default)]
struct Window {
    /// The second (upper half) and its lines (lower half).
    lines: AtomicU64,
    /// Requests without a line since the last one.
    suppressed: AtomicU64,
}

impl Window {
    fn next(&self, now: u64, most: u32) -> Option<u64> {
        let second = now << 32;
        let more = |word: u64| match word {
            _ if most == 0 => None,
            word if word & !0xFFFF_FFFF != second => Some(second | 1),
            word if word & 0xFFFF_FFFF < u64::from(most) => Some(word + 1),
            _ => None,
        };
        // Looked at before it is written: a flood only reads.
        let taken = self
            .lines
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if taken.is_ok() {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// Every so many, evenly.
#[derive(Debug)]
struct Share {
    step: u64,
    all: bool,
    sum: AtomicU64,
}

impl Share {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the share is from 0 to 1, and what is beyond is cut"
    )]
    fn new(share: f64) -> Self {
        Self {
            step: (share.clamp(0.0, 1.0) * u64::MAX as f64) as u64,
            all: share >= 1.0,
            sum: AtomicU64::new(0),
        }
    }

    fn next(&self) -> bool {
        if self.all || self.step == 0 {
            return self.all;
        }
        let before = self.sum.fetch_add(self.step, Ordering::Relaxed);
        before.checked_add(self.step).is_none()
    }
}

/// What a line says of a request.
pub(super) struct Told<'a> {
    route: &'static str,
    logstore: Option<(&'a str, &'a SiteLogstore)>,
}

impl Front {
    /// Writes what is due of a request that was answered.
    pub(super) fn write_lines(
        &self,
        parts: &Parts,
        (sender, unix_seconds): (Sender, u64),
        reply: &Reply,
        began: Option<Instant>,
    ) {
        if began.is_none() && reply.status().is_success() {
            return;
        }
        let reason = reply.headers().get(X_TOLLGATE_REASON);
        let reason = reason.and_then(|reason| Reason::of_label(reason.to_str().ok()?));
        if let Some(reason) = reason {
            match self.lines.of_refused(reason, unix_seconds) {
                Some(suppressed) => {
                    let told = self.told(parts);
                    tracing::info!(
                        target: "tollgate::refused",
                        reason = reason.label(),
                        status = reply.status().as_u16(),
                        request = id_of(reply),
                        route = told.route,
                        project = told.project(),
                        logstore = told.name(),
                        client = told.client(sender),
                        suppressed,
                        "request refused"
                    );
                }
                None => self.metrics.refusals_suppressed.inc(),
            }
        }
        if let Some(began) = began {
            let told = self.told(parts);
            let length = parts.headers.get(http::header::CONTENT_LENGTH);
            let length = length.and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
            tracing::info!(
                target: "tollgate::access",
                request = id_of(reply),
                method = method_of(&parts.method),
                version = version_of(parts.version),
                route = told.route,
                project = told.project(),
                logstore = told.name(),
                client = told.client(sender),
                status = reply.status().as_u16(),
                reason = reason.map(Reason::label),
                bytes = length,
                micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
                "request"
            );
        }
    }

    /// What a line or a span says of a request.
    pub(super) fn told<'a>(&'a self, parts: &'a Parts) -> Told<'a> {
        let unknown = RouteLabel::Unknown;
        let (label, logstore) = match Target::parse(parts.uri.path()) {
            Some(Target::Logstore(route)) => {
                let label = match route.action(&parts.method) {
                    _ if parts.method == Method::OPTIONS => RouteLabel::Preflight,
                    Ok(action) => action.label(),
                    Err(_) => unknown,
                };
                let host = host_of(parts.uri.authority(), &parts.headers).ok();
                let found = host.and_then(|host| {
                    let found = self.site.project(&host, &parts.headers).ok()?;
                    let logstore = found.logstore(route.logstore).ok()?;
                    Some((found.project.as_str(), &**logstore))
                });
                (label, found)
            }
            Some(Target::TokenService) => (RouteLabel::AssumeRole, None),
            Some(Target::StsToken) => (RouteLabel::GetStsToken, None),
            Some(Target::Session) => (RouteLabel::Session, None),
            None => (unknown, None),
        };
        Told {
            route: label.label(),
            logstore,
        }
    }
}

impl<'a> Told<'a> {
    pub(super) fn route(&self) -> &'static str {
        self.route
    }

    pub(super) fn project(&self) -> Option<&'a str> {
        self.logstore.map(|(project, _)| project)
    }

    pub(super) fn name(&self) -> Option<&'a str> {
        self.logstore.map(|(_, it)| it.rules.name.as_str())
    }

    /// The client's address, unless the logstore keeps none.
    pub(super) fn client(&self, sender: Sender) -> Option<String> {
        let kept = |(_, it): (&str, &SiteLogstore)| it.rules.client_address != ClientAddress::Off;
        self.logstore
            .is_none_or(kept)
            .then(|| sender.address.to_string())
    }
}

fn id_of(reply: &Reply) -> &str {
    let id = reply.headers().get(X_LOG_REQUESTID);
    id.and_then(|id| id.to_str().ok()).unwrap_or_default()
}

/// A method that has a name of its own: any other is a word of a stranger.
pub(super) fn method_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

/// The version of HTTP.
pub(super) fn version_of(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_11 => "1.1",
        _ => "1.0",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_so_many_lines_a_second_and_the_next_says_how_many_had_none() {
        let window = Window::default();
        let second = |now| (0..5).map(|_| window.next(now, 2)).collect::<Vec<_>>();
        assert_eq!(second(7), [Some(0), Some(0), None, None, None]);
        assert_eq!(second(8), [Some(3), Some(0), None, None, None]);
        assert_eq!(window.next(9, 0), None);
        assert_eq!(window.next(9, 1), Some(4));
    }

    #[test]
    fn a_share_is_even() {
        let taken = |share: f64, of: u32| {
            let share = Share::new(share);
            (0..of).filter(|_| share.next()).count()
        };
        assert_eq!(taken(0.0, 1000), 0);
        assert_eq!(taken(1.0, 1000), 1000);
        assert!((99..=100).contains(&taken(0.1, 1000)));
        assert!((332..=334).contains(&taken(1.0 / 3.0, 1000)));
        assert_eq!(taken(1e-18, 1000), 0);
    }
}
