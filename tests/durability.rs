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
/// Refuses LogGroups with an event whose id begins with `bad`.
const PICKY: u8 = 3;
/// The same; of the rest it answers for event 0 alone, and keeps the others without a word.
const PICKY_AND_SILENT: u8 = 4;

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
        let ids: Vec<_> = ids.collect();
        let mode = mode.load(Ordering::SeqCst);
        if mode >= PICKY && ids.iter().any(|(id, _)| id.starts_with("bad")) {
            let words = r#"{"errorCode":"PostBodyInvalid","errorMessage":"not this one"}"#;
            let refusal = format!(
                "HTTP/1.1 400 Bad Request\r\nx-log-requestid: 6A2F\r\ncontent-length: {}\r\n\r\n{words}",
                words.len()
            );
            if stream.write_all(refusal.as_bytes()).is_err() {
                return;
            }
            continue;
        }
        let first = ids.iter().any(|(id, _)| id == "0");
        taken.lock().unwrap().extend(ids);
        if mode == PICKY_AND_SILENT && !first {
            std::thread::sleep(Duration::from_secs(30));
            return;
        }
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
    let missing = || {
        let taken = store.taken.lock().unwrap();
        let taken: BTreeSet<&str> = taken.iter().map(|(event, _)| event.as_str()).collect();
        let missing = acknowledged
            .iter()
            .filter(|id| !taken.contains(id.as_str()));
        missing.count()
    };
    // The more cycles, the longer the backlog: it may take its time, as long as it goes on.
    let (mut left, mut since) = (missing(), Instant::now());
    while left > 0 {
        let all = acknowledged.len();
        let hangs = since.elapsed() > Duration::from_secs(40);
        assert!(!hangs, "{left} of {all}\n{}", tollgate.stderr());
        std::thread::sleep(Duration::from_millis(200));
        let now = missing();
        if now < left {
            (left, since) = (now, Instant::now());
        }
    }
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

/// A second upstream, which is down.
fn second(store: &Store, data: &Path) -> String {
    let (address, secret) = (store.address, data.join("secret"));
    format!(
        "[[upstream]]\nname = \"second\"\nkind = \"sls\"\nendpoint = \"http://{address}\"\naddress = \"{address}\"\nregion = \"local\"\ncompression = \"none\"\naccess_key_id = \"id\"\naccess_key_secret = \"file:{}\"\n",
        secret.display()
    )
}

const SMALL_SPOOL: &str =
    "[spool]\nmax_size = \"512KiB\"\nsegment_size = \"16KiB\"\ncompression = \"none\"";

/// An event of some 8 KB, and what its request is answered with.
fn send_large(tollgate: &Tollgate, logstore: &str, id: usize) -> support::Answer {
    let filler = "y".repeat(8000);
    let body = format!("{{\"__logs__\":[{{\"id\":\"{id}\",\"f\":\"{filler}\"}}]}}");
    tollgate.track(logstore, "", body)
}

