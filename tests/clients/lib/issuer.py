"""A maker of tokens as an identity provider is one: its keys, in every form, and a server for its key set."""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm

from lib.node import run_script
from lib.tollgate import GUARDED, PROJECT

ISSUER = "https://login.example.com/"
AUDIENCE = "tollgate-tests"
HMACS = ("HS256", "HS384", "HS512")
SIGNATURES = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")


class Key:
    """A secret or a pair of keys for one algorithm."""

    def __init__(self, algorithm, kid):
        self.algorithm = algorithm
        self.kid = kid
        self.private = _generate(algorithm)

    def jwk(self, private=False):
        """The key as a JWK; of a secret there is only one form."""
        family = {"H": HMACAlgorithm, "R": RSAAlgorithm, "P": RSAAlgorithm}.get(self.algorithm[0])
        family = family or (ECAlgorithm if self.algorithm.startswith("ES") else OKPAlgorithm)
        key = self.private if private or self.algorithm in HMACS else self.private.public_key()
        return {**family.to_jwk(key, as_dict=True), "kid": self.kid, "alg": self.algorithm, "use": "sig"} | (
            {"key_ops": ["sign"]} if private else {"key_ops": ["verify"]}
        )

    def public_pem(self):
        """The public key as PEM."""
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private.public_key().public_bytes(encoding, form)

    def by_pyjwt(self, kid=None, **claims):
        """A token that PyJWT has made."""
        return jwt.encode(claims_of(**claims), self.private, self.algorithm, headers={"kid": kid or self.kid})

    def by_jose(self, kid=None, **claims):
        """A token that the npm package jose has made."""
        jwk = {name: value for name, value in self.jwk(private=True).items() if name != "key_ops"}
        job = {"alg": self.algorithm, "kid": kid or self.kid, "jwk": jwk, "claims": claims_of(**claims)}
        return run_script("node/jose_sign.js", {"tokens": [job]})[0]


def _generate(algorithm):
    if algorithm in HMACS:
        # Text: of a file that ends in a line break, that is cut.
        return secrets.token_hex(64).encode()
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm.startswith("ES"):
        return ec.generate_private_key({"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1()}[algorithm])
    return rsa.generate_private_key(65537, 2048)


def claims_of(**changes):
    """Good claims, with changes; None takes one away."""
    now = int(time.time())
    claims = {
        "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 600, "sub": "visitor",
        "project": PROJECT, "logstore": GUARDED, **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def by_hand(header, claims, secret):
    """A token with any header, signed with HMAC-SHA256 by any secret; without one, not at all."""
    message = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
    if secret is None:
        return f"{message}."
    return f"{message}.{_base64(hmac.new(secret, message.encode(), hashlib.sha256).digest())}"


def with_payload(token, claims):
    """The token with other claims under its signature."""
    header, _, signature = token.split(".")
    return f"{header}.{_base64(json.dumps(claims).encode())}.{signature}"


def _base64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class KeyServer:
    """A server of a key set; a context manager. `keys` may be changed, `status` says how it answers."""

    def __init__(self, *keys):
        self.keys = list(keys)
        self.status = 200
        self.location = None
        self.fetches = 0
        key_server = self

        class Handler(BaseHTTPRequestHandler):
            """Answers with the set."""

            def do_GET(self):
                """The set, or whatever status is asked for."""
                key_server.fetches += 1
                document = json.dumps({"keys": [key.jwk() for key in key_server.keys]}).encode()
                self.send_response(key_server.status)
                if key_server.location:
                    self.send_header("Location", key_server.location)
                self.send_header("Content-Type", "application/jwk-set+json")
                self.send_header("Content-Length", str(len(document)))
                self.end_headers()
                self.wfile.write(document)

            def log_message(self, *_):
                """Prints nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/jwks.json"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
