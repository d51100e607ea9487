"""Doing what a page of the documentation says: a folder, a node, and its blocks one after another."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tomllib
from html.parser import HTMLParser
from pathlib import Path

from lib.expect import check, equal
from lib.pages import FOLDER, ROOT, placed
from lib.tollgate import free_ports, plain_environment

BLOCK_LIMIT_S = 90
# curl ends so when it was told to listen for so long and no longer.
CURL_TIMED_OUT = 28

# What a fragment of a configuration is completed with, where it has none of its own.
STORE = '[[upstream]]\nname = "store"\nkind = "embedded"\n'
KEY = '[[identity.jwt]]\nkid = "quickstart"\nissuer = "tollgate"\naudience = "tollgate"\n'
PROJECT = """
[[project]]
name = "my-project"
upstream = "store"
[[project.logstore]]
name = "web-tracking-logstore"
[[project.logstore]]
name = "anonymous-demo"
accept = ["anonymous"]
[[project.logstore]]
name = "payments"
[[project.logstore]]
name = "web"
"""

# The program as a reader has it: on the PATH, finding the node and its data without being told.
WRAPPER = """#!/usr/bin/env bash
set -euo pipefail
words=()
for word in "$@"; do
  [[ $word == -* ]] && break
  words+=("$word")
done
takes() { "$TOLLGATE_UNDER_TEST" ${path[@]+"${path[@]}"} --help | grep -q -- "^ *$1[ =]"; }
given() { local option=$1; shift; for word in "$@"; do [[ $word == "$option" || $word == "$option="* ]] && return 0; done; return 1; }
path=("${words[@]:0:1}")
case "${1:-}" in
  cert | limits | policy | quarantine | revoke | schema | spool | ticket | token)
    if [[ $1 != limits || ${words[1]:-} =~ ^(list|show|top|ban|raise|lift)$ ]]; then path=("${words[@]:0:2}"); fi ;;
  run)
    # It goes on until it is ended: here, once it is ready.
    "$TOLLGATE_UNDER_TEST" "$@" --data-dir "$RUN_DATA" --listen "127.0.0.1:$RUN_FRONT" \\
      --admin-listen "127.0.0.1:$RUN_ADMIN" --logstore-listen "127.0.0.1:$RUN_STORE" &
    for _ in {1..200}; do
      if "$TOLLGATE_UNDER_TEST" healthcheck --admin-url "http://127.0.0.1:$RUN_ADMIN" >/dev/null 2>&1; then
        kill -TERM $!
        wait $!
        exit
      fi
      sleep 0.1
    done
    kill -KILL $!
    exit 70 ;;
esac
more=()
if [[ $1 == check ]] && ! given --against-running "$@"; then exec "$TOLLGATE_UNDER_TEST" "$@"; fi
if takes --admin-url && ! given --admin-url "$@" && { [[ $1 != replay ]] || given --live "$@"; }; then more+=(--admin-url "$ADMIN"); fi
if takes --data-dir && ! given --data-dir "$@"; then more+=(--data-dir "$DATA"); fi
if takes --logstore-url && ! given --logstore-url "$@" && { [[ $1 == tail ]] || given --logstore "$@"; }; then
  more+=(--logstore-url "$STORE")
fi
if [[ $1 == tail || $1 == schema ]] && [[ -n ${ADMIN:-} ]]; then
  # What was sent a moment ago has to be in the store.
  for _ in {1..100}; do
    curl -sf "$ADMIN/metrics" | awk '/^tollgate_events_held/ { held += $2 } END { exit held > 0 }' && break
    sleep 0.1
  done
