//! The stream of security events: refused credentials, as events in a logstore of the operator's.
//!
//! Promise: telling of a refusal never delays it: no lock is waited for but the lane's, nothing is
//! sent, and a request makes at most one event. No secret is told: of a credential only its id.
//! When there are more than `security_events.per_second`, or the lane has no room: they are counted,
//! and the next event that is written says how many were left out (`dropped_before`).
//! Not here: which logstore, and delivery (`pipeline`).

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::{DefaultDirectRateLimiter, Quota};

use super::transcode;
use crate::config;
use crate::event::{EventGroup, LOGS_TAG, Reason};
use crate::foundation::wire;
use crate::pipeline::Lane;
use crate::telemetry::{CredentialKind, Metrics, RouteLabel};

/// The part of a key or an origin that is told, in bytes.
const MAX_TOLD: usize = 128;
/// Protobuf tag byte of `Log.Time`.
const TIME_TAG: u8 = 0x08;

/// What kind of thing happened, for alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecurityClass {
    /// A credential that is missing, wrong, unknown or expired.
    FailedLogon,
    /// A credential that was good, and was taken back.
    RevokedCredential,
    /// A request that was taken before.
    Replay,
    /// A good credential, used for what it is not for.
    PolicyDenied,
    /// A key that is not ours, which the store refused.
    RelayRefused,
}

impl SecurityClass {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::FailedLogon => "failed_logon",
            Self::RevokedCredential => "revoked_credential",
            Self::Replay => "replay",
            Self::PolicyDenied => "policy_denied",
            Self::RelayRefused => "relay_refused",
        }
    }
}

/// The class of a refusal. `None`: it says nothing about who sends.
pub(super) fn class_of(reason: Reason) -> Option<SecurityClass> {
    Some(match reason {
        Reason::CredentialMissing
        | Reason::TokenAmbiguous
        | Reason::TokenMalformed
        | Reason::TokenUnknownKey
        | Reason::TokenSignature
        | Reason::TokenExpired
        | Reason::TokenNotYetValid
        | Reason::TokenClaims
        | Reason::TicketUnknown
        | Reason::TicketExpired
        | Reason::TicketNotYetValid
        | Reason::AccessKeyUnknown
        | Reason::SecurityTokenInvalid
        | Reason::SecurityTokenExpired
        | Reason::SignatureHeaderMissing
        | Reason::SignatureHeaderInvalid
        | Reason::SignatureTime
        | Reason::SignatureMismatch
        | Reason::BodyDigest => SecurityClass::FailedLogon,
        Reason::CredentialRevoked | Reason::AccessKeyDisabled | Reason::RoleUnknown => {
            SecurityClass::RevokedCredential
        }
        Reason::SignatureReplayed => SecurityClass::Replay,
        Reason::CredentialNotAccepted
        | Reason::PlatformMismatch
        | Reason::PolicyDenied
        | Reason::TokenScope
        | Reason::TicketUsedUp
        | Reason::TicketAddress
        | Reason::TicketOrigin
        | Reason::TicketAccount
        | Reason::TicketScope => SecurityClass::PolicyDenied,
        Reason::RelayKeyRefused => SecurityClass::RelayRefused,
        _ => return None,
    })
}

/// A refusal, and whose request it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct SecurityEvent<'a> {
    /// Kind of the credential.
    pub(super) credential: CredentialKind,
    /// Why it was refused.
    pub(super) reason: Reason,
    /// What names the credential: id of the access key, `kid`, id of the ticket, name of the session.
    /// Never a secret.
    pub(super) key: Option<&'a str>,
    /// The project, as it is configured; empty when there is none.
    pub(super) project: &'a str,
    /// The logstore, as it is configured; empty when there is none.
    pub(super) logstore: &'a str,
    /// The client's address.
    pub(super) client: IpAddr,
    /// The Origin header, when it is text.
    pub(super) origin: Option<&'a str>,
    /// Kind of request.
    pub(super) route: RouteLabel,
    /// The time, unix seconds.
    pub(super) unix_seconds: u64,
}

