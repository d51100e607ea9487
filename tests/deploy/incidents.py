"""Scripted incidents: what the metrics of a node do minute by minute, and which alerts fire when.

A series is a function of the minute. `QUIET` is a node on a day on which nothing happens; an incident changes
some of its series. For each incident every alert that fires is named: one more, or one less, fails.
"""

JOB = "tollgate"
NODE = 'instance="edge-0:8081",job="tollgate"'
LOGSTORE = f'{NODE},project="shop",logstore="web"'
# The copies of its events, for a second destination.
COPIES = f'{NODE},project="shop",logstore="web@archive"'
DAY = 86400


def steady(value):
    """The same value at all times."""
    return lambda minute: value


def per_minute(rate, start=0, end=10**9, before=0):
    """A counter that grows by `rate` a minute from `start` to `end`."""
    return lambda minute: before + rate * max(0, min(minute, end) - start)


def born(at, value=1):
    """A counter that is not exported until something is counted."""
    return lambda minute: value if minute >= at else None


def between(start, end, inside, outside=0):
    """A gauge with another value for some time."""
    return lambda minute: inside if start <= minute < end else outside


def after(start, value, before=0):
    """A gauge with another value from a minute on."""
    return between(start, 10**9, value, before)


def breaker(closed):
    """The three series of a breaker, of which one is 1: `closed` says when it is that one. It probes, so the others alternate."""
    def of(state):
        return f'tollgate_upstream_breaker_state{{{NODE},upstream="sls",state="{state}"}}'

    return {
        of("closed"): lambda m: 1 if closed(m) else 0,
        of("half_open"): lambda m: 0 if closed(m) else m % 2,
        of("open"): lambda m: 0 if closed(m) else 1 - m % 2,
    }


