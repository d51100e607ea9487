"""The official browser SDK in headless Chromium, in a page of another origin."""

import json

from lib.browser import Browser
from lib.cases import case
from lib.events import as_text, awkward, marked
from lib.expect import check, equal, until
from lib.store import Store, same_events
from lib.tollgate import GUARDED, OPEN, PROJECT
from lib.wiretap import Wiretap


class Shop:
    """A page with the tracker, a tap, and the Tollgate that the tracker sends to."""

    def __init__(self, t):
        self.tollgate = t.tollgate()
        self.tap = t.use(Wiretap(self.tollgate.front_port))
        self.browser = t.use(Browser())
        self.edge = f"http://{PROJECT}.localhost:{self.tap.port}"

    def track(self, scenario, events, logstore=GUARDED, token=None, **options):
        """Plays a scenario with a tracker that is configured as documented."""
        host = self.edge + (f"/t/{token}" if token else "")
        tracker = {"host": host, "project": PROJECT, "logstore": logstore, "time": 600, "count": 1000, **options}
        return self.browser.play(scenario, tracker=tracker, events=events)

    def requests(self, count):
        """The requests on the wire, once there are so many."""
        until(lambda: len(self.tap.requests()) >= count, f"{count} requests have come")
        return self.tap.requests()

    def taken(self, count):
        """Waits until Tollgate has accepted so many events."""
        until(lambda: self.tollgate.metric("tollgate_events_accepted_total") >= count, f"{count} events are taken")


@case("awkward events arrive unchanged by sendBeacon, with a token in the path of the host")
def beacon(t):
    shop = Shop(t)
    marker, event = awkward()
    _, types = shop.track("immediate", [event], token=shop.tollgate.token(), topic="web", source="h5", tags={"应用": "店"})
    [request] = shop.requests(1)
    equal(types, ["ping"], "the type of request")
    equal(request.header("content-type"), "text/plain;charset=UTF-8", "the content type")
    equal(request.header("origin"), shop.browser.page.rstrip("/"), "the origin")
    shop.taken(1)
    expected = {**as_text(event), "__tag__:应用": "店"}
    same_events(Store(shop.tollgate).settled(marker), [expected], topic="web", source="h5")


@case("a body of 32768 characters and more arrives by XMLHttpRequest, without a preflight")
def large_body(t):
    shop = Shop(t)
    marker, events = marked(40, text="界" * 1000)
    _, types = shop.track("batch", events, token=shop.tollgate.token())
    [request] = shop.requests(1)
    equal(types, ["xhr"], "the type of request")
    check(len(request.body.decode()) >= 32768, "the body is large")
    shop.taken(40)
    same_events(Store(shop.tollgate).settled(marker), events)


@case("what is still queued arrives when the page is left for another")
def navigation(t):
    shop = Shop(t)
    marker, events = marked(5)
    shop.track("navigate", events, token=shop.tollgate.token())
    shop.taken(5)
    same_events(Store(shop.tollgate).settled(marker), events)


@case("what is still queued arrives when the tab is closed")
def closed_tab(t):
    shop = Shop(t)
    marker, events = marked(5)
    shop.track("close", events, token=shop.tollgate.token())
    shop.taken(5)
    same_events(Store(shop.tollgate).settled(marker), events)


@case("fifty beacons in a burst all arrive, some by XMLHttpRequest")
def burst(t):
    shop = Shop(t)
    marker, events = marked(50, text="x" * 5000)
    shop.track("immediate", events, token=shop.tollgate.token())
    shop.taken(50)
    same_events(Store(shop.tollgate).settled(marker), events)


@case("without a token nothing is stored, except in an open logstore")
def no_token(t):
    shop = Shop(t)
    marker, events = marked(1)
    shop.track("immediate", events)
    until(lambda: shop.tollgate.metric("tollgate_requests_refused_total", reason="credential_missing") == 1, "a refusal")
    equal(Store(shop.tollgate).settled(marker), [], "the events stored")


@case("an open logstore takes events without a token")
def open_logstore(t):
    shop = Shop(t)
    marker, events = marked(2)
    shop.track("batch", events, OPEN)
    shop.taken(2)
    same_events(Store(shop.tollgate).settled(marker, OPEN), events)


@case("a fetch with custom headers passes its preflight, and the page can read the answer")
def preflight(t):
    shop = Shop(t)
    marker, events = marked(1)
    body = json.dumps({"__logs__": events})
    answer, _ = shop.browser.play("fetch", fetch={
        "url": f"{shop.edge}/logstores/{GUARDED}/track",
        "body": body,
        "headers": {
            "content-type": "application/json", "x-log-apiversion": "0.6.0", "x-log-bodyrawsize": str(len(body)),
            "authorization": f"Bearer {shop.tollgate.token()}",
        },
    })
    equal((answer["status"], answer["text"]), (200, ""), "status and body")
    for name in ("x-log-requestid", "x-log-time"):
        check(answer["headers"].get(name), f"the page can read {name}")
    asked, sent = shop.requests(2)
    equal((asked.method, sent.method), ("OPTIONS", "POST"), "the requests")
    equal(
        asked.header("access-control-request-headers"),
        "authorization,content-type,x-log-apiversion,x-log-bodyrawsize", "the headers asked for",
    )
    same_events(Store(shop.tollgate).settled(marker), events)


@case("the status and the body of an error can be read by the page")
def readable_error(t):
    shop = Shop(t)
    for token, status, code in (("not.a.token", 401, "Unauthorized"), (shop.tollgate.token(), 400, "PostBodyInvalid")):
        answer, _ = t.use(Browser()).play("fetch", fetch={
            "url": f"{shop.edge}/logstores/{GUARDED}/track", "body": "no json",
            "headers": {"content-type": "application/json", "authorization": f"Bearer {token}"},
        })
        equal((answer["status"], json.loads(answer["text"])["errorCode"]), (status, code), "status and code")
        check(answer["headers"].get("x-log-requestid"), "the page can read the request id")


@case("an image tag stores its parameters, the browser and the page, and is an image")
def image(t):
    shop = Shop(t)
    marker, [event] = marked(1, text="你好 & more", empty="")
    query = f"marker={marker}&number=0&text=你好 %26 more&empty="
    url = f"{shop.edge}/logstores/{GUARDED}/track_ua.gif?APIVersion=0.6.0&token={shop.tollgate.token()}&{query}"
    width, _ = shop.browser.play("image", image=url)
    equal(width, 1, "the width of the image")
    [stored] = Store(shop.tollgate).settled(marker)
    check("Chrome/" in stored.pop("__userAgent__"), "the browser is stored")
    equal(stored.pop("__referer__"), shop.browser.page, "the page")
    same_events([stored], [event])

