//! CORS: which pages may write, and what the answers say to their browsers.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderValue};

/// Request headers of the SLS clients, of ours, and of trace contexts.
const ALLOW_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-md5, content-type, x-acs-security-token, x-log-apiversion, \
     x-log-bodyrawsize, x-log-compresstype, x-log-content-sha256, x-log-date, x-log-project, \
     x-log-signaturemethod, x-tollgate-event-results, x-tollgate-string-to-sign, traceparent",
);
const ALLOW_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE, OPTIONS");
const EXPOSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "x-log-requestid, x-log-time, x-tollgate-ack, x-tollgate-reason, x-tollgate-relayed, \
     x-tollgate-limit, x-tollgate-limit-warning, x-tollgate-refused-events, \
     x-tollgate-quarantined-events, x-tollgate-dropped-events, retry-after, ratelimit, \
     ratelimit-policy",
);
/// Two hours, the longest that Chromium keeps a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
const ANY: HeaderValue = HeaderValue::from_static("*");

/// The origins that may write to a logstore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origins {
    /// Pages of any origin.
    Any,
    /// Pages of these, in lower case.
    Listed(Vec<String>),
}

/// What a request's Origin header means for one logstore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OriginVerdict<'a> {
    /// There is none: not a page of another site.
    Absent,
    /// Allowed as any origin is.
    Any,
    /// Allowed by name.
    Named(&'a HeaderValue),
    /// Not allowed.
    Refused,
}

impl Origins {
    pub(super) fn new(allowed: &[String]) -> Self {
        if allowed.iter().any(|origin| origin == "*") {
            return Self::Any;
        }
        Self::Listed(
            allowed
                .iter()
                .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase())
                .collect(),
        )
    }

    pub(super) fn verdict<'a>(&self, headers: &'a HeaderMap) -> OriginVerdict<'a> {
        let Some(origin) = headers.get(ORIGIN) else {
            return OriginVerdict::Absent;
        };
        match self {
            Self::Any => OriginVerdict::Any,
            Self::Listed(listed) => {
                let listed = listed
                    .iter()
                    .any(|one| origin.as_bytes().eq_ignore_ascii_case(one.as_bytes()));
                if listed {
                    OriginVerdict::Named(origin)
                } else {
                    OriginVerdict::Refused
                }
            }
        }
    }
}

/// Adds what every answer says, errors included: without it a page cannot read even the status.
/// A named origin may send credentials; any origin may not.
pub(super) fn allow(headers: &mut HeaderMap, verdict: OriginVerdict<'_>) {
    match verdict {
        OriginVerdict::Absent => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
            return;
        }
        // A refused page may read why: the answer holds nothing that it did not send.
        OriginVerdict::Any => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
        }
        OriginVerdict::Refused => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
            headers.insert(VARY, HeaderValue::from_static("origin"));
        }
        OriginVerdict::Named(origin) => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(
                ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
            headers.insert(VARY, HeaderValue::from_static("origin"));
        }
    }
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSE_HEADERS);
}

/// Adds what the answer to a preflight says.
pub(super) fn preflight(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, ALLOW_METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(allowed: &[&str], origin: Option<&'static str>) -> &'static str {
        let origins = Origins::new(&allowed.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        match origins.verdict(&headers) {
            OriginVerdict::Absent => "absent",
            OriginVerdict::Any => "any",
            OriginVerdict::Named(_) => "named",
            OriginVerdict::Refused => "refused",
        }
    }

    #[test]
    fn a_page_may_write_when_its_origin_is_listed() {
        let shop = ["https://shop.example.com"];
        assert_eq!(verdict(&shop, Some("https://shop.example.com")), "named");
        assert_eq!(verdict(&shop, Some("https://evil.example.com")), "refused");
        assert_eq!(verdict(&shop, Some("null")), "refused");
        assert_eq!(verdict(&shop, None), "absent");
        assert_eq!(verdict(&["*"], Some("null")), "any");
        assert_eq!(verdict(&[], Some("https://shop.example.com")), "refused");
    }

    #[test]
    fn credentials_are_never_allowed_together_with_a_star() {
        for verdict in [
            OriginVerdict::Absent,
            OriginVerdict::Any,
            OriginVerdict::Refused,
        ] {
            let mut headers = HeaderMap::new();
            allow(&mut headers, verdict);
            assert_eq!(headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(), "*");
            assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
        }
    }
}
