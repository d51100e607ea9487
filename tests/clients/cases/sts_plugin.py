"""The official STS plugin with the browser SDK, in headless Chromium and in Node.js: signed writes from a page."""

import hashlib
import json

from lib.browser import Browser
from lib.cases import case, case_for_each
from lib.events import as_text, awkward, marked
from lib.expect import check, equal
from lib.identity import (
    GUIDE, OTHER, READ, ROLE, SERVER, WRITE, Rules, as_page_reads, assume, policy, statement, within_a_second,
)
from lib.node import Page
from lib.store import Store, same_events
from lib.tollgate import GUARDED, PROJECT
from lib.wiretap import Wiretap, resend

ENGINES = {"Chromium": Browser, "Node.js": Page}


class Shop:
    """A Tollgate with the guide's role, a tap in front of it, and a page with the tracker and its plugin."""

    def __init__(self, t, engine="Chromium", rules=None, tollgate=None, **page):
        self.rules = rules or shop_rules(t)
        self.tollgate = tollgate or t.tollgate(self.rules.text())
        self.tap = t.use(Wiretap(self.tollgate.front_port))
        self.edge = f"http://{PROJECT}.localhost:{self.tap.port}"
        self.page = t.use(ENGINES[engine](**page))

    def credentials(self, session="d-001", **options):
        """Temporary credentials, as an app server would hand them to the page."""
        return as_page_reads(assume(self.tollgate, self.rules.secrets[SERVER], session, **options))

    def open(self, asking, logstore=GUARDED, delay=0, interval=300_000, **options):
        """Makes the tracker with its plugin, as documented; `asking` says where it gets its credentials."""
        self.page.call("open", {
            "tracker": {
                "host": self.edge, "project": PROJECT, "logstore": logstore, "time": 600, "count": 1000, **options,
            },
            "source": asking, "delay": delay, "interval": interval,
        })

    def open_with_own_service(self, **options):
        """Makes the tracker with its plugin, which asks Tollgate itself for credentials, with a token."""
        url = f"{self.edge}/get_sts_token"
        self.open({"url": url, "headers": {"Authorization": f"Bearer {self.tollgate.token()}"}}, **options)

    def send(self, *events):
        """Sends each event in a request of its own; returns status and reason of each answer as the page read it."""
        return [
            (each["status"], json.loads(each["text"])["reason"] if each["text"] else None)
            for each in self.page.call("send", {"events": list(events)})
        ]

    def stored(self, marker, logstore=GUARDED):
        """What was stored, without the times that the plugin gives."""
        return Store(self.tollgate).settled(marker, logstore)


def shop_rules(t):
    """The guide's policy and role, a key that may assume it, and Tollgate's own service for pages."""
    rules = Rules(t.folder)
    rules.policies["guide"] = GUIDE
    rules.key(SERVER)
    rules.role(ROLE, "guide")
    rules.sections["identity.sts_token"] = {"role": ROLE, "accept": ["jwt"]}
    return rules


@case_for_each(ENGINES, "{}: what the plugin signs is stored unchanged, Chinese and emoji too")
def intact(t, engine):
    shop = Shop(t, engine)
    shop.open_with_own_service(topic="web", source="h5", tags={"应用": "店"})
    marker, event = awkward()
    equal(shop.send(event), [(200, None)], "the answers")
    same_events(shop.stored(marker), [{**as_text(event), "__tag__:应用": "店"}], topic="web", source="h5")

    posts = [each for each in shop.tap.requests() if each.method == "POST"]
    equal([each.target for each in posts], [f"/logstores/{GUARDED}"], "the requests")
    raw = int(posts[0].header("x-log-bodyrawsize"))
    check(raw < len(posts[0].body), f"the plugin counts UTF-16 units: {raw} for {len(posts[0].body)} bytes")
    check(posts[0].header("authorization").startswith("LOG STS."), "the key is a temporary one")


