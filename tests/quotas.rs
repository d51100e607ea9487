//! Limits, by raw sockets against the real binary: who is refused, how that is told, and what of it
//! is in the store.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::Write as _;
use std::net::SocketAddr;

use serde_json::Value;
use support::{Answer, Data, PROJECT, Tollgate, binary, read_answer};

const ONE: &str = r#"{"__logs__":[{"k":"v"}]}"#;
const WEB: &str = "web";
const GUARDED: &str = "guarded";
const OVERFLOW: &str = "overflow";

/// A site with an open, a guarded and a spare logstore, and these limits.
fn start(limits: &str) -> Tollgate {
    let open =
        |name: &str| format!("[[project.logstore]]\nname = \"{name}\"\naccept = [\"anonymous\"]\n");
    let guarded = format!("[[project.logstore]]\nname = \"{GUARDED}\"\n");
    Tollgate::start_quotas(&[open(WEB), guarded, open(OVERFLOW)].concat(), limits)
}

fn limit(name: &str, more: &str) -> String {
    format!("[[limit]]\nname = \"{name}\"\n{more}\n")
}

fn token(tollgate: &Tollgate, subject: &str) -> String {
    let output = binary()
        .args(["token", "mint", "--project", PROJECT, "--logstore", GUARDED])
        .args(["--subject", subject, "--data-dir"])
        .arg(tollgate.data_dir())
        .output()
        .unwrap();
    let token = String::from_utf8(output.stdout).unwrap();
    format!("Authorization: Bearer {}\r\n", token.trim())
}

/// A request as a client of SLS sends it.
fn sls(tollgate: &Tollgate, logstore: &str, extra: &str, body: &str) -> Answer {
    let extra = format!("x-log-apiversion: 0.6.0\r\n{extra}");
    tollgate.track(logstore, &extra, body)
}

/// A request from another address of this machine.
fn from(tollgate: &Tollgate, address: [u8; 4], extra: &str) -> Answer {
    send_from(tollgate, address, WEB, extra)
}

fn send_from(tollgate: &Tollgate, address: [u8; 4], logstore: &str, extra: &str) -> Answer {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&tollgate.ingest.unwrap().into()).unwrap();
    let mut stream: std::net::TcpStream = socket.into();
    let head = format!(
        "POST /logstores/{logstore}/track HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{extra}\r\n",
        ONE.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(ONE.as_bytes()).unwrap();
    read_answer(&mut stream)
}

fn field<'a>(events: &'a [Value], name: &str) -> Vec<&'a str> {
    let mut values: Vec<&str> = events.iter().filter_map(|e| e[name].as_str()).collect();
    values.sort_unstable();
    values
}

#[test]
fn an_address_is_refused_past_its_limit_and_told_by_whom_and_until_when() {
    let tollgate = start(&limit(
        "per-address",
        "key = [\"address\"]\nrate = [{ count = 3, per = \"1h\" }]",
    ));
    for _ in 0..3 {
        assert_eq!(sls(&tollgate, WEB, "", ONE).status, 200);
    }
    let refused = sls(&tollgate, WEB, "", ONE);
    let (status, code, reason) = refused.refusal();
    assert_eq!(
        (status, code.as_str(), reason.as_str()),
        (403, "WriteQuotaExceed", "quota_exceeded")
    );
    assert_eq!(refused.header("x-tollgate-limit"), Some("per-address"));
    assert!(
        refused.text().contains("3 requests in 1h for each address"),
        "{}",
        refused.text()
    );
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(
        (1..=1200).contains(&wait),
        "a third of an hour at most, not {wait} s"
    );
    // Nothing that the client says of itself makes it another one.
    let other = "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\nX-Real-IP: 203.0.113.9\r\nUser-Agent: other\r\n";
    assert_eq!(sls(&tollgate, WEB, other, ONE).status, 403);
    // Every route of the site counts, and a bad token is not even looked at.
    assert_eq!(
        sls(&tollgate, GUARDED, "Authorization: Bearer x\r\n", ONE).status,
        403
    );
    assert_eq!(
        from(&tollgate, [127, 0, 0, 9], "x-log-apiversion: 0.6.0\r\n").status,
        200
    );
    assert_eq!(tollgate.events(WEB, 4).len(), 4);
    assert!(
        tollgate.metrics().contains("reason=\"quota_exceeded\"} 2"),
        "{}",
        tollgate.metrics()
    );
}

