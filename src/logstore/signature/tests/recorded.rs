//! Signatures recorded from the official SDKs: what they sign passes, and what we sign is the same.

use super::*;
use crate::logstore::signature::canonical::plain_query;
use crate::logstore::signature::{mac, v1, v4};

#[test]
fn v1_agrees_with_the_python_sdk_in_both_directions() {
    let no_query: &[(&str, &str)] = &[];
    let get = |path: &str, query| Wire::new(Method::GET, path, query, &[], b"");
    let (list, pull) = (form(&LIST), form(&PULL));
    let cases = [
        (
            "P1",
            lz4_write(&[]),
            ak1(),
            no_query,
            "GKWnFITgahZUP9hyglWzCy9aNzQ=",
        ),
        (
            "P2",
            raw_write(&[]),
            ak2(),
            no_query,
            "8WqR/bxNKGFfNGKLBaCnB3Nodo8=",
        ),
        (
            "P3",
            get("/logstores", &list),
            ak1(),
            &LIST,
            "/U2mJM/8WTLkG2/XXzdLE/7C26w=",
        ),
        (
            "P4",
            get("/logstores/web-events/shards/0", &pull),
            ak1(),
            &PULL,
            "p/pRdWm+AnlehHzWnt1fT0t34G4=",
        ),
    ];
    for (name, mut wire, key, query, signature) in cases {
        let made = wire.sign(SignatureVersion::V1, &key, query);
        assert_eq!(made, format!("LOG {}:{signature}", key.id), "{name}");
        assert_eq!(wire.check(&key), Ok(()), "{name}");
        assert_eq!(wire.headers["date"], HTTP_NOW);
        // The Python client also sends x-log-date with the same time, and does not sign it.
        wire.headers
            .insert(header::DATE, HeaderValue::from_static(HTTP_NOW));
        assert_eq!(wire.check(&key), Ok(()), "{name} with x-log-date");
    }
}

#[test]
fn v1_accepts_the_browser_plugin_whose_date_is_x_log_date() {
    let payloads = [
        (
            "J1",
            ak2(),
            r#"{"__logs__":[{"event":"click","__time__":1781510400}],"__topic__":"web"}"#,
            "72",
            "7F823DBAB01B1C1C198F48D9E6931DFE",
            "d005k3Z4Mss7/Qw1Mep7cEJBrIw=",
        ),
        (
            "J2",
            ak2(),
            r#"{"__logs__":[{"msg":"你好😀","__time__":1781510400}]}"#,
            "51",
            "B4D92A62BAC31C72F68A9F323BA3545D",
            "aQF0yh2DNS5Kk0h+ktNZSKkS3GY=",
        ),
        (
            "J3",
            ak1(),
            r#"{"__logs__":[{"event":"view","__time__":1781510400}],"__tags__":{"app":"shop"},"__source__":"h5"}"#,
            "97",
            "08232C3B11BAF72BF33E775B5168BB24",
            "/mklIUEDaO0BOFwMqNAKoONlqBA=",
        ),
    ];
    for (name, key, payload, raw_size, md5, signature) in payloads {
        let authorization = format!("LOG {}:{signature}", key.id);
        let mut headers = vec![
            ("content-type", "application/json"),
            ("content-md5", md5),
            ("x-log-apiversion", "0.6.0"),
            ("x-log-bodyrawsize", raw_size),
            ("x-log-signaturemethod", "hmac-sha1"),
            ("x-log-date", HTTP_NOW),
            ("authorization", &authorization),
        ];
        if key.security_token.is_some() {
            headers.push(("x-acs-security-token", TOKEN));
        }
        let path = "/logstores/web-events";
        let wire = Wire::new(Method::POST, path, "", &headers, payload.as_bytes());
        assert_eq!(wire.check(&key), Ok(()), "{name}");
    }
}

