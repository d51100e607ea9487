//! Policies as a whole: random ones against a model, without allocations, from the command line, and
//! as docs/policy.md prints them.

#![expect(
    unsafe_code,
    reason = "counting allocations takes a global allocator, whose trait is unsafe"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

#[path = "parsers/checks/policy_model.rs"]
mod model;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};
use tollgate::gate::policy::{
    ActionName, ConditionKey, Context, Decider, Decision, Denial, Fact, Policies, Policy,
    PolicyKind, Question, decide_without_identity, parse_time, resource_name,
};

use self::model::{Asked, Facts, Known};

// Random policies against the model.

const ACTIONS: &[&[&str]] = &[
    &["log:PostLogStoreLogs", "log:PutLogs"],
    &["log:PutWebTracking"],
    &["log:WebTracking"],
    &["log:GetLogStore"],
];
const RESOURCES: &[&str] = &[
    "acs:log:cn:1:project/shop/logstore/web",
    "acs:log:cn:1:project/shop/logstore/wéb",
    "acs:log:::project/shops/logstore/app",
];
const TEXTS: &[&str] = &[
    "", "a", "A", "ab", "k", "\u{212a}", "é", "5", "true", "10.0.0.1",
];
const TEXT_KEYS: &[&str] = &[
    "tollgate:Topic",
    "tollgate:SOURCE",
    "tollgate:Tag/a",
    "Tollgate:tag/A",
    "tollgate:Origin",
    "tollgate:claim/n",
    "acs:MFAPresent",
];

fn one_of(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(names).prop_map(str::to_owned)
}

/// One of these or a list of them.
fn one_or_many(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop_oneof![
        one_of(names).prop_map(Value::from),
        vec(one_of(names), 1..4).prop_map(Value::from)
    ]
}

fn actions() -> impl Strategy<Value = Value> {
    one_or_many(&[
        "*",
        "log:*",
        "LOG:putlogs",
        "log:Post?ogStoreLogs",
        "log:Put*",
        "log:*WebTracking",
        "log:WebTracking",
        "log:Get*",
        "oss:*",
    ])
}

fn resources() -> impl Strategy<Value = Value> {
    one_or_many(&[
        "*",
        "acs:log:*:*:project/shop/logstore/web",
        "acs:log:*:*:project/shop/*",
        "acs:log:*:*:project/shop?/logstore/*",
        "acs:*:project/*/logstore/w?b",
        "*shop*/*web",
        "acs:log:*:*:project/Shop/*",
        "*s?op*log?tore*b",
        "acs:log:cn:1:project/shop/logstore/web",
    ])
}

/// An operator, one or two keys that it takes, and values that it takes.
fn condition() -> impl Strategy<Value = (String, Value)> {
    type Names = &'static [&'static str];
    let row = |operators: Names, keys: Names, values: Names| {
        (
            one_of(operators),
            subsequence(keys, 1..=keys.len().min(2)),
            vec(one_or_many(values), 2),
        )
    };
    let strings = row(
        &[
            "StringEquals",
            "StringNotEquals",
            "StringEqualsIgnoreCase",
            "StringNotEqualsIgnoreCase",
        ],
        TEXT_KEYS,
        TEXTS,
    );
    let patterns = row(
        &["StringLike", "StringNotLike"],
        TEXT_KEYS,
        &["*", "?", "a*", "*b", "*?b*", "", "10.*.1", "\u{e9}", "??*"],
    );
    let numbers = row(
        &[
            "NumericEquals",
            "NumericNotEquals",
            "NumericLessThan",
            "NumericLessThanEquals",
            "NumericGreaterThan",
            "NumericGreaterThanEquals",
        ],
        TEXT_KEYS,
        &["5", "5.0", "-5", "4.999999999", "9223372036854775808"],
    );
    let dates = row(
        &[
            "DateEquals",
            "DateNotEquals",
            "DateLessThan",
            "DateLessThanEquals",
            "DateGreaterThan",
            "DateGreaterThanEquals",
        ],
        &["acs:CurrentTime", "tollgate:Origin"],
        &[
            "2020-01-01T00:00:00Z",
            "2020-01-01T08:00:00+08:00",
            "2024-02-29T12:00:00-05:30",
        ],
    );
    let truths = row(
        &["Bool"],
        &["acs:SecureTransport", "tollgate:Topic"],
        &["true", "false"],
    );
    let addresses = row(
        &["IpAddress", "NotIpAddress"],
        &["ACS:sourceip", "tollgate:Source"],
        &[
            "10.0.0.1",
            "10.0.0.0/8",
            "::ffff:10.0.0.0/97",
            "2001:db8::/33",
            "::/0",
            "0.0.0.0/0",
        ],
    );
    prop_oneof![3 => strings, 2 => patterns, 2 => numbers, 1 => dates, 1 => truths, 2 => addresses]
        .prop_map(|(operator, keys, values)| {
            (
                operator,
                keys.into_iter().map(str::to_owned).zip(values).collect(),
            )
        })
}

