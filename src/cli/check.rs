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
use crate::config::{Checked, Config, Overrides, Problem, Problems, Severity, render_host_advice};
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
    for problems in &report.warnings {
        output::note(output::problems(problems));
    }
    if !report.is_good() {
        return Err(Failure::rendered(Exit::Config, report.told()));
    }
    report.text(&args.config)?;
    if let Some(reload) = &reload {
        reload::tell(reload)?;
    }
    Ok(exit)
}

/// What is wrong with a configuration, of one kind.
#[derive(Debug)]
enum Wrong {
    /// With places in the text.
    Problems(Problems),
    /// Without.
    Texts(Vec<String>),
}

/// All that can be said of a configuration without connecting to anything.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Where the file can be read and its keys are good.
    pub(super) config: Option<Config>,
    warnings: Vec<Problems>,
    wrong: Vec<Wrong>,
    speeds: BTreeMap<String, Speed>,
}

impl Report {
    /// Reads a configuration, or the built-in one, and the files that it names.
    pub(super) fn of(path: Option<&Path>, overrides: &Overrides) -> Self {
        match source::checked(path, overrides) {
            Ok(checked) => Self::of_checked(checked),
            Err(problems) => Self {
                wrong: vec![Wrong::Problems(problems)],
                ..Self::default()
            },
        }
    }

    /// The same of a text that stands in no file. `origin` is its name in problems.
    pub(super) fn of_text(text: &str, origin: &str) -> Self {
        match Checked::parse(text, origin, &Overrides::default()) {
            Ok(checked) => Self::of_checked(checked),
            Err(problems) => Self {
                wrong: vec![Wrong::Problems(problems)],
                ..Self::default()
            },
        }
    }

    /// Reads the files that a configuration names.
    fn of_checked(checked: Checked) -> Self {
        let config = checked.config;
        let mut warnings: Vec<Problems> = checked.warnings.into_iter().collect();
        let (wrong, doubtful): (Vec<_>, Vec<_>) = certificate_problems(&config)
            .into_iter()
            .partition(|problem| problem.severity == Severity::Error);
        warnings.extend(Problems::of("", doubtful));
        let secrets = config.check_secrets();
        let (schemas, speeds) = schema_report(&config);
        // A secret that cannot be read is told once.
        let transforms = match &secrets {
            Ok(()) => Transforms::check(&config),
            Err(_) => Vec::new(),
        };
        let texts = |list: Vec<String>| (!list.is_empty()).then_some(Wrong::Texts(list));
        let trust = Trust::check(&config).err();
        let trust = trust.map(|errors| errors.0.iter().map(ToString::to_string).collect());
        let transforms = transforms.iter().map(ToString::to_string).collect();
        let found = [
            Problems::of("", wrong).map(Wrong::Problems),
            secrets.err().map(Wrong::Problems),
            trust.and_then(texts),
            Problems::of("", schemas).map(Wrong::Problems),
            texts(transforms),
        ];
        Self {
            config: Some(config),
            warnings,
            wrong: found.into_iter().flatten().collect(),
            speeds,
        }
    }

    /// Whether Tollgate starts on it, as far as it can be told.
    pub(super) fn is_good(&self) -> bool {
        self.wrong.is_empty()
    }

    fn exit(&self) -> Exit {
        match self.is_good() {
            true => Exit::Success,
            false => Exit::Config,
        }
    }

    /// How many warnings there are.
    pub(super) fn warnings(&self) -> usize {
        self.warnings.iter().map(|it| it.iter().count()).sum()
    }

    /// All that is wrong, for people.
    fn told(&self) -> String {
        let told = self.wrong.iter().map(|wrong| match wrong {
            Wrong::Problems(problems) => output::problems(problems).trim_end().to_owned(),
            Wrong::Texts(texts) => {
                let texts: Vec<String> = texts.iter().map(|it| format!("error: {it}")).collect();
                texts.join("\n\n")
            }
        });
        told.collect::<Vec<_>>().join("\n\n")
    }

    /// Each problem as JSON: severity, key, message, help, line and column.
    pub(super) fn problems(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for wrong in &self.wrong {
            match wrong {
                Wrong::Problems(problems) => all.extend(problems.iter().map(as_json)),
                Wrong::Texts(texts) => all.extend(texts.iter().map(|text| {
                    json!({
                        "severity": "error", "key": "", "message": text, "help": null,
                        "line": null, "column": null,
                    })
                })),
            }
        }
        let warnings = self.warnings.iter().flat_map(Problems::iter);
        all.extend(warnings.map(as_json));
        all
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
            "problems": self.problems(), "schemas": schemas.collect::<Vec<_>>(),
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
