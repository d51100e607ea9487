"""Tickets, sessions and cookies, revocation, relayed requests, observing, and security events.

Over HTTP, and in Chromium where a browser matters.
"""

import concurrent.futures
import json
import re
import urllib.parse

import requests

from cases.python_sdk import put
from cases.sts_python_sdk import reason_of_put, refusal
from lib.browser import Browser
from lib.cases import case, case_for_each
from lib.events import as_text, awkward, marked
from lib.expect import check, equal, until
from lib.identity import OTHER, SERVER, WRITE, Rules, login_token, refused, statement, within_a_second
from lib.node import MiniProgram
from lib.store import ACCESS_KEY_ID, Store, client, same_events
from lib.tollgate import GUARDED, OPEN, PROJECT
from lib.wiretap import Wiretap, resend

SHOP = "https://shop.example.com"
SECURITY = "security"


def bearer(token, **more):
    """The headers of a request with a token."""
    return {"Authorization": f"Bearer {token}", **more}


def ticket(tollgate, *options, logstore=GUARDED):
    """A ticket for a logstore, made by the binary."""
    return tollgate.manage("ticket", "create", "--project", PROJECT, "--logstore", logstore, *options)


def ticket_id(tollgate):
    """The id of the one ticket there is."""
    return tollgate.manage("ticket", "list").splitlines()[-1].split()[0]


# === tickets ===


@case("a ticket stands wherever a token may: in the header, the path, the query, a tag and a cookie")
def ticket_places(t):
    tollgate = t.tollgate(Rules(t.folder).text())
    link = ticket(tollgate)
    marker, events = marked(5)
    equal(tollgate.post(events[:1], GUARDED, bearer(link)).status_code, 200, "the status: header")
    equal(_post(tollgate.track(token=link), events[1:2]).status_code, 200, "the status: path")
    equal(_post(tollgate.track() + f"?token={link}", events[2:3]).status_code, 200, "the status: query")
    equal(tollgate.post(events[3:4], GUARDED, __tags__={"__token__": link}).status_code, 200, "the status: tag")
    equal(tollgate.post(events[4:], GUARDED, {"Cookie": f"tollgate_token={link}"}).status_code, 200, "the status: cookie")
    stored = Store(tollgate).settled(marker)
    same_events(stored, events)
    for place, text in (("the store", json.dumps(stored)), ("the logs", tollgate.output()), ("the metrics", tollgate.metrics_text())):
        check(link not in text, f"the ticket stands in {place}")


@case("the unpatched mini-program SDK writes with a ticket in its host")
def ticket_of_a_mini_program(t):
    tollgate = t.tollgate(Rules(t.folder).text())
    app = t.use(MiniProgram("my", tollgate.front_port))
    app.tracker(ticket(tollgate), logstore=GUARDED)
    marker, event = awkward()
    app.call("sendImmediate", event)
    app.idle()
    same_events(Store(tollgate).settled(marker), [as_text(event)])


@case("a ticket that may be used three times lets three requests through, of eight that come at once")
def ticket_uses(t):
    tollgate = t.tollgate(Rules(t.folder).text())
    link = ticket(tollgate, "--max-uses", "3")
    marker, events = marked(8)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda event: tollgate.post([event], GUARDED, bearer(link)), events))
    equal(sorted(each.status_code for each in answers), [200] * 3 + [401] * 5, "the status of each")
    for answer in answers:
        if answer.status_code == 401:
            refused(answer, "ticket_used_up")
    equal(len(Store(tollgate).settled(marker)), 3, "the events stored")


@case("the uses of a ticket are still counted after a restart")
def ticket_uses_survive(t):
    tollgate = t.tollgate(Rules(t.folder).text())
    link = ticket(tollgate, "--max-uses", "2")
    marker, events = marked(3)
    equal(tollgate.post(events[:1], GUARDED, bearer(link)).status_code, 200, "the status before")
    Store(tollgate).settled(marker)
    equal(tollgate.stop(), 0, "the exit code")
    tollgate.start()
    equal(tollgate.post(events[1:2], GUARDED, bearer(link)).status_code, 200, "the status after")
    refused(tollgate.post(events[2:], GUARDED, bearer(link)), "ticket_used_up")
    same_events(Store(tollgate).settled(marker), events[:2])


