//! The log of this process: one line for each thing that happened, on standard error.
//!
//! Promise: who writes a line never waits for whoever reads it (`writer`): what does not fit is
//! dropped, and counted. A line is one line, whatever is in it (`line`). The level can be changed while
//! the process runs, for a time, after which it is what was configured (`level`). What libraries say below
//! `info` is never written: it holds what clients send.
//! There is one log for a process, as there is one subscriber of `tracing`.

mod level;
mod line;
mod writer;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

pub use self::level::{Level, LevelError, LogLevel, MAX_FOR, NewLogLevel, USUAL_FOR};
use self::line::Line;
use self::writer::Queue;

/// The generation of the configuration that is in force.
static GENERATION: AtomicU64 = AtomicU64::new(0);
static LOG: OnceLock<Log> = OnceLock::new();

/// What can be done with the log while it is written.
#[derive(Debug)]
struct Log {
    level: Level,
    queue: Queue,
}

/// How lines are written.
#[derive(Clone, Copy, Debug)]
pub struct LogRules<'a> {
    /// A filter of `tracing`, such as `info,tollgate::pipeline=debug`.
    pub level: &'a str,
    /// A JSON object a line.
    pub json: bool,
    /// Colours.
    pub colours: bool,
}

/// Begins to write the log of this process to standard error.
///
/// # Errors
/// When the level is no filter, or there is a log already.
pub fn start(rules: LogRules<'_>) -> Result<(), LevelError> {
    let filter = level::parse(rules.level)?;
    let (filter, handle) = reload::Layer::new(filter);
    let queue =
        Queue::start(std::io::stderr()).map_err(|error| LevelError::Log(error.to_string()))?;
    let writer = queue.clone();
    let lines = Registry::default()
        .with(filter)
        .with(filter_fn(level::may_be_written));
    let begun = match rules.json {
        true => lines
            .with(
                fmt::layer()
                    .json()
                    .with_writer(writer)
                    .map_event_format(Line::json),
            )
            .try_init(),
        false => {
            let format = fmt::format().with_ansi(rules.colours);
            let format = Line::text(format, rules.colours);
            let lines = lines.with(fmt::layer().event_format(format).with_writer(writer));
            lines.try_init()
        }
    };
    begun.map_err(|error| LevelError::Log(error.to_string()))?;
    let level = Level::new(rules.level, handle);
    LOG.get_or_init(|| Log { level, queue });
    Ok(())
}

/// The level of the log, where this process writes one.
#[must_use]
pub fn level() -> Option<&'static Level> {
    LOG.get().map(|log| &log.level)
}

/// Waits until the lines until now are written, but no longer than a second.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.queue.flush(Duration::from_secs(1));
    }
}

/// Lines that were not written.
pub(super) fn dropped_lines() -> u64 {
    LOG.get().map_or(0, |log| log.queue.dropped())
}

/// Lines from now on are of this generation of the configuration.
pub(super) fn set_generation(generation: u64) {
    GENERATION.store(generation, Ordering::Relaxed);
}

fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}
