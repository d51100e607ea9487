"""The commands `tollgate tail` and `tollgate send`."""

import json

from lib.cases import case
from lib.events import as_text, awkward, marked
from lib.expect import check, equal
from lib.store import Store, fields, same_events
from lib.tollgate import GUARDED, OPEN, PROJECT


def _tail(tollgate, logstore, count):
    done = tollgate.command(
        "tail", "--project", PROJECT, "--logstore", logstore,
        "--logstore-url", f"http://127.0.0.1:{tollgate.store_port}",
        "--from", "begin", "-n", str(count), "--format", "json",
    )
    equal(done.returncode, 0, f"the exit code of tail, which said {done.stderr!r}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _send(tollgate, events, logstore, *more):
    path = tollgate.folder / "events.ndjson"
    path.write_text("".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events), encoding="utf-8")
    return tollgate.command(
        "send", str(path), "--project", PROJECT, "--logstore", logstore,
        "--url", f"http://127.0.0.1:{tollgate.front_port}", *more,
    )


@case("tail shows the events that the SDK reads back")
def tail(t):
    tollgate = t.tollgate()
    marker, event = awkward()
    for n in range(3):
        tollgate.post([{**event, "number": str(n)}], OPEN, __topic__="shop", __tags__={"k": "v"})
    stored = Store(tollgate).settled(marker, OPEN)
    expected = [{**as_text(event), "number": str(n), "__tag__:k": "v"} for n in range(3)]
    same_events(stored, expected, topic="shop")
    shown = sorted(_tail(tollgate, OPEN, 3), key=lambda each: each["number"])
    for line, wanted, read in zip(shown, expected, stored):
        equal(fields(line), {"__topic__": "shop", "__source__": "", **wanted}, "the event shown")
        equal(int(line["__time__"]), read["__time__"], "the time shown")


@case("tail ends after the number of events that was asked for")
def tail_count(t):
    tollgate = t.tollgate()
    marker, events = marked(5)
    tollgate.post(events)
    Store(tollgate).settled(marker, OPEN)
    equal(len(_tail(tollgate, OPEN, 2)), 2, "the number of lines")


@case("send delivers every line of a file and ends with 0")
def send(t):
    tollgate = t.tollgate()
    marker, events = marked(250, text="你好", price=7998, nested={"a": [None]})
    done = _send(tollgate, events, GUARDED)
    equal(done.returncode, 0, f"the exit code of send, which said {done.stdout + done.stderr!r}")
    check("250" in done.stdout, f"the summary names the number of events: {done.stdout!r}")
    same_events(Store(tollgate).settled(marker), [as_text(event) for event in events])


@case("send ends with 1 when events are refused, and says why")
def send_refused(t):
    tollgate = t.tollgate()
    done = _send(tollgate, [{"a": "b"}], "no-such-logstore")
    equal(done.returncode, 1, f"the exit code of send, which said {done.stdout + done.stderr!r}")
    check("unknown_logstore" in done.stderr, f"the reason: {done.stderr!r}")
