//! `tollgate revoke`: revokes credentials, lists what is revoked and undoes it.

use clap::{Args, Subcommand};

use super::form::{self, Form, FormArgs};
use super::node::{BY, NodeArgs};
use super::{Exit, Failure, moment, output};
use crate::foundation::units::Span;
use crate::gate::identity::state::{NewRevocation, Revocation, RevocationKind};

const ADD_EXAMPLES: &str = "\
Kinds:
  access_key  a key of [[identity.access_key]], or one of temporary credentials, by its id
  ticket      a ticket, by its id
  jti         a token (JWT), by that claim
  session     temporary credentials, by the name of their session
  subject     whatever a subject (sub) holds
  role        temporary credentials of a role, by its ARN
  kid         whatever a key of tokens has signed, by its kid

Examples:
  tollgate revoke add session d-001 --reason stolen
      the device d-001 is refused, now and until that is lifted
  tollgate revoke add role acs:ram::1234567890123456:role/sls-web-tracking --issued-before now
      withdraws every session so far of the role; new ones are taken

Without --ttl a revocation does not end; that of a ticket or a jti ends when the credential cannot
be valid any more. A second revocation of the same widens the first and never narrows it: lift it
first. Exit codes: 0 done, 1 refused, 69 the node did not answer, 73 its files cannot be read, 78 the
configuration or the token is wrong.";

const LIST_EXAMPLES: &str = "\
Examples:
  tollgate revoke list
  tollgate revoke list --kind session --output json

Exit codes: 0 done, 69 the node did not answer, 73 its files cannot be read, 78 the
configuration or the token is wrong.";

const LIFT_EXAMPLES: &str = "\
Example:
  tollgate revoke lift session d-001

Exit codes: 0 done, 1 it is not revoked, 69 the node did not answer, 73 its files cannot be read, 78 the
configuration or the token is wrong.";

#[derive(Debug, Subcommand)]
pub(super) enum RevokeCommand {
    /// Revoke a credential, or all of a subject, role or key: refused from now on.
    Add(AddArgs),
    /// List what is revoked.
    List(ListArgs),
    /// Undo a revocation.
    Lift(LiftArgs),
}

#[derive(Debug, Args)]
#[command(after_help = ADD_EXAMPLES)]
pub(super) struct AddArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// What it is: access_key, ticket, jti, session, subject, role or kid.
    kind: RevocationKind,
    /// Which one.
    value: String,
    /// Why, for people.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Time after which the revocation ends.
    #[arg(long, value_name = "SPAN")]
    ttl: Option<Span>,
    /// Spare what was issued after this time: `now`, `2026-11-22T08:00:00Z` or unix seconds.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    issued_before: Option<u64>,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(super) struct ListArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// Only this kind.
    #[arg(long)]
    kind: Option<RevocationKind>,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
#[command(after_help = LIFT_EXAMPLES)]
pub(super) struct LiftArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// What it is.
    kind: RevocationKind,
    /// Which one.
    value: String,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) fn run(command: &RevokeCommand) -> Result<Exit, Failure> {
    match command {
        RevokeCommand::Add(args) => {
            let (_, node) = args.node.find()?;
            let revocation = node.revoke(NewRevocation {
                kind: args.kind,
                value: args.value.as_str().into(),
                reason: args.reason.as_str().into(),
                ttl_seconds: args.ttl.map(Span::as_secs),
                before: args.issued_before,
                by: Some(BY.into()),
            })?;
            match args.form.output {
                Form::Json => form::print(&revocation)?,
                Form::Text => output::note(row(&revocation)),
            }
        }
        RevokeCommand::List(args) => {
            let (_, node) = args.node.find()?;
            node.revocations(args.kind, |revocation| match args.form.output {
                Form::Json => form::print(&revocation),
                Form::Text => output::line(row(&revocation)),
            })?;
        }
        RevokeCommand::Lift(args) => {
            let (_, node) = args.node.find()?;
            let lifted = node.lift(args.kind, &args.value)?;
            if args.form.is_json() {
                form::print(&lifted)?;
            } else {
                let text = format!("lifted: {} {}", lifted.kind, lifted.value);
                output::note(output::escape(&text));
            }
        }
    }
    Ok(Exit::Success)
}

fn row(revocation: &Revocation) -> String {
    let Revocation {
        kind,
        value,
        reason,
        ..
    } = revocation;
    let end = match revocation.expires {
        Some(expires) => format!("until {}", moment::format(expires)),
        None => "until lifted".to_owned(),
    };
    let issued = match revocation.before {
        Some(before) => format!(", issued until {}", moment::format(before)),
        None => String::new(),
    };
    let reason = match &**reason {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    output::escape(&format!("{kind} {value} revoked {end}{issued}{reason}"))
}