#[test]
fn a_store_that_is_down_takes_no_room_on_disk_from_another_logstore() {
    for when_full in ["refuse", "drop_oldest"] {
        let (store, down) = (Store::start(), Store::start());
        store.set(DOWN);
        down.set(DOWN);
        let lanes = format!(
            "ack = \"disk\"\n[project.logstore.spool]\nwhen_full = \"{when_full}\"\n[[project.logstore]]\nname = \"other\"\nupstream = \"second\"\naccept = [\"anonymous\"]\nack = \"disk\"\n"
        );
        let node = Node::new(&store, SMALL_SPOOL, &lanes);
        let path = node.data().join("config.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, config + &second(&down, node.data())).unwrap();
        let mut tollgate = node.start();
        let mut refused = 0;
        for id in 0..80 {
            refused += u32::from(send_large(&tollgate, "other", id).status == 503);
        }
        assert!(refused > 5, "the spool is full");
        let part = of_web(&tollgate, "tollgate_spool_part_bytes");
        assert_eq!(part, 128 << 10);
        // Within its part nothing is refused and nothing gives way, also while its own store is down.
        for id in 0..12 {
            let answer = send_large(&tollgate, WEB, id);
            assert_eq!(answer.status, 200, "{}", tollgate.metrics());
        }
        store.set(UP);
        store.wait_for(12, &tollgate);
        for id in 12..60 {
            let answer = send_large(&tollgate, WEB, id);
            assert_eq!(answer.status, 200, "{}", tollgate.metrics());
            std::thread::sleep(Duration::from_millis(20));
        }
        store.wait_for(60, &tollgate);
        let shed = of_web(&tollgate, "tollgate_spool_shed_events_total");
        assert_eq!((shed, store.each().len()), (0, 60), "{when_full}");
        down.set(UP);
        assert!(tollgate.stop().success());
    }
}

#[test]
fn a_second_destination_that_is_down_takes_no_room_on_disk_from_the_first() {
    let (store, down) = (Store::start(), Store::start());
    down.set(DOWN);
    let node = Node::new(&store, SMALL_SPOOL, "ack = \"disk\"\nalso = \"second\"\n");
    let path = node.data().join("config.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config + &second(&down, node.data())).unwrap();
    let mut tollgate = node.start();
    for id in 0..120 {
        let answer = send_large(&tollgate, WEB, id);
        assert_eq!(answer.status, 200, "{}", tollgate.metrics());
        std::thread::sleep(Duration::from_millis(20));
    }
    store.wait_for(120, &tollgate);
    let of_copies = |name: &str| {
        let labels = format!("{{project=\"{PROJECT}\",logstore=\"{WEB}@second\"}}");
        tollgate.metric(&format!("{name}{labels}"))
    };
    let held = of_copies("tollgate_spool_bytes");
    assert!((150_000..260_000).contains(&held), "{held}");
    down.set(UP);
    assert!(tollgate.stop().success());
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

/// What the quarantine holds, by id of the event.
fn aside(node: &Node) -> Vec<String> {
    let folder = node.data().join("quarantine").join(PROJECT).join(WEB);
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "ndjson") {
            for line in std::fs::read_to_string(path).unwrap().lines() {
                let record: serde_json::Value = serde_json::from_str(line).unwrap();
                ids.push(record["event"]["id"].as_str().unwrap().to_owned());
            }
        }
    }
    ids
}

fn until(what: &str, tollgate: &Tollgate, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "{what}\n{}\n{}",
            tollgate.stderr(),
            tollgate.metrics()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// So many events in one LogGroup, the last one bad.
fn with_a_bad_one(count: usize) -> String {
    let id = |n: usize| match n + 1 == count {
        true => "bad".to_owned(),
        false => n.to_string(),
    };
    body((0..count).map(id))
}

#[test]
fn an_event_that_a_split_sets_aside_outlives_a_kill_while_the_quarantine_cannot_be_written() {
    let store = Store::start();
    store.set(PICKY);
    let node = Node::new(&store, "", "ack = \"disk\"");
    let mut tollgate = node.start();
    // A file where the quarantine wants a folder: no record can be written.
    let folder = node.data().join("quarantine").join(PROJECT);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(WEB), "in the way").unwrap();
    assert_eq!(tollgate.track(WEB, "", with_a_bad_one(64)).status, 200);
    store.wait_for(63, &tollgate);
    until("it is set aside", &tollgate, || {
        tollgate.metrics().lines().any(|line| {
            line.starts_with("tollgate_events_quarantined_total{")
                && line.contains("judge=\"store\"")
                && line.ends_with(" 1")
        })
    });
    // Longer than it takes until what is done is noted on disk.
    std::thread::sleep(Duration::from_millis(2500));
    tollgate.signal("-KILL");
    tollgate.wait();
    std::fs::remove_file(folder.join(WEB)).unwrap();

    let mut tollgate = node.start();
    until("the record is written", &tollgate, || {
        aside(&node).len() == 1
    });
    assert_eq!(aside(&node), ["bad"]);
    store.wait_for(126, &tollgate);
    assert!(tollgate.stop().success());
    // The others came again, under the ids that they had.
    assert_eq!(store.each().len(), 63);
    // Now it is done.
    let mut tollgate = node.start();
    assert_eq!(
        of_web(&tollgate, "tollgate_spool_recovered_events_total"),
        0
    );
    assert!(tollgate.stop().success());
    assert_eq!((store.count(), aside(&node).len()), (126, 1));
}

#[test]
fn a_stop_in_the_middle_of_a_split_keeps_what_has_not_ended_and_no_more() {
    for ack in ["memory", "disk"] {
        let store = Store::start();
        store.set(PICKY_AND_SILENT);
        let node = Node::new(&store, "", &format!("ack = \"{ack}\""));
        let config = node.folder.path().join("config.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let text = text.replace("[delivery]\n", "[delivery]\nstop_deadline = \"1s\"\n");
        std::fs::write(&config, text).unwrap();
        let mut tollgate = node.start();
        assert_eq!(tollgate.track(WEB, "", with_a_bad_one(64)).status, 200);
        // The first half is delivered, the next quarter is on its way.
        store.wait_for(48, &tollgate);
        until("half is delivered", &tollgate, || {
            of_web(&tollgate, "tollgate_events_delivered_total") == 32
        });
        assert_eq!(tollgate.stop().code(), Some(0), "{}", tollgate.stderr());
        let output = support::binary()
            .args(["spool", "ls", "--format", "json", "--config"])
            .arg(&config)
            .arg("--data-dir")
            .arg(node.data())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let listed: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(listed["events"], 32, "{ack}: {text}");

        store.set(PICKY);
        let mut tollgate = node.start();
        until("the rest is delivered", &tollgate, || {
            of_web(&tollgate, "tollgate_events_delivered_total") == 31
        });
        assert_eq!(
            of_web(&tollgate, "tollgate_spool_recovered_events_total"),
            32
        );
        assert!(tollgate.stop().success());
        assert_eq!(aside(&node), ["bad"], "{ack}");
        // What the store had taken without a word came again with the same id, and nothing else did.
        let each = store.each();
        assert_eq!(each.len(), 63, "{ack}");
        for (id, times) in each {
            let twice = (32..48).contains(&id.parse::<usize>().unwrap());
            assert_eq!(times, 1 + usize::from(twice), "{ack} {id}");
        }
    }
}

#[test]
fn a_batch_of_which_the_disk_took_a_part_is_kept_as_far_as_it_is_there() {
    let store = Store::start();
    store.set(DOWN);
    let spool = "[spool]\nmax_size = \"256KiB\"\nsegment_size = \"16KiB\"\ncompression = \"none\"";
    let node = Node::new(&store, spool, "ack = \"disk\"");
    let config = node.folder.path().join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("max_age = \"50ms\"", "max_age = \"1h\"");
    let text = text.replace("[delivery]\n", "[delivery]\nstop_deadline = \"1s\"\n");
    std::fs::write(&config, text).unwrap();
    let mut tollgate = node.start();
    let filler = "y".repeat(8000);
    let large = |id: usize| format!("{{\"__logs__\":[{{\"id\":\"{id}\",\"f\":\"{filler}\"}}]}}");
    // All of them go to one batch, which is open until the stop.
    let mut taken = BTreeSet::new();
    let mut refused = 0;
    for id in 0..60 {
        match tollgate.track(WEB, "", large(id)).status {
            200 => drop(taken.insert(id.to_string())),
            _ => refused += 1,
        }
    }
    assert!(taken.len() > 10 && refused > 0, "{} taken", taken.len());
    let code = tollgate.stop().code();
    // Nobody was told that the others are safe, but they are not there any more.
    assert!(
        matches!(code, Some(0 | 75)),
        "{code:?}\n{}",
        tollgate.stderr()
    );
    store.set(UP);
    let mut tollgate = node.start();
    store.wait_for(taken.len(), &tollgate);
    let recovered = of_web(&tollgate, "tollgate_spool_recovered_events_total");
    assert_eq!(recovered, taken.len() as u64);
    assert!(tollgate.stop().success());
    let each = store.each();
    assert!(taken.iter().all(|id| each.get(id) == Some(&1)));
    assert_eq!(each.len(), taken.len());
}

#[test]
fn a_backlog_drains_no_faster_than_it_may_and_new_events_do_not_wait_behind_it() {
    let store = Store::start();
    store.set(DOWN);
    let of_logstore = "ack = \"disk\"\n[project.logstore.spool]\norder = \"newest\"";
    let node = Node::new(&store, "[spool]\ndrain_rate = \"64KiB\"", of_logstore);
    let mut tollgate = node.start();
    let filler = "x".repeat(8000);
    for id in 0..40 {
        let large = format!("{{\"__logs__\":[{{\"id\":\"{id}\",\"f\":\"{filler}\"}}]}}");
        assert_eq!(tollgate.track(WEB, "", large).status, 200);
        // A batch of its own.
        std::thread::sleep(Duration::from_millis(70));
    }
    tollgate.signal("-KILL");
    tollgate.wait();
    store.set(UP);
    let began = Instant::now();
    let mut tollgate = node.start();
    assert_eq!(send(&tollgate, "new").status, 200);
    until("the new one is there", &tollgate, || {
        let taken = store.taken.lock().unwrap();
        taken.iter().any(|(id, _)| id == "new")
    });
    assert!(store.count() < 41, "and the backlog is not");
    store.wait_for(41, &tollgate);
    // 320 KB at 64 KiB a second, but for one LogGroup of each worker ahead.
    assert!(
        began.elapsed() >= Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert!(tollgate.stop().success());
    assert!(store.each().values().all(|times| *times == 1));
}

/// Fills a file system until it takes no more.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [64 << 10, 4 << 10, 1] {
        let piece = vec![0x5A; size];
        while file.write_all(&piece).is_ok() {}
    }
}

