//! Counting uses, bounds, lists, and what ends by itself.

use std::sync::Barrier;

use super::*;

#[test]
fn a_hundred_at_once_get_as_many_uses_as_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    let (id, token) = create(&state, |new| new.max_uses = Some(37));
    let barrier = Barrier::new(100);
    let good = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..100)
            .map(|_| {
                scope.spawn(|| {
                    let pass = state.tickets().check(token.as_bytes(), &facts()).unwrap();
                    barrier.wait();
                    pass.take_use()
                })
            })
            .collect();
        let verdicts = threads.into_iter().map(|thread| thread.join().unwrap());
        verdicts
            .filter(|verdict| match verdict {
                Ok(()) => true,
                Err(refusal) => {
                    assert_eq!(refusal.reason(), Reason::TicketUsedUp);
                    false
                }
            })
            .count()
    });
    assert_eq!(good, 37);
    assert_eq!(take(&state, &token), Err(Reason::TicketUsedUp));
    // As after kill -9: nothing is closed or flushed.
    drop(state);
    let state = open(folder.path());
    assert_eq!(take(&state, &token), Err(Reason::TicketUsedUp));
    assert_eq!(state.tickets().record(id, now()).unwrap().uses, 37);
}

#[test]
fn a_use_that_led_to_nothing_can_be_had_again_and_never_twice() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    let (id, token) = create(&state, |new| new.max_uses = Some(2));
    let check = || state.tickets().check(token.as_bytes(), &facts()).unwrap();
    let (first, second) = (check(), check());
    first.take_use().unwrap();
    second.take_use().unwrap();
    first.give_back();
    first.take_use().unwrap();
    assert_eq!(take(&state, &token), Err(Reason::TicketUsedUp));
    drop((first, second));
    drop(state);
    let state = open(folder.path());
    assert_eq!(take(&state, &token), Err(Reason::TicketUsedUp));
    assert_eq!(state.tickets().record(id, now()).unwrap().uses, 2);
}

#[test]
fn refused_requests_count_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    let (_, token) = create(&state, |new| {
        new.max_uses = Some(1);
        new.origins = vec!["https://shop.example.com".to_owned()];
    });
    for _ in 0..10 {
        assert_eq!(take(&state, &token), Err(Reason::TicketOrigin));
    }
    let facts = TicketFacts {
        origin: Some("https://shop.example.com"),
        ..facts()
    };
    let pass = state.tickets().check(token.as_bytes(), &facts).unwrap();
    // Checked again and again, but taken once.
    assert_eq!(verdict(&state, &token, &facts), Ok(()));
    pass.take_use().unwrap();
    assert_eq!(verdict(&state, &token, &facts), Err(Reason::TicketUsedUp));
}

#[test]
fn a_use_that_cannot_be_written_is_refused_and_not_counted() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    let (id, token) = create(&state, |new| new.max_uses = Some(1));
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    state.journal.replace_file(full);
    assert_eq!(take(&state, &token), Err(Reason::Internal));
    assert_eq!(state.tickets().record(id, now()).unwrap().uses, 0);
    assert_eq!(verdict(&state, &token, &facts()), Ok(()));
}

#[test]
fn uses_without_a_limit_are_written_by_the_round() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    let (id, token) = create(&state, |_| {});
    for _ in 0..5 {
        take(&state, &token).unwrap();
    }
    let lines = state.journal.fill().0;
    state.round(now(), false);
    assert_eq!(state.journal.fill().0, lines + 1);
    state.round(now(), false);
    assert_eq!(state.journal.fill().0, lines + 1, "once");
    drop(state);
    let record = open(folder.path()).tickets().record(id, now()).unwrap();
    assert_eq!(record.uses, 5);
}

#[test]
fn at_the_bound_a_ticket_is_refused_until_one_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let mut identity = identity();
    identity.ticket.max_count = 3;
    let state = open_with(folder.path(), &identity);
    let made: Vec<_> = (0..3).map(|_| create(&state, |_| {})).collect();
    match state.create_ticket(new_ticket(|_| {})) {
        Err(error @ ChangeError::Full { max: 3, .. }) => {
            let text = error.to_string();
            assert!(text.contains("identity.ticket.max_count"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    for (_, token) in &made {
        assert_eq!(verdict(&state, token, &facts()), Ok(()));
    }
    identity.ticket.max_count = 4;
    state.reload(folder.path(), &identity).unwrap();
    create(&state, |_| {});
}

#[test]
fn an_ended_ticket_says_so_for_a_day_and_then_it_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    let (id, token) = create(&state, |_| {});
    let end = state.tickets().record(id, now()).unwrap().expires;
    let at = |now| verdict(&state, &token, &TicketFacts { now, ..facts() });
    state.round(end + 3600, false);
    assert_eq!(at(end + 3600), Err(Reason::TicketExpired));
    state.round(end + 86_401, false);
    assert!(state.tickets().is_empty());
    // Its token has an end of its own, and says so without a record.
    assert_eq!(at(end + 86_401), Err(Reason::TicketExpired));
}

#[test]
fn at_the_bound_a_revocation_is_refused_and_none_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let mut identity = identity();
    identity.revocation.max_count = 2;
    let state = open_with(folder.path(), &identity);
    revoke(&state, RevocationKind::Subject, "alice");
    revoke(&state, RevocationKind::Role, "alice");
    let full = try_revoke(&state, RevocationKind::Subject, "bob");
    assert!(
        matches!(full, Err(ChangeError::Full { max: 2, .. })),
        "{full:?}"
    );
    assert!(!is_revoked(&state, RevocationKind::Subject, "bob"));
    revoke(&state, RevocationKind::Subject, "alice");
    assert!(is_revoked(&state, RevocationKind::Subject, "alice"));
    state
        .revocations()
        .lift(RevocationKind::Role, "alice")
        .unwrap();
    assert!(!is_revoked(&state, RevocationKind::Role, "alice"));
    revoke(&state, RevocationKind::Subject, "bob");
}

#[test]
fn kinds_do_not_mix_and_ended_revocations_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    for kind in RevocationKind::ALL {
        assert!(!is_revoked(&state, kind, "x"));
    }
    let revoked = state
        .revoke(NewRevocation {
            kind: RevocationKind::Jti,
            value: "x".into(),
            reason: "".into(),
            ttl_seconds: Some(60),
            before: Some(now()),
            by: Some("me".into()),
        })
        .unwrap();
    for kind in RevocationKind::ALL {
        assert_eq!(
            is_revoked(&state, kind, "x"),
            kind == RevocationKind::Jti,
            "{kind}"
        );
        assert!(!is_revoked(&state, kind, "y"));
    }
    let end = revoked.expires.unwrap();
    let hit = |issued, now| {
        state
            .revocations()
            .is_revoked(RevocationKind::Jti, "x", issued, now)
    };
    assert!(hit(Some(now() - 1), now()) && !hit(Some(now() + 10), now()));
    assert!(!hit(None, end));
    state.round(end, false);
    assert!(state.revocations().is_empty());
}

