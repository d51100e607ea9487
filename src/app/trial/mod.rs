//! A service that serves nobody: requests are tried out on it, by the code that answers clients.
//!
//! Promise: nothing outside changes. What is remembered (revocations, tickets, bans) is a copy in a folder
//! of its own, which goes when the trial is dropped; lanes deliver nowhere; no other node is told. The
//! network is used for one thing alone, and only where it is asked for: fetching sets of keys.

mod folder;
mod request;
mod told;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;

use self::folder::TrialFolder;
pub use self::request::{BadRequest, TrialRequest};
pub use self::told::{events, explained, tags, text};
use super::identity::wait_for_sets;
use super::lanes::pipeline_rules;
use super::quality::QualityControl;
use super::{StartError, aside, upstreams};
use crate::config::{Config, SignatureVersion, UpstreamKind};
use crate::event::Reason;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::secret::Secret;
use crate::front::{
    Front, FrontParts, SecurityEvents, Site, SiteLogstore, SiteParts, Trace, TrialTime,
};
pub use crate::front::{Stage, Step, Traced, TracedEvent};
use crate::gate::identity::state::IdentityState;
use crate::gate::identity::sts::ReplayWindow;
use crate::gate::identity::{Authenticator, Trust};
use crate::gate::policy::resource_name;
use crate::gate::quota::{Overrides, Quotas};
use crate::logstore::client::{StoreClient, StoreEndpoint};
use crate::logstore::proto::LogGroup;
use crate::logstore::signature::AccessKey;
use crate::pipeline::quarantine::Quarantine;
use crate::pipeline::{IdleLane, Lane, idle_lanes};
use crate::telemetry::Metrics;

/// Time for the last records of a trial, before their folder goes.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// How a trial is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrialSetup<'a> {
    /// The data directory whose keys, revocations, tickets and bans count. It is only read.
    pub data_dir: Option<&'a Path>,
    /// Whether limits are asked. They begin with nothing used.
    pub limits: bool,
    /// Whether sets of keys are fetched from their URLs.
    pub fetch: bool,
    /// Whether a secret that cannot be read gets a stand-in, since no proof is checked.
    pub stand_ins: bool,
}

/// A service that serves nobody.
pub struct Trial {
    front: Arc<Front>,
    lanes: Vec<(ProjectName, LogstoreName, Arc<Lane>)>,
    /// Secrets that have a stand-in.
    stand_ins: Vec<String>,
    /// The time of the first request, unix milliseconds.
    first: Option<u64>,
    /// Its writer writes to the folder.
    quarantine: Arc<Quarantine>,
    _metrics: Arc<Metrics>,
    _folder: TrialFolder,
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.quarantine.stop(LAST_WRITES);
    }
}

impl std::fmt::Debug for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trial").finish_non_exhaustive()
    }
}

/// What became of a request.
#[derive(Debug)]
pub struct TrialAnswer {
    /// The status.
    pub status: http::StatusCode,
    /// The head of the answer.
    pub headers: http::HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// The reason of a refusal.
    pub reason: Option<Reason>,
    /// What each stage decided.
    pub traced: Traced,
    /// What would be stored: project, logstore, and events as they would be delivered.
    pub stored: Vec<(ProjectName, LogstoreName, LogGroup)>,
}

