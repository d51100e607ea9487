//! `app::Trial` as `explain` and `replay` use it: what is remembered in a data directory counts, and the
//! directory is only read.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use tollgate::app::{Trial, TrialAnswer, TrialRequest, TrialSetup};
use tollgate::config::Config;
use tollgate::event::Reason;
use tollgate::foundation::clock;
use tollgate::gate::identity::state::{IdentityState, NewRevocation, RevocationKind};
use tollgate::gate::identity::{Presumed, PresumedSession, unsigned_ticket, unsigned_token};
use tollgate::telemetry::Metrics;

const ROLE: &str = "acs:ram::1234567890123456:role/writer";
const TICKET: &str = "0194f1c8-0000-7000-8000-000000000001";
/// A name that nobody has, of whatever kind.
const OTHER: &str = "0194f1c8-0000-7000-8000-000000000002";
const CONFIG: &str = r#"
[[identity.jwt]]
kid = "shop"
issuer = "issuer"
audience = "tracking"

[[identity.access_key]]
id = "server"
secret = "file:/nonexistent/server.key"
policies = ["write"]

[[identity.policy]]
name = "write"
document = '{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'

[[identity.role]]
arn = "acs:ram::1234567890123456:role/writer"
policies = ["write"]
assumed_by = ["server"]

[[limit]]
name = "per-address"
key = ["address"]
[[limit.rate]]
count = 2
per = "1h"

[[upstream]]
name = "store"
kind = "embedded"

[[project]]
name = "shop"
upstream = "store"
[[project.logstore]]
name = "web"
"#;

fn config() -> Config {
    Config::parse(CONFIG, "test").unwrap()
}

/// A data directory in which these are revoked.
fn revoked(config: &Config, revoked: &[(RevocationKind, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let state = IdentityState::open(folder.path(), &config.identity, &Metrics::new()).unwrap();
    for (kind, value) in revoked {
        let new = NewRevocation {
            kind: *kind,
            value: (*value).into(),
            reason: "test".into(),
            ttl_seconds: None,
            before: None,
            by: None,
        };
        state.revoke(new).unwrap();
    }
    folder
}

fn headers(authorization: &str) -> Vec<(String, String)> {
    let pairs = [("host", "shop.localhost"), ("authorization", authorization)];
    let pairs = pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    pairs.collect()
}

fn request(authorization: &str, presumed: Presumed) -> TrialRequest {
    let body = Bytes::from_static(b"{\"__logs__\":[{\"a\":\"1\"}]}");
    let headers = headers(authorization);
    let request = TrialRequest::new("POST", "/logstores/web/track", &headers, body).unwrap();
    request.presuming(presumed)
}

fn good(key: Option<&str>) -> Presumed {
    Presumed {
        proof: Ok(()),
        key: key.map(str::to_owned),
        session: None,
    }
}

fn token(config: &Config) -> String {
    let now = clock::unix_seconds();
    let claims = serde_json::json!({
        "iss": "issuer", "aud": "tracking", "sub": "u1", "jti": "j1", "iat": now, "exp": now + 600,
        "project": "shop", "logstore": "web",
    });
    let claims = claims.as_object().unwrap();
    format!(
        "Bearer {}",
        unsigned_token(config.identity.jwt.first().unwrap(), claims)
    )
}

async fn asked(config: &Config, setup: TrialSetup<'_>, request: TrialRequest) -> TrialAnswer {
    Trial::start(config, setup).unwrap().ask(request).await
}

fn session() -> Presumed {
    let now = clock::unix_seconds();
    Presumed {
        session: Some(PresumedSession {
            role_arn: ROLE.to_owned(),
            session_name: "s".to_owned(),
            issued_at: now,
            expires_at: now + 600,
            policy: None,
        }),
        ..good(None)
    }
}

#[tokio::test]
async fn revocations_of_a_data_directory_count_for_every_presumed_credential() {
    let config = config();
    let signed = "LOG server:c2lnbmF0dXJl";
    let temporary = "LOG STS.x:c2lnbmF0dXJl";
    let ticket = format!("Bearer {}", unsigned_ticket(TICKET, clock::unix_seconds()));
    let token = token(&config);
    for (kind, value, authorization, presumed) in [
        (RevocationKind::AccessKey, "server", signed, good(None)),
        (RevocationKind::Role, ROLE, temporary, session()),
        (RevocationKind::Session, "s", temporary, session()),
        (
            RevocationKind::Ticket,
            TICKET,
            ticket.as_str(),
            good(Some(TICKET)),
        ),
        (
            RevocationKind::Subject,
            "u1",
            token.as_str(),
            good(Some("shop")),
        ),
        (
            RevocationKind::Kid,
            "shop",
            token.as_str(),
            good(Some("shop")),
        ),
    ] {
        for (name, reason) in [(value, Some(Reason::CredentialRevoked)), (OTHER, None)] {
            let folder = revoked(&config, &[(kind, name)]);
            let setup = TrialSetup {
                data_dir: Some(folder.path()),
                stand_ins: true,
                ..TrialSetup::default()
            };
            let answer = asked(&config, setup, request(authorization, presumed.clone())).await;
            assert_eq!(answer.reason, reason, "{kind:?} {name}: {answer:?}");
        }
    }
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.insert(path.display().to_string(), bytes);
        }
    }
    found
}

#[tokio::test]
async fn a_data_directory_is_only_read() {
    let config = config();
    let folder = revoked(&config, &[(RevocationKind::Subject, "nobody")]);
    let before = files(folder.path());
    assert!(!before.is_empty());
    let setup = TrialSetup {
        data_dir: Some(folder.path()),
        stand_ins: true,
        limits: true,
        fetch: false,
    };
    let mut trial = Trial::start(&config, setup).unwrap();
    for _ in 0..3 {
        trial
            .ask(request(&token(&config), good(Some("shop"))))
            .await;
    }
    drop(trial);
    assert_eq!(files(folder.path()), before);
}

#[tokio::test]
async fn limits_are_asked_where_that_is_wanted_and_without_stand_ins_secrets_are_needed() {
    let config = config();
    let setup = TrialSetup {
        stand_ins: true,
        ..TrialSetup::default()
    };
    let mut free = Trial::start(&config, setup).unwrap();
    assert_eq!(free.stand_ins(), ["identity.access_key[0].secret"]);
    let limited = TrialSetup {
        limits: true,
        ..setup
    };
    let mut limited = Trial::start(&config, limited).unwrap();
    let again = || request(&token(&config), good(Some("shop")));
    for _ in 0..2 {
        assert!(limited.ask(again()).await.status.is_success());
    }
    let refused = limited.ask(again()).await;
    assert_eq!(refused.reason, Some(Reason::QuotaExceeded));
    assert_eq!(refused.traced.limit.as_deref(), Some("per-address"));
    assert!(refused.stored.is_empty());
    for _ in 0..5 {
        let answer = free.ask(again()).await;
        assert_eq!((answer.reason, answer.stored.len()), (None, 1));
    }
    let missing = Trial::start(&config, TrialSetup::default()).unwrap_err();
    assert!(missing.to_string().contains("server.key"), "{missing}");
}
