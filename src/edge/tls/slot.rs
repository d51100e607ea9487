//! One certificate of a listener while it is in use: when its files are read again, what happens to
//! a bad one, and when its end is told of.
//!
//! Promise: what was good once stays in use until something better is there. A fault is told of once,
//! and, since two files are never written at the same moment, only when it is still there at the next
//! look.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use super::pair::{FileError, Pair};
use super::stamp::Stamp;
use crate::config::Certificate;
use crate::telemetry::CertificateMetrics;

const DAY: u64 = 86_400;
/// Days before the end at which it is told of.
const REMINDERS: [u64; 3] = [1, 7, 30];

/// A fault of files that have changed.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    message: Option<String>,
    told: bool,
}

impl Trouble {
    pub(super) fn is_there(&self) -> bool {
        self.message.is_some()
    }

    /// Takes note of a fault; true when it is to be told of now.
    pub(super) fn note(&mut self, message: &str, at_once: bool) -> bool {
        let same = self.message.as_deref() == Some(message);
        if !same {
            *self = Self {
                message: Some(message.to_owned()),
                told: false,
            };
        }
        let tell = (same || at_once) && !self.told;
        self.told |= tell;
        tell
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A certificate in use.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) files: Certificate,
    stamps: [Stamp; 2],
    pub(super) pair: Pair,
    trouble: Trouble,
    /// The last reminder, in days before the end; 0 after the end.
    reminded: Option<u64>,
    metrics: Arc<CertificateMetrics>,
}

fn stamps(files: &Certificate) -> [Stamp; 2] {
    [Stamp::of(&files.cert), Stamp::of(&files.key)]
}

impl Slot {
    /// Reads the files for the first time. A certificate out of its dates is taken: those of the
    /// other names may be good.
    pub(super) fn load(
        files: &Certificate,
        provider: &CryptoProvider,
        metrics: Arc<CertificateMetrics>,
    ) -> Result<Self, FileError> {
        let stamps = stamps(files);
        let pair = Pair::load(files, provider)?;
        metrics.not_after.set(pair.facts.not_after);
        Ok(Self {
            files: files.clone(),
            stamps,
            pair,
            trouble: Trouble::default(),
            reminded: None,
            metrics,
        })
    }

    /// Looks at the files, and reads them when they have changed, or in any case when `forced`. True
    /// when there is a new pair.
    pub(super) fn look(&mut self, provider: &CryptoProvider, forced: bool, now: u64) -> bool {
        let stamps = stamps(&self.files);
        if !forced && !self.trouble.is_there() && stamps == self.stamps {
            return false;
        }
        // Taken before reading: what changes meanwhile is seen at the next look.
        self.stamps = stamps;
        let loaded = Pair::load(&self.files, provider).and_then(|pair| match pair.fault_at(now) {
            None => Ok(pair),
            Some(fault) => Err(FileError {
                path: self.files.cert.clone(),
                fault,
            }),
        });
        match loaded {
            Ok(pair) => {
                self.trouble.clear();
                self.metrics.reloaded.inc();
                self.metrics.not_after.set(pair.facts.not_after);
                if pair.key.cert == self.pair.key.cert {
                    tracing::debug!(file = %self.files.cert.display(), "the certificate is the same");
                } else {
                    self.reminded = None;
                    tracing::info!(
                        file = %self.files.cert.display(),
                        days = pair.facts.not_after.saturating_sub(now) / DAY,
                        "a new certificate is in use"
                    );
                }
                self.pair = pair;
                true
            }
            Err(error) => {
                if self.trouble.note(&error.to_string(), forced) {
                    self.metrics.failed.inc();
                    tracing::error!(
                        "a changed certificate cannot be used, and the one before it stays: {error}"
                    );
                }
                false
            }
        }
    }

    /// Tells of the end of the certificate in use, 30, 7 and 1 days before, and after it.
    pub(super) fn remind(&mut self, now: u64) {
        let Some(due) = due(&self.pair, now) else {
            return;
        };
        if self.reminded.is_some_and(|last| last <= due) {
            return;
        }
        self.reminded = Some(due);
        let file = self.files.cert.display();
        if due == 0 {
            tracing::error!(%file, "the certificate has expired: clients refuse it");
        } else {
            let days = self.pair.facts.not_after.saturating_sub(now) / DAY;
            tracing::warn!(%file, days, "the certificate ends soon");
        }
    }
}

/// The reminder that is due: days before the end, 0 after it. Of certificates that live for days
/// only, not before two thirds of that are over.
pub(super) fn due(pair: &Pair, now: u64) -> Option<u64> {
    let (from, to) = (pair.facts.not_before, pair.facts.not_after);
    if to < now {
        return Some(0);
    }
    let last_third = to.saturating_sub(from) / 3;
    let within = |days: &&u64| to - now <= (**days * DAY).min(last_third);
    REMINDERS.iter().find(within).copied()
}
