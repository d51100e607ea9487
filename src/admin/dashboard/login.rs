//! Logging in: the admin token or a ticket, given once for a session.
//!
//! Promise: neither is told to anybody, written down or logged. A use of a ticket is counted when its
//! session is opened, and only then. After some wrong ones of an address further wrong ones from there
//! are answered with 429. What is good is let in all the same: behind a proxy all come from one address,
//! and a stranger there must not lock the others out.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::answer::ApiError;
use super::super::api::json as answer;
use super::super::calls::read;
use super::super::clients::Visitor;
use super::super::guard;
use super::Dashboard;
use super::scope::{self, OVERVIEW};
use super::sessions::{Guest, NoSession, Sharer, Viewer};
use crate::event::Refusal;
use crate::foundation::clock;
use crate::gate::identity::ProvenAccount;
use crate::gate::identity::state::{Grant, TicketFacts, TicketRecord, Wanted};
use crate::telemetry::LoginOutcome;

/// What a page logs in with: the token, or a ticket.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    ticket: Option<String>,
    /// By the certificate that is shown on this connection.
    #[serde(default)]
    certificate: bool,
    /// Beside a ticket: a token (JWT) that says whose account it is.
    #[serde(default)]
    account: Option<String>,
    /// The origin of the page that shows this one in a frame. Browsers see to it that this is true,
    /// by the policy that the page comes with.
    #[serde(default)]
    page: Option<String>,
}

impl Dashboard {
    pub(super) fn login(
        &self,
        body: &[u8],
        visitor: &Visitor,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        let (now, peer) = (clock::unix_seconds(), visitor.address);
        let login: Login = read(body).map_err(|_| bad_form())?;
        match (&login.token, &login.ticket, login.certificate) {
            (Some(token), None, false) => self.login_of_admin(token, peer, now),
            (None, Some(ticket), false) => self.login_of_guest(ticket, &login, peer, now),
            (None, None, true) => self.login_by_certificate(visitor, now),
            _ => Err(bad_form()),
        }
    }

    /// The page asks for this first, so one that is not there is no wrong login.
    fn login_by_certificate(
        &self,
        visitor: &Visitor,
        now: u64,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        let who = self.clients.visitor(visitor).ok_or_else(|| {
            visitor.shown.as_deref().map_or_else(
                || {
                    let message = "no certificate was shown. Log in with the admin token.";
                    ApiError::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
                },
                guard::not_listed,
            )
        })?;
        let (by, role) = (who.name().to_owned(), who.role.label());
        let opened = self.open(Viewer::Admin(who), now)?;
        self.note(LoginOutcome::Certificate);
        tracing::info!(peer = %visitor.address, by, role, "a login at the dashboard");
        answer(StatusCode::CREATED, &opened)
    }

    fn note(&self, outcome: LoginOutcome) {
        self.metrics.dashboard.logins(outcome).inc();
    }

    /// Counts a wrong credential of an address.
    ///
    /// # Errors
    /// When there were too many: it is told to wait, and nothing else.
    fn wrong(&self, peer: IpAddr, now: u64, outcome: LoginOutcome) -> Result<(), ApiError> {
        if let Some(seconds) = self.wrong_logins.note(peer, now) {
            self.note(LoginOutcome::TooMany);
            return Err(too_many(seconds));
        }
        self.note(outcome);
        Ok(())
    }

    /// What is said of a bearer that stands for nothing here.
    pub(super) fn wrong_bearer(&self, peer: IpAddr, now: u64) -> ApiError {
        match self.wrong(peer, now, LoginOutcome::WrongBearer) {
            Ok(()) => super::no_session(),
            Err(too_many) => too_many,
        }
    }

