//! The dashboard: a page at `/`, its calls below `/api/v1/dashboard/`, and live numbers at
//! `/api/v1/live`.
//!
//! Promise: the page is the same for everybody and holds nothing; everything else asks for a session,
//! or for the admin token itself, as a bearer token (a session may be opened by a certificate): no cookie is set, so no page of somebody else can
//! make a call in a viewer's name. Calls of pages of other origins are refused before that, and so are
//! those under names that are not of this listener. What the bearer of a ticket is given is filtered
//! here, by `scope`; no page is trusted to leave anything out.

mod calls;
mod lists;
mod live;
mod login;
mod logins;
mod page;
mod scope;
mod sessions;
mod share;
mod sources;
mod turns;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame};
use http_body_util::Full;
use tokio_util::sync::CancellationToken;

use self::calls::{Call, LIVE, PREFIX};
use self::live::{Hub, LiveBody, NoSeat};
use self::logins::WrongLogins;
use self::page::Page;
use self::sessions::{Gone, SessionKey, Sessions, Viewer};
pub use self::sources::{
    About, DashboardSources, Pair, Preview, PreviewError, PreviewEvent, PreviewFuture,
    PreviewOrder, SeeEvent, ShownEvent, StageLatency,
};
pub use self::turns::Turn;
use self::turns::Turns;
use super::answer::ApiError;
use super::api::{note, status_of};
use super::clients::{AdminClients, Visitor};
use super::{body, guard};
use crate::config;
use crate::foundation::clock;
use crate::gate::identity::state::{Grant, IdentityState, TicketRecord};
use crate::gate::quota::LimitControl;
use crate::telemetry::{AdminCall, AdminOutcome, Metrics};

/// Previews at once; a further one is refused.
const PREVIEWS: usize = 3;
/// Lists at once, each of which parses some megabytes; a further one waits, and is refused then.
const LISTS: usize = 2;
const WAIT_FOR_A_LIST: Duration = Duration::from_secs(5);

/// What the dashboard needs.
pub struct DashboardParts {
    /// What the configuration says of it.
    pub rules: config::Dashboard,
    /// Who is let in by a certificate instead.
    pub clients: Arc<AdminClients>,
    /// Tickets.
    pub state: Arc<IdentityState>,
    /// Limits, which are shown.
    pub limits: Arc<LimitControl>,
    /// What is shown.
    pub metrics: Arc<Metrics>,
    /// Everything else that is shown.
    pub sources: Arc<dyn DashboardSources>,
    /// Ends live streams when the listener stops.
    pub stop: CancellationToken,
}

/// The dashboard.
pub struct Dashboard {
    rules: config::Dashboard,
    clients: Arc<AdminClients>,
    state: Arc<IdentityState>,
    metrics: Arc<Metrics>,
    sources: Arc<dyn DashboardSources>,
    previews: Turns,
    lists: Turns,
    /// Made when somebody first looks: most nodes are looked at seldom.
    page: LazyLock<Page>,
    sessions: Sessions,
    wrong_logins: WrongLogins,
    hub: Arc<Hub>,
}

impl std::fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dashboard").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for DashboardParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DashboardParts").finish_non_exhaustive()
    }
}

impl Dashboard {
    /// A dashboard that nobody looks at yet.
    #[must_use]
    pub fn new(parts: DashboardParts) -> Arc<Self> {
        let DashboardParts {
            rules,
            clients,
            state,
            limits,
            metrics,
            sources,
            stop,
        } = parts;
        let hub = Hub::new(Arc::clone(&metrics), limits, rules.max_viewers, stop);
        Arc::new(Self {
            page: LazyLock::new(Page::new),
            sessions: Sessions::new(
                rules.clone(),
                Arc::clone(&state),
                Arc::clone(&clients),
                Arc::clone(&sources),
                Arc::clone(&metrics),
            ),
            previews: Turns::new(PREVIEWS),
            lists: Turns::new(LISTS),
            wrong_logins: WrongLogins::new(rules.logins_per_minute),
            hub: Arc::new(hub),
            rules,
            clients,
            state,
            metrics,
            sources,
        })
    }

    /// Whether a path is one of the dashboard's.
    pub(super) fn serves(path: &str) -> bool {
        path == "/" || path == LIVE || path.starts_with(PREFIX)
    }