@case("the preflight of a signed request is answered with every header that it asks for")
def preflight(t):
    shop = Shop(t)
    shop.open({"credentials": shop.credentials()})
    marker, events = marked(2)
    equal(shop.send(events[0]) + shop.send(events[1]), [(200, None)] * 2, "the answers")
    methods = [each.method for each in shop.tap.requests()]
    equal(methods, ["OPTIONS", "POST", "POST"], "the requests: the second one needs no preflight")
    asked = shop.tap.requests()[0].header("access-control-request-headers")
    equal(
        asked,
        "authorization,content-md5,content-type,x-acs-security-token,x-log-apiversion,x-log-bodyrawsize,x-log-date,"
        "x-log-signaturemethod",
        "the headers asked for",
    )
    same_events(shop.stored(marker), events)


@case_for_each(ENGINES, "{}: events sent before the first credentials are there are told so, and later ones arrive")
def first_token_race(t, engine):
    shop = Shop(t, engine)
    shop.open_with_own_service(delay=400)
    marker, events = marked(4)
    early = shop.send(*events[:3])
    equal(sorted(early, key=str), [(200, None), (401, "access_key_missing"), (401, "access_key_missing")], "the answers")
    equal(shop.send(events[3]), [(200, None)], "the answer once the credentials are there")
    same_events(shop.stored(marker), [events[0], events[3]])
    equal(shop.page.call("refreshes"), 1, "how often credentials were asked for")


@case_for_each(ENGINES, "{}: the plugin renews its credentials, each time other ones")
def renewed(t, engine):
    shop = Shop(t, engine)
    shop.open_with_own_service(interval=1)
    marker, events = marked(3)
    for event in events:
        equal(shop.send(event), [(200, None)], "the answer")
    same_events(shop.stored(marker), events)
    tokens = {each.header("x-acs-security-token") for each in shop.tap.requests() if each.method == "POST"}
    check(len(tokens) > 1, "there were several security tokens")


@case_for_each(ENGINES, "{}: credentials for one logstore open no other, and the page can read why")
def denied(t, engine):
    shop = Shop(t, engine)
    marker, events = marked(1)
    shop.open({"credentials": shop.credentials()}, OTHER)
    [answer] = shop.page.call("send", {"events": events})
    body = json.loads(answer["text"])
    equal((answer["status"], body["errorCode"], body["reason"]), (401, "Unauthorized", "policy_denied"), "the answer")
    for part in ("denied by sts or ram", f"action: {WRITE}", f"project/{PROJECT}/logstore/{OTHER}"):
        check(part in body["errorMessage"], f"the message names {part!r}: {body['errorMessage']}")
    equal(shop.stored(marker, OTHER), [], "the events stored")


@case_for_each(ENGINES, "{}: a session policy narrows the role, and never widens it")
def narrowed(t, engine):
    rules = shop_rules(t)
    rules.policy("guide", statement(WRITE, GUARDED, OTHER))
    shop = Shop(t, engine, rules)
    marker, events = marked(1)
    for narrow, logstore, expected in (
        (policy(statement(WRITE, GUARDED)), GUARDED, (200, None)),
        (policy(statement(WRITE, GUARDED)), OTHER, (401, "policy_denied")),
        (policy(statement(READ, GUARDED)), GUARDED, (401, "policy_denied")),
    ):
        shop.open({"credentials": shop.credentials(narrowed_by=narrow)}, logstore)
        equal(shop.send(events[0]), [expected], f"the answer of {logstore}")
    same_events(shop.stored(marker), events)
    equal(shop.stored(marker, OTHER), [], "the events of the other logstore")