#[test]
fn each_kind_of_client_is_answered_in_a_form_that_it_knows() {
    let tollgate = start(&limit("none", "rate = [{ count = 0, per = \"1s\" }]"));
    let http = tollgate.track(WEB, "", ONE);
    assert_eq!(http.status, 429, "{http:?}");
    assert_eq!(
        http.header("content-type"),
        Some("application/problem+json")
    );
    let problem = http.json();
    assert_eq!(problem["status"], 429);
    assert_eq!(problem["violated-policies"][0], "none");
    assert_eq!(problem["reason"], "quota_exceeded");
    assert!(http.header("retry-after").is_some() && http.header("x-log-requestid").is_some());
    let query = format!(
        "POST /logstores/{WEB}/track?APIVersion=0.6.0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        ONE.len()
    );
    assert_eq!(
        tollgate.send(&query, ONE.as_bytes()).refusal().0,
        403,
        "the SDKs of web tracking"
    );
    let image = tollgate.get(&format!("/logstores/{WEB}/track.gif?APIVersion=0.6.0&k=v"));
    assert_eq!(
        (image.status, image.header("content-type")),
        (403, Some("image/gif"))
    );
    assert!(image.body.starts_with(b"GIF89a"));
    let beacon = tollgate.track(
        WEB,
        "Sec-Fetch-Mode: no-cors\r\nOrigin: https://shop.example.com\r\n",
        ONE,
    );
    assert_eq!((beacon.status, beacon.body.len()), (403, 0));
    assert_eq!(beacon.header("x-tollgate-reason"), Some("quota_exceeded"));
}

#[test]
fn a_subject_is_counted_over_its_tokens_and_words_of_strangers_are_no_keys() {
    let tollgate = start(&format!(
        "{}{}",
        limit(
            "per-subject",
            "key = [\"subject\"]\nlogstores = [\"guarded\"]\nrate = [{ count = 2, per = \"1h\" }]"
        ),
        limit(
            "per-device",
            "key = [\"header:x-device\"]\nlogstores = [\"web\"]\nrate = [{ count = 2, per = \"1h\" }]"
        ),
    ));
    let status = |subject: &str| sls(&tollgate, GUARDED, &token(&tollgate, subject), ONE).status;
    assert_eq!(
        [status("ann"), status("ann"), status("ann")],
        [200, 200, 403]
    );
    assert_eq!(status("bob"), 200);
    // A stranger who names a new device each time is one stranger.
    let device = |name: u32| sls(&tollgate, WEB, &format!("X-Device: {name}\r\n"), ONE).status;
    assert_eq!(
        [device(1), device(2), device(3), device(4)],
        [200, 200, 403, 403]
    );
}

