//! `tollgate schema` and what `tollgate check` says of schemas, on the real binary.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use support::{OPEN, PROJECT, Tollgate, binary};

/// Files of one test.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn schema(&self, name: &str, schema: &Value) -> PathBuf {
        self.put(name, schema.to_string())
    }
}

fn schema(arguments: &[&str], files: &[&Path]) -> Output {
    let mut command = binary();
    command.arg("schema").args(arguments).args(files);
    command.output().unwrap()
}

fn with_input(arguments: &[&str], files: &[&Path], input: &str) -> Output {
    let mut command = binary();
    command.arg("schema").args(arguments).args(files).arg("-");
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

const EVENTS: &str = "\u{feff}{\"event\":\"view\",\"页\":\"/首页\",\"price\":\"5.5\"}\n\
    \n\
    not json\n\
    {\"__topic__\":\"t\",\"__logs__\":[{\"event\":\"buy\",\"页\":\"/é\",\"price\":\"7\",\"__time__\":\"1\"}]}\n\
    {\"event\":\"a\",\"event\":\"b\"}\n";

#[test]
fn an_inferred_schema_accepts_its_events_and_tells_lines_that_are_none() {
    let files = Files::new();
    let inferred = with_input(&["infer", "--strings-as-types", "--closed"], &[], EVENTS);
    assert_eq!(code(&inferred), 0, "{}", err(&inferred));
    let told = err(&inferred);
    assert!(
        told.contains("line 3: refused before any schema (not_json)"),
        "{told}"
    );
    assert!(
        told.contains("line 5: refused before any schema (duplicate_key)"),
        "{told}"
    );
    assert!(told.contains("2 events seen, 2 lines skipped"), "{told}");
    let proposed: Value = serde_json::from_str(&out(&inferred)).unwrap();
    assert_eq!(proposed["required"], json!(["event", "页", "price"]));
    assert_eq!(proposed["properties"]["price"]["x-tollgate-coerce"], true);
    assert_eq!(
        proposed["properties"]["页"]["examples"],
        json!(["/首页", "/é"])
    );
    assert_eq!(
        proposed["properties"].as_object().unwrap().len(),
        3,
        "no __time__"
    );

    let path = files.put("schema.json", &inferred.stdout);
    let good: String = EVENTS
        .lines()
        .filter(|it| !it.contains("not json"))
        .collect::<Vec<_>>()
        .join("\n");
    let good = good.replace("{\"event\":\"a\",\"event\":\"b\"}", "");
    let tested = with_input(&["test"], &[&path], &good);
    assert_eq!(code(&tested), 0, "{}{}", out(&tested), err(&tested));
    assert_eq!(out(&tested), "line 1: valid\nline 3: valid\n");
    assert!(
        err(&tested).contains("2 events: 2 valid, 0 not valid"),
        "{}",
        err(&tested)
    );
}

#[test]
fn without_any_event_there_is_no_schema() {
    for (input, message) in [
        ("", "there are no events"),
        ("[\nx\n\n7\n", "3 lines skipped"),
    ] {
        let inferred = with_input(&["infer"], &[], input);
        assert_eq!(code(&inferred), 1, "{input}");
        assert_eq!(out(&inferred), "");
        assert!(err(&inferred).contains(message), "{}", err(&inferred));
    }
    let missing = schema(&["infer", "/nonexistent/events"], &[]);
    assert_eq!(code(&missing), 1, "{}", err(&missing));
    assert_eq!(code(&schema(&["infer"], &[])), 2);
}

#[test]
fn each_type_of_event_gets_a_schema_of_its_own() {
    let events = "{\"t\":\"view\",\"a\":1}\n{\"t\":\"买\",\"b\":true}\n{\"b\":null}\n";
    let inferred = with_input(&["infer", "--event-field", "t"], &[], events);
    let found: Value = serde_json::from_str(&out(&inferred)).unwrap();
    assert_eq!(found["view"]["properties"]["a"]["type"], "integer");
    assert_eq!(found["买"]["properties"]["b"]["type"], "boolean");
    assert_eq!(found[""]["properties"]["b"]["type"], "null");
    assert_eq!(found.as_object().unwrap().len(), 3);
}

fn price() -> Value {
    json!({
        "properties": {
            "event": {"enum": ["view", "购买"]},
            "price": {"type": "number", "minimum": 0},
            "at": {"type": "string", "format": "date"},
        },
        "required": ["event"],
        "additionalProperties": false,
    })
}

#[test]
fn a_bad_event_is_shown_with_carets_under_what_is_wrong() {
    let files = Files::new();
    let path = files.schema("schema.json", &price());
    let events = "{\"event\":\"购买\",\"price\":\"十\"}\n\
        {\"event\":\"view\",\"pr\u{ed}ce\":1}\n\
        {\"price\":-1}\n\
        {\"event\":\"view\",\"price\":\"1\"}\n\
        {\"__logs__\":[{\"event\":\"view\"},{\"event\":\"view\",\"at\":\"\u{202e}\"}]}\n\
        []x\n";
    let tested = with_input(&["test"], &[&path], events);
    assert_eq!(code(&tested), 1);
    let expected = "\
line 1: not valid
  /price: expected number, found string \"十\" (type)
    | {\"event\":\"购买\",\"price\":\"十\"}
    |                         ^^^^
line 2: not valid
  /príce: the schema knows no such field (additionalProperties)
    | {\"event\":\"view\",\"príce\":1}
    |                 ^^^^^^^
line 3: not valid
  /price: expected at least 0, found number -1 (minimum)
    | {\"price\":-1}
    |          ^^
  /event: it is required and missing (required)
    | {\"price\":-1}
    |            ^
line 4: valid
line 5, event 1: valid
line 5, event 2: not valid
";
    let shown = out(&tested);
    assert!(shown.starts_with(expected), "{shown}\n---\n{expected}");
    let rest = shown.get(expected.len()..).unwrap();
    assert!(rest.contains("\"at\":\"\\u{202e}\""), "{rest}");
    assert!(
        rest.contains("line 6: refused before any schema (not_json)"),
        "{rest}"
    );
    assert!(
        err(&tested).contains("6 events: 2 valid, 4 not valid; 1 line refused"),
        "{}",
        err(&tested)
    );

    let quiet = with_input(&["test", "--quiet"], &[&path], events);
    assert!(!out(&quiet).contains(": valid"));
    let as_texts = with_input(
        &["test", "--no-coerce"],
        &[&path],
        "{\"event\":\"view\",\"price\":\"1\"}",
    );
    assert_eq!(code(&as_texts), 1);
    let date = "{\"event\":\"view\",\"at\":\"soon\"}";
    assert_eq!(code(&with_input(&["test"], &[&path], date)), 1);
    assert_eq!(
        code(&with_input(&["test", "--no-formats"], &[&path], date)),
        0
    );
}

#[test]
fn verdicts_as_json_say_which_bytes_are_wrong() {
    let files = Files::new();
    let path = files.schema("schema.json", &price());
    let line = "[{\"event\":\"view\"},{\"event\":\"é\",\"price\":\"\u{9b}\"}]";
    let tested = with_input(
        &["test", "--output", "json"],
        &[&path],
        &format!("{line}\n7\n"),
    );
    assert_eq!(code(&tested), 1);
    let shown = out(&tested);
    assert!(
        shown.chars().all(|c| c == '\n' || !c.is_control()),
        "{shown:?}"
    );
    let verdicts: Vec<Value> = shown
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(verdicts.len(), 3);
    let [good, bad, refused] = verdicts.as_slice() else {
        unreachable!()
    };
    assert_eq!(good, &json!({"line": 1, "event": 0, "valid": true}));
    let violations = bad["violations"].as_array().unwrap();
    let part = |violation: &Value| {
        let at = |key: &str| usize::try_from(violation[key].as_u64().unwrap()).unwrap();
        line.get(at("start")..at("end")).unwrap()
    };
    let found: Vec<_> = violations
        .iter()
        .map(|it| (it["pointer"].as_str().unwrap(), part(it)))
        .collect();
    assert_eq!(found, [("/event", "\"é\""), ("/price", "\"\u{9b}\"")]);
    assert_eq!(
        (&refused["line"], &refused["reason"]),
        (&json!(2), &json!("wrong_shape"))
    );
}

#[test]
fn a_wrong_schema_is_told_with_all_that_is_wrong() {
    let files = Files::new();
    let bad = json!({"properties": {"a": {"type": "text"}, "b": {"minLength": -1}}});
    let path = files.schema("bad.json", &bad);
    let good = files.schema("good.json", &json!({}));
    let both: [&Path; 2] = [&path, &good];
    for (arguments, files_of) in [(["test"], &both[..1]), (["diff"], &both[..])] {
        let output = with_input(&arguments, files_of, "{}");
        assert_eq!(code(&output), 78);
        let told = err(&output);
        for pointer in ["/properties/a/type", "/properties/b/minLength"] {
            assert!(told.contains(pointer), "{told}");
        }
    }
    let text = files.put("text.json", "{");
    let output = schema(&["test"], &[&text, &good]);
    assert_eq!(code(&output), 78);
    assert!(err(&output).contains("is not JSON"), "{}", err(&output));
    assert_eq!(code(&schema(&["test"], &[&files.path("none"), &good])), 78);
}

#[test]
fn what_would_newly_fail_is_told_by_comparison_and_over_events() {
    let files = Files::new();
    let old = files.schema("old.json", &price());
    let mut narrower = price();
    narrower["properties"]["event"] = json!({"enum": ["view"]});
    narrower["required"] = json!(["event", "price"]);
    narrower["additionalProperties"] = json!(true);
    let new = files.schema("new.json", &narrower);

    let same = schema(&["diff"], &[&old, &old]);
    assert_eq!(code(&same), 0, "{}", out(&same));
    let found = schema(&["diff"], &[&old, &new]);
    assert_eq!(code(&found), 1);
    let told = out(&found);
    assert!(
        told.contains("/properties/event/enum: not taken any more: \"购买\""),
        "{told}"
    );
    assert!(
        told.contains("/properties/price: it is required now"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 2, "{told}");

    let events = "{\"event\":\"购买\",\"price\":1}\n{\"event\":\"view\",\"price\":2}\n\
        {\"event\":\"view\",\"price\":1,\"x\":1}\n{\"event\":\"x\"}\n[]7\n";
    let found = with_input(&["diff"], &[&old, &new], events);
    assert_eq!(code(&found), 1);
    let told = out(&found);
    assert!(
        told.contains("line 1: would newly fail\n  /event: "),
        "{told}"
    );
    assert!(told.contains("line 3: would newly pass"), "{told}");
    assert!(
        told.contains("4 events: 1 would newly fail, 1 would newly pass, 1 fail in both"),
        "{told}"
    );
    assert!(err(&found).contains("line 5: refused"), "{}", err(&found));
    let wider = with_input(&["diff"], &[&new, &new], events);
    assert_eq!(code(&wider), 0, "{}", out(&wider));
}

#[test]
fn a_schema_is_inferred_from_what_a_logstore_holds() {
    let tollgate = Tollgate::start();
    let body = r#"{"__logs__":[{"event":"view","price":500},{"event":"购买","price":"7.5"}]}"#;
    assert_eq!(tollgate.track(OPEN, "", body).status, 200);
    tollgate.events(OPEN, 2);
    let url = format!("http://{}", tollgate.logstore.unwrap());
    let data = tollgate.data_dir().to_str().unwrap().to_owned();
    let infer = |extra: &[&str]| {
        let store = [
            "--project",
            PROJECT,
            "--logstore-url",
            &url,
            "--data-dir",
            &data,
        ];
        schema(
            &[&["infer", "--strings-as-types"], &store[..], extra].concat(),
            &[],
        )
    };
    let inferred = infer(&["--logstore", OPEN]);
    assert_eq!(code(&inferred), 0, "{}", err(&inferred));
    let proposed: Value = serde_json::from_str(&out(&inferred)).unwrap();
    assert_eq!(proposed["properties"]["price"]["type"], "number");
    assert_eq!(
        proposed["properties"]["price"]["$comment"],
        "from 7.5 to 500"
    );
    assert_eq!(proposed["required"], json!(["event", "price"]));
    assert!(!out(&inferred).contains("__"), "{}", out(&inferred));
    let one = infer(&["--logstore", OPEN, "-n", "1"]);
    assert!(err(&one).contains("1 event seen"), "{}", err(&one));
    let none = infer(&["--logstore", "none-such"]);
    assert_eq!(code(&none), 78, "{}", err(&none));
}

#[test]
fn check_says_how_schemas_are_checked_and_what_is_wrong_with_them() {
    let files = Files::new();
    files.schema("fast.json", &price());
    files.schema(
        "tree.json",
        &json!({"properties": {"a": {"uniqueItems": true}}}),
    );
    files.schema("slow.json", &json!({"dependentRequired": {"a": ["b"]}}));
    let config = |last: &str| {
        let mut text = format!(
            "[ingest]\ndefault_project = \"{PROJECT}\"\n[[upstream]]\nname = \"store\"\nkind = \"embedded\"\n\
             [[project]]\nname = \"{PROJECT}\"\nupstream = \"store\"\n[[project.logstore]]\n\
             name = \"{OPEN}\"\naccept = [\"anonymous\"]\n\
             [project.logstore.schema]\nuse = [\"fast\", \"tree\", \"slow\"]\n"
        );
        for (name, file) in [("fast", "fast.json"), ("tree", "tree.json"), ("slow", last)] {
            let path = files.path(file);
            text.push_str(&format!("[[schema]]\nname = \"{name}\"\nfile = {path:?}\n"));
        }
        files.put("config.toml", text)
    };
    let check = |path: &Path| {
        binary()
            .arg("check")
            .arg("--config")
            .arg(path)
            .output()
            .unwrap()
    };
    let good = check(&config("slow.json"));
    assert_eq!(code(&good), 0, "{}", err(&good));
    let told = out(&good);
    assert!(
        told.contains("schema fast@1: checked in one pass.\n"),
        "{told}"
    );
    assert!(
        told.contains("schema tree@1: ") && told.contains("some values of: a."),
        "{told}"
    );
    assert!(
        told.contains("schema slow@1: ") && told.contains("/dependentRequired."),
        "{told}"
    );

    files.schema("bad.json", &json!({"type": "text", "required": 5}));
    let bad = check(&config("bad.json"));
    assert_eq!(code(&bad), 78);
    let told = err(&bad);
    assert!(
        told.contains("/type: ") && told.contains("/required: "),
        "{told}"
    );
}