#[test]
fn a_disk_without_space_refuses_what_is_to_be_there_and_heals_when_space_is_back() {
    let store = Store::start();
    store.set(DOWN);
    let more =
        "[[project.logstore]]\nname = \"mem\"\naccept = [\"anonymous\"]\nclient_address = \"off\"";
    let spool = "[spool]\nreserve = \"0\"\nsegment_size = \"64KiB\"";
    let node = Node::new(&store, spool, &format!("ack = \"disk\"\n{more}"));
    let config = node.folder.path().join("config.toml");
    let data = Data::Kept(node.folder.path().to_owned());
    let arguments = ["--config", config.to_str().unwrap()];
    let Some(mut tollgate) = Tollgate::start_small(data, "spool", "2m", &arguments) else {
        return;
    };
    let state = format!("tollgate_spool_state{{project=\"{PROJECT}\",logstore=\"{WEB}\"}}");
    let mut taken = BTreeSet::new();
    for id in 0..10 {
        assert_eq!(send(&tollgate, id).status, 200);
        taken.insert(id.to_string());
    }
    let filler = tollgate.inside(&node.data().join("spool").join("filler"));
    fill(&filler);
    // What is left of the last page may still take some.
    let filled: String = (0..8000_u64)
        .map(|n| char::from(b'a' + (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 59) as u8 % 26))
        .collect();
    let refused = (0..10).find_map(|n| {
        let event = format!("{{\"__logs__\":[{{\"id\":\"late-{n}\",\"f\":\"{filled}{n}\"}}]}}");
        let answer = tollgate.track(WEB, "", event);
        if answer.status == 200 {
            taken.insert(format!("late-{n}"));
            return None;
        }
        Some(answer.refusal())
    });
    let refused = refused.unwrap();
    assert_eq!(
        (refused.0, refused.1.as_str(), refused.2.as_str()),
        (503, "ServerBusy", "spool_full")
    );
    assert_eq!(tollgate.metric(&state), 1);
    // Who answers from memory goes on, and the process lives.
    for id in 0..10 {
        let answer = tollgate.track("mem", "", body([format!("mem-{id}")]));
        assert_eq!(answer.status, 200, "{}", answer.text());
        taken.insert(format!("mem-{id}"));
    }
    assert_eq!(tollgate.admin_get("/healthz").status, 200);
    std::fs::remove_file(&filler).unwrap();
    until("it heals by itself", &tollgate, || {
        let answer = send(&tollgate, "healed");
        answer.status == 200
    });
    taken.insert("healed".to_owned());
    assert_eq!(tollgate.metric(&state), 0);
    store.set(UP);
    until("all that was taken is delivered", &tollgate, || {
        let each = store.each();
        taken.iter().all(|id| each.contains_key(id))
    });
    assert_eq!(tollgate.stop().code(), Some(0), "{}", tollgate.stderr());
}

