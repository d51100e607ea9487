//! The log on a real directory, and what it costs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::super::{BundleId, Log, LogRules, Packing, Part, RealFiles, Space, SpoolDirectory};
use super::disk::Dice;
use super::{clicks, web_site};

fn open(path: &Path, packing: Packing) -> (SpoolDirectory, Log) {
    let space = Arc::new(Space::new(10 << 30, 1));
    let directory = SpoolDirectory::open(Arc::new(RealFiles), path, space, None).unwrap();
    let rules = LogRules {
        packing,
        max_bytes: 8 << 30,
        ..LogRules::default()
    };
    let log = directory.log(&web_site(), &clicks(), rules).unwrap();
    (directory, log)
}

/// An event of a web page in wire form, 330 bytes, with values that differ.
fn event(dice: &mut Dice) -> Vec<u8> {
    let mut log = Vec::new();
    log.extend_from_slice(&[0x08, 0x80, 0xe2, 0xbe, 0xd1, 0x06]);
    let (a, b, c) = (dice.next(), dice.next(), dice.next());
    let fields = [
        ("event", "page_view".to_owned()),
        ("session_id", format!("{a:016x}{b:016x}")),
        (
            "url",
            format!("https://shop.example.com/items/{}", a % 100_000),
        ),
        (
            "referrer",
            format!("https://search.example.org/?q={:x}", b % 0xFFFF_FFFF),
        ),
        (
            "user_agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)".to_owned(),
        ),
        ("screen", format!("{}x{}", 800 + c % 2000, 600 + c % 1000)),
        ("duration_ms", (c % 100_000).to_string()),
    ];
    for (key, value) in fields {
        log.push(0x12);
        log.push((key.len() + value.len() + 4) as u8);
        for text in [key.as_bytes(), value.as_bytes()] {
            log.push(0x0a);
            log.push(text.len() as u8);
            log.extend_from_slice(text);
        }
    }
    log.resize(327, b'z');
    let mut field = vec![0x0a, 0xc7, 0x02];
    field.extend_from_slice(&log);
    field
}

#[test]
fn a_restart_on_a_real_disk_reads_back_and_lets_nobody_else_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool");
    let (directory, mut log) = open(&path, Packing::Zstd);
    let mut dice = Dice(1);
    let logs: Vec<u8> = (0..50).flat_map(|_| event(&mut dice)).collect();
    let id = BundleId {
        prefix: 1,
        number: 1,
    };
    let (first, second) = logs.split_at(330 * 20);
    for (number, logs) in [first, second].into_iter().enumerate() {
        let part = Part {
            bundle: id,
            number: number as u16,
            last: number == 1,
            events: if number == 0 { 20 } else { 30 },
            key: (number == 0).then_some(b"key"),
            logs,
        };
        log.append(&part, 1).unwrap();
        log.sync().unwrap();
    }
    let space = Arc::new(Space::new(1, 0));
    let second = SpoolDirectory::open(Arc::new(RealFiles), &path, space, None);
    let text = second.unwrap_err().to_string();
    assert!(
        text.contains(&format!("process id {}", std::process::id())),
        "{text}"
    );
    drop((directory, log));

    // The lock file is still there.
    let (directory, mut log) = open(&path, Packing::Zstd);
    assert!(log.recover(u64::MAX).unwrap());
    let taken = log.take_next().unwrap().unwrap();
    let bundle = log.read(taken.id).unwrap();
    assert_eq!((bundle.id, bundle.events), (id, 50));
    assert_eq!(bundle.log_group, [logs.as_slice(), b"key"].concat());
    let lane = path.join("web-site/clicks");
    for (file, mode) in [
        (path.clone(), 0o700),
        (lane.clone(), 0o700),
        (lane.join("0000000000000001.seg"), 0o600),
        (path.join(".lock"), 0o600),
    ] {
        let found = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{}", file.display());
    }
    log.done(taken.id);
    log.checkpoint().unwrap();
    assert_eq!(directory.lanes().unwrap()[0].segments, 0);
}

#[test]
fn a_spooled_event_costs_little_more_than_its_bytes() {
    for (events, most) in [(1, 1.15), (10, 1.15), (100, 1.15)] {
        let folder = tempfile::tempdir().unwrap();
        let (_directory, mut log) = open(folder.path(), Packing::Lz4);
        let mut dice = Dice(7);
        let (mut packed, mut raw) = (0, 0);
        for number in 0..4000 / events {
            let logs: Vec<u8> = (0..events).flat_map(|_| event(&mut dice)).collect();
            raw += logs.len();
            packed += lz4_flex::block::compress(&logs).len().min(logs.len());
            let part = Part {
                bundle: BundleId {
                    prefix: 1,
                    number: number / 50,
                },
                number: (number % 50) as u16,
                last: false,
                events: events as u32,
                key: (number % 50 == 0).then_some(b"\x1a\x03web"),
                logs: &logs,
            };
            log.append(&part, 1).unwrap();
        }
        let disk = log.counts().disk_bytes;
        let ratio = disk as f64 / packed as f64;
        eprintln!("parts of {events}: raw {raw}, packed {packed}, disk {disk}: {ratio:.3}");
        assert!(ratio <= most, "parts of {events}: {ratio:.3}");
    }
}

/// For people: `cargo test --release -- --ignored recovery_of_a_gigabyte --nocapture`.
#[test]
#[ignore = "writes a gigabyte; only release builds tell something"]
fn recovery_of_a_gigabyte_streams() {
    let folder = tempfile::tempdir().unwrap();
    let (directory, mut log) = open(folder.path(), Packing::Plain);
    let mut dice = Dice(3);
    let logs: Vec<u8> = (0..10).flat_map(|_| event(&mut dice)).collect();
    let begun = Instant::now();
    let mut number = 0;
    while log.counts().disk_bytes < 1 << 30 {
        for part in 0..50 {
            let part = Part {
                bundle: BundleId { prefix: 1, number },
                number: part,
                last: part == 49,
                events: 10,
                key: (part == 0).then_some(b"key"),
                logs: &logs,
            };
            log.append(&part, 1).unwrap();
        }
        log.release(BundleId { prefix: 1, number });
        number += 1;
    }
    log.sync().unwrap();
    eprintln!("written in {:?}", begun.elapsed());
    drop((directory, log));
    let (_directory, mut log) = open(folder.path(), Packing::Plain);
    let begun = Instant::now();
    assert!(log.recover(u64::MAX).unwrap());
    let (counts, time) = (log.counts(), begun.elapsed());
    let rate = counts.disk_bytes as f64 / time.as_secs_f64() / 1e6;
    eprintln!(
        "{} bytes in {time:?}: {rate:.0} MB/s, {counts:?}",
        counts.disk_bytes
    );
    assert_eq!(counts.held_bundles, number);
}
