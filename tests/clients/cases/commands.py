"""The commands `tollgate tail` and `tollgate send`."""

import json
import subprocess

from lib.cases import case, case_for_each
from lib.events import as_text, awkward, marked
from lib.expect import check, equal, until
from lib.store import Store, fields, same_events
from lib.tollgate import GUARDED, OPEN, PROJECT, plain_environment


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


@case("tail --follow ends when nobody reads on, though no further event comes")
def tail_abandoned(t):
    tollgate = t.tollgate()
    marker, events = marked(1)
    tollgate.post(events)
    Store(tollgate).settled(marker, OPEN)
    url = f"http://127.0.0.1:{tollgate.store_port}"
    follow = f"{t.binary} tail --data-dir {tollgate.data_dir} --logstore {OPEN} --logstore-url {url} --from begin --follow"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {follow} | head -1"], capture_output=True, text=True, timeout=20, env=plain_environment(), check=False,
    )
    equal((done.returncode, done.stderr), (0, ""), "the exit code and what was said")
    check(marker in done.stdout, f"the event: {done.stdout!r}")


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


ELSEWHERE = """
[[project]]
name = "demo-shop"
upstream = "embedded"
[[project.logstore]]
name = "open"
accept = ["anonymous"]
[[project.logstore]]
name = "guarded"
[[identity.jwt]]
kid = "k"
issuer = "i"
audience = "a"
[[upstream]]
name = "embedded"
kind = "embedded"
"""


@case_for_each((("the built-in one", None), ("one of its own", ELSEWHERE)), "what is printed at the start can be pasted, the configuration being {}")
def pasted(t, _name, config):
    tollgate = t.tollgate(config)
    until(lambda: "Ctrl-C stops it" in tollgate.output(), "all is printed")
    said = tollgate.output()
    curl, tail_command = (said.split(title)[1].split("\n\n")[1] for title in ("Send an event", "Watch events arrive"))
    answer = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, timeout=20, check=True).stdout
    check(answer.startswith("HTTP/1.1 200"), f"the answer to the printed curl: {answer!r}")
    done = subprocess.run(
        ["sh", "-c", f"{tail_command} -n 1"], capture_output=True, text=True, timeout=20, env=plain_environment(), check=False,
    )
    equal(done.returncode, 0, f"the exit code of the printed tail, which said {done.stderr!r}")
    check("view_product" in done.stdout, f"the event that tail shows: {done.stdout!r}")
