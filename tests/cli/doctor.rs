//! `tollgate doctor`: each fault is made for real, and found.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Data, OPEN, PROJECT, Tollgate, binary};
use crate::{err, free_ports, json_lines, out};

/// What is found, as (verdict, check, all that is said of it).
struct Found(Vec<Value>, i32);

impl Found {
    fn has(&self, verdict: &str, check: &str, words: &str) -> bool {
        self.0.iter().any(|it| {
            let text = |name: &str| it[name].as_str().unwrap_or_default();
            let said = format!("{} {} {}", text("subject"), text("message"), text("help"));
            text("verdict") == verdict && text("check") == check && said.contains(words)
        })
    }

    fn must(&self, verdict: &str, check: &str, words: &str) {
        assert!(
            self.has(verdict, check, words),
            "no {verdict} {check} {words}: {:#?}",
            self.0
        );
        let told = |it: &Value| it["verdict"] != "fail" || it["message"].as_str().is_some();
        assert!(self.0.iter().all(told));
    }
}

fn examine(command: &mut Command) -> Found {
    let output = command.args(["--output", "json"]).output().unwrap();
    let lines = json_lines(&output);
    assert_eq!(lines.len(), 1, "{}\n{}", out(&output), err(&output));
    let exit = output.status.code().unwrap();
    let failed = lines[0]["counts"]["fail"].as_u64().unwrap() > 0;
    assert_eq!(lines[0]["ok"], !failed);
    assert_eq!(exit, i32::from(failed));
    Found(lines[0]["findings"].as_array().unwrap().clone(), exit)
}

fn doctor(folder: &Path, arguments: &[&str]) -> Found {
    let mut command = binary();
    command
        .current_dir(folder)
        .args(["doctor", "--config", "config.toml"]);
    examine(command.args(arguments))
}

/// A configuration on free ports, with more at its start and at its end.
fn configure(folder: &Path, start: &str, more: &str) -> [u16; 3] {
    let ports: [u16; 3] = free_ports();
    let [ingest, admin, embedded] = ports;
    let upstream = match more.contains("[[upstream]]") {
        true => "",
        false => "[[upstream]]\nname = \"store\"\nkind = \"embedded\"\n",
    };
    let text = format!(
        r#"{start}
[admin]
listen = "127.0.0.1:{admin}"
[embedded]
listen = "127.0.0.1:{embedded}"
{more}
{upstream}
[[project]]
name = "{PROJECT}"
upstream = "store"
[[project.logstore]]
name = "{OPEN}"
accept = ["anonymous"]
"#
    );
    let text = match text.contains("[ingest]") {
        true => text.replace(
            "[ingest]",
            &format!("[ingest]\nlisten = \"127.0.0.1:{ingest}\""),
        ),
        false => text.replace(
            "[admin]",
            &format!("[ingest]\nlisten = \"127.0.0.1:{ingest}\"\n[admin]"),
        ),
    };
    std::fs::write(folder.join("config.toml"), text).unwrap();
    ports
}

fn upstream(endpoint: &str, secret: &Path) -> String {
    format!(
        "[[upstream]]\nname = \"store\"\nkind = \"sls\"\nendpoint = \"{endpoint}\"\nregion = \"local\"\naccess_key_id = \"tollgate\"\naccess_key_secret = \"file:{}\"\n",
        secret.display()
    )
}

#[test]
fn nothing_is_changed_where_all_is_well() {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), "", "");
    let found = doctor(folder.path(), &[]);
    assert_eq!(found.1, 0, "{:#?}", found.0);
    found.must("ok", "config", "good");
    found.must("ok", "port", "free");
    found.must("ok", "disk", "made at the first start");
    found.must("skip", "node", "no node runs here");
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing was made: {names:?}");
    let text = binary()
        .current_dir(folder.path())
        .args(["doctor", "--config", "config.toml"])
        .output()
        .unwrap();
    assert!(out(&text).contains("ok    config"), "{}", out(&text));
    assert!(!out(&text).contains('\u{1b}'), "{}", out(&text));
}

