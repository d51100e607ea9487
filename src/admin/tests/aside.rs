//! The calls about events that were set aside.

use super::*;
use crate::event::{AsideError, PurgeOrder, Purged, ReplayOrder, ReplayReport};

/// Answers by the name of the logstore.
pub(super) struct Scripted;

impl AsideControl for Scripted {
    fn replay(&self, order: &ReplayOrder) -> Result<ReplayReport, AsideError> {
        match order.logstore.as_str() {
            "missing" => Err(AsideError::NotFound(
                "there is no such logstore at all.".to_owned(),
            )),
            "running" => Err(AsideError::Running),
            "broken" => Err(AsideError::Disk(std::io::ErrorKind::StorageFull.into())),
            _ => Ok(ReplayReport {
                taken: order.only.ids.len() as u64,
                ..ReplayReport::default()
            }),
        }
    }

    fn purge(&self, _: &PurgeOrder) -> Result<Purged, AsideError> {
        Ok(Purged {
            records: 2,
            bytes: 99,
        })
    }
}

#[tokio::test]
async fn records_are_replayed_and_deleted_as_ordered() {
    let fixture = fixture();
    let order = |logstore: &str| json!({"project": "shop", "logstore": logstore});
    let mut named = order("web");
    named["only"] = json!({"ids": ["A-0", "A-1"], "cause": "schema"});
    named["dryRun"] = json!(true);
    let done = fixture.call("POST", "quarantine/replay", named).await;
    assert_eq!((done.status, &done.json["taken"]), (200, &json!(2)));
    let purged = fixture.call("POST", "quarantine/purge", order("web")).await;
    assert_eq!(purged.json, json!({"records": 2, "bytes": 99}));
    for (logstore, error) in [
        ("missing", (404, "NotExist")),
        ("running", (409, "Conflict")),
        ("broken", (503, "ServerBusy")),
        ("../etc", (400, "ParameterInvalid")),
    ] {
        let answer = fixture.call("POST", "quarantine/replay", order(logstore));
        assert_eq!(answer.await.error(), error, "{logstore}");
    }
    let wrong = json!({"project": "shop", "logstore": "web", "only": {"cause": "whim"}});
    let answer = fixture.call("POST", "quarantine/replay", wrong).await;
    assert_eq!(answer.error(), (400, "ParameterInvalid"));
    let answer = fixture.call("GET", "quarantine/purge", Value::Null).await;
    assert_eq!(answer.error().0, 405);
    assert!(fixture.calls(r#"{call="replay_quarantine",outcome="done"} 1"#));
    assert!(fixture.calls(r#"{call="replay_quarantine",outcome="failed"} 1"#));
    assert!(fixture.calls(r#"{call="purge_quarantine",outcome="done"} 1"#));
}
