#!/usr/bin/env python3
"""What it costs to run Tollgate: its start, its memory, a scrape, and dashboards that are open.

    TOLLGATE_BIN=target/release/tollgate .test/venv/bin/python -B benches/operations/run.py [WORD ...]

After `./test` has installed what browsers need. With words, only measurements whose name holds one of them. A missed goal is printed and changes no
exit code: a busy machine misses goals that a quiet one meets.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

CLIENTS = Path(__file__).resolve().parents[2] / "tests" / "clients"
sys.path.insert(0, str(CLIENTS))
sys.dont_write_bytecode = True

LOGSTORES, SCHEMAS, STARTS, SCRAPES, DASHBOARDS, HELD_S = 200, 100, 15, 51, 5, 20
BASE = """
data_dir = "{data}"
[ingest]
listen = "127.0.0.1:0"
default_project = "shop"
[admin]
listen = "127.0.0.1:0"
[embedded]
listen = "127.0.0.1:0"
[[upstream]]
name = "store"
kind = "embedded"
"""
PROJECT = """
[[project]]
name = "shop"
upstream = "store"
"""
FIELDS = '"{0}": {{"type": "string", "maxLength": 64}}, "n{0}": {{"type": "integer", "minimum": 0}}'


def main():
    """Runs what was asked for."""
    binary = os.environ.get("TOLLGATE_BIN")
    if not binary:
        sys.exit("name the binary by TOLLGATE_BIN")
    binary = str(Path(binary).resolve())
    words = sys.argv[1:]
    for name, measure in (("size", size), ("start", start), ("dashboard", dashboards)):
        if not words or any(word in name for word in words):
            with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
                measure(binary, Path(folder))


def tell(what, value, unit, goal):
    """A line of the table."""
    verdict = "met" if value <= goal else "MISSED"
    print(f"{what:58} {value:9.2f} {unit:4} goal {goal:g} {unit}: {verdict}", flush=True)


def size(binary, folder):
    """The binary without its symbols."""
    small = folder / "tollgate"
    subprocess.run(["strip", "-o", small, binary], check=True)
    tell("binary, stripped", small.stat().st_size / 1e6, "MB", 30)


def start(binary, folder):
    """From exec until ready with many logstores and schemas; the memory then, and scrapes."""
    config = _many(folder)
    for what, again in (("on an empty folder", False), ("again", True)):
        times = []
        for _ in range(STARTS):
            if not again:
                shutil.rmtree(folder / "data", ignore_errors=True)
            began = time.monotonic()
            node = Node(binary, config)
            times.append(1000 * (time.monotonic() - began))
            if not again or len(times) < STARTS:
                node.stop()
        tell(f"ready {what}, {LOGSTORES} logstores, {SCHEMAS} schemas, median of {STARTS}", statistics.median(times), "ms", 200)
    scrapes, text = [], ""
    for _ in range(SCRAPES):
        began = time.monotonic()
        with urllib.request.urlopen(f"{node.admin}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        scrapes.append(1000 * (time.monotonic() - began))
    series = sum(1 for line in text.splitlines() if not line.startswith("#"))
    tell(f"scrape, {LOGSTORES} logstores, {series} series, median of {SCRAPES}", statistics.median(scrapes), "ms", 20)
    node.stop()
    shutil.rmtree(folder / "data", ignore_errors=True)
    plain = folder / "plain.toml"
    plain.write_text(BASE.format(data=folder / "data") + PROJECT + _logstore("one"), encoding="utf-8")
    node = Node(binary, plain)
    memory = node.memory()
    tell("resident at start, one logstore", memory["VmRSS"] / 1024, "MiB", 10)
    print(f"  of it its own {memory['RssAnon'] / 1024:.1f} MiB; the rest are pages of the binary, which the kernel may drop")
    node.stop()


def dashboards(binary, folder):
    """The first view of the dashboard, and what pages cost that stay open."""
    from cases.dashboard import Desk
    from lib.cases import Context

    context = Context(folder, binary)
    try:
        desk = Desk(context)
        first = desk.play("first")["times"]
        tell("first view of the dashboard, median of 5", statistics.median(first) / 1000, "s", 1)
        pid = desk.tollgate.pid()
        idle = _processor_s(pid), time.monotonic()
        time.sleep(HELD_S / 2)
        rest = 100 * (_processor_s(pid) - idle[0]) / (time.monotonic() - idle[1])
        samples = []
        stop = _sampling(pid, samples)
        desk.play("crowd", pages=DASHBOARDS, hold=HELD_S * 1000)
        stop()
        # The pages are opened and closed at both ends.
        inner = [it for it in samples if 0.4 <= (it[0] - samples[0][0]) / (samples[-1][0] - samples[0][0]) <= 0.9]
        share = 100 * (inner[-1][1] - inner[0][1]) / (inner[-1][0] - inner[0][0])
        print(f"  without a dashboard: {rest:.2f} % of a processor")
        tell(f"{DASHBOARDS} dashboards open: share of a processor", share - rest, "%", 1)
    finally:
        context.close()


class Node:
    """A Tollgate that is ready."""

    def __init__(self, binary, config):
        self.log = open(config.with_suffix(".log"), "wb")
        self.process = subprocess.Popen([binary, "run", "--config", config], stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=config.parent)
        self.admin = None
        for line in self.process.stdout:
            found = re.match(r"\s*private\s+(http://\S+)", line)
            if found:
                self.admin = found[1]
            if "Ctrl-C stops it" in line:
                return
        raise RuntimeError(f"it did not start: {config.with_suffix('.log').read_text(encoding='utf-8')}")

    def memory(self):
        """Kibibytes by name, of /proc/PID/status."""
        time.sleep(1)
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return {name: int(value) for name, value in re.findall(r"(VmRSS|RssAnon):\s+(\d+) kB", text)}

    def stop(self):
        """Ends it."""
        self.process.terminate()
        self.process.wait(timeout=30)
        self.process.stdout.close()
        self.log.close()


def _logstore(name, more=""):
    return f'[[project.logstore]]\nname = "{name}"\naccept = ["anonymous"]\n{more}'


def _many(folder):
    text, logstores = BASE.format(data=folder / "data"), ""
    fields = ", ".join(FIELDS.format(f"field{it}") for it in range(10))
    document = '{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": {%s}}' % fields
    for number in range(SCHEMAS):
        (folder / f"schema-{number}.json").write_text(document, encoding="utf-8")
        text += f'[[schema]]\nname = "schema-{number}"\nfile = "schema-{number}.json"\n'
    for number in range(LOGSTORES):
        use = f'[project.logstore.schema]\nuse = ["schema-{number % SCHEMAS}"]\n'
        logstores += _logstore(f"logstore-{number:03}", use)
    config = folder / "many.toml"
    config.write_text(text + PROJECT + logstores, encoding="utf-8")
    return config


def _processor_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _sampling(pid, samples):
    """Notes the processor time now and then, until the function that comes back is called."""
    import threading

    over = threading.Event()

    def sample():
        while not over.is_set():
            samples.append((time.monotonic(), _processor_s(pid)))
            over.wait(0.25)

    thread = threading.Thread(target=sample)
    thread.start()

    def stop():
        over.set()
        thread.join()

    return stop


if __name__ == "__main__":
    main()
