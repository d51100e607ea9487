//! Delivering what waits in the spool of a node that does not run: the pipeline and its stores, and
//! nothing that listens to clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::lanes::{LaneParts, pipeline_rules};
use super::upstreams::reachable;
use super::{Running, StartError, Stopped, aside, make_data_dir};
use crate::config::{Config, UpstreamKind};
use crate::pipeline::quarantine::Quarantine;
use crate::pipeline::{Pipeline, Remaining};
use crate::telemetry::Metrics;

/// Time to find out whether the embedded logstore runs in another process.
const LOOK: Duration = Duration::from_secs(2);

/// A pipeline that takes nothing and delivers what is on disk.
#[derive(Debug)]
pub struct Draining {
    running: Running,
    quarantine: Arc<Quarantine>,
}

/// Starts to deliver what waits on disk for the logstores of a configuration. An embedded logstore
/// that does not run is opened for it.
///
/// # Errors
/// When the spool, the quarantine or a store is in use by another process or cannot be opened, or a
/// key cannot be read.
pub async fn drain(config: &Config) -> Result<Draining, StartError> {
    make_data_dir(config)?;
    let mut running = Running::nothing();
    let embedded = |it: &crate::config::Upstream| it.kind == UpstreamKind::Embedded;
    if config.upstreams.iter().any(embedded) && !store_runs(config).await {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| StartError::Socket {
            name: "logstore".to_owned(),
            source,
        })?;
        running.start_logstore(config, listener)?;
    }
    let LaneParts { lanes, spool, .. } = running.lane_specs(config)?;
    running.spool = spool;
    let quarantine = aside::open(config, &running.metrics)?;
    let rules = pipeline_rules(config, &running.metrics, Some(&quarantine));
    running.pipeline = Some(Pipeline::start(lanes, rules));
    Ok(Draining {
        running,
        quarantine,
    })
}

async fn store_runs(config: &Config) -> bool {
    let connecting = TcpStream::connect(reachable(config.embedded.listen));
    matches!(tokio::time::timeout(LOOK, connecting).await, Ok(Ok(_)))
}

impl Draining {
    /// What is still to be delivered.
    #[must_use]
    pub fn remaining(&self) -> Remaining {
        let pipeline = self.running.pipeline.as_ref();
        pipeline.map(Pipeline::remaining).unwrap_or_default()
    }

    /// What became of the events so far, and after the end as well.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.running.metrics)
    }

    /// Waits until a part of the pipeline dies, which is a bug.
    pub async fn failed(&self) {
        self.running.failed().await;
    }

    /// Ends: what is not delivered by then stays on disk.
    pub async fn stop(self, deadline: Duration) -> Stopped {
        let until = Instant::now() + deadline;
        let mut stopped = self.running.stop(deadline, false).await;
        stopped.unwritten += aside::finish(self.quarantine, until).await;
        stopped
    }
}
