//! What identity remembers: revocations, tickets and how often they were used.
//!
//! Promise: what [`IdentityState`] has confirmed holds from that moment on, and after a restart;
//! lookups never touch the disk. It is kept in `{data_dir}/identity/journal`, which one process has
//! open at a time. When the disk is full changes are refused and lookups go on. Not here: who may
//! change it (`admin`), and where in a request a ticket stands (`front`).

mod error;
mod journal;
mod messages;
mod revocation;
mod revocations;
mod secrets;
mod ticket;
mod ticket_id;
mod ticket_token;
mod tickets;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use self::error::{ChangeError, OpenError, StateKeyError};
use self::journal::{Entry, Journal};
pub use self::messages::{
    ExtendTicket, MadeTicket, NewRevocation, NewTicket, RevocationPage, TicketPage,
};
pub use self::revocation::{NoKind, Revocation, RevocationKind};
pub use self::revocations::Revocations;
use self::revocations::Shelves;
pub use self::secrets::{admin_token, known_admin_token};
use self::ticket::Ticket;
pub use self::ticket::{FieldFilter, Grant, TicketFacts, TicketRecord, View, Wanted};
pub use self::ticket_id::{NoTicketId, TicketId};
use self::ticket_token::TicketKeys;
pub use self::ticket_token::looks_like_ticket;
use self::tickets::Rules;
pub use self::tickets::{TicketPass, Tickets};
use crate::config::Identity;
use crate::foundation::clock;
use crate::telemetry::Metrics;

/// Time between two rounds of [`IdentityState::run`].
const ROUND: Duration = Duration::from_secs(10);
/// Lines that a journal may have beyond twice what it needs before it is written anew.
const SLACK: u64 = 1024;
/// The most that a list shows at once.
pub const MAX_PAGE: usize = 1000;

/// Revocations and tickets, kept on disk.
#[derive(Debug)]
pub struct IdentityState {
    revocations: Arc<Revocations>,
    tickets: Arc<Tickets>,
    journal: Arc<Journal>,
    /// The longest that a token (JWT) may still live, seconds.
    token_lifetime: AtomicU64,
    damaged: u64,
}

impl IdentityState {
    /// Opens what is kept in `data_dir`. Blocks on the disk.
    ///
    /// # Errors
    /// When another process has it open, it cannot be read, a newer version wrote it, or a key of
    /// tickets cannot be had.
    pub fn open(
        data_dir: &Path,
        identity: &Identity,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let now = clock::unix_seconds();
        let folder = data_dir.join("identity");
        let shelves = Shelves::default();
        let mut tickets: BTreeMap<TicketId, Ticket> = BTreeMap::new();
        let (journal, replay) = Journal::open(&folder, |entry| match entry {
            Entry::Format(_) => {}
            Entry::Revoke(revocation) => shelves.put(revocation),
            Entry::Lift { kind, value } => shelves.take(kind, &value),
            Entry::Ticket(record) => {
                tickets.insert(record.id, Ticket::new(*record));
            }
            Entry::Extend { id, expires } => {
                if let Some(ticket) = tickets.get(&id) {
                    ticket.extend(expires);
                }
            }
            Entry::Uses { id, count } => {
                if let Some(ticket) = tickets.get(&id) {
                    ticket.recount(count);
                }
            }
        })?;
        if replay.damaged > 0 {
            tracing::error!(
                lines = replay.damaged,
                folder = %folder.display(),
                "damaged lines of the journal of tickets and revocations were skipped; a revocation may be among them; a copy is kept as journal.damaged"
            );
        }
        let journal = Arc::new(journal);
        let revocations = Arc::new(Revocations::new(
            shelves,
            identity.revocation.max_count,
            Arc::clone(&journal),
            Arc::clone(metrics),
        ));
        let tickets = Arc::new(Tickets::new(
            tickets,
            rules(identity, data_dir)?,
            Arc::clone(&revocations),
            Arc::clone(&journal),
            Arc::clone(metrics),
        ));
        let state = Self {
            revocations,
            tickets,
            journal,
            token_lifetime: AtomicU64::new(token_lifetime(identity)),
            damaged: replay.damaged,
        };
        state.round(now, replay.damaged > 0);
        Ok(state)
    }

