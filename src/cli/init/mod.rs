//! `tollgate init`: a first configuration, with comments, for the deployment that is meant.
//!
//! Promise: no secret is written into the configuration, only where it is. What is written has passed
//! its check, and is there as a whole or not at all. Nothing is overwritten unless that is asked for, and
//! key files never. Questions are asked on a terminal alone.

mod ask;
mod plan;
mod render;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use self::plan::{Clients, Plan, StoreKind};
use super::check::Report;
use super::form::{self, FormArgs};
use super::out_file::{BY_MASK, OutFile};
use super::source::{problems_failure, secret};
use super::{Exit, Failure, output};
use crate::config::{Checked, Overrides};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::network::Network;
use crate::foundation::secret::{Secret, SecretRef};
use crate::gate::identity::load_or_make;

const EXAMPLES: &str = "\
On a terminal it asks for what no option says; with --defaults, and without a terminal, it does not.

Examples:
  tollgate init
      a few questions, then tollgate.toml
  tollgate init --defaults --clients web --origin https://shop.example.com --make-keys
      web pages with tokens that a backend makes, on the embedded store
  tollgate init shop.toml --clients mini-program --domain edge.example.com --make-keys
      mini programs, with temporary credentials from your app server
  tollgate init demo.toml --defaults --clients open
      an open demo on this machine
  tollgate init --store sls --endpoint https://cn-hangzhou.log.aliyuncs.com \\
      --access-key-id env:SLS_ACCESS_KEY_ID --access-key-secret env:SLS_ACCESS_KEY_SECRET
      events go to Simple Log Service
  tollgate init --load-balancer 10.0.0.0/8 --redis redis://10.0.0.5:6379 --nodes 3
      several nodes behind a load balancer, which share limits and revocations
  tollgate init --tls-cert /etc/tollgate/edge.pem --tls-key /etc/tollgate/edge.key
      TLS here

Exit codes: 0 written, 1 the file is there already, or there was no answer to a question, 2 the command
line is wrong, 73 a file cannot be written, 78 what was asked for makes no good configuration (nothing is
written).";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InitArgs {
    /// The configuration that is written; `-` prints it.
    #[arg(value_name = "FILE", default_value = "tollgate.toml")]
    file: PathBuf,
    /// Overwrite it where it is there. Key files are kept in any case.
    #[arg(long)]
    force: bool,
    /// Ask nothing: what no option says is as usual.
    #[arg(long)]
    defaults: bool,
    /// Who sends events.
    #[arg(long, value_enum)]
    clients: Option<Clients>,
    /// Project, as clients name it.
    #[arg(long)]
    project: Option<ProjectName>,
    /// Logstore, as clients name it.
    #[arg(long)]
    logstore: Option<LogstoreName>,
    /// Origin of pages that may send, such as `https://shop.example.com`. May stand several times.
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,
    /// Where events go.
    #[arg(long, value_enum)]
    store: Option<StoreKind>,
    /// Endpoint of Simple Log Service, without the project.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Region of the endpoint. Without it: taken from its name.
    #[arg(long, requires = "endpoint")]
    region: Option<String>,
    /// Id of the access key for the endpoint, or `env:NAME` or `file:PATH`, which hold it.
    #[arg(long, value_name = "ID", requires = "endpoint")]
    access_key_id: Option<String>,
    /// Where its secret is: `env:NAME` or `file:PATH`.
    #[arg(long, value_name = "REFERENCE", requires = "endpoint", value_parser = secret)]
    access_key_secret: Option<Secret>,
    /// Address and port for clients.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<std::net::SocketAddr>,
    /// Domain under which clients call `{project}.DOMAIN`. May stand several times.
    #[arg(long, value_name = "DOMAIN")]
    domain: Vec<String>,
    /// Network of the load balancer in front, such as 10.0.0.0/8. May stand several times.
    #[arg(long, value_name = "NETWORK")]
    load_balancer: Vec<Network>,
    /// Certificate, where TLS ends here.
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        conflicts_with = "load_balancer"
    )]
    tls_cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Redis or Valkey that several nodes share limits through. May stand several times.
    #[arg(long, value_name = "URL")]
    redis: Vec<String>,
    /// Where its password is: `env:NAME` or `file:PATH`.
    #[arg(long, value_name = "REFERENCE", requires = "redis", value_parser = secret)]
    redis_password: Option<Secret>,
    /// How many nodes there are.
    #[arg(long, requires = "redis", value_parser = clap::value_parser!(u32).range(1..=1024))]
    nodes: Option<u32>,
    /// Folder of keys and of the embedded logstore.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Make the keys that it needs, in `keys` beside the file, for their owner only. Without it the
    /// configuration names environment variables.
    #[arg(long)]
    make_keys: bool,
    #[command(flatten)]
    form: FormArgs,
}

