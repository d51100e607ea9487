//! The tickets: made, checked, used, extended.
//!
//! Promise: a ticket with `max_uses` N is taken N times in all, by however many requests at once
//! and across restarts; the count is in the journal before the request goes on. When that cannot be
//! written the use is refused. Uses of a ticket without a limit are only counted, and written every
//! few seconds. At `max_count` no new ticket is made; none is dropped for it before it has expired.
//!
//! Whether a ticket is revoked is asked of [`Revocations`], and kept nowhere else.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arc_swap::ArcSwap;

use super::error::ChangeError;
use super::journal::{Entry, Journal};
use super::messages::NewTicket;
use super::revocation::RevocationKind;
use super::revocations::Revocations;
use super::ticket::{Grant, Ticket, TicketFacts, TicketRecord};
use super::ticket_id::TicketId;
use super::ticket_token::{TicketClaims, TicketKeys};
use crate::event::{Reason, Refusal};
use crate::foundation::clock;
use crate::telemetry::Metrics;

/// How long a ticket lives when nobody says.
const DEFAULT_TTL: u64 = 86_400;
/// How long a ticket is kept after its end, so that its bearer is told that it has expired.
const KEPT_AFTER_END: u64 = 86_400;

/// What the configuration says of tickets.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) keys: TicketKeys,
    /// Seconds.
    pub(super) max_lifetime: u64,
    pub(super) max_count: u32,
}

type Table = BTreeMap<TicketId, Arc<Ticket>>;

/// The tickets of this node.
#[derive(Debug)]
pub struct Tickets {
    table: RwLock<Table>,
    rules: ArcSwap<Rules>,
    revocations: Arc<Revocations>,
    journal: Arc<Journal>,
    metrics: Arc<Metrics>,
}

/// A ticket that may be used as a request wants to use it.
#[derive(Clone, Debug)]
pub struct TicketPass {
    ticket: Arc<Ticket>,
    journal: Arc<Journal>,
}

impl TicketPass {
    /// The ticket's id.
    #[must_use]
    pub fn id(&self) -> TicketId {
        self.ticket.id()
    }

    /// What the ticket is for: with [`Grant::View`], also what its bearer may see.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        self.ticket.grant()
    }

    /// When the ticket was made, unix seconds.
    #[must_use]
    pub fn issued_at(&self) -> u64 {
        self.ticket.created()
    }

    /// When the ticket ends, unless it is extended; unix seconds.
    #[must_use]
    pub fn expires(&self) -> u64 {
        self.ticket.expires()
    }

    /// Whether it may be used only so often, or only from some addresses, pages or accounts: what
    /// could not be asked of another credential that is given for it.
    #[must_use]
    pub fn has_limits(&self) -> bool {
        self.ticket.has_limits()
    }

    /// Counts one use: call it once, when the request is accepted. It writes a line to a file that
    /// is open, and does not wait for the disk.
    ///
    /// # Errors
    /// When others have taken the last use meanwhile, or the use cannot be written.
    pub fn take_use(&self) -> Result<(), Refusal> {
        let ticket = &self.ticket;
        let count = ticket.take().ok_or(Reason::TicketUsedUp)?;
        if !ticket.is_counted_strictly() {
            return Ok(());
        }
        let entry = Entry::Uses {
            id: ticket.id(),
            count,
        };
        self.journal.append(&entry).map_err(|error| {
            ticket.give_back();
            tracing::error!(ticket = %ticket.id(), %error, "a use of a ticket could not be written and is refused");
            Refusal::new(Reason::Internal, "the use of the ticket could not be written")
        })?;
        ticket.set_written(count);
        Ok(())
    }

    /// Takes a use back that led to nothing. A restart may still count it: the journal is not told,
    /// and a use too few is the safe mistake.
    pub fn give_back(&self) {
        self.ticket.give_back();
    }
}

