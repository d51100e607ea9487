//! The transcoder and the reference side by side. The tests, the corpus and the fuzz targets all
//! end here.

use tollgate::config::{Limits, OutsideWindow, TimeWindow};
use tollgate::event::{EventGroup, Refusal};
use tollgate::foundation::units::{ByteSize, Span};
use tollgate::front::transcode::{self, Context, Rules};

use super::reference::{self, Outcome, Setting};

/// The time of receipt in tests: 2026-06-15 08:00:00 UTC.
pub const RECEIVED: u64 = 1_781_510_400;

/// The parameter that carries tokens in tests.
pub const TOKEN_PARAMETER: &str = "token";

/// The limits that a fresh installation has, and a stamp.
pub fn usual() -> Setting {
    let mut stamp = Vec::new();
    transcode::put_content(&mut stamp, b"client_ip", b"203.0.113.7");
    Setting {
        limits: Limits::default(),
        time: TimeWindow::default(),
        received: RECEIVED,
        stamp,
    }
}

/// Limits that small inputs reach, and refusal of times outside the window.
pub fn tight() -> Setting {
    Setting {
        limits: Limits {
            events: 2,
            fields: 4,
            key: ByteSize::bytes(16),
            value: ByteSize::bytes(24),
            topic: ByteSize::bytes(8),
            tags: 2,
            tag_value: ByteSize::bytes(8),
            depth: 5,
            ..Limits::default()
        },
        time: TimeWindow {
            past: Span::secs(60),
            future: Span::secs(0),
            outside: OutsideWindow::Refuse,
        },
        received: RECEIVED,
        stamp: Vec::new(),
    }
}

/// Times of receipt that are less or more than five bytes wide.
fn odd_clocks() -> [Setting; 2] {
    [5, u64::MAX].map(|received| Setting {
        received,
        ..usual()
    })
}

fn settings() -> impl Iterator<Item = Setting> {
    [usual(), tight()].into_iter().chain(odd_clocks())
}

type Transcoded = Result<EventGroup, Refusal>;

/// Transcodes with the buffers as another request has left them.
fn transcoded(
    setting: &Setting,
    transcode: impl Fn(&Context<'_>, &mut EventGroup) -> Result<(), Refusal>,
) -> Transcoded {
    let rules = Rules::new(&setting.limits, &setting.time);
    let context = Context {
        rules: &rules,
        received: setting.received,
        stamp: &setting.stamp,
        attached: tollgate::event::AttachedNames::NONE,
        check: None,
    };
    let mut out = EventGroup::default();
    transcode(&context, &mut out)?;
    let again = {
        let mut out = out.clone();
        out.clear();
        transcode(&context, &mut out)?;
        out
    };
    assert_eq!(again, out, "used buffers must not change the result");
    Ok(out)
}

/// Transcodes a JSON body.
pub fn json(body: &[u8], setting: &Setting) -> Transcoded {
    transcoded(setting, |context, out| transcode::json(body, context, out))
}

/// Transcodes a query.
pub fn query(query: &[u8], setting: &Setting) -> Transcoded {
    transcoded(setting, |context, out| {
        transcode::query(query, TOKEN_PARAMETER, context, out)
    })
}

/// Transcodes a protobuf body.
pub fn protobuf(body: &[u8], setting: &Setting) -> Transcoded {
    transcoded(setting, |context, out| {
        transcode::protobuf(body, context, out)
    })
}

/// Both give the same events, or both refuse. With several things wrong, the reasons may differ.
fn same(ours: &Transcoded, reference: &Outcome, input: &[u8]) {
    match (ours, reference) {
        (Ok(ours), Ok(reference)) => assert_eq!(ours, reference, "{}", shown(input)),
        (Err(refusal), Err(_)) => assert!(
            refusal.message().len() < 1000,
            "a refusal is bounded: {refusal}"
        ),
        (ours, reference) => panic!("{ours:?}\nbut {reference:?}\nfor {}", shown(input)),
    }
}

fn shown(input: &[u8]) -> String {
    input.escape_ascii().to_string()
}

/// Panics unless transcoder and reference agree on a JSON body, under all settings.
pub fn check_json(body: &[u8]) {
    for setting in settings() {
        check_json_under(body, &setting);
    }
}

/// Panics unless transcoder and reference agree on a JSON body.
pub fn check_json_under(body: &[u8], setting: &Setting) {
    let expected = reference::json(body, setting);
    same(&json(body, setting), &expected, body);
}

/// Panics unless transcoder and reference agree on a query, under all settings.
pub fn check_query(text: &[u8]) {
    for setting in settings() {
        let expected = reference::query(text, TOKEN_PARAMETER, &setting);
        same(&query(text, &setting), &expected, text);
    }
}

/// Panics unless transcoder and reference agree on a protobuf body, under all settings.
pub fn check_protobuf(body: &[u8]) {
    for setting in settings() {
        let ours = protobuf(body, &setting);
        let expected = reference::protobuf(body, &setting);
        // prost skips groups of unknown fields; LogGroups have none, so we refuse them.
        let may_hold_a_group = body.iter().any(|byte| matches!(byte & 7, 3 | 4));
        if ours.is_err() && may_hold_a_group {
            continue;
        }
        same(&ours, &expected, body);
    }
}
