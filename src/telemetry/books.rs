//! The books: what came in, and where it is or how it ended, for each logstore.
//!
//! Promise: at a quiet moment nothing is missing and nothing is there twice:
//! `accepted + recovered = delivered + quarantined + dropped + expired + shed + held + waiting`, in
//! events, since the process has started. While events move, the numbers are read one after the
//! other, so a single reading may be off by what moved meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::labels::{DropReason, Judge};
use super::metrics::{LogstoreMetrics, Metrics};

/// Readings of a logstore until its books balance.
const READINGS: u32 = 20;
/// Time between two of them.
const PAUSE: Duration = Duration::from_millis(1);

/// The books of all logstores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Books {
    /// Whether all of them balance.
    pub balanced: bool,
    /// Those of each logstore.
    pub logstores: Vec<LogstoreBook>,
}

/// The books of one logstore, in events since the process has started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogstoreBook {
    /// Its project.
    pub project: String,
    /// Its name.
    pub logstore: String,
    /// Accepted: from clients, from other logstores, by a replay.
    pub accepted: u64,
    /// Found on disk, left there by an earlier life of the process.
    pub recovered: u64,
    /// Acknowledged by the store.
    pub delivered: u64,
    /// Refused by the store, and set aside on local disk.
    pub quarantined: u64,
    /// Ended in another way, by reason; those of 0 are left out.
    pub dropped: BTreeMap<String, u64>,
    /// Waited on disk for too long.
    pub expired: u64,
    /// Made room for newer ones on disk.
    pub shed: u64,
    /// In memory now.
    pub held: u64,
    /// On disk and not in memory now.
    pub waiting: u64,
    /// What an earlier life has left on disk is still being looked through: `recovered` and `waiting`
    /// will grow.
    #[serde(default)]
    pub recovering: bool,
    /// Attempts to deliver that failed and are tried again.
    pub retries: u64,
    /// LogGroups sent again although the store may have taken them before: what can be there twice,
    /// with the same `__pack_id__`.
    pub resends_in_doubt: u64,
    /// What came in less what is known of it: more than 0 is missing, less than 0 is there twice.
    pub difference: i64,
    /// Whether that is 0.
    pub balanced: bool,
}

impl LogstoreBook {
    fn read(project: &str, logstore: &str, cells: &LogstoreMetrics) -> Self {
        let dropped = |reason: &DropReason| cells.events_dropped.at(*reason as usize).get();
        let reasons = DropReason::ALL.iter();
        let dropped = reasons.map(|reason| (reason.label().to_owned(), dropped(reason)));
        let mut book = Self {
            project: project.to_owned(),
            logstore: logstore.to_owned(),
            accepted: cells.events_accepted.get(),
            recovered: cells.spool.recovered.get(),
            delivered: cells.events_delivered.get(),
            quarantined: cells.events_quarantined.at(Judge::Store as usize).get(),
            dropped: dropped.filter(|(_, count)| *count > 0).collect(),
            expired: cells.spool.expired.get(),
            shed: cells.spool.shed.get(),
            held: cells.events_held.get(),
            waiting: cells.spool.waiting.get(),
            recovering: cells.spool.recovering.get() > 0,
            retries: cells.delivery_retries.get(),
            resends_in_doubt: cells.delivery.resends_in_doubt.get(),
            ..Self::default()
        };
        book.difference = book.missing();
        book.balanced = book.difference == 0;
        book
    }

    /// A gauge may be below 0 for a moment, so the sum wraps, as it does.
    fn missing(&self) -> i64 {
        let entered = self.accepted.wrapping_add(self.recovered);
        let known = [
            self.delivered,
            self.quarantined,
            self.expired,
            self.shed,
            self.held,
            self.waiting,
        ];
        let known = known.iter().chain(self.dropped.values());
        let known = known.fold(0_u64, |sum, count| sum.wrapping_add(*count));
        entered.wrapping_sub(known).cast_signed()
    }
}

impl Metrics {
    /// The books, each read until it balances, or often enough: then events are missing, or there
    /// twice. Blocks for some milliseconds then.
    #[must_use]
    pub fn books(&self) -> Books {
        let logstores = self.each_logstore();
        let logstores = logstores.iter().map(|((project, logstore), cells)| {
            let mut book = LogstoreBook::read(project, logstore, cells);
            for _ in 1..READINGS {
                if book.balanced {
                    break;
                }
                std::thread::sleep(PAUSE);
                book = LogstoreBook::read(project, logstore, cells);
            }
            book
        });
        let logstores: Vec<LogstoreBook> = logstores.collect();
        Books {
            balanced: logstores.iter().all(|book| book.balanced),
            logstores,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_in_is_somewhere_or_missing_or_there_twice() {
        let metrics = Metrics::new();
        let cells = metrics.logstore("p", "l");
        cells.events_accepted.add(90);
        cells.spool.recovered.add(10);
        for (counter, count) in [
            (&cells.events_delivered, 50),
            (cells.events_quarantined.at(Judge::Store as usize), 1),
            (
                cells
                    .events_dropped
                    .at(DropReason::UpstreamRefused as usize),
                2,
            ),
            (&cells.spool.expired, 3),
            (&cells.spool.shed, 4),
        ] {
            counter.add(count);
        }
        cells.events_held.add(30);
        cells.spool.waiting.add(10);
        // Events that never came in are in other books.
        cells.events_quarantined.at(Judge::Schema as usize).add(7);
        let books = metrics.books();
        assert!(books.balanced, "{books:?}");
        assert_eq!(books.logstores[0].dropped["upstream_refused"], 2);
        assert_eq!(books.logstores[0].dropped.len(), 1);
        cells.events_held.sub(1);
        let books = metrics.books();
        assert!(!books.balanced);
        assert_eq!(books.logstores[0].difference, 1);
        cells.spool.waiting.add(3);
        assert_eq!(metrics.books().logstores[0].difference, -2);
        let json = serde_json::to_string(&books).unwrap();
        assert_eq!(serde_json::from_str::<Books>(&json).unwrap(), books);
    }
}
