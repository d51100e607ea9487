//! What events are held to, by raw sockets against the real binary: schemas, guards and steps, what
//! each client is told, and what is in the store and in the books.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{Answer, PROJECT, Tollgate};

const WEB: &str = "web";
const OTHER: &str = "other";

const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "properties": {
    "event": { "const": "order" },
    "price": { "type": "number", "minimum": 0, "maximum": 100 },
    "name": { "type": "string", "maxLength": 5 },
    "ok": { "type": "boolean" },
    "currency": { "type": "string", "default": "CNY" },
    "phone": { "type": "string", "x-tollgate-mask": "mask" }
  },
  "required": ["event", "price", "currency"],
  "additionalProperties": false
}"#;

/// A site whose first logstore is open and held to `quality`; the schema is at hand as `order`.
fn start(folder: &Path, quality: &str) -> Tollgate {
    let file = folder.join("order.json");
    if !file.exists() {
        std::fs::write(&file, SCHEMA).unwrap();
    }
    Tollgate::start_config(&format!(
        r#"
[ingest]
default_project = "{PROJECT}"

[[identity.jwt]]
kid = "quickstart"
issuer = "tollgate"
audience = "tollgate"

[[schema]]
name = "order"
version = "2"
file = "{file}"
event = "order"

[[upstream]]
name = "store"
kind = "embedded"

[[project]]
name = "{PROJECT}"
upstream = "store"

[[project.logstore]]
name = "{OTHER}"
accept = ["anonymous"]
client_address = "off"

[[project.logstore]]
name = "{WEB}"
accept = ["anonymous"]
client_address = "off"
{quality}
"#,
        file = file.display(),
    ))
}

fn schema(more: &str) -> String {
    format!("[project.logstore.schema]\nuse = [\"order\"]\nevent_field = \"event\"\n{more}\n")
}

fn order(price: &str, more: &str) -> String {
    format!("{{\"event\":\"order\",\"price\":{price},\"currency\":\"CNY\"{more}}}")
}

fn body(events: &[String]) -> String {
    format!(
        "{{\"__topic__\":\"t\",\"__logs__\":[{}]}}",
        events.join(",")
    )
}

fn send(tollgate: &Tollgate, events: &[String]) -> Answer {
    tollgate.track(WEB, "x-tollgate-event-results: 1\r\n", body(events))
}

fn results(answer: &Answer) -> Vec<String> {
    let json = answer.json();
    let results = json["results"].as_array().unwrap().iter();
    results
        .map(|one| one["result"].as_str().unwrap().to_owned())
        .collect()
}

fn count(tollgate: &Tollgate, name: &str, more: &str) -> u64 {
    let label = format!("{name}{{project=\"{PROJECT}\",logstore=\"{WEB}\"{more}}}");
    tollgate.metric(&label)
}

fn fields<'a>(events: &'a [Value], name: &str) -> Vec<&'a str> {
    let mut values: Vec<&str> = events.iter().filter_map(|it| it[name].as_str()).collect();
    values.sort_unstable();
    values
}

