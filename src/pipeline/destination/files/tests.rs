use std::fs;
use std::path::{Path, PathBuf};

use prost::Message as _;

use super::*;
use crate::event::put_tag;
use crate::logstore::proto::LogGroup;
use crate::pipeline::testing::{events, names_in};
use crate::telemetry::ArchiveMetrics;

pub(super) fn rules(folder: &Path, format: FileFormat, codec: Codec) -> FileRules {
    FileRules {
        folder: folder.join("shop/web"),
        format,
        codec,
        max_bytes: 1 << 20,
        max_age: Duration::from_secs(3600),
        keep_age: None,
        keep_bytes: None,
        reserve: 0,
        timeout: Duration::from_secs(60),
    }
}

fn archive(rules: FileRules) -> (Files, Arc<LogstoreMetrics>) {
    let metrics = Arc::<LogstoreMetrics>::default();
    (Files::new(rules, Arc::clone(&metrics)), metrics)
}

/// A LogGroup with events of these names.
async fn parcel(number: u32, names: &[&str]) -> Parcel {
    let mut raw = events("203.0.113.7", names).logs;
    let id = format!("0123456789ABCDEF-{number:X}");
    put_tag(&mut raw, b"__pack_id__", id.as_bytes());
    Parcel::pack(Codec::Lz4, raw, None).await.unwrap()
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder.join("shop/web")).unwrap();
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[tokio::test]
async fn a_batch_is_in_a_file_that_gets_its_name_when_it_is_complete() {
    let home = tempfile::tempdir().unwrap();
    let (files, metrics) = archive(rules(home.path(), FileFormat::Ndjson, Codec::None));
    files
        .put(&parcel(1, &["a", "b\n\"\u{1}"]).await)
        .await
        .unwrap();
    files.put(&parcel(2, &["c"]).await).await.unwrap();
    let [growing] = &files_in(home.path())[..] else {
        panic!("one file");
    };
    assert!(
        growing
            .to_str()
            .unwrap()
            .ends_with("-0123456789ABCDEF-1.ndjson.part")
    );
    files.close();
    let [path] = &files_in(home.path())[..] else {
        panic!("one file");
    };
    let lines = lines(path);
    assert_eq!(lines.len(), 3);
    let wanted = serde_json::json!({
        "__time__": 1_781_510_400, "__topic__": "", "__source__": "",
        "__tag__:__pack_id__": "0123456789ABCDEF-1", "event": "b\n\"\u{1}",
    });
    assert_eq!(lines[1], wanted);
    assert_eq!(metrics.archive.files_completed.get(), 1);
    assert_eq!(
        metrics.archive.bytes_written.get(),
        fs::metadata(path).unwrap().len()
    );
}

