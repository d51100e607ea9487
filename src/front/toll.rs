//! What a request pays: the memory and the limits that its events take; and what its caller is told
//! of those limits.

use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::arrival::Arrival;
use super::body::Encoding;
use super::route::Action;
use super::service::Front;
use super::site::SiteLogstore;
use super::trace::Stage;
use super::transcode;
use crate::config::{Ack, ClientAddress};
use crate::event::{EventGroup, Reason, Refusal};
use crate::foundation::budget::{Lease, Loan};
use crate::gate::identity::Principal;
use crate::gate::quota::{Charges, Facts, Mixed, Sorted, Words};
use crate::gate::transform::Routed;
use crate::pipeline::{Lane, Receipt};

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const X_TOLLGATE_LIMIT: HeaderName = HeaderName::from_static("x-tollgate-limit");
const X_TOLLGATE_LIMIT_WARNING: HeaderName = HeaderName::from_static("x-tollgate-limit-warning");
const X_TOLLGATE_REFUSED_EVENTS: HeaderName = HeaderName::from_static("x-tollgate-refused-events");

/// What a request pays.
pub(super) struct Toll<'c> {
    /// Memory of its logstore's lane.
    pub(super) lease: Loan<'c>,
    /// Bytes of its body or query, before compression.
    pub(super) bytes: u64,
    /// What it was charged.
    pub(super) charges: &'c mut Charges,
    /// Events that steps send elsewhere: to other logstores of the project, or with another topic.
    pub(super) routed: Vec<Routed>,
}

/// What says when the events of a request are as safe as their logstores ask.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    awaited: SmallVec<[Receipt; 1]>,
    /// The least that any of the logstores promises.
    weakest: Option<Ack>,
}

impl Receipts {
    pub(super) fn add(&mut self, lane: &Lane, receipt: Receipt) {
        let ack = lane.ack();
        self.weakest = Some(self.weakest.map_or(ack, |weakest| weakest.min(ack)));
        if matches!(receipt, Receipt::Awaited(_)) {
            self.awaited.push(receipt);
        }
    }

    /// The least that any of the logstores promises that got events.
    pub(super) fn weakest(&self) -> Option<Ack> {
        self.weakest
    }

    /// Waits until all of them are.
    ///
    /// # Errors
    /// Why some are not. They may be delivered all the same.
    pub(super) async fn settled(self) -> Result<(), Refusal> {
        for receipt in self.awaited {
            receipt.settled().await?;
        }
        Ok(())
    }
}

impl Words for Arrival<'_> {
    fn header(&self, name: &HeaderName) -> Option<&[u8]> {
        Some(self.parts.headers.get(name)?.as_bytes())
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        self.cookies.trusted(name)
    }

    fn origin(&self) -> Option<&[u8]> {
        Some(self.parts.headers.get(http::header::ORIGIN)?.as_bytes())
    }

    fn bytes(&self) -> Option<u64> {
        if self.quality.is_some() {
            // Steps may leave events out, or send them elsewhere.
            return None;
        }
        if let Action::TrackQuery(_) = self.action {
            return Some(self.parts.uri.query().unwrap_or_default().len() as u64);
        }
        if Encoding::is_used(&self.parts.headers) {
            return None;
        }
        let length = self.parts.headers.get(CONTENT_LENGTH)?;
        length.to_str().ok()?.parse().ok()
    }
}

impl Arrival<'_> {
    /// What limits may know of it.
    pub(super) fn quota_facts<'f>(&'f self, caller: Option<&'f Principal>) -> Facts<'f> {
        Facts {
            address: self.sender.address,
            project: self.project,
            logstore: self.logstore.rules.name.as_str(),
            words: self,
            caller,
            topic: b"",
        }
    }

    /// Adds the tags that only we give: the client's address where it is kept so, and the limits
    /// that mark its events.
    fn put_tags(&self, charges: &Charges, group: &mut EventGroup) {
        if self.logstore.rules.client_address == ClientAddress::Tag {
            let address = self.sender.address.to_string();
            group.put_tag(b"__client_ip__", address.as_bytes());
        }
        if !charges.marks().is_empty() {
            let marks: Vec<&str> = charges.marks().iter().map(|mark| &**mark).collect();
            group.put_tag(transcode::LIMIT, marks.join(",").as_bytes());
        }
    }
}

