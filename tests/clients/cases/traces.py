"""Traces: what a collector gets, by the protobuf classes of OpenTelemetry, with its SDK as the client."""

import json
import subprocess
from pathlib import Path

import requests
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from cases.kafka import certificate
from lib.cases import case
from lib.collector import Collector, values
from lib.destinations import STORE, config
from lib.events import marked
from lib.expect import check, equal, until
from lib.store import ACCESS_KEY_ID, REGION, Store
from lib.tollgate import GUARDED, OPEN, PROJECT
from lib.wiretap import Wiretap

QUICKSTART = Path(__file__).resolve().parents[3] / "config" / "quickstart.toml"
INTERNAL, SERVER, CLIENT = 1, 2, 3
ERROR = 2
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{}"


def traced(collector, more="", ratio=1.0, upstream=STORE):
    """A configuration that exports to this collector, quickly."""
    section = f"""
[traces]
endpoint = "{collector.url}"
ratio = {ratio}
interval = "100ms"
{more}
"""
    name = upstream.split('name = "')[1].split('"')[0]
    return config(upstream, "", section, f'upstream = "{name}"')


def dropped(tollgate, reason):
    """Spans that were dropped for this reason."""
    return tollgate.metric("tollgate_trace_spans_dropped_total", reason=reason)


def exported(tollgate):
    """Spans that the collector has taken, by the node's word."""
    return tollgate.metric("tollgate_trace_spans_exported_total")


@case("a request is a span with its stages, and its delivery is one in the same trace; no secret and no payload is in them")
def whole_trace(t):
    collector = t.use(Collector())
    more = 'service_name = "edge"\nresource = { "deployment.environment.name" = "test" }'
    tollgate = t.tollgate(traced(collector, more))
    marker, events = marked(7, secret="payload-9f3")
    answer = tollgate.post(events, headers={"User-Agent": "agent-77c", "Cookie": "a=cookie-51d"})
    equal(answer.status_code, 200, "the status")
    Store(tollgate).settled(marker, OPEN)
    until(lambda: collector.spans("deliver"), "the delivery was exported")
    until(lambda: collector.spans("track_post"), "the request was exported")
    [server], [delivery] = collector.spans("track_post"), collector.spans("deliver")
    told = values(server)
    check(int(told.pop("http.request.body.size")) > 100, "the size of the body")
    expected = {
        "http.request.method": "POST", "http.response.status_code": 200, "network.protocol.version": "1.1",
        "url.scheme": "http", "tollgate.route": "track_post", "tollgate.project": PROJECT, "tollgate.logstore": OPEN,
        "tollgate.outcome": "accepted", "tollgate.events": 7, "tollgate.request_id": answer.headers["x-log-requestid"],
    }
    equal(told, expected, "the attributes of the request")
    equal((server.kind, server.parent_span_id, list(server.links), server.status.code), (SERVER, b"", [], 0), "the request")
    stages = [span for span in collector.spans() if span.kind == INTERNAL]
    equal([span.name for span in stages][:4], ["head", "credential", "body", "events"], "the stages")
    for span in stages:
        equal((span.trace_id, span.parent_span_id), (server.trace_id, server.span_id), f"where {span.name} is")
        inside = server.start_time_unix_nano <= span.start_time_unix_nano < span.end_time_unix_nano <= server.end_time_unix_nano
        check(inside, f"{span.name} is not within its request")
    equal((delivery.trace_id, delivery.parent_span_id, delivery.kind), (server.trace_id, server.span_id, CLIENT), "the delivery")
    told = values(delivery)
    expected = {"tollgate.project": PROJECT, "tollgate.logstore": OPEN, "tollgate.events": 7, "tollgate.attempts": 1,
                "tollgate.outcome": "delivered"}
    equal({name: told[name] for name in expected}, expected, "the attributes of the delivery")
    resource = collector.resources()[0]
    equal((resource["service.name"], resource["deployment.environment.name"]), ("edge", "test"), "the resource")
    for secret in (b"payload-9f3", b"agent-77c", b"cookie-51d", b"127.0.0.1", marker.encode()):
        check(secret not in collector.raw, f"{secret} is in a span")
    equal(len({span.span_id for span in collector.spans()}), len(collector.spans()), "different ids")
    until(lambda: exported(tollgate) == len(collector.spans()), "all were counted")


