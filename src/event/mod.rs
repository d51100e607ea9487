//! The event in flight: what it looks like on its way, what a client is told when it is refused, and
//! what our books say of it.

mod aside;
mod attached;
mod content;
mod fault;
mod fields;
mod group;
mod priority;
mod refusal;
mod sample;
mod wait;

pub use self::aside::{
    AsideError, AsidePage, AsidePlace, Cause, CheckReport, PurgeOrder, Purged, RecordFilter,
    RecordOrder, RecordPage, RecordView, ReplayOrder, ReplayReport, StillBad,
};
pub use self::attached::AttachedNames;
pub use self::content::{CONTENTS_TAG, content_length, pair_of, put_content};
pub use self::fault::{EventFault, MAX_TEXT, MAX_TOLD, MAX_VIOLATIONS, Violation};
pub use self::fields::{EventFields, Field, FieldPlaces, Kind};
pub use self::group::{
    EventGroup, LOG_TAGS_TAG, LOGS_TAG, LogPlace, SOURCE_TAG, TOPIC_TAG, put_tag,
};
pub use self::priority::Priority;
pub use self::refusal::{ErrorCode, Reason, Refusal};
pub use self::sample::{
    SampledBody, SampledCredential, SampledEvent, SampledProof, SampledRequest, SampledSession,
    SampledVerdict,
};
pub use self::wait::retry_seconds;
