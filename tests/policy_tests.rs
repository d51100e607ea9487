//! `tollgate test` on the real binary: every expectation holds and fails, and docs/testing.md is true.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "tests, and their tables of cases"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use support::binary;

const POLICY: &str = r#"
{"Version":"1","Statement":[{"Effect":"Allow","Action":"log:PutWebTracking",
"Resource":"acs:log:*:*:project/shop/logstore/web",
"Condition":{"StringEquals":{"tollgate:Topic":["orders"]}}}]}
"#;

/// A configuration with a logstore of each kind.
fn config(folder: &Path) -> String {
    let schema = folder.join("view.json");
    let schema_text = r#"{"properties":{"event":{"type":"string"},"price":{"type":"number"}},"required":["event"]}"#;
    std::fs::write(&schema, schema_text).unwrap();
    let schema = schema.display();
    format!(
        r#"
[[identity.jwt]]
kid = "shop"
secret = "file:/nonexistent/shop.key"
issuer = "https://login.example.com"
audience = "tracking"
fields = {{ plan = "plan" }}

[[identity.jwt]]
kid = "partner"
algorithms = ["RS256"]
public_key = "/nonexistent/partner.pem"
issuer = "https://partner.example.com"
audience = "tracking"
required_claims = ["sub"]

[[identity.access_key]]
id = "report-server"
secret = "env:TOLLGATE_TEST_NO_SUCH_VARIABLE"
policies = ["orders-only"]

[[identity.access_key]]
id = "retired"
secret = "env:TOLLGATE_TEST_NO_SUCH_VARIABLE"
policies = ["orders-only"]
enabled = false

[[identity.policy]]
name = "orders-only"
document = '''{POLICY}'''

[[identity.role]]
arn = "acs:ram::1234567890123456:role/writer"
policies = ["orders-only"]
assumed_by = ["report-server"]

[[schema]]
name = "view"
version = "1"
file = "{schema}"

[[limit]]
name = "per-address"
key = ["address"]
[[limit.rate]]
count = 10
per = "1m"

[[limit]]
name = "per-user"
logstores = ["aside"]
key = ["subject"]
unit = "events"
[[limit.rate]]
count = 5
per = "1h"

[[upstream]]
name = "store"
kind = "embedded"

[[project]]
name = "shop"
upstream = "store"

[[project.logstore]]
name = "web"
allow_origins = ["https://shop.example.com"]

[[project.logstore]]
name = "seen"
identity_mode = "observe"

[[project.logstore]]
name = "aside"
schema = {{ use = ["view"], on_invalid = "quarantine" }}

[[project.logstore]]
name = "open"
accept = ["anonymous"]
schema = {{ use = ["view"], on_invalid = "drop" }}
guards = {{ dedup = {{ fields = ["id"], window = "10m" }} }}

[[project.logstore.transform]]
type = "hash"
fields = ["user"]
key = "file:/nonexistent/hash.key"

[[project.logstore.transform]]
type = "route"
logstore = "web"
when = {{ field = "event", equals = "pay" }}
"#
    )
}

