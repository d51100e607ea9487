//! `tollgate explain`: what would become of a request, stage by stage, and why.
//!
//! The request is tried out by the code that answers clients (`app::Trial`). Nothing is stored, charged
//! or remembered, and nothing is sent anywhere, but for the sets of keys of `jwks_url`.

mod curl;
mod live;
mod raw;

use std::net::IpAddr;
use std::path::Path;

use clap::Args;

use super::admin_args::LiveArgs;
use super::form::{Form, FormArgs};
use super::signals::run_until_stopped;
use super::source::ConfigSource;
use super::{Exit, Failure, input, moment, output, traced};
use crate::app::{Trial, TrialAnswer, TrialRequest, TrialSetup, existing_data_dir};
use crate::event::SampledRequest;

const EXAMPLES: &str = "\
Examples:
  tollgate explain http://127.0.0.1:8080/logstores/web-tracking-logstore/track \\
      -H 'Authorization: Bearer ...' -d '{\"__logs__\":[{\"event\":\"view\"}]}'
      a request as curl would send it: put `tollgate explain` in the place of `curl`
  tollgate explain request.http
      a request as it stands on the wire, head and body
  tollgate sample -n 1 | tollgate explain -
      a request of the sample (docs/replay.md)
  tollgate explain --admin http://127.0.0.1:8081 request.http
      by what is in force on a running node, whatever its configuration file says by now

Limits begin with nothing used; revocations, tickets and bans are those of the data directory, which is
only read. Exit codes: 0 it would be taken, 1 it would be refused, 2 the command line or the request is
wrong, 69 the node did not answer, 78 the configuration is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    source: ConfigSource,
    /// A URL; or a file, `-` for standard input, with a request as it stands on the wire or a line of
    /// the sample.
    #[arg(value_name = "URL|FILE")]
    what: String,
    /// With a URL: the method; without it POST when there is data, else GET.
    #[arg(short = 'X', long, value_name = "METHOD")]
    request: Option<String>,
    /// With a URL: a header, as `Name: value`.
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// With a URL: the body; `@FILE` reads it from a file.
    #[arg(
        short = 'd',
        long = "data",
        visible_alias = "data-binary",
        value_name = "DATA|@FILE"
    )]
    data: Option<String>,
    /// With a URL: the body, whatever it begins with.
    #[arg(long, value_name = "DATA", conflicts_with = "data")]
    data_raw: Option<String>,
    /// Address that the request comes from.
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// The request comes encrypted.
    #[arg(long)]
    tls: bool,
    /// When it comes: a time, or `now`.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    at: Option<u64>,
    #[command(flatten)]
    live: Box<LiveArgs>,
    #[command(flatten)]
    form: FormArgs,
}

/// The largest request that is read, in bytes.
const MAX_REQUEST: u64 = 64 << 20;

/// A request to be explained, and how it is shown.
struct Asked {
    request: TrialRequest,
    shown: String,
    /// Its proof is taken as given.
    recorded: bool,
    /// Why the rest cannot be told.
    bodyless: Option<String>,
}

pub(super) fn run(args: &ExplainArgs) -> Result<Exit, Failure> {
    let config = args.source.load()?;
    if let Some(api) = args.live.node(&config)? {
        return live::explain(&api, args);
    }
    let asked = asked(args)?;
    let data_dir = existing_data_dir(&config);
    let setup = TrialSetup {
        data_dir: data_dir.as_deref(),
        limits: true,
        fetch: !asked.recorded,
        stand_ins: asked.recorded,
    };
    let answer = run_until_stopped(async {
        let started = Trial::start(&config, setup).await;
        let mut trial = started.map_err(|error| Failure::new(Exit::Config, error))?;
        Ok(trial.ask(asked.request).await)
    })?;
    match args.form.output {
        Form::Json => output::line(traced::as_json(&answer))?,
        Form::Text => show(&asked.shown, asked.bodyless.as_deref(), &answer)?,
    }
    Ok(match answer.status.is_success() {
        true => Exit::Success,
        false => Exit::Partial,
    })
}

