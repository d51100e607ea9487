//! Upstreams of kind `kafka` and `files`, and who sends where.

use super::Findings;
use crate::config::walk::nearest;
use crate::config::{
    Config, FilesUpstream, KafkaKey, KafkaSasl, KafkaUpstream, Logstore, Project, SignatureVersion,
    Upstream, UpstreamKind,
};
use crate::foundation::names::is_destination;
use crate::foundation::units::ByteSize;

/// The longest name of a Kafka topic.
const MAX_TOPIC: usize = 249;
const KIB: u64 = 1024;

pub(super) fn kafka(config: &Config, upstream: &Upstream, path: &str, findings: &mut Findings) {
    no_store(upstream, path, findings);
    let Some(kafka) = &upstream.kafka else {
        needs(path, "kafka", findings);
        return;
    };
    let path = format!("{path}.kafka");
    brokers(kafka, &path, findings);
    topic(config, upstream, kafka, &path, findings);
    login(kafka, &path, findings);
    if kafka.max_batch < ByteSize::kib(16) || kafka.max_batch > ByteSize::mib(64) {
        let message = format!("must be 16KiB to 64MiB, not {}", kafka.max_batch);
        findings.error(format!("{path}.max_batch"), message);
    }
    match (kafka.key, kafka.key_field.as_deref()) {
        (KafkaKey::Field, None | Some("")) => {
            findings
                .error(
                    format!("{path}.key_field"),
                    "the key is a field, and none is named",
                )
                .beside(format!("{path}.key"));
        }
        (KafkaKey::Field, Some(_)) | (_, None) => {}
        (_, Some(_)) => {
            findings
                .error(format!("{path}.key_field"), "has no effect")
                .help("set key = \"field\", or remove it")
                .beside(format!("{path}.key"));
        }
    }
    if upstream.ca_file.is_some() && !kafka.tls {
        findings
            .error(
                format!("{path}.tls"),
                "certificate authorities are named, and TLS is not spoken",
            )
            .help("set tls = true, or remove ca_file");
    }
}

