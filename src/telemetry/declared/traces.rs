//! The metrics of traces.

use super::declare;

declare! {
    TRACES_GROUP "Traces"
    TRACE_SPANS_EXPORTED = counter "tollgate_trace_spans_exported_total" []
        "Spans that the collector has taken (traces.endpoint).";
    TRACE_SPANS_DROPPED = counter "tollgate_trace_spans_dropped_total" ["reason"]
        "Spans that were dropped: queue_full (traces.queue), unavailable (tried for traces.retry_for), rejected (by the collector), stopped (left when a stop gave up). Requests and events are not touched.";
    TRACE_EXPORTS_FAILED = counter "tollgate_trace_exports_failed_total" []
        "Requests to the collector that failed. Those that may be repeated are.";
    TRACE_SPANS_WAITING = gauge "tollgate_trace_spans_waiting" []
        "Spans that wait to be exported. Bound: traces.queue.";
}
