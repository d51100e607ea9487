//! A ticket: what it grants, to whom, how often and how long. The record is kept here, by the id
//! that stands in the ticket's token; the token itself is never kept.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::ChangeError;
use super::revocation::check_text;
use super::ticket_id::TicketId;
use crate::event::{Reason, Refusal};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::network::Network;

/// Bytes of a ticket's record as JSON. It bounds every list in it.
const MAX_RECORD: usize = 4096;

/// What a ticket is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Grant {
    /// Writing events.
    Write {
        /// To this project.
        project: ProjectName,
        /// To these logstores, one at least.
        logstores: Vec<LogstoreName>,
    },
    /// Looking at a dashboard.
    View(View),
}

/// What a ticket lets its bearer see. Of the limits in time all hold together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct View {
    /// The project.
    pub project: ProjectName,
    /// The dashboard.
    pub dashboard: String,
    /// The logstores of the project that are shown; all of them, when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logstores: Vec<LogstoreName>,
    /// Events from this time on, unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Events until this time, unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// Events of the last so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seconds: Option<u64>,
    /// Events whose fields have these values, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<FieldFilter>,
    /// Fields of events that are not shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<String>,
}

/// A field and the value that it must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldFilter {
    /// Name of the field.
    pub field: String,
    /// Its value.
    pub value: String,
}

impl Grant {
    /// The `type` of the ticket's token, as SLS publishes it.
    #[must_use]
    pub fn token_type(&self) -> &'static str {
        match self {
            Self::Write { .. } => "write-logs",
            Self::View(_) => "share-dashboard",
        }
    }

    fn covers(&self, wanted: Wanted<'_>) -> bool {
        match (self, wanted) {
            (
                Self::Write { project, logstores },
                Wanted::Write {
                    project: in_project,
                    logstore,
                },
            ) => {
                project.as_str() == in_project
                    && logstores.iter().any(|one| one.as_str() == logstore)
            }
            (
                Self::Write { project, .. },
                Wanted::WriteSomewhere {
                    project: in_project,
                },
            ) => project.as_str() == in_project,
            (Self::View(view), Wanted::View { project, dashboard }) => {
                view.project.as_str() == project && view.dashboard == dashboard
            }
            (Self::View(view), Wanted::ViewSomewhere { dashboard }) => view.dashboard == dashboard,
            _ => false,
        }
    }

    fn check(&self) -> Result<(), ChangeError> {
        match self {
            Self::Write { logstores, .. } if logstores.is_empty() => Err(ChangeError::invalid(
                "grant",
                "name at least one logstore; a ticket for none opens nothing",
            )),
            Self::Write { .. } => Ok(()),
            Self::View(view) => {
                check_text("grant.view.dashboard", &view.dashboard)?;
                if view.dashboard.is_empty() {
                    return Err(ChangeError::invalid("grant.view.dashboard", "is empty"));
                }
                if matches!((view.from, view.to), (Some(from), Some(to)) if from > to) {
                    let why = "from is later than to: nothing would be seen";
                    return Err(ChangeError::invalid("grant.view.from", why));
                }
                if view.filters.iter().any(|filter| filter.field.is_empty()) {
                    let why = "a field has no name";
                    return Err(ChangeError::invalid("grant.view.filters", why));
                }
                if view.hidden.iter().any(String::is_empty) {
                    let why = "a field has no name";
                    return Err(ChangeError::invalid("grant.view.hidden", why));
                }
                Ok(())
            }
        }
    }
}

/// What is kept of a ticket. Times are unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TicketRecord {
    /// Its id.
    pub id: TicketId,
    /// What it is for.
    pub grant: Grant,
    /// When it was made.
    pub created: u64,
    /// Who made it.
    pub created_by: String,
    /// It is refused before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<u64>,
    /// It is refused from then on, unless it is extended.
    pub expires: u64,
    /// The `exp` of its token: it cannot be extended beyond.
    pub max_until: u64,
    /// How often it may be used; without limit when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u64>,
    /// How often it has been used.
    #[serde(default)]
    pub uses: u64,
    /// It is taken from these addresses only; from all, when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Network>,
    /// It is taken from pages of these origins only, in lower case; from all, when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// It is taken from these accounts only, who prove it beside the ticket; from all, when there
    /// is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Filled in where it is shown; revocations say it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoked: bool,
}

impl TicketRecord {
    /// Checks what was asked for.
    pub(super) fn check(&self) -> Result<(), ChangeError> {
        self.grant.check()?;
        if self.max_uses == Some(0) {
            return Err(ChangeError::invalid(
                "maxUses",
                "is 0: it could not be used",
            ));
        }
        if self.not_before.is_some_and(|start| start >= self.expires) {
            let why = "is not before the ticket's end: it could not be used";
            return Err(ChangeError::invalid("notBefore", why));
        }
        if !self.origins.iter().all(|origin| is_origin(origin)) {
            let why = "an origin is `https://shop.example.com`, with a port where it has one";
            return Err(ChangeError::invalid("origins", why));
        }
        if self.accounts.iter().any(String::is_empty) {
            return Err(ChangeError::invalid("accounts", "an account has no name"));
        }
        for account in &self.accounts {
            check_text("accounts", account)?;
        }
        check_text("note", &self.note)?;
        check_text("by", &self.created_by)?;
        let size = serde_json::to_vec(self).map_or(usize::MAX, |json| json.len());
        if size > MAX_RECORD {
            let why = format!(
                "the ticket has {size} bytes; at most {MAX_RECORD} are kept, so name fewer things"
            );
            return Err(ChangeError::invalid("grant", why));
        }
        Ok(())
    }
}

