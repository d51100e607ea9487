//! The calls of the API: which there are, what they take and what they do.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::answer::ApiError;
use super::api::{AdminApi, json, sample};
use super::{aside, books, limits};
use crate::gate::identity::state::{MAX_PAGE, RevocationKind, TicketId};
use crate::telemetry::AdminCall;

/// Entries of a list when nobody says how many.
const PAGE: usize = 100;

/// A call, with what its path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    CreateTicket,
    ListTickets,
    ExtendTicket(TicketId),
    RevokeTicket(TicketId),
    Revoke,
    ListRevocations,
    LiftRevocation(RevocationKind, String),
    Reload,
    ListLimits,
    ShowLimit(String),
    AddOverride(String),
    LiftOverride(String, String),
    ReplayQuarantine,
    PurgeQuarantine,
    ReadSample,
    ReadBooks,
}

/// The call of a method and a path.
pub(super) fn route(method: &Method, path: &str) -> Result<Call, ApiError> {
    let rest = path.strip_prefix("/api/v1/").ok_or_else(no_such)?;
    // A key of a limit may hold a `/`.
    let parts: Vec<&str> = rest.splitn(4, '/').collect();
    let (get, post, delete) = (
        *method == Method::GET,
        *method == Method::POST,
        *method == Method::DELETE,
    );
    match parts.as_slice() {
        ["tickets"] if post => Ok(Call::CreateTicket),
        ["tickets"] if get => Ok(Call::ListTickets),
        ["tickets"] => Err(ApiError::method("GET, POST")),
        ["tickets", id] if delete => ticket(id).map(Call::RevokeTicket),
        ["tickets", _] => Err(ApiError::method("DELETE")),
        ["tickets", id, "extend"] if post => ticket(id).map(Call::ExtendTicket),
        ["tickets", _, "extend"] => Err(ApiError::method("POST")),
        ["revocations"] if post => Ok(Call::Revoke),
        ["revocations"] if get => Ok(Call::ListRevocations),
        ["revocations"] => Err(ApiError::method("GET, POST")),
        ["revocations", kind, value] if delete => revocation(kind, value),
        ["revocations", _, _] => Err(ApiError::method("DELETE")),
        ["limits"] if get => Ok(Call::ListLimits),
        ["limits"] => Err(ApiError::method("GET")),
        ["limits", name] if get => decoded(name).map(Call::ShowLimit),
        ["limits", _] => Err(ApiError::method("GET")),
        ["limits", name, "overrides"] if post => decoded(name).map(Call::AddOverride),
        ["limits", _, "overrides"] => Err(ApiError::method("POST")),
        ["limits", name, "overrides", key] if delete => {
            Ok(Call::LiftOverride(decoded(name)?, decoded(key)?))
        }
        ["limits", _, "overrides", _] => Err(ApiError::method("DELETE")),
        ["quarantine", "replay"] if post => Ok(Call::ReplayQuarantine),
        ["quarantine", "purge"] if post => Ok(Call::PurgeQuarantine),
        ["quarantine", "replay" | "purge"] => Err(ApiError::method("POST")),
        ["sample"] if get => Ok(Call::ReadSample),
        ["sample"] => Err(ApiError::method("GET")),
        ["books"] if get => Ok(Call::ReadBooks),
        ["books"] => Err(ApiError::method("GET")),
        ["identity", "reload"] if post => Ok(Call::Reload),
        ["identity", "reload"] => Err(ApiError::method("POST")),
        _ => Err(no_such()),
    }
}

fn no_such() -> ApiError {
    let message = "there is no such path. There are /api/v1/tickets, /api/v1/tickets/{id}, \
                   /api/v1/tickets/{id}/extend, /api/v1/revocations, \
                   /api/v1/revocations/{kind}/{value}, /api/v1/limits, /api/v1/limits/{name}, \
                   /api/v1/limits/{name}/overrides, /api/v1/limits/{name}/overrides/{key}, \
                   /api/v1/quarantine/replay, /api/v1/quarantine/purge, /api/v1/sample, \
                   /api/v1/books and /api/v1/identity/reload.";
    ApiError::new(StatusCode::NOT_FOUND, "NotExist", message)
}

fn ticket(id: &str) -> Result<TicketId, ApiError> {
    id.parse()
        .map_err(|error| ApiError::invalid(format!("the id in the path: {error}.")))
}

fn revocation(kind: &str, value: &str) -> Result<Call, ApiError> {
    let kind = kind
        .parse()
        .map_err(|error| ApiError::invalid(format!("the kind in the path: {error}.")))?;
    Ok(Call::LiftRevocation(kind, decoded(value)?))
}

fn decoded(value: &str) -> Result<String, ApiError> {
    let value = percent_decode_str(value).decode_utf8();
    let value = value.map_err(|_| ApiError::invalid("the value in the path is not UTF-8."))?;
    Ok(value.into_owned())
}

