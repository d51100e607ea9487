//! TLS of the private listener on the real binary: certificates in real files, and as clients curl,
//! openssl, Python and the binary's own commands.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair, SanType, date_time_ymd,
};
use support::{OPEN, PROJECT, Tollgate, binary, connect};

/// An authority, with a folder for what it signs.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

const GOOD: i32 = 2099;
const EXPIRED: i32 = 2021;

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("authority.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn ca(&self) -> String {
        self.text("authority.pem")
    }

    /// `{name}.pem` and `{name}.key`, for these names, the common name `name`, and a URI.
    fn put(&self, name: &str, names: &[&str], until: i32) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let uri = format!("spiffe://edge.test/{name}");
        let uri = SanType::URI(uri.as_str().try_into().unwrap());
        params.subject_alt_names.push(uri);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        for (end, text) in [("key", key.serialize_pem()), ("pem", certificate.pem())] {
            std::fs::write(self.path("draft"), text).unwrap();
            std::fs::rename(self.path("draft"), self.path(&format!("{name}.{end}"))).unwrap();
        }
    }
}

const HERE: [&str; 2] = ["127.0.0.1", "localhost"];

struct Case {
    server: Authority,
    clients: Authority,
    tollgate: Tollgate,
}

fn config(server: &Authority, lines: &str, clients: &str) -> String {
    format!(
        r#"
        [ingest]
        default_project = "{PROJECT}"
        [admin.tls]
        reload_interval = "1s"
        {lines}
        [[admin.tls.certificate]]
        cert = {:?}
        key = {:?}
        {clients}
        [[upstream]]
        name = "embedded"
        kind = "embedded"
        [[project]]
        name = "{PROJECT}"
        upstream = "embedded"
        [[project.logstore]]
        name = "{OPEN}"
        accept = ["anonymous"]
        "#,
        server.path("node.pem"),
        server.path("node.key"),
    )
}

fn roles(clients: &[(&str, &str)]) -> String {
    let all = clients.iter().map(|(name, role)| {
        format!(
            "[[admin.client]]\nname = \"{name}\"\ncertificate = \"uri:spiffe://edge.test/{name}\"\nrole = \"{role}\"\n"
        )
    });
    all.collect()
}

const ROLES: [(&str, &str); 3] = [("look", "viewer"), ("ops", "operator"), ("boss", "admin")];

impl Case {
    fn new(lines: impl Fn(&Authority) -> String, clients: &str) -> Self {
        let (server, authority) = (Authority::new(), Authority::new());
        server.put("node", &HERE, GOOD);
        for (name, _) in ROLES {
            authority.put(name, &["ignored.test"], GOOD);
        }
        authority.put("stranger", &["stranger.test"], GOOD);
        let tollgate = Tollgate::start_config(&config(&server, &lines(&authority), clients));
        Self {
            server,
            clients: authority,
            tollgate,
        }
    }

    /// One that asks for certificates, and gives three of them a role.
    fn with_clients(client_auth: &str) -> Self {
        let lines = |clients: &Authority| {
            let ca = clients.path("authority.pem");
            format!("client_auth = \"{client_auth}\"\nclient_ca = {ca:?}")
        };
        Self::new(lines, &roles(&ROLES))
    }

    fn plain() -> Self {
        Self::new(|_| "hsts = \"1h\"".to_owned(), "")
    }

    fn url(&self) -> String {
        format!("https://{}", self.tollgate.admin)
    }

    fn token(&self) -> String {
        let path = self.tollgate.data_dir().join("keys/admin.key");
        let token = std::fs::read_to_string(path).unwrap();
        format!("Authorization: Bearer {}", token.trim())
    }

