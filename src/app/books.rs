//! The books, written down while the service runs and when it ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::telemetry::Metrics;

/// How old what is written may be.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long the end waits for the disk.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Writes the books.
#[derive(Debug)]
pub(super) struct BookKeeper {
    data_dir: PathBuf,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    keeping: JoinHandle<()>,
}

impl BookKeeper {
    /// Takes up the books of earlier lives, and writes those of this one from now on: at once, so that a kill
    /// is seen as one. Blocks on the disk. A disk that does not give or take them stops nothing.
    pub(super) fn start(config: &Config, metrics: &Arc<Metrics>, tasks: &TaskTracker) -> Self {
        let (data_dir, metrics) = (config.data_dir.clone(), Arc::clone(metrics));
        if let Err(error) = metrics.keep_books(&data_dir, false) {
            tracing::warn!(%error, "the books cannot be written down; it is tried again: without it a restart goes on from what is there");
        }
        let stop = CancellationToken::new();
        let keeping = keep(data_dir.clone(), Arc::clone(&metrics), stop.clone());
        Self {
            keeping: tasks.spawn(keeping),
            data_dir,
            metrics,
            stop,
        }
    }

    /// Writes them for the last time. Everything else has ended. A disk that does nothing is not waited for:
    /// to the next life this one was killed.
    pub(super) async fn finish(self) {
        self.stop.cancel();
        let last = async move {
            let ended = self.keeping.await;
            let Self {
                data_dir, metrics, ..
            } = self;
            let write = tokio::task::spawn_blocking(move || metrics.keep_books(&data_dir, true));
            ended.and(write.await)
        };
        match tokio::time::timeout(LAST_WRITE, last).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                tracing::warn!(%error, "the books could not be written at the end")
            }
            Ok(Err(_)) | Err(_) => tracing::warn!("the books could not be written at the end"),
        }
    }
}

/// Writes the books until told to stop, as often as they have changed.
async fn keep(data_dir: PathBuf, metrics: Arc<Metrics>, stop: CancellationToken) {
    let (mut well, mut last) = (true, None);
    while tokio::time::timeout(INTERVAL, stop.cancelled())
        .await
        .is_err()
    {
        let (data_dir, metrics) = (data_dir.clone(), Arc::clone(&metrics));
        let before = last.take();
        let write = tokio::task::spawn_blocking(move || {
            let now = Some(metrics.books());
            match now == before {
                // Nothing has happened.
                true => Ok(now),
                false => metrics.keep_books(&data_dir, false).map(|()| now),
            }
        });
        let written = write.await.unwrap_or_else(|error| Err(error.into()));
        if let (true, Err(error)) = (well, &written) {
            tracing::warn!(%error, "the books cannot be written down; it is tried again");
        }
        well = written.is_ok();
        last = written.ok().flatten();
    }
}
