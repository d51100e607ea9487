//! Who may use the admin API by a certificate.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A client that needs no token: it shows a certificate of `admin.tls.client_ca` with this name. Changes with a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminClient {
    /// What the log calls it.
    #[schemars(example = &"monitoring")]
    pub name: String,
    /// The name in its certificate: `dns:`, `email:` or `uri:` and a subject alternative name; `cn:` and the common name; or `subject:` and the whole subject, as `openssl x509 -noout -subject -nameopt RFC2253,-esc_msb` prints it. No wildcards.
    #[schemars(example = &"uri:spiffe://example.com/monitoring")]
    pub certificate: String,
    /// What it may do.
    pub role: AdminRole,
}

/// What a client of the admin API may do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum AdminRole {
    /// Looks: all that changes nothing. Events of the quarantine and of the sample are shown.
    Viewer,
    /// Runs the node as well: reload, drain, level of the log, bans and raises, replay.
    Operator,
    /// Everything, as with the token: tickets, revocations and deleting events as well.
    Admin,
}

impl AdminRole {
    /// Its name, as it is configured.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// Kinds of names of a certificate.
pub const CERTIFICATE_NAMES: [&str; 5] = ["dns", "email", "uri", "cn", "subject"];

/// A name of a certificate as it is compared: host names without regard to case.
#[must_use]
pub fn certificate_name(kind: &str, name: &str) -> String {
    match kind {
        "dns" => format!("dns:{}", name.to_ascii_lowercase()),
        kind => format!("{kind}:{name}"),
    }
}
