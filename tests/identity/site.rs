//! A running `tollgate` on a configuration that a test can change, with keys that it knows.

use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tollgate::config::{JwtKey, SignatureVersion};
use tollgate::foundation::secret::Secret;
use tollgate::gate::identity::{NewToken, SigningKey, mint_token};
use tollgate::logstore::signature::AccessKey;

use crate::signing::Call;
use crate::support::{Answer, Data, PROJECT, Tollgate, binary};

pub const WEB: &str = "web";
pub const OTHER: &str = "other";
pub const SECRET: &str = "a-secret-of-a-server-that-is-long-enough";
pub const ROLE: &str = "acs:ram::1234567890123456:role/sls-web-tracking";
pub const SHOP: &str = "https://shop.example.com";
pub const EVENT: &str = r#"{"__topic__":"t","__tags__":{"app":"shop"},"__logs__":[{"k":"v"}]}"#;

/// The configuration that most tests start from. `{dir}` is the data folder.
pub const USUAL: &str = r#"
[ingest]
default_project = "sls-webtracking-mini"

[[identity.jwt]]
kid = "quickstart"
issuer = "tollgate"
audience = "tollgate"
fields = { customer = "customer" }
tags = { tenant = "tenant" }

[[identity.access_key]]
id = "server-1"
secret = "file:{dir}/server-1.secret"
policies = ["write-web"]

[[identity.access_key]]
id = "retired"
secret = "file:{dir}/server-1.secret"
enabled = false

[[identity.access_key]]
id = "nothing"
secret = "file:{dir}/server-1.secret"

[[identity.policy]]
name = "write-web"
document = '''
{"Version": "1", "Statement": [{"Effect": "Allow",
  "Action": ["log:PutLogs", "log:PutWebTracking", "log:WebTracking"],
  "Resource": ["acs:log:*:*:project/sls-webtracking-mini/logstore/web"]}]}
'''

[[identity.role]]
arn = "acs:ram::1234567890123456:role/sls-web-tracking"
policies = ["write-web"]
assumed_by = ["server-1"]

[[upstream]]
name = "store"
kind = "embedded"

[[project]]
name = "sls-webtracking-mini"
upstream = "store"

[[project.logstore]]
name = "web"

[[project.logstore]]
name = "other"
"#;

/// A running `tollgate`, and the files that it was started on.
pub struct Site {
    folder: tempfile::TempDir,
    tollgate: Option<Tollgate>,
}

