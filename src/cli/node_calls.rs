//! Calls of a running node that only it can answer.

use http::Method;

use super::api::Api;
use super::node::{MAX_SAMPLE, PAGE, encode};
use super::{Exit, Failure};
use crate::app::{
    ConfigView, ExplainOrder, Explained, ReloadOrder, ReloadReport, SpoolLane, SpoolPage,
};
use crate::event::{AsidePage, AsidePlace, Cause, RecordFilter, RecordPage};
use crate::telemetry::log::{LogLevel, NewLogLevel};
use crate::telemetry::{Books, UpstreamReports};

impl Api {
    /// What would become of a request there.
    pub(super) fn explain(&self, order: &ExplainOrder) -> Result<Explained, Failure> {
        self.post("explain", order)
    }

    /// The logstores that have events on disk there.
    pub(super) fn spool(&self) -> Result<Vec<SpoolLane>, Failure> {
        let (mut lanes, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page: SpoolPage = self.list("spool", "", cursor.as_deref())?;
            lanes.extend(page.lanes);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(lanes);
            }
        }
    }

    /// The logstores whose events were set aside there.
    pub(super) fn aside(&self) -> Result<Vec<AsidePlace>, Failure> {
        let (mut places, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page: AsidePage = self.list("quarantine", "", cursor.as_deref())?;
            places.extend(page.places);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(places);
            }
        }
    }

    /// Some of the events of a logstore that were set aside. `only` names one record at most.
    pub(super) fn records(
        &self,
        (project, logstore): (&str, &str),
        only: &RecordFilter,
        from: Option<&str>,
    ) -> Result<RecordPage, Failure> {
        let since = only.since.map(|since| since.to_string());
        let members = [
            ("id", only.ids.first().map(String::as_str)),
            ("cause", only.cause.map(Cause::label)),
            ("check", only.check.as_deref()),
            ("since", since.as_deref()),
            ("cursor", from),
        ];
        let mut path = format!(
            "quarantine/{}/{}?limit={PAGE}",
            encode(project),
            encode(logstore)
        );
        for (name, value) in members {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", encode(value)));
            }
        }
        let body = self.fetch(Method::GET, &path, None, MAX_SAMPLE)?;
        self.read(&body)
    }

    /// Takes over its configuration, or says what that would change.
    pub(super) fn reload(&self, order: ReloadOrder) -> Result<ReloadReport, Failure> {
        self.post("reload", &order)
    }

    /// The configuration that is in force there.
    pub(super) fn config(&self) -> Result<ConfigView, Failure> {
        self.call(Method::GET, "config", None)
    }

    /// What came in, and where it is or how it ended.
    pub(super) fn books(&self) -> Result<Books, Failure> {
        self.call(Method::GET, "books", None)
    }

    /// How the upstreams are.
    pub(super) fn upstreams(&self) -> Result<UpstreamReports, Failure> {
        self.call(Method::GET, "upstreams", None)
    }

    /// The level of its log.
    pub(super) fn log_level(&self) -> Result<LogLevel, Failure> {
        self.call(Method::GET, "log", None)
    }

    /// Changes that for a time.
    pub(super) fn change_log_level(&self, new: &NewLogLevel) -> Result<LogLevel, Failure> {
        let body = serde_json::to_vec(new).map_err(|error| Failure::new(Exit::Internal, error))?;
        self.call(Method::PUT, "log", Some(body))
    }

    /// Makes it what was configured.
    pub(super) fn reset_log_level(&self) -> Result<LogLevel, Failure> {
        self.call(Method::DELETE, "log", None)
    }
}
