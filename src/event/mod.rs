//! The event in flight: what it looks like on its way, what a client is told when it is refused, and
//! what our books say of it.

mod attached;
mod group;
mod refusal;

pub use self::attached::AttachedNames;
pub use self::group::{
    EventGroup, LOG_TAGS_TAG, LOGS_TAG, LogPlace, SOURCE_TAG, TOPIC_TAG, put_tag,
};
pub use self::refusal::{ErrorCode, Reason, Refusal};
