#!/usr/bin/env python3
"""Checks deploy/, .github/ and deny.toml by the tools that will read them.

    .test/deploy/bin/python tests/deploy/run.py [WORD ...]

With words, only checks whose sentence holds one of them. TOLLGATE_BIN names the binary. `./test` installs what is
needed. No container is built here and no cluster is there: images and manifests are linted, rendered and held to
schemas, and the configurations that they carry run on this machine.
"""

import os
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from checks import docker, docs, grafana, helm, kubernetes, prometheus, release, supply, systemd, workflows  # noqa: E402
from lib import CHECKS, Failed  # noqa: E402

MODULES = (systemd, docker, kubernetes, helm, prometheus, grafana, workflows, supply, release, docs)


def main():
    """Runs what was asked for; the exit code says whether all passed."""
    if "TOLLGATE_BIN" not in os.environ:
        sys.exit("name the binary with TOLLGATE_BIN")
    words = sys.argv[1:]
    passed = failed = 0
    for check in CHECKS:
        if words and not any(word in check.sentence for word in words):
            continue
        began = time.monotonic()
        try:
            check.run()
        except Failed as why:
            failed += 1
            print(f"FAILED  {check.sentence}\n{why}", flush=True)
        except Exception:  # a fault of the check itself
            failed += 1
            print(f"FAILED  {check.sentence}\n{traceback.format_exc()}", flush=True)
        else:
            passed += 1
            print(f"ok      {time.monotonic() - began:4.1f} s  {check.sentence}", flush=True)
    print(f"\ndeploy files: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
