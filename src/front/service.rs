//! The front as a hyper service.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use hyper::service::Service;

use super::body::BodyLimits;
use super::give::Giving;
use super::relay::Relay;
use super::reply::Reply;
use super::security_events::SecurityEvents;
use super::site::Site;
use super::transcode::Rules;
use crate::config::{Config, Identity};
use crate::gate::identity::Authenticator;
use crate::telemetry::Metrics;

/// What a front is made of.
#[derive(Debug)]
pub struct FrontParts {
    /// The projects and logstores.
    pub site: Site,
    /// Decides who requests are from.
    pub authenticator: Arc<Authenticator>,
    /// The stream of security events.
    pub security_events: SecurityEvents,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// Answers the clients' requests.
#[derive(Debug)]
pub struct Front {
    pub(super) site: Site,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) security_events: SecurityEvents,
    pub(super) relay: Relay,
    pub(super) giving: Giving,
    pub(super) metrics: Arc<Metrics>,
    pub(super) identity: Identity,
    pub(super) rules: Rules,
    /// Bounds of a body whose sender is known.
    pub(super) body: BodyLimits,
    /// Bounds of a body that has to be read to learn who sends it.
    pub(super) unverified_body: BodyLimits,
    pub(super) query_max: usize,
}

impl Front {
    /// A front for the site.
    #[must_use]
    pub fn new(config: &Config, parts: FrontParts) -> Arc<Self> {
        let FrontParts {
            site,
            authenticator,
            security_events,
            metrics,
        } = parts;
        let timeout = config.ingest.body_timeout.get();
        let cap = config.limits.body.as_usize();
        let unverified = config.limits.unverified_body.as_usize().min(cap);
        Arc::new(Self {
            site,
            authenticator,
            security_events,
            relay: Relay::default(),
            giving: Giving::new(&config.identity),
            metrics,
            identity: config.identity.clone(),
            rules: Rules::new(&config.limits, &config.time),
            body: BodyLimits { cap, timeout },
            unverified_body: BodyLimits {
                cap: unverified,
                timeout,
            },
            query_max: config.limits.query.as_usize(),
        })
    }

    /// The service of one connection.
    #[must_use]
    pub fn connection(self: &Arc<Self>, peer: SocketAddr) -> Connection {
        Connection {
            front: Arc::clone(self),
            peer,
        }
    }
}

/// Answers the requests of one connection.
#[derive(Clone, Debug)]
pub struct Connection {
    front: Arc<Front>,
    peer: SocketAddr,
}

impl Service<Request<Incoming>> for Connection {
    type Response = Reply;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let front = Arc::clone(&self.front);
        let peer = self.peer;
        Box::pin(async move { Ok(front.answer(request, peer).await) })
    }
}
