//! The HTTP API of the embedded logstore: the part of SLS that producers, consumers and people need.
//!
//! Promise: what the official SDKs send is understood, and what they get they can read; every answer
//! has a request id and the server's time, and every error a JSON body. When it cannot keep up: a
//! full memory budget or a full queue of writes answers 503 `ServerBusy`; reads wait their turn.
//!
//! Every request must be signed: with the store's own key, which may do everything, or with one that
//! [`Access`] knows, for what that lets it do. The store is lenient with times and keys of events:
//! the rules for those are the front's.
//!
//! Not here: consumer groups, filters while pulling, SQL, changing logstores, and metrics.

mod answer;
mod body;
mod caller;
mod describe;
mod error;
mod json;
mod logs;
mod put;
mod route;
mod shards;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::request::Parts;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use tokio::sync::Semaphore;

pub(super) use self::answer::Answer;
use self::body::{Leased, MAX_BODY};
use self::caller::Caller;
pub(super) use self::error::HangUp;
use self::error::{ApiError, Failure};
use self::put::Write;
use self::route::{Operation, Parameters, Target};
use super::access::Access;
use super::faults::FaultInjector;
use super::store::{Logstore, Shard, Store};
use crate::config::Embedded;
use crate::foundation::budget::Budget;
use crate::logstore::signature::AccessKey;

/// Memory for bodies, writes that wait, and answers: a dozen of the largest requests at once.
const MEMORY: u64 = 128 << 20;
/// Reads at once. Each may hold some tens of MiB while it works, and disks gain little from more.
const READERS: usize = 4;
/// Largest body of a request that is not a write.
const MAX_QUESTION: usize = 64 << 10;

/// What a request needs to be answered.
pub(super) struct Api {
    store: Arc<Store>,
    key: AccessKey,
    access: Option<Arc<dyn Access>>,
    region: String,
    retention: Duration,
    drops_repeats: bool,
    faults: FaultInjector,
    pub(super) budget: Arc<Budget>,
    readers: Arc<Semaphore>,
}

/// A request that may be answered, but for its body.
#[derive(Clone, Copy)]
struct Asked<'a> {
    project: &'a str,
    head: &'a Parts,
    parameters: &'a Parameters<'a>,
    caller: &'a Caller,
}

impl Api {
    pub(super) fn new(
        store: Arc<Store>,
        config: &Embedded,
        key: AccessKey,
        access: Option<Arc<dyn Access>>,
    ) -> Self {
        Self {
            store,
            key,
            access,
            region: config.region.clone(),
            retention: config.retention.get(),
            drops_repeats: config.drop_repeats.as_secs() > 0,
            faults: FaultInjector::new(config.faults.clone()),
            budget: Budget::new(MEMORY),
            readers: Arc::new(Semaphore::new(READERS)),
        }
    }

