//! Messages of a LogGroup: what they hold, their keys and ids, and which are sent together.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rskafka::chrono::DateTime;
use rskafka::record::Record;

use super::KafkaRules;
use super::partition::partition_of;
use crate::event::{EventGroup, LOGS_TAG, SOURCE_TAG, TOPIC_TAG, put_tag};
use crate::foundation::wire::put_bytes;
use crate::pipeline::delivery::anatomy::Anatomy;
use crate::pipeline::destination::Taken;
use crate::pipeline::destination::json::{JsonEvents, contents, time_of};

/// The header that holds the id of a message: the same whenever it is sent.
const ID_HEADER: &str = "tollgate-id";
/// The field and the tag of the client's address.
const ADDRESS_FIELD: &[u8] = b"__tag__:__client_ip__";
const ADDRESS_TAG: &[u8] = b"__client_ip__";
/// What a message takes beyond its key and value, at most.
const OVERHEAD: usize = 128;

/// What a message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageValue {
    /// One event, as a JSON object.
    Json,
    /// The events of one batch with the same key, as a LogGroup.
    Protobuf,
}

/// What a message has for its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageKey {
    /// None: the batch decides the partition.
    None,
    /// The topic of the LogGroup.
    Topic,
    /// The client's address, where the logstore keeps it.
    ClientAddress,
    /// The value of a field.
    Field(String),
}

/// Messages that a partition takes together or not at all.
#[derive(Default)]
pub(super) struct Chunk {
    /// The events in them, by their places in the LogGroup.
    pub(super) events: Vec<usize>,
    pub(super) records: Vec<Record>,
    /// What the messages take.
    bytes: usize,
}

/// Events that go to one partition, and are not in messages yet.
pub(super) struct Queue {
    pub(super) partition: i32,
    runs: VecDeque<Run>,
}

impl Queue {
    /// Whether all of it is in messages.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

/// Events of one key, by their places in the LogGroup.
struct Run {
    key: Option<Vec<u8>>,
    places: VecDeque<usize>,
}

/// A LogGroup on its way to messages. They are made chunk by chunk: each repeats topic, source and
/// tags, so all of them at once could be far larger than the LogGroup.
pub(super) struct Messages {
    rules: Arc<KafkaRules>,
    anatomy: Anatomy,
    shell: EventGroup,
    json: JsonEvents,
    /// The id of the whole LogGroup, and the place in it of the first event of this part.
    id: String,
    first: usize,
}

impl Messages {
    pub(super) fn of(raw: Vec<u8>, rules: Arc<KafkaRules>) -> Option<Self> {
        let anatomy = Anatomy::of(raw)?;
        let pack = String::from_utf8_lossy(anatomy.pack()).into_owned();
        let (id, first) = whole_of(&pack);
        Some(Self {
            rules,
            id: id.to_owned(),
            first,
            shell: anatomy.shell(),
            json: JsonEvents::of(&anatomy),
            anatomy,
        })
    }

    /// The events that were not taken, by partition.
    pub(super) fn queues(&self, taken: &Taken, partitions: i32) -> VecDeque<Queue> {
        let mut by_key: BTreeMap<Option<Vec<u8>>, VecDeque<usize>> = BTreeMap::new();
        for event in (0..self.anatomy.events()).filter(|event| !taken.has(*event)) {
            by_key.entry(self.key(event)).or_default().push_back(event);
        }
        let mut by_partition: BTreeMap<i32, VecDeque<Run>> = BTreeMap::new();
        for (key, places) in by_key {
            // What has no key goes where its batch goes, so that what comes again comes there again.
            let decides = key.as_deref().unwrap_or(self.id.as_bytes());
            let runs = by_partition.entry(partition_of(decides, partitions));
            runs.or_default().push_back(Run { key, places });
        }
        let queues = by_partition.into_iter();
        queues
            .map(|(partition, runs)| Queue { partition, runs })
            .collect()
    }

    /// The next messages of a partition: so many as go together, and one at least.
    pub(super) fn chunk(&self, queue: &mut Queue) -> Chunk {
        let mut chunk = Chunk::default();
        let most = self.rules.max_bytes;
        while let Some(run) = queue.runs.front_mut() {
            let group = self.group(run);
            let is_first = chunk.records.is_empty();
            if !is_first && chunk.bytes + self.least(&group) > most {
                break;
            }
            let record = self.message(&run.key, &group);
            let bytes = record.approximate_size() + OVERHEAD;
            // It is made again for the next chunk.
            if !is_first && chunk.bytes + bytes > most {
                break;
            }
            run.places.drain(..group.len());
            if run.places.is_empty() {
                queue.runs.pop_front();
            }
            chunk.bytes += bytes;
            chunk.events.extend(group);
            chunk.records.push(record);
        }
        chunk
    }

