//! The request that a test describes.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::credential::{self, Credential};
use super::file::RequestSpec;
use crate::app::TrialRequest;
use crate::cli::source::choose_logstore;
use crate::config::{Config, TokenPlace};

/// The largest file of a body, in bytes.
const MAX_BODY: u64 = 64 << 20;
/// The header that brings an event in the query its version.
const API_VERSION: &str = "APIVersion=0.6.0";
/// What stands in a query as it is.
const QUERY: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What is wrong with a request, at a key of it.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) key: &'static str,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Wrong {
    pub(super) fn new(key: &'static str, message: impl Into<String>) -> Self {
        Self {
            key,
            message: message.into(),
            help: None,
        }
    }
}

/// What a request is made of.
pub(super) struct Making<'m> {
    pub(super) config: &'m Config,
    /// Where files are looked for.
    pub(super) folder: &'m Path,
    pub(super) spec: &'m RequestSpec,
    /// When its credential was made, unix seconds.
    pub(super) issued: u64,
}

/// Where it goes.
pub(super) struct Goal {
    pub(super) project: String,
    pub(super) logstore: String,
    path: String,
    host: String,
}

impl Making<'_> {
    /// The request; and for people, its method and path.
    pub(super) fn request(&self) -> Result<(TrialRequest, String), Wrong> {
        let spec = self.spec;
        let method = spec.method.as_deref().unwrap_or("POST");
        let goal = self.goal()?;
        let credential = credential::of(self, &goal)?;
        let shown = format!("{method} {}", goal.path);
        let mut path = goal.path.clone();
        let mut headers: Vec<(String, String)> = spec
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect();
        if !headers.iter().any(|(name, _)| name == "host") {
            headers.push(("host".to_owned(), goal.host.clone()));
        }
        let mut token_of_body = None;
        if let Some(Credential { header, token, .. }) = &credential {
            if let Some(value) = header {
                headers.push(("authorization".to_owned(), value.clone()));
            }
            match token {
                Some((token, TokenPlace::Body)) => token_of_body = Some(token.as_str()),
                Some((token, place)) => self.put_token(token, *place, &mut path, &mut headers),
                None => {}
            }
        }
        let body = match self.content(method, token_of_body)? {
            Content::Query(query) => {
                add_to_query(&mut path, &query);
                Bytes::new()
            }
            Content::Json(body) => {
                if !headers.iter().any(|(name, _)| name == "content-type") {
                    let kind = "application/json".to_owned();
                    headers.push(("content-type".to_owned(), kind));
                }
                body
            }
            Content::Raw(body) => body,
        };
        let request = TrialRequest::new(method, &path, &headers, body);
        let request = request.map_err(|error| Wrong::new("", error.to_string()))?;
        Ok(match credential {
            None => (request, shown),
            Some(credential) => (request.presuming(credential.presumed), shown),
        })
    }

    fn goal(&self) -> Result<Goal, Wrong> {
        let spec = self.spec;
        if spec.path.is_some() && spec.logstore.is_some() {
            return Err(Wrong::new("logstore", "`path` names it: give only one"));
        }
        if spec.host.is_some() && spec.project.is_some() {
            return Err(Wrong::new("project", "`host` names it: give only one"));
        }
        let in_path = spec.path.as_deref().and_then(logstore_in);
        let named = spec.host.as_deref().and_then(|host| host.split('.').next());
        let mut projects = self.config.projects.iter();
        let in_host = projects.find(|project| Some(project.name.as_str()) == named);
        let default = self.config.ingest.default_project.as_ref();
        let project = spec.project.as_ref();
        let project = project.or(in_host.map(|it| &it.name)).or(default);
        let chosen = choose_logstore(self.config, project, spec.logstore.as_ref());
        let (project, logstore) = match (chosen, in_path) {
            (Ok((project, logstore)), _) => (project.to_string(), logstore.to_string()),
            (Err(_), Some(logstore)) => {
                let project = project.map(ToString::to_string);
                (project.unwrap_or_default(), logstore.to_owned())
            }
            (Err(_), None) => {
                let message = "the configuration says no logstore to send to";
                return Err(Wrong::new("logstore", message));
            }
        };
        let logstore = in_path.map_or(logstore, str::to_owned);
        let path = spec.path.clone();
        let host = spec.host.clone();
        Ok(Goal {
            path: path.unwrap_or_else(|| format!("/logstores/{logstore}/track")),
            host: host.unwrap_or_else(|| format!("{project}.localhost")),
            project,
            logstore,
        })
    }

    fn put_token(
        &self,
        token: &str,
        place: TokenPlace,
        path: &mut String,
        headers: &mut Vec<(String, String)>,
    ) {
        let identity = &self.config.identity;
        match place {
            TokenPlace::Path => *path = format!("/t/{token}{path}"),
            TokenPlace::Query => {
                let pair = format!("{}={token}", identity.query_parameter);
                add_to_query(path, &pair);
            }
            TokenPlace::Cookie => {
                let pair = format!("{}={token}", identity.cookie);
                match headers.iter_mut().find(|(name, _)| name == "cookie") {
                    Some((_, value)) => *value = format!("{value}; {pair}"),
                    None => headers.push(("cookie".to_owned(), pair)),
                }
            }
            TokenPlace::Authorization | TokenPlace::Body => {
                headers.push(("authorization".to_owned(), format!("Bearer {token}")));
            }
        }
    }

    /// What the request brings.
    fn content(&self, method: &str, token: Option<&str>) -> Result<Content, Wrong> {
        let spec = self.spec;
        let given = [
            ("events", spec.events.is_some()),
            ("body", spec.body.is_some()),
            ("body_file", spec.body_file.is_some()),
        ];
        let mut given = given.iter().filter(|(_, given)| *given);
        let (first, second) = (given.next(), given.next());
        if let Some((key, _)) = second {
            let message = "give only one of `events`, `body` and `body_file`";
            return Err(Wrong::new(key, message));
        }
        let raw = first.is_some_and(|(key, _)| *key != "events");
        let plain_list = spec
            .path
            .as_deref()
            .is_some_and(|path| path.contains("/v1/events/"));
        if token.is_some() && (raw || plain_list || method != "POST") {
            let message = "a token stands in the body of a POST of web tracking, made of `events`";
            return Err(Wrong::new("token.place", message));
        }
        if raw || plain_list {
            let of_body = [
                ("topic", spec.topic.is_some()),
                ("tags", !spec.tags.is_empty()),
            ];
            if let Some((key, _)) = of_body.iter().find(|(_, given)| *given) {
                return Err(Wrong::new(key, "only `events` of web tracking have it"));
            }
        }
        if let Some(body) = &spec.body {
            return Ok(Content::Raw(Bytes::from(body.clone())));
        }
        if let Some(file) = &spec.body_file {
            return Ok(Content::Raw(read(&self.folder.join(file))?));
        }
        let usual = || {
            let pairs = std::iter::once(("event".to_owned(), Value::from("test")));
            vec![pairs.collect::<Map<_, _>>()]
        };
        let events = match (&spec.events, method) {
            (Some(events), _) => events.clone(),
            (None, "GET" | "POST") => usual(),
            (None, _) => return Ok(Content::Raw(Bytes::new())),
        };
        match method {
            "GET" => self.query(&events).map(Content::Query),
            _ if plain_list => Ok(Content::Json(Bytes::from(json!(events).to_string()))),
            _ => Ok(Content::Json(self.tracked(events, token))),
        }
    }

    /// The query of an event.
    fn query(&self, events: &[Map<String, Value>]) -> Result<String, Wrong> {
        let spec = self.spec;
        let [event] = events else {
            return Err(Wrong::new("events", "a GET brings exactly one event"));
        };
        if !spec.tags.is_empty() {
            return Err(Wrong::new("tags", "an event in a query has none"));
        }
        let mut query = API_VERSION.to_owned();
        let topic = spec
            .topic
            .iter()
            .map(|topic| ("__topic__", Value::from(topic.as_str())));
        let fields = event
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()));
        for (name, value) in topic.chain(fields) {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let encoded =
                |text: &str| percent_encoding::utf8_percent_encode(text, QUERY).to_string();
            let pair = write!(query, "&{}={}", encoded(name), encoded(&text));
            debug_assert!(pair.is_ok(), "a String takes everything");
        }
        Ok(query)
    }

    /// A body of web tracking.
    fn tracked(&self, events: Vec<Map<String, Value>>, token: Option<&str>) -> Bytes {
        let mut body = Map::new();
        if let Some(topic) = &self.spec.topic {
            body.insert("__topic__".to_owned(), topic.as_str().into());
        }
        let tags = self.spec.tags.iter();
        let tags = tags.map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        let token = token.map(|token| ("__token__".to_owned(), Value::from(token)));
        let tags: Map<String, Value> = tags.chain(token).collect();
        if !tags.is_empty() {
            body.insert("__tags__".to_owned(), Value::Object(tags));
        }
        body.insert("__logs__".to_owned(), json!(events));
        Bytes::from(Value::Object(body).to_string())
    }
}

enum Content {
    /// In the query.
    Query(String),
    /// In the body, which we made.
    Json(Bytes),
    /// In the body, as it was given.
    Raw(Bytes),
}

fn add_to_query(path: &mut String, pairs: &str) {
    path.push(if path.contains('?') { '&' } else { '?' });
    path.push_str(pairs);
}

/// The logstore that a path names.
fn logstore_in(path: &str) -> Option<&str> {
    let path = path.split('?').next().unwrap_or_default();
    let after = |prefix| path.split_once(prefix).map(|(_, rest)| rest);
    let rest = after("/logstores/").or_else(|| after("/v1/events/"))?;
    rest.split('/').next().filter(|name| !name.is_empty())
}

fn read(path: &Path) -> Result<Bytes, Wrong> {
    let wrong = |what: String| Wrong::new("body_file", what);
    let mut bytes = Vec::new();
    let file = File::open(path).and_then(|file| file.take(MAX_BODY + 1).read_to_end(&mut bytes));
    file.map_err(|error| wrong(format!("cannot read {}: {error}", path.display())))?;
    if bytes.len() as u64 > MAX_BODY {
        return Err(wrong(format!("it is longer than {MAX_BODY} bytes")));
    }
    Ok(Bytes::from(bytes))
}
