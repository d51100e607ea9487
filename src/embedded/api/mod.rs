//! The HTTP API of the embedded logstore: the part of SLS that producers, consumers and people need.
//!
//! Promise: what the official SDKs send is understood, and what they get they can read; every answer
//! has a request id and the server's time, and every error a JSON body. When it cannot keep up: a
//! full memory budget or a full queue of writes answers 503 `ServerBusy`; reads wait their turn.
//!
//! Every request must be signed with the one configured key. The store is lenient with times and
//! keys of events: the rules for those are the front's.
//!
//! Not here: consumer groups, filters while pulling, SQL, changing logstores, and metrics.

mod answer;
mod body;
mod describe;
mod error;
mod json;
mod logs;
mod put;
mod route;
mod shards;

use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::request::Parts;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use tokio::sync::Semaphore;

pub(super) use self::answer::Answer;
use self::body::{Leased, MAX_BODY};
pub(super) use self::error::HangUp;
use self::error::{ApiError, Failure};
use self::route::{Operation, Parameters};
use super::faults::FaultInjector;
use super::store::{Logstore, Shard, Store};
use crate::config::Embedded;
use crate::foundation::budget::Budget;
use crate::foundation::clock;
use crate::logstore::signature::{
    AccessKey, RequestParts, Rules, SignedBody, VerifyError, verify_head,
};

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
    region: String,
    retention: Duration,
    faults: FaultInjector,
    pub(super) budget: Arc<Budget>,
    readers: Arc<Semaphore>,
}

impl Api {
    pub(super) fn new(store: Arc<Store>, config: &Embedded, key: AccessKey) -> Self {
        Self {
            store,
            key,
            region: config.region.clone(),
            retention: config.retention.get(),
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
    ) -> Result<Answer, HangUp> {
        let (head, mut body) = request.into_parts();
        let mut answer = match self.respond(&head, &mut body).await {
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
    ) -> Result<Answer, Failure> {
        let project = project(head)?;
        if self.store.project(project).is_none() {
            return Err(ApiError::no_project(project).into());
        }
        let query = head.uri.query().unwrap_or("");
        let parameters = Parameters::read(query);
        let operation = Operation::of(&head.method, head.uri.path(), &parameters)?;
        let signed = self.check_head(head)?;
        let cap = match operation {
            Operation::PutLogs(..) => MAX_BODY,
            _ => MAX_QUESTION,
        };
        let body = body::read(body, cap, &self.budget).await?;
        signed.check(&body.bytes).map_err(ApiError::from)?;
        self.perform(operation, project, head, &parameters, body)
            .await
    }

    /// Checks the signature of the head, before the body is read. What comes back checks the body.
    fn check_head(&self, head: &Parts) -> Result<SignedBody, ApiError> {
        let parts = RequestParts {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or(""),
            headers: &head.headers,
        };
        let lookup = |id: &str, token: Option<&[u8]>| {
            if id != self.key.id {
                let key_id = id.to_owned();
                return Err(VerifyError::UnknownKey { key_id });
            }
            self.key.check_token(token)?;
            Ok(&self.key)
        };
        let verified = verify_head(&parts, clock::unix_seconds(), &Rules::default(), lookup)?;
        match verified.region {
            Some(region) if region != self.region => Err(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "SignatureNotMatch",
                format!(
                    "signed for region {}, but this store is in {}",
                    error::echo(region),
                    self.region
                ),
            )),
            _ => Ok(verified.body),
        }
    }

    async fn perform(
        self: &Arc<Self>,
        operation: Operation<'_>,
        project: &str,
        head: &Parts,
        parameters: &Parameters<'_>,
        body: Leased,
    ) -> Result<Answer, Failure> {
        let logstore = |name| self.logstore(project, name);
        let shard = |name, number| self.shard(project, name, number);
        Ok(match operation {
            Operation::PutLogs(name, target) => {
                let (logstore, headers) = (logstore(name)?, &head.headers);
                return put::put_logs(self, logstore, target, headers, parameters, body).await;
            }
            Operation::PullLogs(name, number) => {
                let shard = shard(name, number)?;
                shards::pull(self, shard, &head.method, &head.headers, parameters).await?
            }
            Operation::GetCursor(name, number) => {
                shards::cursor(self, shard(name, number)?, parameters).await?
            }
            Operation::GetCursorTime(name, number) => {
                shards::cursor_time(self, shard(name, number)?, parameters).await?
            }
            Operation::GetLogs(name) => logs::get_logs(self, logstore(name)?, parameters).await?,
            Operation::GetLogsV2(name) => {
                logs::get_logs_v2(self, logstore(name)?, &body.bytes).await?
            }
            Operation::GetHistograms(name) => {
                logs::histograms(self, logstore(name)?, parameters).await?
            }
            Operation::ListShards(name) => shards::list(logstore(name)?)?,
            Operation::GetLogstore(name) => describe::logstore(self, logstore(name)?)?,
            Operation::ListLogstores => describe::logstores(self, project, parameters)?,
            Operation::GetProject => describe::project(self, project)?,
        })
    }

    fn logstore(&self, project: &str, name: &str) -> Result<&Arc<Logstore>, ApiError> {
        self.store
            .logstore(project, name)
            .ok_or_else(|| ApiError::no_logstore(name))
    }

    fn shard(&self, project: &str, name: &str, number: &str) -> Result<&Arc<Shard>, ApiError> {
        let logstore = self.logstore(project, name)?;
        number
            .parse::<usize>()
            .ok()
            .and_then(|number| logstore.shards.get(number))
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