#[test]
fn events_and_bytes_are_counted_and_what_is_refused_is_not_charged() {
    let tollgate = start(&format!(
        "{}{}",
        limit(
            "events",
            "unit = \"events\"\nkey = [\"address\"]\nlogstores = [\"web\"]\nannounce = true\nrate = [{ count = 5, per = \"1h\" }]"
        ),
        limit(
            "bytes",
            "unit = \"bytes\"\nlogstores = [\"overflow\"]\nannounce = true\nwarn_at = 50\nbudget = [{ count = \"1KiB\", per = \"day\" }]"
        ),
    ));
    let batch = |events: usize| {
        format!(
            "{{\"__logs__\":[{}]}}",
            vec!["{\"k\":\"v\"}"; events].join(",")
        )
    };
    let large = sls(&tollgate, WEB, "", &batch(6));
    let (status, _, reason) = large.refusal();
    assert_eq!((status, reason.as_str()), (413, "quota_too_large"));
    let four = sls(&tollgate, WEB, "", &batch(4));
    assert_eq!(four.status, 200);
    assert_eq!(
        four.header("ratelimit-policy"),
        Some("\"events\";q=5;w=3600")
    );
    assert!(
        four.header("ratelimit")
            .unwrap()
            .starts_with("\"events\";r=1;t=2"),
        "{four:?}"
    );
    assert_eq!(sls(&tollgate, WEB, "", &batch(2)).status, 403);
    assert_eq!(
        sls(&tollgate, WEB, "", "{\"__logs__\":[{\"k\":").status,
        400
    );
    assert_eq!(
        sls(&tollgate, WEB, "", &batch(1)).status,
        200,
        "neither was charged"
    );
    let empty = sls(&tollgate, WEB, "Content-Type: text/plain\r\n", &batch(1));
    assert_eq!(empty.status, 403);
    let big = format!("{{\"__logs__\":[{{\"k\":\"{}\"}}]}}", "v".repeat(500));
    let first = sls(&tollgate, OVERFLOW, "", &big);
    assert_eq!(
        first.header("x-tollgate-limit-warning"),
        Some("\"bytes\";used=51"),
        "{first:?}"
    );
    assert_eq!(sls(&tollgate, OVERFLOW, "", &big).status, 403);
    let tomorrow = sls(&tollgate, OVERFLOW, "", &big);
    let wait: u64 = tomorrow.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&wait));
    assert_eq!(tollgate.events(WEB, 5).len(), 5);
}

const CLASSES: &str = r#"
[[class]]
name = "orders"
topics = ["order"]
field = "event"
values = ["purchase"]

[[class]]
name = "noise"
field = "event"
values = ["scroll", "move"]
"#;

#[test]
fn noise_is_taken_out_of_a_request_and_what_is_precious_goes_on() {
    let tollgate = start(&format!(
        "{CLASSES}{}",
        limit(
            "noise",
            "unit = \"events\"\nclasses = [\"noise\"]\nrate = [{ count = 2, per = \"1h\" }]"
        ),
    ));
    let mixed = r#"{"__logs__":[{"event":"scroll","n":"1"},{"event":"purchase","n":"2"},{"event":"scroll","n":"3"},{"event":"move","n":"4"}]}"#;
    let pair = r#"{"__logs__":[{"event":"scroll","n":"5"},{"event":"scroll","n":"6"}]}"#;
    assert_eq!(
        sls(&tollgate, WEB, "", pair).header("x-tollgate-refused-events"),
        None
    );
    let answer = sls(&tollgate, WEB, "", mixed);
    assert_eq!(
        (answer.status, answer.header("x-tollgate-refused-events")),
        (200, Some("3"))
    );
    assert_eq!(answer.header("x-tollgate-limit"), Some("noise"));
    assert_eq!(
        sls(&tollgate, WEB, "", pair).status,
        403,
        "nothing of it is left"
    );
    let events = tollgate.events(WEB, 3);
    assert_eq!(field(&events, "n"), ["2", "5", "6"]);
    let refused = format!(
        "tollgate_events_refused_total{{project=\"{PROJECT}\",logstore=\"{WEB}\",reason=\"quota_exceeded\"}}"
    );
    assert_eq!(tollgate.metric(&refused), 5);
}

