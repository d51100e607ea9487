"""The embedded logstore, written and read with the official Python SDK."""

import time

from aliyun.log import LogClient

from lib.expect import check, equal
from lib.tollgate import GUARDED, PROJECT

REGION = "local"
ACCESS_KEY_ID = "tollgate"

# Added by Tollgate or by the SDK to every event; checked on their own where they matter.
_ADDED = ("__time__", "__time_ns_part__", "__tag__:__client_ip__", "__tag__:__pack_id__")


class Store:
    """The official client of the embedded logstore, and reading back through it."""

    def __init__(self, tollgate, signature="v4"):
        self.tollgate = tollgate
        self.client = client(tollgate.store_port, tollgate.store_secret(), signature)

    def events(self, logstore=GUARDED):
        """Every event of the logstore, in order of arrival within a shard."""
        events = []
        for shard in self.client.list_shards(PROJECT, logstore).get_shards_info():
            events += self._shard_events(logstore, shard["shardID"])
        return events

    def settled(self, marker, logstore=GUARDED):
        """The events with this marker, once Tollgate holds nothing back."""
        self.tollgate.drain()
        return [event for event in self.events(logstore) if event.get("marker") == marker]

    def _shard_events(self, logstore, shard):
        cursor = self.client.get_cursor(PROJECT, logstore, shard, "begin").get_cursor()
        events = []
        while True:
            answer = self.client.pull_logs(PROJECT, logstore, shard, cursor, 1000)
            events += answer.get_flatten_logs_json()
            if answer.get_next_cursor() == cursor:
                return events
            cursor = answer.get_next_cursor()


def client(port, secret, signature="v4", key_id=ACCESS_KEY_ID, token=None):
    """The official SDK, pointed at a port of this machine; with a security token for temporary credentials."""
    return LogClient(
        f"http://localhost:{port}", key_id, secret, securityToken=token, auth_version=signature, region=REGION
    )


def fields(event):
    """The event without what Tollgate and the SDK add to it."""
    return {key: value for key, value in event.items() if key not in _ADDED}


def same_events(actual, expected, topic="", source=""):
    """Fails unless the events read back are, field by field and in order of `number`, the ones expected."""
    equal(len(actual), len(expected), "the number of events read back")
    for got, wanted in zip(sorted(actual, key=_number), sorted(expected, key=_number)):
        equal(fields(got), {"__topic__": topic, "__source__": source, **wanted}, "the event read back")
        check(abs(got["__time__"] - time.time()) < 120, f"__time__ {got['__time__']} is not about now")


def _number(event):
    return int(event.get("number", 0))