fn statement() -> impl Strategy<Value = Value> {
    let effect = one_of(&["Allow", "Allow", "Deny"]);
    let negated = (prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    let conditions = vec(condition(), 0..3);
    (effect, negated, actions(), resources(), conditions).prop_map(
        |(effect, (not_action, not_resource), actions, resources, conditions)| {
            let mut statement = json!({"Effect": effect});
            statement[if not_action { "NotAction" } else { "Action" }] = actions;
            statement[if not_resource {
                "NotResource"
            } else {
                "Resource"
            }] = resources;
            if !conditions.is_empty() {
                statement["Condition"] = conditions.into_iter().collect();
            }
            statement
        },
    )
}

fn document() -> impl Strategy<Value = Value> {
    vec(statement(), 1..5).prop_map(|statements| json!({"Version": "1", "Statement": statements}))
}

type Held = BTreeMap<String, Known>;

/// What is known before the body.
fn head() -> impl Strategy<Value = Held> {
    let texts = option::of(one_of(TEXTS).prop_map(Known::Text));
    let time = select(vec![0, 1_577_836_799, 1_577_836_800, 1_577_836_801]);
    let addresses = [
        "10.0.0.1",
        "::ffff:10.9.9.9",
        "11.0.0.1",
        "2001:db8::1",
        "::1",
    ];
    let address = select(addresses.to_vec()).prop_map(|text| text.parse().unwrap());
    let some = |known: BoxedStrategy<Known>| option::of(known);
    (
        some(address.prop_map(Known::Address).boxed()),
        some(time.prop_map(Known::Time).boxed()),
        some(any::<bool>().prop_map(Known::Bool).boxed()),
        option::of(
            one_of(&["a", "2020-01-01T00:00:00Z", "2030-01-01T08:00:00+08:00"])
                .prop_map(Known::Text),
        ),
        texts,
    )
        .prop_map(|(address, time, secure, origin, claim)| {
            let names = [
                "acs:SourceIp",
                "acs:CurrentTime",
                "acs:SecureTransport",
                "tollgate:Origin",
                "tollgate:Claim/n",
            ];
            let facts = names
                .into_iter()
                .zip([address, time, secure, origin, claim]);
            facts
                .filter_map(|(name, fact)| Some((name.to_owned(), fact?)))
                .collect()
        })
}

/// What bodies may say: every topic with some sources and tags.
fn bodies() -> Vec<Held> {
    let mut bodies = Vec::new();
    for (n, topic) in TEXTS.iter().enumerate() {
        for m in 0..6 {
            let tag = |turn: usize| TEXTS.get((n + m * turn) % (TEXTS.len() + 2)).copied();
            let source = TEXTS[(n * 3 + m * 2) % TEXTS.len()];
            let said = [
                ("tollgate:Topic", Some(*topic)),
                ("tollgate:Source", Some(source)),
                ("tollgate:Tag/a", tag(1)),
                ("tollgate:Tag/A", tag(5)),
            ];
            let said = said
                .into_iter()
                .filter_map(|(name, text)| Some((name.to_owned(), Known::Text(text?.to_owned()))));
            bodies.push(said.collect());
        }
    }
    bodies
}

fn load(kind: PolicyKind, document: &Value) -> Policy {
    Policy::parse(kind, "random", &document.to_string())
        .unwrap_or_else(|problems| panic!("{problems}\n{document}"))
}

/// Whether a statement that is said to decide is about the question, and has that effect.
fn decides(
    by: Decider<'_>,
    effect: &str,
    policies: &[(&Policy, &Value)],
    asked: Asked<'_>,
) -> bool {
    let (_, document) = policies
        .iter()
        .find(|(policy, _)| std::ptr::eq(*policy, by.policy()))
        .unwrap();
    let statement = &model::statements(document)[by.statement()];
    assert_eq!(document.pointer(&by.pointer()), Some(statement));
    statement["Effect"] == effect && model::is_about(statement, asked)
}

/// More with PROPTEST_CASES=1000000.
fn cases() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig {
        cases: usual.cases.max(400),
        failure_persistence: None,
        ..usual
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_random_policy_decides_as_the_model_does_and_before_the_body_as_for_every_body(
        identity in vec(document(), 0..3),
        session in option::of(document()),
        project in option::of(document()),
        head in head(),
        names in select(ACTIONS),
        resource in select(RESOURCES),
    ) {
        let held: Vec<Arc<Policy>> = identity.iter().map(|d| Arc::new(load(PolicyKind::Identity, d))).collect();
        let [of_session, of_project] = [(PolicyKind::Session, &session), (PolicyKind::Project, &project)]
            .map(|(kind, document)| document.as_ref().filter(|d| kind != PolicyKind::Session || d.to_string().len() <= 2048).map(|d| load(kind, d)));
        let session = session.filter(|_| of_session.is_some());
        let policies = Policies { identity: &held, session: of_session.as_ref(), project: of_project.as_ref() };
        let documents: Vec<(&Policy, &Value)> = held.iter().map(AsRef::as_ref).zip(&identity)
            .chain(of_session.as_ref().zip(session.as_ref()))
            .chain(of_project.as_ref().zip(project.as_ref()))
            .collect();
        let all: Vec<&Value> = identity.iter().collect();
        let action = &ActionName::new(names[0]);
        let mut facts = Facts { facts: head.clone(), before_body: true };
        let ask = |facts: &Facts| {
            let question = Question { action, resource, context: facts };
            (policies.decide(&question), decide_without_identity(of_project.as_ref(), &question))
        };
        let early = ask(&facts);
        prop_assert!(early.0 != Decision::NeedsBody || policies.needs_body());
        prop_assert!(early.1 != Decision::NeedsBody || of_project.as_ref().unwrap().needs_body());
        facts.before_body = false;
        for body in bodies() {
            facts.facts = head.clone();
            facts.facts.extend(body);
            let asked = Asked { actions: names, resource, facts: &facts };
            let late = ask(&facts);
            let expected = (
                model::allows(&all, session.as_ref(), project.as_ref(), asked),
                project.as_ref().is_none_or(|project| model::leaves_alone(project, asked)),
            );
            for (early, late, expected) in [(early.0, late.0, expected.0), (early.1, late.1, expected.1)] {
                match late {
                    Decision::Allowed(grant) => {
                        prop_assert!(expected, "{facts:?}");
                        for by in grant.by.into_iter().chain(grant.session) {
                            prop_assert!(decides(by, "Allow", &documents, asked));
                        }
                    }
                    Decision::Denied(denial) => {
                        prop_assert!(!expected, "{facts:?}");
                        if let Denial::Explicit(_, by) = denial {
                            prop_assert!(decides(by, "Deny", &documents, asked));
                        }
                    }
                    Decision::NeedsBody => prop_assert!(false, "{facts:?}"),
                }
                match early {
                    Decision::Allowed(_) => prop_assert!(expected, "{facts:?}"),
                    Decision::Denied(_) => prop_assert!(!expected, "{facts:?}"),
                    Decision::NeedsBody => {}
                }
            }
        }
    }

    #[test]
    fn a_session_policy_only_narrows(role in document(), session in document(), head in head()) {
        prop_assume!(session.to_string().len() <= 2048);
        let role = [Arc::new(load(PolicyKind::Identity, &role))];
        let session = load(PolicyKind::Session, &session);
        let facts = Facts { facts: head, before_body: false };
        for (names, resource) in ACTIONS.iter().zip(RESOURCES.iter().cycle()) {
            let question = Question { action: &ActionName::new(names[0]), resource, context: &facts };
            let allowed = |session| {
                let policies = Policies { identity: &role, session, project: None };
                matches!(policies.decide(&question), Decision::Allowed(_))
            };
            prop_assert!(allowed(None) || !allowed(Some(&session)));
        }
    }
}

#[test]
fn the_model_knows_dates_and_wildcards() {
    assert!(model::wild("a*b?c", "axxbéc") && !model::wild("a*b?c", "abc"));
    assert_eq!(parse_time("2020-01-01T00:00:00Z"), Some(1_577_836_800));
}

// Allocations.

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread asks for.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Facts that are found without making a text of the key.
struct Fixed;

impl Context for Fixed {
    fn fact(&self, key: &ConditionKey) -> Fact<'_> {
        match key {
            ConditionKey::SourceIp => Fact::Address([203, 0, 113, 7].into()),
            ConditionKey::CurrentTime => Fact::Time(1_781_510_400),
            ConditionKey::Claim(_) => Fact::Text("2026-06-15T08:00:00+08:00"),
            _ => Fact::Text("d-001"),
        }
    }
}

