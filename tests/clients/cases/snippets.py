"""Every fenced block of the documentation is run, or checked by what reads its language, or says why neither can be here."""

import json
import re
import shutil
import subprocess

import requests

from lib.cases import case, case_for_each
from lib.expect import check, equal, until
from lib.pages import DOCS, ROOT, Page
from lib.snippets import PROJECT as SOME_PROJECT
from lib.snippets import KEY, STORE, Markup, Session, commands
from lib.tollgate import GUARDED, OPEN, PROJECT, free_ports

PAGES = sorted(path.name for path in DOCS.glob("*.md")) + [
    "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "benches/README.md", "fuzz/README.md",
]

# Marks behind `sh`: why a block is not run here, and the programs that it may be made of. Commands of tollgate in it are
# held to the command line by tests/docs.rs, as all are.
MARKS = {
    "host": (
        "changes the machine, or reads what only a service of it has",
        {"systemctl", "journalctl", "useradd", "install", "mv", "grep", "tollgate"},
    ),
    "docker": ("needs Docker, which builds or starts images", {"docker", "git", "sh", "curl"}),
    "cluster": ("needs a cluster of Kubernetes", {"kubectl", "helm", "cp", "for", "do", "base64", "done", "rm"}),
    "build": ("builds from source, which is what ./test does before it comes here", {"cargo", "./test", "deploy/release/build", "mkdir", "python", "tollgate"}),
    "elsewhere": ("asks a node of other people by TLS, as tests/admin_tls.rs asks one here", {"curl", "tollgate"}),
    "server": ("is run by a test of its own, with more around it", {"flask", "cat"}),
}
# What may not be done to the machine that tests run on, and what says nothing there.
UNSAFE = {"systemctl", "journalctl", "useradd", "install", "mv", "docker", "kubectl", "helm", "cargo", "sudo", "apt-get", "npm", "pip", "test"}
SERVERS = {"flask": "tests/clients/cases/mini_program.py"}

# The node that a guide speaks of, where it does not print one.
GUIDES = """
[ingest]
default_project = "sls-webtracking-mini"

[[identity.jwt]]
kid = "quickstart"
issuer = "tollgate"
audience = "tollgate"

[[limit]]
name = "per-address"
key = ["address"]
rate = [{ count = 1000, per = "1s" }]

[[schema]]
name = "order"
version = "1"
file = "file-of-the-schema"
event = "order"

[[upstream]]
name = "store"
kind = "embedded"

[[project]]
name = "shop"
upstream = "store"
[[project.logstore]]
name = "web-events"
[[project.logstore]]
name = "web"
accept = ["anonymous"]
[project.logstore.schema]
use = ["order"]
event_field = "event"

[[project]]
name = "sls-webtracking-mini"
upstream = "store"
[[project.logstore]]
name = "web-tracking-logstore"
[[project.logstore]]
name = "anonymous-demo"
accept = ["anonymous"]
"""
SHOP = {"Host": "shop.localhost"}


def _guides(session):
    path = session.write("order.json", json.dumps({
        "type": "object", "properties": {"event": {"type": "string"}, "price": {"type": "number", "maximum": 1000}},
    }))
    return GUIDES.replace("file-of-the-schema", str(path))


def _limits(session):
    """The limits of docs/quotas.md, as it prints them."""
    per_user, per_address = session.page.blocks("toml")[1:3]
    return KEY + STORE + SOME_PROJECT.replace("my-project", PROJECT) + per_user + per_address


def _own(session):
    return session.page.configuration(session.etc)


def _defaults(_session):
    return None


NODES = {
    "identity.md": _own, "mini-program.md": _own, "quotas.md": _limits,
    **dict.fromkeys(
        ("README.md", "start.md", "protocol.md", "dashboard.md", "metrics.md", "operations.md", "admin-api.md", "replay.md"),
        _defaults,
    ),
}


# === what has to be there before a block ===


def _some_events(session):
    """A few requests that are taken, and one that is not."""
    for number in range(3):
        session.node.post([{"event": "view", "number": number}], OPEN)
    session.node.post([{"event": "view"}], GUARDED)


def _set_aside(session):
    """Good orders in the store, and bad ones in the quarantine; what the page calls by an id has that of one."""
    good = [{"event": "order", "price": number} for number in range(30)]
    equal(session.node.post(good, "web", SHOP).status_code, 200, "the status")
    session.node.post([{"event": "order", "price": 9999}], "web", SHOP)
    found = until(lambda: session.node.command("quarantine", "ls", "--logstore", "web", "--output", "json").stdout, "a record is written")
    session.instead["6742B1E00123456789ABCDEF-1"] = json.loads(found.splitlines()[0])["id"]


