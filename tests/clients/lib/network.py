"""A network of a case's own: Linux network namespaces, which need root."""

import contextlib
import ctypes
import os
import subprocess

from lib.cases import NotHere

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def own_network():
    """Moves this thread, and what it starts, into a new network that has nothing but loopback; back at the end."""
    with open("/proc/self/ns/net", "rb") as before:
        try:
            _call(_libc.unshare, CLONE_NEWNET)
        except PermissionError as error:
            raise NotHere("network namespaces need root") from error
        try:
            ip("link set lo up")
            yield
        finally:
            _call(_libc.setns, before.fileno(), CLONE_NEWNET)


class Peer:
    """Another machine, on a wire of its own to this network: `near` is the end here, `far` the one there."""

    def __init__(self, near, far):
        self._holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 300"], stdout=subprocess.PIPE)
        self._holder.stdout.readline()
        pid = self._holder.pid
        ip(f"link add near type veth peer name far netns {pid}")
        for address in near:
            ip(f"address add {address} dev near nodad")
        ip("link set near up")
        for line in ["link set lo up", *(f"address add {address} dev far nodad" for address in far), "link set far up"]:
            self.run("ip", *line.split())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._holder.kill()
        self._holder.wait(10)

    def run(self, *command):
        """Runs a command there; returns what it prints."""
        done = subprocess.run(self._there(command), capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def start(self, *command):
        """Starts a command there, with pipes."""
        return subprocess.Popen(self._there(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _there(self, command):
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", *command]


def ip(line):
    """Runs `ip` of iproute2 here."""
    done = subprocess.run(["ip", *line.split()], capture_output=True, text=True, timeout=10, check=False)
    if done.returncode != 0:
        raise AssertionError(f"ip {line}: {done.stderr}")


def _call(function, *arguments):
    if function(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{function.__name__}: {os.strerror(ctypes.get_errno())}")