impl Front {
    /// Charges the events of a request to the limits, hands over what they leave of them, and then
    /// those that a limit diverts to other logstores: a request of which nothing is held yet may be
    /// refused and sent again.
    ///
    /// How many events are refused of a request whose others go on, and what says when those are safe.
    ///
    /// # Errors
    /// The refusal, when nothing of the request goes anywhere.
    pub(super) fn keep_events(
        &self,
        arrival: &Arrival<'_>,
        principal: &Principal,
        group: &mut EventGroup,
        toll: Toll<'_>,
    ) -> Result<(u32, Receipts), Refusal> {
        let mut receipts = Receipts::default();
        let Toll {
            mut lease,
            bytes,
            charges,
            routed,
        } = toll;
        let mut routed = routed;
        arrival.enter(Stage::Quota);
        let facts = arrival.quota_facts(Some(principal));
        let sorted = charge_all(charges, &facts, (group, bytes), &mut routed);
        arrival.note_limits(charges);
        if group.events == 0
            && routed.is_empty()
            && sorted.diverted.is_empty()
            && let Some(refusal) = sorted.last
        {
            return Err(refusal);
        }
        let routed = self.room_for_routed(arrival, charges, routed)?;
        arrival.enter(Stage::Delivery);
        let went = !routed.is_empty();
        arrival.put_tags(charges, group);
        if group.events > 0 {
            let SiteLogstore { lane, priority, .. } = arrival.logstore;
            let kept = match charges.classes().priority_of(group, *priority) {
                Some(priority) => lane.admit_again(&mut lease, priority),
                None => Ok(()),
            };
            // Where it is refused nothing was handed to anybody: it may be sent again, whole.
            let receipt = kept.and_then(|()| lane.submit(group, lease))?;
            arrival.entry.accepted(group.events.into());
            receipts.add(lane, receipt);
        }
        for (target, group, lease) in routed {
            submit_to(&target, &group, lease, &mut receipts);
            arrival.entry.went_elsewhere(group.events.into());
        }
        let mut refused = sorted.refused;
        let entry = &arrival.entry;
        entry.refused(refused.into(), Reason::QuotaExceeded);
        let mut last: Option<Refusal> = None;
        let mut diverted = 0;
        for (target, mut events) in sorted.diverted {
            arrival.put_tags(charges, &mut events);
            match self.divert(arrival, target.as_str(), &events) {
                Ok((lane, receipt)) => {
                    receipts.add(&lane, receipt);
                    entry.went_elsewhere(events.events.into());
                    diverted += events.events;
                }
                Err(refusal) => {
                    refused += events.events;
                    entry.refused(events.events.into(), refusal.reason());
                    last = Some(refusal);
                }
            }
        }
        if group.events == 0
            && diverted == 0
            && !went
            && let Some(refusal) = last
        {
            return Err(refusal);
        }
        charges.set_refused_events(refused);
        Ok((refused, receipts))
    }

    /// Takes room for events that steps send elsewhere.
    fn room_for_routed(
        &self,
        arrival: &Arrival<'_>,
        charges: &Charges,
        routed: Vec<Routed>,
    ) -> Result<Vec<(Arc<SiteLogstore>, EventGroup, Lease)>, Refusal> {
        let mut ready = Vec::with_capacity(routed.len());
        for Routed {
            logstore,
            mut group,
        } in routed
        {
            let own = &arrival.logstore.rules.name;
            let name = logstore.as_ref().unwrap_or(own).as_str();
            let found = self.site.shared_logstore(arrival.project, name);
            let target = found.ok_or(Reason::Internal)?;
            arrival.put_tags(charges, &mut group);
            let lease = target.lane.admit_group(&group, target.priority)?;
            ready.push((target, group, lease));
        }
        Ok(ready)
    }

    /// Hands events to another logstore of the project, whose books they are in from then on.
    fn divert(
        &self,
        arrival: &Arrival<'_>,
        target: &str,
        group: &EventGroup,
    ) -> Result<(Arc<Lane>, Receipt), Refusal> {
        let target = self
            .site
            .logstore(arrival.project, target)
            .ok_or(Reason::Internal)?;
        let bytes = group.wire_bytes() as u64;
        let lease = target.lane.admit(bytes, target.priority)?;
        let receipt = target.lane.submit(group, lease)?;
        target.metrics.take_added(group.events.into());
        Ok((Arc::clone(&target.lane), receipt))
    }
}

