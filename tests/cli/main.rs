//! The command line on the real binary: `--output json` of every command, colours and bars, `init`,
//! `doctor`, `top`, completions, manual pages, and docs/cli.md.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

#[path = "../support/mod.rs"]
mod support;

mod doctor;
mod init;
mod machine;
mod reference;
mod shells;
mod stranger;
mod terminal;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::binary;

fn run(arguments: &[&str]) -> Output {
    binary().args(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json_lines(output: &Output) -> Vec<Value> {
    let text = out(output);
    let line =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(line).collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Two ports that nobody listens at.
fn free_ports<const N: usize>() -> [u16; N] {
    let held: Vec<_> = (0..N)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let ports: Vec<u16> = held
        .iter()
        .map(|it| it.local_addr().unwrap().port())
        .collect();
    ports.try_into().unwrap()
}

/// A terminal of its own, by tmux.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// Runs a command line of the shell in a terminal of this size.
    fn open(name: &str, command: &str, columns: u16, rows: u16) -> Self {
        let socket = format!("tollgate-{name}-{}", std::process::id());
        let terminal = Self { socket };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let mut tmux = terminal.tmux();
        tmux.args(["-f", "/dev/null", "new-session", "-d", "-s", "t"]);
        tmux.args(["-x", &columns, "-y", &rows, command]);
        assert!(tmux.status().unwrap().success());
        terminal
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.env_remove("TMUX").env("TERM", "xterm-256color");
        command.args(["-L", &self.socket]);
        command
    }

    fn keys(&self, keys: &[&str]) {
        let mut tmux = self.tmux();
        tmux.args(["send-keys", "-t", "t"]).args(keys);
        assert!(tmux.status().unwrap().success());
    }

    /// What is on the screen, with its colours where asked for.
    fn screen(&self, colours: bool) -> String {
        let mut tmux = self.tmux();
        tmux.args(["capture-pane", "-p", "-t", "t"]);
        if colours {
            tmux.arg("-e");
        }
        String::from_utf8_lossy(&tmux.output().unwrap().stdout).into_owned()
    }

    fn until(&self, what: &str) -> String {
        until(&format!("{what}\n{}", self.screen(false)), || {
            self.screen(false).contains(what)
        });
        self.screen(false)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.tmux().arg("kill-server").output());
    }
}
