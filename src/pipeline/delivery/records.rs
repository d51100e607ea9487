//! Events that the store refused, as records of the quarantine.
//!
//! A record holds the event as it was sent, after all steps, which is why a replay does not take
//! those steps again. Fields with names that are ours or the store's stand apart (`attached`), so that
//! a replay gives them to the event again instead of taking them for the client's.

use std::ops::Range;

use super::anatomy::Anatomy;
use crate::event::{Cause, Kind, Violation, pair_of, put_content};
use crate::foundation::wire::{Field, Reader, put_varint};
use crate::pipeline::destination::Failure;
use crate::pipeline::quarantine::{Attached, Record, RecordEvent, Tags};

/// Bytes of records that are handed over together.
const CHUNK: usize = 1 << 20;

const TIME: u32 = 1;
const CONTENTS: u32 = 2;
const TIME_NS: u32 = 4;
const TIME_TAG: u8 = 0x08;
const TIME_NS_TAG: u8 = 0x25;

/// Lines of records of the first events of `run`, as many as fit together, and how many those are:
/// at least one unless `run` is empty.
pub(in crate::pipeline) fn lines(
    anatomy: &Anatomy,
    run: &Range<usize>,
    why: &Failure,
    now: u64,
) -> (Vec<u8>, usize) {
    let (mut lines, mut count) = (Vec::new(), 0);
    let shell = anatomy.shell();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (topic, source, pack) = (
        text(&shell.topic),
        text(&shell.source),
        text(anatomy.pack()),
    );
    let violation = Violation {
        pointer: String::new(),
        keyword: Cause::Store.label().into(),
        message: why.to_string(),
    };
    for event in run.clone() {
        let (log, kinds) = ordered(anatomy.log(event));
        let id = format!("{pack}.{event:X}");
        let event = RecordEvent {
            log: &log,
            kinds: &kinds,
        };
        let record = Record {
            id: &id,
            received: now,
            cause: Cause::Store.label(),
            check: &why.code,
            violations: vec![(&violation).into()],
            hidden: 0,
            client: None,
            // What the store refused was judged before.
            sender: None,
            turn: 0,
            do_not_track: false,
            global_privacy_control: false,
            topic: &topic,
            source: &source,
            tags: Tags(&shell),
            event,
            attached: Attached(event),
        };
        // A `Vec` takes everything, and a record is texts and numbers.
        if serde_json::to_writer(&mut lines, &record).is_ok() {
            lines.push(b'\n');
        }
        count += 1;
        if lines.len() >= CHUNK {
            break;
        }
    }
    (lines, count)
}

/// A Log with the client's fields first, which is what [`RecordEvent`] expects, and a kind for each of
/// those. What they were in the body is not known any more: all are texts.
fn ordered(log: &[u8]) -> (Vec<u8>, Vec<Kind>) {
    let mut ordered = Vec::with_capacity(log.len());
    let (mut ours, mut kinds) = (Vec::new(), Vec::new());
    let mut fields = Reader::new(log);
    while let Ok(Some(field)) = fields.next_field() {
        match field {
            Field::Varint(TIME, seconds) => {
                ordered.push(TIME_TAG);
                put_varint(&mut ordered, seconds);
            }
            Field::Fixed32(TIME_NS, nanos) => {
                ordered.push(TIME_NS_TAG);
                ordered.extend_from_slice(&nanos.to_le_bytes());
            }
            Field::Bytes(CONTENTS, content) => {
                let (name, value) = pair_of(content);
                if name.starts_with(b"__") {
                    put_content(&mut ours, name, value);
                } else {
                    put_content(&mut ordered, name, value);
                    kinds.push(Kind::Text);
                }
            }
            _ => {}
        }
    }
    ordered.extend_from_slice(&ours);
    (ordered, kinds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{LOGS_TAG, TOPIC_TAG, put_tag};
    use crate::foundation::wire::put_bytes;
    use crate::logstore::error::{ErrorAnswer, StoreError};

    fn anatomy(events: usize, value: &[u8]) -> Anatomy {
        let mut log = vec![TIME_TAG];
        put_varint(&mut log, 1_781_510_400);
        put_content(&mut log, b"__tag__:__client_ip__", b"203.0.113.7");
        put_content(&mut log, b"event", value);
        log.push(TIME_NS_TAG);
        log.extend_from_slice(&7u32.to_le_bytes());
        let mut raw = Vec::new();
        for _ in 0..events {
            put_bytes(&mut raw, LOGS_TAG, &log);
        }
        put_bytes(&mut raw, TOPIC_TAG, b"web");
        put_tag(&mut raw, b"room", b"kitchen");
        put_tag(&mut raw, b"__pack_id__", b"0123456789ABCDEF-A");
        Anatomy::of(raw).unwrap()
    }

    fn why() -> Failure {
        let refused = StoreError::Refused(ErrorAnswer {
            status: 400,
            code: "PostBodyInvalid".to_owned(),
            message: "bad \"event\"".to_owned(),
            request_id: Some("6A2F".to_owned()),
            server_time: None,
            retry_after: None,
        });
        refused.into()
    }

    #[test]
    fn a_record_holds_the_event_and_the_words_of_the_store() {
        let (lines, count) = lines(&anatomy(3, b"click"), &(1..2), &why(), 1_781_510_500);
        assert_eq!(count, 1);
        let record: serde_json::Value = serde_json::from_slice(&lines).unwrap();
        let wanted = serde_json::json!({
            "id": "0123456789ABCDEF-A.1",
            "received": 1_781_510_500,
            "cause": "store",
            "check": "PostBodyInvalid",
            "violations": [{
                "pointer": "",
                "keyword": "store",
                "message": "status 400 PostBodyInvalid: bad \"event\" (request 6A2F)",
            }],
            "topic": "web",
            "tags": {"room": "kitchen"},
            "event": {"__time__": 1_781_510_400, "__time_ns_part__": 7, "event": "click"},
            "attached": {"__tag__:__client_ip__": "203.0.113.7"},
        });
        assert_eq!(record, wanted);
    }

    #[test]
    fn records_are_handed_over_in_chunks() {
        let anatomy = anatomy(5, &vec![b'x'; 600_000]);
        let mut run = 0..5;
        let mut counts = Vec::new();
        while !run.is_empty() {
            let (_, count) = lines(&anatomy, &run, &why(), 0);
            counts.push(count);
            run.start += count;
        }
        assert_eq!(counts, [2, 2, 1]);
    }
}