impl Call {
    pub(super) fn label(&self) -> AdminCall {
        match self {
            Self::CreateTicket => AdminCall::CreateTicket,
            Self::ListTickets => AdminCall::ListTickets,
            Self::ExtendTicket(_) => AdminCall::ExtendTicket,
            Self::RevokeTicket(_) => AdminCall::RevokeTicket,
            Self::Revoke => AdminCall::Revoke,
            Self::ListRevocations => AdminCall::ListRevocations,
            Self::LiftRevocation(..) => AdminCall::LiftRevocation,
            Self::Reload => AdminCall::Reload,
            Self::ListLimits => AdminCall::ListLimits,
            Self::ShowLimit(_) => AdminCall::ShowLimit,
            Self::AddOverride(_) => AdminCall::AddOverride,
            Self::LiftOverride(..) => AdminCall::LiftOverride,
            Self::ReplayQuarantine => AdminCall::ReplayQuarantine,
            Self::PurgeQuarantine => AdminCall::PurgeQuarantine,
            Self::ReadSample => AdminCall::ReadSample,
            Self::ReadBooks => AdminCall::ReadBooks,
        }
    }

    /// Does it. Blocks on the disk.
    pub(super) fn run(
        self,
        api: &AdminApi,
        query: &str,
        body: &[u8],
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        let state = &api.state;
        match self {
            Self::CreateTicket => {
                Query::read(query, &[])?;
                let made = state.create_ticket(read(body)?)?;
                let ticket = &made.ticket;
                tracing::info!(id = %ticket.id, kind = ticket.grant.token_type(), by = ticket.created_by, expires = ticket.expires, "ticket made");
                json(StatusCode::CREATED, &made)
            }
            Self::ListTickets => {
                let query = Query::read(query, &["limit", "cursor"])?;
                let page = state.ticket_page(query.get("cursor"), query.limit()?)?;
                json(StatusCode::OK, &page)
            }
            Self::ExtendTicket(id) => {
                Query::read(query, &[])?;
                let ticket = state.extend_ticket(id, read(body)?)?;
                tracing::info!(%id, expires = ticket.expires, "ticket extended");
                json(StatusCode::OK, &ticket)
            }
            Self::RevokeTicket(id) => {
                let query = Query::read(query, &["reason", "by"])?;
                let reason = query.get("reason").unwrap_or_default();
                let revocation = state.revoke_ticket(id, reason, query.get("by"))?;
                tracing::info!(%id, by = %revocation.by, reason, "ticket revoked");
                json(StatusCode::OK, &*revocation)
            }
            Self::Revoke => {
                Query::read(query, &[])?;
                let revocation = state.revoke(read(body)?)?;
                tracing::info!(
                    kind = %revocation.kind, value = ?revocation.value, by = ?revocation.by,
                    reason = ?revocation.reason, expires = revocation.expires,
                    before = revocation.before, "revoked"
                );
                json(StatusCode::CREATED, &*revocation)
            }
            Self::ListRevocations => {
                let query = Query::read(query, &["kind", "limit", "cursor"])?;
                let kind = query.get("kind").map(str::parse).transpose();
                let kind = kind.map_err(|error| ApiError::invalid(format!("kind: {error}.")))?;
                let page = state.revocation_page(kind, query.get("cursor"), query.limit()?)?;
                json(StatusCode::OK, &page)
            }
            Self::LiftRevocation(kind, value) => {
                Query::read(query, &[])?;
                let lifted = state.revocations().lift(kind, &value)?;
                tracing::info!(%kind, ?value, "revocation lifted");
                json(StatusCode::OK, &*lifted)
            }
            Self::Reload => {
                Query::read(query, &[])?;
                if !body.is_empty() {
                    read::<Nothing>(body)?;
                }
                reload(api)
            }
            Self::ListLimits => limits::list(&api.limits, query),
            Self::ShowLimit(name) => limits::show(&api.limits, &name, query),
            Self::AddOverride(name) => limits::add(&api.limits, &name, query, body),
            Self::LiftOverride(name, key) => limits::lift(&api.limits, &name, &key, query),
            Self::ReplayQuarantine => aside::replay(api, query, body),
            Self::PurgeQuarantine => aside::purge(api, query, body),
            Self::ReadBooks => books::read(api, query),
            Self::ReadSample => {
                Query::read(query, &[])?;
                Ok(sample(api))
            }
        }
    }
}

/// `{}`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn reload(api: &AdminApi) -> Result<Response<Full<Bytes>>, ApiError> {
    match (api.reload)() {
        Ok(message) => {
            tracing::info!(message, "identity reloaded");
            json(StatusCode::OK, &serde_json::json!({"message": message}))
        }
        Err(why) => {
            tracing::warn!(why, "identity not reloaded");
            let message = format!("{why}. What was in force stays in force.");
            Err(ApiError::new(StatusCode::CONFLICT, "Conflict", message))
        }
    }
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (path, inner) = (error.path().to_string(), error.inner());
        ApiError::invalid(format!("the body, at `{path}`: {inner}."))
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
                return Err(ApiError::invalid(message));
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

    fn limit(&self) -> Result<usize, ApiError> {
        let Some(limit) = self.get("limit") else {
            return Ok(PAGE);
        };
        let limit = limit.parse().ok();
        let limit = limit.filter(|limit| (1..=MAX_PAGE).contains(limit));
        limit.ok_or_else(|| ApiError::invalid(format!("limit must be 1 to {MAX_PAGE}.")))
    }
}
