//! The dashboard over HTTP on the real binary: who is let in, what a ticket shows, and where its bounds
//! are. What a browser makes of it is shown by the client tests.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[path = "dashboard/preview.rs"]
mod preview;
mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Answer, GUARDED, OPEN, PROJECT, Tollgate, binary, connect, exchange};

const LIVE: &str = "/api/v1/live";
const SESSION: &str = "/api/v1/dashboard/session";

fn config(more: &str) -> String {
    let schema = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/dashboard-schema.json"
    );
    format!(
        r#"
        [ingest]
        default_project = "{PROJECT}"

        [admin.dashboard]
        {more}

        [[identity.jwt]]
        kid = "quickstart"
        issuer = "tollgate"
        audience = "tollgate"

        [[schema]]
        name = "pay"
        file = "{schema}"

        [[limit]]
        name = "door"
        key = ["address"]
        rate = [{{ count = 1000, per = "1s" }}]

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
        name = "checked"
        accept = ["anonymous"]

        [project.logstore.schema]
        use = ["pay"]
        mode = "enforce"
        "#
    )
}

struct Desk(Tollgate);

impl Desk {
    fn start(more: &str) -> Self {
        Self(Tollgate::start_config(&config(more)))
    }

    fn key(&self) -> String {
        let path = self.0.data_dir().join("keys/admin.key");
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    }

    fn call(&self, method: &str, path: &str, headers: &str, body: &Value) -> Answer {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let host = self.0.admin;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        exchange(host, &head, body.as_bytes())
    }

    fn login(&self, body: &Value) -> Answer {
        self.call("POST", SESSION, "", body)
    }

    /// The header of a session with the admin token.
    fn admin(&self) -> String {
        bearer(&self.login(&json!({"token": self.key()})))
    }

    fn get(&self, bearer: &str, path: &str) -> Answer {
        self.call(
            "GET",
            &format!("/api/v1/dashboard/{path}"),
            bearer,
            &Value::Null,
        )
    }

    /// Makes a ticket by the page's own call.
    fn share(&self, view: &Value, more: &Value) -> Value {
        let mut new = json!({"grant": {"view": {"project": PROJECT, "dashboard": "overview"}}});
        merge(&mut new["grant"]["view"], view);
        merge(&mut new, more);
        let made = self.call("POST", "/api/v1/dashboard/tickets", &self.admin(), &new);
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()
    }

    fn guest(&self, view: &Value, more: &Value) -> String {
        let made = self.share(view, more);
        bearer(&self.login(&json!({"ticket": made["token"]})))
    }

    /// Sends events to a logstore that is open to all.
    fn send(&self, logstore: &str, events: &Value) {
        let body = json!({"__topic__": "web", "__logs__": events}).to_string();
        assert_eq!(self.0.track(logstore, "", body).status, 200);
    }

    /// The events that are shown, once there are so many.
    fn events(&self, bearer: &str, logstore: &str, count: usize) -> Vec<Value> {
        let path = format!("events?project={PROJECT}&logstore={logstore}");
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = self.get(bearer, &path);
            assert_eq!(answer.status, 200, "{}", answer.text());
            let events = answer.json()["events"].as_array().unwrap().clone();
            if events.len() >= count || Instant::now() > deadline {
                assert_eq!(events.len(), count, "{events:?}");
                return events;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn stream(&self, bearer: &str) -> Stream {
        let mut stream = connect(self.0.admin);
        let host = self.0.admin;
        write!(
            stream,
            "GET {LIVE} HTTP/1.1\r\nHost: {host}\r\n{bearer}\r\n"
        )
        .unwrap();
        let mut lines = BufReader::new(stream);
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let status = first.split(' ').nth(1).unwrap().parse().unwrap();
        Stream { lines, status }
    }
}

struct Stream {
    lines: BufReader<TcpStream>,
    status: u16,
}

impl Stream {
    /// The name and the data of the next message; none when the stream has ended.
    fn next(&mut self) -> Option<(String, Value)> {
        let mut name = String::new();
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(it) = line.strip_prefix("event: ") {
                it.trim().clone_into(&mut name);
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(data).unwrap()));
            }
        }
    }
}

