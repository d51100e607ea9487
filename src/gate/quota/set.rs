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
    /// Those for every request, by its address alone.
    pub door: Vec<Arc<Limit>>,
    of: Map<Map<Arc<LogstoreLimits>>>,
    /// Classes of events.
    pub classes: Arc<Classes>,
    /// What they were made from.
    class_rules: Vec<Class>,
    /// Where days and months begin, in seconds east of UTC.
    utc_offset: i32,
}

/// The limits of one logstore.
#[derive(Debug, Default)]
pub struct LogstoreLimits {
    /// By address, project and logstore.
    pub head: Vec<Arc<Limit>>,
    /// By the caller.
    pub caller: Vec<Arc<Limit>>,
    /// By the events.
    pub events: Vec<Arc<Limit>>,
    /// Classes of events.
    pub classes: Arc<Classes>,
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
        let classes = Arc::new(Classes::new(&config.classes));
        let same_ground = before.class_rules == config.classes && before.utc_offset == offset;
        let mut all = Vec::new();
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
        let mut of: Map<Map<Arc<LogstoreLimits>>> = Map::default();
        for project in &config.projects {
            let mut logstores = Map::default();
            for logstore in &project.logstores {
                let wanted = |stage: Stage| {
                    let scoped = all.iter().filter(|limit| {
                        let rule = &limit.rule;
                        limit.stage == stage
                            && (rule.projects.is_empty() || rule.projects.contains(&project.name))
                            && (rule.logstores.is_empty()
                                || rule.logstores.contains(&logstore.name))
                    });
                    scoped.cloned().collect::<Vec<_>>()
                };
                let limits = LogstoreLimits {
                    head: wanted(Stage::Head),
                    caller: wanted(Stage::Caller),
                    events: wanted(Stage::Events),
                    classes: Arc::clone(&classes),
                };
                if limits.head.len() + limits.caller.len() + limits.events.len() > 0 {
                    logstores.insert(logstore.name.as_str().into(), Arc::new(limits));
                }
            }
            if !logstores.is_empty() {
                of.insert(project.name.as_str().into(), logstores);
            }
        }
        let door = all.iter().filter(|limit| limit.stage == Stage::Door);
        Ok(Self {
            door: door.cloned().collect(),
            all,
            of,
            classes,
            class_rules: config.classes.clone(),
            utc_offset: offset,
        })
    }

    /// The limits of a logstore, if it has any.
    #[must_use]
    pub fn of(&self, project: &str, logstore: &str) -> Option<Arc<LogstoreLimits>> {
        if self.of.is_empty() {
            return None;
        }
        self.of.get(project)?.get(logstore).cloned()
    }

    /// Where days and months begin, in seconds east of UTC.
    #[must_use]
    pub fn utc_offset(&self) -> i32 {
        self.utc_offset
    }
}
