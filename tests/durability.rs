//! Events that outlive a store that is down, a stop, a kill and a full disk: the real binary, a store on a
//! raw socket, and what each has said to the other.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prost::Message as _;
use support::{Data, PROJECT, Tollgate};
use tollgate::logstore::proto::LogGroup;

const WEB: &str = "web";
const UP: u8 = 0;
const DOWN: u8 = 1;
const SILENT: u8 = 2;

/// A store that keeps what it takes: the id of each event, with the pack ids that it came with.
struct Store {
    address: SocketAddr,
    mode: Arc<AtomicU8>,
    taken: Arc<Mutex<Vec<(String, String)>>>,
}

impl Store {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mode = Arc::new(AtomicU8::new(UP));
        let taken = Arc::<Mutex<Vec<(String, String)>>>::default();
        let store = Self {
            address,
            mode: Arc::clone(&mode),
            taken: Arc::clone(&taken),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mode, taken) = (Arc::clone(&mode), Arc::clone(&taken));
                std::thread::spawn(move || serve(stream.unwrap(), &mode, &taken));
            }
        });
        store
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    fn count(&self) -> usize {
        self.taken.lock().unwrap().len()
    }

    /// Waits until so many events have come.
    fn wait_for(&self, count: usize, tollgate: &Tollgate) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.count() < count {
            let now = self.count();
            assert!(
                Instant::now() < deadline,
                "{now} of {count}\n{}",
                tollgate.stderr()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How often each event came; those that came more than once did so in one LogGroup, sent again.
    fn each(&self) -> BTreeMap<String, usize> {
        let taken = self.taken.lock().unwrap();
        let mut packs: BTreeMap<&str, (BTreeSet<&str>, usize)> = BTreeMap::new();
        for (event, pack) in &*taken {
            let of = packs.entry(event).or_default();
            of.0.insert(pack);
            of.1 += 1;
        }
        for (event, (packs, times)) in &packs {
            assert_eq!(packs.len(), 1, "{event} came {times} times, in {packs:?}");
        }
        let times = |(event, (_, times)): (&str, (_, usize))| (event.to_owned(), times);
        packs.into_iter().map(times).collect()
    }
}

fn serve(mut stream: TcpStream, mode: &AtomicU8, taken: &Mutex<Vec<(String, String)>>) {
    while let Some(body) = read(&mut stream) {
        match mode.load(Ordering::SeqCst) {
            DOWN => return,
            SILENT => {
                std::thread::sleep(Duration::from_secs(30));
                return;
            }
            _ => {}
        }
        let group = LogGroup::decode(body.as_slice()).unwrap();
        let of_pack = |tag: &&_| tag_is(tag, b"__pack_id__");
        let pack = group.log_tags.iter().find(of_pack).unwrap();
        let pack = String::from_utf8(pack.value.to_vec()).unwrap();
        let ids = group.logs.iter().map(|log| {
            let id = log.contents.iter().find(|it| &it.key[..] == b"id").unwrap();
            (String::from_utf8(id.value.to_vec()).unwrap(), pack.clone())
        });
        taken.lock().unwrap().extend(ids);
        let ok = "HTTP/1.1 200 OK\r\nx-log-requestid: 6A2F\r\ncontent-length: 0\r\n\r\n";
        if stream.write_all(ok.as_bytes()).is_err() {
            return;
        }
    }
}

fn tag_is(tag: &tollgate::logstore::proto::LogTag, key: &[u8]) -> bool {
    &tag.key[..] == key
}

fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut piece = [0; 65536];
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let named = name.eq_ignore_ascii_case("content-length");
                named.then(|| value.trim().parse::<usize>().unwrap())
            });
            let body = &bytes[end + 4..];
            if body.len() >= length.unwrap_or(0) {
                return Some(body.to_vec());
            }
        }
        let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&piece[..read]);
    }
}

/// A node in a folder of its own, that can be started again.
struct Node {
    folder: tempfile::TempDir,
}

