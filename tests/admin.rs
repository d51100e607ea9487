//! Tickets and revocations on the real binary: by the admin API, and by the commands on a running
//! and on a stopped node.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use support::{Answer, Data, GUARDED, PROJECT, Tollgate, binary, exchange};

/// A configuration whose private listener is a port that nothing listens at.
const NOBODY: &str = "[admin]\nlisten = \"127.0.0.1:1\"\n";

fn admin_key(tollgate: &Tollgate) -> String {
    let path = tollgate.data_dir().join("keys/admin.key");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

fn call(tollgate: &Tollgate, method: &str, path: &str, extra: &str, body: &Value) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{extra}\r\n",
        tollgate.admin,
        body.len()
    );
    exchange(tollgate.admin, &head, body.as_bytes())
}

fn api(tollgate: &Tollgate, method: &str, path: &str, body: &Value) -> Answer {
    let token = format!("Authorization: Bearer {}\r\n", admin_key(tollgate));
    call(tollgate, method, &format!("/api/v1/{path}"), &token, body)
}

fn command(arguments: &[&str], data_dir: &Path, more: &[&str]) -> Output {
    let mut command = binary();
    command.args(arguments).arg("--data-dir").arg(data_dir);
    command.args(more).output().unwrap()
}

/// A command on the running node.
fn on_node(tollgate: &Tollgate, arguments: &[&str]) -> Output {
    let url = format!("http://{}", tollgate.admin);
    command(arguments, tollgate.data_dir(), &["--admin-url", &url])
}

/// A command on the files of a node, which runs or not, but does not listen where it is looked for.
fn on_files(data_dir: &Path, arguments: &[&str]) -> Output {
    let config = data_dir.join("nobody.toml");
    let quickstart = concat!(env!("CARGO_MANIFEST_DIR"), "/config/quickstart.toml");
    let text = std::fs::read_to_string(quickstart).unwrap();
    std::fs::write(&config, format!("{text}\n{NOBODY}")).unwrap();
    command(arguments, data_dir, &["--config", config.to_str().unwrap()])
}