    /// The revocations.
    #[must_use]
    pub fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// The tickets.
    #[must_use]
    pub fn tickets(&self) -> &Arc<Tickets> {
        &self.tickets
    }

    /// Lines that were skipped when it was opened, because they were torn or damaged.
    #[must_use]
    pub fn damaged_lines(&self) -> u64 {
        self.damaged
    }

    /// Takes over what a new configuration says: keys of tickets, and bounds.
    ///
    /// # Errors
    /// When a key cannot be had. Nothing has changed then.
    pub fn reload(&self, data_dir: &Path, identity: &Identity) -> Result<(), StateKeyError> {
        let rules = rules(identity, data_dir)?;
        self.tickets.set_rules(rules);
        self.revocations
            .set_max_count(identity.revocation.max_count);
        self.token_lifetime
            .store(token_lifetime(identity), Ordering::Relaxed);
        Ok(())
    }

    /// Revokes as asked for. Blocks until it is on disk.
    ///
    /// # Errors
    /// As [`Revocations::revoke`].
    pub fn revoke(&self, new: NewRevocation) -> Result<Arc<Revocation>, ChangeError> {
        let now = clock::unix_seconds();
        if new.kind == RevocationKind::Ticket {
            // In any other form it would hit nothing.
            let id: Result<TicketId, _> = new.value.parse();
            id.map_err(|error| ChangeError::invalid("value", error.to_string()))?;
        }
        let expires = match new.ttl_seconds {
            Some(0) => {
                return Err(ChangeError::invalid(
                    "ttlSeconds",
                    "is 0: it would hit nothing",
                ));
            }
            Some(ttl) => Some(now.saturating_add(ttl)),
            None => self.default_end(new.kind, &new.value, now),
        };
        let revocation = Revocation {
            kind: new.kind,
            value: new.value,
            reason: new.reason,
            created: now,
            expires,
            before: new.before,
            by: new.by.unwrap_or_else(|| "api".into()),
        };
        self.revocations.revoke(revocation, now)
    }

    /// Revokes a ticket that is known here. Blocks until it is on disk.
    ///
    /// # Errors
    /// When there is no such ticket, and as [`Revocations::revoke`].
    pub fn revoke_ticket(
        &self,
        id: TicketId,
        reason: &str,
        by: Option<&str>,
    ) -> Result<Arc<Revocation>, ChangeError> {
        if self.tickets.record(id, 0).is_none() {
            return Err(ChangeError::NotFound("ticket"));
        }
        self.revoke(NewRevocation {
            kind: RevocationKind::Ticket,
            value: id.to_string().into(),
            reason: reason.into(),
            ttl_seconds: None,
            before: None,
            by: by.map(Into::into),
        })
    }

    /// Moves a ticket's end as asked for. Blocks until that is on disk.
    ///
    /// # Errors
    /// As [`Tickets::extend`], and when not exactly one of the two times is given.
    pub fn extend_ticket(
        &self,
        id: TicketId,
        extend: ExtendTicket,
    ) -> Result<TicketRecord, ChangeError> {
        let now = clock::unix_seconds();
        let until = match (extend.ttl_seconds, extend.until) {
            (Some(ttl), None) => now.saturating_add(ttl),
            (None, Some(until)) => until,
            _ => return Err(ChangeError::invalid("ttlSeconds", "give it, or until")),
        };
        self.tickets.extend(id, until, now)
    }

    /// Makes a ticket. Blocks until it is on disk.
    ///
    /// # Errors
    /// As [`Tickets::create`].
    pub fn create_ticket(&self, new: NewTicket) -> Result<MadeTicket, ChangeError> {
        let (ticket, token) = self.tickets.create(new)?;
        Ok(MadeTicket { ticket, token })
    }

