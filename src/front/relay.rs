//! Requests signed with keys that are not ours: passed on to the store, and its answer passed back.
//!
//! Promise: what the store answers is what the client gets: status, body, and the id under which the
//! store's own support finds the request. Only time and CORS are ours. `x-tollgate-ack: logstore` is
//! said only when the store itself has said 200. A key of which the store has said that it is of no
//! use is refused for a minute without asking again.
//! When the store cannot be reached, or too many requests are on their way to it: 503 `ServerBusy`;
//! nothing is kept here, so the client sends again.
//! Not here: reading the body and checking what is in it (`ingest`).
//!
//! # Cancel safety
//! When a client hangs up its relay ends with it. The store may have taken the events all the same.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Response};
use http_body_util::Full;

use super::cors;
use super::reply::{Replier, Reply};
use crate::event::{Reason, Refusal};
use crate::foundation::names::ProjectName;
use crate::foundation::trace_context::TraceContext;
use crate::gate::identity::{RelaySender, RelayVerdicts};
use crate::logstore::client::{
    RelayError, RelayHost, RelayRequest, RelayedAnswer, StoreClient, is_signed,
};
use crate::logstore::error::{StoreError, parse_error};
use crate::logstore::header;
use crate::logstore::signature::{Authorization, parse_authorization};
use crate::telemetry::RelayOutcome;

const X_TOLLGATE_ACK: HeaderName = HeaderName::from_static("x-tollgate-ack");
const X_TOLLGATE_RELAYED: HeaderName = HeaderName::from_static("x-tollgate-relayed");

/// Relays requests, and remembers which keys are of no use.
#[derive(Debug, Default)]
pub(super) struct Relay {
    verdicts: RelayVerdicts,
}

/// The store of a request's project.
#[derive(Clone, Copy, Debug)]
pub(super) struct RelayTarget<'a> {
    pub(super) client: &'a StoreClient,
    /// The project, as the store names it.
    pub(super) project: &'a ProjectName,
}

/// A request that may be relayed, once its body is here.
#[derive(Debug)]
pub(super) struct Relayable<'a> {
    parts: &'a Parts,
    target: RelayTarget<'a>,
    host: RelayHost<'a>,
    store: String,
    key_id: &'a str,
    security_token: Option<&'a [u8]>,
}

impl<'a> Relayable<'a> {
    /// Id of the key that signed it. Nothing of it is verified.
    pub(super) fn key_id(&self) -> &'a str {
        self.key_id
    }

    fn sender(&self) -> RelaySender<'_> {
        RelaySender {
            store: &self.store,
            host: match self.host {
                RelayHost::Store => self.store.as_bytes(),
                RelayHost::AsReceived(host) => host.as_bytes(),
            },
            key_id: self.key_id,
            security_token: self.security_token,
        }
    }
}