def _events(session):
    session.write("events.ndjson", "".join(f'{{"event":"view","price":{n}}}\n' for n in range(30)))


def _schema_test(session):
    session.write("event.json", '{"properties":{"event":{"type":"string"},"price":{"type":"number"}}}')
    session.write("events.ndjson", '{"event":"view","price":1}\n{"event":"view","price":"cheap"}\n')


def _schema_diff(session):
    old = {"properties": {"event": {"enum": ["view", "click"]}, "price": {"type": "number"}}}
    new = {"properties": {"event": {"enum": ["view"]}, "price": {"type": "number"}}, "required": ["price"]}
    session.write("event.json", json.dumps(old))
    session.write("new.json", json.dumps(new))
    lines = ['{"event":"click","price":1}' if n == 7 else f'{{"event":"view","price":{n}}}' for n in range(1, 201)]
    session.write("events.ndjson", "\n".join(lines) + "\n")


def _another_configuration(session):
    path = session.folder / "tollgate.toml"
    text = path.read_text(encoding="utf-8") if path.exists() else (ROOT / "config/quickstart.toml").read_text(encoding="utf-8")
    session.write("new.toml", text + '\n[[limit]]\nname = "another"\nkey = ["address"]\nrate = [{ count = 9000, per = "1s" }]\n')
    _some_events(session)


def _proxies(session):
    [block] = [text for text in session.page.blocks("toml") if "2001:db8:1::/48" in text]
    session.write("tollgate.toml", KEY + STORE + SOME_PROJECT + block)


def _archive(session):
    """A file that Tollgate has archived, and a logstore that takes it."""
    folder = session.t.folder / "var" / "archive"
    archive = f'[[upstream]]\nname = "files"\nkind = "files"\n[upstream.files]\ndir = "{folder}"\n'
    shop = '[[project]]\nname = "shop"\nupstream = "files"\n[[project.logstore]]\nname = "web"\naccept = ["anonymous"]\n'
    writer = session.t.tollgate(archive + shop)
    equal(writer.post([{"event": "old"}], "web", SHOP).status_code, 200, "the status")
    writer.drain()
    equal(writer.stop(), 0, "the exit code of the node that archives")
    session.instead["20261122*"] = "*"


def _away(session, ack="memory"):
    """A configuration whose store does not answer."""
    [port] = free_ports(1)
    return f"""
[[upstream]]
name = "away"
kind = "sls"
endpoint = "http://cn-hangzhou.log.example"
address = "127.0.0.1:{port}"
region = "cn-hangzhou"
access_key_id = "id"
access_key_secret = "file:{session.write("away.key", "0123456789")}"
[[project]]
name = "shop"
upstream = "away"
[[project.logstore]]
name = "web"
accept = ["anonymous"]
ack = "{ack}"
"""


def _dead_node(session):
    """The disk of a node that was killed with events on it, and this node stopped."""
    dead = session.t.tollgate(_away(session, "disk"))
    equal(dead.post([{"event": "waits"}], "web", SHOP).status_code, 200, "the status")
    dead.kill()
    shutil.copytree(dead.data_dir / "spool", session.t.folder / "mnt" / "dead" / "spool")
    equal(session.node.stop(), 0, "the exit code")


def _certificate(session):
    target = session.etc / "tls"
    done = subprocess.run(
        [session.t.binary, "cert", "self-signed", "--out", str(target)], capture_output=True, text=True, timeout=30, check=False
    )
    equal(done.returncode, 0, done.stderr)
    [made] = target.glob("*cert*.pem")
    made.rename(target / "edge.pem")


# Before the first block of a page that holds these words.
BEFORE = (
    ("replay.md", "tollgate sample > ", _some_events),
    ("replay.md", "--config new.toml", _another_configuration),
    ("reload.md", "new.toml", _another_configuration),
    ("schema.md", "quarantine ls", _set_aside),
    ("schema.md", "infer events.ndjson", _events),
    ("schema.md", "schema test event.json", _schema_test),
    ("schema.md", "schema diff event.json", _schema_diff),
    ("deploy-edge.md", "explain-ip", _proxies),
    ("destinations.md", "zstd -dc", _archive),
    ("durability.md", "/mnt/dead", _dead_node),
    ("runbook.md", "openssl x509", _certificate),
    ("faq.md", "tollgate explain", _some_events),
)


# === what JSON is like ===


def _books(session):
    return session.node.admin("GET", "books").json()


def _drain(session):
    """What a node says while it stops and its store does not answer."""
    node = session.t.tollgate(_away(session) + "[spool]\nenabled = false\n")
    node.post([{"event": "waits"}], "web", SHOP)
    node.terminate()

    def stopping():
        found = requests.get(f"http://127.0.0.1:{node.admin_port}/drain", timeout=10).json()
        return found if found["stage"] == "delivering" else None

    return until(stopping, "the node delivers what it holds")


