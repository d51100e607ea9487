//! `tollgate ticket`: makes, lists, extends and revokes tickets.

use clap::{Args, Subcommand};

use super::form::{self, Form, FormArgs};
use super::node::{BY, NodeArgs};
use super::{Exit, Failure, moment, output};
use crate::config::Config;
use crate::foundation::clock;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::network::Network;
use crate::foundation::units::Span;
use crate::gate::identity::state::{
    ExtendTicket, FieldFilter, Grant, MadeTicket, NewTicket, TicketId, TicketRecord, View,
};

const CREATE_EXAMPLES: &str = "\
Examples:
  tollgate ticket create --project shop --logstore web --ttl 7d --max-uses 1000
      prints a ticket that writes to one logstore, a thousand times at most
  tollgate ticket create --project shop --logstore web --from 203.0.113.0/24 --origin https://shop.example.com
      only from these addresses, and only from pages of that site
  tollgate ticket create --project shop --view overview --last 1h --until-max 30d
      a link to a dashboard that shows the last hour, and can be extended for 30 days

Only the ticket goes to standard output. It is told this once and kept nowhere.
Exit codes: 0 made, 1 refused, 69 the node did not answer, 73 its files cannot be read, 78 the
configuration or the token is wrong.";

const LIST_EXAMPLES: &str = "\
Examples:
  tollgate ticket list
  tollgate ticket list --output json | jq 'select(.revoked | not)'

Exit codes: 0 done, 69 the node did not answer, 73 its files cannot be read, 78 the
configuration or the token is wrong.";

const EXTEND_EXAMPLES: &str = "\
Example:
  tollgate ticket extend e0f7faec-e9b1-48ac-94d0-884fe3b1d43d --ttl 1d

Exit codes: 0 done, 1 refused, 69 the node did not answer, 73 its files cannot be read, 78 the
configuration or the token is wrong.";

const REVOKE_EXAMPLES: &str = "\
Example:
  tollgate ticket revoke e0f7faec-e9b1-48ac-94d0-884fe3b1d43d --reason 'no longer needed'

Exit codes: 0 done, 1 refused, 69 the node did not answer, 73 its files cannot be read, 78 the
configuration or the token is wrong.";

