//! Against a real HTTP service on a real socket.

use tokio::net::TcpListener;

use super::*;
use crate::cli::send::testing::start;
use crate::foundation::secret::Secret;

fn courier(url: &str) -> Courier {
    let token = Secret::new("t.o.k");
    Courier {
        endpoint: Endpoint::new(&url.parse().unwrap(), "shop", "web", Some(&token)).unwrap(),
        envelope: Envelope::new(None, None, &[]),
        patience: Patience {
            tries: 3,
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(2),
        },
        stop: CancellationToken::new(),
        reached: AtomicBool::new(false),
    }
}

fn batch(count: u64, bad: &[u64]) -> Vec<Event> {
    let json = |line| {
        if bad.contains(&line) {
            r#"{"bad":1}"#
        } else {
            r#"{"a":1}"#
        }
    };
    (1..=count)
        .map(|line| Event {
            line,
            json: json(line).into(),
        })
        .collect()
}

#[tokio::test]
async fn bad_events_are_found_by_halves_and_their_neighbours_are_accepted() {
    let service = start(vec![]).await;
    let delivered = courier(&service.url)
        .deliver(&batch(100, &[1, 37, 100]))
        .await;
    let lines: Vec<_> = delivered
        .refused
        .iter()
        .map(|r| (r.line, r.reason.as_str()))
        .collect();
    assert_eq!(
        lines,
        [
            (1, "invalid_key"),
            (37, "invalid_key"),
            (100, "invalid_key")
        ]
    );
    assert_eq!((delivered.accepted, delivered.halt), (97, None));
    assert!(
        service.requests.lock().unwrap().len() < 50,
        "far fewer requests than events"
    );
    assert_eq!(service.authorizations.lock().unwrap()[0], "Bearer t.o.k");
}

#[tokio::test]
async fn a_batch_of_nothing_but_bad_events_ends() {
    let service = start(vec![]).await;
    let delivered = courier(&service.url)
        .deliver(&batch(4, &[1, 2, 3, 4]))
        .await;
    assert_eq!((delivered.accepted, delivered.refused.len()), (0, 4));
    assert_eq!(service.requests.lock().unwrap().len(), 7);
}

#[tokio::test]
async fn a_busy_service_is_tried_again() {
    let service = start(vec![(503, "memory_full"), (503, "memory_full")]).await;
    let delivered = courier(&service.url).deliver(&batch(2, &[])).await;
    assert_eq!((delivered.accepted, delivered.halt), (2, None));
    assert_eq!(*service.requests.lock().unwrap(), [2, 2, 2]);
}

#[tokio::test]
async fn a_service_that_stays_busy_ends_the_sending_after_so_many_tries() {
    let service = start(vec![(503, "memory_full"); 9]).await;
    let delivered = courier(&service.url).deliver(&batch(2, &[])).await;
    assert!(matches!(delivered.halt, Some(Halt::Refused(told)) if told.reason == "memory_full"));
    assert_eq!(service.requests.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_refused_token_ends_the_sending_at_once_and_keeps_what_was_accepted() {
    let script = vec![(400, "invalid_key"), (200, ""), (401, "token_expired")];
    let service = start(script).await;
    let delivered = courier(&service.url).deliver(&batch(4, &[])).await;
    assert_eq!(delivered.accepted, 2);
    assert!(matches!(delivered.halt, Some(Halt::Refused(told)) if told.reason == "token_expired"));
    assert_eq!(*service.requests.lock().unwrap(), [4, 2, 2]);
}

#[tokio::test]
async fn an_address_without_a_service_is_told_at_the_first_try() {
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let mut courier = courier(&format!("http://{port}"));
    courier.patience.first_pause = Duration::from_secs(3600);
    courier.patience.longest_pause = Duration::from_secs(3600);
    let delivered = courier.deliver(&batch(1, &[])).await;
    assert!(
        matches!(delivered.halt, Some(Halt::Unreachable(_))),
        "{delivered:?}"
    );
}

#[tokio::test]
async fn a_stopped_courier_begins_nothing() {
    let service = start(vec![]).await;
    let courier = courier(&service.url);
    courier.stop.cancel();
    let delivered = courier.deliver(&batch(1, &[])).await;
    assert_eq!(delivered.halt, Some(Halt::Interrupted));
    assert!(service.requests.lock().unwrap().is_empty());
}

#[test]
fn pauses_double_up_to_a_bound_and_keep_what_the_service_asks_for_within_reason() {
    let patience = Patience {
        tries: 10,
        first_pause: Duration::from_millis(200),
        longest_pause: Duration::from_secs(5),
    };
    let pause = |tried, asked: Option<u64>| patience.pause(tried, asked.map(Duration::from_secs));
    assert_eq!(pause(1, None), Duration::from_millis(200));
    assert_eq!(pause(3, None), Duration::from_millis(800));
    assert_eq!(pause(40, None), Duration::from_secs(5));
    assert_eq!(pause(1, Some(7)), Duration::from_secs(7));
    assert_eq!(pause(1, Some(86_400)), LONGEST_RETRY_AFTER);
}
