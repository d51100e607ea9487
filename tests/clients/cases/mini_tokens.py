"""Tokens of mini programs: where the unpatched SDK can carry one, and that none of them ever leaks."""

import json

from lib.cases import case, case_for_each
from lib.events import marked
from lib.expect import check, equal
from lib.node import MiniProgram
from lib.platforms import PLATFORMS
from lib.store import Store, fields, same_events
from lib.tollgate import GUARDED, OPEN, PROJECT
from lib.wiretap import Wiretap


def _no_leak(tollgate, tokens, events):
    """Fails if a token, or its signature alone, stands anywhere that people or machines read."""
    places = {
        "the logs": tollgate.output(),
        "the metrics": tollgate.metrics_text(),
        "the store": json.dumps(events, ensure_ascii=False),
    }
    for token in tokens:
        for place, text in places.items():
            check(token not in text, f"a token stands in {place}")
            check(token.rpartition(".")[2] not in text, f"the signature of a token stands in {place}")


@case_for_each(PLATFORMS, "{}: a token in the tags authenticates, can be renewed in place, and is not stored")
def renewed_in_place(t, name):
    tollgate = t.tollgate()
    app = t.use(MiniProgram(name, tollgate.front_port))
    bad = tollgate.token()[:-6] + "AAAAAA"
    good = tollgate.token()
    app.tracker(logstore=GUARDED, tags={"__token__": bad, "channel": "spring"})
    marker, events = marked(3)
    app.call("sendImmediate", events[0])
    app.idle()
    app.do("tag", "__token__", good)
    app.call("sendImmediate", events[1])
    app.idle()
    app.call("sendImmediate", events[2])
    app.idle()

    stored = Store(tollgate).settled(marker)
    same_events(stored, [{**event, "__tag__:channel": "spring"} for event in events[1:]])
    equal(tollgate.metric("tollgate_requests_refused_total", reason="token_signature"), 1, "refused for its signature")
    _no_leak(tollgate, [bad, good], stored)


@case("a token in the path reaches neither the store nor a log, accepted or refused, even at log level trace")
def path_token_stays_secret(t):
    tollgate = t.tollgate(TRACE_CONFIG)
    app = t.use(MiniProgram("wx", tollgate.front_port))
    good = tollgate.token()
    bad = good[:-6] + "AAAAAA"
    marker, events = marked(2)
    for token, event in ((bad, events[0]), (good, events[1])):
        app.tracker(token, logstore=GUARDED)
        app.call("sendImmediate", event)
        app.idle()
    stored = Store(tollgate).settled(marker)
    same_events(stored, events[1:])
    equal(tollgate.stop(), 0, "the exit code")
    tollgate.start()
    _no_leak(tollgate, [bad, good], stored)


@case("a token in the path and another in the tags are one too many, and nothing is stored")
def two_tokens(t):
    tollgate = t.tollgate()
    app = t.use(MiniProgram("wx", tollgate.front_port))
    good, other = tollgate.token(), tollgate.token()
    marker, events = marked(2)
    for token, tag, event in ((good, other, events[0]), (tollgate.token(OPEN), good, events[1])):
        app.tracker(token, logstore=GUARDED, tags={"__token__": tag})
        app.call("sendImmediate", event)
        app.idle()
    equal([each["result"]["statusCode"] for each in app.idle()], [401, 401], "the status")
    stored = Store(tollgate).settled(marker)
    equal(stored, [], "the events stored")
    _no_leak(tollgate, [good, other], stored)


@case("a token for one logstore opens no other")
def token_scope(t):
    tollgate = t.tollgate()
    app = t.use(MiniProgram("my", tollgate.front_port))
    app.tracker(tollgate.token(OPEN), logstore=GUARDED)
    marker, events = marked(1)
    app.call("sendImmediate", events[0])
    app.idle()
    equal(Store(tollgate).settled(marker), [], "the events stored")
    equal(tollgate.metric("tollgate_requests_refused_total", reason="token_scope"), 1, "refused for its scope")


@case("a forged Referer and a foreign User-Agent gain nothing")
def forged_referer(t):
    tollgate = t.tollgate()
    tap = t.use(Wiretap(tollgate.front_port))
    marker, events = marked(1)
    body = json.dumps({"__logs__": events})
    app = t.use(MiniProgram("wx", tap.port))
    forged = {"referer": "https://servicewechat.com/wxtrusted/1/page-frame.html", "X-Forwarded-For": "10.0.0.1"}
    told = app.request(f"/logstores/{GUARDED}/track", method="POST", data=body, header=forged)
    equal(told["result"]["statusCode"], 401, "the status")
    check("wxtrusted" not in tap.requests()[0].header("referer"), "the platform puts its own Referer over the app's")
    answer = tollgate.post(events, GUARDED, headers={**forged, "User-Agent": "MicroMessenger/8.0"})
    equal(answer.status_code, 401, "the status without any platform")
    equal(Store(tollgate).settled(marker), [], "the events stored")


@case("an app's own wrapper may carry the token as Authorization: Bearer")
def bearer(t):
    tollgate = t.tollgate()
    marker, events = marked(6)
    for number, name in enumerate(PLATFORMS):
        app = t.use(MiniProgram(name, tollgate.front_port))
        header = {"Authorization": f"Bearer {tollgate.token()}"}
        app.request(
            f"/logstores/{GUARDED}/track?APIVersion=0.6.0", method="POST",
            data=json.dumps({"__logs__": [events[number]]}), header=header, headers=header,
        )
    same_events(Store(tollgate).settled(marker), events)


@case("Tollgate adds the time, the client's address and the pack id, and nothing else that the request revealed")
def nothing_added(t):
    tollgate = t.tollgate()
    app = t.use(MiniProgram("wx", tollgate.front_port))
    app.tracker(tollgate.token(), logstore=GUARDED)
    marker, events = marked(1)
    app.call("sendImmediate", events[0])
    app.idle()
    [stored] = Store(tollgate).settled(marker)
    added = set(stored) - set(fields(stored))
    equal(added, {"__time__", "__tag__:__client_ip__", "__tag__:__pack_id__"}, "the fields added")
    equal(stored["__tag__:__client_ip__"], "127.0.0.1", "the client's address")


TRACE_CONFIG = f"""
[ingest]
default_project = "{PROJECT}"

[log]
level = "trace"

[[identity.jwt]]
kid = "quickstart"
issuer = "tollgate"
audience = "tollgate"

[[upstream]]
name = "embedded"
kind = "embedded"

[[project]]
name = "{PROJECT}"
upstream = "embedded"

[[project.logstore]]
name = "{GUARDED}"
"""