    /// curl on a path of the private listener: its exit code, the status, and what it says.
    fn curl(&self, client: Option<(&Authority, &str)>, path: &str, more: &[&str]) -> Curled {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "20", "--cacert"]);
        command.arg(self.server.ca());
        if let Some((authority, name)) = client {
            command
                .arg("--cert")
                .arg(authority.text(&format!("{name}.pem")));
            command
                .arg("--key")
                .arg(authority.text(&format!("{name}.key")));
        }
        command
            .args(["--write-out", "\n%{http_code}", "--include"])
            .args(more);
        let output = command
            .arg(format!("{}{path}", self.url()))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (said, status) = text.rsplit_once('\n').unwrap();
        Curled {
            exit: output.status.code().unwrap(),
            status: status.parse().unwrap(),
            said: said.to_owned(),
        }
    }

    /// A call by the certificate of this name.
    fn by(&self, name: &str, path: &str, more: &[&str]) -> Curled {
        self.curl(
            Some((&self.clients, name)),
            &format!("/api/v1/{path}"),
            more,
        )
    }

    /// A command on the node.
    fn command(&self, arguments: &[&str]) -> Output {
        let mut command = binary();
        command.args(arguments).args(["--admin-url", &self.url()]);
        command.output().unwrap()
    }

    /// `/metrics`, read by the token's owner or whoever may.
    fn metric(&self, client: Option<&str>, line: &str) -> u64 {
        let client = client.map(|name| (&self.clients, name));
        let page = self.curl(client, "/metrics", &[]);
        let found = page.said.lines().find_map(|it| it.strip_prefix(line));
        found.map_or(0, |it| it.trim().parse().unwrap())
    }
}

#[derive(Debug)]
struct Curled {
    exit: i32,
    status: u16,
    said: String,
}

const POST: [&str; 4] = ["-H", "Content-Type: application/json", "-d", "{}"];

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn with_a_certificate_all_of_the_listener_speaks_tls() {
    let case = Case::plain();
    let answer = case.curl(None, "/readyz", &[]);
    assert_eq!((answer.exit, answer.status), (0, 200), "{answer:?}");
    let hsts = "strict-transport-security: max-age=3600";
    assert!(answer.said.to_lowercase().contains(hsts), "{answer:?}");
    let plain = format!("http://{}/readyz", case.tollgate.admin);
    let plain = Command::new("curl")
        .args(["--silent", &plain])
        .output()
        .unwrap();
    assert!(
        !plain.status.success(),
        "plain HTTP is not answered: {plain:?}"
    );
    assert!(!plain.stdout.starts_with(b"ready"));
    let stranger = Authority::new();
    let (address, ca) = (case.tollgate.admin.to_string(), stranger.ca());
    let shake = |ca: &str, version: &str| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &address, "-CAfile", ca, version]);
        command.args(["-verify_return_error", "-verify_ip", "127.0.0.1"]);
        command.stdin(std::process::Stdio::null()).output().unwrap()
    };
    assert!(!shake(&ca, "-tls1_3").status.success(), "another authority");
    assert!(
        !shake(&case.server.ca(), "-tls1_1").status.success(),
        "an old version"
    );
    for version in ["-tls1_2", "-tls1_3"] {
        let shaken = shake(&case.server.ca(), version);
        assert!(shaken.status.success(), "{}", err(&shaken));
    }
    let state = case.curl(None, "/api/v1/state", &["-H", &case.token()]);
    assert_eq!(state.status, 200, "{state:?}");
    assert_eq!(case.curl(None, "/api/v1/state", &[]).status, 401);
    let page = case.curl(None, "/", &[]);
    assert_eq!(page.status, 200);
    assert!(!page.said.to_lowercase().contains("set-cookie"));
    let expiry = format!(
        "tollgate_tls_certificate_expiry_seconds{{listener=\"admin\",file=\"{}\"}}",
        case.server.text("node.pem")
    );
    assert!(case.metric(None, &expiry) > 4_000_000_000, "{expiry}");
    let handshakes = |outcome: &str| {
        let line = format!("tollgate_admin_handshakes_total{{outcome=\"{outcome}\"}}");
        case.metric(None, &line)
    };
    assert!(handshakes("done") >= 8);
    assert!(
        handshakes("failed") >= 3,
        "plain HTTP, the authority, the version"
    );
}