/// Records of the quarantine on disk.
fn records(tollgate: &Tollgate, count: usize) -> Vec<Value> {
    let folder = tollgate
        .data_dir()
        .join("quarantine")
        .join(PROJECT)
        .join(WEB);
    for _ in 0..200 {
        let files = std::fs::read_dir(&folder).into_iter().flatten();
        let files = files.map(|file| file.unwrap().path());
        let mut lines = Vec::new();
        for file in files.filter(|file| file.extension().is_some()) {
            let text = std::fs::read_to_string(file).unwrap();
            lines.extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
        }
        if lines.len() >= count {
            return lines;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    panic!("fewer than {count} records");
}

#[test]
fn of_five_events_with_one_bad_four_are_stored_and_one_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let tollgate = start(folder.path(), &schema(""));
    let mut events: Vec<String> = (1..=4)
        .map(|price| order(&format!("\"{price}\""), ""))
        .collect();
    events.insert(
        2,
        order("\"500\"", ",\"extra\":[1, 2],\"name\":\"商店商店商店\""),
    );
    let answer = send(&tollgate, &events);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-tollgate-quarantined-events"), Some("1"));
    let told = answer.json();
    assert_eq!(told["accepted"], 4);
    assert_eq!(
        results(&answer),
        [
            "accepted",
            "accepted",
            "quarantined",
            "accepted",
            "accepted"
        ]
    );
    let bad = &told["results"][2];
    assert_eq!(bad["check"], "order@2");
    let pointers: Vec<&str> = bad["violations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, ["/price", "/extra", "/name"], "{bad}");
    assert_eq!(
        fields(&tollgate.events(WEB, 4), "price"),
        ["1", "2", "3", "4"]
    );
    let record = &records(&tollgate, 1)[0];
    assert_eq!(record["cause"], "schema");
    assert_eq!(record["event"]["extra"], json!([1, 2]));
    assert_eq!(record["event"]["price"], "500");
    assert_eq!(record["topic"], "t");
    let id = record["id"].as_str().unwrap();
    assert_eq!(
        id,
        format!("{}-2", answer.header("x-log-requestid").unwrap())
    );
    // The books: what entered is stored or set aside.
    assert_eq!(count(&tollgate, "tollgate_events_accepted_total", ""), 4);
    assert_eq!(
        count(
            &tollgate,
            "tollgate_events_quarantined_total",
            ",judge=\"schema\""
        ),
        1
    );
    // An SDK that does not ask gets the answer that it knows.
    let plain = tollgate.track(WEB, "", body(&[order("\"1\"", ""), order("\"-1\"", "")]));
    assert_eq!((plain.status, plain.text().as_str()), (200, ""));
    assert_eq!(plain.header("x-tollgate-quarantined-events"), Some("1"));
}

#[test]
fn a_request_may_be_refused_whole_and_is_told_where_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let tollgate = start(folder.path(), &schema("on_invalid = \"reject\""));
    let answer = send(
        &tollgate,
        &[
            order("1", ""),
            order("\"dear\"", ""),
            "{\"event\":\"order\"}".to_owned(),
        ],
    );
    let (status, code, reason) = answer.refusal();
    assert_eq!(
        (status, code.as_str(), reason.as_str()),
        (400, "PostBodyInvalid", "schema_invalid")
    );
    let text = answer.text();
    assert!(text.contains("/__logs__/1/price: "), "{text}");
    assert!(text.contains("/__logs__/2"), "{text}");
    assert_eq!(
        count(
            &tollgate,
            "tollgate_events_refused_total",
            ",reason=\"schema_invalid\""
        ),
        3
    );
    // A type of event that no schema is for passes, unless that is refused.
    assert_eq!(
        send(&tollgate, &["{\"event\":\"view\",\"x\":1}".to_owned()]).status,
        200
    );
    let strict = start(
        folder.path(),
        &schema("on_invalid = \"drop\"\nunknown = \"refuse\""),
    );
    let answer = send(
        &strict,
        &["{\"event\":\"view\"}".to_owned(), order("2", "")],
    );
    assert_eq!(results(&answer), ["dropped", "accepted"]);
    assert_eq!(answer.header("x-tollgate-dropped-events"), Some("1"));
    assert_eq!(strict.events(WEB, 1).len(), 1);
}

#[test]
fn a_bad_event_is_repaired_where_that_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let tollgate = start(folder.path(), &schema("on_invalid = \"repair\""));
    let sent = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() - 60;
    let events = [
        // Without a field, too long, an unknown one, a number with a separator, a word.
        "{\"event\":\"order\",\"price\":\" 12 \",\"name\":\"商店商店商店\",\"utm\":\"x\",\"ok\":\"Yes\",\"__time__\":SOON}".replace("SOON", &sent.to_string()),
        order("\"1,000\"", ""),
        order("7", ""),
    ];
    let answer = send(&tollgate, &events);
    // 1,000 reads as a number then, and is still above the maximum.
    assert_eq!(
        results(&answer),
        ["repaired", "quarantined", "accepted"],
        "{}",
        answer.text()
    );
    let stored = tollgate.events(WEB, 2);
    let repaired = stored.iter().find(|it| it["name"].is_string()).unwrap();
    assert_eq!(repaired["price"], "12");
    assert_eq!(repaired["name"], "商店商店商");
    assert_eq!(repaired["ok"], "true");
    assert_eq!(repaired["currency"], "CNY");
    assert!(repaired["utm"].is_null());
    assert_eq!(repaired["__time__"], sent);
    assert_eq!(count(&tollgate, "tollgate_events_repaired_total", ""), 1);
}

