//! Who may use the store besides the holder of its own key. The store asks; whoever starts it
//! answers, since the store knows neither keys nor policies of others.
//!
//! Promise: a request that is signed with another key than the store's own reaches nothing before
//! [`Access`] has let it in by its head, and, where that wants to see the body, by that too. Without
//! an [`Access`] there is only the own key.

use std::net::IpAddr;

use crate::event::{EventGroup, Refusal};
use crate::logstore::signature::RequestParts;

/// What a request wants to do, as policies name it (SLS actions; RAM).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreAction {
    /// `log:PostLogStoreLogs`.
    PutLogs,
    /// `log:PutWebTracking`.
    Track,
    /// `log:GetCursorOrData`: cursors, their times, and pulling.
    GetCursorOrData,
    /// `log:ListShards`.
    ListShards,
    /// `log:GetLogStoreLogs`.
    GetLogs,
    /// `log:GetLogStoreHistogram`.
    GetHistograms,
    /// `log:GetLogStore`.
    GetLogstore,
    /// `log:ListLogStores`.
    ListLogstores,
    /// `log:GetProject`.
    GetProject,
}

/// A request that is signed with another key than the store's own.
#[derive(Clone, Copy, Debug)]
pub struct StoreRequest<'a> {
    /// Its head, as it was signed.
    pub parts: RequestParts<'a>,
    /// What it wants to do.
    pub action: StoreAction,
    /// The project, by the store's name for it.
    pub project: &'a str,
    /// The logstore. It has the form of a name, and need not exist. None: the project itself, or
    /// all of its logstores.
    pub logstore: Option<&'a str>,
    /// The client's address; an IPv4-mapped one is IPv4.
    pub client: IpAddr,
}

/// Decides about requests that are signed with another key than the store's own.
pub trait Access: Send + Sync {
    /// Lets a request in by its head, or refuses it.
    ///
    /// # Errors
    /// Why it is refused.
    fn admit(&self, request: &StoreRequest<'_>) -> Result<Box<dyn Admitted>, Refusal>;
}

/// A request that was let in by its head, and what is left to be asked.
pub trait Admitted: Send + Sync {
    /// Whether the body, as it was sent, is the one that was signed.
    ///
    /// # Errors
    /// Why it is not.
    fn check_body(&self, sent: &[u8]) -> Result<(), Refusal>;

    /// Whether topic, source and tags of the events decide.
    fn asks_for_events(&self) -> bool;

    /// What is said of a request for which the events decide, and which brings none: it is refused.
    fn without_events(&self) -> Refusal;

    /// Whether events with this topic, source and tags may be written.
    ///
    /// # Errors
    /// Why they may not.
    fn check_events(&self, events: &EventGroup) -> Result<(), Refusal>;
}