QUIET = {
    f"up{{{NODE}}}": steady(1),
    f'tollgate_build_info{{{NODE},version="0.1.0",commit="abc"}}': steady(1),
    f'tollgate_requests_total{{{NODE},route="track_post"}}': per_minute(6000),
    f'tollgate_requests_total{{{NODE},route="preflight"}}': per_minute(600),
    f"tollgate_requests_accepted_total{{{LOGSTORE}}}": per_minute(5900),
    f"tollgate_events_accepted_total{{{LOGSTORE}}}": per_minute(59000),
    f"tollgate_events_delivered_total{{{LOGSTORE}}}": per_minute(59000),
    # Every day has some expired tokens, broken clients and a scanner.
    f'tollgate_requests_refused_total{{{LOGSTORE},reason="token_expired"}}': per_minute(60),
    f'tollgate_requests_refused_total{{{LOGSTORE},reason="not_json"}}': per_minute(3),
    f'tollgate_events_refused_total{{{LOGSTORE},reason="quota_exceeded"}}': per_minute(20),
    f'tollgate_unrouted_requests_refused_total{{{NODE},reason="unknown_route"}}': per_minute(12),
    f'tollgate_credentials_refused_total{{{NODE},kind="jwt",reason="token_expired"}}': per_minute(60),
    f'tollgate_security_events_total{{{NODE},outcome="written"}}': per_minute(60),
    f'tollgate_security_events_total{{{NODE},outcome="dropped"}}': steady(0),
    f'tollgate_admin_calls_total{{{NODE},call="list_limits",outcome="done"}}': per_minute(1),
    f'tollgate_admin_calls_total{{{NODE},call="list_limits",outcome="denied"}}': per_minute(1 / 60),
    f"tollgate_memory_leased_bytes{{{NODE}}}": lambda m: 20e6 + 5e6 * (m % 7),
    f"tollgate_memory_limit_bytes{{{NODE}}}": steady(256e6),
    f"tollgate_logstore_leased_bytes{{{LOGSTORE}}}": steady(15e6),
    f"tollgate_logstore_allowed_bytes{{{LOGSTORE}}}": steady(128e6),
    f"tollgate_shedding{{{NODE}}}": steady(0),
    f"tollgate_connections_open{{{NODE}}}": lambda m: 800 + 50 * (m % 5),
    f"tollgate_connections_limit{{{NODE}}}": steady(10000),
    f"tollgate_descriptors_open{{{NODE}}}": steady(1200),
    f"tollgate_descriptors_limit{{{NODE}}}": steady(65536),
    f'tollgate_connections_ended_total{{{NODE},reason="closed"}}': per_minute(900),
    f'tollgate_connections_ended_total{{{NODE},reason="idle_timeout"}}': per_minute(300),
    f'tollgate_connections_ended_total{{{NODE},reason="handshake_failed"}}': per_minute(6),
    f"tollgate_events_held{{{LOGSTORE}}}": steady(2000),
    f"tollgate_expected_delay_seconds{{{LOGSTORE}}}": steady(2),
    f"tollgate_spool_events{{{LOGSTORE}}}": steady(0),
    f"tollgate_spool_state{{{LOGSTORE}}}": steady(0),
    f"tollgate_spool_expired_events_total{{{LOGSTORE}}}": steady(0),
    f"tollgate_spool_shed_events_total{{{LOGSTORE}}}": steady(0),
    f"tollgate_spool_damage_total{{{LOGSTORE}}}": steady(0),
    f"tollgate_delivery_splits_exhausted_total{{{LOGSTORE}}}": steady(0),
    f'tollgate_upstream_credentials_refused_total{{{NODE},upstream="sls"}}': steady(0),
    f"tollgate_quarantine_write_errors_total{{{NODE}}}": steady(0),
    # Some clients are always a release behind.
    f'tollgate_events_quarantined_total{{{LOGSTORE},judge="schema"}}': per_minute(200),
    f'tollgate_events_quarantined_total{{{LOGSTORE},judge="guard"}}': per_minute(30),
    f'tollgate_guard_distinct_values{{{LOGSTORE},field="page"}}': steady(400),
    f'tollgate_guard_distinct_values_limit{{{LOGSTORE},field="page"}}': steady(1000),
    f'tollgate_guard_duplicates_total{{{LOGSTORE},outcome="dropped"}}': per_minute(40),
    f'tollgate_limit_requests_total{{{NODE},limit="per-address",outcome="passed"}}': per_minute(6000),
    f'tollgate_limit_requests_total{{{NODE},limit="per-address",outcome="refused"}}': per_minute(20),
    f"tollgate_quota_store_up{{{NODE}}}": steady(1),
    f'tollgate_quota_saves_total{{{NODE},outcome="done"}}': per_minute(12),
    f"tollgate_quota_damaged_files{{{NODE}}}": steady(0),
    f"tollgate_identity_journal_damaged_lines{{{NODE}}}": steady(0),
    f'tollgate_jwks_age_seconds{{{NODE},source="idp"}}': lambda m: 60 * (m % 10),
    f'tollgate_jwks_keys{{{NODE},source="idp"}}': steady(2),
    f"tollgate_config_last_reload_successful{{{NODE}}}": steady(1),
    f"tollgate_metrics_logstores_folded{{{NODE}}}": steady(0),
    f'tollgate_metrics_names_folded{{{NODE},kind="limit"}}': steady(0),
    f"tollgate_log_lines_dropped_total{{{NODE}}}": steady(0),
    f'tollgate_trace_spans_dropped_total{{{NODE},reason="unavailable"}}': steady(0),
    f"tollgate_embedded_failing{{{NODE}}}": steady(0),
    f"tollgate_archive_failures_total{{{COPIES}}}": steady(0),
    f"tollgate_events_accepted_total{{{COPIES}}}": per_minute(59000),
    f"tollgate_events_delivered_total{{{COPIES}}}": per_minute(59000),
    f"tollgate_events_held{{{COPIES}}}": steady(2000),
    f"tollgate_spool_events{{{COPIES}}}": steady(0),
    f"tollgate_spool_state{{{COPIES}}}": steady(0),
    f"tollgate_spool_expired_events_total{{{COPIES}}}": steady(0),
    f"tollgate_spool_shed_events_total{{{COPIES}}}": steady(0),
    f'tollgate_tls_certificate_expiry_seconds{{{NODE},listener="main",file="/etc/tollgate/tls/edge.pem"}}': steady(80 * DAY),
    f'tollgate_tls_reload_failed_total{{{NODE},listener="main",file="/etc/tollgate/tls/edge.pem"}}': steady(0),
    **breaker(lambda m: True),
}

# Reasons of 503 that are told by nothing else.
TURNING_AWAY = ("token_keys_unavailable", "too_many_calls", "event_in_flight", "stopping", "overloaded")
CERTIFICATE = f'tollgate_tls_certificate_expiry_seconds{{{NODE},listener="main",file="/etc/tollgate/tls/edge.pem"}}'


