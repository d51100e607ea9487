//! Credentials of tests: made up, without a secret. Whether their proof is good is said by the test.

use serde_json::{Map, Value};

use super::file::{AccessKeySpec, Proof, SessionSpec, TicketSpec, TokenSpec};
use super::request::{Goal, Making, Wrong};
use crate::config::{JwtKey, TokenPlace, nearest_word};
use crate::event::{Reason, Refusal};
use crate::foundation::units::Span;
use crate::gate::identity::{Presumed, PresumedSession, unsigned_ticket, unsigned_token};
use crate::gate::policy::{Policy, PolicyKind};

/// How long a credential counts that does not say, in seconds.
const USUAL_LIFE: u64 = 3600;
/// Longest id of a ticket: its token is found by its form, which is short.
const MAX_TICKET: usize = 64;
/// The id of temporary credentials.
const SESSION_KEY: &str = "STS.test";
/// Routes that give credentials.
const GIVING: [&str; 3] = ["/", "/get_sts_token", "/session"];

/// A credential, and what is taken as given of it.
pub(super) struct Credential {
    pub(super) presumed: Presumed,
    /// A token, and where it stands.
    pub(super) token: Option<(String, TokenPlace)>,
    /// A value of `Authorization`.
    pub(super) header: Option<String>,
}

/// The credential of a request, if it has one.
pub(super) fn of(making: &Making<'_>, goal: &Goal) -> Result<Option<Credential>, Wrong> {
    let spec = making.spec;
    let given = [
        ("token", spec.token.is_some()),
        ("access_key", spec.access_key.is_some()),
        ("session", spec.session.is_some()),
        ("ticket", spec.ticket.is_some()),
    ];
    let mut given = given.iter().filter(|(_, given)| *given);
    let (first, second) = (given.next(), given.next());
    if let Some((key, _)) = second {
        let message = "give only one of `token`, `access_key`, `session` and `ticket`";
        return Err(Wrong::new(key, message));
    }
    let path = spec.path.as_deref().unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    if first.is_some() && GIVING.contains(&path) {
        let message = "what gives credentials cannot be tried out with a made-up one";
        return Err(Wrong::new("path", message));
    }
    let credential = match (&spec.token, &spec.access_key, &spec.session, &spec.ticket) {
        (Some(token), ..) => of_token(making, goal, token)?,
        (_, Some(key), ..) => of_key(key),
        (_, _, Some(session), _) => of_session(session, making.issued)?,
        (.., Some(ticket)) => of_ticket(ticket, making.issued)?,
        _ => return Ok(None),
    };
    Ok(Some(credential))
}

fn proof(proof: Proof, reason: Reason) -> Result<(), Refusal> {
    match proof {
        Proof::Good => Ok(()),
        Proof::Bad => Err(reason.into()),
    }
}

fn of_token(making: &Making<'_>, goal: &Goal, spec: &TokenSpec) -> Result<Credential, Wrong> {
    let rules = key_of(&making.config.identity.jwt, spec.key.as_deref())?;
    let longest = rules.max_lifetime.as_secs();
    let life = spec.ttl.map_or(USUAL_LIFE.min(longest), Span::as_secs);
    let project = spec.project.as_ref().unwrap_or(&goal.project);
    let logstore = spec.logstore.as_ref().unwrap_or(&goal.logstore);
    let mut claims = Map::new();
    for (name, value) in [
        ("iss", Value::from(rules.issuer.as_str())),
        ("aud", rules.audience.as_str().into()),
        ("iat", making.issued.into()),
        ("exp", making.issued.saturating_add(life).into()),
        (&rules.claims.project, project.as_str().into()),
        (&rules.claims.logstore, logstore.as_str().into()),
    ] {
        claims.insert(name.to_owned(), value);
    }
    if let Some(subject) = &spec.sub {
        claims.insert("sub".to_owned(), subject.as_str().into());
    }
    let others = spec.claims.iter();
    claims.extend(others.map(|(name, value)| (name.clone(), value.clone())));
    Ok(Credential {
        presumed: Presumed {
            proof: proof(spec.proof, Reason::TokenSignature),
            key: Some(rules.kid.clone()),
            session: None,
        },
        token: Some((unsigned_token(rules, &claims), spec.place)),
        header: None,
    })
}

fn key_of<'k>(keys: &'k [JwtKey], name: Option<&str>) -> Result<&'k JwtKey, Wrong> {
    let known: Vec<&str> = keys.iter().map(|key| key.kid.as_str()).collect();
    match (name, keys) {
        (Some(name), _) => keys.iter().find(|key| key.kid == name).ok_or_else(|| {
            let message = format!("the configuration has no [[identity.jwt]] with kid `{name}`");
            let near = nearest_word(name, &known);
            Wrong {
                help: near.map(|near| format!("did you mean `{near}`?")),
                ..Wrong::new("token.key", message)
            }
        }),
        (None, [only]) => Ok(only),
        (None, []) => {
            let message = "the configuration has no [[identity.jwt]]";
            Err(Wrong::new("token", message))
        }
        (None, _) => {
            let message = format!("name the `key` that made it: {}", known.join(", "));
            Err(Wrong::new("token", message))
        }
    }
}

fn of_key(spec: &AccessKeySpec) -> Credential {
    Credential {
        presumed: Presumed {
            proof: proof(spec.proof, Reason::SignatureMismatch),
            key: None,
            session: None,
        },
        token: None,
        header: Some(signed_by(&spec.id)),
    }
}

fn signed_by(id: &str) -> String {
    format!("LOG {id}:bm8tc2lnbmF0dXJl")
}

fn of_session(spec: &SessionSpec, issued: u64) -> Result<Credential, Wrong> {
    if let Some(policy) = &spec.policy {
        let parsed = Policy::parse(PolicyKind::Session, "session", policy);
        parsed.map_err(|problems| Wrong::new("session.policy", problems.to_string()))?;
    }
    let life = spec.ttl.map_or(USUAL_LIFE, Span::as_secs);
    Ok(Credential {
        presumed: Presumed {
            proof: proof(spec.proof, Reason::SignatureMismatch),
            key: None,
            session: Some(PresumedSession {
                role_arn: spec.role.clone(),
                session_name: spec.name.clone(),
                issued_at: issued,
                expires_at: issued.saturating_add(life),
                policy: spec.policy.clone(),
            }),
        },
        token: None,
        header: Some(signed_by(SESSION_KEY)),
    })
}

fn of_ticket(spec: &TicketSpec, issued: u64) -> Result<Credential, Wrong> {
    if spec.id.is_empty() || spec.id.len() > MAX_TICKET {
        let message = format!("an id has 1 to {MAX_TICKET} bytes");
        return Err(Wrong::new("ticket.id", message));
    }
    Ok(Credential {
        presumed: Presumed {
            proof: proof(spec.proof, Reason::TokenSignature),
            key: Some(spec.id.clone()),
            session: None,
        },
        token: Some((unsigned_ticket(&spec.id, issued), spec.place)),
        header: None,
    })
}
