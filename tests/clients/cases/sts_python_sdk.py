"""The official Python SDK with keys and temporary credentials of Tollgate: write through the front, read from the embedded logstore."""

import base64
import datetime
import itertools
import json
from unittest import mock

from aliyun.log import LogException
from aliyun.log.util import Util

from cases.python_sdk import put, shards
from lib.cases import case, case_for_each
from lib.events import as_text, awkward, marked
from lib.expect import check, equal
from lib.identity import OTHER, READ, ROLE, SERVER, WRITE, Rules, assume, statement
from lib.node import run_script
from lib.store import Store, client, same_events
from lib.tollgate import GUARDED, PROJECT
from lib.wiretap import Wiretap, resend

SIGNATURES = ("v1", "v4")
WRITER, READER, BOTH = "writer", "reader", "both"


class Servers:
    """A Tollgate that knows keys for servers: one that writes, one that reads, and one that may assume a role for both."""

    def __init__(self, t, change=lambda rules: None):
        self.rules = Rules(t.folder)
        self.rules.policy("write", statement(WRITE))
        self.rules.policy("read", statement(READ))
        self.rules.policy("no-other", statement("log:*", GUARDED, OTHER), statement("log:*", OTHER, effect="Deny"))
        self.rules.key(WRITER, "write")
        self.rules.key(READER, "read")
        self.rules.key(BOTH, "no-other")
        self.rules.key(SERVER)
        self.rules.role(ROLE, "write", "read")
        change(self.rules)
        self.tollgate = t.tollgate(self.rules.text())

    def sdk(self, key_id=WRITER, signature="v4", port=None, secret=None, token=None):
        """The SDK with a key, pointed at the front unless a port is given."""
        port = port or self.tollgate.front_port
        return client(port, secret or self.rules.secrets[key_id], signature, key_id=key_id, token=token)

    def store_sdk(self, key_id=READER, signature="v4"):
        """The SDK with a key, pointed at the embedded logstore."""
        return self.sdk(key_id, signature, self.tollgate.store_port)

    def temporary(self, signature="v4", port=None, credentials=None):
        """The SDK with temporary credentials of the role."""
        found = credentials or assume(self.tollgate, self.rules.secrets[SERVER])
        return self.sdk(found.access_key_id, signature, port, found.access_key_secret, found.security_token)

    def stored(self, marker, logstore=GUARDED):
        """What was stored, read with the store's own key."""
        return Store(self.tollgate).settled(marker, logstore)


def refusal(call, what="the call"):
    """The error of a call: status, code and reason, and its message."""
    try:
        call()
    except LogException as error:
        check(error.get_request_id(), f"{what}: there is a request id: {error}")
        told = (error.get_resp_status(), error.get_error_code(), dict(error.resp_header).get("x-tollgate-reason"))
        return told, error.get_error_message()
    raise AssertionError(f"{what} succeeded")


def reason_of_put(sdk, events, logstore=GUARDED):
    """Why a put is refused; None when it is taken."""
    try:
        put(sdk, events, logstore)
    except LogException as error:
        return dict(error.resp_header).get("x-tollgate-reason")
    return None


def pulled(sdk, marker, logstore=GUARDED):
    """The events with the marker, as `pull_logs` reads them."""
    found = []
    for shard in shards(sdk, logstore):
        cursor = sdk.get_cursor(PROJECT, logstore, shard, "begin").get_cursor()
        found += sdk.pull_logs(PROJECT, logstore, shard, cursor, 1000).get_flatten_logs_json()
    return [event for event in found if event.get("marker") == marker]


@case_for_each(
    itertools.product(SIGNATURES, ("lz4", "zstd", "none")),
    "{}: what temporary credentials put with compression {} is read back with them, unchanged",
)
def temporary_credentials(t, signature, compression):
    servers = Servers(t)
    credentials = assume(servers.tollgate, servers.rules.secrets[SERVER])
    marker, event = awkward()
    put(servers.temporary(signature, credentials=credentials), [event, event], compression=compression)
    servers.tollgate.drain()
    read = pulled(servers.temporary(signature, servers.tollgate.store_port, credentials), marker)
    same_events(read, [as_text(event)] * 2, topic="shop", source="py")


@case_for_each(SIGNATURES, "{}: a long-lived key writes through the front, and another reads from the embedded logstore")
def long_lived(t, signature):
    servers = Servers(t)
    marker, events = marked(3)
    put(servers.sdk(WRITER, signature), events)
    put(servers.sdk(WRITER, signature), marked(1)[1], hashKey="0" * 32)
    servers.tollgate.drain()
    same_events(pulled(servers.store_sdk(READER, signature), marker), events, topic="shop", source="py")