    /// Answers a request to one of its paths.
    pub(super) async fn answer<B>(
        self: Arc<Self>,
        request: Request<B>,
        visitor: Visitor,
    ) -> Response<AdminBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if path == "/" {
            return whole(self.page_for(&head.method, &head.uri, &head.headers));
        }
        let label = match path {
            LIVE => AdminCall::Live,
            _ => AdminCall::Dashboard,
        };
        let metrics = Arc::clone(&self.metrics);
        let result = self.run(&head, body, visitor).await;
        let response = result.unwrap_or_else(|error| whole(error.response()));
        let outcome = AdminOutcome::of(response.status());
        metrics.admin_calls(label, outcome).inc();
        response
    }

    fn page_for(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Response<Full<Bytes>> {
        if let Err(error) = guard::from_this_listener(uri, headers, &self.clients) {
            return error.response();
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return ApiError::method("GET".to_owned()).response();
        }
        self.page.answer(headers, &self.frames(uri))
    }

    /// The origins that may show this page in a frame: those of the ticket that the link names, by its
    /// id or whole. Without one, none: the page would ask for the admin token there.
    fn frames(&self, uri: &Uri) -> Vec<String> {
        let query = uri.query().unwrap_or_default();
        let members = form_urlencoded::parse(query.as_bytes());
        let now = clock::unix_seconds();
        let tickets = self.state.tickets();
        let mut named = members.filter_map(|(name, value)| match name.as_ref() {
            "embed" => tickets.record(value.parse().ok()?, now),
            "ticket" => tickets.named(value.as_bytes(), now),
            _ => None,
        });
        let is_good = |record: &TicketRecord| {
            matches!(record.grant, Grant::View(_)) && !record.revoked && now < record.expires
        };
        match named.next().filter(is_good) {
            None => Vec::new(),
            Some(record) if record.origins.is_empty() => self.rules.embed_origins.clone(),
            Some(record) => record.origins,
        }
    }

    async fn run<B>(
        self: Arc<Self>,
        head: &http::request::Parts,
        body: B,
        visitor: Visitor,
    ) -> Result<Response<AdminBody>, ApiError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        guard::from_this_listener(&head.uri, &head.headers, &self.clients)?;
        guard::from_own_page(&head.headers)?;
        let call = calls::route(&head.method, head.uri.path());
        if let Ok(Call::Login) = call {
            let body = body::read(&head.method, &head.headers, body).await?;
            return blocking(move || self.login(&body, &visitor)).await;
        }
        let bearer = self.bearer(&head.headers, &visitor)?;
        let call = call?;
        let Viewer::Admin(who) = bearer.viewer.clone() else {
            if !call.is_for_guests() {
                let message = "a ticket is not enough for this. Log in with the admin token.";
                return Err(ApiError::new(StatusCode::FORBIDDEN, "Forbidden", message));
            }
            return self.run_call(call, bearer, (head, body), visitor).await;
        };
        let from = visitor.clone();
        let result = match guard::with_role(&who, call.role()) {
            Ok(()) => self.run_call(call, bearer, (head, body), visitor).await,
            Err(error) => Err(error),
        };
        let label = AdminCall::Dashboard.label();
        note(label, call.role(), (&who, &from), status_of(&result));
        result
    }

    /// Makes a call of somebody who may make it.
    async fn run_call<B>(
        self: Arc<Self>,
        call: Call,
        bearer: Bearer,
        (head, body): (&http::request::Parts, B),
        visitor: Visitor,
    ) -> Result<Response<AdminBody>, ApiError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let query = head.uri.query().unwrap_or_default().to_owned();
        let body = body::read(&head.method, &head.headers, body).await?;
        let turn = match call {
            Call::SetAside | Call::Refusals => Some(self.turn_of_a_list(&bearer.viewer).await?),
            _ => None,
        };
        match call {
            Call::Live => self.live(bearer, visitor),
            Call::Events => self.events(&bearer.viewer, &query).await.map(whole),
            _ => {
                let work = move || {
                    // Goes with the work, which goes on when its client hangs up.
                    let _turn = turn;
                    self.call(call, &bearer, (&query, &body), &visitor)
                };
                blocking(work).await
            }
        }
    }

    /// The calls that are answered at once, or by the disk.
    fn call(
        &self,
        call: Call,
        bearer: &Bearer,
        (query, body): (&str, &[u8]),
        visitor: &Visitor,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        let now = clock::unix_seconds();
        match call {
            Call::Who => self.tell(&bearer.viewer, bearer.ends, now),
            Call::Extend => {
                let key = bearer.key.ok_or_else(no_session)?;
                let ends = self.sessions.extend(key, visitor, now);
                self.tell(&bearer.viewer, ends.ok_or_else(no_session)?, now)
            }
            Call::Logout => {
                self.sessions.close(bearer.key.ok_or_else(no_session)?);
                super::api::json(StatusCode::OK, &serde_json::json!({}))
            }
            Call::SetAside => self.set_aside(&bearer.viewer, query),
            Call::Refusals => self.refusals(&bearer.viewer, query),
            Call::Tickets => self.tickets(query),
            Call::Share => self.share(body, by_of(&bearer.viewer)),
            Call::ExtendTicket(id) => self.extend_ticket(id, body),
            Call::RevokeTicket(id) => self.revoke_ticket(id, by_of(&bearer.viewer)),
            Call::Login | Call::Live | Call::Events => Err(ApiError::internal()),
        }
    }

    fn tell(
        &self,
        viewer: &Viewer,
        ends: u64,
        now: u64,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        super::api::json(StatusCode::OK, &self.whose(viewer, ends, now))
    }

    /// Whose call it is: that of a session, or of the admin token itself.
    fn bearer(&self, headers: &HeaderMap, visitor: &Visitor) -> Result<Bearer, ApiError> {
        let now = clock::unix_seconds();
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(only), None) = (values.next(), values.next()) else {
            return Err(no_session());
        };
        let (scheme, given) = only.as_bytes().split_at_checked(7).unwrap_or_default();
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return Err(no_session());
        }
        let key = SessionKey::of(given);
        match self.sessions.find(key, visitor, now) {
            Ok((viewer, ends)) => Ok(Bearer {
                viewer,
                key: Some(key),
                ends,
            }),
            Err(Gone::Unknown) => match self.clients.bearer(given) {
                Some(who) => Ok(Bearer {
                    viewer: Viewer::Admin(who),
                    key: None,
                    ends: u64::MAX,
                }),
                None => Err(self.wrong_bearer(visitor.address, now)),
            },
            Err(Gone::Session) => Err(no_session()),
            Err(Gone::Ticket(reason)) => Err(ApiError::reasoned(reason)),
        }
    }

    async fn turn_of_a_list(&self, viewer: &Viewer) -> Result<Turn, ApiError> {
        let turn = self
            .lists
            .take(viewer.sharer().is_some(), WAIT_FOR_A_LIST)
            .await;
        turn.ok_or_else(|| {
            let message = "others are reading lists right now. Ask again in a moment.";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "ServerBusy", message)
        })
    }

    fn live(
        self: Arc<Self>,
        bearer: Bearer,
        visitor: Visitor,
    ) -> Result<Response<AdminBody>, ApiError> {
        let seat = self.hub.seat(&bearer.viewer).map_err(|why| {
            let message = match why {
                NoSeat::Full => "as many pages get live numbers as admin.dashboard.max_viewers allows. Close one, or wait.",
                NoSeat::FullForOne => "as many pages of this link, or certificate, get live numbers as one may have. Close one, or wait.",
            };
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "ServerBusy", message)
        })?;
        let stream = LiveBody::new(&self, seat, bearer.viewer, bearer.key, visitor);
        let mut response = Response::new(AdminBody::Live(Box::new(stream)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // Proxies of the kind of nginx would gather the looks.
        let unbuffered = http::HeaderName::from_static("x-accel-buffering");
        headers.insert(unbuffered, HeaderValue::from_static("no"));
        Ok(response)
    }
}

