//! What a reload may change, and what needs a restart.

use serde_json::Value;

use crate::config::{Config, Identity, Logstore, Project, Quota};

/// Changed keys that are named in an error.
const NAMED: usize = 8;

/// Tells every key that differs and is not taken over by a reload: were they passed over in
/// silence, an operator would believe a door closed that stays open.
///
/// # Errors
/// The keys.
pub(super) fn check_fixed(running: &Config, new: &Config) -> Result<(), String> {
    let mut changed = Vec::new();
    differ(&fixed(running), &fixed(new), "", &mut changed);
    if changed.is_empty() {
        return Ok(());
    }
    let more = changed.len().saturating_sub(NAMED);
    changed.truncate(NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    Err(format!(
        "nothing was reloaded: restart to change {}{more}",
        changed.join(", ")
    ))
}

/// The configuration without what a reload takes over.
fn fixed(config: &Config) -> Value {
    let Config {
        identity,
        projects,
        quota,
        ..
    } = config;
    // All else is taken over. A key that is added has to be decided on here.
    let Quota {
        memory: _,
        utc_offset: _,
        save_interval: _,
        max_overrides: _,
        redis,
    } = quota;
    let kept = Config {
        identity: Identity {
            jwt: Vec::new(),
            access_keys: Vec::new(),
            policies: Vec::new(),
            roles: Vec::new(),
            ticket: crate::config::Tickets::default(),
            revocation: crate::config::Revocations::default(),
            sts: crate::config::Sts::default(),
            ..identity.clone()
        },
        limit_rules: Vec::new(),
        schemas: Vec::new(),
        classes: Vec::new(),
        quota: Quota {
            redis: redis.clone(),
            ..Quota::default()
        },
        projects: projects
            .iter()
            .map(|project| Project {
                policy: None,
                logstores: project.logstores.iter().map(without_quality).collect(),
                ..project.clone()
            })
            .collect(),
        ..config.clone()
    };
    serde_json::to_value(kept).unwrap_or_default()
}

/// A logstore without what its events are held to.
fn without_quality(logstore: &Logstore) -> Logstore {
    Logstore {
        schema: None,
        transforms: Vec::new(),
        guards: crate::config::Guards::default(),
        quarantine: crate::config::QuarantineUse::default(),
        ..logstore.clone()
    }
}

fn differ(one: &Value, other: &Value, path: &str, changed: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            for key in keys {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                let none = &Value::Null;
                differ(
                    a.get(key).unwrap_or(none),
                    b.get(key).unwrap_or(none),
                    &path,
                    changed,
                );
            }
        }
        (Value::Array(a), Value::Array(b))
            if a.len() == b.len() && a.iter().any(Value::is_object) =>
        {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differ(a, b, &format!("{path}[{index}]"), changed);
            }
        }
        (a, b) if a != b => changed.push(path.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Accept;

    #[test]
    fn keys_roles_and_policies_may_change_and_doors_may_not() {
        let running = Config::quickstart();
        let mut new = running.clone();
        new.identity.jwt.clear();
        new.projects[0].policy = Some("office-only".to_owned());
        new.identity.sts.calls_per_second = 1;
        new.quota.max_overrides = 1;
        new.classes.push(crate::config::Class {
            name: "orders".to_owned(),
            priority: None,
            topics: vec!["orders".to_owned()],
            field: None,
            values: Vec::new(),
        });
        assert_eq!(check_fixed(&running, &new), Ok(()));
        new.projects[0].logstores[1].accept = vec![Accept::Jwt];
        new.identity.session.enabled = true;
        let error = check_fixed(&running, &new).unwrap_err();
        for key in ["project[0].logstore[1].accept", "identity.session.enabled"] {
            assert!(error.contains(key), "{error}");
        }
        let mut renamed = running.clone();
        renamed.projects.push(renamed.projects[0].clone());
        assert!(
            check_fixed(&running, &renamed)
                .unwrap_err()
                .contains("project")
        );
    }
}
