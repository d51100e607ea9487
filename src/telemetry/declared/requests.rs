//! The metrics of requests.

use super::declare;

declare! {
    REQUESTS_GROUP "Requests"
    REQUESTS = counter "tollgate_requests_total" ["route"]
        "Requests received, by route, refused ones included.";
    UNROUTED_REQUESTS_REFUSED = counter "tollgate_unrouted_requests_refused_total" ["reason"]
        "Requests refused before their logstore was known, by reason.";
    DOUBLED_PROJECT_REQUESTS = counter "tollgate_doubled_project_requests_total" []
        "Requests whose host names the project twice, a mistake of a published sample.";
    REQUESTS_ACCEPTED = counter "tollgate_requests_accepted_total" ["project", "logstore"]
        "Requests answered with 200.";
    EVENTS_ENTERED = counter "tollgate_events_entered_total" ["project", "logstore"]
        "Events read from requests, whatever became of them.";
    EVENTS_ADDED = counter "tollgate_events_added_total" ["project", "logstore"]
        "Events that did not come with a request: from other logstores and their quarantine, copies, replays, our own.";
    EVENTS_DECIDING = gauge "tollgate_events_deciding" ["project", "logstore"]
        "Events read from requests of which is not decided yet what becomes of them: among others those that are relayed.";
    EVENTS_ROUTED = counter "tollgate_events_routed_total" ["project", "logstore"]
        "Events of requests that a step or a limit gave to another logstore, or another topic.";
    EVENTS_ACCEPTED = counter "tollgate_events_accepted_total" ["project", "logstore"]
        "Events that were taken, to be delivered: of requests, and added ones.";
    ACCEPTED_BYTES = counter "tollgate_accepted_bytes_total" ["project", "logstore"]
        "Bytes of accepted requests before compression.";
    RESERVED_FIELDS_DROPPED = counter "tollgate_reserved_fields_dropped_total" ["project", "logstore"]
        "Fields left out of accepted events because their name is reserved.";
    EVENT_TIMES_REPLACED = counter "tollgate_event_times_replaced_total" ["project", "logstore"]
        "Accepted events whose __time__ was outside the window and was replaced.";
    REQUESTS_REFUSED = counter "tollgate_requests_refused_total" ["project", "logstore", "reason"]
        "Requests refused, by reason.";
    EVENTS_REFUSED = counter "tollgate_events_refused_total" ["project", "logstore", "reason"]
        "Events that were refused, with their request or alone, by reason; of a body that could not be read, those before that.";
    REQUESTS_OBSERVED = counter "tollgate_requests_observed_total" ["project", "logstore", "reason"]
        "Requests taken only because identity_mode is observe, by the reason that would have refused them.";
    REQUESTS_RELAYED = counter "tollgate_requests_relayed_total" ["project", "logstore", "outcome"]
        "Requests relayed unchanged to the upstream, by its answer.";
    PLATFORM_REQUESTS = counter "tollgate_platform_requests_total" ["project", "logstore", "platform"]
        "Accepted requests, by the platform that their headers speak of. Trivially forged: a label, no more.";
    REFUSED_BYTES = counter "tollgate_refused_bytes_total" ["project", "logstore", "reason"]
        "Bytes of the bodies of refused requests as they were sent, of those that were read whole before.";
    REQUEST_DURATION_SECONDS = histogram "tollgate_request_duration_seconds" []
        "From the head of a request to its answer, without the time that a refusal is held back. Of 16 requests of a worker thread the first is timed.";
    REQUEST_STAGE_SECONDS = histogram "tollgate_request_stage_seconds" ["stage"]
        "Time in each stage of a request: head (route, limits on addresses, origin, room), credential (and limits on callers), body (the client's time too), events (decompression, reading, policies), quality (schema, guards, steps), commit (limits on events, hand-over), ack (until the events are as safe as the logstore asks), answer. Of 16 requests of a worker thread the first is timed.";
    LOGGED_REFUSALS_SUPPRESSED = counter "tollgate_log_refusals_suppressed_total" []
        "Refused requests that got no line in the log, since log.refusals_per_second of their reason had one.";
}
