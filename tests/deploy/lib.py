"""What the checks share: their list, running a tool, the binary, folders that vanish."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
TOOLS = Path(sys.executable).parent
LAYER = ROOT / ".test" / "deploy" / "layer"
TOOL_LIMIT_S = 300
READY_LIMIT_S = 40


class Failed(Exception):
    """What does not hold, for people."""


@dataclass
class Check:
    """A sentence and the function that finds out whether it holds."""

    sentence: str
    run: Callable[[], None]


CHECKS = []


def check(sentence):
    """Adds a function to the checks."""

    def add(function):
        CHECKS.append(Check(sentence, function))
        return function

    return add


def equal(found, wanted, what):
    """Fails unless both are the same."""
    if found != wanted:
        raise Failed(f"{what}: {found!r}, not {wanted!r}")


def holds(condition, what):
    """Fails unless it is so."""
    if not condition:
        raise Failed(what)


def tool(*command, ok=True, **options):
    """Runs a program to its end and returns what it said; fails with that when it fails, or when it should and does not."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=TOOL_LIMIT_S,
        stdin=subprocess.DEVNULL, cwd=options.pop("cwd", ROOT), **options,
    )
    said = done.stdout + done.stderr
    if (done.returncode == 0) != ok:
        raise Failed(f"{' '.join(str(part) for part in command)}\nended with {done.returncode}:\n{said[-6000:]}")
    return done.stdout if ok else said


def binary():
    """The binary under test."""
    return os.environ["TOLLGATE_BIN"]


def documents(text):
    """The documents of a YAML text."""
    return [each for each in yaml.safe_load_all(text) if each]


@contextlib.contextmanager
def folder():
    """A folder that vanishes."""
    with tempfile.TemporaryDirectory(prefix="tollgate-deploy-") as name:
        yield Path(name)


def free_port():
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def status(url):
    """The status of the answer to a GET, or None when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def seconds(text):
    """A duration of a configuration, in seconds."""
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def size(text):
    """A size of a configuration or a manifest, in bytes."""
    number, unit = re.fullmatch(r"(\d+)(KiB|MiB|GiB|Ki|Mi|Gi)", text).groups()
    return int(number) * 1024 ** {"K": 1, "M": 2, "G": 3}[unit[0]]


def with_secrets(text, place, where):
    """A configuration whose secrets are files of a folder here, made as it names them."""
    where.mkdir(exist_ok=True)
    for name in set(re.findall(rf'file:{re.escape(place)}/([\w.-]+)', text)):
        (where / name).write_text("a-secret-of-more-than-thirty-two-bytes-" + name)
    return text.replace(f"file:{place}/", f"file:{where}/")


def checked(text, place):
    """Fails unless `tollgate check` takes a configuration; returns what it says. Containers listen to all of their own
    network, of which it warns, and nothing else."""
    with folder() as here:
        path = here / "tollgate.toml"
        text = with_secrets(text, place, here / "secrets").replace("/var/lib/tollgate", str(here / "data"))
        path.write_text(text)
        said = tool("sh", "-c", '"$0" "$@" 2>&1', binary(), "check", "--config", path)
        for line in said.splitlines():
            known = re.search(r"can be reached from other machines|anyone who reaches", line)
            holds(known or "warning:" not in line, said)
        return said.replace(str(here), "")


def probed(text, place, paths):
    """Starts the binary on a configuration, with ports of its own and a store that does not answer, and asks for paths of
    the private listener; then stops it, which must end well."""
    with folder() as here:
        front, private, store = free_port(), free_port(), free_port()
        text = with_secrets(text, place, here / "secrets").replace("/var/lib/tollgate", str(here / "data"))
        text = re.sub(r'(?m)^endpoint = .*$', f'endpoint = "http://cn-hangzhou.log.example"\naddress = "127.0.0.1:{store}"', text)
        text = re.sub(r'(?m)^access_key_secret = .*\n', lambda line: line[0] + 'region = "cn-hangzhou"\n', text)
        path = here / "tollgate.toml"
        path.write_text(text)
        command = [binary(), "run", "--config", str(path), "--listen", f"127.0.0.1:{front}", "--admin-listen", f"127.0.0.1:{private}"]
        with (here / "log").open("w") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                url = f"http://127.0.0.1:{private}"
                end = time.monotonic() + READY_LIMIT_S
                while status(f"{url}/readyz") != 200:
                    said = (here / "log").read_text()
                    holds(process.poll() is None and time.monotonic() < end, f"it is not ready:\n{said}")
                    time.sleep(0.05)
                for each in paths:
                    equal(status(url + each), 200, f"the status of {each}")
                tool(binary(), "healthcheck", "--admin-url", url)
                process.terminate()
                equal(process.wait(60), 0, "the exit code")
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait(30)
