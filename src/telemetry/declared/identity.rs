//! The metrics of credentials, tickets and keys.

use super::declare;

declare! {
    IDENTITY_GROUP "Identity"
    CREDENTIALS_REFUSED = counter "tollgate_credentials_refused_total" ["kind", "reason"]
        "Credentials refused, by kind and reason; of every route.";
    SECURITY_EVENTS = counter "tollgate_security_events_total" ["outcome"]
        "Security events, by whether they were written or dropped (too many in a second, or no memory).";
    ADMIN_CALLS = counter "tollgate_admin_calls_total" ["call", "outcome"]
        "Calls of the admin API, by call and outcome. Look at denied.";
    ADMIN_HANDSHAKES = counter "tollgate_admin_handshakes_total" ["outcome"]
        "Handshakes of TLS at the private listener (admin.tls), by how they went: done, failed (also for plain HTTP, and for a certificate that is not taken) or timeout.";
    TICKETS = gauge "tollgate_tickets" []
        "Tickets that are kept, expired ones of the last day included. Bound: identity.ticket.max_count.";
    REVOCATIONS = gauge "tollgate_revocations" []
        "Revocations that are kept. Bound: identity.revocation.max_count.";
    IDENTITY_JOURNAL_DAMAGED_LINES = gauge "tollgate_identity_journal_damaged_lines" []
        "Damaged lines of the journal of tickets and revocations, skipped at start. Alert on any: a revocation may be among them.";
    JWKS_AGE_SECONDS = worst "tollgate_jwks_age_seconds" ["source"]
        "Seconds since the keys of a jwks_url were last fetched; none before the first time. Alert well below jwks_keep.";
    JWKS_KEYS = gauge "tollgate_jwks_keys" ["source"]
        "Keys of a jwks_url that are used.";
    JWKS_FETCHES = counter "tollgate_jwks_fetches_total" ["source", "outcome"]
        "Fetches of a jwks_url, by whether they brought a set to use.";
    STS_CREDENTIALS_ISSUED = counter "tollgate_sts_credentials_issued_total" []
        "Temporary credentials given out by AssumeRole and /get_sts_token.";
    CREDENTIALS_ACCEPTED = counter "tollgate_credentials_accepted_total" ["project", "logstore", "kind"]
        "Accepted requests, by the kind of their credential.";
    CREDENTIALS = counter "tollgate_credentials_total" ["project", "logstore", "source"]
        "Accepted requests, by where their credential stood.";
}
