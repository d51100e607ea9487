//! The projects and logstores that requests may name, ready to be looked up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use http::HeaderMap;
use http::header::HeaderName;
use http::uri::Authority;

use super::cors::Origins;
use super::quality::Quality;
use super::relay::RelayTarget;
use crate::config::{self, Ingest, Limits, Logstore};
use crate::event::{Priority, Reason, Refusal};
use crate::foundation::budget::Budget;
use crate::foundation::names::ProjectName;
use crate::logstore::client::StoreClient;
use crate::pipeline::Lane;
use crate::telemetry::{LogstoreMetrics, TransformFigures};

/// A logstore that clients may write to, with all that its requests need.
#[derive(Debug)]
pub struct SiteLogstore {
    /// Its part of the configuration.
    pub rules: Logstore,
    /// Origins that may write, ready for comparison.
    pub(super) origins: Origins,
    /// Where its events go.
    pub lane: Arc<Lane>,
    /// The part of the lane's memory that bodies may take while they arrive.
    pub(super) arriving: Arc<Budget>,
    /// The part of that for bodies of senders that are not known yet.
    pub(super) unverified: Arc<Budget>,
    /// Priority of its events.
    pub(super) priority: Priority,
    /// What is counted for it.
    pub metrics: Arc<LogstoreMetrics>,
    /// What its events are held to, if to anything.
    quality: ArcSwapOption<Quality>,
    /// Whether they are: most are not, and to ask this writes nothing.
    has_quality: AtomicBool,
    /// The name that policies have for it.
    pub(super) resource: String,
    /// The store that requests signed with its keys are passed on to, and the project there.
    upstream: Option<(Arc<StoreClient>, ProjectName)>,
}

/// What a logstore of the site is made of, besides its part of the configuration.
#[derive(Debug)]
pub struct SiteParts<'a> {
    /// Where its events go.
    pub lane: Arc<Lane>,
    /// What is counted for it.
    pub metrics: Arc<LogstoreMetrics>,
    /// Bounds of bodies.
    pub limits: &'a Limits,
    /// The name that policies have for it.
    pub resource: String,
    /// Its store, where that is SLS, and the project there.
    pub upstream: Option<(Arc<StoreClient>, ProjectName)>,
    /// The same logstore of the site before, where the bounds of bodies are the same: bodies that arrive
    /// stay counted.
    pub before: Option<&'a SiteLogstore>,
}

impl SiteLogstore {
    /// Makes ready what the configuration says.
    ///
    /// Slow bodies hold memory for as long as they may take to arrive. So that they never hold all
    /// of it, they get half of what the lane may hold at the moment, and those of unknown senders an
    /// eighth, but always room for one body of the greatest size.
    #[must_use]
    pub fn new(rules: Logstore, parts: SiteParts<'_>) -> Self {
        let SiteParts {
            lane,
            metrics,
            limits,
            resource,
            upstream,
            before,
        } = parts;
        let origins = Origins::new(&rules.allow_origins);
        let (arriving, unverified) = match before {
            Some(before) if Arc::ptr_eq(&before.lane, &lane) => {
                (Arc::clone(&before.arriving), Arc::clone(&before.unverified))
            }
            _ => {
                let arriving = Budget::part(lane.budget(), 2, limits.body.get());
                let unverified = Budget::part(&arriving, 4, limits.unverified_body.get());
                (arriving, unverified)
            }
        };
        let priority = match rules.priority {
            config::Priority::Low => Priority::Low,
            config::Priority::Normal => Priority::Normal,
            config::Priority::High => Priority::High,
        };
        Self {
            rules,
            origins,
            lane,
            arriving,
            unverified,
            priority,
            metrics,
            quality: ArcSwapOption::empty(),
            has_quality: AtomicBool::new(false),
            resource,
            upstream,
        }
    }

    /// What its events are held to, if to anything.
    pub(super) fn quality(&self) -> Option<Arc<Quality>> {
        let has_quality = self.has_quality.load(Ordering::Acquire);
        has_quality.then(|| self.quality.load_full()).flatten()
    }

    /// The store that requests signed with its keys are passed on to.
    pub(super) fn relay_target(&self) -> Option<RelayTarget<'_>> {
        let (client, project) = self.upstream.as_ref()?;
        Some(RelayTarget { client, project })
    }
}

const X_LOG_PROJECT: HeaderName = HeaderName::from_static("x-log-project");

type Logstores = HashMap<String, Arc<SiteLogstore>, foldhash::quality::RandomState>;

/// Every project, and how a request names one.
#[derive(Debug)]
pub struct Site {
    projects: HashMap<String, (ProjectName, Logstores), foldhash::quality::RandomState>,
    hosts: BTreeMap<String, ProjectName>,
    default_project: Option<ProjectName>,
}

