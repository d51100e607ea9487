//! `tollgate check`: finds every mistake of a configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::admin_args::AdminArgs;
use super::form::{self, FormArgs};
use super::node::NodeArgs;
use super::{Exit, Failure, output, reload, source};
use crate::app::{ConfigView, ReloadReport, certificate_problems, differences, schema_report};
use crate::config::{Config, Examined, Overrides, Problem, Problems, Severity, render_host_advice};
use crate::gate::identity::Trust;
use crate::gate::schema::Speed;
use crate::gate::transform::Transforms;

const EXAMPLES: &str = "\
Reads the files that the configuration names: secrets, keys, certificates, schemas, policies. Connects to
nothing; `tollgate doctor` does.

Examples:
  tollgate check --config tollgate.toml
      every mistake, with its line and how to mend it
  tollgate check --config tollgate.toml --output json | jq '.problems[] | .message'

Exit codes: 0 the configuration is good (there may be warnings), 2 the command line is wrong, 78 the
configuration is.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    form: FormArgs,
    /// Say what a reload of the running node by this file would change, and what needs a restart.
    #[arg(long)]
    against_running: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    if args.admin.admin_url.is_some() && !args.against_running {
        let why = "--admin-url goes with --against-running";
        return Err(Failure::new(Exit::CommandLine, why));
    }
    let report = Report::of(Some(&args.config), &Overrides::default());
    let good = report.config.as_ref().filter(|_| report.is_good());
    let reload = good.filter(|_| args.against_running);
    let reload = reload.map(|config| against_running(args, config));
    let reload = reload.transpose()?;
    let exit = match &reload {
        Some(reload) if !reload.needs_restart.is_empty() => Exit::Partial,
        _ => report.exit(),
    };
    if args.form.is_json() {
        let mut json = report.json(&args.config);
        if let (Some(reload), Value::Object(members)) = (&reload, &mut json) {
            members.insert("reload".to_owned(), json!(reload));
        }
        form::print(&json)?;
        return Ok(exit);
    }
    match &report.problems {
        Some(problems) if !report.is_good() => return Err(source::problems_failure(problems)),
        Some(warnings) => output::note(output::problems(warnings)),
        None => {}
    }
    report.text(&args.config)?;
    if let Some(reload) = &reload {
        reload::tell(reload)?;
    }
    Ok(exit)
}

/// All that can be said of a configuration without connecting to anything.
#[derive(Debug)]
pub(super) struct Report {
    /// Where nothing is wrong with its keys.
    pub(super) config: Option<Config>,
    /// Errors and warnings.
    problems: Option<Problems>,
    good: bool,
    speeds: BTreeMap<String, Speed>,
}

impl Report {
    /// Reads a configuration, or the built-in one, and the files that it names.
    pub(super) fn of(path: Option<&Path>, overrides: &Overrides) -> Self {
        Self::of_examined(source::examined(path, overrides))
    }

    /// The same of a text that stands in no file. `origin` is its name in problems.
    pub(super) fn of_text(text: &str, origin: &str) -> Self {
        let examined = Examined::parse(text.to_owned(), origin, &Overrides::default());
        Self::of_examined(examined)
    }

    /// Reads the files that a configuration names.
    fn of_examined(mut examined: Examined) -> Self {
        let config = examined.config().cloned();
        let keys_are_good = !examined.has_errors();
        let mut speeds = BTreeMap::new();
        if let Some(config) = &config {
            examined.add(certificate_problems(config));
            let secrets = config.check_secrets();
            // A secret that cannot be read is told once.
            let transforms = match &secrets {
                Ok(()) => Transforms::check(config),
                Err(_) => Vec::new(),
            };
            let trust = Trust::check(config).err();
            let trust = trust.iter().flat_map(|errors| errors.0.iter());
            let texts = trust.map(ToString::to_string).chain(transforms);
            let texts: Vec<Problem> = texts.map(|text| told(&text)).collect();
            let (schemas, found) = schema_report(config);
            speeds = found;
            examined.add(texts);
            examined.add(secrets.err().iter().flat_map(Problems::iter).cloned());
            examined.add(schemas);
        }
        let (good, problems) = match examined.settle() {
            Ok(checked) => (true, checked.warnings),
            Err(problems) => (false, Some(problems)),
        };
        Self {
            config: config.filter(|_| keys_are_good),
            problems,
            good,
            speeds,
        }
    }

    /// Whether Tollgate starts on it, as far as it can be told.
    pub(super) fn is_good(&self) -> bool {
        self.good
    }

    fn exit(&self) -> Exit {
        match self.is_good() {
            true => Exit::Success,
            false => Exit::Config,
        }
    }

