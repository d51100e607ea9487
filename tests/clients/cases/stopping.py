"""Stopping and dying: nothing that was promised is lost, and what is lost is said."""

import threading
import time

import requests

from cases.python_sdk import put
from lib.cases import case
from lib.events import marked
from lib.expect import check, equal, until
from lib.store import Store, same_events
from lib.tollgate import GUARDED, OPEN, PROJECT, free_ports

EXIT_EVENTS_LOST = 75


@case("after kill -9, every event that the embedded logstore acknowledged is read back")
def killed(t):
    tollgate = t.tollgate()
    sdk = Store(tollgate).client
    marker, events = marked(2000)
    acknowledged = []
    killed_now, back = threading.Event(), threading.Event()

    def write():
        for start in range(0, len(events), 2):
            if back.is_set():
                return
            try:
                put(sdk, events[start:start + 2])
            except Exception:  # the connection may break in any way, but only by the kill
                if not killed_now.is_set():
                    raise
                return
            acknowledged.extend(event["number"] for event in events[start:start + 2])

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    until(lambda: len(acknowledged) >= 100, "the store has acknowledged 100 events")
    killed_now.set()
    tollgate.kill()
    tollgate.start()
    back.set()
    writer.join(30)  # a put that found no listener is tried again by the SDK, and then acknowledged too
    stored = [event["number"] for event in Store(tollgate).settled(marker)]
    equal(sorted(set(acknowledged) - set(stored)), [], "the events acknowledged and lost")


@case("after SIGTERM under load the process ends with 0, and every accepted event is read back, once")
def terminated_under_load(t):
    tollgate = t.tollgate()
    marker, _ = marked()
    accepted = []
    stop = threading.Event()

    def load(worker):
        number = 0
        while not stop.is_set():
            events = [{"marker": marker, "number": f"{worker}{number + n:05}"} for n in range(5)]
            number += 5
            try:
                if tollgate.post(events).status_code == 200:
                    accepted.extend(event["number"] for event in events)
            except requests.RequestException:
                pass

    workers = [threading.Thread(target=load, args=(n,), daemon=True) for n in range(1, 5)]
    for worker in workers:
        worker.start()
    until(lambda: len(accepted) >= 1000, "there is load")
    tollgate.terminate()
    code = tollgate.wait()
    stop.set()
    for worker in workers:
        worker.join(30)
    equal(code, 0, "the exit code")
    tollgate.start()
    stored = [event["number"] for event in Store(tollgate).settled(marker, OPEN)]
    equal(len(stored), len(set(stored)), "the events stored once")
    equal(sorted(set(accepted) - set(stored)), [], "the events accepted and lost")
    equal(sorted(set(stored) - set(accepted)), [], "the events stored that no client was told of")


@case("after SIGTERM with the logstore out of reach and no spool the process ends with 75 and says how many events are lost")
def terminated_without_store(t):
    [nobody] = free_ports(1)
    secret = t.folder / "secret"
    secret.write_text("of no use")
    config = _config(nobody, secret, stop_deadline="1s") + "\n[spool]\nenabled = false\n"
    tollgate = t.tollgate(config)
    _, events = marked(7)
    equal(tollgate.post(events).status_code, 200, "the status")
    equal(tollgate.stop(), EXIT_EVENTS_LOST, "the exit code")
    check("7 events undelivered" in tollgate.stderr(), f"standard error names the 7 events: {tollgate.stderr()}")


@case("a second signal ends a stop that waits for its store at once, with 75 and the number of events that are lost")
def second_signal(t):
    [nobody] = free_ports(1)
    secret = t.folder / "secret"
    secret.write_text("of no use")
    # Longer than any wait of this case.
    config = _config(nobody, secret, stop_deadline="10m") + "\n[spool]\nenabled = false\n"
    tollgate = t.tollgate(config)
    _, events = marked(7)
    equal(tollgate.post(events).status_code, 200, "the status")
    tollgate.terminate()
    until(lambda: "a second signal stops at once" in tollgate.stderr(), "it is stopping")
    time.sleep(1)
    check(tollgate.runs(), "it waits for its store")
    equal(tollgate.stop(), EXIT_EVENTS_LOST, "the exit code")
    check("7 events undelivered" in tollgate.stderr(), f"standard error names the 7 events: {tollgate.stderr()}")


@case("a logstore that is away for a while loses nothing: events wait and are delivered when it is back")
def store_comes_back(t):
    upstream = t.tollgate()
    edge = t.tollgate(_config(upstream.store_port, upstream.store_secret_file(), stop_deadline="20s"))
    marker, events = marked(30)
    equal(edge.post(events[:10]).status_code, 200, "the status with the logstore there")
    until(lambda: edge.metric("tollgate_events_delivered_total", project=PROJECT, logstore=OPEN) == 10, "delivery")
    upstream.kill()
    equal(edge.post(events[10:]).status_code, 200, "the status with the logstore away")
    until(lambda: edge.metric("tollgate_delivery_retries_total") >= 1, "a retry")
    upstream.start()
    edge.drain()
    same_events(Store(upstream).settled(marker, OPEN), events)
    equal(edge.stop(), 0, "the exit code")


def _config(port, secret, stop_deadline):
    """A configuration whose one upstream is a logstore on another port; `secret` is a file."""
    return f"""
[ingest]
default_project = "{PROJECT}"

[delivery]
stop_deadline = "{stop_deadline}"

[[upstream]]
name = "elsewhere"
kind = "sls"
endpoint = "http://logstore.example"
address = "127.0.0.1:{port}"
region = "local"
access_key_id = "tollgate"
access_key_secret = "file:{secret}"

[[project]]
name = "{PROJECT}"
upstream = "elsewhere"

[[project.logstore]]
name = "{OPEN}"
accept = ["anonymous"]

[[project.logstore]]
name = "{GUARDED}"
accept = ["anonymous"]
"""