/// `scheme://host[:port]` in lower case, as browsers send it.
fn is_origin(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]_".contains(&b);
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(plain))
}

/// What a request wants to do with a ticket.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// Write events.
    Write {
        /// To this project.
        project: &'a str,
        /// To this logstore.
        logstore: &'a str,
    },
    /// Get a credential to write with, for the logstores of the ticket.
    WriteSomewhere {
        /// In this project.
        project: &'a str,
    },
    /// Look at a dashboard.
    View {
        /// Of this project.
        project: &'a str,
        /// This one.
        dashboard: &'a str,
    },
    /// Look at a dashboard, of whichever project the ticket names.
    ViewSomewhere {
        /// This one.
        dashboard: &'a str,
    },
}

/// What is known of a request with a ticket.
#[derive(Clone, Copy, Debug)]
pub struct TicketFacts<'a> {
    /// What it wants to do.
    pub wanted: Wanted<'a>,
    /// The client's address.
    pub client: IpAddr,
    /// The Origin header.
    pub origin: Option<&'a str>,
    /// The subject that the request proves by another credential.
    pub account: Option<&'a str>,
    /// The time, unix seconds.
    pub now: u64,
}

/// A ticket in memory: the record, and what changes of it.
#[derive(Debug)]
pub(super) struct Ticket {
    record: TicketRecord,
    /// The id as revocations name it.
    name: Box<str>,
    expires: AtomicU64,
    uses: AtomicU64,
    /// Uses that the journal knows of, where it is not told of each.
    written: AtomicU64,
}

impl Ticket {
    pub(super) fn new(record: TicketRecord) -> Self {
        Self {
            expires: AtomicU64::new(record.expires),
            uses: AtomicU64::new(record.uses),
            written: AtomicU64::new(record.uses),
            name: record.id.to_string().into(),
            record,
        }
    }

    pub(super) fn id(&self) -> TicketId {
        self.record.id
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn grant(&self) -> &Grant {
        &self.record.grant
    }

    /// The record as it stands now.
    pub(super) fn record(&self) -> TicketRecord {
        TicketRecord {
            expires: self.expires(),
            uses: self.uses.load(Ordering::Relaxed),
            ..self.record.clone()
        }
    }

    pub(super) fn has_limits(&self) -> bool {
        let record = &self.record;
        record.max_uses.is_some()
            || !record.addresses.is_empty()
            || !record.origins.is_empty()
            || !record.accounts.is_empty()
    }

    pub(super) fn created(&self) -> u64 {
        self.record.created
    }

    pub(super) fn max_until(&self) -> u64 {
        self.record.max_until
    }

    pub(super) fn expires(&self) -> u64 {
        self.expires.load(Ordering::Acquire)
    }

    pub(super) fn extend(&self, expires: u64) {
        self.expires.fetch_max(expires, Ordering::AcqRel);
    }

    /// Takes over a count that the journal tells.
    pub(super) fn recount(&self, uses: u64) {
        self.uses.fetch_max(uses, Ordering::Relaxed);
        self.written.fetch_max(uses, Ordering::Relaxed);
    }

    pub(super) fn is_counted_strictly(&self) -> bool {
        self.record.max_uses.is_some()
    }

    /// The count of uses when the journal does not know it.
    pub(super) fn unwritten(&self) -> Option<u64> {
        let uses = self.uses.load(Ordering::Relaxed);
        (uses != self.written.load(Ordering::Relaxed)).then_some(uses)
    }

    pub(super) fn set_written(&self, uses: u64) {
        self.written.fetch_max(uses, Ordering::Relaxed);
    }

    /// Counts a use, if there is one left, and says the count after it.
    pub(super) fn take(&self) -> Option<u64> {
        let max = self.record.max_uses.unwrap_or(u64::MAX);
        let next = |uses: u64| (uses < max).then(|| uses + 1);
        let before = self
            .uses
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        before.ok().map(|before| before + 1)
    }

    pub(super) fn give_back(&self) {
        self.uses.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether it may be used so. Revocations are not asked here.
    pub(super) fn check(&self, facts: &TicketFacts<'_>) -> Result<(), Refusal> {
        let record = &self.record;
        if facts.now >= self.expires() {
            return Err(Reason::TicketExpired.into());
        }
        if record.not_before.is_some_and(|start| facts.now < start) {
            return Err(Reason::TicketNotYetValid.into());
        }
        if !record.grant.covers(facts.wanted) {
            return Err(Reason::TicketScope.into());
        }
        let listed = |list: &[String], one: Option<&str>| {
            list.is_empty() || one.is_some_and(|one| list.iter().any(|listed| listed == one))
        };
        let addresses = &record.addresses;
        if !addresses.is_empty() && !addresses.iter().any(|net| net.contains(facts.client)) {
            return Err(Reason::TicketAddress.into());
        }
        if !listed(&record.origins, facts.origin) {
            return Err(Reason::TicketOrigin.into());
        }
        if !listed(&record.accounts, facts.account) {
            return Err(Reason::TicketAccount.into());
        }
        let uses = self.uses.load(Ordering::Acquire);
        if record.max_uses.is_some_and(|max| uses >= max) {
            return Err(Reason::TicketUsedUp.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_what_browsers_send() {
        for good in [
            "https://shop.example.com",
            "http://localhost:3000",
            "http://[::1]:80",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "*",
            "null",
            "https://",
            "https://A.example",
            "https://a/b",
            "a.example",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