fn out(output: &Output) -> String {
    let error = err(output);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const CREATE: [&str; 6] = [
    "ticket",
    "create",
    "--project",
    PROJECT,
    "--logstore",
    GUARDED,
];

fn with_ticket(tollgate: &Tollgate, ticket: &str) -> (u16, String) {
    let body = br#"{"__logs__":[{"event":"by ticket"}]}"#;
    let header = format!("Authorization: Bearer {ticket}\r\n");
    let answer = tollgate.track(GUARDED, &header, body);
    if answer.status == 200 {
        return (200, String::new());
    }
    let (status, _, reason) = answer.refusal();
    (status, reason)
}

#[test]
fn the_api_asks_for_its_token_and_is_not_on_the_public_listener() {
    let tollgate = Tollgate::start();
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(call(&tollgate, "GET", path, "", &Value::Null).status, 200);
    }
    for path in [
        "/api/v1/tickets",
        "/api/v1/revocations",
        "/api/",
        "/api/v2/x",
    ] {
        let answer = call(&tollgate, "GET", path, "", &Value::Null);
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.header("www-authenticate").is_some());
        assert!(answer.header("access-control-allow-origin").is_none());
    }
    let page = format!(
        "Authorization: Bearer {}\r\nOrigin: https://evil.example\r\n",
        admin_key(&tollgate)
    );
    let answer = call(&tollgate, "GET", "/api/v1/tickets", &page, &Value::Null);
    assert_eq!(answer.status, 403);
    let answer = api(&tollgate, "GET", "tickets", &Value::Null);
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"tickets": []}))
    );
    let public = tollgate.get("/api/v1/tickets");
    assert_eq!(public.status, 404, "{public:?}");
    assert!(tollgate.metric(r#"tollgate_admin_calls_total{call="unknown",outcome="denied"}"#) >= 5);
    assert_eq!(tollgate.metric("tollgate_tickets"), 0);
}

#[test]
fn a_ticket_writes_as_often_as_it_may_across_a_kill() {
    let mut tollgate = Tollgate::start();
    let arguments = [&CREATE[..], &["--max-uses", "3", "--note", "a test"]].concat();
    let made = on_node(&tollgate, &arguments);
    let ticket = out(&made);
    assert_eq!(ticket.lines().count(), 1, "only the ticket: {ticket}");
    let ticket = ticket.trim().to_owned();
    assert_eq!(ticket.split('.').count(), 3);
    assert!(err(&made).contains("running node"), "{}", err(&made));
    assert_eq!(with_ticket(&tollgate, &ticket).0, 200);
    assert_eq!(with_ticket(&tollgate, &ticket).0, 200);
    let data = tollgate.data_dir().to_owned();
    let kept = tempfile::tempdir().unwrap();
    let copy = kept.path().join("data");
    tollgate.signal("-KILL");
    tollgate.wait();
    std::fs::rename(data, &copy).unwrap();
    let tollgate = Tollgate::start_with(Data::Kept(copy), &[]);
    assert_eq!(with_ticket(&tollgate, &ticket).0, 200);
    let used_up = (401, "ticket_used_up".to_owned());
    assert_eq!(with_ticket(&tollgate, &ticket), used_up);
    let rows = out(&on_node(&tollgate, &["ticket", "list"]));
    assert!(
        rows.contains("used up") && rows.contains("3 of 3 uses"),
        "{rows}"
    );
    let text = tollgate.stderr();
    assert!(!text.contains(&ticket), "the log holds a ticket: {text}");
}

#[test]
fn refused_requests_use_nothing_and_a_ticket_is_for_its_logstore_only() {
    let tollgate = Tollgate::start();
    let arguments = [&CREATE[..], &["--max-uses", "1"]].concat();
    let ticket = out(&on_node(&tollgate, &arguments)).trim().to_owned();
    let header = format!("Authorization: Bearer {ticket}\r\n");
    for body in ["{}", "no JSON", r#"{"__logs__":"x"}"#] {
        let answer = tollgate.track(GUARDED, &header, body);
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    assert_eq!(with_ticket(&tollgate, &ticket).0, 200);
    let used_up = (401, "ticket_used_up".to_owned());
    assert_eq!(with_ticket(&tollgate, &ticket), used_up);
    let elsewhere = [
        "ticket",
        "create",
        "--project",
        PROJECT,
        "--logstore",
        "elsewhere",
    ];
    let made = on_node(&tollgate, &elsewhere);
    assert!(err(&made).contains("warning"), "{}", err(&made));
    let ticket = out(&made).trim().to_owned();
    let out_of_scope = (401, "ticket_scope".to_owned());
    assert_eq!(with_ticket(&tollgate, &ticket), out_of_scope);
    let mut changed = ticket.into_bytes();
    let at = changed.len() - 5;
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    let forged = (401, "token_signature".to_owned());
    assert_eq!(with_ticket(&tollgate, &changed), forged);
}

#[test]
fn a_ticket_is_extended_and_revoked_by_the_commands() {
    let tollgate = Tollgate::start();
    let arguments = [
        &CREATE[..],
        &["--ttl", "1h", "--until-max", "2d", "--format", "json"],
    ];
    let made: Value = serde_json::from_str(&out(&on_node(&tollgate, &arguments.concat()))).unwrap();
    let id = made["ticket"]["id"].as_str().unwrap();
    let ticket = made["token"].as_str().unwrap();
    let extended = on_node(&tollgate, &["ticket", "extend", id, "--ttl", "1d"]);
    out(&extended);
    let listed = out(&on_node(&tollgate, &["ticket", "list", "--format", "json"]));
    let listed: Value = serde_json::from_str(listed.trim()).unwrap();
    let until = |ticket: &Value| ticket["expires"].as_u64().unwrap();
    assert!(until(&listed) >= until(&made["ticket"]) + 22 * 3600);
    let beyond = on_node(&tollgate, &["ticket", "extend", id, "--ttl", "3d"]);
    assert_eq!(beyond.status.code(), Some(1), "{}", err(&beyond));
    assert_eq!(with_ticket(&tollgate, ticket).0, 200);
    let revoked = on_node(&tollgate, &["ticket", "revoke", id, "--reason", "leaked"]);
    out(&revoked);
    let refused = (401, "credential_revoked".to_owned());
    assert_eq!(with_ticket(&tollgate, ticket), refused, "at once");
    let rows = out(&on_node(&tollgate, &["revoke", "list"]));
    assert!(rows.contains(id) && rows.contains("leaked"), "{rows}");
    out(&on_node(&tollgate, &["revoke", "lift", "ticket", id]));
    assert_eq!(with_ticket(&tollgate, ticket).0, 200);
    let again = on_node(&tollgate, &["revoke", "lift", "ticket", id]);
    assert_eq!(again.status.code(), Some(1), "{}", err(&again));
    let log = tollgate.stderr();
    assert!(
        log.contains("ticket revoked") && !log.contains(ticket),
        "{log}"
    );
}

#[test]
fn the_commands_work_on_a_stopped_node_and_its_lock_keeps_them_off_a_running_one() {
    let mut tollgate = Tollgate::start();
    let busy = on_files(tollgate.data_dir(), &["revoke", "add", "subject", "alice"]);
    assert_eq!(busy.status.code(), Some(73), "{}", err(&busy));
    assert!(err(&busy).contains("--admin-url"), "{}", err(&busy));
    tollgate.stop();
    let data = tollgate.data_dir();
    let added = on_files(
        data,
        &["revoke", "add", "subject", "alice", "--reason", "gone"],
    );
    out(&added);
    assert!(err(&added).contains("nothing listens"), "{}", err(&added));
    let arguments = [
        "revoke",
        "add",
        "role",
        "acs:ram::1:role/r",
        "--issued-before",
        "now",
    ];
    out(&on_files(data, &arguments));
    let ticket = out(&on_files(data, &CREATE)).trim().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("data");
    std::fs::rename(data, &kept).unwrap();
    let tollgate = Tollgate::start_with(Data::Kept(kept), &[]);
    let rows = out(&on_node(&tollgate, &["revoke", "list"]));
    assert!(
        rows.contains("subject alice revoked until lifted: gone"),
        "{rows}"
    );
    assert!(rows.contains("issued until 20"), "{rows}");
    assert_eq!(tollgate.metric("tollgate_revocations"), 2);
    assert_eq!(with_ticket(&tollgate, &ticket).0, 200);
}

#[test]
fn the_commands_work_where_no_node_has_run_yet() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| on_files(folder.path(), arguments);
    let view = [
        "ticket",
        "create",
        "--project",
        PROJECT,
        "--view",
        "overview",
        "--last",
        "1h",
    ];
    let more = [
        "--field",
        "region=eu",
        "--from",
        "10.0.0.0/8",
        "--format",
        "json",
    ];
    let made: Value = serde_json::from_str(&out(&run(&[&view[..], &more].concat()))).unwrap();
    let shown = &made["ticket"]["grant"]["view"];
    assert_eq!(shown["lastSeconds"], 3600);
    assert_eq!(
        shown["filters"],
        json!([{"field": "region", "value": "eu"}])
    );
    let id = made["ticket"]["id"].as_str().unwrap();
    out(&run(&["ticket", "extend", id, "--ttl", "2d"]));
    out(&run(&["ticket", "revoke", id]));
    let rows = out(&run(&["ticket", "list"]));
    assert!(
        rows.contains("revoked") && rows.contains("overview"),
        "{rows}"
    );
    let late = run(&["ticket", "extend", id, "--ttl", "3d"]);
    assert_eq!(late.status.code(), Some(1), "{}", err(&late));
    let session = ["revoke", "add", "session", "d-001", "--ttl", "1h"];
    out(&run(&session));
    let rows = out(&run(&[
        "revoke", "list", "--kind", "session", "--format", "json",
    ]));
    let row: Value = serde_json::from_str(rows.trim()).unwrap();
    assert_eq!(
        (&row["value"], &row["by"]),
        (&json!("d-001"), &json!("command line"))
    );
    out(&run(&["revoke", "lift", "session", "d-001"]));
    let rows = out(&run(&["revoke", "list", "--kind", "session"]));
    assert_eq!(rows, "");
}

#[test]
fn a_node_of_another_data_directory_is_told_apart() {
    let tollgate = Tollgate::start();
    let other = Tollgate::start();
    let url = format!("http://{}", other.admin);
    let wrong = command(
        &["ticket", "list"],
        tollgate.data_dir(),
        &["--admin-url", &url],
    );
    assert_eq!(wrong.status.code(), Some(78), "{}", err(&wrong));
    let empty = tempfile::tempdir().unwrap();
    let none = command(&["ticket", "list"], empty.path(), &["--admin-url", &url]);
    assert_eq!(none.status.code(), Some(73), "{}", err(&none));
    assert!(!empty.path().join("keys").exists(), "no key is made for it");
    let nobody = command(
        &["ticket", "list"],
        tollgate.data_dir(),
        &["--admin-url", "http://127.0.0.1:1"],
    );
    assert_eq!(nobody.status.code(), Some(69), "{}", err(&nobody));
}

#[test]
fn the_command_line_is_checked_before_anything_is_done() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["ticket", "create", "--project", PROJECT][..],
        &["ticket", "extend", "1", "--ttl", "1d"],
        &[
            "ticket",
            "create",
            "--project",
            PROJECT,
            "--logstore",
            GUARDED,
            "--from",
            "x",
        ],
        &[
            "ticket",
            "create",
            "--project",
            PROJECT,
            "--logstore",
            GUARDED,
            "--hide",
            "email",
        ],
        &["revoke", "add", "planet", "x"],
        &["revoke", "add", "jti", "x", "--issued-before", "soon"],
    ] {
        let output = command(arguments, folder.path(), &[]);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            err(&output)
        );
    }
    assert!(!folder.path().join("identity").exists());
    for help in [
        &["ticket", "create", "--help"][..],
        &["revoke", "add", "--help"],
    ] {
        let text = out(&binary().args(help).output().unwrap());
        assert!(text.contains("Examples:"), "{text}");
    }
}