#[test]
fn mistakes_of_the_configuration_and_taken_ports() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), "nonsense = 1\n").unwrap();
    doctor(folder.path(), &[]).must("fail", "config", "nonsense");
    let [ingest, ..] = configure(folder.path(), "", "");
    let held = TcpListener::bind(("127.0.0.1", ingest)).unwrap();
    let found = doctor(folder.path(), &[]);
    found.must("fail", "port", &format!("(process {})", std::process::id()));
    drop(held);
    assert_eq!(doctor(folder.path(), &[]).1, 0);
    configure(
        folder.path(),
        "",
        "[[ingest.listener]]\nname = \"far\"\nlisten = \"192.0.2.1:8080\"\n",
    );
    doctor(folder.path(), &[]).must("fail", "port", "no interface of this machine");
}

#[test]
fn disks_and_key_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    configure(folder.path(), "data_dir = \"file/data\"", "");
    doctor(folder.path(), &[]).must("fail", "disk", "is no folder");
    configure(folder.path(), "data_dir = \"/proc/tollgate\"", "");
    doctor(folder.path(), &[]).must("fail", "disk", "data_dir");
    configure(folder.path(), "", "[spool]\nreserve = \"900000GiB\"\n");
    doctor(folder.path(), &[]).must("warn", "disk", "are wanted");
    // A folder of somebody else: for root, seen by a user who is nobody.
    let locked = folder.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, PermissionsExt::from_mode(0o555)).unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    configure(folder.path(), "data_dir = \"locked\"", "");
    let binary = folder.path().join("tollgate");
    std::fs::copy(env!("CARGO_BIN_EXE_tollgate"), &binary).unwrap();
    let is_root = out(&Command::new("id").arg("-u").output().unwrap()).trim() == "0";
    let mut command = match is_root {
        true => {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                .arg(&binary);
            command
        }
        false => Command::new(&binary),
    };
    command
        .current_dir(folder.path())
        .args(["doctor", "--config", "config.toml"]);
    examine(&mut command).must("fail", "disk", "this user may not write");

    let secret = folder.path().join("secret");
    std::fs::write(&secret, "0123456789").unwrap();
    for (mode, verdict) in [(0o644, "fail"), (0o640, "warn"), (0o600, "ok")] {
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(mode)).unwrap();
        configure(folder.path(), "", &upstream("http://127.0.0.1:1", &secret));
        let found = doctor(folder.path(), &[]);
        found.must(verdict, "key_file", "");
        found.must("fail", "upstream", "cannot be reached");
    }
}

#[test]
fn a_small_limit_of_file_descriptors() {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), "", "");
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 512; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_tollgate"),
    ]);
    command
        .current_dir(folder.path())
        .args(["doctor", "--config", "config.toml"]);
    examine(&mut command).must("warn", "descriptors", "ingest.max_connections is 10000");
}

