"""The pages of docs/: their blocks, and their commands with the answers that they print."""

import os
import re
import secrets
import subprocess
from pathlib import Path

from lib.expect import check
from lib.tollgate import plain_environment

DOCS = Path(__file__).resolve().parents[3] / "docs"
FOLDER = "/etc/tollgate"


class Page:
    """One page of the documentation."""

    def __init__(self, name):
        self.text = (DOCS / name).read_text(encoding="utf-8")

    def blocks(self, language):
        """The blocks in one language, in order."""
        return re.findall(rf"^```{language}\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)

    def configuration(self, folder):
        """The page's configuration, with its files in a folder; the secrets that it names are made there."""
        text = self.blocks("toml")[0]
        for name in set(re.findall(rf"file:{FOLDER}/([\w.-]+)", text)):
            (Path(folder) / name).write_text(secrets.token_hex(32) + "\n", encoding="utf-8")
        return text.replace(FOLDER, str(folder))

    def examples(self):
        """Each command, with the lines that its answer holds."""
        found = re.findall(r"^```sh\n(.*?)^```\n```http\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)
        check(len(found) == len(self.blocks("sh")), "every command is followed by its answer")
        return [(command, answer.splitlines()) for command, answer in found]


def run_example(tollgate, folder, command, lines):
    """Runs a command as a reader would, and fails unless its answer holds the lines."""
    binary, data = tollgate.binary, tollgate.data_dir
    admin = f"http://127.0.0.1:{tollgate.admin_port}"
    script = f"""
set -euo pipefail
tollgate() {{
  case "$1" in
    ticket | revoke) '{binary}' "$@" --data-dir '{data}' --admin-url {admin} ;;
    policy | check) '{binary}' "$@" ;;
    tail) sleep 3; '{binary}' "$@" --data-dir '{data}' --logstore-url http://127.0.0.1:{tollgate.store_port} ;;
    *) '{binary}' "$@" --data-dir '{data}' ;;
  esac
}}
{command.replace(FOLDER, str(folder))}"""
    environment = {
        **plain_environment(), "INGEST": f"http://127.0.0.1:{tollgate.front_port}", "ADMIN": admin,
        "TOKEN": tollgate.token(), "DATA": str(data), "TOLLGATE_PID": str(tollgate.pid()),
    }
    environment["PATH"] = os.environ["PATH"]
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False, env=environment,
        stdin=subprocess.DEVNULL,
    )
    for line in lines:
        check(line in done.stdout, f"{command}\nhas no `{line}` (exit {done.returncode}):\n{done.stdout}\n{done.stderr}")
