//! The metrics of how loaded a node is.

use super::declare;

declare! {
    LOAD_GROUP "Memory and load"
    LOGSTORE_LEASED_BYTES = gauge "tollgate_logstore_leased_bytes" ["project", "logstore"]
        "Memory held for the logstore: bodies, open batches and undelivered LogGroups.";
    LOGSTORE_ALLOWED_BYTES = gauge "tollgate_logstore_allowed_bytes" ["project", "logstore"]
        "Memory that the logstore may hold now. It falls when other logstores hold much.";
    HELD_BYTES = gauge "tollgate_held_bytes" ["project", "logstore"]
        "Bytes of held events, before compression.";
    DRAIN_RATE_BYTES = gauge "tollgate_drain_rate_bytes" ["project", "logstore"]
        "Bytes a second, before compression, that the store takes of a backlog. Missing while there is none.";
    EXPECTED_DELAY_SECONDS = worst "tollgate_expected_delay_seconds" ["project", "logstore"]
        "What is held divided by the drain rate. Bound: overload.max_delay. Missing while the rate is not known.";
    RUNTIME_LAG_SECONDS = gauge "tollgate_runtime_lag_seconds" []
        "How late tasks run because the processors are busy, smoothed. Bound: overload.max_lag.";
    SHEDDING = gauge "tollgate_shedding" []
        "1 while requests are refused because the machine is short (overloaded).";
}