#[test]
fn v1_accepts_the_node_client_whose_empty_parameters_keep_their_equals_sign() {
    let headers = [
        ("content-type", "application/json"),
        ("date", HTTP_NOW),
        ("x-log-apiversion", "0.6.0"),
        ("x-log-signaturemethod", "hmac-sha1"),
        (
            "authorization",
            "LOG LTAI4TollgateTestKeyId:CU9kV+8DoaDi7oK1IPsQzeBjh6c=",
        ),
    ];
    let query = "logstoreName=&offset=&size=";
    let wire = Wire::new(Method::GET, "/logstores", query, &headers, b"");
    assert_eq!(wire.check(&ak1()), Ok(()));
}

#[test]
fn v1_accepts_hmac_sha256_of_the_generated_clients() {
    let h1 = [
        ("content-type", "application/json"),
        ("content-md5", "72987C3AF3716CA17C37898A1B9EF156"),
        ("date", HTTP_NOW),
        ("x-log-apiversion", "0.6.0"),
        ("x-log-bodyrawsize", "10"),
        ("x-log-signaturemethod", "hmac-sha256"),
        ("x-acs-security-token", TOKEN),
        (
            "authorization",
            "LOG STS.TollgateTestStsKeyId:TCs6MVTLsFJRUe3Av2NNKUmsdrZb7iqvnIp7KSlLzyc=",
        ),
    ];
    let path = "/logstores/web-events/logs";
    let wire = Wire::new(Method::POST, path, "", &h1, br#"{"logs":1}"#);
    assert_eq!(wire.check(&ak2()), Ok(()), "H1");

    let h2 = [
        ("content-md5", ""),
        ("date", HTTP_NOW),
        ("x-log-apiversion", "0.6.0"),
        ("x-log-bodyrawsize", "0"),
        ("x-log-signaturemethod", "hmac-sha256"),
        (
            "authorization",
            "LOG LTAI4TollgateTestKeyId:7KnjjoZdoJckZzHK7fiFOUuVktHQZkcpAf128eqYfM0=",
        ),
    ];
    let wire = Wire::new(Method::GET, "/logstores", &form(&LIST), &h2, b"");
    assert_eq!(wire.check(&ak1()), Ok(()), "H2");
}

#[test]
fn v1_accepts_the_published_vectors_of_the_rust_sdk() {
    let body = b"\n            {\"key\": \"value\"}\n        ";
    let post = [
        ("content-type", "application/json"),
        ("content-md5", "CE688F8D1AC3ED309BA9BE0A5ABAFCE5"),
    ];
    let plain = key("test-access-key-id", "test-access-key", None);
    let sts = key(
        "test-access-key-id",
        "test-access-key",
        Some("test-security-token"),
    );
    let query = "type=log&offset=0&line=100";
    let shard = "type=log&count=1000&cursor=MTczNzY2OTAzNjAxNzIxODQ1NA==";
    let wire = |path, query, headers: &[(&str, &str)], body: &[u8]| {
        let method = if body.is_empty() {
            Method::GET
        } else {
            Method::POST
        };
        Wire::new(method, path, query, headers, body)
    };
    let cases = [
        (
            "R1",
            wire("/", "", &[], b""),
            key("", "", None),
            "SApFTtfTFKHmzdEdaMe5TjNn+RQ=",
        ),
        (
            "R2",
            wire("/logstores/test-logstore", query, &post, body),
            plain,
            "4pL2xZJERC3tPKtRiHh9+nMG3tI=",
        ),
        (
            "R3",
            wire("/logstores/test-logstore", query, &post, body),
            sts.clone(),
            "ZQt+0wIvpd+O9yIJKeKxZTJ2hv0=",
        ),
        (
            "R4",
            wire("/logstores/test/shards/2", shard, &post, body),
            sts,
            "K3rw5WXRe77aZ/meSyEa8NNUYFc=",
        ),
    ];
    for (name, mut wire, key, signature) in cases {
        let mut add = |name: &'static str, value: &str| {
            wire.headers.insert(name, value.parse().unwrap());
        };
        add("date", "Thu, 01 Jan 1970 00:00:00 GMT");
        add("x-log-apiversion", "0.6.0");
        add("x-log-signaturemethod", "hmac-sha1");
        add("authorization", &format!("LOG {}:{signature}", key.id));
        if let Some(token) = &key.security_token {
            add("x-acs-security-token", token.expose_text().unwrap());
        }
        assert_eq!(wire.check_at(&key, 0), Ok(()), "{name}");
    }
}

