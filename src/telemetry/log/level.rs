//! The level of the log, and changes of it for a time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::Metadata;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::foundation::clock;
use crate::foundation::units::Span;

/// Time that a change lasts, when nobody says.
pub const USUAL_FOR: Span = Span::secs(900);
/// Time that a change lasts, at most.
pub const MAX_FOR: Span = Span::secs(86_400);
/// The crate that speaks with Kafka, as filters name it.
const KAFKA_CLIENT: &str = "rskafka";
/// This crate, as targets name it.
const OURS: &str = "tollgate";
/// Bytes of a filter.
const LONGEST: usize = 1024;

/// Why the level is as it was.
#[derive(Debug, thiserror::Error)]
pub enum LevelError {
    /// It is no filter.
    #[error(
        "the level: {0}. Write error, warn, info, debug, trace, or a filter such as info,tollgate::pipeline=debug"
    )]
    Filter(String),
    /// It would last too long, or not at all.
    #[error("for: {0} is not from 1s to 24h")]
    For(Span),
    /// The log itself.
    #[error("the log: {0}")]
    Log(String),
}

/// The level as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLevel {
    /// What is in force.
    pub level: String,
    /// What was configured.
    pub configured: String,
    /// When that is in force again, in Unix seconds; none when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// A change that is asked for.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLogLevel {
    /// A filter.
    pub level: String,
    /// How long it lasts.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Span>,
}

type Handle = reload::Handle<EnvFilter, Registry>;

/// The level of a log that is written.
#[derive(Debug)]
pub struct Level(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    configured: String,
    handle: Handle,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whether there is a thread that looks at the time.
    watched: bool,
    change: Option<Change>,
}

#[derive(Debug)]
struct Change {
    level: String,
    ends: Instant,
    /// The same on the wall clock, in Unix seconds.
    until: u64,
}

/// Whether such a line may be written, whatever the filter says. What libraries say below `info` holds what
/// clients send: that of HTTP/2 prints paths with their queries.
pub(super) fn may_be_written(line: &Metadata<'_>) -> bool {
    let rest = line.target().strip_prefix(OURS);
    let ours = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    ours || *line.level() <= tracing::Level::INFO
}

/// Reads a filter.
pub(super) fn parse(level: &str) -> Result<EnvFilter, LevelError> {
    if level.len() > LONGEST {
        return Err(LevelError::Filter(format!(
            "it has more than {LONGEST} bytes"
        )));
    }
    let builder = EnvFilter::builder().with_regex(false);
    let mut filter = builder
        .parse(level)
        .map_err(|error| LevelError::Filter(error.to_string()))?;
    if !level.contains(KAFKA_CLIENT) {
        // It tells each failed attempt several times; what matters of them is told once a minute.
        let quiet = format!("{KAFKA_CLIENT}=off").parse();
        let quiet = quiet.map_err(|error| LevelError::Filter(format!("{error}")))?;
        filter = filter.add_directive(quiet);
    }
    Ok(filter)
}

impl Level {
    pub(super) fn new(configured: &str, handle: Handle) -> Self {
        Self(Arc::new(Shared {
            configured: configured.to_owned(),
            handle,
            state: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// The level now.
    #[must_use]
    pub fn get(&self) -> LogLevel {
        let state = self.0.lock();
        LogLevel {
            level: match &state.change {
                Some(change) => change.level.clone(),
                None => self.0.configured.clone(),
            },
            configured: self.0.configured.clone(),
            until: state.change.as_ref().map(|change| change.until),
        }
    }

    /// Changes the level for a time.
    ///
    /// # Errors
    /// When it is no filter, or the time is out of bounds. Nothing has changed then.
    pub fn set(&self, new: &NewLogLevel) -> Result<LogLevel, LevelError> {
        let filter = parse(&new.level)?;
        let lasts = new.lasts.unwrap_or(USUAL_FOR);
        if !(Duration::from_secs(1)..=MAX_FOR.get()).contains(&lasts.get()) {
            return Err(LevelError::For(lasts));
        }
        let mut state = self.0.lock();
        if !state.watched {
            let shared = Arc::clone(&self.0);
            let thread = thread::Builder::new().name("log-level".to_owned());
            let begun = thread.spawn(move || shared.watch());
            begun.map_err(|error| LevelError::Log(error.to_string()))?;
            state.watched = true;
        }
        self.0.apply(filter)?;
        state.change = Some(Change {
            level: new.level.clone(),
            ends: Instant::now() + lasts.get(),
            until: clock::unix_seconds() + lasts.get().as_secs(),
        });
        self.0.changed.notify_all();
        drop(state);
        Ok(self.get())
    }

    /// What was configured is in force again.
    ///
    /// # Errors
    /// When the log is gone.
    pub fn reset(&self) -> Result<LogLevel, LevelError> {
        let mut state = self.0.lock();
        if state.change.is_some() {
            self.0.apply(parse(&self.0.configured)?)?;
            state.change = None;
            self.0.changed.notify_all();
        }
        drop(state);
        Ok(self.get())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, filter: EnvFilter) -> Result<(), LevelError> {
        self.handle
            .reload(filter)
            .map_err(|error| LevelError::Log(error.to_string()))
    }

    /// Ends changes whose time has come.
    fn watch(&self) {
        let mut state = self.lock();
        loop {
            let Some(change) = &state.change else {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = change.ends.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                let waited = self.changed.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            state.change = None;
            let back = parse(&self.configured).and_then(|filter| self.apply(filter));
            drop(state);
            match back {
                Ok(()) => tracing::info!(
                    level = self.configured,
                    "the log level is as configured again"
                ),
                Err(error) => tracing::error!(%error, "the log level stays as it was changed"),
            }
            state = self.lock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level() -> (Level, reload::Layer<EnvFilter, Registry>) {
        let (layer, handle) = reload::Layer::new(parse("info").unwrap());
        (Level::new("info", handle), layer)
    }

    fn change(level: &str, lasts: Option<Span>) -> NewLogLevel {
        NewLogLevel {
            level: level.to_owned(),
            lasts,
        }
    }

    #[test]
    fn a_change_ends_by_itself_and_a_bad_one_changes_nothing() {
        let (level, _layer) = level();
        for bad in ["info,=", "loud=sideways", &"a".repeat(LONGEST + 1)] {
            assert!(level.set(&change(bad, None)).is_err(), "{bad}");
        }
        for bad in [Span::millis(10), Span::secs(86_401)] {
            assert!(level.set(&change("debug", Some(bad))).is_err());
        }
        assert_eq!(
            (level.get().level, level.get().until),
            ("info".to_owned(), None)
        );
        let now = level.set(&change("debug", Some(Span::secs(1)))).unwrap();
        assert_eq!(now.level, "debug");
        assert!(now.until.is_some());
        let until = Instant::now() + Duration::from_secs(20);
        while level.get().until.is_some() && Instant::now() < until {
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(level.get().level, "info");
        level.set(&change("trace", None)).unwrap();
        assert_eq!(level.reset().unwrap().level, "info");
    }
}
