//! From a request head to the operation that it asks for.

use std::borrow::Cow;

use http::{Method, StatusCode};

use super::error::{ApiError, echo};
use crate::embedded::access::StoreAction;

/// Which shard a write goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The next in turn.
    Any,
    /// The one whose range holds the hash in the parameter `key`.
    Hash,
}

/// An operation of SLS, and the names in its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation<'a> {
    GetProject,
    ListLogstores,
    GetLogstore(&'a str),
    GetLogs(&'a str),
    GetLogsV2(&'a str),
    GetHistograms(&'a str),
    PutLogs(&'a str, Target),
    ListShards(&'a str),
    GetCursor(&'a str, &'a str),
    GetCursorTime(&'a str, &'a str),
    PullLogs(&'a str, &'a str),
    Track(&'a str),
}

impl<'a> Operation<'a> {
    /// Reads method, path and the parameter `type`.
    pub(super) fn of(
        method: &Method,
        path: &'a str,
        query: &Parameters<'_>,
    ) -> Result<Self, ApiError> {
        let trimmed = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> = trimmed.split('/').skip(1).take(6).collect();
        let kind = query.get("type").unwrap_or("");
        let get = method == Method::GET;
        let post = method == Method::POST;
        let operation = match (segments.as_slice(), kind) {
            ([], _) if get => Self::GetProject,
            (["logstores"], _) if get => Self::ListLogstores,
            (["logstores", ls], "") if get => Self::GetLogstore(ls),
            (["logstores", ls], "log") if get => Self::GetLogs(ls),
            (["logstores", ls], "histogram") if get => Self::GetHistograms(ls),
            (["logstores", ls], _) if post => Self::PutLogs(ls, Target::Any),
            (["logstores", ls, "logs"], _) if post => Self::GetLogsV2(ls),
            (["logstores", ls, "track"], _) if post => Self::Track(ls),
            (["logstores", ls, "shards", "lb"], _) if post => Self::PutLogs(ls, Target::Any),
            (["logstores", ls, "shards", "route"], _) if post => Self::PutLogs(ls, Target::Hash),
            (["logstores", ls, "shards"], _) if get => Self::ListShards(ls),
            (["logstores", ls, "shards", n], "cursor") if get => Self::GetCursor(ls, n),
            (["logstores", ls, "shards", n], "cursor_time") if get => Self::GetCursorTime(ls, n),
            (["logstores", ls, "shards", n], "log" | "logs") if get || method == Method::HEAD => {
                Self::PullLogs(ls, n)
            }
            (
                []
                | ["logstores"]
                | ["logstores", _]
                | ["logstores", _, "logs" | "shards" | "track"],
                _,
            )
            | (["logstores", _, "shards", _], _) => return Err(mismatch(method, kind)),
            _ => {
                let message = format!("this store has no operation at {}", echo(path));
                return Err(ApiError::new(
                    StatusCode::NOT_FOUND,
                    "ParameterInvalid",
                    message,
                ));
            }
        };
        Ok(operation)
    }

    /// What it is to policies.
    pub(super) fn action(&self) -> StoreAction {
        match self {
            Self::GetProject => StoreAction::GetProject,
            Self::ListLogstores => StoreAction::ListLogstores,
            Self::GetLogstore(_) => StoreAction::GetLogstore,
            Self::GetLogs(_) | Self::GetLogsV2(_) => StoreAction::GetLogs,
            Self::GetHistograms(_) => StoreAction::GetHistograms,
            Self::PutLogs(..) => StoreAction::PutLogs,
            Self::Track(_) => StoreAction::Track,
            Self::ListShards(_) => StoreAction::ListShards,
            Self::GetCursor(..) | Self::GetCursorTime(..) | Self::PullLogs(..) => {
                StoreAction::GetCursorOrData
            }
        }
    }

    /// The logstore in its path.
    pub(super) fn logstore(&self) -> Option<&'a str> {
        match self {
            Self::GetProject | Self::ListLogstores => None,
            Self::GetLogstore(name)
            | Self::GetLogs(name)
            | Self::GetLogsV2(name)
            | Self::GetHistograms(name)
            | Self::PutLogs(name, _)
            | Self::Track(name)
            | Self::ListShards(name)
            | Self::GetCursor(name, _)
            | Self::GetCursorTime(name, _)
            | Self::PullLogs(name, _) => Some(name),
        }
    }

    /// Whether it brings events.
    pub(super) fn writes(&self) -> bool {
        matches!(self, Self::PutLogs(..) | Self::Track(_))
    }
}

fn mismatch(method: &Method, kind: &str) -> ApiError {
    if method == Method::GET {
        return ApiError::parameter(format!("type {} is not supported here", echo(kind)));
    }
    let message = format!("{} is not supported here", echo(method.as_str()));
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "InvalidMethod", message)
}

/// The parameters of a query, decoded. An empty value counts as none: one official client sends the
/// names of all it could say.
#[derive(Clone, Debug)]
pub(super) struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Parameters<'a> {
    pub(super) fn read(query: &'a str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).collect())
    }

    /// The first value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_ref())
    }

    /// A value that must be there.
    pub(super) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| {
            let message = format!("parameter {name} is missing");
            ApiError::new(StatusCode::BAD_REQUEST, "MissingParameter", message)
        })
    }

    /// A number, if it is there.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        self.get(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    ApiError::parameter(format!("{name} {} is not a number in range", echo(text)))
                })
            })
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: Method, target: &str) -> Result<Operation<'_>, ApiError> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Operation::of(&method, path, &Parameters::read(query))
    }

    #[test]
    fn every_operation_has_its_route() {
        for (method, target, operation) in [
            (Method::GET, "/", Operation::GetProject),
            (Method::GET, "/logstores?offset=0", Operation::ListLogstores),
            (Method::GET, "/logstores/ls", Operation::GetLogstore("ls")),
            (
                Method::GET,
                "/logstores/ls?type=log",
                Operation::GetLogs("ls"),
            ),
            (
                Method::GET,
                "/logstores/ls?type=histogram",
                Operation::GetHistograms("ls"),
            ),
            (
                Method::POST,
                "/logstores/ls",
                Operation::PutLogs("ls", Target::Any),
            ),
            (
                Method::POST,
                "/logstores/ls/shards/lb",
                Operation::PutLogs("ls", Target::Any),
            ),
            (
                Method::POST,
                "/logstores/ls/shards/route?key=0",
                Operation::PutLogs("ls", Target::Hash),
            ),
            (
                Method::POST,
                "/logstores/ls/logs",
                Operation::GetLogsV2("ls"),
            ),
            (Method::POST, "/logstores/ls/track", Operation::Track("ls")),
            (
                Method::GET,
                "/logstores/ls/shards",
                Operation::ListShards("ls"),
            ),
            (
                Method::GET,
                "/logstores/ls/shards/0?type=cursor",
                Operation::GetCursor("ls", "0"),
            ),
            (
                Method::GET,
                "/logstores/ls/shards/0?type=cursor_time",
                Operation::GetCursorTime("ls", "0"),
            ),
            (
                Method::GET,
                "/logstores/ls/shards/0?type=log",
                Operation::PullLogs("ls", "0"),
            ),
            (
                Method::GET,
                "/logstores/ls/shards/0?type=logs",
                Operation::PullLogs("ls", "0"),
            ),
            (
                Method::HEAD,
                "/logstores/ls/shards/0?type=logs",
                Operation::PullLogs("ls", "0"),
            ),
        ] {
            assert_eq!(of(method, target), Ok(operation), "{target}");
        }
    }

    #[test]
    fn what_is_no_operation_says_whether_path_method_or_type_is_wrong() {
        for (method, target, status, code) in [
            (Method::GET, "/elsewhere", 404, "ParameterInvalid"),
            (
                Method::GET,
                "/logstores/ls/shards/0/1",
                404,
                "ParameterInvalid",
            ),
            (Method::DELETE, "/logstores/ls", 405, "InvalidMethod"),
            (Method::DELETE, "/logstores/ls/track", 405, "InvalidMethod"),
            (
                Method::GET,
                "/logstores/ls/shards/lb",
                400,
                "ParameterInvalid",
            ),
            (
                Method::GET,
                "/logstores/ls/shards/0?type=heartbeat",
                400,
                "ParameterInvalid",
            ),
        ] {
            let error = of(method, target).unwrap_err();
            assert_eq!(
                (error.status.as_u16(), &*error.code),
                (status, code),
                "{target}"
            );
        }
    }

    #[test]
    fn an_empty_parameter_counts_as_none() {
        let parameters = Parameters::read("offset=&size=7");
        assert_eq!(parameters.number::<u32>("offset"), Ok(None));
        assert_eq!(parameters.number::<u32>("size"), Ok(Some(7)));
        assert!(parameters.required("offset").is_err());
    }
}
