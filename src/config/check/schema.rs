//! Schemas: names that exist, versions that differ, and ways out that lead somewhere.

use std::collections::BTreeSet;

use super::{Findings, refers};
use crate::config::{Config, OnInvalid, Project, SchemaUse};
use crate::foundation::units::Span;

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for (index, rule) in config.schemas.iter().enumerate() {
        let key = |name: &str| format!("schema[{index}].{name}");
        if !seen.insert((&rule.name, &rule.version)) {
            let (name, version) = (&rule.name, &rule.version);
            let message = format!("a second schema `{name}` of version `{version}`");
            findings.error(key("version"), message);
        }
        if rule.version.is_empty() || rule.version.len() > 64 {
            findings.error(key("version"), "must have 1 to 64 characters");
        }
        if rule.event.as_ref().is_some_and(String::is_empty) {
            let finding = findings.error(key("event"), "an event has no empty type");
            finding.help("leave it out for every event");
        }
    }
    let quarantine = &config.quarantine;
    for (name, size, least) in [
        ("quarantine.max_size", quarantine.max_size, 1 << 20),
        ("quarantine.queue", quarantine.queue, 64 << 10),
    ] {
        if size.get() < least {
            findings.error(name, format!("must be at least {} KiB", least >> 10));
        }
    }
    if quarantine.max_age == Span::default() {
        findings.error("quarantine.max_age", "must be more than 0");
    }
    for (i, project) in config.projects.iter().enumerate() {
        for (j, logstore) in project.logstores.iter().enumerate() {
            let path = format!("project[{i}].logstore[{j}]");
            if let Some(target) = &logstore.quarantine.logstore {
                let key = format!("{path}.quarantine.logstore");
                if *target == logstore.name {
                    let message = "a logstore cannot take what is set aside from itself";
                    findings.error(key, message);
                } else {
                    let known = names(project);
                    refers(
                        key,
                        target.as_str(),
                        known,
                        "logstore of this project",
                        findings,
                    );
                }
            }
            if let Some(used) = &logstore.schema {
                check_use(config, &format!("{path}.schema"), used, findings);
            }
        }
    }
}

fn names(project: &Project) -> impl Iterator<Item = &str> {
    project.logstores.iter().map(|other| other.name.as_str())
}

fn check_use(config: &Config, path: &str, used: &SchemaUse, findings: &mut Findings) {
    if used.names.is_empty() {
        let finding = findings.error(format!("{path}.use"), "no schema is named");
        finding.help("name one of [[schema]], or leave the table out");
    }
    for (index, name) in used.names.iter().enumerate() {
        let known = config.schemas.iter().map(|rule| rule.name.as_str());
        refers(
            format!("{path}.use[{index}]"),
            name,
            known,
            "schema",
            findings,
        );
        if used.names.get(..index).unwrap_or_default().contains(name) {
            findings.error(format!("{path}.use[{index}]"), "named twice");
        }
    }
    let mut wanted = config.schemas.iter();
    let by_event = wanted.find(|rule| used.names.contains(&rule.name) && rule.event.is_some());
    if let (Some(rule), None) = (by_event, &used.event_field) {
        let message = format!("schema `{}` is for one type of event", rule.name);
        let finding = findings.error(format!("{path}.event_field"), message);
        finding.help("name the field that holds the type");
    }
    for (key, field) in [
        ("event_field", &used.event_field),
        ("version_field", &used.version_field),
    ] {
        if field.as_ref().is_some_and(String::is_empty) {
            findings.error(format!("{path}.{key}"), "no field has an empty name");
        }
    }
    if used.on_invalid == OnInvalid::Repair && used.repair.is_empty() {
        findings.error(format!("{path}.repair"), "nothing may be done");
    }
    if used.unrepaired == OnInvalid::Repair {
        let message = "an event that could not be repaired cannot be repaired";
        let finding = findings.error(format!("{path}.unrepaired"), message);
        finding.help("use quarantine, drop or reject");
    }
}
