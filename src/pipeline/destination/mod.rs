//! Where the LogGroups of a lane go: a store that speaks the API of SLS, Kafka, or files.
//!
//! Promise: an attempt succeeds only when the destination has all events, as safely as it can keep
//! them. One that fails says in the same terms whatever the destination is what becomes of the events
//! (`Failure`). Everything else is the workers' (`forward`): when to try again, how many at once,
//! what to do with events that are refused.

mod failure;
pub mod files;
mod hash_key;
mod json;
pub mod kafka;
mod parcel;
mod sls;

pub(super) use self::failure::Failure;
use self::files::Files;
use self::kafka::Kafka;
pub(super) use self::parcel::{Attempts, Packing, Parcel, Taken};
pub use self::sls::Sls;

/// Where LogGroups of one lane go.
#[derive(Debug)]
pub enum Destination {
    /// A logstore, by the API of SLS.
    Sls(Sls),
    /// A Kafka topic.
    Kafka(Box<Kafka>),
    /// Files on local disk.
    Files(Files),
}

impl Destination {
    /// One attempt. Events in `taken` are left out where the destination takes some of a LogGroup
    /// without the others; it adds those that it took.
    ///
    /// # Cancel safety
    /// The destination may have taken events of an attempt that is dropped.
    pub(super) async fn put(&self, parcel: &Parcel, taken: &mut Taken) -> Result<(), Failure> {
        match self {
            Self::Sls(store) => store.put(parcel).await,
            Self::Kafka(topic) => topic.put(parcel, taken).await,
            Self::Files(files) => files.put(parcel).await,
        }
    }

    /// Does what is due from time to time. Blocks on the disk.
    pub(super) fn tend(&self) {
        if let Self::Files(files) = self {
            files.tend();
        }
    }

    /// Ends what is under way, once nothing more is put. Whether it has ended. Blocks on the disk.
    pub(super) fn close(&self) -> bool {
        match self {
            Self::Files(files) => files.close(),
            _ => true,
        }
    }

    /// Whether it has to be looked after.
    pub(super) fn needs_tending(&self) -> bool {
        matches!(self, Self::Files(_))
    }
}
