//! What the person at the terminal sees: progress, refused events, the summary.
//!
//! Promise: at most [`SHOWN`] refused events are told one by one, the rest is counted. Progress goes
//! to standard error and only to a terminal; the summary is for standard output.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cli::output::escape;
use crate::cli::progress::Progress;

/// Refused events that are told with line number and message.
const SHOWN: u64 = 20;

/// Reasons that are counted by name. The service has a few dozen.
const MAX_REASONS: usize = 64;

/// Under this name the others are counted.
const OTHER_REASONS: &str = "other";

/// An event that was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Line number, from 1.
    pub(super) line: u64,
    /// Name of the reason.
    pub(super) reason: String,
    /// What exactly was wrong.
    pub(super) message: String,
}

impl Refused {
    pub(super) fn new(line: u64, reason: &str, message: &str) -> Self {
        Self {
            line,
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }
}

/// Counts, and tells.
#[derive(Debug)]
pub(super) struct Report {
    bar: Progress,
    started: Instant,
    read: u64,
    accepted: u64,
    refused: u64,
    reasons: BTreeMap<String, u64>,
}

/// How it went.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    read: u64,
    accepted: u64,
    refused: u64,
    reasons: BTreeMap<String, u64>,
    elapsed: Duration,
    rate: f64,
}

impl Report {
    /// A report on an input of `length` bytes, if that is known.
    pub(super) fn new(length: Option<u64>) -> Self {
        Self {
            bar: Progress::bytes(length),
            started: Instant::now(),
            read: 0,
            accepted: 0,
            refused: 0,
            reasons: BTreeMap::new(),
        }
    }

    /// So many bytes were read, with so many events in them.
    pub(super) fn read(&mut self, bytes: u64, events: usize) {
        self.read += events as u64;
        self.bar.add(bytes);
    }

    pub(super) fn accept(&mut self, events: u64) {
        self.accepted += events;
        let rate = self.rate();
        let (accepted, refused) = (self.accepted, self.refused);
        self.bar.say(format!(
            "{accepted} accepted, {refused} refused, {rate:.0} events/s"
        ));
    }

    pub(super) fn refuse(&mut self, refused: &Refused) {
        self.refused += 1;
        if self.refused <= SHOWN {
            let reason = escape(&refused.reason);
            let message = escape(&refused.message);
            self.note(&format!("line {}: {reason}: {message}", refused.line));
        } else if self.refused == SHOWN + 1 {
            self.note("further refused events are only counted");
        }
        let known = self.reasons.contains_key(&refused.reason);
        let name = if known || self.reasons.len() < MAX_REASONS {
            &refused.reason
        } else {
            OTHER_REASONS
        };
        *self.reasons.entry(name.to_owned()).or_default() += 1;
    }

    /// Writes a line to standard error, above the progress bar.
    fn note(&self, text: &str) {
        self.bar.note(text);
    }

    /// Whether every event that was read was accepted.
    pub(super) fn all_accepted(&self) -> bool {
        self.accepted == self.read
    }

    /// Takes the progress bar away and says how it went.
    pub(super) fn finish(&self) -> Summary {
        self.bar.clear();
        Summary {
            read: self.read,
            accepted: self.accepted,
            refused: self.refused,
            reasons: self.reasons.clone(),
            elapsed: self.started.elapsed(),
            rate: self.rate(),
        }
    }

    fn rate(&self) -> f64 {
        let elapsed = self.started.elapsed().max(Duration::from_millis(1));
        self.accepted as f64 / elapsed.as_secs_f64()
    }
}

impl Summary {
    /// Events that were read and not answered.
    fn open(&self) -> u64 {
        self.read.saturating_sub(self.accepted + self.refused)
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "read": self.read, "accepted": self.accepted, "refused": self.refused,
            "reasons": self.reasons, "open": self.open(),
            "seconds": self.elapsed.as_secs_f64(), "eventsPerSecond": self.rate,
        })
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: String| {
            // Writing to a string cannot fail.
            writeln!(text, "{name:<24} {value:>12}").unwrap_or_default();
        };
        row("events read", self.read.to_string());
        row("accepted", self.accepted.to_string());
        row("refused", self.refused.to_string());
        for (reason, count) in &self.reasons {
            row(&format!("  {}", escape(reason)), count.to_string());
        }
        let open = self.open();
        if open > 0 {
            row("not sent or not answered", open.to_string());
        }
        row("seconds", format!("{:.2}", self.elapsed.as_secs_f64()));
        row("events/s", format!("{:.0}", self.rate));
        text.truncate(text.trim_end().len());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(report: &Report) -> Vec<(String, String)> {
        let summary = report.finish().text();
        let split = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.trim().to_owned(), value.to_owned())
        };
        summary.lines().map(split).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_summary_counts_every_event_once_and_refusals_by_reason() {
        let mut report = Report::new(None);
        report.read(1000, 10);
        report.accept(6);
        report.refuse(&Refused::new(3, "invalid_key", "m"));
        report.refuse(&Refused::new(4, "not_json", "m"));
        report.refuse(&Refused::new(5, "not_json", "m"));
        tokio::time::advance(Duration::from_secs(2)).await;
        let expected = [
            ("events read", "10"),
            ("accepted", "6"),
            ("refused", "3"),
            ("invalid_key", "1"),
            ("not_json", "2"),
            ("not sent or not answered", "1"),
            ("seconds", "2.00"),
            ("events/s", "3"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(rows(&report), expected);
        assert!(!report.all_accepted());
    }

    #[test]
    fn reasons_that_a_service_makes_up_are_counted_together_past_a_bound() {
        let mut report = Report::new(Some(1));
        for line in 0..(MAX_REASONS as u64 + 5) {
            report.refuse(&Refused::new(line, &format!("r{line}"), "m"));
        }
        assert_eq!(report.reasons.len(), MAX_REASONS + 1);
        assert_eq!(report.reasons[OTHER_REASONS], 5);
    }
}
