//! Where in the head of a request a credential stands.
//!
//! One token in one place, or a refusal: never the first that works. A cookie is ambient (the
//! browser adds it, also for a page of another site), so it counts only when nothing else was
//! sent, and only without an Origin or from one that the logstore names.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::cookie::Cookies;
use super::cors::OriginVerdict;
use super::route::Route;
use crate::config::{Identity, Logstore, TokenPlace};
use crate::event::{Reason, Refusal};
use crate::gate::identity::Credential;

/// The credential in the head, among the places that the logstore accepts.
pub(super) fn find<'a>(
    parts: &'a Parts,
    route: &Route<'a>,
    origin: OriginVerdict<'_>,
    logstore: &Logstore,
    identity: &'a Identity,
) -> Result<Credential<'a>, Refusal> {
    let names = [identity.cookie.as_str(), identity.session.cookie.as_str()];
    let cookies = Cookies::read(&parts.headers, &identity.cookies, &names)?;
    find_with(parts, route, origin, logstore, identity, &cookies)
}

/// As [`find`], with cookies that have been read.
pub(super) fn find_with<'a>(
    parts: &'a Parts,
    route: &Route<'a>,
    origin: OriginVerdict<'_>,
    logstore: &Logstore,
    identity: &'a Identity,
    cookies: &Cookies<'a>,
) -> Result<Credential<'a>, Refusal> {
    let accepts = |place| logstore.token_from.contains(&place);
    let (bearer, signed) = authorization(&parts.headers)?;
    let mut found = bearer
        .filter(|_| accepts(TokenPlace::Authorization))
        .map(|token| (token, TokenPlace::Authorization));
    let path = route.token.filter(|_| accepts(TokenPlace::Path));
    add(&mut found, path.map(str::as_bytes), TokenPlace::Path)?;
    if accepts(TokenPlace::Query) {
        let query = parts.uri.query().unwrap_or_default();
        for value in query_values(query, &identity.query_parameter) {
            add(&mut found, Some(value.as_bytes()), TokenPlace::Query)?;
        }
    }
    let cookie_counts = match origin {
        OriginVerdict::Named(_) => true,
        // An image of another site sends no Origin; browsers then say so here.
        OriginVerdict::Absent => parts
            .headers
            .get("sec-fetch-site")
            .is_none_or(|site| site != "cross-site"),
        OriginVerdict::Any | OriginVerdict::Refused => false,
    };
    if found.is_none() && cookie_counts && accepts(TokenPlace::Cookie) {
        add(&mut found, cookies.token()?, TokenPlace::Cookie)?;
    }
    match found {
        Some(_) if signed => Err(Reason::TokenAmbiguous.into()),
        Some((token, place)) => Ok(Credential::Token(token, place)),
        None if signed => Ok(Credential::Signed),
        None => Ok(Credential::None),
    }
}

type FoundToken<'a> = Option<(&'a [u8], TokenPlace)>;

fn add<'a>(
    found: &mut FoundToken<'a>,
    token: Option<&'a [u8]>,
    place: TokenPlace,
) -> Result<(), Refusal> {
    match (token, &found) {
        (None, _) => Ok(()),
        (Some(_), Some(_)) => Err(Reason::TokenAmbiguous.into()),
        (Some(token), None) => {
            *found = Some((token, place));
            Ok(())
        }
    }
}

/// The bearer token, and whether there is a signature of SLS instead.
fn authorization(headers: &HeaderMap) -> Result<(Option<&[u8]>, bool), Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok((None, false));
    };
    if values.next().is_some() {
        return Err(Reason::TokenAmbiguous.into());
    }
    let value = value.as_bytes();
    let scheme = value.split(|b| *b == b' ').next().unwrap_or_default();
    let rest = value.get(scheme.len() + 1..).unwrap_or_default();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok((Some(rest.trim_ascii()), false));
    }
    Ok((None, scheme == b"LOG" || scheme == b"SLS4-HMAC-SHA256"))
}

