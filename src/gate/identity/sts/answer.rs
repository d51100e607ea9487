//! What the token service answers: credentials, or an error with a code that clients know.
//!
//! The codes are those of Alibaba Cloud's RPC services. Its clients read a JSON body whatever the
//! status: `Code`, `Message` and `RequestId` are what they raise (the Python client as
//! `ClientException` below 500 and as `ServerException` from there on, and none of it is tried again
//! unless its user asks for that; with the header `x-acs-retry-after`, in milliseconds, it raises
//! `ThrottlingException`). Calls in the old style get XML unless they say `Format=JSON`, calls in the
//! new style JSON unless they say `Format=XML`.

use std::borrow::Cow;
use std::fmt::Write as _;

use http::StatusCode;
use serde::Serialize;

use super::credentials::Credentials;
use crate::event::Reason;

/// Why the token service refuses a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the code itself")]
pub enum Code {
    Missing(&'static str),
    InvalidRoleArn,
    InvalidRoleSessionName,
    InvalidDurationSeconds,
    InvalidPolicyGrammar,
    InvalidPolicySize,
    InvalidExternalId,
    InvalidParameter,
    InvalidVersion,
    InvalidAction,
    UnsupportedHttpMethod,
    EntityNotExistRole,
    NoPermission,
    InvalidAccessKeyId,
    InactiveAccessKeyId,
    IncompleteSignature,
    SignatureDoesNotMatch,
    SignatureNonceUsed,
    InvalidTimeStampFormat,
    InvalidTimeStampExpired,
    Throttling,
    InternalError,
}

impl Code {
    /// Status, code and advice.
    #[expect(clippy::too_many_lines, reason = "a table with a row for each code")]
    fn row(self) -> (StatusCode, Cow<'static, str>, &'static str) {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        let (status, code, advice) = match self {
            Self::Missing(name) => {
                let code = Cow::Owned(format!("Missing{name}"));
                return (BAD, code, "Send the parameter.");
            }
            Self::InvalidRoleArn => (
                BAD,
                "InvalidParameter.RoleArn",
                "Send the ARN of a role: acs:ram::{account}:role/{name}.",
            ),
            Self::InvalidRoleSessionName => (
                BAD,
                "InvalidParameter.RoleSessionName",
                "Use 2 to 64 letters, digits, `.`, `@`, `-` and `_`.",
            ),
            Self::InvalidDurationSeconds => (
                BAD,
                "InvalidParameter.DurationSeconds",
                "Use 900 to the role's max_session_duration.",
            ),
            Self::InvalidPolicyGrammar => (
                BAD,
                "InvalidParameter.PolicyGrammar",
                "Send a policy document, version \"1\".",
            ),
            Self::InvalidPolicySize => (
                BAD,
                "InvalidParameter.PolicySize",
                "Send a policy of 1 to 2048 bytes.",
            ),
            Self::InvalidExternalId => (
                BAD,
                "InvalidParameter.ExternalId",
                "Use 2 to 1224 letters, digits and `_+=,.@:/-`.",
            ),
            Self::InvalidParameter => (
                BAD,
                "InvalidParameter",
                "Send each parameter once, in UTF-8.",
            ),
            Self::InvalidVersion => (BAD, "InvalidVersion", "Use version 2015-04-01."),
            Self::InvalidAction => (
                StatusCode::NOT_FOUND,
                "InvalidAction.NotFound",
                "Call AssumeRole at the path /.",
            ),
            Self::UnsupportedHttpMethod => (BAD, "UnsupportedHTTPMethod", "Use GET or POST."),
            Self::EntityNotExistRole => (
                StatusCode::NOT_FOUND,
                "EntityNotExist.Role",
                "Name a role of [[identity.role]].",
            ),
            Self::NoPermission => (
                StatusCode::FORBIDDEN,
                "NoPermission",
                "Add the access key to assumed_by of the role, and give its ExternalId; temporary credentials assume no role.",
            ),
            Self::InvalidAccessKeyId => (
                StatusCode::NOT_FOUND,
                "InvalidAccessKeyId.NotFound",
                "Use a key of [[identity.access_key]].",
            ),
            Self::InactiveAccessKeyId => (
                StatusCode::FORBIDDEN,
                "InvalidAccessKeyId.Inactive",
                "Use another key, or enable this one.",
            ),
            Self::IncompleteSignature => (
                BAD,
                "IncompleteSignature",
                "Sign with ACS3-HMAC-SHA256, with host, content-type and every x-acs- header, or the RPC way with version 1.0.",
            ),
            Self::SignatureDoesNotMatch => (
                BAD,
                "SignatureDoesNotMatch",
                "Compare the text with the one that your client signs, line by line, and check the secret.",
            ),
            Self::SignatureNonceUsed => {
                (BAD, "SignatureNonceUsed", "Use a new nonce for every call.")
            }
            Self::InvalidTimeStampFormat => (
                BAD,
                "InvalidTimeStamp.Format",
                "Send the time as YYYY-MM-DDThh:mm:ssZ, in UTC.",
            ),
            Self::InvalidTimeStampExpired => {
                (BAD, "InvalidTimeStamp.Expired", "Set the client's clock.")
            }
            Self::Throttling => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Throttling",
                "Keep credentials until shortly before they expire.",
            ),
            Self::InternalError => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                "Call again.",
            ),
        };
        (status, Cow::Borrowed(code), advice)
    }

    /// The code as it stands in an answer.
    #[must_use]
    pub fn as_str(self) -> Cow<'static, str> {
        self.row().1
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.row().0
    }

    /// The reason that it is counted under.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::Missing(_)
            | Self::InvalidRoleArn
            | Self::InvalidRoleSessionName
            | Self::InvalidDurationSeconds
            | Self::InvalidPolicyGrammar
            | Self::InvalidPolicySize
            | Self::InvalidExternalId
            | Self::InvalidParameter
            | Self::InvalidVersion
            | Self::InvalidTimeStampFormat
            | Self::IncompleteSignature => Reason::SignatureHeaderInvalid,
            Self::InvalidAction => Reason::UnknownRoute,
            Self::UnsupportedHttpMethod => Reason::MethodNotAllowed,
            Self::EntityNotExistRole => Reason::RoleUnknown,
            Self::NoPermission => Reason::PolicyDenied,
            Self::InvalidAccessKeyId => Reason::AccessKeyUnknown,
            Self::InactiveAccessKeyId => Reason::AccessKeyDisabled,
            Self::SignatureDoesNotMatch => Reason::SignatureMismatch,
            Self::SignatureNonceUsed => Reason::SignatureReplayed,
            Self::InvalidTimeStampExpired => Reason::SignatureTime,
            Self::Throttling => Reason::TooManyCalls,
            Self::InternalError => Reason::Internal,
        }
    }
}

