//! `replay` and `purge`.

use super::super::source::choose_logstore;
use super::super::ticket::{Format, json};
use super::super::{Exit, Failure, output};
use super::{OneArgs, PurgeArgs, ReplayArgs};
use crate::config::Config;
use crate::event::{PurgeOrder, ReplayOrder, ReplayReport};
use crate::foundation::names::ProjectName;

impl OneArgs {
    fn project(&self, config: &Config) -> Result<ProjectName, Failure> {
        let (project, logstore) = (self.project.as_ref(), Some(&self.logstore));
        choose_logstore(config, project, logstore).map(|(project, _)| project)
    }
}

pub(super) fn replay(args: &ReplayArgs) -> Result<Exit, Failure> {
    let (config, node) = args.one.node.find()?;
    let mut order = ReplayOrder {
        project: args.one.project(&config)?,
        logstore: args.one.logstore.clone(),
        only: args.filter.filter(&args.ids),
        dry_run: args.dry_run,
        again: args.again,
        from: None,
    };
    let mut report = ReplayReport::default();
    // One call goes on for some seconds only.
    loop {
        report.add(node.replay(&order)?);
        if report.next.is_none() {
            break;
        }
        order.from.clone_from(&report.next);
    }
    match args.format {
        Format::Json => json(&report)?,
        Format::Text => tell(&report, args.dry_run)?,
    }
    let mut named = args.ids.clone();
    named.sort_unstable();
    named.dedup();
    let missing = (named.len() as u64).saturating_sub(report.seen());
    if missing > 0 {
        output::note(format_args!("{missing} of the named records are not there"));
    }
    let whole = report.left + report.refused + missing == 0;
    Ok(if whole { Exit::Success } else { Exit::Partial })
}

fn tell(report: &ReplayReport, dry_run: bool) -> Result<(), Failure> {
    let taken = if dry_run { "would be taken" } else { "taken" };
    let counts = [
        (report.taken, taken),
        (report.still_bad, "still bad"),
        (report.duplicates, "taken from another request before"),
        (report.left_out, "left out by a step"),
        (report.refused, "refused"),
        (report.skipped, "replayed before"),
        (report.left, "left"),
        (report.damaged, "damaged lines"),
    ];
    for (index, (count, what)) in counts.into_iter().enumerate() {
        if index < 2 || count > 0 {
            output::line(format_args!("{count:>8}  {what}"))?;
        }
    }
    for (check, counts) in &report.by_check {
        let check = output::escape(check);
        let (taken, bad) = (counts.taken, counts.still_bad);
        output::line(format_args!("  {check}: {taken} good, {bad} bad"))?;
    }
    for bad in &report.still {
        let line = format!("  {} {} {}", bad.id, bad.check, bad.why);
        output::line(output::escape(&line))?;
    }
    if let Some(why) = &report.refusal {
        output::note(output::escape(&format!("refused: {why}")));
    }
    if let Some(why) = &report.stopped {
        let text = format!("stopped: {why}. Run it again for what is left");
        output::note(output::escape(&text));
    }
    Ok(())
}

pub(super) fn purge(args: &PurgeArgs) -> Result<Exit, Failure> {
    let (config, node) = args.one.node.find()?;
    let order = PurgeOrder {
        project: args.one.project(&config)?,
        logstore: args.one.logstore.clone(),
    };
    let purged = node.purge(&order)?;
    output::note(format_args!(
        "deleted {} records, {} bytes",
        purged.records, purged.bytes
    ));
    Ok(Exit::Success)
}
