//! Events to request bodies.
//!
//! Promise: a batch has at most so many events and bytes, and an event waits at most [`LINGER`] for
//! its batch to fill. Not here: when a batch is sent.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::lines::Event;

/// Bytes of events in a batch. An event that is larger alone makes a batch alone.
const MAX_BYTES: usize = 1 << 20;

/// Time that an event waits for others, so that a slow input is sent as it comes.
const LINGER: Duration = Duration::from_millis(200);

/// Packs events.
#[derive(Debug)]
pub(super) struct Batcher {
    max_events: usize,
    open: Vec<Event>,
    open_bytes: usize,
    opened: Option<Instant>,
    sealed: VecDeque<Vec<Event>>,
}

impl Batcher {
    pub(super) fn new(max_events: usize) -> Self {
        Self {
            max_events,
            open: Vec::new(),
            open_bytes: 0,
            opened: None,
            sealed: VecDeque::new(),
        }
    }

    /// Takes an event that was read at `now`.
    pub(super) fn push(&mut self, event: Event, now: Instant) {
        if self.open_bytes + event.json.len() > MAX_BYTES {
            self.seal();
        }
        self.open_bytes += event.json.len();
        self.opened.get_or_insert(now);
        self.open.push(event);
        if self.open.len() >= self.max_events {
            self.seal();
        }
    }

    /// Ends the open batch, if it holds anything.
    pub(super) fn seal(&mut self) {
        if !self.open.is_empty() {
            self.sealed.push_back(std::mem::take(&mut self.open));
        }
        self.open_bytes = 0;
        self.opened = None;
    }

    /// When the open batch is to be sealed, if there is one.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.opened.map(|opened| opened + LINGER)
    }

    /// Whether a batch is ready.
    pub(super) fn has_sealed(&self) -> bool {
        !self.sealed.is_empty()
    }

    /// Forgets every event.
    pub(super) fn clear(&mut self) {
        self.seal();
        self.sealed.clear();
    }

    /// The next batch that is ready.
    pub(super) fn pop(&mut self) -> Option<Vec<Event>> {
        self.sealed.pop_front()
    }
}

/// What a body has around its events: topic, source and tags.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    head: Vec<u8>,
}

impl Envelope {
    /// An envelope; what is `None` is left out.
    pub(super) fn new(
        topic: Option<&str>,
        source: Option<&str>,
        tags: &[(String, String)],
    ) -> Self {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let mut head = String::from("{");
        for (key, value) in [("__topic__", topic), ("__source__", source)] {
            if let Some(value) = value {
                head.push_str(&format!("\"{key}\":{},", text(value)));
            }
        }
        if !tags.is_empty() {
            let tags: Vec<_> = tags
                .iter()
                .map(|(k, v)| format!("{}:{}", text(k), text(v)))
                .collect();
            head.push_str(&format!("\"__tags__\":{{{}}},", tags.join(",")));
        }
        head.push_str("\"__logs__\":[");
        Self {
            head: head.into_bytes(),
        }
    }

    /// The body of a request with these events.
    pub(super) fn body(&self, events: &[Event]) -> Vec<u8> {
        let length: usize = events.iter().map(|event| event.json.len() + 1).sum();
        let mut body = Vec::with_capacity(self.head.len() + length + 2);
        body.extend_from_slice(&self.head);
        for (index, event) in events.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&event.json);
        }
        body.extend_from_slice(b"]}");
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(line: u64, length: usize) -> Event {
        Event {
            line,
            json: vec![b' '; length],
        }
    }

    fn sizes(batcher: &mut Batcher) -> Vec<usize> {
        std::iter::from_fn(|| batcher.pop())
            .map(|batch| batch.len())
            .collect()
    }

    #[test]
    fn a_batch_is_sealed_by_count_and_before_it_is_too_large() {
        let now = Instant::now();
        let mut batcher = Batcher::new(3);
        (1..=4).for_each(|line| batcher.push(event(line, 10), now));
        assert_eq!(sizes(&mut batcher), [3]);
        batcher.push(event(5, MAX_BYTES - 10), now);
        batcher.push(event(6, 1), now);
        batcher.push(event(7, MAX_BYTES), now);
        batcher.seal();
        assert_eq!(sizes(&mut batcher), [2, 1, 1]);
        assert!(!batcher.has_sealed());
    }

    #[test]
    fn a_batch_is_due_a_linger_after_its_first_event() {
        let now = Instant::now();
        let mut batcher = Batcher::new(10);
        assert_eq!(batcher.deadline(), None);
        batcher.push(event(1, 1), now);
        batcher.push(event(2, 1), now + LINGER / 2);
        assert_eq!(batcher.deadline(), Some(now + LINGER));
        batcher.seal();
        assert_eq!(batcher.deadline(), None);
    }

    #[test]
    fn a_body_is_the_json_of_web_tracking_and_its_texts_are_escaped() {
        let tags = [("k\"".to_owned(), "v".to_owned())];
        let envelope = Envelope::new(Some("to\"pic"), None, &tags);
        let events = [
            Event {
                line: 1,
                json: br#"{"a":1}"#.to_vec(),
            },
            Event {
                line: 2,
                json: br#"{"b":2}"#.to_vec(),
            },
        ];
        let body: serde_json::Value = serde_json::from_slice(&envelope.body(&events)).unwrap();
        let expected = serde_json::json!({
            "__topic__": "to\"pic", "__tags__": {"k\"": "v"}, "__logs__": [{"a": 1}, {"b": 2}],
        });
        assert_eq!(body, expected);
        assert_eq!(
            Envelope::new(None, None, &[]).body(&[]),
            br#"{"__logs__":[]}"#
        );
    }
}
