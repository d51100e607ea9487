//! Keys of tokens: one source each, algorithms that fit it, and rules that a token can meet.

use super::{Findings, runs_embedded, unique};
use crate::config::{Config, JwksUrl, JwtAlgorithm, JwtKey};
use crate::foundation::units::Span;

/// Beyond a day it would not be a clock difference, and `exp` would mean nothing.
const MAX_LEEWAY: Span = Span::secs(86_400);
/// More often than this would be a load for the issuer, and find keys no sooner that matter.
const MIN_REFRESH: Span = Span::secs(10);
/// Claims that a token may be asked for, beyond the usual ones.
const MAX_REQUIRED: usize = 32;
/// Names of fields that have a meaning to the logstore.
const RESERVED: [&str; 3] = ["__time__", "__topic__", "__source__"];

/// Files of keys that are made on first start, and whose they are: none may be a token's key as well.
const MADE: [(&str, &str); 4] = [
    ("logstore", "the embedded logstore's key"),
    ("admin", "the admin API's key"),
    ("ticket", "the key of tickets"),
    ("sts", "the key of security tokens"),
];

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let kids = config.identity.jwt.iter().enumerate();
    unique(
        kids.map(|(index, jwt)| (format!("identity.jwt[{index}].kid"), jwt.kid.as_str())),
        "key",
        findings,
    );
    for (index, jwt) in config.identity.jwt.iter().enumerate() {
        let path = format!("identity.jwt[{index}]");
        name(config, jwt, &path, findings);
        source(jwt, &path, findings);
        algorithms(jwt, &path, findings);
        times(jwt, &path, findings);
        claims(jwt, &path, findings);
        scope(config, jwt, &path, findings);
        attached(jwt, &path, findings);
    }
}

fn name(config: &Config, jwt: &JwtKey, path: &str, findings: &mut Findings) {
    let key = format!("{path}.kid");
    if !super::is_word(&jwt.kid) || jwt.kid.starts_with('.') || jwt.kid.len() > 64 {
        findings
            .error(&*key, format!("`{}` is not a key name", jwt.kid))
            .help("use 1 to 64 letters, digits, `-`, `_` and `.`; a file is named after it");
    }
    let taken = MADE.iter().find(|(name, _)| *name == jwt.kid);
    let of_the_store = config.embedded.access_key_secret.is_none() && runs_embedded(config);
    if let Some((name, whose)) = taken
        && sources(jwt).is_empty()
        && (*name != "logstore" || of_the_store)
    {
        findings
            .error(key, format!("keys/{name}.key is {whose}"))
            .help("choose another name");
    }
    for (name, text) in [("issuer", &jwt.issuer), ("audience", &jwt.audience)] {
        if text.is_empty() {
            findings.error(format!("{path}.{name}"), "must not be empty");
        }
    }
    if jwt.typ.as_deref() == Some("") {
        findings
            .error(format!("{path}.typ"), "must not be empty")
            .help("leave it out for `JWT` or none");
    }
}

/// The keys of the configuration that say where the key is.
fn sources(jwt: &JwtKey) -> Vec<&'static str> {
    [
        ("secret", jwt.secret.is_some()),
        ("public_key", jwt.public_key.is_some()),
        ("jwks", jwt.jwks.is_some()),
        ("jwks_url", jwt.jwks_url.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, given)| given.then_some(name))
    .collect()
}

fn source(jwt: &JwtKey, path: &str, findings: &mut Findings) {
    let given = sources(jwt);
    if let [first, more @ ..] = given.as_slice() {
        for second in more {
            findings
                .error(
                    format!("{path}.{second}"),
                    format!("a second key beside `{first}`"),
                )
                .help("give each key an [[identity.jwt]] of its own")
                .beside(format!("{path}.{first}"));
        }
    }
    let Some(url) = &jwt.jwks_url else {
        return;
    };
    if let Err(fault) = JwksUrl::parse(url) {
        findings
            .error(format!("{path}.jwks_url"), fault)
            .help("write `https://login.example.com/.well-known/jwks.json`");
    }
    if jwt.jwks_refresh < MIN_REFRESH {
        let message = format!("must be at least {MIN_REFRESH}");
        findings.error(format!("{path}.jwks_refresh"), message);
    }
    if jwt.jwks_keep < jwt.jwks_refresh {
        findings
            .error(
                format!("{path}.jwks_keep"),
                format!("must be at least jwks_refresh, {}", jwt.jwks_refresh),
            )
            .beside(format!("{path}.jwks_refresh"));
    }
}

fn is_hmac(algorithm: JwtAlgorithm) -> bool {
    matches!(
        algorithm,
        JwtAlgorithm::HS256 | JwtAlgorithm::HS384 | JwtAlgorithm::HS512
    )
}

