//! The front, and who speaks to it.

use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::body::BodyLimits;
use super::give::Giving;
use super::relay::Relay;
use super::sample::Sampler;
use super::security_events::SecurityEvents;
use super::site::Site;
use super::transcode::Rules;
use crate::config::{Config, Identity};
use crate::gate::guard::StandingGuards;
use crate::gate::identity::Authenticator;
use crate::gate::quota::Quotas;
use crate::pipeline::quarantine::Quarantine;
use crate::telemetry::Metrics;

/// What a front is made of.
#[derive(Debug)]
pub struct FrontParts {
    /// The projects and logstores.
    pub site: Site,
    /// Decides who requests are from.
    pub authenticator: Arc<Authenticator>,
    /// How much may be sent.
    pub quotas: Arc<Quotas>,
    /// The guards of all logstores.
    pub guards: Arc<StandingGuards>,
    /// Where events go that are set aside on local disk.
    pub quarantine: Arc<Quarantine>,
    /// The stream of security events.
    pub security_events: SecurityEvents,
    /// What is counted.
    pub metrics: Arc<Metrics>,
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
    pub(super) quotas: Arc<Quotas>,
    pub(super) guards: Arc<StandingGuards>,
    pub(super) quarantine: Arc<Quarantine>,
    pub(super) security_events: SecurityEvents,
    pub(super) relay: Relay,
    pub(super) sampler: Sampler,
    pub(super) giving: Giving,
    pub(super) metrics: Arc<Metrics>,
    pub(super) identity: Identity,
    pub(super) rules: Rules,
    /// Bounds of a body whose sender is known.
    pub(super) body: BodyLimits,
    /// Bounds of a body that has to be read to learn who sends it.
    pub(super) unverified_body: BodyLimits,
    pub(super) query_max: usize,
    /// Held while records are replayed.
    pub(super) replaying: Mutex<()>,
    /// Whether the process stops.
    pub(super) stopping: AtomicBool,
}

impl Front {
    /// A front for the site.
    #[must_use]
    pub fn new(config: &Config, parts: FrontParts) -> Arc<Self> {
        let FrontParts {
            site,
            authenticator,
            quotas,
            guards,
            quarantine,
            security_events,
            metrics,
        } = parts;
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
            quotas,
            guards,
            quarantine,
            security_events,
            relay: Relay::default(),
            sampler: Sampler::new(&config.sample, &config.identity),
            giving: Giving::new(&config.identity),
            metrics,
            identity: config.identity.clone(),
            rules: Rules::new(&config.limits, &config.time),
            body,
            unverified_body: BodyLimits {
                cap: unverified,
                ..body
            },
            query_max: config.limits.query.as_usize(),
            replaying: Mutex::default(),
            stopping: AtomicBool::new(false),
        })
    }

    /// The projects and logstores.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The sample of requests: a [`SampledRequest`](crate::event::SampledRequest) a line, as JSON.
    #[must_use]
    pub fn sample(&self) -> Vec<Bytes> {
        self.sampler.lines()
    }
}
