"""The unpatched mini-program SDK on every platform: what goes over the wire, and what is stored."""

import json

from lib.cases import case, case_for_each
from lib.events import as_text, awkward, marked
from lib.expect import check, equal, until
from lib.node import MiniProgram
from lib.platforms import PLATFORMS
from lib.store import Store, same_events
from lib.tollgate import GUARDED, OPEN, PROJECT
from lib.wiretap import Wiretap


@case_for_each(PLATFORMS, "{}: awkward events arrive unchanged, with a token in the path")
def arrive_unchanged(t, name):
    platform = PLATFORMS[name]
    tollgate = t.tollgate()
    tap = t.use(Wiretap(tollgate.front_port))
    app = t.use(MiniProgram(name, tap.port))
    token = tollgate.token()
    app.tracker(token, logstore=GUARDED, topic="shop", source=name, tags={"版本": "1.0"})
    marker, event = awkward()
    app.call("sendImmediate", event)
    told = app.idle()

    [request] = tap.requests()
    equal(request.method, "POST", "the method")
    equal(request.target, f"/t/{token}/logstores/{GUARDED}/track?APIVersion={platform.target_end}", "the target")
    equal(request.header("host"), f"{PROJECT}.edge.example.com", "the host")
    equal(request.header("content-type"), platform.content_type, "the content type")
    check((request.header("referer") or "").startswith(platform.referer or ""), "the Referer names the platform")
    check((platform.user_agent or "") in (request.header("user-agent") or ""), "the User-Agent names the platform")
    for absent in ("origin", "cookie", "transfer-encoding", "sec-fetch-mode", "authorization"):
        equal(request.header(absent), None, f"the header {absent}")

    # DingTalk and old Alipay libraries call an empty answer a failure; that is theirs, the events are taken.
    equal([each["kind"] for each in told], ["fail" if name == "dd" else "success"], "what the app was told")
    stored = Store(tollgate).settled(marker)
    same_events(stored, [{**as_text(event), "__tag__:版本": "1.0"}], topic="shop", source=name)


@case_for_each(PLATFORMS, "{}: the timer of the SDK delivers a batch")
def timer_delivers(t, name):
    tollgate = t.tollgate()
    app = t.use(MiniProgram(name, tollgate.front_port))
    app.tracker(logstore=OPEN)
    marker, events = marked(3)
    for event in events:
        app.call("send", event)
    until(lambda: tollgate.metric("tollgate_events_accepted_total") == 3, "the batch has come")
    same_events(Store(tollgate).settled(marker, OPEN), events)


@case_for_each(PLATFORMS, "{}: a refusal is told as the platform tells it, and stores nothing")
def refusal_is_told(t, name):
    tollgate = t.tollgate()
    app = t.use(MiniProgram(name, tollgate.front_port))
    marker, events = marked(1)
    told = app.request(
        f"/logstores/{GUARDED}/track?APIVersion=0.6.0", method="POST", data=json.dumps({"__logs__": events})
    )
    result = told["result"]
    if PLATFORMS[name].status_fails:
        equal(told["kind"], "fail", "the callback")
        equal(result["error"], 19, "the platform's error number")
    else:
        equal((told["kind"], result["statusCode"]), ("success", 401), "the callback and the status")
        equal(result["data"]["errorCode"], "Unauthorized", "the error code that the app reads")
    equal(Store(tollgate).settled(marker), [], "the events stored")
    equal(tollgate.metric("tollgate_requests_refused_total"), 1, "the refusals counted")


@case("my: a refused send of the SDK ends in an unhandled rejection, and an accepted one does not")
def alipay_promise(t):
    tollgate = t.tollgate()
    app = t.use(MiniProgram("my", tollgate.front_port))
    app.tracker(logstore=OPEN)
    app.call("sendImmediate", {"n": 1})
    app.idle()
    equal(app.do("unhandled"), [], "rejections after an accepted send")
    app.tracker(logstore=GUARDED)
    app.call("sendImmediate", {"n": 2})
    app.idle()
    [rejection] = app.do("unhandled")
    equal((rejection["error"], rejection["status"]), (19, 401), "the rejection")


@case("my: a Referer of 8 KB is accepted")
def long_referer(t):
    tollgate = t.tollgate()
    tap = t.use(Wiretap(tollgate.front_port))
    app = t.use(MiniProgram("my", tap.port, refererBytes=8192))
    app.tracker(logstore=OPEN)
    marker, events = marked(1)
    app.call("sendImmediate", events[0])
    app.idle()
    equal(len(tap.requests()[0].header("referer")), 8192, "the length of the Referer")
    same_events(Store(tollgate).settled(marker, OPEN), events)


@case("my: an empty answer is a success for new base libraries and a failure for old ones; both are stored once")
def old_base_library(t):
    tollgate = t.tollgate()
    for library, kind in (("new", "success"), ("old", "fail")):
        app = t.use(MiniProgram("my", tollgate.front_port, baseLib=library))
        app.tracker(logstore=OPEN)
        marker, events = marked(1)
        app.call("sendImmediate", events[0])
        equal([each["kind"] for each in app.idle()], [kind], f"what the app was told on a library that is {library}")
        same_events(Store(tollgate).settled(marker, OPEN), events)


@case("dd: a body that the platform percent-encodes as a whole is understood")
def encoded_body(t):
    tollgate = t.tollgate()
    tap = t.use(Wiretap(tollgate.front_port))
    app = t.use(MiniProgram("dd", tap.port, encodeString=True, referer="https://dd.example.com/"))
    app.tracker(logstore=OPEN, tags={"渠道": "钉钉"})
    marker, event = awkward()
    app.call("sendImmediate", event)
    app.idle()
    check(tap.requests()[0].body.startswith(b"%7B%22"), "the body is percent-encoded")
    same_events(Store(tollgate).settled(marker, OPEN), [{**as_text(event), "__tag__:渠道": "钉钉"}])


@case("dd: an iPhone is told the status of a refusal but not its body")
def dingtalk_iphone(t):
    tollgate = t.tollgate()
    app = t.use(MiniProgram("dd", tollgate.front_port, ios=True))
    told = app.request(f"/logstores/{GUARDED}/track", method="POST", data='{"__logs__":[{"a":"b"}]}')
    equal((told["kind"], told["result"]["statusCode"], told["result"].get("data")), ("fail", 401, None), "the answer")
