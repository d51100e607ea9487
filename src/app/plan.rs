//! What two configurations differ in, and what of that can change while the service runs.
//!
//! Promise: every key that differs is told. A key that is on neither list needs a restart: were it
//! passed over in silence, an operator would believe a door closed that stays open.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::config::Config;

/// What two configurations differ in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Keys that can change while the service runs.
    pub(super) live: Vec<String>,
    /// Keys that need a restart.
    pub(super) restart: Vec<String>,
}

/// What changes with a reload, with all that is below it.
const LIVE: &[&str] = &[
    "admin.client",
    "admin.hosts",
    "admin.tls",
    "admin.token",
    "batch",
    "class",
    "delivery",
    "identity",
    "ingest",
    "limit",
    "limits",
    "overload",
    "project",
    "quota",
    "reload",
    "sample",
    "schema",
    "security_events",
    "spool.keys",
    "time",
    "traces.client_address",
    "traces.incoming",
    "traces.ratio",
    "upstream",
];

/// What needs a restart, also below what changes with a reload.
const RESTART: &[&str] = &[
    "admin",
    "data_dir",
    "embedded",
    "identity.signed",
    "ingest.backlog",
    "ingest.reuse_port",
    "ingest.threads",
    "log",
    "metrics",
    "project[].logstore[].ack",
    "project[].logstore[].spool",
    "quarantine",
    "quota.redis",
    "spool",
    "traces",
];

/// What `new` changes of a configuration that runs elsewhere, as its node shows it: what can change live, and
/// what needs a restart. Keys that are `overridden` there are left out. `None`: it is that of another
/// version.
#[must_use]
pub fn differences(
    running: &Value,
    new: &Config,
    overridden: &[String],
) -> Option<(Vec<String>, Vec<String>)> {
    let new = value_of(new);
    let sections = |config: &Value| {
        let sections = config.as_object()?.keys().cloned();
        Some(sections.collect::<BTreeSet<String>>())
    };
    if sections(running) != sections(&new) {
        return None;
    }
    let Plan {
        mut live,
        mut restart,
    } = plan_of(running, &new, false);
    live.retain(|key| !overridden.contains(key));
    restart.retain(|key| !overridden.contains(key));
    Some((live, restart))
}

/// What `new` changes. `has_embedded`: this process serves the embedded logstore.
pub(super) fn plan(running: &Config, new: &Config, has_embedded: bool) -> Plan {
    plan_of(&value_of(running), &value_of(new), has_embedded)
}

fn plan_of(running: &Value, new: &Value, has_embedded: bool) -> Plan {
    let mut changed = Vec::new();
    differ(running, new, "", &mut changed);
    let mut plan = Plan::default();
    for key in changed {
        if is_live(&key) {
            plan.live.push(key);
        } else {
            plan.restart.push(key);
        }
    }
    let embedded = |config: &Value| {
        let mut upstreams = config.get("upstream")?.as_array()?.iter();
        let of_kind = upstreams.find(|it| it.get("kind").is_some_and(|kind| kind == "embedded"));
        Some(of_kind?.get("name")?.as_str()?.to_owned())
    };
    if let (None, Some(name), false) = (embedded(running), embedded(new), has_embedded) {
        plan.live.retain(|key| *key != format!("upstream[{name}]"));
        plan.restart.push(format!("upstream[{name}]"));
    }
    let has_tls = |config: &Value| {
        let certificates = config.pointer("/admin/tls/certificate");
        certificates
            .and_then(Value::as_array)
            .is_some_and(|it| !it.is_empty())
    };
    if has_tls(running) != has_tls(new) {
        // Whether it speaks TLS at all.
        let (tls, live) = plan
            .live
            .into_iter()
            .partition(|key| is_below(key, "admin.tls"));
        plan.live = live;
        plan.restart.extend::<Vec<String>>(tls);
    }
    plan
}

/// Whether a key can change while the service runs: the longest entry that it is at or below decides.
fn is_live(key: &str) -> bool {
    let key = without_names(key);
    let longest = |list: &[&str]| {
        let of_key = list.iter().filter(|entry| is_below(&key, entry));
        of_key.map(|entry| entry.len()).max().unwrap_or(0)
    };
    longest(LIVE) > longest(RESTART)
}

fn is_below(key: &str, entry: &str) -> bool {
    let rest = key.strip_prefix(entry);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// `project[shop].upstream` as `project[].upstream`.
fn without_names(key: &str) -> String {
    let mut inside = false;
    key.chars()
        .filter(|c| {
            let shown = !inside || *c == ']';
            match c {
                '[' => inside = true,
                ']' => inside = false,
                _ => {}
            }
            shown
        })
        .collect()
}

fn value_of(config: &Config) -> Value {
    serde_json::to_value(config).unwrap_or_default()
}

/// Members that name an element of a list.
const NAMES: &[&str] = &["name", "kid", "id", "arn"];

/// The elements of a list by name, where each has one of its own.
fn by_name(list: &[Value]) -> Option<BTreeMap<&str, &Value>> {
    let name = |element: &'_ Value| -> Option<usize> {
        NAMES.iter().position(|name| element.get(name).is_some())
    };
    let member = NAMES.get(name(list.first()?)?)?;
    let mut named = BTreeMap::new();
    for element in list {
        let name = element.get(member)?.as_str()?;
        if named.insert(name, element).is_some() {
            return None;
        }
    }
    Some(named)
}

