mod aside;
mod described;
mod limits;
mod node;

use http::HeaderMap;
use http::header::{ALLOW, WWW_AUTHENTICATE};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::{Config, Identity};
use crate::foundation::clock;
use crate::foundation::secret::Secret;
use crate::gate::identity::state::{IdentityState, RevocationKind, TicketFacts, Wanted};
use crate::gate::quota::{LimitControl, Overrides, Quotas};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

struct Fixture {
    api: Arc<AdminApi>,
    _folder: tempfile::TempDir,
}

fn fixture() -> Fixture {
    fixture_with(Identity::default())
}

fn fixture_with(identity: Identity) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let metrics = Metrics::new();
    let state = IdentityState::open(folder.path(), &identity, &metrics).unwrap();
    let clients = AdminClients::default();
    let admin = crate::config::Admin {
        hosts: vec!["tollgate.internal".to_owned()],
        ..crate::config::Admin::default()
    };
    clients.set(&admin, Some(Secret::new(TOKEN)));
    let api = AdminApi {
        sample: Box::new(Vec::new),
        state: Arc::new(state),
        limits: Arc::new(limits(folder.path())),
        aside: Box::new(aside::Scripted),
        clients: Arc::new(clients),
        node: Box::new(node::Scripted),
        reload: Box::new(|_| Err(ReloadRefused::because("policy `p`: no such file"))),
        metrics,
    };
    Fixture {
        api: Arc::new(api),
        _folder: folder,
    }
}

/// One limit, on addresses.
fn limits(data_dir: &std::path::Path) -> LimitControl {
    let text = r#"
        name = "door"
        key = ["address"]
        rate = [{ count = 10, per = "1s" }]
        budget = [{ count = 100, per = "day" }]
    "#;
    let config = Config {
        limit_rules: vec![toml::from_str(text).unwrap()],
        ..Config::quickstart()
    };
    let quotas = Quotas::new(&config, 7).unwrap();
    let overrides = Arc::new(Overrides::open(data_dir, 2, Arc::clone(&quotas)));
    LimitControl { quotas, overrides }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    json: Value,
}

impl Answer {
    fn error(&self) -> (u16, &str) {
        let message = self.json["errorMessage"].as_str().unwrap();
        assert!(message.len() > 20, "{message}");
        (self.status, self.json["errorCode"].as_str().unwrap())
    }
}

impl Fixture {
    #[expect(clippy::disallowed_methods, reason = "an answer of our own")]
    async fn raw(&self, request: http::request::Builder, body: impl Into<Bytes>) -> Answer {
        let request = request.body(Full::new(body.into())).unwrap();
        let response = Arc::clone(&self.api).answer(request, visitor()).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(head.headers["content-type"], "application/json");
        assert_eq!(head.headers["cache-control"], "no-store");
        assert!(!head.headers.contains_key("access-control-allow-origin"));
        assert!(!String::from_utf8_lossy(&body).contains(TOKEN));
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            json: serde_json::from_slice(&body).unwrap(),
        }
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        self.raw(request(method, path), body).await
    }

    fn calls(&self, line: &str) -> bool {
        let text = self.api.metrics.render(crate::telemetry::Form::Text);
        text.contains(&format!("tollgate_admin_calls_total{line}"))
    }
}

fn visitor() -> Visitor {
    Visitor {
        address: [127, 0, 0, 1].into(),
        shown: None,
        trust: CancellationToken::new(),
    }
}

/// A request that is let in.
fn request(method: &str, path: &str) -> http::request::Builder {
    let request = Request::builder()
        .method(method)
        .uri(format!("/api/v1/{path}"))
        .header("host", "127.0.0.1:8081")
        .header("authorization", format!("Bearer {TOKEN}"));
    match method {
        "POST" | "PUT" => request.header("content-type", "application/json"),
        _ => request,
    }
}

fn write_ticket() -> Value {
    json!({"grant": {"write": {"project": "shop", "logstores": ["web"]}}})
}

