"""Node.js processes: scripts that run to their end, and mini programs that take commands."""

import itertools
import json
import os
import queue
import subprocess
import threading
from pathlib import Path

from lib.tollgate import PROJECT, plain_environment

HERE = Path(__file__).resolve().parent.parent
ANSWER_LIMIT_S = 40


def run_script(script, job, seconds=60, resolve_names=False):
    """Runs a script with a JSON job on standard input; returns the JSON that it prints.

    `resolve_names` keeps the name resolution of `PROJECT.localhost`, which Node.js has not by itself.
    """
    done = subprocess.run(
        ["node", str(HERE / script)],
        input=json.dumps(job), capture_output=True, text=True, timeout=seconds, check=False,
        env=dict(os.environ) if resolve_names else plain_environment(),
    )
    if done.returncode != 0:
        raise AssertionError(f"{script} ended with {done.returncode}:\n{done.stderr[-8000:]}")
    return json.loads(done.stdout)


class Program:
    """A script that takes commands as JSON lines, in a process of its own; a context manager."""

    def __init__(self, name, script, *arguments):
        self._name = name
        self._numbers = itertools.count(1)
        self._answers = queue.Queue()
        self._process = subprocess.Popen(
            ["node", str(HERE / script), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**plain_environment(), "NODE_PATH": str(HERE / "node_modules")},
        )
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def do(self, operation, *arguments):
        """Gives one command and returns its answer."""
        number = next(self._numbers)
        self._process.stdin.write(json.dumps({"number": number, "do": operation, "with": arguments}) + "\n")
        self._process.stdin.flush()
        while True:
            answer = self._answers.get(timeout=ANSWER_LIMIT_S)
            if answer is None:
                raise AssertionError(f"the {self._name} process ended during `{operation}`")
            if answer["number"] != number:
                continue
            if "error" in answer:
                raise AssertionError(f"{self._name} {operation}: {answer['error']}")
            return answer.get("result")

    def kill(self):
        """Ends the process at once, as a phone ends an app under memory pressure."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)
        self._process.stdin.close()

    def _read(self):
        for line in self._process.stdout:
            self._answers.put(json.loads(line))
        self._answers.put(None)


class MiniProgram(Program):
    """The unpatched mini-program SDK on a stand-in for one platform.

    `port` is where `https://` requests of the platform really go; `traits` are switches of the platform.
    """

    def __init__(self, platform, port, **traits):
        super().__init__(platform, "shims/host.js", platform, str(port), json.dumps(traits))
        self.platform = platform

    def tracker(self, token=None, **options):
        """Makes the tracker as an app does; a token goes into the path."""
        host = "edge.example.com" + (f"/t/{token}" if token else "")
        self.do("tracker", {"host": host, "project": PROJECT, "time": 1, **options})

    def call(self, method, *arguments):
        """Calls a method of the tracker, such as `send` or `sendImmediate`."""
        self.do("call", method, list(arguments))

    def request(self, path="/", **options):
        """Calls the platform's request function itself; returns what the app is told."""
        return self.do("request", {"url": f"https://{PROJECT}.edge.example.com{path}", **options})

    def idle(self):
        """Waits until no request of the app is open or waiting; returns what the app was told so far."""
        return self.do("idle")


class Page(Program):
    """The page of browser/page.js in Node.js, with the same calls as in a browser."""

    def __init__(self, origin="http://shop.example.com"):
        super().__init__("page", "node/page.js", origin)

    def call(self, operation, *values):
        """Calls what browser/page.js gives the page; returns its answer."""
        return self.do(operation, *values)
