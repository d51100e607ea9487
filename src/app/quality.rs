//! What events are held to, put together: schemas are read from their files and compiled, guards and
//! steps are made, and all of it follows a changed configuration at once or not at all.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::config::{
    ClientAddress, Config, Logstore, Problem, SchemaRule, SchemaUse, UnknownEvents,
};
use crate::event::AttachedNames;
use crate::foundation::secret::Secret;
use crate::front::{Front, Quality, SchemaJudge, StandingFront};
use crate::gate::guard::{GuardSet, StandingGuards};
use crate::gate::identity::load_or_make;
use crate::gate::schema::{
    CLIENT_ADDRESS, Mark, Options, Schema, SchemaProblem, SchemaSet, SetEntry, Speed, UnknownEvent,
};
use crate::gate::transform::{Annotation, MaskAction, TransformProblem, Transforms, UnknownMask};

use crate::telemetry::Metrics;

/// The largest file of a schema, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Why what events are held to could not be put together.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect::<Vec<_>>().join("\n"))]
pub struct QualityErrors(Vec<Problem>);

impl QualityErrors {
    /// Everything that is wrong.
    pub(super) fn problems(&self) -> &[Problem] {
        &self.0
    }
}

/// Schemas, compiled, in the order of the configuration.
type Schemas = Vec<(SchemaRule, Arc<Schema>)>;

/// What the events of each logstore are held to, and the guards that it was made with.
pub(super) struct Prepared {
    guards: GuardSet,
    of: Vec<(String, String, Quality)>,
}

/// What events are held to, of a running service.
#[derive(Debug)]
pub(super) struct QualityControl {
    guards: Arc<StandingGuards>,
    /// Keys hashes and choices of steps that name no key of their own.
    seed: Secret,
}

impl QualityControl {
    /// Guards that have seen nothing.
    pub(super) fn start(config: &Config) -> Result<Self, QualityErrors> {
        let seed = getrandom::u64().unwrap_or_else(|_| crate::foundation::clock::unix_millis());
        let kept = load_or_make(&config.data_dir, "transform");
        let kept = kept
            .map_err(|error| QualityErrors(vec![Problem::error("data_dir", error.to_string())]))?;
        let guards = StandingGuards::new(config, seed, &kept);
        let guards = guards.map_err(|error| QualityErrors(vec![guard_problem(&error)]))?;
        Ok(Self { guards, seed: kept })
    }

    /// The guards.
    pub(super) fn guards(&self) -> &Arc<StandingGuards> {
        &self.guards
    }

    /// What a changed configuration asks for, to be taken over later. Reads files.
    pub(super) fn prepare(
        &self,
        config: &Config,
        attached: &AttachedNames,
    ) -> Result<Prepared, QualityErrors> {
        let schemas = load(config).map_err(QualityErrors)?;
        let guards = self.guards.prepare(config);
        let guards = guards.map_err(|error| QualityErrors(vec![guard_problem(&error)]))?;
        let (mut of, mut problems) = (Vec::new(), Vec::new());
        for (i, project) in config.projects.iter().enumerate() {
            for (j, logstore) in project.logstores.iter().enumerate() {
                let (name, store) = (project.name.as_str(), logstore.name.as_str());
                let guards_of = guards.of(name, store);
                let steps = self.steps_of(config, logstore, &schemas, attached);
                let steps = steps.map_err(|found| {
                    let path = format!("project[{i}].logstore[{j}]");
                    let of = |it: TransformProblem| {
                        let key = format!("{path}.transform[{}].{}", it.step, it.key);
                        Problem::error(key, it.message)
                    };
                    problems.extend(found.into_iter().map(of));
                });
                let judge = logstore
                    .schema
                    .as_ref()
                    .map(|used| judge_of(used, &schemas));
                let quality = Quality::new(judge, guards_of, steps.ok(), &logstore.quarantine);
                of.push((name.to_owned(), store.to_owned(), quality));
            }
        }
        if problems.is_empty() {
            Ok(Prepared { guards, of })
        } else {
            Err(QualityErrors(problems))
        }
    }