@case("a token is in no span, wherever it stands, and neither is the address unless it is chosen")
def no_secrets(t):
    collector = t.use(Collector())
    text = f'[traces]\nendpoint = "{collector.url}"\nratio = 1.0\ninterval = "100ms"\n'
    tollgate = t.tollgate(QUICKSTART.read_text(encoding="utf-8") + text + "client_address = true\n")
    token = tollgate.token()
    _, events = marked(1)
    for url, headers in (
        (tollgate.track(), {"Authorization": f"Bearer {token}"}),
        (tollgate.track(token=token), {}),
        (tollgate.track() + f"?token={token}", {}),
        (tollgate.track(), {"Authorization": f"Bearer {token}x"}),
        (tollgate.track("no-such-logstore-4e1"), {}),
        (f"http://127.0.0.1:{tollgate.front_port}/no/such/path-8c2?q=query-6d3", {}),
    ):
        requests.post(url, json={"__logs__": events}, headers=headers, timeout=10)
    until(lambda: len([span for span in collector.spans() if span.kind == SERVER]) >= 6, "all were exported")
    for secret in (token.encode(), token.split(".")[1].encode(), b"no-such-logstore-4e1", b"path-8c2", b"query-6d3"):
        check(secret not in collector.raw, f"{secret} is in a span")
    spans = [values(span) for span in collector.spans() if span.kind == SERVER]
    equal({span.get("client.address") for span in spans}, {"127.0.0.1"}, "the address, where it is chosen")
    reasons = [span.get("tollgate.reason") for span in spans]
    equal([reason is None for reason in reasons], [True, True, True, False, False, False], "who was refused")
    equal({span.get("tollgate.logstore") for span in spans}, {GUARDED, None}, "logstores of the configuration only")


def sdk_span():
    """A span of the official SDK, and the headers by which it is propagated."""
    tracer = TracerProvider().get_tracer("page")
    headers = {}
    with tracer.start_as_current_span("click") as span:
        TraceContextTextMapPropagator().inject(headers)
    return span.get_span_context(), headers


@case("the trace that the SDK begins goes on through Tollgate to the store, over a reload as well")
def continued(t):
    collector = t.use(Collector())
    store = t.tollgate()
    tap = t.use(Wiretap(store.store_port))
    secret = store.store_secret_file()
    upstream = f"""
[[upstream]]
name = "cloud"
kind = "sls"
endpoint = "http://localhost:{tap.port}"
region = "{REGION}"
access_key_id = "{ACCESS_KEY_ID}"
access_key_secret = "file:{secret}"
"""
    text = traced(collector, 'incoming = "continue"', upstream=upstream)
    tollgate = t.tollgate(text)
    theirs, headers = sdk_span()
    marker, events = marked(3)
    equal(tollgate.post(events, headers=headers).status_code, 200, "the status")
    tollgate.drain()
    equal(len(Store(store).settled(marker, OPEN)), 3, "the events in the store")
    until(lambda: collector.spans("deliver") and collector.spans("track_post"), "both were exported")
    [server], [delivery] = collector.spans("track_post"), collector.spans("deliver")
    equal(int.from_bytes(server.trace_id, "big"), theirs.trace_id, "the trace of the request")
    equal(int.from_bytes(server.parent_span_id, "big"), theirs.span_id, "the parent of the request")
    equal(delivery.trace_id, server.trace_id, "the trace of the delivery")
    [sent] = [request.header("traceparent") for request in tap.requests() if request.method == "POST"]
    equal(sent, f"00-{delivery.trace_id.hex()}-{delivery.span_id.hex()}-01", "what the store was told")
    tollgate.reload(text.replace("ratio = 1.0", "ratio = 0.0"))
    until(lambda: tollgate.metric("tollgate_config_generation") == 2, "it was reloaded")
    before = len(collector.spans("track_post"))
    for _ in range(20):
        equal(tollgate.post(marked(1)[1], headers=headers).status_code, 200, "the status")
    tollgate.drain()
    equal(tollgate.stop(), 0, "the exit code")
    equal(len(collector.spans("track_post")), before, "spans with a ratio of 0")
    quiet = [request.header("traceparent") for request in tap.requests() if request.method == "POST"][1:]
    check(quiet and not any(quiet), f"the store was told of a trace: {quiet}")


