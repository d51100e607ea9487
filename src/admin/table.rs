//! Every call of the admin API, in one table: what it is called by, what it takes, what it answers. The
//! calls are found by it, their parameters are checked by it, and `docs/openapi.json` is made of it.

use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::node::{
    ConfigView, DrainState, ExplainOrder, Explained, NodeState, SpoolPage, SpoolPlace, SpoolPurged,
    SpoolReport,
};
use super::reload::{ReloadOrder, ReloadReport};
use crate::config::AdminRole;
use crate::event::{
    AsidePage, PurgeOrder, Purged, RecordPage, ReplayOrder, ReplayReport, SampledRequest,
};
use crate::gate::identity::state::{
    ExtendTicket, MAX_PAGE, MadeTicket, NewRevocation, NewTicket, Revocation, RevocationPage,
    TicketPage, TicketRecord,
};
use crate::gate::quota::{KeyView, LimitDetail, LimitList, NewOverride, OverrideView};
use crate::telemetry::log::{LogLevel, NewLogLevel};
use crate::telemetry::{AdminCall, Books, UpstreamReports};

/// The path that all calls are below.
pub(super) const BASE: &str = "/api/v1";

/// Gives the schema of a type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// A parameter in the path or the query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// Whether it is a whole number, and its least and greatest value.
    pub(super) number: Option<(u64, u64)>,
}

/// A call.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) label: AdminCall,
    pub(super) method: Method,
    /// Below [`BASE`]; `{name}` stands for a parameter. The last one may hold a `/` where it is the fourth
    /// part.
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) in_path: &'static [Parameter],
    pub(super) in_query: &'static [Parameter],
    /// What the body holds, and whether it may be left out.
    pub(super) body: Option<(SchemaOf, bool)>,
    /// The status when all is well.
    pub(super) status: u16,
    pub(super) form: Form,
    pub(super) answer: SchemaOf,
    /// Statuses of refusals, beside those that every call may have.
    pub(super) refusals: &'static [u16],
    /// The least role of a client that may make it.
    pub(super) role: AdminRole,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One JSON value.
    Json,
    /// A JSON object a line.
    Lines,
}

/// Statuses that every call may answer with: what was sent is wrong, the token, a page in a browser, no
/// such path or thing, the method, the time, the size and the form of the body, a fault, and the disk.
pub(super) const COMMON: &[u16] = &[400, 401, 403, 404, 405, 408, 413, 415, 500, 503];

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn limit_or_key(generator: &mut SchemaGenerator) -> Schema {
    let limit = generator.subschema_for::<LimitDetail>();
    let key = generator.subschema_for::<KeyView>();
    schemars::json_schema!({"oneOf": [limit, key]})
}

fn document(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "object", "required": ["openapi", "paths"]})
}

const fn text(name: &'static str, what: &'static str) -> Parameter {
    Parameter {
        name,
        what,
        number: None,
    }
}

const _: () = assert!(MAX_PAGE == 1_000, "what `LIMIT` says");
const LIMIT: Parameter = Parameter {
    name: "limit",
    what: "Entries of one answer; 100 when left out.",
    number: Some((1, 1_000)),
};
const CURSOR: Parameter = text("cursor", "Where to go on: `next` of the answer before.");
const ID: Parameter = text("id", "The id of the ticket.");
const NAME: Parameter = text("name", "The name of the limit.");
const PROJECT: Parameter = text("project", "The project, as clients name it.");
const LOGSTORE: Parameter = text("logstore", "The logstore, as clients name it.");

const GET: Spec = Spec {
    label: AdminCall::Unknown,
    method: Method::GET,
    path: "",
    summary: "",
    in_path: &[],
    in_query: &[],
    body: None,
    status: 200,
    form: Form::Json,
    answer: of::<()>,
    refusals: &[],
    role: AdminRole::Viewer,
};
const POST: Spec = Spec {
    method: Method::POST,
    role: AdminRole::Admin,
    ..GET
};
const DELETE: Spec = Spec {
    method: Method::DELETE,
    role: AdminRole::Admin,
    ..GET
};

