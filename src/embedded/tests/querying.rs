use serde_json::json;

use super::*;
use crate::embedded::query::{Bounds, Page, Query, Search, logs};

/// Twelve events over three groups, whose times interleave.
async fn filled() -> Server {
    let server = Server::with(&Embedded {
        shards: 2,
        ..test_config()
    })
    .await;
    for first in [100, 101, 102] {
        let logs = (0..4).map(|step| {
            let time = first + 3 * step;
            let parity = if time % 2 == 0 { "even" } else { "odd" };
            log(time, &[("n", &time.to_string()), ("parity", parity)])
        });
        server.put(&group(logs.collect())).await;
    }
    server
}

async fn ask(server: &Server, body: Value) -> Value {
    let body = serde_json::to_vec(&body).unwrap();
    let json = content_type("application/json");
    let reply = server.post("/logstores/web-events/logs", json, &body).await;
    assert_eq!(reply.header("x-log-bodyrawsize"), "");
    reply.json()
}

fn numbers(data: &Value) -> Vec<u64> {
    let rows = data.as_array().unwrap();
    let number = |row: &Value| row["n"].as_str().unwrap().parse().unwrap();
    rows.iter().map(number).collect()
}

#[tokio::test]
async fn events_come_in_the_order_of_time_within_from_and_to() {
    let server = filled().await;
    let answer = ask(
        &server,
        json!({"from": 101, "to": 105, "line": 100, "offset": 0}),
    )
    .await;
    assert_eq!(numbers(&answer["data"]), [101, 102, 103, 104]);
    assert_eq!(answer["meta"]["count"], 4);
    assert_eq!(answer["meta"]["progress"], "Complete");
    let reversed = ask(&server, json!({"from": 101, "to": "105", "reverse": true})).await;
    assert_eq!(numbers(&reversed["data"]), [104, 103, 102, 101]);
}

#[tokio::test]
async fn a_row_has_strings_for_everything_that_is_known_of_an_event() {
    let server = filled().await;
    let answer = ask(&server, json!({"from": 100, "to": 101})).await;
    let expected = json!([{
        "__time__": "100", "__topic__": "web", "__source__": "203.0.113.7",
        "__tag__:app": "shop", "n": "100", "parity": "even",
    }]);
    assert_eq!(answer["data"], expected);
}

#[tokio::test]
async fn pages_and_reverse_pages_meet_without_gaps() {
    let server = filled().await;
    for reverse in [false, true] {
        let mut seen = Vec::new();
        for offset in [0, 5, 10, 15] {
            let page =
                json!({"from": 0, "to": 1000, "offset": offset, "line": 5, "reverse": reverse});
            seen.extend(numbers(&ask(&server, page).await["data"]));
        }
        if reverse {
            seen.reverse();
        }
        assert_eq!(seen, (100..112).collect::<Vec<_>>(), "reverse {reverse}");
    }
}

#[tokio::test]
async fn a_query_and_a_topic_choose_events() {
    let server = filled().await;
    let even =
        json!({"from": 0, "to": 1000, "query": "parity: even and not n: 100", "topic": "web"});
    assert_eq!(
        numbers(&ask(&server, even).await["data"]),
        [102, 104, 106, 108, 110]
    );
    let other_topic = json!({"from": 0, "to": 1000, "topic": "other"});
    assert!(numbers(&ask(&server, other_topic).await["data"]).is_empty());
}

#[tokio::test]
async fn the_older_version_answers_with_an_array_and_headers() {
    let server = filled().await;
    let query = [
        ("type", "log"),
        ("reverse", "true"),
        ("from", "100"),
        ("to", "102"),
        ("query", "*"),
        ("line", ""),
    ];
    let reply = server.get("/logstores/web-events", &query).await;
    assert_eq!(numbers(&reply.json()), [101, 100]);
    assert_eq!(reply.header("x-log-count"), "2");
    assert_eq!(reply.header("x-log-progress"), "Complete");
}

#[tokio::test]
async fn no_more_than_a_hundred_lines_come_at_once() {
    let server = Server::start().await;
    let logs = (0..150).map(|time| log(time, &[("n", &time.to_string())]));
    server.put(&group(logs.collect())).await;
    let answer = ask(&server, json!({"from": 0, "to": 1000, "line": 500})).await;
    assert_eq!(numbers(&answer["data"]).len(), 100);
}

#[tokio::test]
async fn a_histogram_counts_events_in_equal_parts() {
    let server = filled().await;
    let query = [
        ("type", "histogram"),
        ("from", "100"),
        ("to", "220"),
        ("query", "parity: odd"),
    ];
    let reply = server.get("/logstores/web-events", &query).await;
    let buckets = reply.json();
    let buckets = buckets.as_array().unwrap();
    assert_eq!(buckets.len(), 60);
    assert_eq!(
        buckets[0],
        json!({"from": 100, "to": 102, "count": 1, "progress": "Complete"})
    );
    assert_eq!(buckets[6]["count"], 0);
    assert_eq!(reply.header("x-log-count"), "6");
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let server = Server::start().await;
    for body in [
        json!({"to": 5}),
        json!({"from": "soon", "to": 5}),
        json!({"from": 1, "to": 5, "query": "(a"}),
        json!({"from": 1, "to": 5, "query": "* | select 1"}),
        json!({"from": 1, "to": 5, "offset": 100_000, "line": 1}),
    ] {
        let bytes = serde_json::to_vec(&body).unwrap();
        let json = content_type("application/json");
        let reply = server
            .post("/logstores/web-events/logs", json, &bytes)
            .await;
        assert_eq!(
            reply.error(),
            (400, "ParameterInvalid".to_owned()),
            "{body}"
        );
    }
    let json = content_type("application/json");
    let not_json = server.post("/logstores/web-events/logs", json, b"{").await;
    assert_eq!(not_json.error(), (400, "PostBodyInvalid".to_owned()));
    let json = content_type("application/json");
    let long = vec![b' '; 70_000];
    let too_long = server.post("/logstores/web-events/logs", json, &long).await;
    assert_eq!(too_long.error(), (413, "PostBodyTooLarge".to_owned()));
}

#[tokio::test]
async fn a_search_that_reaches_a_bound_says_that_it_is_not_complete() {
    let folder = filled().await.stop().await;
    let config = Embedded {
        shards: 2,
        ..test_config()
    };
    let logstore = open(&config, folder.path()).unwrap();
    let found = |bounds| {
        let search = Search {
            from: 0,
            to: 1000,
            topic: None,
            query: Query::All,
            bounds,
        };
        let page = Page {
            offset: 0,
            lines: 100,
            reverse: false,
        };
        let web_events = logstore.store.logstore("demo", "web-events").unwrap();
        let found = logs(&logstore.store, &web_events, &search, page).unwrap();
        (found.items.len(), found.complete)
    };
    assert_eq!(found(Bounds::DEFAULT), (12, true));
    let default = Bounds::DEFAULT;
    // One group for each of two shards, one of which has two.
    assert_eq!(
        found(Bounds {
            groups: 2,
            ..default
        }),
        (8, false)
    );
    assert_eq!(
        found(Bounds {
            heads: 2,
            ..default
        }),
        (8, false)
    );
    assert_eq!(
        found(Bounds {
            bytes: 2,
            ..default
        }),
        (8, false)
    );
}