fn show(shown: &str, bodyless: Option<&str>, answer: &TrialAnswer) -> Result<(), Failure> {
    output::line(output::escape(shown))?;
    traced::print(&answer.traced)?;
    // What no stage has told of says it in its head.
    let in_head = || answer.headers.get("x-tollgate-reason")?.to_str().ok();
    let reason = answer.reason.map(|it| it.label()).or_else(in_head);
    let reason = reason.map(|it| format!(", {}", output::escape(it)));
    let taken = if answer.status.is_success() {
        "taken"
    } else {
        "refused"
    };
    output::line(format_args!(
        "{taken}: {}{}",
        answer.status,
        reason.unwrap_or_default()
    ))?;
    if let Some(why) = bodyless {
        output::note(format_args!(
            "note: the body is not in the sample ({why}); it is taken as empty"
        ));
    }
    for (project, logstore, group) in &answer.stored {
        let tags = traced::tags(group);
        output::line(format_args!(
            "to {project}/{logstore}, topic `{}`, source `{}`, tags {}:",
            output::escape(&traced::text(group.topic())),
            output::escape(&traced::text(group.source())),
            output::escape_json(&tags.to_string()),
        ))?;
        for event in traced::events(group) {
            output::line(format_args!(
                "  {}",
                output::escape_json(&event.to_string())
            ))?;
        }
    }
    Ok(())
}

fn asked(args: &ExplainArgs) -> Result<Asked, Failure> {
    match given(args)? {
        Given::Written(request) => written(args, request),
        Given::Recorded(bytes) => recorded(args, &bytes),
    }
}

/// What the command line names.
enum Given {
    Written(Written),
    /// A line of the sample.
    Recorded(Vec<u8>),
}

fn given(args: &ExplainArgs) -> Result<Given, Failure> {
    let wrong = |why: String| Failure::new(Exit::CommandLine, why);
    let is_url = args.what.starts_with("http://") || args.what.starts_with("https://");
    if is_url {
        let data = match args.data.as_deref() {
            Some(data) => Some(match data.strip_prefix('@') {
                Some(path) => input::whole(Path::new(path), MAX_REQUEST)?,
                None => data.as_bytes().to_vec(),
            }),
            None => args.data_raw.as_ref().map(|data| data.as_bytes().to_vec()),
        };
        let request = curl::request(&args.what, args.request.as_deref(), &args.headers, data);
        return request.map(Given::Written).map_err(wrong);
    }
    let given = args.data.is_some() || args.data_raw.is_some();
    if args.request.is_some() || given || !args.headers.is_empty() {
        return Err(wrong(
            "-X, -H and -d go with a URL; a file holds all of its request".to_owned(),
        ));
    }
    let bytes = input::whole(Path::new(&args.what), MAX_REQUEST)?;
    if bytes.trim_ascii_start().first() == Some(&b'{') {
        return Ok(Given::Recorded(bytes));
    }
    raw::request(&bytes).map(Given::Written).map_err(wrong)
}

/// A request that somebody wrote.
struct Written {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    secure: bool,
}

fn written(args: &ExplainArgs, written: Written) -> Result<Asked, Failure> {
    let address = args.from.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let shown = format!("{} {} from {address}", written.method, written.target);
    let secure = args.tls || written.secure;
    let request = TrialRequest::new(
        &written.method,
        &written.target,
        &written.headers,
        written.body.into(),
    );
    let request = request.map_err(|error| Failure::new(Exit::CommandLine, error))?;
    let request = request.from(address, secure);
    Ok(Asked {
        request: match args.at {
            Some(at) => request.at(at.saturating_mul(1000)),
            None => request,
        },
        shown,
        recorded: false,
        bodyless: None,
    })
}

/// A line of the sample: the first, where there are several.
fn recorded(args: &ExplainArgs, bytes: &[u8]) -> Result<Asked, Failure> {
    let mut lines = serde_json::Deserializer::from_slice(bytes).into_iter::<SampledRequest>();
    let sampled = match lines.next() {
        Some(Ok(sampled)) => sampled,
        Some(Err(error)) => {
            let message = format!("this is no line of the sample: {error}");
            return Err(Failure::new(Exit::CommandLine, message));
        }
        None => return Err(Failure::new(Exit::CommandLine, "there is no request")),
    };
    if lines.next().is_some() {
        output::note("note: this is the first of several; `tollgate replay` tries all of them out");
    }
    let mut sampled = sampled;
    sampled.client = args.from.unwrap_or(sampled.client);
    sampled.secure |= args.tls;
    if let Some(at) = args.at {
        sampled.time = at.saturating_mul(1000);
    }
    let shown = format!(
        "{} {} from {}, {}",
        sampled.method,
        sampled.target,
        sampled.client,
        moment::format(sampled.time / 1000)
    );
    let recorded = TrialRequest::recorded(&sampled);
    let (request, bodyless) = recorded.map_err(|error| Failure::new(Exit::CommandLine, error))?;
    Ok(Asked {
        request,
        shown,
        recorded: true,
        bodyless,
    })
}
