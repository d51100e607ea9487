//! A node with everything: each declared metric is shown once there is something to show.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::*;
use super::GROUPS;
use crate::event::Reason;
use crate::foundation::budget::Budget;

/// Cells of all kinds, each with something in it, and what a project is told of by as long as somebody
/// counts there.
fn everything() -> (Arc<Metrics>, Arc<Gauge>) {
    let metrics = Metrics::new();
    let reloads = &metrics.configuration;
    reloads
        .reloads(ReloadSource::Api, ReloadOutcome::Done)
        .inc();
    metrics
        .drain
        .enter(DrainStage::NotReady, std::time::Duration::from_secs(9));
    metrics.watch_memory(&Budget::new(1));
    metrics.edge.descriptor_limit.set(9);
    metrics.edge.descriptors.get_or_init(|| || Some(3));
    for cell in [
        metrics.requests_refused.at(0),
        metrics.edge.ended.at(0),
        metrics.edge.tls_handshakes.at(0),
        metrics.admin_calls(AdminCall::Reload, AdminOutcome::Done),
        metrics.admin_handshakes.at(0),
        metrics.credentials_refused(CredentialKind::Jwt, Reason::UnknownRoute),
    ] {
        cell.inc();
    }
    metrics.edge.addresses.at(0).inc();
    let cells = metrics.logstore("p", "l");
    cells.load.watch(&Budget::new(1));
    cells.load.drain_rate.set(1);
    for cell in [
        cells.requests_refused.at(0),
        cells.requests_observed.at(0),
        cells.requests_relayed.at(0),
        cells.events_refused.at(0),
        cells.bytes_refused.at(0),
        cells.events_quarantined.at(0),
        cells.events_observed.at(0),
        cells.credential.at(0),
        cells.token_source.at(0),
        cells.platform.at(0),
        cells.events_dropped.at(0),
        &cells.events_repaired,
        &cells.events_sampled,
        &cells.events_duplicate,
    ] {
        cell.inc();
    }
    metrics.certificate("main", "cert.pem").not_after.set(1);
    let upstream = Arc::<UpstreamMetrics>::default();
    metrics.keep_upstream("u", &upstream);
    let project = upstream.project("p");
    watch(&metrics);
    // The time of a rendering is that of the one before.
    assert!(!metrics.render(Form::Text).is_empty());
    (metrics, project)
}

/// What is read anew at each scrape.
fn watch(metrics: &Metrics) {
    metrics.watch_jwks(|| {
        vec![JwksFigures {
            source: "idp".to_owned(),
            age_seconds: Some(1),
            ..JwksFigures::default()
        }]
    });
    metrics.watch_limits(|| QuotaFigures {
        limits: vec![LimitFigures {
            name: "door".to_owned(),
            lease: Some([0, 0]),
            ..LimitFigures::default()
        }],
        shared: Some(SharedFigures {
            faults: vec![("timeout", 1)],
            ..SharedFigures::default()
        }),
        ..QuotaFigures::default()
    });
    metrics.watch_guards(|| {
        vec![GuardFigures {
            project: "p".to_owned(),
            logstore: "l".to_owned(),
            checks: vec![("key_pattern", [1, 0, 0])],
            ids: Some([1, 2]),
            values: vec![GuardedValues::default()],
            ..GuardFigures::default()
        }]
    });
    metrics.watch_transforms(|| {
        vec![TransformFigures {
            project: "p".to_owned(),
            logstore: "l".to_owned(),
            errors: vec![("hash[0]".to_owned(), "missing", 1)],
            dropped: vec![("sample", 1)],
            routed: 1,
        }]
    });
}

#[test]
fn each_declared_metric_is_shown_and_nothing_else() {
    let (metrics, _project) = everything();
    for form in [Form::Text, Form::OpenMetrics] {
        let text = metrics.render(form);
        let names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        let shown: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), shown.len(), "a metric is shown twice");
        let declared = GROUPS.iter().flat_map(|group| group.metrics);
        let declared: BTreeSet<&str> = declared
            .map(|it| match form {
                Form::Text => it.name,
                Form::OpenMetrics => it.stem(),
            })
            .collect();
        assert_eq!(shown, declared);
    }
}

/// `cargo nextest run --lib a_scrape_of_200 --run-ignored all --no-capture`, with `--release` for a
/// figure that means something.
#[test]
#[ignore = "it measures, and asserts nothing of time"]
fn a_scrape_of_200_logstores() {
    let (metrics, _project) = everything();
    for number in 0..200 {
        let cells = metrics.logstore("shop", &format!("logstore-{number:03}"));
        cells.load.watch(&Budget::new(1));
        cells.load.drain_rate.set(1);
        for reason in Reason::ALL.iter().take(12) {
            cells.requests_refused.at(reason.index()).inc();
            cells.events_refused.at(reason.index()).inc();
        }
    }
    for form in [Form::Text, Form::OpenMetrics] {
        let mut times = Vec::new();
        let mut text = String::new();
        for _ in 0..21 {
            let began = std::time::Instant::now();
            text = metrics.render(form);
            times.push(began.elapsed());
        }
        times.sort_unstable();
        let series = text.lines().filter(|line| !line.starts_with('#')).count();
        println!(
            "{form:?}: median {:?}, longest {:?}, {series} series, {} bytes",
            times[10],
            times[20],
            text.len()
        );
        assert!(series > 10_000);
    }
}

/// Prometheus takes a counter that falls for one that began anew, and counts all of it again.
#[test]
fn a_folded_logstore_that_goes_takes_nothing_from_the_sum() {
    let metrics = Metrics::new();
    metrics.bound_logstores(1);
    for (name, events) in [("first", 1), ("second", 20), ("third", 300)] {
        metrics.logstore("p", name).events_accepted.add(events);
    }
    let folded = || {
        let text = metrics.render(Form::Text);
        let of_this = |line: &&str| {
            line.starts_with("tollgate_events_accepted_total") && line.contains("_other")
        };
        let line = text.lines().find(of_this).map(str::to_owned);
        line.and_then(|line| line.split(' ').nth(1).map(str::to_owned))
    };
    assert_eq!(folded().as_deref(), Some("320"));
    let gauge = || {
        let text = metrics.render(Form::Text);
        let of_this =
            |line: &&str| line.starts_with("tollgate_spool_bytes{") && line.contains("_other");
        text.lines().find(of_this).map(str::to_owned).unwrap()
    };
    metrics.logstore("p", "third").spool.bytes.set(7);
    assert!(gauge().ends_with(" 7"), "{}", gauge());
    metrics.forget_logstore("p", "third");
    assert!(
        gauge().ends_with(" 0"),
        "what is gone has no disk: {}",
        gauge()
    );
    assert_eq!(folded().as_deref(), Some("320"));
    assert_eq!(metrics.books().logstores.len(), 2);
    // It comes back with new cells, and what it had counts still.
    metrics.logstore("p", "third").events_accepted.inc();
    assert_eq!(folded().as_deref(), Some("321"));
    // No more than so many are remembered.
    for number in 0..2_000 {
        let name = format!("passing-{number}");
        drop(metrics.logstore("p", &name));
        metrics.forget_logstore("p", &name);
    }
    assert_eq!(folded().as_deref(), Some("321"));
    assert_eq!(metrics.shown_logstores().len(), 3 + 1_000);
}
