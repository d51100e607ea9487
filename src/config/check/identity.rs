//! Keys of tokens, and the names of what carries a token.

use super::{Findings, is_word, runs_embedded, unique};
use crate::config::Config;
use crate::foundation::units::Span;

/// Beyond a day it would not be a clock difference, and `exp` would mean nothing.
const MAX_LEEWAY: Span = Span::secs(86_400);

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let identity = &config.identity;
    for (key, name) in [
        ("identity.query_parameter", &identity.query_parameter),
        ("identity.cookie", &identity.cookie),
    ] {
        if !is_word(name) {
            let message = format!("`{name}` is not a name");
            let help = "use letters, digits, `-`, `_` and `.`";
            findings.error(key, message).help(help);
        }
    }
    let kids = identity.jwt.iter().enumerate();
    unique(
        kids.map(|(index, jwt)| (format!("identity.jwt[{index}].kid"), jwt.kid.as_str())),
        "key",
        findings,
    );
    for (index, jwt) in identity.jwt.iter().enumerate() {
        let key = |name: &str| format!("identity.jwt[{index}].{name}");
        if !is_word(&jwt.kid) || jwt.kid.starts_with('.') || jwt.kid.len() > 64 {
            findings
                .error(key("kid"), format!("`{}` is not a key name", jwt.kid))
                .help("use 1 to 64 letters, digits, `-`, `_` and `.`; a file is named after it");
        }
        let generated = jwt.secret.is_none() && config.embedded.access_key_secret.is_none();
        if jwt.kid == "logstore" && generated && runs_embedded(config) {
            findings
                .error(
                    key("kid"),
                    "keys/logstore.key is the embedded logstore's key",
                )
                .help("choose another name");
        }
        for (name, text) in [("issuer", &jwt.issuer), ("audience", &jwt.audience)] {
            if text.is_empty() {
                findings.error(key(name), "must not be empty");
            }
        }
        if jwt.leeway > MAX_LEEWAY {
            findings.error(key("leeway"), format!("must be at most {MAX_LEEWAY}"));
        }
        if jwt.max_lifetime == Span::default() {
            findings.error(key("max_lifetime"), "must be more than 0");
        }
    }
}
