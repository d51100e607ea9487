"""deploy/release: what it says before it builds. The build itself takes half an hour: ./test long "release build"."""

import os

from lib import DEPLOY, check, folder, holds, tool

BUILD = DEPLOY / "release" / "build"

RUSTC = """#!/bin/sh
[ "$1" = --print ] && { echo /nonexistent; exit; }
echo "host: HOST"
echo "LLVM version: 99.1.0"
"""


def refusal(*arguments, host="x86_64-unknown-linux-gnu"):
    """What it says when it refuses, with a compiler of which no tools are here."""
    with folder() as place:
        (place / "rustc").write_text(RUSTC.replace("HOST", host))
        (place / "rustc").chmod(0o755)
        path = f"{place}:{os.environ['PATH']}"
        return tool("bash", BUILD, *arguments, ok=False, env={**os.environ, "PATH": path})


@check("a release build refuses what it does not know, and says which tools it misses, before it builds")
def refusals():
    with folder() as empty:
        for arguments, wanted in (
            (("--fast",), "unknown argument --fast: there is --profile FOLDER"),
            (("--profile",), "--profile needs a folder"),
            (("--profile", empty), f"{empty} holds no tollgate.profdata and tollgate.fdata"),
            ((), "no llvm-profdata for LLVM 99: install Debian's llvm-99 and bolt-99"),
        ):
            said = refusal(*arguments)
            holds(wanted in said, f"build {arguments}: {said}")
    said = refusal(host="aarch64-apple-darwin")
    holds("aarch64-apple-darwin: llvm-bolt lays out programs of Linux" in said, said)
