//! The wire protocols that clients speak, and the story of a request (`ingest`).

mod body;
#[cfg_attr(not(test), expect(dead_code, reason = "to be wired into ingest"))]
mod cookie;
mod cors;
mod credential;
mod ingest;
mod platform;
#[cfg_attr(not(test), expect(dead_code, reason = "to be wired into ingest"))]
mod relay;
mod reply;
mod route;
#[cfg_attr(not(test), expect(dead_code, reason = "to be wired into ingest"))]
mod security_events;
mod service;
#[cfg_attr(not(test), expect(dead_code, reason = "to be wired into ingest"))]
mod session;
mod site;
pub mod transcode;

pub use self::security_events::SecurityEvents;
pub use self::service::{Front, FrontParts};
pub use self::site::{Site, SiteLogstore};
