"""The pages of docs/ and the texts beside them: their fenced blocks, in order."""

import re
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
FOLDER = "/etc/tollgate"

_FENCE = re.compile(r"^( *)(`{3,})(.*)$")
# A file that the line above a block names first: "`shop.toml`, a configuration:".
_NAMED = re.compile(r"^ *`([\w./-]+\.\w+)`")


@dataclass
class Block:
    """A fenced block: its language, the marks that follow it, its text, the line it begins in, and the file it is."""

    page: str
    language: str
    marks: tuple
    text: str
    line: int
    file: str | None
    follows: "Block | None"  # the block that ends right above, with nothing but blank lines between

    def where(self):
        """For people."""
        return f"{self.page}:{self.line}"


class Page:
    """One page of the documentation, by its name in docs/, or its path in the repository."""

    def __init__(self, name):
        path = DOCS / name
        self.name = name
        self.path = path if path.exists() else ROOT / name
        self.text = self.path.read_text(encoding="utf-8")
        self.all = list(_blocks(name, self.text.splitlines()))

    def blocks(self, language):
        """The texts of the blocks in one language, in order."""
        return [block.text for block in self.all if block.language == language]

    def configuration(self, folder):
        """The page's configuration, with its files in a folder; the secrets that it names are made there."""
        return placed(self.blocks("toml")[0], folder)


def placed(text, folder):
    """A configuration with its files in a folder instead of `FOLDER`; the secrets that it names are made there."""
    for name in set(re.findall(rf"file:{FOLDER}/([\w.-]+)", text)):
        path = Path(folder) / name
        if not path.exists():
            path.write_text(_rsa_key() if name.endswith(".pem") else secrets.token_hex(32) + "\n", encoding="utf-8")
    return text.replace(FOLDER, str(folder))


def _rsa_key():
    """A private key; it stands for a public one too, where only that is asked for."""
    command = ["openssl", "genpkey", "-algorithm", "RSA"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def _blocks(page, lines):
    at, before = 0, None
    while at < len(lines):
        opening = _FENCE.match(lines[at])
        if not opening:
            if lines[at].strip():
                before = None
            at += 1
            continue
        indent, fence, info = opening.groups()
        end = next((i for i in range(at + 1, len(lines)) if lines[i].strip() == fence), None)
        if end is None:
            raise AssertionError(f"{page}:{at + 1}: the block does not end")
        words = info.split()
        above = next((line for line in reversed(lines[:at]) if line.strip()), "")
        named = _NAMED.match(above) if above.rstrip().endswith(":") else None
        before = Block(
            page, words[0] if words else "", tuple(words[1:]),
            "".join(line.removeprefix(indent) + "\n" for line in lines[at + 1:end]), at + 1,
            named[1].rpartition("/")[2] if named else None, before,
        )
        yield before
        at = end + 1