#[derive(Debug, Subcommand)]
pub(super) enum TicketCommand {
    /// Make a ticket, and print it alone.
    Create(Box<CreateArgs>),
    /// List the tickets, expired ones of the last day included.
    List(ListArgs),
    /// Move the end of a ticket that has not ended.
    Extend(ExtendArgs),
    /// Revoke a ticket: it is refused from now on.
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// Project that the ticket is for.
    #[arg(long)]
    project: ProjectName,
    /// Logstore that the ticket may write to. May stand several times.
    /// With `--view`: a logstore that is shown; without it, all of the project.
    #[arg(long, required_unless_present = "view")]
    logstore: Vec<LogstoreName>,
    /// Dashboard that the ticket shows, instead of writing.
    #[arg(long, value_name = "DASHBOARD")]
    view: Option<String>,
    /// Shows only events from this time on.
    #[arg(long, value_name = "TIME", requires = "view", value_parser = moment::parse)]
    since: Option<u64>,
    /// Shows only events until this time.
    #[arg(long, value_name = "TIME", requires = "view", value_parser = moment::parse)]
    until: Option<u64>,
    /// Shows only events of the last so long.
    #[arg(long, value_name = "SPAN", requires = "view")]
    last: Option<Span>,
    /// Shows only events whose field has this value. May stand several times: all must hold.
    #[arg(long, value_name = "NAME=VALUE", requires = "view", value_parser = field)]
    field: Vec<FieldFilter>,
    /// Does not show this field of events. May stand several times.
    #[arg(long, value_name = "NAME", requires = "view")]
    hide: Vec<String>,
    /// Time until the ticket expires, unless it is extended. Without it: a day.
    #[arg(long, value_name = "SPAN")]
    ttl: Option<Span>,
    /// Time from now beyond which it can never be extended. Without it: identity.ticket.max_lifetime.
    #[arg(long, value_name = "SPAN")]
    until_max: Option<Span>,
    /// How often it may be used.
    #[arg(long, value_name = "COUNT")]
    max_uses: Option<u64>,
    /// Range of addresses that it is taken from, such as 10.0.0.0/8. May stand several times.
    #[arg(long, value_name = "RANGE")]
    from: Vec<Network>,
    /// Origin of pages that it is taken from. May stand several times.
    #[arg(long)]
    origin: Vec<String>,
    /// Account that it is taken from, which must be proved beside it. May stand several times.
    #[arg(long)]
    account: Vec<String>,
    /// Time before which it is refused.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    not_before: Option<u64>,
    /// A note, for people.
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(super) struct ListArgs {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
#[command(after_help = EXTEND_EXAMPLES)]
pub(super) struct ExtendArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The ticket's id.
    id: TicketId,
    /// Time from now at which it ends then.
    #[arg(long, value_name = "SPAN")]
    ttl: Span,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
#[command(after_help = REVOKE_EXAMPLES)]
pub(super) struct RevokeArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The ticket's id.
    id: TicketId,
    /// Why, for people.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) fn run(command: &TicketCommand) -> Result<Exit, Failure> {
    match command {
        TicketCommand::Create(args) => create(args),
        TicketCommand::List(args) => list(args),
        TicketCommand::Extend(args) => {
            let (_, node) = args.node.find()?;
            let extend = ExtendTicket {
                ttl_seconds: Some(args.ttl.as_secs()),
                until: None,
            };
            let ticket = node.extend_ticket(args.id, extend)?;
            if args.form.is_json() {
                form::print(&ticket)?;
            } else {
                let until = moment::format(ticket.expires);
                output::note(format_args!("ticket {} is good until {until}", ticket.id));
            }
            Ok(Exit::Success)
        }
        TicketCommand::Revoke(args) => {
            let (_, node) = args.node.find()?;
            let revocation = node.revoke_ticket(args.id, &args.reason)?;
            if args.form.is_json() {
                form::print(&revocation)?;
            } else {
                output::note(format_args!("ticket {} is revoked", args.id));
            }
            Ok(Exit::Success)
        }
    }
}

fn create(args: &CreateArgs) -> Result<Exit, Failure> {
    let (config, node) = args.node.find()?;
    warn_of_unknown(&config, args);
    let made = node.create_ticket(args.ticket())?;
    describe(&made);
    match args.form.output {
        Form::Text => output::line(made.token)?,
        Form::Json => form::print(&made)?,
    }
    Ok(Exit::Success)
}

impl CreateArgs {
    fn ticket(&self) -> NewTicket {
        let project = self.project.clone();
        let grant = match &self.view {
            Some(dashboard) => Grant::View(View {
                project,
                dashboard: dashboard.clone(),
                from: self.since,
                to: self.until,
                last_seconds: self.last.map(Span::as_secs),
                filters: self.field.clone(),
                logstores: self.logstore.clone(),
                hidden: self.hide.clone(),
            }),
            None => Grant::Write {
                project,
                logstores: self.logstore.clone(),
            },
        };
        NewTicket {
            grant,
            ttl_seconds: self.ttl.map(Span::as_secs),
            max_ttl_seconds: self.until_max.map(Span::as_secs),
            not_before: self.not_before,
            max_uses: self.max_uses,
            addresses: self.from.clone(),
            origins: self.origin.iter().map(|o| o.to_ascii_lowercase()).collect(),
            accounts: self.account.clone(),
            note: self.note.clone(),
            by: Some(BY.to_owned()),
        }
    }
}

fn warn_of_unknown(config: &Config, args: &CreateArgs) {
    let project = config.projects.iter().find(|p| p.name == args.project);
    for logstore in &args.logstore {
        if !project.is_some_and(|p| p.logstores.iter().any(|l| l.name == *logstore)) {
            output::note(format_args!(
                "warning: the configuration has no logstore {logstore} in project {}; the ticket opens nothing there",
                args.project
            ));
        }
    }
}

fn describe(made: &MadeTicket) {
    let ticket = &made.ticket;
    output::note(format_args!(
        "ticket {}, good until {}, to be extended until {} at most",
        ticket.id,
        moment::format(ticket.expires),
        moment::format(ticket.max_until)
    ));
}

fn list(args: &ListArgs) -> Result<Exit, Failure> {
    let (_, node) = args.node.find()?;
    let now = clock::unix_seconds();
    node.tickets(|ticket| match args.form.output {
        Form::Json => form::print(&ticket),
        Form::Text => output::line(row(&ticket, now)),
    })?;
    Ok(Exit::Success)
}

fn row(ticket: &TicketRecord, now: u64) -> String {
    let used_up = ticket.max_uses.is_some_and(|max| ticket.uses >= max);
    let state = match ticket {
        ticket if ticket.revoked => "revoked",
        ticket if now >= ticket.expires => "expired",
        _ if used_up => "used up",
        ticket if ticket.not_before.is_some_and(|start| now < start) => "not yet",
        _ => "good",
    };
    let what = match &ticket.grant {
        Grant::Write { project, logstores } => {
            let names: Vec<_> = logstores.iter().map(LogstoreName::as_str).collect();
            format!("write {project}/{}", names.join(","))
        }
        Grant::View(view) => format!("view {}/{}", view.project, view.dashboard),
    };
    let uses = match ticket.max_uses {
        Some(max) => format!("{} of {max} uses", ticket.uses),
        None => format!("{} uses", ticket.uses),
    };
    let (id, until) = (ticket.id, moment::format(ticket.expires));
    output::escape(&format!(
        "{id}  {state:<7}  until {until}  {uses}  {what}  {}",
        ticket.note
    ))
    .trim_end()
    .to_owned()
}

fn field(text: &str) -> Result<FieldFilter, String> {
    let (field, value) = text
        .split_once('=')
        .filter(|(field, _)| !field.is_empty())
        .ok_or_else(|| format!("`{text}` is not `name=value`"))?;
    Ok(FieldFilter {
        field: field.to_owned(),
        value: value.to_owned(),
    })
}
