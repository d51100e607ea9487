//! `tollgate limits`: what limits allow, who uses them, and bans and raises of single keys.

use clap::{Args, Subcommand};

use super::form::{self, Form, FormArgs};
use super::node::{Node, NodeArgs};
use super::output::table;
use super::{Exit, Failure, moment, output};
use crate::config::LimitMode;
use crate::foundation::units::Span;
use crate::gate::quota::{
    KeyView, LimitView, NewChange, NewOverride, OverrideView, RoomView, USUAL_TOP,
};

const EXAMPLES: &str = "\
A key is written as `top` shows it: each part of the limit's key with its value, in the order of the
configuration. `all` is the key of a limit without parts.

Examples:
  tollgate limits
      every limit: what it allows, its mode, its keys, and what became of requests so far
  tollgate limits top per-address
      who asked for the most in the last minute or two, and what each would be allowed now
  tollgate limits show per-address --key address=203.0.113.7
      one key, whether it has sent anything or not
  tollgate limits ban per-address address=203.0.113.7 --for 1h --reason flood
      all that comes from there is refused, from the next request on and after a restart
  tollgate limits raise per-user project=shop,subject=d-001 --factor 10 --for 1d --reason \"a sale\"
      ten times the limit, for a day
  tollgate limits lift per-address address=203.0.113.7

A ban refuses in every mode and with every action of the limit. A second ban or raise of a key
replaces the first. On a node that does not run, bans and raises are changed in its files; keys are
not known then.
Exit codes: 0 done, 1 refused, 69 the node did not answer, 73 its files cannot be read, 78 the
configuration or the token is wrong.";

const LIST_EXAMPLES: &str = "\
Example:
  tollgate limits list --output json | jq '.name, .counts.refused'

Exit codes: 0 done, 69 the node did not answer, 73 its files cannot be read, 78 the
configuration or the token is wrong.";

const SHOW_EXAMPLES: &str = "\
Examples:
  tollgate limits show per-address
  tollgate limits show per-address --key address=203.0.113.7

Exit codes: 0 done, 1 there is no such limit or key, 69 the node did not answer, 73 its files cannot be read, 78 the
configuration or the token is wrong.";

const TOP_EXAMPLES: &str = "\
Examples:
  tollgate limits top
  tollgate limits top per-address --count 50 --output json

Exit codes: 0 done, 1 there is no such limit, 69 the node did not answer, 73 its files cannot be read, 78 the
configuration or the token is wrong.";

const BAN_EXAMPLES: &str = "\
Example:
  tollgate limits ban per-address address=203.0.113.7 --for 1h --reason flood

Exit codes: 0 done, 1 refused, 69 the node did not answer, 73 its files cannot be read, 78 the
configuration or the token is wrong.";

const RAISE_EXAMPLES: &str = "\
Examples:
  tollgate limits raise per-user project=shop,subject=d-001 --factor 10 --for 1d --reason \"a sale\"
  tollgate limits raise per-address address=203.0.113.7 --factor 0.1 --for 1h --reason \"too eager\"
      a tenth of the limit

Exit codes: 0 done, 1 refused, 69 the node did not answer, 73 its files cannot be read, 78 the
configuration or the token is wrong.";

const LIFT_EXAMPLES: &str = "\
Example:
  tollgate limits lift per-address address=203.0.113.7