#[test]
fn observing_counts_and_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let tollgate = start(folder.path(), &schema("mode = \"observe\""));
    let answer = send(&tollgate, &[order("\"500\"", ""), order("1", "")]);
    assert_eq!(results(&answer), ["accepted", "accepted"]);
    assert_eq!(fields(&tollgate.events(WEB, 2), "price"), ["1", "500"]);
    assert_eq!(
        count(
            &tollgate,
            "tollgate_events_observed_total",
            ",judge=\"schema\""
        ),
        1
    );
    let none = start(folder.path(), &schema("percent = 0"));
    assert_eq!(results(&send(&none, &[order("500", "")])), ["accepted"]);
}

#[test]
fn every_way_in_is_held_to_the_schema() {
    let folder = tempfile::tempdir().unwrap();
    let tollgate = start(folder.path(), &schema("on_invalid = \"reject\""));
    let get =
        |query: &str| tollgate.get(&format!("/logstores/{WEB}/track?APIVersion=0.6.0&{query}"));
    assert_eq!(get("event=order&price=1&currency=CNY").status, 200);
    assert_eq!(get("event=order&price=1000&currency=CNY").status, 400);
    // Protobuf: a LogGroup of one Log.
    let pair = |name: &str, value: &str| {
        let mut pair = vec![0x0a, name.len() as u8];
        pair.extend_from_slice(name.as_bytes());
        pair.extend_from_slice(&[0x12, value.len() as u8]);
        pair.extend_from_slice(value.as_bytes());
        [vec![0x12, pair.len() as u8], pair].concat()
    };
    for (price, status) in [("3", 200), ("300", 400)] {
        let mut log = vec![0x08, 0x80, 0xe2, 0xcf, 0xaa, 0x06];
        for (name, value) in [("event", "order"), ("price", price), ("currency", "CNY")] {
            log.extend(pair(name, value));
        }
        let group = [vec![0x0a, log.len() as u8], log].concat();
        let head = format!(
            "POST /logstores/{WEB}/shards/lb HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nx-log-bodyrawsize: {}\r\nContent-Length: {}\r\n\r\n",
            group.len(),
            group.len()
        );
        let answer = tollgate.send(&head, &group);
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    // Ours: an array, one object, and objects in lines; each event has its result.
    let events = |text: &str| {
        let head = format!(
            "POST /v1/events/{WEB} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        tollgate.send(&head, text.as_bytes())
    };
    let (good, bad) = (order("4", ""), order("400", ""));
    for text in [
        format!("[{good},{good}]"),
        format!("{good}\n{good}\n"),
        format!("{good} {good}"),
    ] {
        let answer = events(&text);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["accepted"], 2);
    }
    let refused = events(&format!("{good}\n{bad}\n"));
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("/1/price: "), "{}", refused.text());
    for text in ["", "1", "[1]", "{\"event\":\"order\"", "[{}]x"] {
        assert_eq!(events(text).status, 400, "{text}");
    }
    assert_eq!(tollgate.events(WEB, 8).len(), 8);
}

#[test]
fn a_stranger_learns_nothing_of_a_schema() {
    let folder = tempfile::tempdir().unwrap();
    let guarded = schema("on_invalid = \"reject\"").replace("[project.logstore.schema]", "");
    let tollgate = start(
        folder.path(),
        &format!("[[project.logstore]]\nname = \"guarded\"\n[project.logstore.schema]\n{guarded}"),
    );
    let bad = body(&[order("500", "")]);
    let answer = tollgate.track("guarded", "", &bad);
    assert_eq!(answer.status, 401);
    assert!(!answer.text().contains("price"), "{}", answer.text());
    // The same with a token in the body that is not good.
    let forged = bad.replacen('{', "{\"__tags__\":{\"__token__\":\"e30.e30.AA\"},", 1);
    let answer = tollgate.track("guarded", "", &forged);
    assert_eq!(answer.status, 401, "{}", answer.text());
}

