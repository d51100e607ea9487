"""What the pages say of deploy/ and of metrics. Their other commands are run, and their links followed, by other tests."""

import re
import shlex
import shutil
import subprocess
import time

from lib import READY_LIMIT_S, ROOT, binary, check, equal, folder, free_port, holds, status, tool

PAGES = [*sorted((ROOT / "docs").glob("*.md")), *(ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md"))]


@check("every file of deploy/, config/ and tests/ that a page names is there")
def files():
    missing = []
    for page in PAGES:
        for name in re.findall(r"(?<![\w/.-])((?:deploy|config|tests)/[\w./-]+\w)", page.read_text()):
            if not (ROOT / name).exists() and not name.endswith("/mine"):
                missing.append(f"{page.name}: {name}")
    holds(not missing, f"no files: {missing}")


@check("the metrics that the pages name exist")
def metrics():
    from checks.prometheus import known_metrics

    # The others are cookies.
    known = known_metrics() | {"tollgate_token", "tollgate_session"}
    unknown = []
    for page in PAGES:
        for name in re.findall(r"\b(tollgate[_:][a-z][\w:]*)\b", page.read_text()):
            # `tollgate_spool_*` is all that begin so.
            if name not in known and not (name.endswith("_") and any(each.startswith(name) for each in known)):
                unknown.append(f"{page.name}: {name}")
    holds(not unknown, f"no metrics: {sorted(set(unknown))}")


def _lines(text):
    """The lines of blocks of shell, those that go on joined."""
    blocks = re.findall(r"(?ms)^```sh[^\n]*\n(.*?)^```", text)
    return [line for block in blocks for line in re.sub(r"\\\n\s*", " ", block).splitlines()]


def _mounted(words):
    """What a `docker run` mounts: path in the container to path here; volumes with a name are not here."""
    mounts = {}
    for option, value in zip(words, words[1:]):
        if option in ("--volume", "-v"):
            here, there = value.split(":")[:2]
            mounts[there] = here if here.startswith("$PWD/") else None
    return mounts


def _contained(words, where):
    """The command that a `docker run` of the image would run, on this machine: with what is mounted, and with nothing else of
    the container's. `where` is the folder that the commands are typed in."""
    image = next(place for place, word in enumerate(words) if word.startswith("tollgate:"))
    arguments = words[image + 1:]
    places = {}
    for there, here in _mounted(words[:image]).items():
        places[there] = where / (here.removeprefix("$PWD/") if here else there.strip("/").replace("/", "-"))
        if here:
            holds(places[there].exists(), f"`{shlex.join(words)}` mounts {here}, which is there")
        else:
            places[there].mkdir(exist_ok=True)

    def here(text):
        for there, place in sorted(places.items(), key=lambda each: -len(each[0])):
            text = text.replace(there, str(place))
        return text

    for there, place in list(places.items()):
        if place.suffix == ".toml":
            moved = where / f"contained-{place.name}"
            moved.write_text(here(place.read_text()))
            places[there] = moved
    return [binary(), *(here(argument) for argument in arguments)]


@check("the configurations that the commands of docs/deploy.md name are good as the commands mount them, and a node runs on them")
def run():
    with folder() as where:
        # The commands are typed in the repository.
        for name in ("deploy", "config"):
            shutil.copytree(ROOT / name, where / name)
        ran = 0
        for line in _lines((ROOT / "docs/deploy.md").read_text()):
            words = shlex.split(line)
            if words[:2] != ["docker", "run"]:
                continue
            out = None
            if ">" in words:
                words, out = words[:words.index(">")], where / words[words.index(">") + 1]
            command = _contained(words, where)
            if "run" not in command[1:2]:
                said = tool(*command, cwd=where)
                if out:
                    out.write_text(said)
                continue
            config = command[command.index("--config") + 1]
            tool(binary(), "check", "--config", config, cwd=where)
            _ready(command, where)
            ran += 1
        holds(ran == 1, f"a node ran as docker would run it: {ran}")
        # systemd: the file that is installed, with the line that the page puts at its top.
        text = (ROOT / "docs/deploy.md").read_text()
        [source] = re.findall(r"(?m)^install .*?(\S+\.toml) /etc/tollgate/tollgate\.toml$", text)
        holds('`data_dir = "/var/lib/tollgate"` at the top' in text, "the page says where data_dir goes")
        installed = where / "installed.toml"
        installed.write_text(f'data_dir = "{where}/data"\n' + (where / source).read_text())
        tool(binary(), "check", "--config", installed)
        _ready([binary(), "run", "--config", str(installed)], where)


def _ready(command, where):
    """Runs a node until it is ready, on ports of its own, and stops it."""
    private = free_port()
    more = ["--listen", "127.0.0.1:0", "--logstore-listen", "127.0.0.1:0", "--admin-listen", f"127.0.0.1:{private}"]
    with (where / "log").open("w") as log:
        process = subprocess.Popen([*command, *more], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=where)
        try:
            end = time.monotonic() + READY_LIMIT_S
            while status(f"http://127.0.0.1:{private}/readyz") != 200:
                holds(process.poll() is None and time.monotonic() < end, f"{command} is not ready:\n{(where / 'log').read_text()}")
                time.sleep(0.05)
            process.terminate()
            equal(process.wait(60), 0, "the exit code")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(30)
