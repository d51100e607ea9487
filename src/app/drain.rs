//! Delivering what waits in the spool of a node that does not run: the pipeline and its stores, and
//! nothing that listens to clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::books::BookKeeper;
use super::lanes::{LaneParts, Stores, open_logs, pipeline_rules};
use super::upstreams::reachable;
use super::{Running, StartError, Stopped, aside, make_data_dir, spool};
use crate::config::{Config, UpstreamKind};
use crate::foundation::names::{LogstoreName, ProjectName};
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

/// Starts to deliver what waits on disk for the logstores of a configuration, of those lanes that are
/// `wanted`: a logstore, or what takes its events for a second destination. An embedded logstore that does
/// not run is opened for it. `has_books`: the spool is that of the data directory, whose books this is in.
///
/// # Errors
/// When the spool, the quarantine or a store is in use by another process or cannot be opened, or a
/// key cannot be read.
pub async fn drain(
    config: &Config,
    wanted: impl Fn(&ProjectName, &LogstoreName) -> bool,
    has_books: bool,
) -> Result<Draining, StartError> {
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
    let stores = Stores::default();
    let LaneParts { mut lanes, .. } = running.lanes_of(&narrowed(config, &wanted), &stores)?;
    lanes.retain(|lane| wanted(&lane.project, &lane.logstore));
    // By the whole configuration: what is not wanted is configured all the same.
    running.spool = spool::open(config)?.map(Arc::new);
    if let Some(spool) = &running.spool {
        open_logs(spool, config, &mut lanes, |_| true)?;
    }
    let quarantine = aside::open(config, &running.metrics)?;
    let rules = pipeline_rules(config, &running.metrics, Some(&quarantine));
    running.pipeline = Some(Arc::new(Pipeline::start(lanes, rules)));
    if has_books {
        running.books = Some(BookKeeper::start(config, &running.metrics, &running.tasks));
    }
    Ok(Draining {
        running,
        quarantine,
    })
}

/// The configuration with the logstores alone that have a lane that is wanted, so that nothing is needed
/// of stores that get nothing.
fn narrowed(config: &Config, wanted: impl Fn(&ProjectName, &LogstoreName) -> bool) -> Config {
    let mut config = config.clone();
    for project in &mut config.projects {
        let mut logstores = std::mem::take(&mut project.logstores);
        logstores.retain(|logstore| {
            let copy = project.also_of(logstore);
            let copy = copy.and_then(|upstream| logstore.name.copy_for(upstream).ok());
            wanted(&project.name, &logstore.name)
                || copy.is_some_and(|copy| wanted(&project.name, &copy))
        });
        project.logstores = logstores;
    }
    config
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
        pipeline.map(|it| it.remaining()).unwrap_or_default()
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