#[test]
fn a_schema_that_is_mended_counts_after_a_reload_and_a_broken_one_never() {
    let folder = tempfile::tempdir().unwrap();
    let tollgate = start(folder.path(), &schema("on_invalid = \"drop\""));
    let file = folder.path().join("order.json");
    assert_eq!(results(&send(&tollgate, &[order("500", "")])), ["dropped"]);
    std::fs::write(&file, "{\"type\":").unwrap();
    tollgate.signal("-HUP");
    let told = |part: &str| {
        for _ in 0..200 {
            if tollgate.stderr().contains(part) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        panic!("{part}: {}", tollgate.stderr());
    };
    told("is not JSON");
    assert_eq!(results(&send(&tollgate, &[order("500", "")])), ["dropped"]);
    std::fs::write(&file, SCHEMA.replace("100", "1000")).unwrap();
    tollgate.signal("-HUP");
    told("1 schemas");
    assert_eq!(results(&send(&tollgate, &[order("500", "")])), ["accepted"]);
}

#[test]
fn guards_take_out_bad_events_and_second_copies() {
    let folder = tempfile::tempdir().unwrap();
    let guards = "[project.logstore.guards]\ncontrol_characters = \"refuse\"\n[project.logstore.guards.dedup]\nfields = [\"id\"]\n";
    let tollgate = start(folder.path(), guards);
    let events = [
        "{\"id\":\"1\",\"a\":\"x\"}",
        "{\"id\":\"2\",\"a\":\"\\u0007\"}",
    ];
    let events = events.map(str::to_owned);
    let answer = send(&tollgate, &events);
    assert_eq!(results(&answer), ["accepted", "quarantined"]);
    // The unload hook of the mini SDK sends everything again: it is told that all is well.
    let answer = send(&tollgate, &events);
    assert_eq!(
        results(&answer),
        ["duplicate", "quarantined"],
        "{}",
        answer.text()
    );
    assert_eq!(answer.status, 200);
    assert_eq!(tollgate.events(WEB, 1).len(), 1);
    assert_eq!(count(&tollgate, "tollgate_events_duplicate_total", ""), 1);
    assert_eq!(records(&tollgate, 2)[0]["cause"], "guard");
    assert_eq!(
        count(
            &tollgate,
            "tollgate_events_quarantined_total",
            ",judge=\"guard\""
        ),
        2
    );
}

#[test]
fn steps_change_mask_route_and_sample_what_passed() {
    let folder = tempfile::tempdir().unwrap();
    let steps = format!(
        r#"{}
[[project.logstore.transform]]
type = "add"
field = "site"
value = "shop-${{currency}}"
[[project.logstore.transform]]
type = "parse_json"
field = "detail"
on_error = "quarantine"
[[project.logstore.transform]]
type = "route"
logstore = "{OTHER}"
when = {{ field = "name", equals = "elsewhere" }}
"#,
        schema("unknown = \"accept\"")
    );
    let tollgate = start(folder.path(), &steps);
    let answer = send(
        &tollgate,
        &[
            order("1", ",\"phone\":\"13800138000\""),
            "{\"event\":\"view\",\"name\":\"elsewhere\"}".to_owned(),
            "{\"event\":\"view\",\"detail\":\"{\\\"a\\\":1}\"}".to_owned(),
            "{\"event\":\"view\",\"detail\":\"{\\\"a\\\":\"}".to_owned(),
        ],
    );
    assert_eq!(
        results(&answer),
        ["accepted", "accepted", "accepted", "quarantined"],
        "{}",
        answer.text()
    );
    let stored = tollgate.events(WEB, 2);
    let first = stored.iter().find(|it| it["price"] == "1").unwrap();
    assert_eq!(first["phone"], "***********");
    assert_eq!(first["site"], "shop-CNY");
    assert_eq!(fields(&stored, "a"), ["1"]);
    assert_eq!(fields(&tollgate.events(OTHER, 1), "name"), ["elsewhere"]);
    assert_eq!(records(&tollgate, 1)[0]["cause"], "transform");
    assert_eq!(
        count(
            &tollgate,
            "tollgate_transform_errors_total",
            ",step=\"parse_json_1\",fault=\"not_json\""
        ),
        1
    );
}

#[test]
fn what_would_come_to_too_much_aside_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let tollgate = start(folder.path(), &schema("unknown = \"refuse\""));
    // Every record repeats the tags: 40 of 4 KiB, 400 times.
    let tag = "t".repeat(4000);
    let tags: Vec<String> = (0..40).map(|at| format!("\"tag{at}\":\"{tag}\"")).collect();
    let events = vec!["{}"; 400].join(",");
    let body = format!(
        "{{\"__tags__\":{{{}}},\"__logs__\":[{events}]}}",
        tags.join(",")
    );
    let answer = tollgate.track(WEB, "", &body);
    let (status, _, reason) = answer.refusal();
    assert_eq!((status, reason.as_str()), (413, "too_much_aside"));
    assert_eq!(
        count(
            &tollgate,
            "tollgate_events_refused_total",
            ",reason=\"too_much_aside\""
        ),
        400
    );
    assert_eq!(tollgate.metric("tollgate_quarantine_bytes"), 0);
}

