//! Guards of logstores: patterns that compile, bounds that can be had, and memory for them.

use super::Findings;
use crate::config::{
    AtBound, Cardinality, Config, Dedup, Guards, KeyPattern, LimitMode, OnInvalid, TimeWindow,
};
use crate::foundation::units::Span;

/// Rules of one logstore that each event is held against.
const MOST_CARDINALITY: usize = 16;
const MOST_NAMES: usize = 32;
/// Fields that name an event.
const MOST_PARTS: usize = 8;
const SHORTEST_WINDOW: Span = Span::secs(1);
const LONGEST_WINDOW: Span = Span::secs(7 * 86_400);

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let mut needed = 0u64;
    for (project, of) in config.projects.iter().enumerate() {
        for (index, logstore) in of.logstores.iter().enumerate() {
            let path = format!("project[{project}].logstore[{index}].guards");
            needed = needed.saturating_add(logstore.guards.state_bytes());
            check_guards(config, &logstore.guards, &path, findings);
        }
    }
    let memory = config.limits.guard_memory;
    if needed > memory.get() {
        let mib = needed.div_ceil(1 << 20);
        let message = format!("the guards need {mib}MiB, and there are {memory}");
        findings
            .error("limits.guard_memory", message)
            .help("raise it, or lower max of cardinality or max_ids of dedup");
    }
}

fn check_guards(config: &Config, guards: &Guards, path: &str, findings: &mut Findings) {
    if guards.on_invalid == OnInvalid::Repair {
        let message = "guards mend by their own keys, not by this one";
        let finding = findings.error(format!("{path}.on_invalid"), message);
        finding.help("use quarantine, drop or reject");
    }
    let key = |name: &str| format!("{path}.{name}");
    if guards.percent > 100 {
        findings.error(key("percent"), "must be from 0 to 100");
    }
    if guards.percent < 100 && guards.mode == LimitMode::Observe {
        findings
            .warning(key("percent"), "nothing is enforced in observe mode")
            .help("set mode = \"enforce\" to begin with this share");
    }
    if let Some(text) = &guards.key_pattern
        && let Err(error) = KeyPattern::new(text)
    {
        let message = format!("`{text}` is not a pattern: {error}");
        findings.error(key("key_pattern"), message).help(
            "write a regular expression such as [A-Za-z_][A-Za-z0-9_]*, without look-around and back references",
        );
    }
    check_names(&key("required"), &guards.required, findings);
    check_names(
        &key("reserved_prefixes"),
        &guards.reserved_prefixes,
        findings,
    );
    for (index, prefix) in guards.reserved_prefixes.iter().enumerate() {
        let hit = guards.required.iter().find(|name| name.starts_with(prefix));
        if let Some(name) = hit {
            let message = format!("`{name}` is required, and clients may not send it");
            findings
                .error(format!("{path}.reserved_prefixes[{index}]"), message)
                .beside(key("required"));
        }
    }
    if let Some(window) = &guards.clock {
        check_clock(&config.time, window, &key("clock"), findings);
    }
    if guards.cardinality.len() > MOST_CARDINALITY {
        let message = format!("there are more than {MOST_CARDINALITY} rules");
        findings.error(key("cardinality"), message);
    }
    for (index, rule) in guards.cardinality.iter().enumerate() {
        let path = format!("{path}.cardinality[{index}]");
        check_cardinality(config, rule, &path, findings);
        let mut before = guards.cardinality.iter().take(index);
        if before.any(|other| other.field == rule.field) {
            let message = format!("there is a rule for `{}` already", rule.field);
            findings.error(format!("{path}.field"), message);
        }
    }
    if let Some(rule) = &guards.dedup {
        check_dedup(rule, &key("dedup"), findings);
    }
}

fn check_names(key: &str, names: &[String], findings: &mut Findings) {
    if names.len() > MOST_NAMES {
        findings.error(key, format!("there are more than {MOST_NAMES} names"));
    }
    for (index, name) in names.iter().enumerate() {
        check_field(&format!("{key}[{index}]"), name, findings);
    }
}

fn check_field(key: &str, name: &str, findings: &mut Findings) {
    if name.is_empty() || name.len() > 128 {
        findings.error(key, "a name of a field has 1 to 128 bytes");
    }
}

fn check_window(key: &str, window: Span, findings: &mut Findings) {
    if window < SHORTEST_WINDOW || window > LONGEST_WINDOW {
        findings.error(key, "must be from 1s to 7d");
    }
}

fn check_clock(general: &TimeWindow, window: &TimeWindow, path: &str, findings: &mut Findings) {
    let wider = [
        ("past", window.past > general.past),
        ("future", window.future > general.future),
    ];
    for (name, is_wider) in wider {
        if is_wider {
            let message = "wider than the window of [time], which comes first";
            findings
                .warning(format!("{path}.{name}"), message)
                .help("widen [time], and narrow it here for the other logstores")
                .beside(format!("time.{name}"));
        }
    }
}

fn check_cardinality(config: &Config, rule: &Cardinality, path: &str, findings: &mut Findings) {
    check_field(&format!("{path}.field"), &rule.field, findings);
    check_window(&format!("{path}.window"), rule.window, findings);
    if rule.max == 0 || rule.max > 1 << 20 {
        findings.error(format!("{path}.max"), "must be from 1 to 1048576");
    }
    let key = format!("{path}.replacement");
    if rule.replacement.len() > config.limits.value.as_usize().min(256) {
        findings.error(key, "must be no longer than 256 bytes and limits.value");
    } else if rule.at_bound == AtBound::Replace && rule.replacement.chars().any(char::is_control) {
        findings.error(key, "has a control character");
    }
}

fn check_dedup(rule: &Dedup, path: &str, findings: &mut Findings) {
    check_window(&format!("{path}.window"), rule.window, findings);
    if rule.max_ids == 0 || rule.max_ids > 1 << 22 {
        findings.error(format!("{path}.max_ids"), "must be from 1 to 4194304");
    }
    let key = format!("{path}.fields");
    if rule.fields.len() > MOST_PARTS {
        findings.error(
            key.clone(),
            format!("there are more than {MOST_PARTS} fields"),
        );
    }
    for (index, name) in rule.fields.iter().enumerate() {
        check_field(&format!("{key}[{index}]"), name, findings);
    }
    if rule.ignore_time && !rule.fields.is_empty() {
        findings
            .warning(
                format!("{path}.ignore_time"),
                "the time does not count anyway where fields name an event",
            )
            .help("leave it out");
    }
}
