"""The dashboard in headless Chromium, used by clicks and keys."""

import json
import os
import re
import subprocess

from lib.browser import chromium
from lib.cases import case
from lib.expect import check, equal
from lib.node import run_script
from lib.tollgate import GUARDED, OPEN, PROJECT

CHECKED = "checked"

CONFIG = f"""
[identity.session]
enabled = false

[[identity.jwt]]
kid = "quickstart"
issuer = "tollgate"
audience = "tollgate"

[[schema]]
name = "pay"
file = "SCHEMA"

[[limit]]
name = "door"
key = ["address"]
rate = [{{ count = 100000, per = "1s" }}]

[[upstream]]
name = "embedded"
kind = "embedded"

[[project]]
name = "{PROJECT}"
upstream = "embedded"

[[project.logstore]]
name = "{GUARDED}"

[[project.logstore]]
name = "{OPEN}"
accept = ["anonymous"]

[[project.logstore]]
name = "{CHECKED}"
accept = ["anonymous"]

[project.logstore.schema]
use = ["pay"]
mode = "enforce"
"""

COLD = f"""
[[upstream]]
name = "archive"
kind = "files"
files = {{ dir = "ARCHIVE" }}

[[project]]
name = "{PROJECT}"
upstream = "archive"

[[project.logstore]]
name = "{OPEN}"
accept = ["anonymous"]
also = "second"

[[upstream]]
name = "second"
kind = "files"
files = {{ dir = "ARCHIVE-2" }}
"""

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
    "properties": {"amount": {"type": "number"}}, "required": ["amount"],
}


class Desk:
    """A Tollgate, and somebody at its dashboard."""

    def __init__(self, t, more="", admin_ca=None, config=CONFIG):
        schema = t.folder / "pay.json"
        schema.write_text(json.dumps(SCHEMA), encoding="utf-8")
        config = config.replace("SCHEMA", str(schema)).replace("ARCHIVE", str(t.folder / "archive"))
        self.tollgate = t.tollgate(more + config, admin_ca=admin_ca)

    def play(self, scenario, **job):
        """Plays a scenario of browser/dashboard.js; nothing may be wrong on the console, and nobody else asked."""
        key = (self.tollgate.data_dir / "keys" / "admin.key").read_text(encoding="utf-8").strip()
        job = {
            "scenario": scenario, "chromium": chromium(), "token": key, "project": PROJECT,
            "admin": self.tollgate.admin_url(),
            "ingest": f"http://127.0.0.1:{self.tollgate.front_port}",
            "open": OPEN, "guarded": GUARDED, "checked": CHECKED,
            "pictures": os.environ.get("TOLLGATE_PICTURES"), **job,
        }
        seen = run_script("browser/dashboard.js", job, seconds=110)
        equal(seen["faults"], [], "errors on the console")
        equal(seen["elsewhere"], [], "requests to other origins")
        return seen

    def ticket(self, *arguments):
        """A ticket to look, made by the command."""
        return self.tollgate.manage("ticket", "create", "--project", PROJECT, "--view", "overview", *arguments)


def accessible(violations):
    """axe-core found nothing that keeps anybody out."""
    serious = [it for it in violations if it["impact"] in ("serious", "critical")]
    equal(serious, [], "serious violations of accessibility")


@case("a login with the admin token shows numbers that move and refusals that are explained, without a cookie")
def live(t):
    desk = Desk(t)
    seen = desk.play("live")
    check("not that of this node" in seen["wrong"], f"a wrong token is told: {seen['wrong']}")
    check(all("401" in text for text in seen["expected"]), f"only the 401 of the login: {seen['expected']}")
    check("credential_missing" in seen["refusal"] and "Send a token" in seen["refusal"], f"explained: {seen['refusal']}")
    check("Refused" in seen["outcomes"] and "credential_missing" in seen["outcomes"], seen["outcomes"])
    equal((seen["cookies"], seen["out"]), ([], True), "cookies, and the way in after logging out")
    accessible(seen["axe"] + seen["axeDark"])
    equal(desk.tollgate.metric("tollgate_dashboard_logins_total", outcome="admin"), 1, "logins")
    equal(desk.tollgate.metric("tollgate_dashboard_logins_total", outcome="wrong_token"), 1, "wrong logins")


