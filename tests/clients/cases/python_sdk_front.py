"""The official Python SDK pointed at the front instead of a logstore."""

from aliyun.log import LogException

from cases.python_sdk import put
from lib.cases import case, case_for_each
from lib.events import as_text, awkward, marked
from lib.expect import check, equal
from lib.store import Store, client, same_events
from lib.tollgate import GUARDED, OPEN


@case_for_each(("v1", "v4"), "{}: an open logstore takes what the SDK puts, whoever signed it, and keeps it unchanged")
def open_logstore(t, signature):
    tollgate = t.tollgate()
    sdk = client(tollgate.front_port, "no key that Tollgate knows", signature, key_id="someone")
    marker, event = awkward()
    for compression in ("lz4", "zstd", "none"):
        put(sdk, [event], OPEN, compression, logtags=[("k", "v")])
    expected = {**as_text(event), "__tag__:k": "v"}
    same_events(Store(tollgate).settled(marker, OPEN), [expected] * 3, topic="shop", source="py")


@case("a logstore that wants a token refuses signed writes with 401, at once and for good")
def guarded_logstore(t):
    tollgate = t.tollgate()
    sdk = client(tollgate.front_port, tollgate.store_secret())
    marker, events = marked(1)
    try:
        put(sdk, events)
    except LogException as error:
        equal((error.get_resp_status(), error.get_error_code()), (401, "Unauthorized"), "status and code")
        check(error.get_request_id(), "there is a request id")
    else:
        raise AssertionError("the write was accepted")
    equal(Store(tollgate).settled(marker), [], "the events stored")
    equal(tollgate.metric("tollgate_requests_refused_total"), 1, "the refusals: the SDK does not try again")