@case("a stranger's traceparent is linked and forces nothing; only incoming = trust believes it")
def strangers(t):
    collector = t.use(Collector())
    linking = t.tollgate(traced(collector))
    theirs = TRACEPARENT.format("00")
    for header in (theirs, "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "ff" + theirs[2:], "nonsense"):
        linking.post(marked(1)[1], headers={"traceparent": header})
    until(lambda: len(collector.spans("track_post")) == 4, "all were exported")
    spans = collector.spans("track_post")
    links = [[f"00-{link.trace_id.hex()}-{link.span_id.hex()}" for link in span.links] for span in spans]
    equal(links, [[theirs[:-3]], [], [], []], "the links")
    check(all(span.trace_id.hex() != theirs[3:35] and not span.parent_span_id for span in spans), "a trace of its own")
    silent = t.tollgate(traced(t.use(Collector()), ratio=0.0))
    trusting = t.tollgate(traced(collector, 'incoming = "trust"', ratio=0.0))
    for tollgate in (silent, trusting):
        for flags in ("00", "01"):
            tollgate.post(marked(1)[1], headers={"traceparent": TRACEPARENT.format(flags)})
        tollgate.post(marked(1)[1])
    until(lambda: len(collector.spans("track_post")) == 5, "the trusted one was exported")
    equal((silent.stop(), trusting.stop()), (0, 0), "the exit codes")
    equal(len(collector.spans("track_post")), 5, "one more, and no other")
    equal(collector.spans("track_post")[-1].parent_span_id.hex(), theirs[36:52], "its parent")
    equal(exported(linking), len(collector.spans()) - len(_of_last(collector)), "nothing else was counted")


def _of_last(collector):
    last = collector.spans("track_post")[-1].trace_id
    return [span for span in collector.spans() if span.trace_id == last]


@case("a batch of many requests is one delivery with so many links, and says how many more there were")
def many_links(t):
    collector = t.use(Collector())
    tollgate = t.tollgate(traced(collector).replace('max_age = "100ms"', 'max_age = "8s"'))
    for _ in range(50):
        tollgate.post(marked(1)[1])
    until(lambda: collector.spans("deliver"), "the delivery was exported")
    until(lambda: len(collector.spans("track_post")) == 50, "the requests were exported")
    deliveries = collector.spans("deliver")
    linked = sum(1 + len(span.links) + span.dropped_links_count for span in deliveries)
    equal(linked, 50, "requests that deliveries know of")
    check(max(len(span.links) for span in deliveries) == 31, "links to all that a batch remembers, but the first")
    servers = {span.span_id for span in collector.spans("track_post")}
    for span in deliveries:
        check({link.span_id for link in span.links} <= servers and span.parent_span_id in servers, "known requests")


@case("a collector that is down or stands still holds nothing up: spans are dropped and counted, memory stays flat, then they come again")
def collector_down(t):
    collector = t.use(Collector())
    collector.status = 503
    text = traced(collector, 'queue = 200\nbatch = 50\ntimeout = "500ms"\nretry_for = "1s"')
    tollgate = t.tollgate(text)
    session = requests.Session()

    def burst(count):
        _, events = marked(1)
        for _ in range(count):
            equal(session.post(tollgate.track(OPEN), json={"__logs__": events}, timeout=10).status_code, 200, "the status")

    burst(300)
    until(lambda: dropped(tollgate, "queue_full") > 0, "the queue was full")
    check(tollgate.metric("tollgate_trace_spans_waiting") <= 200, "more wait than may")
    until(lambda: dropped(tollgate, "unavailable") > 0, "a batch was given up")
    memory = _resident(tollgate)
    burst(1500)
    check(_resident(tollgate) < memory + (24 << 20), f"memory grew from {memory} to {_resident(tollgate)}")
    collector.pause_s, collector.status = 2.0, 200
    burst(100)
    collector.pause_s = 0.0
    until(lambda: exported(tollgate) > 0, "they come again")
    before = dropped(tollgate, "queue_full")
    collector.rejects = 3
    tollgate.post(marked(1)[1])
    until(lambda: dropped(tollgate, "rejected") >= 3, "what was not taken is counted")
    equal(tollgate.metric("tollgate_events_accepted_total"), 1901, "all events were accepted")
    check(dropped(tollgate, "queue_full") == before, "nothing was dropped once it was mended")
    check("the collector takes spans again" in tollgate.stderr(), "the log tells of it")


def _resident(tollgate):
    with open(f"/proc/{tollgate.pid()}/statm", encoding="ascii") as numbers:
        return int(numbers.read().split()[1]) * 4096


@case("Retry-After is honoured, refusals are not repeated, and headers are read again after a 401")
def answers(t):
    collector = t.use(Collector())
    secret = t.folder / "token"
    secret.write_text("Bearer first-secret\n", encoding="utf-8")
    more = f'headers = {{ authorization = "file:{secret}" }}'
    tollgate = t.tollgate(traced(collector, more))
    collector.status, collector.headers = 429, {"Retry-After": "2"}
    tollgate.post(marked(1)[1])
    until(lambda: len(collector.requests) == 1, "the first try")
    collector.status, collector.headers = 200, {}
    until(lambda: collector.spans("track_post"), "it was tried again")
    equal(collector.requests[0][2]["authorization"], "Bearer first-secret", "the header")
    collector.status = 400
    tollgate.post(marked(1)[1])
    until(lambda: dropped(tollgate, "rejected") > 0, "a refused export is dropped")
    tollgate.drain()
    until(lambda: tollgate.metric("tollgate_trace_spans_waiting") == 0, "nothing waits")
    collector.status, collector.token = 200, "Bearer second-secret"
    secret.write_text("Bearer second-secret\n", encoding="utf-8")
    taken = len(collector.spans("track_post"))

    def again():
        tollgate.post(marked(1)[1])
        return len(collector.spans("track_post")) > taken

    until(again, "the new header was read")
    for text in (tollgate.output(), tollgate.metrics_text(), collector.raw.decode("latin-1")):
        check("-secret" not in text, "a secret was told")
    shown = tollgate.admin("GET", "config").text
    check("-secret" not in shown, "the configuration shows the secret")


@case("a collector behind TLS is believed by its certificate, and by no other")
def over_tls(t):
    pair, other = certificate(t, "good"), certificate(t, "other")
    collector = t.use(Collector(certificate=pair))
    trusting, wary = (t.tollgate(traced(collector, f'ca_file = "{file}"')) for file in (pair[0], other[0]))
    for tollgate in (trusting, wary):
        tollgate.post(marked(1)[1])
    until(lambda: exported(trusting) > 0, "spans came")
    until(lambda: wary.metric("tollgate_trace_exports_failed_total") > 0, "the other one fails")
    equal(exported(wary), 0, "spans for a collector that is not trusted")
    check("its certificate not be trusted" in wary.stderr(), "the log tells of it")


@case("a stop sends the spans that are left, and gives up in time when it cannot")
def stopping(t):
    collector = t.use(Collector())
    slow = traced(collector).replace('interval = "100ms"', 'interval = "10m"')
    tollgate = t.tollgate(slow)
    tollgate.post(marked(2)[1])
    tollgate.drain()
    equal(collector.requests, [], "nothing is sent before the interval")
    equal(tollgate.stop(), 0, "the exit code")
    equal([len(collector.spans(name)) for name in ("track_post", "deliver")], [1, 1], "what was sent at the stop")
    stuck = t.tollgate(slow)
    collector.pause_s = 60.0
    stuck.post(marked(1)[1])
    equal(stuck.stop(), 0, "the exit code")
    check("spans were not exported before the stop" in stuck.stderr(), "the log tells of it")


@case("tollgate doctor asks the collector by a request without a span, and says what keeps it from taking them")
def doctor(t):
    collector = t.use(Collector())
    path = t.folder / "traced.toml"
    path.write_text(traced(collector), encoding="utf-8")

    def finding():
        arguments = ("doctor", "--config", path, "--data-dir", t.folder / "data", "--output", "json")
        done = subprocess.run([t.binary, *arguments], capture_output=True, text=True, timeout=60, check=False)
        [told] = [it for it in json.loads(done.stdout)["findings"] if it["check"] == "traces"]
        return told

    told = finding()
    equal((told["verdict"], told["subject"]), ("ok", collector.url), "of a collector that takes spans")
    equal((len(collector.requests), collector.spans()), (1, []), "requests, and the spans in them")
    collector.status = 404
    told = finding()
    equal(told["verdict"], "fail", "of one that takes none")
    check("404" in told["message"] and "whole URL" in told["help"], f"{told}")
