//! Why a request was refused, and what its client is told.
//!
//! One closed list. Each [`Reason`] has a label of ours (stable, for metrics and people), an error
//! code that SLS clients know, an HTTP status, and a sentence that says how to mend it. The status
//! and the code are chosen by what clients do with them: 403 is retried for a day by mobile SDKs,
//! 405 is retried too, `Unauthorized` is retried by the Java producer, so what can never succeed
//! answers 400 with a code that every producer drops. Quotas are the exception: their 403 is meant to
//! be tried again, and no SLS client knows 429.

use std::borrow::Cow;
use std::sync::LazyLock;

use http::StatusCode;

/// Error codes of SLS, as its clients know them (SLS error table).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the code itself")]
pub enum ErrorCode {
    InternalServerError,
    InvalidEncoding,
    InvalidHost,
    InvalidKey,
    InvalidMethod,
    LogStoreNotExist,
    MissingParameter,
    ParameterInvalid,
    PostBodyInvalid,
    PostBodyTooLarge,
    PostBodyUncompressError,
    ProjectNotExist,
    RequestTimeExpired,
    RequestTimeout,
    ServerBusy,
    SignatureNotMatch,
    Unauthorized,
    WriteQuotaExceed,
}

impl ErrorCode {
    /// The code as it stands in an error body.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InternalServerError => "InternalServerError",
            Self::InvalidEncoding => "InvalidEncoding",
            Self::InvalidHost => "InvalidHost",
            Self::InvalidKey => "InvalidKey",
            Self::InvalidMethod => "InvalidMethod",
            Self::LogStoreNotExist => "LogStoreNotExist",
            Self::MissingParameter => "MissingParameter",
            Self::ParameterInvalid => "ParameterInvalid",
            Self::PostBodyInvalid => "PostBodyInvalid",
            Self::PostBodyTooLarge => "PostBodyTooLarge",
            Self::PostBodyUncompressError => "PostBodyUncompressError",
            Self::ProjectNotExist => "ProjectNotExist",
            Self::RequestTimeExpired => "RequestTimeExpired",
            Self::RequestTimeout => "RequestTimeout",
            Self::ServerBusy => "ServerBusy",
            Self::SignatureNotMatch => "SignatureNotMatch",
            Self::Unauthorized => "Unauthorized",
            Self::WriteQuotaExceed => "WriteQuotaExceed",
        }
    }
}

/// One row per reason: variant, label, status, code, what happened, how to mend it.
macro_rules! reasons {
    ($($variant:ident, $label:literal, $status:ident, $code:ident, $what:literal, $fix:literal;)+) => {
        /// Why a request was refused. The list is closed; docs/protocol.md prints it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $what] $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The reason's name in metrics, headers and documentation.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// The HTTP status of the answer.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }

            /// The error code of the answer.
            #[must_use]
            pub fn code(self) -> ErrorCode {
                match self { $(Self::$variant => ErrorCode::$code,)+ }
            }

            /// What happened, in a few words.
            #[must_use]
            pub fn what(self) -> &'static str {
                match self { $(Self::$variant => $what,)+ }
            }

            /// How the client, or whoever runs Tollgate, can mend it.
            #[must_use]
            pub fn fix(self) -> &'static str {
                match self { $(Self::$variant => $fix,)+ }
            }
        }
    };
}