/// A certificate by openssl, from and until these days from now, for a name.
fn certificate(folder: &Path, name: &str, days: i64) {
    let key = folder.join(format!("{name}.key"));
    let cert = folder.join(format!("{name}.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args(["-subj", "/CN=x", "-addext", "subjectAltName=DNS:track.test"])
        .args(["-days", &days.to_string(), "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", err(&made));
}

#[test]
fn certificates() {
    let folder = tempfile::tempdir().unwrap();
    let tls = |cert: &str, key: &str, more: &str| {
        let text = format!(
            "[ingest]\n{more}\n[[ingest.tls.certificate]]\ncert = \"{cert}.pem\"\nkey = \"{key}.key\"\n"
        );
        configure(folder.path(), "", &text);
        doctor(folder.path(), &[])
    };
    certificate(folder.path(), "long", 365);
    certificate(folder.path(), "soon", 5);
    let hosts = format!("hosts = {{ \"track.test\" = \"{PROJECT}\" }}");
    let found = tls("long", "long", &hosts);
    found.must("ok", "certificate", "for track.test");
    found.must("warn", "certificate", "vouches for itself");
    assert_eq!(found.1, 0, "{:#?}", found.0);
    tls("soon", "soon", &hosts).must("warn", "certificate", "ends at");
    tls("long", "soon", &hosts).must("fail", "certificate", "is not the key");
    let other = format!("hosts = {{ \"other.test\" = \"{PROJECT}\" }}");
    tls("long", "long", &other).must("fail", "certificate", "no certificate is for other.test");
    // Seen from a clock that is ten years on.
    let library = Command::new("sh")
        .args(["-c", "ls /usr/lib/*/faketime/libfaketime.so.1"])
        .output()
        .unwrap();
    let text = "[ingest]\n[[ingest.tls.certificate]]\ncert = \"long.pem\"\nkey = \"long.key\"\n"
        .to_owned();
    configure(folder.path(), "", &text);
    let mut later = binary();
    later
        .current_dir(folder.path())
        .args(["doctor", "--config", "config.toml"]);
    later
        .env("LD_PRELOAD", out(&library).trim())
        .env("FAKETIME", "+3650d");
    examine(&mut later).must("fail", "certificate", "expired at");
}

#[test]
fn keys_and_logstores_of_a_store() {
    let own = Data::Own(tempfile::tempdir().unwrap());
    let store = Tollgate::start_with(own, &["--only", "logstore"]);
    let endpoint = format!("http://127.0.0.1:{}", store.logstore.unwrap().port());
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    let ask = |text: &str| {
        std::fs::write(&secret, text).unwrap();
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
        configure(folder.path(), "", &upstream(&endpoint, &secret));
        doctor(folder.path(), &[])
    };
    let right = std::fs::read_to_string(store.data_dir().join("keys/logstore.key")).unwrap();
    let found = ask(&right);
    found.must("ok", "upstream", "the key is taken");
    found.must("ok", "clock", "as the store's");
    assert_eq!(found.1, 0, "{:#?}", found.0);
    let found = ask("another-secret");
    found.must("fail", "upstream", "SignatureNotMatch");
    assert!(!found.has("fail", "", "another-secret"));
    let there = std::fs::read_to_string(folder.path().join("config.toml")).unwrap();
    std::fs::write(&secret, right).unwrap();
    let other = there.replace(&format!("name = \"{OPEN}\""), "name = \"nowhere\"");
    std::fs::write(folder.path().join("config.toml"), other).unwrap();
    doctor(folder.path(), &[]).must("fail", "upstream", "make the project or logstore");
}

/// A store on a raw socket that gives each request this answer.
fn raw_store(answer: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut seen = [0; 4096];
            if stream.read(&mut seen).is_ok() {
                drop(stream.write_all(answer.as_bytes()));
            }
        }
    });
    port
}

fn seconds_from_now(offset: i64) -> i64 {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    i64::try_from(now).unwrap() + offset
}

#[test]
fn clocks_that_differ_and_rights_that_lack() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s").unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let ask = |status: &str, headers: &str, body: &str| {
        let answer = format!(
            "HTTP/1.1 {status}\r\nx-log-requestid: 1\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let port = raw_store(answer);
        configure(
            folder.path(),
            "",
            &upstream(&format!("http://127.0.0.1:{port}"), &secret),
        );
        doctor(folder.path(), &[])
    };
    let time = |offset| format!("x-log-time: {}\r\n", seconds_from_now(offset));
    ask("200 OK", &time(0), "[]").must("ok", "clock", "as the store's");
    ask("200 OK", &time(120), "[]").must("warn", "clock", "behind the store");
    ask("200 OK", &time(-4000), "[]").must("fail", "clock", "ahead of the store");
    let date = "Date: Thu, 15 Oct 2020 15:13:44 GMT\r\n";
    ask("200 OK", date, "[]").must("fail", "clock", "ahead of the store");
    let expired = r#"{"errorCode":"RequestTimeExpired","errorMessage":"too old"}"#;
    ask("400 Bad Request", date, expired).must("fail", "upstream", "set the clock");
    let denied = r#"{"errorCode":"Unauthorized","errorMessage":"denied by sts or ram, action: log:ListShards"}"#;
    ask("401 Unauthorized", "", denied).must("warn", "upstream", "its signature good");
    let gone = r#"{"errorCode":"Unauthorized","errorMessage":"AccessKeyId not found: tollgate"}"#;
    ask("401 Unauthorized", "", gone).must("fail", "upstream", "AccessKeyId not found");
    ask("200 OK", "", "<html>").must("fail", "upstream", "");
}