/// A project found, and whether the host named it twice.
pub(super) struct Found<'a> {
    pub(super) project: &'a ProjectName,
    logstores: &'a Logstores,
    pub(super) doubled: bool,
}

impl<'a> Found<'a> {
    pub(super) fn logstore(&self, name: &str) -> Result<&'a Arc<SiteLogstore>, Refusal> {
        self.logstores.get(name).ok_or_else(|| {
            let shown: String = name
                .chars()
                .take(63)
                .flat_map(char::escape_default)
                .collect();
            Refusal::new(
                Reason::UnknownLogstore,
                format!("logstore {shown} does not exist"),
            )
        })
    }
}

impl Site {
    /// A site of these projects.
    #[must_use]
    pub fn new(ingest: &Ingest, projects: Vec<(ProjectName, Vec<SiteLogstore>)>) -> Self {
        let projects = projects
            .into_iter()
            .map(|(name, logstores)| {
                let logstores = logstores
                    .into_iter()
                    .map(|logstore| (logstore.rules.name.to_string(), Arc::new(logstore)))
                    .collect();
                (name.to_string(), (name, logstores))
            })
            .collect();
        Self {
            projects,
            hosts: ingest.hosts.clone(),
            default_project: ingest.default_project.clone(),
        }
    }

    /// The project of a request. In this order: a configured custom domain, the first label of the
    /// host, `x-log-project`, and for hosts that name no project at all the default project.
    pub(super) fn project(&self, host: &str, headers: &HeaderMap) -> Result<Found<'_>, Refusal> {
        if let Some(name) = self.hosts.get(host) {
            return self
                .found(name.as_str())
                .ok_or(Reason::UnknownProject.into());
        }
        let mut labels = host.split('.');
        let first = labels.next().unwrap_or_default();
        if let Some(mut found) = self.found(first) {
            found.doubled = labels.next() == Some(first);
            return Ok(found);
        }
        let named = headers.get(X_LOG_PROJECT).map(http::HeaderValue::to_str);
        let name = match (named, &self.default_project) {
            (Some(Ok(named)), _) => named,
            (Some(Err(_)), _) => "",
            (None, Some(default)) if names_no_project(host) => default.as_str(),
            (None, _) => first,
        };
        self.found(name).ok_or_else(|| {
            let shown: String = name
                .chars()
                .take(63)
                .flat_map(char::escape_default)
                .collect();
            Refusal::new(Reason::UnknownProject, shown)
        })
    }

    /// A logstore by its names.
    #[must_use]
    pub fn logstore(&self, project: &str, logstore: &str) -> Option<&SiteLogstore> {
        let (_, logstores) = self.projects.get(project)?;
        logstores.get(logstore).map(|found| &**found)
    }

    /// The same, to be kept.
    pub(super) fn shared_logstore(
        &self,
        project: &str,
        logstore: &str,
    ) -> Option<Arc<SiteLogstore>> {
        let (_, logstores) = self.projects.get(project)?;
        logstores.get(logstore).map(Arc::clone)
    }

    /// From now on the events of a logstore are held to this. Requests that have come keep what they
    /// found. `false`: there is no such logstore.
    pub fn hold_to(&self, project: &str, logstore: &str, quality: Quality) -> bool {
        let found = self.logstore(project, logstore);
        found.is_some_and(|found| {
            let quality = (!quality.is_empty()).then(|| Arc::new(quality));
            let has_quality = quality.is_some();
            found.quality.store(quality);
            found.has_quality.store(has_quality, Ordering::Release);
            true
        })
    }

    /// How the steps of all logstores stand, for metrics.
    #[must_use]
    pub fn transform_figures(&self) -> Vec<TransformFigures> {
        let projects = self.projects.iter();
        let of = projects.flat_map(|(project, (_, logstores))| {
            logstores
                .iter()
                .filter_map(move |(name, logstore)| logstore.quality()?.figures(project, name))
        });
        let mut figures: Vec<TransformFigures> = of.collect();
        figures.sort_by(|a, b| (&a.project, &a.logstore).cmp(&(&b.project, &b.logstore)));
        figures
    }

    fn found(&self, name: &str) -> Option<Found<'_>> {
        let (project, logstores) = self.projects.get(name)?;
        Some(Found {
            project,
            logstores,
            doubled: false,
        })
    }
}

/// An IP address or a name without a dot, such as `localhost`.
fn names_no_project(host: &str) -> bool {
    !host.contains('.') || host.parse::<std::net::Ipv4Addr>().is_ok()
}

