//! What a client is told: an answer of the error table of SLS, or one of our refusals. The words
//! are those that SLS is known to use, where they are known.

use http::StatusCode;

use super::verify::VerifyError;
use crate::event::{Reason, Refusal};

impl VerifyError {
    /// The status, error code and message, as a plain store answers.
    #[must_use]
    pub fn answer(&self) -> (StatusCode, &'static str, String) {
        let (status, code) = match self {
            Self::MissingHeader(_) => (StatusCode::BAD_REQUEST, "MissingParameter"),
            Self::InvalidHeader(_) => (StatusCode::BAD_REQUEST, "ParameterInvalid"),
            Self::UnknownKey { .. }
            | Self::DisabledKey { .. }
            | Self::SecurityToken
            | Self::SecurityTokenMissing
            | Self::SecurityTokenExpired => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::Expired { .. } => (StatusCode::BAD_REQUEST, "RequestTimeExpired"),
            Self::NotMatched(_) => (StatusCode::UNAUTHORIZED, "SignatureNotMatch"),
            Self::Digest(_) => (StatusCode::BAD_REQUEST, "PostBodyInvalid"),
        };
        (status, code, self.to_string())
    }
}

impl From<VerifyError> for Refusal {
    fn from(error: VerifyError) -> Self {
        let reason = match &error {
            VerifyError::MissingHeader(_) => Reason::SignatureHeaderMissing,
            VerifyError::InvalidHeader(_) => Reason::SignatureHeaderInvalid,
            VerifyError::UnknownKey { key_id } if key_id.is_empty() => {
                return Reason::AccessKeyMissing.into();
            }
            VerifyError::UnknownKey { .. } => Reason::AccessKeyUnknown,
            VerifyError::DisabledKey { .. } => Reason::AccessKeyDisabled,
            VerifyError::SecurityToken => return Reason::SecurityTokenInvalid.into(),
            VerifyError::SecurityTokenMissing => Reason::SecurityTokenInvalid,
            VerifyError::SecurityTokenExpired => return Reason::SecurityTokenExpired.into(),
            VerifyError::Expired { .. } => Reason::SignatureTime,
            VerifyError::NotMatched(_) => Reason::SignatureMismatch,
            VerifyError::Digest(name) => {
                return Self::new(Reason::BodyDigest, name.as_str().to_owned());
            }
        };
        Self::told(reason, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logstore::header;

    #[test]
    fn refusals_have_the_words_of_the_store() {
        let message = |error: VerifyError| {
            let refusal = Refusal::from(error);
            (refusal.reason().label(), refusal.message())
        };
        let (label, text) = message(VerifyError::MissingHeader(header::DATE));
        assert_eq!(label, "signature_header_missing");
        assert!(
            text.starts_with("missing http extend header key : x-log-date. "),
            "{text}"
        );
        let unknown = |id: &str| VerifyError::UnknownKey {
            key_id: id.to_owned(),
        };
        let (label, text) = message(unknown("LTAI"));
        assert_eq!(label, "access_key_unknown");
        assert!(text.starts_with("AccessKeyId not found: LTAI. "), "{text}");
        assert_eq!(message(unknown("")).0, "access_key_missing");
        let (label, text) = message(VerifyError::SecurityTokenMissing);
        assert_eq!(label, "security_token_invalid");
        assert!(text.contains("x-acs-security-token"), "{text}");
        let expired = VerifyError::Expired {
            request: "Mon, 15 Jun 2026 08:00:00 GMT".to_owned(),
            server: "Mon, 15 Jun 2026 09:00:00 GMT".to_owned(),
        };
        let (label, text) = message(expired);
        assert_eq!(label, "signature_time");
        assert!(text.contains("has been expired while server time is Mon, 15 Jun 2026 09:00"));
        let (label, text) = message(VerifyError::Digest(header::CONTENT_MD5));
        assert_eq!(label, "body_digest");
        assert!(text.contains("content-md5"), "{text}");
    }
}
