"""Metrics, as the parsers of others read them."""

import subprocess

import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

from lib.cases import case
from lib.events import marked
from lib.expect import check, equal, until
from lib.store import Store
from lib.tollgate import GUARDED, OPEN

# What Prometheus sends.
ACCEPT = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


def _busy(t):
    """A node with something to show of most kinds."""
    tollgate = t.tollgate()
    marker, events = marked(40)
    for event in events:
        tollgate.post([event])
    Store(tollgate).settled(marker, OPEN)
    url = f"http://127.0.0.1:{tollgate.front_port}/logstores/{GUARDED}/track"
    for _ in range(6):
        equal(requests.post(url, json={"__logs__": [{"a": "b"}]}, timeout=10).status_code, 401, "the status without a token")
    tollgate.admin("GET", "books")
    until(lambda: tollgate.metric("tollgate_delivery_lag_seconds_count") >= 1, "deliveries were timed")
    return tollgate


def _metrics(tollgate, accept):
    answer = requests.get(f"http://127.0.0.1:{tollgate.admin_port}/metrics", headers={"Accept": accept}, timeout=10)
    return answer.headers["content-type"], answer.text


@case("the parser of OpenMetrics takes what a busy node shows, with its units and exemplars")
def openmetrics(t):
    tollgate = _busy(t)
    kind, text = _metrics(tollgate, ACCEPT)
    equal(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8", "the content type")
    families = {family.name: family for family in open_metrics(text)}
    check(len(families) > 80, f"only {len(families)} families")
    for family in families.values():
        check(family.documentation.endswith("."), f"{family.name} has no help")
        for unit in ("seconds", "bytes", "ratio"):
            equal(family.unit == unit, family.name.endswith(f"_{unit}"), f"whether {family.name} is in {unit}")
        check(all(sample.value >= 0 for sample in family.samples), f"{family.name} is below 0")
    equal(families["tollgate_build"].type, "info", "the type of the build")
    equal(families["tollgate_requests"].type, "counter", "the type of the requests")
    duration = families["tollgate_request_duration_seconds"]
    exemplars = [sample.exemplar for sample in duration.samples if sample.exemplar]
    check(exemplars, "no bucket has an exemplar")
    equal(len(exemplars[0].labels["request_id"]), 24, "the length of a request id")


@case("promtool and the parser of the text format take what a busy node shows")
def text_format(t):
    tollgate = _busy(t)
    kind, text = _metrics(tollgate, "*/*")
    equal(kind, "text/plain; version=0.0.4; charset=utf-8", "the content type")
    families = list(plain(text))
    check(len(families) > 80, f"only {len(families)} families")
    _, other = _metrics(tollgate, ACCEPT)

    def names(parsed):
        return {sample.name for family in parsed for sample in family.samples}

    equal(names(families), names(open_metrics(other)), "the names in both forms")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    equal((done.returncode, done.stdout + done.stderr), (0, ""), "what promtool says")