impl Trial {
    /// Sets a service up. Blocks on files. To be called in a runtime.
    ///
    /// # Errors
    /// What a start would fail with.
    pub async fn start(config: &Config, setup: TrialSetup<'_>) -> Result<Self, StartError> {
        let folder = TrialFolder::make().map_err(|source| StartError::DataDir {
            path: std::env::temp_dir(),
            source,
        })?;
        if let Some(data_dir) = setup.data_dir {
            let copied = folder.copy_from(data_dir);
            copied.map_err(|(path, source)| StartError::DataDir { path, source })?;
        }
        let mut config = config.clone();
        config.data_dir = folder.path().to_owned();
        if !setup.limits {
            config.limit_rules.clear();
        }
        let stand_ins = match setup.stand_ins {
            true => folder.stand_in(&mut config),
            false => Vec::new(),
        };
        let metrics = Metrics::new();
        let trust = trust(&config, setup.fetch).await?;
        let state = IdentityState::open(&config.data_dir, &config.identity, &metrics);
        let state = Arc::new(state.map_err(super::IdentityError::from)?);
        let quotas = Quotas::new(&config, 7).map_err(super::IdentityError::from)?;
        // It hands its bans to the limits.
        let _overrides = Overrides::open(
            &config.data_dir,
            config.quota.max_overrides,
            Arc::clone(&quotas),
        );
        let quality = QualityControl::start(&config)?;
        let prepared = quality.prepare(&config, trust.attached())?;
        let lanes = lanes(&config, &metrics);
        let quarantine = aside::open(&config, &metrics)?;
        let trust = Arc::new(trust);
        let authenticator = Authenticator::new(Arc::clone(&trust), state);
        let front = Front::new(
            &config,
            FrontParts {
                site: site(&config, &lanes, &metrics)?,
                guards: Arc::clone(quality.guards()),
                quarantine: Arc::clone(&quarantine),
                authenticator: Arc::new(authenticator),
                trust,
                quotas,
                security_events: Arc::new(SecurityEvents::new(
                    &config.security_events,
                    None,
                    Arc::clone(&metrics),
                )),
                metrics: Arc::clone(&metrics),
                spans: None,
                before: None,
            },
        );
        quality.take_over(prepared, &front);
        Ok(Self {
            front,
            lanes,
            stand_ins,
            first: None,
            quarantine,
            _metrics: metrics,
            _folder: folder,
        })
    }

    /// Keys of the configuration whose secrets and keys could not be read, and have a stand-in.
    #[must_use]
    pub fn stand_ins(&self) -> &[String] {
        &self.stand_ins
    }

    /// Tries a request out. Limits and what guards remember go on from one to the next; requests should
    /// come in the order of their times.
    pub async fn ask(&mut self, request: TrialRequest) -> TrialAnswer {
        let millis = request.unix_millis;
        let first = *self.first.get_or_insert(millis);
        let time = TrialTime {
            unix_seconds: millis / 1000,
            nanos: millis.saturating_sub(first).saturating_mul(1_000_000),
        };
        let trace = Trace::default();
        let (request, sender) = request.into_parts();
        let reply = self.front.try_out(request, sender, time, &trace).await;
        let (head, body) = reply.into_parts();
        let body = whole(body).await;
        let traced = trace.finish();
        let refused = traced
            .steps
            .iter()
            .rev()
            .find_map(|step| step.refused.as_ref());
        let reason = refused.map(crate::event::Refusal::reason);
        TrialAnswer {
            status: head.status,
            headers: head.headers,
            body,
            reason: reason.filter(|_| !head.status.is_success()),
            traced,
            stored: self.take_stored(),
        }
    }

    fn take_stored(&self) -> Vec<(ProjectName, LogstoreName, LogGroup)> {
        let of_lane = |(project, logstore, lane): &(ProjectName, LogstoreName, Arc<Lane>)| {
            let groups = lane.take_held().into_iter();
            let groups = groups.filter_map(|raw| LogGroup::decode(raw.as_slice()).ok());
            let named = groups.map(|group| (project.clone(), logstore.clone(), group));
            named.collect::<Vec<_>>()
        };
        self.lanes.iter().flat_map(of_lane).collect()
    }
}

/// The body of an answer of ours, which is at hand.
async fn whole(mut body: Full<Bytes>) -> Bytes {
    let frame = body.frame().await;
    let data = frame
        .and_then(Result::ok)
        .and_then(|frame| frame.into_data().ok());
    data.unwrap_or_default()
}

