//! The calls of the page: which there are, and who may make them.

use http::{Method, StatusCode};

use super::super::answer::ApiError;
use crate::config::AdminRole;
use crate::gate::identity::state::TicketId;

/// The path of live numbers.
pub(super) const LIVE: &str = "/api/v1/live";
/// The path below which the calls of the page are.
pub(super) const PREFIX: &str = "/api/v1/dashboard/";

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Opens a session.
    Login,
    /// Says whose the session is.
    Who,
    /// Ends the session.
    Logout,
    /// Moves the end of the session.
    Extend,
    /// Live numbers.
    Live,
    /// The newest events of a logstore.
    Events,
    /// The newest events of a logstore that were set aside.
    SetAside,
    /// The newest requests that were refused.
    Refusals,
    /// The tickets that show this dashboard.
    Tickets,
    /// Makes one.
    Share,
    /// Moves the end of one.
    ExtendTicket(TicketId),
    /// Ends one.
    RevokeTicket(TicketId),
}

impl Call {
    /// Whether a ticket is enough for it.
    pub(super) fn is_for_guests(self) -> bool {
        match self {
            Self::Login
            | Self::Who
            | Self::Logout
            | Self::Extend
            | Self::Live
            | Self::Events
            | Self::SetAside
            | Self::Refusals => true,
            Self::Tickets | Self::Share | Self::ExtendTicket(_) | Self::RevokeTicket(_) => false,
        }
    }
}

impl Call {
    /// The least role of who looks by a certificate.
    pub(super) fn role(self) -> AdminRole {
        match self.is_for_guests() {
            true => AdminRole::Viewer,
            false => AdminRole::Admin,
        }
    }
}

/// The call of a method and a path.
pub(super) fn route(method: &Method, path: &str) -> Result<Call, ApiError> {
    let is = |name: Method| *method == name;
    let only = |name: Method, call: Call, allow: &'static str| match *method == name {
        true => Ok(call),
        false => Err(ApiError::method(allow.to_owned())),
    };
    if path == LIVE {
        return only(Method::GET, Call::Live, "GET");
    }
    let rest = path.strip_prefix(PREFIX).ok_or_else(no_such)?;
    let parts: Vec<&str> = rest.splitn(4, '/').collect();
    match parts.as_slice() {
        ["session"] if is(Method::POST) => Ok(Call::Login),
        ["session"] if is(Method::GET) => Ok(Call::Who),
        ["session"] => only(Method::DELETE, Call::Logout, "GET, POST, DELETE"),
        ["session", "extend"] => only(Method::POST, Call::Extend, "POST"),
        ["events"] => only(Method::GET, Call::Events, "GET"),
        ["quarantine"] => only(Method::GET, Call::SetAside, "GET"),
        ["refusals"] => only(Method::GET, Call::Refusals, "GET"),
        ["tickets"] if is(Method::POST) => Ok(Call::Share),
        ["tickets"] => only(Method::GET, Call::Tickets, "GET, POST"),
        ["tickets", id] => only(Method::DELETE, Call::RevokeTicket(ticket(id)?), "DELETE"),
        ["tickets", id, "extend"] => only(Method::POST, Call::ExtendTicket(ticket(id)?), "POST"),
        _ => Err(no_such()),
    }
}

fn ticket(id: &str) -> Result<TicketId, ApiError> {
    id.parse()
        .map_err(|error| ApiError::invalid(format!("the id in the path: {error}.")))
}

fn no_such() -> ApiError {
    let message = "there is no such path of the dashboard.";
    ApiError::new(StatusCode::NOT_FOUND, "NotExist", message)
}
