"""Clients of other machines and networks, in network namespaces: real IPv6, many addresses, a wire that is cut."""

import collections

from lib.cases import case
from lib.expect import check, equal, until
from lib.network import Peer, ip, own_network
from lib.tollgate import OPEN, PROJECT, free_ports

# Sends one event from each address that standard input names, each on a connection of its own; prints address and status.
SENDER = """
import http.client, sys
host, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
for line in sys.stdin:
    source = line.strip()
    connection = http.client.HTTPConnection(host, port, timeout=10, source_address=(source, 0))
    connection.request("POST", path, b'{"__logs__":[{"from":"' + source.encode() + b'"}]}')
    print(source, connection.getresponse().status, flush=True)
    connection.close()
"""

# Opens a connection, sends half a request, and stays.
HANGER = """
import socket, sys
stream = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
stream.sendall(b"POST " + sys.argv[3].encode() + b" HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 100\\r\\n\\r\\nhalf")
print("sent", flush=True)
sys.stdin.read()
"""

PATH = f"/logstores/{OPEN}/track"


def _config(listen, more):
    return f"""
[ingest]
default_project = "{PROJECT}"
refusal_delay = "0s"
{more}

[[ingest.listener]]
name = "net"
listen = "{listen}"

[[limit]]
name = "network"
key = ["address"]
rate = [{{ count = 10, per = "1h" }}]

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


def _edge(t, more=""):
    [port] = free_ports(1)
    return t.tollgate(_config(f"[::]:{port}", more)), str(port)


def _send(peer, host, port, sources):
    """How often each status was the answer to one event from each of these addresses."""
    sender = peer.start("python3", "-c", SENDER, host, port, PATH)
    out, _ = sender.communicate("\n".join(sources) + "\n", timeout=60)
    statuses = collections.Counter(line.split()[1] for line in out.splitlines())
    equal(sum(statuses.values()), len(sources), "answers")
    return dict(statuses)


@case("an IPv6 network is one client whatever address it takes, an IPv4 address is one by itself, on a listener of both")
def prefixes(t):
    near = ["2001:db8::1/32", "10.7.0.1/16"]
    six = {network: [f"2001:db8:{network}::{host:x}" for host in range(1, 41)] for network in ("a", "b")}
    four = [f"10.7.1.{host}" for host in range(1, 41)]
    far = [f"{address}/32" for network in six.values() for address in network] + [f"{address}/16" for address in four]
    t.use(own_network())
    peer = t.use(Peer(near, far))
    tollgate, port = _edge(t)
    equal(_send(peer, "2001:db8::1", port, six["a"]), {"200": 10, "429": 30}, "one /64, forty addresses")
    equal(_send(peer, "2001:db8::1", port, six["b"]), {"200": 10, "429": 30}, "another /64 has its own")
    equal(_send(peer, "10.7.0.1", port, four), {"200": 40}, "forty IPv4 addresses, as ::ffff:a.b.c.d")
    equal(_send(peer, "10.7.0.1", port, four[:1] * 12), {"200": 9, "429": 3}, "one of them goes on")
    tollgate.drain()
    equal(tollgate.metric("tollgate_events_delivered_total", logstore=OPEN), 69, "delivered")


@case("2,000 networks of one IPv6 site are held to the site's share, and 2,000 IPv4 addresses have each their own")
def many(t):
    t.use(own_network())
    # The whole prefix is local there: any address of it may be a source.
    peer = t.use(Peer(["2001:db8::1/32", "10.7.0.1/16"], ["2001:db8:ffff::1/32", "10.7.255.1/16"]))
    for prefix in ("10.7.16.0/20", "2001:db8:1::/48"):
        peer.run("ip", "route", "add", "local", prefix, "dev", "lo")
    peer.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind")
    ip("route add 2001:db8:1::/48 via 2001:db8:ffff::1")
    ip("route add 10.7.16.0/20 via 10.7.255.1")
    tollgate, port = _edge(t)
    four = [f"10.7.{16 + number // 250}.{1 + number % 250}" for number in range(2000)]
    six = [f"2001:db8:1:{number:x}::1" for number in range(2000)]
    equal(_send(peer, "10.7.0.1", port, four), {"200": 2000}, "IPv4")
    # A /48 has 65,536 networks of a /64: together they get what 64 of them would.
    site = _send(peer, "2001:db8::1", port, six)["200"]
    check(640 <= site <= 660, f"one site got {site}")
    equal(_send(peer, "2001:db8::1", port, six[-1:])["429"], 1, "the site's next network")
    check(tollgate.metric("tollgate_limit_keys", limit="network") <= 65_536, "the keys that are kept")
    tollgate.drain()
    equal(tollgate.metric("tollgate_events_delivered_total", logstore=OPEN), 2000 + site, "delivered")


@case("a wire that is cut in the middle of a request: the connection is let go, and others are served meanwhile")
def cut(t):
    t.use(own_network())
    peer = t.use(Peer(["10.7.0.1/16"], ["10.7.1.1/16"]))
    tollgate, port = _edge(t, 'body_timeout = "2s"\nbody_grace = "1s"\nidle_timeout = "2s"')
    hanger = peer.start("python3", "-c", HANGER, "10.7.0.1", port, PATH)
    equal(hanger.stdout.readline(), "sent\n", "the half request")
    until(lambda: tollgate.metric("tollgate_connections_open") >= 1, "the connection is open")
    ip("link set near down")
    equal(tollgate.post([{"k": "v"}]).status_code, 200, "another client")
    until(lambda: tollgate.metric("tollgate_connections_open") == 0, "the connection is let go")
    hanger.kill()
    hanger.wait(10)
    equal(tollgate.stop(), 0, "the exit code")
