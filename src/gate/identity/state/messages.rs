//! The JSON of the admin API, as its server and the commands read and write it. An unknown member
//! of a request is an error: a limit that is misspelt must not be a limit that is not there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::revocation::{Revocation, RevocationKind};
use super::ticket::{Grant, TicketRecord};
use crate::foundation::network::Network;

/// A ticket to be made. Times are unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewTicket {
    /// What it is for.
    pub grant: Grant,
    /// Seconds until it expires; a day when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// Seconds beyond which it can never be extended; `identity.ticket.max_lifetime` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ttl_seconds: Option<u64>,
    /// It is refused before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<u64>,
    /// How often it may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u64>,
    /// Addresses that it is taken from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Network>,
    /// Origins of pages that it is taken from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// Accounts that it is taken from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Who asks for it; `api` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A ticket that was made, and the one time that its token is told.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MadeTicket {
    /// Its record.
    pub ticket: TicketRecord,
    /// What its bearer sends.
    pub token: String,
}

impl std::fmt::Debug for MadeTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MadeTicket")
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}

/// When a ticket shall end instead. One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtendTicket {
    /// So many seconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// At this time, unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// A part of the list of tickets, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketPage {
    /// The tickets.
    pub tickets: Vec<TicketRecord>,
    /// What to give as `cursor` to get the next part; none when this is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A revocation to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRevocation {
    /// What it is about.
    pub kind: RevocationKind,
    /// Which one.
    pub value: Box<str>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub reason: Box<str>,
    /// Seconds until it ends. Left out: never; of a ticket or a token (`jti`), when that cannot be
    /// valid any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// It hits what was issued until then (unix seconds); everything, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Who asks for it; `api` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Box<str>>,
}

/// A part of the list of revocations, in the order of kind and value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevocationPage {
    /// The revocations.
    pub revocations: Vec<Revocation>,
    /// What to give as `cursor` to get the next part; none when this is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
