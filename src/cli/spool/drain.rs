//! `drain`.

use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use super::super::node::Api;
use super::super::run::{start_failure, start_log};
use super::super::{Exit, Failure, output};
use super::{DrainArgs, Place, Spool, unreadable};
use crate::app::{self, Draining};
use crate::config::Config;
use crate::telemetry::{Books, LogstoreBook};

/// How often it is looked whether all is delivered.
const LOOK: Duration = Duration::from_millis(100);
/// Looks in a row that find nothing: a bundle that comes back from disk is in neither place for a
/// moment.
const EMPTY_LOOKS: u32 = 3;
/// How often people are told.
const TELL: Duration = Duration::from_secs(2);

pub(super) fn drain(args: &DrainArgs) -> Result<Exit, Failure> {
    let (config, api) = args.node.running()?;
    match api {
        Some(api) => follow(&api, args),
        None => deliver(config, args),
    }
}

/// How far a node that runs is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Far {
    waiting: u64,
    held: u64,
    ended: u64,
}

/// A node that runs delivers by itself. What it has taken back from disk to be sent is in memory and on
/// disk, so it is done when nothing waits, and as many events have ended as there were at first.
fn follow(api: &Api, args: &DrainArgs) -> Result<Exit, Failure> {
    if args.spool_dir.is_some() {
        let why = "a node runs here; --spool-dir is for one that does not";
        return Err(Failure::new(Exit::CommandLine, why));
    }
    let until = args.timeout.map(|timeout| Instant::now() + timeout.get());
    let first = far(&api.books()?, &args.places);
    let (mut now, mut told) = (first, None);
    loop {
        if told != Some((now.waiting, now.held)) {
            let (waiting, held) = (now.waiting, now.held);
            output::note(format_args!(
                "{waiting} events wait on disk, {held} are in memory"
            ));
            told = Some((waiting, held));
        }
        let ended = now.ended.saturating_sub(first.ended);
        if now.waiting == 0 && (now.held == 0 || ended >= first.waiting + first.held) {
            return Ok(Exit::Success);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(Exit::Partial);
        }
        std::thread::sleep(TELL / 4);
        now = far(&api.books()?, &args.places);
    }
}

fn far(books: &Books, places: &[Place]) -> Far {
    let meant = |book: &&LogstoreBook| {
        let is = |place: &Place| {
            place.project.as_str() == book.project && place.logstore.as_str() == book.logstore
        };
        places.is_empty() || places.iter().any(is)
    };
    let mut far = Far::default();
    for book in books.logstores.iter().filter(meant) {
        far.waiting = far.waiting.saturating_add(book.waiting);
        far.held = far.held.saturating_add(book.held);
        let dropped: u64 = book.dropped.values().sum();
        far.ended += book.delivered + book.quarantined + dropped + book.expired + book.shed;
    }
    far
}

/// What waits now, of the logstores that are meant: configured, and not.
fn left(spool: &Spool, places: &[Place]) -> Result<(u64, u64), Failure> {
    let (mut known, mut unknown) = (0, 0);
    for found in spool.lanes()? {
        if !places.is_empty() && !places.iter().any(|place| place.is(&found)) {
            continue;
        }
        let report = spool.lane(&found).verify();
        let report = report.map_err(|error| unreadable(&error))?;
        let events = report.waiting_events();
        let mut projects = spool.config.projects.iter();
        let of_project = projects.find(|it| it.name == found.project);
        if of_project.is_some_and(|it| it.logstores.iter().any(|it| it.name == found.logstore)) {
            known += events;
        } else if events > 0 {
            unknown += events;
            output::note(format_args!(
                "{events} events wait for {}/{}, which is not configured; export them, and import them with --to",
                found.project, found.logstore
            ));
        }
    }
    Ok((known, unknown))
}

fn deliver(mut config: Config, args: &DrainArgs) -> Result<Exit, Failure> {
    config.spool.enabled = true;
    if let Some(dir) = &args.spool_dir {
        config.spool.dir = Some(dir.clone());
    }
    let spool = Spool::of(config.clone(), args.spool_dir.clone())?;
    let (waiting, unknown) = left(&spool, &args.places)?;
    if waiting == 0 {
        output::note("nothing waits in the spool");
        return Ok(if unknown == 0 {
            Exit::Success
        } else {
            Exit::Partial
        });
    }
    output::note(format_args!(
        "no node runs here: {waiting} events wait in {}, and are delivered now",
        spool.dir.display()
    ));
    only(&mut config, &args.places);
    start_log(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Internal, error))?;
    let timeout = args.timeout.map(|timeout| timeout.get());
    let (books, lost) = runtime.block_on(run(&config, timeout))?;
    runtime.shutdown_background();
    let (mut delivered, mut aside, mut dropped) = (0, 0, 0);
    for book in &books.logstores {
        delivered += book.delivered;
        aside += book.quarantined;
        dropped += book.dropped.values().sum::<u64>() + book.expired;
    }
    let (left, unknown) = left(&spool, &args.places)?;
    output::note(format_args!(
        "delivered {delivered} events; {aside} were refused by the store and set aside, {dropped} dropped; {left} are left"
    ));
    Ok(match (lost, left + unknown + dropped + aside) {
        (0, 0) => Exit::Success,
        (0, _) => Exit::Partial,
        _ => Exit::EventsLost,
    })
}

/// Leaves only the logstores that are meant.
fn only(config: &mut Config, places: &[Place]) {
    if places.is_empty() {
        return;
    }
    for project in &mut config.projects {
        let name = project.name.clone();
        project.logstores.retain(|logstore| {
            let is = |place: &Place| place.project == name && place.logstore == logstore.name;
            places.iter().any(is)
        });
    }
}

/// Delivers until nothing is left, somebody asks to stop, or the time is over. The books at the end,
/// and how many events were lost.
async fn run(config: &Config, timeout: Option<Duration>) -> Result<(Books, u64), Failure> {
    let internal = |error: std::io::Error| Failure::new(Exit::Internal, error);
    let mut terminate = signal(SignalKind::terminate()).map_err(internal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(internal)?;
    let draining = app::drain(config)
        .await
        .map_err(|error| start_failure(&error))?;
    let metrics = draining.metrics();
    let timeout = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let mut failed = false;
    tokio::select! {
        () = empty(&draining) => {}
        () = timeout => output::note("the time is over; what is left stays on disk"),
        _ = terminate.recv() => output::note("stopping; what is left stays on disk"),
        _ = interrupt.recv() => output::note("stopping; what is left stays on disk"),
        () = draining.failed() => failed = true,
    }
    let stopped = draining.stop(config.delivery.stop_deadline.get()).await;
    if failed {
        let why = "a part of the pipeline has died; what is left stays on disk";
        return Err(Failure::new(Exit::Internal, why));
    }
    if stopped.unwritten > 0 {
        let bytes = stopped.unwritten;
        output::error(format_args!(
            "{bytes} bytes of events that were set aside are not on disk"
        ));
    }
    Ok((metrics.books(), stopped.report.lost + stopped.unwritten))
}

/// Waits until all is delivered, and says how it goes.
async fn empty(draining: &Draining) {
    let (mut looks, mut told) = (0, Instant::now());
    while looks < EMPTY_LOOKS {
        tokio::time::sleep(LOOK).await;
        let remaining = draining.remaining();
        let all = remaining.held.wrapping_add(remaining.waiting);
        looks = match (all, remaining.recovering) {
            (0, false) => looks + 1,
            _ => 0,
        };
        if told.elapsed() >= TELL {
            told = Instant::now();
            output::note(format_args!("{all} events are left"));
        }
    }
}
