//! Which upstreams a logstore's events go to.

use super::{Config, KafkaUpstream, Logstore, Project, Upstream};
use crate::foundation::names::{LogstoreName, ProjectName};

/// What a logstore says for itself, or else its project; an empty text is none.
fn named<'c>(own: Option<&'c String>, of_project: Option<&'c String>) -> Option<&'c str> {
    let name = own.or(of_project)?;
    (!name.is_empty()).then_some(name)
}

impl Project {
    /// The upstream of a logstore.
    #[must_use]
    pub fn upstream_of<'c>(&'c self, logstore: &'c Logstore) -> &'c str {
        logstore.upstream.as_deref().unwrap_or(&self.upstream)
    }

    /// The upstream that takes its events while the first is down.
    #[must_use]
    pub fn fallback_of<'c>(&'c self, logstore: &'c Logstore) -> Option<&'c str> {
        named(logstore.fallback.as_ref(), self.fallback.as_ref())
    }

    /// The upstream that gets copies of its events.
    #[must_use]
    pub fn also_of<'c>(&'c self, logstore: &'c Logstore) -> Option<&'c str> {
        named(logstore.also.as_ref(), self.also.as_ref())
    }

    /// Whether events of one of its logstores go to an upstream, always or at times.
    #[must_use]
    pub fn uses(&self, upstream: &str) -> bool {
        self.upstream == upstream || self.logstores.iter().any(|it| self.sends(it, upstream))
    }

    /// Whether events of a logstore go to an upstream, always or at times.
    #[must_use]
    pub fn sends(&self, logstore: &Logstore, upstream: &str) -> bool {
        let others = [self.fallback_of(logstore), self.also_of(logstore)];
        self.upstream_of(logstore) == upstream || others.contains(&Some(upstream))
    }
}

impl Config {
    /// The upstream of this name.
    #[must_use]
    pub fn upstream(&self, name: &str) -> Option<&Upstream> {
        self.upstreams.iter().find(|upstream| upstream.name == name)
    }

    /// The logstore of this name, or whose copies have it.
    #[must_use]
    pub fn logstore_of_lane(
        &self,
        project: &ProjectName,
        lane: &LogstoreName,
    ) -> Option<&Logstore> {
        let project = self.projects.iter().find(|it| it.name == *project)?;
        project.logstores.iter().find(|logstore| {
            let copy = project.also_of(logstore);
            let copy = copy.and_then(|upstream| logstore.name.copy_for(upstream).ok());
            logstore.name == *lane || copy.as_ref() == Some(lane)
        })
    }
}

impl KafkaUpstream {
    /// The topic of a logstore.
    #[must_use]
    pub fn topic_of(&self, project: &Project, logstore: &Logstore) -> String {
        let at_store = project.upstream_project.as_ref().unwrap_or(&project.name);
        let name = logstore.upstream_logstore.as_ref();
        let name = name.unwrap_or(&logstore.name);
        let topic = self.topic.replace("{project}", at_store.as_str());
        topic.replace("{logstore}", name.as_str())
    }
}