/// The host of a request, without port and in lower case: of the one Host header, from which an
/// absolute target may not differ.
///
/// # Errors
/// When there is none, more than one, or one that is no host.
pub fn host_of(target: Option<&Authority>, headers: &HeaderMap) -> Result<String, Refusal> {
    let mut hosts = headers.get_all(http::header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Reason::InvalidHost.into());
    };
    let host = read_host(host.to_str().map_err(|_| Reason::InvalidHost)?)?;
    match target {
        // A signature holds the Host header: the target may not lead elsewhere.
        Some(authority) if read_host(authority.as_str())? != host => Err(Refusal::new(
            Reason::InvalidHost,
            "the target and the Host header differ",
        )),
        _ => Ok(host),
    }
}

fn read_host(text: &str) -> Result<String, Refusal> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(Reason::InvalidHost)?;
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(Reason::InvalidHost.into());
            }
            // An IPv6 address has no dot: it names no project.
            (
                "ipv6",
                port.strip_prefix(':')
                    .or(Some("").filter(|_| port.is_empty())),
            )
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("")),
        },
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let port_is_good = port.is_some_and(|port| port.is_empty() || port.parse::<u16>().is_ok());
    if host.is_empty() || host.len() > 253 || !host.bytes().all(plain) || !port_is_good {
        return Err(Reason::InvalidHost.into());
    }
    // A trailing dot is the root of DNS, and the same name.
    Ok(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::HOST;

    use super::*;

    fn site() -> Site {
        let project = |name: &str| (ProjectName::new(name).unwrap(), Vec::new());
        let mut ingest = Ingest::default();
        ingest.hosts.insert(
            "track.example.com".to_owned(),
            ProjectName::new("shop").unwrap(),
        );
        ingest.default_project = Some(ProjectName::new("demo").unwrap());
        Site::new(&ingest, vec![project("shop"), project("demo")])
    }

    fn project_of(host: &str, header: Option<&'static str>) -> Result<(String, bool), Reason> {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert("x-log-project", HeaderValue::from_static(header));
        }
        site()
            .project(host, &headers)
            .map(|found| (found.project.to_string(), found.doubled))
            .map_err(|refusal| refusal.reason())
    }

    #[test]
    fn the_project_is_found_by_domain_label_header_and_default() {
        let is = |name: &str| Ok((name.to_owned(), false));
        assert_eq!(project_of("track.example.com", None), is("shop"));
        assert_eq!(project_of("shop.edge.example.com", None), is("shop"));
        assert_eq!(
            project_of("shop.localhost", Some("demo")),
            is("shop"),
            "the host decides"
        );
        assert_eq!(project_of("edge.example.com", Some("demo")), is("demo"));
        assert_eq!(project_of("127.0.0.1", None), is("demo"));
        assert_eq!(project_of("localhost", None), is("demo"));
        assert_eq!(project_of("127.0.0.1", Some("shop")), is("shop"));
        assert_eq!(
            project_of("other.localhost", None),
            Err(Reason::UnknownProject)
        );
        assert_eq!(
            project_of("127.0.0.1", Some("other")),
            Err(Reason::UnknownProject)
        );
    }

    #[test]
    fn a_project_named_twice_is_found_and_told() {
        assert_eq!(
            project_of("shop.shop.cn-x.example.com", None),
            Ok(("shop".to_owned(), true))
        );
    }

    #[test]
    fn a_host_is_read_strictly() {
        let host = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HOST, HeaderValue::from_static(value));
            }
            host_of(None, &headers).map_err(|refusal| refusal.reason())
        };
        assert_eq!(
            host(&["Shop.localhost:8080"]),
            Ok("shop.localhost".to_owned())
        );
        assert_eq!(host(&["[::1]:8080"]), Ok("ipv6".to_owned()));
        assert_eq!(host(&["[::1]"]), Ok("ipv6".to_owned()));
        for bad in [
            &[][..],
            &["a", "b"],
            &[""],
            &["a b"],
            &["a,b"],
            &["a/b"],
            &["a@b"],
            &["[::1"],
            &["[::g]"],
            &["a:b"],
            &["a:99999"],
            &["a%00"],
            &[":80"],
            &["[::1]x"],
        ] {
            assert_eq!(host(bad), Err(Reason::InvalidHost), "{bad:?}");
        }
        let target: Authority = "shop.edge:80".parse().unwrap();
        let mut headers = HeaderMap::new();
        assert!(
            host_of(Some(&target), &headers).is_err(),
            "a Host is needed all the same"
        );
        headers.insert(HOST, HeaderValue::from_static("other"));
        assert!(host_of(Some(&target), &headers).is_err(), "they differ");
        headers.insert(HOST, HeaderValue::from_static("SHOP.edge:8080"));
        assert_eq!(host_of(Some(&target), &headers).unwrap(), "shop.edge");
        assert_eq!(host(&["shop.localhost."]), Ok("shop.localhost".to_owned()));
    }
}
