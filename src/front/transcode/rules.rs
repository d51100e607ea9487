//! What a client may send, in the form that the hot path reads.

use crate::config::{Limits, OutsideWindow, TimeWindow};
use crate::event::{AttachedNames, EventFault, EventFields};

/// The limits of the configuration. Lengths are in bytes, the window is in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub(super) events: usize,
    pub(super) fields: usize,
    pub(super) key: usize,
    pub(super) value: usize,
    pub(super) topic: usize,
    pub(super) tags: usize,
    pub(super) tag_value: usize,
    pub(super) depth: usize,
    pub(super) past: u64,
    pub(super) future: u64,
    pub(super) outside: OutsideWindow,
}

impl Rules {
    /// The rules that these limits and this window make.
    #[must_use]
    pub fn new(limits: &Limits, time: &TimeWindow) -> Self {
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            events: count(limits.events),
            fields: count(limits.fields),
            key: limits.key.as_usize(),
            value: limits.value.as_usize(),
            topic: limits.topic.as_usize(),
            tags: count(limits.tags),
            tag_value: limits.tag_value.as_usize(),
            depth: count(limits.depth),
            past: time.past.as_secs(),
            future: time.future.as_secs(),
            outside: time.outside,
        }
    }

    /// The same for one event as it stands in a record of the quarantine: its time, which clients need
    /// not send, takes up to two fields there.
    #[must_use]
    pub(in crate::front) fn for_records(&self) -> Self {
        Self {
            fields: self.fields.saturating_add(2),
            ..self.clone()
        }
    }
}

/// What one request brings besides its body.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// What the client may send.
    pub rules: &'a Rules,
    /// When the request was received, in seconds since the Unix epoch.
    pub received: u64,
    /// Fields that we add to every event: `Contents` fields made by [`super::put_content`].
    pub stamp: &'a [u8],
    /// Names that only we give to fields and tags.
    pub attached: &'a AttachedNames,
    /// Looks at each event as it is read.
    pub check: Option<&'a dyn EventCheck>,
}

/// Looks at events while they are read, before anything is decided of their request.
pub trait EventCheck: Sync + std::fmt::Debug {
    /// Looks at the event number `index`, without what we add to it, and notes what is wrong with it.
    fn check(&self, index: u32, event: EventFields<'_>, faults: &mut Vec<EventFault>);
}

impl Context<'_> {
    /// The time of receipt as `Log.Time`. A clock past 2106 reads as the last second that fits.
    pub(super) fn received_time(&self) -> u32 {
        u32::try_from(self.received).unwrap_or(u32::MAX)
    }
}
