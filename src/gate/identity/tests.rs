//! What is given for a credential: never more than it, never longer, never after it was taken back.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::state::{Grant, IdentityState, NewRevocation, NewTicket, RevocationKind};
use super::sts::{Credentials, Involved, NewSession, ReplayWindow};
use super::*;
use crate::config::{
    AccessKeyRule, Config, JwtKey, PolicyRule, Role, SignatureVersion, TokenPlace,
};
use crate::event::{Reason, Refusal};
use crate::foundation::clock;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::secret::{Secret, SecretRef};
use crate::foundation::units::Span;
use crate::logstore::signature::{AccessKey, RequestParts, Signer, Unsigned};
use crate::telemetry::Metrics;

const PROJECT: &str = "sls-webtracking-mini";
const STORE: &str = "web-tracking-logstore";
const ROLE: &str = "acs:ram::1:role/web";
const SECRET: &str = "a secret of some length";

struct Fixture {
    folder: TempDir,
    config: Config,
    authenticator: Authenticator,
}

fn config(folder: &TempDir) -> Config {
    let mut config = Config::quickstart();
    config.data_dir = folder.path().to_owned();
    let secret = folder.path().join("server-1");
    std::fs::write(&secret, SECRET).unwrap();
    let identity = &mut config.identity;
    identity.jwt[0].fields.insert("plan".into(), "plan".into());
    let mut login = JwtKey::named("login", "login", "tollgate");
    login.claims.platform = "mini".to_owned();
    identity.jwt.push(login);
    identity.access_keys = vec![AccessKeyRule {
        id: "server-1".to_owned(),
        secret: SecretRef::File(secret),
        policies: Vec::new(),
        enabled: true,
    }];
    identity.policies = vec![PolicyRule {
        name: "all".to_owned(),
        file: None,
        document: Some(
            json!({"Version": "1", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
                .to_string(),
        ),
    }];
    identity.roles = vec![Role {
        arn: ROLE.to_owned(),
        policies: vec!["all".to_owned()],
        assumed_by: vec!["server-1".to_owned()],
        external_id: None,
        max_session_duration: Span::secs(3600),
    }];
    config
}

fn trust(config: &Config) -> Trust {
    let nonces = Arc::new(ReplayWindow::new(std::time::Duration::from_secs(60), 100));
    Trust::load(config, &nonces).unwrap()
}

fn fixture(change: impl FnOnce(&mut Config)) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    change(&mut config);
    let state = IdentityState::open(folder.path(), &config.identity, &Metrics::new()).unwrap();
    Fixture {
        authenticator: Authenticator::new(Arc::new(trust(&config)), Arc::new(state)),
        folder,
        config,
    }
}

fn now() -> u64 {
    clock::unix_seconds()
}

impl Fixture {
    fn ask<T>(&self, ask: impl FnOnce(&Check<'_>) -> T) -> T {
        self.ask_at(now(), ask)
    }

    fn ask_at<T>(&self, unix_seconds: u64, ask: impl FnOnce(&Check<'_>) -> T) -> T {
        let resource = format!("acs:log:cn:1:project/{PROJECT}/logstore/{STORE}");
        let facts = Facts {
            project: PROJECT,
            logstore: STORE,
            action: Action::TrackPost,
            resource: &resource,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure: false,
            origin: None,
            unix_seconds,
        };
        let trust = self.authenticator.trust();
        ask(&Check::new(&self.authenticator, &trust, &facts))
    }

    fn reload(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.authenticator.swap(Arc::new(trust(&self.config)));
    }

    fn revoke(&self, kind: RevocationKind, value: &str, before: Option<u64>) {
        let new = NewRevocation {
            kind,
            value: value.into(),
            reason: "".into(),
            ttl_seconds: None,
            before,
            by: None,
        };
        self.authenticator.state().revoke(new).unwrap();
    }

    /// A token of the login service.
    fn token<'a>(&self, change: impl FnOnce(&mut NewToken<'a>)) -> Vec<u8> {
        let mut new = NewToken {
            project: PROJECT,
            logstores: &[STORE],
            ttl_seconds: 600,
            subject: Some("alice"),
            id: Some("token-1"),
            extra: Map::new(),
        };
        change(&mut new);
        let trust = self.authenticator.trust();
        let key = trust.session_key(Some("login")).unwrap();
        mint_token(key, new).unwrap().token.into()
    }

    fn ticket(&self, change: impl FnOnce(&mut NewTicket)) -> (String, Vec<u8>) {
        let mut new = NewTicket {
            grant: Grant::Write {
                project: ProjectName::new(PROJECT).unwrap(),
                logstores: vec![LogstoreName::new(STORE).unwrap()],
            },
            ttl_seconds: Some(600),
            max_ttl_seconds: None,
            not_before: None,
            max_uses: None,
            addresses: Vec::new(),
            origins: Vec::new(),
            accounts: Vec::new(),
            note: String::new(),
            by: None,
        };
        change(&mut new);
        let made = self.authenticator.state().create_ticket(new).unwrap();
        (made.ticket.id.to_string(), made.token.into())
    }

    fn holder(&self, token: &[u8]) -> Result<GivenTo, Refusal> {
        let holder = self.ask(|check| check.holder(token, None));
        holder.map_err(|denied| denied.refusal)
    }

    fn reason(&self, token: &[u8]) -> Reason {
        self.holder(token).unwrap_err().reason()
    }

    /// The token of a session, signed by the key `quickstart`.
    fn session(&self, token: &[u8]) -> Vec<u8> {
        let holder = self.holder(token).unwrap();
        let trust = self.authenticator.trust();
        let key = trust.session_key(None).unwrap();
        let minted = holder.mint_session(key, PROJECT, 300).unwrap();
        minted.token.into()
    }

    fn use_token(&self, token: &[u8]) -> Result<Principal, Reason> {
        let used = self.ask(|check| check.token(token, TokenPlace::Cookie, None));
        used.map_err(|denied| denied.refusal.reason())
    }

    /// Temporary credentials for this.
    fn issue(&self, origin: &Origin, policy: Option<&str>) -> Credentials {
        let new = NewSession {
            role_arn: ROLE,
            session_name: "device-1",
            duration: 900,
            origin,
            policy,
            unix_seconds: now(),
        };
        self.authenticator.trust().service().issue(&new).unwrap()
    }

    fn credentials_of(&self, token: &[u8]) -> Credentials {
        let holder = self.holder(token).unwrap();
        let policy = holder.session_policy(PROJECT).unwrap();
        self.issue(&holder.origin, policy.as_deref())
    }

    /// Signs a request with them.
    fn use_credentials(&self, credentials: &Credentials) -> Result<(), Reason> {
        let path = format!("/logstores/{STORE}/track");
        let mut headers = HeaderMap::new();
        headers.insert("host", "edge.example.com".parse().unwrap());
        let key = AccessKey {
            id: credentials.access_key_id.clone(),
            secret: Secret::new(credentials.access_key_secret.as_bytes()),
            security_token: Some(Secret::new(credentials.security_token.as_bytes())),
        };
        headers.insert("content-type", "application/json".parse().unwrap());
        let signer = Signer {
            version: SignatureVersion::V4,
            key: &key,
            region: "cn-hangzhou",
        };
        let unsigned = Unsigned {
            method: &http::Method::POST,
            path: &path,
            query: &[],
            body: b"{}",
        };
        signer.sign(&unsigned, &mut headers, now()).unwrap();
        let request = RequestParts {
            method: "POST",
            path: &path,
            query: "",
            headers: &headers,
        };
        self.ask(|check| {
            let signed = check.signature(check.signature_kind(&request), &request);
            signed.map(|_| ()).map_err(|denied| denied.refusal.reason())
        })
    }
}

#[test]
fn temporary_credentials_end_with_the_access_key_that_got_them() {
    let server = Origin::AccessKey {
        id: "server-1".to_owned(),
    };
    let revoked = Err(Reason::CredentialRevoked);
    for before in [None, Some(1)] {
        let fixture = fixture(|_| {});
        let credentials = fixture.issue(&server, None);
        assert_eq!(fixture.use_credentials(&credentials), Ok(()));
        let key = Involved::AccessKey("server-1");
        assert!(!fixture.ask(|check| check.is_withdrawn(key)));
        fixture.revoke(RevocationKind::AccessKey, "server-1", before);
        assert!(fixture.ask(|check| check.is_withdrawn(key)));
        assert_eq!(fixture.use_credentials(&credentials), revoked);
    }
    let changes: [fn(&mut Config); 3] = [
        |config| config.identity.roles[0].assumed_by.clear(),
        |config| config.identity.access_keys[0].enabled = false,
        |config| {
            config.identity.roles[0].assumed_by.clear();
            config.identity.access_keys.clear();
        },
    ];
    for change in changes {
        let mut fixture = fixture(|_| {});
        let credentials = fixture.issue(&server, None);
        fixture.reload(change);
        assert_eq!(fixture.use_credentials(&credentials), revoked);
        assert!(fixture.folder.path().exists());
    }
}

#[test]
fn a_revoked_role_gives_nothing_and_one_that_was_revoked_until_now_gives_again() {
    let fixture = fixture(|_| {});
    let role = Involved::Role(ROLE);
    fixture.revoke(RevocationKind::Role, ROLE, Some(now() - 60));
    assert!(!fixture.ask(|check| check.is_withdrawn(role)));
    fixture.revoke(RevocationKind::Role, ROLE, None);
    assert!(fixture.ask(|check| check.is_withdrawn(role)));
}

#[test]
fn what_is_given_for_a_token_ends_with_whatever_would_end_the_token() {
    for (kind, value) in [
        (RevocationKind::Jti, "token-1"),
        (RevocationKind::Subject, "alice"),
        (RevocationKind::Kid, "login"),
    ] {
        let fixture = fixture(|_| {});
        let token = fixture.token(|_| {});
        let (session, credentials) = (fixture.session(&token), fixture.credentials_of(&token));
        assert!(fixture.use_token(&session).is_ok());
        assert_eq!(fixture.use_credentials(&credentials), Ok(()));
        fixture.revoke(kind, value, None);
        let revoked = fixture.use_token(&session).unwrap_err();
        assert_eq!(revoked, Reason::CredentialRevoked, "{kind}");
        let revoked = fixture.use_credentials(&credentials);
        assert_eq!(revoked, Err(Reason::CredentialRevoked), "{kind}");
    }
    let mut fixture = fixture(|_| {});
    let token = fixture.token(|_| {});
    let (session, credentials) = (fixture.session(&token), fixture.credentials_of(&token));
    fixture.reload(|config| config.identity.jwt.truncate(1));
    assert!(fixture.use_token(&session).is_err());
    assert!(fixture.use_credentials(&credentials).is_err());
}

#[test]
fn what_was_issued_before_counts_by_the_token_not_by_what_was_given_for_it() {
    let fixture = fixture(|_| {});
    let origin = |issued_at| Origin::Token {
        key: "login".to_owned(),
        kid: "login".to_owned(),
        jti: None,
        subject: Some("alice".to_owned()),
        issued_at: Some(issued_at),
        opened_with: None,
    };
    let old = fixture.issue(&origin(now() - 100), None);
    let new = fixture.issue(&origin(now()), None);
    fixture.revoke(RevocationKind::Subject, "alice", Some(now() - 50));
    let revoked = Err(Reason::CredentialRevoked);
    assert_eq!(fixture.use_credentials(&old), revoked);
    assert_eq!(fixture.use_credentials(&new), Ok(()));
}

#[test]
fn what_is_given_for_a_ticket_ends_with_it() {
    let fixture = fixture(|_| {});
    let (id, ticket) = fixture.ticket(|_| {});
    let (session, credentials) = (fixture.session(&ticket), fixture.credentials_of(&ticket));
    assert!(fixture.use_token(&session).is_ok());
    assert_eq!(fixture.use_credentials(&credentials), Ok(()));
    fixture.revoke(RevocationKind::Ticket, &id, None);
    let revoked = Reason::CredentialRevoked;
    assert_eq!(fixture.use_token(&session).unwrap_err(), revoked);
    assert_eq!(fixture.use_credentials(&credentials), Err(revoked));
}

#[test]
fn the_end_is_that_of_the_token_without_leeway_and_by_its_age() {
    let short = fixture(|_| {});
    let token = short.token(|new| new.ttl_seconds = 20);
    let at = now();
    let expires = short.holder(&token).unwrap().expires;
    assert!((at + 15..=at + 20).contains(&expires), "{expires} {at}");
    // The leeway still accepts the token, which gives nothing any more.
    let late = short.ask_at(at + 25, |check| check.holder(&token, None));
    assert_eq!(late.unwrap_err().refusal.reason(), Reason::TokenExpired);
    let aged = fixture(|config| config.identity.jwt[1].max_age = Some(Span::secs(60)));
    let token = aged.token(|_| {});
    let expires = aged.holder(&token).unwrap().expires;
    assert!((at + 55..=now() + 60).contains(&expires), "{expires} {at}");
}

#[test]
fn a_session_opens_no_other_and_gives_credentials_that_end_with_all_it_stands_on() {
    let fixture = fixture(|_| {});
    let key = fixture.authenticator.trust();
    let key = key.session_key(None).unwrap();
    let revoked = Err(Reason::CredentialRevoked);
    for revoke in ["parent", "session"] {
        let jti = format!("of-{revoke}");
        let token = fixture.token(|new| new.id = Some(&jti));
        let session = fixture.session(&token);
        let holder = fixture.holder(&session).unwrap();
        let again = holder.mint_session(key, "sls-webtracking-mini", 60);
        assert!(matches!(again, Err(NotMinted::Refused(refusal))
            if refusal.reason() == Reason::CredentialNotAccepted));
        let credentials = fixture.credentials_of(&session);
        assert_eq!(fixture.use_credentials(&credentials), Ok(()));
        let own = fixture.use_token(&session).unwrap();
        let id = own.bearer().and_then(Bearer::id).unwrap().to_owned();
        let value = if revoke == "parent" { &jti } else { &id };
        fixture.revoke(RevocationKind::Jti, value, None);
        assert_eq!(fixture.use_credentials(&credentials), revoked, "{revoke}");
    }
    let (id, ticket) = fixture.ticket(|_| {});
    let credentials = fixture.credentials_of(&fixture.session(&ticket));
    assert_eq!(fixture.use_credentials(&credentials), Ok(()));
    fixture.revoke(RevocationKind::Ticket, &id, None);
    assert_eq!(fixture.use_credentials(&credentials), revoked);
}

#[test]
fn a_ticket_that_is_bound_to_something_is_not_exchanged_and_keeps_its_uses() {
    let fixture = fixture(|_| {});
    let (id, once) = fixture.ticket(|new| new.max_uses = Some(1));
    let (_, here) = fixture.ticket(|new| new.addresses = vec!["127.0.0.0/8".parse().unwrap()]);
    for ticket in [&once, &here] {
        assert_eq!(fixture.reason(ticket), Reason::TicketScope);
    }
    let tickets = fixture.authenticator.state().tickets();
    let record = tickets.record(id.parse().unwrap(), now()).unwrap();
    assert_eq!(record.uses, 0);
}

#[test]
fn what_is_literal_in_a_token_is_no_pattern_in_a_policy() {
    let fixture = fixture(|_| {});
    let extra = |name: &str, value: Value| Map::from_iter([(name.to_owned(), value)]);
    for stores in [
        &["*"][..],
        &[],
        &["web*", "we?-tracking-logstore", "a/../b"],
    ] {
        let token = fixture.token(|new| new.logstores = stores);
        assert_eq!(fixture.reason(&token), Reason::TokenScope, "{stores:?}");
    }
    for action in ["*", "log:*", "log:GetLogStoreLogs"] {
        let token = fixture.token(|new| new.extra = extra("action", action.into()));
        assert_eq!(fixture.reason(&token), Reason::TokenScope, "{action}");
    }
    let token = fixture.token(|new| {
        new.logstores = &["*", STORE];
        new.extra = extra("action", json!(["log:*", "log:PutWebTracking"]));
    });
    let holder = fixture.holder(&token).unwrap();
    let policy: Value =
        serde_json::from_str(&holder.session_policy(PROJECT).unwrap().unwrap()).unwrap();
    let statement = &policy["Statement"][0];
    assert_eq!(statement["Action"], json!(["log:PutWebTracking"]));
    let resource = format!("acs:log:*:*:project/{PROJECT}/logstore/{STORE}");
    assert_eq!(statement["Resource"], json!([resource]));
    let names: Vec<String> = (0..60).map(|n| format!("logstore-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let token = fixture.token(|new| new.logstores = &names);
    let too_many = fixture.holder(&token).unwrap().session_policy(PROJECT);
    assert_eq!(too_many.unwrap_err().reason(), Reason::TokenScope);
}

#[test]
fn names_that_no_revocation_could_hit_are_not_exchanged() {
    let fixture = fixture(|_| {});
    let (fits, long) = ("s".repeat(256), "s".repeat(257));
    assert!(
        fixture
            .holder(&fixture.token(|new| new.subject = Some(&fits)))
            .is_ok()
    );
    for token in [
        fixture.token(|new| new.subject = Some(&long)),
        fixture.token(|new| new.id = Some(&long)),
    ] {
        assert_eq!(fixture.reason(&token), Reason::TokenClaims);
    }
}

#[test]
fn a_session_says_what_its_token_says() {
    let fixture = fixture(|_| {});
    let claims = json!({"mini": "wechat", "appid": "wx1", "plan": "gold", "other": "x"});
    let token = fixture.token(|new| new.extra = claims.as_object().unwrap().clone());
    let principal = fixture.use_token(&fixture.session(&token)).unwrap();
    let session = principal.bearer().unwrap();
    assert_eq!(session.key_name(), "quickstart");
    assert_eq!(session.subject(), Some("alice"));
    assert_eq!(
        (session.platform(), session.appid()),
        (Some("wechat"), Some("wx1"))
    );
    assert_eq!(session.claim("plan").as_deref(), Some("gold"));
    assert_eq!(session.claim("other"), None);
    assert!(!session.fields().is_empty());
    assert!(principal.fits("wechat", Some("wx2")).is_err());
    // Nobody's token opens nobody's session: the name of its key is no subject.
    let token = fixture.token(|new| new.subject = None);
    let principal = fixture.use_token(&fixture.session(&token)).unwrap();
    assert_eq!(principal.bearer().unwrap().subject(), None);
    assert_eq!(fixture.holder(&token).unwrap().session_name(), "login");
}

#[test]
fn a_key_of_sessions_gets_the_claims_that_it_asks_for_or_none_is_made() {
    let fixture = fixture(|config| {
        config.identity.jwt[0].required_claims = vec!["sub".to_owned(), "tenant".to_owned()];
    });
    let tenant = |new: &mut NewToken<'_>| {
        new.extra.insert("tenant".to_owned(), 7.into());
    };
    let token = fixture.token(tenant);
    assert!(fixture.use_token(&fixture.session(&token)).is_ok());
    let trust = fixture.authenticator.trust();
    let key = trust.session_key(None).unwrap();
    let without_sub = fixture.token(|new| {
        tenant(new);
        new.subject = None;
    });
    for token in [fixture.token(|_| {}), without_sub, fixture.ticket(|_| {}).1] {
        let holder = fixture.holder(&token).unwrap();
        let refused = holder.mint_session(key, PROJECT, 300).unwrap_err();
        let NotMinted::Refused(refusal) = refused else {
            panic!("{refused}")
        };
        assert_eq!(refusal.reason(), Reason::TokenClaims);
    }
}

#[test]
fn a_key_that_is_not_ours_can_be_revoked_too() {
    let fixture = fixture(|_| {});
    let foreign = |fixture: &Fixture| {
        let asked = fixture.ask(|check| check.foreign("LTAI-theirs"));
        asked.map(|_| ()).map_err(|denied| denied.refusal.reason())
    };
    assert_eq!(foreign(&fixture), Ok(()));
    fixture.revoke(RevocationKind::AccessKey, "LTAI-theirs", Some(1));
    assert_eq!(foreign(&fixture), Err(Reason::CredentialRevoked));
}