@case("a ticket holds for one logstore, one network and one site")
def ticket_bounds(t):
    tollgate = t.tollgate(Rules(t.folder).text())
    marker, events = marked(4)
    refused(tollgate.post(events[:1], OTHER, bearer(ticket(tollgate))), "ticket_scope")
    refused(tollgate.post(events[:1], GUARDED, bearer(ticket(tollgate, "--from", "192.0.2.0/24"))), "ticket_address")
    link = ticket(tollgate, "--from", "127.0.0.0/8")
    equal(tollgate.post(events[1:2], GUARDED, bearer(link)).status_code, 200, "the status from a named network")
    link = ticket(tollgate, "--origin", SHOP)
    refused(tollgate.post(events[:1], GUARDED, bearer(link, Origin="https://evil.example.com")), "ticket_origin")
    answer = tollgate.post(events[2:3], GUARDED, bearer(link, Origin=SHOP))
    equal(answer.status_code, 200, "the status from a page of the named site")
    check(answer.headers.get("access-control-allow-origin") in ("*", SHOP), "the page can read the answer")
    equal(sorted(each["number"] for each in Store(tollgate).settled(marker)), ["1", "2"], "the events stored")


@case("a ticket ends when it was to, and one that was extended before goes on")
def ticket_ends(t):
    tollgate = t.tollgate(Rules(t.folder).text())
    extended = ticket(tollgate, "--ttl", "2s")
    tollgate.manage("ticket", "extend", ticket_id(tollgate), "--ttl", "1h")
    ended = ticket(tollgate, "--ttl", "2s")
    marker, events = marked(2)
    until(lambda: tollgate.post(events[:1], GUARDED, bearer(ended)).status_code == 401, "the second one has ended")
    refused(tollgate.post(events[:1], GUARDED, bearer(ended)), "ticket_expired")
    equal(tollgate.post(events[1:], GUARDED, bearer(extended)).status_code, 200, "the status of the first one")
    check("1" in [each["number"] for each in Store(tollgate).settled(marker)], "its event is stored")


@case("a revoked ticket is refused within a second, one that was changed at once, and one of another Tollgate is unknown")
def ticket_revoked(t):
    tollgate = t.tollgate(Rules(t.folder).text())
    other = t.tollgate(Rules(t.folder).text())
    link = ticket(tollgate)
    marker, events = marked(2)
    equal(tollgate.post(events[:1], GUARDED, bearer(link)).status_code, 200, "the status before")
    changed = link[:-4] + ("AAAA" if link[-4:] != "AAAA" else "BBBB")
    answer = tollgate.post(events[1:], GUARDED, bearer(changed))
    check(answer.status_code == 401, f"the changed ticket: {answer.status_code} {answer.text}")
    answer = other.post(events[1:], GUARDED, bearer(link))
    equal(answer.status_code, 401, "the status elsewhere")
    tollgate.manage("ticket", "revoke", ticket_id(tollgate))
    within_a_second(lambda: tollgate.post(events[1:], GUARDED, bearer(link)).status_code == 401, "the ticket is refused")
    refused(tollgate.post(events[1:], GUARDED, bearer(link)), "credential_revoked")
    check("0" in [each["number"] for each in Store(tollgate).settled(marker)], "what came before is stored")


# === revocation ===


@case_for_each(
    (("subject", "customer-7"), ("jti", "t-42"), ("kid", "quickstart")),
    "a revoked {} of a token ({}) is refused within a second, and taken again once it is lifted",
)
def revoked_token(t, kind, value):
    tollgate = t.tollgate(Rules(t.folder).text())
    token = login_token(tollgate, sub="customer-7", jti="t-42")
    marker, events = marked(3)
    equal(tollgate.post(events[:1], GUARDED, bearer(token)).status_code, 200, "the status before")
    tollgate.manage("revoke", "add", kind, value, "--reason", "a test", "--ttl", "1h")
    within_a_second(lambda: tollgate.post(events[1:2], GUARDED, bearer(token)).status_code == 401, "the token is refused")
    refused(tollgate.post(events[1:2], GUARDED, bearer(token)), "credential_revoked")
    check(value in tollgate.manage("revoke", "list"), "the list names it")
    tollgate.manage("revoke", "lift", kind, value)
    within_a_second(lambda: tollgate.post(events[2:], GUARDED, bearer(token)).status_code == 200, "the token is taken")
    check(value not in tollgate.manage("revoke", "list"), "the list names it no more")
    numbers = {each["number"] for each in Store(tollgate).settled(marker)}
    check({"0", "2"} <= numbers, f"the events stored: {numbers}")


