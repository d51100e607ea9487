"""Headless Chromium with the browser SDK in a page of another origin."""

import contextlib
import json
import os
import queue
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lib.node import HERE
from lib.tollgate import plain_environment

PACKAGES = HERE / "node_modules" / "@aliyun-sls"
SDK = PACKAGES / "web-track-browser/dist/web-track-browser.global.js"
STS_PLUGIN = PACKAGES / "web-sts-plugin/dist/web-sts-plugin.global.js"
RESULT_LIMIT_S = 60


def chromium():
    """The browser: CHROMIUM, or the one that is installed."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        raise AssertionError("there is no chromium; ./test installs it, or name one with CHROMIUM")
    return found


@contextlib.contextmanager
def page_server(host="127.0.0.1"):
    """Serves the page with the SDK and its plugin, as they are published, from an origin of its own; yields its address."""
    files = {
        "/": ("text/html; charset=utf-8", (HERE / "browser" / "page.html").read_bytes()),
        "/sdk.js": ("text/javascript", SDK.read_bytes()),
        "/sts.js": ("text/javascript", STS_PLUGIN.read_bytes()),
        "/page.js": ("text/javascript", (HERE / "browser" / "page.js").read_bytes()),
    }

    class Handler(BaseHTTPRequestHandler):
        """Four files."""

        def do_GET(self):
            """A file, or 404."""
            kind, content = files.get(self.path.split("?")[0], ("text/plain", None))
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            """Prints nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{host}:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


class Browser:
    """One browser, which stays open until the test leaves it; a context manager.

    `host` is the name that its page has: `127.0.0.1` or one under `localhost`.
    """

    def __init__(self, host="127.0.0.1"):
        self._host = host
        self._stack = contextlib.ExitStack()
        self._lines = queue.Queue()
        self._process = None
        self.page = None

    def __enter__(self):
        self.page = self._stack.enter_context(page_server(self._host))
        self._process = subprocess.Popen(
            ["node", str(HERE / "browser" / "drive.js")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=plain_environment(),
        )
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._stack.close()

    def play(self, scenario, **job):
        """Plays a scenario of browser/drive.js; returns what the page saw and the types of its requests."""
        job = {"scenario": scenario, "page": self.page, "chromium": chromium(), **job}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        line = self._lines.get(timeout=RESULT_LIMIT_S)
        if not line:
            raise AssertionError(f"the browser ended during `{scenario}`")
        answer = json.loads(line)
        return answer.get("result"), answer["types"]

    def call(self, operation, *values):
        """Calls what browser/page.js gives the page; returns its answer."""
        return self.play("page", operation=operation, values=values)[0]

    def origin(self):
        """The origin of the page."""
        return self.page.rstrip("/")

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")
