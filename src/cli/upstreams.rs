//! `tollgate upstreams`: how the stores of a running node are.

use clap::Args;

use super::form::{self, FormArgs};
use super::node::NodeArgs;
use super::{Exit, Failure, output};
use crate::foundation::clock;
use crate::telemetry::{LaneReport, UpstreamReport};

const EXAMPLES: &str = "\
For each upstream: the state of its breaker and since when, failures in a row, the time until the next
probe, attempts that wait for the budget of retries, and for each logstore how many LogGroups may be on
their way at once, of how many at most (a * marks a logstore that comes here only while its own upstream
is down). Beside it, the projects that were over their quota at the store, and how many LogGroups all
their logstores together may have on their way. docs/delivery.md says what the states mean.

Examples:
  tollgate upstreams
      the stores of the node that runs on the built-in defaults
  tollgate upstreams --config tollgate.toml --output json
      for a script: an object a line

Exit codes: 0 every breaker is closed, 1 an upstream is down, 69 the node does not run or did not answer,
78 the configuration or the token is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct UpstreamsArgs {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) fn run(args: &UpstreamsArgs) -> Result<Exit, Failure> {
    let (_, api) = args.node.running()?;
    let api = api.ok_or_else(|| {
        Failure::new(
            Exit::Unavailable,
            "the node does not run, and what is known of upstreams ends with it",
        )
    })?;
    let reports = api.upstreams()?.upstreams;
    if args.form.is_json() {
        reports.iter().try_for_each(form::print)?;
    } else {
        table(&reports)?;
    }
    let all_closed = reports.iter().all(|report| report.state == "closed");
    Ok(if all_closed {
        Exit::Success
    } else {
        Exit::Partial
    })
}

fn table(reports: &[UpstreamReport]) -> Result<(), Failure> {
    let now = clock::unix_millis();
    let head = [
        "upstream",
        "breaker",
        "for",
        "failures",
        "next probe",
        "opened",
        "probes",
        "retries waiting",
        "projects (at once)",
        "logstores (at once)",
    ];
    let row = |report: &UpstreamReport| {
        let lanes: Vec<String> = report.logstores.iter().map(lane).collect();
        vec![
            report.upstream.clone(),
            report.state.clone(),
            report
                .since
                .map_or("start".to_owned(), |at| seconds(now.saturating_sub(at))),
            report.failures.to_string(),
            report.next_probe.map_or("-".to_owned(), |at| {
                format!("in {}", seconds(at.saturating_sub(now)))
            }),
            report.opened.to_string(),
            report.probes.to_string(),
            format!(
                "{} of {}/s",
                report.retries.waiting, report.retries.per_second
            ),
            projects(report),
            lanes.join(", "),
        ]
    };
    output::table(&head, reports.iter().map(row).collect())?;
    for report in reports.iter().filter(|report| report.failures > 0) {
        if let (Some(why), Some(at)) = (&report.last_failure, report.last_failure_at) {
            let ago = seconds(now.saturating_sub(at));
            let line = format!("{}: failed {ago} ago: {why}", report.upstream);
            output::note(output::escape(&line));
        }
    }
    Ok(())
}

/// Those that were over their quota.
fn projects(report: &UpstreamReport) -> String {
    let bounded = report.projects.iter().filter_map(|it| {
        let concurrency = it.concurrency?;
        Some(format!("{} {concurrency}", it.project))
    });
    let bounded: Vec<String> = bounded.collect();
    match bounded.is_empty() {
        true => "-".to_owned(),
        false => bounded.join(", "),
    }
}

fn lane(it: &LaneReport) -> String {
    let mark = if it.fallback { "*" } else { "" };
    format!(
        "{}/{}{mark} {}/{}",
        it.project, it.logstore, it.concurrency, it.most
    )
}

fn seconds(millis: u64) -> String {
    match millis / 1000 {
        0 => format!("{millis} ms"),
        seconds @ 1..600 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}
