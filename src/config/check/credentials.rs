//! Access keys, policies, roles, the token service, tickets, sessions and security events: names
//! that refer to each other, and bounds.

use std::collections::BTreeMap;

use super::listeners::is_loopback;
use super::routes::origin_fault;
use super::{Findings, is_word, refers, runs_embedded, unique};
use crate::config::{Accept, Config, Role};
use crate::foundation::units::Span;

/// What AssumeRole takes (STS reference).
const SHORTEST_SESSION: Span = Span::secs(900);
const LONGEST_SESSION: Span = Span::secs(43_200);
/// Wider, and the signature's time would mean nothing.
const WIDEST_WINDOW: Span = Span::secs(86_400);

pub(super) fn check(config: &Config, findings: &mut Findings) {
    check_policies(config, findings);
    check_access_keys(config, findings);
    check_roles(config, findings);
    check_signed(config, findings);
    check_sts_token(config, findings);
    check_cookies(config, findings);
    check_tickets_and_sessions(config, findings);
    check_security_events(config, findings);
}

/// Tells of policies that are not there.
pub(super) fn policy_exists(config: &Config, key: String, name: &str, findings: &mut Findings) {
    let names = config.identity.policies.iter().map(|p| p.name.as_str());
    refers(key, name, names, "[[identity.policy]]", findings);
}

fn check_policies(config: &Config, findings: &mut Findings) {
    let policies = &config.identity.policies;
    let names = policies.iter().enumerate();
    unique(
        names.map(|(index, p)| (format!("identity.policy[{index}].name"), p.name.as_str())),
        "policy",
        findings,
    );
    for (index, policy) in policies.iter().enumerate() {
        let key = format!("identity.policy[{index}].name");
        if !is_word(&policy.name) || policy.name.len() > 128 {
            findings
                .error(key.clone(), format!("`{}` is not a name", policy.name))
                .help("use 1 to 128 letters, digits, `-`, `_` and `.`");
        }
        match (&policy.file, &policy.document) {
            (Some(_), None) | (None, Some(_)) => {}
            (Some(_), Some(_)) => {
                let key = format!("identity.policy[{index}].document");
                findings
                    .error(key, "the policy has a file and a document")
                    .help("leave one of them out")
                    .beside(format!("identity.policy[{index}].file"));
            }
            (None, None) => {
                findings
                    .error(key, "the policy has neither a file nor a document")
                    .help("add file = \"policy.json\" or document = '{...}'");
            }
        }
    }
}

fn check_access_keys(config: &Config, findings: &mut Findings) {
    let keys = &config.identity.access_keys;
    let ids = keys.iter().enumerate();
    unique(
        ids.map(|(index, key)| (format!("identity.access_key[{index}].id"), key.id.as_str())),
        "access key",
        findings,
    );
    for (index, access_key) in keys.iter().enumerate() {
        let key = format!("identity.access_key[{index}].id");
        let id = &access_key.id;
        if !is_word(id) || id.len() > 128 {
            findings
                .error(key.clone(), format!("`{id}` is not an access key id"))
                .help("use 1 to 128 letters, digits, `-`, `_` and `.`");
        }
        if id.starts_with("STS.") {
            findings
                .error(
                    key,
                    "ids that begin with STS. are those of temporary credentials",
                )
                .help("choose another id");
        }
        if *id == config.embedded.access_key_id && runs_embedded(config) {
            let key = format!("identity.access_key[{index}].id");
            findings
                .error(
                    key,
                    "is the embedded logstore's own key, which may do everything there",
                )
                .help("choose another id");
        }
        for (place, name) in access_key.policies.iter().enumerate() {
            let key = format!("identity.access_key[{index}].policies[{place}]");
            policy_exists(config, key, name, findings);
        }
    }
}

fn check_roles(config: &Config, findings: &mut Findings) {
    let identity = &config.identity;
    let arns = identity.roles.iter().enumerate();
    unique(
        arns.map(|(index, role)| (format!("identity.role[{index}].arn"), role.arn.as_str())),
        "role",
        findings,
    );
    for (index, role) in identity.roles.iter().enumerate() {
        let key = |name: &str| format!("identity.role[{index}].{name}");
        if !is_role_arn(role) {
            findings
                .error(key("arn"), format!("`{}` is not the ARN of a role", role.arn))
                .help("write acs:ram::{account, digits}:role/{name, lower-case letters, digits and `-`}");
        }
        for (place, name) in role.policies.iter().enumerate() {
            policy_exists(
                config,
                format!("{}[{place}]", key("policies")),
                name,
                findings,
            );
        }
        for (place, id) in role.assumed_by.iter().enumerate() {
            let ids = identity.access_keys.iter().map(|k| k.id.as_str());
            let key = format!("{}[{place}]", key("assumed_by"));
            refers(key, id, ids, "[[identity.access_key]]", findings);
        }
        let longest = role.max_session_duration;
        if longest < SHORTEST_SESSION || longest > LONGEST_SESSION {
            let message = format!("must be from {SHORTEST_SESSION} to {LONGEST_SESSION}");
            findings.error(key("max_session_duration"), message);
        }
        if let Some(id) = &role.external_id
            && !is_external_id(id)
        {
            findings
                .error(key("external_id"), "is not an ExternalId")
                .help("use 2 to 1224 letters, digits and `_ + = , . @ : / -`");
        }
        let given_out = identity.sts_token.role.as_deref() == Some(&role.arn);
        if role.assumed_by.is_empty() && !given_out {
            findings
                .warning(key("arn"), "nobody can assume this role")
                .help("name access keys in assumed_by, or the role in identity.sts_token.role");
        }
    }
}