#[test]
fn an_event_has_one_result_whatever_happened_to_it_on_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let quality = format!(
        "{}[project.logstore.guards]\n[project.logstore.guards.dedup]\nfields = [\"name\"]\n",
        schema("on_invalid = \"repair\"")
    );
    let tollgate = start(folder.path(), &quality);
    let events = [
        order("1", ",\"name\":\"a\",\"utm\":1"),
        order("500", ",\"name\":\"b\""),
        order("600", ",\"name\":\"c\""),
    ];
    let first = send(&tollgate, &events);
    assert_eq!(results(&first), ["repaired", "quarantined", "quarantined"]);
    let second = send(&tollgate, &events);
    assert_eq!(
        results(&second),
        ["duplicate", "quarantined", "quarantined"]
    );
    assert_eq!(second.json()["accepted"], 0);
    assert_eq!(tollgate.events(WEB, 1).len(), 1);
}

#[test]
fn an_event_that_a_step_sets_aside_does_not_count_as_taken() {
    let folder = tempfile::tempdir().unwrap();
    let quality = "[project.logstore.guards.dedup]\nfields = [\"id\"]\n[[project.logstore.transform]]\ntype = \"parse_json\"\nfield = \"detail\"\non_error = \"quarantine\"\n";
    let tollgate = start(folder.path(), quality);
    let bad = [
        "{\"id\":\"0\"}".to_owned(),
        "{\"id\":\"1\",\"detail\":\"{\"}".to_owned(),
    ];
    assert_eq!(results(&send(&tollgate, &bad)), ["accepted", "quarantined"]);
    // Sent again in a form that the step takes, it is no duplicate; the other one is.
    let good = [
        "{\"id\":\"0\"}".to_owned(),
        "{\"id\":\"1\",\"detail\":\"{\\\"a\\\":1}\"}".to_owned(),
    ];
    assert_eq!(results(&send(&tollgate, &good)), ["duplicate", "accepted"]);
}

#[test]
fn events_that_a_limit_takes_out_may_be_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let quality = "[project.logstore.guards.dedup]\nfields = [\"id\"]\n[[class]]\nname = \"a\"\nfield = \"kind\"\nvalues = [\"a\"]\n[[limit]]\nname = \"kinds\"\nkey = [\"logstore\"]\nclasses = [\"a\"]\nunit = \"events\"\nrate = [{ count = 1, per = \"1h\" }]\n";
    let tollgate = start(folder.path(), quality);
    let event = |id: u32, kind: &str| format!("{{\"id\":\"{id}\",\"kind\":\"{kind}\"}}");
    assert_eq!(send(&tollgate, &[event(1, "a")]).status, 200);
    let answer = send(&tollgate, &[event(2, "a"), event(3, "b")]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(
        (&told["accepted"], &told["refused_by_limits"]),
        (&json!(1), &json!(1))
    );
    // Which one was stored is not told, so neither is taken for a copy.
    let again = send(&tollgate, &[event(2, "c"), event(3, "d")]);
    assert_eq!(results(&again), ["accepted", "accepted"]);
}

#[test]
fn events_with_another_topic_pay_and_are_in_the_books() {
    let folder = tempfile::tempdir().unwrap();
    let quality = "[[project.logstore.transform]]\ntype = \"route\"\ntopic = \"apart\"\nwhen = { field = \"k\", equals = \"1\" }\n[[limit]]\nname = \"all\"\nkey = [\"logstore\"]\nunit = \"events\"\nrate = [{ count = 3, per = \"1h\" }]\n";
    let tollgate = start(folder.path(), quality);
    let event = |k: u32| format!("{{\"k\":\"{k}\"}}");
    assert_eq!(send(&tollgate, &[event(1), event(2)]).status, 200);
    let stored = tollgate.events(WEB, 2);
    assert_eq!(fields(&stored, "__topic__"), ["apart", "t"]);
    assert_eq!(count(&tollgate, "tollgate_events_accepted_total", ""), 2);
    // Two are used up: two more have no room.
    assert_eq!(send(&tollgate, &[event(1), event(1)]).status, 429);
    assert_eq!(count(&tollgate, "tollgate_events_accepted_total", ""), 2);
    assert_eq!(
        count(
            &tollgate,
            "tollgate_events_refused_total",
            ",reason=\"quota_exceeded\""
        ),
        2
    );
}

