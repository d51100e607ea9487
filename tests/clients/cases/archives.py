"""Files as a destination: complete segments, after kill -9 and with a full disk, and an archive that is sent again."""

import re
import subprocess
import threading
from pathlib import Path

import requests

from lib.cases import case, case_for_each
from lib.destinations import (
    LANE, STORE, archived, books, config, files, lines_in, numbers, peak_memory, plain, repeating, segments,
)
from lib.events import as_text, awkward, marked
from lib.expect import check, equal, until
from lib.store import Store
from lib.tollgate import OPEN, PROJECT

UPSTREAM = 'upstream = "archive"'
NAME = re.compile(r"^\d{8}T\d{9}Z-[0-9A-F]{16}-[0-9A-F]+\.(ndjson|pb)(\.lz4|\.zst)?$")


def edge(t, logstore="", more="", **keys):
    """A Tollgate whose events go to an archive, and the archive's folder."""
    folder = t.folder / "archive"
    return t.tollgate(config(files(folder, **keys), logstore, more, UPSTREAM)), folder


@case_for_each(("none", "lz4", "zstd"), "{}: what was archived is read back by the usual programs, event by event")
def read_back(t, compression):
    tollgate, folder = edge(t, compression=compression)
    _, event = awkward()
    _, events = marked(300)
    tollgate.post([event], __topic__="shop")
    # Events of two topics are in two batches, whose order nobody promises.
    tollgate.drain()
    for start in range(0, 300, 50):
        tollgate.post(events[start:start + 50])
        tollgate.drain()
    equal(segments(folder), [], "complete files before they are large or old")
    [growing] = segments(folder, growing=True)
    equal(growing.stat().st_mode & 0o777, 0o600, "the mode")
    equal(tollgate.stop(), 0, "the exit code")
    [path] = segments(folder)
    check(NAME.match(path.name), f"the name {path.name}")
    [first, *others] = archived(folder)
    equal(first["__topic__"], "shop", "the topic")
    fields = {key: value for key, value in first.items() if not key.startswith("__")}
    equal(fields, as_text(event), "the awkward event")
    equal([each["number"] for each in others], [each["number"] for each in events], "the numbers, in their order")


@case("files end by size and by age, and the oldest are deleted and counted")
def rotation(t):
    tollgate, folder = edge(
        t, compression="none", max_size=65_536, keep_size=262_144, max_age="2s", more="[limits]\nbody = \"3MiB\"\n"
    )
    _, events = marked(40, padding="x" * 20_000)
    for event in events:
        tollgate.post([event])
        tollgate.drain()
    equal(tollgate.metric("tollgate_events_delivered_total", **LANE), 40, "delivered")
    until(lambda: tollgate.metric("tollgate_archive_files_deleted_total", **LANE) >= 8, "deletions")
    until(lambda: not segments(folder, growing=True), "the last file is old enough")
    until(lambda: sum(path.stat().st_size for path in segments(folder)) <= 262_144, "no more than is to be kept")
    completed = tollgate.metric("tollgate_archive_files_completed_total", **LANE)
    deleted = tollgate.metric("tollgate_archive_files_deleted_total", **LANE)
    equal(len(segments(folder)), completed - deleted, "the files that are left")
    equal(max(numbers(archived(folder)), key=int), "39", "the newest event")
    check(all(path.stat().st_size <= 65_536 for path in segments(folder)), "no file is too large")


@case_for_each(("none", "lz4", "zstd"), 'kill -9 under load, again and again: {} archives keep every event of ack = "disk"')
def killed(t, compression):
    tollgate, folder = edge(t, 'ack = "disk"', compression=compression, max_size=65_536)
    accepted, over = [], threading.Event()

    def load(worker):
        number = 0
        while not over.is_set():
            events = [{"number": f"{worker}-{number + n}", "padding": "y" * 300} for n in range(10)]
            number += 10
            try:
                if tollgate.post(events).status_code == 200:
                    accepted.extend(event["number"] for event in events)
            except requests.RequestException:
                over.wait(0.05)

    workers = [threading.Thread(target=load, args=(n,), daemon=True) for n in range(3)]
    for worker in workers:
        worker.start()
    for life in range(1, 4):
        until(lambda: len(accepted) >= 300 * life, "there is load")
        tollgate.kill()
        tollgate.start()
    over.set()
    for worker in workers:
        worker.join(30)
    until(lambda: tollgate.metric("tollgate_spool_events", **LANE) == 0, "what waits on disk is delivered")
    tollgate.drain()
    books(tollgate)
    equal(tollgate.stop(), 0, "the exit code")
    equal(segments(folder, growing=True), [], "unfinished files")
    found = archived(folder)
    equal(sorted(set(accepted) - set(numbers(found))), [], "the events accepted and lost")
    # What is there twice came in one batch twice, by its id.
    seen = {}
    for event in found:
        before = seen.setdefault((event["__tag__:__pack_id__"], event["number"]), event)
        equal(before, event, "an event that is there twice")
    twice = [number for number in set(numbers(found)) if sum(key[1] == number for key in seen) > 1]
    check(set(twice).isdisjoint(accepted), f"accepted events in two batches: {twice[:5]}")


