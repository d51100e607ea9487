//! Sessions: what a page holds in place of the admin token or the ticket that it was opened with.
//!
//! Promise: a session is a random bearer token that stands in the memory of one page and in no cookie,
//! so no other page can bring it; here only its digest is kept. It ends when nobody extends it, at its
//! own end, and with the ticket, and the account, that it was opened with. No more than `max_sessions`
//! are open; a quarter of them is for the admin token alone, and half of the others out of reach of any
//! one ticket or certificate. They do not outlive the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::super::clients::{AdminClients, Visitor, Who};
use super::sources::DashboardSources;
use crate::config;
use crate::event::Reason;
use crate::gate::identity::ProvenAccount;
use crate::gate::identity::state::{IdentityState, TicketId, View};
use crate::telemetry::Metrics;

/// Who looks.
#[derive(Clone, Debug)]
pub(super) enum Viewer {
    /// The bearer of the admin token, or of a certificate that has a role: sees everything, and may do what
    /// the role allows.
    Admin(Who),
    /// The bearer of a ticket: sees what it says.
    Guest(Arc<Guest>),
}

/// Who has only a share of what there is: of sessions, of seats, of turns. The bearer of the admin token
/// is none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sharer {
    Ticket(TicketId),
    /// A client with a certificate, by its name.
    Client(Arc<str>),
}

impl Viewer {
    /// Whose share it takes from; none: all is for it.
    pub(super) fn sharer(&self) -> Option<Sharer> {
        match self {
            Self::Admin(who) => who.client.clone().map(Sharer::Client),
            Self::Guest(guest) => Some(Sharer::Ticket(guest.ticket)),
        }
    }
}

/// The bearer of a ticket.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) ticket: TicketId,
    pub(super) view: View,
    /// Whose account was proven, where the ticket is for accounts.
    pub(super) account: Option<ProvenAccount>,
}

/// How much of `most` all that share may have, and how much one of them.
pub(super) fn shares_of(most: u32) -> (u32, u32) {
    // Of one there is nothing to be shared.
    let reserve = most.div_ceil(4).min(most.saturating_sub(1));
    let guests = most - reserve;
    (guests, guests.div_ceil(2))
}

/// By what a session is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionKey([u8; 32]);

impl SessionKey {
    pub(super) fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

#[derive(Debug)]
struct Session {
    viewer: Viewer,
    /// Unix seconds.
    ends: u64,
    /// Cannot be extended beyond, unix seconds.
    latest: u64,
}

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSession {
    /// There are as many as there may be.
    Full,
    /// There are as many of this ticket, or certificate, as there may be.
    FullForOne,
    /// The system gives no random numbers.
    NoRandom,
}

/// Why a token stands for no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// Nobody knows of one.
    Unknown,
    /// It has ended, or is not for this address. The ticket of a guest may open another one.
    Session,
    /// The ticket that it was opened with has ended or was revoked.
    Ticket(Reason),
}

/// The open sessions.
pub(super) struct Sessions {
    table: Mutex<BTreeMap<SessionKey, Session>>,
    rules: config::Dashboard,
    state: Arc<IdentityState>,
    clients: Arc<AdminClients>,
    sources: Arc<dyn DashboardSources>,
    metrics: Arc<Metrics>,
}