#[test]
fn what_nobody_says_ends_when_the_credential_cannot_be_valid_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut identity = identity();
    let mut key = crate::config::JwtKey::named("k", "i", "a");
    key.max_lifetime = crate::foundation::units::Span::secs(1000);
    key.leeway = crate::foundation::units::Span::secs(60);
    identity.jwt = vec![key];
    let state = open_with(folder.path(), &identity);
    let jti = revoke(&state, RevocationKind::Jti, "x");
    assert_eq!(jti.expires, Some(jti.created + 1060));
    let without_keys = tempfile::tempdir().unwrap();
    let jti = revoke(&open(without_keys.path()), RevocationKind::Jti, "x");
    assert_eq!(jti.expires, None);
    let unknown = "e0f7faec-e9b1-48ac-94d0-884fe3b1d43d";
    let ticket = revoke(&state, RevocationKind::Ticket, unknown);
    let lifetime = identity.ticket.max_lifetime.as_secs();
    assert_eq!(ticket.expires, Some(ticket.created + lifetime));
    for kind in [
        RevocationKind::Role,
        RevocationKind::Kid,
        RevocationKind::Subject,
    ] {
        assert_eq!(revoke(&state, kind, "x").expires, None);
    }
}

#[test]
fn values_and_texts_have_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    for bad in ["", "a\nb", &"a".repeat(513)] {
        assert!(try_revoke(&state, RevocationKind::Jti, bad).is_err());
    }
    revoke(&state, RevocationKind::Jti, &"\"".repeat(512));
    let shouted = "E0F7FAEC-E9B1-48AC-94D0-884FE3B1D43D";
    let refused = try_revoke(&state, RevocationKind::Ticket, shouted);
    assert!(
        matches!(refused, Err(ChangeError::Invalid { .. })),
        "it would hit nothing"
    );
    let zero = state.revoke(NewRevocation {
        kind: RevocationKind::Jti,
        value: "x".into(),
        reason: "".into(),
        ttl_seconds: Some(0),
        before: None,
        by: None,
    });
    assert!(matches!(zero, Err(ChangeError::Invalid { .. })));
}

#[test]
fn lists_come_in_parts_that_join_to_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    for value in ["b", "a", "c:d", "acs:ram::1:role/x"] {
        revoke(&state, RevocationKind::Role, value);
        revoke(&state, RevocationKind::Subject, value);
        create(&state, |_| {});
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = state.revocation_page(None, cursor.as_deref(), 3).unwrap();
        assert!(page.revocations.len() <= 3);
        seen.extend(page.revocations.iter().map(|r| (r.kind, r.value.clone())));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let mut sorted = seen.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!((seen.len(), &seen), (8, &sorted));
    let roles = state.revocation_page(Some(RevocationKind::Role), None, 100);
    assert_eq!(roles.unwrap().revocations.len(), 4);
    let first = state.ticket_page(None, 3).unwrap();
    let second = state.ticket_page(first.next.as_deref(), 3).unwrap();
    assert_eq!((first.tickets.len(), second.tickets.len()), (3, 1));
    assert_eq!(second.next, None);
    assert!(state.ticket_page(Some("x"), 1).is_err());
    assert!(state.revocation_page(None, Some("x"), 1).is_err());
}

#[test]
fn the_gauges_say_how_many_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = Metrics::new();
    let state = IdentityState::open(folder.path(), &identity(), &metrics).unwrap();
    create(&state, |_| {});
    revoke(&state, RevocationKind::Jti, "x");
    let text = metrics.render(crate::telemetry::Form::Text);
    assert!(text.contains("\ntollgate_tickets 1"), "{text}");
    assert!(text.contains("\ntollgate_revocations 1"), "{text}");
}
