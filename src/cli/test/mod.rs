//! `tollgate test`: unit tests of policy, in files that operators write.
//!
//! Promise: each request is answered by the code that answers clients (`app::Trial`), on a service of its
//! own for each test. Nothing is stored, nothing is sent, and no secret is needed.

mod credential;
mod file;
mod outcome;
mod prepare;
mod report;
mod request;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::Args;

use self::file::TestFile;
use self::outcome::{Unmet, unmet};
use self::prepare::{Prepared, prepare};
use self::report::Tally;
use super::form::FormArgs;
use super::run::start_failure;
use super::signals::until_stopped;
use super::{Exit, Failure, output, source};
use crate::app::{Trial, TrialAnswer, TrialSetup};
use crate::config::{Config, Document, DocumentForm, Overrides};

const EXAMPLES: &str = "\
Examples:
  tollgate test policy-tests.toml
      each test, and what came of those that fail
  tollgate test --config new.toml policy-tests.toml
      do the same tests hold for another configuration?
  tollgate test tests/*.toml --filter quota --output json
      some tests, as one JSON object for each

What a file holds is told in docs/testing.md. A test needs no secret and no network: credentials are made
up, and a secret that cannot be read has a stand-in.

Exit codes: 0 all tests hold, 1 not all of them, 2 the command line is wrong, 78 a file or its
configuration is; then all that is wrong with it is told, and no test is run.
";

/// The largest file of tests, in bytes.
const MAX_FILE: u64 = 1 << 20;

static FORM: LazyLock<DocumentForm> = LazyLock::new(DocumentForm::of::<TestFile>);

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TestArgs {
    /// Files of tests.
    #[arg(required = true, value_name = "TESTS")]
    files: Vec<PathBuf>,
    /// Configuration file, in the place of those that the files name.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Run only tests with this in their names.
    #[arg(long, value_name = "WORD")]
    filter: Option<String>,
    #[command(flatten)]
    form: FormArgs,
}

/// A file that was read, and the configuration that it tests.
struct Loaded {
    path: PathBuf,
    document: Document<TestFile>,
    config: Option<PathBuf>,
}

/// The request at which a test failed.
struct Failed {
    /// Which request of the test, from 1.
    request: usize,
    /// Which time that it was sent, from 1.
    repetition: u32,
    unmet: Vec<Unmet>,
    answer: TrialAnswer,
}

pub(super) fn run(args: &TestArgs) -> Result<Exit, Failure> {
    let loaded = load(args)?;
    let configs = configurations(&loaded)?;
    let (mut tests, mut wrong) = (Vec::new(), Vec::new());
    for file in &loaded {
        let folder = file.path.parent().unwrap_or(Path::new(""));
        let Some(config) = configs.get(&file.config) else {
            continue;
        };
        match prepare(&file.document, folder, config) {
            Ok(prepared) => tests.extend(prepared.into_iter().map(|it| (file, config, it))),
            Err(problems) => wrong.push(output::problems(&problems)),
        }
    }
    if !wrong.is_empty() {
        return Err(Failure::rendered(Exit::Config, wrong.join("\n")));
    }
    if let Some(word) = &args.filter {
        tests.retain(|(_, _, test)| test.test.name.contains(word.as_str()));
        if tests.is_empty() {
            let message = format!("no test has `{}` in its name", output::escape(word));
            return Err(Failure::new(Exit::CommandLine, message));
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Internal, error))?;
    let mut tally = Tally::new(args.form.output);
    let mut stand_ins = BTreeSet::new();
    for (file, config, test) in &tests {
        let failed = runtime.block_on(until_stopped(try_out(config, test, &mut stand_ins)))?;
        tally.test(file.document.origin(), test, failed.as_ref())?;
    }
    tally.end()
}

/// Reads the files.
///
/// # Errors
/// Everything that is wrong with the keys of all of them.
fn load(args: &TestArgs) -> Result<Vec<Loaded>, Failure> {
    let (mut loaded, mut wrong) = (Vec::new(), Vec::new());
    for path in &args.files {
        let origin = path.display().to_string();
        let document = match read(path) {
            Ok(text) => Document::<TestFile>::parse(&FORM, text, &origin)
                .map_err(|problems| output::problems(&problems)),
            Err(why) => Err(format!("error: {}: {why}", output::escape(&origin))),
        };
        match document {
            Ok(document) => {
                let folder = path.parent().unwrap_or(Path::new(""));
                let own = document.value.config.as_ref().map(|it| folder.join(it));
                loaded.push(Loaded {
                    path: path.clone(),
                    config: args.config.clone().or(own),
                    document,
                });
            }
            Err(told) => wrong.push(told),
        }
    }
    match wrong.is_empty() {
        true => Ok(loaded),
        false => Err(Failure::rendered(Exit::Config, wrong.join("\n"))),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot read the file: {error}");
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes);
    read.map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err("a file of tests has at most 1 MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("the file is not UTF-8, from byte {at} on")
    })
}

/// Each configuration that is tested, read once.
fn configurations(loaded: &[Loaded]) -> Result<BTreeMap<Option<PathBuf>, Config>, Failure> {
    let mut configs = BTreeMap::new();
    for file in loaded {
        if !configs.contains_key(&file.config) {
            let config = source::load(file.config.as_deref(), &Overrides::default())?;
            configs.insert(file.config.clone(), config);
        }
    }
    Ok(configs)
}

/// Sends the requests of a test, until one of them is not answered as expected.
async fn try_out(
    config: &Config,
    test: &Prepared<'_>,
    told: &mut BTreeSet<String>,
) -> Result<Option<Failed>, Failure> {
    let setup = TrialSetup {
        data_dir: None,
        limits: true,
        fetch: false,
        stand_ins: true,
    };
    let started = Trial::start(config, setup).await;
    let mut trial = started.map_err(|error| start_failure(&error))?;
    let stand_ins = trial.stand_ins().iter();
    let new: Vec<&str> = stand_ins
        .filter(|key| told.insert((*key).clone()))
        .map(String::as_str)
        .collect();
    if !new.is_empty() {
        let keys = new.join(", ");
        output::note(format_args!("note: these have a stand-in: {keys}"));
    }
    let last = test.requests.len();
    for (number, request) in (1..).zip(&test.requests) {
        let own = request.spec.expect.as_ref();
        for repetition in 1..=request.spec.repeat {
            let later = request.step.saturating_mul(u64::from(repetition - 1));
            let at = request.first.saturating_add(later);
            let answer = trial.ask(request.request.clone().at(at)).await;
            let is_last = number == last && repetition == request.spec.repeat;
            let whole = test.test.expect.as_ref().filter(|_| is_last);
            let expected = own.into_iter().chain(whole);
            let unmet: Vec<Unmet> = expected.flat_map(|it| unmet(it, &answer)).collect();
            if !unmet.is_empty() {
                return Ok(Some(Failed {
                    request: number,
                    repetition,
                    unmet,
                    answer,
                }));
            }
        }
    }
    Ok(None)
}
