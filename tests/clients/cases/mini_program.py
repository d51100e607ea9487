"""The published guide, end to end: app server (Flask), token service client (Python), mini program with STS plugin, events read back.

What runs here are the files of docs/mini-program.md, as printed.
"""

import datetime
import json
import subprocess
import sys

import requests

from cases.credentials import bearer, ticket
from cases.python_sdk import put
from cases.sts_python_sdk import reason_of_put, refusal
from lib.cases import case, case_for_each
from lib.events import marked
from lib.expect import check, equal, until
from lib.identity import (
    GUIDE, OTHER, ROLE, SERVER, WRITE, Rules, assume, assume_error, login_token, policy, refused, statement,
    within_a_second,
)
from lib.node import MiniProgram, run_script
from lib.pages import Page
from lib.store import Store, client, same_events
from lib.tollgate import GUARDED, OPEN, PROJECT, free_ports, plain_environment
from lib.wiretap import Wiretap, resend

USER = "user-7@shop"
OTHER_ROLE = "acs:ram::1234567890123456:role/another"


class Guide:
    """Tollgate, app server and mini program as docs/mini-program.md has them, with a tap between phone and Tollgate."""

    def __init__(self, t, platform="my"):
        self.folder = t.folder
        self.page = Page("mini-program.md")
        self.tollgate = t.tollgate(self.page.configuration(t.folder))
        self.tap = t.use(Wiretap(self.tollgate.front_port))
        self.app_server_port = self._start_app_server(t)
        self.phone = t.use(MiniProgram(platform, self.tap.port, ports={"app.example.com": self.app_server_port}))
        self.platform = platform

    def start_tracking(self):
        """Starts the mini program's own file."""
        sts, tracking, *_ = self.page.blocks("js")
        if self.platform != "my":
            tracking = tracking.replace("my.request", f"{self.platform}.request").replace("headers:", "header:")
        (self.folder / "sts.js").write_text(sts, encoding="utf-8")
        (self.folder / "tracking.js").write_text(tracking, encoding="utf-8")
        self.phone.do("app", str(self.folder / "tracking.js"), USER)

    def ask(self, user=USER):
        """The app server's answer."""
        return requests.get(
            f"http://127.0.0.1:{self.app_server_port}/get_sts_token", headers={"X-User": user} if user else {}, timeout=20
        )

    def _start_app_server(self, t):
        code, *_ = self.page.blocks("python")
        (self.folder / "app.py").write_text(code, encoding="utf-8")
        [port] = free_ports(1)
        log = (self.folder / "flask.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", str(self.folder / "app.py"), "run", "--port", str(port)],
            env={
                **plain_environment(), "EDGE": f"127.0.0.1:{self.tap.port}", "EDGE_PROTOCOL": "HTTP",
                "EDGE_SECRET": (self.folder / "app-server.key").read_text(encoding="utf-8").strip(),
            },
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )
        t.use(_Ended(process))
        until(lambda: _listens(port), "the app server listens")
        return port


class _Ended:
    """A process that is ended with the case; a context manager."""

    def __init__(self, process):
        self._process = process

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait(10)


def _listens(port):
    try:
        requests.get(f"http://127.0.0.1:{port}/", timeout=2)
    except requests.ConnectionError:
        return False
    return True


@case_for_each(("my", "wx", "tt", "qq", "swan"), "the guide, as printed, on {}: the mini program's events are found by the SDK")
def guide(t, platform):
    shop = Guide(t, platform)
    shop.start_tracking()
    marker, events = marked(10, eventType="view_product", productName="Tablet", price=500)
    for event in events:
        shop.phone.call("send", event)  # the tenth one fills the batch
    until(lambda: any(each.target == f"/logstores/{GUARDED}" for each in shop.tap.requests()), "the batch is on its way")
    told = shop.phone.idle()
    equal([each["kind"] for each in told], ["success", "success"], "what the mini program was told")
    expected = [{**event, "price": "500", "__tag__:channel": "spring"} for event in events]
    same_events(Store(shop.tollgate).settled(marker), expected, topic="shop", source="mini-program")

    signed = [each for each in shop.tap.requests() if each.target == f"/logstores/{GUARDED}"]
    equal(len(signed), 1, "the requests that were signed: none before the credentials were there")
    equal(signed[0].header("host"), f"{PROJECT}.edge.example.com", "the host, which the platform's list must name")


