//! `tollgate send`: events of a file through the front.
//!
//! Promise: the input is streamed, memory does not grow with it, and every event that was read is
//! in the summary once: accepted, refused with a reason, or not sent. When the service is busy the
//! reader waits. Not here: SLS signatures; what is sent goes by the web-tracking route.

mod batch;
mod deliver;
mod job;
mod lines;
mod pace;
mod post;
mod report;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod token;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use http::Uri;

use self::job::Job;
use super::form::{self, Form, FormArgs};
use super::source::{ConfigSource, secret};
use super::{Exit, Failure, output};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::secret::Secret;

const EXAMPLES: &str = "\
Examples:
  tollgate send events.ndjson
      send to the service on this machine, with a token of the key in its data directory
  tollgate tail --output json -n 1000 | tollgate send - --logstore anonymous-demo
      copy events from one logstore to another
  tollgate send events.ndjson --rate 50 --topic replay --tag run=7
      50 events a second, with a topic and a tag
  TOLLGATE_TOKEN=eyJ... tollgate send events.ndjson --url https://logs.example.com \\
      --project shop --logstore web
      send to another machine

A line is one event: {\"event\":\"click\",\"page\":\"/home\"}. Blank lines are skipped.
A request that is refused for its content is sent again by halves, so that the bad events are told
by line number and the others are accepted. After a connection that broke, events may arrive twice.

Exit codes: 0 all events were accepted, 1 not all of them, 69 the service cannot be reached.
";

/// Send events through the front, from a file of one JSON object a line.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SendArgs {
    /// File of one JSON object a line, or `-` for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    source: ConfigSource,
    /// Project to write to. Without it: the first of the configuration.
    #[arg(long)]
    project: Option<ProjectName>,
    /// Logstore to write to. Without it: the first of the project.
    #[arg(long)]
    logstore: Option<LogstoreName>,
    /// Address of the service. Without it: ingest.listen of the configuration.
    #[arg(long)]
    url: Option<Uri>,
    /// Token to send. Better given in the environment, where other users cannot see it. Without it:
    /// one made with the key in the data directory, when that is there. With --url that is done
    /// only when --config or --data-dir is given too.
    #[arg(long, env = "TOLLGATE_TOKEN", hide_env_values = true, value_parser = secret)]
    token: Option<Secret>,
    /// Events of one request, at most.
    #[arg(long, value_name = "EVENTS", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: u16,
    /// Events a second, at most. Requests are then made smaller, so that about ten go in a second.
    #[arg(long, value_name = "EVENTS_PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
    /// Topic of the events.
    #[arg(long)]
    topic: Option<String>,
    /// Source of the events.
    #[arg(long = "source", value_name = "SOURCE")]
    source_field: Option<String>,
    /// Tag of the events. May be given several times.
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Requests on their way at once. With 1, events arrive in the order of the lines.
    #[arg(long, value_name = "REQUESTS", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// Attempts for a request while the service is busy or restarting.
    #[arg(long, value_name = "ATTEMPTS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    tries: u32,
    #[command(flatten)]
    form: FormArgs,
}

fn rate(text: &str) -> Result<f64, &'static str> {
    let rate: Option<f64> = text.parse().ok();
    rate.filter(|rate| rate.is_finite() && *rate > 0.0)
        .ok_or("a rate is a number above 0")
}

fn tag(text: &str) -> Result<(String, String), &'static str> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or("a tag is written KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) fn run(args: &SendArgs) -> Result<Exit, Failure> {
    let config = args.source.load()?;
    let job = Job::new(args, &config)?;
    let (input, length) = open(&args.file).map_err(|error| {
        Failure::new(
            Exit::Partial,
            format!("cannot read {}: {error}", args.file.display()),
        )
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Internal, error))?;
    let (summary, result) = runtime.block_on(job.conduct(input, length))?;
    match args.form.output {
        Form::Json => form::print(&summary.json())?,
        Form::Text => output::line(summary.text())?,
    }
    result
}

/// Opens the input; of a file, its length is known.
fn open(path: &Path) -> io::Result<(Box<dyn Read + Send>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), None));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let length = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(file), length))
}
