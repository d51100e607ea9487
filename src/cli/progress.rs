//! Progress of long work: a bar on standard error, where somebody looks at it.
//!
//! Promise: nothing of it is written to anything but a terminal, and none is left on it at the end.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::output;

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(200);

/// A bar, or none where standard error is no terminal. Taken away when it is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Of so many things.
    pub(super) fn of(all: u64, what: &str) -> Self {
        let template = format!("{{bar:30}} {{human_pos}}/{{human_len}} {what} {{eta}} {{msg}}");
        Self::with(ProgressBar::new(all), &template)
    }

    /// Of things that nobody has counted.
    pub(super) fn counting(what: &str) -> Self {
        let template = format!("{{spinner}} {{human_pos}} {what} {{msg}}");
        let progress = Self::with(ProgressBar::new_spinner(), &template);
        progress.bar.enable_steady_tick(TURN);
        progress
    }

    /// Of an input with so many bytes, where that is known.
    pub(super) fn bytes(length: Option<u64>) -> Self {
        match length {
            Some(length) => Self::with(
                ProgressBar::new(length),
                "{bar:30} {bytes}/{total_bytes} {msg}",
            ),
            None => Self::with(ProgressBar::new_spinner(), "{spinner} {bytes} {msg}"),
        }
    }

    /// None, where what is made goes to the terminal itself.
    pub(super) fn none() -> Self {
        Self {
            bar: ProgressBar::hidden(),
        }
    }

    fn with(bar: ProgressBar, template: &str) -> Self {
        // A template of ours that cannot be read costs the looks of the bar.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// Whether somebody sees it.
    pub(super) fn is_shown(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// So many more are done.
    pub(super) fn add(&self, count: u64) {
        self.bar.inc(count);
    }

    /// So many are done in all.
    pub(super) fn at(&self, count: u64) {
        self.bar.set_position(count);
    }

    /// What is said beside the bar.
    pub(super) fn say(&self, text: String) {
        self.bar.set_message(text);
    }

    /// Writes a line to standard error, above the bar.
    pub(super) fn note(&self, text: &str) {
        self.aside(|| output::note(text));
    }

    /// Does something that writes to the terminal, while the bar is away.
    pub(super) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    /// Takes it away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
