//! The calls of the API, as they come: which one is meant, with what, and what it does.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::answer::{self, ApiError};
use super::api::{AdminApi, json, sample};
use super::openapi::openapi;
use super::table::{BASE, CALLS, Spec, find};
use super::{aside, books, limits, log, node, reload};
use crate::gate::identity::state::{MAX_PAGE, RevocationKind, TicketId};
use crate::telemetry::AdminCall;

/// Entries of a list when nobody says how many.
const PAGE: usize = 100;

/// A call, with what its path names.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) spec: &'static Spec,
    /// What its path names, in the order of the path.
    named: Vec<String>,
}

/// The call of a method and a path.
pub(super) fn route(method: &Method, path: &str) -> Result<Call, ApiError> {
    let rest = path
        .strip_prefix(BASE)
        .and_then(|rest| rest.strip_prefix('/'));
    let rest = rest.ok_or_else(no_such)?;
    // A key of a limit may hold a `/`.
    let parts: Vec<&str> = rest.splitn(4, '/').collect();
    let (spec, named) = find(method, &parts).map_err(|others| {
        if others.is_empty() {
            return no_such();
        }
        let mut allow: Vec<&str> = others.iter().map(|method| method.as_str()).collect();
        allow.sort_unstable();
        ApiError::method(allow.join(", "))
    })?;
    let named = named.into_iter().map(decoded).collect::<Result<_, _>>()?;
    Ok(Call { spec, named })
}

fn no_such() -> ApiError {
    let mut paths: Vec<String> = CALLS
        .iter()
        .map(|spec| format!("{BASE}/{}", spec.path))
        .collect();
    paths.dedup();
    let message = format!("there is no such path. There are {}.", paths.join(", "));
    ApiError::new(StatusCode::NOT_FOUND, "NotExist", message)
}

fn ticket(id: &str) -> Result<TicketId, ApiError> {
    let invalid = |error| ApiError::invalid(format!("the id in the path: {error}.")).at("id");
    id.parse().map_err(invalid)
}

fn kind(kind: &str) -> Result<RevocationKind, ApiError> {
    let invalid = |error| ApiError::invalid(format!("the kind: {error}.")).at("kind");
    kind.parse().map_err(invalid)
}

fn decoded(value: &str) -> Result<String, ApiError> {
    let value = percent_decode_str(value).decode_utf8();
    let value = value.map_err(|_| ApiError::invalid("the value in the path is not UTF-8."))?;
    Ok(value.into_owned())
}

type Answer = Result<Response<Full<Bytes>>, ApiError>;

impl Call {
    /// What the path names at a place.
    fn name(&self, place: usize) -> &str {
        self.named.get(place).map_or("", String::as_str)
    }

    /// Does it. Blocks on the disk.
    pub(super) fn run(self, api: &AdminApi, query: &str, body: &[u8]) -> Answer {
        let known: Vec<&str> = self.spec.in_query.iter().map(|it| it.name).collect();
        let query = Query::read(query, &known)?;
        if self.spec.body.is_none() && !body.is_empty() {
            return Err(ApiError::invalid("this call takes no body."));
        }
        match self.spec.label {
            AdminCall::ReadState => json(StatusCode::OK, &api.node.state()),
            AdminCall::ReadConfig => json(StatusCode::OK, &api.node.config()),
            AdminCall::Reload => reload::reload(api, body),
            AdminCall::ReadDrain => json(StatusCode::OK, &api.node.drained()),
            AdminCall::BeginDrain => node::drain(api, true),
            AdminCall::EndDrain => node::drain(api, false),
            AdminCall::Explain => node::explain(api, body),
            AdminCall::ListLimits => limits::list(&api.limits),
            AdminCall::ShowLimit => limits::show(&api.limits, self.name(0), &query),
            AdminCall::AddOverride => limits::add(&api.limits, self.name(0), body),
            AdminCall::LiftOverride => limits::lift(&api.limits, self.name(0), self.name(1)),
            AdminCall::ListQuarantine => aside::list(api, &query),
            AdminCall::ReadQuarantine => aside::records(api, (self.name(0), self.name(1)), &query),
            AdminCall::ReplayQuarantine => aside::replay(api, body),
            AdminCall::PurgeQuarantine => aside::purge(api, body),
            AdminCall::ListSpool => node::list_spool(api, &query),
            AdminCall::VerifySpool => {
                let report = api.node.verify(self.name(0), self.name(1))?;
                json(StatusCode::OK, &report)
            }
            AdminCall::PurgeSpool => node::purge_spool(api, body),
            AdminCall::ReadBooks => books::read(api),
            AdminCall::ShowLog => log::show(),
            AdminCall::ChangeLog => log::change(body),
            AdminCall::ResetLog => log::reset(),
            AdminCall::ReadUpstreams => books::upstreams(api),
            AdminCall::ReadSample => Ok(sample(api)),
            AdminCall::ReadOpenApi => {
                Ok(answer::json(StatusCode::OK, openapi().as_bytes().to_vec()))
            }
            _ => self.about_credentials(api, &query, body),
        }
    }

