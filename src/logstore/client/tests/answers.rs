//! What counts as an answer of the store, and what is learnt from it.

use super::*;

fn retry(reason: RetryReason) -> NextStep {
    NextStep::Retry { reason }
}

#[tokio::test]
async fn an_error_answer_is_told_with_its_code_message_and_id() {
    let server = Server::start(|_| refusal(403, "WriteQuotaExceed", "qps: 600000")).await;
    let error = put(&client(server.base())).await.unwrap_err();
    let text = error.to_string();
    assert_eq!(
        text,
        format!("status 403 WriteQuotaExceed: qps: 600000 (request {REQUEST_ID})")
    );
    assert_eq!(next_step(&error), retry(RetryReason::Quota));
}

#[tokio::test]
async fn a_200_that_is_not_of_the_store_is_no_success() {
    let id = [("x-log-requestid", REQUEST_ID)];
    let cases = [
        ("no request id", reply(200, &[], "")),
        (
            "an empty request id",
            reply(200, &[("x-log-requestid", "")], ""),
        ),
        (
            "a web page without an id",
            reply(200, &[], "<html>Welcome to the hotel</html>"),
        ),
        (
            "a web page with an id",
            reply(200, &id, "<html>Welcome to the hotel</html>"),
        ),
        (
            "a page without end",
            reply(200, &id, vec![b' '; MAX_ERROR_BODY + 1]),
        ),
    ];
    for (what, reply) in cases {
        let server = Server::start(move |_| reply.clone()).await;
        let error = put(&client(server.base())).await.unwrap_err();
        assert!(
            matches!(error, StoreError::NotTheStore { status: 200, .. }),
            "{what}: {error:?}"
        );
        assert_eq!(
            next_step(&error),
            retry(RetryReason::Intermediary),
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_200_with_an_error_code_is_that_error() {
    let server = Server::start(|_| refusal(200, "WriteQuotaExceed", "")).await;
    let error = put(&client(server.base())).await.unwrap_err();
    assert_eq!(next_step(&error), retry(RetryReason::Quota));
}

#[tokio::test]
async fn another_status_of_success_is_no_success() {
    for status in [201, 202, 204] {
        let server =
            Server::start(move |_| reply(status, &[("x-log-requestid", REQUEST_ID)], "")).await;
        let error = put(&client(server.base())).await.unwrap_err();
        assert_eq!(next_step(&error), retry(RetryReason::Intermediary));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Server::start(|_| with_id("")).await;
    let location = format!("{}/logstores/web-events/shards/lb", target.base());
    for status in [301, 302, 307, 308] {
        let location = location.clone();
        let server = Server::start(move |_| {
            let headers = [
                ("location", location.as_str()),
                ("x-log-requestid", REQUEST_ID),
            ];
            reply(status, &headers, "")
        })
        .await;
        let error = put(&client(server.base())).await.unwrap_err();
        assert_eq!(next_step(&error), retry(RetryReason::Intermediary));
        assert_eq!(server.seen().len(), 1);
    }
    assert!(target.seen().is_empty(), "credentials went to another host");
}

#[tokio::test]
async fn an_error_page_without_end_is_read_no_further_than_its_limit() {
    let page = vec![b'x'; 4 << 20];
    let server = Server::start(move |_| reply(502, &[], page.clone())).await;
    let error = put(&client(server.base())).await.unwrap_err();
    assert!(matches!(error, StoreError::NotTheStore { status: 502, .. }));
    assert_eq!(next_step(&error), retry(RetryReason::Busy));
}

#[tokio::test]
async fn a_store_with_another_clock_is_told_its_own_time_from_the_second_call_on() {
    for signature in [SignatureVersion::V1, SignatureVersion::V4] {
        for hours in [-48, 48] {
            let server = Server::start_at(hours * 3600, |_| with_id("")).await;
            let mut endpoint = endpoint(server.base());
            endpoint.signature = signature;
            let client = StoreClient::new(endpoint).unwrap();
            let error = put(&client).await.unwrap_err();
            assert_eq!(next_step(&error), retry(RetryReason::ClockSkew), "{error}");
            put(&client).await.unwrap();
            put(&client).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_time_in_any_other_answer_does_not_move_the_clock() {
    let server = Server::start(|_| {
        let mut reply = refusal(403, "WriteQuotaExceed", "");
        reply.headers_mut().insert(
            "date",
            HeaderValue::from_static("Thu, 01 Jan 2026 00:00:00 GMT"),
        );
        reply
    })
    .await;
    let client = client(server.base());
    for _ in 0..3 {
        let error = put(&client).await.unwrap_err();
        assert_eq!(next_step(&error), retry(RetryReason::Quota));
    }
    assert_eq!(client.clock_ahead.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_wrong_secret_is_told_what_the_server_signs_and_no_secret() {
    let server = Server::start(|_| with_id("")).await;
    let mut endpoint = endpoint(server.base());
    endpoint.key.secret = Secret::new("anotherSecret");
    let client = StoreClient::new(endpoint).unwrap();
    let error = put(&client).await.unwrap_err();
    assert_eq!(next_step(&error), retry(RetryReason::Credential));
    let text = format!("{error} {error:?} {client:?}");
    assert!(text.contains("SignatureNotMatch"));
    assert!(!text.contains("anotherSecret") && !text.contains("CAISTollgate"));
}

#[tokio::test]
async fn a_key_that_no_header_can_carry_is_an_error_and_not_a_panic() {
    let mut endpoint = endpoint("http://127.0.0.1:9".to_owned());
    endpoint.key.id = "id\n".to_owned();
    let error = put(&StoreClient::new(endpoint).unwrap()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unsendable { .. }));
    assert_eq!(next_step(&error), retry(RetryReason::Credential));
}

#[tokio::test]
async fn answers_of_reads_that_make_no_sense_are_errors() {
    let cursor = [("x-log-requestid", REQUEST_ID), ("x-log-cursor", "MQ==")];
    let with = |extra: &[(&str, &str)], body: &'static [u8]| {
        reply(200, &[&cursor[..], extra].concat(), body)
    };
    let lz4 = ("x-log-compresstype", "lz4");
    let cases = [
        ("no cursor", with_id("")),
        ("not protobuf", with(&[], b"\xff\xff\xff")),
        (
            "an unknown codec",
            with(&[("x-log-compresstype", "br")], b"x"),
        ),
        ("lz4 without its size", with(&[lz4], b"\x10x")),
        (
            "lz4 of another size",
            with(&[lz4, ("x-log-bodyrawsize", "9")], b"\x10x"),
        ),
        (
            "a size over the limit",
            with(&[lz4, ("x-log-bodyrawsize", "99999999999")], b"\x10x"),
        ),
    ];
    for (what, reply) in cases {
        let server = Server::start(move |_| reply.clone()).await;
        let client = client(server.base());
        let pulled = client.pull_logs(&demo(), &web_events(), 0, "MA==", 1).await;
        assert!(
            matches!(pulled, Err(StoreError::NotTheStore { .. })),
            "{what}: {pulled:?}"
        );
    }
    let server = Server::start(|_| with_id("{}")).await;
    let shards = client(server.base())
        .list_shards(&demo(), &web_events())
        .await;
    assert!(matches!(shards, Err(StoreError::NotTheStore { .. })));
}
