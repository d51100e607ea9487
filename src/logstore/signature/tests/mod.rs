//! Requests for the tests of both directions.

mod explained;
mod recorded;
mod refused;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;
use crate::config::SignatureVersion;
use crate::logstore::header;
use crate::logstore::vectors::{V_PB1_LZ4, V_PB1_RAW, unhex};

/// Mon, 15 Jun 2026 08:00:00 GMT.
const NOW: u64 = 1_781_510_400;
const HTTP_NOW: &str = "Mon, 15 Jun 2026 08:00:00 GMT";
const HOST: &str = "demo.cn-hangzhou.log.aliyuncs.com";
const TOKEN: &str = "CAISTollgateTestSecurityToken+/==";
const LB: &str = "/logstores/web-events/shards/lb";

fn key(id: &str, secret: &str, token: Option<&str>) -> AccessKey {
    AccessKey {
        id: id.to_owned(),
        secret: Secret::new(secret),
        security_token: token.map(Secret::new),
    }
}

fn ak1() -> AccessKey {
    key(
        "LTAI4TollgateTestKeyId",
        "tollgateTestAccessKeySecret0001",
        None,
    )
}

fn ak2() -> AccessKey {
    key(
        "STS.TollgateTestStsKeyId",
        "tollgateTestStsSecret0002",
        Some(TOKEN),
    )
}

fn header_map(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (
                name.parse::<HeaderName>().unwrap(),
                value.parse::<HeaderValue>().unwrap(),
            )
        })
        .collect()
}

/// A request as it stands on the wire.
#[derive(Clone)]
struct Wire {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Wire {
    fn new(method: Method, path: &str, query: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        Self {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: header_map(headers),
            body: body.to_vec(),
        }
    }

    fn parts(&self) -> RequestParts<'_> {
        RequestParts {
            method: self.method.as_str(),
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
        }
    }

    fn check_at(&self, key: &AccessKey, now: u64) -> Result<(), VerifyError> {
        let lookup = |id: &str| (id == key.id).then_some(key);
        let verified = verify(&self.parts(), &self.body, lookup, now, TIME_WINDOW)?;
        assert_eq!(verified.key_id, key.id);
        Ok(())
    }

    fn check(&self, key: &AccessKey) -> Result<(), VerifyError> {
        self.check_at(key, NOW)
    }

    /// Signs, and gives back the value of `Authorization`.
    fn sign(
        &mut self,
        version: SignatureVersion,
        key: &AccessKey,
        query: &[(&str, &str)],
    ) -> String {
        let signer = Signer {
            version,
            key,
            region: "cn-hangzhou",
        };
        let request = Unsigned {
            method: &self.method,
            path: &self.path,
            query,
            body: &self.body,
        };
        signer.sign(&request, &mut self.headers, NOW).unwrap();
        self.headers["authorization"].to_str().unwrap().to_owned()
    }
}

/// Query of a decoded parameter list in the encoding of the Python client.
fn form(query: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query)
        .finish()
}

const LIST: [(&str, &str); 3] = [
    ("offset", "0"),
    ("size", "100"),
    ("logstoreName", "web events/é"),
];
const PULL: [(&str, &str); 3] = [
    ("type", "log"),
    ("cursor", "MTY3MzMzMTQwNjc4OTEyMzQ1Ng=="),
    ("count", "1000"),
];
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// The write of vectors P1, Q1 and Q5: 87 bytes as an lz4 block.
fn lz4_write(host: &[(&str, &str)]) -> Wire {
    let mut headers = vec![
        PROTOBUF,
        ("x-log-bodyrawsize", "87"),
        ("x-log-compresstype", "lz4"),
    ];
    headers.extend(host);
    Wire::new(Method::POST, LB, "", &headers, &unhex(V_PB1_LZ4))
}

fn raw_write(host: &[(&str, &str)]) -> Wire {
    let mut headers = vec![PROTOBUF];
    headers.extend(host);
    Wire::new(Method::POST, LB, "", &headers, &unhex(V_PB1_RAW))
}