    /// Bytes that the next messages of a partition take at most.
    pub(super) fn most(&self, queue: &Queue) -> usize {
        let (mut bytes, mut is_first) = (0, true);
        for run in &queue.runs {
            let around = OVERHEAD + run.key.as_ref().map_or(0, Vec::len);
            let (once, each) = match self.rules.value {
                MessageValue::Json => (0, around),
                // With topic, source, tags and the id.
                MessageValue::Protobuf => (around + self.shell.wire_bytes() + 128, 8),
            };
            bytes += once;
            for &event in &run.places {
                let log = self.anatomy.log(event);
                bytes += each
                    + match self.rules.value {
                        MessageValue::Json => self.json.most(log),
                        MessageValue::Protobuf => log.len(),
                    };
                match (bytes > self.rules.max_bytes, is_first) {
                    (false, _) => is_first = false,
                    // It may stand alone.
                    (true, true) => return bytes,
                    (true, false) => return self.rules.max_bytes,
                }
            }
        }
        bytes
    }

    /// Bytes that a message of these events takes at least.
    fn least(&self, events: &[usize]) -> usize {
        match self.rules.value {
            MessageValue::Json => self.json.least(),
            MessageValue::Protobuf => {
                let logs = events.iter().map(|event| self.anatomy.log(*event).len());
                self.shell.wire_bytes() + logs.sum::<usize>()
            }
        }
    }

    /// The first events of one key: so many as a message may hold, and one at least.
    fn group(&self, run: &Run) -> Vec<usize> {
        let mut bytes = self.shell.wire_bytes() + OVERHEAD;
        let mut fits = |event: &&usize| {
            bytes += self.anatomy.log(**event).len() + 8;
            bytes <= self.rules.max_bytes
        };
        let count = match self.rules.value {
            MessageValue::Json => 1,
            MessageValue::Protobuf => run.places.iter().take_while(&mut fits).count().max(1),
        };
        run.places.iter().take(count).copied().collect()
    }

    fn message(&self, key: &Option<Vec<u8>>, events: &[usize]) -> Record {
        let first = events.first().copied().unwrap_or_default();
        let log = self.anatomy.log(first);
        let (value, id) = match self.rules.value {
            MessageValue::Json => {
                let mut value = Vec::with_capacity(self.json.least() + log.len() + 64);
                self.json.write(log, &mut value);
                (value, format!("{}.{:X}", self.id, self.first + first))
            }
            MessageValue::Protobuf => self.log_group(events),
        };
        let (seconds, nanoseconds) = time_of(log);
        let seconds = i64::try_from(seconds).unwrap_or_default();
        let time = DateTime::from_timestamp(seconds, nanoseconds.unwrap_or_default());
        Record {
            key: key.clone(),
            value: Some(value),
            headers: BTreeMap::from([(ID_HEADER.to_owned(), id.into_bytes())]),
            timestamp: time.unwrap_or_default(),
        }
    }

    /// A LogGroup of some events, and its id: that of the whole where it holds the whole.
    fn log_group(&self, events: &[usize]) -> (Vec<u8>, String) {
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return (Vec::new(), self.id.clone());
        };
        let whole = events.len() == self.anatomy.events();
        let id = match whole {
            true => String::from_utf8_lossy(self.anatomy.pack()).into_owned(),
            false => format!(
                "{}.{:X}-{:X}",
                self.id,
                self.first + first,
                self.first + last
            ),
        };
        let mut out = Vec::new();
        for &event in events {
            put_bytes(&mut out, LOGS_TAG, self.anatomy.log(event));
        }
        for (tag, value) in [
            (TOPIC_TAG, &self.shell.topic),
            (SOURCE_TAG, &self.shell.source),
        ] {
            if !value.is_empty() {
                put_bytes(&mut out, tag, value);
            }
        }
        out.extend_from_slice(&self.shell.tags);
        put_tag(&mut out, b"__pack_id__", id.as_bytes());
        (out, id)
    }

    fn key(&self, event: usize) -> Option<Vec<u8>> {
        let of_field = |name: &[u8]| {
            let mut fields = contents(self.anatomy.log(event));
            fields.find_map(|(key, value)| (key == name).then(|| value.to_vec()))
        };
        match &self.rules.key {
            MessageKey::None => None,
            MessageKey::Topic => Some(self.shell.topic.clone()).filter(|it| !it.is_empty()),
            MessageKey::Field(name) => of_field(name.as_bytes()),
            MessageKey::ClientAddress => of_field(ADDRESS_FIELD).or_else(|| {
                let mut tags = self.shell.each_tag();
                tags.find_map(|(key, value)| (key == ADDRESS_TAG).then(|| value.to_vec()))
            }),
        }
    }
}

/// Of the id of a part (`0123456789ABCDEF-A.40-7F`), that of the whole and the place of its first event.
fn whole_of(pack: &str) -> (&str, usize) {
    let part = || {
        let (whole, places) = pack.split_once('.')?;
        let (first, _) = places.split_once('-')?;
        Some((whole, usize::from_str_radix(first, 16).ok()?))
    };
    part().unwrap_or((pack, 0))
}
