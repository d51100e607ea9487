//! Sizes and times that must fit into each other.

use super::{Findings, runs_embedded};
use crate::config::{Ack, Config};
use crate::foundation::units::{ByteSize, Span};

/// The most that SLS takes as one LogGroup before compression.
const LARGEST_LOG_GROUP: ByteSize = ByteSize::mib(5);

/// The most memory of the sample of requests.
const LARGEST_SAMPLE: ByteSize = ByteSize::mib(64);
/// The most requests of a second that are kept in the sample.
const MOST_SAMPLED: u32 = 1000;

pub(super) fn check(config: &Config, findings: &mut Findings) {
    sizes(config, findings);
    times(config, findings);
    shares(config, findings);
    spool(config, findings);
    reload(config, findings);
}

/// The shortest time between two looks at the files of the configuration.
const SHORTEST_LOOK: Span = Span::millis(50);

fn reload(config: &Config, findings: &mut Findings) {
    if config.reload.interval < SHORTEST_LOOK {
        findings.error(
            "reload.interval",
            format!("must be at least {SHORTEST_LOOK}"),
        );
    }
}

fn spool(config: &Config, findings: &mut Findings) {
    let spool = &config.spool;
    if spool.commit_interval >= config.delivery.ack_timeout {
        findings
            .error(
                "spool.commit_interval",
                "must be shorter than delivery.ack_timeout",
            )
            .beside("delivery.ack_timeout");
    }
    if !(1..=60).contains(&spool.spill_at) {
        findings.error(
            "spool.spill_at",
            "must be from 1 to 60: above that requests are refused before anything goes to disk",
        );
    }
    let slowest = ByteSize::kib(1);
    if spool.drain_rate > ByteSize::default() && spool.drain_rate < slowest {
        findings.error(
            "spool.drain_rate",
            format!("must be 0 (no bound), or at least {slowest}: a LogGroup would take hours"),
        );
    }
    for (i, project) in config.projects.iter().enumerate() {
        for (j, logstore) in project.logstores.iter().enumerate() {
            if logstore.ack == Ack::Disk && !spool.enabled {
                findings
                    .error(
                        format!("project[{i}].logstore[{j}].ack"),
                        "`disk` needs the spool, which is off",
                    )
                    .beside("spool.enabled");
            }
        }
    }
}

fn sizes(config: &Config, findings: &mut Findings) {
    let limits = &config.limits;
    for (key, size) in [
        ("limits.memory", limits.memory),
        ("limits.body", limits.body),
        ("limits.unverified_body", limits.unverified_body),
        ("limits.query", limits.query),
        ("limits.key", limits.key),
        ("limits.value", limits.value),
        ("limits.topic", limits.topic),
        ("limits.tag_value", limits.tag_value),
        ("batch.max_bytes", config.batch.max_bytes),
        ("embedded.max_size", config.embedded.max_size),
        ("spool.max_size", config.spool.max_size),
        ("spool.segment_size", config.spool.segment_size),
    ] {
        if size.get() == 0 {
            findings.error(key, "must be more than 0");
        }
    }
    let sample = &config.sample;
    if sample.per_second > 0 && sample.max_body.get() > sample.memory.get() / 4 {
        findings
            .error(
                "sample.max_body",
                format!(
                    "{} is more than a quarter of sample.memory ({})",
                    sample.max_body, sample.memory
                ),
            )
            .help("lower it, or raise sample.memory")
            .beside("sample.memory");
    }
    if sample.memory > LARGEST_SAMPLE {
        let message = format!("must be at most {LARGEST_SAMPLE}: it is sent as one answer");
        findings.error("sample.memory", message);
    }
    if sample.per_second > MOST_SAMPLED {
        findings.error(
            "sample.per_second",
            format!("must be at most {MOST_SAMPLED}"),
        );
    }
    if limits.query > config.ingest.max_header {
        let header = config.ingest.max_header;
        let message = format!("a query this long never arrives: ingest.max_header is {header}");
        findings
            .warning("limits.query", message)
            .help("raise ingest.max_header, or lower limits.query")
            .beside("ingest.max_header");
    }
}

fn times(config: &Config, findings: &mut Findings) {
    let delivery = &config.delivery;
    let mut times = vec![
        ("batch.max_age", config.batch.max_age),
        ("delivery.timeout", delivery.timeout),
        ("delivery.ack_timeout", delivery.ack_timeout),
        ("delivery.connect_timeout", delivery.connect_timeout),
        ("delivery.write_timeout", delivery.write_timeout),
        ("delivery.answer_timeout", delivery.answer_timeout),
        ("delivery.connection_age", delivery.connection_age),
        ("delivery.backoff_min", delivery.backoff_min),
        ("delivery.breaker.pause_min", delivery.breaker.pause_min),
    ];
    if runs_embedded(config) {
        times.push(("embedded.retention", config.embedded.retention));
    }
    for (key, time) in times {
        if time == Span::default() {
            findings.error(key, "must be more than 0");
        }
    }
    let breaker = &delivery.breaker;
    for (key, least, end, most) in [
        (
            "delivery.backoff_min",
            delivery.backoff_min,
            "delivery.backoff_max",
            delivery.backoff_max,
        ),
        (
            "delivery.breaker.pause_min",
            breaker.pause_min,
            "delivery.breaker.pause_max",
            breaker.pause_max,
        ),
    ] {
        if least > most {
            let message = format!("{least} is longer than {end} ({most})");
            findings.error(key, message).beside(end);
        }
    }
}

/// A logstore holds at most its share; what is larger than that could never be taken.
fn shares(config: &Config, findings: &mut Findings) {
    let limits = &config.limits;
    let share = limits.memory.get() / 100 * u64::from(limits.memory_share);
    for (key, size) in [
        ("batch.max_bytes", config.batch.max_bytes),
        ("limits.body", limits.body),
    ] {
        if size.get() > share {
            let percent = limits.memory_share;
            let memory = limits.memory;
            findings
                .error(
                    key,
                    format!(
                        "{size} does not fit in the share of one logstore: {percent} % of {memory}"
                    ),
                )
                .help("lower it, or raise limits.memory or limits.memory_share")
                .beside("limits.memory")
                .beside("limits.memory_share");
        }
    }
    if config.batch.max_bytes > LARGEST_LOG_GROUP {
        let message = format!("must be at most {LARGEST_LOG_GROUP}, the most that SLS takes");
        findings.error("batch.max_bytes", message);
    }
}
