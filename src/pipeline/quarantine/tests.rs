use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config;
use crate::event::{EventGroup, Kind, Reason, Violation};
use crate::foundation::units::{ByteSize, Span};
use crate::foundation::wire;
use crate::telemetry::QuarantineMetrics;

fn open(dir: &Path, rules: &config::Quarantine) -> (Arc<Quarantine>, Arc<QuarantineMetrics>) {
    let metrics = Arc::default();
    (Quarantine::open(dir, rules, &metrics).unwrap(), metrics)
}

fn line(id: &str, padding: usize) -> Vec<u8> {
    let filler = "x".repeat(padding);
    format!(
        "{{\"id\":\"{id}\",\"received\":1,\"cause\":\"schema\",\"check\":\"a@1\",\"violations\":[],\"event\":{{\"p\":\"{filler}\"}}}}\n"
    )
    .into_bytes()
}

fn ids(kept: &Kept) -> Vec<String> {
    let mut ids = Vec::new();
    each_record(kept, |record, _| {
        ids.push(record.id.to_string());
        true
    })
    .unwrap();
    ids
}

impl Quarantine {
    fn put(
        self: &Arc<Self>,
        project: &str,
        logstore: &str,
        lines: Vec<u8>,
    ) -> Result<(), crate::event::Refusal> {
        self.room(lines.len())?.put(project, logstore, lines);
        Ok(())
    }
}

const STOP: Duration = Duration::from_secs(10);

#[test]
fn what_was_put_is_read_after_a_restart_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let rules = config::Quarantine::default();
    for round in 0..3 {
        let (quarantine, _) = open(dir.path(), &rules);
        for index in 0..10 {
            quarantine
                .put("p", "l", line(&format!("{round}-{index}"), 10))
                .unwrap();
        }
        assert_eq!(quarantine.stop(STOP), 0);
    }
    let kept = Kept::of(dir.path(), "p", "l");
    let wanted: Vec<String> = (0..3)
        .flat_map(|round| (0..10).map(move |index| format!("{round}-{index}")))
        .collect();
    assert_eq!(ids(&kept), wanted);
    assert_eq!(places(dir.path()).unwrap(), [kept]);
}

#[test]
fn a_torn_line_and_rubbish_are_skipped_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let rules = config::Quarantine::default();
    let (quarantine, _) = open(dir.path(), &rules);
    quarantine.put("p", "l", line("a", 1)).unwrap();
    assert_eq!(quarantine.stop(STOP), 0);
    let file = dir.path().join("quarantine/p/l/00000001.ndjson");
    let mut bytes = fs::read(&file).unwrap();
    bytes.extend_from_slice(b"{}\n\xff\n{\"id\":\"torn");
    fs::write(&file, bytes).unwrap();
    let (quarantine, _) = open(dir.path(), &rules);
    quarantine.put("p", "l", line("b", 1)).unwrap();
    assert_eq!(quarantine.stop(STOP), 0);
    let kept = Kept::of(dir.path(), "p", "l");
    assert_eq!(ids(&kept), ["a", "b"]);
    assert_eq!(each_record(&kept, |_, _| true).unwrap(), 3);
}