impl Tickets {
    pub(super) fn new(
        table: BTreeMap<TicketId, Ticket>,
        rules: Rules,
        revocations: Arc<Revocations>,
        journal: Arc<Journal>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let shared = |(id, ticket)| (id, Arc::new(ticket));
        Self {
            table: RwLock::new(table.into_iter().map(shared).collect()),
            rules: ArcSwap::from_pointee(rules),
            revocations,
            journal,
            metrics,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: TicketId) -> Option<Arc<Ticket>> {
        self.read().get(&id).map(Arc::clone)
    }

    /// How many are kept, expired ones of the last day included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `token` may be used so. Nothing is counted yet.
    ///
    /// # Errors
    /// A refusal with one of the `Ticket…` reasons, `CredentialRevoked`, or `Token…` for what is no
    /// ticket of ours. It never repeats the token.
    pub fn check(&self, token: &[u8], facts: &TicketFacts<'_>) -> Result<TicketPass, Refusal> {
        let payload = self.rules.load().keys.verify(token)?;
        let claims: TicketClaims<'_> =
            serde_json::from_slice(&payload).map_err(|_| Reason::TokenMalformed)?;
        if facts.now >= claims.exp {
            return Err(Reason::TicketExpired.into());
        }
        let ticket = self.find(claims.ticket_id).ok_or(Reason::TicketUnknown)?;
        if self.is_revoked(&ticket, facts.now) {
            return Err(Reason::CredentialRevoked.into());
        }
        if claims.kind != ticket.grant().token_type() {
            return Err(Reason::TicketScope.into());
        }
        ticket.check(facts)?;
        Ok(TicketPass {
            ticket,
            journal: Arc::clone(&self.journal),
        })
    }

    /// The record that a token of ours names, whatever may be done with it. Nothing is counted.
    #[must_use]
    pub fn named(&self, token: &[u8], now: u64) -> Option<TicketRecord> {
        let payload = self.rules.load().keys.verify(token).ok()?;
        let claims: TicketClaims<'_> = serde_json::from_slice(&payload).ok()?;
        self.record(claims.ticket_id, now)
    }

    fn is_revoked(&self, ticket: &Ticket, now: u64) -> bool {
        let created = Some(ticket.created());
        self.revocations
            .is_revoked(RevocationKind::Ticket, ticket.name(), created, now)
    }

    /// Makes a ticket, and tells its token this once. Blocks until it is on disk.
    ///
    /// # Errors
    /// When a member is not what it must be, there are too many, or it could not be written.
    pub fn create(&self, new: NewTicket) -> Result<(TicketRecord, String), ChangeError> {
        let millis = clock::unix_millis();
        let now = millis / 1000;
        let rules = self.rules.load();
        let record = new_record(new, now, rules.max_lifetime)?;
        let claims = TicketClaims {
            kind: record.grant.token_type(),
            exp: record.max_until,
            nonce: millis,
            iat: now,
            ticket_id: record.id,
        };
        let no_key = || ChangeError::Conflict("there is no key to sign tickets with".to_owned());
        let token = rules.keys.sign(&claims).ok_or_else(no_key)?;
        let change = self.journal.begin();
        if self.len() >= rules.max_count as usize {
            self.drop_ended(now);
            if self.len() >= rules.max_count as usize {
                return Err(ChangeError::Full {
                    what: "tickets",
                    max: rules.max_count,
                    key: "identity.ticket.max_count",
                });
            }
        }
        change.commit(&Entry::Ticket(Box::new(record.clone())))?;
        let ticket = Arc::new(Ticket::new(record.clone()));
        self.write().insert(record.id, ticket);
        self.count();
        Ok((record, token))
    }

    /// Moves a ticket's end. Blocks until that is on disk.
    ///
    /// # Errors
    /// When there is no such ticket, it has ended or is revoked, `until` is not later than its end or
    /// beyond what it may ever be extended to, or it could not be written.
    pub fn extend(&self, id: TicketId, until: u64, now: u64) -> Result<TicketRecord, ChangeError> {
        let change = self.journal.begin();
        let ticket = self.find(id).ok_or(ChangeError::NotFound("ticket"))?;
        let conflict = |why: String| Err(ChangeError::Conflict(why));
        if self.is_revoked(&ticket, now) {
            return conflict("the ticket is revoked; make a new one".to_owned());
        }
        if now >= ticket.expires() {
            return conflict("the ticket has expired; make a new one".to_owned());
        }
        if until > ticket.max_until() {
            let max = ticket.max_until();
            return conflict(format!(
                "the ticket can be extended until {max} (unix seconds) and no further"
            ));
        }
        if until <= ticket.expires() {
            let end = ticket.expires();
            return conflict(format!(
                "the ticket is good until {end} (unix seconds) already; to end it early, revoke it"
            ));
        }
        change.commit(&Entry::Extend { id, expires: until })?;
        ticket.extend(until);
        Ok(ticket.record())
    }

    /// The record of a ticket as it stands now.
    #[must_use]
    pub fn record(&self, id: TicketId, now: u64) -> Option<TicketRecord> {
        self.find(id).map(|ticket| self.shown(&ticket, now))
    }

    /// At most `limit` tickets in the order of their ids, after `after`; and whether there are more.
    #[must_use]
    pub fn list(
        &self,
        after: Option<TicketId>,
        limit: usize,
        now: u64,
    ) -> (Vec<TicketRecord>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut page: Vec<_> = {
            let table = self.read();
            let range = table.range((from, Bound::Unbounded));
            let some = range.take(limit.saturating_add(1));
            some.map(|(_, ticket)| Arc::clone(ticket)).collect()
        };
        let more = page.len() > limit;
        page.truncate(limit);
        let page = page.iter().map(|ticket| self.shown(ticket, now));
        (page.collect(), more)
    }

    fn shown(&self, ticket: &Ticket, now: u64) -> TicketRecord {
        TicketRecord {
            revoked: self.is_revoked(ticket, now),
            ..ticket.record()
        }
    }

    pub(super) fn set_rules(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    pub(super) fn max_lifetime(&self) -> u64 {
        self.rules.load().max_lifetime
    }

    /// Forgets tickets that ended more than a day ago.
    pub(super) fn prune(&self, now: u64) {
        self.drop_ended(now.saturating_sub(KEPT_AFTER_END));
        self.count();
    }

    fn drop_ended(&self, by: u64) {
        let any = self.read().values().any(|ticket| ticket.expires() <= by);
        if any {
            self.write().retain(|_, ticket| ticket.expires() > by);
        }
    }

    /// Writes the counts of uses that were only counted so far.
    pub(super) fn write_uses(&self) -> std::io::Result<()> {
        let tickets: Vec<_> = self.read().values().map(Arc::clone).collect();
        for ticket in tickets {
            if let Some(count) = ticket.unwritten() {
                self.journal.append(&Entry::Uses {
                    id: ticket.id(),
                    count,
                })?;
                ticket.set_written(count);
            }
        }
        Ok(())
    }

    /// What the journal needs to hold of them.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let table = self.read();
        let entry = |ticket: &Arc<Ticket>| Entry::Ticket(Box::new(ticket.record()));
        table.values().map(entry).collect()
    }

    pub(super) fn count(&self) {
        self.metrics.tickets.set(self.len() as u64);
    }
}

fn new_record(new: NewTicket, now: u64, max_lifetime: u64) -> Result<TicketRecord, ChangeError> {
    let max_ttl = new.max_ttl_seconds.unwrap_or(max_lifetime);
    if max_ttl > max_lifetime {
        let why = format!("is more than identity.ticket.max_lifetime, {max_lifetime} s");
        return Err(ChangeError::invalid("maxTtlSeconds", why));
    }
    let ttl = new.ttl_seconds.unwrap_or(DEFAULT_TTL.min(max_ttl));
    if ttl == 0 || ttl > max_ttl {
        let why = format!("must be 1 to {max_ttl} s, the longest that the ticket may live");
        return Err(ChangeError::invalid("ttlSeconds", why));
    }
    let no_random = || ChangeError::Conflict("the system gives no random numbers".to_owned());
    let record = TicketRecord {
        id: TicketId::random().ok_or_else(no_random)?,
        grant: new.grant,
        created: now,
        created_by: new.by.unwrap_or_else(|| "api".to_owned()),
        not_before: new.not_before,
        expires: now.saturating_add(ttl),
        max_until: now.saturating_add(max_ttl),
        max_uses: new.max_uses,
        uses: 0,
        addresses: new.addresses,
        origins: new.origins,
        accounts: new.accounts,
        note: new.note,
        revoked: false,
    };
    record.check()?;
    Ok(record)
}
