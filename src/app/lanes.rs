//! The lanes of a configuration, and the stores that they go to.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::upstreams::{
    codec_of, embedded_key, reachable, upstream_key, upstream_logstore, upstream_project,
};
use super::{Running, StartError, spool};
use crate::config::{Config, Upstream, UpstreamKind};
use crate::foundation::names::ProjectName;
use crate::logstore::client::{StoreClient, StoreEndpoint, Timeouts};
use crate::pipeline::quarantine::Quarantine;
use crate::pipeline::spool::SpoolDirectory;
use crate::pipeline::{self, LaneSpec, PipelineRules, Route};
use crate::telemetry::Metrics;

/// The clients of projects that go to SLS, for requests that are relayed.
pub(super) type Clients = BTreeMap<ProjectName, Arc<StoreClient>>;

/// What the lanes to each upstream share.
type Shared<'c> = BTreeMap<&'c str, Arc<pipeline::Upstream>>;

/// What the lanes of a configuration go by.
pub(super) fn pipeline_rules<'a>(
    config: &'a Config,
    metrics: &'a Metrics,
    quarantine: Option<&'a Arc<Quarantine>>,
) -> PipelineRules<'a> {
    PipelineRules {
        batch: &config.batch,
        delivery: &config.delivery,
        limits: &config.limits,
        overload: &config.overload,
        machine: &metrics.machine,
        quarantine,
        spool: &config.spool,
    }
}

/// Lanes, and what they share.
pub(super) struct LaneParts {
    pub(super) lanes: Vec<LaneSpec>,
    pub(super) clients: Clients,
    /// Held for as long as they run.
    pub(super) spool: Option<SpoolDirectory>,
}

impl Running {
    /// A lane for each logstore.
    pub(super) fn lane_specs(&self, config: &Config) -> Result<LaneParts, StartError> {
        let mut lanes = Vec::new();
        let (mut shared, mut clients) = (Shared::new(), Clients::new());
        let spool = spool::open(config)?;
        for project in &config.projects {
            let named = |name: &str| config.upstreams.iter().find(|u| u.name == name);
            let Some(upstream) = named(&project.upstream) else {
                continue; // the check of the configuration has refused this
            };
            let store = self.route(config, upstream, &mut shared)?;
            if upstream.kind == UpstreamKind::Sls {
                clients.insert(project.name.clone(), Arc::clone(&store.client));
            }
            let fallback = project.fallback.as_deref().and_then(named);
            let fallback = fallback.map(|upstream| self.route(config, upstream, &mut shared));
            let fallback = fallback.transpose()?;
            for logstore in &project.logstores {
                let metrics = &self.metrics;
                lanes.push(LaneSpec {
                    project: project.name.clone(),
                    logstore: logstore.name.clone(),
                    upstream_project: upstream_project(project).clone(),
                    upstream_logstore: upstream_logstore(logstore).clone(),
                    store: store.clone(),
                    fallback: fallback.clone(),
                    codec: codec_of(upstream.compression),
                    weight: logstore.weight,
                    metrics: metrics.logstore(project.name.as_str(), logstore.name.as_str()),
                    ack: logstore.ack,
                    log: spool
                        .as_ref()
                        .map(|it| it.log(config, project, logstore))
                        .transpose()?,
                });
            }
        }
        Ok(LaneParts {
            lanes,
            clients,
            spool: spool.map(|it| it.directory),
        })
    }

    fn route<'c>(
        &self,
        config: &'c Config,
        upstream: &'c Upstream,
        shared: &mut Shared<'c>,
    ) -> Result<Route, StartError> {
        let name = upstream.name.as_str();
        let shared = shared.entry(name).or_insert_with(|| {
            pipeline::Upstream::new(name, &config.delivery, self.metrics.upstream(name))
        });
        Ok(Route {
            client: Arc::new(self.store_client(config, upstream)?),
            upstream: Arc::clone(shared),
        })
    }

    fn store_client(
        &self,
        config: &Config,
        upstream: &Upstream,
    ) -> Result<StoreClient, StartError> {
        let endpoint = match upstream.kind {
            UpstreamKind::Embedded => {
                let address = self.addresses.logstore.unwrap_or(config.embedded.listen);
                StoreEndpoint {
                    base: format!("http://localhost:{}", address.port()),
                    address: Some(reachable(address)),
                    region: config.embedded.region.clone(),
                    key: embedded_key(config)?,
                    signature: upstream.signature,
                    ca_file: None,
                    timeouts: Timeouts::of(&config.delivery),
                }
            }
            UpstreamKind::Sls => StoreEndpoint {
                base: upstream.endpoint.clone().unwrap_or_default(),
                address: upstream.address,
                region: upstream.effective_region().unwrap_or_default().to_owned(),
                key: upstream_key(upstream)?,
                signature: upstream.signature,
                ca_file: upstream.ca_file.clone(),
                timeouts: Timeouts::of(&config.delivery),
            },
        };
        let client = StoreClient::new(endpoint).map_err(|source| StartError::Upstream {
            upstream: upstream.name.clone(),
            source,
        })?;
        if upstream.kind == UpstreamKind::Embedded {
            return Ok(client);
        }
        let upstream = upstream.clone();
        Ok(client.reading_keys_from(Arc::new(move || {
            upstream_key(&upstream).map_err(|error| error.to_string())
        })))
    }
}