impl Node {
    fn new(store: &Store, more: &str, of_logstore: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        let config = format!(
            r#"
[ingest]
default_project = "{PROJECT}"
refusal_delay = "0s"

[batch]
max_age = "50ms"

[delivery]
backoff_min = "10ms"
backoff_max = "50ms"
timeout = "5s"
retries_per_second = 1000

[delivery.breaker]
pause_min = "20ms"
pause_max = "50ms"

{more}

[[upstream]]
name = "store"
kind = "sls"
endpoint = "http://{address}"
address = "{address}"
region = "local"
compression = "none"
access_key_id = "id"
access_key_secret = "file:{secret}"

[[project]]
name = "{PROJECT}"
upstream = "store"

[[project.logstore]]
name = "{WEB}"
accept = ["anonymous"]
client_address = "off"
{of_logstore}
"#,
            address = store.address,
            secret = folder.path().join("secret").display(),
        );
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        Self { folder }
    }

    fn data(&self) -> &Path {
        self.folder.path()
    }

    fn start(&self) -> Tollgate {
        let config = self.folder.path().join("config.toml");
        let data = Data::Kept(self.folder.path().to_owned());
        Tollgate::start_with(data, &["--config", config.to_str().unwrap()])
    }
}

fn body(ids: impl IntoIterator<Item = String>) -> String {
    let events = ids.into_iter().map(|id| format!("{{\"id\":\"{id}\"}}"));
    format!(
        "{{\"__logs__\":[{}]}}",
        events.collect::<Vec<_>>().join(",")
    )
}

fn send(tollgate: &Tollgate, id: impl ToString) -> support::Answer {
    tollgate.track(WEB, "", body([id.to_string()]))
}

fn of_web(tollgate: &Tollgate, name: &str) -> u64 {
    tollgate.metric(&format!(
        "{name}{{project=\"{PROJECT}\",logstore=\"{WEB}\"}}"
    ))
}

#[test]
fn what_was_acknowledged_from_disk_outlives_a_kill_and_comes_once() {
    let store = Store::start();
    store.set(DOWN);
    let node = Node::new(&store, "", "ack = \"disk\"");
    let mut tollgate = node.start();
    for id in 0..50 {
        let answer = send(&tollgate, id);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-tollgate-ack"), Some("disk"));
    }
    tollgate.signal("-KILL");
    tollgate.wait();
    store.set(UP);
    let mut tollgate = node.start();
    store.wait_for(50, &tollgate);
    assert_eq!(
        of_web(&tollgate, "tollgate_spool_recovered_events_total"),
        50
    );
    assert!(tollgate.stop().success());
    // Nothing is left, and nothing comes again.
    let mut tollgate = node.start();
    send(&tollgate, "last");
    store.wait_for(51, &tollgate);
    assert!(tollgate.stop().success());
    let each = store.each();
    assert_eq!(each.len(), 51);
    assert!(each.values().all(|times| *times == 1), "{each:?}");
}

#[test]
fn kills_at_random_moments_lose_nothing_that_was_acknowledged() {
    let cycles = std::env::var("TOLLGATE_KILL_CYCLES").map_or(25, |it| it.parse().unwrap());
    let store = Store::start();
    let node = Node::new(
        &store,
        "[spool]\nsegment_size = \"16KiB\"",
        "ack = \"disk\"",
    );
    let acknowledged = Arc::<Mutex<BTreeSet<String>>>::default();
    let next = Arc::new(AtomicU64::new(0));
    let mut recovered = 0;
    for cycle in 0..cycles {
        // The store is away for half of the time.
        store.set(if cycle % 4 < 2 { UP } else { DOWN });
        let tollgate = Arc::new(node.start());
        recovered += of_web(&tollgate, "tollgate_spool_recovered_events_total");
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (tollgate, stop) = (Arc::clone(&tollgate), Arc::clone(&stop));
                let (acknowledged, next) = (Arc::clone(&acknowledged), Arc::clone(&next));
                std::thread::spawn(move || {
                    while !stop.load(Ordering::SeqCst) {
                        let first = next.fetch_add(3, Ordering::SeqCst);
                        let ids = (first..first + 3).map(|id| id.to_string());
                        if post(&tollgate, &body(ids.clone())) == Some(200) {
                            acknowledged.lock().unwrap().extend(ids);
                        }
                    }
                })
            })
            .collect();
        // Not the same moment each time, and no clock decides what is expected.
        std::thread::sleep(Duration::from_millis(60 + (cycle * 37) % 190));
        tollgate.signal("-KILL");
        stop.store(true, Ordering::SeqCst);
        clients
            .into_iter()
            .for_each(|client| client.join().unwrap());
    }
    store.set(UP);
    let acknowledged = acknowledged.lock().unwrap().clone();
    let mut tollgate = node.start();
    let deadline = Instant::now() + Duration::from_secs(40);
    let missing = || {
        let taken = store.taken.lock().unwrap();
        let taken: BTreeSet<&str> = taken.iter().map(|(event, _)| event.as_str()).collect();
        let missing = acknowledged
            .iter()
            .filter(|id| !taken.contains(id.as_str()));
        missing.count()
    };
    while missing() > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(
        missing(),
        0,
        "of {}\n{}",
        acknowledged.len(),
        tollgate.stderr()
    );
    assert!(
        acknowledged.len() > cycles as usize * 3,
        "{}",
        acknowledged.len()
    );
    assert!(recovered > 0);
    assert!(tollgate.stop().success());
    // What came twice came in a LogGroup of the same id.
    store.each();
    assert_eq!(damage(&tollgate_text(&node)), 0);
}