#[test]
fn the_commands_speak_tls_with_it() {
    let case = Case::plain();
    let data = case.tollgate.data_dir().to_str().unwrap().to_owned();
    let (ca, leaf) = (case.server.ca(), case.server.text("node.pem"));
    let config = format!("{data}/config.toml");
    for trust in [
        ["--admin-ca", &ca],
        ["--admin-ca", &leaf],
        ["--config", &config],
    ] {
        for command in [
            &["limits", "list"][..],
            &["reload"],
            &["audit"],
            &["log-level"],
        ] {
            let done = case.command(&[command, &["--data-dir", &data], &trust].concat());
            assert!(
                done.status.success(),
                "{command:?} {trust:?}: {}",
                err(&done)
            );
        }
    }
    let doctor = [
        "doctor",
        "--config",
        &config,
        "--data-dir",
        &data,
        "--output",
        "json",
    ];
    let doctor = case.command(&doctor);
    let said: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let all = said["findings"].as_array().unwrap();
    let of = |check: &str| {
        all.iter()
            .filter(|it| it["check"] == check)
            .collect::<Vec<_>>()
    };
    assert!(of("node").iter().any(|it| it["verdict"] == "ok"), "{said}");
    assert!(
        of("certificate")
            .iter()
            .any(|it| it["subject"].as_str().unwrap().ends_with("`admin`")),
        "{said}"
    );
    for trust in [&ca, &leaf] {
        for more in [&[][..], &["--live"]] {
            let arguments = [&["healthcheck", "--admin-ca", trust], more].concat();
            let done = case.command(&arguments);
            assert!(done.status.success(), "{}", err(&done));
        }
    }
}

#[test]
fn the_commands_refuse_a_node_that_they_cannot_trust() {
    let case = Case::plain();
    let data = case.tollgate.data_dir().to_str().unwrap().to_owned();
    let leaf = case.server.text("node.pem");
    let stranger = Authority::new();
    stranger.put("node", &HERE, GOOD);
    for (arguments, hint) in [
        (vec!["--admin-ca".to_owned(), stranger.ca()], "--admin-ca"),
        (
            vec!["--admin-ca".to_owned(), stranger.text("node.pem")],
            "--admin-ca",
        ),
        (vec![], "--admin-ca"),
    ] {
        let more: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let audit = case.command(&[&["audit", "--data-dir", &data], &more[..]].concat());
        assert_eq!(audit.status.code(), Some(69), "{}", err(&audit));
        assert!(err(&audit).contains(hint), "{}", err(&audit));
        let health = case.command(&[&["healthcheck"], &more[..]].concat());
        assert_eq!(health.status.code(), Some(69), "{}", err(&health));
    }
    let plain = format!("http://{}", case.tollgate.admin);
    for command in [&["audit", "--data-dir", &data][..], &["healthcheck"]] {
        let done = binary()
            .args(command)
            .args(["--admin-url", &plain])
            .output()
            .unwrap();
        assert_eq!(done.status.code(), Some(69), "{}", err(&done));
    }
    let missing = case.command(&["audit", "--data-dir", &data, "--admin-ca", "/nowhere.pem"]);
    assert_eq!(missing.status.code(), Some(78), "{}", err(&missing));
    // No authority: what it signs is not believed, though it is itself.
    let (signs, child) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let names = || CertificateParams::new(HERE.map(str::to_owned)).unwrap();
    let pinned = names().self_signed(&signs).unwrap();
    let forged = names()
        .signed_by(&child, &Issuer::new(names(), signs))
        .unwrap();
    std::fs::write(stranger.path("pinned.pem"), pinned.pem()).unwrap();
    std::fs::write(case.server.path("node.key"), child.serialize_pem()).unwrap();
    std::fs::write(case.server.path("node.pem"), forged.pem()).unwrap();
    until("the forged one is shown", || {
        let by = ["audit", "--data-dir", &data, "--admin-ca", &leaf];
        case.command(&by).status.success()
    });
    let pinned = stranger.text("pinned.pem");
    let audit = case.command(&["audit", "--data-dir", &data, "--admin-ca", &pinned]);
    assert_eq!(audit.status.code(), Some(69), "{}", err(&audit));
    // Nothing is sent in clear where TLS is asked for.
    let mut clear = binary();
    let by = ["audit", "--data-dir", &data, "--admin-ca", &pinned];
    clear.args(by).args(["--admin-url", "http://192.0.2.1:1"]);
    let clear = clear.output().unwrap();
    assert_eq!(clear.status.code(), Some(78), "{}", err(&clear));
    let half = case.command(&["audit", "--data-dir", &data, "--admin-cert", &leaf]);
    assert_eq!(half.status.code(), Some(2), "a certificate without its key");
}

