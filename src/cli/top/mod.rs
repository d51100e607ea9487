//! `tollgate top`: a running node, live.
//!
//! Promise: it only reads, once in an interval, however many keys are pressed. The terminal is as it
//! was when it ends, by a key or by a signal.

mod draw;
mod figures;
mod screen;

use std::io::{self, IsTerminal as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use self::draw::{View, frame};
use self::figures::{Frame, Reading};
use self::screen::{Key, Screen};
use super::api::Api;
use super::form::{self, FormArgs};
use super::node::NodeArgs;
use super::{Exit, Failure, output};
use crate::foundation::units::Span;

const EXAMPLES: &str = "\
Keys: q quits, p or space pauses, s sorts by the next column, r turns the order round, up and down (k, j)
scroll. Rates are those of the last interval.

Examples:
  tollgate top
      the node of this machine
  tollgate top --config /etc/tollgate/tollgate.toml --interval 5s --sort spool
  tollgate top --admin http://127.0.0.1:8081 --once
      one frame as plain text, as also when the output is no terminal
  tollgate top --output json | jq .requests.acceptedPerSecond

Exit codes: 0 done, 69 the node does not run or did not answer, 73 there is no token for it, 78 the
configuration or the token is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TopArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// Time between two readings.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Span,
    /// What logstores are sorted by.
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,
    /// Print one frame as plain text: two readings, one interval apart.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    form: FormArgs,
}

/// What logstores are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// Events that come in.
    #[default]
    Events,
    /// Requests that are refused.
    Refused,
    /// Bytes in memory.
    Memory,
    /// Events that wait on disk.
    Spool,
    /// Their names.
    Name,
}

impl Sort {
    fn next(self) -> Self {
        match self {
            Self::Events => Self::Refused,
            Self::Refused => Self::Memory,
            Self::Memory => Self::Spool,
            Self::Spool => Self::Name,
            Self::Name => Self::Events,
        }
    }
}

fn interval(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error| format!("{error}"))?;
    match span.get() {
        time if time < Duration::from_millis(100) => Err("at least 100ms".to_owned()),
        time if time > Duration::from_secs(3600) => Err("at most 1h".to_owned()),
        _ => Ok(span),
    }
}

pub(super) fn run(args: &TopArgs) -> Result<Exit, Failure> {
    let (config, api) = args.node.running()?;
    let api = api.ok_or_else(|| {
        let message = format!(
            "no node runs here: nothing listens at {} (admin.listen); name its private listener with --admin",
            config.admin.listen
        );
        Failure::new(Exit::Unavailable, message)
    })?;
    let pause = args.interval.get();
    let live = io::stdin().is_terminal() && io::stdout().is_terminal();
    if args.once || args.form.is_json() || !live {
        let first = Reading::take(&api)?;
        std::thread::sleep(pause);
        let second = Reading::take(&api)?;
        let found = Frame::between(&first, &second, api.base());
        return match args.form.is_json() {
            true => form::print(&found.json()),
            false => plain(&found, args.sort),
        }
        .map(|()| Exit::Success);
    }
    watch(api, args.sort, pause)
}

/// A frame for a pipe: all logstores, no colours.
fn plain(found: &Frame, sort: Sort) -> Result<(), Failure> {
    let view = View {
        sort,
        ..View::plain()
    };
    let lines = frame(found, &view);
    lines
        .iter()
        .try_for_each(|line| output::line(output::escape(line.trim_end())))
}

/// What came of a reading.
type Read = Result<Reading, String>;

/// Takes readings beside the screen, which shows keys at work while a node does not answer.
fn read(api: &Api, pause: Duration, to: &SyncSender<Read>) {
    loop {
        let begun = Instant::now();
        let reading = Reading::take(api).map_err(|failure| failure.to_string());
        // The screen is gone when nobody takes it.
        if to.send(reading).is_err() {
            return;
        }
        std::thread::sleep(pause.saturating_sub(begun.elapsed()));
    }
}

fn watch(api: Box<Api>, sort: Sort, pause: Duration) -> Result<Exit, Failure> {
    let failed = |error: io::Error| Failure::new(Exit::Internal, format!("the terminal: {error}"));
    let base = api.base().to_owned();
    // Before the thread, which is to leave signals to this one.
    let mut screen = Screen::open().map_err(failed)?;
    let (to, readings) = sync_channel(1);
    std::thread::Builder::new()
        .name("readings".to_owned())
        .spawn(move || read(&api, pause, &to))
        .map_err(failed)?;
    let mut state = Live::new(sort, readings);
    loop {
        state.take(&base);
        if state.changed {
            let (width, height) = screen.size();
            let lines = state.lines(width, height, &base);
            screen.show(&lines, width).map_err(failed)?;
            state.changed = false;
        }
        match screen.wait().map_err(failed)? {
            Some(Key::Quit) => return Ok(Exit::Success),
            Some(key) => state.press(key),
            None => {}
        }
    }
}

/// What is on the screen.
struct Live {
    readings: Receiver<Read>,
    last: Option<Reading>,
    found: Option<Frame>,
    trouble: Option<String>,
    view: View,
    paused: bool,
    changed: bool,
}

impl Live {
    fn new(sort: Sort, readings: Receiver<Read>) -> Self {
        Self {
            readings,
            last: None,
            found: None,
            trouble: None,
            view: View {
                sort,
                colours: output::colour(&io::stdout()),
                ..View::plain()
            },
            paused: false,
            changed: true,
        }
    }

    fn take(&mut self, base: &str) {
        while let Ok(read) = self.readings.try_recv() {
            match read {
                Ok(reading) => {
                    if let Some(last) = &self.last
                        && !self.paused
                    {
                        self.found = Some(Frame::between(last, &reading, base));
                    }
                    self.last = Some(reading);
                    self.trouble = None;
                }
                Err(why) => self.trouble = Some(why),
            }
            self.changed = true;
        }
    }

    fn press(&mut self, key: Key) {
        self.changed = true;
        match key {
            Key::Pause => self.paused = !self.paused,
            Key::Sort => self.view.sort = self.view.sort.next(),
            Key::Reverse => self.view.reverse = !self.view.reverse,
            Key::Up => self.view.skip = self.view.skip.saturating_sub(1),
            Key::Down => {
                let most = self.found.as_ref().map_or(0, |it| it.lanes.len());
                self.view.skip = (self.view.skip + 1).min(most.saturating_sub(1));
            }
            Key::Resized | Key::Quit => {}
        }
    }

    fn lines(&mut self, width: usize, height: usize, base: &str) -> Vec<String> {
        self.view.width = width;
        self.view.height = height;
        self.view.note = match (&self.trouble, self.paused) {
            (Some(why), _) => Some(output::escape(why)),
            (None, true) => Some("paused; p goes on".to_owned()),
            (None, false) => None,
        };
        match &self.found {
            Some(found) => frame(found, &self.view),
            None => vec![self.view.note.clone().unwrap_or_else(|| {
                format!("{base}: the first rates are there after two readings ...")
            })],
        }
    }
}
