//! Previews, of stores on raw sockets whose every LogGroup was received when the test says; and
//! logstores that cannot be read back.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::support::{OPEN, PROJECT, Tollgate};
use super::{Desk, bearer, none};

/// A LogGroup of one event.
#[derive(Clone)]
struct Held {
    received: u64,
    time: u64,
    name: String,
}

#[derive(Default)]
struct Script {
    /// What each shard holds, in the order in which it was received.
    shards: Vec<Vec<Held>>,
    /// Pulls of more than one LogGroup are answered with more than anybody wants.
    is_large: bool,
    /// What is said in place of shards.
    refusal: Option<&'static str>,
    /// Nothing is said at all.
    is_silent: bool,
}

struct Store {
    address: SocketAddr,
    pulls: Arc<AtomicUsize>,
}

impl Store {
    fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (script, pulls) = (Arc::new(script), Arc::<AtomicUsize>::default());
        let count = Arc::clone(&pulls);
        std::thread::spawn(move || {
            let open = Arc::<Mutex<Vec<TcpStream>>>::default();
            for stream in listener.incoming() {
                let (script, count, open) =
                    (Arc::clone(&script), Arc::clone(&count), Arc::clone(&open));
                let stream = stream.unwrap();
                if script.is_silent {
                    open.lock().unwrap().push(stream);
                    continue;
                }
                std::thread::spawn(move || serve(stream, &script, &count));
            }
        });
        Self { address, pulls }
    }

    fn desk(&self) -> Desk {
        let store = self.address;
        Desk(Tollgate::start_config(&format!(
            r#"
            [ingest]
            default_project = "{PROJECT}"
            [[upstream]]
            name = "store"
            kind = "sls"
            endpoint = "http://{store}"
            region = "cn-x"
            access_key_id = "id"
            access_key_secret = "env:PATH"
            [[project]]
            name = "{PROJECT}"
            upstream = "store"
            [[project.logstore]]
            name = "{OPEN}"
            accept = ["anonymous"]
            "#
        )))
    }
}

fn serve(mut stream: TcpStream, script: &Script, pulls: &AtomicUsize) {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes.drain(..end + 4).collect()).unwrap();
            let target = head.split(' ').nth(1).unwrap();
            let (headers, body) = answer(target, script, pulls);
            let head = format!(
                "HTTP/1.1 {headers}\r\nx-log-requestid: 6A2F\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            if stream
                .write_all(&[head.as_bytes(), &body].concat())
                .is_err()
            {
                return;
            }
        }
        match stream.read(&mut piece) {
            Ok(read) if read > 0 => bytes.extend_from_slice(&piece[..read]),
            _ => return,
        }
    }
}

fn answer(target: &str, script: &Script, pulls: &AtomicUsize) -> (String, Vec<u8>) {
    if let Some(refusal) = script.refusal {
        let body = json!({"errorCode": "Unauthorized", "errorMessage": refusal}).to_string();
        return ("401 Unauthorized".to_owned(), body.into_bytes());
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let members: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let member = |name: &str| {
        let found = members.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    };
    let shard = path.rsplit('/').next().unwrap();
    let Ok(shard) = shard.parse::<usize>() else {
        let list = (0..script.shards.len()).map(|id| json!({"shardID": id, "status": "readwrite"}));
        let list = list.collect::<Value>().to_string();
        return ("200 OK".to_owned(), list.into_bytes());
    };
    let held = &script.shards[shard];
    if member("type").as_deref() == Some("cursor") {
        let at = match member("from").unwrap().as_str() {
            "begin" => 0,
            "end" => held.len(),
            time => {
                let time: u64 = time.parse().unwrap();
                held.iter()
                    .position(|it| it.received >= time)
                    .unwrap_or(held.len())
            }
        };
        let body = json!({"cursor": cursor(at)}).to_string();
        return ("200 OK".to_owned(), body.into_bytes());
    }
    pulls.fetch_add(1, Ordering::SeqCst);
    let place = |name: &str| {
        let bytes = STANDARD.decode(member(name)?).unwrap();
        String::from_utf8(bytes).unwrap().parse::<usize>().ok()
    };
    let count: usize = member("count").unwrap().parse().unwrap();
    let from = place("cursor").unwrap();
    let end = place("end_cursor").unwrap_or(held.len()).min(held.len());
    let to = (from + count).min(end).max(from);
    let body = match script.is_large && count > 1 && to > from {
        true => vec![0; 9 << 20],
        false => held[from..to].iter().flat_map(in_list).collect(),
    };
    let size = body.len();
    let headers = format!(
        "200 OK\r\nx-log-cursor: {}\r\nx-log-bodyrawsize: {size}",
        cursor(to)
    );
    (headers, body)
}

fn cursor(place: usize) -> String {
    STANDARD.encode(place.to_string())
}

/// A LogGroup as a member of a LogGroupList, in wire form.
fn in_list(held: &Held) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).unwrap();
        [&[(number << 3) | 2, length], bytes].concat()
    };
    let content = [field(1, b"name"), field(2, held.name.as_bytes())].concat();
    let mut log = vec![0x08];
    let mut time = held.time;
    while time >= 0x80 {
        log.push(u8::try_from(time & 0x7f).unwrap() | 0x80);
        time >>= 7;
    }
    log.push(u8::try_from(time).unwrap());
    log.extend(field(2, &content));
    field(1, &field(1, &log))
}

