//! Reading by query: GetLogs in both versions, and GetHistograms.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::answer::{self, Answer};
use super::error::ApiError;
use super::route::Parameters;
use crate::embedded::query::{self, Bounds, Page, Search};
use crate::embedded::store::Logstore;
use crate::logstore::header;

/// Lines of one answer (SLS limits).
const MAX_LINES: usize = 100;
/// How far a page may reach: what is before it must be held to be passed over.
const MAX_REACH: usize = 100_000;
/// Parts of a histogram.
const BUCKETS: u32 = 60;
const PROGRESS: HeaderName = HeaderName::from_static("x-log-progress");

/// What a client asks of GetLogs. Version 2 sends it as JSON, version 1 as parameters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ask {
    from: Option<Value>,
    to: Option<Value>,
    line: Option<Value>,
    offset: Option<Value>,
    query: Option<String>,
    topic: Option<String>,
    reverse: Option<Value>,
}

impl Ask {
    fn of_parameters(parameters: &Parameters<'_>) -> Self {
        let text = |name| parameters.get(name).map(str::to_owned);
        let value = |name| text(name).map(Value::from);
        Self {
            from: value("from"),
            to: value("to"),
            line: value("line"),
            offset: value("offset"),
            query: text("query"),
            topic: text("topic"),
            reverse: value("reverse"),
        }
    }

    fn search(&self) -> Result<Search, ApiError> {
        let time = |name, value: &Option<Value>| {
            let value = number(name, value.as_ref())?;
            let value = value.ok_or_else(|| ApiError::parameter(format!("{name} is missing")))?;
            Ok::<_, ApiError>(u32::try_from(value).unwrap_or(u32::MAX))
        };
        Ok(Search {
            from: time("from", &self.from)?,
            to: time("to", &self.to)?,
            topic: self.topic.clone().filter(|topic| !topic.is_empty()),
            query: query::parse(self.query.as_deref().unwrap_or(""))?,
            bounds: Bounds::DEFAULT,
        })
    }

    fn page(&self) -> Result<Page, ApiError> {
        let size = |name, value: &Option<Value>| {
            let value = number(name, value.as_ref())?;
            Ok::<_, ApiError>(value.map(|it| usize::try_from(it).unwrap_or(usize::MAX)))
        };
        let lines = size("line", &self.line)?.unwrap_or(MAX_LINES);
        let page = Page {
            offset: size("offset", &self.offset)?.unwrap_or(0),
            lines: lines.min(MAX_LINES),
            reverse: self.reverse.as_ref().is_some_and(is_true),
        };
        if page.offset.saturating_add(page.lines) > MAX_REACH {
            return Err(ApiError::parameter(format!(
                "offset and line reach past {MAX_REACH}: ask for a shorter time"
            )));
        }
        Ok(page)
    }
}

/// A number, or a number as text: SDKs send both.
fn number(name: &str, value: Option<&Value>) -> Result<Option<u64>, ApiError> {
    let number = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    number
        .map(Some)
        .ok_or_else(|| ApiError::parameter(format!("{name} is not a number")))
}

/// `true`, also as text.
fn is_true(value: &Value) -> bool {
    match value {
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        other => other.as_bool().unwrap_or(false),
    }
}

/// GetLogs, version 2.
pub(super) async fn get_logs_v2(
    api: &Arc<Api>,
    logstore: &Arc<Logstore>,
    body: &[u8],
) -> Result<Answer, ApiError> {
    let ask: Ask = serde_json::from_slice(body).map_err(|error| {
        ApiError::body(format!(
            "The request body is not valid JSON object: {error}."
        ))
    })?;
    let (rows, progress) = find(api, logstore, &ask).await?;
    answer::json(&json!({
        "meta": { "progress": progress, "count": rows.len() },
        "data": rows,
    }))
}

/// GetLogs, version 1.
pub(super) async fn get_logs(
    api: &Arc<Api>,
    logstore: &Arc<Logstore>,
    parameters: &Parameters<'_>,
) -> Result<Answer, ApiError> {
    let (rows, progress) = find(api, logstore, &Ask::of_parameters(parameters)).await?;
    let mut answer = answer::json(&rows)?;
    say(&mut answer, rows.len() as u64, progress);
    Ok(answer)
}

async fn find(
    api: &Arc<Api>,
    logstore: &Arc<Logstore>,
    ask: &Ask,
) -> Result<(Vec<query::Row>, &'static str), ApiError> {
    let (search, page) = (ask.search()?, ask.page()?);
    let logstore = Arc::clone(logstore);
    let found = api
        .blocking(move |store| query::logs(store, &logstore, &search, page))
        .await?;
    Ok((found.items, progress(found.complete)))
}

/// GetHistograms.
pub(super) async fn histograms(
    api: &Arc<Api>,
    logstore: &Arc<Logstore>,
    parameters: &Parameters<'_>,
) -> Result<Answer, ApiError> {
    let search = Ask::of_parameters(parameters).search()?;
    let buckets = buckets(search.from, search.to);
    let logstore = Arc::clone(logstore);
    let parts = buckets.clone();
    let found = api
        .blocking(move |store| query::histogram(store, &logstore, &search, &parts))
        .await?;
    let progress = progress(found.complete);
    let body: Vec<_> = buckets
        .iter()
        .zip(&found.items)
        .map(|((from, to), count)| {
            json!({ "from": from, "to": to, "count": count, "progress": progress })
        })
        .collect();
    let mut answer = answer::json(&body)?;
    say(&mut answer, found.items.iter().sum(), progress);
    Ok(answer)
}

/// At most [`BUCKETS`] parts of a time, of whole seconds.
fn buckets(from: u32, to: u32) -> Vec<(u32, u32)> {
    let width = to.saturating_sub(from).div_ceil(BUCKETS).max(1);
    let starts = (from..to).step_by(width as usize);
    starts
        .map(|start| (start, start.saturating_add(width).min(to)))
        .collect()
}

fn progress(complete: bool) -> &'static str {
    if complete { "Complete" } else { "Incomplete" }
}

fn say(answer: &mut Answer, count: u64, progress: &'static str) {
    let headers = answer.headers_mut();
    headers.insert(header::COUNT, HeaderValue::from(count));
    headers.insert(PROGRESS, HeaderValue::from_static(progress));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_the_time_without_gaps() {
        for (from, to) in [(0, 1), (10, 70), (10, 71), (0, u32::MAX), (5, 5), (9, 3)] {
            let buckets = buckets(from, to);
            assert!(buckets.len() <= BUCKETS as usize);
            assert!(buckets.windows(2).all(|pair| pair[0].1 == pair[1].0));
            let ends = buckets
                .first()
                .map(|b| b.0)
                .zip(buckets.last().map(|b| b.1));
            assert_eq!(ends, (from < to).then_some((from, to)));
        }
    }

    #[test]
    fn numbers_come_as_numbers_or_as_text() {
        assert_eq!(number("n", Some(&json!(7))), Ok(Some(7)));
        assert_eq!(number("n", Some(&json!("7"))), Ok(Some(7)));
        assert_eq!(number("n", Some(&Value::Null)), Ok(None));
        assert!(number("n", Some(&json!(-1))).is_err());
        assert!(number("n", Some(&json!([]))).is_err());
    }
}
