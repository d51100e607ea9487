//! The calls about the node as a whole: what they hand on, and how a refusal is told.

use super::*;
use crate::admin::node::NodeError;

/// A node that says what it was asked.
pub(super) struct Scripted;

impl NodeControl for Scripted {
    fn state(&self) -> NodeState {
        NodeState {
            version: "1".to_owned(),
            ..NodeState::default()
        }
    }

    fn config(&self) -> ConfigView {
        ConfigView::default()
    }

    fn drained(&self) -> DrainState {
        DrainState::default()
    }

    fn drain(&self, begin: bool) -> DrainState {
        DrainState {
            draining: begin,
            ..DrainState::default()
        }
    }

    fn explain(&self, order: &ExplainOrder) -> Result<Explained, NodeError> {
        match order.target.as_str() {
            "/busy" => Err(NodeError::Conflict("another call is under way.".to_owned())),
            _ => Err(NodeError::Invalid(
                "that is no path of a request.".to_owned(),
            )),
        }
    }

    fn spool(&self, after: Option<&str>, limit: usize) -> Result<SpoolPage, NodeError> {
        Ok(SpoolPage {
            next: Some(format!("{}+{limit}", after.unwrap_or("-"))),
            ..SpoolPage::default()
        })
    }

    fn verify(&self, project: &str, logstore: &str) -> Result<SpoolReport, NodeError> {
        Err(NodeError::NotFound(format!(
            "nothing of {logstore} in {project}."
        )))
    }

    fn purge(&self, _: &SpoolPlace) -> Result<SpoolPurged, NodeError> {
        Err(NodeError::Unavailable(
            "the disk does not answer now.".to_owned(),
        ))
    }
}

#[tokio::test]
async fn the_node_is_asked_for_what_the_call_says() {
    let fixture = fixture();
    let state = fixture.call("GET", "state", Value::Null).await;
    assert_eq!((state.status, &state.json["version"]), (200, &json!("1")));
    let begun = fixture.call("POST", "drain", Value::Null).await;
    assert_eq!(begun.json["draining"], true);
    let ended = fixture.call("DELETE", "drain", Value::Null).await;
    assert_eq!(ended.json["draining"], false);
    let page = fixture
        .call("GET", "spool?limit=7&cursor=a/b", Value::Null)
        .await;
    assert_eq!(page.json["next"], "a/b+7");
    for (method, path, body, expected) in [
        (
            "GET",
            "spool?limit=0",
            Value::Null,
            (400, "ParameterInvalid"),
        ),
        ("GET", "spool/shop/web", Value::Null, (404, "NotExist")),
        ("POST", "spool/purge", json!({}), (400, "ParameterInvalid")),
        (
            "POST",
            "spool/purge",
            json!({"project": "a", "logstore": "b"}),
            (503, "ServerBusy"),
        ),
        (
            "POST",
            "explain",
            json!({"target": "/busy"}),
            (409, "Conflict"),
        ),
        (
            "POST",
            "explain",
            json!({"target": "x"}),
            (400, "ParameterInvalid"),
        ),
        (
            "POST",
            "explain",
            json!({"nothing": 1}),
            (400, "ParameterInvalid"),
        ),
        ("POST", "drain", json!({}), (400, "ParameterInvalid")),
    ] {
        let answer = fixture.call(method, path, body).await;
        assert_eq!(answer.error(), expected, "{method} {path}");
    }
}