@case("stored events and events that were set aside are shown, as text")
def events(t):
    seen = Desk(t).play("events")
    equal((seen["found"], seen["bold"]), (1, 0), "events that hold the text, and elements made of it")
    check("<b>bold</b>" in seen["event"], seen["event"])
    check("amount" in seen["record"] and "much" in seen["record"], seen["record"])


@case("the language and the theme follow the browser, are switched by their buttons, and stay")
def looks(t):
    seen = Desk(t).play("looks")
    equal((seen["chinese"], seen["lang"], seen["dark"]), ("流入", "zh-CN", "dark"), "as the browser says")
    check("此日志库要求凭证" in seen["refusal"] and "none" not in seen["refusal"], seen["refusal"])
    check("100,000 个请求/1s 按 address 分别计算" in seen["limit"], seen["limit"])
    check("令牌不属于此节点" in seen["wrong"], f"a wrong token: {seen['wrong']}")
    equal((seen["light"], seen["english"]), ("light", "Incoming"), "as the buttons say")
    equal(seen["kept"], ["Incoming", "light"], "after a reload")
    accessible(seen["axe"])


@case("on a phone nothing is wider than the screen")
def phone(t):
    seen = Desk(t).play("phone")
    equal(seen["wide"], [], "what is wider than the screen")
    equal(seen["cut"], [], "tables of three or four columns that have to be scrolled")
    equal(seen["width"], [375, 375], "the width of the page and of the screen")
    check(seen["dialog"][0] >= 0 and seen["dialog"][1] <= 375, f"the dialog: {seen['dialog']}")
    accessible(seen["axe"])


@case("everything is reached by the keyboard, and the focus is seen")
def keyboard(t):
    seen = Desk(t).play("keyboard")
    equal(seen["main"], "main", "where the skip link leads")
    equal((seen["link"], seen["closed"], seen["back"], seen["forgotten"]), (True, True, "share", ""), "the dialog")


@case("a share link shows what it says, as often as it says, and ends when it is revoked")
def link(t):
    seen = Desk(t).play("link")
    check("ticket" not in seen["address"], f"the ticket is taken out of the address: {seen['address']}")
    equal(seen["asked"], [], "requests whose address holds the ticket")
    check(OPEN in seen["numbers"] and GUARDED not in seen["numbers"], seen["numbers"])
    check("needle" in seen["events"] or "click" in seen["events"], "events are shown")
    check("example.com" not in seen["events"], "a hidden field is not shown")
    equal(seen["options"], [f"{PROJECT}/{OPEN}"], "the logstores to choose from")
    equal((seen["sees"], seen["form"]), ([], False), "what only the admin token shows, and its form")
    check("last 1 hour" in seen["scope"] and "Not shown: email" in seen["scope"], seen["scope"])
    check("as often as it may be" in seen["usedUp"], seen["usedUp"])
    check("for the partner" in seen["listed"] and "2 / 2" in seen["listed"], seen["listed"])
    check("revoked" in seen["revoked"], seen["revoked"])
    check(all("401" in text for text in seen["expected"]), f"only refused calls: {seen['expected']}")
    accessible(seen["axe"])


@case("a share link is shown in a frame of the page that it names, without its bar, and nowhere else")
def frame(t):
    seen = Desk(t).play("frame")
    equal((seen["bar"], seen["cookies"], seen["redirects"]), (False, [], []), "the bar, cookies, redirects")
    check(re.search(r"Requests accepted/s\s*[0-9.]*[1-9]", seen["tiles"]), seen["tiles"])
    equal(seen["refusedFrame"], True, "another page may not show it")
    check(all("chrome-error" in url or url == "" for url in seen["blocked"]), str(seen["blocked"]))
    check("pages of this origin" in seen["outside"], seen["outside"])