fn brokers(kafka: &KafkaUpstream, path: &str, findings: &mut Findings) {
    if kafka.brokers.is_empty() {
        findings.error(format!("{path}.brokers"), "names no broker");
    }
    for (index, broker) in kafka.brokers.iter().enumerate() {
        let sound = broker.rsplit_once(':').is_some_and(|(host, port)| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            let host_sound = !host.is_empty() && host.bytes().all(plain);
            host_sound && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if !sound {
            findings
                .error(
                    format!("{path}.brokers[{index}]"),
                    format!("`{broker}` is no broker"),
                )
                .help("write a host name or IPv4 address and a port: `kafka-1:9092`");
        }
    }
}

/// The topic of each logstore that goes there.
fn topic(
    config: &Config,
    upstream: &Upstream,
    kafka: &KafkaUpstream,
    path: &str,
    findings: &mut Findings,
) {
    let key = format!("{path}.topic");
    let filled = kafka
        .topic
        .replace("{project}", "p")
        .replace("{logstore}", "l");
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if !filled.bytes().all(plain) || matches!(&*filled, "" | "." | "..") {
        let help = "write letters, digits, `.`, `_` and `-`, and `{project}` or `{logstore}`";
        let message = format!("`{}` is no name of a topic", kafka.topic);
        findings.error(key, message).help(help);
        return;
    }
    for project in &config.projects {
        for logstore in &project.logstores {
            let topic = kafka.topic_of(project, logstore);
            if project.sends(logstore, &upstream.name) && topic.len() > MAX_TOPIC {
                let message = format!("`{topic}` is longer than {MAX_TOPIC} characters");
                findings.error(key.clone(), message);
            }
        }
    }
}

fn login(kafka: &KafkaUpstream, path: &str, findings: &mut Findings) {
    let given = [
        ("username", kafka.username.is_some()),
        ("password", kafka.password.is_some()),
    ];
    for (name, given) in given {
        let key = format!("{path}.{name}");
        match (kafka.sasl != KafkaSasl::None, given) {
            (true, false) => {
                findings
                    .error(key, "is needed with sasl")
                    .beside(format!("{path}.sasl"));
            }
            (false, true) => {
                findings
                    .error(key, "has no effect")
                    .help("name a mechanism, such as sasl = \"scram-sha-256\"");
            }
            _ => {}
        }
    }
    if kafka.sasl == KafkaSasl::Plain && !kafka.tls {
        findings
            .warning(format!("{path}.sasl"), "the password is sent in the clear")
            .help("set tls = true, or use scram-sha-256")
            .beside(format!("{path}.tls"));
    }
}

pub(super) fn files(config: &Config, upstream: &Upstream, path: &str, findings: &mut Findings) {
    no_store(upstream, path, findings);
    if upstream.ca_file.is_some() {
        unfit(upstream, path, "ca_file", findings);
    }
    let Some(files) = &upstream.files else {
        needs(path, "files", findings);
        return;
    };
    let key = format!("{path}.files");
    if files.dir.as_os_str().is_empty() {
        findings.error(format!("{key}.dir"), "names no folder");
    }
    for (index, other) in config.upstreams.iter().enumerate() {
        if std::ptr::eq(other, upstream) {
            break;
        }
        if other.files.as_ref().is_some_and(|it| it.dir == files.dir) {
            findings
                .error(format!("{key}.dir"), "is the folder of another upstream")
                .beside(format!("upstream[{index}].files.dir"));
        }
    }
    sizes(files, &key, findings);
}

fn sizes(files: &FilesUpstream, path: &str, findings: &mut Findings) {
    if files.max_size < ByteSize::kib(64) {
        let message = format!("must be at least 64KiB, not {}", files.max_size);
        findings.error(format!("{path}.max_size"), message);
    }
    if files.max_age.get().as_secs() < 1 {
        findings.error(format!("{path}.max_age"), "must be at least 1s");
    }
    let keep = files.keep_size.get();
    if keep > 0 && keep < files.max_size.get() {
        findings
            .error(format!("{path}.keep_size"), "has no room for one file")
            .help("make it several times max_size")
            .beside(format!("{path}.max_size"));
    }
    if keep == 0 && files.keep_age.get().is_zero() && files.reserve.get() < KIB {
        findings
            .warning(
                format!("{path}.keep_size"),
                "nothing keeps the files from filling the disk",
            )
            .help("set keep_size, keep_age or reserve");
    }
}

/// Keys that only a store has.
fn no_store(upstream: &Upstream, path: &str, findings: &mut Findings) {
    for (name, given) in [
        ("endpoint", upstream.endpoint.is_some()),
        ("address", upstream.address.is_some()),
        ("region", upstream.region.is_some()),
        ("access_key_id", upstream.access_key_id.is_some()),
        ("access_key_secret", upstream.access_key_secret.is_some()),
        ("security_token", upstream.security_token.is_some()),
        ("signature", upstream.signature != SignatureVersion::V4),
    ] {
        if given {
            unfit(upstream, path, name, findings);
        }
    }
}

fn unfit(upstream: &Upstream, path: &str, name: &str, findings: &mut Findings) {
    let kind = upstream.kind.name();
    findings
        .error(
            format!("{path}.{name}"),
            format!("an upstream of kind `{kind}` has none"),
        )
        .help("remove it, or set kind = \"sls\"")
        .beside(format!("{path}.kind"));
}

fn needs(path: &str, table: &str, findings: &mut Findings) {
    findings
        .error(
            format!("{path}.{table}"),
            format!("an upstream of kind `{table}` needs this table"),
        )
        .beside(format!("{path}.kind"));
}

/// Tables of other kinds.
pub(super) fn tables(upstream: &Upstream, path: &str, findings: &mut Findings) {
    for (name, given, kind) in [
        ("kafka", upstream.kafka.is_some(), UpstreamKind::Kafka),
        ("files", upstream.files.is_some(), UpstreamKind::Files),
    ] {
        if given && upstream.kind != kind {
            findings
                .error(format!("{path}.{name}"), "has no effect")
                .help(format!("set kind = \"{name}\", or remove the table"))
                .beside(format!("{path}.kind"));
        }
    }
}

/// The destinations that a project names, and each of its logstores.
pub(super) fn of_project(config: &Config, project: &Project, path: &str, findings: &mut Findings) {
    let own = [
        ("upstream", Some(&project.upstream)),
        ("fallback", project.fallback.as_ref()),
        ("also", project.also.as_ref()),
    ];
    exist(config, own, path, findings);
    let together = Together {
        upstream: &project.upstream,
        fallback: project.fallback.as_deref().filter(|it| !it.is_empty()),
        also: project.also.as_deref().filter(|it| !it.is_empty()),
    };
    let given = [project.fallback.is_some(), project.also.is_some()];
    together.check(config, path, given, findings);
    for (index, logstore) in project.logstores.iter().enumerate() {
        let path = format!("{path}.logstore[{index}]");
        of_logstore(config, (project, logstore), &path, findings);
    }
}

fn of_logstore(
    config: &Config,
    (project, logstore): (&Project, &Logstore),
    path: &str,
    findings: &mut Findings,
) {
    let own = [
        ("upstream", logstore.upstream.as_ref()),
        ("fallback", logstore.fallback.as_ref()),
        ("also", logstore.also.as_ref()),
    ];
    if own.iter().all(|(_, name)| name.is_none()) {
        return;
    }
    exist(config, own, path, findings);
    let together = Together {
        upstream: project.upstream_of(logstore),
        fallback: project.fallback_of(logstore),
        also: project.also_of(logstore),
    };
    // What changes beside them may bring the project's own together with it.
    together.check(config, path, [true, true], findings);
}

fn exist(
    config: &Config,
    named: [(&str, Option<&String>); 3],
    path: &str,
    findings: &mut Findings,
) {
    let names: Vec<&str> = config.upstreams.iter().map(|u| u.name.as_str()).collect();
    for (key, name) in named {
        let Some(name) = name.filter(|name| !names.contains(&name.as_str())) else {
            continue;
        };
        // Of these, an empty name is none.
        if name.is_empty() && key != "upstream" {
            continue;
        }
        let message = format!("there is no upstream `{name}`");
        let finding = findings.error(format!("{path}.{key}"), message);
        finding.beside("upstream");
        if let Some(near) = nearest(name, &names) {
            finding.help(format!("did you mean `{near}`?"));
        } else {
            finding.help("add an [[upstream]] of this name");
        }
    }
}

/// Where the events of one logstore go.
struct Together<'c> {
    upstream: &'c str,
    fallback: Option<&'c str>,
    also: Option<&'c str>,
}