@case_for_each(("none", "lz4", "zstd"), "{}: a request whose archive is a thousand times larger takes little memory, and is whole after kill -9")
def much_larger(t, compression):
    tollgate, folder = edge(t, compression=compression)
    tollgate.post(marked(10)[1])
    tollgate.drain()
    before = peak_memory(tollgate)
    # More than 256 MiB as lines.
    events, tags = repeating(1200)
    equal(tollgate.post(events, __tags__=tags).status_code, 200, "the status")
    delivered = "tollgate_events_delivered_total"
    until(lambda: tollgate.metric(delivered, **LANE) == 1210, "delivery", seconds=120)
    grown = peak_memory(tollgate) - before
    check(grown < 96 << 20, f"memory grew by {grown >> 20} MiB")
    tollgate.kill()
    tollgate.start()
    until(lambda: not segments(folder, growing=True), "what the crash has left is completed", seconds=60)
    equal(lines_in(folder), 1210, "the lines")


@case("a file that is deleted while it is written is told of, and the next events are in a new one")
def deleted(t):
    tollgate, folder = edge(t, compression="zstd")
    _, events = marked(3)
    for event in events:
        tollgate.post([event])
        tollgate.drain()
        for path in segments(folder, growing=True):
            if event["number"] != "2":
                path.unlink()
    equal(tollgate.metric("tollgate_archive_files_lost_total", **LANE), 2, "files lost")
    check("was deleted" in tollgate.stderr(), "the log says so")
    equal(tollgate.stop(), 0, "the exit code")
    equal(numbers(archived(folder)), ["2"], "what is left")


@case("a full disk: events wait, the books balance, and all are archived once there is room")
def full_disk(t):
    home = t.folder / "small"
    home.mkdir()
    mounting = ["unshare", "-rm", "sh", "-c", f"mount -t tmpfs -o size=1m tmpfs {home} && exec \"$@\"", "sh"]
    probe = subprocess.run([*mounting, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        print("          (not shown here: a small file system cannot be mounted)")
        return
    tollgate = t.tollgate(config(files(home / "archive", compression="none"), "", "", UPSTREAM), wrapper=mounting)
    inside = Path(f"/proc/{tollgate.pid()}/root{home}")
    (inside / "ballast").write_bytes(b"z" * 700_000)
    _, events = marked(30, padding="x" * 20_000)
    for event in events:
        equal(tollgate.post([event]).status_code, 200, "the status")
    until(lambda: tollgate.metric("tollgate_archive_failures_total", **LANE) >= 2, "failed writes")
    held = books(tollgate)[OPEN]
    check(held["held"] + held["waiting"] > 0, "events wait")
    (inside / "ballast").unlink()
    tollgate.drain()
    equal(books(tollgate)[OPEN]["delivered"], 30, "delivered")
    paths = (inside / "archive" / PROJECT / OPEN).iterdir()
    text = "".join(path.read_text(encoding="utf-8") for path in paths)
    equal(len(text.splitlines()), 30, "the lines, each whole")
    check(all(line.startswith("{") and line.endswith("}") for line in text.splitlines()), "no line is torn")


@case("an archive is sent again with `tollgate send`, and the store has every event")
def sent_again(t):
    tollgate, folder = edge(t, compression="zstd")
    marker, events = marked(120)
    tollgate.post(events)
    tollgate.drain()
    equal(tollgate.stop(), 0, "the exit code")
    other = t.tollgate(config(STORE, "", "", 'upstream = "store"'))
    text = "".join(plain(path) for path in segments(folder))
    path = t.folder / "archive.ndjson"
    path.write_text(text, encoding="utf-8")
    url = f"http://127.0.0.1:{other.front_port}"
    done = other.command("send", str(path), "--url", url, "--project", PROJECT, "--logstore", OPEN)
    equal(done.returncode, 0, f"the exit code of send: {done.stderr}")
    stored = Store(other).settled(marker, OPEN)
    equal(numbers(stored), numbers(events), "the numbers stored")
    equal({each["__time__"] for each in stored}, {each["__time__"] for each in archived(folder)}, "the times")
