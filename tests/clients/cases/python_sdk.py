"""The official Python SDK against the embedded logstore."""

import itertools
import json
import time

from aliyun.log import LogException, LogItem, PutLogsRequest
from aliyun.log.log_logs_pb2 import LogGroup

from lib.cases import case, case_for_each
from lib.events import as_text, awkward, marked
from lib.expect import check, equal, until
from lib.store import Store, client, same_events
from lib.tollgate import GUARDED, OPEN, PROJECT

SIGNATURES = ("v1", "v4")
COMPRESSIONS = ("lz4", "zstd", "none")

# Hash keys of the first and of the last shard.
FIRST = "0" * 32
LAST = "e" * 32


def put(sdk, events, logstore=GUARDED, compression="lz4", **options):
    """Puts events with put_logs, all in one LogGroup."""
    items = [LogItem(contents=list(as_text(event).items())) for event in events]
    sdk.put_logs(PutLogsRequest(
        PROJECT, logstore, options.pop("topic", "shop"), options.pop("source", "py"), items,
        compress=compression != "none", compress_type=compression, **options,
    ))


def shards(sdk, logstore=GUARDED):
    """The numbers of the logstore's shards."""
    return [shard["shardID"] for shard in sdk.list_shards(PROJECT, logstore).get_shards_info()]


@case_for_each(itertools.product(SIGNATURES, COMPRESSIONS), "{}: what is put with compression {} is pulled back unchanged")
def put_and_pull(t, signature, compression):
    tollgate = t.tollgate()
    store = Store(tollgate, signature)
    marker, event = awkward()
    put(store.client, [event, event], compression=compression, logtags=[("版本", "1.0"), ("empty", "")])
    expected = {**as_text(event), "__tag__:版本": "1.0", "__tag__:empty": ""}
    same_events(store.settled(marker), [expected, expected], topic="shop", source="py")

    pulled, groups = [], 0
    for shard in shards(store.client):
        cursor = store.client.get_cursor(PROJECT, GUARDED, shard, "begin").get_cursor()
        answer = store.client.pull_logs(
            PROJECT, GUARDED, shard, cursor, 10, compress=compression != "none", accept_compress_type=compression
        )
        groups += answer.get_loggroup_count()
        pulled += answer.get_flatten_logs_json()
    equal(groups, 1, "the number of LogGroups")
    same_events(pulled, [expected, expected], topic="shop", source="py")


@case("put_log_raw keeps time, nanoseconds, topic, source and tags as they are given")
def put_raw(t):
    store = Store(t.tollgate())
    group = LogGroup(Topic="raw", Source="192.0.2.7")
    log = group.Logs.add(Time=int(time.time()) - 3600, Time_ns=123456789)
    log.Contents.add(Key="marker", Value="raw")
    log.Contents.add(Key="文", Value="")
    group.LogTags.add(Key="k", Value="v")
    store.client.put_log_raw(PROJECT, GUARDED, group)
    [event] = store.settled("raw")
    equal(
        event,
        {
            "__time__": log.Time, "__time_ns_part__": (123456789,), "__topic__": "raw", "__source__": "192.0.2.7",
            "__tag__:k": "v", "marker": "raw", "文": "",
        },
        "the event",
    )


@case("a hash key chooses the shard")
def put_by_hash(t):
    sdk = Store(t.tollgate()).client
    for key, shard in ((FIRST, shards(sdk)[0]), (LAST, shards(sdk)[-1])):
        marker, events = marked(2)
        put(sdk, events, hashKey=key)
        cursor = sdk.get_cursor(PROJECT, GUARDED, shard, "begin").get_cursor()
        pulled = sdk.pull_logs(PROJECT, GUARDED, shard, cursor, 10).get_flatten_logs_json()
        same_events([event for event in pulled if event["marker"] == marker], events, topic="shop", source="py")


@case("pull_log reads every group of a shard once and in order, in steps, up to the end cursor")
def pull_log_to_the_end(t):
    sdk = Store(t.tollgate()).client
    events = marked(7)[1]
    for event in events:
        put(sdk, [event], hashKey=FIRST)
    steps = list(sdk.pull_log(PROJECT, GUARDED, shards(sdk)[0], "begin", "end", batch_size=2))
    equal([len(step.get_flatten_logs_json()) for step in steps if step.get_loggroup_count()], [2, 2, 2, 1], "the steps")
    pulled = [event for step in steps for event in step.get_flatten_logs_json()]
    equal([event["number"] for event in pulled], [event["number"] for event in events], "the order")
    same_events(pulled, events, topic="shop", source="py")


@case("cursors: begin and end enclose the events, a time finds them, and a cursor tells its time")
def cursors(t):
    sdk = Store(t.tollgate()).client
    before = int(time.time()) - 1
    equal(
        sdk.get_cursor(PROJECT, GUARDED, 0, "begin").get_cursor(),
        sdk.get_cursor(PROJECT, GUARDED, 0, "end").get_cursor(),
        "begin and end of an empty shard",
    )
    put(sdk, marked(1)[1], hashKey=FIRST)
    begin = sdk.get_cursor(PROJECT, GUARDED, 0, "begin").get_cursor()
    end = sdk.get_cursor(PROJECT, GUARDED, 0, "end").get_cursor()
    check(begin != end, "begin and end differ")
    equal(sdk.get_cursor(PROJECT, GUARDED, 0, before).get_cursor(), begin, "the cursor of a time before")
    equal(sdk.get_cursor(PROJECT, GUARDED, 0, int(time.time()) + 60).get_cursor(), end, "the cursor of a time after")
    told = sdk.get_cursor_time(PROJECT, GUARDED, 0, begin).get_cursor_time()
    check(before <= told <= time.time() + 1, f"the time of the cursor, {told}, is about now")
    at_end = sdk.pull_logs(PROJECT, GUARDED, 0, end, 10)
    equal((at_end.get_loggroup_count(), at_end.get_next_cursor()), (0, end), "pulling at the end")


