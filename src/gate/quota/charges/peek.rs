//! Whether limits on events have room at all, before the body is read.
//!
//! Promise: nothing is taken for that, and nothing is kept of a key that is not known: what it costs
//! to be new is charged when its events are.

use std::sync::Arc;

use super::super::facts::Facts;
use super::super::key::Stage;
use super::super::limit::{Consequence, TooMuch};
use super::tab::{Placed, Tab};
use super::{count_refusal, refusal};
use crate::config::{LimitAction, LimitUnit};
use crate::event::Refusal;

impl Tab {
    /// Whether limits on events, whose key is known by now, have room: for the bytes that the head tells,
    /// else for anything at all.
    pub(super) fn peek<'l>(
        &mut self,
        limits: impl Iterator<Item = Placed<'l>> + Clone,
        stage: Stage,
        facts: &Facts<'_>,
    ) -> Result<(), Refusal> {
        // What is taken out of a request is charged to no limit on the whole of it.
        let is_whole = !limits.clone().any(|(_, limit)| limit.tells_events_apart());
        for (_, limit) in limits {
            // Whom a sample keeps may only be known later.
            let by_sample = limit.rule.action == LimitAction::Sample;
            if limit.tells_events_apart()
                || by_sample
                || limit.shape.stage().max(Stage::Head) != stage
            {
                continue;
            }
            let hashes = limit.hashes(facts, None);
            let text = || limit.key_text(facts, None);
            let now = self.now();
            let bytes = || facts.words.bytes().unwrap_or_default().max(1);
            let units = match limit.rule.unit {
                LimitUnit::Bytes if is_whole => bytes(),
                _ => 1,
            };
            let Err(too_much) = limit.look(&hashes, units, now, &text) else {
                continue;
            };
            let [own, _] = hashes;
            let told = match &too_much {
                TooMuch::Banned(_) => "banned",
                _ if limit.consequence(own, facts) == Consequence::Refused => {
                    Consequence::Refused.told()
                }
                _ => continue,
            };
            limit.cells.refused.inc();
            self.note(limit, (units, &text), told);
            self.tell(limit, own, false, now);
            self.bit = Some(Arc::clone(&limit.name));
            count_refusal(limit, &too_much);
            return Err(refusal(limit, &too_much, now));
        }
        Ok(())
    }
}
