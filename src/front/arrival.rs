//! A request whose logstore is known: what is read of its head, and what is counted for it.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderName, ORIGIN, REFERER, TRANSFER_ENCODING,
    USER_AGENT,
};
use http::request::Parts;

use super::cookie::Cookies;
use super::cors::OriginVerdict;
use super::entry::Entry;
use super::platform::{self, Platform};
use super::quality::Quality;
use super::reply::Form;
use super::route::{Action, Kind, Route};
use super::service::Sender;
use super::site::SiteLogstore;
use super::span::ServerSpan;
use super::trace::Trace;
use super::transcode;
use crate::config::{ClientAddress, QuotaAnswer};
use crate::event::{EventGroup, Reason, Refusal};
use crate::foundation::address_text::AddressText;
use crate::foundation::request_id::RequestId;
use crate::gate::identity::{self, Facts, Principal};
use crate::logstore::signature::RequestParts;
use crate::telemetry::{RequestStage, Timer};

/// The part of a User-Agent or Referer that `track_ua.gif` stores, in bytes.
const MAX_HEADER_FIELD: usize = 2048;

const EVENT_RESULTS: HeaderName = HeaderName::from_static("x-tollgate-event-results");

/// A request whose logstore is known.
pub(super) struct Arrival<'a> {
    pub(super) parts: &'a Parts,
    pub(super) route: Route<'a>,
    pub(super) action: Action,
    pub(super) project: &'a str,
    pub(super) logstore: &'a SiteLogstore,
    pub(super) origin: OriginVerdict<'a>,
    pub(super) cookies: Cookies<'a>,
    pub(super) sender: Sender,
    pub(super) unix_seconds: u64,
    /// Its id, as the client is told.
    pub(super) id: RequestId,
    /// Its events in the books.
    pub(super) entry: Entry<'a>,
    /// What its events are held to: as it was when the request came.
    pub(super) quality: Option<Arc<Quality>>,
    /// Where it is written down what becomes of it.
    pub(super) trace: Option<&'a Trace>,
    /// Times its stages.
    pub(super) timer: Option<&'a Timer<'a>>,
    /// Its span, where it is traced for a collector.
    pub(super) span: Option<&'a ServerSpan>,
    /// For one that is only tried out: nanoseconds since the first of its kind.
    pub(super) trial: Option<u64>,
}

impl<'a> Arrival<'a> {
    /// A stage begins for the clock alone.
    pub(super) fn time(&self, stage: RequestStage) {
        if let Some(timer) = self.timer {
            timer.enter(stage);
        }
    }

