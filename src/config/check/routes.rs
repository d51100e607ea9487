//! Projects, logstores, and the hosts that lead to them.

use super::credentials::policy_exists;
use super::listeners::is_loopback;
use super::{Findings, destinations, unique};
use crate::config::walk::nearest;
use crate::config::{Accept, Config, IdentityMode, Logstore, Project, Upstream, UpstreamKind};
use crate::foundation::names::ProjectName;

pub(super) fn check(config: &Config, findings: &mut Findings) {
    if config.projects.is_empty() {
        let message = "a configuration needs at least one [[project]]";
        findings.error("project", message);
    }
    let projects = config.projects.iter().enumerate();
    unique(
        projects.map(|(index, project)| (format!("project[{index}].name"), project.name.as_str())),
        "project",
        findings,
    );
    for (index, project) in config.projects.iter().enumerate() {
        check_project(config, project, &format!("project[{index}]"), findings);
    }
    check_hosts(config, findings);
}

fn check_project(config: &Config, project: &Project, path: &str, findings: &mut Findings) {
    destinations::of_project(config, project, path, findings);
    if project.logstores.is_empty() {
        findings
            .warning(
                format!("{path}.logstore"),
                "the project has no logstore, so it takes no events",
            )
            .help("add a [[project.logstore]]");
    }
    let logstores = project.logstores.iter().enumerate();
    unique(
        logstores.map(|(index, logstore)| {
            let key = format!("{path}.logstore[{index}].name");
            (key, logstore.name.as_str())
        }),
        "logstore of this project",
        findings,
    );
    if let Some(name) = &project.policy {
        policy_exists(config, format!("{path}.policy"), name, findings);
    }
    let relays = |logstore: &Logstore| logstore.accept.contains(&Accept::Passthrough);
    if let Some(other) = &project.upstream_project
        && *other != project.name
        && project.logstores.iter().any(relays)
    {
        findings
            .warning(
                format!("{path}.upstream_project"),
                "v4 signs the host, which names the project as it is called here: the store refuses such requests when they are relayed",
            )
            .help("let the clients of \"passthrough\" sign with v1, or give the project the store's name");
    }
    for (index, logstore) in project.logstores.iter().enumerate() {
        check_logstore(
            config,
            logstore,
            &format!("{path}.logstore[{index}]"),
            findings,
        );
    }
}

fn check_logstore(config: &Config, logstore: &Logstore, path: &str, findings: &mut Findings) {
    check_accept(config, logstore, path, findings);
    if logstore.identity_mode == IdentityMode::Observe {
        let key = format!("{path}.identity_mode");
        if logstore.accept.contains(&Accept::Passthrough) {
            let message =
                "a key that the store has refused would be observed away, and its events taken";
            findings
                .error(key.clone(), message)
                .help("leave \"passthrough\" out of accept, or enforce");
        }
        let message = "requests without a good credential are counted, and taken";
        findings
            .warning(key, message)
            .help("set it to \"enforce\" once tollgate_requests_observed_total no longer grows");
    }
    for (index, origin) in logstore.allow_origins.iter().enumerate() {
        if let Some(help) = origin_fault(origin) {
            let key = format!("{path}.allow_origins[{index}]");
            findings
                .error(key, format!("`{origin}` is not an origin"))
                .help(help);
        }
    }
}

/// The kinds of credential that a logstore accepts, and whether any of them can be had.
fn check_accept(config: &Config, logstore: &Logstore, path: &str, findings: &mut Findings) {
    let key = format!("{path}.accept");
    let accepts = |kind| logstore.accept.contains(&kind);
    if logstore.accept.is_empty() {
        let events = &config.security_events;
        if events.logstore.as_ref() != Some(&logstore.name) {
            findings
                .warning(key.clone(), "the logstore takes nothing from anyone")
                .help("name kinds of credential, such as [\"jwt\"]");
        }
        return;
    }
    if accepts(Accept::Anonymous) {
        if !is_loopback(config.ingest.listen) {
            let message = format!("anyone who reaches {} can write here", config.ingest.listen);
            findings
                .warning(key.clone(), message)
                .help("ask for tokens, or listen on a loopback address")
                .beside("ingest.listen");
        }
        if logstore.accept.last() != Some(&Accept::Anonymous) {
            findings
                .error(key.clone(), "no kind after \"anonymous\" is ever looked at")
                .help("put \"anonymous\" last");
        }
    }
    for (index, kind) in logstore.accept.iter().enumerate() {
        if logstore.accept.iter().take(index).any(|k| k == kind) {
            let message = format!("`{}` is there twice", kind.as_str());
            findings.error(format!("{key}[{index}]"), message);
        }
    }
    let identity = &config.identity;
    // Tickets are made while Tollgate runs.
    let possible = |kind: &Accept| match kind {
        Accept::Jwt => !identity.jwt.is_empty(),
        Accept::AccessKey => !identity.access_keys.is_empty(),
        Accept::Sts => !identity.roles.is_empty(),
        Accept::Ticket | Accept::Passthrough | Accept::Anonymous => true,
    };
    if !logstore.accept.iter().any(possible) || only_default_tickets(config, logstore) {
        findings
            .error(
                format!("{path}.name"),
                "the logstore asks for a credential, and there is no key to check one with",
            )
            .help("add an [[identity.jwt]] or [[identity.access_key]], or set accept = [\"anonymous\"]")
            .beside("identity.jwt");
    }
    let tokens = accepts(Accept::Jwt) || accepts(Accept::Ticket);
    let signatures =
        accepts(Accept::AccessKey) || accepts(Accept::Sts) || accepts(Accept::Passthrough);
    if tokens && !signatures && logstore.token_from.is_empty() {
        findings
            .error(
                format!("{path}.token_from"),
                "the logstore asks for tokens, and takes them from nowhere",
            )
            .help("name a place such as \"authorization\"")
            .beside(key.clone());
    }
    if accepts(Accept::Passthrough) {
        check_passthrough(config, logstore, path, findings);
    }
}