/// Posts to a node that may be dying.
fn post(tollgate: &Tollgate, body: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(tollgate.ingest.unwrap()).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    let head = format!(
        "POST /logstores/{WEB}/track HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// The metrics of a node that is started for it.
fn tollgate_text(node: &Node) -> String {
    let tollgate = node.start();
    tollgate.metrics()
}

fn damage(metrics: &str) -> u64 {
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("tollgate_spool_damage_total{"));
    lines
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

#[test]
fn what_memory_has_no_room_for_goes_to_disk_and_comes_back_in_order() {
    let store = Store::start();
    store.set(DOWN);
    let limits = "[limits]\nmemory = \"8MiB\"\nmemory_share = 50\nbody = \"256KiB\"\nunverified_body = \"256KiB\"\n[overload]\nmax_delay = \"1h\"";
    let node = Node::new(&store, limits, "");
    let mut tollgate = node.start();
    let filler = "x".repeat(2000);
    let large = |id: usize| {
        let events = (0..50).map(|n| format!("{{\"id\":\"{id}-{n}\",\"f\":\"{filler}\"}}"));
        format!(
            "{{\"__logs__\":[{}]}}",
            events.collect::<Vec<_>>().join(",")
        )
    };
    // Some 20 MB, several times what memory may hold.
    let mut sent = 0;
    for id in 0..200 {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = tollgate.track(WEB, "", large(id));
            if answer.status == 200 {
                break;
            }
            assert_eq!(answer.status, 503, "{}", answer.text());
            assert!(
                Instant::now() < deadline,
                "{}\n{}",
                answer.text(),
                tollgate.metrics()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        sent += 50;
    }
    let waiting = of_web(&tollgate, "tollgate_spool_events");
    let held = of_web(&tollgate, "tollgate_events_held");
    assert!(
        waiting > sent / 3,
        "{waiting} wait on disk, {held} in memory"
    );
    // A stop gives the rest to the disk, and loses nothing.
    assert_eq!(tollgate.stop().code(), Some(0), "{}", tollgate.stderr());
    store.set(UP);
    let mut tollgate = node.start();
    store.wait_for(sent as usize, &tollgate);
    assert!(tollgate.stop().success());
    let each = store.each();
    assert_eq!(each.len(), sent as usize);
    assert!(each.values().all(|times| *times == 1));
}

#[test]
fn a_stop_with_the_store_down_keeps_everything_and_says_so() {
    let store = Store::start();
    store.set(SILENT);
    for ack in ["memory", "disk"] {
        let before = store.count();
        store.set(SILENT);
        let node = Node::new(&store, "", &format!("ack = \"{ack}\""));
        let config = node.folder.path().join("config.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let text = text.replace("[delivery]\n", "[delivery]\nstop_deadline = \"1s\"\n");
        std::fs::write(&config, text).unwrap();
        let mut tollgate = node.start();
        for id in 0..10 {
            assert_eq!(send(&tollgate, format!("{ack}-{id}")).status, 200);
        }
        assert_eq!(tollgate.stop().code(), Some(0), "{}", tollgate.stderr());
        store.set(UP);
        let mut tollgate = node.start();
        store.wait_for(before + 10, &tollgate);
        assert!(tollgate.stop().success());
        assert!(node.data().join("spool").is_dir());
    }
    assert_eq!(store.each().len(), 20);
}

#[test]
fn a_full_disk_refuses_and_heals_by_itself() {
    let store = Store::start();
    store.set(DOWN);
    let spool = "[spool]\nmax_size = \"256KiB\"\nsegment_size = \"16KiB\"\ncompression = \"none\"";
    let node = Node::new(&store, spool, "ack = \"disk\"");
    let tollgate = node.start();
    let filler = "y".repeat(8000);
    let large = |id: usize| format!("{{\"__logs__\":[{{\"id\":\"{id}\",\"f\":\"{filler}\"}}]}}");
    let mut taken = BTreeSet::new();
    let mut refused = 0;
    for id in 0..60 {
        let answer = tollgate.track(WEB, "", large(id));
        match answer.status {
            200 => {
                taken.insert(id.to_string());
            }
            _ => {
                let (status, _, reason) = answer.refusal();
                assert_eq!((status, reason.as_str()), (503, "spool_full"));
                refused += 1;
            }
        }
    }
    assert!(taken.len() > 10 && refused > 5, "{} taken", taken.len());
    store.set(UP);
    let deadline = Instant::now() + Duration::from_secs(20);
    while tollgate.track(WEB, "", large(1000)).status != 200 {
        assert!(
            Instant::now() < deadline,
            "it heals\n{}",
            tollgate.metrics()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    let missing = || {
        let each = store.each();
        taken.iter().filter(|id| !each.contains_key(*id)).count()
    };
    while missing() > 0 {
        assert!(Instant::now() < deadline, "{} missing", missing());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn each_of_many_logstores_goes_to_disk_before_it_is_refused() {
    let store = Store::start();
    store.set(DOWN);
    let limits = "[limits]\nmemory = \"16MiB\"\nmemory_share = 50\nbody = \"128KiB\"\nunverified_body = \"128KiB\"\n[overload]\nmax_delay = \"1h\"";
    let more: String = (0..5)
        .map(|n| format!("[[project.logstore]]\nname = \"web{n}\"\naccept = [\"anonymous\"]\n"))
        .collect();
    let node = Node::new(&store, limits, &more);
    let mut tollgate = node.start();
    let filler = "x".repeat(60_000);
    let mut sent = 0;
    for round in 0..100 {
        for n in 0..5 {
            let body = format!("{{\"__logs__\":[{{\"id\":\"{n}-{round}\",\"f\":\"{filler}\"}}]}}");
            let deadline = Instant::now() + Duration::from_secs(20);
            // Now and then the disk is slower than this.
            while tollgate.track(&format!("web{n}"), "", &body).status != 200 {
                assert!(Instant::now() < deadline, "web{n}\n{}", tollgate.metrics());
                std::thread::sleep(Duration::from_millis(10));
            }
            sent += 1;
        }
    }
    assert!(tollgate.stop().success());
    store.set(UP);
    let mut tollgate = node.start();
    store.wait_for(sent, &tollgate);
    assert!(tollgate.stop().success());
    assert_eq!(store.each().len(), sent);
}

#[test]
fn a_disk_that_was_full_is_used_again_by_a_logstore_that_answers_from_memory() {
    let store = Store::start();
    store.set(DOWN);
    let spool = "[spool]\nmax_size = \"256KiB\"\nsegment_size = \"16KiB\"\ncompression = \"none\"\nspill_at = 1\n[limits]\nmemory = \"64MiB\"";
    let node = Node::new(&store, spool, "");
    let mut tollgate = node.start();
    let filler = "z".repeat(8000);
    let send = |tollgate: &Tollgate, id: usize| {
        let large = format!("{{\"__logs__\":[{{\"id\":\"{id}\",\"f\":\"{filler}\"}}]}}");
        assert_eq!(tollgate.track(WEB, "", large).status, 200);
        std::thread::sleep(Duration::from_millis(10));
    };
    let state = format!("tollgate_spool_state{{project=\"{PROJECT}\",logstore=\"{WEB}\"}}");
    let mut sent = 0;
    let deadline = Instant::now() + Duration::from_secs(30);
    while tollgate.metric(&state) != 1 {
        send(&tollgate, sent);
        sent += 1;
        assert!(Instant::now() < deadline, "{}", tollgate.metrics());
    }
    store.set(UP);
    store.wait_for(sent, &tollgate);
    // It has room again, and is used again.
    store.set(DOWN);
    while of_web(&tollgate, "tollgate_spool_events") == 0 {
        send(&tollgate, sent);
        sent += 1;
        assert!(Instant::now() < deadline, "{}", tollgate.metrics());
    }
    store.set(UP);
    store.wait_for(sent, &tollgate);
    assert!(tollgate.stop().success());
}

#[test]
fn a_logstore_that_sheds_gives_up_the_oldest() {
    let store = Store::start();
    store.set(DOWN);
    let spool = "[spool]\nmax_size = \"256KiB\"\nsegment_size = \"16KiB\"\ncompression = \"none\"\nspill_at = 1";
    let node = Node::new(
        &store,
        &format!("{spool}\n[limits]\nmemory = \"64MiB\""),
        "[project.logstore.spool]\nwhen_full = \"drop_oldest\"",
    );
    let mut tollgate = node.start();
    let filler = "z".repeat(8000);
    for id in 0..200 {
        let large = format!("{{\"__logs__\":[{{\"id\":\"{id}\",\"f\":\"{filler}\"}}]}}");
        assert_eq!(tollgate.track(WEB, "", large).status, 200);
        // A batch of its own.
        std::thread::sleep(Duration::from_millis(10));
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while of_web(&tollgate, "tollgate_spool_shed_events_total") == 0 {
        assert!(Instant::now() < deadline, "{}", tollgate.metrics());
        std::thread::sleep(Duration::from_millis(50));
    }
    store.set(UP);
    while of_web(&tollgate, "tollgate_spool_events") + of_web(&tollgate, "tollgate_events_held") > 0
    {
        assert!(Instant::now() < deadline, "{}", tollgate.metrics());
        std::thread::sleep(Duration::from_millis(50));
    }
    let shed = of_web(&tollgate, "tollgate_spool_shed_events_total");
    assert!(tollgate.stop().success());
    let each = store.each();
    assert_eq!(each.len() + shed as usize, 200);
    assert!(
        each.contains_key("199") && !each.contains_key("60"),
        "{shed} shed"
    );
}

#[test]
fn an_answer_from_the_store_waits_for_it() {
    let store = Store::start();
    let node = Node::new(&store, "", "ack = \"logstore\"");
    let config = node.folder.path().join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("[delivery]\n", "[delivery]\nack_timeout = \"1s\"\n");
    std::fs::write(&config, text).unwrap();
    let mut tollgate = node.start();
    let answer = send(&tollgate, 1);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-tollgate-ack"), Some("logstore"));
    assert_eq!(store.count(), 1, "it is there when the answer says so");
    store.set(DOWN);
    let (status, _, reason) = send(&tollgate, 2).refusal();
    assert_eq!((status, reason.as_str()), (503, "ack_timeout"));
    store.set(UP);
    store.wait_for(2, &tollgate);
    assert!(tollgate.stop().success());
}

#[test]
fn an_encrypted_spool_is_read_with_its_keys_alone() {
    let store = Store::start();
    store.set(DOWN);
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "k".repeat(40)).unwrap();
    let spool = format!("[spool]\nkeys = [\"file:{}\"]", key.display());
    let node = Node::new(&store, &spool, "ack = \"disk\"");
    let mut tollgate = node.start();
    assert_eq!(send(&tollgate, "PLAINTEXT-MARK").status, 200);
    tollgate.signal("-KILL");
    tollgate.wait();
    let mut folders = vec![node.data().join("spool")];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                let found = bytes.windows(14).any(|window| window == b"PLAINTEXT-MARK");
                assert!(!found, "{}", path.display());
            }
        }
    }
    store.set(UP);
    let mut tollgate = node.start();
    store.wait_for(1, &tollgate);
    assert!(tollgate.stop().success());
}

#[test]
fn a_second_process_does_not_get_the_spool() {
    let store = Store::start();
    let node = Node::new(&store, "", "");
    let _tollgate = node.start();
    let config = node.folder.path().join("config.toml");
    let other = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    let spool = node.data().join("spool");
    let text = format!("{text}\n[spool]\ndir = \"{}\"\n", spool.display());
    let second = other.path().join("config.toml");
    std::fs::write(&second, text).unwrap();
    let output = support::binary()
        .args([
            "run",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ])
        .arg("--data-dir")
        .arg(other.path())
        .arg("--config")
        .arg(&second)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(73));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("cannot be locked") && told.contains("process"),
        "{told}"
    );
}
