//! Names of the headers that SLS adds to HTTP. Always sent in lower case: its C client reads them no
//! other way.

use http::HeaderName;

/// Version of the API.
pub const API_VERSION: HeaderName = HeaderName::from_static("x-log-apiversion");
/// The one version there is.
pub const API_VERSION_VALUE: &str = "0.6.0";
/// Bytes of the body before compression.
pub const BODY_RAW_SIZE: HeaderName = HeaderName::from_static("x-log-bodyrawsize");
/// How the body is compressed; left out for none.
pub const COMPRESS_TYPE: HeaderName = HeaderName::from_static("x-log-compresstype");
/// Upper-case hex of the MD5 of the body as sent (v1 signatures).
pub const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
/// Lower-case hex of the SHA-256 of the body as sent (v4 signatures).
pub const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-log-content-sha256");
/// Number of LogGroups in an answer.
pub const COUNT: HeaderName = HeaderName::from_static("x-log-count");
/// Cursor of the next LogGroup.
pub const CURSOR: HeaderName = HeaderName::from_static("x-log-cursor");
/// When the request was signed: an HTTP date in v1, `YYYYMMDDTHHMMSSZ` in v4.
pub const DATE: HeaderName = HeaderName::from_static("x-log-date");
/// Id of the request, on every answer.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-log-requestid");
/// STS token that belongs to a temporary access key.
pub const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-acs-security-token");
/// `hmac-sha1` or `hmac-sha256` (v1 signatures).
pub const SIGNATURE_METHOD: HeaderName = HeaderName::from_static("x-log-signaturemethod");
/// The server's clock in Unix seconds, on every answer.
pub const TIME: HeaderName = HeaderName::from_static("x-log-time");
