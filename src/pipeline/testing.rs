//! What the tests of this module share.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::time::Instant;

use super::admission::{Admission, AdmissionRules};
use super::batch::SealedBatch;
use super::destination::{Destination, Sls};
use super::lane::Lane;
use super::open::Safety;
use super::quarantine::Quarantine;
use super::queue::SealedQueue;
use super::receipt::Receipt;
use super::spool::{Files, Log as SpoolLog, LogRules, Space, SpoolDirectory};
use super::{LaneSpec, Pipeline, PipelineRules, Route, StopReport, Upstream};
use crate::config::{
    Ack, Batch, Breaker, Delivery, Limits, Overload, ShardBy, SignatureVersion, Spool,
};
use crate::event::{EventGroup, LOGS_TAG, Priority, Refusal};
use crate::foundation::budget::Budget;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::secret::Secret;
use crate::foundation::units::{ByteSize, Span};
use crate::foundation::wire;
use crate::logstore::client::{OnResend, StoreClient, StoreEndpoint, Timeouts};
use crate::logstore::codec::Codec;
use crate::logstore::proto::{Log, LogGroup, log::Content};
use crate::logstore::signature::AccessKey;
use crate::telemetry::{LogstoreMetrics, Metrics};

/// Events that hold `names` as their only field, from one source.
pub(super) fn events<T: AsRef<[u8]>>(
    source: &str,
    names: impl IntoIterator<Item = T>,
) -> EventGroup {
    let mut group = EventGroup {
        source: source.into(),
        ..EventGroup::default()
    };
    for name in names {
        let log = Log {
            time: 1_781_510_400,
            contents: vec![Content {
                key: Bytes::from_static(b"event"),
                value: Bytes::copy_from_slice(name.as_ref()),
            }],
            time_ns: None,
        };
        wire::put_bytes(&mut group.logs, LOGS_TAG, &log.encode_to_vec());
        group.events += 1;
    }
    group
}

/// So many events of about 100 bytes.
pub(super) fn some_events(source: &str, count: usize) -> EventGroup {
    events(source, std::iter::repeat_n([b'x'; 80], count))
}

/// The names in a LogGroup that was made of [`events`].
pub(super) fn names_in(log_group: &LogGroup) -> Vec<String> {
    let name = |log: &Log| String::from_utf8(log.contents[0].value.to_vec()).unwrap();
    log_group.logs.iter().map(name).collect()
}

/// Limits that no test meets by accident.
pub(super) fn wide() -> Batch {
    Batch {
        max_bytes: ByteSize::mib(1),
        max_events: 4096,
        max_age: Span::secs(3600),
        max_open: 1000,
    }
}

/// A lane without workers.
pub(super) struct IdleLane {
    pub(super) lane: Lane,
    pub(super) metrics: Arc<LogstoreMetrics>,
}

impl IdleLane {
    pub(super) fn new(limits: &Batch, memory: u64) -> Self {
        let metrics = Arc::new(LogstoreMetrics::default());
        let rules = AdmissionRules::new(&Overload::default(), Duration::from_secs(15));
        let admission = Admission::new(Budget::new(memory), 1, rules, Arc::clone(&metrics));
        let safety = |_: &Arc<SealedQueue>| Safety::default();
        let lane = Lane::new(names(), admission, limits, Arc::clone(&metrics), safety);
        Self { lane, metrics }
    }

    /// Submits as the front does: with a lease of what came in.
    pub(super) fn submit(&self, group: &EventGroup) {
        let lease = self.lane.budget().lease(group.wire_bytes() as u64).unwrap();
        assert!(matches!(self.lane.submit(group, lease), Ok(Receipt::Held)));
    }

    /// Takes the next sealed batch, as delivered.
    pub(super) async fn next(&self) -> Option<LogGroup> {
        let SealedBatch {
            raw, held, lease, ..
        } = self.lane.sealed().pop().await?;
        assert!(lease.bytes() >= raw.len() as u64, "a batch is paid for");
        held.delivered();
        Some(LogGroup::decode(raw.as_slice()).unwrap())
    }

    /// Closes the lane and takes all.
    pub(super) async fn rest(&self) -> Vec<LogGroup> {
        self.lane.close();
        let mut all = Vec::new();
        while let Some(log_group) = self.next().await {
            all.push(log_group);
        }
        all
    }
}

/// How a pipeline is set up.
pub(super) struct Setup {
    pub(super) batch: Batch,
    pub(super) delivery: Delivery,
    pub(super) limits: Limits,
    pub(super) overload: Overload,
    pub(super) codec: Codec,
    pub(super) quarantine: Option<Arc<Quarantine>>,
    /// Shared by all lanes; else each has its own.
    pub(super) upstream: Option<Arc<Upstream>>,
    /// A second store for all lanes.
    pub(super) fallback: Option<SocketAddr>,
    pub(super) spool: Spool,
}

impl Setup {
    /// Batches are sent at once, and failures are tried again at once.
    pub(super) fn quick() -> Self {
        Self {
            batch: Batch {
                max_age: Span::millis(10),
                ..wide()
            },
            delivery: Delivery {
                concurrency: 2,
                timeout: Span::secs(10),
                backoff_min: Span::millis(1),
                backoff_max: Span::millis(5),
                retries_per_second: 10_000,
                breaker: Breaker {
                    pause_min: Span::millis(5),
                    pause_max: Span::millis(20),
                    ..Breaker::default()
                },
                ..Delivery::default()
            },
            limits: Limits::default(),
            overload: Overload::default(),
            codec: Codec::Lz4,
            quarantine: None,
            upstream: None,
            fallback: None,
            spool: Spool::default(),
        }
    }