#[test]
fn redis_and_sets_of_keys() {
    let folder = tempfile::tempdir().unwrap();
    configure(
        folder.path(),
        "",
        "[quota.redis]\nurls = [\"redis://127.0.0.1:1\"]\n",
    );
    doctor(folder.path(), &[]).must("fail", "redis", "cannot be reached");
    let jwt = |url: &str| {
        let text = format!(
            "[[identity.jwt]]\nkid = \"idp\"\nissuer = \"i\"\naudience = \"a\"\nalgorithms = [\"ES256\"]\njwks_url = \"{url}\"\n"
        );
        configure(folder.path(), "", &text);
        doctor(folder.path(), &[])
    };
    jwt("http://127.0.0.1:1/jwks").must("fail", "jwks", "could not be reached");
    let port = raw_store("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned());
    jwt(&format!("http://127.0.0.1:{port}/jwks")).must("fail", "jwks", "was not taken");
}

#[test]
fn what_does_not_answer_is_given_up_when_its_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    // They take connections, and say nothing.
    let silent = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    };
    let ((_redis, redis), (_idp, idp), (_node, node)) = (silent(), silent(), silent());
    let text = format!(
        "[quota.redis]\nurls = [\"redis://127.0.0.1:{redis}\"]\nconnect_timeout = \"10s\"\n\
         [[identity.jwt]]\nkid = \"idp\"\nissuer = \"i\"\naudience = \"a\"\nalgorithms = [\"ES256\"]\n\
         jwks_url = \"http://127.0.0.1:{idp}/jwks\"\n"
    );
    configure(folder.path(), "", &text);
    let keys = folder.path().join("tollgate-data/keys");
    std::fs::create_dir_all(&keys).unwrap();
    std::fs::write(keys.join("admin.key"), "x".repeat(64)).unwrap();
    let admin = format!("http://127.0.0.1:{node}");
    let more = ["--timeout", "300ms", "--admin", &admin];
    let found = doctor(folder.path(), &more);
    found.must("fail", "redis", "did not answer in time");
    found.must("fail", "jwks", "");
    found.must("fail", "node", "no answer within 300ms");
}

#[test]
fn a_running_node() {
    let folder = tempfile::tempdir().unwrap();
    let ports = configure(folder.path(), "", "");
    let mut node = binary()
        .current_dir(folder.path())
        .args(["run", "--config", "config.toml"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("127.0.0.1:{}", ports[1]);
    crate::until("the node listens", || {
        std::net::TcpStream::connect(&url).is_ok()
    });
    let mut found = None;
    crate::until("the node is ready", || {
        let now = doctor(folder.path(), &[]);
        let good = now.1 == 0;
        found = Some(now);
        good
    });
    let found = found.unwrap();
    found.must("ok", "node", "runs, and is ready");
    found.must("ok", "port", "in use by tollgate");
    found.must("ok", "upstream", "the key is taken");
    // Another data directory: the token is not the node's.
    let other = tempfile::tempdir().unwrap();
    std::fs::create_dir(other.path().join("keys")).unwrap();
    std::fs::write(other.path().join("keys/admin.key"), "x".repeat(64)).unwrap();
    let other = other.path().to_str().unwrap();
    doctor(folder.path(), &["--data-dir", other]).must("fail", "node", "does not take the token");
    drop(node.kill());
    drop(node.wait());
    doctor(folder.path(), &[]).must("skip", "node", "no node runs here");
}
