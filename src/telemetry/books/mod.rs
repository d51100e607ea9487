//! The books: what came in, and where it is or how it ended, for each logstore.
//!
//! Promise: nothing is missing and nothing is there twice, in events, since the process has started:
//! `entered + added + recovered = refused + quarantined + dropped + routed + delivered + expired + shed +
//! deciding + held + waiting`. The numbers are read one after the other while events move, so a single
//! reading may be off by what moved meanwhile, and is repeated.
//! What earlier lives of the process have counted is carried along ([`Earlier`], `kept`).

mod kept;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::kept::{Away, KeptBooks};
use super::labels::{DropReason, Judge};
use super::metrics::{LogstoreMetrics, Metrics};
use crate::event::Reason;

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

/// What came in and how it ended, in events. Reasons with 0 are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sums {
    /// Read from requests.
    pub entered: u64,
    /// Came in another way: from other logstores and their quarantine, as copies, by a replay, an import
    /// or from ourselves.
    pub added: u64,
    /// Not taken, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Set aside, by what found them wanting.
    pub quarantined: BTreeMap<String, u64>,
    /// Ended in another way, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Given to other logstores, or another topic, by a step or a limit.
    pub routed: u64,
    /// Acknowledged by the store.
    pub delivered: u64,
    /// Waited on disk for too long.
    pub expired: u64,
    /// Made room for newer ones on disk.
    pub shed: u64,
}

impl Sums {
    fn read(cells: &LogstoreMetrics) -> Self {
        let dropped = DropReason::ALL.iter();
        let dropped = dropped.map(|it| (it.label(), cells.events_dropped.at(*it as usize).get()));
        let left_out = [
            ("sampled", cells.events_sampled.get()),
            ("duplicate", cells.events_duplicate.get()),
        ];
        let refused = Reason::ALL.iter();
        let refused = refused.map(|it| (it.label(), cells.events_refused.at(it.index()).get()));
        let aside = Judge::ALL.iter();
        let aside = aside.map(|it| (it.label(), cells.events_quarantined.at(*it as usize).get()));
        Self {
            entered: cells.events_entered.get(),
            added: cells.events_added.get(),
            refused: counted(refused),
            quarantined: counted(aside),
            dropped: counted(dropped.chain(left_out)),
            routed: cells.events_routed.get(),
            delivered: cells.events_delivered.get(),
            expired: cells.spool.expired.get(),
            shed: cells.spool.shed.get(),
        }
    }

    /// How many have ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        let plain = [self.routed, self.delivered, self.expired, self.shed];
        let by_reason = [&self.refused, &self.quarantined, &self.dropped];
        let by_reason = by_reason.into_iter().flat_map(BTreeMap::values);
        let all = plain.iter().chain(by_reason);
        all.fold(0, |sum, count| sum.wrapping_add(*count))
    }

    fn add(&mut self, more: &Self) {
        for (mine, more) in [
            (&mut self.entered, more.entered),
            (&mut self.added, more.added),
            (&mut self.routed, more.routed),
            (&mut self.delivered, more.delivered),
            (&mut self.expired, more.expired),
            (&mut self.shed, more.shed),
        ] {
            *mine = mine.wrapping_add(more);
        }
        for (mine, more) in [
            (&mut self.refused, &more.refused),
            (&mut self.quarantined, &more.quarantined),
            (&mut self.dropped, &more.dropped),
        ] {
            for (reason, count) in more {
                let mine = mine.entry(reason.clone()).or_default();
                *mine = mine.wrapping_add(*count);
            }
        }
    }
}

/// Those that are not 0.
fn counted<'l>(all: impl Iterator<Item = (&'l str, u64)>) -> BTreeMap<String, u64> {
    let some = all.filter(|(_, count)| *count > 0);
    some.map(|(label, count)| (label.to_owned(), count))
        .collect()
}

/// What earlier lives of the process have counted, as far as they could write it down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Earlier {
    /// How many there were.
    pub lives: u64,
    /// How many of them were killed, or crashed: their last seconds are not in the sums.
    pub killed: u64,
    /// What they have counted.
    #[serde(flatten)]
    pub sums: Sums,
    /// What the last of them held when it last wrote, in memory and on disk.
    pub left: u64,
    /// LogGroups that they sent again, or left to be sent again, although the store may have had them.
    #[serde(default)]
    pub resends_in_doubt: u64,
    /// What lives have left less what the next ones have found on disk. 0 after stops. After a kill, of
    /// which not more is known: more than 0 were delivered in its last seconds, or were in memory and are
    /// lost; less than 0 came in its last seconds, or were delivered and come again.
    pub unknown: i64,
}

/// The books of one logstore, in events since the process has started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogstoreBook {
    /// Its project.
    pub project: String,
    /// Its name.
    pub logstore: String,
    /// What came in, and how it ended.
    #[serde(flatten)]
    pub sums: Sums,
    /// Found on disk, left there by an earlier life of the process.
    pub recovered: u64,
    /// Of all that came in: held by us, at some time.
    pub accepted: u64,
    /// Read from requests of which is not decided yet what becomes of them.
    pub deciding: u64,
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
    /// What earlier lives have counted; without it nothing is known of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<Earlier>,
}

impl LogstoreBook {
    pub(super) fn read(project: &str, logstore: &str, cells: &LogstoreMetrics) -> Self {
        let mut book = Self {
            project: project.to_owned(),
            logstore: logstore.to_owned(),
            sums: Sums::read(cells),
            recovered: cells.spool.recovered.get(),
            accepted: cells.events_accepted.get(),
            deciding: cells.events_deciding.get(),
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

    /// What is somewhere now.
    #[must_use]
    pub fn left(&self) -> u64 {
        let memory = self.deciding.wrapping_add(self.held);
        memory.wrapping_add(self.waiting)
    }

    /// A gauge may be below 0 for a moment, so the sums wrap, as it does.
    fn missing(&self) -> i64 {
        let Sums { entered, added, .. } = self.sums;
        let came = entered.wrapping_add(added).wrapping_add(self.recovered);
        let known = self.sums.ended().wrapping_add(self.left());
        came.wrapping_sub(known).cast_signed()
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
        let mut logstores: Vec<LogstoreBook> = logstores.collect();
        self.with_earlier(&mut logstores);
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
        cells.events_entered.add(90);
        cells.take_added(25);
        cells.spool.recovered.add(10);
        for (counter, count) in [
            (&cells.events_delivered, 50),
            (cells.events_quarantined.at(Judge::Store as usize), 1),
            (cells.events_quarantined.at(Judge::Schema as usize), 7),
            (cells.events_refused.at(Reason::QuotaExceeded.index()), 5),
            (&cells.events_sampled, 2),
            (&cells.events_duplicate, 1),
            (&cells.events_routed, 6),
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
        cells.events_deciding.add(4);
        let books = metrics.books();
        assert!(books.balanced, "{books:?}");
        let sums = &books.logstores[0].sums;
        let of = |map: &BTreeMap<String, u64>| {
            let all = map
                .iter()
                .map(|(reason, count)| format!("{reason} {count}"));
            all.collect::<Vec<_>>()
        };
        assert_eq!(of(&sums.refused), ["quota_exceeded 5"]);
        assert_eq!(of(&sums.quarantined), ["schema 7", "store 1"]);
        let dropped = ["duplicate 1", "sampled 2", "upstream_refused 2"];
        assert_eq!(of(&sums.dropped), dropped);
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