fn algorithms(jwt: &JwtKey, path: &str, findings: &mut Findings) {
    let key = format!("{path}.algorithms");
    let all = &jwt.algorithms;
    let hmac = all.iter().filter(|it| is_hmac(**it)).count();
    if all.is_empty() {
        findings
            .error(key, "names no algorithm, so that no token could be good")
            .help("name those that the issuer signs with");
        return;
    }
    if (1..all.len()).any(|at| all.iter().take(at).any(|it| Some(it) == all.get(at))) {
        findings.error(&*key, "names an algorithm twice");
    }
    if hmac > 0 && hmac < all.len() {
        findings
            .error(key, "mixes HMAC, which needs a secret, with public keys")
            .help("give each an [[identity.jwt]] of its own: a public key must never count as a secret");
        return;
    }
    match sources(jwt).as_slice() {
        [source @ ("public_key" | "jwks_url")] if hmac > 0 => {
            findings
                .error(
                    key,
                    format!("`{source}` is for public keys, HMAC needs a secret"),
                )
                .help("set algorithms = [\"RS256\"], [\"ES256\"] or what the issuer signs with")
                .beside(format!("{path}.{source}"));
        }
        [] | ["secret"] if hmac == 0 => {
            let finding = findings.error(key, "these algorithms need a public key");
            finding.help("set public_key, jwks or jwks_url");
        }
        _ => {}
    }
}

fn times(jwt: &JwtKey, path: &str, findings: &mut Findings) {
    if jwt.leeway > MAX_LEEWAY {
        findings.error(
            format!("{path}.leeway"),
            format!("must be at most {MAX_LEEWAY}"),
        );
    }
    for (name, span) in [
        ("max_lifetime", Some(jwt.max_lifetime)),
        ("max_age", jwt.max_age),
    ] {
        // Times of tokens are whole seconds.
        if span.is_some_and(|span| span.as_secs() == 0) {
            let message = if span == Some(Span::default()) {
                "must be more than 0"
            } else {
                "must be at least 1s"
            };
            findings.error(format!("{path}.{name}"), message);
        }
    }
}

fn claims(jwt: &JwtKey, path: &str, findings: &mut Findings) {
    let names = &jwt.claims;
    for (name, claim) in [
        ("project", &names.project),
        ("logstore", &names.logstore),
        ("action", &names.action),
        ("platform", &names.platform),
        ("appid", &names.appid),
    ] {
        if claim.is_empty() {
            findings.error(format!("{path}.claims.{name}"), "must not be empty");
        }
        if matches!(claim.as_str(), "exp" | "nbf" | "iat") {
            let message = format!("`{claim}` is a time, not a name");
            findings.error(format!("{path}.claims.{name}"), message);
        }
    }
    let required = &jwt.required_claims;
    if required.len() > MAX_REQUIRED {
        findings.error(
            format!("{path}.required_claims"),
            format!("names {} claims; at most {MAX_REQUIRED}", required.len()),
        );
    }
    unique(
        required
            .iter()
            .enumerate()
            .map(|(at, claim)| (format!("{path}.required_claims[{at}]"), claim.as_str())),
        "claim",
        findings,
    );
    for (at, _) in required.iter().enumerate().filter(|(_, it)| it.is_empty()) {
        findings.error(format!("{path}.required_claims[{at}]"), "must not be empty");
    }
}

/// What tokens without claims may write to should be there.
fn scope(config: &Config, jwt: &JwtKey, path: &str, findings: &mut Findings) {
    let Some(name) = &jwt.project else {
        return;
    };
    let mut projects = config.projects.iter();
    let Some(project) = projects.find(|project| project.name.as_str() == name) else {
        let message = format!("there is no project `{name}`, so its tokens open nothing");
        findings.warning(format!("{path}.project"), message);
        return;
    };
    for (at, logstore) in jwt.logstores.iter().enumerate() {
        let mut logstores = project.logstores.iter();
        if !logstores.any(|one| one.name.as_str() == logstore) {
            let message = format!("the project `{name}` has no logstore `{logstore}`");
            findings.warning(format!("{path}.logstores[{at}]"), message);
        }
    }
}

fn attached(jwt: &JwtKey, path: &str, findings: &mut Findings) {
    for (table, map) in [("fields", &jwt.fields), ("tags", &jwt.tags)] {
        for (claim, target) in map {
            let key = format!("{path}.{table}.{claim}");
            if claim.is_empty() {
                findings.error(format!("{path}.{table}"), "a claim has an empty name");
            }
            if target.is_empty() || target.len() > 128 {
                findings.error(&*key, format!("`{target}` is not a key of 1 to 128 bytes"));
            }
            if RESERVED.contains(&target.as_str()) || target.starts_with("__tag__:") {
                let message = format!("`{target}` has a meaning to the logstore");
                findings.error(&*key, message).help("choose another name");
            }
            let mut same = map.iter().take_while(|(other, _)| *other != claim);
            if same.any(|(_, other)| other == target) {
                findings.error(key, format!("`{target}` is set by another claim too"));
            }
        }
    }
}