/// Writes security events.
pub struct SecurityEvents {
    /// Where they go. `None`: nowhere.
    lane: Option<Arc<Lane>>,
    /// `None`: none are allowed.
    limiter: Option<DefaultDirectRateLimiter>,
    per_second: u32,
    metrics: Arc<Metrics>,
    /// Left out since the last one that was written.
    dropped: AtomicU64,
}

impl SecurityEvents {
    /// A writer to the lane of the logstore that `rules` names; without a lane nothing is written.
    #[must_use]
    pub fn new(
        rules: &config::SecurityEvents,
        lane: Option<Arc<Lane>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let quota = NonZeroU32::new(rules.per_second).map(Quota::per_second);
        Self {
            lane,
            limiter: quota.map(DefaultDirectRateLimiter::direct),
            per_second: rules.per_second,
            metrics,
            dropped: AtomicU64::new(0),
        }
    }

    /// Whether it writes to that lane, no more than so many events in a second.
    #[must_use]
    pub fn is_the_same(&self, rules: &config::SecurityEvents, lane: Option<&Arc<Lane>>) -> bool {
        let same_lane = match (&self.lane, lane) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        same_lane && self.per_second == rules.per_second
    }

    /// Tells of a refusal, if it is one that says something about who sends. To be called once for
    /// each request.
    pub(super) fn record(&self, event: &SecurityEvent<'_>) {
        let (Some(lane), Some(class)) = (&self.lane, class_of(event.reason)) else {
            return;
        };
        let allowed = |limiter: &DefaultDirectRateLimiter| limiter.check().is_ok();
        if !self.limiter.as_ref().is_some_and(allowed) {
            self.count_dropped(1);
            return;
        }
        let before = self.dropped.swap(0, Ordering::Relaxed);
        let group = group_of(event, class, before);
        let lease = lane.budget().lease(group.wire_bytes() as u64);
        let kept = lease.is_ok_and(|lease| lane.submit(&group, lease).is_ok());
        if kept {
            self.metrics.security_events.inc();
            let (project, logstore) = (lane.project().as_str(), lane.logstore().as_str());
            self.metrics.logstore(project, logstore).take_added(1);
        } else {
            self.dropped.fetch_add(before, Ordering::Relaxed);
            self.count_dropped(1);
        }
    }

    fn count_dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
        self.metrics.security_events_dropped.add(count);
    }
}

impl fmt::Debug for SecurityEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecurityEvents")
            .field("lane", &self.lane)
            .finish_non_exhaustive()
    }
}

fn group_of(event: &SecurityEvent<'_>, class: SecurityClass, dropped_before: u64) -> EventGroup {
    let time = u32::try_from(event.unix_seconds).unwrap_or(u32::MAX);
    let mut log = vec![TIME_TAG];
    wire::put_varint(&mut log, time.into());
    let mut put =
        |key: &str, value: &str| transcode::put_content(&mut log, key.as_bytes(), value.as_bytes());
    put("event", class.label());
    put("reason", event.reason.label());
    put("credential", event.credential.label());
    put("key", &told(event.key.unwrap_or_default()));
    put("project", event.project);
    put("logstore", event.logstore);
    put("client_ip", &event.client.to_string());
    put("origin", &told(event.origin.unwrap_or_default()));
    put("route", event.route.label());
    put("dropped_before", &dropped_before.to_string());
    let mut group = EventGroup {
        events: 1,
        topic: b"security".to_vec(),
        source: b"tollgate".to_vec(),
        ..EventGroup::default()
    };
    wire::put_bytes(&mut group.logs, LOGS_TAG, &log);
    group
}