/// The rules of the event stand in `$defs`: what is marked there is hidden all the same.
#[test]
fn marks_behind_a_reference_hide() {
    let folder = tempfile::tempdir().unwrap();
    let whole: Value = serde_json::from_str(SCHEMA).unwrap();
    let schema_file = json!({
        "$ref": "#/$defs/event", "type": "object", "$defs": { "event": whole },
    });
    std::fs::write(folder.path().join("order.json"), schema_file.to_string()).unwrap();
    let tollgate = start(folder.path(), &schema("mode = \"enforce\""));
    let answer = send(&tollgate, &[order("1", ",\"phone\":\"13800138000\"")]);
    assert_eq!(answer.status, 200, "{answer:?}");
    let stored = tollgate.events(WEB, 1);
    assert_eq!(stored[0]["phone"], "***********");
}

#[test]
fn check_and_start_refuse_a_mark_that_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("order.json");
    let config = folder.path().join("tollgate.toml");
    let text = format!(
        "data_dir = \"{}\"\n[[upstream]]\nname = \"store\"\nkind = \"embedded\"\n\
         [[project]]\nname = \"shop\"\nupstream = \"store\"\n\
         [[project.logstore]]\nname = \"web\"\naccept = [\"anonymous\"]\n\
         [[schema]]\nname = \"order\"\nfile = \"{}\"\n",
        folder.path().join("data").display(),
        file.display()
    );
    std::fs::write(&config, text).unwrap();
    for (schema, told) in [
        (
            r#"{"properties":{"phone":{"x-tollgate-mask":"phnoe"}}}"#,
            "/properties/phone/x-tollgate-mask: x-tollgate-mask is one of",
        ),
        (
            r#"{"additionalProperties":{"x-tollgate-mask":"mask"}}"#,
            "/additionalProperties/x-tollgate-mask: x-tollgate-mask marks fields",
        ),
    ] {
        std::fs::write(&file, schema).unwrap();
        for command in ["check", "run"] {
            let output = support::binary()
                .args([command, "--config"])
                .arg(&config)
                .output()
                .unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(78), "{command}: {error}");
            assert!(error.contains("schema[0].file"), "{command}: {error}");
            assert!(error.contains(told), "{command}: {error}");
        }
    }
}

/// With the address as a tag, a step cannot reach it: that is told at load, not found in the store.
#[test]
fn signals_reach_tags_and_an_address_out_of_reach_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let step = "[[project.logstore.transform]]\ntype = \"privacy_signals\"\naction = \"remove_fields\"\nfields = [\"__tag__:__client_ip__\", \"__tag__:who\"]\n";
    let tollgate = start(folder.path(), step);
    let body = r#"{"__tags__":{"who":"me","app":"shop"},"__logs__":[{"a":"1"}]}"#;
    let answer = tollgate.track(WEB, "DNT: 1\r\n", body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let stored = &tollgate.events(WEB, 1)[0];
    assert_eq!(stored["__tag__:app"], "shop");
    assert!(stored.get("__tag__:who").is_none(), "{stored}");

    let config = folder.path().join("tagged.toml");
    let text = format!(
        "data_dir = \"{}\"\n[[upstream]]\nname = \"store\"\nkind = \"embedded\"\n\
         [[project]]\nname = \"shop\"\nupstream = \"store\"\n\
         [[project.logstore]]\nname = \"web\"\naccept = [\"anonymous\"]\nclient_address = \"tag\"\n{step}",
        folder.path().join("other").display(),
    );
    for (text, bad) in [
        (text.clone(), true),
        (
            text.replace("__tag__:__client_ip__", "__tag__:*_ip__"),
            true,
        ),
        (text.replace("\"tag\"", "\"field\""), false),
    ] {
        std::fs::write(&config, text).unwrap();
        let checked = support::binary()
            .args(["check", "--config"])
            .arg(&config)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&checked.stderr);
        assert_eq!(
            checked.status.code(),
            Some(if bad { 78 } else { 0 }),
            "{error}"
        );
        assert_eq!(error.contains("given after the steps"), bad, "{error}");
    }
}

