use std::path::Path;
use std::time::Instant;

use super::writer::QUEUE;
use super::*;
use crate::config::SyncMode;
use crate::foundation::budget::Budget;
use crate::foundation::units::{ByteSize, Span};
use crate::foundation::wire::{Field, Reader};

fn config() -> Embedded {
    Embedded {
        sync: SyncMode::Process,
        shards: 1,
        ..Embedded::default()
    }
}

fn open(path: &Path, config: &Embedded) -> Store {
    let project = ProjectName::new("demo").unwrap();
    let names = vec![LogstoreName::new("web-events").unwrap()];
    Store::open(path, config, vec![(project, names)], &Arc::default()).unwrap()
}

fn first_shard(store: &Store) -> Arc<Shard> {
    Arc::clone(&store.logstore("demo", "web-events").unwrap().shards[0])
}

async fn put(store: &Store, shard: &Arc<Shard>, body: &[u8]) -> Result<(), PutError> {
    let group = NewGroup {
        body: GroupBody::Plain(body.to_vec()),
        events: 1,
        first_time: 10,
        last_time: 20,
        print: None,
    };
    let lease = Budget::new(1 << 20).lease(body.len() as u64).unwrap();
    store.put(shard, group, lease).await
}

fn groups(list: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = Reader::new(list);
    let mut groups = Vec::new();
    while let Some(field) = reader.next_field().unwrap() {
        let Field::Bytes(1, bytes) = field else {
            panic!("not a LogGroupList: {field:?}");
        };
        groups.push(bytes.to_vec());
    }
    groups
}

fn everything(store: &Store, shard: &Shard) -> Vec<Vec<u8>> {
    let pulled = store
        .pull(shard, shard.extent().oldest, None, 1000, usize::MAX)
        .unwrap();
    groups(&pulled.list)
}

#[tokio::test]
async fn groups_come_back_in_the_order_of_writing_and_places_are_consecutive() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &config());
    let shard = first_shard(&store);
    let begin = shard.extent().next;
    for text in ["a", "b", "c"] {
        put(&store, &shard, text.as_bytes()).await.unwrap();
    }
    let first = store.pull(&shard, begin, None, 2, usize::MAX).unwrap();
    assert_eq!(groups(&first.list), [b"a", b"b"]);
    assert_eq!(first.next, begin + 2);
    let rest = store
        .pull(&shard, first.next, None, 10, usize::MAX)
        .unwrap();
    assert_eq!((rest.groups, rest.next), (1, begin + 3));
    let tail = store.pull(&shard, rest.next, None, 10, usize::MAX).unwrap();
    assert_eq!((tail.groups, tail.next), (0, begin + 3));
}

#[tokio::test]
async fn a_pull_stops_at_its_end_and_at_its_size_but_gives_at_least_one_group() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &config());
    let shard = first_shard(&store);
    let begin = shard.extent().next;
    for _ in 0..3 {
        put(&store, &shard, &[b'x'; 100]).await.unwrap();
    }
    let clamped = store.pull(&shard, begin, Some(begin + 2), 10, usize::MAX);
    assert_eq!(clamped.unwrap().next, begin + 2);
    let small = store.pull(&shard, begin, None, 10, 150).unwrap();
    assert_eq!((small.groups, small.next), (1, begin + 1));
    let tiny = store.pull(&shard, begin, None, 10, 1).unwrap();
    assert_eq!(tiny.groups, 1);
}

#[tokio::test]
async fn an_lz4_group_reads_back_as_its_wire_form() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &config());
    let shard = first_shard(&store);
    let plain = vec![b'y'; 5000];
    let group = NewGroup {
        body: GroupBody::Lz4 {
            block: crate::logstore::codec::compress(crate::logstore::codec::Codec::Lz4, &plain)
                .unwrap(),
            raw_bytes: 5000,
        },
        events: 1,
        first_time: 0,
        last_time: 0,
        print: None,
    };
    let lease = Budget::new(10).lease(1).unwrap();
    store.put(&shard, group, lease).await.unwrap();
    assert_eq!(everything(&store, &shard), [plain]);
}

#[tokio::test]
async fn a_store_that_is_opened_again_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (place, bytes) = {
        let store = open(folder.path(), &config());
        let shard = first_shard(&store);
        put(&store, &shard, b"one").await.unwrap();
        (shard.extent().next, shard.extent().bytes)
    };
    let store = open(folder.path(), &config());
    let shard = first_shard(&store);
    assert_eq!((shard.extent().next, shard.extent().bytes), (place, bytes));
    put(&store, &shard, b"two").await.unwrap();
    assert_eq!(everything(&store, &shard), [b"one", b"two"]);
}

#[tokio::test]
async fn places_are_not_used_twice_after_everything_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let keep_nothing = Embedded {
        max_size: ByteSize::bytes(0),
        ..config()
    };
    let next = {
        let store = open(folder.path(), &keep_nothing);
        let shard = first_shard(&store);
        put(&store, &shard, b"one").await.unwrap();
        wait_until(|| shard.extent().bytes == 0);
        shard.extent().next
    };
    let store = open(folder.path(), &keep_nothing);
    let extent = first_shard(&store).extent();
    assert_eq!((extent.oldest, extent.next), (next, next));
}

