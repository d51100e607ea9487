//! `purge`.

use serde_json::json;

use super::super::form;
use super::super::{Exit, Failure, output};
use super::{PurgeArgs, unreadable};

pub(super) fn purge(args: &PurgeArgs) -> Result<Exit, Failure> {
    let spool = args.spool.find()?;
    let place = &args.place;
    let told = |events: u64, bundles: u64, deleted: bool| {
        let (project, logstore) = (&place.project, &place.logstore);
        form::print(&json!({
            "project": project, "logstore": logstore,
            "events": events, "bundles": bundles, "deleted": deleted,
        }))
    };
    let Some(lane) = spool.find_lane(place)? else {
        if args.form.is_json() {
            told(0, 0, false)?;
        }
        output::note(format_args!("nothing of {place} is in the spool"));
        return Ok(Exit::Partial);
    };
    let directory = spool.lock()?;
    let report = lane.verify().map_err(|error| unreadable(&error))?;
    let (events, bundles) = (report.waiting_events(), report.waiting_bundles);
    if !args.yes {
        if args.form.is_json() {
            told(events, bundles, false)?;
        }
        output::note(format_args!(
            "{events} events in {bundles} bundles wait for {place}; with --yes they are deleted, and never delivered"
        ));
        return Ok(Exit::Partial);
    }
    let deleted = directory.purge(&place.project, &place.logstore);
    let deleted = deleted.map_err(|error| Failure::new(Exit::DataDir, error))?;
    spool.note(place, events, 0);
    if args.form.is_json() {
        told(events, bundles, true)?;
        return Ok(Exit::Success);
    }
    output::note(format_args!(
        "deleted {events} events in {bundles} bundles of {place}: {} segments, {} bytes",
        deleted.segments, deleted.bytes
    ));
    Ok(Exit::Success)
}
