"""Configurations whose logstore goes to Kafka or files, and what is read back of them."""

import json
import subprocess
from pathlib import Path

from lib.tollgate import OPEN, PROJECT

TOPIC = f"{PROJECT}.{OPEN}"
LANE = {"project": PROJECT, "logstore": OPEN}

QUICK = """
[batch]
max_age = "100ms"

[delivery]
timeout = "3s"
backoff_min = "20ms"
backoff_max = "200ms"

[delivery.breaker]
pause_min = "50ms"
pause_max = "300ms"
"""


def config(upstreams, logstore, more="", project=""):
    """A configuration of one open logstore: its upstreams, and what it says of itself; quick to try again."""
    return f"""
[ingest]
default_project = "{PROJECT}"
{QUICK}
{more}
{upstreams}
[[project]]
name = "{PROJECT}"
{project}

[[project.logstore]]
name = "{OPEN}"
accept = ["anonymous"]
{logstore}
"""


STORE = """
[[upstream]]
name = "store"
kind = "embedded"
"""


def kafka(brokers, **keys):
    """An upstream of kind kafka."""
    keys = {"brokers": brokers, "topic": "{project}.{logstore}", **keys}
    ca_file = keys.pop("ca_file", None)
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    head = ['[[upstream]]', 'name = "kafka"', 'kind = "kafka"']
    if ca_file:
        head.append(f'ca_file = "{ca_file}"')
    return "\n".join([*head, "[upstream.kafka]", *lines, ""])


def files(folder, **keys):
    """An upstream of kind files."""
    keys = {"dir": str(folder), "reserve": 0, **keys}
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "\n".join(['[[upstream]]', 'name = "archive"', 'kind = "files"', "[upstream.files]", *lines, ""])


def archived(folder):
    """Every event in the complete files of an archive."""
    return [json.loads(line) for path in segments(folder) for line in plain(path).split("\n") if line]


def segments(folder, growing=False):
    """The complete files of the logstore, or those that still grow, by name."""
    home = Path(folder) / PROJECT / OPEN
    paths = sorted(home.iterdir()) if home.is_dir() else []
    return [path for path in paths if (path.suffix == ".part") == growing]


def plain(path):
    """The content of a file, read by the programs that people have for it."""
    command = {".zst": ["zstd", "-dc"], ".lz4": ["lz4", "-dc"]}.get(path.suffix, ["cat"])
    done = subprocess.run([*command, str(path)], capture_output=True, check=True, timeout=30)
    return done.stdout.decode()


def numbers(events):
    """The numbers of events, sorted."""
    return sorted(event["number"] for event in events)


def books(tollgate):
    """The books of each lane, by the logstore's name; fails unless all balance."""
    answer = tollgate.admin("GET", "books").json()
    if not answer["balanced"]:
        raise AssertionError(f"the books do not balance: {answer}")
    return {book["logstore"]: book for book in answer["logstores"]}


def audit(tollgate):
    """What `tollgate audit` says and ends with."""
    done = tollgate.try_manage("audit")
    return done.returncode, done.stdout


def repeating(count):
    """Events that are small, and tags that each of them repeats once it stands alone: 256 KB."""
    tags = {f"tag-{n}": "x" * 4000 for n in range(64)}
    return [{"number": str(n)} for n in range(count)], tags


def peak_memory(tollgate):
    """The most memory that the process has ever had, in bytes."""
    status = Path(f"/proc/{tollgate.pid()}/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def lines_in(folder):
    """How many lines the complete files of an archive have, however large they are."""
    commands = {".zst": "zstd -dc", ".lz4": "lz4 -dc"}
    counted = [f"{commands.get(path.suffix, 'cat')} '{path}' | wc -l" for path in segments(folder)]
    return sum(int(subprocess.check_output(command, shell=True, timeout=60)) for command in counted)