@case_for_each(ENGINES, "{}: revoking the session stops credentials that are in use, within a second")
def revoked(t, engine):
    shop = Shop(t, engine)
    marker, events = marked(4)
    shop.open({"credentials": shop.credentials("d-007")})
    equal(shop.send(events[0]), [(200, None)], "the answer before")
    shop.tollgate.manage("revoke", "add", "session", "d-007", "--reason", "a stolen phone")
    within_a_second(lambda: shop.send(events[1]) == [(401, "credential_revoked")], "the session is refused")
    shop.open({"credentials": shop.credentials("d-008")})
    equal(shop.send(events[2]), [(200, None)], "the answer to another device")
    stored = [each["number"] for each in shop.stored(marker)]
    check("0" in stored and "2" in stored, f"what came before, and of the other device: {stored}")


@case_for_each(ENGINES, "{}: a security token that was changed, and one of another key, are refused")
def forged(t, engine):
    shop = Shop(t, engine)
    marker, events = marked(1)
    mine, other = shop.credentials(), shop.credentials("d-002")
    token = mine["SecurityToken"]
    at = len(token) // 2
    changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1:]
    for what, wrong, reasons in (
        ("a changed token", {**mine, "SecurityToken": changed}, {"security_token_invalid"}),
        ("a token of another key", {**mine, "SecurityToken": other["SecurityToken"]}, {"security_token_invalid"}),
        ("a wrong secret", {**mine, "AccessKeySecret": other["AccessKeySecret"]}, {"signature_mismatch"}),
    ):
        shop.open({"credentials": wrong})
        [(status, reason)] = shop.send(events[0])
        check(status == 401 and reason in reasons, f"{what}: {status} {reason}, not one of {reasons}")
    equal(shop.stored(marker), [], "the events stored")


@case_for_each(ENGINES, "{}: expired credentials are refused as such, and the plugin's next ones are taken")
def expired(t, engine):
    rules = shop_rules(t)
    rules.sections["identity.signed"] = {"window": "2h"}  # the page keeps its clock while Tollgate's goes ahead
    tollgate = t.tollgate(rules.text())
    old = as_page_reads(assume(tollgate, rules.secrets[SERVER], duration_seconds=900))
    equal(tollgate.stop(), 0, "the exit code")
    tollgate.ahead_s = 1200
    tollgate.start()
    shop = Shop(t, engine, rules, tollgate)
    marker, events = marked(2)
    shop.open({"credentials": old})
    equal(shop.send(events[0]), [(401, "security_token_expired")], "the answer")
    shop.open_with_own_service()
    equal(shop.send(events[1]), [(200, None)], "the answer to fresh credentials")
    equal(tollgate.stop(), 0, "the exit code")
    tollgate.ahead_s = 0  # for the SDK that reads, which signs by this machine's clock
    tollgate.start()
    equal([each["number"] for each in shop.stored(marker)], ["1"], "the events stored")


@case("a page of an origin that is not listed may not write, whatever the signature")
def wrong_origin(t):
    rules = shop_rules(t)
    rules.logstores[GUARDED] = {"allow_origins": ["https://shop.example.com"]}
    shop = Shop(t, "Node.js", rules, origin="https://evil.example.com")
    marker, events = marked(1)
    shop.open({"credentials": shop.credentials()})
    equal(shop.send(events[0]), [(401, "origin_not_allowed")], "the answer")
    equal(shop.stored(marker), [], "the events stored")


@case("a body that was changed on its way is refused: the digest is part of the signature")
def changed_body(t):
    shop = Shop(t, "Node.js")
    marker, events = marked(1)
    shop.open({"credentials": shop.credentials()})
    equal(shop.send(events[0]), [(200, None)], "the answer to what the plugin sent")
    [sent] = [each for each in shop.tap.requests() if each.method == "POST"]
    other = sent.body.replace(b'"number":"0"', b'"number":"7"')
    for what, headers, reason in (
        ("the body alone", {}, "body_digest"),
        ("the body and its digest", {"Content-MD5": hashlib.md5(other).hexdigest().upper()}, "signature_mismatch"),
    ):
        status, body = resend(shop.tollgate.front_port, sent, other, headers)
        equal((status, json.loads(body)["reason"]), (401, reason), f"status and reason: {what}")
    same_events(shop.stored(marker), events)
