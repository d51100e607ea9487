"""nginx in front, with the settings that docs/deploy-edge.md prints."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import requests

from lib.cases import case
from lib.events import marked
from lib.expect import equal, until
from lib.store import Store
from lib.tollgate import OPEN, PROJECT, free_ports

PAGE = Path(__file__).resolve().parents[3] / "docs" / "deploy-edge.md"
SECTION = "## nginx"


@case("docs/deploy-edge.md: nginx with the settings that are printed passes events on, and a forged address with them is not believed")
def in_front(t):
    server, settings = _blocks()
    tollgate = t.tollgate(_config(settings))
    [port] = free_ports(1)
    made = subprocess.run([t.binary, "cert", "self-signed", "--out", str(t.folder / "tls")], capture_output=True, text=True, timeout=30, check=False)
    equal(made.returncode, 0, f"the exit code of cert, which said {made.stderr}")
    server = server.replace("127.0.0.1:8080", f"127.0.0.1:{tollgate.front_port}").replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    server = server.replace("/etc/nginx/tls/edge.pem", f"{t.folder}/tls/tls-cert.pem").replace("/etc/nginx/tls/edge.key", f"{t.folder}/tls/tls-key.pem")
    path = t.folder / "nginx.conf"
    path.write_text(_whole(server, t.folder), encoding="utf-8")
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    with (t.folder / "nginx.log").open("ab") as log:
        process = subprocess.Popen([program, "-c", str(path), "-e", "stderr"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    t.use(_Killed(process))
    url = f"https://127.0.0.1:{port}/logstores/{OPEN}/track"
    marker, events = marked(3)
    body = json.dumps({"__logs__": events})
    forged = {"Host": f"{PROJECT}.edge.example.com", "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http"}
    requests.packages.urllib3.disable_warnings()
    until(lambda: _answers(url), f"nginx listens: {(t.folder / 'nginx.log').read_text()}")
    answer = requests.post(url, data=body, headers=forged, verify=False, timeout=20)
    equal(answer.status_code, 200, f"the status ({answer.text})")
    stored = Store(tollgate).settled(marker, OPEN)
    equal({event["__tag__:__client_ip__"] for event in stored}, {"127.0.0.1"}, "the address that is stored")
    read, all_of_them = (tollgate.metric("tollgate_client_addresses_total", **labels) for labels in ({"outcome": "all_trusted"}, {}))
    equal(read, all_of_them, "the requests whose header was read")
    large = requests.post(url, data=b"x" * (10 << 20) + b"x", headers=forged, verify=False, timeout=20)
    equal(large.status_code, 413, "the status of a body that is too large")


def _blocks():
    text = PAGE.read_text(encoding="utf-8").split(f"\n{SECTION}\n")[1].split("\n## ")[0]
    [server] = re.findall(r"(?s)```nginx\n(.*?)```", text)
    [settings] = re.findall(r"(?s)```toml\n(.*?)```", text)
    return server, settings


def _whole(server, folder):
    """The settings as a whole file, with folders of its own."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    return f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{folders}\n{server}\n}}\n"


def _answers(url):
    try:
        return requests.get(url, verify=False, timeout=5).status_code
    except requests.RequestException:
        return None


class _Killed:
    """Ends a process when the case ends."""

    def __init__(self, process):
        self._process = process

    def __enter__(self):
        return self._process

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait(10)


def _config(settings):
    return f"""
{settings}

[[upstream]]
name = "embedded"
kind = "embedded"

[[project]]
name = "{PROJECT}"
upstream = "embedded"

[[project.logstore]]
name = "{OPEN}"
accept = ["anonymous"]
"""