Exit codes: 0 done, 1 there is none, 69 the node did not answer, 73 its files cannot be read, 78 the
configuration or the token is wrong.";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub(super) struct LimitsArgs {
    /// Without a command: `list`.
    #[command(subcommand)]
    command: Option<LimitsCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum LimitsCommand {
    /// List the limits.
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArgs),
    /// Show one limit: its windows, its bans and raises, its top keys.
    Show(ShowArgs),
    /// Show the keys that send the most, and what each would be allowed now.
    Top(TopArgs),
    /// Refuse everything of a key, for a time.
    Ban(BanArgs),
    /// Multiply the limit for a key, for a time. Below 1 lowers it.
    Raise(RaiseArgs),
    /// End the ban or raise of a key.
    Lift(LiftArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
#[command(after_help = SHOW_EXAMPLES)]
struct ShowArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The limit.
    name: String,
    /// Only this key of it.
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
#[command(after_help = TOP_EXAMPLES)]
struct TopArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The limit. Without it: every limit.
    name: Option<String>,
    /// Keys of each limit, at most 128.
    #[arg(long, default_value_t = USUAL_TOP)]
    count: usize,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
struct KeyArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The limit.
    name: String,
    /// The key, as `top` shows it.
    key: String,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
struct WhyArgs {
    /// How long.
    #[arg(long = "for", value_name = "SPAN")]
    span: Span,
    /// Why, for people.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, Args)]
#[command(after_help = BAN_EXAMPLES)]
struct BanArgs {
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    why: WhyArgs,
}

#[derive(Debug, Args)]
#[command(after_help = RAISE_EXAMPLES)]
struct RaiseArgs {
    #[command(flatten)]
    key: KeyArgs,
    /// How many times the limit, 0.001 to 1000.
    #[arg(long, value_name = "NUMBER")]
    factor: f64,
    #[command(flatten)]
    why: WhyArgs,
}

#[derive(Debug, Args)]
#[command(after_help = LIFT_EXAMPLES)]
struct LiftArgs {
    #[command(flatten)]
    key: KeyArgs,
}

pub(super) fn run(args: &LimitsArgs) -> Result<Exit, Failure> {
    match &args.command {
        None => list(&args.list)?,
        Some(LimitsCommand::List(args)) => list(args)?,
        Some(LimitsCommand::Show(args)) => show(args)?,
        Some(LimitsCommand::Top(args)) => top(args)?,
        Some(LimitsCommand::Ban(args)) => change(&args.key, &args.why, None)?,
        Some(LimitsCommand::Raise(args)) => change(&args.key, &args.why, Some(args.factor))?,
        Some(LimitsCommand::Lift(LiftArgs { key })) => {
            let (_, node) = key.node.find()?;
            let lifted = node.lift_key(&key.name, &key.key)?;
            if key.form.is_json() {
                form::print(&lifted)?;
            } else {
                let text = format!(
                    "lifted: {} of {} {}",
                    lifted.change, lifted.limit, lifted.key
                );
                output::note(output::escape(&text));
            }
        }
    }
    Ok(Exit::Success)
}

fn change(args: &KeyArgs, why: &WhyArgs, factor: Option<f64>) -> Result<(), Failure> {
    let (_, node) = args.node.find()?;
    let new = NewOverride {
        key: args.key.clone(),
        change: match factor {
            None => NewChange::Ban,
            Some(_) => NewChange::Raise,
        },
        factor,
        ttl_seconds: why.span.as_secs(),
        reason: why.reason.clone(),
    };
    let made = node.change_key(&args.name, &new)?;
    match args.form.output {
        Form::Json => form::print(&made)?,
        Form::Text => output::note(override_row(&made)),
    }
    Ok(())
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let (_, node) = args.node.find()?;
    let list = node.limits()?;
    if args.form.output == Form::Json {
        return list.limits.iter().try_for_each(form::print);
    }
    tell_of_stopped(&node);
    if list.limits.is_empty() {
        output::note("there is no limit; add a [[limit]] to the configuration");
    } else {
        let head = [
            "limit", "mode", "action", "keys", "passed", "refused", "bans", "raised", "allows",
        ];
        let rows = list.limits.iter().map(limit_row);
        table(&head, rows.collect())?;
    }
    for idle in &list.idle {
        output::note(override_row(idle));
    }
    Ok(())
}

fn limit_row(limit: &LimitView) -> Vec<String> {
    let mode = match limit.mode {
        LimitMode::Off => "off".to_owned(),
        LimitMode::Observe => "observe".to_owned(),
        LimitMode::Enforce if limit.percent < 100 => format!("enforce {} %", limit.percent),
        LimitMode::Enforce => "enforce".to_owned(),
    };
    let counts = &limit.counts;
    vec![
        limit.name.clone(),
        mode,
        format!("{:?}", limit.action).to_lowercase(),
        format!("{}/{}", limit.keys_in_use, limit.key_capacity),
        counts.passed.to_string(),
        counts.refused.to_string(),
        limit.bans.to_string(),
        limit.raises.to_string(),
        limit.policy.clone(),
    ]
}

fn show(args: &ShowArgs) -> Result<(), Failure> {
    let (_, node) = args.node.find()?;
    if let Some(key) = &args.key {
        let key = node.limit_key(&args.name, key)?;
        if args.form.output == Form::Json {
            return form::print(&key);
        }
        tell_of_stopped(&node);
        return keys(&[key]);
    }
    let detail = node.limit(&args.name, USUAL_TOP)?;
    if args.form.output == Form::Json {
        return form::print(&detail);
    }
    tell_of_stopped(&node);
    let limit = &detail.limit;
    output::line(output::escape(&format!("{}: {}", limit.name, limit.policy)))?;
    for window in &limit.windows {
        let burst = window
            .burst
            .map_or_else(String::new, |burst| format!(", {burst} at once"));
        output::line(format!("  {} per {}{burst}", window.count, window.per))?;
    }
    let counts = &limit.counts;
    output::line(format!(
        "  passed {}, refused {} ({} banned, {} as new keys), observed {}, diverted {}, sampled {}, marked {}",
        counts.passed,
        counts.refused,
        counts.banned,
        counts.newcomers,
        counts.observed,
        counts.diverted,
        counts.sampled,
        counts.marked
    ))?;
    output::line(format!(
        "  {} keys in {} places",
        limit.keys_in_use, limit.key_capacity
    ))?;
    for one in &detail.overrides {
        output::line(format!("  {}", override_row(one)))?;
    }
    keys(&detail.top)
}

fn top(args: &TopArgs) -> Result<(), Failure> {
    let (_, node) = args.node.find()?;
    let names = match &args.name {
        Some(name) => vec![name.clone()],
        None => node
            .limits()?
            .limits
            .into_iter()
            .map(|it| it.name)
            .collect(),
    };
    tell_of_stopped(&node);
    for name in names {
        let detail = node.limit(&name, args.count)?;
        if args.form.output == Form::Json {
            for key in &detail.top {
                form::print(&serde_json::json!({"limit": name, "key": key}))?;
            }
            continue;
        }
        let policy = &detail.limit.policy;
        output::line(output::escape(&format!("{name}: {policy}")))?;
        keys(&detail.top)?;
    }
    Ok(())
}

fn tell_of_stopped(node: &Node) {
    if !node.runs() {
        output::note("the node does not run: what keys have used, and counts, are not known");
    }
}

fn keys(keys: &[KeyView]) -> Result<(), Failure> {
    if keys.is_empty() {
        return output::line("  no key has sent anything lately");
    }
    let rows = keys.iter().map(|key| {
        let now = match (key.passes, key.retry_seconds) {
            (true, _) => "passes".to_owned(),
            (false, Some(seconds)) => format!("in {}", Span::secs(seconds)),
            (false, None) => "never".to_owned(),
        };
        let rooms: Vec<String> = key.rooms.iter().map(room).collect();
        let note = match (&key.changed, key.cut) {
            (Some(changed), _) => override_note(changed),
            (None, true) => "the key is longer than is kept".to_owned(),
            (None, false) => String::new(),
        };
        vec![
            key.key.clone(),
            key.asked
                .map_or_else(|| "-".to_owned(), |asked| asked.to_string()),
            now,
            rooms.join(", "),
            note,
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    table(&["  key", "asked", "now", "left", ""], indented(rows))
}

fn indented(mut rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    for first in rows.iter_mut().filter_map(|row| row.first_mut()) {
        first.insert_str(0, "  ");
    }
    rows
}

fn room(room: &RoomView) -> String {
    let ordinary = room
        .remaining_ordinary
        .map_or_else(String::new, |ordinary| {
            format!(" ({ordinary} without reserve)")
        });
    format!("{}/{}{ordinary}", room.remaining, room.most)
}

fn override_note(one: &OverrideView) -> String {
    let what = match one.factor {
        Some(factor) => format!("{factor} times the limit"),
        None => "banned".to_owned(),
    };
    format!(
        "{what} until {}: {}",
        moment::format(one.expires),
        one.reason
    )
}

fn override_row(one: &OverrideView) -> String {
    let idle = one
        .idle
        .as_ref()
        .map_or_else(String::new, |why| format!(" (without effect: {why})"));
    output::escape(&format!(
        "{} {} {}{idle}",
        one.limit,
        one.key,
        override_note(one)
    ))
}
