"""The binary under test: started on free ports, stopped and killed by its process id."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

import requests

PROJECT = "sls-webtracking-mini"
GUARDED = "web-tracking-logstore"
OPEN = "anonymous-demo"

READY_LIMIT_S = 20
STOP_LIMIT_S = 45
COMMAND_LIMIT_S = 60


class Tollgate:
    """One process of the binary, its data folder and its three addresses.

    With `ahead_s` its clock is so many seconds ahead, from the next start on.
    """

    def __init__(self, binary, folder, config=None, ahead_s=0, wrapper=()):
        self.binary = binary
        self.wrapper = wrapper
        self.ahead_s = ahead_s
        self.folder = folder
        self.data_dir = folder / "data"
        self.config = None
        if config is not None:
            self.config = folder / "tollgate.toml"
            self.config.write_text(config, encoding="utf-8")
        self.front_port, self.admin_port, self.store_port = free_ports(3)
        # A file of authorities, where the private listener speaks TLS.
        self.admin_ca = None
        self._process = None

    # === the process ===

    def start(self):
        """Starts the process and waits until it says that it is ready."""
        with self._log("stdout").open("ab") as out, self._log("stderr").open("ab") as err:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=self._environment()
            )
        deadline = time.monotonic() + READY_LIMIT_S
        while not self._ready():
            if self._process.poll() is not None:
                raise AssertionError(f"tollgate ended with {self._process.returncode} before it was ready")
            if time.monotonic() > deadline:
                raise TimeoutError(f"tollgate was not ready after {READY_LIMIT_S} s")
            time.sleep(0.02)

    def stop(self):
        """Sends SIGTERM, waits for the end, returns the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_LIMIT_S)

    def reload(self, config):
        """Writes another configuration and sends SIGHUP; the process re-reads who may send, and does not tell when."""
        self.config.write_text(config, encoding="utf-8")
        self._process.send_signal(signal.SIGHUP)

    def terminate(self):
        """Sends SIGTERM and does not wait."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self):
        """Waits for the end, returns the exit code."""
        return self._process.wait(STOP_LIMIT_S)

    def kill(self):
        """Ends the process at once, if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_LIMIT_S)

    def runs(self):
        """Whether the process has not ended."""
        return self._process.poll() is None

    def pid(self):
        """The number of the process."""
        return self._process.pid

    def output(self):
        """Everything that the process has printed, on both streams."""
        return self._read("stdout") + self._read("stderr")

    def stderr(self):
        """Everything that the process has printed on standard error."""
        return self._read("stderr")

    def describe(self):
        """For a failed case: how the process stands, and what it has printed."""
        code = self._process.poll() if self._process else None
        state = "runs" if code is None else f"ended with {code}"
        return f"--- {self.folder.name} {state}; it printed:\n{self.output()[-20_000:]}---"

    # === addresses ===

    def front(self, project=PROJECT, token=None):
        """The address that a client is configured with, by the project's name, with a token in the path or without."""
        prefix = f"/t/{token}" if token else ""
        return f"http://{project}.localhost:{self.front_port}{prefix}"

    def track(self, logstore=GUARDED, token=None, suffix="track"):
        """The address of a track route, by IP address."""
        prefix = f"/t/{token}" if token else ""
        return f"http://127.0.0.1:{self.front_port}{prefix}/logstores/{logstore}/{suffix}"

    def post(self, events, logstore=OPEN, headers=None, **envelope):
        """Posts events to the track route, on a connection of their own, as a JSON client would."""
        body = {"__logs__": events, **envelope}
        return requests.post(
            self.track(logstore),
            data=json.dumps(body, ensure_ascii=False).encode(),
            headers={"Connection": "close", **(headers or {})},
            timeout=20,
        )

    # === commands of the binary ===

    def token(self, logstore=GUARDED, project=PROJECT):
        """A token for one logstore, made by the binary; no two are the same."""
        subject = uuid.uuid4().hex
        done = self.command("token", "mint", "--project", project, "--logstore", logstore, "--subject", subject)
        if done.returncode != 0:
            raise AssertionError(f"token mint ended with {done.returncode}: {done.stderr}")
        return done.stdout.strip()

    def command(self, *arguments):
        """Runs a command of the binary on this data folder to its end."""
        return subprocess.run(
            [self.binary, *arguments, "--data-dir", str(self.data_dir)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=COMMAND_LIMIT_S, env=plain_environment(), check=False,
        )

    def manage(self, *arguments):
        """Runs a command that talks to the running service; returns what it prints, and fails unless it succeeds."""
        done = self.try_manage(*arguments)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done.stdout.strip()

    def try_manage(self, *arguments):
        """Runs a command that talks to the running service, to its end."""
        return self.command(*arguments, "--admin-url", f"http://127.0.0.1:{self.admin_port}")

    def admin(self, method, path, **options):
        """One request to the admin API, with its key."""
        key = (self.data_dir / "keys" / "admin.key").read_text(encoding="utf-8").strip()
        url = f"http://127.0.0.1:{self.admin_port}/api/v1/{path}"
        return requests.request(method, url, headers={"Authorization": f"Bearer {key}"}, timeout=20, **options)

    def admin_url(self):
        """Where the private listener is."""
        return f"http{'s' if self.admin_ca else ''}://127.0.0.1:{self.admin_port}"

    def store_secret(self):
        """The secret of the embedded logstore's access key."""
        return self.store_secret_file().read_text(encoding="utf-8").strip()

    def store_secret_file(self):
        """The file of that secret."""
        return self.data_dir / "keys" / "logstore.key"

    # === metrics ===

    def metrics_text(self):
        """The metrics page."""
        return requests.get(f"{self.admin_url()}/metrics", timeout=10, verify=self.admin_ca or True).text

    def metric(self, name, **labels):
        """The sum of a metric over all series that have these labels."""
        return sum(
            value
            for series, series_labels, value in _parse_metrics(self.metrics_text())
            if series == name and labels.items() <= series_labels.items()
        )

    def drain(self):
        """Waits until every accepted event has met its end."""
        deadline = time.monotonic() + 30
        while self.metric("tollgate_events_held") > 0:
            if time.monotonic() > deadline:
                raise TimeoutError("events were still held after 30 s")
            time.sleep(0.05)

    # === inside ===

    def _command(self):
        command = [*self.wrapper, self.binary, "run", "--data-dir", str(self.data_dir)]
        command += ["--listen", f"127.0.0.1:{self.front_port}"]
        command += ["--admin-listen", f"127.0.0.1:{self.admin_port}"]
        command += ["--logstore-listen", f"127.0.0.1:{self.store_port}"]
        if self.config is not None:
            command += ["--config", str(self.config)]
        return command

    def _environment(self):
        environment = plain_environment()
        if self.ahead_s:
            [library] = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
            environment |= {"LD_PRELOAD": str(library), "FAKETIME": f"+{self.ahead_s}s", "DONT_FAKE_MONOTONIC": "1"}
        return environment

    def _ready(self):
        try:
            return requests.get(f"{self.admin_url()}/readyz", timeout=2, verify=self.admin_ca or True).status_code == 200
        except requests.RequestException:
            return False

    def _log(self, stream):
        return self.folder / f"{stream}.log"

    def _read(self, stream):
        path = self._log(stream)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def free_ports(count):
    """Ports of 127.0.0.1 that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def plain_environment():
    """The environment without the name resolution that only the SDKs need, and without Tollgate's own variables."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("LD_PRELOAD", "NSS_WRAPPER", "TOLLGATE_"))
    }


_SERIES = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def _parse_metrics(text):
    for line in text.splitlines():
        found = _SERIES.match(line)
        if found:
            yield found[1], dict(_LABEL.findall(found[2] or "")), float(found[3])
