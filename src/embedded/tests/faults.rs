use super::*;
use crate::config::Faults;
use crate::foundation::units::Span;

async fn with(faults: Faults) -> Server {
    Server::with(&Embedded {
        faults,
        ..test_config()
    })
    .await
}

#[tokio::test]
async fn an_injected_error_is_answered_as_configured_and_nothing_is_stored() {
    let server = with(Faults {
        error_rate: 1.0,
        error_status: 503,
        error_code: "ServerBusy".to_owned(),
        ..Faults::default()
    })
    .await;
    let body = event(10, "a").encode_to_vec();
    let reply = server.post(LB, protobuf(), &body).await;
    assert_eq!(reply.error(), (503, "ServerBusy".to_owned()));
    assert!(server.everything(0).await.is_empty(), "and reads go on");
}

#[tokio::test]
async fn status_0_closes_the_connection_without_an_answer() {
    let server = with(Faults {
        error_rate: 1.0,
        ..Faults::default()
    })
    .await;
    let body = event(10, "a").encode_to_vec();
    let error = server
        .send(Method::POST, LB, &[], protobuf(), &body)
        .await
        .unwrap_err();
    assert!(error.is_incomplete_message(), "{error:?}");
    assert!(server.everything(0).await.is_empty());
}

#[tokio::test]
async fn a_delay_holds_the_answer_back() {
    let server = with(Faults {
        delay: Span::millis(300),
        ..Faults::default()
    })
    .await;
    let started = std::time::Instant::now();
    server.put(&event(10, "a")).await;
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn past_its_quota_a_shard_refuses_with_403() {
    let server = with(Faults {
        shard_writes_per_second: 1,
        ..Faults::default()
    })
    .await;
    let body = event(10, "a").encode_to_vec();
    let mut refused = None;
    // Two writes may fall into two seconds; of many, two fall into one.
    for _ in 0..20 {
        let reply = server.post(LB, protobuf(), &body).await;
        if reply.status != StatusCode::OK {
            refused = Some(reply.error());
            break;
        }
    }
    assert_eq!(refused, Some((403, "ShardWriteQuotaExceed".to_owned())));
}
