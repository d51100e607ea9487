//! How things are written down on disk: keys whose order is the order of a shard, and the fixed
//! records beside each LogGroup.

/// Where a LogGroup stands: logstore, shard, place in the shard. Big-endian, so that the order of
/// keys is the order of cursors.
pub(super) type Key = [u8; 16];

/// A stored LogGroup begins with one of these bytes, then the length of its wire form (u32).
pub(super) const PLAIN: u8 = 0;
/// The wire form stands as one lz4 block.
pub(super) const LZ4: u8 = 1;
/// Bytes before the LogGroup itself.
pub(super) const PREFIX: usize = 5;

const HEAD_LENGTH: usize = 28;
/// The same with a print.
const PRINTED_LENGTH: usize = HEAD_LENGTH + size_of::<Print>();

/// Tells a LogGroup from others by its content.
pub(in crate::embedded) type Print = [u8; 16];

/// The key of one LogGroup.
pub(super) fn key(logstore: u32, shard: u32, sequence: u64) -> Key {
    let mut key = [0; 16];
    let (first, rest) = key.split_at_mut(4);
    let (second, third) = rest.split_at_mut(4);
    first.copy_from_slice(&logstore.to_be_bytes());
    second.copy_from_slice(&shard.to_be_bytes());
    third.copy_from_slice(&sequence.to_be_bytes());
    key
}

/// The logstore that a key names.
pub(super) fn logstore(key: &[u8]) -> Option<u32> {
    key.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The place in its shard that a key names.
pub(super) fn sequence(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// What is known of a LogGroup without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::embedded) struct Head {
    /// When it was received, in unix seconds. Never smaller than that of the group before it.
    pub received: u64,
    /// Events in it.
    pub events: u32,
    /// Bytes of its wire form.
    pub raw_bytes: u32,
    /// Bytes that it takes on disk.
    pub stored_bytes: u32,
    /// Earliest event, in unix seconds.
    pub first_time: u32,
    /// Latest event, in unix seconds.
    pub last_time: u32,
    /// Its content, where repeats of it are to be known.
    pub print: Option<Print>,
}

impl Head {
    /// What the group counts against the size of its logstore: its bytes, and about what its two
    /// keys and its head cost.
    pub(super) fn cost(&self) -> u64 {
        const KEYS_AND_HEAD: u64 = 64;
        u64::from(self.stored_bytes) + KEYS_AND_HEAD
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PRINTED_LENGTH);
        bytes.extend_from_slice(&self.received.to_be_bytes());
        let numbers = [
            self.events,
            self.raw_bytes,
            self.stored_bytes,
            self.first_time,
            self.last_time,
        ];
        for number in numbers {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(self.print.as_ref().map_or(&[], |print| print.as_slice()));
        bytes
    }

    /// Reads a head; `None` when it is not one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, print) = bytes.split_at_checked(HEAD_LENGTH)?;
        let print = match print {
            [] => None,
            print => Some(Print::try_from(print).ok()?),
        };
        let (received, rest) = head.split_first_chunk()?;
        let mut numbers = rest
            .chunks_exact(4)
            .filter_map(|four| four.first_chunk().map(|four| u32::from_be_bytes(*four)));
        Some(Self {
            received: u64::from_be_bytes(*received),
            events: numbers.next()?,
            raw_bytes: numbers.next()?,
            stored_bytes: numbers.next()?,
            first_time: numbers.next()?,
            last_time: numbers.next()?,
            print,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_logstore_then_shard_then_place() {
        let mut keys = [key(2, 0, 0), key(1, 1, 5), key(1, 0, 256), key(1, 0, 9)];
        keys.sort_unstable();
        assert_eq!(
            keys,
            [key(1, 0, 9), key(1, 0, 256), key(1, 1, 5), key(2, 0, 0)]
        );
        assert_eq!(sequence(&key(7, 8, 9)), Some(9));
    }

    #[test]
    fn a_head_reads_back_and_anything_else_is_none() {
        let head = Head {
            received: 1_781_510_400,
            events: 3,
            raw_bytes: 87,
            stored_bytes: 89,
            first_time: 1,
            last_time: u32::MAX,
            print: None,
        };
        let printed = Head {
            print: Some([7; 16]),
            ..head
        };
        for head in [head, printed] {
            assert_eq!(Head::decode(&head.encode()), Some(head));
        }
        for length in [0, 27, 29, 43, 45] {
            assert_eq!(Head::decode(&vec![0; length]), None, "{length}");
        }
    }
}
