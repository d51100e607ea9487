//! Why a request was refused, and what its client is told.
//!
//! One closed list. Each [`Reason`] has a label of ours (stable, for metrics and people), an error
//! code that SLS clients know, an HTTP status, and a sentence that says how to mend it. The status
//! and the code are chosen by what clients do with them: 403 is retried for a day by mobile SDKs,
//! 405 is retried too, `Unauthorized` is retried by the Java producer, so what can never succeed
//! answers 400 with a code that every producer drops.

use std::borrow::Cow;

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
    ParameterInvalid,
    PostBodyInvalid,
    PostBodyTooLarge,
    PostBodyUncompressError,
    ProjectNotExist,
    RequestTimeout,
    ServerBusy,
    Unauthorized,
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
            Self::ParameterInvalid => "ParameterInvalid",
            Self::PostBodyInvalid => "PostBodyInvalid",
            Self::PostBodyTooLarge => "PostBodyTooLarge",
            Self::PostBodyUncompressError => "PostBodyUncompressError",
            Self::ProjectNotExist => "ProjectNotExist",
            Self::RequestTimeout => "RequestTimeout",
            Self::ServerBusy => "ServerBusy",
            Self::Unauthorized => "Unauthorized",
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
    TokenMissing, "token_missing", UNAUTHORIZED, Unauthorized,
        "this logstore takes no events without a token", "Send a token as Authorization: Bearer, in the path /t/{token}/, or as the tag __token__.";
    TokenAmbiguous, "token_ambiguous", UNAUTHORIZED, Unauthorized,
        "the request carries more than one token", "Send exactly one token.";
    TokenMalformed, "token_malformed", UNAUTHORIZED, Unauthorized,
        "the token is not a JWT that this service can read", "Send an unmodified token from your token service.";
    TokenUnknownKey, "token_unknown_key", UNAUTHORIZED, Unauthorized,
        "the token is signed with a key or algorithm that is not configured", "Use a key of [[identity.jwt]].";
    TokenSignature, "token_signature", UNAUTHORIZED, Unauthorized,
        "The security token you provided is invalid: its signature does not match", "Sign with the configured secret, and send the token unchanged.";
    TokenExpired, "token_expired", UNAUTHORIZED, Unauthorized,
        "The security token you provided has expired", "Get a new token and send the events again.";
    TokenNotYetValid, "token_not_yet_valid", UNAUTHORIZED, Unauthorized,
        "the token is not valid yet", "Check the clock of the service that makes the tokens.";
    TokenClaims, "token_claims", UNAUTHORIZED, Unauthorized,
        "the token's issuer, audience or claims are not what this service asks for", "Compare iss, aud, exp, project and logstore of the token with the configuration.";
    TokenScope, "token_scope", UNAUTHORIZED, Unauthorized,
        "denied: the token is for another project or logstore", "Get a token whose project and logstore claims name this one.";
    SignatureUnsupported, "signature_unsupported", UNAUTHORIZED, Unauthorized,
        "signed requests are not accepted by this logstore", "Send a token, or write to a logstore that is open.";
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
    NotProtobuf, "not_protobuf", BAD_REQUEST, PostBodyInvalid,
        "Protobuffer content cannot be parsed", "Send one LogGroup.";
    MemoryFull, "memory_full", SERVICE_UNAVAILABLE, ServerBusy,
        "The server is busy, please try again later: its memory budget is full", "Send again later; the operator can raise limits.memory or look at the upstream.";
    Stopping, "stopping", SERVICE_UNAVAILABLE, ServerBusy,
        "The server is busy, please try again later: it is stopping", "Send again; another instance will answer.";
    Internal, "internal", INTERNAL_SERVER_ERROR, InternalServerError,
        "something went wrong here", "Report it with the x-log-requestid of this answer.";
}

/// A request refused: the reason, and what exactly was wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct Refusal {
    reason: Reason,
    detail: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with a detail: what exactly, and where. The detail goes to the client: it holds no
    /// secret, and of the client's own data at most a short, escaped part.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// What the client is told: what happened, where, and how to mend it.
    #[must_use]
    pub fn message(&self) -> String {
        let (what, fix) = (self.reason.what(), self.reason.fix());
        if self.detail.is_empty() {
            format!("{what}. {fix}")
        } else {
            format!("{what}: {}. {fix}", self.detail)
        }
    }

    /// Seconds after which trying again makes sense, if it ever does.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        matches!(self.reason, Reason::MemoryFull | Reason::Stopping).then_some(1)
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            detail: Cow::Borrowed(""),
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
    fn no_reason_answers_with_a_code_that_makes_clients_retry_for_ever() {
        for reason in Reason::ALL {
            let status = reason.status();
            assert_ne!(status, StatusCode::FORBIDDEN, "{}", reason.label());
            assert_ne!(status, StatusCode::TOO_MANY_REQUESTS, "{}", reason.label());
        }
    }
}
