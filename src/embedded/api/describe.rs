//! What projects and logstores there are, in the words that SDKs insist on.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::Api;
use super::answer::{self, Answer};
use super::error::ApiError;
use super::route::Parameters;
use crate::embedded::store::Logstore;

/// Names in one answer (SLS limits).
const MAX_NAMES: usize = 500;
const SECONDS_OF_A_DAY: u64 = 86_400;

/// GetProject. Its times are text, unlike those of a logstore.
pub(super) fn project(api: &Api, project: &str) -> Result<Answer, ApiError> {
    let logstores = api
        .store
        .project(project)
        .ok_or_else(|| ApiError::no_project(project))?;
    let created = logstores.iter().map(|it| it.created).min().unwrap_or(0);
    let created = time_text(created);
    answer::json(&json!({
        "projectName": project,
        "status": "Normal",
        "description": "",
        "region": api.region,
        "owner": "",
        "createTime": created,
        "lastModifyTime": created,
        "dataRedundancyType": "LRS",
    }))
}

fn time_text(unix_seconds: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(unix_seconds);
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.trim_end_matches('Z').replace('T', " ")
}

/// ListLogStores.
pub(super) fn logstores(
    api: &Api,
    project: &str,
    parameters: &Parameters<'_>,
) -> Result<Answer, ApiError> {
    let part = parameters.get("logstoreName").unwrap_or("");
    let logstores = api
        .store
        .project(project)
        .ok_or_else(|| ApiError::no_project(project))?;
    let names: Vec<_> = logstores
        .iter()
        .map(|logstore| logstore.name.as_str())
        .filter(|name| name.contains(part))
        .collect();
    let offset = parameters.number("offset")?.unwrap_or(0);
    let size = parameters.number("size")?.unwrap_or(MAX_NAMES);
    let page: Vec<_> = names
        .iter()
        .skip(offset)
        .take(size.min(MAX_NAMES))
        .collect();
    answer::json(&json!({
        "count": page.len(),
        "total": names.len(),
        "logstores": page,
    }))
}

/// GetLogStore: all fields that one SDK or another cannot do without. `appendMeta` is off, since
/// this store adds no tags of its own.
pub(super) fn logstore(api: &Api, logstore: &Logstore) -> Result<Answer, ApiError> {
    let days = api.retention.as_secs().div_ceil(SECONDS_OF_A_DAY).max(1);
    answer::json(&json!({
        "logstoreName": logstore.name.as_str(),
        "ttl": days,
        "hot_ttl": days,
        "shardCount": logstore.shards.len(),
        "enable_tracking": true,
        "autoSplit": false,
        "maxSplitShard": logstore.shards.len(),
        "appendMeta": false,
        "createTime": logstore.created,
        "lastModifyTime": logstore.created,
        "telemetryType": "",
        "mode": "standard",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_store_does() {
        assert_eq!(time_text(1_781_510_400), "2026-06-15 08:00:00");
    }
}