/// Who a ticket says has made or ended it, by this page.
fn by_of(viewer: &Viewer) -> &str {
    match viewer {
        Viewer::Admin(who) => who.client.as_deref().unwrap_or("dashboard"),
        Viewer::Guest(_) => "dashboard",
    }
}

/// Who makes a call.
struct Bearer {
    viewer: Viewer,
    key: Option<SessionKey>,
    ends: u64,
}

async fn blocking<F>(work: F) -> Result<Response<AdminBody>, ApiError>
where
    F: FnOnce() -> Result<Response<Full<Bytes>>, ApiError> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.unwrap_or_else(|error| {
        tracing::error!(%error, "a call of the dashboard failed");
        Err(ApiError::internal())
    });
    done.map(whole)
}

fn no_session() -> ApiError {
    let message = "there is no session, or it has ended. Log in again.";
    ApiError::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
}

pub(super) fn whole(response: Response<Full<Bytes>>) -> Response<AdminBody> {
    response.map(AdminBody::Whole)
}

/// The body of an answer of the private listener.
#[derive(Debug)]
pub enum AdminBody {
    /// It is at hand.
    Whole(Full<Bytes>),
    /// It goes on until its page is closed.
    #[expect(private_interfaces, reason = "only made here")]
    Live(Box<LiveBody>),
}

impl Body for AdminBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context),
            Self::Live(body) => Pin::new(body.as_mut()).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Live(_) => false,
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Live(_) => http_body::SizeHint::default(),
        }
    }
}