#[test]
fn v1_agrees_with_the_published_vectors_of_the_go_sdk() {
    // Their date names the wrong day of the week, so only the signature itself can be compared.
    let base = [
        ("date", "Mon, 3 Jan 2010 08:33:47 GMT"),
        ("x-log-apiversion", "0.6.0"),
        ("x-log-signaturemethod", "hmac-sha1"),
    ];
    let mac = |method, path: &str, headers: &[(&str, &str)]| {
        let headers = header_map(&[&base[..], headers].concat());
        let value = |name: &str| headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
        let mut text = Vec::new();
        v1::StringToSign {
            method,
            md5: value("content-md5"),
            content_type: value("content-type"),
            date: value("date"),
            headers: &v1::headers(&headers).unwrap(),
            path: path.as_bytes(),
            query: v1::Query::Decoded(&[]),
        }
        .write(&mut text);
        v1::Method::HmacSha1.sign(b"mockAccessKeySecret", &text)
    };
    let get = [("x-log-bodyrawsize", "0")];
    assert_eq!(
        mac("GET", "/logstores", &get),
        "Rwm6cTKzoti4HWoe+GKcb6Kv07E="
    );
    let body = unhex(
        "0a320a1e08f8b2939e0512160a07546573744b6579120b54657374436f6e74656e741a00220e31302e3233302e3230312e313137",
    );
    let md5 = mac::md5_hex(&body);
    assert_eq!(md5, "8D6881250FF5559F59BBDF04100F6E59");
    let post = [PROTOBUF, ("content-md5", &md5), ("x-log-bodyrawsize", "50")];
    assert_eq!(
        mac("GET", "/logstores/app_log", &post),
        "87xQWqFaOSewqRIma8kPjGYlXHc="
    );
}

#[test]
fn v4_agrees_with_the_python_sdk_in_both_directions() {
    let host = [("host", HOST)];
    let list = [
        ("logstoreName", "web events/é~"),
        ("offset", "0"),
        ("size", "100"),
    ];
    let get = |path, query: &str| Wire::new(Method::GET, path, query, &host, b"");
    let (list_form, pull_form) = (form(&list), form(&PULL));
    let no_query: &[(&str, &str)] = &[];
    let cases = [
        (
            "Q1",
            lz4_write(&host),
            ak1(),
            no_query,
            "ce01f75d17f563c13891f1b1db5a49409b40d8c1b1b5c352bd8ffa857be2b644",
        ),
        (
            "Q2",
            lz4_write(&host),
            ak2(),
            no_query,
            "0cf7a2a541ebb27dae5fa95d17c520c61ac382f2f80105cbf157ea7d2d5e5df3",
        ),
        (
            "Q3",
            get("/logstores", &list_form),
            ak1(),
            &list,
            "d275461d4293600f4060f9990e5c4e8e864c301e8fc2bdace3d68e0cd208630b",
        ),
        (
            "Q4",
            get("/logstores/web-events/shards/0", &pull_form),
            ak1(),
            &PULL,
            "779fffe20dea22f3f2516f60ff5a7dff5387cb9dd16f033cb1f0ff01f637f4bf",
        ),
    ];
    for (name, mut wire, key, query, signature) in cases {
        let made = wire.sign(SignatureVersion::V4, &key, query);
        let scope = "20260615/cn-hangzhou/sls/aliyun_v4_request";
        let expected = format!(
            "SLS4-HMAC-SHA256 Credential={}/{scope},Signature={signature}",
            key.id
        );
        assert_eq!(made, expected, "{name}");
        assert_eq!(wire.check(&key), Ok(()), "{name}");
    }
}

