//! The embedded logstore: the API of SLS on local disk.
//!
//! Promise: an event whose write was answered 200 can be read back by any SDK, also after a kill;
//! with `sync = "disk"` also after power loss. When it cannot keep up it answers 503 `ServerBusy` at
//! once. It serves development, tests and small sites; it is one process on one disk, without
//! replicas, and it searches without an index.

mod access;
mod api;
mod faults;
mod group;
pub mod query;
mod store;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::access::{Access, Admitted, StoreAction, StoreRequest};
use self::api::Api;
use self::store::Store;
pub use self::store::{OpenError, StoreError};
use crate::config::Embedded;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::serve::{Connected, ServeOptions, serve};
use crate::logstore::signature::AccessKey;
use crate::telemetry::EmbeddedMetrics;

/// Folder of the store inside the data folder.
const FOLDER: &str = "logstore";
/// Time for a request head; SDKs send theirs in one packet.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request head.
const MAX_HEADER: usize = 32 << 10;

/// The embedded logstore of a process.
pub struct EmbeddedLogstore {
    store: Arc<Store>,
    api: Arc<Api>,
    options: ServeOptions,
}

impl std::fmt::Debug for EmbeddedLogstore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedLogstore").finish_non_exhaustive()
    }
}

impl EmbeddedLogstore {
    /// Opens the store in the folder `logstore` of `data_dir`, or makes it, with these projects and
    /// their logstores. A request must be signed with `key`, which may do everything, or be let in by
    /// `access`. How its disk is stands in `metrics`. Blocks on disk.
    ///
    /// # Errors
    /// When the folder cannot be made or read, or another process has it open.
    pub fn open(
        config: &Embedded,
        data_dir: &Path,
        projects: Vec<(ProjectName, Vec<LogstoreName>)>,
        key: AccessKey,
        access: Option<Arc<dyn Access>>,
        metrics: &Arc<EmbeddedMetrics>,
    ) -> Result<Self, OpenError> {
        let folder = data_dir.join(FOLDER);
        let store = Arc::new(Store::open(&folder, config, projects, metrics)?);
        let api = Arc::new(Api::new(Arc::clone(&store), config, key, access));
        let options = ServeOptions {
            max_connections: config.max_connections,
            header_timeout: HEADER_TIMEOUT,
            write_timeout: HEADER_TIMEOUT,
            max_header: MAX_HEADER,
            peers: None,
        };
        Ok(Self {
            store,
            api,
            options,
        })
    }

    /// Has these projects and logstores too from now on. Those that it has stay as they are, also when
    /// nobody names them any more: events may be on their way to them. Blocks on disk.
    ///
    /// # Errors
    /// When a new one cannot be made. Nothing has changed then.
    pub fn have(&self, projects: Vec<(ProjectName, Vec<LogstoreName>)>) -> Result<(), StoreError> {
        self.store.have(projects)
    }

    /// Serves the API until `stop` is cancelled and the requests in flight are answered.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) {
        let api = Arc::clone(&self.api);
        let service = move |connected: Connected| {
            let api = Arc::clone(&api);
            let client = connected.address.ip().to_canonical();
            service_fn(move |request| Arc::clone(&api).handle(request, client))
        };
        serve(listener, self.options.clone(), None, service, stop).await;
    }

    /// Writes and syncs what waits, and ends the writer thread. Blocks. Dropping does the same.
    pub fn close(self) {
        self.store.close();
    }
}
