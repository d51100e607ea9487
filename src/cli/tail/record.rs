//! An event as it is read, and its two forms on standard output.
//!
//! Promise: nothing that an event holds can reach the terminal as a control character, in either
//! form. JSON shows all of an event, also a key that stands there twice; the form for people cuts
//! long values.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use crate::cli::output::is_harmless;
use crate::logstore::proto::{Log, LogGroup};

/// Characters of a value that people are shown.
const SHOWN: usize = 200;

const TIME_COLOUR: &str = "\u{1b}[2m";
const TOPIC_COLOUR: &str = "\u{1b}[1m";
const KEY_COLOUR: &str = "\u{1b}[36m";
const RESET: &str = "\u{1b}[0m";

/// An event, with what its LogGroup says of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    group: &'a LogGroup,
    log: &'a Log,
}

/// The events of LogGroups in order of their time; those of one time stay as they came.
pub(super) fn in_order(groups: &[LogGroup]) -> Vec<Record<'_>> {
    let records = groups
        .iter()
        .flat_map(|group| group.logs.iter().map(move |log| Record { group, log }));
    let mut records: Vec<_> = records.collect();
    records.sort_by_key(|record| (record.log.time, record.log.time_ns));
    records
}

/// Appends a line of JSON for each event of a LogGroup, as they stand in it, with the place that they
/// are for, where that is to be told.
pub(in crate::cli) fn lines(group: &LogGroup, place: Option<(&str, &str)>, out: &mut String) {
    for log in &group.logs {
        let mut line = String::new();
        Record { group, log }.json(&mut line);
        let Some((project, logstore)) = place else {
            out.push_str(&line);
            continue;
        };
        out.push_str("{\"__project__\":");
        json_text(out, project);
        member(out, "__logstore__", logstore.as_bytes());
        out.push(',');
        out.push_str(line.strip_prefix('{').unwrap_or_default());
    }
}

impl Record<'_> {
    /// Appends a line of JSON, flattened as SLS clients do.
    pub(super) fn json(&self, out: &mut String) {
        write(out, format_args!("{{\"__time__\":{}", self.log.time));
        if let Some(nanoseconds) = self.log.time_ns {
            write(out, format_args!(",\"__time_ns_part__\":{nanoseconds}"));
        }
        member(out, "__topic__", self.group.topic());
        member(out, "__source__", self.group.source());
        for tag in &self.group.log_tags {
            member(out, &format!("__tag__:{}", lossy(&tag.key)), &tag.value);
        }
        for content in &self.log.contents {
            member(out, &lossy(&content.key), &content.value);
        }
        out.push_str("}\n");
    }

    /// Appends a line for people.
    pub(super) fn pretty(&self, out: &mut String, colour: bool) {
        let paint = |code| if colour { code } else { "" };
        let (time, topic, key, reset) = (
            paint(TIME_COLOUR),
            paint(TOPIC_COLOUR),
            paint(KEY_COLOUR),
            paint(RESET),
        );
        let at = UNIX_EPOCH + Duration::from_secs(u64::from(self.log.time));
        write(
            out,
            format_args!(
                "{time}{}{reset} {topic}",
                humantime::format_rfc3339_seconds(at)
            ),
        );
        match lossy(self.group.topic()).as_ref() {
            "" => out.push('-'),
            text => word(out, text),
        }
        out.push_str(reset);
        let mut pair = |prefix: &str, name: &[u8], value: &[u8]| {
            write(out, format_args!(" {key}{prefix}"));
            word(out, &lossy(name));
            write(out, format_args!("{reset}="));
            word(out, &lossy(value));
        };
        for content in &self.log.contents {
            pair("", &content.key, &content.value);
        }
        if !self.group.source().is_empty() {
            pair("", b"__source__", self.group.source());
        }
        for tag in &self.group.log_tags {
            pair("__tag__:", &tag.key, &tag.value);
        }
        out.push('\n');
    }
}

/// Writing to a string cannot fail.
fn write(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).unwrap_or_default();
}

fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn member(out: &mut String, key: &str, value: &[u8]) {
    out.push(',');
    json_text(out, key);
    out.push(':');
    json_text(out, &lossy(value));
}

/// A JSON string. What the format lets stand but a terminal would obey is escaped too.
fn json_text(out: &mut String, text: &str) {
    let quoted = serde_json::Value::from(text).to_string();
    for c in quoted.chars() {
        if is_harmless(c) {
            out.push(c);
        } else {
            // All such characters are in the first plane, so that one escape holds each.
            write(out, format_args!("\\u{:04x}", u32::from(c)));
        }
    }
}