reasons! {
    UnknownRoute, "unknown_route", NOT_FOUND, ParameterInvalid,
        "no such route", "Send events to /logstores/{logstore}/track.";
    MethodNotAllowed, "method_not_allowed", METHOD_NOT_ALLOWED, InvalidMethod,
        "this route does not take that method", "Use one of the methods in the Allow header.";
    InvalidHost, "invalid_host", BAD_REQUEST, InvalidHost,
        "the Host header is missing or not a host", "Send one Host header: {project}.{endpoint}.";
    BadFraming, "bad_framing", BAD_REQUEST, ParameterInvalid,
        "the request's framing can be read in two ways", "Send Content-Length, or Transfer-Encoding: chunked once; no body with GET.";
    UnknownProject, "unknown_project", NOT_FOUND, ProjectNotExist,
        "The Project does not exist", "Name a configured project as the first label of the host, or in x-log-project.";
    UnknownLogstore, "unknown_logstore", NOT_FOUND, LogStoreNotExist,
        "the logstore does not exist", "Name a logstore that is configured for this project.";
    OriginNotAllowed, "origin_not_allowed", UNAUTHORIZED, Unauthorized,
        "pages of this origin may not write here", "Add the origin to allow_origins of the logstore.";
    AppidNotAllowed, "appid_not_allowed", UNAUTHORIZED, Unauthorized,
        "this mini program may not write here", "Add its appid to appids of the logstore.";
    DevelopmentRefused, "development_refused", UNAUTHORIZED, Unauthorized,
        "this logstore takes no events of simulators, trial or review builds", "Send from a released build, or set development of the logstore.";
    CookieLimits, "cookie_limits", BAD_REQUEST, ParameterInvalid,
        "the request carries more cookies than the limit", "Send fewer or shorter cookies.";
    CredentialMissing, "credential_missing", UNAUTHORIZED, Unauthorized,
        "this logstore takes no events without a credential", "Send a token as Authorization: Bearer, in the path /t/{token}/, or as the tag __token__; or sign the request.";
    CredentialNotAccepted, "credential_not_accepted", UNAUTHORIZED, Unauthorized,
        "this logstore does not accept that kind of credential", "Send a kind that accept of the logstore names, or add this one to it.";
    CredentialRevoked, "credential_revoked", UNAUTHORIZED, Unauthorized,
        "the credential has been revoked", "Get a new one; whoever runs this service knows why.";
    PlatformMismatch, "platform_mismatch", UNAUTHORIZED, Unauthorized,
        "the token is for another mini program than the one that the Referer names", "Send the token of this mini program.";
    PolicyDenied, "policy_denied", UNAUTHORIZED, Unauthorized,
        "denied by sts or ram", "Allow the action on the resource in a policy of the key or role, and in the session policy; `tollgate policy test` says which statement decides.";
    TokenAmbiguous, "token_ambiguous", UNAUTHORIZED, Unauthorized,
        "the request carries more than one token", "Send exactly one token.";
    TokenMalformed, "token_malformed", UNAUTHORIZED, Unauthorized,
        "the token is not a JWT that this service can read", "Send an unmodified token from your token service.";
    TokenUnknownKey, "token_unknown_key", UNAUTHORIZED, Unauthorized,
        "the token is signed with a key or algorithm that is not configured", "Use a key of [[identity.jwt]].";
    TokenKeysUnavailable, "token_keys_unavailable", SERVICE_UNAVAILABLE, ServerBusy,
        "The server is busy, please try again later: the keys of this token's issuer could not be fetched yet", "Send again; the operator can look at jwks_url.";
    TokenSignature, "token_signature", UNAUTHORIZED, Unauthorized,
        "The security token you provided is invalid: its signature does not match", "Sign with the configured secret, and send the token unchanged.";
    TokenExpired, "token_expired", UNAUTHORIZED, Unauthorized,
        "The security token you provided has expired", "Get a new token and send the events again.";
    TokenNotYetValid, "token_not_yet_valid", UNAUTHORIZED, Unauthorized,
        "the token is not valid yet", "Check the clock of the service that makes the tokens.";
    TokenClaims, "token_claims", UNAUTHORIZED, Unauthorized,
        "the token's issuer, audience or claims are not what this service asks for", "Compare iss, aud, exp, project and logstore of the token with the configuration.";
    TokenScope, "token_scope", UNAUTHORIZED, Unauthorized,
        "denied: the token is for another project, logstore or action", "Get a token whose project and logstore claims name this one.";
    TicketUnknown, "ticket_unknown", UNAUTHORIZED, Unauthorized,
        "no such ticket is known here", "Get a new link; tickets are kept where they were made.";
    TicketExpired, "ticket_expired", UNAUTHORIZED, Unauthorized,
        "the ticket has expired", "Get a new link, or have this one extended before it ends.";
    TicketNotYetValid, "ticket_not_yet_valid", UNAUTHORIZED, Unauthorized,
        "the ticket is not valid yet", "Wait, or have it made with an earlier start.";
    TicketUsedUp, "ticket_used_up", UNAUTHORIZED, Unauthorized,
        "the ticket has been used as often as it may be", "Get a new link.";
    TicketAddress, "ticket_address", UNAUTHORIZED, Unauthorized,
        "the ticket may not be used from this address", "Use it from a network that it was made for.";
    TicketOrigin, "ticket_origin", UNAUTHORIZED, Unauthorized,
        "the ticket may not be used by pages of this origin", "Use it from a site that it was made for.";
    TicketAccount, "ticket_account", UNAUTHORIZED, Unauthorized,
        "the ticket may not be used by this account", "Log in with an account that it was made for.";
    TicketScope, "ticket_scope", UNAUTHORIZED, Unauthorized,
        "denied: the ticket is for another use, project or logstore", "Get a ticket for this one.";
    AccessKeyMissing, "access_key_missing", UNAUTHORIZED, Unauthorized,
        "the request is signed with an empty AccessKeyId: its client had no credentials yet", "Wait for the first credentials before sending; the STS plugin sends before refreshSTSToken has answered.";
    AccessKeyUnknown, "access_key_unknown", UNAUTHORIZED, Unauthorized,
        "AccessKeyId not found", "Use a key of [[identity.access_key]], or temporary credentials of this service.";
    AccessKeyDisabled, "access_key_disabled", UNAUTHORIZED, Unauthorized,
        "AccessKeyId is disabled", "Use another key, or enable this one.";
    SecurityTokenInvalid, "security_token_invalid", UNAUTHORIZED, Unauthorized,
        "The security token you provided is invalid", "Send the SecurityToken that came with the AccessKeyId, unchanged, as x-acs-security-token.";
    SecurityTokenExpired, "security_token_expired", UNAUTHORIZED, Unauthorized,
        "The security token you provided has expired", "Get new temporary credentials and send the events again.";
    RoleUnknown, "role_unknown", UNAUTHORIZED, Unauthorized,
        "the role of these temporary credentials is gone", "Get new credentials of a configured role.";
    SignatureHeaderMissing, "signature_header_missing", BAD_REQUEST, MissingParameter,
        "missing http extend header key", "Send every header that the signature scheme asks for.";
    SignatureHeaderInvalid, "signature_header_invalid", BAD_REQUEST, ParameterInvalid,
        "a header of the signed request cannot be read", "Send it once, in the form of the signature scheme.";
    SignatureTime, "signature_time", BAD_REQUEST, RequestTimeExpired,
        "the time of the signed request is too far from the server's", "Set the client's clock; x-log-time of this answer is the server's.";
    SignatureMismatch, "signature_mismatch", UNAUTHORIZED, SignatureNotMatch,
        "the signature does not match", "Compare the string-to-sign line by line with the client's.";
    SignatureReplayed, "signature_replayed", UNAUTHORIZED, Unauthorized,
        "a request with this signature was taken before", "Sign each request anew, at most one of a kind in a second.";
    BodyDigest, "body_digest", UNAUTHORIZED, SignatureNotMatch,
        "the body is not the one that was signed", "Send Content-MD5 (v1) or x-log-content-sha256 (v4) of the body as sent, after compression.";
    RelayKeyRefused, "relay_key_refused", UNAUTHORIZED, Unauthorized,
        "the logstore has refused this AccessKeyId", "Use a key that the logstore knows.";
    RelayUnavailable, "relay_unavailable", SERVICE_UNAVAILABLE, ServerBusy,
        "The server is busy, please try again later: the logstore could not be reached to relay the request", "Send again later; the operator can look at the upstream.";
    RelayRefused, "relay_refused", BAD_REQUEST, ParameterInvalid,
        "the logstore refused the relayed request", "Read the logstore's own answer, which was passed back as it came.";
    TooManyCalls, "too_many_calls", SERVICE_UNAVAILABLE, ServerBusy,
        "The server is busy, please try again later: too many calls of this service in a second", "Keep credentials until shortly before they expire.";
    BodyTooLarge, "body_too_large", PAYLOAD_TOO_LARGE, PostBodyTooLarge,
        "the body is larger than the limit", "Send fewer events in a request.";
    BodyIncomplete, "body_incomplete", BAD_REQUEST, PostBodyInvalid,
        "the body ended before its declared length", "Send the whole body.";
    BodyTimeout, "body_timeout", REQUEST_TIMEOUT, RequestTimeout,
        "the body did not arrive in time", "Send the body faster, or in smaller requests.";
    TooManyEvents, "too_many_events", PAYLOAD_TOO_LARGE, PostBodyTooLarge,
        "the request holds more events than the limit", "Send fewer events in a request.";
    QueryTooLarge, "query_too_large", PAYLOAD_TOO_LARGE, PostBodyTooLarge,
        "the query is larger than the limit", "Send the event by POST.";
    UnknownCompression, "unknown_compression", BAD_REQUEST, ParameterInvalid,
        "Http extend x-log-compresstype pair is invalid", "Use lz4, deflate, zstd or gzip, or no compression.";
    RawSizeInvalid, "raw_size_invalid", BAD_REQUEST, ParameterInvalid,
        "Http extend x-log-bodyrawsize pair is invalid", "Send the size of the body before compression, in bytes.";
    Uncompress, "uncompress", BAD_REQUEST, PostBodyUncompressError,
        "Failed to decompress logs", "Compress as x-log-compresstype says: lz4 is a raw block, deflate is zlib.";
    NotUtf8, "not_utf8", BAD_REQUEST, InvalidEncoding,
        "Non-UTF8 characters are in logs", "Send UTF-8.";
    NotJson, "not_json", BAD_REQUEST, PostBodyInvalid,
        "The request body is not valid JSON object", "Send {\"__logs__\":[{\"key\":\"value\"}]}.";
    TooDeep, "too_deep", BAD_REQUEST, PostBodyInvalid,
        "the JSON is nested too deeply", "Send flat events, or nested values as text.";
    WrongShape, "wrong_shape", BAD_REQUEST, PostBodyInvalid,
        "the JSON has not the shape of web tracking", "Send {\"__topic__\":\"t\",\"__tags__\":{\"k\":\"v\"},\"__logs__\":[{\"key\":\"value\"}]}.";
    DuplicateKey, "duplicate_key", BAD_REQUEST, PostBodyInvalid,
        "a JSON object names a key twice", "Name each key once.";
    TooManyFields, "too_many_fields", BAD_REQUEST, PostBodyInvalid,
        "an event has more fields, or a request more tags, than the limit", "Send fewer fields.";
    InvalidKey, "invalid_key", BAD_REQUEST, InvalidKey,
        "Invalid keys are in logs", "A key has 1 to 128 bytes.";
    ValueTooLarge, "value_too_large", BAD_REQUEST, PostBodyInvalid,
        "a value, topic, source or tag is larger than the limit", "Shorten it.";
    TimeOutOfRange, "time_out_of_range", BAD_REQUEST, PostBodyInvalid,
        "The post data time is out of range", "Send __time__ in seconds, not older or newer than the accepted window.";
    SchemaInvalid, "schema_invalid", BAD_REQUEST, PostBodyInvalid,
        "an event does not pass its schema", "Mend what is named; `tollgate schema test` says the same of events in a file.";
    GuardRefused, "guard_refused", BAD_REQUEST, PostBodyInvalid,
        "an event does not pass the guards of this logstore", "Mend what is named.";
    EventInFlight, "event_in_flight", SERVICE_UNAVAILABLE, ServerBusy,
        "The server is busy, please try again later: another request is bringing the same event right now", "Send again; what was taken by then is not stored twice.";
    TransformFailed, "transform_failed", BAD_REQUEST, PostBodyInvalid,
        "a step of this logstore could not be done on an event", "Send the field in the form that the step asks for.";
    TooMuchAside, "too_much_aside", PAYLOAD_TOO_LARGE, PostBodyTooLarge,
        "the events of the request that have to be set aside come to more than the limit", "Mend the events, or send fewer in a request.";
    QuarantineFull, "quarantine_full", SERVICE_UNAVAILABLE, ServerBusy,
        "The server is busy, please try again later: events that have to be set aside wait for the disk", "Send again later; the operator can look at the disk of data_dir.";
    NotProtobuf, "not_protobuf", BAD_REQUEST, PostBodyInvalid,
        "Protobuffer content cannot be parsed", "Send one LogGroup.";
    QuotaExceeded, "quota_exceeded", FORBIDDEN, WriteQuotaExceed,
        "Project write quota exceed", "Send again after the time of Retry-After, or send less; the operator sees the limit in `tollgate limits`.";
    QuotaTooLarge, "quota_too_large", PAYLOAD_TOO_LARGE, PostBodyTooLarge,
        "the request asks for more than the limit ever allows at once", "Send fewer events in a request.";
    Banned, "banned", FORBIDDEN, WriteQuotaExceed,
        "Project write quota exceed: an operator has stopped this sender for a time", "Ask the operator, who sees the reason in `tollgate limits`.";
    QuotaStoreDown, "quota_store_down", SERVICE_UNAVAILABLE, ServerBusy,
        "The server is busy, please try again later: the store of shared limits cannot be reached", "Send again later; the operator can look at [quota.redis].";
    MemoryFull, "memory_full", SERVICE_UNAVAILABLE, ServerBusy,
        "The server is busy, please try again later: its memory budget is full", "Send again later; the operator can raise limits.memory or look at the upstream.";
    StoreSlow, "store_slow", SERVICE_UNAVAILABLE, ServerBusy,
        "The server is busy, please try again later: what is held for this logstore takes its store too long already", "Send again after Retry-After; the operator can look at the upstream, or set overload.max_delay.";
    UpstreamQuota, "upstream_quota", FORBIDDEN, WriteQuotaExceed,
        "the store's write quota of this logstore is used up", "Send again after Retry-After; the operator can add shards or raise the quota at the store.";
    Overloaded, "overloaded", SERVICE_UNAVAILABLE, ServerBusy,
        "The server is busy, please try again later: the machine is short of time, and this logstore brings more than its share", "Send again after Retry-After; the operator can add nodes, or set weight of the logstore.";
    SpoolFull, "spool_full", SERVICE_UNAVAILABLE, ServerBusy,
        "The server is busy, please try again later: its disk has no room for events", "Send again later; the operator can free space, or raise spool.max_size.";
    SpoolFailed, "spool_failed", SERVICE_UNAVAILABLE, ServerBusy,
        "The server is busy, please try again later: its disk does not take events", "Send again later; the operator can look at the disk of the spool.";
    SpoolBusy, "spool_busy", SERVICE_UNAVAILABLE, ServerBusy,
        "The server is busy, please try again later: its disk is slower than what comes in", "Send again later; the operator can look at the disk of the spool.";
    AckTimeout, "ack_timeout", SERVICE_UNAVAILABLE, ServerBusy,
        "The server is busy, please try again later: the logstore did not take the events in time", "Send again; what was stored meanwhile may come twice.";
    StoreRefused, "store_refused", BAD_REQUEST, PostBodyInvalid,
        "the logstore refused events of this request", "Look at what the logstore does not take; `tollgate quarantine ls` shows it.";
    Stopping, "stopping", SERVICE_UNAVAILABLE, ServerBusy,
        "The server is busy, please try again later: it is stopping", "Send again; another instance will answer.";
    Internal, "internal", INTERNAL_SERVER_ERROR, InternalServerError,
        "something went wrong here", "Report it with the x-log-requestid of this answer.";
}

