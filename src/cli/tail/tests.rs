//! Against a real embedded logstore, from the arguments to what is written.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::config::SyncMode;
use crate::embedded::EmbeddedLogstore;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::secret::SecretRef;
use crate::gate::identity;
use crate::logstore::client::PackedGroup;
use crate::logstore::codec::Codec;
use crate::logstore::proto::Log;
use crate::logstore::proto::log::Content;
use crate::logstore::signature::AccessKey;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: TailArgs,
}

fn args(arguments: &[&str]) -> TailArgs {
    Cli::try_parse_from([&["tail", "--format", "json"], arguments].concat())
        .unwrap()
        .args
}

/// What was written, in one place for the writer and the test.
#[derive(Clone, Debug, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Screen {
    /// The values of the field `n`, in the order in which they were written.
    fn numbers(&self) -> Vec<u32> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let number = |line| -> u32 {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            event["n"].as_str().unwrap().parse().unwrap()
        };
        text.lines().map(number).collect()
    }

    async fn wait_for(&self, count: usize) {
        while self.numbers().len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

struct Store {
    config: Config,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Store {
    async fn start(data_dir: &Path) -> Self {
        Self::start_at(data_dir, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    async fn start_at(data_dir: &Path, address: SocketAddr) -> Self {
        let mut config = Config::quickstart();
        config.data_dir = data_dir.to_owned();
        config.embedded.sync = SyncMode::Process;
        let listener = TcpListener::bind(address).await.unwrap();
        config.embedded.listen = listener.local_addr().unwrap();
        let key = AccessKey {
            id: config.embedded.access_key_id.clone(),
            secret: identity::load_or_make(data_dir, "logstore").unwrap(),
            security_token: None,
        };
        let project = &config.projects[0];
        let logstores = project
            .logstores
            .iter()
            .map(|logstore| logstore.name.clone())
            .collect();
        let projects = vec![(project.name.clone(), logstores)];
        let store = EmbeddedLogstore::open(
            &config.embedded,
            data_dir,
            projects,
            key,
            None,
            &Arc::default(),
        )
        .unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let stopped = stop.clone();
        tasks.spawn(async move {
            store.serve(listener, stopped).await;
            store.close();
        });
        Self {
            config,
            tasks,
            stop,
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Writes a group of one event for each number, which is its time too.
    async fn put(&self, numbers: impl IntoIterator<Item = u32>) {
        let Readable {
            client,
            project,
            logstore,
            ..
        } = store::resolve(&args(&[]).store, &self.config).unwrap();
        for number in numbers {
            let content = Content {
                key: Bytes::from("n"),
                value: Bytes::from(number.to_string()),
            };
            let log = Log {
                time: number,
                contents: vec![content],
                time_ns: None,
            };
            let group = LogGroup {
                logs: vec![log],
                ..LogGroup::default()
            };
            let body = Bytes::from(group.encode_to_vec());
            let size = body.len();
            client
                .put_log_group(
                    &project,
                    &logstore,
                    PackedGroup::new(Codec::None, body, size),
                )
                .await
                .unwrap();
        }
    }

    async fn tail(&self, arguments: &[&str]) -> (Result<(), Ended>, Vec<u32>) {
        let (args, screen) = (args(arguments), Screen::default());
        let store = store::resolve(&args.store, &self.config).unwrap();
        let ended = tail(&args, store, &mut Printer::new(&args, screen.clone())).await;
        (ended, screen.numbers())
    }
}

#[tokio::test]
async fn every_event_of_every_shard_is_written_once_and_then_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(folder.path()).await;
    assert!(store.config.embedded.shards > 1);
    store.put(0..220).await;
    let (ended, mut numbers) = store.tail(&[]).await;
    assert!(ended.is_ok(), "{ended:?}");
    numbers.sort_unstable();
    assert_eq!(numbers, (0..220).collect::<Vec<_>>());
    assert!(store.tail(&["--from", "end"]).await.1.is_empty());
    assert_eq!(store.tail(&["--from", "15m"]).await.1.len(), 220);
    assert!(
        store
            .tail(&["--logstore", "anonymous-demo"])
            .await
            .1
            .is_empty()
    );
    store.stop().await;
}

#[tokio::test]
async fn events_of_several_shards_that_are_read_at_once_are_in_order_of_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(folder.path()).await;
    store.put((0..20).rev()).await;
    assert_eq!(store.tail(&[]).await.1, (0..20).collect::<Vec<_>>());
    let (ended, numbers) = store.tail(&["-n", "3"]).await;
    assert!(matches!(ended, Err(Ended::Enough)));
    assert_eq!(numbers, [0, 1, 2]);
    store.stop().await;
}

#[tokio::test]
async fn following_shows_what_arrives_and_goes_on_after_the_store_was_restarted() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(folder.path()).await;
    store.put([1]).await;
    let (args, screen) = (args(&["--follow"]), Screen::default());
    let readable = store::resolve(&args.store, &store.config).unwrap();
    let reader = Reader::open(readable, args.cursor_from(), false)
        .await
        .unwrap();
    let mut printer = Printer::new(&args, screen.clone());
    let pauses = Pauses {
        shortest: Duration::from_millis(1),
        longest: Duration::from_millis(8),
        shards: Duration::ZERO,
    };
    let mut following = JoinSet::new();
    following.spawn(async move { follow(reader, &mut printer, pauses).await });
    store.put([2, 3]).await;
    screen.wait_for(2).await;
    let address = store.config.embedded.listen;
    store.stop().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let store = Store::start_at(folder.path(), address).await;
    store.put([4]).await;
    screen.wait_for(3).await;
    let mut numbers = screen.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3, 4]);
    assert!(following.try_join_next().is_none(), "it goes on");
    following.shutdown().await;
    store.stop().await;
}

#[tokio::test]
async fn a_store_that_never_answered_and_one_that_says_no_end_it_with_their_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::start(folder.path()).await;
    let failed = |ended| match ended {
        Err(Ended::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    };
    let exit = |ended| -> Exit { Failure::exit(&failed(ended)) };
    let missing = store
        .tail(&["--logstore", "no-such-logstore", "--follow"])
        .await;
    assert_eq!(exit(missing.0), Exit::Config);
    let wrong = folder.path().join("wrong");
    std::fs::write(&wrong, "not the key").unwrap();
    store.config.embedded.access_key_secret = Some(SecretRef::File(wrong));
    assert_eq!(exit(store.tail(&[]).await.0), Exit::Config);
    let config = store.config.clone();
    store.stop().await;
    let gone = Store {
        config,
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
    };
    let failure = failed(gone.tail(&["--follow"]).await.0);
    assert_eq!(failure.exit(), Exit::Unavailable);
    // Where it was looked for, and what to do.
    let place = format!("http://{}", gone.config.embedded.listen);
    let message = failure.to_string();
    assert!(message.starts_with(&place), "{message}");
    assert!(
        message.contains("tollgate run") && message.contains("--logstore-url"),
        "{message}"
    );
}

/// The reading end of `| head` after its last line.
#[derive(Debug)]
struct ClosedPipe;

impl Write for ClosedPipe {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_closed_pipe_is_enough_and_not_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(folder.path()).await;
    store.put([1]).await;
    let args = args(&[]);
    let readable = store::resolve(&args.store, &store.config).unwrap();
    let ended = tail(&args, readable, &mut Printer::new(&args, ClosedPipe)).await;
    assert!(matches!(ended, Err(Ended::Enough)), "{ended:?}");
    store.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_went_away_ends_it_though_no_event_comes() {
    let (reader, writer) = io::pipe().unwrap();
    let waiting = tokio::time::timeout(LOOK * 4, abandoned(&writer));
    assert!(waiting.await.is_err(), "somebody reads");
    drop(reader);
    abandoned(&writer).await;
    let file = tempfile::tempfile().unwrap();
    assert!(!reader_has_gone(&file), "a file has no reader");
}

#[test]
fn a_key_that_is_not_there_is_told_and_none_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::quickstart();
    config.data_dir = folder.path().to_owned();
    let failure = store::resolve(&args(&[]).store, &config).unwrap_err();
    assert_eq!(failure.exit(), Exit::DataDir);
    assert!(failure.to_string().contains("tollgate run"), "{failure}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn names_of_the_configuration_become_those_of_its_store_but_not_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s").unwrap();
    let mut config = Config::quickstart();
    config.embedded.access_key_secret = Some(SecretRef::File(secret.clone()));
    config.projects[0].upstream_project = Some(ProjectName::new("other").unwrap());
    config.projects[0].logstores[0].upstream_logstore = Some(LogstoreName::new("events").unwrap());
    let names = |arguments: &[&str]| {
        let readable = store::resolve(&args(arguments).store, &config).unwrap();
        format!("{}/{}", readable.project, readable.logstore)
    };
    assert_eq!(names(&[]), "other/events");
    assert_eq!(
        names(&["--logstore-url", "http://127.0.0.1:9"]),
        "other/events"
    );
    let reference = format!("file:{}", secret.display());
    let foreign = [
        "--logstore-url",
        "https://cn-hangzhou.log.aliyuncs.com",
        "--access-key-id",
        "id",
        "--access-key-secret",
        &reference,
    ];
    assert_eq!(
        names(&foreign),
        "sls-webtracking-mini/web-tracking-logstore"
    );
}

#[test]
fn a_secret_written_as_itself_is_not_repeated() {
    let url = ["--logstore-url", "https://cn-hangzhou.log.aliyuncs.com"];
    let key = ["--access-key-id", "id", "--access-key-secret", "hunter2"];
    let args = args(&[url.as_slice(), key.as_slice()].concat());
    let failure = store::resolve(&args.store, &Config::quickstart()).unwrap_err();
    assert!(
        !format!("{args:?} {failure}").contains("hunter2"),
        "{failure}"
    );
}