#[test]
fn an_embedded_logstore_goes_on_once_its_disk_has_space_again_and_says_when_not() {
    let folder = tempfile::tempdir().unwrap();
    let data = Data::Kept(folder.path().to_owned());
    let Some(mut tollgate) = Tollgate::start_small(data, "logstore", "160m", &[]) else {
        return;
    };
    let send = |name: &str| {
        let event = format!("{{\"__logs__\":[{{\"event\":\"{name}\"}}]}}");
        assert_eq!(tollgate.track(support::OPEN, "", event).status, 200);
    };
    send("before");
    assert_eq!(tollgate.events(support::OPEN, 1).len(), 1);
    assert_eq!(tollgate.admin_get("/readyz").text(), "ready\n");
    let filler = tollgate.inside(&folder.path().join("logstore").join("filler"));
    fill(&filler);
    let mut sent = 1;
    until("a write fails", &tollgate, || {
        // What was set aside for a file that exists may still be used.
        let event = format!(
            "{{\"__logs__\":[{{\"event\":\"{}\"}}]}}",
            "z".repeat(60_000)
        );
        if tollgate.track(support::OPEN, "", event).status == 200 {
            SENT.fetch_add(1, Ordering::SeqCst);
        }
        tollgate.metric("tollgate_embedded_failing") == 1
    });
    sent += SENT.load(Ordering::SeqCst) as usize;
    let ready = tollgate.admin_get("/readyz");
    assert_eq!(ready.status, 200, "the front still keeps events");
    assert!(ready.text().contains("the embedded logstore cannot write"));
    send("meanwhile");
    sent += 1;
    std::fs::remove_file(&filler).unwrap();
    until("it is opened anew", &tollgate, || {
        tollgate.metric("tollgate_embedded_reopened_total") == 1
    });
    assert_eq!(tollgate.metric("tollgate_embedded_failing"), 0);
    assert_eq!(tollgate.admin_get("/readyz").text(), "ready\n");
    // Nothing is missing; a write that failed may be there, and once more when it was sent again.
    let tail = || {
        let url = format!("http://{}", tollgate.logstore.unwrap());
        let output = support::binary()
            .args([
                "tail",
                "--project",
                PROJECT,
                "--logstore",
                support::OPEN,
                "--from",
                "begin",
            ])
            .args(["--format", "json", "--logstore-url", &url, "--data-dir"])
            .arg(folder.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    until("all of it is there", &tollgate, || {
        let text = tail();
        text.lines().count() >= sent && text.contains("before") && text.contains("meanwhile")
    });
    assert!(tollgate.stop().success());
}

static SENT: AtomicU64 = AtomicU64::new(0);

#[test]
fn a_store_that_is_down_for_long_costs_disk_and_no_memory_and_new_events_are_served_while_it_catches_up()
 {
    let store = Store::start();
    store.set(DOWN);
    let limits = "[limits]\nmemory = \"16MiB\"\nmemory_share = 50\nbody = \"256KiB\"\nunverified_body = \"256KiB\"\n[overload]\nmax_delay = \"1h\"\n[spool]\nreserve = \"0\"";
    let node = Node::new(
        &store,
        limits,
        "ack = \"disk\"\n[project.logstore.spool]\norder = \"newest\"",
    );
    let mut tollgate = node.start();
    // Text that packs by about half, as events do.
    let filler: String = (0..2000_u32)
        .map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 28) as u8))
        .collect();
    let mut sent = 0;
    let mut early = 0;
    for request in 0..600 {
        let events = (0..40).map(|n| format!("{{\"id\":\"{request}-{n}\",\"f\":\"{filler}\"}}"));
        let large = format!(
            "{{\"__logs__\":[{}]}}",
            events.collect::<Vec<_>>().join(",")
        );
        until("it is taken", &tollgate, || {
            tollgate.track(WEB, "", &large).status == 200
        });
        sent += 40;
        if request == 200 {
            early = tollgate.resident();
        }
    }
    // 48 MB in all, of which memory may hold 8; what was held after a third of it stays enough.
    let late = tollgate.resident();
    assert!(late < early + (16 << 20), "{early} {late}");
    assert!(tollgate.metric("tollgate_memory_leased_bytes") <= 16 << 20);
    store.set(UP);
    let mut fresh = 0;
    while store.count() < sent {
        assert_eq!(send(&tollgate, format!("fresh-{fresh}")).status, 200);
        fresh += 1;
        assert!(
            fresh < 10_000,
            "{} of {sent}\n{}",
            store.count(),
            tollgate.metrics()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    store.wait_for(sent + fresh, &tollgate);
    let after = tollgate.resident();
    assert!(after < early + (32 << 20), "{early} {after}");
    assert!(tollgate.stop().success());
    let each = store.each();
    assert_eq!(each.len(), sent + fresh);
}