@case("a link that ends while it is open says so, and one for named accounts asks who looks")
def ends(t):
    desk = Desk(t)
    seen = desk.play(
        "ends",
        shortTicket=desk.ticket("--ttl", "15s"),
        accountTicket=desk.ticket("--account", "customer-7"),
        accountToken=desk.tollgate.command(
            "token", "mint", "--project", PROJECT, "--logstore", GUARDED, "--subject", "customer-7",
            "--config", str(desk.tollgate.config),
        ).stdout.strip(),
    )
    check("ended" in seen["ended"], seen["ended"])
    check("expired" in seen["expired"], seen["expired"])
    check("ticket" not in seen["address"], seen["address"])
    check("account" in seen["asked"], seen["asked"])


@case("a guest's page whose session is lost opens its link once more, and says what to do when it cannot")
def lost(t):
    seen = Desk(t).play("lost")
    equal(seen["asked"], False, "somebody was asked to log in")
    check("Open the link again" in seen["again"], seen["again"])
    check("as often as it may be" in seen["usedUp"], f"the second opening was a use: {seen['usedUp']}")


@case("a page whose connection falls silent connects again")
def silence(t):
    seen = Desk(t).play("silence")
    check("trying again" in seen["told"], seen["told"])
    check(seen["opened"] >= 1, "another stream")


@case("a logstore that goes to files, and what takes its copies, are there; only its events are said to be elsewhere")
def cold(t):
    seen = Desk(t, config=COLD).play("cold")
    check("cannot be read back" in seen["events"], seen["events"])
    equal(seen["fault"], "", "a fault")
    names = [f"{PROJECT}/{OPEN}", f"{PROJECT}/{OPEN}@second"]
    equal((seen["options"], seen["boxes"]), (names, [OPEN]), "the logstores, and those to share")
    equal(seen["shown"], ["All", *names], "what a link to the project whole shows")


def _openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)


def _signed(folder, name, extension):
    """`NAME.pem` and `NAME.key`, signed by the authority of the folder."""
    request, extensions = str(folder / f"{name}.csr"), folder / f"{name}.ext"
    extensions.write_text(f"subjectAltName={extension}\n", encoding="utf-8")
    _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", str(folder / f"{name}.key"), "-out", request)
    _openssl("x509", "-req", "-in", request, "-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca.key"),
             "-CAcreateserial", "-days", "2", "-extfile", str(extensions), "-out", str(folder / f"{name}.pem"))


@case("over TLS the page opens by the browser's certificate, shares links with the role admin only, and else asks for the token")
def certificate(t):
    folder = t.folder
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=people", "-days", "2",
             "-addext", "keyUsage=critical,keyCertSign", "-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.pem"))
    _signed(folder, "node", "IP:127.0.0.1,DNS:localhost")
    for name in ("look", "boss"):
        _signed(folder, name, f"email:{name}@example.com")
    desk = Desk(t, f"""
[admin.tls]
client_auth = "optional"
client_ca = "{folder}/ca.pem"
[[admin.tls.certificate]]
cert = "{folder}/node.pem"
key = "{folder}/node.key"
[[admin.client]]
name = "look"
certificate = "email:look@example.com"
role = "viewer"
[[admin.client]]
name = "boss"
certificate = "email:boss@example.com"
role = "admin"
""", admin_ca=str(folder / "ca.pem"))
    seen = desk.play("certificate", folder=str(folder))
    equal(seen["look"], {"login": False, "share": False, "links": False, "node": True, "out": True}, "a viewer")
    equal(seen["boss"], {"login": False, "share": True, "links": True, "node": True, "out": True}, "an administrator")
    check(all("401" in text for text in seen["expected"]), f"only the 401 without a certificate: {seen['expected']}")
    logins = desk.tollgate.metric
    equal(logins("tollgate_dashboard_logins_total", outcome="certificate"), 2, "logins by certificate")
    equal(logins("tollgate_dashboard_logins_total", outcome="admin"), 1, "logins by token")
