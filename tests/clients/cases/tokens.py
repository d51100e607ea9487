"""Tokens that others make, PyJWT and the npm package jose, with keys in every form that identity providers give out."""

import json

from lib.cases import case, case_for_each
from lib.events import marked
from lib.expect import check, equal, until
from lib.issuer import AUDIENCE, HMACS, ISSUER, SIGNATURES, Key, KeyServer, by_hand, claims_of, with_payload
from lib.store import Store, same_events
from lib.tollgate import GUARDED, PROJECT


def _config(*keys):
    """A configuration whose one logstore takes tokens of these keys, each given as its lines of TOML."""
    tables = [
        f'[[identity.jwt]]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\nmax_lifetime = "1h"\n' + "\n".join(lines)
        for lines in keys
    ]
    return "\n\n".join([
        # These cases are refused so often on purpose that their answers would be held back.
        f'[ingest]\ndefault_project = "{PROJECT}"\nrefusal_delay = "0s"', *tables,
        '[[upstream]]\nname = "embedded"\nkind = "embedded"',
        f'[[project]]\nname = "{PROJECT}"\nupstream = "embedded"',
        f'[[project.logstore]]\nname = "{GUARDED}"\naccept = ["jwt"]',
    ])


def _file(t, name, content):
    path = t.folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def _by_pem(t, key):
    path = _file(t, f"{key.kid}.pem", key.public_pem())
    return (f'kid = "{key.kid}"', f'algorithms = ["{key.algorithm}"]', f'public_key = "{path}"')


def _by_secret(t, key):
    path = _file(t, f"{key.kid}.key", key.private)
    return (f'kid = "{key.kid}"', f'algorithms = ["{key.algorithm}"]', f'secret = "file:{path}"')


def _by_jwk(t, key):
    path = _file(t, f"{key.kid}.json", key.jwk())
    return ('kid = "one-key"', f'algorithms = ["{key.algorithm}"]', f'jwks = "{path}"')


def _by_set(t, key, beside):
    path = _file(t, "set.json", {"keys": [beside.jwk(), key.jwk()]})
    return ('kid = "set"', f'algorithms = ["{key.algorithm}"]', f'jwks = "{path}"')


def _by_url(server, algorithm, *more):
    return ('kid = "url"', f'algorithms = ["{algorithm}"]', f'jwks_url = "{server.url}"', *more)


def _send(tollgate, token, events=({"a": "b"},)):
    return tollgate.post(list(events), GUARDED, {"Authorization": f"Bearer {token}"})


def _refused(tollgate, token, reason, status=401):
    """Fails unless the token is refused for this reason."""

    def count():
        return tollgate.metric("tollgate_requests_refused_total", reason=reason)

    before = count()
    answer = _send(tollgate, token)
    equal((answer.status_code, count() - before), (status, 1), f"the status, and the refusals as {reason}")
    check(token not in answer.text, "the token is not repeated")


def _wrong_tokens(tollgate, key, other, unknown_key="token_unknown_key"):
    """Every kind of wrong token, and the reason for which it is refused."""
    good = key.by_pyjwt()
    scheme = {"alg": key.algorithm, "kid": key.kid}
    _refused(tollgate, with_payload(good, claims_of(sub="someone else")), "token_signature")
    _refused(tollgate, other.by_pyjwt(kid=key.kid), "token_signature")
    _refused(tollgate, other.by_jose(kid=key.kid), "token_signature")
    _refused(tollgate, by_hand(scheme, claims_of(), b"a guess"), "token_signature")
    _refused(tollgate, good[: good.rindex(".") + 1], "token_signature")
    _refused(tollgate, by_hand({**scheme, "alg": "none"}, claims_of(), None), "token_unknown_key")
    _refused(tollgate, key.by_pyjwt(kid="another"), unknown_key)
    _refused(tollgate, f"{good}.x", "token_malformed")
    _refused(tollgate, by_hand({**scheme, "crit": ["exp"]}, claims_of(), b"x"), "token_malformed")
    now = claims_of()["iat"]
    for claims, reason in (
        ({"exp": now - 60}, "token_expired"),
        ({"nbf": now + 600}, "token_not_yet_valid"),
        ({"iat": now + 600}, "token_not_yet_valid"),
        ({"exp": now + 7200}, "token_claims"),
        ({"exp": None}, "token_claims"),
        ({"aud": "someone-else"}, "token_claims"),
        ({"aud": None}, "token_claims"),
        ({"iss": ISSUER[:-1]}, "token_claims"),
        ({"logstore": "another"}, "token_scope"),
        ({"project": "another"}, "token_scope"),
        ({"logstore": None}, "token_scope"),
    ):
        _refused(tollgate, key.by_pyjwt(**claims), reason)