#[test]
fn at_the_bound_of_a_logstore_its_oldest_records_go_and_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let rules = config::Quarantine {
        max_size: ByteSize::mib(1),
        ..config::Quarantine::default()
    };
    let (quarantine, metrics) = open(dir.path(), &rules);
    quarantine.put("p", "quiet", line("kept", 10)).unwrap();
    for index in 0..40 {
        let mut line = Some(line(&format!("{index}"), 60_000));
        while let Some(lines) = line.take() {
            if quarantine.put("p", "loud", lines.clone()).is_err() {
                line = Some(lines);
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
    assert_eq!(quarantine.stop(STOP), 0);
    let kept = ids(&Kept::of(dir.path(), "p", "loud"));
    assert_eq!(kept.last().unwrap(), "39");
    assert!(kept.len() < 20, "{}", kept.len());
    assert_eq!(metrics.expired.get() + kept.len() as u64, 40);
    assert!(metrics.bytes.get() <= (1 << 20) + 1000);
    assert_eq!(ids(&Kept::of(dir.path(), "p", "quiet")), ["kept"]);
}

#[test]
fn old_records_go_with_age() {
    let dir = tempfile::tempdir().unwrap();
    let (quarantine, _) = open(dir.path(), &config::Quarantine::default());
    quarantine.put("p", "l", line("a", 1)).unwrap();
    quarantine.stop(STOP);
    std::thread::sleep(Duration::from_millis(30));
    let rules = config::Quarantine {
        max_age: Span::millis(10),
        ..config::Quarantine::default()
    };
    let (quarantine, metrics) = open(dir.path(), &rules);
    // The first look is made before the first job.
    quarantine.note_replayed("p", "l", &["x"]).unwrap();
    assert_eq!(metrics.expired.get(), 1);
    assert!(ids(&Kept::of(dir.path(), "p", "l")).is_empty());
}

#[test]
fn a_purge_takes_all_and_what_comes_later_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (quarantine, _) = open(dir.path(), &config::Quarantine::default());
    for id in ["a", "b"] {
        quarantine.put("p", "l", line(id, 1)).unwrap();
    }
    quarantine.note_replayed("p", "l", &["a"]).unwrap();
    let kept = quarantine.place("p", "l");
    assert_eq!(replayed(&kept).unwrap().len(), 1);
    assert_eq!(quarantine.purge("p", "l").unwrap().records, 2);
    assert!(ids(&kept).is_empty() && replayed(&kept).unwrap().is_empty());
    quarantine.put("p", "l", line("c", 1)).unwrap();
    assert_eq!(quarantine.stop(STOP), 0);
    assert_eq!(ids(&kept), ["c"]);
}

#[test]
fn while_the_disk_does_not_take_records_the_queue_fills_and_then_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let rules = config::Quarantine {
        queue: ByteSize::kib(64),
        ..config::Quarantine::default()
    };
    let (quarantine, metrics) = open(dir.path(), &rules);
    // A file stands where the folder should be.
    fs::create_dir_all(dir.path().join("quarantine/p")).unwrap();
    let block = dir.path().join("quarantine/p/l");
    fs::write(&block, b"").unwrap();
    let mut taken = 0;
    let refused = loop {
        match quarantine.put("p", "l", line(&format!("{taken}"), 1000)) {
            Ok(()) => taken += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refused.reason(), Reason::QuarantineFull);
    assert!((50..70).contains(&taken), "{taken}");
    while metrics.write_errors.get() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    // It heals by itself, and nothing that was taken is missing.
    fs::remove_file(&block).unwrap();
    assert_eq!(quarantine.stop(STOP), 0);
    assert_eq!(ids(&Kept::of(dir.path(), "p", "l")).len(), taken);
}

fn content(out: &mut Vec<u8>, key: &str, value: &str) {
    let mut pair = Vec::new();
    wire::put_bytes(&mut pair, 0x0a, key.as_bytes());
    wire::put_bytes(&mut pair, 0x12, value.as_bytes());
    wire::put_bytes(out, 0x12, &pair);
}

#[test]
fn a_record_holds_the_event_as_it_was_sent() {
    let mut log = vec![0x08];
    wire::put_varint(&mut log, 1_700_000_000);
    for (key, value) in [
        ("text", "a \"b\"\n"),
        ("price", "1e3"),
        ("ok", "true"),
        ("none", "null"),
        ("cart", "[{\"a\":1}]"),
        ("__tag__:__client_ip__", "203.0.113.7"),
    ] {
        content(&mut log, key, value);
    }
    let kinds = [
        Kind::Text,
        Kind::Number,
        Kind::Boolean,
        Kind::Null,
        Kind::Array,
    ];
    let mut group = EventGroup::default();
    group.put_tag(b"app", "商店".as_bytes());
    let violation = Violation {
        pointer: "/price".to_owned(),
        keyword: "maximum".into(),
        message: "expected at most 100".to_owned(),
    };
    let event = RecordEvent {
        log: &log,
        kinds: &kinds,
    };
    let record = Record {
        id: "ABC-0",
        received: 7,
        cause: "schema",
        check: "order@2",
        violations: vec![(&violation).into()],
        hidden: 0,
        client: None,
        sender: Some(Sender(0xab)),
        turn: 1,
        do_not_track: false,
        global_privacy_control: false,
        topic: "t",
        source: "",
        tags: Tags(&group),
        event,
        attached: Attached(event),
    };
    let text = serde_json::to_string(&record).unwrap();
    let wanted = r#"{"id":"ABC-0","received":7,"cause":"schema","check":"order@2","violations":[{"pointer":"/price","keyword":"maximum","message":"expected at most 100"}],"sender":"00000000000000ab","turn":1,"topic":"t","tags":{"app":"商店"},"event":{"__time__":1700000000,"text":"a \"b\"\n","price":1e3,"ok":true,"none":null,"cart":[{"a":1}]},"attached":{"__tag__:__client_ip__":"203.0.113.7"}}"#;
    assert_eq!(text, wanted);
    let kept: KeptRecord<'_> = serde_json::from_str(&text).unwrap();
    assert_eq!(kept.tags.iter().next(), Some(("app", "商店")));
    assert_eq!((kept.sender, kept.turn), (Some(Sender(0xab)), 1));
    assert_eq!(kept.attached.len(), 1);
}

#[test]
fn notes_of_replays_can_be_taken_back_and_survive_a_torn_line() {
    let dir = tempfile::tempdir().unwrap();
    let rules = config::Quarantine::default();
    let kept = Kept::of(dir.path(), "p", "l");
    let (quarantine, _) = open(dir.path(), &rules);
    quarantine.note_replayed("p", "l", &["a-1", "a-2"]).unwrap();
    quarantine.note_not_replayed("p", "l", &["a-2"]).unwrap();
    assert_eq!(quarantine.stop(STOP), 0);
    let file = dir.path().join("quarantine/p/l/replayed");
    let mut bytes = fs::read(&file).unwrap();
    bytes.extend_from_slice(b"a-1");
    fs::write(&file, bytes).unwrap();
    assert_eq!(replayed(&kept).unwrap().len(), 1, "a torn line is no note");
    let (quarantine, _) = open(dir.path(), &rules);
    quarantine.note_replayed("p", "l", &["5"]).unwrap();
    assert_eq!(quarantine.stop(STOP), 0);
    let mut noted: Vec<String> = replayed(&kept).unwrap().into_iter().collect();
    noted.sort();
    assert_eq!(noted, ["5", "a-1"]);
}

#[test]
fn notes_of_records_that_are_gone_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let rules = config::Quarantine::default();
    let (quarantine, _) = open(dir.path(), &rules);
    quarantine.put("p", "l", line("here", 1)).unwrap();
    quarantine.note_replayed("p", "l", &["here"]).unwrap();
    assert_eq!(quarantine.stop(STOP), 0);
    let file = dir.path().join("quarantine/p/l/replayed");
    let mut bytes = fs::read(&file).unwrap();
    for number in 0..60_000 {
        bytes.extend_from_slice(format!("gone-{number:020}\n").as_bytes());
    }
    fs::write(&file, bytes).unwrap();
    let folder = dir.path().join("quarantine/p/l");
    let mut segments = segments::Segments::find(folder, 1 << 20).unwrap();
    segments.prune_replayed().unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"here\n");
}