@case("a revoked access key is refused within a second and after a restart, and another key is not")
def revoked_key(t):
    rules = Rules(t.folder)
    rules.policy("write", statement(WRITE))
    rules.key("lost", "write")
    rules.key("kept", "write")
    tollgate = t.tollgate(rules.text())
    lost, kept = (client(tollgate.front_port, rules.secrets[each], key_id=each) for each in ("lost", "kept"))
    marker, events = marked(3)
    put(lost, events[:1])
    tollgate.manage("revoke", "add", "access_key", "lost", "--reason", "published by mistake")
    within_a_second(lambda: reason_of_put(lost, events[1:2]) == "credential_revoked", "the key is refused")
    Store(tollgate).settled(marker)
    equal(tollgate.stop(), 0, "the exit code")
    tollgate.start()
    equal(reason_of_put(lost, events[1:2]), "credential_revoked", "the reason after a restart")
    put(kept, events[2:])
    numbers = {each["number"] for each in Store(tollgate).settled(marker)}
    check({"0", "2"} <= numbers, f"the events stored: {numbers}")


@case("a key taken from the configuration is refused once it was re-read, by SIGHUP and by the admin API")
def removed_key(t):
    rules = Rules(t.folder)
    rules.policy("write", statement(WRITE))
    for each in ("first", "second"):
        rules.key(each, "write")
    tollgate = t.tollgate(rules.text())
    sdks = {each: client(tollgate.front_port, rules.secrets[each], key_id=each) for each in ("first", "second")}
    marker, events = marked(1)
    for sdk in sdks.values():
        put(sdk, events)
    del rules.keys["first"]
    tollgate.reload(rules.text())
    within_a_second(lambda: reason_of_put(sdks["first"], events) == "access_key_unknown", "the first key is unknown")
    del rules.keys["second"]
    tollgate.config.write_text(rules.text(), encoding="utf-8")
    answer = tollgate.admin("POST", "reload")
    equal(answer.status_code, 200, f"the status of the reload ({answer.text})")
    equal(reason_of_put(sdks["second"], events), "access_key_unknown", "the reason")


@case("a configuration with a mistake is not taken: who may send stays as it was, and the mistake is told")
def bad_reload(t):
    rules = Rules(t.folder)
    rules.policy("write", statement(WRITE))
    rules.key(SERVER, "write")
    tollgate = t.tollgate(rules.text())
    sdk = client(tollgate.front_port, rules.secrets[SERVER], key_id=SERVER)
    marker, events = marked(2)
    put(sdk, events[:1])
    tollgate.config.write_text(rules.text().replace('policies = ["write"]', 'policies = ["no-such-policy"]'), encoding="utf-8")
    answer = tollgate.admin("POST", "reload")
    check(400 <= answer.status_code < 500, f"the status of the reload: {answer.status_code} {answer.text}")
    check("no-such-policy" in answer.text, f"the answer tells the mistake: {answer.text}")
    put(sdk, events[1:])
    same_events(Store(tollgate).settled(marker), events, topic="shop", source="py")


@case("the admin API wants its key")
def admin_key(t):
    tollgate = t.tollgate(Rules(t.folder).text())
    url = f"http://127.0.0.1:{tollgate.admin_port}/api/v1/reload"
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        equal(requests.post(url, headers=headers, timeout=10).status_code, 401, f"the status with {headers}")


# === sessions and cookies ===


@case("a page opens a session with a token, and the unpatched SDK's beacons then carry the cookie")
def session(t):
    browser = t.use(Browser("shop.localhost"))
    tollgate, tap = _session_tollgate(t, browser.origin())
    edge = f"http://{PROJECT}.localhost:{tap.port}"
    token = tollgate.token()
    answer, _ = browser.play("fetch", fetch={"url": f"{edge}/session", "headers": bearer(token), "credentials": "include"})
    equal(answer and answer["status"], 200, f"the status ({answer})")

    marker, events = marked(3)
    tracker = {"host": edge, "project": PROJECT, "logstore": GUARDED, "time": 600, "count": 1000}
    _, types = browser.play("immediate", tracker=tracker, events=events[:1])
    equal(types, ["ping"], "the type of request")
    until(lambda: tollgate.metric("tollgate_events_accepted_total") >= 1, "the beacon's event is taken")
    for credentials, event, expected in (("include", events[1], (200, None)), ("omit", events[2], (401, "credential_missing"))):
        answer, _ = browser.play("fetch", fetch={
            "url": f"{edge}/logstores/{GUARDED}/track", "body": json.dumps({"__logs__": [event]}), "credentials": credentials,
        })
        got = (answer["status"], json.loads(answer["text"])["reason"] if answer["text"] else None)
        equal(got, expected, f"the answer with credentials: {credentials}")
    same_events(Store(tollgate).settled(marker), events[:2])
    check(tap.requests()[-2].header("cookie").startswith("__Host-tollgate="), "the cookie is the session's")
    check(token not in str([each.header("cookie") for each in tap.requests()]), "the token is not the cookie")


