//! A LogGroup taken apart, so that some of its events can be sent without the others.
//!
//! Promise: a part is a LogGroup with the same topic, source and tags, and with events byte for byte
//! as they were. Its pack id is that of the whole and the places of its events
//! (`0123456789ABCDEF-A.40-7F`): the same part has the same id whenever it is made, so that a reader
//! can drop what came twice.

use std::ops::Range;

use crate::event::{EventGroup, LOG_TAGS_TAG, LOGS_TAG, SOURCE_TAG, TOPIC_TAG, pair_of, put_tag};
use crate::foundation::wire::{Field, Reader};

/// The tag that holds the pack id.
const PACK_ID: &[u8] = b"__pack_id__";
const LOGS: u32 = (LOGS_TAG >> 3) as u32;
const TOPIC: u32 = (TOPIC_TAG >> 3) as u32;
const SOURCE: u32 = (SOURCE_TAG >> 3) as u32;
const LOG_TAGS: u32 = (LOG_TAGS_TAG >> 3) as u32;

/// A LogGroup, and where its events stand.
pub(in crate::pipeline) struct Anatomy {
    raw: Vec<u8>,
    /// Where each `Logs` field stands, tag and length included.
    places: Vec<Range<usize>>,
    /// Where each Log ends and how long it is: the end of its place, without what stands before it.
    lengths: Vec<usize>,
    /// All other fields, without the pack id.
    ending: Vec<u8>,
    pack: Vec<u8>,
}

impl Anatomy {
    /// Takes a LogGroup apart; `None` when it is not one.
    pub(in crate::pipeline) fn of(raw: Vec<u8>) -> Option<Self> {
        let (mut places, mut lengths) = (Vec::new(), Vec::new());
        let (mut ending, mut pack) = (Vec::new(), Vec::new());
        let mut reader = Reader::new(&raw);
        let mut start = 0;
        while let Some(field) = reader.next_field().ok()? {
            let place = start..reader.offset();
            start = place.end;
            match field {
                Field::Bytes(LOGS, log) => {
                    places.push(place);
                    lengths.push(log.len());
                }
                Field::Bytes(LOG_TAGS, tag) if pair_of(tag).0 == PACK_ID => {
                    pack = pair_of(tag).1.to_vec();
                }
                _ => ending.extend_from_slice(raw.get(place)?),
            }
        }
        Some(Self {
            raw,
            places,
            lengths,
            ending,
            pack,
        })
    }

    /// All of it, as it came.
    pub(in crate::pipeline) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// How many events it holds.
    pub(in crate::pipeline) fn events(&self) -> usize {
        self.places.len()
    }

    /// Its pack id; empty when it has none.
    pub(in crate::pipeline) fn pack(&self) -> &[u8] {
        &self.pack
    }

    /// Bytes of the `Logs` fields of some events.
    pub(in crate::pipeline) fn bytes(&self, run: &Range<usize>) -> u64 {
        let places = self.places.get(run.clone()).unwrap_or_default();
        places.iter().map(|place| place.len() as u64).sum()
    }

    /// One Log.
    pub(in crate::pipeline) fn log(&self, event: usize) -> &[u8] {
        let (Some(place), Some(length)) = (self.places.get(event), self.lengths.get(event)) else {
            return &[];
        };
        let place = place.end.saturating_sub(*length)..place.end;
        self.raw.get(place).unwrap_or_default()
    }

    /// A LogGroup of some of the events.
    pub(in crate::pipeline) fn part(&self, run: &Range<usize>) -> Vec<u8> {
        let places = self.places.get(run.clone()).unwrap_or_default();
        let logs: usize = places.iter().map(Range::len).sum();
        let mut part = Vec::with_capacity(logs + self.ending.len() + self.pack.len() + 64);
        for place in places {
            part.extend_from_slice(self.raw.get(place.clone()).unwrap_or_default());
        }
        part.extend_from_slice(&self.ending);
        if !self.pack.is_empty() {
            let mut id = self.pack.clone();
            let last = run.end.saturating_sub(1);
            id.extend_from_slice(format!(".{:X}-{last:X}", run.start).as_bytes());
            put_tag(&mut part, PACK_ID, &id);
        }
        part
    }