@case("the app server hands out nothing to strangers, and to each user other credentials")
def app_server(t):
    shop = Guide(t)
    equal(shop.ask(user=None).status_code, 401, "the status without a login")
    first, second = shop.ask().json(), shop.ask("user-8").json()
    for answer in (first, second):
        equal(set(answer), {"AccessKeyId", "AccessKeySecret", "SecurityToken", "Expiration"}, "the fields")
        check(answer["AccessKeyId"].startswith("STS."), f"the key id: {answer['AccessKeyId']}")
    for name in ("AccessKeyId", "AccessKeySecret", "SecurityToken"):
        check(first[name] != second[name], f"{name} differs")


# === AssumeRole ===


class Roles:
    """A Tollgate with the guide's role, for a key that may assume it."""

    def __init__(self, t, **role):
        self.rules = Rules(t.folder)
        self.rules.policies["guide"] = GUIDE
        self.rules.key(SERVER)
        self.rules.key("stranger", "guide")
        self.rules.role(ROLE, "guide", **role)
        self.tollgate = t.tollgate(self.rules.text())

    def assume(self, session="d-001", **options):
        """Temporary credentials of the role."""
        return assume(self.tollgate, self.rules.secrets[SERVER], session, **options)

    def sdk(self, credentials, signature="v4"):
        """The Python SDK with temporary credentials, pointed at the front."""
        return client(
            self.tollgate.front_port, credentials.access_key_secret, signature,
            key_id=credentials.access_key_id, token=credentials.security_token,
        )


@case("the guide's policy opens its logstore for writing, and nothing else")
def least_privilege(t):
    shop = Roles(t)
    sdk = shop.sdk(shop.assume())
    marker, events = marked(1)
    put(sdk, events, topic="shop", source="py")
    told, message = refusal(lambda: put(sdk, events, OTHER))
    equal(told, (401, "Unauthorized", "policy_denied"), "the answer of another logstore")
    for part in ("denied by sts or ram", f"action: {WRITE}", f"project/{PROJECT}/logstore/{OTHER}"):
        check(part in message, f"the message names {part!r}: {message}")
    same_events(Store(shop.tollgate).settled(marker), events, topic="shop", source="py")
    equal(Store(shop.tollgate).settled(marker, OTHER), [], "the events of the other logstore")


@case("a device whose session policy names its topic writes under no other")
def device(t):
    shop = Roles(t)
    own = policy(statement(WRITE, StringEquals={"tollgate:Topic": "d-001"}))
    sdk = shop.sdk(shop.assume("d-001", narrowed_by=own))
    marker, events = marked(2)
    put(sdk, events[:1], topic="d-001")
    told, _ = refusal(lambda: put(sdk, events[1:], topic="d-002"))
    equal(told, (401, "Unauthorized", "policy_denied"), "the answer under another topic")
    told, _ = refusal(lambda: put(sdk, events[1:], topic=""))
    equal(told, (401, "Unauthorized", "policy_denied"), "the answer under none")
    same_events(Store(shop.tollgate).settled(marker), events[:1], topic="d-001", source="py")


@case("a session policy never adds what the role has not")
def never_wider(t):
    shop = Roles(t)
    everything = policy({"Effect": "Allow", "Action": "*", "Resource": "*"})
    sdk = shop.sdk(shop.assume(narrowed_by=everything))
    marker, events = marked(1)
    put(sdk, events)
    equal(reason_of_put(sdk, events, OTHER), "policy_denied", "the reason of another logstore")
    equal(len(Store(shop.tollgate).settled(marker)), 1, "the events stored")


