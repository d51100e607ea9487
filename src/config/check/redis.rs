//! Limits that nodes share, and the store that they share them through.

use super::Findings;
use crate::config::{Config, LimitMode, RedisUrl};
use crate::foundation::units::Span;

/// URLs of a store, at most.
const MAX_URLS: usize = 8;
const MAX_PREFIX: usize = 64;
/// An answer that takes longer is of no use to a limit.
const LONGEST_TIMEOUT: Span = Span::secs(1);
const LONGEST_CONNECT: Span = Span::secs(10);

pub(super) fn check(config: &Config, findings: &mut Findings) {
    for (index, limit) in config.limit_rules.iter().enumerate() {
        if !limit.shared || limit.mode == LimitMode::Off {
            continue;
        }
        if config.quota.store().is_none() {
            let message = "there is no store to share it through";
            findings
                .error(format!("limit[{index}].shared"), message)
                .help("add `[quota.redis]` with its `urls`, or leave `shared` out: each node then has the limit for itself")
                .beside("quota.redis.urls");
        }
        if !limit.reserve.is_empty() {
            let message = "a shared limit cannot keep a reserve";
            findings
                .error(format!("limit[{index}].reserve"), message)
                .help("write one shared limit for the precious classes (`classes`) and one for the others")
                .beside(format!("limit[{index}].shared"));
        }
    }
    store(config, findings);
}

fn store(config: &Config, findings: &mut Findings) {
    let redis = &config.quota.redis;
    if redis.urls.len() > MAX_URLS {
        let message = format!("must name at most {MAX_URLS} stores");
        findings.error("quota.redis.urls", message);
    }
    let mut tls = false;
    for (index, url) in redis.urls.iter().enumerate() {
        match RedisUrl::parse(url) {
            Ok(url) => tls |= url.tls,
            Err(fault) => {
                let message = format!("the URL {fault}");
                findings.error(format!("quota.redis.urls[{index}]"), message);
            }
        }
    }
    if redis.ca_file.is_some() && !tls {
        let message = "is of no use: no URL begins with `rediss://`";
        findings
            .error("quota.redis.ca_file", message)
            .beside("quota.redis.urls");
    }
    if redis.user.is_some() && redis.password.is_none() {
        findings.error("quota.redis.user", "needs `password` beside it");
    }
    let sound = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    let prefix = &redis.prefix;
    if prefix.is_empty() || prefix.len() > MAX_PREFIX || !prefix.bytes().all(sound) {
        let message = format!("must be 1 to {MAX_PREFIX} letters, digits, `-`, `_`, `.` and `:`");
        findings.error("quota.redis.prefix", message);
    }
    for (key, span, most) in [
        ("quota.redis.timeout", redis.timeout, LONGEST_TIMEOUT),
        (
            "quota.redis.connect_timeout",
            redis.connect_timeout,
            LONGEST_CONNECT,
        ),
    ] {
        if span.get().is_zero() || span > most {
            findings.error(key, format!("must be more than 0 and at most {most}"));
        }
    }
}