/// The values of one parameter, as they stand: a token needs no percent-encoding.
fn query_values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    query
        .split('&')
        .filter_map(move |pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;
    use crate::config::Config;

    fn found(uri: &str, headers: &[(&'static str, &'static str)]) -> Result<String, Reason> {
        found_from(uri, headers, OriginVerdict::Absent)
    }

    fn found_from(
        uri: &str,
        headers: &[(&'static str, &'static str)],
        origin: OriginVerdict<'_>,
    ) -> Result<String, Reason> {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let config = Config::quickstart();
        let route = Route::parse(parts.uri.path()).unwrap();
        let logstore = &config.projects[0].logstores[0];
        find(&parts, &route, origin, logstore, &config.identity)
            .map(|credential| match credential {
                Credential::Token(token, place) => {
                    format!("{place:?} {}", String::from_utf8_lossy(token))
                }
                other => format!("{other:?}"),
            })
            .map_err(|refusal| refusal.reason())
    }

    const TRACK: &str = "/logstores/web/track";

    #[test]
    fn a_token_is_found_in_each_place() {
        let is = |text: &str| Ok(text.to_owned());
        assert_eq!(
            found(TRACK, &[("authorization", "Bearer a.b")]),
            is("Authorization a.b")
        );
        assert_eq!(
            found(TRACK, &[("authorization", "bearer  a.b ")]),
            is("Authorization a.b")
        );
        assert_eq!(found("/t/a.b/logstores/web/track", &[]), is("Path a.b"));
        assert_eq!(
            found("/logstores/web/track?x=1&token=a.b&", &[]),
            is("Query a.b")
        );
        assert_eq!(
            found(TRACK, &[("cookie", "x=1;tollgate_token=a.b")]),
            is("Cookie a.b")
        );
        assert_eq!(
            found(TRACK, &[("cookie", "tollgate_token=\"a.b\"; y")]),
            is("Cookie a.b")
        );
        assert_eq!(
            found(TRACK, &[("cookie", "not_tollgate_token=a.b")]),
            is("None")
        );
        assert_eq!(
            found(TRACK, &[("cookie", "__Host-tollgate=a.b")]),
            is("Cookie a.b")
        );
        assert_eq!(found(TRACK, &[("authorization", "LOG :x")]), is("Signed"));
        assert_eq!(
            found(TRACK, &[("authorization", "SLS4-HMAC-SHA256 x")]),
            is("Signed")
        );
        assert_eq!(found(TRACK, &[("authorization", "Basic x")]), is("None"));
    }

    #[test]
    fn two_tokens_are_refused_but_an_ambient_cookie_steps_back() {
        let ambiguous = Err(Reason::TokenAmbiguous);
        let bearer = ("authorization", "Bearer a");
        assert_eq!(found("/t/b/logstores/web/track", &[bearer]), ambiguous);
        assert_eq!(
            found("/logstores/web/track?token=a&token=a", &[]),
            ambiguous
        );
        assert_eq!(
            found(TRACK, &[bearer, ("authorization", "LOG x")]),
            ambiguous
        );
        assert_eq!(
            found("/t/b/logstores/web/track", &[("authorization", "LOG x:y")]),
            ambiguous
        );
        let twice = ("cookie", "tollgate_token=c; tollgate_token=c");
        assert_eq!(found(TRACK, &[twice]), ambiguous);
        assert_eq!(
            found(TRACK, &[bearer, twice]),
            Ok("Authorization a".to_owned())
        );
        let cookie = ("cookie", "tollgate_token=c");
        assert_eq!(
            found(TRACK, &[bearer, cookie]),
            Ok("Authorization a".to_owned())
        );
    }

    #[test]
    fn a_cookie_sent_by_a_page_of_an_unnamed_origin_is_no_credential() {
        let cookie = [("cookie", "tollgate_token=c")];
        let origin = HeaderValue::from_static("https://shop.example.com");
        let by = |verdict| found_from(TRACK, &cookie, verdict);
        assert_eq!(by(OriginVerdict::Any), Ok("None".to_owned()));
        assert_eq!(by(OriginVerdict::Named(&origin)), Ok("Cookie c".to_owned()));
        let image = [cookie[0], ("sec-fetch-site", "cross-site")];
        assert_eq!(found(TRACK, &image), Ok("None".to_owned()));
    }
}
