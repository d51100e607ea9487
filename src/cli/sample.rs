//! `tollgate sample`: the requests that a running node keeps, with what became of them.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::Value;

use super::form::Form;
use super::node::NodeArgs;
use super::{Exit, Failure, moment, output};
use crate::app::{EventReader, TextForm};
use crate::config::Config;
use crate::event::{EventFields, SampledBody, SampledRequest};

const EXAMPLES: &str = "\
Examples:
  tollgate sample > sample.ndjson            all that is kept, to be replayed later
  tollgate sample --reason schema_invalid    requests that were refused for that
  tollgate sample --output text              a line for each
  tollgate sample --events | tollgate schema infer -
      the events of what was taken, to propose a schema from

Secrets are not in the sample. Exit codes: 0 told, 69 the node cannot be reached, 78 the configuration
is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SampleArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// Only the last so many.
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<usize>,
    /// Only requests to this logstore.
    #[arg(long, value_name = "NAME")]
    logstore: Option<String>,
    /// Only requests that were refused for this reason; `none` for those that were taken.
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// The events of the requests, one a line, in the place of the requests.
    #[arg(long, conflicts_with = "output")]
    events: bool,
    /// Form of the results; `json` is what `replay` and `explain` read.
    #[arg(
        long,
        alias = "format",
        value_enum,
        default_value = "json",
        value_name = "FORM"
    )]
    output: Form,
}

impl SampleArgs {
    fn takes(&self, request: &SampledRequest) -> bool {
        let verdict = &request.verdict;
        let of_logstore = |wanted: &String| {
            let named = verdict.logstore.as_ref();
            named.is_some_and(|(_, name)| name == wanted)
        };
        let for_reason = |wanted: &String| match wanted.as_str() {
            "none" => verdict.reason.is_none(),
            wanted => verdict.reason.as_deref() == Some(wanted),
        };
        self.logstore.as_ref().is_none_or(of_logstore)
            && self.reason.as_ref().is_none_or(for_reason)
    }
}

pub(super) fn run(args: &SampleArgs) -> Result<Exit, Failure> {
    let (config, node) = args.node.find()?;
    let lines = node.sample()?;
    let mut requests = Vec::new();
    for line in lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let request = read(line)?;
        if args.takes(&request) {
            requests.push((line, request));
        }
    }
    let skipped = args
        .count
        .map_or(0, |count| requests.len().saturating_sub(count));
    let chosen = requests.into_iter().skip(skipped);
    if args.events {
        return events(chosen.map(|(_, request)| request), &config);
    }
    match args.output {
        Form::Json => {
            let mut out = std::io::stdout().lock();
            for (line, _) in chosen {
                output::written(out.write_all(line).and_then(|()| out.write_all(b"\n")))?;
            }
        }
        Form::Text => {
            let head = [
                "time",
                "request",
                "status",
                "reason",
                "client",
                "credential",
                "logstore",
                "events",
            ];
            output::table(&head, chosen.map(|(_, request)| row(&request)).collect())?;
        }
    }
    Ok(Exit::Success)
}

/// A line of the sample.
///
/// # Errors
/// When it is none.
pub(super) fn read(line: &[u8]) -> Result<SampledRequest, Failure> {
    serde_json::from_slice(line).map_err(|error| {
        Failure::new(
            Exit::CommandLine,
            format!("this is no line of a sample: {error}"),
        )
    })
}

fn row(request: &SampledRequest) -> Vec<String> {
    let verdict = &request.verdict;
    let credential = request.credential.as_ref();
    let logstore = verdict.logstore.as_ref();
    vec![
        moment::format(request.time / 1000),
        request.id.clone(),
        verdict.status.to_string(),
        verdict.reason.clone().unwrap_or_else(|| "-".to_owned()),
        request.client.to_string(),
        credential.map_or_else(
            || "-".to_owned(),
            |it| match &it.name {
                Some(name) => format!("{} {name}", it.kind),
                None => it.kind.clone(),
            },
        ),
        logstore.map_or_else(
            || "-".to_owned(),
            |(project, name)| format!("{project}/{name}"),
        ),
        verdict.events.to_string(),
    ]
}

/// The events of requests of web tracking, one a line.
fn events(
    requests: impl Iterator<Item = SampledRequest>,
    config: &Config,
) -> Result<Exit, Failure> {
    let reader = EventReader::new(&config.limits);
    let mut reader = reader.with_token_parameter(&config.identity.query_parameter);
    let mut left_out = 0;
    for request in requests {
        match events_of(&request, &mut reader) {
            Some(events) => events.iter().try_for_each(output::line)?,
            None => left_out += 1,
        }
    }
    if left_out > 0 {
        output::note(format_args!(
            "note: {left_out} requests without events in the sample are left out"
        ));
    }
    Ok(Exit::Success)
}

/// The events of one request: those of JSON as they came, others as texts. `None`: it holds none that
/// can be read.
fn events_of(request: &SampledRequest, reader: &mut EventReader) -> Option<Vec<Value>> {
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    if request.method == "GET" {
        let is_track = path.contains("/logstores/");
        return is_track.then(|| read_by(reader, query.as_bytes(), TextForm::Query))?;
    }
    // Only where a LogGroup may come too the type is asked: it may begin as JSON does.
    let takes_groups = path
        .rsplit_once("/logstores/")
        .is_some_and(|(_, rest)| !rest.contains('/') || rest.contains("/shards/"));
    let says_json = || {
        let mut headers = request.headers.iter();
        headers.any(|(name, value)| {
            name == "content-type" && value.to_ascii_lowercase().starts_with("application/json")
        })
    };
    match &request.body {
        SampledBody::Text(text) if !takes_groups || text.starts_with('{') || says_json() => {
            json_events(text, path.contains("/v1/events/"))
        }
        SampledBody::Text(text) => read_by(reader, text.as_bytes(), TextForm::LogGroup),
        SampledBody::Base64(text) => {
            let bytes = STANDARD.decode(text).ok()?;
            read_by(reader, &bytes, TextForm::LogGroup)
        }
        SampledBody::LeftOut(_) => None,
    }
}

/// Events of JSON: in `__logs__`, in an array, and where `plain` is, each value by itself.
fn json_events(text: &str, plain: bool) -> Option<Vec<Value>> {
    let mut events = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        match value.ok()? {
            Value::Array(values) => events.extend(values),
            value if plain => events.push(value),
            mut body => match body.get_mut("__logs__")?.take() {
                Value::Array(values) => events.extend(values),
                _ => return None,
            },
        }
    }
    Some(events)
}

/// Events as the service reads them.
fn read_by(reader: &mut EventReader, bytes: &[u8], form: TextForm) -> Option<Vec<Value>> {
    let mut events = Vec::new();
    let mut look = |_: u32, event: EventFields<'_>| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields = event.iter();
        let fields = fields.map(|field| (text(field.name), Value::String(text(field.value))));
        events.push(Value::Object(fields.collect()));
    };
    reader.read(bytes, form, &mut look).ok()?;
    Some(events)
}
