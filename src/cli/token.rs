//! `tollgate token`: makes tokens.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::form::{self, FormArgs};
use super::source::ConfigSource;
use super::{Exit, Failure, output};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::units::Span;
use crate::gate::identity::{self, SigningKey};

const MINT_EXAMPLES: &str = "\
Examples:
  tollgate token mint --project sls-webtracking-mini --logstore web-tracking-logstore
      a token of an hour, by the key in the data directory
  tollgate token mint --config tollgate.toml --project shop --logstore web --ttl 10m --subject d-001

Exit codes: 0 printed, 73 the key cannot be read, 78 the configuration has no such key, or the time is
longer than it allows.";

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token for one logstore, and print it alone.
    Mint(MintArgs),
}

#[derive(Debug, Args)]
#[command(after_help = MINT_EXAMPLES)]
pub(super) struct MintArgs {
    #[command(flatten)]
    source: ConfigSource,
    /// Project that the token may write to.
    #[arg(long)]
    project: ProjectName,
    /// Logstore that the token may write to.
    #[arg(long)]
    logstore: LogstoreName,
    /// Time until the token expires.
    #[arg(long, default_value = "1h")]
    ttl: Span,
    /// Subject of the token: whose it is.
    #[arg(long)]
    subject: Option<String>,
    /// Key to sign with (`kid`). Without it: the first of the configuration.
    #[arg(long)]
    kid: Option<String>,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) fn run(command: &TokenCommand) -> Result<Exit, Failure> {
    let TokenCommand::Mint(args) = command;
    let config = args.source.load()?;
    let there = |kid: &str| key_file(&config.data_dir, kid).exists();
    let missing: Vec<&str> = config
        .identity
        .jwt
        .iter()
        .map(|rules| &*rules.kid)
        .collect();
    let missing: Vec<&str> = missing.into_iter().filter(|kid| !there(kid)).collect();
    let keys = identity::load_jwt_keys(&config.identity, &config.data_dir)
        .map_err(|error| Failure::new(Exit::DataDir, error))?;
    let key = choose(&keys, args.kid.as_deref())?;
    if args.ttl > key.rules.max_lifetime {
        let message = format!(
            "--ttl {} is longer than max_lifetime {}",
            args.ttl, key.rules.max_lifetime
        );
        return Err(Failure::new(Exit::Config, message));
    }
    if key.rules.secret.is_none() && missing.contains(&&*key.rules.kid) {
        output::note(format_args!(
            "warning: there was no key {}, and one was made: the token opens nothing at a node with another data folder (--data-dir)",
            key_file(&config.data_dir, &key.rules.kid).display()
        ));
    }
    let (project, logstore) = (args.project.as_str(), args.logstore.as_str());
    let known = config
        .projects
        .iter()
        .any(|p| p.name == args.project && p.logstores.iter().any(|l| l.name == args.logstore));
    if !known {
        output::note(format_args!(
            "warning: the configuration has no logstore {logstore} in project {project}; the token opens nothing there"
        ));
    }
    let token = identity::mint(
        key,
        project,
        logstore,
        args.ttl.as_secs(),
        args.subject.as_deref(),
    )
    .map_err(|error| Failure::new(Exit::Internal, error))?;
    if args.form.is_json() {
        form::print(&json!({
            "token": token, "kid": key.rules.kid, "project": project, "logstore": logstore,
            "subject": args.subject, "ttlSeconds": args.ttl.as_secs(),
        }))?;
    } else {
        output::line(token)?;
    }
    Ok(Exit::Success)
}

/// Where a key is kept that was made here.
pub(super) fn key_file(data_dir: &Path, kid: &str) -> PathBuf {
    data_dir.join("keys").join(format!("{kid}.key"))
}

fn choose<'a>(keys: &'a [SigningKey], kid: Option<&str>) -> Result<&'a SigningKey, Failure> {
    let key = match kid {
        Some(kid) => keys.iter().find(|key| key.rules.kid == kid),
        None => keys.first(),
    };
    key.ok_or_else(|| {
        let message = match kid {
            Some(kid) => format!("the configuration has no [[identity.jwt]] with kid `{kid}`"),
            None => "the configuration has no [[identity.jwt]] key".to_owned(),
        };
        Failure::new(Exit::Config, message)
    })
}
