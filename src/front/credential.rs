//! Where in the head of a request a credential stands.
//!
//! One token in one place, or a refusal: never the first that works. A cookie is ambient (the
//! browser adds it, also for a page of another site), so it counts only without an Origin or from
//! one that is named, and it may stand beside another credential: which of the two counts is not
//! decided here (`identify`).

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, REFERER};
use http::request::Parts;

use super::cookie::Cookies;
use super::cors::OriginVerdict;
use super::platform::Platform;
use crate::config::TokenPlace;
use crate::event::{Reason, Refusal};
use crate::telemetry::PlatformLabel;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The credentials of a head.
#[derive(Clone, Copy)]
pub(super) struct Presented<'a> {
    /// The one token that the client chose to send, and where it stood.
    pub(super) token: Option<(&'a [u8], TokenPlace)>,
    /// An `Authorization` header of the SLS signature schemes. Never beside a token.
    pub(super) signed: bool,
    /// The token of a cookie, where cookies count.
    pub(super) cookie: Option<&'a [u8]>,
}

/// What a head presents, among the places that are looked at.
///
/// # Errors
/// [`Reason::TokenAmbiguous`] when it presents two credentials that the client chose to send.
pub(super) fn present<'a>(
    parts: &'a Parts,
    path_token: Option<&'a str>,
    origin: OriginVerdict<'_>,
    places: &[TokenPlace],
    query_parameter: &'a str,
    cookies: &Cookies<'a>,
) -> Result<Presented<'a>, Refusal> {
    let accepts = |place| places.contains(&place);
    let (bearer, signed) = authorization(&parts.headers)?;
    let mut token = bearer
        .filter(|_| accepts(TokenPlace::Authorization))
        .map(|token| (token, TokenPlace::Authorization));
    let path = path_token.filter(|_| accepts(TokenPlace::Path));
    add(&mut token, path.map(str::as_bytes), TokenPlace::Path)?;
    if accepts(TokenPlace::Query) {
        let query = parts.uri.query().unwrap_or_default();
        for value in query_values(query, query_parameter) {
            add(&mut token, Some(value.as_bytes()), TokenPlace::Query)?;
        }
    }
    if signed && token.is_some() {
        return Err(Reason::TokenAmbiguous.into());
    }
    let cookie_counts = || match origin {
        OriginVerdict::Named(_) => true,
        OriginVerdict::Absent => is_of_no_other_page(&parts.headers),
        OriginVerdict::Any | OriginVerdict::Refused => false,
    };
    let cookie = if cookies.have_token() && accepts(TokenPlace::Cookie) && cookie_counts() {
        match cookies.token() {
            Ok(cookie) => cookie,
            // Beside another credential an ambient one steps back, whatever its state.
            Err(_) if signed || token.is_some() => None,
            Err(refusal) => return Err(refusal),
        }
    } else {
        None
    };
    Ok(Presented {
        token,
        signed,
        cookie,
    })
}

/// Whether a request without an Origin comes from no page of another host. An image or a link sends
/// none: browsers say in Sec-Fetch-Site where it is from. Old browsers only send a Referer; mini
/// programs too, and those have no cookies but the ones that their program joined by hand.
fn is_of_no_other_page(headers: &HeaderMap) -> bool {
    match headers.get(SEC_FETCH_SITE) {
        Some(site) => site == "same-origin" || site == "none",
        None => {
            let label = Platform::of(headers).label;
            let program = !matches!(label, PlatformLabel::Browser | PlatformLabel::Other);
            program || !headers.contains_key(REFERER)
        }
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

    use super::super::route::Route;
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
        let identity = Config::quickstart().identity;
        let names = [identity.cookie.as_str(), identity.session.cookie.as_str()];
        let cookies = Cookies::read(&parts.headers, &identity.cookies, &names).unwrap();
        let token = Route::parse(parts.uri.path()).unwrap().token;
        let places = Config::quickstart().projects[0].logstores[0]
            .token_from
            .clone();
        present(
            &parts,
            token,
            origin,
            &places,
            &identity.query_parameter,
            &cookies,
        )
        .map(|presented| {
            let text = |token| String::from_utf8_lossy(token).into_owned();
            match presented {
                Presented {
                    token: Some((token, place)),
                    ..
                } => {
                    format!("{place:?} {}", text(token))
                }
                Presented { signed: true, .. } => "Signed".to_owned(),
                Presented {
                    cookie: Some(cookie),
                    ..
                } => format!("Cookie {}", text(cookie)),
                _ => "None".to_owned(),
            }
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