#[tokio::test]
async fn protobuf_segments_hold_the_log_groups_as_a_store_would_get_them() {
    let home = tempfile::tempdir().unwrap();
    let (files, _) = archive(rules(home.path(), FileFormat::Protobuf, Codec::Zstd));
    files.put(&parcel(1, &["a"]).await).await.unwrap();
    files.put(&parcel(2, &["b", "c"]).await).await.unwrap();
    files.close();
    let packed = fs::read(&files_in(home.path())[0]).unwrap();
    let plain = zstd::decode_all(packed.as_slice()).unwrap();
    let mut rest = plain.as_slice();
    let mut names = Vec::new();
    while !rest.is_empty() {
        let group = LogGroup::decode_length_delimited(&mut rest).unwrap();
        names.extend(names_in(&group));
    }
    assert_eq!(names, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_file_that_is_large_or_old_ends_and_another_is_begun() {
    let home = tempfile::tempdir().unwrap();
    let small = FileRules {
        max_bytes: 300,
        ..rules(home.path(), FileFormat::Ndjson, Codec::None)
    };
    let (files, metrics) = archive(small);
    for number in 1..=3 {
        files.put(&parcel(number, &["x"; 2]).await).await.unwrap();
    }
    assert_eq!(metrics.archive.files_completed.get(), 2);
    files.close();
    assert_eq!(files_in(home.path()).len(), 3);
    let home = tempfile::tempdir().unwrap();
    let quick = FileRules {
        max_age: Duration::ZERO,
        ..rules(home.path(), FileFormat::Ndjson, Codec::Lz4)
    };
    let (files, metrics) = archive(quick);
    files.put(&parcel(1, &["a"]).await).await.unwrap();
    files.tend();
    assert_eq!(metrics.archive.files_completed.get(), 1);
    assert_eq!(metrics.archive.files.get(), 1);
}

#[tokio::test]
async fn what_a_crash_has_left_ends_at_its_last_whole_batch() {
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
        let home = tempfile::tempdir().unwrap();
        let rules = rules(home.path(), FileFormat::Protobuf, codec);
        let (files, _) = archive(rules.clone());
        files.put(&parcel(1, &["a"]).await).await.unwrap();
        let path = files_in(home.path()).remove(0);
        // Its lock goes with it, as it does with a process.
        drop(files);
        let good = fs::read(&path).unwrap();
        let torn = [&good[..], &good[..good.len() - 3]].concat();
        fs::write(&path, torn).unwrap();
        let (files, metrics) = archive(rules);
        files.put(&parcel(2, &["b"]).await).await.unwrap();
        assert_eq!(metrics.archive.files_completed.get(), 1);
        files.close();
        let left = files_in(home.path());
        assert_eq!(left.len(), 2);
        assert_eq!(fs::read(&left[0]).unwrap(), good, "{codec:?}");
    }
}

#[tokio::test]
async fn a_file_that_another_process_writes_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let rules = rules(home.path(), FileFormat::Ndjson, Codec::None);
    let (other, _) = archive(rules.clone());
    other.put(&parcel(1, &["a"]).await).await.unwrap();
    let (files, metrics) = archive(rules);
    files.tend();
    assert_eq!(metrics.archive.files_completed.get(), 0);
    other.put(&parcel(2, &["b"]).await).await.unwrap();
    other.close();
    assert_eq!(lines(&files_in(home.path())[0]).len(), 2);
}

#[tokio::test]
async fn a_disk_without_room_is_tried_again_and_loses_nothing() {
    let home = tempfile::tempdir().unwrap();
    let full = FileRules {
        reserve: u64::MAX,
        ..rules(home.path(), FileFormat::Ndjson, Codec::None)
    };
    let (files, metrics) = archive(full);
    let refused = files.put(&parcel(1, &["a"]).await).await.unwrap_err();
    assert!(refused.words.contains("kept free"), "{refused}");
    let reason = RetryReason::Busy;
    assert_eq!(
        refused.next,
        crate::logstore::error::NextStep::Retry { reason }
    );
    assert_eq!(metrics.archive.failures.get(), 1);
    // A folder that cannot be made, and then can.
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("shop"), b"").unwrap();
    let (files, _) = archive(rules(home.path(), FileFormat::Ndjson, Codec::None));
    files.put(&parcel(1, &["a"]).await).await.unwrap_err();
    fs::remove_file(home.path().join("shop")).unwrap();
    files.put(&parcel(1, &["a"]).await).await.unwrap();
    files.close();
    assert_eq!(lines(&files_in(home.path())[0]).len(), 1);
}