#[test]
fn deciding_allocates_nothing() {
    let statements: Vec<Value> = (0..50)
        .map(|n| {
            json!({
                "Effect": if n % 2 == 0 { "Allow" } else { "Deny" },
                "Action": ["log:Put?ogs", format!("log:Get{n}*")],
                "Resource": [format!("acs:log:*:*:project/shop/logstore/w{n}"), "*?hop*logs?ore*/web"],
                // All hold but the last.
                "Condition": {
                    "DateLessThan": {
                        "acs:CurrentTime": "2030-01-01T00:00:00Z",
                        "tollgate:Claim/t": "2030-01-01T00:00:00Z",
                    },
                    "IpAddress": {"acs:SourceIp": ["10.0.0.0/8", "203.0.113.0/24"]},
                    "NotIpAddress": {"tollgate:Source": "::1"},
                    "NumericNotEquals": {"tollgate:Topic": "5"},
                    "StringLike": {"tollgate:Topic": ["x", "*e?*1", "d-*"]},
                    "StringNotEqualsIgnoreCase": {"tollgate:Tag/a": "D-001"},
                },
            })
        })
        .collect();
    let (some, rest) = statements.split_at(25);
    let of = |statements: &[Value]| {
        load(
            PolicyKind::Identity,
            &json!({"Version": "1", "Statement": statements}),
        )
    };
    let identity = [Arc::new(of(some)), Arc::new(of(rest))];
    let session = load(
        PolicyKind::Session,
        &json!({"Version": "1", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}),
    );
    let policies = Policies {
        identity: &identity,
        session: Some(&session),
        project: None,
    };
    let resource = resource_name("cn", "1", "shop", "web");
    for action in [ActionName::new("log:PutLogs"), ActionName::new("log:Get7x")] {
        let question = Question {
            action: &action,
            resource: &resource,
            context: &Fixed,
        };
        let before = ALLOCATIONS.get();
        for _ in 0..100 {
            std::hint::black_box(policies.decide(std::hint::black_box(&question)));
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "{action:?}");
    }
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(vec![1u8]));
    assert_eq!(ALLOCATIONS.get() - before, 1, "the counter counts");
}

