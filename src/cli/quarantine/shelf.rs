//! Where records are read: in the files of a data directory, or by the admin API of a running node.

use std::collections::HashSet;
use std::rc::Rc;

use super::super::api::Api;
use super::super::{Exit, Failure, output};
use super::{PlaceArgs, unreadable};
use crate::event::{RecordFilter, RecordPage};
use crate::pipeline::quarantine::{Kept, KeptRecord, each_record, places, replayed};

/// The records of one logstore.
pub(super) struct Shelf {
    pub(super) project: String,
    pub(super) logstore: String,
    way: Way,
}

/// How they are read.
enum Way {
    Files(Kept),
    Node(Rc<Api>),
}

/// Is shown a record, whether it was replayed, and its line. Whether to go on.
type See<'a> = dyn FnMut(&KeptRecord<'_>, bool, &str) -> bool + 'a;

impl PlaceArgs {
    /// The places that are meant and have records.
    pub(super) fn find(&self) -> Result<Vec<Shelf>, Failure> {
        let config = self.source.load()?;
        let mut found: Vec<Shelf> = match self.live.node(&config)? {
            Some(api) => {
                let api: Rc<Api> = Rc::from(api);
                let all = api.aside()?.into_iter();
                all.map(|place| Shelf {
                    project: place.project,
                    logstore: place.logstore,
                    way: Way::Node(Rc::clone(&api)),
                })
                .collect()
            }
            None => {
                let all = places(&config.data_dir).map_err(|error| unreadable(&error))?;
                let all = all.into_iter();
                all.map(|kept| Shelf {
                    project: kept.project.clone(),
                    logstore: kept.logstore.clone(),
                    way: Way::Files(kept),
                })
                .collect()
            }
        };
        found.retain(|shelf| {
            let (project, logstore) = (self.project.as_ref(), self.logstore.as_ref());
            project.is_none_or(|wanted| wanted.as_str() == shelf.project)
                && logstore.is_none_or(|wanted| wanted.as_str() == shelf.logstore)
        });
        Ok(found)
    }
}

impl Shelf {
    /// Shows each record that is meant, the oldest first, until `see` says no.
    pub(super) fn each(
        &self,
        filter: &RecordFilter,
        mut see: impl FnMut(&KeptRecord<'_>, bool, &str) -> bool,
    ) -> Result<(), Failure> {
        let damaged = match &self.way {
            Way::Files(kept) => of_files(kept, filter, &mut see)?,
            Way::Node(api) => self.of_node(api, filter, &mut see)?,
        };
        if damaged > 0 {
            let place = format!("{}/{}", self.project, self.logstore);
            output::note(format_args!(
                "{}: {damaged} damaged lines were skipped",
                output::escape(&place)
            ));
        }
        Ok(())
    }

    fn of_node(&self, api: &Api, filter: &RecordFilter, see: &mut See<'_>) -> Result<u64, Failure> {
        let place = (self.project.as_str(), self.logstore.as_str());
        let (mut damaged, mut from) = (0, None);
        loop {
            let page: RecordPage = api.records(place, filter, from.as_deref())?;
            damaged += page.damaged;
            for shown in &page.records {
                let line = shown.record.get();
                let record: KeptRecord<'_> = serde_json::from_str(line).map_err(|error| {
                    let message = format!("the node shows what is no record: {error}");
                    Failure::new(Exit::Unavailable, message)
                })?;
                if !see(&record, shown.replayed, line) {
                    return Ok(damaged);
                }
            }
            if page.next.is_none() {
                return Ok(damaged);
            }
            from = page.next;
        }
    }
}

fn of_files(kept: &Kept, filter: &RecordFilter, see: &mut See<'_>) -> Result<u64, Failure> {
    let noted: HashSet<String> = replayed(kept).map_err(|error| unreadable(&error))?;
    let damaged = each_record(kept, |record, line| {
        if !filter.takes(&record.id, &record.cause, &record.check, record.received) {
            return true;
        }
        see(record, noted.contains(&*record.id), line)
    });
    damaged.map_err(|error| unreadable(&error))
}