@case("a page of another origin opens no session, and a cookie from there counts for nothing")
def session_of_another_origin(t):
    browser = t.use(Browser("127.0.0.1"))
    tollgate, tap = _session_tollgate(t, SHOP)
    edge = f"http://{PROJECT}.localhost:{tap.port}"
    token = tollgate.token()
    answer, _ = browser.play("fetch", fetch={"url": f"{edge}/session", "headers": bearer(token), "credentials": "include"})
    check(answer is None or answer["status"] == 401, f"the page got {answer}")

    answer = requests.post(f"{_front(tollgate)}/session", headers=bearer(token, Origin=browser.origin()), timeout=10)
    check(answer.status_code == 401 and "set-cookie" not in answer.headers, f"{answer.status_code} {answer.headers}")
    cookie = _session_cookie(tollgate, token)
    marker, events = marked(2)
    answer = tollgate.post(events[:1], GUARDED, {"Cookie": cookie, "Origin": "https://evil.example.com"})
    equal(answer.status_code, 401, f"the status from an origin that is not listed ({answer.text})")
    equal(tollgate.post(events[1:], GUARDED, {"Cookie": cookie, "Origin": SHOP}).status_code, 200, "the status from the shop")
    same_events(Store(tollgate).settled(marker), events[1:])


@case("Set-Cookie of a session is one that clients without a cookie jar can take apart")
def session_cookie(t):
    tollgate, _ = _session_tollgate(t, SHOP)
    answer = requests.post(f"{_front(tollgate)}/session", headers=bearer(tollgate.token(), Origin=SHOP), timeout=10)
    equal(answer.status_code, 200, f"the status ({answer.text})")
    equal(answer.headers["access-control-allow-origin"], SHOP, "the origin")
    equal(answer.headers["access-control-allow-credentials"], "true", "the page may use the cookie")
    first, *attributes = [part.strip() for part in answer.headers["set-cookie"].split(";")]
    name, value = first.split("=", 1)
    equal(name, "__Host-tollgate", "the name")
    check(re.fullmatch(r"[\w.~+/=-]+", value), f"the value has nothing to escape: {value}")
    names = {each.split("=")[0].lower() for each in attributes}
    check({"path", "max-age", "secure", "httponly"} <= names and "domain" not in names, f"the attributes: {attributes}")
    check("no-store" in answer.headers.get("cache-control", ""), "the answer is not kept by caches")


@case("without a token, with one that is wrong, and where sessions are off, none is opened")
def no_session(t):
    tollgate, _ = _session_tollgate(t, SHOP)
    for headers in ({"Origin": SHOP}, bearer(tollgate.token()[:-6] + "AAAAAA", Origin=SHOP)):
        answer = requests.post(f"{_front(tollgate)}/session", headers=headers, timeout=10)
        check(answer.status_code == 401 and "set-cookie" not in answer.headers, f"{answer.status_code} {answer.headers}")
    off = t.tollgate(Rules(t.folder).text())
    answer = requests.post(f"{_front(off)}/session", headers=bearer(off.token()), timeout=10)
    equal(answer.status_code, 404, "the status where sessions are off")


@case("trusted cookies become fields, decoded; all others are dropped unread, and too many are refused")
def cookie_fields(t):
    rules = Rules(t.folder)
    rules.sections["identity.cookies"] = {"allow": ["visitor"]}
    rules.logstores[OPEN] = {"accept": ["anonymous"], "cookie_fields": {"visitor": "visitor_id"}}
    tollgate = t.tollgate(rules.text())
    marker, events = marked(1)
    visitor = urllib.parse.quote("顾客 7=;")
    answer = tollgate.post(events, OPEN, {"Cookie": f"session=secret-value; visitor={visitor}; theme=dark"})
    equal(answer.status_code, 200, f"the status ({answer.text})")
    many = "; ".join(f"c{n}=v" for n in range(21))
    refused(tollgate.post(events, OPEN, {"Cookie": many}), "cookie_limits", 400)
    refused(tollgate.post(events, OPEN, {"Cookie": "visitor=" + "v" * 4096}), "cookie_limits", 400)
    same_events(Store(tollgate).settled(marker, OPEN), [{**events[0], "visitor_id": "顾客 7=;"}])


