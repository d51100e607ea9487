//! `tollgate policy`: what a policy says to a request.
//!
//! Promise: the decision is made by the code that the service decides with. Nothing else of a
//! request is checked: credentials, origins and quotas have their own say.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::form::{self, Form, FormArgs};
use super::{Exit, Failure, output};
use crate::foundation::clock;
use crate::gate::policy::{
    ActionName, ConditionKey, Context, Decider, Decision, Denial, Fact, FactKind, Policies, Policy,
    PolicyKind, Question, decide_without_identity, parse_time,
};

const EXAMPLES: &str = "\
Examples:
  tollgate policy test --policy write-web.json --action log:PutLogs \\
      --resource acs:log:*:*:project/shop/logstore/web
      may the holder of this policy write to the logstore?
  tollgate policy test --policy role.json --session device.json --action log:PutLogs \\
      --resource acs:log:*:*:project/shop/logstore/web --context tollgate:Topic=d-001
      and with a session policy, when the events have this topic?
  tollgate policy test --project-policy office-only.json --action log:PutWebTracking \\
      --resource acs:log:*:*:project/shop/logstore/web --context acs:SourceIp=203.0.113.7
      does the project's policy deny this to callers who have no policies of their own?

What --context does not give is absent; the topic and the source are then empty, and the time is now.

Exit codes: 0 allowed, 1 denied, 2 the command line is wrong, 78 a document is wrong.
";

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Say whether policies allow a request, and which statement decides.
    Test(TestArgs),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TestArgs {
    /// Policy of an access key or a role. May be given several times. Without it: the caller has no
    /// policies (a token, a ticket, nobody in particular), and only the project's can deny.
    #[arg(long, value_name = "FILE", required_unless_present = "project_policy")]
    policy: Vec<PathBuf>,
    /// Session policy, as given to AssumeRole.
    #[arg(long, value_name = "FILE", requires = "policy")]
    session: Option<PathBuf>,
    /// Policy of the project.
    #[arg(long, value_name = "FILE")]
    project_policy: Option<PathBuf>,
    /// What is asked: log:PutLogs, log:WebTracking (GET), log:PutWebTracking (POST).
    #[arg(long)]
    action: String,
    /// On what: acs:log:{region}:{account}:project/{project}/logstore/{logstore}.
    #[arg(long)]
    resource: String,
    /// A fact, such as acs:SourceIp=203.0.113.7 or tollgate:Tag/device=d-001. May be given several
    /// times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = given)]
    context: Vec<Given>,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) fn run(command: &PolicyCommand) -> Result<Exit, Failure> {
    let PolicyCommand::Test(args) = command;
    let facts = Facts::new(&args.context);
    let documents = load(args)?;
    let of_kind = |kind| {
        documents
            .iter()
            .map(|d| &d.policy)
            .filter(move |p| p.kind() == kind)
    };
    let identity: Vec<Arc<Policy>> = of_kind(PolicyKind::Identity).cloned().collect();
    let project = of_kind(PolicyKind::Project).next().map(AsRef::as_ref);
    let policies = Policies {
        identity: &identity,
        session: of_kind(PolicyKind::Session).next().map(AsRef::as_ref),
        project,
    };
    let question = Question {
        action: &ActionName::new(&args.action),
        resource: &args.resource,
        context: &facts,
    };
    let decision = match identity.is_empty() {
        true => decide_without_identity(project, &question),
        false => policies.decide(&question),
    };
    let exit = match args.form.output {
        Form::Json => tell_json(&decision)?,
        Form::Text => tell(&decision, &documents)?,
    };
    facts.note_absent();
    Ok(exit)
}

/// A document as it was read.
struct Document {
    text: String,
    policy: Arc<Policy>,
}

