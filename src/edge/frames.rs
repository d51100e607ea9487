//! What the frames of an HTTP/2 connection cost, told from their bytes.
//!
//! Frames that carry nothing (PING, SETTINGS, PRIORITY, unknown ones) are free for who sends them and
//! take time here: the protocol itself has no bound on them. So each byte that is not payload of a
//! body counts, and `lifetime` says how many may.

use super::transport::HTTP2_PREFACE;

/// The type of a frame of a body.
const DATA: u8 = 0;
/// A frame of a body with so many bytes costs nothing: flow control bounds what it carries.
const WORTH: usize = 64;
/// The bytes before a frame's payload.
const HEAD: u8 = 9;

/// Reads the heads of frames as they come by.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes of the head that have come.
    have: u8,
    length: usize,
    kind: u8,
    /// Bytes of the payload that are still to come.
    rest: usize,
    free: bool,
}

impl Frames {
    /// Of a connection that begins with the preface.
    pub(super) fn new() -> Self {
        Self {
            have: 0,
            length: 0,
            kind: DATA,
            rest: HTTP2_PREFACE.len(),
            free: true,
        }
    }

    /// The bytes among these that have to be paid for.
    pub(super) fn cost(&mut self, mut bytes: &[u8]) -> usize {
        let mut cost = 0;
        loop {
            if self.rest > 0 {
                let count = self.rest.min(bytes.len());
                self.rest -= count;
                if !self.free {
                    cost += count;
                }
                bytes = bytes.get(count..).unwrap_or_default();
            }
            let Some((first, more)) = bytes.split_first() else {
                return cost;
            };
            bytes = more;
            match self.have {
                0..=2 => self.length = (self.length << 8) | usize::from(*first),
                3 => self.kind = *first,
                _ => {}
            }
            self.have += 1;
            if self.have == HEAD {
                self.rest = self.length;
                self.free = self.kind == DATA && self.length >= WORTH;
                if !self.free {
                    cost += usize::from(HEAD);
                }
                (self.have, self.length) = (0, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let mut bytes = u32::try_from(length).unwrap().to_be_bytes()[1..].to_vec();
        bytes.extend([kind, 0, 0, 0, 0, 1]);
        bytes.resize(9 + length, 7);
        bytes
    }

    #[test]
    fn all_but_bodies_costs_however_it_is_cut() {
        let mut bytes = HTTP2_PREFACE.to_vec();
        for (kind, length) in [
            (4, 0),
            (6, 8),
            (0, 16_384),
            (0, 64),
            (0, 63),
            (0, 0),
            (200, 300),
        ] {
            bytes.extend(frame(kind, length));
        }
        let cost = 9 + 17 + 72 + 9 + 309;
        for size in [1, 2, 7, 9, 100, bytes.len()] {
            let mut frames = Frames::new();
            let found: usize = bytes.chunks(size).map(|part| frames.cost(part)).sum();
            assert_eq!(found, cost, "in pieces of {size}");
        }
    }
}