// The command line.

/// A folder of documents.
struct Documents(tempfile::TempDir);

impl Documents {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    /// Runs `tollgate policy test` in the folder.
    fn test(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command
            .args(["policy", "test"])
            .args(args)
            .current_dir(self.0.path());
        told(&command.output().unwrap())
    }
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

const WRITE_WEB: &str = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"log:PutLogs","Resource":"acs:log:*:*:project/shop/logstore/web"}]}"#;
const WEB: &str = "acs:log:*:*:project/shop/logstore/web";

#[test]
fn the_command_tells_by_its_exit_code_and_names_the_statement() {
    let documents = Documents::new(&[
        ("write.json", WRITE_WEB),
        (
            "topic.json",
            r#"{"Version":"1","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"tollgate:Topic":"d-001"}}}}"#,
        ),
        (
            "office.json",
            r#"{"Version":"1","Statement":[{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"NotIpAddress":{"acs:SourceIp":"203.0.113.0/24"}}}]}"#,
        ),
    ]);
    let ask = |more: &[&str]| {
        documents.test(
            &[
                more,
                &["--action", "log:PostLogStoreLogs", "--resource", WEB],
            ]
            .concat(),
        )
    };
    let (code, out, _) = ask(&["--policy", "write.json"]);
    assert_eq!(
        (code, out.lines().next()),
        (
            0,
            Some("allowed: /Statement/0 of the identity policy `write.json` allows it")
        )
    );
    assert!(
        out.contains(r#"{"Effect":"Allow","Action":"log:PutLogs""#),
        "{out}"
    );

    let session = ["--policy", "write.json", "--session", "topic.json"];
    let (code, out, note) = ask(&session);
    assert_eq!(
        (code, out.trim()),
        (1, "denied: no statement of the session policy allows it")
    );
    assert_eq!(
        note,
        "note: a condition asks for tollgate:Topic, which --context does not give\n"
    );
    let (code, out, note) = ask(&[&session[..], &["--context", "tollgate:topic=d-001"]].concat());
    assert_eq!((code, note.as_str()), (0, ""));
    assert!(
        out.contains("and /Statement of the session policy `topic.json` allows it\n  {\"Effect\""),
        "{out}"
    );

    for (address, code, told) in [
        (
            "203.0.113.7",
            0,
            "allowed: no statement of the project's policy denies it",
        ),
        (
            "198.51.100.1",
            1,
            "denied: /Statement/0 of the project policy `office.json` denies it",
        ),
    ] {
        let (exit, out, _) = ask(&[
            "--project-policy",
            "office.json",
            "--context",
            &format!("acs:SourceIp={address}"),
        ]);
        assert_eq!((exit, out.lines().next()), (code, Some(told)));
    }
    let (code, out, _) = ask(&[
        "--policy",
        "write.json",
        "--project-policy",
        "office.json",
        "--context",
        "acs:SourceIp=::1",
    ]);
    assert_eq!(code, 1, "{out}");
}

#[test]
fn the_command_tells_every_mistake_of_every_document() {
    let documents = Documents::new(&[
        (
            "bad.json",
            r#"{"Version":"2","Statement":[{"Effect":"allow","Action":"*","Resource":"*"}]}"#,
        ),
        (
            "worse.json",
            "{\"Version\":\"1\",\"Statement\":\"\u{1b}[31m\"}",
        ),
        (
            "warned.json",
            r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"acs:MFAPresent":"true"}}}]}"#,
        ),
    ]);
    let args = [
        "--policy",
        "bad.json",
        "--policy",
        "missing.json",
        "--policy",
        "warned.json",
        "--session",
        "worse.json",
    ];
    let (code, out, errors) =
        documents.test(&[&args[..], &["--action", "log:PutLogs", "--resource", WEB]].concat());
    assert_eq!((code, out.as_str()), (78, ""));
    let lines: Vec<_> = errors.lines().collect();
    let starts = [
        "warning: warned.json: /Statement/0/Condition/Bool/acs:MFAPresent: ",
        "error: bad.json: /Version: ",
        "error: bad.json: /Statement/0/Effect: ",
        "error: missing.json: No such file",
        "error: worse.json: the document is not JSON: ",
    ];
    assert_eq!(lines.len(), starts.len(), "{errors}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{errors}");
    }
}