/// A folder with the configuration above.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = config(folder.path());
        std::fs::write(folder.path().join("shop.toml"), text).unwrap();
        Self(folder)
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn run(&self, text: &str, arguments: &[&str]) -> Output {
        let path = self.put("tests.toml", text);
        let mut command = binary();
        // What a trial leaves behind would be seen.
        let temporary = self.0.path().join("tmp");
        std::fs::create_dir_all(&temporary).unwrap();
        command.env("TMPDIR", &temporary);
        let output = command
            .arg("test")
            .args(arguments)
            .arg(path)
            .output()
            .unwrap();
        let left = std::fs::read_dir(&temporary).unwrap().count();
        assert_eq!(left, 0, "a folder of a trial was left behind");
        output
    }

    /// Runs one test of the configuration above, and says whether it holds and what was told.
    fn test(&self, text: &str) -> (bool, String) {
        let text = format!("config = \"shop.toml\"\n[[test]]\nname = \"t\"\n{text}");
        let output = self.run(&text, &[]);
        let told = format!("{text}\n---\n{}{}", out(&output), err(&output));
        match output.status.code() {
            Some(0) => (true, told),
            Some(1) => (false, told),
            _ => panic!("{told}"),
        }
    }

    fn holds(&self, text: &str) {
        let (holds, told) = self.test(text);
        assert!(holds, "{told}");
    }

    /// As [`Self::holds`], of many at once.
    fn all_hold(&self, tests: impl IntoIterator<Item = String>) {
        let tests = tests.into_iter();
        let tests = tests.map(|test| format!("[[test]]\nname = \"t\"\n{test}\n"));
        let text = format!("config = \"shop.toml\"\n{}", tests.collect::<String>());
        let output = self.run(&text, &[]);
        let told = format!("{}{}", out(&output), err(&output));
        assert_eq!(output.status.code(), Some(0), "{told}");
    }

    fn fails(&self, text: &str, with: &[&str]) {
        let (holds, told) = self.test(text);
        assert!(!holds, "{told}");
        for part in with {
            assert!(told.contains(part), "no `{part}`:\n{told}");
        }
    }

    /// The problems of a file that is wrong.
    fn wrong(&self, text: &str) -> String {
        let output = self.run(text, &[]);
        assert_eq!(output.status.code(), Some(78), "{text}\n{}", err(&output));
        assert_eq!(out(&output), "", "no test is run");
        err(&output)
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_expectation_holds_and_fails() {
    let folder = Folder::new();
    let mut good_ones = Vec::new();
    let refused = "request = { token = { key = \"shop\", proof = \"bad\" } }\n";
    for (request, good, bad, found) in [
        (refused, "status = 401", "status = 200", "found    401"),
        (
            refused,
            "reason = \"token_signature\"",
            "reason = \"banned\"",
            "found    token_signature",
        ),
        (
            refused,
            "stage = \"credential\"",
            "stage = \"quota\"",
            "found    credential",
        ),
        (
            refused,
            "message = \"invalid\"",
            "message = \"expired\"",
            "expected ...expired...",
        ),
        (
            refused,
            "stored_count = 0",
            "stored_count = 1",
            "found    0",
        ),
        (
            refused,
            "headers = { x-tollgate-reason = \"token_signature\", etag = false }",
            "headers = { x-tollgate-reason = false }",
            "expected none",
        ),
    ] {
        good_ones.push(format!("{request}expect = {{ {good} }}"));
        folder.fails(
            &format!("{request}expect = {{ {bad} }}"),
            &[
                found,
                "credential  REFUSED token_signature",
                "1 test: 0 ok, 1 failed",
            ],
        );
    }
    let taken = "request = { token = { key = \"shop\", claims = { plan = \"gold\" } }, topic = \"t\", \
                 tags = { a = \"b\" }, events = [{ n = 1 }, { n = 2, deep = { x = [true] } }] }\n";
    for (good, bad, found) in [
        (
            "stored = [{ n = 2 }, { n = \"1\", plan = \"gold\", __topic__ = \"t\", \"__tag__:a\" = \"b\" }]",
            "stored = [{ n = 1 }, { n = 3 }]",
            "stored[1]:",
        ),
        (
            "stored = [{ deep = '{\"x\":[true]}' }]",
            "stored = [{ n = 1 }, { n = 1 }]",
            "stored[1]:",
        ),
        ("absent = [\"m\"]", "absent = [\"n\"]", "absent `n`:"),
        (
            "logstore = \"web\"",
            "logstore = \"seen\"",
            "expected events in seen",
        ),
        (
            "results = [\"accepted\", \"accepted\"]",
            "results = [\"accepted\"]",
            "found    accepted, accepted",
        ),
        ("quarantined = 0", "quarantined = 1", "found    0"),
        ("dropped = 0", "dropped = 2", "found    0"),
        (
            "headers = { x-tollgate-ack = true }",
            "headers = { x-tollgate-ack = \"disk\" }",
            "found    memory",
        ),
    ] {
        good_ones.push(format!("{taken}expect = {{ {good} }}"));
        folder.fails(&format!("{taken}expect = {{ {bad} }}"), &[found]);
    }
    folder.all_hold(good_ones);
    folder.fails(
        "request = { path = \"/none\" }\nexpect = { absent = [\"n\"] }",
        &[
            "expected stored events",
            "route       REFUSED unknown_route",
        ],
    );
}

#[test]
fn limits_are_reached_by_repetition_and_refilled_by_time() {
    let folder = Folder::new();
    let repeated = |count: u32, after: &str, expect: &str| {
        format!(
            "request = {{ token = {{ key = \"shop\" }}, repeat = {count}, after = \"{after}\" }}\nexpect = {expect}"
        )
    };
    folder.holds(&repeated(10, "0s", "{ status = 200 }"));
    let refused = "{ status = 429, reason = \"quota_exceeded\", stage = \"address\", limit = \"per-address\" }";
    folder.holds(&repeated(11, "0s", refused));
    folder.holds(&repeated(200, "6s", "{ status = 200 }"));
    folder.fails(
        &repeated(200, "5s", "{ status = 200 }"),
        &["time 200 of 200", "expected 200"],
    );
    folder.fails(
        "request = { token = { key = \"shop\" }, repeat = 10 }\nexpect = { limit = \"per-address\" }",
        &["limit:", "found    none"],
    );
    // Another address has room of its own, and some of the events of a request may be refused.
    folder.holds(
        "request = [{ token = { key = \"shop\" }, repeat = 10 }, { token = { key = \"shop\" }, client = \"2001:db8::1\" }]\n\
         expect = { status = 200 }",
    );
    let six = ["{ event = \"a\" }"; 6].join(", ");
    folder.holds(&format!(
        "request = [{{ token = {{ key = \"shop\", sub = \"u1\" }}, logstore = \"aside\", events = [{six}], expect = {{ limit = \"per-user\", headers = {{ x-tollgate-limit = \"per-user\" }} }} }},\
         {{ token = {{ key = \"shop\", sub = \"u2\" }}, logstore = \"aside\", expect = {{ status = 200, stored_count = 1 }} }}]"
    ));
}

#[test]
fn events_are_set_aside_left_out_hashed_routed_and_taken_once() {
    let folder = Folder::new();
    let bad = "events = [{ event = \"view\", price = \"3\" }, { event = \"view\", price = \"x\" }]";
    folder.holds(&format!(
        "request = {{ token = {{ key = \"shop\" }}, logstore = \"aside\", {bad} }}\n\
         expect = {{ status = 200, quarantined = 1, dropped = 0, stored_count = 1, results = [\"accepted\", \"quarantined\"], stored = [{{ price = 3 }}] }}"
    ));
    folder.holds(&format!(
        "request = {{ logstore = \"open\", {bad} }}\n\
         expect = {{ quarantined = 0, dropped = 1, results = [\"accepted\", \"dropped\"] }}"
    ));
    folder.fails(
        &format!("request = {{ logstore = \"open\", {bad} }}\nexpect = {{ dropped = 0 }}"),
        &["event 1: dropped (view@1)", "/price: "],
    );
    folder.fails(
        "request = { logstore = \"open\", events = [{ event = \"a\", user = \"u1\" }] }\n\
         expect = { stored = [{ user = \"u1\" }] }",
        &[
            "note: these have a stand-in: identity.jwt[0].secret",
            "project[0].logstore[3].transform[0].key",
        ],
    );
    folder.holds(
        "request = { logstore = \"open\", events = [{ event = \"pay\" }, { event = \"view\" }] }\n\
         expect = { logstore = \"web\", stored_count = 1, stored = [{ event = \"pay\" }] }",
    );
    // The window of `dedup` goes by the time of the requests.
    let event = "logstore = \"open\", events = [{ event = \"a\", id = \"7\" }]";
    folder.holds(&format!(
        "request = [{{ {event}, expect = {{ stored_count = 1 }} }}, \
         {{ {event}, after = \"1m\", expect = {{ results = [\"duplicate\"], stored_count = 0 }} }}, \
         {{ {event}, after = \"1h\", expect = {{ stored_count = 1 }} }}]"
    ));
}

#[test]
fn credentials_are_presumed_and_all_else_is_checked() {
    let folder = Folder::new();
    let tests = [
        // Tokens.
        (
            "token = { key = \"shop\", place = \"path\" }",
            "status = 200",
        ),
        (
            "token = { key = \"shop\", place = \"query\" }",
            "status = 200",
        ),
        (
            "token = { key = \"shop\", place = \"body\" }",
            "status = 200, stored = [{ event = \"test\" }]",
        ),
        (
            "token = { key = \"shop\", place = \"cookie\" }",
            "status = 200",
        ),
        (
            "token = { key = \"shop\", place = \"body\", proof = \"bad\" }",
            "reason = \"token_signature\", stage = \"policy\"",
        ),
        (
            "token = { key = \"shop\", logstore = \"aside\" }",
            "reason = \"token_scope\"",
        ),
        (
            "token = { key = \"shop\", project = \"other\" }",
            "reason = \"token_scope\"",
        ),
        (
            "token = { key = \"shop\", claims = { aud = \"x\" } }",
            "reason = \"token_claims\", message = \"aud\"",
        ),
        (
            "token = { key = \"shop\", claims = { exp = 1 } }",
            "reason = \"token_expired\"",
        ),
        ("token = { key = \"partner\", sub = \"p\" }", "status = 200"),
        (
            "token = { key = \"partner\" }",
            "reason = \"token_claims\", message = \"sub\"",
        ),
        (
            "headers = { authorization = \"Bearer a.b.c\" }",
            "reason = \"token_malformed\"",
        ),
        // Signatures.
        (
            "access_key = { id = \"report-server\" }, topic = \"orders\"",
            "status = 200",
        ),
        (
            "access_key = { id = \"report-server\" }",
            "reason = \"policy_denied\", stage = \"policy\"",
        ),
        (
            "access_key = { id = \"report-server\" }, method = \"GET\"",
            "reason = \"policy_denied\"",
        ),
        (
            "access_key = { id = \"report-server\", proof = \"bad\" }",
            "reason = \"signature_mismatch\"",
        ),
        (
            "access_key = { id = \"retired\" }, topic = \"orders\"",
            "reason = \"access_key_disabled\"",
        ),
        (
            "access_key = { id = \"nobody\" }",
            "reason = \"access_key_unknown\"",
        ),
        // Roles.
        (
            "session = { role = \"acs:ram::1234567890123456:role/writer\" }, topic = \"orders\"",
            "status = 200",
        ),
        (
            "session = { role = \"acs:ram::1234567890123456:role/writer\" }",
            "reason = \"policy_denied\"",
        ),
        (
            "session = { role = \"acs:ram::1234567890123456:role/gone\" }",
            "reason = \"role_unknown\"",
        ),
        (
            "session = { role = \"acs:ram::1234567890123456:role/writer\", issued = 1795334400, ttl = \"1h\" }, time = 1795338000",
            "reason = \"security_token_expired\"",
        ),
        (
            "session = { role = \"acs:ram::1234567890123456:role/writer\", policy = '{\"Version\":\"1\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"log:WebTracking\",\"Resource\":\"*\"}]}' }, topic = \"orders\"",
            "reason = \"policy_denied\"",
        ),
        // Tickets.
        (
            "ticket = { id = \"t-1\", place = \"path\" }",
            "status = 200",
        ),
        (
            "ticket = { id = \"t-1\", proof = \"bad\" }",
            "reason = \"token_signature\"",
        ),
        // Where it is only observed.
        (
            "logstore = \"seen\"",
            "status = 200, observed = \"credential_missing\", stored_count = 1",
        ),
        (
            "logstore = \"seen\", token = { key = \"shop\", proof = \"bad\" }",
            "observed = \"token_signature\"",
        ),
    ];
    folder
        .all_hold(tests.map(|(request, expect)| {
            format!("request = {{ {request} }}\nexpect = {{ {expect} }}")
        }));
    folder.fails(
        "request = { logstore = \"seen\", token = { key = \"shop\" } }\nexpect = { observed = \"token_signature\" }",
        &["observed:", "found    none"],
    );
    folder.fails(
        "request = {}\nexpect = { observed = \"credential_missing\" }",
        &["found    none", "stages (401, credential_missing)"],
    );
}

#[test]
fn a_request_comes_in_each_form() {
    let folder = Folder::new();
    folder.put("body.json", "{\"__logs__\":[{\"a\":\"1\"},{\"a\":\"2\"}]}");
    let tests = [
        (
            "path = \"/v1/events/open\", events = [{ event = \"a\" }, { event = \"b\" }]",
            "stored_count = 2",
        ),
        (
            "path = \"/logstores/open/track?x=1\", method = \"GET\", topic = \"t\", events = [{ event = \"a b&ü\" }]",
            "stored = [{ event = \"a b&ü\", __topic__ = \"t\", x = 1 }]",
        ),
        (
            "path = \"/logstores/open/track.gif\", method = \"GET\"",
            "headers = { content-type = \"image/gif\" }, stored = [{ event = \"test\" }]",
        ),
        (
            "logstore = \"open\", body = 'x'",
            "reason = \"not_json\", stage = \"events\"",
        ),
        (
            "logstore = \"seen\", body_file = \"body.json\"",
            "stored = [{ a = 2 }, { a = 1 }]",
        ),
        ("method = \"OPTIONS\"", "status = 200, stored_count = 0"),
        (
            "method = \"PUT\"",
            "status = 405, reason = \"method_not_allowed\", stage = \"route\"",
        ),
        (
            "host = \"other.example\"",
            "reason = \"unknown_project\", stage = \"logstore\"",
        ),
        (
            "host = \"shop.edge.example\", logstore = \"open\"",
            "status = 200",
        ),
        (
            "path = \"/logstores/none/track\"",
            "reason = \"unknown_logstore\"",
        ),
        (
            "token = { key = \"shop\" }, headers = { Origin = \"https://evil.example\" }",
            "reason = \"origin_not_allowed\", stage = \"origin\"",
        ),
        (
            "logstore = \"open\", time = \"2026-11-22T10:00:00Z\"",
            "headers = { x-log-time = 1795341600 }, stored = [{ __time__ = 1795341600 }]",
        ),
    ];
    folder
        .all_hold(tests.map(|(request, expect)| {
            format!("request = {{ {request} }}\nexpect = {{ {expect} }}")
        }));
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_place_and_no_test_is_run() {
    let folder = Folder::new();
    let good = "[[test]]\nname = \"t\"\nrequest = {}\nexpect = { status = 401 }\n";
    for (text, told) in [
        (
            "confg = \"x\"\n",
            &[
                "tests.toml:1:1: error: confg: unknown key",
                "did you mean `config`?",
            ][..],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = { }\nexpect = { reson = 1 }\n",
            &["4:12: error: test[0].expect.reson", "`reason`?"],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = { }\nexpect = { reason = \"quota_exceded\", stage = \"quoda\" }\n",
            &["4:21: error", "`quota_exceeded`?", "`quota`?"],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = { }\n",
            &["1:1: error: test[0]: a test that expects nothing"],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = { }\nexpect = { stored = [] }\n",
            &["test[0].expect: it expects nothing"],
        ),
        (
            "[[test]]\nrequest = { expect = {} }\n",
            &["test[0].name: this key is missing"],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = []\nexpect = { status = 200 }\n",
            &["at least one request"],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = { repeat = 10001 }\nexpect = { status = 700 }\n",
            &["from 1 to 10000", "from 100 to 599"],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = [{ repeat = 6000 }, { repeat = 6000 }]\nexpect = { status = 200 }\n",
            &["at most 10000 requests, not 12000"],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = [{ time = 100 }, { time = 99 }]\nexpect = { status = 200 }\n",
            &["test[0].request[1].time: it would come before"],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = { time = \"soon\", client = \"x\" }\nexpect = { status = 200 }\n",
            &["error"],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = { events = [{ a = 2026-11-22 }] }\nexpect = { status = 200 }\n",
            &["events[0].a: JSON has no dates", "into quotes"],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = { token = {}, ticket = { id = \"a\" } }\nexpect = { status = 200 }\n",
            &["test[0].request[0].ticket: give only one"],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = { body = \"a\", events = [] }\nexpect = { status = 200 }\n",
            &["give only one of `events`"],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = { path = \"/logstores/a/track\", logstore = \"web\" }\nexpect = { status = 200 }\n",
            &["`path` names it"],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = { path = \"/session\", token = {} }\nexpect = { status = 200 }\n",
            &["made-up"],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = { token = { key = \"quickstat\" } }\nexpect = { status = 200 }\n",
            &["did you mean `quickstart`?"],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = { session = { role = \"r\", policy = \"{}\" } }\nexpect = { status = 200 }\n",
            &["request[0].session.policy"],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = { body_file = \"none\" }\nexpect = { status = 200, limit = \"x\", logstore = \"anonymous_demo\" }\n",
            &[
                "cannot read",
                "no limit of the configuration",
                "`anonymous-demo`?",
            ],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = { expect = { status = 200 } }\nexpect = { status = 200 }\n",
            &["in two places"],
        ),
        (
            "[[test]]\nname = \"t\"\nrequest = { headers = { \"a b\" = \"c\" } }\nexpect = { status = 200 }\n",
            &["the header `a b`"],
        ),
        ("", &["the file has no [[test]]"]),
        ("test = 3 4\n", &["1:8: error: not TOML"]),
    ] {
        let problems = folder.wrong(text);
        for part in told {
            assert!(problems.contains(part), "{text}\nno `{part}`:\n{problems}");
        }
    }
    // What a header holds is not shown, and a good test beside a bad one is not run.
    let secret =
        "[[test]]\nname = \"t\"\nrequest = { headers = { authorization = \"hunter2\" }, x = 1 }\n";
    let problems = folder.wrong(&format!("{good}{secret}"));
    assert!(!problems.contains("hunter2"), "{problems}");
    let problems = folder.wrong(
        "config = \"none.toml\"\n[[test]]\nname = \"t\"\nrequest = {}\nexpect = { status = 1 }\n",
    );
    assert!(problems.contains("from 100"), "{problems}");
    let problems = folder.wrong(&format!("config = \"none.toml\"\n{good}"));
    assert!(problems.contains("none.toml"), "{problems}");
    let problems = folder.wrong(&format!("{good}# {}", "x".repeat(1 << 20)));
    assert!(problems.contains("at most 1 MiB"), "{problems}");
}

#[test]
fn the_largest_file_and_the_longest_test_are_run() {
    let folder = Folder::new();
    let test = "[[test]]\nname = \"t\"\nrequest = { logstore = \"anonymous-demo\", repeat = 10000, expect = { stored_count = 1 } }\n";
    let filler = "x".repeat((1 << 20) - test.len() - 2);
    let output = folder.run(&format!("{test}# {filler}"), &[]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        out(&output),
        err(&output)
    );
    let events = ["{ event = \"a\" }"; 256].join(", ");
    let test = format!(
        "[[test]]\nname = \"t\"\nrequest = {{ logstore = \"anonymous-demo\", events = [{events}] }}\nexpect = "
    );
    let output = folder.run(&format!("{test}{{ stored = [{events}] }}\n"), &[]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        out(&output),
        err(&output)
    );
    let problems = folder.wrong(&format!(
        "{test}{{ stored = [{events}, {{ event = \"a\" }}] }}\n"
    ));
    assert!(problems.contains("at most 256 events"), "{problems}");
}

#[test]
fn tests_are_chosen_by_name_and_told_to_machines() {
    let folder = Folder::new();
    let text = "[[test]]\nname = \"good \u{202e}\"\nrequest = {}\nexpect = { status = 401 }\n\
                [[test]]\nname = \"bad\"\nrequest = { repeat = 2 }\nexpect = { status = 200 }\n";
    let output = folder.run(text, &["--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let told = out(&output);
    assert!(!told.contains('\u{202e}'), "{told}");
    let lines: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["ok"], &lines[1]["ok"]),
        (&true.into(), &false.into())
    );
    assert_eq!(lines[1]["repetition"], 2);
    assert_eq!(lines[1]["unmet"][0]["key"], "status");
    assert_eq!(lines[1]["unmet"][0]["found"], "401");
    assert_eq!(lines[1]["answer"]["reason"], "credential_missing");
    assert!(err(&output).contains("2 tests: 1 ok, 1 failed"));
    let chosen = folder.run(text, &["--filter", "good"]);
    assert_eq!(chosen.status.code(), Some(0));
    assert!(
        out(&chosen).contains("1 test: 1 ok, 0 failed"),
        "{}",
        out(&chosen)
    );
    assert_eq!(
        folder.run(text, &["--filter", "nothing"]).status.code(),
        Some(2)
    );
    assert_eq!(folder.run(text, &["--nothing"]).status.code(), Some(2));
    // Another configuration for the same tests: there is no project without `default_project`.
    let config = folder.0.path().join("shop.toml");
    let other = folder.run(
        text,
        &["--config", config.to_str().unwrap(), "--filter", "good"],
    );
    assert_eq!(
        other.status.code(),
        Some(0),
        "{}{}",
        out(&other),
        err(&other)
    );
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/testing.md");
    std::fs::read_to_string(path).unwrap()
}

fn blocks<'t>(text: &'t str, fence: &str) -> Vec<&'t str> {
    let after = text.split(fence).skip(1);
    after
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

#[test]
fn the_example_of_the_page_runs_as_printed() {
    let text = page();
    let folder = tempfile::tempdir().unwrap();
    let toml = blocks(&text, "```toml\n");
    let [config, tests] = toml.as_slice() else {
        panic!("{toml:?}")
    };
    let run = |config: &str| {
        std::fs::write(folder.path().join("shop.toml"), config).unwrap();
        std::fs::write(folder.path().join("shop-tests.toml"), tests).unwrap();
        let mut command = binary();
        command.current_dir(folder.path());
        command.args(["test", "shop-tests.toml"]).output().unwrap()
    };
    let (printed, failed) = (blocks(&text, "```console\n"), blocks(&text, "```text\n"));
    let ([good], [bad]) = (printed.as_slice(), failed.as_slice()) else {
        panic!("{printed:?} {failed:?}")
    };
    let good = good
        .strip_prefix("$ tollgate test shop-tests.toml\n")
        .unwrap();
    let output = run(config);
    assert_eq!(out(&output).trim_end(), good.trim_end(), "{}", err(&output));
    assert!(err(&output).contains("stand-in"), "{}", err(&output));
    let output = run(&config.replace("count = 10", "count = 5"));
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains(bad.trim_end()), "{}", out(&output));
}

#[test]
fn the_page_names_every_key() {
    let folder = Folder::new();
    let page = page();
    let mut named = 0;
    for table in [
        "[[test]]\nzz = 1\n",
        "[[test]]\nrequest = { zz = 1 }\n",
        "[[test]]\nexpect = { zz = 1 }\n",
        "[[test]]\nrequest = { token = { zz = 1 } }\n",
        "[[test]]\nrequest = { access_key = { zz = 1 } }\n",
        "[[test]]\nrequest = { session = { zz = 1 } }\n",
        "[[test]]\nrequest = { ticket = { zz = 1 } }\n",
    ] {
        let problems = folder.wrong(table);
        let (_, keys) = problems.split_once("the keys here are ").unwrap();
        let keys = keys.lines().next().unwrap();
        for key in keys.split('`').skip(1).step_by(2) {
            let told =
                page.contains(&format!("`{key}`")) || page.contains(&format!("[test.{key}]"));
            assert!(told, "docs/testing.md does not name `{key}`");
            named += 1;
        }
    }
    assert!(named > 45, "{named}");
}