impl Together<'_> {
    fn check(&self, config: &Config, path: &str, given: [bool; 2], findings: &mut Findings) {
        let [fallback_given, also_given] = given;
        let key = format!("{path}.fallback");
        if fallback_given && self.fallback == Some(self.upstream) {
            findings
                .error(key, "is the upstream itself")
                .help("name another one, or leave it out")
                .beside(format!("{path}.upstream"));
        } else if fallback_given && self.fallback.is_some() && config.delivery.breaker.failures == 0
        {
            findings
                .error(
                    key,
                    "is never used: the breaker of the upstream never opens",
                )
                .help("set delivery.breaker.failures to more than 0")
                .beside("delivery.breaker.failures");
        }
        let Some(also) = self.also.filter(|_| also_given) else {
            return;
        };
        let key = format!("{path}.also");
        for (other, name) in [
            ("upstream", Some(self.upstream)),
            ("fallback", self.fallback),
        ] {
            if name == Some(also) {
                findings
                    .error(
                        key.clone(),
                        format!("is the {other} as well: events would be there twice"),
                    )
                    .help("name another one, or leave it out")
                    .beside(format!("{path}.{other}"));
            }
        }
        if !is_destination(also) {
            findings
                .error(key.clone(), "an upstream that gets copies has a name of at most 63 letters, digits, `-`, `_` and `.`")
                .help("give the upstream another name");
        }
    }
}