impl Sessions {
    pub(super) fn new(
        rules: config::Dashboard,
        state: Arc<IdentityState>,
        clients: Arc<AdminClients>,
        sources: Arc<dyn DashboardSources>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            table: Mutex::default(),
            rules,
            state,
            clients,
            sources,
            metrics,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SessionKey, Session>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more of somebody may be opened.
    pub(super) fn room(&self, sharer: Option<&Sharer>, now: u64) -> Result<(), NoSession> {
        let mut table = self.lock();
        self.room_in(&mut table, sharer, now)
    }

    fn room_in(
        &self,
        table: &mut BTreeMap<SessionKey, Session>,
        sharer: Option<&Sharer>,
        now: u64,
    ) -> Result<(), NoSession> {
        table.retain(|_, session| now < session.ends);
        let found = self.count(table, sharer);
        if found.is_err() {
            // Those of tickets that were revoked and clients that were taken out, which nobody has come
            // back with.
            table.retain(|_, session| self.fault(&session.viewer, now).is_none());
        }
        self.metrics.dashboard.sessions.set(table.len() as u64);
        found.or_else(|_| self.count(table, sharer))
    }

    fn count(
        &self,
        table: &BTreeMap<SessionKey, Session>,
        sharer: Option<&Sharer>,
    ) -> Result<(), NoSession> {
        let most = self.rules.max_sessions as usize;
        if table.len() >= most {
            return Err(NoSession::Full);
        }
        let Some(sharer) = sharer else {
            return Ok(());
        };
        let (shared, of_one) = shares_of(self.rules.max_sessions);
        let sharers = || table.values().filter_map(|it| it.viewer.sharer());
        if sharers().count() >= shared as usize {
            return Err(NoSession::Full);
        }
        match sharers().filter(|it| it == sharer).count() >= of_one as usize {
            true => Err(NoSession::FullForOne),
            false => Ok(()),
        }
    }

    /// Opens a session: its token, told this once, and its end.
    pub(super) fn open(&self, viewer: Viewer, now: u64) -> Result<(String, u64), NoSession> {
        let latest = match &viewer {
            Viewer::Admin(_) => now.saturating_add(self.rules.session_max.as_secs()),
            // The ticket's end, which may move, is asked each time.
            Viewer::Guest(_) => u64::MAX,
        };
        let mut random = [0u8; 32];
        getrandom::fill(&mut random).map_err(|_| NoSession::NoRandom)?;
        let token = URL_SAFE_NO_PAD.encode(random);
        let key = SessionKey::of(token.as_bytes());
        let ends = self.end(&viewer, latest, now);
        let mut table = self.lock();
        self.room_in(&mut table, viewer.sharer().as_ref(), now)?;
        let session = Session {
            viewer,
            ends,
            latest,
        };
        table.insert(key, session);
        self.metrics.dashboard.sessions.set(table.len() as u64);
        Ok((token, ends))
    }

    /// The end of a session that is extended now.
    fn end(&self, viewer: &Viewer, latest: u64, now: u64) -> u64 {
        let latest = match viewer {
            Viewer::Admin(_) => latest,
            Viewer::Guest(guest) => {
                let record = self.state.tickets().record(guest.ticket, now);
                let expires = record.map_or(now, |record| record.expires);
                let account = guest.account.as_ref();
                account.map_or(expires, |account| account.ends.min(expires))
            }
        };
        let ttl = self.rules.session_ttl.as_secs();
        now.saturating_add(ttl).min(latest)
    }

    /// Whose session it is, and until when.
    ///
    /// # Errors
    /// When it has ended, or its ticket or account has, or it may not be used from there.
    pub(super) fn find(
        &self,
        key: SessionKey,
        visitor: &Visitor,
        now: u64,
    ) -> Result<(Viewer, u64), Gone> {
        let (viewer, ends) = {
            let table = self.lock();
            let session = table.get(&key).ok_or(Gone::Unknown)?;
            (session.viewer.clone(), session.ends)
        };
        let over = (now >= ends).then_some(Gone::Session);
        if let Some(gone) = self.fault(&viewer, now).or(over) {
            self.close(key);
            return Err(gone);
        }
        match self.is_from_there(&viewer, visitor, now) {
            true => Ok((viewer, ends)),
            false => Err(Gone::Session),
        }
    }

    /// What ends a session before its time, wherever it is used.
    fn fault(&self, viewer: &Viewer, now: u64) -> Option<Gone> {
        let guest = match viewer {
            Viewer::Admin(who) => {
                return (!self.clients.has(who)).then_some(Gone::Session);
            }
            Viewer::Guest(guest) => guest,
        };
        match self.state.tickets().record(guest.ticket, now) {
            Some(record) if record.revoked => {
                return Some(Gone::Ticket(Reason::CredentialRevoked));
            }
            Some(record) if now < record.expires => {}
            _ => return Some(Gone::Ticket(Reason::TicketExpired)),
        }
        let mut account = guest.account.iter();
        let lost = account.any(|account| !self.sources.still_counts(account));
        lost.then_some(Gone::Session)
    }

    fn is_from_there(&self, viewer: &Viewer, visitor: &Visitor, now: u64) -> bool {
        let guest = match viewer {
            // What a certificate has opened is only for who shows it, with the role that it still has.
            Viewer::Admin(who) => {
                return who.client.is_none() || self.clients.visitor(visitor).as_ref() == Some(who);
            }
            Viewer::Guest(guest) => guest,
        };
        let peer = visitor.address;
        let record = self.state.tickets().record(guest.ticket, now);
        record.is_some_and(|record| {
            let networks = &record.addresses;
            networks.is_empty() || networks.iter().any(|network| network.contains(peer))
        })
    }

    /// Moves the end of an open session: its new end.
    pub(super) fn extend(&self, key: SessionKey, visitor: &Visitor, now: u64) -> Option<u64> {
        let (viewer, _) = self.find(key, visitor, now).ok()?;
        let mut table = self.lock();
        let session = table.get_mut(&key)?;
        session.ends = self.end(&viewer, session.latest, now).max(session.ends);
        Some(session.ends)
    }

    /// Ends a session.
    pub(super) fn close(&self, key: SessionKey) {
        let mut table = self.lock();
        table.remove(&key);
        self.metrics.dashboard.sessions.set(table.len() as u64);
    }
}