#[test]
fn a_wrong_command_line_is_told_as_such() {
    let documents = Documents::new(&[("write.json", WRITE_WEB)]);
    let question = ["--action", "log:PutLogs", "--resource", WEB];
    let policy = ["--policy", "write.json"];
    for wrong in [
        &["--context", "tollgate:Nothing=1"][..],
        &["--context", "acs:SourceIp=nowhere"],
        &["--context", "tollgate:Topic"],
        &[
            "--context",
            "tollgate:Topic=a",
            "--context",
            "TOLLGATE:topic=b",
        ],
    ] {
        let (code, out, errors) = documents.test(&[&policy[..], &question, wrong].concat());
        assert_eq!((code, out.as_str()), (2, ""), "{errors}");
        assert!(errors.starts_with("error: "), "{errors}");
    }
    for wrong in [
        &question[..],
        &policy,
        &[&question[..], &["--session", "write.json"]].concat(),
    ] {
        assert_eq!(documents.test(wrong).0, 2);
    }
}

// The page.

/// The documents of docs/policy.md: each stands under a line that ends with its name.
fn documents_of(page: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (at, _) in page.match_indices("`:\n\n```json\n") {
        let name = page[..at].rsplit_once('`').unwrap().1;
        let text = page[at..].split_once("```json\n").unwrap().1;
        found.push((name, text.split_once("```").unwrap().0));
    }
    found
}

#[test]
fn the_examples_of_the_page_answer_as_printed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policy.md");
    let page = fs::read_to_string(path).unwrap();
    let files = documents_of(&page);
    assert!(files.len() >= 6, "found only {} documents", files.len());
    let documents = Documents::new(&files);
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_tollgate"));
    let mut examples = 0;
    for block in page.split("```sh\n").skip(1) {
        let (command, rest) = block
            .split_once("```\n```text\n")
            .expect("a command has an answer");
        let expected = rest.split_once("```").unwrap().0;
        let script = command.replace("tollgate policy", &format!("{} policy", binary.display()));
        let script = format!("{{ {script}\n}} 2>&1; echo \"exit code $?\"");
        let output = Command::new("bash")
            .args(["-c", &script])
            .current_dir(documents.0.path())
            .output()
            .unwrap();
        let (_, out, _) = told(&output);
        assert_eq!(out, expected, "{command}");
        examples += 1;
    }
    assert!(examples >= 7, "found only {examples} examples");
}