@case("get_log finds events by *, by key and value, and by a word; counts, pages and reverses them")
def get_log(t):
    sdk = Store(t.tollgate()).client
    marker, events = marked(5, city="hangzhou", text="a slow checkout page")
    put(sdk, events)
    put(sdk, marked(3, city="shanghai", text="fast")[1])
    now = int(time.time())

    def found(query, **options):
        answer = sdk.get_log(PROJECT, GUARDED, now - 600, now + 600, query=query, **options)
        check(answer.is_completed(), "the answer is complete")
        return [log.get_contents() for log in answer.get_logs()]

    until(lambda: len(found("*")) == 8, "the events can be searched")
    equal(len(found("")), 8, "events found by nothing")
    equal(len(found("city:hangzhou")), 5, "events found by key and value")
    equal(len(found(f"marker:{marker}")), 5, "events found by marker")
    equal(len(found("checkout")), 5, "events found by a word")
    equal(len(found("city:hangzhou and number:3")), 1, "events found by two conditions")
    equal(len(found("city:beijing")), 0, "events found by a value that is not there")
    equal(len(found("*", size=3)), 3, "events of a page")
    equal(len(found("*", size=3, offset=6)), 2, "events of the last page")
    equal(sorted(map(json.dumps, found("*", reverse=True))), sorted(map(json.dumps, found("*"))), "reversed events")
    equal(len(sdk.get_log(PROJECT, GUARDED, now - 600, now - 300, query="*").get_logs()), 0, "events of another time")


@case_for_each(SIGNATURES, "{}: project, logstores and shards are described as the SDK reads them")
def descriptions(t, signature):
    sdk = Store(t.tollgate(), signature).client
    equal(sdk.get_project(PROJECT).get_body()["projectName"], PROJECT, "the project")
    listed = sdk.list_logstore(PROJECT)
    equal(sorted(listed.get_logstores()), sorted([OPEN, GUARDED]), "the logstores")
    equal(listed.get_logstores_total(), 2, "the number of logstores")
    equal(sdk.list_logstore(PROJECT, "anonymous").get_logstores(), [OPEN], "the logstores found by a part of the name")
    equal(len(sdk.list_logstore(PROJECT, offset=1, size=1).get_logstores()), 1, "the second page of logstores")
    logstore = sdk.get_logstore(PROJECT, GUARDED)
    equal(logstore.logstore_name, GUARDED, "the name")
    check(logstore.get_shard_count() >= 1 and logstore.get_ttl() >= 1, "shards and ttl are positive")
    listed = sdk.list_shards(PROJECT, GUARDED).get_shards_info()
    equal([shard["status"] for shard in listed], ["readwrite"] * logstore.get_shard_count(), "the shards")


@case_for_each(SIGNATURES, "{}: errors carry the codes that the service uses")
def errors(t, signature):
    tollgate = t.tollgate()
    sdk = Store(tollgate, signature).client
    stranger = client(tollgate.store_port, tollgate.store_secret(), signature, key_id="stranger")
    forger = client(tollgate.store_port, "wrong", signature)
    for what, call, status, codes in (
        ("put to no logstore", lambda: put(sdk, [{"a": "b"}], "no-such-logstore"), 404, {"LogStoreNotExist"}),
        ("describe no logstore", lambda: sdk.get_logstore(PROJECT, "no-such-logstore"), 404, {"LogStoreNotExist"}),
        ("pull from no logstore", lambda: sdk.list_shards(PROJECT, "no-such-logstore"), 404, {"LogStoreNotExist"}),
        ("no project", lambda: sdk.list_logstore("no-such-project"), 404, {"ProjectNotExist"}),
        ("no shard", lambda: sdk.get_cursor(PROJECT, GUARDED, 99, "begin"), 400, {"ShardNotExist"}),
        ("a bad cursor", lambda: sdk.pull_logs(PROJECT, GUARDED, 0, "nonsense", 10), 400, {"ParameterInvalid"}),
        ("a wrong key", lambda: put(forger, [{"a": "b"}]), 401, {"SignatureNotMatch"}),
        ("an unknown key", lambda: put(stranger, [{"a": "b"}]), 401, {"Unauthorized", "AccessKeyIdNotFound"}),
    ):
        error = _error(call, what)
        equal(error.get_resp_status(), status, f"the status of {what}")
        check(error.get_error_code() in codes, f"{what}: the code is {error.get_error_code()}, not one of {codes}")
        check(error.get_error_message() and error.get_request_id(), f"{what}: there are a message and a request id")
    equal(Store(tollgate).events(), [], "the events stored")


def _error(call, what):
    try:
        call()
    except LogException as error:
        return error
    raise AssertionError(f"{what} was accepted")