impl Relay {
    /// Decides by the head whether a signed request may be relayed, before its body is read.
    ///
    /// # Errors
    /// [`Reason::RelayKeyRefused`]; [`Reason::AccessKeyMissing`] when the id of the key is empty;
    /// [`Reason::SignatureHeaderInvalid`] when a header that tells the sender cannot be read, or
    /// could be read in two ways.
    pub(super) fn admit<'a>(
        &self,
        parts: &'a Parts,
        target: RelayTarget<'a>,
        unix_seconds: u64,
    ) -> Result<Relayable<'a>, Refusal> {
        let single = |name: &HeaderName| -> Result<Option<&'a HeaderValue>, Refusal> {
            let mut values = parts.headers.get_all(name).iter();
            match (values.next(), values.next()) {
                (value, None) => Ok(value),
                _ => Err(Refusal::new(
                    Reason::SignatureHeaderInvalid,
                    name.to_string(),
                )),
            }
        };
        for name in parts.headers.keys().filter(|name| is_signed(name.as_str())) {
            single(name)?;
        }
        // What is checked here must be what the store reads.
        let coding = parts.headers.contains_key(CONTENT_ENCODING);
        let kind = parts.headers.get(&header::COMPRESS_TYPE);
        if coding || kind.is_some_and(HeaderValue::is_empty) {
            let detail = "send no content-encoding, and x-log-compresstype only with a value";
            return Err(Refusal::new(Reason::SignatureHeaderInvalid, detail));
        }
        let named = parts.headers.get("x-log-project");
        if named.is_some_and(|named| named.as_bytes() != target.project.as_str().as_bytes()) {
            return Err(Refusal::new(
                Reason::SignatureHeaderInvalid,
                "x-log-project",
            ));
        }
        let invalid = || Refusal::new(Reason::SignatureHeaderInvalid, "authorization");
        let authorization = single(&http::header::AUTHORIZATION)?.ok_or_else(invalid)?;
        let authorization = parse_authorization(authorization.as_bytes()).map_err(|_| invalid())?;
        if authorization.key_id().is_empty() {
            return Err(Reason::AccessKeyMissing.into());
        }
        let host = match authorization {
            Authorization::V1 { .. } => RelayHost::Store,
            Authorization::V4 { .. } => {
                let host = single(&HOST)?.ok_or(Reason::InvalidHost)?;
                // The store finds the project by this host: it must be the one that was checked.
                let label = host.as_bytes().split(|byte| *byte == b'.').next();
                if label != Some(target.project.as_str().as_bytes()) {
                    let detail = "a v4 signature holds the host: send to {project}.{endpoint}, with the project as the logstore names it";
                    return Err(Refusal::new(Reason::InvalidHost, detail));
                }
                RelayHost::AsReceived(host)
            }
        };
        let relayable = Relayable {
            parts,
            target,
            host,
            store: target.client.host(target.project),
            key_id: authorization.key_id(),
            security_token: single(&header::SECURITY_TOKEN)?.map(HeaderValue::as_bytes),
        };
        self.verdicts.check(&relayable.sender(), unix_seconds)?;
        Ok(relayable)
    }

    /// Relays a request with its body as it was sent, and learns from the answer.
    pub(super) async fn send(
        &self,
        relayable: &Relayable<'_>,
        body: Bytes,
        unix_seconds: u64,
        span: Option<TraceContext>,
    ) -> Relayed {
        let parts = relayable.parts;
        let target = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
        let RelayTarget { client, project } = relayable.target;
        let request = RelayRequest {
            method: &parts.method,
            path_and_query: target,
            headers: &parts.headers,
            host: relayable.host,
            body,
            span,
        };
        let answer = client.relay(project, request).await.map_err(|error| {
            tracing::debug!(%error, "a request could not be relayed");
            refusal_of(&error)
        });
        if let Ok(RelayedAnswer {
            status,
            headers,
            body,
        }) = &answer
            && let StoreError::Refused(error) = parse_error(*status, headers, body)
        {
            self.verdicts
                .learn(&relayable.sender(), &error, unix_seconds);
        }
        Relayed { answer }
    }
}

/// What the client is told when there is no answer of the store. Names and addresses of the inside
/// are not for it.
fn refusal_of(error: &RelayError) -> Refusal {
    let detail = match error {
        RelayError::Busy => "too many requests are on their way to it".to_owned(),
        RelayError::Store(StoreError::Transport { failure, .. }) => failure.to_string(),
        RelayError::Store(StoreError::NotTheStore { .. }) => {
            "what answered is not a logstore".to_owned()
        }
        RelayError::Store(StoreError::Unsendable { .. } | StoreError::Refused(_)) => {
            "the request cannot be sent on".to_owned()
        }
    };
    Refusal::new(Reason::RelayUnavailable, detail)
}

/// What became of a relayed request.
#[derive(Debug)]
pub(super) struct Relayed {
    answer: Result<RelayedAnswer, Refusal>,
}

impl Relayed {
    /// Of a request that is only tried out: the store was not asked.
    pub(super) fn untried() -> Self {
        let answer = RelayedAnswer {
            status: http::StatusCode::OK,
            headers: http::HeaderMap::new(),
            body: Bytes::new(),
        };
        Self { answer: Ok(answer) }
    }

    /// For the counts of the logstore.
    pub(super) fn outcome(&self) -> RelayOutcome {
        match &self.answer {
            Ok(answer) if answer.status.is_success() => RelayOutcome::Accepted,
            Ok(answer) if answer.status.is_client_error() => RelayOutcome::Refused,
            Ok(_) | Err(_) => RelayOutcome::Failed,
        }
    }