fi
if [[ $1 == send ]] && ! given --url "$@"; then more+=(--url "$INGEST"); fi
exec "$TOLLGATE_UNDER_TEST" "$@" ${more[@]+"${more[@]}"}
"""


class Session:
    """A reader of one page. `instead` are words that stand for others here, such as an id that only the node knows."""

    def __init__(self, t, page):
        self.t = t
        self.page = page
        self.folder = t.folder / "reader"
        self.etc = t.folder / "etc"
        self.instead = {}
        self.node = None
        self.environment = {}
        for folder in (self.folder, self.etc, self.folder / "bin", t.folder / "var", t.folder / "mnt"):
            folder.mkdir()
        tool = self.folder / "bin" / "tollgate"
        tool.write_text(WRAPPER, encoding="utf-8")
        tool.chmod(0o755)

    def start(self, configuration):
        """Starts the node of the page, whose configuration lies where the page says."""
        if configuration is not None:
            configuration = self.placed(configuration)
        self.node = self.t.tollgate(configuration)
        for path in (self.etc / "tollgate.toml", "tollgate.toml") if configuration is not None else ():
            self.write(path, f'data_dir = "{self.node.data_dir}"\n{configuration}')
        front, admin, store = free_ports(3)
        self.environment = {
            "INGEST": f"http://127.0.0.1:{self.node.front_port}", "ADMIN": f"http://127.0.0.1:{self.node.admin_port}",
            "STORE": f"http://127.0.0.1:{self.node.store_port}", "DATA": str(self.node.data_dir),
            "TOLLGATE_PID": str(self.node.pid()), "RUN_DATA": str(self.t.folder / "run-data"),
            "RUN_FRONT": str(front), "RUN_ADMIN": str(admin), "RUN_STORE": str(store),
            "KEY": (self.node.data_dir / "keys" / "admin.key").read_text(encoding="utf-8").strip(),
        }

    def token(self, project, logstore):
        """Lets `$TOKEN` be a token for the logstore."""
        self.environment["TOKEN"] = self.node.token(logstore, project)

    def placed(self, text):
        """A configuration with its files in folders of this reader."""
        text = text.replace("/run/credentials/tollgate.service", FOLDER)
        return placed(text, self.etc).replace("/var/lib/tollgate", str(self.t.folder / "var"))

    def write(self, path, text):
        """Writes a file, by its path or its name in the reader's folder."""
        path = self.folder / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    # === blocks ===

    def sh(self, block, output=None):
        """Runs a block of commands, which must end as its output says: with success, unless that names an exit code."""
        code, said = self._run(block.text)
        wanted, lines = 0, []
        if output is not None and output.language != "json":
            for line in output.text.splitlines():
                named = re.fullmatch(r"exit code (\d+)", line)
                if named:
                    wanted = int(named[1])
                else:
                    lines.append(line)
        told = f"{block.where()}\n{block.text}ended with {code}:\n{said}"
        if not (code == CURL_TIMED_OUT and "--max-time" in block.text):
            equal(code, wanted, told)
        for line in lines:
            check(line in said, f"`{line}` is not in the answer of {told}")
        if output is not None and output.language == "json":
            same_shape(json.loads(output.text), json.loads(said), output.where())

    def console(self, block):
        """Runs what stands behind `$ `, and fails unless it prints what stands below, to the letter."""
        for part in re.split(r"(?m)^\$ ", block.text)[1:]:
            command, _, printed = part.partition("\n")
            _, said = self._run(command)
            equal(said.rstrip("\n"), printed.rstrip("\n"), f"{block.where()}: what `{command}` prints")

    def _run(self, command):
        words = self._words()
        command = re.sub("|".join(map(re.escape, words)), lambda found: words[found[0]], command)
        environment = {
            **plain_environment(), **self.environment, "TOLLGATE_UNDER_TEST": self.t.binary,
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin",
        }
        process = subprocess.Popen(
            ["bash", "-c", f"set -euo pipefail\n{command}"], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=BLOCK_LIMIT_S)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
            raise
        return process.returncode, said

    def _words(self):
        words = dict(self.instead)
        if self.node is not None:
            words |= {
                "127.0.0.1:8080": f"127.0.0.1:{self.node.front_port}",
                "127.0.0.1:8081": f"127.0.0.1:{self.node.admin_port}",
                "127.0.0.1:8082": f"127.0.0.1:{self.node.store_port}",
                "tollgate-data/": f"{self.node.data_dir}/",
            }
        return words | {
            FOLDER: str(self.etc), "/var/lib/tollgate": str(self.t.folder / "var"), "/mnt/": f"{self.t.folder}/mnt/",
            "/tmp/": f"{self.folder}/", "target/release/tollgate": "tollgate",
        }

    # === what is not run but checked ===

    def toml(self, block):
        """A configuration, whole or in part, in which `tollgate check` must find no mistake; or a file of tests."""
        parsed = tomllib.loads(block.text)
        if "test" in parsed:
            self.write(block.file, block.text)
            return self._succeeds(block, ["test", block.file])
        text = block.text
        if "project" not in parsed:
            text = text + PROJECT.replace('"store"', f'"{parsed["upstream"][0]["name"]}"') if "upstream" in parsed else STORE + PROJECT + text
        elif isinstance(parsed["project"], dict):
            # What belongs to the logstore above it.
            text = STORE + PROJECT + text
        elif "upstream" not in parsed:
            text = STORE + text
        if "identity" not in parsed:
            text = KEY + text
        text = self.placed(text)
        self._files_of(text)
        path = self.write(block.file or f"block-{block.line}.toml", text)
        return self._succeeds(block, ["check", "--config", path.name], _variables(text))

    def _files_of(self, text):
        """Makes the certificates and schemas that a configuration names, where the page has not."""
        for cert, key in re.findall(r'cert = "([^"]+)"[^\n]*\nkey = "([^"]+)"', text):
            if not Path(cert).exists():
                name = Path(cert).stem
                host = f"*.{name}" if name.startswith("edge") else "*.edge.example.com" if name == "wildcard" else name
                self._made(["cert", "self-signed", "--name", host, "--out", "made", "--force"])
                Path(cert).parent.mkdir(parents=True, exist_ok=True)
                [made_cert] = (self.folder / "made").glob("*cert*.pem")
                [made_key] = (self.folder / "made").glob("*key*.pem")
                shutil.move(made_cert, cert)
                shutil.move(made_key, key)
                for authority in re.findall(r'client_ca = "([^"]+)"', text):
                    # Any certificate may be one.
                    if not Path(authority).exists():
                        shutil.copy(cert, authority)
        for schema in re.findall(r'file = "([^"/][^"]*\.json)"', text):
            if not (self.folder / schema).exists():
                self.write(schema, '{"type": "object"}')

    def _made(self, arguments):
        done = subprocess.run(
            [self.t.binary, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=BLOCK_LIMIT_S,
            check=False, env=plain_environment(), stdin=subprocess.DEVNULL,
        )
        equal(done.returncode, 0, f"the exit code of {arguments}: {done.stdout}{done.stderr}")

    def _succeeds(self, block, arguments, variables=()):
        done = subprocess.run(
            [self.t.binary, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=BLOCK_LIMIT_S, check=False,
            env={**plain_environment(), **{name: "0123456789abcdef" * 4 for name in variables}}, stdin=subprocess.DEVNULL,
        )
        equal(done.returncode, 0, f"{block.where()}: the exit code of `tollgate {' '.join(arguments)}`: {done.stdout}{done.stderr}")

    def json(self, block, like=None):
        """JSON, with the members of what the node really says, where that is given."""
        parsed = json.loads(block.text)
        if like is not None:
            same_shape(parsed, like, block.where())
        if block.file:
            self.write(block.file, block.text)

    def yaml(self, block):
        """A configuration of Prometheus, with the rules of deploy/, as promtool reads it."""
        path = self.write(f"block-{block.line}.yaml", block.text.replace("/etc/prometheus", str(ROOT / "deploy/prometheus")))
        program(["promtool", "check", "config", str(path)], block)

    def javascript(self, block):
        """JavaScript that node can parse."""
        program(["node", "--check", str(self.write(block.file or f"block-{block.line}.js", block.text))], block)


class Markup(HTMLParser):
    """Markup whose elements end as they should."""

    def __init__(self, block):
        super().__init__()
        self._open = []
        self._block = block
        self.feed(block.text)
        equal(self._open, [], f"{block.where()}: the elements that do not end")

    def handle_starttag(self, tag, attrs):
        """An element begins."""
        self._open.append(tag)

    def handle_endtag(self, tag):
        """An element ends."""
        equal(tag, self._open.pop(), f"{self._block.where()}: the element that ends")


def program(command, block):
    """Runs a program that must find no fault with a block."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=BLOCK_LIMIT_S, check=False, stdin=subprocess.DEVNULL)
    equal(done.returncode, 0, f"{block.where()}: {done.stdout}{done.stderr}")


def commands(text):
    """The first word of each simple command of a script, without what is set before it."""
    found = [word for inner in re.findall(r"\$\(([^()]*)\)", text) for word in commands(inner)]
    for line in re.sub(r"\$\([^)]*\)", "x", re.sub(r"\\\n\s*", " ", text)).splitlines():
        for part in re.split(r"&&|\|\||[;|]", line.split(" #")[0]):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:  # a quoted text of several lines
                words = part.split()
            while words and re.match(r"^\w+=", words[0]):
                words = words[1:]
            if words:
                found.append(words[0])
    return found


def same_shape(printed, real, where):
    """Fails unless what is printed has the members of what is real, and values of the same types, as far as both have any."""
    if isinstance(printed, dict) and isinstance(real, dict):
        equal(sorted(printed), sorted(real), f"{where}: the members")
        for key, value in printed.items():
            if value != {} and real[key] != {}:
                same_shape(value, real[key], where)
    elif isinstance(printed, list) and isinstance(real, list):
        for value in printed:
            alike = [each for each in real if not isinstance(each, dict) or sorted(each) == sorted(value)]
            check(alike or not real, f"{where}: {value} is like none of {real}")
    elif printed is not None and real is not None:
        number = (int, float)
        both = isinstance(printed, number) and isinstance(real, number)
        check(both or type(printed) is type(real), f"{where}: {printed!r} and {real!r} are of different types")


def _variables(text):
    return set(re.findall(r'"env:(\w+)"', text))