fn is_role_arn(role: &Role) -> bool {
    let Some((account, name)) = role
        .arn
        .strip_prefix("acs:ram::")
        .and_then(|rest| rest.split_once(":role/"))
    else {
        return false;
    };
    let digits = (1..=20).contains(&account.len()) && account.bytes().all(|b| b.is_ascii_digit());
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    digits && (1..=64).contains(&name.len()) && name.bytes().all(word)
}

fn is_external_id(id: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b);
    (2..=1224).contains(&id.len()) && id.bytes().all(allowed)
}

fn check_signed(config: &Config, findings: &mut Findings) {
    let window = config.identity.signed.window;
    if window == Span::default() || window > WIDEST_WINDOW {
        findings.error(
            "identity.signed.window",
            format!("must be more than 0 and at most {WIDEST_WINDOW}"),
        );
    }
    if config.identity.sts.calls_per_second == 0 {
        findings.error("identity.sts.calls_per_second", "must be at least 1");
    }
}

fn check_sts_token(config: &Config, findings: &mut Findings) {
    let rules = &config.identity.sts_token;
    let key = |name: &str| format!("identity.sts_token.{name}");
    only(
        &key("accept"),
        &rules.accept,
        &[Accept::Jwt, Accept::Ticket, Accept::Anonymous],
        findings,
    );
    check_origins(&key("allow_origins"), &rules.allow_origins, findings);
    if rules.calls_per_second == 0 {
        findings.error(key("calls_per_second"), "must be at least 1");
    }
    let Some(arn) = &rules.role else {
        return;
    };
    let roles = &config.identity.roles;
    let arns = roles.iter().map(|role| role.arn.as_str());
    refers(key("role"), arn, arns, "[[identity.role]]", findings);
    let longest = roles
        .iter()
        .find(|role| role.arn == *arn)
        .map_or(LONGEST_SESSION, |role| role.max_session_duration);
    if rules.duration < SHORTEST_SESSION || rules.duration > longest {
        let message = format!("must be from {SHORTEST_SESSION} to {longest}");
        findings
            .error(key("duration"), message)
            .help("the role's max_session_duration bounds it");
    }
    if rules.accept.contains(&Accept::Anonymous) && !is_loopback(config.ingest.listen) {
        let address = config.ingest.listen;
        findings
            .warning(
                key("accept"),
                format!("anyone who reaches {address} can get credentials of {arn}"),
            )
            .help("ask for a token or a ticket, or keep the role's policies narrow");
    }
}

/// Tells of kinds that a list may not hold.
fn only(key: &str, list: &[Accept], allowed: &[Accept], findings: &mut Findings) {
    if list.is_empty() {
        findings.error(key, "must name at least one kind");
    }
    for (index, kind) in list.iter().enumerate() {
        if !allowed.contains(kind) {
            let message = format!("`{}` is of no use here", kind.as_str());
            let names: Vec<&str> = allowed.iter().map(|kind| kind.as_str()).collect();
            findings
                .error(format!("{key}[{index}]"), message)
                .help(format!("use {}", names.join(", ")));
        }
    }
}

fn check_origins(key: &str, origins: &[String], findings: &mut Findings) {
    for (index, origin) in origins.iter().enumerate() {
        if let Some(help) = origin_fault(origin) {
            findings
                .error(
                    format!("{key}[{index}]"),
                    format!("`{origin}` is not an origin"),
                )
                .help(help);
        }
    }
}

fn check_cookies(config: &Config, findings: &mut Findings) {
    let cookies = &config.identity.cookies;
    for (index, name) in cookies.allow.iter().enumerate() {
        let key = format!("identity.cookies.allow[{index}]");
        if !is_word(name) {
            findings
                .error(key, format!("`{name}` is not the name of a cookie"))
                .help("use letters, digits, `-`, `_` and `.`");
        } else if *name == config.identity.cookie || *name == config.identity.session.cookie {
            findings
                .error(key, format!("`{name}` carries a token: it is never stored"))
                .help("leave it out; it is read all the same");
        }
    }
    if cookies.max_count == 0 || cookies.max_count > 1000 {
        findings.error("identity.cookies.max_count", "must be from 1 to 1000");
    }
    for (p, project) in config.projects.iter().enumerate() {
        for (l, logstore) in project.logstores.iter().enumerate() {
            let path = format!("project[{p}].logstore[{l}].cookie_fields");
            check_cookie_fields(config, &logstore.cookie_fields, &path, findings);
        }
    }
}