/// Whether requests can be relayed as they are.
fn check_passthrough(config: &Config, logstore: &Logstore, path: &str, findings: &mut Findings) {
    let key = format!("{path}.accept");
    let to_sls = config.projects.iter().any(|project| {
        let here = project.logstores.iter().any(|l| std::ptr::eq(l, logstore));
        let name = project.upstream_of(logstore);
        let sls = |u: &&Upstream| u.name == name && u.kind == UpstreamKind::Sls;
        here && config.upstreams.iter().any(|u| sls(&u))
    });
    if let Some(other) = logstore.upstream_logstore.as_ref()
        && *other != logstore.name
    {
        findings
                .error(
                    format!("{path}.upstream_logstore"),
                    "a relayed request keeps its path, which is signed: the store would look for the name of here",
                )
                .help("leave \"passthrough\" out, or give the logstore the store's name")
                .beside(key.clone());
    }
    if !to_sls {
        findings
            .error(
                key,
                "only an upstream of kind \"sls\" can check a signature by a key of its own",
            )
            .help("leave \"passthrough\" out, or send the project to SLS");
    }
}

/// Nothing but tickets could be accepted, and only because the list was left at its default.
fn only_default_tickets(config: &Config, logstore: &Logstore) -> bool {
    let identity = &config.identity;
    logstore.accept == Accept::by_default()
        && identity.jwt.is_empty()
        && identity.access_keys.is_empty()
        && identity.roles.is_empty()
}

/// How to mend a text that no browser sends as an Origin.
pub(super) fn origin_fault(origin: &str) -> Option<String> {
    if origin == "*" {
        return None;
    }
    let Some((scheme, rest)) = origin.split_once("://") else {
        return Some("write `*`, or a scheme and a host: `https://shop.example.com`".to_owned());
    };
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    if !path.is_empty() {
        return Some(format!(
            "an origin ends after the host: `{scheme}://{authority}`"
        ));
    }
    if origin.bytes().any(|b| b.is_ascii_uppercase()) {
        return Some(format!(
            "browsers send lower case: `{}`",
            origin.to_ascii_lowercase()
        ));
    }
    if let Some(host) = [("https", ":443"), ("http", ":80")]
        .iter()
        .filter(|(name, _)| *name == scheme)
        .find_map(|(_, port)| authority.strip_suffix(port))
    {
        return Some(format!(
            "browsers leave out the usual port: `{scheme}://{host}`"
        ));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let sound_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let sound_scheme = !scheme.is_empty()
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let sound = sound_scheme && sound_port && (bracketed || is_host(host));
    (!sound).then(|| "write a scheme, a host and at most a port: `https://shop.example.com`".into())
}

fn check_hosts(config: &Config, findings: &mut Findings) {
    let names: Vec<&str> = config.projects.iter().map(|p| p.name.as_str()).collect();
    let project_exists = |key: String, name: &ProjectName, findings: &mut Findings| {
        if !names.contains(&name.as_str()) {
            let message = format!("there is no project `{name}`");
            let finding = findings.error(key, message);
            finding.beside("project");
            if let Some(near) = nearest(name.as_str(), &names) {
                finding.help(format!("did you mean `{near}`?"));
            } else {
                finding.help("add a [[project]] of this name");
            }
        }
    };
    if let Some(name) = &config.ingest.default_project {
        project_exists("ingest.default_project".to_owned(), name, findings);
    }
    for (host, name) in &config.ingest.hosts {
        let key = format!("ingest.hosts.{host}");
        host_form(&key, host, findings);
        project_exists(key, name, findings);
    }
    for (index, domain) in config.ingest.domains.iter().enumerate() {
        host_form(&format!("ingest.domains[{index}]"), domain, findings);
    }
}

fn host_form(key: &str, host: &str, findings: &mut Findings) {
    if !is_host(host) {
        findings
            .error(key, format!("`{host}` is not a host name"))
            .help("write it in lower case, without scheme, port, `*.` or a dot at the end");
    }
}

/// A host name as it stands in a Host header, in lower case and without a port.
fn is_host(host: &str) -> bool {
    host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_')
                })
        })
}
