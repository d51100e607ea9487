//! The calls about limits.

use super::*;

#[tokio::test]
async fn a_ban_lives_its_life() {
    let fixture = fixture();
    let limits = &fixture.api.limits;
    let key = "address=203.0.113.0";
    let body = json!({"key": key, "change": "ban", "ttlSeconds": 3600, "reason": "floods"});
    let made = fixture.call("POST", "limits/door/overrides", body).await;
    assert_eq!(made.status, 201, "{}", made.json);
    assert_eq!(made.json["change"], "ban");
    let one = fixture
        .call(
            "GET",
            "limits/door?key=address%3D203.0.113.0/32",
            Value::Null,
        )
        .await;
    assert_eq!(one.json["passes"], false, "{}", one.json);
    assert!((3595..=3600).contains(&one.json["retrySeconds"].as_u64().unwrap()));
    assert_eq!(one.json["changed"]["reason"], "floods");
    let listed = fixture.call("GET", "limits", Value::Null).await;
    let door = &listed.json["limits"][0];
    assert_eq!(door["bans"], 1);
    assert_eq!(
        door["policy"],
        "10 requests in 1s and 100 requests in a day for each address"
    );
    assert_eq!(door["windows"][1], json!({"count": 100, "per": "day"}));
    // Another text for the same key is the same ban, raised now.
    let raise = json!({"key": "address=203.0.113.0/32", "change": "raise", "factor": 2.5,
        "ttlSeconds": 60, "reason": "a customer"});
    let made = fixture.call("POST", "limits/door/overrides", raise).await;
    assert_eq!((made.status, &made.json["key"]), (201, &json!(key)));
    let shown = fixture.call("GET", "limits/door?top=5", Value::Null).await;
    assert_eq!(shown.json["overrides"][0]["factor"], 2.5, "{}", shown.json);
    assert_eq!(shown.json["top"], json!([]));
    let one = fixture
        .call("GET", "limits/door?key=address%3D203.0.113.0", Value::Null)
        .await;
    let most: Vec<u64> = one.json["rooms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|room| room["most"].as_u64().unwrap())
        .collect();
    assert_eq!(most, [25, 250]);
    let path = "limits/door/overrides/address=203.0.113.0/32";
    let lifted = fixture.call("DELETE", path, Value::Null).await;
    assert_eq!(lifted.status, 200, "{}", lifted.json);
    assert_eq!(lifted.json["change"], "raise");
    let again = fixture.call("DELETE", path, Value::Null).await;
    assert_eq!(again.error(), (404, "NotExist"));
    assert_eq!(limits.overrides.list().len(), 1, "what was lifted is kept");
    assert!(fixture.calls(r#"{call="add_override",outcome="done"} 2"#));
    assert!(fixture.calls(r#"{call="lift_override",outcome="refused"} 1"#));
}

#[tokio::test]
async fn a_wrong_override_is_refused_with_what_is_wrong() {
    let fixture = fixture();
    let good = json!({"key": "address=10.0.0.1", "change": "ban", "ttlSeconds": 60, "reason": "x"});
    for (member, value, place) in [
        ("key", json!("subject=x"), "address="),
        ("key", json!("address=x"), "no address"),
        ("key", json!("a".repeat(2000)), "1024"),
        ("change", json!("lift"), "change"),
        ("factor", json!(2), "factor"),
        ("ttlSeconds", json!(0), "ttlSeconds"),
        ("ttlSeconds", json!(1e12), "ttlSeconds"),
        ("reason", json!(" "), "reason"),
        ("reason", json!("r".repeat(257)), "reason"),
        ("forSeconds", json!(1), "forSeconds"),
    ] {
        let mut body = good.clone();
        body[member] = value;
        let answer = fixture
            .call("POST", "limits/door/overrides", body.clone())
            .await;
        assert_eq!(answer.error(), (400, "ParameterInvalid"), "{body}");
        let message = answer.json["errorMessage"].as_str().unwrap();
        assert!(message.contains(place), "{body}: {message}");
    }
    for factor in [json!(null), json!(0), json!(-1), json!(1001), json!("2")] {
        let mut body = good.clone();
        body["change"] = json!("raise");
        body["factor"] = factor;
        let answer = fixture.call("POST", "limits/door/overrides", body).await;
        assert_eq!(answer.error(), (400, "ParameterInvalid"));
    }
    let unknown = fixture.call("POST", "limits/window/overrides", good.clone());
    assert_eq!(unknown.await.error(), (404, "NotExist"));
    for (path, status) in [
        ("limits/window", 404),
        ("limits/door?top=129", 400),
        ("limits/door?top=1&key=address%3D10.0.0.1", 400),
        ("limits/door?key=x", 400),
        ("limits?x=1", 400),
    ] {
        let answer = fixture.call("GET", path, Value::Null).await;
        assert_eq!(answer.error().0, status, "{path}");
    }
    for number in 1..=3 {
        let mut body = good.clone();
        body["key"] = json!(format!("address=10.0.0.{number}"));
        let answer = fixture.call("POST", "limits/door/overrides", body).await;
        if number < 3 {
            assert_eq!(answer.status, 201);
        } else {
            assert_eq!(answer.error(), (409, "QuotaExceed"));
        }
    }
    // What was lifted gives way to what is new.
    let path = "limits/door/overrides/address%3D10.0.0.1";
    assert_eq!(fixture.call("DELETE", path, Value::Null).await.status, 200);
    let mut body = good;
    body["key"] = json!("address=10.0.0.3");
    let answer = fixture.call("POST", "limits/door/overrides", body).await;
    assert_eq!(answer.status, 201);
}