#[test]
fn a_flood_of_noise_leaves_the_reserve_to_precious_events() {
    let tollgate = start(&format!(
        "{CLASSES}{}",
        limit(
            "all",
            "unit = \"events\"\nreserve = { orders = 40 }\nrate = [{ count = 10, per = \"1h\" }]"
        ),
    ));
    let send = |event: &str| {
        sls(
            &tollgate,
            WEB,
            "",
            &format!("{{\"__logs__\":[{{\"event\":\"{event}\"}}]}}"),
        )
        .status
    };
    let noise: Vec<u16> = (0..20).map(|_| send("scroll")).collect();
    assert_eq!(noise.iter().filter(|status| **status == 200).count(), 6);
    let orders: Vec<u16> = (0..20).map(|_| send("purchase")).collect();
    assert_eq!(orders.iter().filter(|status| **status == 200).count(), 4);
}

#[test]
fn what_is_too_much_can_be_diverted_or_marked_or_only_observed() {
    let tollgate = start(&format!(
        "{}{}{}",
        limit(
            "watched",
            "mode = \"observe\"\nrate = [{ count = 0, per = \"1s\" }]"
        ),
        limit(
            "marked",
            "action = \"mark\"\nlogstores = [\"web\"]\nrate = [{ count = 1, per = \"1h\" }]"
        ),
        limit(
            "spill",
            "unit = \"events\"\naction = \"divert\"\ndivert_to = \"overflow\"\nlogstores = [\"web\"]\nrate = [{ count = 2, per = \"1h\" }]"
        ),
    ));
    for _ in 0..4 {
        assert_eq!(sls(&tollgate, WEB, "", ONE).status, 200);
    }
    let forged = r#"{"__tags__":{"__tollgate_limit__":"forged"},"__logs__":[{"k":"v"}]}"#;
    assert_eq!(sls(&tollgate, WEB, "", forged).status, 200);
    let kept = tollgate.events(WEB, 2);
    let spilt = tollgate.events(OVERFLOW, 3);
    assert_eq!(field(&kept, "__tag__:__tollgate_limit__"), ["marked"]);
    assert_eq!(field(&spilt, "__tag__:__tollgate_limit__"), ["marked"; 3]);
    let accepted = |logstore: &str| {
        tollgate.metric(&format!(
            "tollgate_events_accepted_total{{project=\"{PROJECT}\",logstore=\"{logstore}\"}}"
        ))
    };
    assert_eq!((accepted(WEB), accepted(OVERFLOW)), (2, 3));
}

#[test]
fn a_sample_keeps_the_same_senders_whole() {
    let tollgate = start(&limit(
        "sampled",
        "key = [\"logstore\"]\naction = \"sample\"\nkeep = 50\nrate = [{ count = 0, per = \"1s\" }]",
    ));
    let ask = |last: u8| from(&tollgate, [127, 0, 3, last], "x-log-apiversion: 0.6.0\r\n").status;
    let first: Vec<u16> = (1..60).map(ask).collect();
    let second: Vec<u16> = (1..60).map(ask).collect();
    assert_eq!(first, second, "who is in stays in");
    let kept = first.iter().filter(|status| **status == 200).count();
    assert!((12..48).contains(&kept), "about half of 59, not {kept}");
}

#[test]
fn what_a_later_limit_refuses_is_given_back_by_the_earlier_one() {
    let tollgate = start(&format!(
        "{}{}",
        limit(
            "requests",
            "key = [\"subject\"]\nannounce = true\nlogstores = [\"guarded\"]\nrate = [{ count = 3, per = \"1h\" }]"
        ),
        limit(
            "events",
            "unit = \"events\"\nkey = [\"event:k\"]\nlogstores = [\"guarded\"]\nrate = [{ count = 1, per = \"1h\" }]"
        ),
    ));
    let bearer = token(&tollgate, "ann");
    let first = sls(&tollgate, GUARDED, &bearer, ONE);
    assert!(
        first
            .header("ratelimit")
            .unwrap()
            .starts_with("\"requests\";r=2"),
        "{first:?}"
    );
    for _ in 0..5 {
        let refused = sls(&tollgate, GUARDED, &bearer, ONE);
        assert_eq!(refused.status, 403);
        assert_eq!(
            refused.header("x-tollgate-limit"),
            Some("events"),
            "never the first one"
        );
    }
}

