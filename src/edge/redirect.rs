//! A listener that sends clients on to https.
//!
//! Promise: it names no host but those of the configuration, so that nobody can be sent anywhere else
//! by it.

use std::collections::HashSet;

use http::{HeaderMap, HeaderValue, Uri};

use crate::config::Config;
use crate::front::host_of;

type Names = HashSet<String, foldhash::quality::RandomState>;

/// Where requests are sent.
#[derive(Debug)]
pub(super) struct Redirect {
    /// Custom domains, and the parents of the projects' names.
    hosts: Names,
    domains: Vec<String>,
    projects: Names,
    /// With a colon, or empty for the port of https.
    port: String,
}

impl Redirect {
    /// Sends requests to this port.
    pub(super) fn new(config: &Config, port: u16) -> Self {
        let ingest = &config.ingest;
        let hosts = ingest.hosts.keys().chain(&ingest.domains);
        Self {
            hosts: hosts.map(|host| host.to_ascii_lowercase()).collect(),
            domains: ingest
                .domains
                .iter()
                .map(|domain| domain.to_ascii_lowercase())
                .collect(),
            projects: config
                .projects
                .iter()
                .map(|project| project.name.to_string())
                .collect(),
            port: match port {
                443 => String::new(),
                port => format!(":{port}"),
            },
        }
    }

    /// The same place under https, or `None` when the host is none of ours.
    pub(super) fn location(&self, uri: &Uri, headers: &HeaderMap) -> Option<HeaderValue> {
        let host = host_of(uri.authority(), headers).ok()?;
        if !self.knows(&host) {
            return None;
        }
        let target = uri.path_and_query().map_or("/", |it| it.as_str());
        // `OPTIONS *` has no path.
        let target = if target.starts_with('/') { target } else { "/" };
        HeaderValue::try_from(format!("https://{host}{}{target}", self.port)).ok()
    }

    fn knows(&self, host: &str) -> bool {
        let of_project = || {
            let (project, parent) = host.split_once('.')?;
            let known = self.projects.contains(project);
            (known && self.domains.iter().any(|domain| domain == parent)).then_some(())
        };
        self.hosts.contains(host) || of_project().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::names::ProjectName;

    fn location(port: u16, host: &str, target: &str) -> Option<String> {
        let mut config = Config::quickstart();
        let project = ProjectName::new("sls-webtracking-mini").unwrap();
        config
            .ingest
            .hosts
            .insert("track.example.com".to_owned(), project);
        config.ingest.domains = vec!["edge.example.com".to_owned()];
        let mut headers = HeaderMap::new();
        headers.insert("host", host.parse().unwrap());
        let location = Redirect::new(&config, port).location(&target.parse().unwrap(), &headers);
        location.map(|it| it.to_str().unwrap().to_owned())
    }

    #[test]
    fn path_and_query_stay_and_the_port_is_the_configured_one() {
        let to = |location: &str| Some(location.to_owned());
        assert_eq!(
            location(443, "track.example.com:8080", "/a/b?c=%20d&e"),
            to("https://track.example.com/a/b?c=%20d&e")
        );
        assert_eq!(
            location(8443, "Sls-webtracking-mini.Edge.example.com", "/"),
            to("https://sls-webtracking-mini.edge.example.com:8443/")
        );
        assert_eq!(
            location(443, "edge.example.com.", "//evil.example/x"),
            to("https://edge.example.com//evil.example/x")
        );
    }

    #[test]
    fn a_host_that_is_not_ours_is_sent_nowhere() {
        for host in [
            "evil.example",
            "sls-webtracking-mini.evil.example",
            "other.edge.example.com",
            "a.sls-webtracking-mini.edge.example.com",
            "track.example.com.evil.example",
            "127.0.0.1",
            "[::1]",
            "localhost",
            "edge.example.com@evil.example",
            "edge.example.com/evil",
        ] {
            assert_eq!(location(443, host, "/"), None, "{host}");
        }
        // The target may not name another host than the header.
        assert_eq!(
            location(443, "track.example.com", "http://evil.example/"),
            None
        );
    }
}
