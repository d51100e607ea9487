//! Certificates that change while clients come and go.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::*;

fn counts(tollgate: &Tollgate, authority: &Authority) -> (u64, u64) {
    let labels = format!(
        "{{listener=\"main\",file=\"{}\"}}",
        authority.path("a.pem").display()
    );
    (
        tollgate.metric(&format!("tollgate_tls_reload_success_total{labels}")),
        tollgate.metric(&format!("tollgate_tls_reload_failed_total{labels}")),
    )
}

#[test]
fn new_certificates_are_taken_under_load_without_a_failed_request() {
    let authority = Authority::new();
    let pair = authority.put("a", &["edge.test"]);
    // Every request comes on a connection of its own, from one address.
    let open = "connection_rate_per_prefix = 0";
    let tollgate = start_with(open, "reload_interval = \"1s\"", &pair);
    let client = authority.client();
    let mut kept = client.send(&tollgate, "edge.test").unwrap();
    let (stop, sent) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // Every request on a connection of its own, with a full handshake.
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.send(&tollgate, "edge.test").unwrap().answer;
                    assert_eq!(answer.status, 200);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..3 {
            let before = sent.load(Ordering::Relaxed);
            authority.put("a", &["edge.test"]);
            if round == 0 {
                tollgate.signal("-HUP");
            }
            let wanted = pem_of(&authority.path("a.pem"));
            until("the new certificate is shown", || {
                *client.send(&tollgate, "edge.test").unwrap().certificate() == wanted
            });
            until("there is load", || {
                sent.load(Ordering::Relaxed) > before + 20
            });
        }
        stop.store(true, Ordering::Relaxed);
    });
    // A connection lives on with the certificate that it began with.
    assert_eq!(kept.again(), 200);
    let (done, failed) = counts(&tollgate, &authority);
    assert!(done >= 3, "{done}");
    // A look between the two writes is not told of, since the next one is good.
    assert_eq!(failed, 0, "{}", tollgate.stderr());
}

#[test]
fn each_bad_pair_keeps_the_old_one_and_is_told_with_its_file() {
    let authority = Authority::new();
    let pair = authority.put("a", &["edge.test"]);
    let good = pem_of(&authority.path("a.pem"));
    let good_key = std::fs::read_to_string(authority.path("a.key")).unwrap();
    let good_pem = std::fs::read_to_string(authority.path("a.pem")).unwrap();
    let tollgate = start("reload_interval = \"1s\"", &pair);
    let client = authority.client();
    let (other_pem, other_key) = authority.sign(&["edge.test"], GOOD);
    let (old_pem, old_key) = authority.sign(&["edge.test"], 2021);
    let cases = [
        (
            other_pem.as_str(),
            good_key.as_str(),
            "a.key",
            "is not the key of the certificate",
        ),
        (
            &good_pem[..good_pem.len() / 2],
            &good_key,
            "a.pem",
            "ends in the middle of a block",
        ),
        ("", &good_key, "a.pem", "holds no certificate"),
        (&good_pem, "", "a.key", "holds no private key"),
        (
            &good_pem,
            &other_key[..other_key.len() / 2],
            "a.key",
            "is not PEM",
        ),
        (&old_pem, &old_key, "a.pem", "has expired"),
    ];
    for (told, (pem, key, file, word)) in cases.iter().enumerate() {
        authority.replace("a.pem", pem);
        authority.replace("a.key", key);
        let line = format!("{}: ", authority.path(file).display());
        until(word, || {
            let log = tollgate.stderr();
            log.lines().any(|it| {
                it.contains(&line) && it.contains(word) && it.contains("the one before it stays")
            })
        });
        let sent = client.send(&tollgate, "edge.test").unwrap();
        assert_eq!(sent.certificate(), &good, "{word}");
        assert_eq!(
            counts(&tollgate, &authority),
            (0, told as u64 + 1),
            "{word}"
        );
    }
    std::fs::remove_file(authority.path("a.pem")).unwrap();
    until("the missing file is told", || {
        tollgate.stderr().contains("a.pem: cannot be read")
    });
    assert!(!tollgate.stderr().contains("PRIVATE KEY"));
    authority.replace("a.pem", &other_pem);
    authority.replace("a.key", &other_key);
    until("the good pair is in use", || {
        let sent = client.send(&tollgate, "edge.test").unwrap();
        *sent.certificate() == pem_of(&authority.path("a.pem"))
    });
    assert_eq!(counts(&tollgate, &authority).0, 1);
}

#[test]
fn a_file_that_cannot_be_had_keeps_the_service_from_starting_and_an_old_one_does_not() {
    let authority = Authority::new();
    let tables = format!("[ingest.tls]\n{}", authority.table("none"));
    let config = authority.path("config.toml");
    std::fs::write(
        &config,
        super::super::config("listen = \"127.0.0.1:0\"", &tables),
    )
    .unwrap();
    let output = crate::support::binary()
        .args([
            "run",
            "--admin-listen",
            "127.0.0.1:0",
            "--logstore-listen",
            "127.0.0.1:0",
        ])
        .arg("--config")
        .arg(&config)
        .arg("--data-dir")
        .arg(authority.path("data"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(
        said.contains("none.pem") && said.contains("listener `main`"),
        "{said}"
    );

    let (pem, key) = authority.sign(&["edge.test"], 2021);
    authority.replace("old.pem", &pem);
    authority.replace("old.key", &key);
    std::fs::set_permissions(
        authority.path("old.key"),
        std::fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    let tollgate = start("", &authority.table("old"));
    assert!(
        tollgate.stderr().contains("the certificate has expired"),
        "{}",
        tollgate.stderr()
    );
    let line = format!(
        "tollgate_tls_certificate_expiry_seconds{{listener=\"main\",file=\"{}\"}}",
        authority.path("old.pem").display()
    );
    assert_eq!(tollgate.metric(&line), 1_609_459_200);
}
