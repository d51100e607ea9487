//! Bodies that are made to cost much, by the byte, beside good events; with a schema and guards on.

use std::hint::black_box;
use std::sync::Arc;

use tollgate::config::{Guards as GuardRule, Limits, TimeWindow};
use tollgate::event::{AttachedNames, EventGroup};
use tollgate::front::transcode::{self, Context, EventCheck, Rules};
use tollgate::gate::guard::{Ask, Guards, Work};
use tollgate::gate::quota;

/// About how many bytes a body has.
const BYTES: usize = 32 << 10;

type Body = fn() -> Vec<u8>;

/// Bodies by name. The first is the good one.
pub const CASES: [(&str, Body); 15] = [
    ("good", good),
    ("deep", deep),
    ("too-deep", || event(&[("a", nested(BYTES / 2))])),
    ("huge-text", || event(&[("title", text("a", BYTES))])),
    ("huge-unicode", || event(&[("title", text("中", BYTES))])),
    ("many-keys", || keys(1000, |index| format!("k{index}"))),
    ("long-keys", || keys(250, |index| format!("{index:0>120}"))),
    ("escaped-keys", || {
        keys(1000, |index| format!("\\u006b\\u006b{index}"))
    }),
    ("escapes", || event(&[("title", text("\\u4e2d", BYTES))])),
    ("short-escapes", || event(&[("title", text("\\n", BYTES))])),
    ("control-characters", || {
        event(&[("title", text("\\u0001", BYTES))])
    }),
    ("duplicate-key", || {
        keys(1000, |index| format!("k{}", index % 999))
    }),
    ("long-numbers", || {
        let digits = "7".repeat(BYTES / 2);
        event(&[("price", format!("\"{digits}\"")), ("duration_ms", digits)])
    }),
    ("all-wrong", || {
        let wrong: Vec<(&str, String)> = NAMES
            .iter()
            .map(|name| (*name, "true".to_owned()))
            .collect();
        let one = members(&wrong);
        body(&vec![one.as_str(); 150])
    }),
    ("empty-events", || body(&["{}"; 4000])),
];

const NAMES: [&str; 10] = [
    "event",
    "page",
    "title",
    "user_id",
    "session",
    "referrer",
    "ua",
    "screen",
    "price",
    "duration_ms",
];

fn good() -> Vec<u8> {
    body(&vec![super::EVENT; BYTES / super::EVENT.len()])
}

fn deep() -> Vec<u8> {
    let fields = 0..BYTES / 128;
    let fields: Vec<(String, String)> = fields.map(|at| (format!("k{at}"), nested(60))).collect();
    event(&fields)
}

fn nested(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

/// A JSON text of about so many bytes.
fn text(unit: &str, bytes: usize) -> String {
    format!("\"{}\"", unit.repeat(bytes / unit.len()))
}

fn keys(count: usize, name: fn(usize) -> String) -> Vec<u8> {
    let fields: Vec<(String, String)> = (0..count)
        .map(|index| (name(index), "\"1\"".to_owned()))
        .collect();
    event(&fields)
}

fn members(fields: &[(impl AsRef<str>, String)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("\"{}\":{value}", name.as_ref()))
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn event(fields: &[(impl AsRef<str>, String)]) -> Vec<u8> {
    body(&[members(fields).as_str()])
}

fn body(events: &[&str]) -> Vec<u8> {
    format!("{{\"__logs__\":[{}]}}", events.join(",")).into_bytes()
}

/// Guards that look at every name and every value.
fn guards() -> Arc<Guards> {
    let rule: GuardRule = toml::from_str(
        r#"
        mode = "enforce"
        control_characters = "refuse"
        direction_characters = "refuse"
        key_pattern = "[A-Za-z_][A-Za-z0-9_.-]*"
        duplicate_keys = "refuse"
        reserved_prefixes = ["sys_", "internal_"]
        required = ["event"]
        "#,
    )
    .expect("guards");
    Guards::new(&rule, &quota::seed_of(1), None).expect("a pattern")
}

/// Reads a body so many times, and checks its events. What came of it: events, bad ones, and whether
/// the body was refused.
pub fn run(body: &[u8], repeats: u64) -> (u32, usize, bool) {
    let (judge, guards) = (super::judge(1, false), guards());
    let rules = Rules::new(&Limits::default(), &TimeWindow::default());
    let (mut out, mut work) = (EventGroup::default(), Work::default());
    let mut end = (0, 0, false);
    for _ in 0..repeats {
        let context = Context {
            rules: &rules,
            received: super::RECEIVED,
            stamp: b"",
            attached: AttachedNames::NONE,
            check: Some(&judge as &dyn EventCheck),
        };
        out.clear();
        if transcode::json(black_box(body), &context, &mut out).is_err() {
            end = (0, 0, true);
            continue;
        }
        let ask = Ask {
            group: &out,
            stamp: b"",
            attached: AttachedNames::NONE,
            received: super::RECEIVED,
            millis: 1,
            sender: 1,
            turn: 0,
        };
        let judged = black_box(guards.judge(&ask, &mut work));
        end = (out.events, out.faults.len().max(judged.faults.len()), false);
    }
    end
}

/// Instructions of each case by the byte, and by that of good events.
pub fn report() {
    println!("\nhostile bodies with a schema and guards, instructions by the byte");
    println!("case                 bytes  events    bad  instructions/byte  of good events'");
    let mut of_good = None;
    for (name, make) in CASES {
        let body = make();
        let (events, bad, refused) = run(&body, 1);
        let repeats = 10;
        let count = |repeats: u64| super::count(&["hostile", name, &repeats.to_string()]);
        let (Some(few), Some(many)) = (count(repeats), count(repeats * 2)) else {
            println!("{name}: valgrind is not here");
            return;
        };
        let each = (many - few) as f64 / (repeats as f64 * body.len() as f64);
        let good = *of_good.get_or_insert(each);
        let bad = if refused {
            "all".to_owned()
        } else {
            bad.to_string()
        };
        println!(
            "{name:<19} {:>6} {events:>7} {bad:>6} {each:>18.1} {:>14.2}x",
            body.len(),
            each / good
        );
    }
}