fn differ(one: &Value, other: &Value, path: &str, changed: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => differ_in_members(a, b, path, changed),
        (Value::Array(a), Value::Array(b)) if a != b => {
            let named = |list: &'_ [Value]| list.is_empty() || by_name(list).is_some();
            if named(a) && named(b) {
                let (a, b) = (
                    by_name(a).unwrap_or_default(),
                    by_name(b).unwrap_or_default(),
                );
                let names: BTreeSet<&str> = a.keys().chain(b.keys()).copied().collect();
                let before = changed.len();
                for name in names {
                    let path = format!("{path}[{name}]");
                    match (a.get(name), b.get(name)) {
                        (Some(a), Some(b)) => differ(a, b, &path, changed),
                        _ => changed.push(path),
                    }
                }
                if changed.len() == before {
                    // The same, in another order: which counts for limits, and for the default.
                    changed.push(path.to_owned());
                }
            } else if a.len() == b.len() && a.iter().any(Value::is_object) {
                for (index, (a, b)) in a.iter().zip(b).enumerate() {
                    differ(a, b, &format!("{path}[{index}]"), changed);
                }
            } else {
                changed.push(path.to_owned());
            }
        }
        (a, b) if a != b => changed.push(path.to_owned()),
        _ => {}
    }
}

fn differ_in_members(
    a: &Map<String, Value>,
    b: &Map<String, Value>,
    path: &str,
    changed: &mut Vec<String>,
) {
    let none = &Value::Null;
    let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
    for key in keys {
        let path = match path {
            "" => key.clone(),
            path => format!("{path}.{key}"),
        };
        let (a, b) = (a.get(key).unwrap_or(none), b.get(key).unwrap_or(none));
        differ(a, b, &path, changed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Accept, Ack};
    use crate::foundation::names::LogstoreName;

    #[test]
    fn what_differs_is_told_by_name_and_sorted_by_what_it_needs() {
        let running = Config::quickstart();
        assert_eq!(plan(&running, &running, true), Plan::default());
        let mut new = running.clone();
        new.identity.jwt.clear();
        new.projects[0].policy = Some("office-only".to_owned());
        new.projects[0].logstores[1].accept = vec![Accept::Jwt];
        new.projects[0].logstores[1].weight = 7;
        let mut more = new.projects[0].logstores[0].clone();
        more.name = LogstoreName::new("more").unwrap();
        new.projects[0].logstores.insert(0, more);
        new.overload.alpha = 3;
        let found = plan(&running, &new, true);
        assert_eq!(found.restart, Vec::<String>::new());
        let project = "project[sls-webtracking-mini]";
        for key in [
            "overload.alpha",
            &format!("{project}.policy"),
            &format!("{project}.logstore[anonymous-demo].accept"),
            &format!("{project}.logstore[anonymous-demo].weight"),
            &format!("{project}.logstore[more]"),
        ] {
            assert!(found.live.iter().any(|it| it == key), "{key} in {found:?}");
        }
        new.projects[0].logstores[1].ack = Ack::Disk;
        new.ingest.backlog += 1;
        new.data_dir = "/elsewhere".into();
        let found = plan(&running, &new, true);
        let ack = format!("{project}.logstore[web-tracking-logstore].ack");
        assert_eq!(found.restart, ["data_dir", "ingest.backlog", &ack]);
    }

    #[test]
    fn another_order_is_a_change_and_an_embedded_store_is_not_begun_live() {
        let running = Config::quickstart();
        let mut new = running.clone();
        new.projects[0].logstores.reverse();
        let found = plan(&running, &new, true).live;
        assert_eq!(found, ["project[sls-webtracking-mini].logstore"]);
        let mut without = running.clone();
        let embedded = without.upstreams.remove(0).name;
        let found = plan(&without, &running, false).restart;
        assert_eq!(found, [format!("upstream[{embedded}]")]);
    }

    #[test]
    fn every_section_is_on_a_list_and_no_entry_is_for_nothing() {
        let Value::Object(sections) = value_of(&Config::quickstart()) else {
            panic!("an object");
        };
        for section in sections.keys() {
            let lists = LIVE.iter().chain(RESTART);
            let known = lists.filter(|entry| is_below(entry, section) || is_below(section, entry));
            assert!(known.count() > 0, "{section}: decide how it changes");
        }
        for entry in LIVE.iter().chain(RESTART) {
            let section = entry.split(['.', '[']).next().unwrap();
            assert!(sections.contains_key(section), "{entry} is no key");
        }
    }
}