fn held(received: u64, time: u64, name: &str) -> Held {
    let name = name.to_owned();
    Held {
        received,
        time,
        name,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the store has the clock of the machine"
)]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

fn events(desk: &Desk, bearer: &str, more: &str) -> Value {
    let path = format!("events?project={PROJECT}&logstore={OPEN}{more}");
    let answer = desk.get(bearer, &path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn names(said: &Value) -> Vec<&str> {
    let events = said["events"].as_array().unwrap().iter();
    events
        .map(|it| it["fields"][0][1].as_str().unwrap())
        .collect()
}

#[test]
fn a_time_that_is_over_is_read_to_its_end_and_no_further_whatever_came_since() {
    let base = now() - 2000;
    let late = (0..3000).map(|index| held(base + 500 + index / 3, base + 500, "later"));
    let first = vec![
        held(base - 100, base - 100, "before"),
        held(base + 2, base + 1, "first"),
        // It was on its way for a while.
        held(base + 200, base + 20, "third"),
    ];
    let store = Store::start(Script {
        shards: vec![
            first.into_iter().chain(late).collect(),
            vec![held(base + 11, base + 10, "second")],
        ],
        ..Script::default()
    });
    let desk = store.desk();
    let guest = desk.guest(&json!({"from": base, "to": base + 30}), &none());
    let said = events(&desk, &guest, "");
    assert_eq!(names(&said), ["third", "second", "first"]);
    assert_eq!(said["partial"], false);
    let pulls = store.pulls.load(Ordering::SeqCst);
    assert!(pulls <= 6, "{pulls}");
}

#[test]
fn a_shard_with_more_than_is_read_takes_nothing_from_the_others() {
    let now = now();
    let busy = (0..3000).map(|_| held(now - 3, now - 3, "busy"));
    let store = Store::start(Script {
        shards: vec![busy.collect(), vec![held(now - 2, now - 2, "rare")]],
        ..Script::default()
    });
    let desk = store.desk();
    let said = events(&desk, &desk.admin(), "&limit=200");
    assert_eq!(said["partial"], true);
    assert_eq!(names(&said)[..2], ["rare", "busy"]);
    assert_eq!(names(&said).len(), 200);
    assert_eq!(store.pulls.load(Ordering::SeqCst), 61, "the bound, and one");
}

#[test]
fn older_events_are_looked_for_until_there_are_enough_and_none_is_shown_twice() {
    let now = now();
    let ages = [2_000_000, 90_000, 5000, 300, 35, 4];
    let shard = ages.iter().map(|age| {
        let time = now - age;
        held(time, time, &age.to_string())
    });
    let store = Store::start(Script {
        shards: vec![shard.collect(), Vec::new()],
        ..Script::default()
    });
    let desk = store.desk();
    let admin = desk.admin();
    let said = events(&desk, &admin, "");
    let all = ["4", "35", "300", "5000", "90000", "2000000"];
    assert_eq!(
        (names(&said).as_slice(), &said["partial"]),
        (&all[..], &json!(false))
    );
    let pulls = store.pulls.swap(0, Ordering::SeqCst);
    assert_eq!(pulls, 6, "each stretch once, and none that is empty");
    assert_eq!(names(&events(&desk, &admin, "&limit=2")), ["4", "35"]);
    assert_eq!(store.pulls.load(Ordering::SeqCst), 2);
}

#[test]
fn what_is_too_large_for_one_pull_is_read_a_group_at_a_time() {
    let now = now();
    let shard = (0..5).map(|index| held(now - 5, now - 5 + index, &index.to_string()));
    let store = Store::start(Script {
        shards: vec![shard.collect()],
        is_large: true,
        ..Script::default()
    });
    let desk = store.desk();
    let said = events(&desk, &desk.admin(), "");
    assert_eq!(names(&said), ["4", "3", "2", "1", "0"]);
}

#[test]
fn a_guest_is_not_told_what_the_store_says() {
    let store = Store::start(Script {
        refusal: Some("denied by ram for acs:log:cn-x:1234567890:project/secret"),
        ..Script::default()
    });
    let desk = store.desk();
    let path = format!("events?project={PROJECT}&logstore={OPEN}");
    let told = desk.get(&desk.admin(), &path);
    assert_eq!(told.status, 502);
    assert!(told.text().contains("1234567890"), "{}", told.text());
    let told = desk.get(&desk.guest(&none(), &none()), &path);
    assert_eq!(told.status, 502);
    for word in ["ram", "1234567890", "secret", "Unauthorized", "cn-x"] {
        assert!(!told.text().contains(word), "{}", told.text());
    }
}

#[test]
fn guests_that_wait_for_a_store_leave_a_preview_for_the_admin() {
    let store = Store::start(Script {
        is_silent: true,
        ..Script::default()
    });
    let desk = Arc::new(store.desk());
    let (admin, guest) = (desk.admin(), desk.guest(&none(), &none()));
    let path = format!("events?project={PROJECT}&logstore={OPEN}");
    // Nothing is sent back while a preview waits for its store.
    let ask = |bearer: &str| {
        let (desk, bearer, path) = (Arc::clone(&desk), bearer.to_owned(), path.clone());
        std::thread::spawn(move || desk.get(&bearer, &path).status)
    };
    let begun = Duration::from_millis(500);
    let waiting = [ask(&guest), ask(&guest)];
    std::thread::sleep(begun);
    assert_eq!(desk.get(&guest, &path).status, 503, "two are for guests");
    let own = ask(&admin);
    std::thread::sleep(begun);
    assert_eq!(desk.get(&admin, &path).status, 503, "that was the last one");
    for asked in waiting.into_iter().chain([own]) {
        assert_eq!(asked.join().unwrap(), 502, "it ends, and says so");
    }
}

#[test]
fn logstores_that_cannot_be_read_back_and_copies_are_there_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().display();
    let desk = Desk(Tollgate::start_config(&format!(
        r#"
        [ingest]
        default_project = "{PROJECT}"
        [[upstream]]
        name = "embedded"
        kind = "embedded"
        [[upstream]]
        name = "archive"
        kind = "files"
        files = {{ dir = "{archive}" }}
        [[project]]
        name = "{PROJECT}"
        upstream = "embedded"
        [[project.logstore]]
        name = "{OPEN}"
        accept = ["anonymous"]
        also = "archive"
        [[project]]
        name = "cold"
        upstream = "archive"
        [[project.logstore]]
        name = "orders"
        accept = ["anonymous"]
        "#
    )));
    let admin = desk.admin();
    let who = desk.get(&admin, "session").json();
    let copy = format!("{OPEN}@archive");
    assert_eq!(
        who["viewer"]["logstores"],
        json!([["cold", "orders"], [PROJECT, OPEN], [PROJECT, copy]])
    );
    for (project, logstore) in [("cold", "orders"), (PROJECT, copy.as_str())] {
        let place = format!("project={project}&logstore={logstore}");
        let aside = desk.get(&admin, &format!("quarantine?{place}"));
        assert_eq!(
            (aside.status, aside.json()),
            (200, json!({"records": []})),
            "{place}"
        );
        let told = desk.get(&admin, &format!("events?{place}"));
        assert_eq!(
            (told.status, &told.json()["errorCode"]),
            (409, &json!("Unreadable"))
        );
    }
    let unknown = desk.get(&admin, "events?project=cold&logstore=other");
    assert_eq!(unknown.status, 404);
    let share = |project: &str, logstores: Value| {
        let view = json!({"project": project, "dashboard": "overview", "logstores": logstores});
        let new = json!({"grant": {"view": view}});
        desk.call("POST", "/api/v1/dashboard/tickets", &admin, &new)
    };
    let made = share("cold", json!(["orders"]));
    assert_eq!(made.status, 201, "{}", made.text());
    let guest = bearer(&desk.login(&json!({"ticket": made.json()["token"]})));
    let who = desk.get(&guest, "session").json();
    assert_eq!(who["viewer"]["logstores"], json!([["cold", "orders"]]));
    assert_eq!(share("nobody", json!([])).status, 400);
}