#[test]
fn a_certificate_that_is_named_itself_is_believed_only_while_it_counts() {
    let case = Case::plain();
    case.server.put("node", &HERE, EXPIRED);
    // The one in use stays: the file holds one that has ended.
    until("it is told", || {
        case.tollgate.stderr().contains("has expired")
    });
    assert_eq!(case.curl(None, "/readyz", &[]).status, 200);
    let server = Authority::new();
    server.put("node", &["elsewhere.test"], EXPIRED);
    let tollgate = Tollgate::start_config(&config(&server, "", ""));
    let case = Case {
        server,
        clients: Authority::new(),
        tollgate,
    };
    let leaf = case.server.text("node.pem");
    let health = case.command(&["healthcheck", "--admin-ca", &leaf]);
    assert_eq!(health.status.code(), Some(69));
    assert!(
        err(&health).to_lowercase().contains("expired"),
        "{}",
        err(&health)
    );
}

#[test]
fn its_files_are_read_again_when_they_change() {
    let case = Case::plain();
    let shown = || {
        let script =
            "import ssl,sys; print(ssl.get_server_certificate((sys.argv[1], int(sys.argv[2]))))";
        let (ip, port) = (case.tollgate.admin.ip(), case.tollgate.admin.port());
        let mut python = Command::new("python3");
        python.args(["-c", script, &ip.to_string(), &port.to_string()]);
        String::from_utf8(python.output().unwrap().stdout).unwrap()
    };
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    let file = || bare(&std::fs::read_to_string(case.server.path("node.pem")).unwrap());
    let first = file();
    assert_eq!(bare(&shown()), first);
    case.server.put("node", &HERE, GOOD);
    assert_ne!(file(), first);
    until("the new one is shown", || bare(&shown()) == file());
    let good = file();
    std::fs::write(case.server.path("node.pem"), "nothing").unwrap();
    until("the fault is told", || {
        case.tollgate
            .stderr()
            .contains("a changed certificate cannot be used")
    });
    assert_eq!(bare(&shown()), good, "what was good stays");
    let line = format!(
        "tollgate_tls_reload_failed_total{{listener=\"admin\",file=\"{}\"}}",
        case.server.text("node.pem")
    );
    assert_eq!(case.metric(None, &line), 1);
}

