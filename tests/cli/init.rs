//! `tollgate init`: every variant passes `check` without a finding, starts, and takes an event.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{Data, Tollgate, binary, exchange};
use crate::{Terminal, err, free_ports, json_lines, out, until};

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn in_folder(folder: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = binary();
    command.current_dir(folder).args(arguments);
    command.output().unwrap()
}

fn config(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("tollgate.toml")).unwrap()
}

/// The configuration passes its check without a finding, its secrets stand elsewhere, and nothing is
/// overwritten.
fn is_good(folder: &Path) {
    let checked = in_folder(
        folder,
        &["check", "--config", "tollgate.toml", "--output", "json"],
    );
    let found = &json_lines(&checked)[0];
    assert_eq!(found["ok"], true, "{found}\n{}", config(folder));
    assert_eq!(found["problems"].as_array().unwrap().len(), 0, "{found}");
    for line in config(folder).lines().filter(|line| !line.starts_with('#')) {
        if let Some((_, value)) = line.split_once("secret = ") {
            assert!(
                value.starts_with("\"file:") || value.starts_with("\"env:"),
                "{line}"
            );
        }
    }
    if let Ok(keys) = std::fs::read_dir(folder.join("keys")) {
        for key in keys {
            let mode = key.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
    let before = config(folder);
    let again = in_folder(folder, &["init", "--clients", "open"]);
    assert_eq!(again.status.code(), Some(1), "{}", err(&again));
    assert_eq!(config(folder), before);
}

/// Runs it on free ports, and sends an event through.
fn takes_an_event(folder: &Path, tls: bool, open: bool) {
    let config = folder.join("tollgate.toml");
    let path = config.to_str().unwrap();
    let node = Tollgate::start_with(Data::Kept(folder.to_owned()), &["--config", path]);
    let credential = if open {
        String::new()
    } else {
        let minted = in_folder(
            folder,
            &[
                "token",
                "mint",
                "--config",
                path,
                "--data-dir",
                ".",
                "--project",
                "my-project",
                "--logstore",
                "web-tracking",
            ],
        );
        assert!(minted.status.success(), "{}", err(&minted));
        format!("Authorization: Bearer {}\r\n", out(&minted).trim())
    };
    let body = br#"{"__logs__":[{"event":"view"}]}"#;
    let head = format!(
        "POST /logstores/web-tracking/track HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{credential}\r\n",
        body.len()
    );
    let to = node.ingest.unwrap();
    let status = if tls {
        let place = format!("localhost:{}", to.port());
        let asked = Command::new("curl")
            .args(["--silent", "--show-error", "--output", "/dev/null"])
            .args(["--write-out", "%{http_code}", "--cacert"])
            .arg(folder.join("tls-cert.pem"))
            .args(["--resolve", &format!("{place}:127.0.0.1")])
            .args(["--header", credential.trim()])
            .args(["--data", std::str::from_utf8(body).unwrap()])
            .arg(format!("https://{place}/logstores/web-tracking/track"))
            .output()
            .unwrap();
        out(&asked)
            .parse()
            .unwrap_or_else(|_| panic!("{}", err(&asked)))
    } else {
        exchange(to, &head, body).status
    };
    assert_eq!(status, 200, "{}", node.stderr());
    until("the event is delivered", || {
        let line =
            "tollgate_events_delivered_total{project=\"my-project\",logstore=\"web-tracking\"}";
        node.metric(line) == 1
    });
}

fn variant(arguments: &[&str], tls: bool, open: bool) {
    let folder = tempfile::tempdir().unwrap();
    if tls {
        assert!(
            in_folder(folder.path(), &["cert", "self-signed"])
                .status
                .success()
        );
    }
    let made = in_folder(
        folder.path(),
        &[&["init", "--defaults"], arguments].concat(),
    );
    assert!(made.status.success(), "{}", err(&made));
    is_good(folder.path());
    takes_an_event(folder.path(), tls, open);
}

#[test]
fn web_pages_with_tokens() {
    let origin = "https://shop.example.com";
    variant(
        &["--clients", "web", "--origin", origin, "--make-keys"],
        false,
        false,
    );
    variant(&[], false, false);
}

#[test]
fn mini_programs() {
    let domain = "edge.example.com";
    variant(
        &[
            "--clients",
            "mini-program",
            "--domain",
            domain,
            "--make-keys",
        ],
        false,
        false,
    );
}

#[test]
fn an_open_demo() {
    variant(&["--clients", "open"], false, true);
}

#[test]
fn behind_a_load_balancer() {
    let networks = [
        "--load-balancer",
        "10.0.0.0/8",
        "--load-balancer",
        "2001:db8::/32",
    ];
    variant(&[&networks[..], &["--make-keys"]].concat(), false, false);
}

#[test]
fn tls_that_ends_here() {
    variant(
        &["--tls-cert", "tls-cert.pem", "--tls-key", "tls-key.pem"],
        true,
        false,
    );
}

#[test]
fn several_nodes_with_redis() {
    let [port] = free_ports();
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new("redis-server")
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
        ])
        .arg(folder.path())
        .stdout(Stdio::null())
        .spawn();
    let _redis = Killed(child.expect("redis-server; tests/support/install.sh installs it"));
    let address = format!("127.0.0.1:{port}");
    until("Redis listens", || {
        std::net::TcpStream::connect(&address).is_ok()
    });
    let url = format!("redis://{address}");
    variant(
        &["--redis", &url, "--nodes", "3", "--make-keys"],
        false,
        false,
    );
    let clients = ["--clients", "mini-program", "--redis", &url, "--make-keys"];
    variant(&clients, false, false);
}