/// A call refused: the code, and what exactly was wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.as_str())]
pub struct Failure {
    /// The code.
    pub code: Code,
    /// What was wrong, for the client. Holds no secret.
    pub message: Cow<'static, str>,
}

impl Failure {
    pub(super) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// A parameter that must be there is not.
    pub(super) fn missing(name: &'static str) -> Self {
        let message = format!("{name} is mandatory for this action.");
        Self::new(Code::Missing(name), message)
    }
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Xml,
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json;charset=utf-8",
            Self::Xml => "text/xml;charset=utf-8",
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorBody<'a> {
    request_id: &'a str,
    host_id: &'a str,
    code: &'a str,
    message: &'a str,
    recommend: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SuccessBody<'a> {
    request_id: &'a str,
    assumed_role_user: AssumedRoleUser<'a>,
    credentials: &'a Credentials,
}

/// Who the credentials are.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AssumedRoleUser<'a> {
    pub(super) arn: &'a str,
    pub(super) assumed_role_id: &'a str,
}

/// The body of an error.
pub(super) fn error(format: Format, failure: &Failure, request_id: &str, host: &str) -> Vec<u8> {
    let (_, code, recommend) = failure.code.row();
    let body = ErrorBody {
        request_id,
        host_id: host,
        code: &code,
        message: &failure.message,
        recommend,
    };
    match format {
        Format::Json => serde_json::to_vec(&body).unwrap_or_default(),
        Format::Xml => {
            let mut xml = Xml::new();
            xml.within("Error", |xml| {
                xml.text("RequestId", body.request_id);
                xml.text("HostId", body.host_id);
                xml.text("Code", body.code);
                xml.text("Message", body.message);
                xml.text("Recommend", body.recommend);
            });
            xml.0.into_bytes()
        }
    }
}

