//! Where records are read: in the files of a data directory, or by the admin API of a running node.

use std::collections::HashSet;
use std::rc::Rc;

use http::Method;

use super::super::api::Api;
use super::super::{Exit, Failure, output};
use super::{PlaceArgs, unreadable};
use crate::app::NodeState;
use crate::config::Config;
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
        let mut node = None;
        let mut found: Vec<Shelf> = match self.live.node(&config)? {
            Some(api) => {
                let api: Rc<Api> = Rc::from(api);
                node = Some(Rc::clone(&api));
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
        found.retain(|shelf| self.means(&shelf.project, &shelf.logstore));
        let names_one = self.project.is_some() || self.logstore.is_some();
        if found.is_empty() && names_one {
            let known = match &node {
                Some(api) => named_on(api)?,
                None => named_by(&config),
            };
            // Of a data directory alone it is not known what its node calls a logstore.
            let unknown =
                node.is_none() && self.source.config.is_none() && self.source.data_dir.is_some();
            let is_there = known
                .iter()
                .any(|(project, logstore)| self.means(project, logstore));
            match (is_there, unknown) {
                (true, _) => {}
                (false, true) => output::note(format_args!(
                    "note: {}; with --config it could be told whether there is one",
                    self.nowhere()
                )),
                (false, false) => return Err(Failure::new(Exit::Partial, self.nowhere())),
            }
        }
        Ok(found)
    }

    fn means(&self, project: &str, logstore: &str) -> bool {
        let of_project = self.project.as_ref();
        let of_logstore = self.logstore.as_ref();
        of_project.is_none_or(|wanted| wanted.as_str() == project)
            && of_logstore.is_none_or(|wanted| wanted.as_str() == logstore)
    }

    /// Neither configured, nor a place that has records.
    fn nowhere(&self) -> String {
        match (&self.project, &self.logstore) {
            (Some(project), Some(logstore)) => {
                format!(
                    "there is no logstore {logstore} in project {project}, and none with records"
                )
            }
            (None, Some(logstore)) => {
                format!("there is no logstore {logstore}, and none with records")
            }
            (Some(project), None) => {
                format!("there is no project {project}, and none with records")
            }
            (None, None) => "there is nothing".to_owned(),
        }
    }
}

/// The logstores of a running node.
fn named_on(api: &Api) -> Result<Vec<(String, String)>, Failure> {
    let state: NodeState = api.call(Method::GET, "state", None)?;
    let names = state.logstores.into_iter();
    Ok(names.map(|it| (it.project, it.logstore)).collect())
}

/// The logstores of a configuration.
fn named_by(config: &Config) -> Vec<(String, String)> {
    let projects = config.projects.iter();
    let names = projects.flat_map(|project| {
        let logstores = project.logstores.iter();
        logstores.map(|it| (project.name.to_string(), it.name.to_string()))
    });
    names.collect()
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