    /// The steps of a logstore, after what its schemas mark as personal.
    fn steps_of(
        &self,
        config: &Config,
        logstore: &Logstore,
        schemas: &Schemas,
        attached: &AttachedNames,
    ) -> Result<Transforms, Vec<TransformProblem>> {
        let names = logstore.schema.iter().flat_map(|used| &used.names);
        let used = names.flat_map(|name| {
            let of_name = schemas.iter().filter(move |(rule, _)| rule.name == *name);
            of_name.map(|(_, schema)| schema)
        });
        // Words were checked when the schemas were read.
        let marks = used.flat_map(|schema| schema.marks());
        let marks = marks.filter_map(|mark| Some((mark.field.clone(), action_of(mark).ok()?)));
        let marked = Annotation::of_marks(marks);
        let steps = &logstore.transforms;
        Transforms::new(steps, &marked, &config.limits, attached, &self.seed)
    }

    /// The events of `front`, which serves next, are held to this.
    pub(super) fn take_over(&self, prepared: Prepared, front: &Front) {
        self.guards.take_over(prepared.guards);
        for (project, logstore, quality) in prepared.of {
            if !front.site().hold_to(&project, &logstore, quality) {
                tracing::error!(
                    project,
                    logstore,
                    "there is no such logstore to hold events of"
                );
            }
        }
    }

    /// Shows how guards and steps stand, of whatever front serves.
    pub(super) fn show(&self, fronts: &Arc<StandingFront>, metrics: &Metrics) {
        let guards = Arc::clone(&self.guards);
        metrics.watch_guards(move || guards.figures());
        // Not held: a front holds the metrics.
        let watched = Arc::downgrade(fronts);
        metrics.watch_transforms(move || {
            let fronts = watched.upgrade();
            fronts.map_or_else(Vec::new, |fronts| fronts.now().site().transform_figures())
        });
    }
}

fn guard_problem(error: &crate::config::PatternError) -> Problem {
    Problem::error("guards.key_pattern", error.to_string())
}

fn judge_of(used: &SchemaUse, schemas: &Schemas) -> SchemaJudge {
    let named = used.names.iter().flat_map(|name| {
        let of_name = schemas.iter().filter(move |(rule, _)| rule.name == *name);
        of_name.map(|(rule, schema)| SetEntry {
            name: rule.name.clone(),
            version: rule.version.clone(),
            event: rule.event.clone(),
            schema: Arc::clone(schema),
        })
    });
    let unknown = match used.unknown {
        UnknownEvents::Accept => UnknownEvent::Accept,
        UnknownEvents::Refuse => UnknownEvent::Refuse,
    };
    let set = SchemaSet::new(
        named.collect(),
        used.event_field.clone(),
        used.version_field.clone(),
        unknown,
    );
    SchemaJudge::new(set, used.clone())
}

/// Reads and compiles every schema. All that is wrong, otherwise.
fn load(config: &Config) -> Result<Schemas, Vec<Problem>> {
    let (mut schemas, mut problems) = (Vec::new(), Vec::new());
    for (index, rule) in config.schemas.iter().enumerate() {
        let options = Options {
            coerce: rule.coerce,
            assert_formats: rule.formats,
        };
        match load_schema(&rule.file, options) {
            Ok(schema) => schemas.push((rule.clone(), Arc::new(schema))),
            Err(found) => problems.extend(found.into_iter().map(|(message, hint)| {
                let message = format!("{}: {message}", rule.file.display());
                let mut problem = Problem::error(format!("schema[{index}].file"), message);
                problem.help = Some(hint).filter(|hint| !hint.is_empty());
                problem
            })),
        }
    }
    problems.extend(out_of_reach(config, &schemas));
    if problems.is_empty() {
        Ok(schemas)
    } else {
        Err(problems)
    }
}

