#!/usr/bin/env python3
"""Builds the site of docs/ and looks at it as a reader's browser does.

    .test/site/bin/python tests/site/run.py OUT

The build is strict: a dead link or a page that is in no navigation fails it. Then every page is read: its links and
anchors lead somewhere, every page is reached from the first, and nothing comes from elsewhere, neither scripts nor
fonts nor images. A real Chromium opens pages under a policy that lets nothing else in, through a proxy that has nothing
but the site, and searches it.
"""

import contextlib
import os
import re
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
HOST = "docs.test"
PAGES = ("index.html", "start.html", "config.html", "security.html")
POLICY = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
BROKEN = "Content Security Policy"
# What the search has to find, and where it is.
SEARCH = ("SIGUSR2", "deploy-edge.html")
BROWSER_LIMIT_S = 90
KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2"}


class Read(HTMLParser):
    """What one page links to, loads, and can be linked to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """An element."""
        given = dict(attrs)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag in ("a", "form") or tag == "link" and given.get("rel") in ("index", "search", "next", "prev", "canonical"):
            self.links += [given[key] for key in ("href", "action") if given.get(key)]
        else:
            self.loads += [given[key] for key in ("src", "href", "data", "poster") if given.get(key)]
            self.loads += [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]
        self.loads += re.findall(r"url\(['\"]?([^'\")]+)", given.get("style") or "")


def build(out):
    """The folder of the pages, built anew."""
    done = subprocess.run([sys.executable, str(ROOT / "docs/site/build.py"), str(out)], check=False)
    if done.returncode:
        sys.exit("the site cannot be built")
    return out / "html"


def read(site):
    """Every page; what is wrong with them."""
    pages = {path.relative_to(site).as_posix(): Read(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    wrong = []
    reached, waiting = {"index.html"}, ["index.html"]
    while waiting:
        name = waiting.pop()
        for link in pages[name].links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = os.path.normpath(os.path.join(os.path.dirname(name), unquote(parts.path))) if parts.path else name
            if not (site / target).is_file():
                wrong.append(f"{name}: {link} leads nowhere")
            elif target in pages:
                if parts.fragment and unquote(parts.fragment) not in pages[target].anchors:
                    wrong.append(f"{name}: {link} has no such place")
                if target not in reached:
                    reached.add(target)
                    waiting.append(target)
    wrong += [f"{name} is reached from nowhere" for name in pages if name not in reached]
    for name, page in pages.items():
        for load in page.loads:
            parts = urlsplit(load)
            inside = os.path.normpath(os.path.join(os.path.dirname(name), unquote(parts.path)))
            if parts.scheme == "data" or load.startswith("#"):
                continue
            if parts.scheme or parts.netloc or not (site / inside).is_file():
                wrong.append(f"{name}: loads {load}")
    for path in site.rglob("*.css"):
        for url in re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")\s;]+)", path.read_text(encoding="utf-8")):
            if re.match(r"(https?:)?//", url):
                wrong.append(f"{path.name}: loads {url}")
    return len(pages), wrong


class Proxy(socketserver.ThreadingTCPServer):
    """A proxy that has the site and nothing else, and remembers what was asked for in vain. Chromium itself asks its
    makers for news, whatever it is told; what a page asks for is seen by the policy."""

    daemon_threads = True

    def __init__(self, site):
        self.site, self.missing = site, set()
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self):
        """A file of the site."""
        parts = urlsplit(self.path)
        if parts.hostname != HOST:
            return self.send_error(502)
        path = self.server.site / unquote(parts.path).lstrip("/")
        found = path.is_file() and self.server.site in path.resolve().parents
        if not found:
            self.server.missing.add(parts.path)
        content = path.read_bytes() if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", KINDS.get(path.suffix, "application/octet-stream"))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_CONNECT(self):
        """A tunnel, which there is none of."""
        self.send_error(502)

    def log_message(self, *_):
        """Prints nothing."""


@contextlib.contextmanager
def proxy(site):
    """The proxy, while it is needed."""
    server = Proxy(site.resolve())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def opened(port, page):
    """What Chromium has made of a page, and what it complains of."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        sys.exit("there is no chromium; ./test installs it, or name one with CHROMIUM")
    with tempfile.TemporaryDirectory(prefix="tollgate-site-") as profile:
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        command += ["--disable-component-update", "--disable-sync", "--no-first-run", f"--user-data-dir={profile}"]
        command += [f"--proxy-server=http://127.0.0.1:{port}", "--virtual-time-budget=15000", "--enable-logging=stderr"]
        done = subprocess.run(
            [*command, "--dump-dom", f"http://{HOST}/{page}"], capture_output=True, text=True, check=False,
            timeout=BROWSER_LIMIT_S, stdin=subprocess.DEVNULL,
        )
    if done.returncode:
        sys.exit(f"chromium ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line or BROKEN in line]


def look(site):
    """What is wrong in a browser."""
    wrong = []
    with proxy(site) as server:
        port = server.server_address[1]
        for page in PAGES:
            text, complaints = opened(port, page)
            wrong += [f"{page}: {line}" for line in complaints]
            if "<h1>" not in text:
                wrong.append(f"{page}: shows no heading")
        word, where = SEARCH
        results, complaints = opened(port, f"search.html?q={word}")
        wrong += [f"search.html: {line}" for line in complaints]
        found = re.findall(r'<li[^>]*>\s*<a href="([^"#?]+)', results.partition('id="search-results"')[2])
        if where not in found:
            wrong.append(f"a search for {word} finds {found}, not {where}")
        wrong += [f"the browser missed {path}" for path in sorted(server.missing - {"/favicon.ico"})]
    return wrong


def main():
    """Builds and looks; the exit code says whether all is well."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    began = time.monotonic()
    site = build(Path(sys.argv[1]))
    count, wrong = read(site)
    print(f"{count} pages in {site}, {time.monotonic() - began:.0f} s", flush=True)
    wrong += look(site)
    for each in wrong:
        print(f"FAILED  {each}")
    print(f"site: {len(wrong)} faults, {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
