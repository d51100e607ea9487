"""The life of a mini program: queues, aborts, going to the background, being killed, and the SDK's own doubles."""

import json
import subprocess

from lib.cases import case
from lib.events import awkward, marked
from lib.expect import check, equal, until
from lib.node import MiniProgram
from lib.store import Store, same_events
from lib.tollgate import COMMAND_LIMIT_S, GUARDED, OPEN, PROJECT
from lib.wiretap import Wiretap

TRACK = f"/logstores/{OPEN}/track?APIVersion=0.6.0"


@case("the unload copy of the SDK is stored as it comes: every event twice")
def unload_copy(t):
    tollgate = t.tollgate()
    tap = t.use(Wiretap(tollgate.front_port))
    app = t.use(MiniProgram("wx", tap.port))
    app.tracker(logstore=OPEN)
    marker, events = marked(3)
    for event in events:
        app.call("send", event)
    app.do("unload")
    until(lambda: len(tap.requests()) == 2, "the timer has sent the queue again")
    app.idle()
    first, second = tap.requests()
    equal(second.body, first.body, "the second body")
    same_events(Store(tollgate).settled(marker, OPEN), events + events)


def dedup_config(mode):
    """A site whose open logstore knows events that come twice."""
    return f"""
[ingest]
default_project = "{PROJECT}"

[[upstream]]
name = "embedded"
kind = "embedded"

[[project]]
name = "{PROJECT}"
upstream = "embedded"

[[project.logstore]]
name = "{OPEN}"
accept = ["anonymous"]
[project.logstore.guards]
mode = "{mode}"
dedup = {{ ignore_time = true }}
"""


def unload_with_dedup(t, mode):
    """Events of the SDK that an unload sends twice: the service, and what is stored of them."""
    tollgate = t.tollgate(dedup_config(mode))
    tap = t.use(Wiretap(tollgate.front_port))
    app = t.use(MiniProgram("wx", tap.port))
    app.tracker(logstore=OPEN)
    marker, events = marked(3)
    for event in events:
        app.call("send", event)
    app.do("unload")
    until(lambda: len(tap.requests()) == 2, "the timer has sent the queue again")
    equal([each["result"]["statusCode"] for each in app.idle()], [200, 200], "what the app was told")
    return tollgate, events, Store(tollgate).settled(marker, OPEN)


@case("the unload copy of the SDK is dropped where guards know events that come twice: each is stored once")
def unload_copy_dropped(t):
    tollgate, events, stored = unload_with_dedup(t, "enforce")
    same_events(stored, events)
    equal(tollgate.metric("tollgate_guard_duplicates_total", outcome="dropped"), 3, "duplicates dropped")
    equal(tollgate.metric("tollgate_events_duplicate_total"), 3, "duplicates in the books")


@case("the unload copy of the SDK is counted and stored where guards only observe")
def unload_copy_observed(t):
    tollgate, events, stored = unload_with_dedup(t, "observe")
    same_events(stored, events + events)
    equal(tollgate.metric("tollgate_guard_duplicates_total", outcome="observed"), 3, "duplicates observed")
    equal(tollgate.metric("tollgate_events_duplicate_total"), 0, "duplicates in the books")


@case("a schema is inferred from what the SDK has sent, and takes all of it")
def inferred(t):
    tollgate = t.tollgate()
    app = t.use(MiniProgram("wx", tollgate.front_port))
    app.tracker(logstore=OPEN)
    _, events = marked(3, price=7)
    for event in events:
        app.call("send", event)
    app.call("send", awkward()[1])
    app.do("unload")
    app.idle()
    tollgate.drain()
    sampled = tollgate.manage("sample", "--events", "--logstore", OPEN)
    check(sampled.count("\n") >= 3, "the events of the sample")

    def schema(*arguments):
        done = subprocess.run(
            [tollgate.binary, "schema", *arguments, "-"],
            input=sampled + "\n", capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False,
        )
        equal(done.returncode, 0, f"the end of schema {arguments[0]}: {done.stderr}")
        return done.stdout

    proposed = schema("infer")
    properties = json.loads(proposed)["properties"]
    check({"marker", "number", "price", "键", "nested"} <= properties.keys(), "the fields of the schema")
    file = t.folder / "proposed.json"
    file.write_text(proposed, encoding="utf-8")
    schema("test", str(file))


@case("an unload with an empty queue sends no events: answered 200, nothing stored")
def empty_queue(t):
    tollgate = t.tollgate()
    tap = t.use(Wiretap(tollgate.front_port))
    app = t.use(MiniProgram("wx", tap.port))
    app.tracker(logstore=OPEN)
    app.do("unload")
    equal([each["result"]["statusCode"] for each in app.idle()], [200], "the status")
    equal(tap.requests()[0].body, b'{"__logs__":[]}', "the body")
    tollgate.drain()
    equal(Store(tollgate).events(OPEN), [], "the events stored")


