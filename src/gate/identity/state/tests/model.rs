//! The state equals a model of a few lines, under any operations with restarts in between.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Operation {
    Revoke(u8, Option<u64>),
    Lift(u8),
    Create(Option<u64>),
    Take(usize),
    Extend(usize, u64),
    RevokeTicket(usize),
    Round { anew: bool },
    Restart { torn: bool },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0..6u8, proptest::option::of(1..5u64)).prop_map(|(v, b)| Operation::Revoke(v, b)),
        2 => (0..6u8).prop_map(Operation::Lift),
        3 => proptest::option::of(1..4u64).prop_map(Operation::Create),
        8 => (0..5usize).prop_map(Operation::Take),
        2 => (0..5usize, 3000..90_000u64).prop_map(|(t, s)| Operation::Extend(t, s)),
        1 => (0..5usize).prop_map(Operation::RevokeTicket),
        1 => any::<bool>().prop_map(|anew| Operation::Round { anew }),
        2 => any::<bool>().prop_map(|torn| Operation::Restart { torn }),
    ]
}

#[derive(Debug)]
struct ModelTicket {
    token: String,
    max_uses: Option<u64>,
    uses: u64,
    expires: u64,
    max_until: u64,
    revoked: bool,
}

impl ModelTicket {
    fn take(&mut self) -> Result<(), Reason> {
        if self.revoked {
            return Err(Reason::CredentialRevoked);
        }
        if self.max_uses.is_some_and(|max| self.uses >= max) {
            return Err(Reason::TicketUsedUp);
        }
        self.uses += 1;
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Model {
    /// `before` by value.
    revoked: BTreeMap<String, Option<u64>>,
    tickets: Vec<(TicketId, ModelTicket)>,
}

const TICKETS: u32 = 5;
const REVOCATIONS: u32 = 8;

fn restart(state: IdentityState, folder: &Path, identity: &Identity, torn: bool) -> IdentityState {
    // What is not counted strictly is written by the round only.
    state.tickets().write_uses().unwrap();
    drop(state);
    if torn {
        use std::io::Write as _;
        let path = folder.join("identity/journal");
        let mut journal = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        journal.write_all(b"0123456789abcdef {\"rev").unwrap();
    }
    open_with(folder, identity)
}

fn apply(state: &IdentityState, model: &mut Model, operation: &Operation) {
    let total = model.revoked.len() + model.tickets.iter().filter(|(_, t)| t.revoked).count();
    match *operation {
        Operation::Revoke(value, before) => {
            let value = format!("v{value}");
            let done = state.revoke(NewRevocation {
                kind: RevocationKind::Session,
                value: value.as_str().into(),
                reason: "".into(),
                ttl_seconds: None,
                before,
                by: None,
            });
            let earlier = model.revoked.get(&value).copied();
            assert_eq!(
                done.is_ok(),
                earlier.is_some() || total < REVOCATIONS as usize
            );
            if done.is_ok() {
                let merged = match earlier {
                    None => before,
                    Some(earlier) => before.and_then(|b| earlier.map(|e| b.max(e))),
                };
                model.revoked.insert(value, merged);
            }
        }
        Operation::Lift(value) => {
            let value = format!("v{value}");
            let done = state.revocations().lift(RevocationKind::Session, &value);
            assert_eq!(done.is_ok(), model.revoked.remove(&value).is_some());
        }
        Operation::Create(max_uses) => {
            let made = state.create_ticket(new_ticket(|new| new.max_uses = max_uses));
            assert_eq!(made.is_ok(), model.tickets.len() < TICKETS as usize);
            if let Ok(made) = made {
                let ticket = ModelTicket {
                    token: made.token,
                    max_uses,
                    uses: 0,
                    expires: made.ticket.expires,
                    max_until: made.ticket.max_until,
                    revoked: false,
                };
                model.tickets.push((made.ticket.id, ticket));
            }
        }
        Operation::Take(index) => {
            if let Some((_, ticket)) = model.tickets.get_mut(index) {
                let expected = ticket.take();
                assert_eq!(take(state, &ticket.token), expected);
            }
        }
        Operation::Extend(index, seconds) => {
            let Some((id, ticket)) = model.tickets.get_mut(index) else {
                return;
            };
            let until = now() + seconds;
            let good = !ticket.revoked && until > ticket.expires && until <= ticket.max_until;
            assert_eq!(state.tickets().extend(*id, until, now()).is_ok(), good);
            if good {
                ticket.expires = until;
            }
        }
        Operation::RevokeTicket(index) => {
            let Some((id, ticket)) = model.tickets.get_mut(index) else {
                return;
            };
            let done = state.revoke_ticket(*id, "", None);
            let room = ticket.revoked || total < REVOCATIONS as usize;
            assert_eq!(done.is_ok(), room);
            ticket.revoked |= room;
        }
        Operation::Round { anew } => state.round(now(), anew),
        Operation::Restart { .. } => {}
    }
}

fn compare(state: &IdentityState, model: &Model) {
    let page = state.revocation_page(Some(RevocationKind::Session), None, 1000);
    let found: BTreeMap<String, Option<u64>> = page
        .unwrap()
        .revocations
        .iter()
        .map(|one| (one.value.to_string(), one.before))
        .collect();
    assert_eq!(found, model.revoked);
    assert_eq!(state.tickets().len(), model.tickets.len());
    for (id, expected) in &model.tickets {
        let record = state.tickets().record(*id, now()).unwrap();
        let found = (
            record.uses,
            record.expires,
            record.max_until,
            record.revoked,
        );
        let expected = (
            expected.uses,
            expected.expires,
            expected.max_until,
            expected.revoked,
        );
        assert_eq!(found, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_state_equals_the_model(operations in prop::collection::vec(operation(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let mut identity = identity();
        identity.ticket.max_count = TICKETS;
        identity.revocation.max_count = REVOCATIONS;
        let mut state = open_with(folder.path(), &identity);
        let mut model = Model::default();
        for operation in &operations {
            apply(&state, &mut model, operation);
            if let Operation::Restart { torn } = operation {
                state = restart(state, folder.path(), &identity, *torn);
                compare(&state, &model);
            }
        }
        compare(&state, &model);
        let state = restart(state, folder.path(), &identity, false);
        compare(&state, &model);
    }
}