@case_for_each(SIGNATURES, "{}: a key that may only write reads nothing, and one that may only read writes nothing")
def least_privilege(t, signature):
    servers = Servers(t)
    marker, events = marked(1)
    put(servers.sdk(WRITER, signature), events)
    servers.tollgate.drain()
    told, message = refusal(lambda: put(servers.sdk(READER, signature), events), "a write of the reader")
    equal(told, (401, "Unauthorized", "policy_denied"), "the reader's write at the front")
    for part in ("denied by sts or ram", f"action: {WRITE}", f"project/{PROJECT}/logstore/{GUARDED}"):
        check(part in message, f"the message names {part!r}: {message}")
    writer = servers.store_sdk(WRITER, signature)
    for what, call, action in (
        ("list_shards", lambda: shards(writer), "log:ListShards"),
        ("get_cursor", lambda: writer.get_cursor(PROJECT, GUARDED, 0, "begin"), "log:GetCursorOrData"),
        ("pull_logs", lambda: writer.pull_logs(PROJECT, GUARDED, 0, "MA==", 10), "log:GetCursorOrData"),
        ("get_log", lambda: writer.get_log(PROJECT, GUARDED, 0, 1, query="*"), "log:GetLogStoreLogs"),
        ("get_logstore", lambda: writer.get_logstore(PROJECT, GUARDED), "log:GetLogStore"),
    ):
        told, message = refusal(call, what)
        equal(told[:2], (401, "Unauthorized"), f"status and code of {what}")
        check(action in message, f"{what}: the message names {action}: {message}")
    told, _ = refusal(lambda: put(servers.store_sdk(READER, signature), events), "a write past the front")
    equal(told[:2], (401, "Unauthorized"), "the reader's write at the store")
    same_events(servers.stored(marker), events, topic="shop", source="py")


@case("a Deny wins over every Allow")
def deny_wins(t):
    servers = Servers(t)
    marker, events = marked(1)
    put(servers.sdk(BOTH), events)
    told, _ = refusal(lambda: put(servers.sdk(BOTH), events, OTHER))
    equal(told, (401, "Unauthorized", "policy_denied"), "the answer of the other logstore")
    equal((len(servers.stored(marker)), servers.stored(marker, OTHER)), (1, []), "the events stored")


@case_for_each(SIGNATURES, "{}: a wrong secret is told as such, with the server's string-to-sign to compare with")
def wrong_secret(t, signature):
    servers = Servers(t)
    marker, events = marked(1)
    told, message = refusal(lambda: put(servers.sdk(WRITER, signature, secret="not the secret"), events))
    equal(told, (401, "SignatureNotMatch", "signature_mismatch"), "the answer")
    lines = ("POST", "application/x-protobuf", "x-log-apiversion:0.6.0") if signature == "v1" else ("SLS4-HMAC-SHA256",)
    for line in lines:
        check(line in message, f"the message has {line!r} of the string-to-sign: {message}")
    check(servers.rules.secrets[WRITER] not in message, "the secret is not in the message")
    equal(servers.stored(marker), [], "the events stored")


@case("a client that says what it signed is told the first line that differs")
def differing_line(t):
    servers = Servers(t)
    tap = t.use(Wiretap(servers.tollgate.front_port))
    marker, events = marked(1)
    with mock.patch("aliyun.log.auth.Util.hmac_sha1", wraps=Util.hmac_sha1) as signing:
        put(servers.sdk(WRITER, "v1", tap.port), events)
    said = base64.b64encode(signing.call_args.args[0].encode()).decode()
    changed = {"Content-Type": "application/octet-stream", "x-tollgate-string-to-sign": said}
    status, body = resend(servers.tollgate.front_port, tap.requests()[0], headers=changed)
    told = json.loads(body)
    equal((status, told["errorCode"], told["reason"]), (401, "SignatureNotMatch", "signature_mismatch"), "the answer")
    for part in ("Content-Type", "differs", "application/x-protobuf", "application/octet-stream"):
        check(part in told["errorMessage"], f"the message has {part!r}: {told['errorMessage']}")
    same_events(servers.stored(marker), events, topic="shop", source="py")


@case("a body that is not the one that was signed is refused for its digest")
def wrong_digest(t):
    servers = Servers(t)
    marker, events = marked(1)
    with mock.patch("aliyun.log.auth.Util.cal_md5", return_value="0" * 32):
        told, message = refusal(lambda: put(servers.sdk(WRITER, "v1"), events))
    equal(told, (401, "SignatureNotMatch", "body_digest"), "the answer")
    check("Content-MD5" in message, f"the message names the header: {message}")
    equal(servers.stored(marker), [], "the events stored")