/// Every label with its reason, sorted.
static BY_LABEL: LazyLock<Vec<(&str, Reason)>> = LazyLock::new(|| {
    let all = Reason::ALL.iter().map(|reason| (reason.label(), *reason));
    let mut all: Vec<_> = all.collect();
    all.sort_unstable_by_key(|(label, _)| *label);
    all
});

impl Reason {
    /// The reason with this label.
    #[must_use]
    pub fn of_label(label: &str) -> Option<Self> {
        let found = BY_LABEL.binary_search_by_key(&label, |(label, _)| label);
        BY_LABEL.get(found.ok()?).map(|(_, reason)| *reason)
    }

    /// Whether a limit of ours, on what may be sent, was the reason.
    #[must_use]
    pub fn is_quota(self) -> bool {
        matches!(
            self,
            Self::QuotaExceeded | Self::QuotaTooLarge | Self::Banned | Self::QuotaStoreDown
        )
    }
}

/// A request refused: the reason, and what exactly was wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct Refusal {
    reason: Reason,
    /// Stands in place of what the reason says itself, not after it.
    whole: bool,
    detail: Cow<'static, str>,
    /// Seconds until trying again makes sense, where that is known.
    retry_seconds: Option<u32>,
}

impl Refusal {
    /// A refusal with a detail: what exactly, and where. The detail goes to the client: it holds no
    /// secret, and of the client's own data at most a short, escaped part.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            whole: false,
            detail: detail.into(),
            retry_seconds: None,
        }
    }

    /// A refusal whose sentence replaces the reason's own, where clients know its exact words. The
    /// rules for a detail hold.
    #[must_use]
    pub fn told(reason: Reason, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            whole: true,
            detail: sentence.into(),
            retry_seconds: None,
        }
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether it says no more than its reason.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.whole && self.detail.is_empty()
    }

    /// What the client is told: what happened, where, and how to mend it.
    #[must_use]
    pub fn message(&self) -> String {
        let (what, fix) = (self.reason.what(), self.reason.fix());
        if self.whole {
            [&*self.detail, ". ", fix].concat()
        } else if self.detail.is_empty() {
            [what, ". ", fix].concat()
        } else {
            [what, ": ", &*self.detail, ". ", fix].concat()
        }
    }

    /// Says when to try again: after so many seconds, at least one. Whoever refuses works it out from
    /// what it measures, and caps it.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_seconds = Some(seconds.max(1));
        self
    }

    /// Whether somebody has said when to try again.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.retry_seconds.is_some()
    }

    /// Seconds after which trying again makes sense, if it ever does: what was said, else one for
    /// every 503.
    #[must_use]
    pub fn retry_seconds(&self) -> Option<u32> {
        let busy = self.reason.status() == StatusCode::SERVICE_UNAVAILABLE;
        self.retry_seconds.or(busy.then_some(1))
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            whole: false,
            detail: Cow::Borrowed(""),
            retry_seconds: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unique_and_every_reason_says_how_to_mend_it() {
        let mut labels: Vec<_> = Reason::ALL.iter().map(|r| r.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Reason::ALL.len());
        assert!(
            Reason::ALL
                .iter()
                .all(|r| r.fix().len() > 10 && r.what().len() > 10)
        );
    }

    #[test]
    fn a_refusal_says_when_to_try_again_if_it_was_told_or_is_a_503() {
        let busy = Refusal::from(Reason::MemoryFull);
        assert_eq!(busy.retry_seconds(), Some(1));
        assert_eq!(busy.clone().retry_after(17).retry_seconds(), Some(17));
        assert_eq!(busy.retry_after(0).retry_seconds(), Some(1));
        let wrong = Refusal::from(Reason::NotJson);
        assert_eq!(wrong.retry_seconds(), None);
        assert_eq!(wrong.retry_after(3).retry_seconds(), Some(3));
    }

    #[test]
    fn no_reason_answers_with_a_code_that_makes_clients_retry_for_ever() {
        for reason in Reason::ALL {
            let status = reason.status();
            let of_quota = reason.code() == ErrorCode::WriteQuotaExceed;
            assert_eq!(
                status == StatusCode::FORBIDDEN,
                of_quota,
                "only quotas answer 403: {}",
                reason.label()
            );
            assert_ne!(status, StatusCode::TOO_MANY_REQUESTS, "{}", reason.label());
        }
    }
}
