//! A LogGroup as it waits to be sent, and which of its events have been taken already.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use tokio::task::JoinError;

use super::hash_key::HashKey;
use crate::config::ShardBy;
use crate::foundation::budget::Lease;
use crate::foundation::trace_context::TraceContext;
use crate::logstore::codec::{Codec, compress, decompress};
use crate::pipeline::batch::BATCH_OVERHEAD;
use crate::pipeline::delivery::anatomy::Anatomy;

/// More than any LogGroup of ours has, before compression.
const LARGEST: usize = 64 << 20;

/// How LogGroups are made ready to be sent.
#[derive(Clone, Copy, Debug)]
pub(in crate::pipeline) struct Packing {
    pub(in crate::pipeline) codec: Codec,
    pub(in crate::pipeline) shard_by: ShardBy,
}

/// The store picks the shard.
impl From<Codec> for Packing {
    fn from(codec: Codec) -> Self {
        Self {
            codec,
            shard_by: ShardBy::Any,
        }
    }
}

/// A LogGroup as it is sent, and the memory it takes.
pub(in crate::pipeline) struct Parcel {
    pub(in crate::pipeline) codec: Codec,
    pub(in crate::pipeline) body: Bytes,
    pub(in crate::pipeline) raw_size: usize,
    /// What decides its shard, where that is not left to the store.
    pub(in crate::pipeline) hash_key: Option<HashKey>,
    /// `None` for a part of a LogGroup, whose whole is paid for.
    pub(in crate::pipeline) lease: Option<Lease>,
    /// Where it is traced for a collector: the span of its delivery.
    pub(in crate::pipeline) span: Option<Attempts>,
}

/// The span of a delivery, and how often it was tried.
pub(in crate::pipeline) struct Attempts {
    context: TraceContext,
    made: AtomicU32,
}

impl Attempts {
    /// None yet.
    pub(in crate::pipeline) fn new(context: TraceContext) -> Self {
        Self {
            context,
            made: AtomicU32::new(0),
        }
    }

    /// One more.
    pub(in crate::pipeline) fn count(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub(in crate::pipeline) fn made(&self) -> u32 {
        self.made.load(Ordering::Relaxed)
    }

    /// The span.
    pub(in crate::pipeline) fn of(&self) -> TraceContext {
        self.context
    }
}

impl Parcel {
    /// Compresses a LogGroup on a thread that may block.
    ///
    /// Until it is done the lease pays for the plain form only: what is compressed at the same time is
    /// bounded by the number of workers, and a lease that waited here for memory would wait for ever.
    pub(in crate::pipeline) async fn pack(
        packing: impl Into<Packing>,
        raw: Vec<u8>,
        lease: impl Into<Option<Lease>>,
    ) -> Result<Self, JoinError> {
        let mut lease = lease.into();
        let Packing { codec, shard_by } = packing.into();
        tokio::task::spawn_blocking(move || {
            let raw_size = raw.len();
            let hash_key = HashKey::of(&raw, shard_by);
            // What cannot be compressed is sent as it is.
            let (codec, mut body) = match codec {
                Codec::None => (codec, raw),
                _ => compress(codec, &raw).map_or((Codec::None, raw), |body| (codec, body)),
            };
            body.shrink_to_fit();
            if let Some(lease) = &mut lease {
                lease.shrink_to((body.len() + BATCH_OVERHEAD) as u64);
            }
            Self {
                codec,
                body: body.into(),
                raw_size,
                hash_key,
                lease,
                span: None,
            }
        })
        .await
    }

    /// Takes the LogGroup apart; `None` when that cannot be done.
    ///
    /// The plain form is not leased: what is taken apart at the same time is bounded by the number of
    /// workers, as what is compressed is.
    pub(in crate::pipeline) async fn unpack(&self) -> Option<Anatomy> {
        let packed = self.packed();
        let taken = tokio::task::spawn_blocking(move || Anatomy::of(packed.plain()?));
        taken.await.ok()?
    }

    /// Takes a LogGroup that is whole out of its packed form. `None`: that cannot be done.
    pub(in crate::pipeline) async fn into_plain(self) -> Option<(Vec<u8>, Lease)> {
        let plain = tokio::task::spawn_blocking(move || {
            let raw = self.packed().plain()?;
            Some((raw, self.lease?))
        });
        plain.await.ok().flatten()
    }

    /// The LogGroup, for a thread that may block.
    pub(in crate::pipeline) fn packed(&self) -> Packed {
        Packed {
            codec: self.codec,
            body: self.body.clone(),
            raw_size: self.raw_size,
        }
    }
}

/// What a [`Parcel`] holds, without its lease.
pub(in crate::pipeline) struct Packed {
    codec: Codec,
    body: Bytes,
    raw_size: usize,
}

impl Packed {
    /// The plain form. Blocks.
    pub(in crate::pipeline) fn plain(&self) -> Option<Vec<u8>> {
        let mut raw = Vec::new();
        let size = Some(self.raw_size);
        decompress(self.codec, &self.body, size, LARGEST, &mut raw).ok()?;
        Some(raw)
    }
}

/// Which events of a LogGroup a destination has taken already: not all of them take it whole or not at
/// all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::pipeline) struct Taken {
    events: Vec<bool>,
    /// It is being asked to take what is left, and has not answered.
    asked: bool,
}

impl Taken {
    /// An attempt begins: until its answer nobody knows what the destination has.
    pub(in crate::pipeline) fn ask(&mut self) {
        self.asked = true;
    }

    /// An attempt has ended.
    pub(in crate::pipeline) fn answered(&mut self) {
        self.asked = false;
    }

    /// Whether an attempt is under way, or was when it was given up.
    pub(in crate::pipeline) fn is_asked(&self) -> bool {
        self.asked
    }

    /// Whether the event at this place was taken.
    pub(in crate::pipeline) fn has(&self, event: usize) -> bool {
        self.events.get(event).copied().unwrap_or(false)
    }

    /// How many were taken.
    pub(in crate::pipeline) fn count(&self) -> usize {
        self.events.iter().filter(|taken| **taken).count()
    }

    /// It was. Whether that is news.
    pub(in crate::pipeline) fn mark(&mut self, event: usize) -> bool {
        if self.events.len() <= event {
            self.events.resize(event + 1, false);
        }
        self.events
            .get_mut(event)
            .is_some_and(|taken| !std::mem::replace(taken, true))
    }

    /// The same of some of the events, whose places begin at 0.
    pub(in crate::pipeline) fn of(&self, part: &Range<usize>) -> Self {
        Self {
            events: part.clone().map(|event| self.has(event)).collect(),
            asked: false,
        }
    }

    /// Runs of events of `part` that were not taken.
    pub(in crate::pipeline) fn rest(&self, part: &Range<usize>) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for event in part.clone().filter(|event| !self.has(*event)) {
            match runs.last_mut() {
                Some(last) if last.end == event => last.end += 1,
                _ => runs.push(event..event + 1),
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_told_once_and_the_rest_in_runs() {
        let mut taken = Taken::default();
        assert_eq!(taken.rest(&(0..3)).first(), Some(&(0..3)));
        assert!(taken.mark(4) && taken.mark(1) && !taken.mark(4));
        assert_eq!(taken.rest(&(0..7)), [0..1, 2..4, 5..7]);
        assert!(taken.rest(&(4..5)).is_empty());
        let part = taken.of(&(3..6));
        assert_eq!(
            (part.has(0), part.has(1), part.has(2)),
            (false, true, false)
        );
    }
}
