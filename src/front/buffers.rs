//! Buffers that requests of one worker thread take in turn.

use std::cell::RefCell;

use crate::event::EventGroup;

/// Buffers of a worker thread, used by one request at a time.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) plain: Vec<u8>,
    pub(super) group: EventGroup,
    pub(super) stamp: Vec<u8>,
}

/// A buffer that one large request has grown beyond this is given back.
const KEPT: usize = 1 << 20;

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

pub(super) fn with_buffers<T>(work: impl FnOnce(&mut Buffers) -> T) -> T {
    BUFFERS.with_borrow_mut(|buffers| {
        buffers.group.clear();
        let result = work(buffers);
        if buffers.plain.capacity() > KEPT {
            buffers.plain = Vec::new();
        }
        let EventGroup { logs, tags, .. } = &buffers.group;
        if logs.capacity() + tags.capacity() > KEPT {
            buffers.group = EventGroup::default();
        }
        result
    })
}