    fn login_of_admin(
        &self,
        token: &str,
        peer: IpAddr,
        now: u64,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        let Some(who) = self.clients.bearer(token.trim().as_bytes()) else {
            self.wrong(peer, now, LoginOutcome::WrongToken)?;
            tracing::warn!(%peer, "a login at the dashboard with a wrong token");
            return Err(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "Unauthorized",
                "the token is not that of this node. It is that of admin.token, or stands in keys/admin.key in the data directory.",
            ));
        };
        let opened = self.open(Viewer::Admin(who), now)?;
        self.note(LoginOutcome::Admin);
        tracing::info!(%peer, "a login at the dashboard");
        answer(StatusCode::CREATED, &opened)
    }

    fn login_of_guest(
        &self,
        ticket: &str,
        login: &Login,
        peer: IpAddr,
        now: u64,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        let named = self.state.tickets().named(ticket.as_bytes(), now);
        let refused = |refusal: &Refusal| {
            // What we have made and is good no more is no guess.
            match named.is_none() {
                true => {
                    if let Err(too_many) = self.wrong(peer, now, LoginOutcome::WrongTicket) {
                        return too_many;
                    }
                }
                false => self.note(LoginOutcome::WrongTicket),
            }
            let reason = refusal.reason();
            tracing::info!(%peer, reason = reason.label(), "a ticket was refused at the dashboard");
            ApiError::reasoned(reason)
        };
        let account = match (&named, &login.account) {
            (Some(record), Some(token)) => self.account(record, token),
            _ => None,
        };
        let facts = TicketFacts {
            wanted: Wanted::ViewSomewhere {
                dashboard: OVERVIEW,
            },
            client: peer,
            origin: login.page.as_deref(),
            account: account.as_ref().map(|it| it.subject.as_str()),
            now,
        };
        let pass = self.state.tickets().check(ticket.as_bytes(), &facts);
        let pass = pass.map_err(|refusal| refused(&refusal))?;
        let Grant::View(view) = pass.grant().clone() else {
            return Err(ApiError::internal()); // the check has asked for one to look
        };
        // Before the use is counted: a use that opens nothing would be lost.
        let room = self.sessions.room(Some(&Sharer::Ticket(pass.id())), now);
        room.map_err(|why| self.no_session_for(why))?;
        pass.take_use().map_err(|refusal| refused(&refusal))?;
        let is_for_accounts = named.is_some_and(|record| !record.accounts.is_empty());
        let guest = Arc::new(Guest {
            ticket: pass.id(),
            view,
            account: account.filter(|_| is_for_accounts),
        });
        let opened = self
            .open(Viewer::Guest(guest), now)
            .inspect_err(|_| pass.give_back())?;
        self.note(LoginOutcome::Ticket);
        tracing::info!(%peer, ticket = %pass.id(), "a ticket opened the dashboard");
        answer(StatusCode::CREATED, &opened)
    }

    /// Whose account a token of the project proves that a ticket shows.
    fn account(&self, record: &TicketRecord, token: &str) -> Option<ProvenAccount> {
        match &record.grant {
            Grant::View(view) => self
                .sources
                .account(view.project.as_str(), token.as_bytes()),
            Grant::Write { .. } => None,
        }
    }

    fn open(&self, viewer: Viewer, now: u64) -> Result<Value, ApiError> {
        let opened = self.sessions.open(viewer.clone(), now);
        let (session, ends) = opened.map_err(|why| self.no_session_for(why))?;
        let mut said = self.whose(&viewer, ends, now);
        if let Some(said) = said.as_object_mut() {
            said.insert("session".to_owned(), Value::String(session));
        }
        Ok(said)
    }

    fn no_session_for(&self, why: NoSession) -> ApiError {
        let message = match why {
            NoSession::NoRandom => return ApiError::internal(),
            NoSession::Full => {
                "there are as many sessions as admin.dashboard.max_sessions allows. Close one, or wait."
            }
            NoSession::FullForOne => {
                "this link, or certificate, is open as often as one may be at once. Close a page of it, or wait."
            }
        };
        self.note(LoginOutcome::Full);
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "ServerBusy", message)
    }

    /// Whose session it is, what it shows, and when it ends, for its page.
    pub(super) fn whose(&self, viewer: &Viewer, ends: u64, now: u64) -> Value {
        let ttl = self.rules.session_ttl.as_secs();
        let mut logstores = self.sources.logstores();
        if let Viewer::Guest(guest) = viewer {
            logstores.retain(|(project, logstore)| scope::shows(&guest.view, project, logstore));
        }
        let viewer = match viewer {
            Viewer::Admin(who) => json!({
                "kind": "admin", "role": who.role.label(), "logstores": logstores,
            }),
            Viewer::Guest(guest) => {
                let record = self.state.tickets().record(guest.ticket, now);
                let view = &guest.view;
                json!({
                    "kind": "ticket", "ticket": guest.ticket, "project": view.project,
                    "logstores": logstores,
                    "from": view.from, "to": view.to, "lastSeconds": view.last_seconds,
                    "filters": view.filters, "hidden": view.hidden,
                    "expires": record.map(|record| record.expires),
                })
            }
        };
        json!({"expires": ends, "ttlSeconds": ttl, "now": now, "viewer": viewer})
    }
}

fn too_many(seconds: u64) -> ApiError {
    let message = format!(
        "too many wrong credentials came from your address. Wait {seconds} s, or send the right one."
    );
    let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
    error.retry_after(seconds)
}

/// What stands in the body is not repeated: it may be a secret in the wrong place.
fn bad_form() -> ApiError {
    ApiError::invalid(
        "the body must be {\"token\": …}, {\"ticket\": …, \"account\": …, \"page\": …} or {\"certificate\": true}.",
    )
}
