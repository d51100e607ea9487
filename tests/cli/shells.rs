//! Completions in the shells, and manual pages, by the real programs.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{err, out, run};

/// Feeds a script to a program, which has to be content.
fn feed(program: &str, arguments: &[&str], script: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; tests/support/install.sh installs it"));
    child
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}\n{}", err(&output));
    assert!(output.stderr.is_empty(), "{program}\n{}", err(&output));
    out(&output)
}

fn completions(shell: &str) -> String {
    let output = run(&["completions", shell]);
    assert!(output.status.success(), "{}", err(&output));
    out(&output)
}

#[test]
fn bash_completes_commands_options_and_values() {
    let script = completions("bash");
    feed("bash", &["-n"], &script);
    for (words, wanted) in [
        ("tollgate qua", "quarantine"),
        ("tollgate spool ver", "verify"),
        ("tollgate audit --out", "--output"),
        ("tollgate audit --output j", "json"),
        ("tollgate completions fi", "fish"),
    ] {
        let count = words.split(' ').count();
        let ask = format!(
            "{script}\nCOMP_WORDS=({words})\nCOMP_CWORD={}\nCOMPREPLY=()\n_tollgate tollgate \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
            count - 1
        );
        let found = feed("bash", &[], &ask);
        assert!(found.lines().any(|it| it == wanted), "{words}: {found}");
    }
}

#[test]
fn fish_completes_and_zsh_reads_its_script() {
    let script = format!("{}\ncomplete -C 'tollgate qua'\n", completions("fish"));
    let found = feed("fish", &["--no-config"], &script);
    assert!(found.starts_with("quarantine"), "{found}");
    feed("zsh", &["-n"], &completions("zsh"));
    for shell in ["elvish", "powershell"] {
        assert!(completions(shell).contains("quarantine"), "{shell}");
    }
}

#[test]
fn manual_pages_are_clean_and_hold_what_the_help_holds() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["man", "--out", folder.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}", err(&output));
    let mut pages = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        pages += 1;
        lint(&path);
    }
    assert!(pages > 50, "only {pages} pages");
    let shown = Command::new("mandoc")
        .args(["-T", "utf8", "-O", "width=120"])
        .arg(folder.path().join("tollgate-spool-show.1"))
        .output()
        .unwrap();
    // Bold and underlined letters are overstruck.
    let mut text = String::new();
    for c in out(&shown).chars() {
        match c {
            '\u{8}' => drop(text.pop()),
            c => text.push(c),
        }
    }
    let example = "tollgate spool show shop/web --events        their events";
    assert!(text.contains(example), "{text}");
    assert!(text.contains("TOLLGATE-SPOOL-SHOW(1)"), "{text}");
}

fn lint(path: &Path) {
    let output = Command::new("mandoc")
        .args(["-T", "lint", "-W", "error"])
        .arg(path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", out(&output));
}
