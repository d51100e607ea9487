//! The lanes of a configuration, and the destinations that they go to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::spool::OpenSpool;
use super::upstreams::{
    codec_of, embedded_key, reachable, upstream_key, upstream_logstore, upstream_project,
};
use super::{StartError, destinations};
use crate::config::{
    Ack, Config, FilesUpstream, KafkaUpstream, Logstore, Project, Upstream, UpstreamKind,
};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::logstore::client::{KeyKeeper, OnResend, StoreClient, StoreEndpoint, Timeouts};
use crate::logstore::signature::AccessKey;
use crate::pipeline::destination::files::Files;
use crate::pipeline::destination::kafka::Kafka;
use crate::pipeline::destination::{Destination, Sls};
use crate::pipeline::quarantine::Quarantine;
use crate::pipeline::{self, LaneSpec, PipelineRules, Route};
use crate::telemetry::{LogstoreMetrics, Metrics};

/// The clients of stores, by project and upstream, for requests that are relayed.
pub(super) type Clients = BTreeMap<(ProjectName, String), Arc<StoreClient>>;

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
        metrics,
        quarantine,
        spool: &config.spool,
        spans: None,
    }
}

/// The ways to the stores of a configuration. A reload takes over those that are the same, with their
/// connections and what is known of the store.
#[derive(Debug, Default)]
pub(super) struct Stores {
    /// What all lanes to an upstream share, by its name.
    upstreams: BTreeMap<String, (String, Arc<pipeline::Upstream>)>,
    /// By project and upstream.
    clients: BTreeMap<(ProjectName, String), (String, Arc<StoreClient>)>,
}

/// Lanes, and what they share.
pub(super) struct LaneParts {
    pub(super) lanes: Vec<LaneSpec>,
    pub(super) clients: Clients,
    pub(super) stores: Stores,
}

/// What a lane is made from.
struct OfLane<'c> {
    project: &'c Project,
    logstore: &'c Logstore,
    /// The logstore's, or that of its copies.
    name: LogstoreName,
    ack: Ack,
}

impl Stores {
    /// A client of each store of each project, to read with.
    pub(super) fn readers(&self) -> Clients {
        let clients = self.clients.iter();
        let clients = clients.map(|(place, (_, client))| (place.clone(), Arc::clone(client)));
        clients.collect()
    }
}

/// Makes the lanes of a configuration.
pub(super) struct LaneMaker<'a> {
    pub(super) config: &'a Config,
    pub(super) metrics: &'a Metrics,
    /// Where the embedded logstore of this process listens.
    pub(super) embedded: Option<SocketAddr>,
    /// The stores of the configuration before.
    pub(super) before: &'a Stores,
}

