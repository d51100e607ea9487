"""Access keys, policies and roles for a Tollgate under test, and the official client of its token service."""

import base64
import hashlib
import hmac
import json
import secrets
import time

from alibabacloud_sts20150401.client import Client
from alibabacloud_sts20150401.models import AssumeRoleRequest
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_openapi.utils_models import Config

from lib.expect import check, equal, until
from lib.tollgate import GUARDED, OPEN, PROJECT

ROLE = "acs:ram::1234567890123456:role/sls-web-tracking"
SERVER = "tollgate-server-1"
OTHER = "other-logstore"
WRITE = "log:PostLogStoreLogs"
READ = ["log:GetCursorOrData", "log:ListShards", "log:GetLogStoreLogs", "log:GetLogStore"]

# The policy of the published guide, with its names.
GUIDE = {
    "Version": "1",
    "Statement": [{
        "Effect": "Allow",
        "Action": ["log:PostLogStoreLogs"],
        "Resource": ["acs:log:*:*:project/sls-webtracking-mini/logstore/web-tracking-logstore"],
    }],
}


def resource(logstore=GUARDED):
    """The resource that a logstore is in a policy."""
    return f"acs:log:*:*:project/{PROJECT}/logstore/{logstore}"


def statement(actions, *logstores, effect="Allow", **condition):
    """A statement of a policy, for the guarded logstore unless it names others."""
    found = {"Effect": effect, "Action": actions, "Resource": [resource(each) for each in logstores or (GUARDED,)]}
    return {**found, "Condition": condition} if condition else found


def policy(*statements):
    """A policy document."""
    return {"Version": "1", "Statement": list(statements)}


class Rules:
    """A configuration in the making: what `[identity]` holds, and the logstores."""

    def __init__(self, folder):
        self._folder = folder
        self.secrets = {}
        self.policies = {}
        self.keys = {}
        self.roles = {}
        self.logstores = {GUARDED: {}, OTHER: {}, OPEN: {"accept": ["anonymous"]}}
        self.project = {}
        self.upstream = {"kind": "embedded"}
        self.sections = {}
        self.jwt = {}

    def policy(self, name, *statements):
        """A policy by name."""
        self.policies[name] = policy(*statements)

    def key(self, key_id=SERVER, *policies, **more):
        """An access key; returns its secret."""
        self.keys[key_id] = {"policies": list(policies), **more}
        self.secrets[key_id] = secrets.token_urlsafe(24)
        (self._folder / f"{key_id}.key").write_text(self.secrets[key_id] + "\n", encoding="utf-8")
        return self.secrets[key_id]

    def role(self, arn=ROLE, *policies, **more):
        """A role that the server's key may assume."""
        self.roles[arn] = {"policies": list(policies), "assumed_by": [SERVER], **more}

    def text(self):
        """The configuration."""
        tables = [("[ingest]", {"default_project": PROJECT})]
        tables += [(f"[{name}]", values) for name, values in self.sections.items()]
        tables.append(("[[identity.jwt]]", {"kid": "quickstart", "issuer": "tollgate", "audience": "tollgate", **self.jwt}))
        tables += [
            ("[[identity.access_key]]", {"id": each, "secret": f"file:{self._folder / each}.key", **more})
            for each, more in self.keys.items()
        ]
        tables += [
            ("[[identity.policy]]", {"name": name, "document": json.dumps(document)})
            for name, document in self.policies.items()
        ]
        tables += [("[[identity.role]]", {"arn": arn, **more}) for arn, more in self.roles.items()]
        tables.append(("[[upstream]]", {"name": "store", **self.upstream}))
        tables.append(("[[project]]", {"name": PROJECT, "upstream": "store", **self.project}))
        tables += [("[[project.logstore]]", {"name": name, **more}) for name, more in self.logstores.items()]
        return "\n".join(_table(header, values) for header, values in tables)


def _table(header, values):
    return "".join([f"{header}\n", *(f"{key} = {_value(value)}\n" for key, value in values.items())])


def _value(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)


def token_service(port, secret, key_id=SERVER):
    """The official client of the token service, pointed at a port of this machine."""
    return Client(Config(
        endpoint=f"127.0.0.1:{port}", protocol="HTTP", access_key_id=key_id, access_key_secret=secret,
        region_id="cn-shanghai",
    ))


def assume(tollgate, secret, session="d-001", key_id=SERVER, role=ROLE, narrowed_by=None, **options):
    """Temporary credentials of a role, as the official client returns them."""
    if narrowed_by is not None:
        options["policy"] = json.dumps(narrowed_by)
    request = AssumeRoleRequest(role_arn=role, role_session_name=session, **options)
    return token_service(tollgate.front_port, secret, key_id).assume_role(request).body.credentials


def assume_error(*arguments, **options):
    """The error that the official client raises instead of returning credentials."""
    try:
        assume(*arguments, **options)
    except AlibabaCloudException as error:
        return error
    raise AssertionError("the role could be assumed")


def as_page_reads(credentials):
    """Credentials as an app server hands them to a page."""
    return credentials.to_map()


def refused(answer, reason, status=401):
    """Fails unless an answer is this refusal, readable as JSON; returns its message."""
    equal((answer.status_code, answer.headers.get("x-tollgate-reason")), (status, reason), f"status and reason ({answer.text})")
    body = answer.json()
    equal(body.get("reason"), reason, "the reason in the body")
    check(body.get("errorCode") and body.get("errorMessage"), f"there are a code and a message: {body}")
    return body["errorMessage"]


def login_token(tollgate, **claims):
    """A token as a login service makes it: HS256, with claims beside the ones that every token has."""
    secret = (tollgate.data_dir / "keys" / "quickstart.key").read_text(encoding="utf-8").strip()
    head = {"alg": "HS256", "typ": "JWT", "kid": "quickstart"}
    claims = {
        "iss": "tollgate", "aud": "tollgate", "exp": int(time.time()) + 3600, "project": PROJECT, "logstore": GUARDED,
        **claims,
    }
    signed = ".".join(_part(json.dumps(each).encode()) for each in (head, claims))
    return f"{signed}.{_part(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())}"


def _part(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def within_a_second(probe, what):
    """Waits until the probe is true, for the second in which a change of who may send takes effect, and some slack."""
    until(probe, what, seconds=3)