    /// Answers a request.
    ///
    /// # Errors
    /// [`HangUp`] when a fault says so.
    pub(super) async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        client: IpAddr,
    ) -> Result<Answer, HangUp> {
        let (head, mut body) = request.into_parts();
        let mut answer = match self.respond(&head, &mut body, client).await {
            Ok(answer) => answer,
            Err(Failure::HangUp(hang_up)) => return Err(hang_up),
            Err(Failure::Error(error)) => {
                body::discard(&mut body).await;
                answer::error(&error)
            }
        };
        answer::sign_off(&mut answer);
        Ok(answer)
    }

    /// The story of a request: where to, by whom, what, and the answer.
    async fn respond(
        self: &Arc<Self>,
        head: &Parts,
        body: &mut Incoming,
        client: IpAddr,
    ) -> Result<Answer, Failure> {
        let project = project(head)?;
        if self.store.project(project).is_none() {
            return Err(ApiError::no_project(project).into());
        }
        let query = head.uri.query().unwrap_or("");
        let parameters = Parameters::read(query);
        let operation = Operation::of(&head.method, head.uri.path(), &parameters)?;
        let caller = self.identify(head, &operation, project, client)?;
        let cap = if operation.writes() {
            MAX_BODY
        } else {
            MAX_QUESTION
        };
        let body = body::read(body, cap, &self.budget).await?;
        caller.check_body(&body.bytes)?;
        let asked = Asked {
            project,
            head,
            parameters: &parameters,
            caller: &caller,
        };
        self.perform(operation, &asked, body).await
    }

    async fn perform(
        self: &Arc<Self>,
        operation: Operation<'_>,
        asked: &Asked<'_>,
        body: Leased,
    ) -> Result<Answer, Failure> {
        let Asked {
            project,
            head,
            parameters,
            caller,
        } = *asked;
        let logstore = |name| self.logstore(project, name);
        let shard = |name, number| self.shard(project, name, number);
        Ok(match operation {
            Operation::PutLogs(name, _) | Operation::Track(name) => {
                let (target, track) = match operation {
                    Operation::PutLogs(_, target) => (target, false),
                    _ => (Target::Any, true),
                };
                let logstore = logstore(name)?;
                let write = Write {
                    logstore: &logstore,
                    target,
                    track,
                    headers: &head.headers,
                    parameters,
                    caller,
                };
                return put::put_logs(self, &write, body).await;
            }
            Operation::PullLogs(name, number) => {
                let shard = shard(name, number)?;
                shards::pull(self, &shard, &head.method, &head.headers, parameters).await?
            }
            Operation::GetCursor(name, number) => {
                shards::cursor(self, &shard(name, number)?, parameters).await?
            }
            Operation::GetCursorTime(name, number) => {
                shards::cursor_time(self, &shard(name, number)?, parameters).await?
            }
            Operation::GetLogs(name) => logs::get_logs(self, &logstore(name)?, parameters).await?,
            Operation::GetLogsV2(name) => {
                logs::get_logs_v2(self, &logstore(name)?, &body.bytes).await?
            }
            Operation::GetHistograms(name) => {
                logs::histograms(self, &logstore(name)?, parameters).await?
            }
            Operation::ListShards(name) => shards::list(&*logstore(name)?)?,
            Operation::GetLogstore(name) => describe::logstore(self, &*logstore(name)?)?,
            Operation::ListLogstores => describe::logstores(self, project, parameters)?,
            Operation::GetProject => describe::project(self, project)?,
        })
    }

    fn logstore(&self, project: &str, name: &str) -> Result<Arc<Logstore>, ApiError> {
        self.store
            .logstore(project, name)
            .ok_or_else(|| ApiError::no_logstore(name))
    }

    fn shard(&self, project: &str, name: &str, number: &str) -> Result<Arc<Shard>, ApiError> {
        let logstore = self.logstore(project, name)?;
        number
            .parse::<usize>()
            .ok()
            .and_then(|number| logstore.shards.get(number).map(Arc::clone))
            .ok_or_else(|| ApiError::no_shard(number))
    }

    /// Reads from disk on a thread that may wait, when its turn has come.
    async fn blocking<T, E>(
        self: &Arc<Self>,
        read: impl FnOnce(&Store) -> Result<T, E> + Send + 'static,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        E: Into<ApiError> + Send + 'static,
    {
        let broken_off = |_| ApiError::internal("the read was broken off");
        let readers = Arc::clone(&self.readers);
        let permit = readers
            .acquire_owned()
            .await
            .map_err(|_| ApiError::internal("the store takes no more reads"))?;
        let store = Arc::clone(&self.store);
        let reading = tokio::task::spawn_blocking(move || {
            // Held by the read itself: it goes on when the client leaves.
            let _permit = permit;
            read(&store)
        });
        reading.await.map_err(broken_off)?.map_err(Into::into)
    }
}

/// The project that a request names: the first label of its host.
fn project(head: &Parts) -> Result<&str, ApiError> {
    let host = match head.headers.get(HOST) {
        Some(value) => value.to_str().ok(),
        None => head.uri.host(),
    };
    let label = host.and_then(|host| host.split(['.', ':']).next());
    label.filter(|label| !label.is_empty()).ok_or_else(|| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "InvalidHost",
            "the Host header must be {project}.{endpoint}",
        )
    })
}
