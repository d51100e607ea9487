//! The front, and who speaks to it.

use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::body::BodyLimits;
use super::give::Giving;
use super::lines::RequestLines;
use super::relay::Relay;
use super::sample::Sampler;
use super::security_events::SecurityEvents;
use super::site::Site;
use super::span::Spans;
use super::transcode::Rules;
use crate::config::{Config, Identity};
use crate::gate::guard::StandingGuards;
use crate::gate::identity::{Authenticator, Trust};
use crate::gate::quota::Quotas;
use crate::pipeline::quarantine::Quarantine;
use crate::telemetry::Metrics;
use crate::telemetry::spans::SpanQueue;

/// What a front is made of.
#[derive(Debug)]
pub struct FrontParts {
    /// The projects and logstores.
    pub site: Site,
    /// Decides who requests are from.
    pub authenticator: Arc<Authenticator>,
    /// Whom this front trusts.
    pub trust: Arc<Trust>,
    /// How much may be sent.
    pub quotas: Arc<Quotas>,
    /// The guards of all logstores.
    pub guards: Arc<StandingGuards>,
    /// Where events go that are set aside on local disk.
    pub quarantine: Arc<Quarantine>,
    /// The stream of security events.
    pub security_events: Arc<SecurityEvents>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where spans of requests go, where there is a collector.
    pub spans: Option<SpanQueue>,
    /// The front that this one takes the place of, whose memory it takes over.
    pub before: Option<Arc<Front>>,
}

/// Who sends a request, as the connection tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The client's address; an IPv4-mapped one is IPv4.
    pub address: IpAddr,
    /// Whether the request was encrypted on its way to us.
    pub secure: bool,
}

/// Answers the clients' requests.
#[derive(Debug)]
pub struct Front {
    pub(super) site: Site,
    pub(super) authenticator: Arc<Authenticator>,
    trust: Arc<Trust>,
    pub(super) quotas: Arc<Quotas>,
    pub(super) guards: Arc<StandingGuards>,
    pub(super) quarantine: Arc<Quarantine>,
    pub(super) security_events: Arc<SecurityEvents>,
    pub(super) relay: Arc<Relay>,
    pub(super) sampler: Arc<Sampler>,
    pub(super) giving: Arc<Giving>,
    pub(super) lines: Arc<RequestLines>,
    pub(super) metrics: Arc<Metrics>,
    /// Spans for a collector, where there is one.
    pub(super) spans: Option<Spans>,
    pub(super) identity: Identity,
    pub(super) rules: Rules,
    /// Bounds of a body whose sender is known.
    pub(super) body: BodyLimits,
    /// Bounds of a body that has to be read to learn who sends it.
    pub(super) unverified_body: BodyLimits,
    pub(super) query_max: usize,
    /// Held while records are replayed.
    pub(super) replaying: Arc<Mutex<()>>,
    /// Whether the process stops.
    pub(super) stopping: Arc<AtomicBool>,
}

impl Front {
    /// A front for the site.
    #[must_use]
    pub fn new(config: &Config, parts: FrontParts) -> Arc<Self> {
        let FrontParts {
            site,
            authenticator,
            trust,
            quotas,
            guards,
            quarantine,
            security_events,
            metrics,
            spans,
            before,
        } = parts;
        let before = before.as_deref();
        let identity = &config.identity;
        let cap = config.limits.body.as_usize();
        let ingest = &config.ingest;
        let body = BodyLimits {
            cap,
            timeout: ingest.body_timeout.get(),
            min_rate: ingest.min_body_rate.get(),
            grace: ingest.body_grace.get(),
        };
        let unverified = config.limits.unverified_body.as_usize().min(cap);
        Arc::new(Self {
            site,
            authenticator,
            trust,
            quotas,
            guards,
            quarantine,
            security_events,
            relay: before.map(|it| Arc::clone(&it.relay)).unwrap_or_default(),
            sampler: before
                .filter(|it| it.sampler.has_rules(&config.sample, identity))
                .map(|it| Arc::clone(&it.sampler))
                .unwrap_or_else(|| Arc::new(Sampler::new(&config.sample, identity))),
            giving: before
                .filter(|it| Giving::is_the_same(&it.identity, identity))
                .map(|it| Arc::clone(&it.giving))
                .unwrap_or_else(|| Arc::new(Giving::new(identity))),
            lines: before
                .map(|it| Arc::clone(&it.lines))
                .unwrap_or_else(|| Arc::new(RequestLines::new(&config.log))),
            metrics,
            spans: spans.map(|queue| Spans::new(&config.traces, queue)),
            identity: config.identity.clone(),
            rules: Rules::new(&config.limits, &config.time),
            body,
            unverified_body: BodyLimits {
                cap: unverified,
                ..body
            },
            query_max: config.limits.query.as_usize(),
            replaying: before
                .map(|it| Arc::clone(&it.replaying))
                .unwrap_or_default(),
            stopping: before
                .map(|it| Arc::clone(&it.stopping))
                .unwrap_or_default(),
        })
    }

    /// Whom it trusts.
    pub(super) fn trust(&self) -> Arc<Trust> {
        Arc::clone(&self.trust)
    }

    /// The projects and logstores.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The stream of security events.
    #[must_use]
    pub fn security_events(&self) -> &Arc<SecurityEvents> {
        &self.security_events
    }

    /// The sample of requests: a [`SampledRequest`](crate::event::SampledRequest) a line, as JSON.
    #[must_use]
    pub fn sample(&self) -> Vec<Bytes> {
        self.sampler.lines()
    }
}

/// The front that serves now. Another takes its place at once: a request is told by the one that it found.
#[derive(Debug)]
pub struct StandingFront(ArcSwap<Front>);

impl StandingFront {
    /// Serves by `front`.
    #[must_use]
    pub fn new(front: Arc<Front>) -> Arc<Self> {
        Arc::new(Self(ArcSwap::new(front)))
    }

    /// The front that serves now.
    #[must_use]
    pub fn now(&self) -> Arc<Front> {
        self.0.load_full()
    }

    /// Serves by another from now on. The one before, which requests that have come may still use.
    pub fn replace(&self, front: Arc<Front>) -> Arc<Front> {
        self.0.swap(front)
    }
}
