//! The limits of a configuration, sorted by when and where they are asked.

use std::collections::HashMap;
use std::sync::Arc;

use super::classes::Classes;
use super::key::{PartError, Seed, Stage};
use super::limit::Limit;
use super::shared::Store;
use crate::config::{Class, Config, LimitMode};

type Map<T> = HashMap<Box<str>, T, foldhash::quality::RandomState>;

/// All limits.
#[derive(Debug, Default)]
pub struct QuotaSet {
    /// Every limit, in the order of the configuration.
    pub all: Vec<Arc<Limit>>,
    /// Those for every request, by its address alone: their places in `all`.
    pub door: Vec<usize>,
    /// Where the limits of a logstore stand in `logstores`.
    of: Map<Map<usize>>,
    logstores: Vec<LogstoreLimits>,
    /// Classes of events.
    pub classes: Classes,
    /// What they were made from.
    class_rules: Vec<Class>,
    /// Where days and months begin, in seconds east of UTC.
    utc_offset: i32,
}

/// The limits of one logstore: their places among all. So what was taken from them is noted by numbers,
/// and a request counts up the references to nothing but the whole set.
#[derive(Debug, Default)]
pub struct LogstoreLimits {
    /// By address, project and logstore.
    pub head: Vec<usize>,
    /// By the caller.
    pub caller: Vec<usize>,
    /// By the events.
    pub events: Vec<usize>,
}

impl QuotaSet {
    /// The limits of a configuration. One that was there before with the same rule keeps its state.
    ///
    /// # Errors
    /// A key with a part that does not exist.
    pub fn new(
        config: &Config,
        seed: &Seed,
        before: &Self,
        store: Option<&Arc<Store>>,
    ) -> Result<Self, PartError> {
        let offset = config.quota.offset_seconds().unwrap_or_default();
        let classes = Classes::new(&config.classes);
        let same_ground = before.class_rules == config.classes && before.utc_offset == offset;
        let mut all: Vec<Arc<Limit>> = Vec::new();
        for rule in &config.limit_rules {
            if rule.mode == LimitMode::Off {
                continue;
            }
            let same = before.all.iter().find(|limit| limit.rule == *rule);
            all.push(match same.filter(|_| same_ground) {
                Some(limit) => Arc::clone(limit),
                None => {
                    let limit = Limit::new(rule, &classes, offset, seed.clone(), store)?;
                    Arc::new(limit)
                }
            });
        }
        let (mut of, mut all_logstores): (Map<Map<usize>>, _) = (Map::default(), Vec::new());
        for project in &config.projects {
            let mut logstores = Map::default();
            for logstore in &project.logstores {
                let wanted = |stage: Stage| {
                    let scoped = all.iter().enumerate().filter(|(_, limit)| {
                        let rule = &limit.rule;
                        limit.stage == stage
                            && (rule.projects.is_empty() || rule.projects.contains(&project.name))
                            && (rule.logstores.is_empty()
                                || rule.logstores.contains(&logstore.name))
                    });
                    scoped.map(|(place, _)| place).collect::<Vec<_>>()
                };
                let limits = LogstoreLimits {
                    head: wanted(Stage::Head),
                    caller: wanted(Stage::Caller),
                    events: wanted(Stage::Events),
                };
                if limits.head.len() + limits.caller.len() + limits.events.len() > 0 {
                    logstores.insert(logstore.name.as_str().into(), all_logstores.len());
                    all_logstores.push(limits);
                }
            }
            if !logstores.is_empty() {
                of.insert(project.name.as_str().into(), logstores);
            }
        }
        let door = all.iter().enumerate();
        let door = door.filter(|(_, limit)| limit.stage == Stage::Door);
        Ok(Self {
            door: door.map(|(place, _)| place).collect(),
            all,
            of,
            logstores: all_logstores,
            classes,
            class_rules: config.classes.clone(),
            utc_offset: offset,
        })
    }

    /// The place of the limits of a logstore, if it has any.
    #[must_use]
    pub fn place_of(&self, project: &str, logstore: &str) -> Option<usize> {
        if self.of.is_empty() {
            return None;
        }
        self.of.get(project)?.get(logstore).copied()
    }

    /// The limits of the logstore at a place.
    #[must_use]
    pub fn logstore(&self, place: Option<usize>) -> Option<&LogstoreLimits> {
        self.logstores.get(place?)
    }

    /// The limits at these places, and where each stands.
    pub(super) fn at<'a>(
        &'a self,
        places: &'a [usize],
    ) -> impl Iterator<Item = (usize, &'a Limit)> + Clone {
        let at = |place: &usize| Some((*place, &**self.all.get(*place)?));
        places.iter().filter_map(at)
    }

    /// Where days and months begin, in seconds east of UTC.
    #[must_use]
    pub fn utc_offset(&self) -> i32 {
        self.utc_offset
    }
}