async fn trust(config: &Config, fetch: bool) -> Result<Trust, super::IdentityError> {
    let window = config.identity.signed.window.get();
    let nonces = Arc::new(ReplayWindow::new(window, ReplayWindow::USUAL));
    let trust = Trust::load(config, &nonces)?;
    if fetch && !trust.jwt().sources().is_empty() {
        let stop = tokio_util::sync::CancellationToken::new();
        let tasks = tokio_util::task::TaskTracker::new();
        let fetching = tasks.spawn(Arc::clone(trust.jwt()).refresh(stop.clone()));
        let missing = wait_for_sets(trust.jwt()).await;
        for missing in missing {
            tracing::warn!("{missing}");
        }
        stop.cancel();
        fetching.abort();
    }
    Ok(trust)
}

fn lanes(config: &Config, metrics: &Metrics) -> Vec<(ProjectName, LogstoreName, Arc<Lane>)> {
    let names = config.projects.iter().flat_map(|project| {
        let logstores = project.logstores.iter();
        logstores.map(|logstore| (project.name.clone(), logstore.name.clone(), logstore.weight))
    });
    let names: Vec<_> = names.collect();
    let given = names.iter().map(|(project, logstore, weight)| IdleLane {
        project: project.clone(),
        logstore: logstore.clone(),
        weight: *weight,
        metrics: metrics.logstore(project.as_str(), logstore.as_str()),
    });
    let rules = pipeline_rules(config, metrics, None);
    let lanes = idle_lanes(given.collect(), rules);
    let named = names.into_iter().zip(lanes);
    named
        .map(|((project, logstore, _), lane)| (project, logstore, lane))
        .collect()
}

fn site(
    config: &Config,
    lanes: &[(ProjectName, LogstoreName, Arc<Lane>)],
    metrics: &Metrics,
) -> Result<Site, StartError> {
    let mut clients = BTreeMap::new();
    for upstream in config
        .upstreams
        .iter()
        .filter(|u| u.kind == UpstreamKind::Sls)
    {
        let client = client_of_nobody(upstream.endpoint.clone().unwrap_or_default());
        let client = client.map_err(|source| StartError::Upstream {
            upstream: upstream.name.clone(),
            source,
        })?;
        clients.insert(upstream.name.clone(), Arc::new(client));
    }
    let account = upstreams::account_of(config);
    let projects = config.projects.iter().map(|project| {
        let logstores = project.logstores.iter().filter_map(|logstore| {
            let of_this = |(of, name, _): &&(ProjectName, LogstoreName, Arc<Lane>)| {
                *of == project.name && *name == logstore.name
            };
            let (_, _, lane) = lanes.iter().find(of_this)?;
            let client = clients.get(project.upstream_of(logstore)).map(Arc::clone);
            let parts = SiteParts {
                lane: Arc::clone(lane),
                metrics: metrics.logstore(project.name.as_str(), logstore.name.as_str()),
                limits: &config.limits,
                resource: resource_name(
                    upstreams::region_of(config, project, logstore),
                    account,
                    project.name.as_str(),
                    logstore.name.as_str(),
                ),
                upstream: client
                    .map(|client| (client, upstreams::upstream_project(project).clone())),
                before: None,
            };
            Some(SiteLogstore::new(logstore.clone(), parts))
        });
        (project.name.clone(), logstores.collect())
    });
    Ok(Site::new(&config.ingest, projects.collect()))
}

/// A client that is never asked to send: a trial ends before.
fn client_of_nobody(
    base: String,
) -> Result<StoreClient, crate::logstore::client::StoreClientError> {
    StoreClient::new(StoreEndpoint {
        base,
        address: None,
        region: "none".to_owned(),
        key: AccessKey {
            id: "nobody".to_owned(),
            secret: Secret::new("nobody"),
            security_token: None,
        },
        signature: SignatureVersion::V1,
        ca_file: None,
        timeouts: Duration::from_secs(1).into(),
    })
}

/// The data directory that a trial may take keys from: that of the configuration, if it is there.
#[must_use]
pub fn existing_data_dir(config: &Config) -> Option<PathBuf> {
    let path = &config.data_dir;
    path.is_dir().then(|| path.clone())
}
