//! Steps on events in wire form, from the text of their configuration.

mod edge;
mod fields;
mod flow;
mod labels;
mod privacy;
mod properties;
mod splitting;
mod tokens;

use std::io::Write as _;

use super::{Annotation, Outcome, TransformFacts, TransformProblem, Transforms, Work};
use crate::config::{Limits, Transform};
use crate::event::{AttachedNames, EventGroup, FieldPlaces, LOGS_TAG};
use crate::foundation::secret::Secret;
use crate::foundation::units::ByteSize;
use crate::foundation::wire::{self, Field, Reader};

pub(super) const TIME: u64 = 1_781_510_400;

/// The steps of a text such as stands in a configuration, without the header.
pub(super) fn configs(text: &str) -> Vec<Transform> {
    #[derive(serde::Deserialize)]
    struct List {
        #[serde(rename = "transform")]
        steps: Vec<Transform>,
    }
    let text = text.replace("[[t]]", "[[transform]]");
    toml::from_str::<List>(&text).unwrap().steps
}

pub(super) fn compile(text: &str) -> Result<Transforms, Vec<TransformProblem>> {
    compile_with(text, &[], &Limits::default())
}

pub(super) fn compile_with(
    text: &str,
    annotations: &[Annotation],
    limits: &Limits,
) -> Result<Transforms, Vec<TransformProblem>> {
    let attached = AttachedNames::new(["tenant"].into_iter(), std::iter::empty());
    let seed = Secret::new([7; 32]);
    Transforms::new(&configs(text), annotations, limits, &attached, &seed)
}

/// Limits so small that a test reaches them.
pub(super) fn small_limits() -> Limits {
    Limits {
        fields: 4,
        key: ByteSize::bytes(8),
        value: ByteSize::bytes(32),
        body: ByteSize::bytes(256),
        ..Limits::default()
    }
}

/// A file with a key. It lives as long as what is returned.
pub(super) fn key_file(key: &[u8]) -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(key).unwrap();
    let reference = format!("file:{}", file.path().display());
    (file, reference)
}

pub(super) fn facts() -> TransformFacts<'static> {
    TransformFacts {
        client_address: "203.0.113.77".parse().unwrap(),
        user_agent: b"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/WIFI Language/zh_CN",
        referer: b"https://user:pass@shop.example.com:8443/a/b?token=x#top",
        do_not_track: false,
        global_privacy_control: false,
        received: TIME,
        server_id: "edge-1",
        topic: b"topic",
        source: b"source",
    }
}

/// An event as the transcoder writes it.
pub(super) fn put_event(group: &mut EventGroup, fields: &[(&str, &str)], nanoseconds: Option<u32>) {
    let mut log = vec![0x08];
    wire::put_varint(&mut log, TIME);
    for (name, value) in fields {
        let mut content = Vec::new();
        wire::put_bytes(&mut content, 0x0a, name.as_bytes());
        wire::put_bytes(&mut content, 0x12, value.as_bytes());
        wire::put_bytes(&mut log, 0x12, &content);
    }
    if let Some(nanoseconds) = nanoseconds {
        log.push(0x25);
        log.extend_from_slice(&nanoseconds.to_le_bytes());
    }
    wire::put_bytes(&mut group.logs, LOGS_TAG, &log);
    group.events += 1;
}

pub(super) fn group(events: &[&[(&str, &str)]]) -> EventGroup {
    let mut group = EventGroup {
        topic: b"topic".to_vec(),
        source: b"source".to_vec(),
        ..EventGroup::default()
    };
    for event in events {
        put_event(&mut group, event, Some(5));
    }
    group
}

/// The fields of each event of a group, which must be in the canonical form.
pub(super) fn events(group: &EventGroup) -> Vec<Vec<(String, String)>> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut all = Vec::new();
    for place in group.each_log() {
        let mut reader = Reader::new(&group.logs[place.body..place.end]);
        let mut numbers = Vec::new();
        while let Some(field) = reader.next_field().unwrap() {
            numbers.push(match field {
                Field::Varint(1, time) => {
                    assert_eq!(time, TIME);
                    1
                }
                Field::Bytes(2, _) => 2,
                Field::Fixed32(4, _) => 4,
                other => panic!("{other:?}"),
            });
        }
        assert!(
            numbers.is_sorted() && numbers.first() == Some(&1),
            "{numbers:?}"
        );
        let mut places = FieldPlaces::default();
        places.read(&group.logs, place.body..place.end);
        let fields = places.of(&group.logs);
        all.push(
            fields
                .iter()
                .map(|field| (text(field.name), text(field.value)))
                .collect(),
        );
    }
    assert_eq!(all.len(), group.events as usize);
    all
}

/// Runs steps on one event, and returns its fields.
pub(super) fn run(text: &str, event: &[(&str, &str)]) -> Vec<(String, String)> {
    run_with(&compile(text).unwrap(), event, &facts())
}

pub(super) fn run_with(
    transforms: &Transforms,
    event: &[(&str, &str)],
    facts: &TransformFacts<'_>,
) -> Vec<(String, String)> {
    let mut group = group(&[event]);
    let outcome = transforms.apply(&mut group, facts, &mut Work::default());
    assert_eq!(outcome.errors, 0, "{outcome:?}");
    events(&group).pop().expect("the event")
}

pub(super) fn apply(transforms: &Transforms, group: &mut EventGroup) -> Outcome {
    transforms.apply(group, &facts(), &mut Work::default())
}

/// Fails unless the event has these fields, in this order.
#[track_caller]
pub(super) fn assert_fields(found: &[(String, String)], expected: &[(&str, &str)]) {
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    assert_eq!(found, expected);
}