/// A text of a client's, escaped and cut.
fn told(text: &str) -> String {
    let mut told = String::new();
    for character in text.chars() {
        let escaped = character.escape_default();
        if told.len() + escaped.len() > MAX_TOLD {
            break;
        }
        told.extend(escaped);
    }
    told
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use prost::Message;

    use super::*;
    use crate::config::{
        Ack, Batch, Config, Delivery, Limits, Overload, ShardBy, SignatureVersion, Spool,
    };
    use crate::foundation::names::{LogstoreName, ProjectName};
    use crate::foundation::secret::Secret;
    use crate::foundation::units::{ByteSize, Span};
    use crate::logstore::client::{OnResend, StoreClient, StoreEndpoint};
    use crate::logstore::codec::Codec;
    use crate::logstore::proto::LogGroup;
    use crate::logstore::signature::AccessKey;
    use crate::pipeline::destination::{Destination, Sls};
    use crate::pipeline::{LaneSpec, Pipeline, PipelineRules, Route, Upstream};

    /// A pipeline whose store is away, so that what is taken stays.
    fn pipeline(memory: ByteSize) -> Pipeline {
        let client = StoreClient::new(StoreEndpoint {
            base: "http://127.0.0.1:1".to_owned(),
            address: None,
            region: "local".to_owned(),
            key: AccessKey {
                id: "ours".to_owned(),
                secret: Secret::new("ours"),
                security_token: None,
            },
            signature: SignatureVersion::V4,
            ca_file: None,
            timeouts: Duration::from_secs(1).into(),
        });
        let (project, logstore) = (
            ProjectName::new("web").unwrap(),
            LogstoreName::new("security").unwrap(),
        );
        let spec = LaneSpec {
            ack: Ack::Memory,
            log: None,
            also: None,
            way: String::new(),
            store: Route {
                destination: Arc::new(Destination::Sls(Sls {
                    client: Arc::new(client.unwrap()),
                    project: project.clone(),
                    logstore: logstore.clone(),
                    on_resend: OnResend::default(),
                })),
                upstream: Upstream::new("store", &Delivery::default(), Arc::default()),
                project: None,
            },
            project,
            logstore,
            fallback: None,
            codec: Codec::None,
            shard_by: ShardBy::Any,
            weight: 1,
            metrics: Arc::default(),
        };
        let batch = Batch {
            max_age: Span::secs(3600),
            ..Batch::default()
        };
        let limits = Limits {
            memory,
            memory_share: 100,
            ..Limits::default()
        };
        let rules = PipelineRules {
            spool: &Spool::default(),
            batch: &batch,
            delivery: &Delivery::default(),
            limits: &limits,
            overload: &Overload::default(),
            quarantine: None,
            metrics: &Metrics::new(),
            spans: None,
        };
        Pipeline::start(vec![spec], rules)
    }

    fn writer(pipeline: &Pipeline, per_second: u32) -> (SecurityEvents, Arc<Metrics>) {
        let metrics = Metrics::new();
        let rules = config::SecurityEvents {
            per_second,
            ..Config::default().security_events
        };
        let lane = Some(Arc::clone(&pipeline.lanes()[0]));
        (
            SecurityEvents::new(&rules, lane, Arc::clone(&metrics)),
            metrics,
        )
    }

    fn event(reason: Reason) -> SecurityEvent<'static> {
        SecurityEvent {
            credential: CredentialKind::Jwt,
            reason,
            key: Some("quickstart"),
            project: "web",
            logstore: "clicks",
            client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
            origin: Some("https://shop.example.com"),
            route: RouteLabel::TrackPost,
            unix_seconds: 1_781_510_400,
        }
    }

    fn counts(metrics: &Metrics) -> (u64, u64) {
        (
            metrics.security_events.get(),
            metrics.security_events_dropped.get(),
        )
    }

    fn fields(group: &EventGroup) -> Vec<(String, String)> {
        assert_eq!(group.events, 1);
        let decoded = LogGroup::decode(group.logs.as_slice()).unwrap();
        assert_eq!(decoded.logs.len(), 1);
        assert_eq!(decoded.logs[0].time, 1_781_510_400);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let contents = decoded.logs[0].contents.iter();
        contents
            .map(|content| (text(&content.key), text(&content.value)))
            .collect()
    }

    #[test]
    fn an_event_says_what_whose_where_from_and_what_was_left_out() {
        let group = group_of(
            &event(Reason::TokenSignature),
            SecurityClass::FailedLogon,
            3,
        );
        let expected = [
            ("event", "failed_logon"),
            ("reason", "token_signature"),
            ("credential", "jwt"),
            ("key", "quickstart"),
            ("project", "web"),
            ("logstore", "clicks"),
            ("client_ip", "192.0.2.7"),
            ("origin", "https://shop.example.com"),
            ("route", "track_post"),
            ("dropped_before", "3"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(fields(&group), expected);
        assert_eq!(
            (group.topic.as_slice(), group.source.as_slice()),
            (&b"security"[..], &b"tollgate"[..])
        );
    }

    #[test]
    fn what_clients_chose_is_escaped_and_cut() {
        assert_eq!(
            told("a\r\n\u{1b}[31m\u{4f60}"),
            "a\\r\\n\\u{1b}[31m\\u{4f60}"
        );
        assert_eq!(told(&"k".repeat(5000)).len(), MAX_TOLD);
        assert!(told(&"\u{4f60}".repeat(5000)).len() <= MAX_TOLD);
        assert_eq!(told(""), "");
    }

    #[test]
    fn every_refusal_of_a_credential_has_a_class_or_is_known_to_need_none() {
        // Honest mistakes, and clients that have no credential yet.
        let none = [
            Reason::OriginNotAllowed,
            Reason::AppidNotAllowed,
            Reason::DevelopmentRefused,
            Reason::AccessKeyMissing,
        ];
        let mut classed = 0;
        for reason in Reason::ALL {
            let about_identity = reason.status() == http::StatusCode::UNAUTHORIZED;
            if about_identity && !none.contains(reason) {
                assert!(class_of(*reason).is_some(), "{}", reason.label());
                classed += 1;
            }
        }
        assert!(classed > 20, "{classed}");
        for reason in none {
            assert_eq!(class_of(reason), None);
        }
        for reason in [
            Reason::NotJson,
            Reason::MemoryFull,
            Reason::RelayUnavailable,
            Reason::TokenKeysUnavailable,
            Reason::UnknownRoute,
        ] {
            assert_eq!(class_of(reason), None, "{}", reason.label());
        }
    }

    #[tokio::test]
    async fn what_is_too_much_in_a_second_is_counted_and_told_by_the_next_event() {
        let pipeline = pipeline(ByteSize::mib(8));
        let (events, metrics) = writer(&pipeline, 1);
        events.record(&event(Reason::TokenSignature));
        for _ in 0..1000 {
            events.record(&event(Reason::TokenSignature));
        }
        let (written, dropped) = counts(&metrics);
        assert_eq!(written + dropped, 1001);
        assert!((1..100).contains(&written), "{written}");
        let before = events.dropped.load(Ordering::Relaxed);
        assert!(before <= dropped && before > 0);
        // Time is the limiter's own, so a second has to go by.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        events.record(&event(Reason::TokenSignature));
        assert_eq!(counts(&metrics), (written + 1, dropped));
        assert_eq!(events.dropped.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn without_memory_events_are_counted_and_not_forgotten() {
        let pipeline = pipeline(ByteSize::kib(16));
        let lanes = pipeline.lanes();
        let all = lanes[0].budget();
        let (events, metrics) = writer(&pipeline, 1000);
        let hog = all.lease(all.limit()).unwrap();
        for _ in 0..3 {
            events.record(&event(Reason::TokenSignature));
        }
        assert_eq!(counts(&metrics), (0, 3));
        assert_eq!(events.dropped.load(Ordering::Relaxed), 3);
        drop(hog);
        events.record(&event(Reason::TokenSignature));
        assert_eq!(counts(&metrics), (1, 3));
        assert_eq!(events.dropped.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn other_refusals_no_lane_and_a_rate_of_none_write_nothing() {
        let pipeline = pipeline(ByteSize::mib(8));
        let (events, metrics) = writer(&pipeline, 1000);
        events.record(&event(Reason::NotJson));
        assert_eq!(counts(&metrics), (0, 0));
        let (events, metrics) = writer(&pipeline, 0);
        events.record(&event(Reason::TokenSignature));
        assert_eq!(counts(&metrics), (0, 1));
        let metrics = Metrics::new();
        let rules = Config::default().security_events;
        let nowhere = SecurityEvents::new(&rules, None, Arc::clone(&metrics));
        nowhere.record(&event(Reason::TokenSignature));
        assert_eq!(counts(&metrics), (0, 0));
    }
}