/// Charges what a request brought: what stays, and what steps send elsewhere, which pays for itself. What
/// has no room is taken out. `bytes`: of all of it.
fn charge_all(
    charges: &mut Charges,
    facts: &Facts<'_>,
    (group, bytes): (&mut EventGroup, u64),
    routed: &mut Vec<Routed>,
) -> Sorted {
    let mut sorted = Sorted::default();
    let apart: usize = routed.iter().map(|it| it.group.logs.len()).sum();
    let whole = (group.logs.len() + apart).max(1) as u64;
    let share = bytes.saturating_mul(group.logs.len() as u64) / whole;
    // What steps left nothing of is not a part of its own.
    if group.events > 0 || routed.is_empty() {
        charge(charges, facts, (group, share), &mut sorted);
    }
    for Routed { group, .. } in &mut *routed {
        let bytes = group.logs.len() as u64;
        charge(charges, facts, (group, bytes), &mut sorted);
    }
    routed.retain(|it| it.group.events > 0);
    sorted
}

/// Charges a part of a request to the limits of the logstore that it came to, or a client could pass by
/// these with events that steps send elsewhere. A part that has no room does not hold up the others.
fn charge(
    charges: &mut Charges,
    facts: &Facts<'_>,
    (group, bytes): (&mut EventGroup, u64),
    sorted: &mut Sorted,
) {
    let named = charges.bit().cloned();
    let refusal = match charges.of_events(facts, group, bytes) {
        Ok(of_these) => {
            sorted.refused += of_these.refused;
            sorted.diverted.extend(of_these.diverted);
            of_these.last
        }
        Err(refusal) => {
            sorted.refused += group.events;
            group.logs.clear();
            group.events = 0;
            Some(refusal)
        }
    };
    if refusal.is_some() && !sorted.note_refused(refusal, Mixed::Parts) {
        // The limit that is named is the one whose wait is told.
        charges.set_bit(named);
    }
}

/// Hands over events for which there is room. Only a pipeline that stops refuses them then: they are in
/// the books of their logstore.
pub(super) fn submit_to(
    target: &SiteLogstore,
    group: &EventGroup,
    lease: Lease,
    receipts: &mut Receipts,
) {
    let events = u64::from(group.events);
    match target.lane.submit(group, lease) {
        Ok(receipt) => {
            receipts.add(&target.lane, receipt);
            target.metrics.take_added(events);
        }
        Err(refusal) => {
            target.metrics.events_added.add(events);
            let cells = &target.metrics.events_refused;
            cells.at(refusal.reason().index()).add(events);
        }
    }
}

/// Tells the caller what it may know of its limits (draft-ietf-httpapi-ratelimit-headers), and which
/// one bit.
pub(super) fn tell(headers: &mut HeaderMap, charges: &Charges) {
    if let Some(limit) = charges.bit() {
        insert(headers, X_TOLLGATE_LIMIT, limit);
    }
    if charges.refused_events() > 0 {
        let count = HeaderValue::from(charges.refused_events());
        headers.insert(X_TOLLGATE_REFUSED_EVENTS, count);
    }
    if charges.told().is_empty() {
        return;
    }
    let (mut policy, mut left, mut warning) = (String::new(), String::new(), String::new());
    for told in charges.told() {
        let (name, (quota, window), (rest, reset)) = (&told.limit, told.policy, told.left);
        if told.announced {
            add(&mut policy, &format!("\"{name}\";q={quota};w={window}"));
            add(&mut left, &format!("\"{name}\";r={rest};t={reset}"));
        }
        if let Some(used) = told.warned {
            add(&mut warning, &format!("\"{name}\";used={used}"));
        }
    }
    for (name, value) in [
        (RATELIMIT_POLICY, policy),
        (RATELIMIT, left),
        (X_TOLLGATE_LIMIT_WARNING, warning),
    ] {
        if !value.is_empty() {
            insert(headers, name, &value);
        }
    }
}

/// Adds a member to a list.
fn add(list: &mut String, member: &str) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    list.push_str(member);
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Names of limits are letters, digits, `-` and `_`: they can stand in a header.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
