"""The official Node.js SDK against the embedded logstore and against the front."""

from lib.cases import case
from lib.events import as_text, awkward, marked
from lib.expect import check, equal, until
from lib.node import run_script
from lib.store import ACCESS_KEY_ID, Store, same_events
from lib.tollgate import GUARDED, OPEN, PROJECT


def _run(port, secret, logstore=GUARDED, **job):
    return run_script(
        "node/alicloud_log.js",
        {"port": port, "key_id": ACCESS_KEY_ID, "secret": secret, "project": PROJECT, "logstore": logstore, **job},
        resolve_names=True,
    )


def _put(events):
    return {"events": [as_text(event) for event in events], "topic": "shop", "source": "node", "tags": [{"版本": "1"}]}


@case("what the SDK puts into the embedded logstore is read back unchanged, by both SDKs")
def put_and_read(t):
    tollgate = t.tollgate()
    secret = tollgate.store_secret()
    marker, event = awkward()
    equal(_run(tollgate.store_port, secret, put=_put([event, event]))["put"], {"value": ""}, "the answer to a put")
    expected = {**as_text(event), "__tag__:版本": "1"}
    same_events(Store(tollgate).settled(marker), [expected] * 2, topic="shop", source="node")

    def found():
        return _run(tollgate.store_port, secret, read=f"marker:{marker}")["getLogs"]["value"]

    until(lambda: len(found()) == 2, "the events can be searched")
    for log in found():
        check(isinstance(log.pop("__time__"), str), "__time__ is text in a search result")
        log.pop("__time_ns_part__", None)
        equal(log, {"__topic__": "shop", "__source__": "node", **expected}, "the event found")


@case("project and logstores are described as the SDK reads them")
def descriptions(t):
    tollgate = t.tollgate()
    answers = _run(tollgate.store_port, tollgate.store_secret(), read="*")
    equal(sorted(answers["listLogStore"]["value"]["logstores"]), sorted([OPEN, GUARDED]), "the logstores")
    equal(answers["getLogStore"]["value"]["logstoreName"], GUARDED, "the logstore")
    equal(answers["getProject"]["value"]["projectName"], PROJECT, "the project")
    equal(answers["getLogs"]["value"], [], "the events of an empty logstore")


@case("errors reach the SDK, which looks at the body only, never at the status")
def errors(t):
    tollgate = t.tollgate()
    put = _put(marked(1)[1])
    for what, port, secret, logstore, code in (
        ("a wrong key", tollgate.store_port, "wrong", GUARDED, "SignatureNotMatch"),
        ("no logstore", tollgate.store_port, tollgate.store_secret(), "no-such-logstore", "LogStoreNotExist"),
        ("a guarded logstore of the front", tollgate.front_port, "unknown", GUARDED, "Unauthorized"),
    ):
        error = _run(port, secret, logstore, put=put)["put"].get("error")
        equal(error and error["code"], code, f"the code of {what}")
        check(error["requestid"], f"{what}: there is a request id")
    equal(Store(tollgate).events(), [], "the events stored")


@case("an open logstore behind the front takes what the SDK puts")
def open_logstore(t):
    tollgate = t.tollgate()
    marker, event = awkward()
    equal(_run(tollgate.front_port, "unknown", OPEN, put=_put([event]))["put"], {"value": ""}, "the answer to a put")
    expected = {**as_text(event), "__tag__:版本": "1"}
    same_events(Store(tollgate).settled(marker, OPEN), [expected], topic="shop", source="node")