/// A word for people: cut when it is long, and quoted when it could be taken for something else.
fn word(out: &mut String, text: &str) {
    let plain = |c: char| is_harmless(c) && !c.is_whitespace() && !matches!(c, '"' | '\\' | '=');
    let end = text
        .char_indices()
        .nth(SHOWN)
        .map_or(text.len(), |(at, _)| at);
    let shown = text.get(..end).unwrap_or(text);
    let quote = shown.is_empty() || !shown.chars().all(plain);
    if quote {
        out.push('"');
    }
    for c in shown.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            _ if is_harmless(c) => out.push(c),
            _ => out.extend(c.escape_default()),
        }
    }
    if quote {
        out.push('"');
    }
    if end < text.len() {
        out.push('…');
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::logstore::proto::LogTag;
    use crate::logstore::proto::log::Content;

    fn log(time: u32, pairs: &[(&str, &str)]) -> Log {
        let contents = pairs.iter().map(|(key, value)| Content {
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Bytes::copy_from_slice(value.as_bytes()),
        });
        Log {
            time,
            contents: contents.collect(),
            time_ns: None,
        }
    }

    fn group(topic: &'static str, logs: Vec<Log>) -> LogGroup {
        LogGroup {
            logs,
            topic: Some(Bytes::from(topic)),
            ..LogGroup::default()
        }
    }

    fn pretty(group: &LogGroup, colour: bool) -> String {
        let mut out = String::new();
        in_order(std::slice::from_ref(group))[0].pretty(&mut out, colour);
        out
    }

    fn json(group: &LogGroup) -> String {
        let mut out = String::new();
        in_order(std::slice::from_ref(group))[0].json(&mut out);
        out
    }

    #[test]
    fn events_of_several_groups_are_in_order_of_their_time() {
        let groups = [
            group("a", vec![log(3, &[]), log(1, &[])]),
            group("b", vec![log(1, &[]), log(2, &[])]),
        ];
        let order: Vec<_> = in_order(&groups)
            .iter()
            .map(|r| (r.log.time, r.group.topic().to_vec()))
            .collect();
        let expected = [(1, "a"), (1, "b"), (2, "b"), (3, "a")].map(|(t, topic)| (t, topic.into()));
        assert_eq!(order, expected);
    }

    #[test]
    fn json_is_flat_in_order_and_shows_a_doubled_key_twice() {
        let mut group = group(
            "web",
            vec![log(
                1_781_510_400,
                &[("z", "1"), ("a", "\"x\"\n"), ("z", "2")],
            )],
        );
        group.source = Some(Bytes::from("203.0.113.7"));
        group.log_tags = vec![LogTag {
            key: Bytes::from("k"),
            value: Bytes::from("v"),
        }];
        assert_eq!(
            json(&group),
            "{\"__time__\":1781510400,\"__topic__\":\"web\",\"__source__\":\"203.0.113.7\",\
             \"__tag__:k\":\"v\",\"z\":\"1\",\"a\":\"\\\"x\\\"\\n\",\"z\":\"2\"}\n"
        );
    }

    #[test]
    fn nothing_in_an_event_reaches_the_terminal_as_a_control_character() {
        let evil: String = (0u32..0x2100).filter_map(char::from_u32).collect();
        let mut group = group(
            "t\u{1b}]0;owned\u{7}",
            vec![log(0, &[(&evil[..150], &evil), ("é", "\u{9b}2J")])],
        );
        group.logs[0].contents[1].value = Bytes::from_static(b"\x9b\xff\x1b");
        group.log_tags = vec![LogTag {
            key: Bytes::from("\r"),
            value: Bytes::from("\u{202e}"),
        }];
        for line in [pretty(&group, false), json(&group)] {
            let body = line.strip_suffix('\n').unwrap();
            assert!(body.chars().all(is_harmless), "{body:?}");
        }
        let value: serde_json::Value = serde_json::from_str(&json(&group)).unwrap();
        assert_eq!(value[&evil[..150]], evil, "and JSON loses nothing by it");
    }

    #[test]
    fn the_form_for_people_quotes_only_what_needs_it() {
        let pairs = [
            ("page", "/home"),
            ("note", "a b"),
            ("empty", ""),
            ("x", "a=\"\\"),
            ("l", "1\n2"),
        ];
        let group = group("", vec![log(1_781_510_400, &pairs)]);
        assert_eq!(
            pretty(&group, false),
            "2026-06-15T08:00:00Z - page=/home note=\"a b\" empty=\"\" x=\"a=\\\"\\\\\" l=\"1\\n2\"\n"
        );
    }

    #[test]
    fn long_values_are_cut_for_people_and_whole_in_json() {
        let long = "é".repeat(201);
        let group = group("t", vec![log(0, &[("k", &long)])]);
        assert!(pretty(&group, false).ends_with(&format!(" k={}…\n", "é".repeat(200))));
        assert!(json(&group).contains(&long));
    }

    #[test]
    fn colours_are_there_only_when_asked_for_and_end_where_they_began() {
        let group = group("t", vec![log(0, &[("k", "v")])]);
        assert!(!pretty(&group, false).contains('\u{1b}'));
        let coloured = pretty(&group, true);
        assert_eq!(coloured.matches(RESET).count(), 3);
        assert!(
            coloured.ends_with("\u{1b}[36mk\u{1b}[0m=v\n"),
            "{coloured:?}"
        );
    }
}