# === relayed requests ===


class Relay:
    """A front that knows no key, and the store behind it, which does."""

    def __init__(self, t):
        self.store = t.tollgate()
        secret = t.folder / "store.key"
        secret.write_text(self.store.store_secret(), encoding="utf-8")
        rules = Rules(t.folder)
        rules.logstores = {GUARDED: {"accept": ["passthrough", "jwt"]}, OPEN: {"accept": ["jwt"]}}
        rules.upstream = {
            "kind": "sls", "endpoint": f"http://localhost:{self.store.store_port}",
            "address": f"127.0.0.1:{self.store.store_port}", "region": "local",
            "access_key_id": ACCESS_KEY_ID, "access_key_secret": f"file:{secret}",
        }
        self.front = t.tollgate(rules.text())
        self.tap = t.use(Wiretap(self.front.front_port))

    def sdk(self, signature, secret=None, key_id=ACCESS_KEY_ID):
        """The SDK, pointed at the front, with a key of the store."""
        return client(self.tap.port, secret or self.store.store_secret(), signature, key_id=key_id)


@case_for_each(("v1", "v4"), "{}: a request signed with a key of the store is relayed, and the store's answer returned")
def relayed(t, signature):
    relay = Relay(t)
    marker, event = awkward()
    for compression in ("lz4", "zstd", "none"):
        put(relay.sdk(signature), [event], GUARDED, compression)
    same_events(Store(relay.store).settled(marker), [as_text(event)] * 3, topic="shop", source="py")
    equal(relay.front.metric("tollgate_requests_relayed_total"), 3, "the requests relayed")

    told, _ = refusal(lambda: put(relay.sdk(signature, secret="wrong"), [event]))
    equal(told[:2], (401, "SignatureNotMatch"), "the answer to a wrong secret")
    told, _ = refusal(lambda: put(relay.sdk(signature, key_id="stranger"), [event]))
    equal(told[0], 401, "the status of a key that the store does not know")
    told, _ = refusal(lambda: put(relay.sdk(signature), [event], OPEN))
    equal(told[0], 401, "the status of a logstore that relays nothing")
    equal(len(Store(relay.store).settled(marker)), 3, "the events stored")


@case("a relay whose store is down says so with 503; tokens are still taken beside it")
def relay_down(t):
    relay = Relay(t)
    marker, events = marked(2)
    put(relay.sdk("v4"), events[:1])
    Store(relay.store).settled(marker)
    equal(relay.store.stop(), 0, "the exit code of the store")
    status, body = resend(relay.front.front_port, relay.tap.requests()[0])
    equal((status, json.loads(body)["reason"]), (503, "relay_unavailable"), "status and reason")
    token = relay.front.token()
    equal(relay.front.post(events[1:], GUARDED, bearer(token)).status_code, 200, "the status of a request with a token")
    relay.store.start()
    relay.front.drain()
    equal(len([each for each in Store(relay.store).events() if each.get("marker") == marker]), 2, "the events stored")


# === observing, kinds, security events ===


@case("where credentials are only observed, what would have been refused is taken and counted, by reason")
def observed(t):
    rules = Rules(t.folder)
    rules.logstores[GUARDED] = {"identity_mode": "observe"}
    tollgate = t.tollgate(rules.text())
    token = tollgate.token()
    marker, events = marked(4)
    for event, headers in zip(events, ({}, bearer(token[:-6] + "AAAAAA"), bearer(tollgate.token(OPEN)), bearer(token))):
        answer = tollgate.post([event], GUARDED, headers)
        equal(answer.status_code, 200, f"the status of {event} ({answer.text})")
    for reason in ("credential_missing", "token_signature", "token_scope"):
        equal(tollgate.metric("tollgate_requests_observed_total", reason=reason), 1, f"observed: {reason}")
    equal(tollgate.metric("tollgate_requests_refused_total"), 0, "the refusals")
    same_events(Store(tollgate).settled(marker), events)
    answer = tollgate.post([{"a": "b" * 2_000_000}], GUARDED)
    equal(answer.json()["reason"], "value_too_large", "the reason: mistakes of the body are refused as ever")