#[test]
fn required_certificates_are_required_of_everybody() {
    let case = Case::with_clients("required");
    for path in ["/healthz", "/metrics", "/", "/api/v1/state"] {
        let none = case.curl(None, path, &[]);
        assert_eq!((none.exit, none.status), (56, 0), "{path}: {none:?}");
    }
    let strangers = Authority::new();
    strangers.put("boss", &["x.test"], GOOD);
    let other = case.curl(Some((&strangers, "boss")), "/healthz", &[]);
    assert_eq!(
        (other.exit, other.status),
        (56, 0),
        "another authority: {other:?}"
    );
    case.clients.put("late", &["x.test"], EXPIRED);
    let late = case.curl(Some((&case.clients, "late")), "/healthz", &[]);
    assert_eq!((late.exit, late.status), (56, 0), "expired: {late:?}");
    let good = case.curl(Some((&case.clients, "stranger")), "/healthz", &[]);
    assert_eq!((good.exit, good.status), (0, 200), "{good:?}");
    let line = "tollgate_admin_handshakes_total{outcome=\"failed\"}";
    assert_eq!(case.metric(Some("look"), line), 6);
    let data = case.tollgate.data_dir().to_str().unwrap();
    let ca = case.server.ca();
    let none = case.command(&["audit", "--data-dir", data, "--admin-ca", &ca]);
    assert_eq!(none.status.code(), Some(69));
    assert!(err(&none).contains("--admin-cert"), "{}", err(&none));
    let health = case.command(&["healthcheck", "--admin-ca", &ca]);
    assert_eq!(health.status.code(), Some(69));
    assert!(err(&health).contains("--admin-cert"), "{}", err(&health));
    let (cert, key) = (
        case.clients.text("stranger.pem"),
        case.clients.text("stranger.key"),
    );
    let shown = [
        "--admin-ca",
        &ca,
        "--admin-cert",
        &cert,
        "--admin-key",
        &key,
    ];
    let health = case.command(&[&["healthcheck"][..], &shown].concat());
    assert!(health.status.success(), "{}", err(&health));
    let audit = case.command(&[&["audit", "--data-dir", data][..], &shown].concat());
    assert!(audit.status.success(), "by the token: {}", err(&audit));
}

#[test]
fn a_certificate_may_do_what_its_role_allows() {
    let case = Case::with_clients("optional");
    let unknown = case.by("stranger", "state", &[]);
    assert_eq!(unknown.status, 401, "{unknown:?}");
    assert!(
        unknown.said.contains("uri:spiffe://edge.test/stranger"),
        "{unknown:?}"
    );
    assert_eq!(case.curl(None, "/api/v1/state", &[]).status, 401);
    let revoke = ["-H", POST[1], "-d", r#"{"kind":"jti","value":"x"}"#];
    for (name, look, operate, administer) in [
        ("look", 200, 403, 403),
        ("ops", 200, 200, 403),
        ("boss", 200, 200, 201),
    ] {
        assert_eq!(case.by(name, "state", &[]).status, look, "{name}");
        let reload = case.by(name, "reload", &POST);
        assert_eq!(reload.status, operate, "{name}: {reload:?}");
        let revoked = case.by(name, "revocations", &revoke);
        assert_eq!(revoked.status, administer, "{name}: {revoked:?}");
    }
    let refused = case.by("look", "reload", &POST);
    assert!(
        refused.said.contains("needs the role operator"),
        "{refused:?}"
    );
    // A token that is sent decides alone.
    let token = case.token();
    let more = [&POST[..], &["-H", &token]].concat();
    assert_eq!(case.by("look", "reload", &more).status, 200);
    let wrong = [&POST[..], &["-H", "Authorization: Bearer nonsense"]].concat();
    assert_eq!(case.by("boss", "reload", &wrong).status, 401);
    // The browser of somebody with a certificate shows it for any page.
    for header in ["Origin: https://evil.test", "Sec-Fetch-Site: cross-site"] {
        let page = case.by("boss", "state", &["-H", header]);
        assert_eq!(page.status, 403, "{page:?}");
    }
    assert_eq!(
        case.by("boss", "state", &["-H", "Host: evil.test"]).status,
        403
    );
    let log = case.tollgate.stderr();
    for words in [
        ["call=revoke", "by=boss", "role=admin", "status=201"],
        ["call=reload", "by=look", "role=viewer", "status=403"],
        ["call=reload", "by=token", "role=admin", "status=200"],
    ] {
        let plain = log.replace('"', "");
        let mut lines = plain.lines();
        let found = lines.any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "{words:?} in {log}");
    }
    let (cert, key, ca) = (
        case.clients.text("ops.pem"),
        case.clients.text("ops.key"),
        case.server.ca(),
    );
    let nobody = tempfile::tempdir().unwrap();
    let nobody = nobody.path().to_str().unwrap();
    let shown = [
        "--data-dir",
        nobody,
        "--admin-ca",
        &ca,
        "--admin-cert",
        &cert,
        "--admin-key",
        &key,
    ];
    let reload = case.command(&[&["reload"][..], &shown].concat());
    assert!(reload.status.success(), "no token: {}", err(&reload));
    let revoke = case.command(&[&["revoke", "add", "jti", "y"][..], &shown].concat());
    assert_eq!(revoke.status.code(), Some(1), "{}", err(&revoke));
    assert!(
        err(&revoke).contains("needs the role admin"),
        "{}",
        err(&revoke)
    );
}