    /// The calls about tickets and revocations.
    fn about_credentials(&self, api: &AdminApi, query: &Query, body: &[u8]) -> Answer {
        let state = &api.state;
        match self.spec.label {
            AdminCall::CreateTicket => {
                let made = state.create_ticket(read(body)?)?;
                let ticket = &made.ticket;
                tracing::info!(id = %ticket.id, kind = ticket.grant.token_type(), by = ticket.created_by, expires = ticket.expires, "ticket made");
                json(StatusCode::CREATED, &made)
            }
            AdminCall::ListTickets => {
                let page = state.ticket_page(query.get("cursor"), query.limit()?)?;
                json(StatusCode::OK, &page)
            }
            AdminCall::ExtendTicket => {
                let id = ticket(self.name(0))?;
                let ticket = state.extend_ticket(id, read(body)?)?;
                tracing::info!(%id, expires = ticket.expires, "ticket extended");
                json(StatusCode::OK, &ticket)
            }
            AdminCall::RevokeTicket => {
                let id = ticket(self.name(0))?;
                let reason = query.get("reason").unwrap_or_default();
                let revocation = state.revoke_ticket(id, reason, query.get("by"))?;
                tracing::info!(%id, by = %revocation.by, reason, "ticket revoked");
                json(StatusCode::OK, &*revocation)
            }
            AdminCall::Revoke => {
                let revocation = state.revoke(read(body)?)?;
                tracing::info!(
                    kind = %revocation.kind, value = ?revocation.value, by = ?revocation.by,
                    reason = ?revocation.reason, expires = revocation.expires,
                    before = revocation.before, "revoked"
                );
                json(StatusCode::CREATED, &*revocation)
            }
            AdminCall::ListRevocations => {
                let kind = query.get("kind").map(kind).transpose()?;
                let page = state.revocation_page(kind, query.get("cursor"), query.limit()?)?;
                json(StatusCode::OK, &page)
            }
            AdminCall::LiftRevocation => {
                let (kind, value) = (kind(self.name(0))?, self.name(1));
                let lifted = state.revocations().lift(kind, value)?;
                tracing::info!(%kind, ?value, "revocation lifted");
                json(StatusCode::OK, &*lifted)
            }
            _ => Err(no_such()),
        }
    }
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (path, inner) = (error.path().to_string(), error.inner());
        ApiError::invalid(format!("the body, at `{path}`: {inner}.")).at(path)
    })?;
    json.end()
        .map_err(|error| ApiError::invalid(format!("the body: {error}.")))?;
    Ok(value)
}

/// The members of a query, each at most once.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn read(query: &str, known: &[&str]) -> Result<Self, ApiError> {
        let mut members: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let known = match known {
                    [] => "takes none".to_owned(),
                    known => format!("takes {}", known.join(", ")),
                };
                let message = format!("unknown parameter in the query. This call {known}.");
                return Err(ApiError::invalid(message).at("query").hint("Leave it out."));
            }
            if members.iter().any(|(seen, _)| *seen == *name) {
                let message = format!("{name} stands in the query more than once. Send it once.");
                return Err(ApiError::invalid(message));
            }
            members.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(members))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(member, _)| member == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn limit(&self) -> Result<usize, ApiError> {
        let Some(limit) = self.get("limit") else {
            return Ok(PAGE);
        };
        let limit = limit.parse().ok();
        let limit = limit.filter(|limit| (1..=MAX_PAGE).contains(limit));
        limit
            .ok_or_else(|| ApiError::invalid(format!("limit must be 1 to {MAX_PAGE}.")).at("limit"))
    }
}
