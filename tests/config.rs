//! The configuration from outside: what loads, what is refused and how it is told, and whether the
//! files that are made from the code are fresh.

#![cfg(test)]

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tollgate::config::generate::{generated_files, sample};
use tollgate::config::{Checked, Config, Overrides, Severity};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether the files of expectations are written instead of compared.
#[expect(
    clippy::disallowed_methods,
    reason = "a test is told to write by the environment"
)]
fn writing() -> bool {
    std::env::var("TOLLGATE_WRITE").is_ok_and(|value| value == "1")
}

/// Compares a file with what it should hold, or writes it.
fn assert_fresh(path: &Path, wanted: &str) {
    if writing() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, wanted).unwrap();
        return;
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == wanted,
        "{} is stale; rewrite it with: TOLLGATE_WRITE=1 cargo test --test config\n\
         --- it should hold:\n{wanted}",
        path.display()
    );
}

fn toml_files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    files
}

fn parse(path: &Path) -> Result<Checked, tollgate::config::Problems> {
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    Checked::parse(&text, name, &Overrides::default())
}

#[test]
fn generated_files_are_fresh() {
    for file in generated_files() {
        assert_fresh(&root().join(file.path), &file.contents);
    }
}

#[test]
fn the_reference_loads_as_the_sample_and_without_a_warning() {
    let [reference, ..] = generated_files();
    let checked = Checked::parse(&reference.contents, reference.path, &Overrides::default());
    let checked = checked.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(checked.config, sample());
    assert_eq!(checked.warnings, None);
}

#[test]
fn the_quickstart_file_is_the_built_in_configuration() {
    let [_, quickstart, ..] = generated_files();
    let config = Config::parse(&quickstart.contents, quickstart.path);
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config, Config::quickstart());
    let built_in = Checked::new(Config::quickstart(), "").unwrap();
    assert_eq!(built_in.warnings, None);
}

#[test]
fn every_valid_file_loads() {
    let files = toml_files("tests/configs/valid");
    assert!(files.len() >= 4, "{files:?}");
    for path in files {
        let checked = parse(&path).unwrap_or_else(|problems| panic!("{problems}"));
        let warnings = checked.warnings.map(|w| w.to_string()).unwrap_or_default();
        assert_fresh(&path.with_extension("warnings"), &warnings);
    }
}

#[test]
fn every_invalid_file_is_refused_with_all_its_problems() {
    let files = toml_files("tests/configs/invalid");
    assert!(files.len() >= 15, "{files:?}");
    for path in files {
        let problems = parse(&path).expect_err(&path.display().to_string());
        assert!(problems.has_errors(), "{problems}");
        assert_fresh(&path.with_extension("expected"), &problems.to_string());
    }
}

#[test]
fn no_problem_shows_a_secret_that_was_written_by_mistake() {
    let mut seen = 0;
    for path in toml_files("tests/configs/invalid") {
        let text = std::fs::read_to_string(&path).unwrap();
        if text.contains("hunter2") {
            seen += 1;
            let problems = parse(&path).unwrap_err();
            for shown in [
                problems.to_string(),
                problems.render_compact(),
                format!("{problems:?}"),
            ] {
                assert!(!shown.contains("hunter2"), "{shown}");
            }
        }
    }
    assert!(seen >= 3, "{seen} files hold a secret by mistake");
}