#[test]
fn a_role_is_taken_away_from_a_connection_that_is_open() {
    let case = Case::with_clients("optional");
    let script = r#"
import http.client, ssl, sys
host, port, ca, cert, key = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(cert, key)
link = http.client.HTTPSConnection(host, int(port), context=context)
def status(method, path):
    link.request(method, path, **({"body": "{}", "headers": {"Content-Type": "application/json"}} if method == "POST" else {}))
    answer = link.getresponse()
    answer.read()
    return answer.status
print(status("GET", "/api/v1/state"), status("POST", "/api/v1/drain"), flush=True)
sys.stdin.readline()
print(status("GET", "/api/v1/state"), status("POST", "/api/v1/drain"), flush=True)
"#;
    let (ip, port) = (
        case.tollgate.admin.ip().to_string(),
        case.tollgate.admin.port(),
    );
    let mut child = Command::new("python3")
        .args(["-c", script, &ip, &port.to_string(), &case.server.ca()])
        .args([case.clients.path("ops.pem"), case.clients.path("ops.key")])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
    assert_eq!(line.trim(), "200 400", "drain takes no body");
    let ca = case.clients.path("authority.pem");
    let lines_of = format!("client_auth = \"optional\"\nclient_ca = {ca:?}");
    let new = config(&case.server, &lines_of, &roles(&[("ops", "viewer")]));
    std::fs::write(case.tollgate.data_dir().join("config.toml"), new).unwrap();
    let token = case.token();
    let more = [&POST[..], &["-H", &token]].concat();
    let reloaded = case.curl(None, "/api/v1/reload", &more);
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    assert!(reloaded.said.contains("admin.client"), "{reloaded:?}");
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(rest.trim(), "200 403", "on the same connection");
}

/// One connection that is idle, and one with a stream that has no end.
const IDLE_AND_LIVE: &str = r#"
import http.client, json, ssl, sys
host, port, ca, cert, key = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(cert, key)
def link():
    one = http.client.HTTPSConnection(host, int(port), context=context, timeout=20)
    one.connect()
    one.auto_open = 0
    return one
def ask(one, method, path, body=None, **headers):
    one.request(method, "/api/v1/" + path, body, {"Content-Type": "application/json", **headers})
    answer = one.getresponse()
    return answer
idle, live = link(), link()
opened = json.loads(ask(idle, "POST", "dashboard/session", '{"certificate": true}').read())
stream = ask(live, "GET", "live", Authorization="Bearer " + opened["session"])
stream.readline()
for line in sys.stdin:
    answer = ask(idle, "GET", "state")
    answer.read()
    print(answer.status, flush=True)
    if line.startswith("last"):
        break
ended = stream.read().decode().strip().splitlines()[-1]
try:
    idle.sock.settimeout(20)
    rest = idle.sock.recv(1)
except OSError as error:
    rest = error
print(rest, ended)
"#;

