"""A real Prometheus on the rules of deploy/, with minutes that take a second."""

import contextlib
import json
import re
import subprocess
import time
from pathlib import Path

import requests

from lib.tollgate import free_ports, plain_environment

PROMETHEUS = Path(__file__).resolve().parents[3] / "deploy" / "prometheus"
READY_LIMIT_S = 30


def hurried(text):
    """Rules whose minutes are seconds: windows, offsets, and how long an alert has to hold."""
    return re.sub(r"\b(\d+)m\b", r"\1s", text)


class Prometheus:
    """Asks one node every half second."""

    def __init__(self, folder, admin_port):
        self.folder = folder
        [self.port] = free_ports(1)
        names = []
        for path in sorted(PROMETHEUS.glob("*.rules.yaml")):
            names.append(str(folder / path.name))
            (folder / path.name).write_text(hurried(path.read_text(encoding="utf-8")), encoding="utf-8")
        config = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
            "rule_files": names,
            "scrape_configs": [{"job_name": "tollgate", "static_configs": [{"targets": [f"127.0.0.1:{admin_port}"]}]}],
        }
        # JSON is YAML.
        (folder / "prometheus.yaml").write_text(json.dumps(config), encoding="utf-8")

    @contextlib.contextmanager
    def running(self):
        """Runs until the end of the block."""
        command = [
            "prometheus", f"--config.file={self.folder}/prometheus.yaml", f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn",
        ]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=plain_environment())
            try:
                self._wait(process)
                yield self
            finally:
                process.kill()
                process.wait(10)

    def query(self, expression):
        """The series of an expression now: labels and value. Fails when Prometheus cannot answer it."""
        answer = requests.get(f"http://127.0.0.1:{self.port}/api/v1/query", params={"query": expression}, timeout=10).json()
        if answer["status"] != "success":
            raise AssertionError(f"{expression}: {answer['error']}")
        return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]

    def firing(self):
        """Names of the alerts that fire now."""
        return {labels["alertname"] for labels, _ in self.query('ALERTS{alertstate="firing"}')}

    def _wait(self, process):
        deadline = time.monotonic() + READY_LIMIT_S
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"http://127.0.0.1:{self.port}/-/ready", timeout=2).status_code == 200:
                    return
            time.sleep(0.1)
        raise AssertionError(f"prometheus was not ready: {(self.folder / 'log').read_text()}")