class _Clock:
    """The module's `datetime.datetime`, so many minutes off."""

    def __init__(self, minutes):
        self._shift = datetime.timedelta(minutes=minutes)

    def utcnow(self):
        """The time that the client takes for now."""
        return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) + self._shift


@case_for_each(itertools.product(SIGNATURES, (-20, 20)), "{}: a clock that is off by {} minutes is told, and 10 minutes are forgiven")
def clock(t, signature, minutes):
    servers = Servers(t)
    marker, events = marked(2)
    with mock.patch("aliyun.log.auth.datetime", _Clock(minutes)):
        told, _ = refusal(lambda: put(servers.sdk(WRITER, signature), events[:1]))
    equal(told, (400, "RequestTimeExpired", "signature_time"), "the answer")
    with mock.patch("aliyun.log.auth.datetime", _Clock(minutes / 2)):
        put(servers.sdk(WRITER, signature), events[1:])
    same_events(servers.stored(marker), events[1:], topic="shop", source="py")


@case_for_each(SIGNATURES, "{}: unknown and disabled keys, and credentials without their security token, are refused by name")
def refused_keys(t, signature):
    servers = Servers(t, lambda rules: rules.key("old", "write", enabled=False))
    credentials = assume(servers.tollgate, servers.rules.secrets[SERVER])
    marker, events = marked(1)
    for what, sdk, reasons in (
        ("an unknown key", servers.sdk("stranger", signature, secret="x"), {"access_key_unknown"}),
        ("a disabled key", servers.sdk("old", signature), {"access_key_disabled"}),
        ("a key without policies", servers.sdk(SERVER, signature), {"policy_denied"}),
        (
            "a temporary key without its token",
            servers.sdk(credentials.access_key_id, signature, secret=credentials.access_key_secret),
            {"security_token_invalid", "access_key_unknown", "signature_header_missing"},
        ),
        (
            "a long-lived key with a token",
            servers.sdk(WRITER, signature, token=credentials.security_token),
            {"security_token_invalid"},
        ),
    ):
        told, _ = refusal(lambda sdk=sdk: put(sdk, events), what)
        check(told[0] in (400, 401) and told[2] in reasons, f"{what}: {told}, not one of {reasons}")
    equal(servers.stored(marker), [], "the events stored")


@case_for_each(SIGNATURES, "{}: a request that is sent again is taken as it comes, or refused where replays are")
def replay(t, signature):
    for refuse, expected in ((False, 200), (True, 401)):
        servers = Servers(t, lambda rules, refuse=refuse: rules.sections.update({"identity.signed": {"refuse_replays": refuse}}))
        tap = t.use(Wiretap(servers.tollgate.front_port))
        marker, events = marked(1)
        put(servers.sdk(WRITER, signature, tap.port), events)
        status, body = resend(servers.tollgate.front_port, tap.requests()[0])
        equal(status, expected, f"the status of the second one ({body})")
        check(not refuse or b"signature_replayed" in body, f"the reason: {body}")
        equal(len(servers.stored(marker)), 1 if refuse else 2, "the events stored")


@case("no secret and no security token stands in a log, a metric or the store")
def no_leak(t):
    servers = Servers(t, lambda rules: rules.sections.update({"log": {"level": "trace"}}))
    credentials = assume(servers.tollgate, servers.rules.secrets[SERVER])
    marker, events = marked(1)
    put(servers.temporary(credentials=credentials), events)
    put(servers.sdk(WRITER), events)
    refusal(lambda: put(servers.sdk(WRITER, secret="not the secret"), events))
    stored = str(servers.stored(marker))
    places = {"the logs": servers.tollgate.output(), "the metrics": servers.tollgate.metrics_text(), "the store": stored}
    hidden = (*servers.rules.secrets.values(), credentials.access_key_secret, credentials.security_token)
    for place, text in places.items():
        check(not any(each in text for each in hidden), f"a secret stands in {place}")


@case("the Node.js SDK writes with temporary credentials too")
def node_sdk(t):
    servers = Servers(t)
    credentials = assume(servers.tollgate, servers.rules.secrets[SERVER])
    marker, events = marked(2)
    job = {
        "port": servers.tollgate.front_port, "key_id": credentials.access_key_id,
        "secret": credentials.access_key_secret, "token": credentials.security_token, "project": PROJECT,
        "put": {"events": events, "topic": "shop", "source": "node", "tags": []},
    }
    put_answer = run_script("node/alicloud_log.js", {**job, "logstore": GUARDED}, resolve_names=True)["put"]
    equal(put_answer, {"value": ""}, "the answer to a put")
    error = run_script("node/alicloud_log.js", {**job, "logstore": OTHER}, resolve_names=True)["put"].get("error")
    equal(error and error["code"], "Unauthorized", "the code of the other logstore")
    same_events(servers.stored(marker), events, topic="shop", source="node")