@case("requests aborted as soon as the body is sent are stored all the same")
def abort_after_body(t):
    tollgate = t.tollgate()
    app = t.use(MiniProgram("wx", tollgate.front_port))
    marker, events = marked(100)
    for event in events:
        told = app.request(TRACK, method="POST", data=json.dumps({"__logs__": [event]}), abortWhenSent=True)
        equal((told["kind"], told["result"]["errMsg"]), ("fail", "request:fail abort"), "what the app was told")
    until(lambda: tollgate.metric("tollgate_events_accepted_total") == 100, "all aborted requests are taken")
    same_events(Store(tollgate).settled(marker, OPEN), events)


@case("wx: of 11 parallel requests one waits its turn; all are stored")
def queue_of_ten(t):
    tollgate = t.tollgate()
    tap = t.use(Wiretap(tollgate.front_port, hold_answers_s=0.5))
    app = t.use(MiniProgram("wx", tap.port))
    marker, [event] = marked(1)
    load = app.do("burst", 11, {
        "url": f"https://p.edge.example.com{TRACK}", "method": "POST", "data": json.dumps({"__logs__": [event]}),
        "header": {"x-log-project": "sls-webtracking-mini"},
    })
    equal(load, {"open": 10, "waiting": 1}, "open and waiting requests")
    equal({each["kind"] for each in app.idle()}, {"success"}, "what the app was told")
    same_events(Store(tollgate).settled(marker, OPEN), [event] * 11)


@case("wx: hidden during a slow answer, the app is interrupted and frozen; what was sent is stored, the rest follows when it is shown")
def hide_during_answer(t):
    tollgate = t.tollgate()
    tap = t.use(Wiretap(tollgate.front_port, hold_answers_s=3.0))
    app = t.use(MiniProgram("wx", tap.port, graceMs=500))
    app.tracker(logstore=OPEN)
    marker, events = marked(2)
    app.call("sendImmediate", events[0])
    app.call("send", events[1])  # the timer of the SDK would send it after 1 s
    app.do("control", "hide")
    store = Store(tollgate)
    until(lambda: tollgate.metric("tollgate_events_accepted_total") == 1, "the first event is taken")
    app.idle()
    check(not app.do("told"), "a frozen app is told nothing")
    until(lambda: store.settled(marker, OPEN), "the first event is stored")
    same_events(store.settled(marker, OPEN), events[:1])
    app.do("control", "show")
    until(lambda: tollgate.metric("tollgate_events_accepted_total") == 2, "the held batch comes")
    equal(app.do("told")[0]["result"]["errMsg"], "request:fail interrupted", "what the app was told first")
    same_events(store.settled(marker, OPEN), events)


@case("tt: in the background new calls are refused by the platform; the token and the queue survive until the app is shown")
def douyin_background(t):
    tollgate = t.tollgate()
    app = t.use(MiniProgram("tt", tollgate.front_port, graceMs=1))
    app.tracker(tollgate.token(), logstore=GUARDED)
    marker, events = marked(2)
    app.do("control", "hide")
    until(lambda: app.request("/", method="GET")["kind"] == "fail", "the platform refuses")
    app.call("sendImmediate", events[0])
    app.idle()
    app.do("control", "show")
    app.call("sendImmediate", events[1])
    app.idle()
    same_events(Store(tollgate).settled(marker), events[1:])


@case("an app killed while an answer is on its way has its events stored, and the next start works")
def killed(t):
    tollgate = t.tollgate()
    tap = t.use(Wiretap(tollgate.front_port, hold_answers_s=5.0))
    app = t.use(MiniProgram("wx", tap.port))
    app.tracker(logstore=OPEN)
    marker, events = marked(2)
    app.call("sendImmediate", events[0])
    until(lambda: len(tap.requests()) == 1, "the request is on the wire")
    app.kill()
    again = t.use(MiniProgram("wx", tollgate.front_port))
    again.tracker(logstore=OPEN)
    again.call("sendImmediate", events[1])
    again.idle()
    until(lambda: tollgate.metric("tollgate_events_accepted_total") == 2, "both events are taken")
    same_events(Store(tollgate).settled(marker, OPEN), events)


@case("wx: a change of network fails the open requests on the phone; what was sent is stored")
def network_change(t):
    tollgate = t.tollgate()
    tap = t.use(Wiretap(tollgate.front_port, hold_answers_s=5.0))
    app = t.use(MiniProgram("wx", tap.port))
    app.tracker(logstore=OPEN)
    marker, events = marked(1)
    app.call("sendImmediate", events[0])
    until(lambda: len(tap.requests()) == 1, "the request is on the wire")
    app.do("control", "networkChange")
    equal([each["result"]["errno"] for each in app.idle()], [600001], "what the app was told")
    until(lambda: tollgate.metric("tollgate_events_accepted_total") == 1, "the event is taken")
    same_events(Store(tollgate).settled(marker, OPEN), events)


@case("a retry of the network layer below the API is stored as it comes: twice")
def low_level_retry(t):
    tollgate = t.tollgate()
    app = t.use(MiniProgram("wx", tollgate.front_port, lowLevelRetry=True))
    app.tracker(logstore=OPEN)
    marker, events = marked(1)
    app.call("sendImmediate", events[0])
    app.idle()
    same_events(Store(tollgate).settled(marker, OPEN), events * 2)