impl LaneMaker<'_> {
    /// A lane for each logstore, and one for the copies of those that have a second destination,
    /// without their logs. A lane of copies stands behind the one whose they are.
    pub(super) fn lanes(&self) -> Result<LaneParts, StartError> {
        let mut parts = LaneParts {
            lanes: Vec::new(),
            clients: Clients::new(),
            stores: Stores::default(),
        };
        let config = self.config;
        for project in &config.projects {
            for logstore in &project.logstores {
                // The check of the configuration has refused unknown upstreams.
                let Some(upstream) = config.upstream(project.upstream_of(logstore)) else {
                    continue;
                };
                let fallback = project.fallback_of(logstore);
                let fallback = fallback.and_then(|name| config.upstream(name));
                let mut of_this = OfLane {
                    project,
                    logstore,
                    name: logstore.name.clone(),
                    ack: logstore.ack,
                };
                let mut spec = self.lane(&of_this, (upstream, fallback), &mut parts)?;
                let also = project.also_of(logstore);
                let also = also.and_then(|name| config.upstream(name));
                let copy = also.and_then(|it| Some((it, logstore.name.copy_for(&it.name).ok()?)));
                spec.also = copy.as_ref().map(|(_, name)| name.clone());
                parts.lanes.push(spec);
                if let Some((also, name)) = copy {
                    of_this.name = name;
                    // Nobody waits until the second destination has it.
                    if logstore.ack == Ack::Logstore {
                        of_this.ack = Ack::Memory;
                    }
                    let copy = self.lane(&of_this, (also, None), &mut parts)?;
                    parts.lanes.push(copy);
                }
            }
        }
        Ok(parts)
    }

    fn lane(
        &self,
        of_this: &OfLane<'_>,
        (upstream, fallback): (&Upstream, Option<&Upstream>),
        parts: &mut LaneParts,
    ) -> Result<LaneSpec, StartError> {
        let OfLane {
            project,
            logstore,
            name,
            ack,
        } = of_this;
        // Shown once the lane is started.
        let metrics = (self.metrics).logstore_or_new(project.name.as_str(), name.as_str());
        let (store, first) = self.route(of_this, upstream, &metrics, parts)?;
        let fallback = fallback.map(|upstream| self.route(of_this, upstream, &metrics, parts));
        let (fallback, second) = fallback.transpose()?.unzip();
        let names = (upstream_project(project), upstream_logstore(logstore));
        let packing = (upstream.compression, logstore.shard_by);
        let way = print_of(&(&first, &second, names, packing));
        Ok(LaneSpec {
            project: project.name.clone(),
            logstore: name.clone(),
            store,
            fallback,
            codec: codec_of(upstream.compression),
            shard_by: logstore.shard_by,
            weight: logstore.weight,
            metrics,
            ack: *ack,
            log: None,
            also: None,
            way,
        })
    }

    /// The way of a lane to an upstream, and what it is made of.
    fn route(
        &self,
        of_this: &OfLane<'_>,
        upstream: &Upstream,
        metrics: &Arc<LogstoreMetrics>,
        parts: &mut LaneParts,
    ) -> Result<(Route, String), StartError> {
        let shared = self.shared(upstream, &mut parts.stores);
        let (destination, way) = match (&upstream.kafka, &upstream.files) {
            (Some(kafka), _) if upstream.kind == UpstreamKind::Kafka => {
                self.kafka(of_this, upstream, kafka)?
            }
            (_, Some(files)) if upstream.kind == UpstreamKind::Files => {
                self.files(of_this, upstream, files, metrics)
            }
            _ => self.store(of_this, (upstream, &shared), metrics, parts)?,
        };
        let has_projects = matches!(destination, Destination::Sls(_));
        let project = has_projects.then(|| shared.part_of(upstream_project(of_this.project)));
        let route = Route {
            destination: Arc::new(destination),
            project,
            upstream: shared,
        };
        Ok((route, way))
    }

    /// What all lanes to an upstream share.
    fn shared(&self, upstream: &Upstream, stores: &mut Stores) -> Arc<pipeline::Upstream> {
        let (delivery, name) = (&self.config.delivery, upstream.name.as_str());
        let rules = print_of(&(&delivery.breaker, delivery.retries_per_second));
        let known = self.before.upstreams.get(name);
        let shared = stores.upstreams.entry(name.to_owned()).or_insert_with(|| {
            let same = known.filter(|(before, _)| *before == rules);
            let new =
                || pipeline::Upstream::new(name, delivery, self.metrics.upstream_or_new(name));
            let shared = same.map_or_else(new, |(_, shared)| Arc::clone(shared));
            (rules, shared)
        });
        Arc::clone(&shared.1)
    }

    fn kafka(
        &self,
        of_this: &OfLane<'_>,
        upstream: &Upstream,
        kafka: &KafkaUpstream,
    ) -> Result<(Destination, String), StartError> {
        let topic = kafka.topic_of(of_this.project, of_this.logstore);
        let authority = digest_of_file(upstream.ca_file.as_deref());
        let way = print_of(&(upstream, &topic, &self.config.delivery, authority));
        let rules = destinations::kafka(self.config, upstream, kafka, topic)?;
        Ok((Destination::Kafka(Box::new(Kafka::new(rules))), way))
    }

    fn files(
        &self,
        of_this: &OfLane<'_>,
        upstream: &Upstream,
        files: &FilesUpstream,
        metrics: &Arc<LogstoreMetrics>,
    ) -> (Destination, String) {
        let names = (&of_this.project.name, &of_this.logstore.name);
        let way = print_of(&(upstream, names, &self.config.delivery));
        let rules = destinations::files(self.config, files, names);
        let files = Files::new(rules, Arc::clone(metrics));
        (Destination::Files(files), way)
    }

    fn store(
        &self,
        of_this: &OfLane<'_>,
        (upstream, shared): (&Upstream, &Arc<pipeline::Upstream>),
        metrics: &Arc<LogstoreMetrics>,
        parts: &mut LaneParts,
    ) -> Result<(Destination, String), StartError> {
        let (project, logstore) = (of_this.project, of_this.logstore);
        let place = (project.name.clone(), upstream.name.clone());
        let (way, client) = match parts.stores.clients.get(&place) {
            Some((way, client)) => (way.clone(), Arc::clone(client)),
            None => self.client(&place, upstream, shared)?,
        };
        if upstream.kind == UpstreamKind::Sls {
            parts.clients.insert(place.clone(), Arc::clone(&client));
        }
        let kept = (way.clone(), Arc::clone(&client));
        parts.stores.clients.insert(place, kept);
        let metrics = Arc::clone(metrics);
        let store = Sls {
            client,
            project: upstream_project(project).clone(),
            logstore: upstream_logstore(logstore).clone(),
            on_resend: OnResend::new(move || metrics.delivery.resends_in_doubt.inc()),
        };
        Ok((Destination::Sls(store), way))
    }

    /// The client of a project's store, and what it is made of.
    fn client(
        &self,
        place: &(ProjectName, String),
        upstream: &Upstream,
        shared: &Arc<pipeline::Upstream>,
    ) -> Result<(String, Arc<StoreClient>), StartError> {
        let config = self.config;
        let is_embedded = upstream.kind == UpstreamKind::Embedded;
        let key = match is_embedded {
            true => embedded_key(config)?,
            false => upstream_key(upstream)?,
        };
        let embedded = is_embedded.then_some(&config.embedded);
        let authority = digest_of_file(upstream.ca_file.as_deref());
        let made_of = (upstream, embedded, &config.delivery);
        let way = print_of(&(made_of, digest_of(&key), authority));
        let known = self.before.clients.get(place);
        let client = match known.filter(|(before, _)| *before == way) {
            Some((_, client)) => Arc::clone(client),
            None => Arc::new(self.store_client(upstream, key, shared)?),
        };
        Ok((way, client))
    }

    fn store_client(
        &self,
        upstream: &Upstream,
        key: AccessKey,
        shared: &Arc<pipeline::Upstream>,
    ) -> Result<StoreClient, StartError> {
        let config = self.config;
        let endpoint = match upstream.kind {
            UpstreamKind::Embedded => {
                let address = self.embedded.unwrap_or(config.embedded.listen);
                StoreEndpoint {
                    base: format!("http://localhost:{}", address.port()),
                    address: Some(reachable(address)),
                    region: config.embedded.region.clone(),
                    key,
                    signature: upstream.signature,
                    ca_file: None,
                    timeouts: Timeouts::of(&config.delivery),
                }
            }
            _ => StoreEndpoint {
                base: upstream.endpoint.clone().unwrap_or_default(),
                address: upstream.address,
                region: upstream.effective_region().unwrap_or_default().to_owned(),
                key,
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
        let (upstream, shared) = (upstream.clone(), Arc::clone(shared));
        Ok(client.with_key_kept_by(KeyKeeper {
            source: Arc::new(move || upstream_key(&upstream).map_err(|error| error.to_string())),
            every: config.delivery.credentials_refresh.get(),
            told: Arc::new(move |read| shared.credential_read(read)),
        }))
    }
}

/// The names of the lanes of a configuration, those of copies among them.
pub(super) fn lane_names(config: &Config) -> impl Iterator<Item = (&ProjectName, LogstoreName)> {
    config.projects.iter().flat_map(|project| {
        project.logstores.iter().flat_map(move |logstore| {
            let also = project.also_of(logstore);
            let copy = also.and_then(|also| logstore.name.copy_for(also).ok());
            let names = std::iter::once(logstore.name.clone()).chain(copy);
            names.map(move |name| (&project.name, name))
        })
    })
}

/// Opens the logs of lanes that `wanted` asks for, in the order of the lanes. After an error those that
/// were opened are closed again.
pub(super) fn open_logs(
    spool: &OpenSpool,
    config: &Config,
    lanes: &mut [LaneSpec],
    wanted: impl Fn(&LaneSpec) -> bool,
) -> Result<(), StartError> {
    let mut failure = None;
    for lane in lanes.iter_mut().filter(|lane| wanted(lane)) {
        let Some(logstore) = config.logstore_of_lane(&lane.project, &lane.logstore) else {
            continue;
        };
        match spool.log(config, (&lane.project, &lane.logstore), logstore) {
            Ok(log) => lane.log = Some(log),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    let Some(failure) = failure else {
        return Ok(());
    };
    close_logs(spool, lanes);
    Err(failure)
}

/// Closes the logs of lanes that were not started.
pub(super) fn close_logs(spool: &OpenSpool, lanes: &mut [LaneSpec]) {
    for lane in lanes {
        if let Some(mut log) = lane.log.take() {
            log.leave();
            spool.directory.closed(&lane.project, &lane.logstore);
        }
    }
}

/// All that a part of the configuration says, to be compared.
fn print_of(of: &impl Serialize) -> String {
    serde_json::to_string(of).unwrap_or_default()
}

/// Tells two keys apart without showing either.
fn digest_of(key: &AccessKey) -> String {
    let token = key.security_token.as_ref();
    let token = token.map(|token| token.expose()).unwrap_or_default();
    digest_of_parts(&[key.id.as_bytes(), key.secret.expose(), token])
}

/// Tells what a file says from what it said before, under the same name. Whether it can be read is told
/// by whoever uses it.
fn digest_of_file(path: Option<&Path>) -> Option<String> {
    let content = std::fs::read(path?).ok()?;
    Some(digest_of_parts(&[&content]))
}

fn digest_of_parts(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let mut text = String::new();
    for byte in digest.finalize() {
        // A String takes everything.
        let _written = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(name: &str) -> String {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]);
        made.unwrap().cert.pem()
    }

    #[test]
    fn another_authority_under_the_same_name_makes_a_new_client() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, authority("one")).unwrap();
        let text = format!(
            "[[upstream]]\nname = \"s\"\nkind = \"sls\"\nendpoint = \"https://store.example\"\nregion = \"r\"\naccess_key_id = \"a\"\naccess_key_secret = \"env:PATH\"\nca_file = \"{}\"\n[[project]]\nname = \"shop\"\nupstream = \"s\"\n[[project.logstore]]\nname = \"web\"\n",
            path.display()
        );
        let config: Config = toml::from_str(&text).unwrap();
        let metrics = Metrics::new();
        let lanes = |before: &Stores| {
            let maker = LaneMaker {
                config: &config,
                metrics: &metrics,
                embedded: None,
                before,
            };
            maker.lanes().unwrap()
        };
        let one = lanes(&Stores::default());
        let same = lanes(&one.stores);
        std::fs::write(&path, authority("two")).unwrap();
        let other = lanes(&same.stores);
        let client = |parts: &LaneParts| Arc::clone(parts.clients.values().next().unwrap());
        assert!(Arc::ptr_eq(&client(&one), &client(&same)));
        assert!(!Arc::ptr_eq(&client(&same), &client(&other)));
        let way = |parts: &LaneParts| parts.lanes.first().unwrap().way.clone();
        assert_eq!(way(&one), way(&same));
        assert_ne!(way(&same), way(&other));
    }
}