#[test]
fn what_makes_no_sense_is_refused_when_it_is_read() {
    let data = Data::Own(tempfile::tempdir().unwrap());
    let file = data.path().join("bad.toml");
    let bad = limit("bad name", "key = [\"moon\"]\nrate = []");
    std::fs::write(&file, bad).unwrap();
    let output = binary()
        .args(["check", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn an_event_that_is_taken_out_is_charged_to_no_other_limit_in_either_order() {
    for noise_first in [true, false] {
        let noise = limit(
            "noise",
            "unit = \"events\"\nclasses = [\"noise\"]\nrate = [{ count = 2, per = \"1h\" }]",
        );
        let site = limit(
            "site",
            "unit = \"events\"\nannounce = true\nrate = [{ count = 20, per = \"1h\" }]",
        );
        let (one, two) = if noise_first {
            (&noise, &site)
        } else {
            (&site, &noise)
        };
        let tollgate = start(&format!("{CLASSES}{one}{two}"));
        let mut events = vec!["{\"event\":\"scroll\"}"; 15];
        events.push("{\"event\":\"purchase\"}");
        let body = format!("{{\"__logs__\":[{}]}}", events.join(","));
        let first = sls(&tollgate, WEB, "", &body);
        // Events of one key have room together or not at all.
        assert_eq!(first.header("x-tollgate-refused-events"), Some("15"));
        assert!(
            first
                .header("ratelimit")
                .unwrap()
                .starts_with("\"site\";r=19;"),
            "{first:?}"
        );
        for left in [18, 17, 16] {
            let next = sls(&tollgate, WEB, "", &body);
            assert_eq!(
                (next.status, next.header("x-tollgate-refused-events")),
                (200, Some("15"))
            );
            let told = format!("\"site\";r={left};");
            assert!(
                next.header("ratelimit").unwrap().starts_with(&told),
                "{next:?}"
            );
        }
    }
}

#[test]
fn a_sample_by_subject_is_the_same_from_every_address() {
    let tollgate = start(&limit(
        "sampled",
        "key = [\"logstore\"]\nunit = \"events\"\nlogstores = [\"guarded\"]\naction = \"sample\"\nkeep = 50\nsample_by = [\"subject\"]\nrate = [{ count = 0, per = \"1s\" }]",
    ));
    let mut kept = 0;
    for subject in 0..16 {
        let bearer = token(&tollgate, &format!("s-{subject}"));
        let statuses: Vec<u16> = (1..6)
            .map(|last| send_from(&tollgate, [127, 0, 4, last], GUARDED, &bearer).status)
            .collect();
        assert!(
            statuses.iter().all(|status| *status == statuses[0]),
            "{statuses:?}"
        );
        kept += usize::from(statuses[0] == 200);
    }
    assert!((2..15).contains(&kept), "about half of 16, not {kept}");
}

#[test]
fn a_key_of_words_that_a_client_chooses_is_bounded_by_what_it_cannot_choose() {
    let tollgate = start(&limit(
        "per-device",
        "key = [\"subject\", \"header:x-device\"]\nlogstores = [\"guarded\"]\nrate = [{ count = 1, per = \"1h\" }]",
    ));
    let bearer = token(&tollgate, "ann");
    let ask = |bearer: &str, device: u32| {
        let extra = format!("{bearer}X-Device: {device}\r\n");
        sls(&tollgate, GUARDED, &extra, ONE).status
    };
    let passed = (0..80)
        .filter(|device| ask(&bearer, *device) == 200)
        .count();
    assert_eq!(
        passed, 64,
        "so many new devices of one subject, and no more"
    );
    assert_eq!(
        ask(&token(&tollgate, "bob"), 1),
        200,
        "another subject is not concerned"
    );
}
