//! What a ticket is taken for, and the exact reason when it is not.

use super::*;

fn write<'a>(project: &'a str, logstore: &'a str) -> Wanted<'a> {
    Wanted::Write { project, logstore }
}

fn view<'a>(project: &'a str, dashboard: &'a str) -> Wanted<'a> {
    Wanted::View { project, dashboard }
}

#[test]
fn a_ticket_is_good_for_what_it_was_made_and_each_refusal_says_its_own_reason() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    let (_, token) = create(&state, |new| {
        new.not_before = Some(now() + 10);
        new.addresses = vec!["203.0.113.0/24".parse().unwrap()];
        new.origins = vec!["https://shop.example.com".to_owned()];
        new.accounts = vec!["alice".to_owned()];
    });
    let good = TicketFacts {
        origin: Some("https://shop.example.com"),
        account: Some("alice"),
        now: now() + 20,
        ..facts()
    };
    let verdict = |facts: TicketFacts<'_>| verdict(&state, &token, &facts);
    assert_eq!(verdict(good), Ok(()));
    type Change = fn(&mut TicketFacts<'_>);
    let cases: [(Reason, Change); 12] = [
        (Reason::TicketNotYetValid, |facts| facts.now -= 20),
        (Reason::TicketExpired, |facts| facts.now += 3600),
        (Reason::TicketExpired, |facts| facts.now += 86_400),
        (Reason::TicketScope, |facts| {
            facts.wanted = write("shop", "app")
        }),
        (Reason::TicketScope, |facts| {
            facts.wanted = write("other", "web")
        }),
        (Reason::TicketScope, |facts| {
            facts.wanted = view("shop", "web")
        }),
        (Reason::TicketAddress, |facts| {
            facts.client = [198, 51, 100, 7].into()
        }),
        (Reason::TicketAddress, |facts| {
            facts.client = [0u16; 8].into()
        }),
        (Reason::TicketOrigin, |facts| {
            facts.origin = Some("https://evil.example")
        }),
        (Reason::TicketOrigin, |facts| facts.origin = None),
        (Reason::TicketAccount, |facts| facts.account = Some("bob")),
        (Reason::TicketAccount, |facts| facts.account = None),
    ];
    for (reason, change) in cases {
        let mut facts = good;
        change(&mut facts);
        assert_eq!(verdict(facts), Err(reason), "{facts:?}");
    }
}

#[test]
fn a_ticket_to_look_does_not_write_and_says_what_may_be_seen() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    let seen = View {
        project: ProjectName::new("shop").unwrap(),
        dashboard: "overview".to_owned(),
        from: Some(1),
        to: None,
        last_seconds: Some(3600),
        logstores: Vec::new(),
        hidden: Vec::new(),
        filters: vec![FieldFilter {
            field: "region".to_owned(),
            value: "eu".to_owned(),
        }],
    };
    let (_, token) = create(&state, |new| new.grant = Grant::View(seen.clone()));
    assert_eq!(verdict(&state, &token, &facts()), Err(Reason::TicketScope));
    let wanted = view("shop", "overview");
    let facts = TicketFacts { wanted, ..facts() };
    let pass = state.tickets().check(token.as_bytes(), &facts).unwrap();
    assert_eq!(*pass.grant(), Grant::View(seen));
    let wanted = view("shop", "other");
    let facts = TicketFacts { wanted, ..facts };
    assert_eq!(verdict(&state, &token, &facts), Err(Reason::TicketScope));
}

#[test]
fn a_revoked_ticket_is_refused_until_that_is_lifted() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    let (id, token) = create(&state, |_| {});
    let revocation = state.revoke_ticket(id, "leaked", None).unwrap();
    let record = state.tickets().record(id, now()).unwrap();
    assert!(record.revoked);
    assert_eq!(
        revocation.expires,
        Some(record.max_until),
        "kept as long as the ticket could be extended to"
    );
    assert_eq!(
        verdict(&state, &token, &facts()),
        Err(Reason::CredentialRevoked)
    );
    let extended = state.tickets().extend(id, now() + 7200, now());
    assert!(matches!(extended, Err(ChangeError::Conflict(_))));
    let name = id.to_string();
    state
        .revocations()
        .lift(RevocationKind::Ticket, &name)
        .unwrap();
    assert_eq!(verdict(&state, &token, &facts()), Ok(()));
    let unknown = TicketId::random().unwrap();
    let missing = state.revoke_ticket(unknown, "", None);
    assert!(matches!(missing, Err(ChangeError::NotFound("ticket"))));
}