/// Where a secret is. The text is not repeated in an error: it may be the secret.
fn reference(text: &str) -> Result<SecretRef, String> {
    SecretRef::try_from(text.to_owned()).map_err(|error| error.to_string())
}

pub(super) fn run(args: &InitArgs) -> Result<Exit, Failure> {
    let printed = args.file == Path::new("-");
    if !printed && !args.force && args.file.exists() {
        return Err(there_already(&args.file));
    }
    let asks = !args.defaults
        && !printed
        && !args.form.is_json()
        && io::stdin().is_terminal()
        && io::stderr().is_terminal();
    let plan = match asks {
        true => ask::plan(args)?,
        false => Plan::of(args)?,
    };
    let folder = folder_of(&args.file).map_err(|error| unwritten(&args.file, &error))?;
    let rendered = render::render(&plan, &folder);
    let origin = format!("{} (not written)", args.file.display());
    Checked::parse(&rendered.text, &origin, &Overrides::default())
        .map_err(|problems| problems_failure(&problems))?;
    if printed {
        return print(args, &plan, &rendered);
    }
    if plan.make_keys {
        for name in &rendered.keys {
            load_or_make(&folder, name).map_err(|error| Failure::new(Exit::DataDir, error))?;
        }
    }
    write(&args.file, &rendered.text, args.force)?;
    tell(args, &plan, &rendered)
}

/// The absolute folder of a file.
fn folder_of(file: &Path) -> io::Result<PathBuf> {
    let mut folder = std::path::absolute(file)?;
    folder.pop();
    Ok(folder)
}

/// Writes a file that is whole or not there.
fn write(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let fill = || -> io::Result<()> {
        let mut file = OutFile::create(path, BY_MASK)?;
        file.write_all(text.as_bytes())?;
        match force {
            true => file.finish(),
            false => file.finish_new(),
        }
    };
    fill().map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists if !force => there_already(path),
        _ => unwritten(path, &error),
    })
}

fn there_already(path: &Path) -> Failure {
    let path = path.display();
    Failure::new(
        Exit::Partial,
        format!("{path} is there already; overwrite it with --force, or name another file"),
    )
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot write {}: {error}", path.display());
    Failure::new(Exit::DataDir, message)
}

/// Prints the configuration, in the place of a file. No key is made.
fn print(args: &InitArgs, plan: &Plan, rendered: &render::Rendered) -> Result<Exit, Failure> {
    if !args.form.is_json() {
        output::line(rendered.text.trim_end())?;
        return Ok(Exit::Success);
    }
    let report = Report::of_text(&rendered.text, "-");
    let keys: [&str; 0] = [];
    form::print(&json!({
        "file": "-", "text": rendered.text, "keys": keys, "problems": report.problems(),
        "next": to_be_set(plan, rendered),
    }))?;
    Ok(Exit::Success)
}

/// What is to be set before it starts.
fn to_be_set(plan: &Plan, rendered: &render::Rendered) -> Vec<String> {
    if plan.make_keys {
        return Vec::new();
    }
    let names = rendered.variables.iter();
    names
        .map(|name| format!("set {name} in the environment of the service (openssl rand -hex 32)"))
        .collect()
}

/// Says what is there now, and what comes next.
fn tell(args: &InitArgs, plan: &Plan, rendered: &render::Rendered) -> Result<Exit, Failure> {
    let report = Report::of(Some(&args.file), &Overrides::default());
    let file = args.file.display();
    let mut next = to_be_set(plan, rendered);
    next.push(format!("tollgate check --config {file}"));
    next.push(format!("tollgate doctor --config {file}"));
    next.push(format!("tollgate run --config {file}"));
    let keys: Vec<&String> = match plan.make_keys {
        true => rendered.key_files.iter().collect(),
        false => Vec::new(),
    };
    if args.form.is_json() {
        form::print(&json!({
            "file": file.to_string(), "keys": keys, "problems": report.problems(), "next": next,
        }))?;
        return Ok(Exit::Success);
    }
    output::note(format_args!("wrote {file}"));
    for key in keys {
        output::note(format_args!("  key {key}, for its owner only"));
    }
    // What the file names and is not there yet: a certificate, a variable.
    for problem in report.problems() {
        let text = |name: &str| problem.get(name).and_then(|it| it.as_str());
        let (key, message) = (text("key"), text("message").unwrap_or_default());
        let line = format!("  not yet good: {}: {message}", key.unwrap_or_default());
        output::note(output::escape(&line));
    }
    output::note("next:");
    for step in &next {
        output::note(format_args!("  {step}"));
    }
    Ok(Exit::Success)
}
