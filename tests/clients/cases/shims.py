"""The stand-ins of the platforms themselves, against answers that Tollgate never gives."""

from lib.cases import case, case_for_each
from lib.expect import check, equal
from lib.node import MiniProgram
from lib.platforms import PLATFORMS
from lib.standin import StandIn


@case_for_each(PLATFORMS, "{}: 201, 429 and 503 end where the platform's documentation or its users say")
def statuses(t, name):
    server = t.use(StandIn())
    app = t.use(MiniProgram(name, server.port))
    for status in (201, 429, 503):
        told = app.request(f"/status/{status}", method="POST", data="{}")
        equal(told["kind"], "fail" if PLATFORMS[name].status_fails else "success", f"the callback of {status}")


@case_for_each(PLATFORMS, "{}: a redirect of a POST is followed with its body")
def redirects(t, name):
    server = t.use(StandIn())
    app = t.use(MiniProgram(name, server.port))
    told = app.request("/to/body/1", method="POST", data="x")
    equal((told["kind"], told["result"]["data"]), ("success", 1), "the answer")
    equal([request[3] for request in server.requests], [b"x", b"x"], "the bodies")


@case("cookies are kept by Alipay, by Douyin only when switched on, by WeChat never")
def cookies(t):
    server = t.use(StandIn())
    for name, traits, kept in (("wx", {}, False), ("my", {}, True), ("tt", {}, False), ("tt", {"cookieStore": True}, True)):
        app = t.use(MiniProgram(name, server.port, **traits))
        app.request("/body/1")
        app.request("/body/1")
        equal("Cookie" in server.requests[-1][2], kept, f"a cookie from {name} {traits}")


@case("Alipay in the reading of its documentation reports every status as a success")
def alipay_documented(t):
    server = t.use(StandIn())
    app = t.use(MiniProgram("my", server.port, statusMode="docs"))
    told = app.request("/status/503", method="POST", data="{}")
    equal((told["kind"], told["result"]["status"]), ("success", 503), "the answer")


@case("objects are sent as JSON, as a form or as a query, by method and content type")
def objects(t):
    server = t.use(StandIn())
    data = {"a": "ü b", "n": 1}
    wx = t.use(MiniProgram("wx", server.port))
    wx.request("/json", method="POST", data=data)
    wx.request("/form", method="POST", data=data, header={"content-type": "application/x-www-form-urlencoded"})
    wx.request("/query", data=data)
    dd = t.use(MiniProgram("dd", server.port))
    dd.request("/form", method="POST", data=data)
    refused = dd.request("/never", method="POST", data=data, headers={"Content-Type": "application/json"})
    equal(refused["kind"], "fail", "an object with application/json on DingTalk")
    encoded = "a=%C3%BC%20b&n=1"
    equal(
        [(request[1], request[3].decode()) for request in server.requests],
        [("/json", '{"a":"ü b","n":1}'), ("/form", encoded), (f"/query?{encoded}", ""), ("/form", encoded)],
        "what was sent",
    )


@case("WeChat asks only hosts of its list, Baidu no URL with a port")
def host_lists(t):
    server = t.use(StandIn())
    wx = t.use(MiniProgram("wx", server.port, hosts=["shop.example.com"]))
    told = wx.request("/")
    equal((told["kind"], told["result"]["errno"]), ("fail", 600002), "WeChat's answer")
    swan = t.use(MiniProgram("swan", server.port))
    told = swan.do("request", {"url": "https://edge.example.com:8443/"})
    equal((told["kind"], told["result"]["errCode"]), ("fail", 202), "Baidu's answer")
    check(not server.requests, "nothing was sent")


@case("Baidu on an iPhone opens six requests at once")
def baidu_queue(t):
    server = t.use(StandIn())
    app = t.use(MiniProgram("swan", server.port, ios=True))
    load = app.do("burst", 8, {"url": "https://edge.example.com/body/1"})
    equal(load, {"open": 6, "waiting": 2}, "open and waiting requests")
    equal([each["kind"] for each in app.idle()], ["success"] * 8, "what the app was told")


@case("a connection that breaks is told as a failure")
def broken(t):
    with StandIn() as server:
        port = server.port
    for name in PLATFORMS:
        app = t.use(MiniProgram(name, port))
        equal(app.request("/", method="POST", data="x")["kind"], "fail", f"what an app on {name} was told")
