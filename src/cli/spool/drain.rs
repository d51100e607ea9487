//! `drain`.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::super::api::Api;
use super::super::form;
use super::super::progress::Progress;
use super::super::run::{start_failure, start_log};
use super::super::{Exit, Failure, output};
use super::{DrainArgs, Place, Spool, unreadable};
use crate::app::{self, Draining};
use crate::config::Config;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::telemetry::{Books, DropReason, Judge, LogstoreBook};

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

impl Place {
    fn is_of(&self, book: &LogstoreBook) -> bool {
        self.project.as_str() == book.project && self.logstore.as_str() == book.logstore
    }
}

/// How far a node that runs is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Far {
    waiting: u64,
    held: u64,
    ended: u64,
    /// What an earlier life has left is still being looked through: more will wait.
    recovering: bool,
}

impl Far {
    /// Whether all is delivered that was there at `first`.
    fn is_through(self, first: Self) -> bool {
        let ended = self.ended.saturating_sub(first.ended);
        !self.recovering
            && self.waiting == 0
            && (self.held == 0 || ended >= first.waiting + first.held)
    }
}

/// A node that runs delivers by itself. What it has taken back from disk to be sent is in memory and on
/// disk, so it is done when nothing waits, and as many events have ended as there were at first.
fn follow(api: &Api, args: &DrainArgs) -> Result<Exit, Failure> {
    if args.spool_dir.is_some() {
        let why = "a node runs here; --spool-dir is for one that does not";
        return Err(Failure::new(Exit::CommandLine, why));
    }
    let until = args.timeout.map(|timeout| Instant::now() + timeout.get());
    let books = api.books()?;
    let is_there = |place: &&Place| books.logstores.iter().any(|book| place.is_of(book));
    if let Some(place) = args.places.iter().find(|place| !is_there(place)) {
        let why = format!("there is no {place} on the node");
        return Err(Failure::new(Exit::Partial, why));
    }
    let mut first = far(&books, &args.places);
    let (mut now, mut told) = (first, None);
    let bar = Progress::of(first.waiting + first.held, "events");
    loop {
        if told != Some((now.waiting, now.held)) {
            let (waiting, held) = (now.waiting, now.held);
            let text = format!("{waiting} events wait on disk, {held} are in memory");
            match bar.is_shown() {
                true => bar.at(now.ended.saturating_sub(first.ended)),
                false => output::note(text),
            }
            told = Some((waiting, held));
        }
        if first.recovering {
            // Only once that is through is it known what is to be delivered.
            first = now;
        } else if now.is_through(first) {
            return followed(args, now, Exit::Success);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return followed(args, now, Exit::Partial);
        }
        std::thread::sleep(TELL / 4);
        now = far(&api.books()?, &args.places);
    }
}

/// Says for programs how far it came.
fn followed(args: &DrainArgs, far: Far, exit: Exit) -> Result<Exit, Failure> {
    if args.form.is_json() {
        form::print(&json!({"left": far.waiting, "held": far.held, "ended": far.ended}))?;
    }
    Ok(exit)
}

