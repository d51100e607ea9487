//! Who is let in: the bearer of the token, and never a page in somebody's browser.
//!
//! A page could reach a private listener through the browser of somebody inside: by a request
//! across origins, or under a name of its own that it lets point here (DNS rebinding). It has not
//! the token either way; but it is refused before that is asked.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, StatusCode, Uri};

use super::answer::ApiError;
use crate::foundation::secret::Secret;

/// The request names this listener, by an IP address, as `localhost` or by one of `hosts`.
pub(super) fn from_this_listener(
    uri: &Uri,
    headers: &HeaderMap,
    hosts: &[String],
) -> Result<(), ApiError> {
    let mut values = headers.get_all(HOST).iter();
    let (Some(only), None) = (values.next(), values.next()) else {
        return Err(forbidden("Host must be there once"));
    };
    let host = Authority::try_from(only.as_bytes()).ok();
    let ours = |authority: &Authority| {
        let name = authority.host().trim_matches(['[', ']']);
        let has_user = authority.as_str().contains('@');
        let known = name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok()
            || hosts.iter().any(|host| name.eq_ignore_ascii_case(host));
        known && !has_user
    };
    if host.as_ref().is_some_and(ours) && uri.authority().is_none_or(ours) {
        Ok(())
    } else {
        Err(forbidden(
            "the Host is not one of this listener. Call it by its IP address or as localhost",
        ))
    }
}

/// No browser has sent it on behalf of a page.
pub(super) fn not_from_a_page(headers: &HeaderMap) -> Result<(), ApiError> {
    let site = headers.get("sec-fetch-site");
    if headers.contains_key(ORIGIN) || site.is_some_and(|site| site != "none") {
        return Err(forbidden(
            "the request comes from a page. This API is not for browsers: leave Origin and \
             Sec-Fetch-Site out",
        ));
    }
    Ok(())
}

/// It bears the token.
pub(super) fn with_token(headers: &HeaderMap, token: &Secret) -> Result<(), ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (values.next(), values.next()) else {
        return Err(unauthorized("there is not one Authorization header"));
    };
    let (scheme, given) = only.as_bytes().split_at_checked(7).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(unauthorized(
            "the Authorization header is not a Bearer token",
        ));
    }
    if token.matches(given) {
        Ok(())
    } else {
        Err(unauthorized("the token is not that of this node"))
    }
}

fn unauthorized(what: &'static str) -> ApiError {
    let message = format!(
        "{what}. Send Authorization: Bearer, with the token of admin.token, or of keys/admin.key in \
         the data directory."
    );
    ApiError::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
}

fn forbidden(what: &'static str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "Forbidden", format!("{what}."))
}
