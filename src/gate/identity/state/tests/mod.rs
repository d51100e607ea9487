mod checking;
mod journal;
mod model;
mod using;

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::event::Reason;
use crate::foundation::names::{LogstoreName, ProjectName};

fn identity() -> Identity {
    Identity::default()
}

fn open(folder: &Path) -> IdentityState {
    open_with(folder, &identity())
}

fn open_with(folder: &Path, identity: &Identity) -> IdentityState {
    IdentityState::open(folder, identity, &Metrics::new()).unwrap()
}

fn now() -> u64 {
    clock::unix_seconds()
}

/// A ticket that writes to `shop/web`, changed as a test needs it.
fn new_ticket(change: impl FnOnce(&mut NewTicket)) -> NewTicket {
    let mut new = NewTicket {
        grant: Grant::Write {
            project: ProjectName::new("shop").unwrap(),
            logstores: vec![LogstoreName::new("web").unwrap()],
        },
        ttl_seconds: Some(3600),
        max_ttl_seconds: Some(86_400),
        not_before: None,
        max_uses: None,
        addresses: Vec::new(),
        origins: Vec::new(),
        accounts: Vec::new(),
        note: String::new(),
        by: None,
    };
    change(&mut new);
    new
}

fn create(state: &IdentityState, change: impl FnOnce(&mut NewTicket)) -> (TicketId, String) {
    let made = state.create_ticket(new_ticket(change)).unwrap();
    (made.ticket.id, made.token)
}

/// Facts of a request that writes to `shop/web`.
fn facts() -> TicketFacts<'static> {
    TicketFacts {
        wanted: Wanted::Write {
            project: "shop",
            logstore: "web",
        },
        client: [203, 0, 113, 7].into(),
        origin: None,
        account: None,
        now: now(),
    }
}

fn verdict(state: &IdentityState, token: &str, facts: &TicketFacts<'_>) -> Result<(), Reason> {
    let pass = state.tickets().check(token.as_bytes(), facts);
    pass.map(drop).map_err(|refusal| refusal.reason())
}

/// Checks and takes one use, as an accepted request does.
fn take(state: &IdentityState, token: &str) -> Result<(), Reason> {
    let pass = state.tickets().check(token.as_bytes(), &facts());
    let taken = pass.and_then(|pass| pass.take_use());
    taken.map_err(|refusal| refusal.reason())
}

fn revoke(state: &IdentityState, kind: RevocationKind, value: &str) -> Arc<Revocation> {
    try_revoke(state, kind, value).unwrap()
}

fn try_revoke(
    state: &IdentityState,
    kind: RevocationKind,
    value: &str,
) -> Result<Arc<Revocation>, ChangeError> {
    state.revoke(NewRevocation {
        kind,
        value: value.into(),
        reason: "a test".into(),
        ttl_seconds: None,
        before: None,
        by: None,
    })
}

fn is_revoked(state: &IdentityState, kind: RevocationKind, value: &str) -> bool {
    state.revocations().is_revoked(kind, value, None, now())
}