#[test]
fn tokens_that_are_not_of_this_node_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    let (_, foreign) = create(&open(other.path()), |_| {});
    assert_eq!(
        verdict(&state, &foreign, &facts()),
        Err(Reason::TokenSignature)
    );
    // The same key, but another node's ticket.
    std::fs::create_dir_all(other.path().join("twin/keys")).unwrap();
    let key = std::fs::read(folder.path().join("keys/ticket.key")).unwrap();
    std::fs::write(other.path().join("twin/keys/ticket.key"), key).unwrap();
    let twin = open(&other.path().join("twin"));
    let (_, unknown) = create(&twin, |_| {});
    assert_eq!(
        verdict(&state, &unknown, &facts()),
        Err(Reason::TicketUnknown)
    );
    for bad in ["", "a.b.c", "..", &foreign.replace('.', "")] {
        assert_eq!(
            verdict(&state, bad, &facts()),
            Err(Reason::TokenMalformed),
            "{bad}"
        );
    }
}

#[test]
fn what_makes_no_sense_is_refused_when_it_is_made() {
    type Change = fn(&mut NewTicket);
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    let cases: [(&str, Change); 10] = [
        ("maxUses", |new| new.max_uses = Some(0)),
        ("ttlSeconds", |new| new.ttl_seconds = Some(0)),
        ("ttlSeconds", |new| new.ttl_seconds = Some(86_401)),
        ("ttlSeconds", |new| new.ttl_seconds = Some(u64::MAX)),
        ("maxTtlSeconds", |new| new.max_ttl_seconds = Some(u64::MAX)),
        ("notBefore", |new| new.not_before = Some(u64::MAX)),
        ("origins", |new| new.origins = vec!["*".to_owned()]),
        ("accounts", |new| new.accounts = vec![String::new()]),
        ("note", |new| new.note = "a\nb".to_owned()),
        ("grant", |new| new.accounts = vec!["a".repeat(250); 20]),
    ];
    for (member, change) in cases {
        match state.create_ticket(new_ticket(change)) {
            Err(ChangeError::Invalid { member: found, .. }) => assert_eq!(found, member),
            other => panic!("{member}: {other:?}"),
        }
    }
    let none = Grant::Write {
        project: ProjectName::new("shop").unwrap(),
        logstores: Vec::new(),
    };
    let refused = state.create_ticket(new_ticket(|new| new.grant = none));
    assert!(matches!(refused, Err(ChangeError::Invalid { .. })));
    assert!(state.tickets().is_empty());
}

#[test]
fn a_ticket_is_extended_within_its_bounds_only() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    let (id, token) = create(&state, |_| {});
    let tickets = state.tickets();
    let start = tickets.record(id, now()).unwrap();
    let later = TicketFacts {
        now: start.expires + 10,
        ..facts()
    };
    assert_eq!(verdict(&state, &token, &later), Err(Reason::TicketExpired));
    let extend = |until, now| tickets.extend(id, until, now);
    for until in [start.expires, start.expires - 1, start.max_until + 1] {
        let refused = extend(until, now());
        assert!(matches!(refused, Err(ChangeError::Conflict(_))), "{until}");
    }
    let ended = extend(start.max_until, start.expires);
    assert!(matches!(ended, Err(ChangeError::Conflict(_))));
    let record = extend(start.max_until, now()).unwrap();
    assert_eq!(record.expires, start.max_until);
    assert_eq!(verdict(&state, &token, &later), Ok(()));
    drop(state);
    let state = open(folder.path());
    assert_eq!(verdict(&state, &token, &later), Ok(()), "after a restart");
    let both = ExtendTicket {
        ttl_seconds: Some(1),
        until: Some(1),
    };
    assert!(state.extend_ticket(id, both).is_err());
}

#[test]
fn keys_are_rotated_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let secret = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, name.repeat(32)).unwrap();
        crate::foundation::secret::SecretRef::File(path)
    };
    let mut identity = identity();
    identity.ticket.keys = vec![secret("a")];
    let state = open_with(folder.path(), &identity);
    let (_, old) = create(&state, |_| {});
    identity.ticket.keys = vec![secret("b"), secret("a")];
    state.reload(folder.path(), &identity).unwrap();
    let (_, new) = create(&state, |_| {});
    assert_eq!(verdict(&state, &old, &facts()), Ok(()));
    assert_eq!(verdict(&state, &new, &facts()), Ok(()));
    identity.ticket.keys = vec![secret("b")];
    state.reload(folder.path(), &identity).unwrap();
    assert_eq!(verdict(&state, &old, &facts()), Err(Reason::TokenSignature));
    assert_eq!(verdict(&state, &new, &facts()), Ok(()));
    let short = folder.path().join("short");
    std::fs::write(&short, "hunter2").unwrap();
    identity.ticket.keys = vec![crate::foundation::secret::SecretRef::File(short)];
    let error = state.reload(folder.path(), &identity).unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert_eq!(verdict(&state, &new, &facts()), Ok(()), "nothing changed");
}