    /// A part of the list of tickets, at most [`MAX_PAGE`] of them.
    ///
    /// # Errors
    /// When the cursor is none that a list has given.
    pub fn ticket_page(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<TicketPage, ChangeError> {
        let bad = |_| ChangeError::invalid("cursor", "is none that a list has given");
        let after = cursor.map(str::parse).transpose().map_err(bad)?;
        let limit = limit.clamp(1, MAX_PAGE);
        let now = clock::unix_seconds();
        let (tickets, more) = self.tickets.list(after, limit, now);
        let next = tickets.last().filter(|_| more);
        Ok(TicketPage {
            next: next.map(|last| last.id.to_string()),
            tickets,
        })
    }

    /// A part of the list of revocations, at most [`MAX_PAGE`] of them.
    ///
    /// # Errors
    /// When the cursor is none that a list has given.
    pub fn revocation_page(
        &self,
        kind: Option<RevocationKind>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<RevocationPage, ChangeError> {
        let read = |cursor: &str| {
            let (kind, value) = cursor.split_once(':')?;
            Some((kind.parse().ok()?, value.to_owned()))
        };
        let bad = || ChangeError::invalid("cursor", "is none that a list has given");
        let after = cursor
            .map(|cursor| read(cursor).ok_or_else(bad))
            .transpose()?;
        let after = after.as_ref().map(|(kind, value)| (*kind, value.as_str()));
        let limit = limit.clamp(1, MAX_PAGE);
        let now = clock::unix_seconds();
        let (found, more) = self.revocations.list(kind, after, limit, now);
        let next = found.last().filter(|_| more);
        Ok(RevocationPage {
            next: next.map(|last| format!("{}:{}", last.kind, last.value)),
            revocations: found.iter().map(|one| (**one).clone()).collect(),
        })
    }

    /// When a revocation ends if nobody says: of a ticket or a token, when that cannot be valid any
    /// more; of everything else, never.
    fn default_end(&self, kind: RevocationKind, value: &str, now: u64) -> Option<u64> {
        let lifetime = match kind {
            RevocationKind::Ticket => {
                let record = value
                    .parse()
                    .ok()
                    .and_then(|id| self.tickets.record(id, now));
                if let Some(record) = record {
                    return Some(record.max_until);
                }
                self.tickets.max_lifetime()
            }
            RevocationKind::Jti => match self.token_lifetime.load(Ordering::Relaxed) {
                0 => return None, // no key is known, so neither is a lifetime
                lifetime => lifetime,
            },
            _ => return None,
        };
        Some(now.saturating_add(lifetime))
    }

    /// Forgets what has ended, writes counts of uses and keeps the journal short, every ten seconds
    /// until `stop`, and once more then.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let stopped = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(ROUND) => false,
            };
            let state = Arc::clone(&self);
            let round = tokio::task::spawn_blocking(move || {
                state.round(clock::unix_seconds(), false);
            });
            if let Err(error) = round.await {
                tracing::error!(%error, "a round over tickets and revocations failed");
            }
            if stopped {
                return;
            }
        }
    }

    fn round(&self, now: u64, damaged: bool) {
        self.revocations.prune(now);
        self.tickets.prune(now);
        if let Err(error) = self.tickets.write_uses() {
            tracing::error!(%error, "counts of uses of tickets could not be written; tried again");
        }
        let change = self.journal.begin();
        let live = self.revocations.len() + self.tickets.len();
        let (lines, broken) = self.journal.fill();
        if damaged || broken || lines > 2 * live as u64 + SLACK {
            let live = || {
                let mut entries = self.revocations.entries();
                entries.append(&mut self.tickets.entries());
                entries
            };
            if let Err(error) = change.rewrite(live, damaged) {
                tracing::error!(%error, "the journal of tickets and revocations could not be written anew; tried again");
            }
        }
    }
}

fn rules(identity: &Identity, data_dir: &Path) -> Result<Rules, StateKeyError> {
    Ok(Rules {
        keys: TicketKeys::new(&secrets::ticket_keys(&identity.ticket, data_dir)?),
        max_lifetime: identity.ticket.max_lifetime.as_secs(),
        max_count: identity.ticket.max_count,
    })
}

fn token_lifetime(identity: &Identity) -> u64 {
    let lifetimes = identity.jwt.iter().map(|key| {
        let leeway = key.leeway.as_secs();
        key.max_lifetime.as_secs().saturating_add(leeway)
    });
    lifetimes.max().unwrap_or_default()
}