class Incident:
    """A sentence, the series that differ from a quiet day, and for some minutes the alerts that fire then."""

    def __init__(self, sentence, changed, firing):
        self.sentence = sentence
        self.series = {**QUIET, **changed}
        self.firing = firing


INCIDENTS = [
    Incident("a quiet day fires nothing", {}, {5: [], 60: [], 180: []}),
    Incident(
        "a store that is away from minute 30 to 75, with a spool: the store is down, and nothing else",
        {
            **breaker(lambda m: not 30 <= m < 75),
            f"tollgate_events_delivered_total{{{LOGSTORE}}}": lambda m: 59000 * (min(m, 30) + max(0, m - 75) * 2),
            f"tollgate_delivery_retries_total{{{LOGSTORE}}}": per_minute(20, 30, 75),
            f"tollgate_events_held{{{LOGSTORE}}}": between(30, 80, 300000, 2000),
            f"tollgate_memory_leased_bytes{{{NODE}}}": between(31, 80, 130e6, 20e6),
            f"tollgate_spool_events{{{LOGSTORE}}}": lambda m: max(0, min(m, 75) - 33) * 59000 - max(0, m - 75) * 59000 if m < 117 else 0,
        },
        {29: [], 30: [], 32: ["TollgateStoreDown"], 74: ["TollgateStoreDown"], 76: [], 110: [], 130: []},
    ),
    Incident(
        "the same without a spool: memory fills, clients are turned away",
        {
            **breaker(lambda m: m < 30),
            f"tollgate_memory_leased_bytes{{{NODE}}}": lambda m: min(250e6, 20e6 + max(0, m - 30) * 40e6),
            f'tollgate_requests_refused_total{{{LOGSTORE},reason="memory_full"}}': lambda m: None if m < 36 else (m - 35) * 5900,
        },
        {29: [], 34: ["TollgateStoreDown"], 60: ["TollgateMemoryHigh", "TollgateStoreDown", "TollgateTurningAway"]},
    ),
    Incident(
        "a store that takes events slowly",
        {
            f"tollgate_expected_delay_seconds{{{LOGSTORE}}}": after(20, 45, 2),
            f"tollgate_spool_events{{{LOGSTORE}}}": lambda m: max(0, m - 20) * 1000,
        },
        {29: [], 31: ["TollgateStoreSlow"], 60: ["TollgateBacklogStuck", "TollgateStoreSlow"]},
    ),
    Incident(
        "a flood of requests from one network: its limit refuses most, the others are served",
        {
            f'tollgate_requests_total{{{NODE},route="track_post"}}': lambda m: 6000 * m + max(0, min(m, 60) - 30) * 120000,
            f'tollgate_limit_requests_total{{{NODE},limit="per-address",outcome="refused"}}': lambda m: 20 * m + max(0, min(m, 60) - 30) * 120000,
            f'tollgate_unrouted_requests_refused_total{{{NODE},reason="quota_exceeded"}}': lambda m: None if m < 31 else (min(m, 60) - 30) * 120000,
        },
        {30: [], 36: ["TollgateRequestFlood"], 60: ["TollgateRequestFlood"], 70: []},
    ),
    Incident(
        "a flood of connections that bring nothing",
        {
            f'tollgate_connections_ended_total{{{NODE},reason="prefix_rate"}}': lambda m: None if m < 31 else (m - 30) * 60000,
            f'tollgate_connections_ended_total{{{NODE},reason="first_byte_timeout"}}': lambda m: None if m < 31 else (m - 30) * 3000,
            f"tollgate_connections_open{{{NODE}}}": after(31, 9700, 800),
        },
        {30: [], 35: ["TollgateConnectionFlood"], 40: ["TollgateConnectionFlood", "TollgateConnectionsHigh"]},
    ),
    Incident(
        "a release of the site breaks the schema: bad events are set aside",
        {
            f'tollgate_events_quarantined_total{{{LOGSTORE},judge="schema"}}': lambda m: 200 * m + max(0, m - 30) * 20000,
            f"tollgate_events_accepted_total{{{LOGSTORE}}}": lambda m: 59000 * m - max(0, m - 30) * 20000,
        },
        {30: [], 33: [], 40: ["TollgateSchemaBreak"], 90: ["TollgateSchemaBreak"]},
    ),
    Incident(
        "the same where the schema refuses requests",
        {f'tollgate_events_refused_total{{{LOGSTORE},reason="schema_invalid"}}': lambda m: None if m < 31 else (m - 30) * 20000},
        {30: [], 40: ["TollgateSchemaBreak"]},
    ),
    Incident(
        "a certificate that nobody renews: two weeks before its end a warning, three days before a page",
        {CERTIFICATE: steady(14 * DAY + 3600)},
        {59: [], 65: [], 72: ["TollgateCertificateExpiring"]},
    ),
    Incident("three days before its end", {CERTIFICATE: steady(3 * DAY + 1800)}, {15: ["TollgateCertificateExpiring"], 35: ["TollgateCertificateEnds"]}),
    Incident("a certificate that has ended", {CERTIFICATE: steady(600)}, {20: ["TollgateCertificateEnds"]}),
    Incident(
        "a renewed certificate whose key is another's",
        {f'tollgate_tls_reload_failed_total{{{NODE},listener="main",file="/etc/tollgate/tls/edge.pem"}}': after(20, 1)},
        {19: [], 22: ["TollgateCertificateNotReloaded"], 40: []},
    ),
    Incident("a node that is gone", {f"up{{{NODE}}}": between(20, 40, 0, 1)}, {20: [], 22: ["TollgateDown"], 41: []}),
    Incident("too little processor time", {f"tollgate_shedding{{{NODE}}}": lambda m: int(20 <= m < 60 and m % 2)}, {20: [], 30: ["TollgateShedding"], 70: []}),
    Incident("few descriptors are left", {f"tollgate_descriptors_open{{{NODE}}}": after(20, 60000, 1200)}, {24: [], 26: ["TollgateDescriptorsHigh"]}),
    Incident(
        "an answer of 500, counted for the first time",
        {f'tollgate_requests_refused_total{{{LOGSTORE},reason="internal"}}': born(20)},
        {19: [], 21: ["TollgateInternalErrors"], 35: []},
    ),
    Incident("a damaged journal", {f"tollgate_identity_journal_damaged_lines{{{NODE}}}": after(20, 2)}, {19: [], 21: ["TollgateIdentityJournalDamaged"]}),
    Incident(
        "more security events than are written",
        {f'tollgate_security_events_total{{{NODE},outcome="dropped"}}': per_minute(50, 20, 30)},
        {19: [], 22: ["TollgateSecurityEventsDropped"], 45: []},
    ),
    Incident(
        "the store refuses the access key",
        {f'tollgate_upstream_credentials_refused_total{{{NODE},upstream="sls"}}': per_minute(5, 20, 30)},
        {19: [], 22: ["TollgateStoreRefusesKey"], 45: []},
    ),
    Incident(
        "the store refuses events for their content, and a part of a LogGroup could not be split further",
        {
            f'tollgate_events_quarantined_total{{{LOGSTORE},judge="store"}}': born(20, 3),
            f"tollgate_delivery_splits_exhausted_total{{{LOGSTORE}}}": after(20, 1),
        },
        {19: [], 22: ["TollgateSplitsExhausted", "TollgateStoreRefusesEvents"], 45: []},
    ),
    Incident("events are lost, counted for the first time", {f'tollgate_events_dropped_total{{{LOGSTORE},reason="stopped"}}': born(20, 7)}, {19: [], 21: ["TollgateEventsLost"], 45: []}),
    Incident(
        "copies for a second destination that have no room: a warning, for the first destination has the events",
        {f'tollgate_events_dropped_total{{{COPIES},reason="no_room"}}': lambda m: None if m < 20 else min(m - 19, 10) * 500},
        {19: [], 21: ["TollgateCopiesDropped"], 45: []},
    ),
    Incident(
        "the same where the logstores share their series",
        {f'tollgate_events_dropped_total{{{NODE},project="_other",logstore="_other",reason="no_room"}}': born(20, 5)},
        {19: [], 21: ["TollgateCopiesDropped"], 45: []},
    ),
    Incident(
        "copies that a stop has lost, and copies on disk that were too old",
        {
            f'tollgate_events_dropped_total{{{COPIES},reason="stopped"}}': born(20, 7),
            f"tollgate_spool_expired_events_total{{{COPIES}}}": per_minute(9, 40, 50),
        },
        {19: [], 21: ["TollgateCopiesDropped"], 35: [], 42: ["TollgateCopiesDropped"], 70: []},
    ),
    Incident("an embedded logstore whose disk is full", {f"tollgate_embedded_failing{{{NODE}}}": between(20, 40, 1)}, {20: [], 22: ["TollgateEmbeddedFailing"], 41: []}),
    Incident("an archive whose disk is full", {f"tollgate_archive_failures_total{{{COPIES}}}": per_minute(3, 20, 30)}, {19: [], 22: ["TollgateArchiveFailing"], 45: []}),
    Incident("a reload that was refused", {f"tollgate_config_last_reload_successful{{{NODE}}}": between(20, 40, 0, 1)}, {20: [], 22: ["TollgateReloadRefused"], 41: []}),
    Incident("more logstores than have series", {f"tollgate_metrics_logstores_folded{{{NODE}}}": after(20, 12)}, {24: [], 26: ["TollgateLogstoresFolded"]}),
    Incident("more limits than have series", {f'tollgate_metrics_names_folded{{{NODE},kind="limit"}}': after(20, 3)}, {24: [], 26: ["TollgateNamesFolded"]}),
    Incident("a log that nobody reads fast enough", {f"tollgate_log_lines_dropped_total{{{NODE}}}": per_minute(100, 20, 30)}, {19: [], 22: ["TollgateLogLinesDropped"], 45: []}),
    Incident("a collector of traces that is away", {f'tollgate_trace_spans_dropped_total{{{NODE},reason="unavailable"}}': per_minute(50, 20, 50)}, {20: [], 29: [], 32: ["TollgateSpansDropped"], 58: []}),
    Incident("a disk without room", {f"tollgate_spool_state{{{LOGSTORE}}}": between(20, 40, 1)}, {20: [], 22: ["TollgateSpoolFull"], 41: []}),
    Incident("a disk that fails", {f"tollgate_spool_state{{{LOGSTORE}}}": between(20, 40, 2)}, {20: [], 22: ["TollgateSpoolFailing"], 41: []}),
    Incident(
        "a backlog that a store that answers does not take",
        {f"tollgate_spool_events{{{LOGSTORE}}}": after(20, 5000)},
        {30: [], 60: ["TollgateBacklogStuck"]},
    ),
    Incident("a backlog that becomes smaller", {f"tollgate_spool_events{{{LOGSTORE}}}": lambda m: max(0, 100000 - 500 * m)}, {60: [], 120: []}),
    Incident("events on disk make room for newer ones", {f"tollgate_spool_shed_events_total{{{LOGSTORE}}}": per_minute(9, 20, 30)}, {19: [], 22: ["TollgateSpoolEventsGivenUp"], 45: []}),
    Incident("events on disk are too old", {f"tollgate_spool_expired_events_total{{{LOGSTORE}}}": per_minute(9, 20, 30)}, {19: [], 22: ["TollgateSpoolEventsGivenUp"], 45: []}),
    Incident(
        "events on disk that were given up, counted for the first time: once, and not again",
        {f"tollgate_spool_expired_events_total{{{LOGSTORE}}}": born(20, 7), f"tollgate_spool_shed_events_total{{{LOGSTORE}}}": born(60, 3)},
        {19: [], 21: ["TollgateSpoolEventsGivenUp"], 45: [], 61: ["TollgateSpoolEventsGivenUp"], 80: []},
    ),
    Incident("a damaged record on disk", {f"tollgate_spool_damage_total{{{LOGSTORE}}}": after(20, 1)}, {19: [], 22: ["TollgateSpoolDamaged"], 45: []}),
    Incident("a quarantine that cannot be written", {f"tollgate_quarantine_write_errors_total{{{NODE}}}": per_minute(1, 20, 30)}, {19: [], 22: ["TollgateQuarantineNotWritten"], 45: []}),
    Incident(
        "somebody tries tokens",
        {
            f'tollgate_credentials_refused_total{{{NODE},kind="jwt",reason="token_signature"}}': lambda m: None if m < 31 else (m - 30) * 6000,
            f'tollgate_requests_total{{{NODE},route="track_post"}}': lambda m: 6000 * m + max(0, m - 30) * 6000,
        },
        {30: [], 42: ["TollgateCredentialsRefused"]},
    ),
    Incident(
        "somebody tries the admin API",
        {f'tollgate_admin_calls_total{{{NODE},call="unknown",outcome="denied"}}': lambda m: None if m < 20 else (m - 19) * 10},
        {19: [], 25: ["TollgateAdminDenied"]},
    ),
    Incident("the store of shared limits is away", {f"tollgate_quota_store_up{{{NODE}}}": between(20, 40, 0, 1)}, {21: [], 23: ["TollgateQuotaStoreDown"], 41: []}),
    Incident("budgets cannot be saved", {f'tollgate_quota_saves_total{{{NODE},outcome="failed"}}': born(20)}, {19: [], 21: ["TollgateQuotaNotSaved"], 40: []}),
    Incident("files of budgets and bans are damaged", {f"tollgate_quota_damaged_files{{{NODE}}}": steady(1)}, {5: ["TollgateQuotaFilesDamaged"]}),
    Incident(
        "a guard sets many events aside",
        {f'tollgate_events_quarantined_total{{{LOGSTORE},judge="guard"}}': lambda m: 30 * m + max(0, m - 20) * 9000},
        {30: [], 40: ["TollgateEventsSetAside"]},
    ),
    Incident("a field with ever new values", {f'tollgate_guard_distinct_values{{{LOGSTORE},field="page"}}': after(20, 950, 400)}, {30: [], 36: ["TollgateDistinctValuesHigh"]}),
    Incident(
        "more ids than are remembered",
        {f'tollgate_guard_duplicates_total{{{LOGSTORE},outcome="untracked"}}': per_minute(60, 20)},
        {25: [], 35: ["TollgateDuplicatesNotRemembered"]},
    ),
    Incident("keys of an issuer that cannot be fetched", {f'tollgate_jwks_age_seconds{{{NODE},source="idp"}}': lambda m: 60 * (m + 340)}, {20: [], 30: ["TollgateKeysOld"]}),
    Incident(
        "keys of an issuer that were never fetched: tokens are refused with 503, and the set has no age",
        {
            f'tollgate_jwks_age_seconds{{{NODE},source="idp"}}': lambda m: None,
            f'tollgate_jwks_keys{{{NODE},source="idp"}}': steady(0),
            f'tollgate_requests_refused_total{{{LOGSTORE},reason="token_keys_unavailable"}}': per_minute(3000),
        },
        {3: [], 8: ["TollgateKeysOld", "TollgateTurningAway"], 30: ["TollgateKeysOld", "TollgateTurningAway"]},
    ),
    Incident(
        "requests that are refused for what is our doing, one reason after the other, and one before its logstore is known",
        {
            **{
                f'tollgate_requests_refused_total{{{LOGSTORE},reason="{reason}"}}': per_minute(600, 20 * turn, 20 * turn + 12)
                for turn, reason in enumerate(TURNING_AWAY, 1)
            },
            f'tollgate_unrouted_requests_refused_total{{{NODE},reason="too_many_calls"}}': per_minute(600, 120, 132),
        },
        {20: []} | {20 * turn + 10: ["TollgateTurningAway"] for turn in range(1, 7)} | {20 * turn + 19: [] for turn in range(1, 7)},
    ),
    Incident(
        "a restart: counters begin anew, and no alert of a first count fires",
        {
            f"up{{{NODE}}}": between(60, 61, 0, 1),
            f"tollgate_events_accepted_total{{{LOGSTORE}}}": lambda m: 59000 * (m if m < 60 else m - 60),
            f'tollgate_requests_total{{{NODE},route="track_post"}}': lambda m: 6000 * (m if m < 60 else m - 60),
            f'tollgate_events_quarantined_total{{{LOGSTORE},judge="schema"}}': lambda m: 200 * (m if m < 60 else m - 60),
        },
        {59: [], 62: [], 70: [], 90: []},
    ),
]


def _number(value):
    return "_" if value is None else f"{value:g}" if abs(value) < 1e5 else f"{value:.0f}"


def tests(incidents):
    """The incidents as tests of promtool."""
    written = []
    for incident in incidents:
        last = max(incident.firing) + 1
        written.append({
            "name": incident.sentence,
            "interval": "1m",
            "input_series": [
                {"series": series, "values": " ".join(_number(value(m)) for m in range(last + 1))}
                for series, value in incident.series.items()
            ],
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": f"{minute}m",
                    "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in alerts],
                }
                for minute, alerts in incident.firing.items()
            ],
        })
    return written
