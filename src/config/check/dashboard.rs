//! The dashboard: its sessions, its bounds, and who may embed it.

use super::Findings;
use super::routes::origin_fault;
use crate::config::Config;
use crate::foundation::units::Span;

/// A page extends its session three times in this, and browsers wake one in the background once a
/// minute.
const SHORTEST_SESSION: Span = Span::secs(180);

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let rules = &config.admin.dashboard;
    if rules.session_ttl < SHORTEST_SESSION {
        let message = format!("must be {SHORTEST_SESSION} at least");
        let help = "browsers wake a page in the background once a minute, and it has to extend its session";
        findings
            .error("admin.dashboard.session_ttl", message)
            .help(help);
    }
    if rules.session_max < rules.session_ttl {
        findings
            .error(
                "admin.dashboard.session_max",
                "must not be shorter than admin.dashboard.session_ttl",
            )
            .beside("admin.dashboard.session_ttl");
    }
    for (name, value, least, most) in [
        ("max_sessions", rules.max_sessions, 4, 10_000),
        ("max_viewers", rules.max_viewers, 1, 200),
        ("logins_per_minute", rules.logins_per_minute, 1, 1000),
    ] {
        if !(least..=most).contains(&value) {
            let key = format!("admin.dashboard.{name}");
            findings.error(key, format!("must be from {least} to {most}"));
        }
    }
    for (index, origin) in rules.embed_origins.iter().enumerate() {
        let key = format!("admin.dashboard.embed_origins[{index}]");
        if origin == "*" {
            findings
                .error(key, "`*` would let every page show the dashboard")
                .help("name the origins of your own pages");
        } else if let Some(help) = origin_fault(origin) {
            findings
                .error(key, format!("`{origin}` is not an origin"))
                .help(help);
        }
    }
}
