//! A request as a line of the sample.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use http::request::Parts;

use super::redact::Redactor;
use crate::event::{
    Reason, SampledBody, SampledCredential, SampledEvent, SampledProof, SampledRequest,
    SampledSession, SampledVerdict,
};
use crate::front::reply::{Reply, X_LOG_REQUESTID};
use crate::front::service::Sender;
use crate::front::trace::{SeenBody, Traced, TracedCaller};

/// A request that ended, and what was seen of it.
pub(super) struct Seen<'a> {
    pub(super) parts: &'a Parts,
    pub(super) sender: Sender,
    pub(super) unix_millis: u64,
    pub(super) reply: &'a Reply,
    pub(super) traced: Traced,
    pub(super) body: SeenBody,
}

impl Seen<'_> {
    /// The line, without its end.
    pub(super) fn line(self, redactor: &Redactor<'_>) -> Option<Bytes> {
        let Self {
            parts,
            sender,
            unix_millis,
            reply,
            traced,
            body,
        } = self;
        let id = reply.headers().get(X_LOG_REQUESTID);
        let target = parts.uri.path_and_query().map_or("/", |it| it.as_str());
        let (body, hidden) = match parts.method == Method::POST || parts.method == Method::PUT {
            true => body_of(body, redactor),
            false => (SampledBody::Text(String::new()), false),
        };
        let (kept, hidden_in_target) = redactor.target(target);
        let request = SampledRequest {
            id: id
                .and_then(|id| id.to_str().ok())
                .unwrap_or_default()
                .to_owned(),
            time: unix_millis,
            client: sender.address,
            secure: sender.secure,
            method: parts.method.as_str().to_owned(),
            hidden: hidden || hidden_in_target,
            target: kept,
            headers: redactor.headers(&parts.headers),
            body,
            credential: traced.caller.as_ref().and_then(credential_of),
            verdict: verdict_of(reply.status().as_u16(), &traced),
        };
        let line = serde_json::to_vec(&request).ok()?;
        // Without what the text has grown by.
        Some(Bytes::from(line.into_boxed_slice()))
    }
}

/// The body, and whether personal data in it is hidden.
fn body_of(body: SeenBody, redactor: &Redactor<'_>) -> (SampledBody, bool) {
    let left_out = |why: &str| (SampledBody::LeftOut(why.to_owned()), false);
    let Some(mut plain) = body.plain else {
        return match body.too_long {
            true => left_out("it is longer than sample.max_body"),
            false => left_out("it was not read"),
        };
    };
    // Behind escapes a token may stand in any disguise.
    let may_hold_token = !body.readable || !body.token.is_empty();
    if may_hold_token && memchr::memmem::find(&plain, b"\\u").is_some() {
        return left_out("a secret in it could not be hidden");
    }
    let Some(hidden) = redactor.body(&mut plain, &body.token) else {
        return left_out("a secret in it could not be hidden");
    };
    let kept = match String::from_utf8(plain) {
        Ok(text) => SampledBody::Text(text),
        Err(error) => SampledBody::Base64(STANDARD.encode(error.into_bytes())),
    };
    (kept, hidden)
}

fn credential_of(caller: &TracedCaller) -> Option<SampledCredential> {
    let named = caller.name.is_some() || caller.key.is_some() || caller.denied.is_some();
    let session = caller.session.as_ref().map(|it| SampledSession {
        role: it.role_arn.clone(),
        name: it.session_name.clone(),
        issued_at: it.issued_at,
        expires_at: it.expires_at,
        policy: it.policy.clone(),
    });
    named.then(|| SampledCredential {
        kind: caller.kind.label().to_owned(),
        name: caller.name.clone(),
        key: caller.key.clone(),
        proof: caller.denied.map_or(SampledProof::Good, proof_of),
        session,
    })
}

/// What was found of the proof of a credential that was turned away for this.
fn proof_of(reason: Reason) -> SampledProof {
    match reason {
        Reason::TokenExpired
        | Reason::TokenNotYetValid
        | Reason::TokenClaims
        | Reason::TokenScope
        | Reason::PolicyDenied
        | Reason::PlatformMismatch
        | Reason::CredentialRevoked
        | Reason::RoleUnknown
        | Reason::CredentialMissing => SampledProof::Good,
        Reason::CredentialNotAccepted
        | Reason::TokenAmbiguous
        | Reason::TokenUnknownKey
        | Reason::TokenKeysUnavailable
        | Reason::AccessKeyUnknown
        | Reason::AccessKeyDisabled => SampledProof::Unchecked,
        _ => SampledProof::Bad,
    }
}

fn verdict_of(status: u16, traced: &Traced) -> SampledVerdict {
    let stage = traced
        .steps
        .last()
        .map_or("route", |step| step.stage.label());
    let observed = traced.caller.as_ref().and_then(|caller| caller.denied);
    let reason = traced.refused_for();
    let others = traced.others.iter().map(|other| SampledEvent {
        event: other.event,
        end: other.end.to_owned(),
        check: other.check.clone(),
    });
    SampledVerdict {
        status,
        reason: reason.map(|reason| reason.label().to_owned()),
        stage: stage.to_owned(),
        observed: observed
            .filter(|observed| reason != Some(*observed))
            .map(|observed| observed.label().to_owned()),
        limit: traced.limit.clone(),
        logstore: traced.logstore.clone(),
        events: traced.events,
        others: others.collect(),
    }
}
