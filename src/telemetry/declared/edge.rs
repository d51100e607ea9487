//! The metrics of public connections.

use super::declare;

declare! {
    EDGE_GROUP "Connections and TLS"
    TLS_CERTIFICATE_EXPIRY_SECONDS = soonest "tollgate_tls_certificate_expiry_seconds" ["listener", "file"]
        "When the certificate in use ends, in Unix seconds. Alert on less than two weeks from now.";
    TLS_RELOAD_SUCCESS = counter "tollgate_tls_reload_success_total" ["listener", "file"]
        "Times that a changed certificate, key or file of client authorities was taken into use.";
    TLS_RELOAD_FAILED = counter "tollgate_tls_reload_failed_total" ["listener", "file"]
        "Times that a changed certificate, key or file of client authorities could not be used, and the one before it stayed. Alert on any.";
    CONNECTIONS_ACCEPTED = counter "tollgate_connections_accepted_total" []
        "Public connections accepted.";
    CONNECTIONS_OPEN = gauge "tollgate_connections_open" []
        "Public connections open now. Bound: ingest.max_connections.";
    CONNECTIONS_RESTING = gauge "tollgate_connections_resting" []
        "Open connections of HTTP/1 that hold no buffers now: nothing is under way, or a head comes slowly.";
    CONNECTIONS_LIMIT = gauge "tollgate_connections_limit" []
        "Public connections that may be open at once: ingest.max_connections, or less when there are too few file descriptors.";
    CONNECTION_WAITS = counter "tollgate_connection_waits_total" []
        "Times that new connections had to wait in the kernel's queue because ingest.max_connections were open.";
    ACCEPT_ERRORS = counter "tollgate_accept_errors_total" []
        "Connections that could not be accepted. Many: no descriptors are left.";
    HTTPS_REDIRECTS = counter "tollgate_https_redirects_total" []
        "Requests on listeners with redirect_to_https, those of unknown hosts included.";
    REFUSALS_DELAYED = counter "tollgate_refusals_delayed_total" []
        "Refused requests whose answer was held back, since their client or its network was refused again and again (ingest.refusal_delay).";
    REFUSALS_WAITING = gauge "tollgate_refusals_waiting" []
        "Answers to refused requests that are held back now.";
    REFUSALS_WAITING_CONNECTIONS = gauge "tollgate_refusals_waiting_connections" []
        "Connections with answers that are held back now. While there are more than 1,000, each waits longer.";
    CONNECTIONS_ENDED = counter "tollgate_connections_ended_total" ["reason"]
        "Public connections ended, by reason.";
    HTTP_REQUESTS = counter "tollgate_http_requests_total" ["version"]
        "Requests on public connections, by version of HTTP.";
    CLIENT_ADDRESSES = counter "tollgate_client_addresses_total" ["outcome"]
        "Requests, by how the address of their client was found (docs/deploy-edge.md).";
    TLS_HANDSHAKES = counter "tollgate_tls_handshakes_total" ["kind"]
        "TLS handshakes that were finished, by version, and whether the client came back with a ticket. Those that were not are in tollgate_connections_ended_total.";
    DESCRIPTORS_OPEN = gauge "tollgate_descriptors_open" []
        "File descriptors in use. Alert above 90 % of the limit.";
    DESCRIPTORS_LIMIT = gauge "tollgate_descriptors_limit" []
        "The limit of file descriptors, raised at start as far as the system lets us.";
}
