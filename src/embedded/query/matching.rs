//! Whether a log meets a query.

use super::{Pattern, Query};
use crate::embedded::group::{Group, Log, Pair};

const TOPIC_KEY: &str = "__topic__";
const SOURCE_KEY: &str = "__source__";
const TAG_KEY_PREFIX: &str = "__tag__:";

impl Query {
    /// Whether the log, which belongs to the group, meets the query.
    pub(super) fn matches(&self, group: &Group<'_>, log: &Log<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Text(text) => {
                let holds = |value| holds_ignoring_case(value, text.as_bytes());
                holds(group.topic)
                    || holds(group.source)
                    || group.tags.iter().any(|(_, value)| holds(value))
                    || contents(log).any(|(_, value)| holds(value))
            }
            Self::Field { key, value } => field_matches(key, value, group, log),
            Self::Not(inner) => !inner.matches(group, log),
            Self::And(parts) => parts.iter().all(|part| part.matches(group, log)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(group, log)),
        }
    }
}

fn field_matches(key: &str, value: &Pattern, group: &Group<'_>, log: &Log<'_>) -> bool {
    match key {
        TOPIC_KEY => value.matches(group.topic),
        SOURCE_KEY => value.matches(group.source),
        _ => {
            let is = |(name, found): &Pair<'_>, wanted: &str| {
                *name == wanted.as_bytes() && value.matches(found)
            };
            let tag = key.strip_prefix(TAG_KEY_PREFIX);
            tag.is_some_and(|tag| group.tags.iter().any(|pair| is(pair, tag)))
                || contents(log).any(|pair| is(&pair, key))
        }
    }
}

/// Stored groups were checked when they came in, so there is no error to find here.
fn contents<'a>(log: &Log<'a>) -> impl Iterator<Item = Pair<'a>> + use<'a> {
    log.contents().filter_map(Result::ok)
}

impl Pattern {
    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => value == text.as_bytes(),
            Self::Prefix(text) => value.starts_with(text.as_bytes()),
        }
    }
}

/// `needle` is in lower case and not empty.
fn holds_ignoring_case(value: &[u8], needle: &[u8]) -> bool {
    needle.is_empty()
        || value
            .windows(needle.len())
            .any(|window| window.eq_ignore_ascii_case(needle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::query::parse;
    use crate::event::EventGroup;
    use crate::foundation::wire::put_bytes;

    fn group() -> Vec<u8> {
        let mut log = vec![0x08, 0x01];
        for (key, value) in [("status", "404"), ("path", "/home/a"), ("msg", "Not Found")] {
            let mut content = Vec::new();
            put_bytes(&mut content, 0x0a, key.as_bytes());
            put_bytes(&mut content, 0x12, value.as_bytes());
            put_bytes(&mut log, 0x12, &content);
        }
        let mut bytes = Vec::new();
        put_bytes(&mut bytes, 0x0a, &log);
        put_bytes(&mut bytes, 0x1a, b"web");
        put_bytes(&mut bytes, 0x22, b"10.0.0.1");
        let mut tags = EventGroup::default();
        tags.put_tag(b"app", b"shop");
        bytes.extend_from_slice(&tags.tags);
        bytes
    }

    #[test]
    fn a_log_meets_what_is_true_of_it_and_nothing_else() {
        let bytes = group();
        let group = Group::read(&bytes).unwrap();
        let log = group.logs().next().unwrap().unwrap();
        for query in [
            "*",
            "status: 404",
            "path: /home*",
            "\"not found\"",
            "FOUND",
            "SHOP",
            "__topic__: web and __source__: 10.0.0.1",
            "__tag__:app: shop",
            "not status: 200",
            "status: 200 or path: *",
        ] {
            assert!(parse(query).unwrap().matches(&group, &log), "{query}");
        }
        for query in [
            "status: 40",
            "msg: \"not found\"",
            "status",
            "app: shop",
            "path: /home* and status: 200",
            "not *",
            "missing: *",
        ] {
            assert!(!parse(query).unwrap().matches(&group, &log), "{query}");
        }
    }
}