fn far(books: &Books, places: &[Place]) -> Far {
    let meant =
        |book: &&LogstoreBook| places.is_empty() || places.iter().any(|place| place.is_of(book));
    let mut far = Far::default();
    for book in books.logstores.iter().filter(meant) {
        far.recovering |= book.recovering;
        far.waiting = far.waiting.saturating_add(book.waiting);
        far.held = far.held.saturating_add(book.held);
        let sums = &book.sums;
        let aside = sums.quarantined.get(Judge::Store.label());
        let aside = aside.copied().unwrap_or_default();
        let dropped = DropReason::ALL.iter();
        let dropped = dropped.filter_map(|it| sums.dropped.get(it.label()));
        let dropped: u64 = dropped.sum();
        far.ended += sums.delivered + aside + dropped + sums.expired + sums.shed;
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
        let of_lane = spool
            .config
            .logstore_of_lane(&found.project, &found.logstore);
        if of_lane.is_some() {
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
    let spool = Spool::of(config.clone(), args.spool_dir.clone())?;
    config.spool.enabled = true;
    config.spool.dir = Some(spool.dir.clone());
    spool.has_all(&args.places)?;
    let (waiting, unknown) = left(&spool, &args.places)?;
    if waiting == 0 {
        if args.form.is_json() {
            drained(0, 0, 0, unknown)?;
        }
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
    start_log(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Internal, error))?;
    let timeout = args.timeout.map(|timeout| timeout.get());
    let running = run(&config, (&args.places, spool.has_books()), timeout, waiting);
    let (books, lost) = runtime.block_on(running)?;
    runtime.shutdown_background();
    let (mut delivered, mut aside, mut dropped) = (0, 0, 0);
    for book in &books.logstores {
        let sums = &book.sums;
        delivered += sums.delivered;
        aside += sums.quarantined.values().sum::<u64>();
        dropped += sums.dropped.values().sum::<u64>() + sums.expired;
    }
    let (left, unknown) = left(&spool, &args.places)?;
    if args.form.is_json() {
        drained(delivered, aside, dropped, left + unknown)?;
    }
    output::note(format_args!(
        "delivered {delivered} events; {aside} were refused by the store and set aside, {dropped} dropped; {left} are left"
    ));
    Ok(match (lost, left + unknown + dropped + aside) {
        (0, 0) => Exit::Success,
        (0, _) => Exit::Partial,
        _ => Exit::EventsLost,
    })
}

/// Says for programs what became of the events.
fn drained(delivered: u64, aside: u64, dropped: u64, left: u64) -> Result<(), Failure> {
    form::print(&json!({
        "delivered": delivered, "quarantined": aside, "dropped": dropped, "left": left,
    }))
}

/// Delivers until nothing is left, somebody asks to stop, or the time is over. The books at the end,
/// and how many events were lost.
async fn run(
    config: &Config,
    (places, has_books): (&[Place], bool),
    timeout: Option<Duration>,
    waiting: u64,
) -> Result<(Books, u64), Failure> {
    let internal = |error: std::io::Error| Failure::new(Exit::Internal, error);
    let mut terminate = signal(SignalKind::terminate()).map_err(internal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(internal)?;
    let wanted = |project: &ProjectName, logstore: &LogstoreName| {
        let is = |place: &Place| (&place.project, &place.logstore) == (project, logstore);
        places.is_empty() || places.iter().any(is)
    };
    let draining = app::drain(config, wanted, has_books)
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
        () = empty(&draining, waiting) => {}
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
async fn empty(draining: &Draining, waiting: u64) {
    let bar = Progress::of(waiting, "events");
    let (mut looks, mut told) = (0, Instant::now());
    while looks < EMPTY_LOOKS {
        tokio::time::sleep(LOOK).await;
        let remaining = draining.remaining();
        let all = remaining.held.wrapping_add(remaining.waiting);
        looks = match (all, remaining.recovering) {
            (0, false) => looks + 1,
            _ => 0,
        };
        bar.at(waiting.saturating_sub(all));
        if !bar.is_shown() && told.elapsed() >= TELL {
            told = Instant::now();
            output::note(format_args!("{all} events are left"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Sums;

    fn books(waiting: u64, held: u64, delivered: u64, recovering: bool) -> Far {
        let book = LogstoreBook {
            waiting,
            held,
            sums: Sums {
                delivered,
                ..Sums::default()
            },
            recovering,
            ..LogstoreBook::default()
        };
        let logstores = vec![book];
        far(
            &Books {
                logstores,
                ..Books::default()
            },
            &[],
        )
    }

    #[test]
    fn a_node_that_still_looks_through_its_spool_is_not_through() {
        let first = books(0, 0, 0, true);
        assert!(!first.is_through(first), "nothing waits as far as is known");
        assert!(!books(0, 0, 5, true).is_through(first));
        let known = books(7, 1, 5, false);
        assert!(!books(0, 3, 10, false).is_through(known));
        assert!(
            books(0, 3, 13, false).is_through(known),
            "the three are new"
        );
        assert!(books(0, 0, 0, false).is_through(books(0, 0, 0, false)));
    }
}