    /// What identity may know of it.
    pub(super) fn facts(&self) -> Facts<'a> {
        let action = match self.action {
            Action::PutLogs => identity::Action::PutLogs,
            Action::TrackQuery(_) => identity::Action::TrackGet,
            Action::TrackBody | Action::Events | Action::Preflight => identity::Action::TrackPost,
        };
        let origin = self.parts.headers.get(ORIGIN);
        Facts {
            project: self.project,
            logstore: self.logstore.rules.name.as_str(),
            action,
            resource: &self.logstore.resource,
            client: self.sender.address,
            secure: self.sender.secure,
            origin: origin.and_then(|origin| origin.to_str().ok()),
            unix_seconds: self.unix_seconds,
        }
    }

    /// What of it a signature covers, but for the body.
    pub(super) fn signed_parts(&self) -> RequestParts<'a> {
        RequestParts {
            method: self.parts.method.as_str(),
            path: self.parts.uri.path(),
            query: self.parts.uri.query().unwrap_or_default(),
            headers: &self.parts.headers,
        }
    }

    /// The client's address, where the logstore keeps it.
    pub(super) fn kept_address(&self) -> Option<IpAddr> {
        let kept = self.logstore.rules.client_address != ClientAddress::Off;
        kept.then_some(self.sender.address)
    }

    /// Whether a header is `1`.
    pub(super) fn says(&self, name: &str) -> bool {
        let said = self.parts.headers.get(name);
        said.is_some_and(|value| value.as_bytes() == b"1")
    }

    /// Whether the client asks what became of each event.
    pub(super) fn wants_results(&self) -> bool {
        self.action == Action::Events || self.parts.headers.contains_key(EVENT_RESULTS)
    }

    /// Whether it brings its events in a body.
    pub(super) fn has_body(&self) -> bool {
        !matches!(self.action, Action::TrackQuery(_))
    }

    /// JSON is sniffed, whatever the content type says; only where protobuf may come too is the
    /// type asked, since a LogGroup and a JSON text may both begin with a line feed.
    pub(super) fn body_is_json(&self, plain: &[u8]) -> bool {
        plain.first() == Some(&b'{') || self.says_json()
    }

    /// Whether the body is JSON by the route and its content type alone.
    pub(super) fn says_json(&self) -> bool {
        if self.action != Action::PutLogs {
            return true;
        }
        let kind = self.parts.headers.get(CONTENT_TYPE);
        let kind = kind.map_or(&b""[..], |kind| kind.as_bytes());
        kind.get(..16)
            .is_some_and(|kind| kind.eq_ignore_ascii_case(b"application/json"))
    }

    /// What its client can use of a refusal that is not its fault, by what it says of itself: a picture
    /// where an image was asked for, nothing to a beacon, which no page reads; and 429 only to those
    /// who do not speak SLS, whose clients do not know it.
    pub(super) fn form(&self) -> Form {
        let headers = &self.parts.headers;
        let says = |name: &str, value: &[u8]| {
            headers
                .get(name)
                .is_some_and(|said| said.as_bytes() == value)
        };
        let gif = matches!(
            self.action,
            Action::TrackQuery(Kind::TrackGif | Kind::TrackUaGif)
        );
        if gif || says("sec-fetch-dest", b"image") {
            return Form::Image;
        }
        if self.has_body() && says("sec-fetch-mode", b"no-cors") {
            return Form::Beacon;
        }
        let query = self.parts.uri.query().unwrap_or_default();
        let of_sls = || {
            self.action == Action::PutLogs
                || query.split('&').any(|pair| pair.starts_with("APIVersion="))
                || headers
                    .keys()
                    .any(|name| name.as_str().starts_with("x-log-"))
        };
        match self.logstore.rules.quota_answer {
            QuotaAnswer::Sls => Form::Sls,
            QuotaAnswer::Http => Form::Http,
            QuotaAnswer::Auto if of_sls() => Form::Sls,
            QuotaAnswer::Auto => Form::Http,
        }
    }

    /// Writes the fields that every event of this request gets from us.
    pub(super) fn stamp(
        &self,
        stamp: &mut Vec<u8>,
        token_parameter: &str,
        principal: Option<&Principal>,
    ) {
        stamp.clear();
        if let Some(principal) = principal {
            stamp.extend_from_slice(principal.fields());
        }
        self.cookies
            .put_fields(&self.logstore.rules.cookie_fields, stamp);
        if self.logstore.rules.client_address == ClientAddress::Field {
            let address = AddressText::of(self.sender.address);
            transcode::put_content(stamp, b"__tag__:__client_ip__", address.as_bytes());
        }
        if self.action == Action::TrackQuery(Kind::TrackUaGif) {
            let text = |header| {
                self.parts
                    .headers
                    .get(header)
                    .map_or(&b""[..], |v| v.as_bytes())
            };
            put_header(stamp, b"__userAgent__", text(USER_AGENT));
            let referer = platform::without_secrets(text(REFERER), token_parameter);
            put_header(stamp, b"__referer__", &referer);
        }
    }

    /// Counts a request whose events were handed over, whatever its client is told.
    pub(super) fn count_accepted(&self, principal: &Principal, group: &EventGroup) {
        let metrics = &self.logstore.metrics;
        metrics.credential.at(principal.kind() as usize).inc();
        metrics.token_source.at(principal.source() as usize).inc();
        metrics
            .platform
            .at(Platform::of(&self.parts.headers).label as usize)
            .inc();
        if group.reserved_fields > 0 {
            metrics
                .fields_reserved
                .add(u64::from(group.reserved_fields));
        }
        if group.times_replaced > 0 {
            metrics.times_replaced.add(u64::from(group.times_replaced));
        }
    }

    /// A request is refused whose body was read.
    pub(super) fn count_refused_bytes(&self, refusal: &Refusal, bytes: u64) {
        let cells = &self.logstore.metrics.bytes_refused;
        cells.at(refusal.reason().index()).add(bytes);
    }
}

fn put_header(stamp: &mut Vec<u8>, field: &[u8], value: &[u8]) {
    let text = String::from_utf8_lossy(value.get(..MAX_HEADER_FIELD).unwrap_or(value));
    transcode::put_content(stamp, field, text.as_bytes());
}

/// Refuses framings that hyper takes and that a server before or behind it may read differently.
/// Asked of every request, before anything else.
pub(super) fn framing_is_plain(parts: &Parts) -> Result<(), Refusal> {
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let refuse = |what: &'static str| Err(Refusal::new(Reason::BadFraming, what));
    let is_chunked = match (codings.next(), codings.next()) {
        (None, _) => false,
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
        _ => return refuse("transfer-encoding is not exactly one chunked"),
    };
    let mut lengths = parts.headers.get_all(CONTENT_LENGTH).iter();
    let has_length = match (lengths.next(), lengths.next()) {
        (Some(only), None) if !only.as_bytes().iter().all(u8::is_ascii_digit) => {
            return refuse("content-length is not one number");
        }
        (Some(_), Some(_)) => return refuse("content-length stands twice"),
        (Some(only), None) => only.as_bytes() != b"0",
        (None, _) => false,
    };
    match parts.headers.get(EXPECT) {
        Some(expect) if !expect.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            return refuse("expect is not 100-continue");
        }
        _ => {}
    }
    if (is_chunked || has_length) && parts.method == http::Method::GET {
        return refuse("a GET with a body");
    }
    Ok(())
}
