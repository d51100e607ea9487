//! Paths and methods to routes.
//!
//! Names are matched as they stand in the path: a legal name needs no percent-encoding, so an
//! encoded one is another name, and never one that exists.

use http::Method;

use crate::event::Reason;
use crate::telemetry::RouteLabel;

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `/logstores/{ls}/track`.
    Track,
    /// `/logstores/{ls}/track.gif`.
    TrackGif,
    /// `/logstores/{ls}/track_ua.gif`.
    TrackUaGif,
    /// `/logstores/{ls}`, `/logstores/{ls}/shards/lb` and `/logstores/{ls}/shards/route`.
    PutLogs,
    /// `/v1/events/{ls}`: ours, for plain HTTP clients.
    Events,
}

/// What a request asks for, once its method fits its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Events in the body, as JSON whatever the content type says.
    TrackBody,
    /// One event in the query.
    TrackQuery(Kind),
    /// Events in the body, JSON or protobuf as the content type says.
    PutLogs,
    /// Events in the body: an array of objects, or objects one after another.
    Events,
    /// A CORS preflight.
    Preflight,
}

/// Where a path leads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// To a logstore.
    Logstore(Route<'a>),
    /// `/`: calls of the token service, such as AssumeRole.
    TokenService,
    /// `/get_sts_token`.
    StsToken,
    /// `/session`.
    Session,
}

impl<'a> Target<'a> {
    /// Reads a path, or `None` when it leads nowhere.
    pub(super) fn parse(path: &'a str) -> Option<Self> {
        match path {
            "/" => Some(Self::TokenService),
            "/get_sts_token" => Some(Self::StsToken),
            "/session" => Some(Self::Session),
            _ => Route::parse(path).map(Self::Logstore),
        }
    }
}

/// A path taken apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Route<'a> {
    /// The token of a `/t/{token}` prefix.
    pub(super) token: Option<&'a str>,
    pub(super) logstore: &'a str,
    pub(super) kind: Kind,
}

impl<'a> Route<'a> {
    /// Reads a path, or `None` when there is no such route.
    pub(super) fn parse(path: &'a str) -> Option<Self> {
        let (token, rest) = match path.strip_prefix("/t/") {
            Some(rest) => {
                let (token, _) = rest.split_once('/')?;
                (Some(token), rest.get(token.len()..)?)
            }
            None => (None, path),
        };
        if let Some(logstore) = rest.strip_prefix("/v1/events/") {
            let kind = Kind::Events;
            return (!logstore.contains('/')).then_some(Self {
                token,
                logstore,
                kind,
            });
        }
        let rest = rest.strip_prefix("/logstores/")?;
        let (logstore, tail) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let kind = match tail {
            "/track" => Kind::Track,
            "/track.gif" => Kind::TrackGif,
            "/track_ua.gif" => Kind::TrackUaGif,
            "" | "/shards/lb" | "/shards/route" => Kind::PutLogs,
            _ => return None,
        };
        Some(Self {
            token,
            logstore,
            kind,
        })
    }

    /// Fits the method to the path.
    pub(super) fn action(&self, method: &Method) -> Result<Action, Reason> {
        match (self.kind, method) {
            (_, &Method::OPTIONS) => Ok(Action::Preflight),
            (Kind::Track, &Method::POST) => Ok(Action::TrackBody),
            (Kind::PutLogs, &Method::POST) => Ok(Action::PutLogs),
            (Kind::Events, &Method::POST) => Ok(Action::Events),
            (Kind::Track | Kind::TrackGif | Kind::TrackUaGif, &Method::GET) => {
                Ok(Action::TrackQuery(self.kind))
            }
            _ => Err(Reason::MethodNotAllowed),
        }
    }

    /// The methods of the path, for an `Allow` header.
    pub(super) fn allow(&self) -> &'static str {
        match self.kind {
            Kind::Track => "GET, POST, OPTIONS",
            Kind::TrackGif | Kind::TrackUaGif => "GET, OPTIONS",
            Kind::PutLogs | Kind::Events => "POST, OPTIONS",
        }
    }
}

