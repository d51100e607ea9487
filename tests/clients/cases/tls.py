"""TLS of the public listener, with clients that people use: openssl, curl, and Python's ssl."""

import socket
import ssl
import subprocess

from lib.cases import case, case_for_each
from lib.expect import check, equal, until
from lib.tollgate import OPEN, PROJECT, free_ports, plain_environment

NAMES = ("edge.test", "*.edge.test")
EVENT = '{"__logs__":[{"from":"curl"}]}'
# The loosest that OpenSSL goes: old versions are off in Debian's own settings.
LOOSE = "DEFAULT:@SECLEVEL=0"


def _pair(t, name, names, force=False):
    """A certificate and key by the binary, and the lines of the configuration that it prints."""
    folder = t.folder / name
    command = [t.binary, "cert", "self-signed", "--out", str(folder)]
    command += [part for each in names for part in ("--name", each)]
    done = subprocess.run(command + ["--force"] * force, capture_output=True, text=True, timeout=60, check=False)
    equal(done.returncode, 0, f"the end of {command}: {done.stderr}")
    return folder / "tls-cert.pem", done.stdout


def _start(t, tls="", ingest="", tables=""):
    """A Tollgate with two certificates, and the files of both."""
    wild, lines = _pair(t, "wild", NAMES)
    exact, more = _pair(t, "exact", ("shop.edge.test",))
    config = f"""
[ingest]
default_project = "{PROJECT}"
{ingest}
[ingest.tls]
{tls}
{lines}
{more}
{tables}
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
    # Ready means that the private listener answers, which speaks plain HTTP.
    return t.tollgate(config), wild, exact


def _openssl(tollgate, *arguments, give=b""):
    """`openssl s_client` to the public listener; its exit code and all that it says."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{tollgate.front_port}", *arguments]
    done = subprocess.run(
        command, input=give, capture_output=True, timeout=30, env=plain_environment(), check=False
    )
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def _curl(tollgate, ca_file, name, path, *arguments, port=None, scheme="https"):
    """curl to a name that stands for this machine; status, protocol, headers."""
    port = port or tollgate.front_port
    command = ["curl", "--silent", "--show-error", "--max-time", "20", "--cacert", str(ca_file)]
    command += ["--resolve", f"{name}:{port}:127.0.0.1", "--output", "/dev/null", "--dump-header", "-"]
    command += ["--write-out", "\n%{http_code} %{http_version}", *arguments, f"{scheme}://{name}:{port}{path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=plain_environment(), check=False)
    equal(done.returncode, 0, f"the end of curl: {done.stderr}")
    head, _, last = done.stdout.strip().rpartition("\n")
    status, version = last.split()
    headers = dict(line.lower().split(": ", 1) for line in head.splitlines() if ": " in line)
    return int(status), version, headers


def _shown(tollgate, name):
    """The certificate that Python is shown when it asks for a name, as DER."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", tollgate.front_port), 20) as plain:
        with context.wrap_socket(plain, server_hostname=name) as stream:
            return stream.getpeercert(binary_form=True)


@case_for_each(("-tls1", "-tls1_1"), "openssl {} is refused, and the refusal is counted")
def old_versions(t, version):
    tollgate, _, _ = _start(t)
    code, said = _openssl(tollgate, version, "-cipher", LOOSE)
    check(code != 0, f"the handshake failed: {said}")
    check("alert" in said and "Cipher is (NONE)" in said, f"the server refuses it: {said}")
    until(
        lambda: tollgate.metric("tollgate_connections_ended_total", reason="handshake_failed") == 1,
        "the refusal is counted",
    )


@case_for_each(
    (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")), "openssl {} is served as {}, and the certificate is verified"
)
def new_versions(t, version, name):
    tollgate, wild, _ = _start(t)
    code, said = _openssl(tollgate, version, "-servername", "a.edge.test", "-CAfile", str(wild), "-verify_return_error",
                          "-verify_hostname", "a.edge.test")
    equal(code, 0, f"the end of openssl: {said}")
    check(name in said and "Verification: OK" in said, f"version and verification: {said}")
    check("Compression: NONE" in said or version == "-tls1_3", "no compression")


@case("renegotiation asked for by the client is refused, and ends the connection")
def renegotiation(t):
    tollgate, _, _ = _start(t)
    # The line `R` makes openssl begin a new handshake on the connection.
    process = subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{tollgate.front_port}", "-tls1_2"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=plain_environment(),
    )
    try:
        until(lambda: tollgate.metric("tollgate_tls_handshakes_total", kind="tls12") == 1, "the handshake is done")
        process.stdin.write(b"R\n")
        process.stdin.flush()
        said = process.communicate(timeout=20)[0].decode(errors="replace")
    finally:
        process.kill()
        process.wait(10)
    check("RENEGOTIATING" in said, f"openssl tried: {said[-500:]}")
    check("no renegotiation" in said, f"the server refuses: {said[-500:]}")
    equal(tollgate.metric("tollgate_tls_handshakes_total", kind="tls12"), 1, "the handshakes done")


@case("Python is shown the exact certificate, then the wildcard's, then the first; strict_sni shows none")
def names(t):
    tollgate, wild, exact = _start(t)
    first, second = (ssl.PEM_cert_to_DER_cert(path.read_text()) for path in (wild, exact))
    for name, wanted in (
        ("shop.edge.test", second), ("SHOP.EDGE.TEST", second), ("demo.edge.test", first), ("edge.test", first),
        ("a.b.edge.test", first), ("unknown.test", first), (None, first),
    ):
        check(_shown(tollgate, name) == wanted, f"the certificate for {name}")
    tollgate.kill()
    config = tollgate.config.read_text().replace("[ingest.tls]", "[ingest.tls]\nstrict_sni = true")
    strict = t.tollgate(config)
    check(_shown(strict, "shop.edge.test") == second, "the certificate for a known name")
    for name in ("unknown.test", None):
        try:
            _shown(strict, name)
        except ssl.SSLError as error:
            check("access denied" in str(error).lower(), f"the refusal of {name}: {error}")
        else:
            raise AssertionError(f"{name} was shown a certificate")


@case("Python verifies names as browsers do, and is served over TLS 1.3")
def python_verifies(t):
    tollgate, wild, _ = _start(t)
    context = ssl.create_default_context(cafile=str(wild))
    with socket.create_connection(("127.0.0.1", tollgate.front_port), 20) as plain:
        with context.wrap_socket(plain, server_hostname="demo.edge.test") as stream:
            equal(stream.version(), "TLSv1.3", "the version")
            stream.sendall(f"GET /logstores/{OPEN}/track?a=b HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            check(stream.recv(100).startswith(b"HTTP/1.1 200"), "the answer")


@case("curl --http2 sends a preflight and an event over HTTP/2, and is told of HSTS on both")
def http2(t):
    tollgate, wild, _ = _start(t, tls='hsts = "180d"')
    path = f"/logstores/{OPEN}/track"
    status, version, headers = _curl(
        tollgate, wild, "edge.test", path, "--http2", "--request", "OPTIONS", "--header", "Origin: https://page.test",
        "--header", "Access-Control-Request-Method: POST", "--header", "Access-Control-Request-Headers: content-type",
    )
    equal((status, version), (200, "2"), "status and version of the preflight")
    equal(headers.get("access-control-allow-origin"), "*", "who may send")
    equal(headers.get("strict-transport-security"), "max-age=15552000", "HSTS")
    arguments = ("--data", EVENT, "--header", f"x-log-project: {PROJECT}")
    status, version, headers = _curl(tollgate, wild, "edge.test", path, "--http2", *arguments)
    equal((status, version), (200, "2"), "status and version of the event")
    equal(headers.get("strict-transport-security"), "max-age=15552000", "HSTS")
    status, version, _ = _curl(tollgate, wild, "edge.test", path, "--http1.1", *arguments)
    equal((status, version), (200, "1.1"), "status and version of HTTP/1.1")
    equal(tollgate.metric("tollgate_events_accepted_total", logstore=OPEN), 2, "the events accepted")


@case("curl follows the redirect of a plain listener to https with method and body, and no other host gets one")
def redirect(t):
    (plain,) = free_ports(1)
    # The port of https is known only once the service is up, so the plain listener is on a second start.
    tollgate, wild, _ = _start(t)
    config = tollgate.config.read_text()
    front = tollgate.front_port
    tollgate.kill()
    config = config.replace("[ingest.tls]", 'domains = ["edge.test"]\n[ingest.tls]').replace(
        "[[upstream]]",
        f'[[ingest.listener]]\nname = "plain"\nlisten = "127.0.0.1:{plain}"\nredirect_to_https = {front}\n[[upstream]]',
    )
    tollgate.config.write_text(config)
    tollgate.start()
    name = f"{PROJECT}.edge.test"
    path = f"/logstores/{OPEN}/track?a=b"
    status, _, headers = _curl(tollgate, wild, name, path, port=plain, scheme="http")
    equal((status, headers.get("location")), (308, f"https://{name}:{front}{path}"), "where curl is sent")
    check("strict-transport-security" not in headers, "no HSTS in the clear")
    status, _, _ = _curl(
        tollgate, wild, name, f"/logstores/{OPEN}/track", "--location", "--data", EVENT,
        "--resolve", f"{name}:{front}:127.0.0.1", port=plain, scheme="http",
    )
    equal(status, 200, "the status of an event that was sent on")
    equal(tollgate.metric("tollgate_events_accepted_total", logstore=OPEN), 1, "the events accepted")
    status, _, headers = _curl(tollgate, wild, f"{PROJECT}.evil.test", path, port=plain, scheme="http")
    equal((status, headers.get("location")), (404, None), "what another host is told")


@case("a certificate that is renewed is shown after SIGHUP, and the connection that was open goes on")
def renewed(t):
    tollgate, wild, _ = _start(t, tls='reload_interval = "1h"')
    before = _shown(tollgate, "edge.test")
    context = ssl.create_default_context(cafile=str(wild))
    request = f"GET /logstores/{OPEN}/track?a=b HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", tollgate.front_port), 20) as plain:
        with context.wrap_socket(plain, server_hostname="edge.test") as stream:
            stream.sendall(request)
            check(stream.recv(4096).startswith(b"HTTP/1.1 200"), "the first answer")
            _pair(t, "wild", NAMES, force=True)
            tollgate.reload(tollgate.config.read_text())
            until(lambda: _shown(tollgate, "edge.test") != before, "the new certificate is shown")
            stream.sendall(request)
            check(stream.recv(4096).startswith(b"HTTP/1.1 200"), "the second answer")
    after = ssl.PEM_cert_to_DER_cert(wild.read_text())
    check(_shown(tollgate, "edge.test") == after, "the certificate of the file is shown")
