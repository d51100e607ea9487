//! The node as a whole, for the admin API.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, TryLockError};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::control::Control;
use super::spool::{OpenSpool, spool_dir, spool_keys};
use super::trial::explained;
use super::{Addresses, Trial, TrialRequest, TrialSetup};
use crate::admin::{
    ConfigView, DrainState, ExplainOrder, Explained, ListenerState, LogstoreState, MemoryState,
    NodeControl, NodeError, NodeState, Readiness, SpoolLane, SpoolPage, SpoolPlace, SpoolPurged,
    SpoolReport,
};
use crate::config::Config;
use crate::foundation::clock;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::pipeline::Pipeline;
use crate::pipeline::spool::{FoundLane, OpenError, RealFiles, SpoolView};
use crate::telemetry::Metrics;

/// The node as a whole.
pub(super) struct RunningNode {
    pub(super) addresses: Addresses,
    pub(super) control: Arc<Control>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) spool: Option<Arc<OpenSpool>>,
    pub(super) metrics: Arc<Metrics>,
    /// When it was started, unix seconds.
    pub(super) started: u64,
    /// Held while a request is explained, or a spool read: both take the disk's time, and memory.
    pub(super) looking: Mutex<()>,
}

impl RunningNode {
    fn alone(&self) -> Result<std::sync::MutexGuard<'_, ()>, NodeError> {
        match self.looking.try_lock() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(NodeError::Conflict(
                "another call of this kind is under way. Try again in a moment.".to_owned(),
            )),
        }
    }

    fn listeners(&self) -> Vec<ListenerState> {
        let Addresses {
            admin, logstore, ..
        } = &self.addresses;
        let ingest = self.control.edge().addresses();
        let ingest = ingest.iter().map(|(name, at)| (name.as_str(), Some(*at)));
        let all = ingest.chain([("admin", *admin), ("logstore", *logstore)]);
        all.filter_map(|(name, address)| {
            Some(ListenerState {
                name: name.to_owned(),
                address: address?.to_string(),
            })
        })
        .collect()
    }

    fn view(&self, config: &Config) -> Result<SpoolView, NodeError> {
        if self.spool.is_none() {
            let message = "this node has no spool. Set spool.enabled, and restart.";
            return Err(NodeError::NotFound(message.to_owned()));
        }
        let keys = spool_keys(config);
        let keys = keys.map_err(|error| NodeError::Unavailable(error.to_string()))?;
        let dir = spool_dir(config);
        Ok(SpoolView::new(Arc::new(RealFiles), &dir, keys))
    }
}

impl RunningNode {
    fn spool_lane(&self, config: &Config, lane: &FoundLane) -> SpoolLane {
        let configured = has(config, lane);
        // What is not configured has no cells, and gets none.
        let cells = configured.then(|| {
            let (project, logstore) = (lane.project.as_str(), lane.logstore.as_str());
            self.metrics.logstore(project, logstore)
        });
        let cells = cells.as_deref();
        SpoolLane {
            project: lane.project.to_string(),
            logstore: lane.logstore.to_string(),
            configured,
            segments: lane.segments,
            bytes: lane.bytes,
            part: cells.map(|it| it.spool.part.get()),
            waiting: cells.map(|it| it.spool.waiting.get()),
            held: cells.map(|it| it.events_held.get()),
            recovering: cells.is_some_and(|it| it.spool.recovering.get() > 0),
        }
    }
}

fn has(config: &Config, lane: &FoundLane) -> bool {
    let known = config.logstore_of_lane(&lane.project, &lane.logstore);
    known.is_some()
}

fn names(project: &str, logstore: &str) -> Result<(ProjectName, LogstoreName), NodeError> {
    let invalid = |error: &dyn std::fmt::Display| NodeError::Invalid(format!("{error}."));
    let project = ProjectName::new(project).map_err(|error| invalid(&error))?;
    let logstore = LogstoreName::of_lane(logstore).map_err(|error| invalid(&error))?;
    Ok((project, logstore))
}

fn unreadable(error: &std::io::Error) -> NodeError {
    NodeError::Unavailable(format!("the spool cannot be read: {error}."))
}

impl NodeControl for RunningNode {
    fn state(&self) -> NodeState {
        let memory = self.pipeline.memory();
        let lanes = self.pipeline.lanes();
        let logstores = lanes.iter().map(|lane| {
            let (project, logstore) = (lane.project().as_str(), lane.logstore().as_str());
            let cells = self.metrics.logstore_or_new(project, logstore);
            LogstoreState {
                project: project.to_owned(),
                logstore: logstore.to_owned(),
                memory: MemoryState {
                    used: lane.budget().used(),
                    limit: lane.budget().allowed(),
                },
                held: cells.events_held.get(),
                on_disk: cells.spool.waiting.get(),
            }
        });
        NodeState {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: env!("TOLLGATE_COMMIT").to_owned(),
            pid: std::process::id(),
            started: self.started,
            uptime: clock::unix_seconds().saturating_sub(self.started),
            generation: self.control.generation(),
            loaded: self.metrics.configuration.loaded.get(),
            ready: self.readiness.get(),
            draining: self.readiness.is_draining(),
            listeners: self.listeners(),
            connections: self.metrics.edge.open.get(),
            tasks: Handle::current().metrics().num_alive_tasks() as u64,
            memory: MemoryState {
                used: memory.used(),
                limit: memory.limit(),
            },
            logstores: logstores.collect(),
        }
    }

    fn config(&self) -> ConfigView {
        ConfigView {
            generation: self.control.generation(),
            config: serde_json::to_value(&*self.control.running()).unwrap_or_default(),
            overridden: self.control.overridden().to_vec(),
        }
    }