/// The fields of a logstore's cookies: each of one cookie, and none that has another meaning.
fn check_cookie_fields(
    config: &Config,
    fields: &BTreeMap<String, String>,
    path: &str,
    findings: &mut Findings,
) {
    let allowed = &config.identity.cookies.allow;
    let of_tokens = config
        .identity
        .jwt
        .iter()
        .flat_map(|jwt| jwt.fields.values());
    let of_tokens: Vec<&String> = of_tokens.collect();
    for (name, field) in fields {
        let key = format!("{path}.{name}");
        if !allowed.contains(name) {
            findings
                .error(&*key, format!("`{name}` is not a trusted cookie"))
                .help("add it to identity.cookies.allow")
                .beside("identity.cookies.allow");
        }
        if field.is_empty() || field.len() > 128 {
            findings.error(&*key, format!("`{field}` is not a key of 1 to 128 bytes"));
        }
        if (field.starts_with("__") && field.ends_with("__")) || field.starts_with("__tag__:") {
            let message = format!("`{field}` has a meaning to the logstore");
            findings.error(&*key, message).help("choose another name");
        }
        let mut before = fields.iter().take_while(|(other, _)| *other != name);
        if before.any(|(_, other)| other == field) {
            findings.error(&*key, format!("`{field}` is set by another cookie too"));
        }
        if of_tokens.contains(&field) {
            findings
                .error(
                    key,
                    format!("`{field}` is a field of tokens, which anyone could then set"),
                )
                .help("choose another name")
                .beside("identity.jwt");
        }
    }
}

fn check_tickets_and_sessions(config: &Config, findings: &mut Findings) {
    let identity = &config.identity;
    if identity.ticket.max_lifetime == Span::default() {
        findings.error("identity.ticket.max_lifetime", "must be more than 0");
    }
    let session = &identity.session;
    if !is_word(&session.cookie) {
        let message = format!("`{}` is not a name", session.cookie);
        findings
            .error("identity.session.cookie", message)
            .help("use letters, digits, `-`, `_` and `.`");
    }
    if session.cookie == identity.cookie {
        findings
            .error("identity.session.cookie", "is identity.cookie as well")
            .help("give each a name of its own")
            .beside("identity.cookie");
    }
    only(
        "identity.session.accept",
        &session.accept,
        &[Accept::Jwt, Accept::Ticket],
        findings,
    );
    check_origins(
        "identity.session.allow_origins",
        &session.allow_origins,
        findings,
    );
    if session.ttl == Span::default() {
        findings.error("identity.session.ttl", "must be more than 0");
    }
    let key = identity.jwt.iter().find(|jwt| {
        let named = session.kid.as_ref().is_none_or(|kid| *kid == jwt.kid);
        named && jwt.holds_secret()
    });
    if let Some(key) = key.filter(|key| session.enabled && session.ttl > key.max_lifetime) {
        let message = format!(
            "is longer than max_lifetime of `{}`, {}",
            key.kid, key.max_lifetime
        );
        findings.error("identity.session.ttl", message);
    }
    let with_secret = |jwt: &&crate::config::JwtKey| jwt.holds_secret();
    match &session.kid {
        Some(kid) => {
            let kids = identity.jwt.iter().filter(with_secret);
            refers(
                "identity.session.kid".to_owned(),
                kid,
                kids.map(|jwt| jwt.kid.as_str()),
                "[[identity.jwt]] with a secret",
                findings,
            );
        }
        None if session.enabled && !identity.jwt.iter().any(|jwt| jwt.holds_secret()) => {
            findings
                .error(
                    "identity.session.enabled",
                    "there is no key to sign sessions with",
                )
                .help("add an [[identity.jwt]] with a secret");
        }
        None => {}
    }
}

fn check_security_events(config: &Config, findings: &mut Findings) {
    let rules = &config.security_events;
    if rules.per_second == 0 {
        findings.error("security_events.per_second", "must be at least 1");
    }
    match (&rules.project, &rules.logstore) {
        (None, None) => {}
        (Some(project), Some(logstore)) => {
            let names = config.projects.iter().map(|p| p.name.as_str());
            let key = "security_events.project".to_owned();
            refers(key, project.as_str(), names, "[[project]]", findings);
            let found = config.projects.iter().find(|p| p.name == *project);
            if let Some(found) = found {
                let names = found.logstores.iter().map(|l| l.name.as_str());
                let key = "security_events.logstore".to_owned();
                refers(
                    key,
                    logstore.as_str(),
                    names,
                    "[[project.logstore]]",
                    findings,
                );
            }
        }
        (Some(_), None) => {
            findings.error(
                "security_events.project",
                "security_events.logstore is missing",
            );
        }
        (None, Some(_)) => {
            findings.error(
                "security_events.logstore",
                "security_events.project is missing",
            );
        }
    }
}
