//! What is only for a terminal: colours, progress bars, and `top`.

use std::process::Command;

use crate::support::{OPEN, Tollgate, binary};
use crate::{Terminal, err, out, until};

const TOLLGATE: &str = env!("CARGO_BIN_EXE_tollgate");

#[test]
fn colours_are_for_terminals_and_for_those_who_ask() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("bad.toml");
    std::fs::write(&config, "nonsense = 1\n").unwrap();
    let config = config.to_str().unwrap();
    let coloured = |settings: &[(&str, &str)]| {
        let mut command = Command::new(TOLLGATE);
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command.args(["check", "--config", config]);
        command.envs(settings.iter().copied());
        err(&command.output().unwrap()).contains("\u{1b}[")
    };
    assert!(!coloured(&[]), "standard error is no terminal");
    assert!(coloured(&[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "0")]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    let run = |settings: &str| {
        let command = format!(
            "env -u NO_COLOR {settings} {TOLLGATE} check --config {config}; echo ended $?; sleep 600"
        );
        let name = format!("colours{}", settings.len());
        let terminal = Terminal::open(&name, &command, 100, 20);
        terminal.until("ended 78");
        terminal.screen(true).contains("\u{1b}[31m") || terminal.screen(true).contains("\u{1b}[1m")
    };
    assert!(run("CLICOLOR=1"));
    assert!(!run("NO_COLOR=1 TERM=xterm"));
    assert!(!run("CLICOLOR=0"));
    // The log of a node goes by the same rules.
    let mut log = Command::new(TOLLGATE);
    log.args(["run", "--listen", "192.0.2.1:1", "--data-dir"]);
    log.arg(folder.path()).env("CLICOLOR_FORCE", "1");
    log.env("NO_COLOR", "1");
    assert!(!err(&log.output().unwrap()).contains('\u{1b}'));
}

#[test]
fn a_bar_is_shown_on_a_terminal_and_nowhere_else() {
    let tollgate = Tollgate::start();
    let events = tollgate.data_dir().join("events.ndjson");
    let text: String = (0..400).map(|n| format!("{{\"n\":\"{n}\"}}\n")).collect();
    std::fs::write(&events, text).unwrap();
    let send = format!(
        "{TOLLGATE} send {} --data-dir {} --url http://{} --logstore {OPEN} --rate 100; echo ended $?; sleep 600",
        events.display(),
        tollgate.data_dir().display(),
        tollgate.ingest.unwrap()
    );
    let terminal = Terminal::open("bar", &send, 100, 20);
    terminal.until("accepted, 0 refused");
    let screen = terminal.until("ended 0");
    assert!(
        !screen.contains("accepted, 0 refused"),
        "it is taken away: {screen}"
    );
    let piped = Command::new("sh")
        .args([
            "-c",
            &send.replace("--rate 100; echo ended $?; sleep 600", ""),
        ])
        .output()
        .unwrap();
    assert!(piped.status.success(), "{}", err(&piped));
    assert!(piped.stderr.is_empty(), "{}", err(&piped));
}

#[test]
fn top_shows_a_node_live_and_once() {
    let tollgate = Tollgate::start();
    let data = tollgate.data_dir().display().to_string();
    let url = format!("http://{}", tollgate.admin);
    let once = binary()
        .args([
            "top",
            "--data-dir",
            &data,
            "--admin",
            &url,
            "--interval",
            "200ms",
        ])
        .output()
        .unwrap();
    assert!(once.status.success(), "{}", err(&once));
    let text = out(&once);
    assert!(text.contains(OPEN) && text.contains("requests/s"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");

    let command = format!(
        "stty -a > {data}/before; {TOLLGATE} top --data-dir {data} --admin {url} --interval 300ms; echo ended $?; stty -a > {data}/after; sleep 600"
    );
    let terminal = Terminal::open("top", &command, 120, 20);
    terminal.until("q quit");
    // Somebody sends: requests that are taken, and some that are refused.
    let mut rounds = 0;
    until("rates are shown", || {
        rounds += 1;
        for _ in 0..5 {
            tollgate.track(OPEN, "", r#"{"__logs__":[{"n":"1"}]}"#);
            tollgate.track(OPEN, "", "no json");
        }
        let screen = terminal.screen(false);
        let taken = screen.lines().find(|line| line.contains("requests/s"));
        let taken = taken.is_some_and(|line| !line.contains(" 0 taken"));
        taken && !screen.contains("refused/s   none")
    });
    terminal.keys(&["s"]);
    terminal.until("s sort (refused)");
    terminal.keys(&["p"]);
    terminal.until("paused");
    terminal.keys(&["p", "j", "k", "r"]);
    let resized = terminal
        .tmux()
        .args(["resize-window", "-t", "t", "-x", "60", "-y", "12"])
        .status();
    assert!(resized.unwrap().success());
    terminal.until("tollgate 0");
    terminal.keys(&["q"]);
    terminal.until("ended 0");
    until("the terminal is as it was", || {
        let read =
            |name: &str| std::fs::read_to_string(format!("{data}/{name}")).unwrap_or_default();
        let modes = |text: String| text.split_once(';').map(|(_, rest)| rest.to_owned());
        let strip = |text: String| {
            let words = text
                .split_whitespace()
                .filter(|word| !word.ends_with(';') || word.parse::<u32>().is_err());
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        let (before, after) = (modes(read("before")), modes(read("after")));
        let flags = |text: Option<String>| {
            let all = strip(text.unwrap_or_default());
            let known = [
                "icanon", "-icanon", "echo", "-echo", "isig", "-isig", "opost", "-opost",
            ];
            all.into_iter()
                .filter(|it| known.contains(&it.as_str()))
                .collect::<Vec<_>>()
        };
        let (before, after) = (flags(before), flags(after));
        !after.is_empty() && before == after
    });
}

#[test]
fn top_gives_the_terminal_back_when_a_signal_ends_it() {
    let tollgate = Tollgate::start();
    let data = tollgate.data_dir().display().to_string();
    let url = format!("http://{}", tollgate.admin);
    let command = format!(
        "{TOLLGATE} top --data-dir {data} --admin {url} & echo $! > {data}/pid; fg; stty -a > {data}/after; echo ended; sleep 600"
    );
    let shell = format!("bash -i -c 'set -m; {command}'");
    let terminal = Terminal::open("signal", &shell, 100, 20);
    terminal.until("q quit");
    let pid = std::fs::read_to_string(format!("{data}/pid")).unwrap();
    let killed = Command::new("sh")
        .args(["-c", &format!("kill -TERM {}", pid.trim())])
        .status();
    assert!(killed.unwrap().success());
    terminal.until("ended");
    until("the modes were written", || {
        let after = std::fs::read_to_string(format!("{data}/after")).unwrap_or_default();
        after.contains(" icanon") && after.contains(" echo ")
    });
}