    /// How many warnings there are.
    pub(super) fn warnings(&self) -> usize {
        let all = self.problems.iter().flat_map(Problems::iter);
        all.filter(|it| it.severity == Severity::Warning).count()
    }

    /// Each problem as JSON: severity, key, message, help, line and column.
    pub(super) fn problems(&self) -> Vec<Value> {
        let all = self.problems.iter().flat_map(Problems::iter);
        all.map(as_json).collect()
    }

    fn counts(&self) -> (usize, usize, usize) {
        let Some(config) = &self.config else {
            return (0, 0, 0);
        };
        let logstores = config.projects.iter().map(|it| it.logstores.len()).sum();
        (config.projects.len(), logstores, config.upstreams.len())
    }

    fn json(&self, path: &Path) -> Value {
        let (projects, logstores, upstreams) = self.counts();
        let speeds = self.speeds.iter();
        let schemas = speeds.map(|(name, it)| json!({"name": name, "check": told_speed(it)}));
        json!({
            "file": path.display().to_string(), "ok": self.is_good(),
            "projects": projects, "logstores": logstores, "upstreams": upstreams,
            "problems": self.problems(), "complete": self.problems.as_ref().is_none_or(Problems::are_all),
            "schemas": schemas.collect::<Vec<_>>(),
        })
    }

    fn text(&self, path: &Path) -> Result<(), Failure> {
        let Some(config) = &self.config else {
            return Ok(());
        };
        let (projects, logstores, upstreams) = self.counts();
        output::line(format_args!(
            "{}: good. Projects: {projects}, logstores: {logstores}, upstreams: {upstreams}, warnings: {}.\n",
            path.display(),
            self.warnings(),
        ))?;
        for (name, speed) in &self.speeds {
            let name = output::escape(name);
            output::line(format_args!(
                "schema {name}: {}.",
                output::escape(&told_speed(speed))
            ))?;
        }
        if !self.speeds.is_empty() {
            output::line("")?;
        }
        output::line(render_host_advice(config).trim_end())
    }
}

/// A sentence of others on a configuration, which begins with the key where it has one.
fn told(text: &str) -> Problem {
    match text.split_once([' ', ':']) {
        Some((key, message)) if is_key(key) => Problem::error(key, message.trim_start()),
        _ => Problem::error("", text),
    }
}

fn is_key(text: &str) -> bool {
    let in_key = |c: char| c.is_ascii_alphanumeric() || "_.[]-".contains(c);
    text.contains(['.', '[']) && text.chars().all(in_key)
}

fn as_json(problem: &Problem) -> Value {
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let place = problem.place.as_ref();
    json!({
        "severity": severity, "key": problem.key, "message": problem.message,
        "help": problem.help, "line": place.map(|it| it.line),
        "column": place.map(|it| it.column),
    })
}

/// Says what differs from what is in force on the running node.
fn against_running(args: &CheckArgs, config: &Config) -> Result<ReloadReport, Failure> {
    let node = NodeArgs::of(Some(args.config.clone()), None, args.admin.clone());
    let (_, api) = node.running()?;
    let api = api.ok_or_else(|| {
        let message = format!("no node listens at {}", config.admin.listen);
        Failure::new(Exit::Unavailable, message)
    })?;
    let ConfigView {
        generation,
        config: running,
        overridden,
    } = api.config()?;
    let found = differences(&running, config, &overridden);
    let (changed, needs_restart) = found.ok_or_else(|| {
        let message =
            "the node runs another version of Tollgate: its configuration has other sections";
        Failure::new(Exit::Unavailable, message)
    })?;
    let message = match (changed.len(), needs_restart.len()) {
        (0, 0) => format!("nothing differs from generation {generation}, which is in force"),
        (live, 0) => format!("a reload would change {live} keys"),
        (live, fixed) => {
            format!("a reload would be refused: {fixed} keys need a restart; {live} do not")
        }
    };
    Ok(ReloadReport {
        generation,
        dry_run: true,
        changed,
        needs_restart,
        warnings: Vec::new(),
        message,
    })
}

/// How a schema is checked, in the words of docs/schema.md.
fn told_speed(speed: &Speed) -> String {
    match speed {
        Speed::Fast => "checked in one pass".to_owned(),
        Speed::FieldsByTree(fields) => {
            let fields = fields.join(", ");
            format!("checked in one pass, with a tree of values for some values of: {fields}")
        }
        Speed::Tree(keywords) => {
            let keywords = keywords.join(", ");
            format!("checked on a tree of each event, which is slower, because of {keywords}")
        }
    }
}
