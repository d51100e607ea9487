"""A real Prometheus watches the real binary by the rules of deploy/: the alerts that fire are those that should."""

import json
import re
import subprocess
import threading
from pathlib import Path

import requests

from lib.cases import case
from lib.events import marked
from lib.expect import check, equal, until
from lib.prometheus import PROMETHEUS, Prometheus
from lib.store import Store, same_events
from lib.tollgate import GUARDED, OPEN, PROJECT

DASHBOARD = Path(__file__).resolve().parents[3] / "deploy" / "grafana" / "dashboards" / "tollgate.json"
# Panels that show something of any node; the others are empty on one where nothing happens.
ALWAYS = {
    "Nodes up", "Events in", "Events waiting", "Memory", "Requests by route", "Accepted events by logstore", "Bytes",
    "Delivered events by logstore", "Upstreams that are down", "Connections", "Lag", "Disk", "File descriptors",
}


@case("a store that is away: TollgateStoreDown fires and nothing else, and ends when the store is back; every event arrives")
def outage(t):
    tollgate = t.tollgate(_config())
    prometheus = _watch(t, tollgate)
    marker, events = marked(60)
    until(lambda: prometheus.query("tollgate_events_accepted_total"), "Prometheus has asked the node")
    with _load(tollgate, events[:20]):
        until(lambda: tollgate.metric("tollgate_events_delivered_total") >= 20, "events are delivered")
        until(lambda: prometheus.query("tollgate:events_accepted:rate5m > 0"), "Prometheus has seen events")
    equal(prometheus.firing(), set(), "the alerts on a good day")
    tollgate.stop()
    tollgate.config.write_text(_config(faults="error_rate = 1.0\nerror_status = 503\nerror_code = \"ServerBusy\""), encoding="utf-8")
    tollgate.start()
    with _load(tollgate, events[20:40]):
        until(lambda: "TollgateStoreDown" in prometheus.firing(), "TollgateStoreDown fires", 40)
    # What a restart fires, where a minute is a second, has to pass.
    until(lambda: prometheus.firing() == {"TollgateStoreDown"}, "nothing else fires", 40)
    tollgate.stop()
    tollgate.config.write_text(_config(), encoding="utf-8")
    tollgate.start()
    with _load(tollgate, events[40:]):
        until(lambda: prometheus.firing() == set(), "the alert ends", 40)
    tollgate.drain()
    same_events(Store(tollgate).settled(marker, OPEN), events)


@case("a flood and a certificate that ends tomorrow: TollgateRequestFlood and TollgateCertificateEnds fire and nothing else")
def flood(t):
    folder = t.folder / "tls"
    _self_signed(t.binary, folder)
    # One client sends one request at a time: held back, its refusals would be no flood.
    tollgate = t.tollgate(_config(ingest='refusal_delay = "0s"') + f"""
[[limit]]
name = "per-address"
key = ["address"]
rate = [{{ count = 2, per = "1s" }}]

[[ingest.listener]]
name = "secure"
listen = "127.0.0.1:0"
[[ingest.listener.tls.certificate]]
cert = "{folder}/tls-cert.pem"
key = "{folder}/tls-key.pem"
""")
    prometheus = _watch(t, tollgate)
    until(lambda: prometheus.firing() == {"TollgateCertificateEnds"}, "TollgateCertificateEnds fires", 40)
    _, events = marked(1)
    wanted = {"TollgateCertificateEnds", "TollgateRequestFlood"}
    with _load(tollgate, events, again=True):
        until(lambda: prometheus.firing() >= wanted, "TollgateRequestFlood fires", 40)
        equal(prometheus.firing() - wanted, set(), "what else fires")
    until(lambda: prometheus.firing() == {"TollgateCertificateEnds"}, "the flood is over", 40)


@case("every query of the dashboard of Grafana is answered by a real Prometheus, and the panels that are never empty are not")
def dashboard(t):
    tollgate = t.tollgate(_config())
    prometheus = _watch(t, tollgate)
    _, events = marked(20)
    requests.post(tollgate.track(GUARDED), data=b"{}", timeout=20)
    with _load(tollgate, events, again=True):
        until(lambda: prometheus.query("sum(tollgate:events_accepted:rate5m) > 0"), "Prometheus has seen events", 40)
        until(lambda: prometheus.query("tollgate:memory_used:ratio"), "the recorded rules have values", 40)
        empty = set()
        for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
            found = [prometheus.query(_plain(target["expr"])) for target in panel.get("targets", [])]
            if not any(found):
                empty.add(panel["title"])
        equal(sorted(ALWAYS & empty), [], "panels that are empty and must not be")
        [(_, load)] = prometheus.query(_of_the_autoscaler())
        check(0 <= load <= 1, f"the number of the autoscaler is a share: {load}")


def _watch(t, tollgate):
    folder = t.folder / "prometheus"
    folder.mkdir()
    return t.use(Prometheus(folder, tollgate.admin_port).running())


def _of_the_autoscaler():
    """The query that the adapter sends for the autoscaler, of one node."""
    text = (PROMETHEUS / "adapter.yaml").read_text(encoding="utf-8")
    query = re.search(r"metricsQuery: >-\n((?: {8}.*\n)+)", text)[1]
    return query.replace("<<.GroupBy>>", "instance").replace("<<.LabelMatchers>>", 'job="tollgate"')


def _plain(expression):
    """An expression with what Grafana puts for its variables, of the last seconds."""
    expression = re.sub(r"\$__(rate_interval|range)", "5s", expression)
    return re.sub(r"\$(job|instance|project|logstore)\b", ".*", expression)


class _load:
    """Posts events on and on, one after the other, until the block ends; each once, or the same again and again."""

    def __init__(self, tollgate, events, again=False):
        self._tollgate, self._events, self._again = tollgate, list(events), again
        self._stop = threading.Event()
        self._failed = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(30)
        check(not self._failed, f"a request failed: {self._failed}")

    def _run(self):
        rest = list(self._events)
        try:
            while rest and not (self._stop.is_set() and self._again):
                event = rest[0] if self._again else rest.pop(0)
                status = self._tollgate.post([event]).status_code
                if status != 200 and not (self._again and status in (403, 429)):
                    raise AssertionError(f"the status was {status}")
                self._stop.wait(0.005 if self._again else 0.02)
        except Exception as error:  # told when the block ends
            self._failed.append(error)


def _self_signed(binary, folder):
    command = [binary, "cert", "self-signed", "--out", str(folder), "--days", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    equal(done.returncode, 0, f"the exit code of cert, which said {done.stderr}")


def _config(faults="", ingest=""):
    return f"""
[ingest]
default_project = "{PROJECT}"
{ingest}

[[identity.jwt]]
kid = "quickstart"
issuer = "tollgate"
audience = "tollgate"

[delivery]
stop_deadline = "1s"
[delivery.breaker]
failures = 2
pause_max = "2s"

[embedded.faults]
{faults}

[[upstream]]
name = "embedded"
kind = "embedded"

[[project]]
name = "{PROJECT}"
upstream = "embedded"

[[project.logstore]]
name = "{OPEN}"
accept = ["anonymous"]

[[project.logstore]]
name = "{GUARDED}"
"""