    /// The rules that say so.
    pub(super) fn with_rules<T>(&self, with: impl FnOnce(PipelineRules<'_>) -> T) -> T {
        with(PipelineRules {
            batch: &self.batch,
            delivery: &self.delivery,
            limits: &self.limits,
            overload: &self.overload,
            metrics: &Metrics::new(),
            quarantine: self.quarantine.as_ref(),
            spool: &self.spool,
            spans: None,
        })
    }

    /// The same, but a batch stays open until something else seals it.
    pub(super) fn never_old() -> Self {
        Self {
            batch: wide(),
            ..Self::quick()
        }
    }
}

/// A pipeline with one lane for each store.
pub(super) struct Running {
    pub(super) pipeline: Pipeline,
    metrics: Vec<Arc<LogstoreMetrics>>,
}

impl Running {
    pub(super) fn start(setup: &Setup, stores: &[SocketAddr]) -> Self {
        let specs = stores.iter().map(|store| lane_to(*store, setup)).collect();
        Self::of(setup, specs)
    }

    /// One with these lanes.
    pub(super) fn of(setup: &Setup, specs: Vec<LaneSpec>) -> Self {
        let metrics = specs.iter().map(|spec| Arc::clone(&spec.metrics)).collect();
        let pipeline = setup.with_rules(|rules| Pipeline::start(specs, rules));
        Self { pipeline, metrics }
    }

    /// What is counted for one lane.
    pub(super) fn metrics(&self, lane: usize) -> Arc<LogstoreMetrics> {
        Arc::clone(&self.metrics[lane])
    }

    /// Submits as the front does.
    pub(super) fn submit(&self, lane: usize, group: &EventGroup) -> Result<(), Refusal> {
        self.hand_over(lane, group).map(|_| ())
    }

    /// The same, with what says when the events are safe.
    pub(super) fn hand_over(&self, lane: usize, group: &EventGroup) -> Result<Receipt, Refusal> {
        let lane = &self.pipeline.lanes()[lane];
        let bytes = group.wire_bytes() as u64;
        lane.enter(bytes, Priority::High, Priority::High)?;
        let lease = lane.admit(bytes, Priority::High)?;
        lane.submit(group, lease)
    }

    /// Waits until `condition` holds.
    pub(super) async fn until(&self, condition: impl Fn() -> bool) {
        let wait = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait)
            .await
            .unwrap();
    }

    /// Stops within `wait`.
    pub(super) async fn stop(self, wait: Duration) -> StopReport {
        self.pipeline.stop(Instant::now() + wait).await
    }
}

/// A lane that answers from memory and has no disk.
pub(super) fn lane_to(store: SocketAddr, setup: &Setup) -> LaneSpec {
    let upstream = match &setup.upstream {
        Some(upstream) => Arc::clone(upstream),
        None => Upstream::new("store", &setup.delivery, Arc::default()),
    };
    let (project, logstore) = names();
    LaneSpec {
        project,
        logstore,
        store: route_to(store, upstream, setup),
        fallback: setup.fallback.map(|store| {
            let upstream = Upstream::new("fallback", &setup.delivery, Arc::default());
            route_to(store, upstream, setup)
        }),
        codec: setup.codec,
        shard_by: ShardBy::Any,
        weight: 1,
        metrics: Arc::default(),
        ack: Ack::Memory,
        log: None,
        also: None,
        way: String::new(),
    }
}

fn route_to(store: SocketAddr, upstream: Arc<Upstream>, setup: &Setup) -> Route {
    let client = StoreClient::new(StoreEndpoint {
        base: format!("http://{store}"),
        address: Some(store),
        region: "local".to_owned(),
        key: AccessKey {
            id: "tollgate".to_owned(),
            secret: Secret::new("a secret for tests"),
            security_token: None,
        },
        signature: SignatureVersion::V4,
        ca_file: None,
        timeouts: Timeouts::of(&setup.delivery),
    });
    let (project, logstore) = names();
    let part = upstream.part_of(&project);
    Route {
        destination: Arc::new(Destination::Sls(Sls {
            client: Arc::new(client.unwrap()),
            project,
            logstore,
            on_resend: OnResend::default(),
        })),
        upstream,
        project: Some(part),
    }
}

/// The log of a lane on a disk, with no more room than `max_bytes`.
pub(super) fn log_on(
    files: Arc<dyn Files>,
    folder: &Path,
    max_bytes: u64,
) -> (SpoolDirectory, SpoolLog) {
    let space = Arc::new(Space::new(u64::MAX, 0));
    let directory = SpoolDirectory::open(files, &folder.join("spool"), space, None).unwrap();
    let rules = LogRules {
        max_bytes,
        ..LogRules::default()
    };
    let (project, logstore) = names();
    let log = directory.log(&project, &logstore, rules).unwrap();
    (directory, log)
}

pub(super) fn names() -> (ProjectName, LogstoreName) {
    let project = ProjectName::new("web").unwrap();
    (project, LogstoreName::new("clicks").unwrap())
}