    /// Why this request concerns the stream of security events, if it does: the store did not
    /// believe its sender, or did not let it.
    pub(super) fn security_reason(&self) -> Option<Reason> {
        let answer = self.answer.as_ref().ok()?;
        (answer.status == http::StatusCode::UNAUTHORIZED).then_some(Reason::RelayKeyRefused)
    }

    /// The refusal of ours that is told, when the store has given no answer.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        self.answer.as_ref().err()
    }

    /// The answer for the client.
    pub(super) fn reply(self, replier: &Replier<'_>) -> Reply {
        let answer = match self.answer {
            Ok(answer) => answer,
            Err(refusal) => return replier.refused(&refusal, None),
        };
        let mut reply = Response::new(Full::new(answer.body));
        *reply.status_mut() = answer.status;
        let headers = reply.headers_mut();
        *headers = answer.headers;
        headers.insert(header::TIME, HeaderValue::from(replier.unix_seconds));
        headers.insert(X_TOLLGATE_RELAYED, HeaderValue::from_static("1"));
        if answer.status == http::StatusCode::OK {
            headers.insert(X_TOLLGATE_ACK, HeaderValue::from_static("logstore"));
        }
        cors::allow(headers, replier.origin);
        reply
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use http::Request;
    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::config::SignatureVersion;
    use crate::foundation::request_id::RequestId;
    use crate::foundation::secret::Secret;
    use crate::front::cors::OriginVerdict;
    use crate::logstore::client::StoreEndpoint;
    use crate::logstore::signature::AccessKey;

    const NOW: u64 = 1_781_510_400;
    const V1: (&str, &str) = ("authorization", "LOG LTAI-theirs:c2ln=");
    const V4: (&str, &str) = (
        "authorization",
        "SLS4-HMAC-SHA256 Credential=LTAI-theirs/20260615/cn-x/sls/aliyun_v4_request,Signature=ab",
    );

    /// A store that answers each request with the next of some answers, the last one for ever.
    struct Store {
        client: StoreClient,
        project: ProjectName,
        heads: Arc<Mutex<Vec<String>>>,
    }

    impl Store {
        async fn start(answers: &[(u16, &str)]) -> Self {
            let answers: Vec<String> = answers
                .iter()
                .map(|(status, body)| {
                    format!(
                        "HTTP/1.1 {status} X\r\nx-log-requestid: UPSTREAM1\r\nx-log-time: 7\r\n\
                         content-type: application/json\r\ncontent-length: {}\r\n\
                         set-cookie: a=b\r\n\r\n{body}",
                        body.len()
                    )
                })
                .collect();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = client(format!("http://{}", listener.local_addr().unwrap()));
            let heads = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&heads);
            TaskTracker::new().spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let mut read = Vec::new();
                    while !read.ends_with(b"the body")
                        && stream.read_buf(&mut read).await.unwrap_or(0) > 0
                    {}
                    let count = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(String::from_utf8(read).unwrap());
                        seen.len()
                    };
                    let answer = &answers[(count - 1).min(answers.len() - 1)];
                    drop(stream.write_all(answer.as_bytes()).await);
                }
            });
            Self {
                client,
                project: ProjectName::new("demo").unwrap(),
                heads,
            }
        }

        fn target(&self) -> RelayTarget<'_> {
            RelayTarget {
                client: &self.client,
                project: &self.project,
            }
        }

        fn heads(&self) -> Vec<String> {
            self.heads.lock().unwrap().clone()
        }
    }

    fn client(base: String) -> StoreClient {
        StoreClient::new(StoreEndpoint {
            base,
            address: None,
            region: "cn-x".to_owned(),
            key: AccessKey {
                id: "ours".to_owned(),
                secret: Secret::new("ours"),
                security_token: None,
            },
            signature: SignatureVersion::V4,
            ca_file: None,
            timeouts: Duration::from_secs(20).into(),
        })
        .unwrap()
    }

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::post("/logstores/web%2f?a=+&b").header("host", "demo.edge:1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    async fn relayed(relay: &Relay, store: &Store, headers: &[(&str, &str)]) -> Relayed {
        let parts = parts(headers);
        let relayable = relay.admit(&parts, store.target(), NOW).unwrap();
        assert_eq!(relayable.key_id(), "LTAI-theirs");
        let body = Bytes::from_static(b"the body");
        relay.send(&relayable, body, NOW, None).await
    }

    fn refused(relay: &Relay, store: &Store, headers: &[(&str, &str)]) -> Option<Reason> {
        let parts = parts(headers);
        let admitted = relay.admit(&parts, store.target(), NOW);
        admitted.err().map(|refusal| refusal.reason())
    }

    fn replier(origin: OriginVerdict<'_>) -> Replier<'_> {
        Replier {
            id: RequestId::next(1),
            unix_seconds: NOW,
            origin,
        }
    }

    #[tokio::test]
    async fn the_stores_answer_is_the_answer_with_our_time_and_cors() {
        let store = Store::start(&[(200, ""), (403, "{\"errorCode\":\"WriteQuotaExceed\"}")]).await;
        let relay = Relay::default();
        let origin = HeaderValue::from_static("https://shop.example.com");
        let taken = relayed(&relay, &store, &[V1]).await;
        assert_eq!(taken.outcome() as usize, RelayOutcome::Accepted as usize);
        assert_eq!(taken.security_reason(), None);
        let reply = taken.reply(&replier(OriginVerdict::Named(&origin)));
        let header = |name: &str| reply.headers().get(name).map(|it| it.to_str().unwrap());
        assert_eq!(reply.status(), 200);
        assert_eq!(header("x-log-requestid"), Some("UPSTREAM1"));
        assert_eq!(header("x-log-time"), Some("1781510400"));
        assert_eq!(header("x-tollgate-ack"), Some("logstore"));
        assert_eq!(header("x-tollgate-relayed"), Some("1"));
        assert_eq!(
            header("access-control-allow-origin"),
            Some("https://shop.example.com")
        );
        assert_eq!(header("set-cookie"), None);
        let quota = relayed(&relay, &store, &[V1]).await;
        assert_eq!(quota.outcome(), RelayOutcome::Refused);
        let reply = quota.reply(&replier(OriginVerdict::Any));
        assert_eq!(reply.status(), 403);
        assert!(!reply.headers().contains_key("x-tollgate-ack"));
        assert_eq!(
            reply.headers().get("content-type").unwrap(),
            "application/json"
        );
        let frame = reply.into_body().frame().await.unwrap().unwrap();
        assert_eq!(
            frame.into_data().unwrap(),
            "{\"errorCode\":\"WriteQuotaExceed\"}"
        );
        assert_eq!(
            refused(&relay, &store, &[V1]),
            None,
            "a quota is no verdict"
        );
    }

    #[tokio::test]
    async fn the_host_is_the_stores_in_v1_and_the_clients_in_v4() {
        let store = Store::start(&[(200, "")]).await;
        let relay = Relay::default();
        relayed(&relay, &store, &[V1, ("cookie", "a=secret")]).await;
        relayed(&relay, &store, &[V4]).await;
        let heads = store.heads();
        for head in &heads {
            assert!(head.starts_with("POST /logstores/web%2f?a=+&b HTTP/1.1\r\n"));
            assert!(!head.contains("secret"));
        }
        assert!(heads[0].contains("host: demo.127.0.0.1:"), "{}", heads[0]);
        assert!(heads[1].contains("host: demo.edge:1\r\n"), "{}", heads[1]);
    }

    #[tokio::test]
    async fn a_key_that_the_store_does_not_know_is_not_asked_about_again() {
        let unknown = "{\"errorCode\":\"Unauthorized\",\
            \"errorMessage\":\"AccessKeyId not found: LTAI-theirs\"}";
        let store = Store::start(&[(401, unknown)]).await;
        let relay = Relay::default();
        let answer = relayed(&relay, &store, &[V1]).await;
        assert_eq!(answer.security_reason(), Some(Reason::RelayKeyRefused));
        assert_eq!(answer.reply(&replier(OriginVerdict::Any)).status(), 401);
        assert_eq!(
            refused(&relay, &store, &[V1]),
            Some(Reason::RelayKeyRefused)
        );
        let token = ("x-acs-security-token", "t");
        assert_eq!(refused(&relay, &store, &[V1, token]), None);
        // With v4 the client chooses the host, so that is another question.
        assert_eq!(refused(&relay, &store, &[V4]), None);
        let parts = parts(&[V1]);
        assert!(relay.admit(&parts, store.target(), NOW + 60).is_ok());
        assert_eq!(store.heads().len(), 1);
    }

    #[tokio::test]
    async fn a_bad_signature_in_the_name_of_a_key_does_not_lock_it_out() {
        let bad = "{\"errorCode\":\"SignatureNotMatch\",\"errorMessage\":\"not matched\"}";
        let store = Store::start(&[(401, bad), (200, "")]).await;
        let relay = Relay::default();
        let answer = relayed(&relay, &store, &[V1]).await;
        assert_eq!(answer.outcome(), RelayOutcome::Refused);
        assert_eq!(answer.security_reason(), Some(Reason::RelayKeyRefused));
        let answer = relayed(&relay, &store, &[V1]).await;
        assert_eq!(answer.outcome(), RelayOutcome::Accepted);
    }

    #[tokio::test]
    async fn what_the_store_could_read_otherwise_than_we_did_is_refused() {
        let store = Store::start(&[(200, "")]).await;
        let relay = Relay::default();
        let twice = [
            V1,
            ("x-log-compresstype", "lz4"),
            ("x-log-compresstype", "zstd"),
        ];
        for headers in [
            &twice[..],
            &[V1, ("x-log-compresstype", "")],
            &[V1, ("content-encoding", "gzip")],
            &[V1, ("x-log-project", "another")],
        ] {
            let reason = refused(&relay, &store, headers);
            assert_eq!(reason, Some(Reason::SignatureHeaderInvalid), "{headers:?}");
        }
        assert_eq!(
            refused(&relay, &store, &[V1, ("x-log-project", "demo")]),
            None
        );
        let mut foreign = parts(&[V4]);
        foreign
            .headers
            .insert(HOST, HeaderValue::from_static("victim.edge:1"));
        let admitted = relay.admit(&foreign, store.target(), NOW);
        assert_eq!(admitted.unwrap_err().reason(), Reason::InvalidHost);
        assert!(store.heads().is_empty());
    }

    #[tokio::test]
    async fn heads_that_do_not_tell_one_sender_are_refused() {
        let store = Store::start(&[(200, "")]).await;
        let relay = Relay::default();
        let refused = |headers: &[_]| refused(&relay, &store, headers);
        let invalid = Some(Reason::SignatureHeaderInvalid);
        let token = ("x-acs-security-token", "t");
        assert_eq!(refused(&[]), invalid);
        assert_eq!(refused(&[("authorization", "LOG nothing")]), invalid);
        assert_eq!(refused(&[V1, V1]), invalid);
        assert_eq!(refused(&[V1, token, token]), invalid);
        assert_eq!(refused(&[V4, ("host", "other")]), invalid);
        assert_eq!(
            refused(&[("authorization", "LOG :c2ln")]),
            Some(Reason::AccessKeyMissing)
        );
    }

    #[tokio::test]
    async fn a_store_that_is_away_is_a_503_that_names_nothing_of_the_inside() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let client = client(format!("http://{address}"));
        let project = ProjectName::new("demo").unwrap();
        let target = RelayTarget {
            client: &client,
            project: &project,
        };
        let relay = Relay::default();
        let parts = parts(&[V1]);
        let relayable = relay.admit(&parts, target, NOW).unwrap();
        let answer = relay.send(&relayable, Bytes::new(), NOW, None).await;
        assert_eq!(answer.outcome(), RelayOutcome::Failed);
        assert_eq!(answer.security_reason(), None);
        let refusal = answer.refusal().unwrap();
        assert_eq!(refusal.reason(), Reason::RelayUnavailable);
        let message = refusal.message();
        assert!(message.contains("cannot be reached"), "{message}");
        assert!(!message.contains("127.0.0.1"), "{message}");
        let reply = answer.reply(&replier(OriginVerdict::Any));
        assert_eq!(reply.status(), 503);
        assert!(!reply.headers().contains_key("x-tollgate-relayed"));
    }
}
