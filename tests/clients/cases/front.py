"""Plain HTTP clients: the answer to a write, the places of a token, values that are no text."""

import json
import re

import requests

from lib.cases import case, case_for_each
from lib.events import as_text, awkward, marked
from lib.expect import check, equal
from lib.store import Store, same_events
from lib.tollgate import GUARDED, OPEN


@case("a write is answered with 200, no body, no content type, and headers that all clients read")
def answer_of_a_write(t):
    tollgate = t.tollgate()
    answer = tollgate.post([{"a": "b"}])
    equal((answer.status_code, answer.content), (200, b""), "status and body")
    equal(answer.headers.get("content-type"), None, "the content type")
    equal(answer.headers.get("content-length"), "0", "the content length")
    equal(answer.headers.get("x-tollgate-ack"), "memory", "what the answer promises")
    check(re.fullmatch("[0-9A-F]{24}", answer.headers["x-log-requestid"]), "the request id is 24 hex digits")
    check(int(answer.headers["x-log-time"]) > 1_500_000_000, "x-log-time is a time")
    check("set-cookie" not in answer.headers, "no cookie is set")


@case("a refusal is JSON with a code, and says what to do")
def answer_of_a_refusal(t):
    tollgate = t.tollgate()
    for logstore, headers, status, code in (
        (GUARDED, {}, 401, "Unauthorized"),
        (GUARDED, {"Authorization": "Bearer x.y.z"}, 401, "Unauthorized"),
        ("no-such-logstore", {}, 404, "LogStoreNotExist"),
        (OPEN, {"x-log-project": "no-such-project"}, 404, "ProjectNotExist"),
    ):
        answer = tollgate.post([{"a": "b"}], logstore, headers)
        equal((answer.status_code, answer.json()["errorCode"]), (status, code), "status and code")
        check(answer.headers["content-type"].startswith("application/json"), "the content type is JSON")
        check(answer.json()["errorMessage"], "there is a message")
        check(answer.headers["x-log-requestid"], "there is a request id")


def _places(token):
    """Each place of a token: headers, path prefix, query, tags."""
    return {
        "Authorization": ({"Authorization": f"Bearer {token}"}, "", "", {}),
        "path": ({}, f"/t/{token}", "", {}),
        "query": ({}, "", f"&token={token}", {}),
        "cookie": ({"Cookie": f"theme=dark; tollgate_token={token}"}, "", "", {}),
        "body": ({}, "", "", {"__tags__": {"__token__": token}}),
    }


@case_for_each(("Authorization", "path", "query", "cookie", "body"), "a token in the {} lets events in, and is not stored")
def token_places(t, place):
    tollgate = t.tollgate()
    token = tollgate.token()
    marker, events = marked(1)
    headers, prefix, query, envelope = _places(token)[place]
    address = f"http://127.0.0.1:{tollgate.front_port}{prefix}/logstores/{GUARDED}/track?APIVersion=0.6.0{query}"
    answer = requests.post(address, json={"__logs__": events, **envelope}, headers=headers, timeout=20)
    equal(answer.status_code, 200, "the status")
    same_events(Store(tollgate).settled(marker), events)
    check(token not in tollgate.output() + tollgate.metrics_text(), "the token is in no log and no metric")


@case("numbers, booleans, null and nested values are kept as their JSON text")
def values_that_are_no_text(t):
    tollgate = t.tollgate()
    marker, event = awkward()
    equal(tollgate.post([event], __topic__="raw", __source__="curl").status_code, 200, "the status")
    same_events(Store(tollgate).settled(marker, OPEN), [as_text(event)], topic="raw", source="curl")


@case("a quick app, which sends text/plain, is a client like the others")
def quick_app(t):
    tollgate = t.tollgate()
    marker, events = marked(2)
    headers = {"Content-Type": "text/plain", "Referer": "https://quickapp.cn/com.example.app/100/page-frame.html"}
    equal(tollgate.post(events, OPEN, headers).status_code, 200, "the status")
    same_events(Store(tollgate).settled(marker, OPEN), events)


@case("a GET stores one event of its parameters, and neither the version nor the token")
def by_get(t):
    tollgate = t.tollgate()
    marker, [event] = marked(1, page="/搜索?q=1&b", empty="")
    answer = requests.get(
        tollgate.track(), params={"APIVersion": "0.6.0", "token": tollgate.token(), **event}, timeout=20
    )
    equal((answer.status_code, answer.content), (200, b""), "status and body")
    same_events(Store(tollgate).settled(marker), [event])


@case("an envelope with no events is answered 200 and stores nothing")
def no_events(t):
    tollgate = t.tollgate()
    equal(tollgate.post([]).status_code, 200, "the status")
    tollgate.drain()
    equal(Store(tollgate).events(OPEN), [], "the events stored")


@case("one bad event refuses the whole request, and nothing of it is stored")
def all_or_nothing(t):
    tollgate = t.tollgate()
    marker, events = marked(2)
    for bad in ({"": "empty key"}, {"k" * 129: "long key"}):
        answer = tollgate.post([*events, bad])
        equal((answer.status_code, answer.json()["errorCode"]), (400, "InvalidKey"), f"the answer to {json.dumps(bad)}")
    equal(Store(tollgate).settled(marker, OPEN), [], "the events stored")