#[test]
fn readiness_is_told_apart_from_health() {
    let admin = Admin {
        readiness: Arc::default(),
        metrics: Metrics::new(),
        scrapes: Arc::default(),
        clients: Arc::default(),
        api: None,
        dashboard: None,
        hsts: Arc::default(),
    };
    let status = |path| admin.answer(&Method::GET, path, &HeaderMap::new()).status();
    assert_eq!(status("/healthz"), StatusCode::OK);
    assert_eq!(status("/readyz"), StatusCode::SERVICE_UNAVAILABLE);
    admin.readiness.set(true);
    assert_eq!(status("/readyz"), StatusCode::OK);
    assert_eq!(status("/autoscale"), StatusCode::OK);
    assert_eq!(status("/drain"), StatusCode::OK);
    assert_eq!(status("/other"), StatusCode::NOT_FOUND);
    assert_eq!(status("/api/v1/tickets"), StatusCode::NOT_FOUND);
    assert_eq!(
        admin
            .answer(&Method::POST, "/healthz", &HeaderMap::new())
            .status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn a_ticket_lives_its_life() {
    let fixture = fixture();
    let made = fixture.call("POST", "tickets", write_ticket()).await;
    assert_eq!(made.status, 201, "{}", made.json);
    let token = made.json["token"].as_str().unwrap();
    let id = made.json["ticket"]["id"].as_str().unwrap();
    let facts = TicketFacts {
        wanted: Wanted::Write {
            project: "shop",
            logstore: "web",
        },
        client: [127, 0, 0, 1].into(),
        origin: None,
        account: None,
        now: clock::unix_seconds(),
    };
    let tickets = fixture.api.state.tickets();
    assert!(tickets.check(token.as_bytes(), &facts).is_ok());
    let path = format!("tickets/{id}/extend");
    let extend = json!({"ttlSeconds": 200_000});
    let extended = fixture.call("POST", &path, extend.clone()).await;
    assert_eq!(extended.status, 200, "{}", extended.json);
    let until = extended.json["expires"].as_u64().unwrap();
    assert!(until > clock::unix_seconds() + 199_000);
    let listed = fixture.call("GET", "tickets?limit=10", Value::Null).await;
    assert_eq!(listed.json["tickets"][0]["id"], id);
    assert!(!listed.json.to_string().contains(token), "told once");
    let path = format!("tickets/{id}?reason=leaked");
    let revoked = fixture.call("DELETE", &path, Value::Null).await;
    assert_eq!(revoked.status, 200, "{}", revoked.json);
    assert_eq!(revoked.json["reason"], "leaked");
    let refusal = tickets.check(token.as_bytes(), &facts).unwrap_err();
    assert_eq!(refusal.reason().label(), "credential_revoked");
    let listed = fixture.call("GET", "tickets", Value::Null).await;
    assert_eq!(listed.json["tickets"][0]["revoked"], true);
    let path = format!("tickets/{id}/extend");
    let refused = fixture.call("POST", &path, extend).await;
    assert_eq!(refused.error(), (409, "Conflict"));
    assert!(fixture.calls(r#"{call="create_ticket",outcome="done"} 1"#));
    assert!(fixture.calls(r#"{call="extend_ticket",outcome="refused"} 1"#));
}

#[tokio::test]
async fn a_revocation_lives_its_life() {
    let fixture = fixture();
    let arn = "acs:ram::1234567890123456:role/sls web";
    let body = json!({"kind": "role", "value": arn, "reason": "withdrawn", "before": 1000});
    let made = fixture.call("POST", "revocations", body).await;
    assert_eq!(made.status, 201, "{}", made.json);
    assert_eq!(made.json["by"], "api");
    let revocations = fixture.api.state.revocations();
    let now = clock::unix_seconds();
    let is_revoked = |issued| revocations.is_revoked(RevocationKind::Role, arn, issued, now);
    assert!(is_revoked(Some(1000)) && !is_revoked(Some(1001)));
    let listed = fixture
        .call("GET", "revocations?kind=role", Value::Null)
        .await;
    assert_eq!(listed.json["revocations"][0]["value"], arn);
    let other = fixture
        .call("GET", "revocations?kind=kid", Value::Null)
        .await;
    assert_eq!(other.json, json!({"revocations": []}));
    let path = "revocations/role/acs:ram::1234567890123456:role%2Fsls%20web";
    let lifted = fixture.call("DELETE", path, Value::Null).await;
    assert_eq!(lifted.status, 200, "{}", lifted.json);
    assert!(!is_revoked(Some(1000)));
    let again = fixture.call("DELETE", path, Value::Null).await;
    assert_eq!(again.error(), (404, "NotExist"));
}

#[tokio::test]
async fn without_the_token_nothing_is_told() {
    let fixture = fixture();
    let bare = |method: &str, path: &str| {
        Request::builder()
            .method(method)
            .uri(format!("/api/v1/{path}"))
            .header("host", "127.0.0.1")
            .header("content-type", "application/json")
    };
    let cases = [
        ("GET", "tickets"),
        ("POST", "tickets"),
        ("GET", "revocations"),
        ("POST", "reload"),
        ("DELETE", "revocations/jti/x"),
        ("GET", "limits"),
        ("POST", "limits/door/overrides"),
        ("GET", "nothing/here"),
        ("TRACE", "tickets"),
    ];
    for (method, path) in cases {
        let answer = fixture.raw(bare(method, path), "{}").await;
        assert_eq!(answer.error(), (401, "Unauthorized"), "{method} {path}");
        assert!(answer.headers.contains_key(WWW_AUTHENTICATE));
    }
    let longer = format!("Bearer {TOKEN}0");
    let basic = format!("Basic {TOKEN}");
    for value in ["", "Bearer", "Bearer ", TOKEN, &basic, &longer] {
        let request = bare("GET", "tickets").header("authorization", value);
        let answer = fixture.raw(request, "").await;
        assert_eq!(answer.error(), (401, "Unauthorized"), "{value}");
    }
    let twice = request("GET", "tickets").header("authorization", format!("Bearer {TOKEN}"));
    assert_eq!(fixture.raw(twice, "").await.status, 401);
    assert!(fixture.calls(r#"{call="unknown",outcome="denied"}"#));
    assert!(!fixture.calls(r#"{call="list_tickets""#));
}

#[tokio::test]
async fn what_a_page_can_send_is_refused_even_with_the_token() {
    let fixture = fixture();
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:8081"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "same-origin"),
    ] {
        let request = request("GET", "tickets").header(name, value);
        let answer = fixture.raw(request, "").await;
        assert_eq!(answer.error(), (403, "Forbidden"), "{name}: {value}");
    }
    // A form of a page cannot say that it is JSON.
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
    ] {
        let mut request = request("POST", "tickets");
        let headers = request.headers_mut().unwrap();
        headers.insert("content-type", kind.parse().unwrap());
        let answer = fixture.raw(request, write_ticket().to_string()).await;
        assert_eq!(answer.status, 415, "{kind}");
    }
    assert!(fixture.api.state.tickets().is_empty());
}

#[tokio::test]
async fn a_name_that_is_not_ours_is_refused() {
    let fixture = fixture();
    let with_host = |host: &str| {
        let mut request = request("GET", "tickets");
        let headers = request.headers_mut().unwrap();
        headers.insert("host", host.parse().unwrap());
        request
    };
    for good in [
        "127.0.0.1",
        "127.0.0.1:8081",
        "10.1.2.3:8081",
        "[::1]:8081",
        "localhost",
        "LOCALHOST:8081",
        "tollgate.internal:8081",
    ] {
        let answer = fixture.raw(with_host(good), "").await;
        assert_eq!(answer.status, 200, "{good}");
    }
    for bad in [
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8081",
        "127.0.0.1@evil.example",
        "evil.example@127.0.0.1",
        "localhost.",
        "a b",
    ] {
        let answer = fixture.raw(with_host(bad), "").await;
        assert_eq!(answer.error(), (403, "Forbidden"), "{bad}");
    }
    let mut none = request("GET", "tickets");
    none.headers_mut().unwrap().remove("host");
    assert_eq!(fixture.raw(none, "").await.status, 403);
    let twice = request("GET", "tickets").header("host", "127.0.0.1");
    assert_eq!(fixture.raw(twice, "").await.status, 403);
    // The absolute form names a host too.
    let absolute = request("GET", "tickets").uri("http://evil.example/api/v1/tickets");
    assert_eq!(fixture.raw(absolute, "").await.status, 403);
}

#[tokio::test]
async fn only_post_and_delete_change_something() {
    let fixture = fixture();
    let id = "e0f7faec-e9b1-48ac-94d0-884fe3b1d43d";
    for (method, path, allow) in [
        ("PUT", "tickets".to_owned(), "GET, POST"),
        ("HEAD", "tickets".to_owned(), "GET, POST"),
        ("OPTIONS", "tickets".to_owned(), "GET, POST"),
        ("GET", format!("tickets/{id}"), "DELETE"),
        ("POST", format!("tickets/{id}"), "DELETE"),
        ("GET", format!("tickets/{id}/extend"), "POST"),
        ("GET", "revocations/jti/x".to_owned(), "DELETE"),
        ("GET", "reload".to_owned(), "POST"),
        ("PATCH", "revocations".to_owned(), "GET, POST"),
        ("POST", "limits".to_owned(), "GET"),
        ("DELETE", "limits/door".to_owned(), "GET"),
        ("GET", "limits/door/overrides".to_owned(), "POST"),
        ("POST", "limits/door/overrides/x".to_owned(), "DELETE"),
    ] {
        let answer = fixture.call(method, &path, Value::Null).await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_eq!(answer.headers[ALLOW], allow);
    }
    for path in [
        "",
        "ticket",
        "tickets/",
        "tickets/a/b/c",
        "revocations/jti/a/b",
    ] {
        let answer = fixture.call("POST", path, json!({})).await;
        assert!([404, 405].contains(&answer.status), "{path}");
    }
    let wrong = fixture.call("DELETE", "tickets/1", Value::Null).await;
    assert_eq!(wrong.error(), (400, "ParameterInvalid"));
    let path = format!("tickets/{id}");
    let missing = fixture.call("DELETE", &path, Value::Null).await;
    assert_eq!(missing.error(), (404, "NotExist"));
}

#[tokio::test]
async fn a_wrong_body_is_refused_with_the_place_and_changes_nothing() {
    let fixture = fixture();
    let mut misspelt = write_ticket();
    misspelt["maxuses"] = json!(1);
    let mut nested = write_ticket();
    nested["grant"]["write"]["logstore"] = json!("x");
    let mut url = write_ticket();
    url["jwksUrl"] = json!("http://169.254.169.254/");
    for (body, place) in [
        (String::new(), "EOF"),
        ("{".to_owned(), "EOF"),
        ("[]".to_owned(), "the body"),
        (format!("{} {{}}", write_ticket()), "trailing"),
        (misspelt.to_string(), "maxuses"),
        (nested.to_string(), "logstore"),
        (url.to_string(), "jwksUrl"),
        (
            json!({"grant": {"write": {"project": "../x", "logstores": ["web"]}}}).to_string(),
            "project",
        ),
        (
            json!({"grant": {"write": {"project": "shop", "logstores": []}}}).to_string(),
            "logstore",
        ),
        (
            r#"{"maxUses":1,"maxUses":2,"grant":{"write":{"project":"shop","logstores":["web"]}}}"#
                .to_owned(),
            "maxUses",
        ),
        (
            json!({"grant": write_ticket()["grant"], "addresses": ["file:///etc/passwd"]})
                .to_string(),
            "addresses",
        ),
    ] {
        let answer = fixture.raw(request("POST", "tickets"), body.clone()).await;
        assert_eq!(answer.error(), (400, "ParameterInvalid"), "{body}");
        let message = answer.json["errorMessage"].as_str().unwrap();
        assert!(message.contains(place), "{body}: {message}");
    }
    let large = vec![b' '; body::MAX_BODY + 1];
    let answer = fixture.raw(request("POST", "tickets"), large).await;
    assert_eq!(answer.error(), (413, "PostBodyTooLarge"));
    assert!(fixture.api.state.tickets().is_empty());
    let with_body = fixture.raw(request("GET", "tickets"), "{}").await;
    assert_eq!(with_body.status, 400);
}

#[tokio::test]
async fn queries_are_read_strictly_and_lists_are_bounded() {
    let fixture = fixture();
    for bad in [
        "tickets?limit=0",
        "tickets?limit=1001",
        "tickets?limit=x",
        "tickets?limit=1&limit=2",
        "tickets?offset=1",
        "tickets?cursor=x",
        "revocations?kind=planet",
        "revocations?cursor=x",
    ] {
        let answer = fixture.call("GET", bad, Value::Null).await;
        assert_eq!(answer.error(), (400, "ParameterInvalid"), "{bad}");
    }
    for value in ["a", "b&c=d:e", "ü"] {
        let body = json!({"kind": "subject", "value": value});
        assert_eq!(fixture.call("POST", "revocations", body).await.status, 201);
    }
    let mut seen = Vec::new();
    let mut path = "revocations?limit=1".to_owned();
    loop {
        let page = fixture.call("GET", &path, Value::Null).await.json;
        let values = page["revocations"].as_array().unwrap().clone();
        seen.extend(
            values
                .iter()
                .map(|one| one["value"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
        path = format!("revocations?limit=1&cursor={next}");
    }
    assert_eq!(seen, ["a", "b&c=d:e", "ü"]);
}

#[tokio::test]
async fn at_a_bound_the_answer_says_which() {
    let mut identity = Identity::default();
    identity.ticket.max_count = 1;
    identity.revocation.max_count = 0;
    let fixture = fixture_with(identity);
    assert_eq!(
        fixture.call("POST", "tickets", write_ticket()).await.status,
        201
    );
    let full = fixture.call("POST", "tickets", write_ticket()).await;
    assert_eq!(full.error(), (409, "QuotaExceed"));
    let message = full.json["errorMessage"].as_str().unwrap();
    assert!(message.contains("identity.ticket.max_count"), "{message}");
    let body = json!({"kind": "jti", "value": "x"});
    let full = fixture.call("POST", "revocations", body).await;
    assert_eq!(full.error(), (409, "QuotaExceed"));
}

#[tokio::test]
async fn a_reload_that_fails_says_why() {
    let fixture = fixture();
    let answer = fixture.call("POST", "reload", Value::Null).await;
    assert_eq!(answer.error(), (409, "Conflict"));
    let message = answer.json["errorMessage"].as_str().unwrap();
    assert!(message.contains("no such file"), "{message}");
    assert!(fixture.calls(r#"{call="reload",outcome="refused"} 1"#));
    let wrong = fixture.call("POST", "reload", json!({"file": "/etc/passwd"}));
    assert_eq!(wrong.await.error(), (400, "ParameterInvalid"));
}

#[test]
fn the_token_is_not_in_debug_output() {
    let text = format!("{:?}", fixture().api);
    assert!(!text.contains(TOKEN), "{text}");
}