/// Reads every document.
///
/// # Errors
/// Everything that is wrong with any of them.
fn load(args: &TestArgs) -> Result<Vec<Document>, Failure> {
    let identity = args.policy.iter().map(|path| (PolicyKind::Identity, path));
    let session = args.session.iter().map(|path| (PolicyKind::Session, path));
    let project = args
        .project_policy
        .iter()
        .map(|path| (PolicyKind::Project, path));
    let (mut documents, mut errors) = (Vec::new(), String::new());
    for (kind, path) in identity.chain(session).chain(project) {
        match read(kind, path) {
            Ok(document) => {
                for warning in document.policy.warnings().to_string().lines() {
                    output::note(format_args!("warning: {}: {warning}", path.display()));
                }
                documents.push(document);
            }
            Err(problems) => {
                for problem in problems.lines() {
                    let line_break = if errors.is_empty() { "" } else { "\n" };
                    let written =
                        write!(errors, "{line_break}error: {}: {problem}", path.display());
                    debug_assert!(written.is_ok(), "a String takes everything");
                }
            }
        }
    }
    match errors.is_empty() {
        true => Ok(documents),
        false => Err(Failure::rendered(Exit::Config, errors)),
    }
}

fn read(kind: PolicyKind, path: &Path) -> Result<Document, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let name = path.display().to_string();
    let policy = Policy::parse(kind, &name, &text).map_err(|problems| problems.to_string())?;
    Ok(Document {
        text,
        policy: Arc::new(policy),
    })
}

fn tell(decision: &Decision<'_>, documents: &[Document]) -> Result<Exit, Failure> {
    let show = |by: Decider<'_>| output::line(statement(by, documents));
    match decision {
        Decision::Allowed(grant) => {
            match grant.by {
                Some(by) => {
                    output::line(format_args!("allowed: {by} allows it"))?;
                    show(by)?;
                }
                None => output::line("allowed: no statement of the project's policy denies it")?,
            }
            if let Some(by) = grant.session {
                output::line(format_args!("and {by} allows it"))?;
                show(by)?;
            }
            Ok(Exit::Success)
        }
        Decision::Denied(denial) => {
            output::line(format_args!("denied: {denial}"))?;
            if let Denial::Explicit(_, by) = denial {
                show(*by)?;
            }
            Ok(Exit::Partial)
        }
        Decision::NeedsBody => Err(Failure::new(Exit::Internal, "a fact is still to come")),
    }
}

/// The same for programs: the decision, why, and the statement that decides, where one does.
fn tell_json(decision: &Decision<'_>) -> Result<Exit, Failure> {
    let statement = |by: Decider<'_>| {
        json!({
            "policy": by.policy().name(), "kind": by.policy().kind().to_string(),
            "statement": by.statement(),
        })
    };
    match decision {
        Decision::Allowed(grant) => {
            form::print(&json!({
                "decision": "allowed",
                "by": grant.by.map(statement),
                "session": grant.session.map(statement),
            }))?;
            Ok(Exit::Success)
        }
        Decision::Denied(denial) => {
            let by = match denial {
                Denial::Explicit(_, by) => Some(statement(*by)),
                Denial::Implicit(_) => None,
            };
            let why = denial.to_string();
            form::print(&json!({"decision": "denied", "by": by, "why": why}))?;
            Ok(Exit::Partial)
        }
        Decision::NeedsBody => Err(Failure::new(Exit::Internal, "a fact is still to come")),
    }
}

/// The statement as it stands in its document.
fn statement(by: Decider<'_>, documents: &[Document]) -> String {
    #[derive(Deserialize)]
    struct Whole<'a> {
        #[serde(borrow, rename = "Statement")]
        statement: &'a RawValue,
    }
    let of = |document: &&Document| std::ptr::eq(&*document.policy, by.policy());
    let text = documents
        .iter()
        .find(of)
        .map_or("", |document| &document.text);
    let Ok(Whole { statement }) = serde_json::from_str(text) else {
        return String::new();
    };
    let list = serde_json::from_str::<Vec<&RawValue>>(statement.get()).unwrap_or_default();
    let shown = list.get(by.statement()).unwrap_or(&statement).get();
    let shown = shown.replace('\t', "  ");
    let lines = dedented(&shown).map(|line| format!("  {}", output::escape(line)));
    lines.collect::<Vec<_>>().join("\n")
}

