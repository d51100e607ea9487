//! `tollgate check`: finds every mistake of a configuration.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failure, output, source};
use crate::app::{certificate_problems, schema_report};
use crate::config::{Checked, Overrides, Problems, Severity, render_host_advice};
use crate::gate::identity::Trust;
use crate::gate::schema::Speed;
use crate::gate::transform::Transforms;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    let checked = Checked::load(&args.config, &Overrides::default())
        .map_err(|problems| source::problems_failure(&problems))?;
    let config = &checked.config;
    let mut warnings = 0;
    if let Some(problems) = &checked.warnings {
        warnings = problems.iter().count();
        output::note(output::problems(problems));
    }
    let (wrong, doubtful): (Vec<_>, Vec<_>) = certificate_problems(config)
        .into_iter()
        .partition(|problem| problem.severity == Severity::Error);
    if let Some(problems) = Problems::of("", doubtful) {
        warnings += problems.iter().count();
        output::note(output::problems(&problems));
    }
    let secrets = config.check_secrets();
    let (schemas, speeds) = schema_report(config);
    // A secret that cannot be read is told once.
    let transforms = match &secrets {
        Ok(()) => Transforms::check(config),
        Err(_) => Vec::new(),
    };
    let transforms: Vec<String> = transforms
        .iter()
        .map(|problem| format!("error: {problem}"))
        .collect();
    let told = [
        Problems::of("", wrong).map(|problems| output::problems(&problems).trim_end().to_owned()),
        secrets
            .err()
            .map(|problems| output::problems(&problems).trim_end().to_owned()),
        Trust::check(config).err().map(|errors| {
            let errors = errors.0.iter().map(|error| format!("error: {error}"));
            errors.collect::<Vec<_>>().join("\n\n")
        }),
        Problems::of("", schemas).map(|problems| output::problems(&problems).trim_end().to_owned()),
        (!transforms.is_empty()).then(|| transforms.join("\n\n")),
    ];
    let told: Vec<String> = told.into_iter().flatten().collect();
    if !told.is_empty() {
        return Err(Failure::rendered(Exit::Config, told.join("\n\n")));
    }
    let logstores: usize = config
        .projects
        .iter()
        .map(|project| project.logstores.len())
        .sum();
    output::line(format_args!(
        "{}: good. Projects: {}, logstores: {logstores}, upstreams: {}, warnings: {warnings}.\n",
        args.config.display(),
        config.projects.len(),
        config.upstreams.len(),
    ))?;
    for (name, speed) in &speeds {
        let name = output::escape(name);
        output::line(format_args!(
            "schema {name}: {}.",
            output::escape(&told_speed(speed))
        ))?;
    }
    if !speeds.is_empty() {
        output::line("")?;
    }
    output::line(render_host_advice(config).trim_end())?;
    Ok(Exit::Success)
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