#[test]
fn v4_accepts_a_client_that_leaves_the_body_unsigned() {
    let mut wire = lz4_write(&[
        ("host", HOST),
        ("x-log-apiversion", "0.6.0"),
        ("x-log-date", "20260615T080000Z"),
        ("x-log-content-sha256", v4::EMPTY_SHA256),
        (
            "authorization",
            "SLS4-HMAC-SHA256 Credential=LTAI4TollgateTestKeyId/20260615/cn-hangzhou/sls/aliyun_v4_request,Signature=b7d7236316463c793a4237941f6474d47800decc40fd3b8f3b927204859bc99f",
        ),
    ]);
    assert_eq!(wire.check(&ak1()), Ok(()), "Q5");
    wire.body.push(0);
    assert_eq!(wire.check(&ak1()), Ok(()), "the body is not covered");
}

#[test]
fn v4_signing_keys_are_those_of_the_python_sdk() {
    for (key, expected) in [
        (
            ak1(),
            "db8051fbd50781a8d0be995d8df907858a9e5a71dbb4d4a080997406360f7bc3",
        ),
        (
            ak2(),
            "0ace7e7a2f539af55c15e542175718a4515922aa9a82415f4aed5a9798963598",
        ),
    ] {
        let scope = v4::Scope {
            date: "20260615T080000Z",
            day: "20260615",
            region: "cn-hangzhou",
        };
        let made = scope.signing_key(key.secret.expose());
        assert_eq!(mac::hex(&made), expected);
    }
}

#[test]
fn v4_agrees_with_the_published_vectors_of_the_go_and_java_sdks() {
    let signature = |method, path: &str, region, headers: &[(&str, &str)], query, body: &[u8]| {
        let content = mac::hex(&mac::sha256(body));
        let mut headers = header_map(headers);
        headers.insert(header::DATE, HeaderValue::from_static("20220808T032330Z"));
        headers.insert(header::CONTENT_SHA256, content.parse().unwrap());
        let mut request = Vec::new();
        v4::CanonicalRequest {
            method,
            path: path.as_bytes(),
            params: &plain_query(query),
            encoding: v4::Encoding::Standard,
            headers: &v4::headers(&headers).unwrap(),
            content_sha256: content.as_bytes(),
        }
        .write(&mut request);
        let scope = v4::Scope {
            date: "20220808T032330Z",
            day: "20220808",
            region,
        };
        mac::hex(&scope.mac(&scope.signing_key(b"zxasdasdasw2"), &request))
    };
    let headers = [
        ("hello", "world"),
        ("hello-text", "a12X- "),
        ("x-log-test", "het123"),
        ("x-acs-ppp", "dds"),
    ];
    let query = [(" abc", "efg"), (" agc ", ""), ("", "efg"), ("A-bc", "eFg")];
    let longer = [
        &query[..],
        &[
            ("abs-ij*asd/vc", "a~js+d ada"),
            ("a abAas123/vc", "a~jdad a2ADFs+d ada"),
        ],
    ]
    .concat();
    let (hangzhou, shanghai) = ("cn-hangzhou", "cn-shanghai");
    let body = b"adasd= -asd zcas";
    let path = "/logstores";
    let made = [
        signature("POST", path, hangzhou, &headers, &query, body),
        signature("POST", path, shanghai, &[], &[], body),
        signature("POST", path, hangzhou, &headers, &query, b""),
        signature("GET", path, hangzhou, &headers, &query, b""),
        signature(
            "POST",
            "/logstores/hello/a+*~bb/cc",
            hangzhou,
            &headers,
            &longer,
            body,
        ),
    ];
    let expected = [
        "a98f5632e93836e63839cd836a54055f480020a9364ca944e2d34f2eb9bf1bed",
        "8a10a5e723cb2e75964816de660b2c16a58af8bc0261f7f0722d832468c76ce8",
        "5a66d8f8051983e0e9d08e0f960ef9252ef971eead5bb5c7acec8617a2eb2701",
        "d92741852500791d662a8d469ff61627c0559ecd86c3f59b7bf6772b6c62666a",
        "2c204068e961a8813a6bcf7ac422f7fa6e9bf9a5da493e0165dfe100854d18ff",
    ];
    assert_eq!(made, expected, "K1 to K5");
}
