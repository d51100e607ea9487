//! Requests that are signed with a key that is not ours: read as any other, then passed on unchanged.

use super::arrival::Arrival;
use super::buffers::{Buffers, with_buffers};
use super::ingest::Sent;
use super::relay::{Relayable, Relayed};
use super::service::Front;
use super::span::ServerSpan;
use super::trace::Stage;
use super::transcode;
use crate::event::{EventGroup, Reason, Refusal};
use crate::gate::identity::{Check, Denied, Principal};
use crate::gate::quota::{Charges, Mixed};
use crate::telemetry::{CredentialKind, RelayOutcome};

impl Front {
    /// Passes a request on to the store, and writes it into the books.
    pub(super) async fn pass_on(
        &self,
        arrival: &Arrival<'_>,
        check: &Check<'_>,
        (principal, relayable): (&Principal, &Relayable<'_>),
        mut sent: Sent<'_>,
        charges: &mut Charges,
    ) -> Result<Relayed, Refusal> {
        let pace = sent.pace();
        let events =
            pace.work(|| self.read_relayed(arrival, check, principal, &mut sent, charges))?;
        if arrival.trial.is_some() {
            arrival.enter(Stage::Delivery);
            arrival.note(|| format!("{events} events would be passed on to the store as they are"));
            arrival.entry.accepted(events.into());
            return Ok(Relayed::untried());
        }
        arrival.entry.goes_away();
        // Its memory stays leased while it is on its way.
        let Sent { bytes, lease, .. } = sent;
        let span = arrival.span.map(ServerSpan::context);
        let sending = self
            .relay
            .send(relayable, bytes, arrival.unix_seconds, span);
        let relayed = sending.await;
        drop(lease);
        self.count_relayed(arrival, principal, &relayed, events);
        match relayed.outcome() {
            RelayOutcome::Accepted => {}
            // Nothing of it was stored.
            RelayOutcome::Refused => charges.refused(Reason::RelayRefused),
            RelayOutcome::Failed => charges.refused(Reason::RelayUnavailable),
        }
        Ok(relayed)
    }

    /// Reads a body that is to be relayed as any other is read, so that what could not be stored by
    /// us is not passed on either. How many events it holds.
    fn read_relayed(
        &self,
        arrival: &Arrival<'_>,
        check: &Check<'_>,
        principal: &Principal,
        sent: &mut Sent<'_>,
        charges: &mut Charges,
    ) -> Result<u32, Refusal> {
        with_buffers(|buffers| {
            let Buffers { plain, group, .. } = buffers;
            let sent_bytes = sent.bytes.len();
            let plain = sent.decode(self.unverified_body.cap, plain)?;
            arrival.note_body(sent_bytes, plain);
            // The store reads it by its content type, not by how it looks.
            let context = self.context(arrival, check, b"");
            let read = if arrival.says_json() {
                transcode::json(plain, &context, group)
            } else {
                transcode::protobuf(plain, &context, group)
            };
            arrival.entry.read(group.events);
            read?;
            arrival.note_events(group);
            if group.attached_names > 0 {
                let detail = "a relayed request cannot be changed, so it may hold no field or tag that only the edge gives";
                return Err(Refusal::new(Reason::InvalidKey, detail));
            }
            let denied = if group.token.is_empty() {
                check.after_body(principal, group)
            } else {
                let kind = CredentialKind::Passthrough;
                Err(Denied::new(kind, Reason::TokenAmbiguous).named(principal.key()))
            };
            if let Err(denied) = denied {
                self.record_denied(arrival, &denied);
                return Err(denied.refusal);
            }
            let events = group.events;
            self.hold_relayed(arrival, principal, group)?;
            let facts = arrival.quota_facts(Some(principal));
            let bytes = plain.len() as u64;
            charges.set_whole();
            let sorted = charges.of_events(&facts, group, bytes);
            if group.events < events {
                // It is signed: no event of it can be left out, nor go elsewhere.
                return Err(match sorted {
                    Ok(mut sorted) => {
                        sorted.note_refused(charges.why_diverted(), Mixed::Whole);
                        let why = sorted.last;
                        why.unwrap_or_else(|| Reason::QuotaExceeded.into())
                    }
                    Err(refusal) => refusal,
                });
            }
            sorted?;
            Ok(events)
        })
    }

    /// What is relayed is signed: an event that would be changed or taken out refuses all of it.
    fn hold_relayed(
        &self,
        arrival: &Arrival<'_>,
        principal: &Principal,
        group: &mut EventGroup,
    ) -> Result<(), Refusal> {
        let Some(quality) = arrival.quality.as_deref() else {
            return Ok(());
        };
        let judged = self.judge(arrival, principal, quality, b"", group)?;
        match judged.touches_nothing() {
            true => Ok(()),
            false => Err(Refusal::new(
                Reason::SchemaInvalid,
                "a relayed request cannot be changed, so all its events must pass",
            )),
        }
    }

    /// Writes a relayed request into the books: accepted and delivered by the store's word, or
    /// refused.
    fn count_relayed(
        &self,
        arrival: &Arrival<'_>,
        principal: &Principal,
        relayed: &Relayed,
        events: u32,
    ) {
        let metrics = &arrival.logstore.metrics;
        let outcome = relayed.outcome();
        metrics.requests_relayed.at(outcome as usize).inc();
        if outcome == RelayOutcome::Accepted {
            metrics.requests_accepted.inc();
            metrics.events_delivered.add(u64::from(events));
            arrival.entry.accepted(events.into());
            metrics.credential.at(principal.kind() as usize).inc();
            metrics.token_source.at(principal.source() as usize).inc();
            return;
        }
        let reason = relayed
            .refusal()
            .map_or(Reason::RelayRefused, Refusal::reason);
        metrics.requests_refused.at(reason.index()).inc();
        arrival.entry.refused(events.into(), reason);
        if let Some(reason) = relayed.security_reason() {
            let denied = Denied::new(principal.kind(), reason).named(principal.key());
            self.record_denied(arrival, &denied);
        }
    }
}