fn merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        into[key] = value.clone();
    }
}

fn bearer(login: &Answer) -> String {
    assert_eq!(login.status, 201, "{}", login.text());
    let session = login.json()["session"].as_str().unwrap().to_owned();
    format!("Authorization: Bearer {session}\r\n")
}

fn none() -> Value {
    json!({})
}

#[test]
fn the_page_is_for_everybody_and_everything_else_asks_for_a_session() {
    let desk = Desk::start("logins_per_minute = 100");
    let page = desk.call("GET", "/", "", &Value::Null);
    assert_eq!(page.status, 200);
    assert!(page.header("set-cookie").is_none());
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert!(policy.ends_with("frame-ancestors 'none'"), "{policy}");
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert!(!page.text().contains(&desk.key()));
    let calls = [
        ("GET", LIVE),
        ("GET", SESSION),
        ("DELETE", SESSION),
        ("POST", "/api/v1/dashboard/session/extend"),
        ("GET", "/api/v1/dashboard/refusals"),
        ("GET", "/api/v1/dashboard/events?project=p&logstore=l"),
        ("GET", "/api/v1/dashboard/quarantine?project=p&logstore=l"),
        ("GET", "/api/v1/dashboard/tickets"),
        ("POST", "/api/v1/dashboard/tickets"),
        ("GET", "/api/v1/dashboard/nothing"),
    ];
    for (method, path) in calls {
        for header in [
            "",
            "Authorization: Bearer no-session\r\n",
            "Cookie: session=x\r\n",
        ] {
            let answer = desk.call(method, path, header, &Value::Null);
            assert_eq!(answer.status, 401, "{method} {path}");
            assert!(answer.header("access-control-allow-origin").is_none());
        }
    }
    // The token itself is enough for programs.
    let own = format!("Authorization: Bearer {}\r\n", desk.key());
    assert_eq!(desk.get(&own, "refusals").status, 200);
    let session = desk.admin();
    let who = desk.get(&session, "session");
    assert_eq!(who.json()["viewer"]["kind"], "admin");
    assert_eq!(
        desk.call("DELETE", SESSION, &session, &Value::Null).status,
        200
    );
    assert_eq!(desk.get(&session, "session").status, 401, "it has ended");
    // A session is not a key of the admin API.
    let api = desk.call("GET", "/api/v1/tickets", &desk.admin(), &Value::Null);
    assert_eq!(api.status, 401);
    let log = desk.0.stderr();
    assert!(
        !log.contains(&desk.key()) && !log.contains(session.trim()),
        "{log}"
    );
}

#[test]
fn pages_of_others_and_names_of_others_are_refused() {
    let desk = Desk::start("");
    let session = desk.admin();
    let host = desk.0.admin;
    let with = |headers: &str| {
        let headers = format!("{session}{headers}");
        desk.get(&headers, "refusals").status
    };
    assert_eq!(
        with(&format!(
            "Origin: http://{host}\r\nSec-Fetch-Site: same-origin\r\n"
        )),
        200
    );
    assert_eq!(
        with(&format!("Origin: https://{host}\r\n")),
        200,
        "TLS ended in front"
    );
    for headers in [
        "Origin: https://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: http://127.0.0.1\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ] {
        assert_eq!(with(headers), 403, "{headers}");
    }
    let evil = "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n";
    let body = json!({"token": desk.key()});
    assert_eq!(desk.call("POST", SESSION, evil, &body).status, 403);
    for path in ["/", LIVE, "/api/v1/dashboard/refusals"] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: rebound.example\r\n{session}\r\n");
        assert_eq!(exchange(host, &head, b"").status, 403, "{path}");
    }
    // A form of a page cannot say that it sends JSON.
    let head = format!(
        "POST {SESSION} HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n"
    );
    assert_eq!(exchange(host, &head, b"{}").status, 415);
}