/// Every call.
pub(super) const CALLS: &[Spec] = &[
    Spec {
        label: AdminCall::ReadState,
        path: "state",
        summary: "How the node stands: version, configuration, listeners, logstores, memory, readiness.",
        answer: of::<NodeState>,
        ..GET
    },
    Spec {
        label: AdminCall::ReadConfig,
        path: "config",
        summary: "The configuration that is in force. Secrets are named, not shown.",
        answer: of::<ConfigView>,
        ..GET
    },
    Spec {
        label: AdminCall::Reload,
        path: "reload",
        summary: "Take over what the configuration says now, or only say what that would change.",
        body: Some((of::<ReloadOrder>, true)),
        answer: of::<ReloadReport>,
        refusals: &[409],
        role: AdminRole::Operator,
        ..POST
    },
    Spec {
        label: AdminCall::ReadDrain,
        path: "drain",
        summary: "How far a drain is: what the node still holds.",
        answer: of::<DrainState>,
        ..GET
    },
    Spec {
        label: AdminCall::BeginDrain,
        path: "drain",
        summary: "Begin a drain: the node says that it is not ready, and goes on serving who comes all the same.",
        answer: of::<DrainState>,
        role: AdminRole::Operator,
        ..POST
    },
    Spec {
        label: AdminCall::EndDrain,
        path: "drain",
        summary: "End a drain: the node is ready again.",
        answer: of::<DrainState>,
        role: AdminRole::Operator,
        ..DELETE
    },
    Spec {
        label: AdminCall::Explain,
        path: "explain",
        summary: "Tell what would become of a request, stage by stage, by the configuration that is in force. Nothing is stored, and no limit is charged.",
        body: Some((of::<ExplainOrder>, false)),
        answer: of::<Explained>,
        refusals: &[409],
        role: AdminRole::Viewer,
        ..POST
    },
    Spec {
        label: AdminCall::CreateTicket,
        path: "tickets",
        summary: "Make a ticket.",
        body: Some((of::<NewTicket>, false)),
        status: 201,
        answer: of::<MadeTicket>,
        refusals: &[409],
        ..POST
    },
    Spec {
        label: AdminCall::ListTickets,
        path: "tickets",
        summary: "The tickets.",
        in_query: &[LIMIT, CURSOR],
        answer: of::<TicketPage>,
        ..GET
    },
    Spec {
        label: AdminCall::RevokeTicket,
        path: "tickets/{id}",
        summary: "Revoke a ticket.",
        in_path: &[ID],
        in_query: &[
            text("reason", "Why, for those who read the list."),
            text("by", "Who revokes it."),
        ],
        answer: of::<Revocation>,
        refusals: &[409],
        ..DELETE
    },
    Spec {
        label: AdminCall::ExtendTicket,
        path: "tickets/{id}/extend",
        summary: "Let a ticket live longer.",
        in_path: &[ID],
        body: Some((of::<ExtendTicket>, false)),
        answer: of::<TicketRecord>,
        refusals: &[409],
        ..POST
    },
    Spec {
        label: AdminCall::Revoke,
        path: "revocations",
        summary: "Revoke a credential.",
        body: Some((of::<NewRevocation>, false)),
        status: 201,
        answer: of::<Revocation>,
        refusals: &[409],
        ..POST
    },
    Spec {
        label: AdminCall::ListRevocations,
        path: "revocations",
        summary: "The revocations.",
        in_query: &[text("kind", "Only of this kind."), LIMIT, CURSOR],
        answer: of::<RevocationPage>,
        ..GET
    },
    Spec {
        label: AdminCall::LiftRevocation,
        path: "revocations/{kind}/{value}",
        summary: "Take a revocation back.",
        in_path: &[
            text("kind", "What it is about."),
            text("value", "Whom it is about."),
        ],
        answer: of::<Revocation>,
        refusals: &[409],
        ..DELETE
    },
    Spec {
        label: AdminCall::ListLimits,
        path: "limits",
        summary: "The limits.",
        answer: of::<LimitList>,
        ..GET
    },
    Spec {
        label: AdminCall::ShowLimit,
        path: "limits/{name}",
        summary: "A limit with its heaviest keys, or with `key` one of its keys.",
        in_path: &[NAME],
        in_query: &[
            text("key", "One key."),
            Parameter {
                name: "top",
                what: "How many of the heaviest keys.",
                number: Some((0, crate::gate::quota::MOST_TOP as u64)),
            },
        ],
        answer: limit_or_key,
        ..GET
    },
    Spec {
        label: AdminCall::AddOverride,
        path: "limits/{name}/overrides",
        summary: "Ban a key of a limit, or raise what it may use.",
        in_path: &[NAME],
        body: Some((of::<NewOverride>, false)),
        status: 201,
        answer: of::<OverrideView>,
        refusals: &[409],
        role: AdminRole::Operator,
        ..POST
    },
    Spec {
        label: AdminCall::LiftOverride,
        path: "limits/{name}/overrides/{key}",
        summary: "Take a ban or a raise back.",
        in_path: &[NAME, text("key", "The key.")],
        answer: of::<OverrideView>,
        refusals: &[409],
        role: AdminRole::Operator,
        ..DELETE
    },
    Spec {
        label: AdminCall::ListQuarantine,
        path: "quarantine",
        summary: "The logstores whose events were set aside on this node.",
        in_query: &[LIMIT, CURSOR],
        answer: of::<AsidePage>,
        ..GET
    },
    Spec {
        label: AdminCall::ReadQuarantine,
        path: "quarantine/{project}/{logstore}",
        summary: "Events of a logstore that were set aside, and why: the oldest first. Personal data is not masked in them.",
        in_path: &[PROJECT, LOGSTORE],
        in_query: &[
            text("id", "Only this record."),
            text(
                "cause",
                "Only what was set aside for this: schema, guard, transform or store.",
            ),
            text(
                "check",
                "Only what this check found bad: a schema, with or without `@` and its version, a guard or a step.",
            ),
            Parameter {
                name: "since",
                what: "Only what was received from then on, in unix seconds.",
                number: Some((0, super::aside::LATEST)),
            },
            LIMIT,
            CURSOR,
        ],
        answer: of::<RecordPage>,
        ..GET
    },
    Spec {
        label: AdminCall::ReplayQuarantine,
        path: "quarantine/replay",
        summary: "Take events that were set aside once more, by what events are held to now.",
        body: Some((of::<ReplayOrder>, false)),
        answer: of::<ReplayReport>,
        refusals: &[409],
        role: AdminRole::Operator,
        ..POST
    },
    Spec {
        label: AdminCall::PurgeQuarantine,
        path: "quarantine/purge",
        summary: "Delete the events of a logstore that were set aside.",
        body: Some((of::<PurgeOrder>, false)),
        answer: of::<Purged>,
        refusals: &[409],
        ..POST
    },
    Spec {
        label: AdminCall::ListSpool,
        path: "spool",
        summary: "The logstores that have events on disk, those included that are not configured any more.",
        in_query: &[LIMIT, CURSOR],
        answer: of::<SpoolPage>,
        ..GET
    },
    Spec {
        label: AdminCall::VerifySpool,
        path: "spool/{project}/{logstore}",
        summary: "Read every record that a logstore has on disk, and check it.",
        in_path: &[PROJECT, LOGSTORE],
        answer: of::<SpoolReport>,
        ..GET
    },
    Spec {
        label: AdminCall::PurgeSpool,
        path: "spool/purge",
        summary: "Delete what a logstore has on disk that is not configured any more.",
        body: Some((of::<SpoolPlace>, false)),
        answer: of::<SpoolPurged>,
        refusals: &[409],
        ..POST
    },
    Spec {
        label: AdminCall::ReadSample,
        path: "sample",
        summary: "The sample of requests.",
        form: Form::Lines,
        answer: of::<SampledRequest>,
        ..GET
    },
    Spec {
        label: AdminCall::ReadBooks,
        path: "books",
        summary: "What came in for each logstore, and where it is or how it ended.",
        answer: of::<Books>,
        ..GET
    },
    Spec {
        label: AdminCall::ShowLog,
        path: "log",
        summary: "The level of the log.",
        answer: of::<LogLevel>,
        refusals: &[409],
        ..GET
    },
    Spec {
        label: AdminCall::ChangeLog,
        method: Method::PUT,
        path: "log",
        summary: "Change the level of the log for a time.",
        body: Some((of::<NewLogLevel>, false)),
        answer: of::<LogLevel>,
        refusals: &[409],
        role: AdminRole::Operator,
        ..POST
    },
    Spec {
        label: AdminCall::ResetLog,
        path: "log",
        summary: "Make the level of the log what was configured.",
        answer: of::<LogLevel>,
        refusals: &[409],
        role: AdminRole::Operator,
        ..DELETE
    },
    Spec {
        label: AdminCall::ReadUpstreams,
        path: "upstreams",
        summary: "How the upstreams are: their breakers, their retries, and how many LogGroups go at once.",
        answer: of::<UpstreamReports>,
        ..GET
    },
    Spec {
        label: AdminCall::ReadOpenApi,
        path: "openapi.json",
        summary: "This description.",
        answer: document,
        ..GET
    },
];

/// The call of a method and the parts of a path below [`BASE`], with what stands for the parameters; or
/// the methods that the path has.
pub(super) fn find<'a>(
    method: &Method,
    parts: &[&'a str],
) -> Result<(&'static Spec, Vec<&'a str>), Vec<&'static Method>> {
    let mut others = Vec::new();
    for spec in CALLS {
        let Some(given) = matched(spec.path, parts) else {
            continue;
        };
        if spec.method == *method {
            return Ok((spec, given));
        }
        others.push(&spec.method);
    }
    Err(others)
}

fn matched<'a>(path: &str, parts: &[&'a str]) -> Option<Vec<&'a str>> {
    let mut given = Vec::new();
    let mut template = path.split('/');
    for part in parts {
        let wanted = template.next()?;
        if wanted.starts_with('{') {
            given.push(*part);
        } else if wanted != *part {
            return None;
        }
    }
    template.next().is_none().then_some(given)
}
