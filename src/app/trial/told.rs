//! What became of a request that was tried out, as data.

use serde_json::{Value, json};

use super::TrialAnswer;
use crate::admin::{Explained, ExplainedRefusal, ExplainedStage};
use crate::logstore::proto::{Log, LogGroup};

/// All of an answer.
#[must_use]
pub fn explained(answer: &TrialAnswer) -> Explained {
    let traced = &answer.traced;
    let stages = traced.steps.iter().map(|step| ExplainedStage {
        stage: step.stage.label().to_owned(),
        notes: step.notes.clone(),
        refused: step.refused.as_ref().map(|refusal| {
            let reason = refusal.reason();
            ExplainedRefusal {
                reason: reason.label().to_owned(),
                message: refusal.message().to_owned(),
                fix: reason.fix().to_owned(),
            }
        }),
    });
    let others = traced.others.iter().map(|other| {
        let violations = other.violations.iter();
        let violations = violations.map(|(at, why)| json!({"pointer": at, "message": why}));
        json!({
            "event": other.event, "result": other.end, "check": other.check,
            "violations": violations.collect::<Vec<_>>(),
        })
    });
    let stored = answer.stored.iter().map(|(project, logstore, group)| {
        json!({
            "project": project.as_str(), "logstore": logstore.as_str(),
            "topic": text(group.topic()), "source": text(group.source()), "tags": tags(group),
            "events": events(group),
        })
    });
    Explained {
        status: answer.status.as_u16(),
        reason: answer.reason.map(|reason| reason.label().to_owned()),
        limit: traced.limit.clone(),
        stages: stages.collect(),
        events: traced.events,
        others: others.collect(),
        stored: stored.collect(),
    }
}

/// The tags of a LogGroup, but for the id of its batch, which is made up.
#[must_use]
pub fn tags(group: &LogGroup) -> Value {
    let own = group
        .log_tags
        .iter()
        .filter(|tag| &tag.key[..] != b"__pack_id__");
    let pairs = own.map(|tag| (text(&tag.key), Value::from(text(&tag.value))));
    Value::Object(pairs.collect())
}

/// The events of a LogGroup: fields by name, the last of a name.
#[must_use]
pub fn events(group: &LogGroup) -> Vec<Value> {
    let of = |log: &Log| {
        let time = ("__time__".to_owned(), Value::from(log.time));
        let fields = log.contents.iter();
        let fields = fields.map(|field| (text(&field.key), Value::from(text(&field.value))));
        Value::Object(std::iter::once(time).chain(fields).collect())
    };
    group.logs.iter().map(of).collect()
}

/// Bytes of an event as text.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