impl Action {
    pub(super) fn label(self) -> RouteLabel {
        match self {
            Self::TrackBody => RouteLabel::TrackPost,
            Self::TrackQuery(Kind::TrackGif) => RouteLabel::TrackGif,
            Self::TrackQuery(Kind::TrackUaGif) => RouteLabel::TrackUaGif,
            Self::TrackQuery(Kind::Track | Kind::PutLogs | Kind::Events) => RouteLabel::TrackGet,
            Self::PutLogs => RouteLabel::PutLogs,
            Self::Events => RouteLabel::Events,
            Self::Preflight => RouteLabel::Preflight,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Option<(Option<&str>, &str, Kind)> {
        Route::parse(path).map(|route| (route.token, route.logstore, route.kind))
    }

    #[test]
    fn every_route_of_the_protocol_is_known_with_and_without_a_token() {
        for (tail, kind) in [
            ("/track", Kind::Track),
            ("/track.gif", Kind::TrackGif),
            ("/track_ua.gif", Kind::TrackUaGif),
            ("", Kind::PutLogs),
            ("/shards/lb", Kind::PutLogs),
            ("/shards/route", Kind::PutLogs),
        ] {
            assert_eq!(
                parse("/t/a.b/v1/events/web"),
                Some((Some("a.b"), "web", Kind::Events))
            );
            let path = format!("/logstores/web{tail}");
            assert_eq!(parse(&path), Some((None, "web", kind)));
            let path = format!("/t/a.b-c_d.e/logstores/web{tail}");
            assert_eq!(parse(&path), Some((Some("a.b-c_d.e"), "web", kind)));
        }
    }

    #[test]
    fn the_page_of_the_protocol_has_every_route() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol.md");
        let page = std::fs::read_to_string(page).unwrap();
        let (_, table) = page.split_once("## Routes").unwrap();
        let (table, _) = table.split_once("\n\nEach path").unwrap();
        let calls = table.split('`').skip(1).step_by(2);
        let calls = calls.filter_map(|call| call.split_once(' '));
        let told: Vec<(Kind, Action)> = calls
            .filter_map(|(method, target)| {
                let path = target.split('?').next()?.replace("{logstore}", "web");
                let route = Route::parse(&path)?;
                let method: Method = method.parse().unwrap();
                Some((route.kind, route.action(&method).unwrap()))
            })
            .collect();
        for route in [
            (Kind::Track, Action::TrackBody),
            (Kind::Track, Action::TrackQuery(Kind::Track)),
            (Kind::TrackGif, Action::TrackQuery(Kind::TrackGif)),
            (Kind::TrackUaGif, Action::TrackQuery(Kind::TrackUaGif)),
            (Kind::PutLogs, Action::PutLogs),
            (Kind::Events, Action::Events),
        ] {
            assert!(told.contains(&route), "{route:?} is not in the table");
        }
    }

    #[test]
    fn other_paths_are_no_route() {
        for path in [
            "/",
            "",
            "/logstores",
            "/logstores/web/",
            "/logstores/web/track/",
            "/t/x",
            "/t/",
            "/logstores/web/shards/0",
            "//logstores/web/track",
            "/metrics",
            "/t/x/t/y/logstores/w",
            "/logstores/web/track.gif/x",
            "/v1/events",
            "/v1/events/web/x",
            "*",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }

    #[test]
    fn methods_fit_paths() {
        let action = |path, method: &Method| Route::parse(path).unwrap().action(method);
        assert_eq!(
            action("/logstores/w/track", &Method::POST),
            Ok(Action::TrackBody)
        );
        assert_eq!(
            action("/logstores/w", &Method::OPTIONS),
            Ok(Action::Preflight)
        );
        for (path, method) in [
            ("/logstores/w/track", Method::HEAD),
            ("/logstores/w/track", Method::PUT),
            ("/logstores/w/track", Method::DELETE),
            ("/logstores/w/track.gif", Method::POST),
            ("/logstores/w", Method::GET),
        ] {
            assert_eq!(
                action(path, &method),
                Err(Reason::MethodNotAllowed),
                "{method} {path}"
            );
        }
    }
}
