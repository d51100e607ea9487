//! The calls about events that were set aside.

use super::*;
use crate::event::{
    AsideError, AsidePage, PurgeOrder, Purged, RecordOrder, RecordPage, ReplayOrder, ReplayReport,
};

/// Answers by the name of the logstore.
pub(super) struct Scripted;

impl AsideControl for Scripted {
    fn places(&self, after: Option<&str>, limit: usize) -> Result<AsidePage, AsideError> {
        Ok(AsidePage {
            next: Some(format!("{}+{limit}", after.unwrap_or("-"))),
            ..AsidePage::default()
        })
    }

    fn records(
        &self,
        project: &str,
        logstore: &str,
        order: &RecordOrder,
    ) -> Result<RecordPage, AsideError> {
        match logstore {
            "web" => Ok(RecordPage {
                next: Some(format!("{project} {order:?}")),
                ..RecordPage::default()
            }),
            _ => Err(AsideError::NotFound(
                "nothing of that was set aside.".to_owned(),
            )),
        }
    }

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
async fn records_are_listed_as_the_query_says() {
    let fixture = fixture();
    let places = fixture.call("GET", "quarantine?limit=7&cursor=a/b", Value::Null);
    assert_eq!(places.await.json["next"], "a/b+7");
    let path = "quarantine/shop/web?id=A-0&cause=guard&check=page%402&since=17&limit=9&cursor=1:2";
    let page = fixture.call("GET", path, Value::Null).await;
    let asked = page.json["next"].as_str().unwrap();
    for part in [
        "shop",
        "[\"A-0\"]",
        "Some(Guard)",
        "Some(\"page@2\")",
        "Some(17)",
        "limit: 9",
        "\"1:2\"",
    ] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    for (path, error) in [
        ("quarantine?limit=1001", (400, "ParameterInvalid")),
        ("quarantine/shop/web?cause=whim", (400, "ParameterInvalid")),
        (
            "quarantine/shop/web?since=yesterday",
            (400, "ParameterInvalid"),
        ),
        ("quarantine/shop/web?limit=0", (400, "ParameterInvalid")),
        ("quarantine/shop/web?file=x", (400, "ParameterInvalid")),
        ("quarantine/shop/missing", (404, "NotExist")),
    ] {
        let answer = fixture.call("GET", path, Value::Null).await;
        assert_eq!(answer.error(), error, "{path}");
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