#[tokio::test]
async fn old_files_and_the_oldest_of_too_many_are_deleted_and_counted_and_no_others() {
    let home = tempfile::tempdir().unwrap();
    let mut rules = FileRules {
        max_bytes: 1,
        ..rules(home.path(), FileFormat::Ndjson, Codec::None)
    };
    let (files, _) = archive(rules.clone());
    for number in 1..=4 {
        files.put(&parcel(number, &["x"]).await).await.unwrap();
    }
    files.close();
    let before = files_in(home.path());
    let note = before[0].with_file_name("readme.ndjson");
    fs::write(&note, b"not ours").unwrap();
    let one = fs::metadata(&before[0]).unwrap().len();
    rules.keep_bytes = Some(2 * one);
    let (files, metrics) = archive(rules.clone());
    files.tend();
    assert_eq!(metrics.archive.files_deleted.get(), 2);
    assert_eq!(metrics.archive.bytes_deleted.get(), 2 * one);
    assert_eq!(files_in(home.path()), [&before[2..], &[note]].concat());
    rules.keep_bytes = None;
    rules.keep_age = Some(Duration::from_secs(60));
    let archive = &metrics.archive;
    keep::sweep(&rules, archive, clock::unix_millis()).unwrap();
    assert_eq!(archive.files_deleted.get(), 2, "they are new");
    keep::sweep(&rules, archive, clock::unix_millis() + 61_000).unwrap();
    assert_eq!(archive.files_deleted.get(), 4);
    assert_eq!((archive.files.get(), archive.bytes.get()), (0, 0));
}

#[test]
fn two_that_delete_from_one_folder_do_not_stop_each_other() {
    let home = tempfile::tempdir().unwrap();
    let rules = FileRules {
        keep_bytes: Some(0),
        ..rules(home.path(), FileFormat::Ndjson, Codec::None)
    };
    fs::create_dir_all(&rules.folder).unwrap();
    for number in 0..3000 {
        let name = format!("20261123T{number:09}Z-A-1.ndjson");
        fs::write(rules.folder.join(name), b"{}\n").unwrap();
    }
    let archive = ArchiveMetrics::default();
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| keep::sweep(&rules, &archive, 0)));
        for each in both {
            each.join().unwrap().unwrap();
        }
    });
    assert_eq!(archive.files_deleted.get(), 3000);
    assert_eq!(archive.files.get(), 0);
}

#[tokio::test]
async fn a_file_that_others_delete_is_told_and_the_next_batch_is_in_a_new_one() {
    for whole_folder in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let (files, metrics) = archive(rules(home.path(), FileFormat::Ndjson, Codec::None));
        files.put(&parcel(1, &["a"]).await).await.unwrap();
        let delete = || match whole_folder {
            true => fs::remove_dir_all(home.path().join("shop")).unwrap(),
            false => fs::remove_file(&files_in(home.path())[0]).unwrap(),
        };
        delete();
        let parcel = parcel(2, &["b"]).await;
        let failure = files.put(&parcel).await.unwrap_err();
        assert!(failure.words.contains("was deleted"), "{failure}");
        assert_eq!(metrics.archive.files_lost.get(), 1);
        files.put(&parcel).await.unwrap();
        // Deleted once more, with nothing written behind it.
        delete();
        files.close();
        assert_eq!(metrics.archive.files_lost.get(), 2);
        files.put(&parcel).await.unwrap();
        files.close();
        assert_eq!(lines(&files_in(home.path())[0])[0]["event"], "b");
        assert_eq!(metrics.archive.files_completed.get(), 1);
    }
}

#[tokio::test]
async fn a_file_that_has_its_last_name_already_is_complete() {
    let home = tempfile::tempdir().unwrap();
    let (files, metrics) = archive(rules(home.path(), FileFormat::Ndjson, Codec::None));
    files.put(&parcel(1, &["a"]).await).await.unwrap();
    // As a rename leaves it that was done and failed all the same.
    let growing = files_in(home.path()).remove(0);
    fs::rename(&growing, growing.with_extension("")).unwrap();
    files.close();
    let archive = &metrics.archive;
    assert_eq!(
        (archive.files_completed.get(), archive.files_lost.get()),
        (1, 0)
    );
    // And one whose folder could not be synced after it.
    let rules = rules(home.path(), FileFormat::Ndjson, Codec::None);
    let mut segment = Segment::begin(&rules, "B-1", clock::unix_millis()).unwrap();
    segment.write(b"{}\n").unwrap();
    segment.commit().unwrap();
    assert_eq!(segment.complete().unwrap(), Ending::Complete);
    assert_eq!(segment.complete().unwrap(), Ending::Complete);
    assert_eq!(files_in(home.path()).len(), 2);
}