    /// Topic, source and tags, as a group without events.
    pub(in crate::pipeline) fn shell(&self) -> EventGroup {
        let mut shell = EventGroup::default();
        let mut reader = Reader::new(&self.ending);
        while let Ok(Some(field)) = reader.next_field() {
            match field {
                Field::Bytes(TOPIC, topic) => shell.topic = topic.to_vec(),
                Field::Bytes(SOURCE, source) => shell.source = source.to_vec(),
                Field::Bytes(LOG_TAGS, tag) => {
                    let (key, value) = pair_of(tag);
                    shell.put_tag(key, value);
                }
                _ => {}
            }
        }
        shell
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::logstore::proto::LogGroup;
    use crate::pipeline::testing::{events, names_in};

    /// A LogGroup as a lane seals it.
    fn whole() -> Vec<u8> {
        let mut group = events("203.0.113.7", ["a", "b", "c", "d", "e"]);
        group.put_tag(b"room", b"kitchen");
        let mut raw = group.logs.clone();
        crate::foundation::wire::put_bytes(&mut raw, TOPIC_TAG, b"web");
        crate::foundation::wire::put_bytes(&mut raw, SOURCE_TAG, &group.source);
        raw.extend_from_slice(&group.tags);
        put_tag(&mut raw, PACK_ID, b"0123456789ABCDEF-A");
        raw
    }

    fn tags_of(group: &LogGroup) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let tags = group.log_tags.iter();
        tags.map(|tag| (text(&tag.key), text(&tag.value))).collect()
    }

    #[test]
    fn parts_have_the_events_of_the_whole_and_ids_of_their_own() {
        let raw = whole();
        let anatomy = Anatomy::of(raw.clone()).unwrap();
        assert_eq!((anatomy.events(), anatomy.pack().len()), (5, 18));
        let mut names = Vec::new();
        let mut bytes = 0;
        for (run, id) in [(0..2, "0-1"), (2..3, "2-2"), (3..5, "3-4")] {
            let part = LogGroup::decode(anatomy.part(&run).as_slice()).unwrap();
            names.extend(names_in(&part));
            bytes += anatomy.bytes(&run);
            assert_eq!(part.topic.as_deref(), Some(&b"web"[..]));
            assert_eq!(part.source.as_deref(), Some(&b"203.0.113.7"[..]));
            let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
            let id = format!("0123456789ABCDEF-A.{id}");
            assert_eq!(
                tags_of(&part),
                [tag("room", "kitchen"), tag("__pack_id__", &id)]
            );
        }
        assert_eq!(names, ["a", "b", "c", "d", "e"]);
        assert_eq!(bytes, anatomy.bytes(&(0..5)));
        let log = LogGroup::decode(raw.as_slice()).unwrap().logs[3].encode_to_vec();
        assert_eq!(anatomy.log(3), log);
    }

    #[test]
    fn what_surrounds_the_events_is_told_without_the_pack_id() {
        let shell = Anatomy::of(whole()).unwrap().shell();
        assert_eq!(
            (&*shell.topic, &*shell.source),
            (&b"web"[..], &b"203.0.113.7"[..])
        );
        let tags: Vec<_> = shell.each_tag().collect();
        let room: (&[u8], &[u8]) = (b"room", b"kitchen");
        assert_eq!(tags, [room]);
    }

    #[test]
    fn what_is_no_log_group_and_places_that_do_not_exist_give_nothing() {
        assert!(Anatomy::of(vec![0xff; 9]).is_none());
        let anatomy = Anatomy::of(whole()).unwrap();
        assert_eq!((anatomy.log(9).len(), anatomy.bytes(&(3..9))), (0, 0));
    }
}