#[test]
fn a_store_with_the_api_of_sls() {
    let own = Data::Own(tempfile::tempdir().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("store.toml");
    std::fs::write(
        &config,
        "[[upstream]]\nname = \"s\"\nkind = \"embedded\"\n[[project]]\nname = \"my-project\"\nupstream = \"s\"\n[[project.logstore]]\nname = \"web-tracking\"\naccept = [\"anonymous\"]\n",
    )
    .unwrap();
    let config = config.to_str().unwrap();
    let store = Tollgate::start_with(own, &["--only", "logstore", "--config", config]);
    let endpoint = format!("http://127.0.0.1:{}", store.logstore.unwrap().port());
    let secret = format!(
        "file:{}",
        store.data_dir().join("keys/logstore.key").display()
    );
    variant(
        &[
            "--store",
            "sls",
            "--endpoint",
            &endpoint,
            "--region",
            "local",
            "--access-key-id",
            "tollgate",
            "--access-key-secret",
            &secret,
            "--make-keys",
        ],
        false,
        false,
    );
}

#[test]
fn a_secret_is_neither_taken_nor_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let words = [
        "init",
        "--endpoint",
        "https://cn-hangzhou.log.aliyuncs.com",
        "--access-key-secret",
        "hunter2",
    ];
    let output = in_folder(folder.path(), &words);
    assert_eq!(output.status.code(), Some(2), "{}", err(&output));
    assert!(!err(&output).contains("hunter2"), "{}", err(&output));
    assert!(!folder.path().join("tollgate.toml").exists());
}

#[test]
fn a_password_in_a_url_is_not_written_and_it_is_said_where_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let redis = "redis://:hunter2@10.0.0.5:6379";
    let endpoint = "https://user:hunter2@cn-hangzhou.log.aliyuncs.com";
    for (option, url, how) in [
        ("--redis", redis, "--redis-password env:NAME"),
        (
            "--redis",
            "redis://u:hunter2@[::1]",
            "--redis-password env:NAME",
        ),
        ("--endpoint", endpoint, "--access-key-secret env:NAME"),
    ] {
        for file in ["tollgate.toml", "-"] {
            let words = ["init", file, "--defaults", option, url];
            let output = in_folder(folder.path(), &words);
            assert_eq!(output.status.code(), Some(2), "{}", err(&output));
            assert!(err(&output).contains(how), "{}", err(&output));
            assert!(!err(&output).contains("hunter2") && out(&output).is_empty());
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_makes_no_good_configuration_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("tollgate.toml");
    std::fs::write(&kept, "# mine\n").unwrap();
    for (words, key) in [
        (["--endpoint", "ftp://a.example"], "endpoint"),
        (["--origin", "shop.example.com/path"], "allow_origins"),
        (["--redis", "cache:6379"], "quota.redis.urls"),
    ] {
        for more in [&["--force"][..], &["--force", "--output", "json"]] {
            let words = [&["init", "--defaults", "--make-keys"][..], &words, more].concat();
            let output = in_folder(folder.path(), &words);
            assert_eq!(output.status.code(), Some(78), "{}", err(&output));
            assert!(err(&output).contains(key), "{}", err(&output));
        }
    }
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "# mine\n");
    let names = std::fs::read_dir(folder.path()).unwrap();
    assert_eq!(names.count(), 1, "neither a key nor a part of a file");
}

#[test]
fn it_is_printed_as_toml_or_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["init", "-", "--clients", "mini-program"];
    let text = in_folder(folder.path(), &words);
    assert!(text.status.success(), "{}", err(&text));
    let json = in_folder(folder.path(), &[&words[..], &["--output", "json"]].concat());
    assert!(json.status.success(), "{}", err(&json));
    let [told] = &json_lines(&json)[..] else {
        panic!("{}", out(&json));
    };
    assert_eq!(told["file"], "-");
    assert_eq!(
        told["text"].as_str().unwrap().trim_end(),
        out(&text).trim_end()
    );
    let next = told["next"].as_array().unwrap();
    assert!(
        next.iter().any(
            |it| it.as_str().unwrap().contains("TOLLGATE_APP-SERVER_KEY")
                || it.as_str().unwrap().contains("TOLLGATE_APP_SERVER_KEY")
        ),
        "{told}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn on_a_terminal_it_asks() {
    let folder = tempfile::tempdir().unwrap();
    let command = format!(
        "cd {} && {} init; echo ended $?; sleep 600",
        folder.path().display(),
        env!("CARGO_BIN_EXE_tollgate")
    );
    let terminal = Terminal::open("init", &command, 120, 60);
    terminal.until("Who sends events?");
    terminal.keys(&["9", "Enter"]);
    terminal.until("a number from 1 to 3");
    terminal.keys(&["1", "Enter"]);
    terminal.until("Project, as clients name it");
    terminal.keys(&["Enter"]);
    terminal.until("Logstore, as clients name it");
    terminal.keys(&["Enter"]);
    terminal.until("Origins of your pages");
    terminal.keys(&["https://shop.example.com", "Enter"]);
    terminal.until("Where do events go?");
    terminal.keys(&["Enter"]);
    terminal.until("What stands in front?");
    terminal.keys(&["2", "Enter"]);
    terminal.until("Networks of the load balancer");
    terminal.keys(&["10.1.0.0/16", "Enter"]);
    terminal.until("How many nodes?");
    terminal.keys(&["Enter"]);
    terminal.until("Make the keys");
    terminal.keys(&["y", "Enter"]);
    let screen = terminal.until("ended 0");
    assert!(
        screen.contains("tollgate check --config tollgate.toml"),
        "{screen}"
    );
    is_good(folder.path());
    let text = config(folder.path());
    for wanted in [
        "networks = [\"10.1.0.0/16\"]",
        "allow_origins = [\"https://shop.example.com\"]",
        "file:",
    ] {
        assert!(text.contains(wanted), "{text}");
    }
}