/// Another node that starts takes every file that is not locked for one that a crash has left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_share_a_folder_do_not_take_new_files_from_each_other() {
    let home = tempfile::tempdir().unwrap();
    let rules = FileRules {
        max_bytes: 1,
        ..rules(home.path(), FileFormat::Ndjson, Codec::None)
    };
    let (files, metrics) = archive(rules.clone());
    let over = Arc::new(AtomicU64::new(0));
    let others: Vec<_> = (0..2)
        .map(|_| {
            let (rules, over) = (rules.clone(), Arc::clone(&over));
            std::thread::spawn(move || {
                while over.load(Ordering::Relaxed) == 0 {
                    assert_eq!(segment::recover(&rules).unwrap(), 0);
                }
            })
        })
        .collect();
    for number in 1..=300 {
        let parcel = parcel(number, &["x"]).await;
        // Others may be quicker several times in a row: then it is to be tried again.
        let mut tries = 0;
        while let Err(failure) = files.put(&parcel).await {
            assert!(
                failure.words.contains("others take new files"),
                "{failure:?}"
            );
            tries += 1;
            assert!(tries < 100, "{failure:?}");
        }
    }
    over.store(1, Ordering::Relaxed);
    for other in others {
        other.join().unwrap();
    }
    files.close();
    assert_eq!(metrics.archive.files_completed.get(), 300);
    assert_eq!(files_in(home.path()).len(), 300);
}

#[tokio::test]
async fn a_write_that_hangs_ends_its_attempt_and_is_not_done_twice() {
    let home = tempfile::tempdir().unwrap();
    let rules = FileRules {
        timeout: Duration::from_millis(100),
        ..rules(home.path(), FileFormat::Ndjson, Codec::None)
    };
    let (files, metrics) = archive(rules);
    let (tell, told) = std::sync::mpsc::channel();
    let (answer, answered) = std::sync::mpsc::channel::<()>();
    let archive = Arc::clone(&files.0);
    let disk = std::thread::spawn(move || {
        let _inner = archive.lock();
        tell.send(()).unwrap();
        answered.recv().unwrap_err();
    });
    told.recv().unwrap();
    let (first, second) = (parcel(1, &["a"]).await, parcel(2, &["b"]).await);
    let failure = files.put(&first).await.unwrap_err();
    assert!(failure.words.contains("not written in 100 ms"), "{failure}");
    assert!(failure.in_doubt && failure.verdict == Verdict::Down);
    // Nothing more is begun behind it, however often it is tried.
    for parcel in [&first, &second, &first] {
        assert!(!files.put(parcel).await.unwrap_err().in_doubt);
    }
    drop(answer);
    disk.join().unwrap();
    files.put(&second).await.unwrap();
    files.put(&first).await.unwrap();
    assert!(files.0.unclaimed().is_empty());
    files.close();
    let found: Vec<_> = lines(&files_in(home.path())[0])
        .iter()
        .map(|line| line["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(found, ["a", "b"]);
    assert_eq!(metrics.archive.failures.get(), 4);
}

/// Three frames of a batch, the last of which has no room in the file at hand.
#[tokio::test]
async fn a_batch_of_many_frames_is_in_one_file_and_what_was_written_elsewhere_is_taken_back() {
    let home = tempfile::tempdir().unwrap();
    let rules = FileRules {
        max_bytes: 5 << 20,
        ..rules(home.path(), FileFormat::Ndjson, Codec::None)
    };
    let (files, metrics) = archive(rules);
    files.put(&parcel(1, &["a"]).await).await.unwrap();
    let small = fs::metadata(&files_in(home.path())[0]).unwrap().len();
    let large = "x".repeat(1 << 20);
    files
        .put(&parcel(2, &[large.as_str(); 6]).await)
        .await
        .unwrap();
    assert_eq!(metrics.archive.files_completed.get(), 1);
    files.close();
    let [first, second] = &files_in(home.path())[..] else {
        panic!("two files");
    };
    assert_eq!(fs::metadata(first).unwrap().len(), small);
    assert_eq!((lines(first).len(), lines(second).len()), (1, 6));
}
