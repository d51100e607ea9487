"""The programs of the documentation of identities, as printed."""

import os
import subprocess
import sys

from lib.cases import case
from lib.expect import equal, until
from lib.pages import Page
from lib.store import Store
from lib.tollgate import GUARDED

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
