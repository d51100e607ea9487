//! What comes twice, and how it is found: a node in front of an embedded logstore that is a process of
//! its own, and loses every other answer after it has stored the LogGroup.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use support::{Data, OPEN, PROJECT, Tollgate, binary, delivering_to, until};
use tollgate::config::SignatureVersion;
use tollgate::foundation::names::{LogstoreName, ProjectName};
use tollgate::foundation::secret::Secret;
use tollgate::logstore::client::{CursorFrom, StoreClient, StoreEndpoint};
use tollgate::logstore::proto::LogGroup;
use tollgate::logstore::signature::AccessKey;

/// A store that outlives its processes.
struct Store {
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl Store {
    /// With its secret in a file, and more in its section.
    fn new(embedded: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let store = Self {
            folder,
            address: free.local_addr().unwrap(),
        };
        store.set_secret("of yesterday");
        let config = format!(
            r#"
[embedded]
access_key_secret = "file:{secret}"
{embedded}
[[upstream]]
name = "store"
kind = "embedded"
[[project]]
name = "{PROJECT}"
upstream = "store"
[[project.logstore]]
name = "{OPEN}"
accept = ["anonymous"]
"#,
            secret = store.secret().display(),
        );
        std::fs::write(store.folder.path().join("store.toml"), config).unwrap();
        store
    }

    fn secret(&self) -> std::path::PathBuf {
        self.folder.path().join("secret")
    }

    fn set_secret(&self, secret: &str) {
        std::fs::write(self.secret(), secret).unwrap();
    }

    fn start(&self) -> Tollgate {
        let config = self.folder.path().join("store.toml");
        let address = self.address.to_string();
        let arguments = ["--only", "logstore", "--logstore-listen", &address];
        let config = ["--config", config.to_str().unwrap()];
        let data = Data::Kept(self.folder.path().join("data"));
        std::fs::create_dir_all(data.path()).unwrap();
        Tollgate::start_with(data, &[&arguments[..], &config[..]].concat())
    }

    /// Its LogGroups, by shard.
    fn pull(&self, shards: u32) -> Vec<Vec<LogGroup>> {
        let client = StoreClient::new(StoreEndpoint {
            base: format!("http://{}", self.address),
            address: None,
            region: "local".to_owned(),
            key: AccessKey {
                id: "tollgate".to_owned(),
                secret: Secret::new(std::fs::read_to_string(self.secret()).unwrap()),
                security_token: None,
            },
            signature: SignatureVersion::V4,
            ca_file: None,
            timeouts: Duration::from_secs(10).into(),
        });
        let (client, project) = (client.unwrap(), ProjectName::new(PROJECT).unwrap());
        let logstore = LogstoreName::new(OPEN).unwrap();
        let all = async {
            let mut all = Vec::new();
            for shard in 0..shards {
                let begin = CursorFrom::Begin;
                let cursor = client.get_cursor(&project, &logstore, shard, begin);
                let mut cursor = cursor.await.unwrap();
                let mut groups = Vec::new();
                loop {
                    let pulled = client.pull_logs(&project, &logstore, shard, &cursor, 100);
                    let pulled = pulled.await.unwrap();
                    if pulled.groups.is_empty() {
                        break;
                    }
                    groups.extend(pulled.groups);
                    cursor = pulled.next_cursor;
                }
                all.push(groups);
            }
            all
        };
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(all)
    }
}

/// A node that delivers to the store, one event in a LogGroup, with more in its logstore.
fn front(store: &Store, folder: &Path, logstore: &str) -> Tollgate {
    let batch = "max_age = \"5ms\"\nmax_events = 1";
    let upstream = "region = \"local\"\naccess_key_id = \"tollgate\"";
    let config = delivering_to(store.address, &folder.join("secret"), (batch, upstream));
    let config = format!("{config}{logstore}\n");
    std::fs::write(folder.join("front.toml"), config).unwrap();
    let path = folder.join("front.toml");
    let data = Data::Kept(folder.join("data"));
    std::fs::create_dir_all(data.path()).unwrap();
    Tollgate::start_with(data, &["--config", path.to_str().unwrap()])
}

fn send(tollgate: &Tollgate, ids: std::ops::Range<usize>) {
    for id in ids {
        let body = serde_json::json!({ "__logs__": [{ "id": format!("event-{id}") }] });
        let answer = tollgate.track(OPEN, "", body.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

fn of(metric: &str) -> String {
    format!("tollgate_{metric}{{project=\"{PROJECT}\",logstore=\"{OPEN}\"}}")
}

fn id_of(group: &LogGroup) -> String {
    let found = group.logs[0]
        .contents
        .iter()
        .find(|it| &it.key[..] == b"id");
    String::from_utf8(found.unwrap().value.to_vec()).unwrap()
}

fn pack_of(group: &LogGroup) -> String {
    let tags = group.log_tags.iter();
    let mut found = tags.filter(|tag| &tag.key[..] == b"__pack_id__");
    String::from_utf8(found.next().unwrap().value.to_vec()).unwrap()
}

/// How often each event is there.
fn times(groups: &[Vec<LogGroup>]) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for group in groups.iter().flatten() {
        *times.entry(id_of(group)).or_default() += 1;
    }
    times
}

const LOSSY: &str = "[embedded.faults]\nlost_answer_rate = 0.5\n";
const DROPPED: &str = "tollgate_embedded_repeats_dropped_total";

#[test]
fn what_a_store_took_without_answering_is_there_once_also_after_kills_of_both() {
    let store = Store::new(&format!("drop_repeats = \"1h\"\n{LOSSY}"));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "of yesterday").unwrap();
    let mut node = store.start();
    let mut tollgate = front(&store, folder.path(), "ack = \"disk\"");
    send(&tollgate, 0..60);
    until("repeats come", || node.metric(DROPPED) > 5);
    // Whatever it had just taken comes again, to a process that was not there.
    node.signal("-KILL");
    node.wait();
    send(&tollgate, 60..90);
    node = store.start();
    until("all is delivered", || {
        tollgate.metric(&of("events_delivered_total")) == 90
    });
    let doubts = tollgate.metric(&of("delivery_resends_in_doubt_total"));
    assert!(doubts > 5, "{doubts}");
    let config = folder.path().join("front.toml");
    let audit = binary()
        .args(["audit", "--output", "json", "--config"])
        .arg(&config)
        .args(["--admin-url", &format!("http://{}", tollgate.admin)])
        .arg("--data-dir")
        .arg(tollgate.data_dir())
        .output()
        .unwrap();
    let audit = String::from_utf8(audit.stdout).unwrap();
    assert!(
        audit.contains(&format!("\"resendsInDoubt\":{doubts}")),
        "{audit}"
    );
    // What was delivered in the last second before a kill of the front comes again as well.
    tollgate.signal("-KILL");
    tollgate.wait();
    let before = node.metric(DROPPED);
    tollgate = front(&store, folder.path(), "ack = \"disk\"");
    send(&tollgate, 90..100);
    let recovered = tollgate.metric(&of("spool_recovered_events_total"));
    until("all is delivered again", || {
        tollgate.metric(&of("events_delivered_total")) == 10 + recovered
    });
    assert!(node.metric(DROPPED) >= before + recovered);
    let times = times(&store.pull(2));
    assert_eq!(times.len(), 100);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
}

#[test]
fn a_reader_of_one_shard_finds_repeats_and_gaps_by_pack_ids() {
    let store = Store::new(&format!("shards = 4\n{LOSSY}"));
    let _node = store.start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "of yesterday").unwrap();
    let tollgate = front(&store, folder.path(), "shard_by = \"pack_id\"");
    send(&tollgate, 0..60);
    until("all is delivered", || {
        tollgate.metric(&of("events_delivered_total")) == 60
    });
    let shards = store.pull(4);
    assert!(shards.iter().all(|shard| !shard.is_empty()), "all are used");
    assert!(times(&shards).values().any(|times| *times > 1), "repeats");
    // The recipe of docs/delivery.md: each reader knows its own shard.
    let mut numbers: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut kept = Vec::new();
    for shard in shards {
        let mut seen = BTreeSet::new();
        for group in shard {
            let id = pack_of(&group);
            if !seen.insert(id.clone()) {
                continue;
            }
            let (writer, number) = id.split_once('-').unwrap();
            let number = u64::from_str_radix(number, 16).unwrap();
            numbers.entry(writer.to_owned()).or_default().insert(number);
            kept.push(vec![group]);
        }
    }
    let times = times(&kept);
    assert_eq!(times.len(), 60);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    let numbers: Vec<_> = numbers.into_values().collect();
    assert_eq!(numbers, [(1..=60).collect::<BTreeSet<_>>()], "no gap");
}

#[test]
fn all_of_a_source_goes_to_one_shard() {
    let store = Store::new("shards = 4");
    let _node = store.start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "of yesterday").unwrap();
    let tollgate = front(&store, folder.path(), "shard_by = \"source\"");
    for number in 0..40 {
        let source = format!("device-{}", number % 8);
        let body = serde_json::json!({
            "__source__": source, "__logs__": [{ "id": format!("event-{number}") }]
        });
        let answer = tollgate.track(OPEN, "", body.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    until("all is delivered", || {
        tollgate.metric(&of("events_delivered_total")) == 40
    });
    let mut places: BTreeMap<_, BTreeSet<usize>> = BTreeMap::new();
    for (shard, groups) in store.pull(4).iter().enumerate() {
        for group in groups {
            let source = group.source.clone().unwrap();
            places.entry(source).or_default().insert(shard);
        }
    }
    assert_eq!(places.len(), 8);
    assert!(
        places.values().all(|shards| shards.len() == 1),
        "{places:?}"
    );
    let used: BTreeSet<_> = places.values().flatten().collect();
    assert!(used.len() > 1, "{places:?}");
}

#[test]
fn a_secret_that_is_rotated_is_used_without_a_reload_and_nothing_is_lost() {
    let store = Store::new("");
    let mut node = store.start();
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "of yesterday").unwrap();
    let tollgate = front(&store, folder.path(), "");
    send(&tollgate, 0..5);
    until("the first are delivered", || {
        tollgate.metric(&of("events_delivered_total")) == 5
    });
    // The store has another secret from now on; the node learns of it later.
    node.signal("-KILL");
    node.wait();
    store.set_secret("of today");
    let _node = store.start();
    send(&tollgate, 5..10);
    let refused = "tollgate_upstream_credentials_refused_total{upstream=\"store\"}";
    until("the old one is refused", || tollgate.metric(refused) > 0);
    assert_eq!(tollgate.metric(&of("events_held")), 5);
    std::fs::write(&secret, "of today\n").unwrap();
    until("the others are delivered", || {
        tollgate.metric(&of("events_delivered_total")) == 10
    });
    let times = times(&store.pull(2));
    assert_eq!(times.len(), 10);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    let log = tollgate.stderr();
    assert!(!log.contains("of yesterday") && !log.contains("of today"));
}
