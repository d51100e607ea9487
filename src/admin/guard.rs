//! Who is let in: the bearer of the token, a client whose certificate has a role, and never a page in
//! somebody's browser.
//!
//! A page could reach a private listener through the browser of somebody inside: by a request
//! across origins, or under a name of its own that it lets point here (DNS rebinding). It has not
//! the token either way, but a browser may show a certificate for it; so it is refused before either is
//! asked.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use super::answer::ApiError;
use super::clients::{AdminClients, Shown, Visitor, Who};
use crate::config::AdminRole;

/// The request names this listener, by an IP address, as `localhost` or by a name that the configuration
/// knows.
pub(super) fn from_this_listener(
    uri: &Uri,
    headers: &HeaderMap,
    clients: &AdminClients,
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
            || clients.knows_host(name);
        known && !has_user
    };
    if host.as_ref().is_some_and(ours) && uri.authority().is_none_or(ours) {
        Ok(())
    } else {
        Err(forbidden(
            "the Host is not one of this listener. Call it by its IP address or as localhost, or name the host \
             in admin.hosts",
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

/// No browser has sent it on behalf of a page of another origin; the dashboard's own may.
pub(super) fn from_own_page(headers: &HeaderMap) -> Result<(), ApiError> {
    let site = headers.get("sec-fetch-site");
    let own_site = site.is_none_or(|site| site == "same-origin" || site == "none");
    let mut origins = headers.get_all(ORIGIN).iter();
    let own_origin = match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => is_origin_of(origin, headers.get(HOST)),
        (Some(_), Some(_)) => false,
    };
    if own_site && own_origin {
        Ok(())
    } else {
        Err(forbidden(
            "the request comes from a page of another origin. Only the page of this listener may call it",
        ))
    }
}

/// Whether an Origin is that of the host that the request was sent to. A proxy in front may have
/// ended TLS, so the scheme is not looked at.
fn is_origin_of(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let origin = origin.to_str().unwrap_or_default();
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    let host = host.and_then(|host| host.to_str().ok());
    matches!((authority, host), (Some(one), Some(other)) if one.eq_ignore_ascii_case(other))
}

/// It bears the token, or its certificate stands for it. A token that is sent decides alone.
pub(super) fn let_in(
    headers: &HeaderMap,
    clients: &AdminClients,
    visitor: &Visitor,
) -> Result<Who, ApiError> {
    if headers.contains_key(AUTHORIZATION) {
        return with_token(headers, clients);
    }
    if let Some(who) = clients.visitor(visitor) {
        return Ok(who);
    }
    Err(match &visitor.shown {
        None => unauthorized("there is not one Authorization header"),
        Some(shown) => not_listed(shown),
    })
}

/// Says what the certificate is called, for whoever writes the configuration.
pub(super) fn not_listed(shown: &Shown) -> ApiError {
    let message = format!(
        "no [[admin.client]] of the configuration names this certificate ({}), or it has ended, and \
         there is no Authorization header.",
        shown.names()
    );
    ApiError::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
}

/// Its role is enough for a call.
pub(super) fn with_role(who: &Who, role: AdminRole) -> Result<(), ApiError> {
    if who.role >= role {
        return Ok(());
    }
    let message = format!(
        "this call needs the role {}, and {} has the role {}. Change [[admin.client]], or send the token.",
        role.label(),
        who.name(),
        who.role.label()
    );
    Err(ApiError::new(StatusCode::FORBIDDEN, "Forbidden", message))
}

/// It bears the token.
fn with_token(headers: &HeaderMap, clients: &AdminClients) -> Result<Who, ApiError> {
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
    let who = clients.bearer(given);
    who.ok_or_else(|| unauthorized("the token is not that of this node"))
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