#[test]
fn a_file_that_is_not_there_is_one_problem_that_names_it() {
    let problems = Config::load(Path::new("/nonexistent/tollgate.toml")).unwrap_err();
    let text = problems.to_string();
    assert!(
        text.starts_with("/nonexistent/tollgate.toml: error: cannot read the file"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_not_utf_8_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"data_dir = \"\xff\"").unwrap();
    let text = Config::load(file.path()).unwrap_err().to_string();
    assert!(text.contains("not UTF-8, from byte 12"), "{text}");
}

#[test]
fn the_command_line_stands_above_the_file_and_is_checked_with_it() {
    let text = sample_text();
    let overrides = Overrides {
        listen: Some("127.0.0.1:9000".parse().unwrap()),
        data_dir: Some("/var/lib/tollgate".into()),
        ..Overrides::default()
    };
    let checked = Checked::parse(&text, "x.toml", &overrides).unwrap();
    assert_eq!(checked.config.ingest.listen.port(), 9000);
    assert_eq!(checked.config.data_dir, Path::new("/var/lib/tollgate"));

    let collision = Overrides {
        listen: Some("127.0.0.1:8081".parse().unwrap()),
        ..Overrides::default()
    };
    let problems = Checked::parse(&text, "x.toml", &collision).unwrap_err();
    assert!(problems.to_string().contains("already taken"), "{problems}");
}

#[test]
fn a_warning_does_not_refuse_a_configuration() {
    let overrides = Overrides {
        admin_listen: Some("0.0.0.0:9001".parse().unwrap()),
        ..Overrides::default()
    };
    let checked = Checked::parse(&sample_text(), "x.toml", &overrides).unwrap();
    let warnings = checked.warnings.unwrap();
    assert!(!warnings.has_errors());
    let severities: Vec<Severity> = warnings.iter().map(|problem| problem.severity).collect();
    assert_eq!(severities, [Severity::Warning]);
}

fn sample_text() -> String {
    let [reference, ..] = generated_files();
    reference.contents
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_loader_panic(text in "\\PC{0,200}") {
        let _outcome = Config::parse(&text, "any.toml").map_err(|problems| problems.to_string());
    }

    #[test]
    fn no_damage_to_a_file_makes_the_loader_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..8),
    ) {
        let mut bytes = sample_text().into_bytes();
        for (index, byte, how) in damage {
            let at = index.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let _outcome = Config::parse(&text, "any.toml").map_err(|problems| problems.to_string());
    }

    #[test]
    fn every_value_that_the_walk_lets_pass_can_be_read(
        line in any::<prop::sample::Index>(),
        value in prop_oneof![
            Just("0"), Just("-1"), Just("300"), Just("99999999999"), Just("0x10"), Just("1.5"), Just("nan"),
            Just("true"), Just("\"\""), Just("\"10MiB\""), Just("\"5s\""), Just("\"v4\""), Just("[]"),
            Just("{}"), Just("[1]"), Just("[{}]"), Just("\"127.0.0.1:1\""), Just("2020-01-01"),
        ],
    ) {
        let text = sample_text();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let keys: Vec<usize> = (0..lines.len())
            .filter(|at| !lines[*at].starts_with(['#', '[']) && lines[*at].contains(" = "))
            .collect();
        let at = keys[line.index(keys.len())];
        let key = lines[at].split(" = ").next().unwrap().to_owned();
        lines[at] = format!("{key} = {value}");
        if let Err(problems) = Config::parse(&lines.join("\n"), "x.toml") {
            // Only the reader of the tree, after the walk, speaks of "invalid" types and values.
            let told = problems.to_string();
            let read = ["invalid type", "invalid value"].iter().any(|it| told.contains(it));
            prop_assert!(!read, "{}", told);
        }
    }
}

/// The blocks of the pages of transforms are what a configuration may hold.
#[test]
fn examples_of_transforms_load() {
    let head = "[[upstream]]\nname = \"store\"\nkind = \"embedded\"\n\
        [[project]]\nname = \"my-project\"\nupstream = \"store\"\n\
        [[project.logstore]]\nname = \"payments\"\naccept = [\"anonymous\"]\n\
        [[project.logstore]]\nname = \"web\"\naccept = [\"anonymous\"]\n";
    for (page, least) in [("docs/transforms.md", 12), ("docs/jwt-functions.md", 8)] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        let blocks = text.split("```toml\n").skip(1);
        let blocks: Vec<&str> = blocks
            .map(|rest| rest.split("```").next().unwrap())
            .collect();
        assert!(blocks.len() >= least, "{page}: {}", blocks.len());
        for block in blocks {
            let text = format!("{head}{block}");
            let checked = Checked::parse(&text, page, &Overrides::default());
            let checked = checked.unwrap_or_else(|problems| panic!("{block}\n{problems}"));
            assert!(
                !checked.config.projects[0].logstores[1]
                    .transforms
                    .is_empty()
            );
        }
    }
}