def _refused_call(session):
    return session.node.admin("GET", "tickets?limit=1001").json()


def _refused_request(session):
    return session.node.post([{}], GUARDED).json()


def _results(session):
    events = [{"event": "order", "price": 1}, {"event": "order", "price": 9999}]
    return session.node.post(events, "web", {**SHOP, "x-tollgate-event-results": "1"}).json()


LIKE = {
    ("durability.md", '"balanced"'): _books,
    ("operations.md", '"millisecondsLeft"'): _drain,
    ("admin-api.md", '"limit must be 1 to 1000."'): _refused_call,
    ("protocol.md", '"errorMessage"'): _refused_request,
    ("schema.md", '"results"'): _results,
}


@case_for_each(PAGES, "{}: every block is run or checked, or says why not")
def page(t, name):
    reader = Session(t, Page(name))
    before = [(words, prepare) for page_, words, prepare in BEFORE if page_ == name]
    outputs = {id(block.follows): block for block in reader.page.all if block.follows is not None}
    for block in reader.page.all:
        for entry in [each for each in before if each[0] in block.text]:
            before.remove(entry)
            _node(reader)
            entry[1](reader)
        output = outputs.get(id(block))
        _do(reader, block, output if output is not None and output.language in ("http", "text", "json") else None)
    equal([words for words, _ in before], [], "what no block of the page holds")


def _node(reader):
    if reader.node is None:
        configuration = NODES.get(reader.page.name, _guides)(reader)
        reader.start(configuration)
        if configuration is None or f'"{PROJECT}"' in configuration and f'"{GUARDED}"' in configuration and "jwt" in configuration:
            reader.token(PROJECT, GUARDED)


def _do(reader, block, output):
    answered = block.follows is not None and block.follows.language == "sh" and not block.follows.marks
    if block.marks:
        _marked(block)
    elif block.language == "sh":
        typed = UNSAFE & {word.rpartition("/")[2] for word in commands(block.text)}
        equal(typed, set(), f"{block.where()}: what may not be run here; see MARKS")
        _node(reader)
        reader.sh(block, output)
    elif block.language == "console":
        _node(reader)
        reader.console(block)
    elif block.language in ("http", "text", "json") and answered:
        pass  # what the block above has to answer
    elif block.language == "text":
        typed = [line for line in block.text.splitlines() if re.match(r"\$ |(curl|tollgate) -", line)]
        equal(typed, [], f"{block.where()}: commands, which belong into a block of sh")
    elif block.language == "json":
        like = next((each for (name, words), each in LIKE.items() if name == reader.page.name and words in block.text), None)
        if like is not None:
            _node(reader)
        reader.json(block, like and like(reader))
    elif block.language == "python":
        compile(block.text, block.where(), "exec")
    elif block.language == "nginx":
        equal(reader.page.name, "deploy-edge.md", "the page that tests/clients/cases/nginx.py runs")
    elif block.language == "html":
        Markup(block)
    else:
        readers = {"toml": reader.toml, "yaml": reader.yaml, "js": reader.javascript}
        check(block.language in readers, f"{block.where()}: nobody reads a block of `{block.language}`; see MARKS")
        readers[block.language](block)


def _marked(block):
    """A block that is not run: its mark says why, it is made of nothing else, and bash understands it."""
    check(block.language == "sh" and len(block.marks) == 1 and block.marks[0] in MARKS, f"{block.where()}: marked {block.marks}")
    [mark] = block.marks
    for word in commands(block.text):
        check(word.rpartition("/")[2] in MARKS[mark][1] or word in MARKS[mark][1], f"{block.where()}: `{word}` can be run, so it should not be marked `{mark}`")
    check(any(word != "tollgate" for word in commands(block.text)), f"{block.where()}: can be run")
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, timeout=10, check=False)
    equal(done.returncode, 0, f"{block.where()}: {done.stderr}")
    for word in (SERVERS if mark == "server" else ()):
        check(f'"{word}"' in (ROOT / SERVERS[word]).read_text(encoding="utf-8"), f"{block.where()}: {SERVERS[word]} runs {word}")


@case("every mark of a block that is not run is in use, and every page that a preparation is for exists")
def marks(_t):
    used = {mark for name in PAGES for block in Page(name).all for mark in block.marks}
    equal(used, set(MARKS), "the marks in use")
    for name in {*NODES, *(name for name, _, _ in BEFORE), *(name for name, _ in LIKE)}:
        check(name in PAGES, f"there is no page {name}")
    for name, words in LIKE:
        check(any(words in block.text for block in Page(name).all if block.language == "json"), f"{name} has no JSON with {words}")
