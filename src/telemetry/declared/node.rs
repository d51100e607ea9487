//! The metrics of the process and its configuration.

use super::declare;

declare! {
    NODE_GROUP "The node"
    MEMORY_LEASED_BYTES = gauge "tollgate_memory_leased_bytes" []
        "Memory held by bodies, open batches and undelivered LogGroups. Alert above 80 % of the limit.";
    MEMORY_LIMIT_BYTES = gauge "tollgate_memory_limit_bytes" []
        "The memory budget (limits.memory).";
    BUILD_INFO = info "tollgate_build_info" ["version", "commit"]
        "Always 1; version and commit are its labels.";
    CONFIG_GENERATION = gauge "tollgate_config_generation" []
        "The number of the configuration that is in force: 1 at the start, one more after each reload. It stands in each log line.";
    CONFIG_LOADED_TIMESTAMP_SECONDS = gauge "tollgate_config_loaded_timestamp_seconds" []
        "When the configuration that is in force was taken over, in Unix seconds.";
    CONFIG_RELOADS = counter "tollgate_config_reloads_total" ["source", "outcome"]
        "Reloads of the configuration, by who asked and outcome. Alert on refused.";
    CONFIG_LAST_RELOAD_TIMESTAMP_SECONDS = gauge "tollgate_config_last_reload_timestamp_seconds" []
        "When a reload was tried last, in Unix seconds. Missing before the first.";
    CONFIG_LAST_RELOAD_SUCCESSFUL = gauge "tollgate_config_last_reload_successful" []
        "1 when the last reload was taken over, 0 when it was refused. Missing before the first.";
    LOAD_RATIO = gauge "tollgate_load_ratio" []
        "How full the node is, from 0 to 1: the largest of tollgate_load_part_ratio, and 1 while requests are shed. The number for autoscalers, as /autoscale tells it.";
    LOAD_PART_RATIO = gauge "tollgate_load_part_ratio" ["part"]
        "Shares of bounds that are in use, from 0 to 1: memory (limits.memory), logstore (what the fullest one may hold now), connections, lag (overload.max_lag).";
    DRAIN_STAGE = gauge "tollgate_drain_stage" ["stage"]
        "1 for the stage of a stop, 0 for the others: serving, not_ready (for ingest.drain_delay), closing, delivering.";
    DRAIN_DEADLINE_TIMESTAMP_SECONDS = gauge "tollgate_drain_deadline_timestamp_seconds" []
        "When a stop ends, whatever is left, in Unix seconds. Missing while the node serves.";
    SCRAPE_DURATION_SECONDS = gauge "tollgate_scrape_duration_seconds" []
        "Time that it took to write the last answer of /metrics.";
    METRICS_LOGSTORES_FOLDED = gauge "tollgate_metrics_logstores_folded" []
        "Logstores beyond metrics.max_logstores, which share the series of project and logstore _other. Alert on any.";
    METRICS_NAMES_FOLDED = gauge "tollgate_metrics_names_folded" ["kind"]
        "Limits, upstreams, key sets, certificates and guarded fields beyond metrics.max_names of each kind, which share the series of _other. Alert on any.";
    LOG_LINES_DROPPED = counter "tollgate_log_lines_dropped_total" []
        "Log lines that were not written, since standard error took no more.";
    PROCESS_CPU_SECONDS = counter "process_cpu_seconds_total" []
        "Processor time that the process has used, user and kernel.";
    PROCESS_RESIDENT_MEMORY_BYTES = gauge "process_resident_memory_bytes" []
        "Memory of the process that is in RAM.";
    PROCESS_VIRTUAL_MEMORY_BYTES = gauge "process_virtual_memory_bytes" []
        "Address space of the process.";
    PROCESS_THREADS = gauge "process_threads" []
        "Threads of the process.";
    PROCESS_START_TIME_SECONDS = gauge "process_start_time_seconds" []
        "When counting has begun, in Unix seconds: the start of the process, or its last handover.";
    PROCESS_OPEN_FDS = gauge "process_open_fds" []
        "File descriptors in use.";
    PROCESS_MAX_FDS = gauge "process_max_fds" []
        "The limit of file descriptors.";
    EMBEDDED_FAILING = gauge "tollgate_embedded_failing" []
        "1 while the embedded logstore cannot write to its disk: it refuses all writes, and tries again every few seconds. Alert on any.";
    EMBEDDED_REOPENED = counter "tollgate_embedded_reopened_total" []
        "Times that the embedded logstore opened its files anew after a failed write, and went on.";
    EMBEDDED_REPEATS_DROPPED = counter "tollgate_embedded_repeats_dropped_total" []
        "LogGroups that came again and were not stored again by the embedded logstore (embedded.drop_repeats).";
    EMBEDDED_REPEATS_FORGOTTEN = counter "tollgate_embedded_repeats_forgotten_total" []
        "LogGroups that the embedded logstore forgot before embedded.drop_repeats was over, since it remembers 131,072: a repeat of one is stored.";
    DASHBOARD_LOGINS = counter "tollgate_dashboard_logins_total" ["outcome"]
        "Logins at the dashboard and calls with a wrong bearer, by outcome. Look at wrong_token, wrong_bearer and too_many.";
    DASHBOARD_VIEWERS = gauge "tollgate_dashboard_viewers" []
        "Pages that get live numbers now. Bound: admin.dashboard.max_viewers.";
    DASHBOARD_VIEWERS_REFUSED = counter "tollgate_dashboard_viewers_refused_total" []
        "Pages that were refused live numbers, because admin.dashboard.max_viewers had them.";
    DASHBOARD_SESSIONS = gauge "tollgate_dashboard_sessions" []
        "Sessions of the dashboard that are open now. Bound: admin.dashboard.max_sessions.";
    DASHBOARD_SNAPSHOTS = counter "tollgate_dashboard_snapshots_total" []
        "Snapshots made for live pages: at most one a second for all of them, and none while there is no page.";
    ADMIN_CONNECTIONS_REFUSED = counter "tollgate_admin_connections_refused_total" []
        "Connections to the private listener that were closed at once, because their address had as many as one may have.";
}