/// The body of a success.
pub(super) fn success(
    format: Format,
    credentials: &Credentials,
    user: AssumedRoleUser<'_>,
    request_id: &str,
) -> Vec<u8> {
    if format == Format::Json {
        let body = SuccessBody {
            request_id,
            assumed_role_user: user,
            credentials,
        };
        return serde_json::to_vec(&body).unwrap_or_default();
    }
    let mut xml = Xml::new();
    xml.within("AssumeRoleResponse", |xml| {
        xml.text("RequestId", request_id);
        xml.within("AssumedRoleUser", |xml| {
            xml.text("Arn", user.arn);
            xml.text("AssumedRoleId", user.assumed_role_id);
        });
        xml.within("Credentials", |xml| {
            xml.text("AccessKeyId", &credentials.access_key_id);
            xml.text("AccessKeySecret", &credentials.access_key_secret);
            xml.text("SecurityToken", &credentials.security_token);
            xml.text("Expiration", &credentials.expiration);
        });
    });
    xml.0.into_bytes()
}

/// A document with elements and texts, and no more.
struct Xml(String);

impl Xml {
    fn new() -> Self {
        Self("<?xml version='1.0' encoding='UTF-8'?>".to_owned())
    }

    fn within(&mut self, name: &str, inner: impl FnOnce(&mut Self)) {
        // Writing to a String does not fail.
        write!(self.0, "<{name}>").unwrap_or_default();
        inner(self);
        write!(self.0, "</{name}>").unwrap_or_default();
    }

    fn text(&mut self, name: &str, text: &str) {
        self.within(name, |xml| {
            for c in text.chars() {
                match c {
                    '&' => xml.0.push_str("&amp;"),
                    '<' => xml.0.push_str("&lt;"),
                    '>' => xml.0.push_str("&gt;"),
                    '"' => xml.0.push_str("&quot;"),
                    '\n' => xml.0.push('\n'),
                    // No control character but the line break may stand in XML 1.0.
                    c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
                    c => xml.0.push(c),
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_the_same_in_both_formats() {
        let failure = Failure::new(Code::NoPermission, "not <you> & \u{1b}\"others\"");
        let json = error(Format::Json, &failure, "ID", "sts.example.com");
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["Code"], "NoPermission");
        assert_eq!(json["HostId"], "sts.example.com");
        assert_eq!(json["RequestId"], "ID");
        assert!(json["Recommend"].as_str().unwrap().contains("assumed_by"));
        let xml = String::from_utf8(error(Format::Xml, &failure, "ID", "h")).unwrap();
        assert!(
            xml.contains("<Error><RequestId>ID</RequestId><HostId>h</HostId>"),
            "{xml}"
        );
        assert!(xml.contains("<Message>not &lt;you&gt; &amp; &quot;others&quot;</Message>"));
    }

    #[test]
    fn a_missing_parameter_has_a_code_of_its_own() {
        let failure = Failure::missing("RoleArn");
        assert_eq!(failure.code.as_str(), "MissingRoleArn");
        assert_eq!(failure.code.status(), 400);
        assert_eq!(failure.message, "RoleArn is mandatory for this action.");
    }
}
