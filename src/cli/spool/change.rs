//! `purge`.

use super::super::{Exit, Failure, output};
use super::{PurgeArgs, unreadable};

pub(super) fn purge(args: &PurgeArgs) -> Result<Exit, Failure> {
    let spool = args.spool.find()?;
    let place = &args.place;
    let Some(lane) = spool.find_lane(place)? else {
        output::note(format_args!("nothing of {place} is in the spool"));
        return Ok(Exit::Partial);
    };
    let directory = spool.lock()?;
    let report = lane.verify().map_err(|error| unreadable(&error))?;
    let (events, bundles) = (report.waiting_events(), report.waiting_bundles);
    if !args.yes {
        output::note(format_args!(
            "{events} events in {bundles} bundles wait for {place}; with --yes they are deleted, and never delivered"
        ));
        return Ok(Exit::Partial);
    }
    let deleted = directory.purge(&place.project, &place.logstore);
    let deleted = deleted.map_err(|error| Failure::new(Exit::DataDir, error))?;
    output::note(format_args!(
        "deleted {events} events in {bundles} bundles of {place}: {} segments, {} bytes",
        deleted.segments, deleted.bytes
    ));
    Ok(Exit::Success)
}
