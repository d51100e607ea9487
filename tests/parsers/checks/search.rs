//! The query language of the embedded logstore.

use tollgate::embedded::query::{ParseError, Pattern, Query, parse};

/// The longest text that is read as a query, in bytes.
const MAX_LENGTH: usize = 4096;
/// The deepest tree: 33 levels, each an `or` of an `and` of a term.
const MAX_DEPTH: usize = 3 * 33;

/// Panics unless a text is a query of bounded size that means the same when it is written out, or
/// says why it is none.
pub fn search(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let query = match parse(&text) {
        Ok(query) => query,
        Err(error) => {
            assert_eq!(error == ParseError::TooLong, text.len() > MAX_LENGTH);
            assert!(error.to_string().len() <= MAX_LENGTH + 100);
            return false;
        }
    };
    assert!(text.len() <= MAX_LENGTH);
    assert!(depth(&query) <= MAX_DEPTH, "{text}");
    assert!(terms(&query) <= text.len().max(1), "{text}");
    let written = written(&query);
    if written.len() <= MAX_LENGTH {
        assert_eq!(parse(&written), Ok(query), "{written}");
    }
    true
}

fn parts(query: &Query) -> &[Query] {
    match query {
        Query::All | Query::Text(_) | Query::Field { .. } => &[],
        Query::Not(inner) => std::slice::from_ref(inner),
        Query::And(parts) | Query::Or(parts) => parts,
    }
}

fn depth(query: &Query) -> usize {
    1 + parts(query).iter().map(depth).max().unwrap_or(0)
}

fn terms(query: &Query) -> usize {
    match parts(query) {
        [] => 1,
        parts => parts.iter().map(terms).sum(),
    }
}

/// A query as text, with quotes wherever they may be and no more parentheses than must be.
fn written(query: &Query) -> String {
    let inner = |query: &Query| match query {
        Query::And(_) | Query::Or(_) => format!("({})", written(query)),
        other => written(other),
    };
    match query {
        Query::All => "*".to_owned(),
        Query::Text(text) => quoted(text),
        Query::Field { key, value } => match value {
            Pattern::Exact(value) => format!("{}:{}", quoted(key), quoted(value)),
            Pattern::Prefix(beginning) => format!("{}:{beginning}*", quoted(key)),
        },
        Query::Not(query) => format!("not {}", inner(query)),
        Query::And(parts) => parts.iter().map(inner).collect::<Vec<_>>().join(" and "),
        Query::Or(parts) => {
            let parts = parts.iter().map(|part| match part {
                Query::Or(_) => inner(part),
                other => written(other),
            });
            parts.collect::<Vec<_>>().join(" or ")
        }
    }
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}