/// The lines of a piece of JSON, without the indentation that all but the first have.
fn dedented(text: &str) -> impl Iterator<Item = &str> {
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let common = text.lines().skip(1).map(indent).min().unwrap_or(0);
    text.lines()
        .map(move |line| line.get(common.min(indent(line))..).unwrap_or(line))
}

/// A fact of the command line.
#[derive(Clone, Debug)]
struct Given {
    key: ConditionKey,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Address(IpAddr),
    Time(u64),
    Bool(bool),
}

fn given(text: &str) -> Result<Given, String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    let key = ConditionKey::parse(key).ok_or_else(|| {
        let names: Vec<_> = ConditionKey::names().collect();
        format!("there is no such key; the keys are {}", names.join(", "))
    })?;
    let value = match key.kind() {
        FactKind::Text => Some(Value::Text(value.to_owned())),
        FactKind::Address => value.parse().ok().map(Value::Address),
        FactKind::Time => parse_time(value).map(Value::Time),
        FactKind::Bool => value.parse().ok().map(Value::Bool),
        FactKind::Never => return Err(format!("Tollgate never knows {key}")),
    };
    let value = value.ok_or_else(|| {
        let form = match key.kind() {
            FactKind::Address => "an address, such as 203.0.113.7",
            FactKind::Time => "a time, such as 2012-11-11T23:59:59Z",
            _ => "true or false",
        };
        format!("the value of {key} is {form}")
    })?;
    Ok(Given { key, value })
}

/// The facts of the command line, and which others were asked for.
struct Facts<'a> {
    given: &'a [Given],
    now: u64,
    absent: RefCell<Vec<ConditionKey>>,
}

impl<'a> Facts<'a> {
    /// Ends the program when a key is given twice: which of its values counts?
    fn new(given: &'a [Given]) -> Self {
        for (n, one) in given.iter().enumerate() {
            if given.iter().skip(n + 1).any(|other| other.key == one.key) {
                let message = format!("--context gives {} twice\n", one.key);
                clap::Error::raw(ErrorKind::ArgumentConflict, message).exit();
            }
        }
        Self {
            given,
            now: clock::unix_seconds(),
            absent: RefCell::default(),
        }
    }

    fn note_absent(&self) {
        for key in self.absent.borrow().iter() {
            let key = output::escape(&key.to_string());
            output::note(format_args!(
                "note: a condition asks for {key}, which --context does not give"
            ));
        }
    }
}

impl Context for Facts<'_> {
    fn fact(&self, key: &ConditionKey) -> Fact<'_> {
        if let Some(given) = self.given.iter().find(|given| given.key == *key) {
            return match &given.value {
                Value::Text(text) => Fact::Text(text),
                Value::Address(address) => Fact::Address(*address),
                Value::Time(time) => Fact::Time(*time),
                Value::Bool(is) => Fact::Bool(*is),
            };
        }
        let mut absent = self.absent.borrow_mut();
        if !absent.contains(key) {
            absent.push(key.clone());
        }
        match key {
            ConditionKey::CurrentTime => Fact::Time(self.now),
            ConditionKey::Topic | ConditionKey::Source => Fact::Text(""),
            _ => Fact::Absent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_of_the_command_line_has_a_key_that_is_known_and_a_value_of_its_kind() {
        for good in [
            "acs:SourceIp=::1",
            "acs:currenttime=2012-11-11T23:59:59Z",
            "acs:SecureTransport=true",
            "tollgate:Topic=",
            "tollgate:Tag/a=b=c",
        ] {
            assert!(given(good).is_ok(), "{good}");
        }
        for bad in [
            "tollgate:Topic",
            "tollgate:Nothing=1",
            "acs:MFAPresent=true",
            "acs:SourceIp=10.0.0.0/8",
            "acs:CurrentTime=now",
            "acs:SecureTransport=yes",
            "=",
        ] {
            assert!(given(bad).is_err(), "{bad}");
        }
    }
}
