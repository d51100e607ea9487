//! The wire protocols that clients speak, and the story of a request (`ingest`).

mod answers;
mod arrival;
mod body;
mod buffers;
mod cookie;
mod cors;
mod credential;
mod elsewhere;
mod give;
mod identify;
mod ingest;
mod pass_on;
mod platform;
mod quality;
mod relay;
mod replay;
mod reply;
mod respond;
mod route;
mod security_events;
mod service;
mod session;
mod site;
mod toll;
mod trace;
pub mod transcode;
mod trial;
mod verdict;

pub use self::quality::{Quality, SchemaJudge};
pub use self::reply::Reply;
pub use self::security_events::SecurityEvents;
pub use self::service::{Front, FrontParts, Sender};
pub use self::site::{Site, SiteLogstore, SiteParts, host_of};
pub use self::trace::{Stage, Step, Trace, Traced, TracedCaller, TracedEvent};
pub use self::trial::TrialTime;
pub use self::verdict::Verdict;
