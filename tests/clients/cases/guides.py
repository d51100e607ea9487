"""The examples of the documentation of identities, as printed."""

import os
import subprocess
import sys

from lib.cases import case, case_for_each
from lib.expect import check, equal, until
from lib.pages import Page, run_example
from lib.store import Store
from lib.tollgate import GUARDED

PAGES = ("identity.md", "mini-program.md")


@case_for_each(PAGES, "docs/{}: every command answers as printed")
def examples(t, name):
    page = Page(name)
    tollgate = t.tollgate(page.configuration(t.folder))
    found = page.examples()
    check(found, "there are examples")
    for command, lines in found:
        run_example(tollgate, t.folder, command, lines)


@case_for_each(PAGES, "docs/{}: `tollgate check` finds no mistake in the configuration")
def configuration(t, name):
    path = t.folder / "page.toml"
    path.write_text(Page(name).configuration(t.folder), encoding="utf-8")
    done = subprocess.run([t.binary, "check", "--config", str(path)], capture_output=True, text=True, timeout=30, check=False)
    equal(done.returncode, 0, f"the exit code of check, which said {done.stdout + done.stderr}")


@case("docs/identity.md: the program with an access key writes, and the one that makes tokens makes good ones")
def programs(t):
    page = Page("identity.md")
    tollgate = t.tollgate(page.configuration(t.folder))
    writer, minter = page.blocks("python")
    environment = {
        **os.environ, "ENDPOINT": f"http://localhost:{tollgate.front_port}", "DATA": str(tollgate.data_dir),
        "SECRET": (t.folder / "report-server.key").read_text(encoding="utf-8").strip(),
    }
    _run(writer, environment)
    token = _run(minter, environment).strip()
    answer = tollgate.post([{"event": "minted"}], GUARDED, {"Authorization": f"Bearer {token}"})
    equal(answer.status_code, 200, f"the status with the token ({answer.text})")
    store = Store(tollgate)
    until(lambda: {each.get("event") for each in store.events()} == {"paid", "minted"}, "both events are stored")


def _run(program, environment):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    equal(done.returncode, 0, f"the exit code, with {done.stderr}")
    return done.stdout
