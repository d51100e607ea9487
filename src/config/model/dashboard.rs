//! The dashboard.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::foundation::units::Span;

/// The dashboard: a page at `/` of the private listener; see docs/dashboard.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dashboard {
    /// Serves it.
    pub enabled: bool,
    /// How long a session lasts unless its page extends it, which it does while it is open.
    pub session_ttl: Span,
    /// How long a session with the admin token can be extended. That of a ticket lasts as long as the ticket.
    pub session_max: Span,
    /// Sessions at once. A quarter of them is for the admin token alone, and one ticket has half of the others at most. At the bound no new one is opened.
    #[schemars(range(min = 4, max = 10_000))]
    pub max_sessions: u32,
    /// Pages that get live numbers at once. A quarter of them is for the admin token alone, and one ticket has half of the others at most. Further ones are refused until one is closed.
    #[schemars(range(min = 1, max = 200))]
    pub max_viewers: u32,
    /// Wrong logins and bearers of one address (IPv6: of its /64) in a minute. After so many, further wrong ones from there are answered with 429 for the rest of the minute; right ones are let in.
    #[schemars(range(min = 1, max = 1000))]
    pub logins_per_minute: u32,
    /// Origins of pages that may show the dashboard in an iframe, by any ticket that names none itself. Empty: none but those that a ticket names.
    #[schemars(example = vec!["https://portal.example.com"])]
    pub embed_origins: Vec<String>,
}

impl Default for Dashboard {
    fn default() -> Self {
        Self {
            enabled: true,
            session_ttl: Span::secs(600),
            session_max: Span::secs(12 * 3600),
            max_sessions: 200,
            max_viewers: 20,
            logins_per_minute: 10,
            embed_origins: Vec::new(),
        }
    }
}