@case("credentials live as long as was asked for, and say until when")
def durations(t):
    shop = Roles(t, max_session_duration="2h")
    for seconds in (None, 900, 7200):
        options = {} if seconds is None else {"duration_seconds": seconds}
        before = _now()
        until_when = _unix(shop.assume(**options).expiration)
        check(abs(until_when - before - (seconds or 3600)) < 30, f"asked for {seconds}: {until_when - before} s")


@case("AssumeRole refuses with the codes that the service's clients know")
def assume_errors(t):
    shop = Roles(t, external_id="shop-42")
    secret = shop.rules.secrets[SERVER]
    good = {"external_id": "shop-42"}
    for what, arguments, code, status in (
        ("a wrong secret", {"secret": "wrong", **good}, "SignatureDoesNotMatch", 400),
        ("an unknown key", {"key_id": "nobody", **good}, "InvalidAccessKeyId", 404),
        ("a key that the role does not name", _as_stranger(shop, **good), "NoPermission", 403),
        ("no such role", {"role": OTHER_ROLE, **good}, "EntityNotExist.Role", 404),
        ("no ExternalId", {}, "NoPermission", 403),
        ("another ExternalId", {"external_id": "shop-43"}, "NoPermission", 403),
        ("an ARN that is none", {"role": "sls-web-tracking", **good}, "InvalidParameter.RoleArn", 400),
        ("a session name of one letter", {"session": "a", **good}, "InvalidParameter.RoleSessionName", 400),
        ("a session name with a slash", {"session": "a/b", **good}, "InvalidParameter.RoleSessionName", 400),
        ("too short a life", {"duration_seconds": 899, **good}, "InvalidParameter.DurationSeconds", 400),
        ("a longer life than the role's", {"duration_seconds": 3601, **good}, "InvalidParameter.DurationSeconds", 400),
        ("a policy that is no JSON", {"policy": "{", **good}, "InvalidParameter.Policy", 400),
        ("a policy without effect", {"policy": '{"Version":"1","Statement":[{}]}', **good}, "InvalidParameter.Policy", 400),
        ("too long a policy", {"policy": " " * 2049, **good}, "InvalidParameter.Policy", 400),
    ):
        error = assume_error(shop.tollgate, **{"secret": secret, **arguments})
        check((error.code or "").startswith(code), f"{what}: the code is {error.code}, not {code}: {error.message}")
        equal(error.status_code, status, f"the status of {what}")
        check(error.message and error.request_id, f"{what}: there are a message and a request id: {error}")
        check(secret not in error.message, f"{what}: the secret is not in the message")
    check(shop.assume(**good).access_key_id, "and with everything right there are credentials")


@case("an AssumeRole request that is sent again is refused")
def assume_replay(t):
    shop = Roles(t)
    tap = t.use(Wiretap(shop.tollgate.front_port))
    request = {"port": tap.port, "key_id": SERVER, "secret": shop.rules.secrets[SERVER], "method": "POST"}
    run_script("node/pop_core.js", {**request, "parameters": {"RoleArn": ROLE, "RoleSessionName": "d-001"}})
    status, body = resend(shop.tollgate.front_port, tap.requests()[0])
    equal((status, json.loads(body)["Code"]), (400, "SignatureNonceUsed"), "status and code")


@case_for_each(("GET", "POST"), "the older Node.js client, which signs the RPC way, assumes the role by {} too")
def older_client(t, method):
    shop = Roles(t)
    job = {
        "port": shop.tollgate.front_port, "key_id": SERVER, "secret": shop.rules.secrets[SERVER], "method": method,
        "parameters": {
            "RoleArn": ROLE, "RoleSessionName": "d-001", "DurationSeconds": 900,
            "Policy": json.dumps(policy(statement(WRITE))),
        },
    }
    answer = run_script("node/pop_core.js", job).get("value")
    check(answer and answer["RequestId"], f"the answer: {answer}")
    equal(answer["AssumedRoleUser"]["Arn"], f"{ROLE}/d-001", "who it is")
    found = answer["Credentials"]
    marker, events = marked(1)
    put(client(
        shop.tollgate.front_port, found["AccessKeySecret"], key_id=found["AccessKeyId"], token=found["SecurityToken"]
    ), events)
    equal(len(Store(shop.tollgate).settled(marker)), 1, "the events stored")
    for what, change, code in (
        ("a wrong secret", {"secret": "wrong"}, "SignatureDoesNotMatch"),
        ("no such role", {"parameters": {**job["parameters"], "RoleArn": OTHER_ROLE}}, "EntityNotExist.Role"),
    ):
        error = run_script("node/pop_core.js", {**job, **change}).get("error")
        equal(error and error["code"], code, f"the code of {what}")


