#!/usr/bin/env python3
"""Runs the published clients, unpatched, against the binary named in TOLLGATE_BIN.

    .test/venv/bin/python tests/clients/run.py [--keep-going] [--jobs N] [--tries N] [--report FILE] [WORD ...]

With words, only cases whose file or sentence holds one of them. `./test` installs what is needed.
"""

import argparse
import importlib
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
GROUPS = (
    "shims",
    "front",
    "tls",
    "nginx",
    "networks",
    "browser",
    "dashboard",
    "mini_platforms",
    "mini_tokens",
    "mini_life",
    "python_sdk",
    "python_sdk_front",
    "python_producer",
    "node_sdk",
    "sts_plugin",
    "sts_python_sdk",
    "mini_program",
    "credentials",
    "admin_api",
    "guides",
    "snippets",
    "tokens",
    "commands",
    "stopping",
    "kafka",
    "archives",
    "copies",
    "prometheus",
    "watching",
    "traces",
)
PROJECTS = ("sls-webtracking-mini", "no-such-project")
NSS_WRAPPER = "libnss_wrapper.so"


def main():
    """Runs what was asked for; the exit code says whether all passed."""
    options = _options()
    _resolve_names()
    sys.path.insert(0, str(HERE))
    sys.dont_write_bytecode = True
    from lib.cases import all_cases, run_cases

    for group in GROUPS:
        importlib.import_module(f"cases.{group}")
    chosen = [
        each
        for each in all_cases()
        if not options.words or any(word in each.group or word in each.sentence for word in options.words)
    ]
    passed, failed, flaky = run_cases(chosen, options)
    print(f"\nclients: {passed} passed, {failed} failed, {len(chosen) - passed - failed} not run")
    for sentence in flaky:
        print(f"clients: FLAKY, it failed before it passed: {sentence}")
    if options.report:
        Path(options.report).write_text(f"{passed} {failed}\n", encoding="utf-8")
    return 1 if failed or not passed else 0


def _options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.environ.get("TOLLGATE_BIN"), help="the binary; default: TOLLGATE_BIN")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failure")
    parser.add_argument("--jobs", type=int, default=2, help="cases that run at a time; default: 2")
    parser.add_argument("--tries", type=int, default=1, help="how often a case may be tried; default: 1")
    parser.add_argument("--report", help="file for the two numbers, passed and failed")
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    if not options.binary:
        parser.error("name the binary with --binary or TOLLGATE_BIN")
    options.binary = str(Path(options.binary).resolve())
    return options


def _resolve_names():
    """Starts this program again with a name resolution that knows PROJECT.localhost, which the SDKs ask for."""
    if NSS_WRAPPER in os.environ.get("LD_PRELOAD", ""):
        return
    hosts = Path(tempfile.gettempdir()) / f"tollgate-test-hosts-{os.getuid()}"
    hosts.write_text("".join(f"127.0.0.1 {project}.localhost\n" for project in PROJECTS), encoding="utf-8")
    environment = {**os.environ, "LD_PRELOAD": NSS_WRAPPER, "NSS_WRAPPER_HOSTS": str(hosts)}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)


if __name__ == "__main__":
    sys.exit(main())
