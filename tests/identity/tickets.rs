//! Tickets: where they stand, how often, from where, and until when.

use tollgate::foundation::clock::unix_seconds;

use crate::site::{EVENT, OTHER, SHOP, Site, USUAL, WEB, accepted, refused, with};
use crate::support::Answer;

/// A configuration whose logstore `web` takes nothing but tickets.
fn site() -> Site {
    let web = "name = \"web\"\naccept = [\"ticket\"]";
    Site::changed(&[("name = \"web\"", web)])
}

fn by_path(site: &Site, ticket: &str, logstore: &str) -> Answer {
    let head = format!(
        "POST /t/{ticket}/logstores/{logstore}/track HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        EVENT.len()
    );
    site.send(&head, EVENT.as_bytes())
}

#[test]
fn a_ticket_opens_its_logstore_from_every_place_and_is_never_kept() {
    let site = site();
    let ticket = site.ticket(&[]);
    accepted(&site.bearer(&ticket));
    accepted(&by_path(&site, &ticket, WEB));
    accepted(&site.get(&format!("/logstores/web/track.gif?k=v&token={ticket}")));
    accepted(&site.track(WEB, &format!("Cookie: tollgate_token={ticket}\r\n"), EVENT));
    let body = EVENT.replace("\"app\"", &format!("\"__token__\":\"{ticket}\",\"app\""));
    accepted(&site.track(WEB, "", body));
    refused(&by_path(&site, &ticket, OTHER), "ticket_scope");
    refused(&site.bearer(&site.token()), "credential_not_accepted");
    let mut changed = ticket.clone();
    let last = changed.pop().unwrap();
    changed.push(if last == 'A' { 'Q' } else { 'A' });
    refused(&site.bearer(&changed), "token_signature");
    let events = site.events(WEB, 5);
    let secret = &ticket[ticket.len() - 20..];
    for place in [format!("{events:?}"), site.stderr(), site.metrics()] {
        assert!(!place.contains(secret), "{place}");
    }
}

#[test]
fn uses_are_counted_exactly_by_many_at_once_and_over_a_kill() {
    let mut site = site();
    let ticket = site.ticket(&["--max-uses", "7"]);
    let good = std::thread::scope(|scope| {
        let sending: Vec<_> = (0..24)
            .map(|_| scope.spawn(|| by_path(&site, &ticket, WEB)))
            .collect();
        let answers = sending.into_iter().map(|thread| thread.join().unwrap());
        answers
            .filter(|answer| {
                if answer.status != 200 {
                    refused(answer, "ticket_used_up");
                }
                answer.status == 200
            })
            .count()
    });
    assert_eq!(good, 7);
    let twice = site.ticket(&["--max-uses", "2"]);
    accepted(&site.bearer(&twice));
    // A request that is refused takes no use.
    let (status, ..) = site
        .track(WEB, &format!("Authorization: Bearer {twice}\r\n"), "{")
        .refusal();
    assert_eq!(status, 400);
    site.restart();
    refused(&site.bearer(&ticket), "ticket_used_up");
    accepted(&site.bearer(&twice));
    refused(&site.bearer(&twice), "ticket_used_up");
    assert_eq!(site.refused("ticket", "ticket_used_up"), 2);
}

#[test]
fn a_ticket_is_taken_from_its_networks_and_sites_only() {
    let site = site();
    refused(
        &site.bearer(&site.ticket(&["--from", "192.0.2.0/24"])),
        "ticket_address",
    );
    accepted(&site.bearer(&site.ticket(&["--from", "192.0.2.0/24", "--from", "127.0.0.0/8"])));
    let shop = site.ticket(&["--origin", SHOP]);
    refused(&site.bearer(&shop), "ticket_origin");
    let of = |origin: &str| {
        let extra = format!("Authorization: Bearer {shop}\r\nOrigin: {origin}\r\n");
        site.track(WEB, &extra, EVENT)
    };
    refused(&of("https://evil.example"), "ticket_origin");
    accepted(&of(SHOP));
    let start = (unix_seconds() + 600).to_string();
    let later = site.ticket(&["--not-before", &start]);
    refused(&site.bearer(&later), "ticket_not_yet_valid");
    site.events(WEB, 2);
}

#[test]
fn a_ticket_ends_is_extended_before_that_and_is_taken_back() {
    let mut site = site();
    let short = site.ticket(&["--ttl", "2s"]);
    let id = site.only_ticket();
    accepted(&site.bearer(&short));
    site.run_command(&["ticket", "extend", &id, "--ttl", "1h"]);
    std::thread::sleep(std::time::Duration::from_millis(2100));
    accepted(&site.bearer(&short));
    let gone = site.ticket(&["--ttl", "1s"]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    refused(&site.bearer(&gone), "ticket_expired");
    site.run_command(&["ticket", "revoke", &id]);
    refused(&site.bearer(&short), "credential_revoked");
    let kept = site.ticket(&[]);
    site.restart();
    refused(&site.bearer(&short), "credential_revoked");
    accepted(&site.bearer(&kept));
    // A new key in front of the old one, then without it.
    site.file("ticket-new", "the-new-key-of-tickets-0123456789");
    let new = "\"file:{dir}/ticket-new\"";
    let old = "\"file:{dir}/keys/ticket.key\"";
    let ring = |keys: &str| {
        let web = "name = \"web\"\naccept = [\"ticket\"]";
        let text = with(USUAL, &[("name = \"web\"", web)]);
        format!("[identity.ticket]\nkeys = [{keys}]\n{text}")
    };
    site.reload(&ring(&format!("{new}, {old}")));
    accepted(&site.bearer(&kept));
    let newer = site.ticket(&[]);
    site.reload(&ring(new));
    accepted(&site.bearer(&newer));
    assert_eq!(site.bearer(&kept).status, 401);
}