@case_for_each(SIGNATURES, "{} tokens of PyJWT and jose are good with the key as PEM, JWK, JWK set and URL, wrong ones are not")
def signatures(t, algorithm):
    pem, jwk, of_set, of_url = (Key(algorithm, f"{algorithm}-{form}") for form in ("pem", "jwk", "set", "url"))
    other = Key(algorithm, "other")
    server = t.use(KeyServer(other, of_url))
    keys = (pem, jwk, of_set, of_url)
    tollgate = t.tollgate(_config(
        _by_pem(t, pem), _by_jwk(t, jwk), _by_set(t, of_set, other), _by_url(server, algorithm)
    ))
    until(lambda: _send(tollgate, of_url.by_pyjwt()).status_code == 200, "the set is fetched")
    marker, events = marked(2 * len(keys))
    tokens = [token for key in keys for token in (key.by_pyjwt(), key.by_jose())]
    for token, event in zip(tokens, events):
        equal(_send(tollgate, token, [event]).status_code, 200, "the status")
    same_events(Store(tollgate).settled(marker), events)
    for token in tokens[:2]:
        equal(_send(tollgate, token).status_code, 200, "the status of a token that was seen before")
    for key in keys:
        _wrong_tokens(tollgate, key, Key(algorithm, "stranger"))
    for secret in (pem.public_pem(), pem.public_pem().strip(), json.dumps(pem.jwk()).encode(), b""):
        forged = by_hand({"alg": "HS256", "typ": "JWT", "kid": pem.kid}, claims_of(), secret)
        _refused(tollgate, forged, "token_unknown_key")
    text = tollgate.output() + tollgate.metrics_text()
    for token in tokens:
        check(token not in text and token.rpartition(".")[2] not in text, "the token is in no log and no metric")


@case_for_each(HMACS, "{} tokens of PyJWT and jose are good with a secret and with a JWK file, wrong ones are not")
def secrets(t, algorithm):
    plain, jwk = Key(algorithm, "plain"), Key(algorithm, "jwk")
    tollgate = t.tollgate(_config(_by_secret(t, plain), _by_jwk(t, jwk)))
    marker, events = marked(4)
    tokens = [token for key in (plain, jwk) for token in (key.by_pyjwt(), key.by_jose())]
    for token, event in zip(tokens, events):
        equal(_send(tollgate, token, [event]).status_code, 200, "the status")
    same_events(Store(tollgate).settled(marker), events)
    for key in (plain, jwk):
        _wrong_tokens(tollgate, key, Key(algorithm, "stranger"))


@case("while a key set cannot be fetched its tokens are told to wait, those of other keys are not")
def unavailable(t):
    key, own = Key("ES256", "theirs"), Key("HS256", "own")
    elsewhere = t.use(KeyServer(key))
    server = t.use(KeyServer(key))
    server.status = 500
    tollgate = t.tollgate(_config(_by_secret(t, own), _by_url(server, "ES256")))
    until(lambda: server.fetches > 0, "a set is asked for")
    _refused(tollgate, key.by_pyjwt(), "token_keys_unavailable", 503)
    _refused(tollgate, key.by_pyjwt(iss="https://other.example.com"), "token_unknown_key")
    answer = _send(tollgate, own.by_pyjwt())
    equal(answer.status_code, 200, f"the status with another key ({answer.text})")
    # A redirect is no way to get one.
    server.status, server.location = 302, elsewhere.url
    asked = server.fetches
    until(lambda: server.fetches > asked, "it is asked for again")
    _refused(tollgate, key.by_pyjwt(), "token_keys_unavailable", 503)
    equal(elsewhere.fetches, 0, "the fetches after a redirect")
    server.status, server.location = 200, None
    until(lambda: _send(tollgate, key.by_pyjwt()).status_code == 200, "the set is fetched", 60)


@case("a key that the issuer adds becomes good, one that it takes away ends, and a failure changes nothing")
def rotation(t):
    old, new = Key("RS256", "old"), Key("RS256", "new")
    server = t.use(KeyServer(old))
    tollgate = t.tollgate(_config(_by_url(server, "RS256", 'jwks_refresh = "10s"')))
    token = old.by_jose()
    until(lambda: _send(tollgate, token).status_code == 200, "the set is fetched")
    _refused(tollgate, new.by_jose(), "token_unknown_key")
    server.keys = [old, new]
    until(lambda: _send(tollgate, new.by_jose()).status_code == 200, "the new key is known", 40)
    equal(_send(tollgate, token).status_code, 200, "the status of the old key's token")
    asked, server.status = server.fetches, 503
    until(lambda: server.fetches > asked, "it is asked for again", 40)
    equal(_send(tollgate, token).status_code, 200, "the status while the issuer is down")
    server.keys, server.status = [new], 200
    until(lambda: _send(tollgate, token).status_code == 401, "the old key ends", 60)
    equal(_send(tollgate, new.by_pyjwt()).status_code, 200, "the status of the new key's token")
    for n in range(50):
        _refused(tollgate, new.by_pyjwt(kid=f"flood-{n}"), "token_unknown_key")
    asked = server.fetches
    _refused(tollgate, new.by_pyjwt(kid="flood"), "token_unknown_key")
    check(server.fetches <= asked + 1, "unknown names do not fetch")