def _as_stranger(shop, **more):
    return {"key_id": "stranger", "secret": shop.rules.secrets["stranger"], **more}


# === withdrawing ===


@case("a role that was taken from the configuration stops its credentials, expired or not, and comes back with it")
def role_removed(t):
    shop = Roles(t)
    sdk = shop.sdk(shop.assume())
    marker, events = marked(3)
    put(sdk, events[:1])
    with_role = shop.rules.text()
    shop.rules.roles.clear()
    shop.tollgate.reload(shop.rules.text())
    within_a_second(lambda: reason_of_put(sdk, events[1:2]) == "role_unknown", "the credentials are refused")
    shop.tollgate.reload(with_role)
    within_a_second(lambda: reason_of_put(sdk, events[2:]) is None, "the credentials are taken again")
    numbers = {each["number"] for each in Store(shop.tollgate).settled(marker)}
    check({"0", "2"} <= numbers, f"the events stored: {numbers}")


@case("a role whose policy was narrowed binds credentials that were given out before")
def role_narrowed(t):
    shop = Roles(t)
    sdk = shop.sdk(shop.assume())
    marker, events = marked(1)
    put(sdk, events)
    shop.rules.policy("guide", statement(WRITE, OTHER))
    shop.tollgate.reload(shop.rules.text())
    within_a_second(lambda: reason_of_put(sdk, events) == "policy_denied", "the old logstore is denied")
    put(sdk, events, OTHER)
    equal(len(Store(shop.tollgate).settled(marker, OTHER)), 1, "the events of the other logstore")


@case("a revoked session is refused within a second, and other devices go on; a revoked role stops all")
def session_revoked(t):
    shop = Roles(t)
    lost, kept = (shop.sdk(shop.assume(each)) for each in ("d-001", "d-002"))
    marker, events = marked(2)
    put(lost, events[:1])
    shop.tollgate.manage("revoke", "add", "session", "d-001", "--reason", "stolen")
    within_a_second(lambda: reason_of_put(lost, events[:1]) == "credential_revoked", "the device is refused")
    equal(reason_of_put(shop.sdk(shop.assume("d-001")), events), "credential_revoked", "the reason of new credentials of it")
    put(kept, events[1:])
    shop.tollgate.manage("revoke", "add", "role", ROLE)
    within_a_second(lambda: reason_of_put(kept, events[1:]) == "credential_revoked", "every device is refused")
    numbers = {each["number"] for each in Store(shop.tollgate).settled(marker)}
    equal(numbers, {"0", "1"}, "the events stored")


# === without an app server ===


def _own_service(t, origins=("*",), role=ROLE, **options):
    rules = Rules(t.folder)
    rules.policies["guide"] = GUIDE
    rules.key(SERVER)
    rules.role(ROLE, "guide")
    if role:
        rules.sections["identity.sts_token"] = {"role": role, "allow_origins": list(origins), **options}
    tollgate = t.tollgate(rules.text())
    return tollgate, f"http://127.0.0.1:{tollgate.front_port}/get_sts_token"


def _write_with(tollgate, credentials, events):
    put(client(
        tollgate.front_port, credentials["AccessKeySecret"], key_id=credentials["AccessKeyId"],
        token=credentials["SecurityToken"],
    ), events)


