//! Share links: tickets that show this dashboard, as the page makes, lists and ends them. Only for the
//! bearer of the admin token.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

use super::super::answer::ApiError;
use super::super::api::json as answer;
use super::super::calls::{Query, read};
use super::Dashboard;
use super::scope::OVERVIEW;
use crate::gate::identity::state::{ExtendTicket, Grant, MAX_PAGE, NewTicket, TicketId};

type Answer = Result<Response<Full<Bytes>>, ApiError>;

impl Dashboard {
    /// Makes a ticket. Its token is told this once.
    pub(super) fn share(&self, body: &[u8], by: &str) -> Answer {
        let mut new: NewTicket = read(body)?;
        let Grant::View(view) = &new.grant else {
            let message = "the dashboard makes tickets to look only. Use /api/v1/tickets.";
            return Err(ApiError::invalid(message));
        };
        if view.dashboard != OVERVIEW {
            let message = format!("grant.view.dashboard: there is `{OVERVIEW}` only.");
            return Err(ApiError::invalid(message));
        }
        let known = self.sources.logstores();
        let has = |logstore: Option<&str>| {
            known.iter().any(|(project, name)| {
                project == view.project.as_str() && logstore.is_none_or(|it| it == name)
            })
        };
        if !has(None) || !view.logstores.iter().all(|it| has(Some(it.as_str()))) {
            let message = "grant.view: the configuration has no such project or logstore.";
            return Err(ApiError::invalid(message));
        }
        new.by = Some(by.to_owned());
        let made = self.state.create_ticket(new)?;
        let ticket = &made.ticket;
        tracing::info!(id = %ticket.id, kind = ticket.grant.token_type(), by = ticket.created_by, expires = ticket.expires, "ticket made");
        answer(StatusCode::CREATED, &made)
    }

    /// The tickets that show a dashboard, those of other makers included: the newest, and whether there
    /// are more.
    pub(super) fn tickets(&self, query: &str) -> Answer {
        Query::read(query, &[])?;
        let (mut tickets, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.state.ticket_page(cursor.as_deref(), MAX_PAGE)?;
            let to_look = |it: &_| is_to_look(it);
            tickets.extend(page.tickets.into_iter().filter(to_look));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        tickets.sort_by_key(|ticket| std::cmp::Reverse(ticket.created));
        let more = tickets.len() > MAX_PAGE;
        tickets.truncate(MAX_PAGE);
        answer(StatusCode::OK, &json!({"tickets": tickets, "more": more}))
    }

    pub(super) fn extend_ticket(&self, id: TicketId, body: &[u8]) -> Answer {
        let extend: ExtendTicket = read(body)?;
        let ticket = self.state.extend_ticket(id, extend)?;
        tracing::info!(%id, expires = ticket.expires, "ticket extended");
        answer(StatusCode::OK, &ticket)
    }

    pub(super) fn revoke_ticket(&self, id: TicketId, by: &str) -> Answer {
        let revocation = self.state.revoke_ticket(id, "", Some(by))?;
        tracing::info!(%id, by = %revocation.by, "ticket revoked");
        answer(StatusCode::OK, &*revocation)
    }
}

fn is_to_look(ticket: &crate::gate::identity::state::TicketRecord) -> bool {
    matches!(ticket.grant, Grant::View(_))
}
