"""The units, by systemd's own tools."""

import configparser
import re
import subprocess
import time

from lib import DEPLOY, READY_LIMIT_S, ROOT, Failed, binary, check, equal, folder, free_port, holds, seconds, status, tool

UNITS = DEPLOY / "systemd"
WORST_EXPOSURE = 15  # tenths: 1.5 of 10


def _service():
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read(UNITS / "tollgate.service")
    return unit["Service"]


@check("systemd-analyze verify finds no fault in the units, with the drop-in of credentials and without")
def verified():
    for drop_in in (False, True):
        with folder() as here:
            for unit in UNITS.glob("tollgate*.s*t"):
                (here / unit.name).write_text(unit.read_text())
            text = (UNITS / "tollgate.service").read_text().replace("/usr/local/bin/tollgate", binary())
            (here / "tollgate.service").write_text(text)
            if drop_in:
                (here / "tollgate.service.d").mkdir()
                file = "tollgate.service.d/credentials.conf"
                (here / file).write_text((UNITS / file).read_text())
            names = [here / name for name in ("tollgate.service", "tollgate.socket", "tollgate-admin.socket")]
            said = tool("systemd-analyze", "verify", "--man=no", *names)
            equal(said.strip(), "", "what it said")


@check(f"systemd-analyze security gives the service an exposure of at most {WORST_EXPOSURE / 10}")
def hardened():
    tool("systemd-analyze", "security", "--offline=true", f"--threshold={WORST_EXPOSURE}", "--no-pager", UNITS / "tollgate.service")


@check("the unit is one of notify with a watchdog, stops later than the stop deadline, and has descriptors for all connections")
def in_step():
    service = _service()
    equal(service["Type"], "notify", "Type")
    holds(int(service["WatchdogSec"]) >= 10, "WatchdogSec leaves time for three pings")
    defaults = (ROOT / "config" / "tollgate.toml").read_text()
    deadline = seconds(re.search(r'(?m)^stop_deadline = "(\w+)"', defaults)[1])
    holds(int(service["TimeoutStopSec"]) >= deadline + 20, "TimeoutStopSec is stop_deadline and 20 s")
    connections = int(re.search(r"(?m)^max_connections = (\d+)", defaults)[1])
    holds(int(service["LimitNOFILE"]) >= connections + 500, "LimitNOFILE is max_connections and some hundreds")
    equal(service["ExecReload"], "/bin/kill -HUP $MAINPID", "ExecReload")


@check("what the program calls of the kernel is in the list of calls that the unit allows")
def calls_allowed():
    allowed = _calls("@system-service") - _calls("@privileged")
    with folder() as here:
        trace, port = here / "calls", free_port()
        command = [
            "strace", "--follow-forks", "--summary-only", f"--output={trace}", binary(), "run", "--listen", "127.0.0.1:0",
            "--admin-listen", f"127.0.0.1:{port}", "--logstore-listen", "127.0.0.1:0", "--data-dir", str(here / "data"),
        ]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(f"http://127.0.0.1:{port}/readyz", process)
            [child] = tool("ps", "-o", "pid=", "--ppid", process.pid).split()
            tool("kill", "-TERM", child)
            equal(process.wait(60), 0, "the exit code")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(30)
        made = {line.split()[-1] for line in trace.read_text().splitlines() if re.match(r"\s*\d+\.\d+ ", line)} - {"total"}
    holds({"execve", "epoll_wait"} <= made, f"the trace holds the calls of a program that serves: {sorted(made)}")
    # execve is made by systemd before the filter is there, and by the handover, which the list allows.
    equal(sorted(made - allowed), [], "calls that the unit does not allow")


@check("systemd-socket-activate starts the program with the sockets that the units name")
def activated():
    names = [re.search(r"FileDescriptorName=(\w+)", (UNITS / unit).read_text())[1] for unit in ("tollgate.socket", "tollgate-admin.socket")]
    with folder() as here:
        ports = [free_port(), free_port()]
        listens = [part for port in ports for part in ("--listen", f"127.0.0.1:{port}")]
        command = ["systemd-socket-activate", *listens, f"--fdname={':'.join(names)}", binary(), "run"]
        command += ["--logstore-listen", "127.0.0.1:0", "--data-dir", str(here / "data")]
        with (here / "log").open("w") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                _wait_for(f"http://127.0.0.1:{ports[1]}/readyz", process, here / "log")
                equal(status(f"http://127.0.0.1:{ports[0]}/nothing"), 404, "the status of the public socket")
                process.terminate()
                equal(process.wait(60), 0, "the exit code")
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait(30)


def _wait_for(url, process, log=None):
    end = time.monotonic() + READY_LIMIT_S
    while status(url) != 200:
        if process.poll() is not None or time.monotonic() > end:
            raise Failed(f"nobody is ready at {url}: {log.read_text() if log else ''}")
        time.sleep(0.05)


def _calls(group, seen=None):
    """The system calls of a group of systemd, those of its groups too."""
    seen = set() if seen is None else seen
    if group in seen:
        return set()
    seen.add(group)
    lines = tool("systemd-analyze", "syscall-filter", group).splitlines()
    words = [line.strip() for line in lines[1:] if line.strip() and not line.strip().startswith("#")]
    calls = {word for word in words if not word.startswith("@")}
    for inner in (word for word in words if word.startswith("@")):
        calls |= _calls(inner, seen)
    return calls
