//! The names of what carries a token.

use super::{Findings, is_word};
use crate::config::Config;

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
    super::jwt::check(config, findings);
}