/// Marks on the client's address in logstores that give it as a tag, which they would not hide.
fn out_of_reach(config: &Config, schemas: &Schemas) -> Vec<Problem> {
    let marked = schemas.iter().filter(|(_, schema)| {
        let mut marks = schema.marks().iter();
        marks.any(|mark| mark.field == CLIENT_ADDRESS)
    });
    let marked: Vec<&str> = marked.map(|(rule, _)| rule.name.as_str()).collect();
    let mut problems = Vec::new();
    for (i, project) in config.projects.iter().enumerate() {
        for (j, logstore) in project.logstores.iter().enumerate() {
            let mut names = logstore.schema.iter().flat_map(|used| &used.names);
            if logstore.client_address == ClientAddress::Tag
                && names.any(|name| marked.contains(&name.as_str()))
            {
                let key = format!("project[{i}].logstore[{j}].schema.use");
                let message =
                    "a schema marks the client's address as personal, which is a tag here";
                let mut problem = Problem::error(key, message);
                problem.help = Some("set `client_address = \"field\"` in the logstore".to_owned());
                problems.push(problem);
            }
        }
    }
    problems
}

/// What a mark of a schema asks for.
fn action_of(mark: &Mark) -> Result<MaskAction, UnknownMask> {
    mark.word.as_str().unwrap_or_default().parse()
}

/// Reads and compiles a schema.
///
/// # Errors
/// All that is wrong with it, each with what to do, which may be empty.
pub fn load_schema(path: &Path, options: Options) -> Result<Schema, Vec<(String, String)>> {
    load_schema_and_document(path, options).map(|(_, schema)| schema)
}

/// Reads and compiles a schema, and gives what stands in its file too.
///
/// # Errors
/// As [`load_schema`].
pub fn load_schema_and_document(
    path: &Path,
    options: Options,
) -> Result<(serde_json::Value, Schema), Vec<(String, String)>> {
    let one = |message: String| vec![(message, String::new())];
    let mut text = String::new();
    let file = File::open(path).map_err(|error| one(format!("cannot be read: {error}")))?;
    let read = file.take(MAX_FILE + 1).read_to_string(&mut text);
    read.map_err(|error| one(format!("cannot be read: {error}")))?;
    if text.len() as u64 > MAX_FILE {
        return Err(one("is larger than 1 MiB".to_owned()));
    }
    let document: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| one(format!("is not JSON: {error}")))?;
    let schema = Schema::compile(&document, options).map_err(told)?;
    let words = schema.marks().iter().filter_map(|mark| {
        let error = action_of(mark).err()?;
        Some(SchemaProblem {
            pointer: mark.pointer.clone(),
            message: error.to_string(),
            hint: String::new(),
        })
    });
    let mut words: Vec<SchemaProblem> = words.collect();
    // One place may mark several fields.
    words.dedup_by(|one, other| one.pointer == other.pointer);
    if words.is_empty() {
        Ok((document, schema))
    } else {
        Err(told(words))
    }
}

/// What is wrong with a schema, each with what to do.
fn told(problems: Vec<SchemaProblem>) -> Vec<(String, String)> {
    let place = |pointer: &str| match pointer {
        "" => "the schema".to_owned(),
        pointer => pointer.to_owned(),
    };
    let told = problems.into_iter();
    told.map(|it| (format!("{}: {}", place(&it.pointer), it.message), it.hint))
        .collect()
}

/// What is wrong with the files of the schemas; and of each schema, how it is checked.
#[must_use]
pub fn schema_report(config: &Config) -> (Vec<Problem>, BTreeMap<String, Speed>) {
    match load(config) {
        Err(problems) => (problems, BTreeMap::new()),
        Ok(schemas) => {
            let speeds = schemas
                .iter()
                .map(|(rule, schema)| (format!("{}@{}", rule.name, rule.version), schema.speed()));
            (Vec::new(), speeds.collect())
        }
    }
}