impl Site {
    pub fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    pub fn start_with(config: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("server-1.secret"), SECRET).unwrap();
        let mut site = Self {
            folder,
            tollgate: None,
        };
        site.configure(config);
        site.run(arguments);
        site
    }

    /// The usual configuration with something replaced.
    pub fn changed(changes: &[(&str, &str)]) -> Self {
        Self::start(&with(USUAL, changes))
    }

    fn run(&mut self, more: &[&str]) {
        let config = self.config();
        let mut arguments = vec!["--config", config.to_str().unwrap()];
        arguments.extend_from_slice(more);
        let data = Data::Kept(self.folder.path().to_owned());
        self.tollgate = Some(Tollgate::start_with(data, &arguments));
    }

    /// Kills the process as by kill -9, and starts it again.
    pub fn restart(&mut self) {
        self.tollgate = None;
        self.run(&[]);
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    /// Writes another configuration; it counts from the next start or reload on.
    pub fn configure(&self, config: &str) {
        let dir = self.folder.path().to_str().unwrap();
        std::fs::write(self.config(), config.replace("{dir}", dir)).unwrap();
    }

    pub fn file(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Reloads another configuration by SIGHUP, and waits until that is done.
    pub fn reload(&self, config: &str) {
        self.configure(config);
        let done = || self.stderr().matches("configuration reloaded").count();
        let before = done();
        self.signal("-HUP");
        let deadline = Instant::now() + Duration::from_secs(20);
        while done() == before {
            assert!(Instant::now() < deadline, "{}", self.stderr());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A command on the running node.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let url = format!("http://{}", self.admin);
        let mut command = binary();
        command.args(arguments).args(["--admin-url", &url]);
        command.arg("--data-dir").arg(self.folder.path());
        command.output().unwrap()
    }

    /// What a command prints, which must succeed.
    pub fn run_command(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub fn revoke(&self, kind: &str, value: &str) {
        self.run_command(&["revoke", "add", kind, value]);
    }

    pub fn ticket(&self, more: &[&str]) -> String {
        let usual = ["ticket", "create", "--project", PROJECT, "--logstore", WEB];
        self.run_command(&[&usual, more].concat())
    }

    /// The id of the one ticket that there is.
    pub fn only_ticket(&self) -> String {
        let list = self.run_command(&["ticket", "list", "--format", "json"]);
        let ticket: Value = serde_json::from_str(&list).unwrap();
        ticket["id"].as_str().unwrap().to_owned()
    }

    /// A signed JSON PutLogs to the front.
    pub fn put(&self, key: &AccessKey) -> Answer {
        Call::put(key, WEB).send(self.front())
    }

    pub fn front(&self) -> std::net::SocketAddr {
        self.ingest.unwrap()
    }

    pub fn bearer(&self, token: &str) -> Answer {
        self.track(WEB, &format!("Authorization: Bearer {token}\r\n"), EVENT)
    }

    /// A token of the key `quickstart`, for the logstore `web`.
    pub fn token(&self) -> String {
        self.minted(NewToken::default())
    }

    /// A token of the key `quickstart`, by default for the logstore `web` and five minutes.
    pub fn minted(&self, new: NewToken<'_>) -> String {
        let path = self.folder.path().join("keys/quickstart.key");
        let secret = std::fs::read_to_string(path).unwrap();
        let key = SigningKey {
            rules: JwtKey::named("quickstart", "tollgate", "tollgate"),
            secret: Secret::new(secret.trim()),
        };
        let logstores = if new.logstores.is_empty() {
            &[WEB][..]
        } else {
            new.logstores
        };
        let new = NewToken {
            project: PROJECT,
            logstores,
            ttl_seconds: if new.ttl_seconds == 0 {
                300
            } else {
                new.ttl_seconds
            },
            ..new
        };
        mint_token(&key, new).unwrap().token
    }

    /// How often a kind of credential was refused for a reason.
    pub fn refused(&self, kind: &str, reason: &str) -> u64 {
        self.metric(&format!(
            "tollgate_credentials_refused_total{{kind=\"{kind}\",reason=\"{reason}\"}}"
        ))
    }
}

/// The sum of a metric's series that have these labels.
pub fn counted(tollgate: &Tollgate, name: &str, labels: &[&str]) -> u64 {
    let metrics = tollgate.metrics();
    let lines = metrics.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with('{')) && labels.iter().all(|l| line.contains(l))
    });
    let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    lines.map(value).sum()
}

impl std::ops::Deref for Site {
    type Target = Tollgate;

    fn deref(&self) -> &Tollgate {
        self.tollgate.as_ref().unwrap()
    }
}

/// A configuration with something replaced, each of which must be there once.
pub fn with(config: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(config.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replace(from, to)
    })
}

pub fn server_1() -> AccessKey {
    key("server-1", SECRET)
}

pub fn key(id: &str, secret: &str) -> AccessKey {
    AccessKey {
        id: id.to_owned(),
        secret: Secret::new(secret),
        security_token: None,
    }
}

pub fn claims(pairs: &[(&str, Value)]) -> Map<String, Value> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

#[track_caller]
pub fn accepted(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Checks that an answer is 401 for this reason.
#[track_caller]
pub fn refused(answer: &Answer, reason: &str) {
    let (status, _, found) = answer.refusal();
    assert_eq!((status, found.as_str()), (401, reason), "{}", answer.text());
}

pub const VERSIONS: [SignatureVersion; 2] = [SignatureVersion::V1, SignatureVersion::V4];