#[test]
fn wrong_credentials_have_to_wait_and_right_ones_of_the_same_address_do_not() {
    let desk = Desk::start("logins_per_minute = 3");
    let wrong = json!({"token": "x".repeat(43)});
    for _ in 0..3 {
        let answer = desk.login(&wrong);
        assert_eq!(answer.status, 401);
        assert!(!answer.text().contains("xxx"));
    }
    let answer = desk.login(&wrong);
    assert_eq!(answer.status, 429, "{}", answer.text());
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    // So are bearers and tickets.
    let forged = "Authorization: Bearer no-session\r\n";
    assert_eq!(desk.get(forged, "session").status, 429);
    assert_eq!(desk.login(&json!({"ticket": "forged"})).status, 429);
    assert_eq!(
        desk.get("", "session").status,
        401,
        "without one nothing is guessed"
    );
    // Behind a proxy all come from one address: who has the right one is let in.
    let guest = desk.guest(&none(), &none());
    assert_eq!(desk.get(&guest, "session").status, 200);
    let own = format!("Authorization: Bearer {}\r\n", desk.key());
    assert_eq!(desk.get(&own, "session").status, 200);
    let metric = |outcome: &str| {
        let line = format!(r#"tollgate_dashboard_logins_total{{outcome="{outcome}"}}"#);
        desk.0.metric(&line)
    };
    assert_eq!(
        (metric("wrong_token"), metric("too_many"), metric("admin")),
        (3, 3, 1)
    );
}

#[test]
fn wrong_bearers_are_counted() {
    let desk = Desk::start("logins_per_minute = 2");
    let forged = "Authorization: Bearer no-session\r\n";
    let statuses: Vec<u16> = (0..4).map(|_| desk.get(forged, "session").status).collect();
    assert_eq!(statuses, [401, 401, 429, 429]);
    let count = |outcome: &str| {
        let line = format!(r#"tollgate_dashboard_logins_total{{outcome="{outcome}"}}"#);
        desk.0.metric(&line)
    };
    assert_eq!((count("wrong_bearer"), count("too_many")), (2, 2));
}

#[test]
fn a_body_that_is_no_login_is_refused_without_being_repeated() {
    let desk = Desk::start("");
    for body in [
        json!({}),
        json!({"token": "a-secret", "ticket": "another"}),
        json!({"password": "a-secret"}),
        json!({"token": {"a-secret": 1}}),
    ] {
        let answer = desk.login(&body);
        assert_eq!(answer.status, 400);
        assert!(!answer.text().contains("a-secret"), "{}", answer.text());
    }
}

#[test]
fn a_ticket_opens_as_often_and_from_where_it_may() {
    let desk = Desk::start("logins_per_minute = 2");
    let refused = |login: &Value| {
        let answer = desk.login(login);
        assert_eq!(answer.status, 401, "{}", answer.text());
        answer.json()["reason"].as_str().unwrap().to_owned()
    };
    let made = desk.share(&none(), &json!({"maxUses": 2}));
    let login = json!({"ticket": made["token"]});
    let first = bearer(&desk.login(&login));
    bearer(&desk.login(&login));
    assert_eq!(refused(&login), "ticket_used_up");
    // A look at the page, and calls of a session, use nothing.
    let id = made["ticket"]["id"].as_str().unwrap();
    desk.call("GET", &format!("/?embed={id}"), "", &Value::Null);
    assert_eq!(desk.get(&first, "session").status, 200);
    assert_eq!(
        desk.call(
            "POST",
            "/api/v1/dashboard/session/extend",
            &first,
            &Value::Null
        )
        .status,
        200
    );
    let elsewhere = desk.share(&none(), &json!({"addresses": ["192.0.2.0/24"]}));
    assert_eq!(
        refused(&json!({"ticket": elsewhere["token"]})),
        "ticket_address"
    );
    let start = made["ticket"]["created"].as_u64().unwrap() + 1000;
    let later = desk.share(&none(), &json!({"notBefore": start}));
    assert_eq!(
        refused(&json!({"ticket": later["token"]})),
        "ticket_not_yet_valid"
    );
    let framed = desk.share(&none(), &json!({"origins": ["https://portal.example.com"]}));
    let token = &framed["token"];
    assert_eq!(refused(&json!({"ticket": token})), "ticket_origin");
    assert_eq!(
        refused(&json!({"ticket": token, "page": "https://evil.example"})),
        "ticket_origin"
    );
    bearer(&desk.login(&json!({"ticket": token, "page": "https://portal.example.com"})));
    let named = desk.share(&none(), &json!({"accounts": ["customer-7"]}));
    let token = &named["token"];
    assert_eq!(refused(&json!({"ticket": token})), "ticket_account");
    let of = |subject: &str| {
        let output = binary()
            .args(["token", "mint", "--project", PROJECT, "--logstore", GUARDED])
            .args(["--subject", subject, "--data-dir"])
            .arg(desk.0.data_dir())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let other = json!({"ticket": token, "account": of("customer-8")});
    assert_eq!(refused(&other), "ticket_account");
    bearer(&desk.login(&json!({"ticket": token, "account": of("customer-7")})));
    // A ticket to write is none to look, and the other way round.
    let write = json!({"grant": {"write": {"project": PROJECT, "logstores": [OPEN]}}});
    let own = format!("Authorization: Bearer {}\r\n", desk.key());
    let write = desk.call("POST", "/api/v1/tickets", &own, &write).json();
    assert_eq!(refused(&json!({"ticket": write["token"]})), "ticket_scope");
    assert!(
        refused(&json!({"ticket": "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.e30.AAAA"}))
            .starts_with("token_")
    );
}

#[test]
fn a_revoked_ticket_ends_what_it_has_opened() {
    let desk = Desk::start("");
    let made = desk.share(&none(), &none());
    let guest = bearer(&desk.login(&json!({"ticket": made["token"]})));
    let mut stream = desk.stream(&guest);
    assert_eq!(stream.next().unwrap().0, "look");
    let id = made["ticket"]["id"].as_str().unwrap();
    let path = format!("/api/v1/dashboard/tickets/{id}");
    let denied = desk.call("DELETE", &path, &guest, &Value::Null);
    assert_eq!(denied.status, 403, "a guest ends no tickets");
    assert_eq!(desk.get(&guest, "tickets").status, 403);
    assert_eq!(
        desk.call("DELETE", &path, &desk.admin(), &Value::Null)
            .status,
        200
    );
    let last = std::iter::from_fn(|| stream.next()).last().unwrap();
    assert_eq!(last, ("end".to_owned(), json!({"why": "ticket"})));
    assert_eq!(desk.get(&guest, "session").status, 401);
    let listed = desk.get(&desk.admin(), "tickets").json();
    assert_eq!(listed["tickets"][0]["revoked"], true);
    assert_eq!(listed["tickets"][0]["createdBy"], "dashboard");
    assert_eq!(listed["more"], false);
}

#[test]
fn a_page_learns_whether_its_session_has_ended_or_its_ticket() {
    let desk = Desk::start("");
    let made = desk.share(&none(), &none());
    let login = json!({"ticket": made["token"]});
    let closed = bearer(&desk.login(&login));
    let mut stream = desk.stream(&closed);
    assert_eq!(
        desk.call("DELETE", SESSION, &closed, &Value::Null).status,
        200
    );
    let last = std::iter::from_fn(|| stream.next()).last().unwrap();
    assert_eq!(last, ("end".to_owned(), json!({"why": "session"})));
    let guest = bearer(&desk.login(&login));
    let path = format!(
        "/api/v1/dashboard/tickets/{}",
        made["ticket"]["id"].as_str().unwrap()
    );
    assert_eq!(
        desk.call("DELETE", &path, &desk.admin(), &Value::Null)
            .status,
        200
    );
    let told = desk.get(&guest, "session");
    assert_eq!(
        (told.status, &told.json()["reason"]),
        (401, &json!("credential_revoked"))
    );
    let short = desk.guest(&none(), &json!({"ttlSeconds": 1}));
    std::thread::sleep(Duration::from_millis(1600));
    assert_eq!(
        desk.get(&short, "session").json()["reason"],
        "ticket_expired"
    );
}

#[test]
fn a_session_of_an_account_ends_with_what_has_proven_the_account() {
    let desk = Desk::start("");
    let of = |subject: &str, ttl: &str| {
        let output = binary()
            .args(["token", "mint", "--project", PROJECT, "--logstore", GUARDED])
            .args(["--subject", subject, "--ttl", ttl, "--data-dir"])
            .arg(desk.0.data_dir())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let made = desk.share(
        &none(),
        &json!({"accounts": ["customer-7", "customer-8", "customer-9"]}),
    );
    let open = |account: String| {
        let login = desk.login(&json!({"ticket": made["token"], "account": account}));
        let body = login.json();
        let left = body["expires"].as_u64().unwrap() - body["now"].as_u64().unwrap();
        (bearer(&login), left)
    };
    let extend = "/api/v1/dashboard/session/extend";
    let (short, left) = open(of("customer-7", "2s"));
    assert!(left <= 2, "{left}");
    let longer = desk.call("POST", extend, &short, &Value::Null);
    let body = longer.json();
    assert!(body["expires"].as_u64().unwrap() <= body["now"].as_u64().unwrap() + 2);
    let (revoked, left) = open(of("customer-8", "1h"));
    assert!(left > 60, "{left}");
    let (other, _) = open(of("customer-9", "1h"));
    let own = format!("Authorization: Bearer {}\r\n", desk.key());
    let revoke = json!({"kind": "subject", "value": "customer-8"});
    let answer = desk.call("POST", "/api/v1/revocations", &own, &revoke);
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(desk.get(&revoked, "session").status, 401);
    assert_eq!(desk.get(&other, "session").status, 200);
    std::thread::sleep(Duration::from_millis(2600));
    assert_eq!(desk.get(&short, "session").status, 401);
}

#[test]
fn an_extended_ticket_keeps_its_pages_open_and_a_session_ends_with_it() {
    let desk = Desk::start("");
    let made = desk.share(&none(), &json!({"ttlSeconds": 3, "maxTtlSeconds": 100}));
    let login = desk.login(&json!({"ticket": made["token"]}));
    let guest = bearer(&login);
    let expires = made["ticket"]["expires"].as_u64().unwrap();
    assert_eq!(
        login.json()["expires"].as_u64().unwrap(),
        expires,
        "no later than the ticket"
    );
    let id = made["ticket"]["id"].as_str().unwrap();
    let path = format!("/api/v1/dashboard/tickets/{id}/extend");
    let longer = desk.call("POST", &path, &desk.admin(), &json!({"ttlSeconds": 90}));
    assert_eq!(longer.status, 200, "{}", longer.text());
    let extended = desk.call(
        "POST",
        "/api/v1/dashboard/session/extend",
        &guest,
        &Value::Null,
    );
    assert!(extended.json()["expires"].as_u64().unwrap() > expires + 60);
    let short = desk.guest(&none(), &json!({"ttlSeconds": 1}));
    std::thread::sleep(Duration::from_millis(1600));
    assert_eq!(desk.get(&short, "session").status, 401);
    assert_eq!(desk.get(&guest, "session").status, 200);
}

#[test]
fn a_guest_sees_the_logstores_times_events_and_fields_of_the_ticket_and_nothing_else() {
    let desk = Desk::start("");
    let events = json!([
        {"event": "click", "tenant": "acme", "email": "a@example.com", "__time__": 1_000},
        {"event": "click", "tenant": "globex", "email": "b@example.com"},
        {"event": "view", "tenant": "acme", "email": "c@example.com"},
    ]);
    desk.send(OPEN, &events);
    desk.send("checked", &json!([{"amount": "much", "tenant": "acme", "email": "d@example.com"}, {"amount": "more", "tenant": "globex"}]));
    // Refused: it has no token.
    assert_eq!(
        desk.0
            .track(GUARDED, "", br#"{"__logs__":[{"a":"b"}]}"#)
            .status,
        401
    );
    let admin = desk.admin();
    desk.events(&admin, OPEN, 3);
    let view = json!({"logstores": [OPEN, "checked"], "hidden": ["email"], "filters": [{"field": "tenant", "value": "acme"}]});
    let guest = desk.guest(&view, &none());
    let seen = desk.events(&guest, OPEN, 2);
    let text = Value::from(seen).to_string();
    assert!(
        text.contains("acme") && !text.contains("globex") && !text.contains("example.com"),
        "{text}"
    );
    let records = desk.get(
        &guest,
        &format!("quarantine?project={PROJECT}&logstore=checked"),
    );
    let records = records.json()["records"].as_array().unwrap().clone();
    assert_eq!(records.len(), 1, "{records:?}");
    let text = Value::from(records).to_string();
    assert!(
        text.contains("acme") && !text.contains("example.com") && !text.contains("client"),
        "{text}"
    );
    for path in ["events", "quarantine"] {
        let path = format!("{path}?project={PROJECT}&logstore={GUARDED}");
        assert_eq!(desk.get(&guest, &path).status, 404, "{path}");
        assert_eq!(desk.get(&admin, &path).status, 200, "{path}");
    }
    assert_eq!(desk.get(&guest, "refusals").json(), json!({"refusals": []}));
    let look = desk.stream(&guest).next().unwrap().1;
    assert_eq!(
        (&look["hidden"], &look["logstores"]),
        (&json!("filters"), &json!([]))
    );
    // Without a filter numbers are shown, of those logstores, and without sums.
    let guest = desk.guest(&json!({"logstores": [OPEN]}), &none());
    let look = desk.stream(&guest).next().unwrap().1;
    assert_eq!(look["logstores"].as_array().unwrap().len(), 1);
    for left_out in ["limits", "upstreams", "process", "certificates", "unrouted"] {
        assert!(look.get(left_out).is_none(), "{left_out}");
    }
    assert!(look["logstores"][0].get("counts").is_none());
    // Another time: no numbers of now, and no events of now.
    let guest = desk.guest(&json!({"to": 2_000}), &none());
    let look = desk.stream(&guest).next().unwrap().1;
    assert_eq!(look["hidden"], "time");
    assert!(desk.events(&guest, OPEN, 0).is_empty());
}

#[test]
fn refusals_are_explained_to_the_admin_and_a_guest_learns_only_why() {
    let desk = Desk::start("");
    let secret = "Authorization: Bearer not.a.token\r\n";
    assert_eq!(
        desk.0
            .track(GUARDED, secret, br#"{"__logs__":[{"a":"b"}]}"#)
            .status,
        401
    );
    let refusals = desk.get(&desk.admin(), "refusals").json();
    let one = &refusals["refusals"][0];
    assert_eq!(
        (&one["reason"], &one["status"]),
        (&json!("token_malformed"), &json!(401))
    );
    assert_eq!(one["client"], "127.0.0.1");
    assert!(!refusals.to_string().contains("not.a.token"), "{refusals}");
    let guest = desk.guest(&none(), &none());
    let refusals = desk.get(&guest, "refusals").json();
    let one = refusals["refusals"][0].as_object().unwrap();
    let mut names: Vec<&str> = one.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "events", "logstore", "method", "reason", "stage", "status", "time"
        ]
    );
}

#[test]
fn one_look_serves_all_pages_there_are_only_so_many_and_none_costs_nothing() {
    let desk = Desk::start("max_viewers = 3");
    let admin = desk.admin();
    let looks = || desk.0.metric("tollgate_dashboard_snapshots_total");
    assert_eq!(looks(), 0, "nobody looks");
    let mut streams: Vec<Stream> = (0..3).map(|_| desk.stream(&admin)).collect();
    let full = desk.stream(&admin);
    assert_eq!(full.status, 503);
    let numbers: Vec<u64> = streams
        .iter_mut()
        .map(|stream| {
            let look = (0..3).map(|_| stream.next().unwrap().1).last().unwrap();
            assert!(look["logstores"][0]["rates"].is_object(), "{look}");
            look["number"].as_u64().unwrap()
        })
        .collect();
    // All were shown the same looks: not one each.
    assert!(
        looks() <= numbers.iter().max().unwrap() + 2,
        "{numbers:?} {}",
        looks()
    );
    assert_eq!(desk.0.metric("tollgate_dashboard_viewers"), 3);
    assert_eq!(desk.0.metric("tollgate_dashboard_viewers_refused_total"), 1);
    drop(streams);
    let deadline = Instant::now() + Duration::from_secs(20);
    while desk.0.metric("tollgate_dashboard_viewers") > 0 {
        assert!(Instant::now() < deadline, "the seats are given back");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(desk.stream(&admin).status, 200);
}

#[test]
fn guests_leave_seats_for_the_admin_and_one_ticket_leaves_some_for_the_others() {
    let desk = Desk::start("max_viewers = 4");
    let first = desk.guest(&none(), &none());
    let second = desk.guest(&none(), &none());
    let mut open = Vec::new();
    let mut look = |bearer: &str| {
        let stream = desk.stream(bearer);
        let status = stream.status;
        open.push(stream);
        status
    };
    // Three of the four are for guests, and two of those for one ticket.
    assert_eq!([look(&first), look(&first), look(&first)], [200, 200, 503]);
    assert_eq!([look(&second), look(&second)], [200, 503]);
    let admin = desk.admin();
    assert_eq!([look(&admin), look(&admin)], [200, 503]);
    assert_eq!(desk.0.metric("tollgate_dashboard_viewers"), 4);
    drop(open);
    let deadline = Instant::now() + Duration::from_secs(20);
    while desk.0.metric("tollgate_dashboard_viewers") > 0 {
        assert!(Instant::now() < deadline, "the seats are given back");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(desk.stream(&first).status, 200);
}

#[test]
fn sessions_are_bounded_and_guests_leave_room_for_the_admin() {
    let desk = Desk::start("max_sessions = 4");
    let own = format!("Authorization: Bearer {}\r\n", desk.key());
    let share = || {
        let view = json!({"project": PROJECT, "dashboard": "overview"});
        let new = json!({"grant": {"view": view}, "maxUses": 10});
        let made = desk.call("POST", "/api/v1/dashboard/tickets", &own, &new);
        json!({"ticket": made.json()["token"]})
    };
    let (first, second) = (share(), share());
    // Three are for guests, two of them for one ticket.
    for _ in 0..2 {
        bearer(&desk.login(&first));
    }
    let full = desk.login(&first);
    assert_eq!(full.status, 503);
    assert!(full.text().contains("this link"), "{}", full.text());
    bearer(&desk.login(&second));
    assert_eq!(desk.login(&second).status, 503);
    let admin = json!({"token": desk.key()});
    bearer(&desk.login(&admin));
    assert_eq!(desk.login(&admin).status, 503);
    assert_eq!(desk.0.metric("tollgate_dashboard_sessions"), 4);
    let listed = desk.get(&own, "tickets").json();
    let uses = listed["tickets"].as_array().unwrap().iter();
    let uses: u64 = uses.map(|it| it["uses"].as_u64().unwrap()).sum();
    assert_eq!(uses, 3, "what opened nothing is not counted");
}

#[test]
fn sessions_that_have_ended_make_room() {
    let desk = Desk::start("max_sessions = 4");
    let own = format!("Authorization: Bearer {}\r\n", desk.key());
    let new = json!({
        "grant": {"view": {"project": PROJECT, "dashboard": "overview"}}, "ttlSeconds": 1,
    });
    let made = desk.call("POST", "/api/v1/dashboard/tickets", &own, &new);
    bearer(&desk.login(&json!({"ticket": made.json()["token"]})));
    std::thread::sleep(Duration::from_millis(1600));
    bearer(&desk.login(&json!({"token": desk.key()})));
    assert_eq!(
        desk.0.metric("tollgate_dashboard_sessions"),
        1,
        "the one that has ended is gone, though there was room"
    );
}

#[test]
fn frames_are_for_the_origins_of_the_ticket_or_of_the_configuration() {
    let desk = Desk::start(r#"embed_origins = ["https://intranet.example.com"]"#);
    let frames = |query: &str| {
        let page = desk.call("GET", &format!("/{query}"), "", &Value::Null);
        let policy = page.header("content-security-policy").unwrap().to_owned();
        policy.rsplit("frame-ancestors ").next().unwrap().to_owned()
    };
    let open = desk.share(&none(), &none());
    let own = desk.share(
        &none(),
        &json!({"origins": ["https://a.example", "https://b.example:8443"]}),
    );
    let id = |made: &Value| made["ticket"]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        frames(""),
        "'none'",
        "the page would ask for the admin token"
    );
    assert_eq!(
        frames("?embed=e0f7faec-e9b1-48ac-94d0-884fe3b1d43d"),
        "'none'"
    );
    assert_eq!(frames("?ticket=forged"), "'none'");
    assert_eq!(
        frames(&format!("?embed={}", id(&open))),
        "https://intranet.example.com"
    );
    let named = format!("?hideTopbar=true&embed={}", id(&own));
    assert_eq!(frames(&named), "https://a.example https://b.example:8443");
    let token = own["token"].as_str().unwrap();
    assert_eq!(
        frames(&format!("?ticket={token}&hideTopbar=true")),
        "https://a.example https://b.example:8443"
    );
    let path = format!("/api/v1/dashboard/tickets/{}", id(&own));
    assert_eq!(
        desk.call("DELETE", &path, &desk.admin(), &Value::Null)
            .status,
        200
    );
    assert_eq!(frames(&named), "'none'", "it is revoked");
}

#[test]
fn a_stop_ends_live_streams_and_does_not_wait_for_them() {
    let mut desk = Desk::start("");
    let mut stream = desk.stream(&desk.admin());
    assert_eq!(stream.next().unwrap().0, "look");
    let status = desk.0.stop();
    assert!(status.success(), "{status:?}");
    let last = std::iter::from_fn(|| stream.next()).last().unwrap();
    assert_eq!(last, ("end".to_owned(), json!({"why": "stopping"})));
}

#[test]
fn without_the_dashboard_nothing_of_it_answers() {
    let desk = Desk::start("enabled = false");
    assert_eq!(desk.call("GET", "/", "", &Value::Null).status, 404);
    let own = format!("Authorization: Bearer {}\r\n", desk.key());
    assert_eq!(desk.call("GET", LIVE, &own, &Value::Null).status, 404);
    assert_eq!(desk.get(&own, "session").status, 404);
}

#[test]
fn a_drain_by_the_api_is_told_where_a_stop_is() {
    let desk = Desk::start("");
    let own = format!("Authorization: Bearer {}\r\n", desk.key());
    let stage = || {
        let told = desk.0.admin_get("/drain").json();
        (
            told["stage"].as_str().unwrap().to_owned(),
            told["deadline"].clone(),
        )
    };
    let ready = || desk.0.admin_get("/readyz").status;
    assert_eq!((ready(), stage().0), (200, "serving".to_owned()));
    let call = |method: &str| {
        desk.call(method, "/api/v1/drain", &own, &Value::Null)
            .status
    };
    assert_eq!(call("POST"), 200);
    assert_eq!(
        (ready(), stage()),
        (503, ("not_ready".to_owned(), Value::Null))
    );
    assert_eq!(call("DELETE"), 200);
    assert_eq!((ready(), stage().0), (200, "serving".to_owned()));
}
