"""A wire tap: a TCP proxy in front of Tollgate that keeps the bytes which clients send.

It changes nothing, so a test sees both what a client put on the wire and what Tollgate made of it.
It can hold answers back, to make Tollgate look slow.
"""

import contextlib
import http.client
import socket
import threading
from dataclasses import dataclass


@dataclass
class Request:
    """A request as it came over the wire."""

    method: str
    target: str
    headers: list
    body: bytes

    def header(self, name):
        """The values of a header, joined; None when it was not sent."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None


class Wiretap:
    """The proxy; a context manager."""

    def __init__(self, port, hold_answers_s=0.0):
        self._upstream = ("127.0.0.1", port)
        self._hold_answers_s = hold_answers_s
        self._ended = threading.Event()
        self._sent = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        self._acceptor.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        # Closing alone leaves the thread in accept(), on a descriptor that the next tap may get.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(10)
        self._listener.close()

    def requests(self):
        """The whole requests that came so far, connection by connection."""
        return [request for sent in self._sent for request in parse_requests(bytes(sent))]

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                upstream = socket.create_connection(self._upstream, timeout=10)
            except OSError:
                client.close()
                continue
            upstream.settimeout(None)
            sent = bytearray()
            self._sent.append(sent)
            threading.Thread(target=self._relay, args=(client, upstream, sent), daemon=True).start()

    def _relay(self, client, upstream, sent):
        """Carries one connection; closes both sides when neither is read any more."""
        answers = threading.Thread(target=self._answer, args=(upstream, client), daemon=True)
        answers.start()
        for data in _received(client):
            sent += data
            try:
                upstream.sendall(data)
            except OSError:
                break
        _shut(upstream)
        answers.join()
        client.close()
        upstream.close()

    def _answer(self, upstream, client):
        for data in _received(upstream):
            self._ended.wait(self._hold_answers_s)
            try:
                client.sendall(data)
            except OSError:
                break
        _shut(client)


def _received(side):
    while True:
        try:
            data = side.recv(65536)
        except OSError:
            return
        if not data:
            return
        yield data


def _shut(side):
    with contextlib.suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)


def parse_requests(data):
    """The whole requests in the bytes of one connection. Bodies have a Content-Length here: no client tapped sends chunks."""
    found = []
    while b"\r\n\r\n" in data:
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _version = first.split(" ", 2)
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]
        length = next((int(value) for key, value in headers if key.lower() == "content-length"), 0)
        if len(rest) < length:
            break
        found.append(Request(method, target, headers, rest[:length]))
        data = rest[length:]
    return found


def resend(port, request, body=None, headers=None):
    """Sends a request again that was seen, with another body or other headers; returns status and body of the answer."""
    changed = {name.lower() for name in headers or {}} | {"content-length", "connection"}
    body = request.body if body is None else body
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        for name, value in [pair for pair in request.headers if pair[0].lower() not in changed] + list((headers or {}).items()):
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