#[tokio::test]
async fn the_oldest_groups_go_when_the_logstore_is_too_large() {
    let folder = tempfile::tempdir().unwrap();
    let small = Embedded {
        max_size: ByteSize::kib(10),
        ..config()
    };
    let store = open(folder.path(), &small);
    let shard = first_shard(&store);
    let begin = shard.extent().oldest;
    for number in 0..40u8 {
        put(&store, &shard, &[number; 1024]).await.unwrap();
    }
    wait_until(|| shard.extent().bytes <= 10 << 10);
    let kept = everything(&store, &shard);
    assert!((5..=10).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.last().unwrap()[0], 39, "the newest stay");
    let from_removed = store.pull(&shard, begin, None, 1, usize::MAX).unwrap();
    assert_eq!(groups(&from_removed.list)[0], kept[0]);
}

#[tokio::test]
async fn groups_go_when_they_are_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let brief = Embedded {
        retention: Span::secs(0),
        ..config()
    };
    let store = open(folder.path(), &brief);
    let shard = first_shard(&store);
    put(&store, &shard, b"old").await.unwrap();
    wait_until(|| shard.extent().oldest == shard.extent().next);
    assert!(everything(&store, &shard).is_empty());
}

#[tokio::test]
async fn a_time_finds_the_first_group_received_then_or_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &config());
    let shard = first_shard(&store);
    let begin = shard.extent().next;
    for _ in 0..5 {
        put(&store, &shard, b"x").await.unwrap();
    }
    let received = store.received_at(&shard, begin).unwrap().unwrap();
    assert_eq!(store.place_at(&shard, received).unwrap(), begin);
    assert_eq!(store.place_at(&shard, 0).unwrap(), begin);
    let later = shard.extent().received + 1;
    assert_eq!(store.place_at(&shard, later).unwrap(), begin + 5);
}

#[tokio::test]
async fn raising_the_number_of_shards_adds_some_and_lowering_it_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    for (wanted, found) in [(2, 2), (4, 4), (1, 4)] {
        let config = Embedded {
            shards: wanted,
            ..config()
        };
        let store = open(folder.path(), &config);
        let logstore = store.logstore("demo", "web-events").unwrap();
        assert_eq!(logstore.shards.len(), found, "{wanted}");
    }
}

#[test]
fn a_store_that_is_open_cannot_be_opened_again_and_the_error_names_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let _store = open(folder.path(), &config());
    let error = Store::open(folder.path(), &config(), Vec::new(), &Arc::default())
        .err()
        .unwrap();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains(folder.path().to_str().unwrap()));
}

#[test]
fn a_format_of_another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    {
        let tables = Tables::open(folder.path()).unwrap();
        tables.meta.insert("format", "2").unwrap();
    }
    let error = Store::open(folder.path(), &config(), Vec::new(), &Arc::default())
        .err()
        .unwrap();
    assert!(matches!(error, OpenError::Format { .. }), "{error}");
}

#[tokio::test]
async fn writes_after_closing_are_refused_and_closing_twice_is_fine() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &config());
    let shard = first_shard(&store);
    put(&store, &shard, b"kept").await.unwrap();
    store.close();
    store.close();
    assert_eq!(put(&store, &shard, b"late").await, Err(PutError::Failed));
    assert_eq!(everything(&store, &shard), [b"kept"]);
}

#[tokio::test]
async fn many_writers_at_once_all_get_their_answer_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(
        folder.path(),
        &Embedded {
            sync: SyncMode::Disk,
            ..config()
        },
    );
    let shard = first_shard(&store);
    let writes = (0..QUEUE / 2).map(|number| {
        let (store, shard) = (&store, &shard);
        async move { put(store, shard, &number.to_be_bytes()).await }
    });
    let answers = join_all(writes).await;
    assert!(answers.iter().all(Result::is_ok));
    let mut found = everything(&store, &shard);
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), QUEUE / 2);
}

#[tokio::test]
async fn removed_groups_give_their_disk_space_back() {
    let folder = tempfile::tempdir().unwrap();
    let small = Embedded {
        max_size: ByteSize::mib(4),
        ..config()
    };
    let store = open(folder.path(), &small);
    let shard = first_shard(&store);
    let mut body = vec![0; 256 << 10];
    let started = Instant::now();
    for number in 0u32.. {
        body[..4].copy_from_slice(&number.to_be_bytes());
        put_large(&store, &shard, &body).await;
        if number < 600 {
            continue;
        }
        // Merging lags behind as far as the machine lets it, and goes in steps that writes set
        // off. So it is enough that it gets there, while writing goes on slowly.
        if store.tables.get().unwrap().groups.disk_space() < 75 << 20 {
            return;
        }
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "over 150 MiB were written, 4 MiB are to be kept, and the disk still holds over 75 MiB"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn put_large(store: &Store, shard: &Arc<Shard>, body: &[u8]) {
    let group = NewGroup {
        body: GroupBody::Plain(body.to_vec()),
        events: 1,
        first_time: 0,
        last_time: 0,
        print: None,
    };
    let lease = Budget::new(1 << 30).lease(body.len() as u64).unwrap();
    store.put(shard, group, lease).await.unwrap();
}

/// Waits for what the writer thread does on its own; panics after ten seconds.
fn wait_until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "it never came");
        std::thread::sleep(Duration::from_millis(10));
    }
}

async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(move |context| {
        let mut ready = true;
        for (future, output) in &mut pending {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => ready = false,
                }
            }
        }
        if !ready {
            return std::task::Poll::Pending;
        }
        let outputs = pending.iter_mut().filter_map(|(_, output)| output.take());
        std::task::Poll::Ready(outputs.collect())
    })
    .await
}
