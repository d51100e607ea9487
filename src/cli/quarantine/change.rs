//! `replay` and `purge`.

use serde_json::json;

use super::super::form::{self, Form};
use super::super::progress::Progress;
use super::super::source::choose_logstore;
use super::super::{Exit, Failure, output};
use super::{OneArgs, PurgeArgs, ReplayArgs, unreadable};
use crate::config::Config;
use crate::event::{PurgeOrder, Purged, ReplayOrder, ReplayReport};
use crate::foundation::names::ProjectName;
use crate::pipeline::quarantine::{Kept, each_record, places};

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
    let bar = Progress::counting("records");
    // One call goes on for some seconds only.
    loop {
        report.add(node.replay(&order)?);
        bar.at(report.seen());
        if report.next.is_none() {
            break;
        }
        order.from.clone_from(&report.next);
    }
    bar.clear();
    match args.form.output {
        Form::Json => form::print(&report)?,
        Form::Text => tell(&report, args.dry_run)?,
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

/// Records of a place and their bytes, as far as its files are here.
fn kept(config: &Config, order: &PurgeOrder) -> Result<Purged, Failure> {
    let places = places(&config.data_dir).map_err(|error| unreadable(&error))?;
    let of_it = |kept: &&Kept| {
        kept.project == order.project.as_str() && kept.logstore == order.logstore.as_str()
    };
    let mut found = Purged::default();
    for kept in places.iter().filter(of_it) {
        let counted = each_record(kept, |_, line| {
            found.records += 1;
            found.bytes += line.len() as u64 + 1;
            true
        });
        found.records += counted.map_err(|error| unreadable(&error))?;
    }
    Ok(found)
}

fn told(purged: Purged, deleted: bool) -> Result<(), Failure> {
    form::print(&json!({
        "records": purged.records, "bytes": purged.bytes, "deleted": deleted,
    }))
}

/// Says what would be deleted.
fn would_purge(args: &PurgeArgs) -> Result<Exit, Failure> {
    let (config, _) = args.one.node.running()?;
    let order = PurgeOrder {
        project: args.one.project(&config)?,
        logstore: args.one.logstore.clone(),
    };
    let found = kept(&config, &order)?;
    if args.form.is_json() {
        told(found, false)?;
    }
    output::note(format_args!(
        "{} records of {}/{}, {} bytes, are in {}; with --yes all that the node has set aside there are deleted, for good",
        found.records,
        order.project,
        order.logstore,
        found.bytes,
        config.data_dir.display()
    ));
    Ok(Exit::Partial)
}

pub(super) fn purge(args: &PurgeArgs) -> Result<Exit, Failure> {
    if !args.yes {
        return would_purge(args);
    }
    let (config, node) = args.one.node.find()?;
    let order = PurgeOrder {
        project: args.one.project(&config)?,
        logstore: args.one.logstore.clone(),
    };
    let purged = node.purge(&order)?;
    if args.form.is_json() {
        told(purged, true)?;
        return Ok(Exit::Success);
    }
    output::note(format_args!(
        "deleted {} records, {} bytes",
        purged.records, purged.bytes
    ));
    Ok(Exit::Success)
}