/// What belongs to all events of a request is not asked of one: that is told at load, for patterns too.
#[test]
fn labels_with_a_condition_are_refused_unless_the_address_is_a_field() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("when.toml");
    for (pattern, mode, bad) in [
        ("__tag__:*", "field", false),
        ("__*", "field", false),
        ("__tag__:who*", "field", true),
        ("__tag__:*", "off", true),
        ("__*", "off", true),
        ("__t?pic__", "off", true),
        ("__x*", "off", false),
        ("*", "off", false),
    ] {
        let text = format!(
            "data_dir = \"{}\"\n[[upstream]]\nname = \"store\"\nkind = \"embedded\"\n\
             [[project]]\nname = \"shop\"\nupstream = \"store\"\n\
             [[project.logstore]]\nname = \"web\"\naccept = [\"anonymous\"]\nclient_address = \"{mode}\"\n\
             [[project.logstore.transform]]\ntype = \"remove\"\nfields = [\"{pattern}\"]\n\
             when = {{ field = \"a\", equals = \"1\" }}\n",
            folder.path().display(),
        );
        std::fs::write(&config, text).unwrap();
        let checked = support::binary()
            .args(["check", "--config"])
            .arg(&config)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&checked.stderr);
        let code = if bad { 78 } else { 0 };
        assert_eq!(checked.status.code(), Some(code), "{pattern}: {error}");
    }
}

/// A step that sends events elsewhere is no way past the limits of the logstore that they came to.
#[test]
fn events_that_are_routed_count_for_the_limits_they_came_to() {
    let folder = tempfile::tempdir().unwrap();
    let more = format!(
        "[[project.logstore.transform]]\ntype = \"route\"\nlogstore = \"{OTHER}\"\n\
         when = {{ field = \"to\", equals = \"other\" }}\n\
         [[limit]]\nname = \"few\"\nunit = \"events\"\nlogstores = [\"{WEB}\"]\n\
         rate = [{{ count = 4, per = \"1h\" }}]\n"
    );
    let tollgate = start(folder.path(), &more);
    let other = || "{\"to\":\"other\"}".to_owned();
    let statuses: Vec<u16> = (0..3)
        .map(|_| send(&tollgate, &[other(), "{\"a\":1}".to_owned()]).status)
        .collect();
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(tollgate.events(WEB, 2).len(), 2);
    assert_eq!(tollgate.events(OTHER, 2).len(), 2);
}

/// A request whose events are routed is one request, and what of it has room goes on.
#[test]
fn parts_of_a_request_are_charged_once_and_do_not_hold_each_other_up() {
    let limited = |limit: &str| {
        let folder = tempfile::tempdir().unwrap();
        let more = format!(
            "[[project.logstore.transform]]\ntype = \"route\"\nlogstore = \"{OTHER}\"\n\
             when = {{ field = \"away\", equals = \"y\" }}\n\
             [[project.logstore.transform]]\ntype = \"route\"\ntopic = \"errors\"\n\
             when = {{ field = \"level\", equals = \"error\" }}\n\
             [[limit]]\nname = \"few\"\nlogstores = [\"{WEB}\"]\n{limit}\n"
        );
        let tollgate = start(folder.path(), &more);
        (folder, tollgate)
    };
    let event = |to: &str, more: &str| format!("{{\"to\":\"{to}\"{more}}}");
    let away = ",\"away\":\"y\"";

    let (_folder, tollgate) = limited(
        "unit = \"requests\"\nkey = [\"topic\"]\nrate = [{ count = 3, per = \"1h\" }]\naction = \"mark\"",
    );
    let both = || [event("a", ""), event("b", away)];
    for _ in 0..4 {
        assert_eq!(send(&tollgate, &both()).status, 200);
    }
    // What steps left nothing of does not count apart.
    assert_eq!(send(&tollgate, &[event("c", away)]).status, 200);
    let marks: Vec<String> = tollgate
        .events(OTHER, 5)
        .iter()
        .filter_map(|it| Some(it.get("__tag__:__tollgate_limit__")?.as_str()?.to_owned()))
        .collect();
    assert_eq!(marks, ["few", "few"]);
    let passed = "tollgate_limit_requests_total{limit=\"few\",outcome=\"passed\"}";
    assert_eq!(tollgate.metric(passed), 3);

    let error = ",\"level\":\"error\"";
    for (first, rest) in [("", error), (error, "")] {
        let (_folder, tollgate) =
            limited("unit = \"events\"\nrate = [{ count = 2, per = \"1h\" }]");
        let of = |first: &str, rest: &str| {
            let mut events = vec![event("a", first); 3];
            events.push(event("b", rest));
            events
        };
        let answer = send(&tollgate, &of(first, rest));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-tollgate-refused-events"), Some("3"));
        assert_eq!(send(&tollgate, &of(first, rest)[2..]).status, 200);
        assert_eq!(send(&tollgate, &both()).status, 429);
        assert_eq!(tollgate.events(WEB, 2).len(), 2);
    }

    let (_folder, tollgate) = limited(&format!(
        "unit = \"requests\"\nrate = [{{ count = 1, per = \"1h\" }}]\naction = \"divert\"\ndivert_to = \"{OTHER}\""
    ));
    for to in ["a", "b"] {
        let events = [event(to, ""), event(to, error)];
        assert_eq!(send(&tollgate, &events).status, 200);
    }
    assert_eq!(fields(&tollgate.events(WEB, 2), "to"), ["a", "a"]);
    assert_eq!(fields(&tollgate.events(OTHER, 2), "to"), ["b", "b"]);
}

