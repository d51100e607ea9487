//! What the tests of JSON bodies ask with.

use prost::Message as _;
use tollgate::event::{EventGroup, Reason};
use tollgate::logstore::proto::{Log, LogGroup};

use super::agree::json;
use super::reference::{self, Setting};

/// The body must be taken, as by the reference, and this comes out.
pub fn taken(body: &[u8], setting: &Setting) -> EventGroup {
    let ours = json(body, setting).unwrap_or_else(|refusal| panic!("{}", refusal.message()));
    assert_eq!(Ok(&ours), reference::json(body, setting).as_ref());
    ours
}

/// The body must be refused for this reason, by us and by the reference; returns what we say.
pub fn refused(body: &[u8], setting: &Setting, reason: Reason) -> String {
    let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
    assert_eq!(reference::json(body, setting), Err(reason), "{shown}");
    let refusal = json(body, setting).expect_err(&shown);
    assert_eq!(refusal.reason(), reason, "{shown}: {}", refusal.message());
    refusal.message()
}

/// The only event.
fn only_log(body: &str, setting: &Setting) -> Log {
    let group = taken(body.as_bytes(), setting);
    let mut decoded = LogGroup::decode(&*group.logs).unwrap();
    decoded.logs.remove(0)
}

/// The contents of the only event, without the stamp.
pub fn contents(body: &str, setting: &Setting) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut contents: Vec<_> = only_log(body, setting)
        .contents
        .iter()
        .map(|content| (text(&content.key), text(&content.value)))
        .collect();
    if !setting.stamp.is_empty() {
        let stamp = contents.pop().unwrap();
        assert_eq!(stamp.0, "client_ip", "the stamp comes last");
    }
    contents
}

/// Time and nanoseconds of the only event.
pub fn times(body: &str, setting: &Setting) -> (u32, Option<u32>) {
    let log = only_log(body, setting);
    (log.time, log.time_ns)
}

/// A body of one event.
pub fn one_log(members: &str) -> String {
    format!(r#"{{"__logs__":[{{{members}}}]}}"#)
}

/// Contents as a test writes them.
pub fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
