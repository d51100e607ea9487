"""What stands in front of a broker of the mock cluster: TLS and SASL, which the mock does not speak.

It terminates TLS, answers ApiVersions, SaslHandshake and SaslAuthenticate itself, and passes everything after a
login on to the broker.
"""

import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
import threading

API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE = 18, 17, 36
SASL_AUTHENTICATION_FAILED = 58
HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
ROUNDS = 4096


class Guard:
    """A listener on a free port that leads to `target`, a `host:port`."""

    def __init__(self, target, certificate=None, mechanism=None, user="tollgate", password="secret"):
        host, port = target.split(":")
        self.target = (host, int(port))
        self.mechanism, self.user, self.password = mechanism, user, password
        self.logins = []
        self._context = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            with connection:
                if self._context:
                    connection = self._context.wrap_socket(connection, server_side=True)
                with connection, socket.create_connection(self.target) as broker:
                    if self.mechanism is None or self._login(connection, broker):
                        self._relay(connection, broker)
        except (OSError, EOFError):
            pass

    def _relay(self, client, broker):
        """One request, one answer, as rskafka asks: nothing is pipelined on these connections but in its order."""
        while True:
            _send(broker, _receive(client))
            _send(client, _receive(broker))

    def _login(self, client, broker):
        scram = None
        while True:
            request = _receive(client)
            key, _version, correlation = struct.unpack(">hhi", request[:8])
            if key == API_VERSIONS:
                _send(broker, request)
                _send(client, _with_sasl(_receive(broker), request))
                continue
            (length,) = struct.unpack(">h", request[8:10])
            body = request[10 + length:]
            head = struct.pack(">i", correlation)
            if key == SASL_HANDSHAKE:
                name = self.mechanism.encode()
                _send(client, head + struct.pack(">hih", 0, 1, len(name)) + name)
                continue
            if key != SASL_AUTHENTICATE:
                return False
            (size,) = struct.unpack(">i", body[:4])
            if scram is None:
                scram = self._conversation()
                next(scram)
            answer, done, good = scram.send(body[4:4 + size])
            if done:
                self.logins.append(good)
            error = 0 if good else SASL_AUTHENTICATION_FAILED
            _send(client, head + struct.pack(">hhi", error, -1, len(answer)) + answer)
            if not good:
                return False
            if done:
                return True

    def _conversation(self):
        """Messages of the client in, (answer, whether it is the last, whether it is good) out."""
        message = yield
        if self.mechanism == "PLAIN":
            yield b"", True, message == f"\0{self.user}\0{self.password}".encode()
            return
        name = HASHES[self.mechanism]
        bare = message.decode().split(",", 2)[2]
        nonce = bare.split("r=")[1] + base64.b64encode(os.urandom(12)).decode()
        salt = os.urandom(16)
        first = f"r={nonce},s={base64.b64encode(salt).decode()},i={ROUNDS}"
        message = yield first.encode(), False, True
        without, _, proof = message.decode().rpartition(",p=")
        salted = hashlib.pbkdf2_hmac(name, self.password.encode(), salt, ROUNDS)
        key = hmac.digest(salted, b"Client Key", name)
        signed = f"{bare},{first},{without}".encode()
        signature = hmac.digest(hashlib.new(name, key).digest(), signed, name)
        wanted = bytes(a ^ b for a, b in zip(key, signature))
        good = base64.b64decode(proof) == wanted and f"n={self.user}," in bare + ","
        server = hmac.digest(hmac.digest(salted, b"Server Key", name), signed, name)
        yield b"v=" + base64.b64encode(server), True, good


def _with_sasl(answer, request):
    """An answer to ApiVersions that offers SASL as well: version 0 of it, whatever was asked for."""
    (version,) = struct.unpack(">h", request[2:4])
    if version > 0:
        # What a broker says that does not know the version: 35, and the client asks again with another one.
        return answer[:4] + struct.pack(">hi", 35, 0)
    error, count = struct.unpack(">hi", answer[4:10])
    more = struct.pack(">hhh", SASL_HANDSHAKE, 0, 1) + struct.pack(">hhh", SASL_AUTHENTICATE, 0, 0)
    return answer[:4] + struct.pack(">hi", error, count + 2) + answer[10:] + more


def _receive(stream):
    (length,) = struct.unpack(">i", _exactly(stream, 4))
    return _exactly(stream, length)


def _exactly(stream, count):
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _send(stream, message):
    stream.sendall(struct.pack(">i", len(message)) + message)