#[test]
fn an_authority_that_is_taken_out_ends_connections_that_are_open() {
    let case = Case::with_clients("optional");
    let (ip, port) = (
        case.tollgate.admin.ip().to_string(),
        case.tollgate.admin.port(),
    );
    let mut child = Command::new("python3")
        .args([
            "-c",
            IDLE_AND_LIVE,
            &ip,
            &port.to_string(),
            &case.server.ca(),
        ])
        .args([case.clients.path("look.pem"), case.clients.path("look.key")])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut asks = child.stdin.take().unwrap();
    let mut say = |word: &[u8]| {
        let mut line = String::new();
        asks.write_all(word).unwrap();
        std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
        line.trim().to_owned()
    };
    assert_eq!(say(b"first\n"), "200");
    let reload = |text: &str| {
        std::fs::write(case.tollgate.data_dir().join("config.toml"), text).unwrap();
        let token = case.token();
        let more = [&POST[..], &["-H", &token]].concat();
        let reloaded = case.curl(None, "/api/v1/reload", &more);
        assert_eq!(reloaded.status, 200, "{reloaded:?}");
    };
    // One more, in a file of another name, takes nobody's place; nor do other rules.
    let next = Authority::new();
    let both = case.clients.path("both.pem");
    let text = |path: PathBuf| std::fs::read_to_string(path).unwrap();
    let (old, new) = (
        case.clients.path("authority.pem"),
        next.path("authority.pem"),
    );
    std::fs::write(&both, text(old.clone()) + &text(new.clone())).unwrap();
    let lines_of = format!("hsts = \"2h\"\nclient_auth = \"optional\"\nclient_ca = {both:?}");
    reload(&config(&case.server, &lines_of, &roles(&ROLES)));
    assert_eq!(say(b"last\n"), "200", "on the same connection");
    std::fs::write(&both, text(new)).unwrap();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success(), "{rest}");
    let rest = rest.trim();
    assert!(
        rest.starts_with("b''") && rest.contains("session"),
        "{rest}"
    );
    assert_ne!(
        case.by("look", "state", &[]).exit,
        0,
        "nor is it let in anew"
    );
}

