//! The end of the story of a request: its answer, and what is counted with it.

use http::{HeaderValue, StatusCode};

use super::arrival::Arrival;
use super::ingest::Taken;
use super::quality::results_of;
use super::reply::{Replier, Reply, X_TOLLGATE_ACK};
use super::route::{Action, Kind};
use super::site::SiteLogstore;
use crate::config::Ack;
use crate::event::{Reason, Refusal};
use crate::gate::quota::Charges;

/// Ends a request that was refused: gives back what is fair, and answers in the form that its caller
/// can use.
pub(super) fn turned_back(
    refusal: &Refusal,
    arrival: &Arrival<'_>,
    charges: &mut Charges,
    replier: &Replier<'_>,
) -> Reply {
    let logstore = arrival.logstore;
    let refusal = logstore.lane.timed(refusal.clone());
    let reason = refusal.reason();
    charges.refused(reason);
    if reason.status() != StatusCode::FORBIDDEN && !reason.status().is_server_error() {
        return refused(&refusal, arrival.project, logstore, replier);
    }
    count_refused(reason, arrival.project, logstore, replier);
    let limit = charges.bit().map(|limit| &**limit);
    replier.turned_back(&refusal, arrival.form(), limit)
}

/// Counts a request that was refused, and makes its answer.
pub(super) fn refused(
    refusal: &Refusal,
    project: &str,
    logstore: &SiteLogstore,
    replier: &Replier<'_>,
) -> Reply {
    count_refused(refusal.reason(), project, logstore, replier);
    replier.refused(refusal, None)
}

fn count_refused(reason: Reason, project: &str, logstore: &SiteLogstore, replier: &Replier<'_>) {
    logstore.metrics.requests_refused.at(reason.index()).inc();
    tracing::debug!(
        request = replier.id.as_str(),
        project,
        logstore = logstore.rules.name.as_str(),
        reason = reason.label(),
        "request refused"
    );
}

/// The answer to a request that was not refused, in the form that its client knows.
pub(super) fn accepted(
    taken: Taken,
    arrival: &Arrival<'_>,
    charges: &Charges,
    replier: &Replier<'_>,
) -> Reply {
    let kept = match taken {
        Taken::Relayed(relayed) => return relayed.reply(replier),
        Taken::Held(kept) => kept,
    };
    arrival.logstore.metrics.requests_accepted.inc();
    let mut reply = match arrival.action {
        _ if arrival.wants_results() => {
            replier.accepted_results(results_of(&kept, charges.refused_events()))
        }
        Action::TrackQuery(Kind::TrackGif | Kind::TrackUaGif) => replier.pixel(),
        _ if arrival.logstore.rules.json_answer => replier.accepted_json(),
        Action::TrackQuery(_) => replier.accepted_uncached(),
        _ => replier.accepted(),
    };
    kept.tell(reply.headers_mut());
    let ack = match kept.ack {
        // What is set aside is on its way to the disk.
        _ if kept.sets_aside() => return reply,
        None | Some(Ack::Memory) => return reply,
        Some(Ack::Disk) => "disk",
        Some(Ack::Logstore) => "logstore",
    };
    let ack = HeaderValue::from_static(ack);
    reply.headers_mut().insert(X_TOLLGATE_ACK, ack);
    reply
}