/// The books of a logstore.
fn book(tollgate: &Tollgate, logstore: &str) -> Value {
    let token = std::fs::read_to_string(tollgate.data_dir().join("keys/admin.key")).unwrap();
    let head = format!(
        "GET /api/v1/books HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
        tollgate.admin,
        token.trim()
    );
    let books = support::exchange(tollgate.admin, &head, b"").json();
    let logstores = books["logstores"].as_array().unwrap();
    let of_this = logstores.iter().find(|it| it["logstore"] == logstore);
    of_this.unwrap().clone()
}

/// One ledger from what a request brings to what became of it, while clients send side by side.
#[test]
fn each_event_of_a_request_is_in_the_books_once() {
    let folder = tempfile::tempdir().unwrap();
    let quality = format!(
        "{}[project.logstore.guards.dedup]\nfields = [\"name\"]\n\
         [[project.logstore.transform]]\ntype = \"route\"\nlogstore = \"{OTHER}\"\nwhen = {{ field = \"k\", equals = \"1\" }}\n\
         [[project.logstore.transform]]\ntype = \"sample\"\npercent = 0\nwhen = {{ field = \"k\", equals = \"2\" }}\n\
         [[limit]]\nname = \"few\"\nunit = \"events\"\nlogstores = [\"{WEB}\"]\nrate = [{{ count = 61, per = \"1h\" }}]\n",
        schema("")
    );
    let tollgate = start(folder.path(), &quality);
    let (threads, requests) = (4_u32, 10_u32);
    let taken = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (tollgate, taken) = (&tollgate, &taken);
            scope.spawn(move || {
                for request in 0..requests {
                    let name = format!(",\"name\":\"{}\"", thread * requests + request);
                    let events = [
                        order("1", &name),
                        order("1", &name),
                        order("500", ""),
                        "{\"k\":\"1\"}".to_owned(),
                        "{\"k\":\"2\"}".to_owned(),
                    ];
                    let status = send(tollgate, &events).status;
                    assert!(status == 200 || status == 429, "{status}");
                    let counts = u64::from(status == 200);
                    taken.fetch_add(counts, std::sync::atomic::Ordering::Relaxed);
                    // Two events, and then no JSON.
                    let broken = "{\"__logs__\":[{\"a\":\"1\"},{\"a\":\"2\"},{\"a\":";
                    let status = tollgate.track(WEB, "", broken).status;
                    assert!(status == 400 || status == 429, "{status}");
                }
            });
        }
        for _ in 0..20 {
            for logstore in [WEB, OTHER] {
                let book = book(&tollgate, logstore);
                assert_eq!(book["balanced"], true, "{book}");
            }
        }
    });
    let (web, other) = (book(&tollgate, WEB), book(&tollgate, OTHER));
    let count = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value}: {web}"));
    assert_eq!(web["difference"], 0, "{web}");
    let taken = taken.into_inner();
    // Of each request that was taken one event goes each of these ways.
    for (kind, reason) in [
        ("quarantined", "schema"),
        ("dropped", "duplicate"),
        ("dropped", "sampled"),
    ] {
        assert_eq!(count(&web[kind][reason]), taken, "{web}");
    }
    let routed = count(&web["routed"]);
    assert_eq!(count(&web["accepted"]) + routed, 61, "the limit: {web}");
    // Refused ones entered too, as far as they were read.
    let broken = count(&web["refused"]["not_json"]);
    let too_much = count(&web["refused"]["quota_exceeded"]);
    assert!(broken > 0 && too_much > 0 && routed > 0, "{web}");
    let entered = 3 * taken + 61 + broken + too_much;
    assert_eq!((count(&web["entered"]), count(&web["added"])), (entered, 0));
    assert_eq!(
        (count(&other["added"]), count(&other["entered"])),
        (routed, 0)
    );
    assert_eq!(
        (&web["deciding"], &other["difference"]),
        (&json!(0), &json!(0))
    );
}