@case("/get_sts_token answers bearers of a token or ticket, in the header, the query or a cookie of a named origin")
def own_service(t):
    shop = "https://shop.example.com"
    tollgate, url = _own_service(t, [shop])
    token, link = tollgate.token(), ticket(tollgate)
    marker, events = marked(4)
    for event, (what, address, headers) in zip(events, (
        ("a token in the header", url, bearer(token)),
        ("a token in the query", f"{url}?token={token}", {}),
        ("a token in a cookie", url, {"Cookie": f"tollgate_token={token}", "Origin": shop}),
        ("a ticket in the header", url, bearer(link)),
    )):
        answer = requests.get(address, headers=headers, timeout=10)
        equal(answer.status_code, 200, f"the status of {what} ({answer.text})")
        check("no-store" in answer.headers.get("cache-control", ""), f"{what}: the answer is not kept by caches")
        equal(set(answer.json()), {"AccessKeyId", "AccessKeySecret", "SecurityToken", "Expiration"}, f"the fields: {what}")
        _write_with(tollgate, answer.json(), [event])
    same_events(Store(tollgate).settled(marker), events, topic="shop", source="py")

    evil = {"Cookie": f"tollgate_token={token}", "Origin": "https://evil.example.com"}
    equal(requests.get(url, headers=evil, timeout=10).status_code, 401, "the status of a cookie from elsewhere")
    refused(requests.get(url, timeout=10), "credential_missing")
    refused(requests.get(url, headers=bearer(token[:-6] + "AAAAAA"), timeout=10), "token_signature")
    check(token not in tollgate.output() and link not in tollgate.output(), "neither stands in the logs")


@case("a session of /get_sts_token is named after the token's subject: revoking that stops it")
def own_service_session(t):
    tollgate, url = _own_service(t)
    credentials = requests.get(url, headers=bearer(login_token(tollgate, sub="customer-7")), timeout=10).json()
    marker, events = marked(1)
    _write_with(tollgate, credentials, events)
    tollgate.manage("revoke", "add", "session", "customer-7")
    sdk = client(
        tollgate.front_port, credentials["AccessKeySecret"], key_id=credentials["AccessKeyId"],
        token=credentials["SecurityToken"],
    )
    within_a_second(lambda: reason_of_put(sdk, events) == "credential_revoked", "the session is refused")
    check(Store(tollgate).settled(marker), "what came before is stored")


@case("/get_sts_token is not there until a role is named, and asks for nothing only where that was said")
def own_service_off(t):
    tollgate, url = _own_service(t, role=None)
    equal(requests.get(url, headers=bearer(tollgate.token()), timeout=10).status_code, 404, "the status while it is off")
    tollgate, url = _own_service(t, accept=["anonymous"])
    answer = requests.get(url, timeout=10)
    equal(answer.status_code, 200, f"the status where anyone may ask ({answer.text})")
    marker, events = marked(1)
    _write_with(tollgate, answer.json(), events)
    equal(len(Store(tollgate).settled(marker)), 1, "the events stored")


@case("/get_sts_token answers so many times a second, and then says when to come back")
def own_service_limit(t):
    tollgate, url = _own_service(t, calls_per_second=2)
    token = tollgate.token()
    answers = [requests.get(url, headers=bearer(token), timeout=10) for _ in range(12)]
    busy = [each for each in answers if each.status_code != 200]
    check(busy and len(busy) < 12, f"{len(busy)} of 12 were too many")
    refused(busy[0], "too_many_calls", 503)
    check(busy[0].headers.get("retry-after"), "there is a Retry-After")


@case("a token for another logstore opens nothing by way of the role")
def own_service_scope(t):
    tollgate, url = _own_service(t)
    answer = requests.get(url, headers=bearer(tollgate.token(OPEN)), timeout=10)
    if answer.status_code == 200:
        sdk = client(
            tollgate.front_port, answer.json()["AccessKeySecret"], key_id=answer.json()["AccessKeyId"],
            token=answer.json()["SecurityToken"],
        )
        equal(reason_of_put(sdk, marked(1)[1]), "policy_denied", "the reason of a write that the token did not allow")
    else:
        refused(answer, "token_scope")


def _now():
    return datetime.datetime.now(datetime.timezone.utc).timestamp()


def _unix(iso):
    return datetime.datetime.strptime(iso, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()
