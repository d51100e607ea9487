//! Buffers that a thread keeps from request to request.

use std::cell::Cell;

use super::nested::Containers;
use super::seen::Seen;
use crate::event::FieldPlaces;

/// A buffer above this many bytes is given back after the request that needed it.
const KEEP: usize = 1 << 20;

/// The working memory of one thread. A request finds it dirty and clears what it uses.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The keys of the object being read.
    pub(super) seen: Seen,
    /// A value that does not stand in the body as it is to be stored.
    pub(super) text: Vec<u8>,
    /// The containers around the place in a nested value.
    pub(super) containers: Containers,
    /// Where the fields of the event being read stand, for checks.
    pub(super) places: FieldPlaces,
    /// A body that came percent-encoded, decoded.
    pub(super) body: Vec<u8>,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Lends the scratch memory of this thread to `work`.
pub(super) fn with<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let result = work(&mut scratch);
    for buffer in [&mut scratch.text, &mut scratch.body] {
        if buffer.capacity() > KEEP {
            *buffer = Vec::new();
        }
    }
    scratch.seen.give_back_above(KEEP);
    SCRATCH.set(Some(scratch));
    result
}