@case("a logstore takes only the kinds of credential that it names")
def kinds(t):
    rules = Rules(t.folder)
    rules.policy("write", statement(WRITE, GUARDED, OTHER))
    rules.key(SERVER, "write")
    rules.logstores[GUARDED] = {"accept": ["access_key"]}
    rules.logstores[OTHER] = {"accept": ["ticket"]}
    tollgate = t.tollgate(rules.text())
    sdk = client(tollgate.front_port, rules.secrets[SERVER], key_id=SERVER)
    marker, events = marked(2)
    put(sdk, events[:1])
    refused(tollgate.post(events, GUARDED, bearer(tollgate.token())), "credential_not_accepted")
    equal(reason_of_put(sdk, events, OTHER), "credential_not_accepted", "the reason for a key where tickets are asked for")
    answer = tollgate.post(events[1:], OTHER, bearer(ticket(tollgate, logstore=OTHER)))
    equal(answer.status_code, 200, f"the status of a ticket ({answer.text})")
    equal([each["number"] for each in Store(tollgate).settled(marker)], ["0"], "the events stored")
    equal([each["number"] for each in Store(tollgate).settled(marker, OTHER)], ["1"], "the events of the other one")


@case("refused logons become events of the security logstore: what, why, who, where and from where, and no secret")
def security_events(t):
    rules = Rules(t.folder)
    rules.policy("write", statement(WRITE))
    rules.key("lost", "write")
    rules.key("narrow", "write")
    rules.logstores[SECURITY] = {"accept": ["access_key"]}
    rules.sections["security_events"] = {"project": PROJECT, "logstore": SECURITY}
    tollgate = t.tollgate(rules.text())
    bad = tollgate.token()[:-6] + "AAAAAA"
    marker, events = marked(1)
    tollgate.manage("revoke", "add", "access_key", "lost")
    lost, narrow, forger = (
        client(tollgate.front_port, secret, key_id=each)
        for each, secret in (("lost", rules.secrets["lost"]), ("narrow", rules.secrets["narrow"]), ("narrow", "wrong"))
    )
    within_a_second(lambda: reason_of_put(lost, events) == "credential_revoked", "the key is refused")
    refused(tollgate.post(events, GUARDED, bearer(bad)), "token_signature")
    equal(reason_of_put(narrow, events, OTHER), "policy_denied", "the reason")
    equal(reason_of_put(forger, events), "signature_mismatch", "the reason")

    wanted = {
        "credential_revoked": ("access_key", "lost", GUARDED),
        "token_signature": ("jwt", None, GUARDED),
        "policy_denied": ("access_key", "narrow", OTHER),
        "signature_mismatch": ("access_key", "narrow", GUARDED),
    }
    store = Store(tollgate)
    found = {}

    def told():
        found.update({each["reason"]: each for each in store.events(SECURITY)})
        return set(wanted) <= set(found)

    until(told, "all are in the security logstore")
    for reason, (credential, key, logstore) in wanted.items():
        event = found[reason]
        check(event.get("event"), f"{reason}: the event has a kind: {event}")
        got = (event.get("credential"), event.get("project"), event.get("logstore"), event.get("client_ip"))
        equal(got, (credential, PROJECT, logstore, "127.0.0.1"), f"{reason}: credential, project, logstore and address")
        check(key is None or event.get("key") == key, f"{reason}: the key is {key}: {event}")
    text = json.dumps(list(found.values()))
    check(bad not in text and not any(each in text for each in rules.secrets.values()), "no secret and no token in them")
    equal(store.settled(marker), [], "the events stored")


# === inside ===


def _front(tollgate):
    return f"http://127.0.0.1:{tollgate.front_port}"


def _post(url, events):
    body = json.dumps({"__logs__": events}).encode()
    return requests.post(url, data=body, headers={"Connection": "close"}, timeout=20)


def _session_tollgate(t, origin):
    """A Tollgate that opens sessions for pages of an origin, and a tap in front of it."""
    rules = Rules(t.folder)
    rules.sections["identity.session"] = {"enabled": True, "allow_origins": [origin]}
    rules.logstores[GUARDED] = {"allow_origins": [origin]}
    tollgate = t.tollgate(rules.text())
    return tollgate, t.use(Wiretap(tollgate.front_port))


def _session_cookie(tollgate, token):
    """The cookie of a session that was opened with a token."""
    answer = requests.post(f"{_front(tollgate)}/session", headers=bearer(token, Origin=SHOP), timeout=10)
    equal(answer.status_code, 200, f"the status of /session ({answer.text})")
    return answer.headers["set-cookie"].split(";")[0]
