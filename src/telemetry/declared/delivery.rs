//! The metrics of what was accepted, on its way to the store.

use super::declare;

declare! {
    DELIVERY_GROUP "Events and delivery"
    EVENTS_DELIVERED = counter "tollgate_events_delivered_total" ["project", "logstore"]
        "Events that the store has acknowledged.";
    EVENTS_HELD = gauge "tollgate_events_held" ["project", "logstore"]
        "Accepted events in memory, not yet delivered.";
    OPEN_BATCHES = gauge "tollgate_open_batches" ["project", "logstore"]
        "Batches that still take events.";
    WAITING_BATCHES = gauge "tollgate_waiting_batches" ["project", "logstore"]
        "Sealed batches that wait or are on their way.";
    BATCHES_SEALED_EARLY = counter "tollgate_batches_sealed_early_total" ["project", "logstore"]
        "Batches sealed because batch.max_open was reached. Many: clients send very many sources, tags or addresses.";
    GROUPS_DELIVERED = counter "tollgate_groups_delivered_total" ["project", "logstore"]
        "LogGroups that the store has acknowledged.";
    DELIVERED_RAW_BYTES = counter "tollgate_delivered_raw_bytes_total" ["project", "logstore"]
        "Bytes of delivered LogGroups before compression.";
    DELIVERED_SENT_BYTES = counter "tollgate_delivered_sent_bytes_total" ["project", "logstore"]
        "Bytes of delivered LogGroups as sent.";
    DELIVERY_RETRIES = counter "tollgate_delivery_retries_total" ["project", "logstore"]
        "Delivery attempts that failed and are tried again.";
    EVENTS_DROPPED = counter "tollgate_events_dropped_total" ["project", "logstore", "reason"]
        "Accepted events that did not reach the store, by reason. Alert on any.";
    DELIVERY_CONCURRENCY = gauge "tollgate_delivery_concurrency" ["project", "logstore"]
        "LogGroups that may be on their way at once now. Bound: delivery.concurrency. It falls when the store has too much to do.";
    DELIVERY_SPLITS = counter "tollgate_delivery_splits_total" ["project", "logstore"]
        "Times that a LogGroup refused for its content was halved, to find the events that are refused.";
    DELIVERY_SPLITS_EXHAUSTED = counter "tollgate_delivery_splits_exhausted_total" ["project", "logstore"]
        "Parts of refused LogGroups that were given up whole, good events among them. Bound: delivery.max_splits. Alert on any.";
    DELIVERY_FALLBACK_GROUPS = counter "tollgate_delivery_fallback_groups_total" ["project", "logstore"]
        "LogGroups delivered to the project's fallback, while its upstream was down.";
    DELIVERY_RESENDS_IN_DOUBT = counter "tollgate_delivery_resends_in_doubt_total" ["project", "logstore"]
        "LogGroups sent again although the store may have taken them: the answer was lost, a reload or a stop came when it had a part, or a stop's deadline while it was on its way. They can be there twice, with the same __pack_id__.";
    UPSTREAM_PROJECT_CONCURRENCY = gauge "tollgate_upstream_project_concurrency" ["upstream", "project"]
        "LogGroups that all logstores of a project, by its name at the upstream, may have on their way at once, beside the one that each may always have. 0 before the store has said that the project is over its quota.";
    UPSTREAM_BREAKER_OPENED = counter "tollgate_upstream_breaker_opened_total" ["upstream"]
        "Times that the breaker opened because the upstream was down.";
    UPSTREAM_PROBES = counter "tollgate_upstream_probes_total" ["upstream"]
        "Single attempts to see whether an upstream that was down is back.";
    UPSTREAM_RETRIES_DELAYED = counter "tollgate_upstream_retries_delayed_total" ["upstream"]
        "Repeated attempts that waited because of delivery.retries_per_second.";
    UPSTREAM_CREDENTIALS_REFUSED = counter "tollgate_upstream_credentials_refused_total" ["upstream"]
        "Attempts whose access key the store refused, or that may not write. Nothing is lost; alert on any, since an operator has to mend it.";
    UPSTREAM_CREDENTIAL_READS = counter "tollgate_upstream_credential_reads_total" ["upstream", "outcome"]
        "Times that the access key of an upstream was read again, by what came of it: same, changed, failed. Bound: one in delivery.credentials_refresh for each project, and one a second while the store refuses the key. Look at failed.";
    UPSTREAM_BREAKER_STATE = gauge "tollgate_upstream_breaker_state" ["upstream", "state"]
        "1 for the state of the upstream's breaker, 0 for the others. Alert on open for longer than a minute.";
    BATCH_WAIT_SECONDS = histogram "tollgate_batch_wait_seconds" []
        "From the first event of a batch to its first attempt to be delivered, of batches that were not on disk.";
    DELIVERY_ATTEMPT_SECONDS = histogram "tollgate_delivery_attempt_seconds" ["upstream"]
        "Time of each attempt to deliver a LogGroup, failed ones included.";
    DELIVERY_LAG_SECONDS = histogram "tollgate_delivery_lag_seconds" ["project", "logstore"]
        "From the first event of a LogGroup to the answer of the store that has taken the last of it; time on disk included.";
}
