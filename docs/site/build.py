#!/usr/bin/env python3
"""Builds the documentation as a site, without the network.

    python docs/site/build.py OUT

The pages are docs/*.md and the texts at the top of the repository, as they are: they are read in the repository too.
They are gathered in OUT/source with their links put right, and Sphinx makes OUT/html of them. A link to a page, a file or a
heading that is not there is an error, and so is a page that the navigation below does not name.
"""

import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

import openapi

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

NAVIGATION = {
    "Begin": ("docs/start.md", "docs/concepts.md", "docs/faq.md", "docs/comparison.md"),
    "Who may write": ("docs/identity.md", "docs/mini-program.md", "docs/policy.md"),
    "How much, and what": (
        "docs/quotas.md", "docs/schema.md", "docs/guards.md", "docs/transforms.md", "docs/jwt-functions.md",
        "docs/testing.md", "docs/replay.md",
    ),
    "Keep and deliver": (
        "docs/delivery.md", "docs/destinations.md", "docs/durability.md", "docs/spool.md", "docs/overload.md",
    ),
    "Run it": (
        "docs/deploy.md", "docs/deploy-edge.md", "docs/operations.md", "docs/reload.md", "docs/dashboard.md",
        "docs/logs.md", "docs/traces.md", "docs/runbook.md", "docs/performance.md",
    ),
    "Reference": (
        "docs/config.md", "docs/cli.md", "docs/protocol.md", "docs/admin-api.md", "docs/metrics.md",
    ),
    "Security": ("docs/security.md", "SECURITY.md"),
    "The project": ("ARCHITECTURE.md", "CONTRIBUTING.md", "benches/README.md", "fuzz/README.md", "CHANGELOG.md"),
}
INDEX = "docs/index.md"
# The description of the admin API becomes a page, under the page about it.
API = "docs/admin-api.md", "docs/openapi.json", "admin-api-calls.md"

_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
_FENCE = re.compile(r"^ *```")


class Wrong(Exception):
    """What keeps the site from being built."""


def staged_names():
    """The pages by their path in the repository, and their names in the site."""
    pages = [INDEX, *(page for part in NAVIGATION.values() for page in part)]
    left_out = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")} - set(pages)
    if left_out:
        raise Wrong(f"NAVIGATION of {Path(__file__).name} does not name {', '.join(sorted(left_out))}")
    names = {page: page.removeprefix("docs/").replace("/", "-").lower() for page in pages}
    # docs/security.md is about the program, SECURITY.md about reports.
    names["SECURITY.md"] = "security-policy.md"
    if len(set(names.values())) != len(names):
        raise Wrong("two pages have one name")
    return names


def title(page):
    """The first heading of a page."""
    return re.search(r"(?m)^# (.+)$", (ROOT / page).read_text(encoding="utf-8"))[1]


def with_links(text, page, names, files):
    """The page with links to other pages by their names in the site; files that it links to are added to `files`."""

    def target(match):
        label, link = match.groups()
        path, mark, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:") or not path:
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
        if path in names:
            # The name of a file is for readers of files.
            label = title(path) if label.endswith(".md") else label
            return f"[{label}]({names[path]}{mark}{anchor})"
        if not (ROOT / path).is_file():
            raise Wrong(f"{page}: there is no {path}, to which it links")
        files.add(path)
        return f"[{label}]({posixpath.basename(path)})"

    lines, fenced = [], False
    for line in text.splitlines(keepends=True):
        if _FENCE.match(line):
            fenced = not fenced
        lines.append(line if fenced else _LINK.sub(target, line))
    return "".join(lines)


def toctree(caption, pages, hidden=True):
    """A table of contents, for the navigation alone."""
    options = f":caption: {caption}\n" if caption else ""
    hide = ":hidden:\n" if hidden else ""
    return f"\n```{{toctree}}\n{options}{hide}\n" + "".join(f"{page.removesuffix('.md')}\n" for page in pages) + "```\n"


def stage(source):
    """Gathers the pages in a folder."""
    names = staged_names()
    files = set()
    api_page, description, calls = API
    for page, name in names.items():
        text = with_links((ROOT / page).read_text(encoding="utf-8"), page, names, files)
        if page == INDEX:
            for caption, pages in NAVIGATION.items():
                text += toctree(caption, (names[each] for each in pages))
        if page == api_page:
            text += toctree(None, [calls])
        (source / name).write_text(text, encoding="utf-8")
    (source / calls).write_text(openapi.page((ROOT / description).read_text(encoding="utf-8")), encoding="utf-8")
    for path in files:
        if (source / posixpath.basename(path)).exists():
            raise Wrong(f"two files are called {posixpath.basename(path)}")
        shutil.copyfile(ROOT / path, source / posixpath.basename(path))


def main():
    """Stages and builds; the exit code says whether there is a site."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    out = Path(sys.argv[1]).resolve()
    source, html = out / "source", out / "html"
    for folder in (source, html):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    try:
        stage(source)
    except Wrong as why:
        sys.exit(f"docs/site/build.py: {why}")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-c", str(HERE), "-d", str(out / "doctrees")]
    command += ["--fail-on-warning", "--keep-going", "--quiet", "--jobs", "2", str(source), str(html)]
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