    fn drained(&self) -> DrainState {
        let remaining = self.pipeline.remaining();
        let connections = self.metrics.edge.open.get();
        DrainState {
            draining: self.readiness.is_draining(),
            ready: self.readiness.get(),
            connections,
            held: remaining.held,
            on_disk: remaining.waiting,
            empty: connections == 0
                && remaining.held == 0
                && remaining.waiting == 0
                && !remaining.recovering,
        }
    }

    fn drain(&self, begin: bool) -> DrainState {
        self.readiness.drain(begin);
        self.metrics.drain.hold(begin);
        self.drained()
    }

    fn explain(&self, order: &ExplainOrder) -> Result<Explained, NodeError> {
        let _alone = self.alone()?;
        let invalid = |error: &dyn std::fmt::Display| NodeError::Invalid(format!("{error}."));
        let address = match &order.address {
            Some(address) => address.parse().map_err(|error| invalid(&error))?,
            None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let method = order.method.as_deref().unwrap_or("POST");
        let body = Bytes::from(order.body.clone());
        let request = TrialRequest::new(method, &order.target, &order.headers, body);
        let mut request = request.map_err(|error| invalid(&error))?;
        request = request.from(address, order.secure);
        if let Some(at) = order.at {
            request = request.at(at.saturating_mul(1000));
        }
        let config = self.control.running();
        let setup = TrialSetup {
            data_dir: Some(&config.data_dir),
            limits: true,
            fetch: false,
            stand_ins: false,
        };
        let answer = Handle::current().block_on(async {
            let mut trial = Trial::start(&config, setup).await?;
            Ok::<_, super::StartError>(trial.ask(request).await)
        });
        let answer = answer.map_err(|error| NodeError::Unavailable(format!("{error}.")))?;
        Ok(explained(&answer))
    }

    fn spool(&self, after: Option<&str>, limit: usize) -> Result<SpoolPage, NodeError> {
        let config = self.control.running();
        let lanes = self.view(&config)?.lanes();
        let mut lanes = lanes.map_err(|error| unreadable(&error))?;
        if let Some(after) = after {
            let (project, logstore) = after.split_once('/').ok_or_else(|| {
                NodeError::Invalid("cursor is not what an earlier call told.".to_owned())
            })?;
            lanes.retain(|it| (it.project.as_str(), it.logstore.as_str()) > (project, logstore));
        }
        let more = lanes.len() > limit;
        lanes.truncate(limit);
        let last = lanes.last().filter(|_| more);
        Ok(SpoolPage {
            next: last.map(|lane| format!("{}/{}", lane.project, lane.logstore)),
            lanes: lanes
                .iter()
                .map(|lane| self.spool_lane(&config, lane))
                .collect(),
        })
    }

    fn verify(&self, project: &str, logstore: &str) -> Result<SpoolReport, NodeError> {
        let _alone = self.alone()?;
        let (project, logstore) = names(project, logstore)?;
        let view = self.view(&self.control.running())?;
        let lanes = view.lanes().map_err(|error| unreadable(&error))?;
        let of_this = |it: &FoundLane| it.project == project && it.logstore == logstore;
        if !lanes.iter().any(of_this) {
            let message = format!("nothing of {logstore} in {project} is in the spool.");
            return Err(NodeError::NotFound(message));
        }
        let report = view.lane(&project, &logstore).verify();
        let report = report.map_err(|error| unreadable(&error))?;
        let segments = &report.segments;
        Ok(SpoolReport {
            project: project.to_string(),
            logstore: logstore.to_string(),
            damaged: report.is_damaged(),
            events: report.waiting_events(),
            bundles: report.waiting_bundles,
            segments: segments.len() as u64,
            bytes: segments.iter().map(|it| it.bytes).sum(),
            records: segments.iter().map(|it| it.records).sum(),
            damaged_records: segments.iter().map(|it| it.damaged_records).sum(),
            locked: segments.iter().filter(|it| it.locked).count() as u64,
        })
    }

    fn purge(&self, place: &SpoolPlace) -> Result<SpoolPurged, NodeError> {
        let (project, logstore) = names(&place.project, &place.logstore)?;
        let config = self.control.running();
        let lanes = self.view(&config)?.lanes();
        let lanes = lanes.map_err(|error| unreadable(&error))?;
        let of_this = |it: &FoundLane| it.project == project && it.logstore == logstore;
        let (Some(spool), true) = (&self.spool, lanes.iter().any(of_this)) else {
            let message = format!("nothing of {logstore} in {project} is in the spool.");
            return Err(NodeError::NotFound(message));
        };
        match spool.directory.purge(&project, &logstore) {
            Ok(deleted) => {
                let metrics = &self.metrics;
                metrics.note_purged(project.as_str(), logstore.as_str());
                Ok(SpoolPurged {
                    segments: deleted.segments,
                    bytes: deleted.bytes,
                })
            }
            Err(OpenError::Twice(..)) => Err(NodeError::Conflict(format!(
                "{logstore} in {project} is in use. Take it out of the configuration and reload, or stop the node and use tollgate spool purge."
            ))),
            Err(error) => Err(NodeError::Unavailable(format!("{error}."))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_anything_is_read() {
        assert!(names("shop", "clicks").is_ok());
        for (project, logstore) in [
            ("..", "clicks"),
            ("shop", "../../etc"),
            ("", ""),
            ("a/b", "c"),
        ] {
            assert!(names(project, logstore).is_err(), "{project} {logstore}");
        }
    }
}