#[test]
fn the_dashboard_is_opened_by_a_certificate() {
    let case = Case::with_clients("optional");
    let form = ["-H", POST[1], "-d", r#"{"certificate":true}"#];
    let login = |name: Option<&str>, more: &[&str]| {
        let client = name.map(|name| (&case.clients, name));
        let path = "/api/v1/dashboard/session";
        case.curl(client, path, &[&form[..], more].concat())
    };
    assert_eq!(login(None, &[]).status, 401);
    assert_eq!(login(Some("stranger"), &[]).status, 401);
    let page = ["-H", "Origin: https://evil.test"];
    assert_eq!(login(Some("boss"), &page).status, 403, "of another page");
    for (name, sharing) in [("look", 403), ("boss", 200)] {
        let opened = login(Some(name), &[]);
        assert_eq!(opened.status, 201, "{opened:?}");
        let body = opened.said.rsplit_once("\r\n\r\n").unwrap().1;
        let said: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(said["viewer"]["kind"], "admin");
        let bearer = format!(
            "Authorization: Bearer {}",
            said["session"].as_str().unwrap()
        );
        let more = ["-H", &bearer];
        let who = |client: Option<&str>, path: &str| {
            let client = client.map(|name| (&case.clients, name));
            case.curl(client, &format!("/api/v1/dashboard/{path}"), &more)
                .status
        };
        assert_eq!(who(Some(name), "session"), 200);
        assert_eq!(who(None, "session"), 401, "without the certificate");
        assert_eq!(who(Some("ops"), "session"), 401, "with another");
        assert_eq!(who(Some(name), "tickets"), sharing, "{name}");
    }
    let line = "tollgate_dashboard_logins_total{outcome=\"certificate\"}";
    assert_eq!(case.metric(None, line), 2);
}

#[test]
fn a_certificate_leaves_room_at_the_dashboard_and_changes_are_its_own() {
    let lines = |clients: &Authority| {
        let ca = clients.path("authority.pem");
        format!("client_auth = \"optional\"\nclient_ca = {ca:?}")
    };
    let few = format!("{}[admin.dashboard]\nmax_sessions = 4\n", roles(&ROLES));
    let case = Case::new(lines, &few);
    let post = |client: Option<&str>, path: &str, body: &str, bearer: Option<&str>| {
        let client = client.map(|name| (&case.clients, name));
        let mut more = vec!["-H", POST[1], "-d", body];
        if let Some(bearer) = bearer {
            more.extend(["-H", bearer]);
        }
        case.curl(client, &format!("/api/v1/dashboard/{path}"), &more)
    };
    let login = |name| post(Some(name), "session", r#"{"certificate":true}"#, None);
    let ends = [(); 4].map(|()| login("look").status);
    assert_eq!(ends, [201, 201, 503, 503], "half of what is not kept back");
    let boss = login("boss");
    assert_eq!(boss.status, 201, "{boss:?}");
    assert_eq!(login("ops").status, 503, "the last is for the token");
    let key = case.token();
    let token = key.strip_prefix("Authorization: Bearer ").unwrap();
    let token = post(None, "session", &format!(r#"{{"token":"{token}"}}"#), None);
    assert_eq!(token.status, 201, "{token:?}");
    // Whoever shares a link is named by it, and in the log.
    let body = boss.said.rsplit_once("\r\n\r\n").unwrap().1;
    let said: serde_json::Value = serde_json::from_str(body).unwrap();
    let bearer = format!(
        "Authorization: Bearer {}",
        said["session"].as_str().unwrap()
    );
    let view =
        format!(r#"{{"grant":{{"view":{{"project":"{PROJECT}","dashboard":"overview"}}}}}}"#);
    let made = post(Some("boss"), "tickets", &view, Some(&bearer));
    assert_eq!(made.status, 201, "{made:?}");
    assert!(made.said.contains(r#""boss""#), "{made:?}");
    let log = case.tollgate.stderr();
    let line = log
        .lines()
        .find(|it| it.contains("a call of the admin API"));
    let line = line.unwrap_or_default();
    assert!(line.contains("boss") && line.contains("dashboard"), "{log}");
}

#[test]
fn a_handshake_that_does_not_end_is_ended() {
    let case = Case::plain();
    let mut silent = connect(case.tollgate.admin);
    silent
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    let line = "tollgate_admin_handshakes_total{outcome=\"timeout\"}";
    until("it is counted", || case.metric(None, line) == 1);
}

#[test]
fn its_rules_change_with_a_reload() {
    let case = Case::plain();
    let token = case.token();
    let bearer = ["--header", token.as_str()];
    let write = |text: &str| {
        std::fs::write(case.tollgate.data_dir().join("config.toml"), text).unwrap();
    };
    let before = case.curl(None, "/readyz", &[]);
    assert!(before.said.contains("max-age=3600"), "{}", before.said);
    let ca = case.clients.path("authority.pem");
    let required = format!("client_auth = \"required\"\nclient_ca = {ca:?}");
    write(&config(&case.server, &required, &roles(&ROLES)));
    let post = [bearer[0], bearer[1], "--request", "POST"];
    let reloaded = case.curl(None, "/api/v1/reload", &post);
    assert_eq!(reloaded.status, 200, "{}", reloaded.said);
    assert_ne!(case.curl(None, "/readyz", &bearer).exit, 0);
    let shown = case.by("look", "state", &[]);
    assert_eq!(shown.status, 200, "{}", shown.said);
    assert!(!shown.said.contains("max-age"), "{}", shown.said);
    // A file that is none changes nothing.
    let nowhere = "client_auth = \"required\"\nclient_ca = \"/nowhere/ca.pem\"";
    write(&config(&case.server, nowhere, &roles(&ROLES)));
    let refused = case.by("ops", "reload", &["--request", "POST"]);
    assert_eq!(refused.status, 409, "{}", refused.said);
    assert_eq!(case.by("look", "state", &[]).status, 200);
    // Whether it speaks TLS at all is decided at the start.
    let text = config(&case.server, "", &roles(&[]));
    let start = text.find("[admin.tls]").unwrap();
    let end = text.find("[[upstream]]").unwrap();
    write(&format!("{}{}", &text[..start], &text[end..]));
    let refused = case.by("ops", "reload", &["--request", "POST"]);
    assert_eq!(refused.status, 409);
    assert!(refused.said.contains("admin.tls"), "{}", refused.said);
    assert!(refused.said.contains("restart"), "{}", refused.said);
}
