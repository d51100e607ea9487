//! The site of a configuration: its projects and logstores, with the lanes that run for them.

use std::sync::Arc;

use super::lanes::Clients;
use super::upstreams::{account_of, region_of, upstream_project};
use crate::config::Config;
use crate::front::{Site, SiteLogstore, SiteParts};
use crate::gate::policy::resource_name;
use crate::pipeline::Lane;
use crate::telemetry::Metrics;

/// What a site is made of.
pub(super) struct SiteMaker<'a> {
    pub(super) config: &'a Config,
    pub(super) metrics: &'a Metrics,
    pub(super) lanes: &'a [Arc<Lane>],
    pub(super) clients: &'a Clients,
    /// The site before, where the bounds of bodies are the same.
    pub(super) before: Option<&'a Site>,
}

impl SiteMaker<'_> {
    /// The site.
    pub(super) fn site(&self) -> Site {
        let config = self.config;
        let account = account_of(config);
        let projects = config.projects.iter().map(|project| {
            let (name, logstores) = (project.name.as_str(), project.logstores.iter());
            let logstores = logstores.filter_map(|logstore| {
                let of_this = |lane: &&Arc<Lane>| {
                    *lane.project() == project.name && *lane.logstore() == logstore.name
                };
                let lane = self.lanes.iter().find(of_this)?;
                let upstream = project.upstream_of(logstore).to_owned();
                let client = self.clients.get(&(project.name.clone(), upstream));
                let client = client.map(Arc::clone);
                let parts = SiteParts {
                    lane: Arc::clone(lane),
                    metrics: self.metrics.logstore(name, logstore.name.as_str()),
                    limits: &config.limits,
                    resource: resource_name(
                        region_of(config, project, logstore),
                        account,
                        name,
                        logstore.name.as_str(),
                    ),
                    upstream: client.map(|client| (client, upstream_project(project).clone())),
                    before: self
                        .before
                        .and_then(|site| site.logstore(name, logstore.name.as_str())),
                };
                Some(SiteLogstore::new(logstore.clone(), parts))
            });
            (project.name.clone(), logstores.collect())
        });
        Site::new(&config.ingest, projects.collect())
    }
}

/// The lane that security events go to, where there is one.
pub(super) fn security_lane(config: &Config, lanes: &[Arc<Lane>]) -> Option<Arc<Lane>> {
    let rules = &config.security_events;
    let of_this = |lane: &&Arc<Lane>| {
        rules.project.as_ref() == Some(lane.project())
            && rules.logstore.as_ref() == Some(lane.logstore())
    };
    lanes.iter().find(of_this).map(Arc::clone)
}