#[test]
fn the_newest_records_are_read_first_over_files_and_stretches() {
    let dir = tempfile::tempdir().unwrap();
    let rules = config::Quarantine {
        max_size: ByteSize::mib(8),
        ..config::Quarantine::default()
    };
    let (quarantine, _) = open(dir.path(), &rules);
    let lengths = [1, 300_000, 10, 700_000, 900_000, 5, 262_144, 3];
    for (index, padding) in lengths.iter().enumerate() {
        let record = line(&index.to_string(), *padding);
        quarantine.put("p", "l", record).unwrap();
    }
    assert_eq!(quarantine.stop(STOP), 0);
    let kept = Kept::of(dir.path(), "p", "l");
    let read = |most: usize| {
        let mut seen = Vec::new();
        let mut see = |line: &str| {
            let record: KeptRecord<'_> = serde_json::from_str(line).unwrap();
            seen.push(record.id.to_string());
            seen.len() < most
        };
        newest_records(&kept, &mut see).unwrap();
        seen
    };
    let all = ["7", "6", "5", "4", "3", "2", "1", "0"];
    assert_eq!(read(100), all);
    assert_eq!(read(3), all[..3]);
    let none = Kept::of(dir.path(), "p", "other");
    newest_records(&none, &mut |_| panic!("there is none")).unwrap();
}

#[test]
fn reading_goes_on_where_it_was_left() {
    let dir = tempfile::tempdir().unwrap();
    let rules = config::Quarantine::default();
    for round in 0..2 {
        let (quarantine, _) = open(dir.path(), &rules);
        for index in 0..3 {
            let line = line(&format!("{round}-{index}"), 5);
            quarantine.put("p", "l", line).unwrap();
        }
        assert_eq!(quarantine.stop(STOP), 0);
    }
    let kept = Kept::of(dir.path(), "p", "l");
    let mut all = Vec::new();
    each_record_from(&kept, Place::default(), |record, _, place| {
        all.push((record.id.to_string(), place));
        true
    })
    .unwrap();
    assert_eq!(all.len(), 6);
    for (index, (_, place)) in all.iter().enumerate() {
        let place: Place = place.to_string().parse().unwrap();
        let mut rest = Vec::new();
        each_record_from(&kept, place, |record, _, _| {
            rest.push(record.id.to_string());
            true
        })
        .unwrap();
        let wanted: Vec<String> = all[index..].iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(rest, wanted);
    }
    for bad in ["", "1", "1:", "x:1", "1:2:3"] {
        assert!(bad.parse::<Place>().is_err(), "{bad}");
    }
}
