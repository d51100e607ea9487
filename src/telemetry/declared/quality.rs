//! The metrics of events that were found wanting.

use super::declare;

declare! {
    QUALITY_GROUP "Schemas, guards, steps and the quarantine"
    GUARD_EVENTS = counter "tollgate_guard_events_total" ["project", "logstore", "guard", "outcome"]
        "Events that a guard found bad or mended, by guard and outcome.";
    GUARD_REQUESTS = counter "tollgate_guard_requests_total" ["project", "logstore"]
        "Requests whose topic, source or tags a guard found bad.";
    GUARD_DUPLICATES = counter "tollgate_guard_duplicates_total" ["project", "logstore", "outcome"]
        "Events that have come before: dropped, or observed; held: by another request at that moment; untracked: not remembered, since max_ids are (alert on growth); unnamed: without the fields that name an event.";
    GUARD_IDS = gauge "tollgate_guard_ids" ["project", "logstore"]
        "Names of events that are remembered, of which some may have expired.";
    GUARD_ID_CAPACITY = gauge "tollgate_guard_id_capacity" ["project", "logstore"]
        "Names that may be (max_ids).";
    GUARD_VALUES = counter "tollgate_guard_values_total" ["project", "logstore", "field", "outcome"]
        "Events with a value beyond the bound of its field, by outcome.";
    GUARD_DISTINCT_VALUES = gauge "tollgate_guard_distinct_values" ["project", "logstore", "field"]
        "Distinct values of a field, of which some may have expired. Alert near tollgate_guard_distinct_values_limit.";
    GUARD_DISTINCT_VALUES_LIMIT = gauge "tollgate_guard_distinct_values_limit" ["project", "logstore", "field"]
        "Distinct values that a field may have (max).";
    EVENTS_QUARANTINED = counter "tollgate_events_quarantined_total" ["project", "logstore", "judge"]
        "Events set aside, by what found them wanting. Those of the judge `store` were accepted and then refused by the store; the others are not among the accepted ones.";
    EVENTS_OBSERVED = counter "tollgate_events_observed_total" ["project", "logstore", "judge"]
        "Accepted events that would have been found wanting, were it enforced.";
    EVENTS_SAMPLED = counter "tollgate_events_sampled_total" ["project", "logstore"]
        "Events that a step left out by choice: a sample, a privacy signal, no field left.";
    EVENTS_REPAIRED = counter "tollgate_events_repaired_total" ["project", "logstore"]
        "Accepted events that were bad and have been repaired.";
    EVENTS_DUPLICATE = counter "tollgate_events_duplicate_total" ["project", "logstore"]
        "Events that were taken before, and are not stored again.";
    QUARANTINE_BYTES = gauge "tollgate_quarantine_bytes" []
        "Bytes of events that are set aside on local disk.";
    QUARANTINE_EXPIRED_RECORDS = counter "tollgate_quarantine_expired_records_total" []
        "Records of the quarantine deleted by quarantine.max_age or quarantine.max_size.";
    QUARANTINE_WRITE_ERRORS = counter "tollgate_quarantine_write_errors_total" []
        "Writes of the quarantine that failed and are tried again. Alert on any.";
    QUARANTINE_REPLAYED_RECORDS = counter "tollgate_quarantine_replayed_records_total" []
        "Records of the quarantine that were replayed and taken.";
    TRANSFORM_ERRORS = counter "tollgate_transform_errors_total" ["project", "logstore", "step", "fault"]
        "Events at which a step failed, by step (its type and its place in the configuration) and fault.";
    TRANSFORM_DROPPED = counter "tollgate_transform_dropped_total" ["project", "logstore", "reason"]
        "Events that steps left out, by reason.";
    TRANSFORM_ROUTED = counter "tollgate_transform_routed_total" ["project", "logstore"]
        "Events that steps sent to another logstore, or gave another topic.";
}
