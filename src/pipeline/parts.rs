//! Cuts the events of one request into parts that fit in batches.
//!
//! Promise: a part ends between two events, and is larger than the limit only when it is one event;
//! the parts together are the request, byte for byte and event for event. The ordinary request is
//! one part, and is not looked into.

use super::batch::Logs;
use crate::foundation::wire::Reader;

/// The parts of a request, one after another.
#[derive(Clone)]
pub(super) struct Parts<'a> {
    rest: Logs<'a>,
    max_bytes: usize,
    max_events: u32,
}

impl<'a> Parts<'a> {
    /// Cuts `logs` into parts of at most `max_bytes` bytes and `max_events` events.
    pub(super) fn new(logs: Logs<'a>, max_bytes: usize, max_events: u32) -> Self {
        Self {
            rest: logs,
            max_bytes,
            max_events: max_events.max(1),
        }
    }

    /// Cuts the longest run that fits off the front: at least one event. `None` when nothing would
    /// be left, or when the bytes are not as many events as they should be.
    fn cut(&self) -> Option<(Logs<'a>, Logs<'a>)> {
        let mut reader = Reader::new(self.rest.bytes);
        let (mut bytes, mut events) = (0, 0);
        while events < self.max_events && reader.next_field().ok()?.is_some() {
            if events > 0 && reader.offset() > self.max_bytes {
                break;
            }
            (bytes, events) = (reader.offset(), events + 1);
        }
        let (head, tail) = self.rest.bytes.split_at_checked(bytes)?;
        let left = self.rest.events.checked_sub(events)?;
        if tail.is_empty() || events == 0 || left == 0 {
            return None;
        }
        let logs = |bytes, events| Logs { bytes, events };
        Some((logs(head, events), logs(tail, left)))
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Logs<'a>;

    fn next(&mut self) -> Option<Logs<'a>> {
        if self.rest.events == 0 {
            return None;
        }
        let fits = self.rest.bytes.len() <= self.max_bytes && self.rest.events <= self.max_events;
        let cut = if fits { None } else { self.cut() };
        let (head, tail) = cut.unwrap_or((self.rest, Logs::default()));
        self.rest = tail;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::LOGS_TAG;
    use crate::foundation::wire;

    fn events_of(sizes: &[usize]) -> Vec<u8> {
        let mut out = Vec::new();
        for size in sizes {
            wire::put_bytes(&mut out, LOGS_TAG, &vec![7; *size]);
        }
        out
    }

    fn parts(bytes: &[u8], events: u32, max_bytes: usize, max_events: u32) -> Vec<Logs<'_>> {
        Parts::new(Logs { bytes, events }, max_bytes, max_events).collect()
    }

    #[test]
    fn a_request_within_the_limits_is_one_part_without_being_read() {
        let not_protobuf = [0xff; 100];
        let whole = Logs {
            bytes: &not_protobuf,
            events: 10,
        };
        assert_eq!(parts(&not_protobuf, 10, 100, 10), [whole]);
    }

    #[test]
    fn an_event_larger_than_the_limit_is_a_part_of_its_own() {
        let bytes = events_of(&[10, 100, 10]);
        let sizes: Vec<_> = parts(&bytes, 3, 50, 10)
            .iter()
            .map(|part| (part.bytes.len(), part.events))
            .collect();
        assert_eq!(sizes, [(12, 1), (102, 1), (12, 1)]);
    }

    #[test]
    fn bytes_that_are_not_events_stay_together_and_end() {
        assert_eq!(parts(&[0xff; 100], 3, 50, 10).len(), 1);
        assert_eq!(parts(&events_of(&[10; 9]), 2, 50, 10).len(), 1);
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_request_and_keep_the_limits(
            sizes in prop::collection::vec(0usize..300, 0..60),
            max_bytes in 0usize..2000,
            max_events in 0u32..20,
        ) {
            let bytes = events_of(&sizes);
            let count = u32::try_from(sizes.len()).unwrap();
            let parts = parts(&bytes, count, max_bytes, max_events);
            let joined: Vec<u8> = parts.iter().flat_map(|p| p.bytes.iter().copied()).collect();
            prop_assert_eq!(&joined, &bytes);
            prop_assert_eq!(parts.iter().map(|p| p.events).sum::<u32>(), count);
            for part in parts {
                prop_assert!(part.events == 1 || part.bytes.len() <= max_bytes);
                prop_assert!(part.events <= max_events.max(1));
            }
        }
    }
}
