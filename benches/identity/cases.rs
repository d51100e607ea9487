//! What is measured: each check as the front asks for it, and what it is made of.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tollgate::config::{SignatureVersion, TokenPlace};
use tollgate::gate::identity::{Action, Check};
use tollgate::gate::policy::{
    ActionName, ConditionKey, Context, Decision, Fact, Policies, Policy, PolicyKind, Question,
};

use super::Side;
use super::bare::{self, Hs256, Public, Sealed, V1, V4};
use super::fixture::{Gate, Issuer, Signed, body};

/// One check of the n-th thing that was prepared. What it returns is of no meaning.
pub type Step = Box<dyn FnMut(usize) -> usize>;

/// What is asked of a check.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// So many times the instructions of the bare primitives, at most.
    Ratio(f64),
    /// So long, at most.
    Nanoseconds(f64),
    /// Nothing; it is there to be seen.
    None,
}

/// One kind of check.
pub struct Case {
    /// Name on the command line and in the table.
    pub name: &'static str,
    pub goal: Goal,
    /// Checks that are counted by valgrind.
    pub counted: usize,
    /// Checks in a round of the clock.
    pub timed: usize,
    make: fn(Side, usize) -> Step,
}

impl Case {
    /// Prepares `count` checks.
    pub fn prepare(&self, side: Side, count: usize) -> Step {
        (self.make)(side, count)
    }
}

const fn case(name: &'static str, goal: Goal, make: fn(Side, usize) -> Step) -> Case {
    Case {
        name,
        goal,
        counted: 200,
        timed: 300,
        make,
    }
}

const TWICE: Goal = Goal::Ratio(2.0);
const MICROSECOND: Goal = Goal::Nanoseconds(1000.0);
const TWO_MICROSECONDS: Goal = Goal::Nanoseconds(2000.0);

/// Every check.
pub const ALL: &[Case] = &[
    case("sts-v1-new", TWICE, |side, count| sts(side, count, None)),
    case("sts-v1-known", TWICE, sts_known),
    case(
        "sts-v1-new-with-session-policy",
        Goal::None,
        |side, count| sts(side, count, Some(SESSION_POLICY)),
    ),
    case("key-v1", TWICE, |side, _| key(side, SignatureVersion::V1)),
    case("key-v4", TWICE, |side, _| key(side, SignatureVersion::V4)),
    case("hs256", TWICE, hs256),
    case("ticket", TWICE, ticket),
    Case {
        counted: 20,
        timed: 30,
        ..case("rs256-new", TWICE, |side, count| {
            public(side, Issuer::rsa(), "rsa", count)
        })
    },
    case("rs256-known", MICROSECOND, |side, _| {
        known(side, &Issuer::rsa())
    }),
    Case {
        counted: 20,
        timed: 30,
        ..case("es256-new", TWICE, |side, count| {
            public(side, Issuer::p256(), "p256", count)
        })
    },
    case("es256-known", MICROSECOND, |side, _| {
        known(side, &Issuer::p256())
    }),
    case("policy-50-allowed-by-the-last", TWO_MICROSECONDS, |_, _| {
        policy(
            &statement("Allow", "web-tracking-logstore", ""),
            "",
            Answer::Allowed,
        )
    }),
    case("policy-50-denied-by-the-last", TWO_MICROSECONDS, |_, _| {
        policy(
            &statement("Deny", "web-tracking-logstore", ""),
            "",
            Answer::Denied,
        )
    }),
    case("policy-50-none-allows", TWO_MICROSECONDS, |_, _| {
        policy(&statement("Allow", "another", ""), "", Answer::Denied)
    }),
    case("policy-50-conditions", TWO_MICROSECONDS, |_, _| {
        // Every statement is for this logstore: the last of its conditions fails, but in the last.
        let last = statement("Allow", "web-tracking-*", &conditions("shop"));
        policy(&last, &conditions("other"), Answer::Allowed)
    }),
];

const SESSION_POLICY: &str = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["log:PostLogStoreLogs"],"Resource":["acs:log:*:*:project/sls-webtracking-mini/logstore/web-tracking-logstore"]}]}"#;

/// What the front asks of a signed request.
fn check_signed(check: &Check<'_>, request: &Signed, body: &[u8]) -> usize {
    let parts = request.parts();
    let kind = check.signature_kind(&parts);
    let (principal, signed) = check.signature(kind, &parts).expect("it is right");
    signed.check(body).expect("the body is right");
    usize::from(principal.bearer().is_some())
}

/// Each request has a token that was never seen.
fn sts(side: Side, count: usize, policy: Option<&'static str>) -> Step {
    let (gate, body) = (Gate::new(), body());
    let requests = (0..count).map(|at| gate.sts_request(at, policy));
    match side {
        Side::Ours => {
            let requests: Vec<Signed> = requests.collect();
            Box::new(move |at| check_signed(&gate.check(), &requests[at], &body))
        }
        Side::Bare => {
            let of = |request: Signed| {
                let sealed = Sealed::like(request.header("x-acs-security-token"));
                (sealed, V1::of(&request))
            };
            let all: Vec<_> = requests.map(of).collect();
            Box::new(move |at| {
                let (sealed, v1) = &all[at];
                sealed.open() + v1.check(&body)
            })
        }
    }
}

/// Requests of one session, which is known. Its token is not opened again.
fn sts_known(side: Side, _: usize) -> Step {
    let (gate, body) = (Gate::new(), body());
    signed(side, gate.sts_request(0, None), gate, body)
}

fn key(side: Side, version: SignatureVersion) -> Step {
    let (gate, body) = (Gate::new(), body());
    let request = gate.key_request(version);
    if side == Side::Bare && version == SignatureVersion::V4 {
        let v4 = V4::of(&request);
        return Box::new(move |_| v4.check(&body));
    }
    signed(side, request, gate, body)
}

fn signed(side: Side, request: Signed, gate: Gate, body: Vec<u8>) -> Step {
    match side {
        Side::Ours => {
            check_signed(&gate.check(), &request, &body);
            Box::new(move |_| check_signed(&gate.check(), &request, &body))
        }
        Side::Bare => {
            let v1 = V1::of(&request);
            Box::new(move |_| v1.check(&body))
        }
    }
}

/// What the front asks of a token.
fn check_token(check: &Check<'_>, token: &str) -> usize {
    let place = TokenPlace::Authorization;
    let _kind = std::hint::black_box(Check::token_kind(token.as_bytes()));
    let principal = check.token(token.as_bytes(), place).expect("it is right");
    usize::from(principal.bearer().is_some())
}

fn hs256(side: Side, _: usize) -> Step {
    let gate = Gate::new();
    let tokens: Vec<_> = (0..64).map(|visitor| gate.minted(visitor)).collect();
    by_secret(side, gate, tokens)
}

fn ticket(side: Side, _: usize) -> Step {
    let gate = Gate::new();
    let tickets: Vec<_> = (0..64).map(|_| gate.ticket()).collect();
    by_secret(side, gate, tickets)
}

fn by_secret(
    side: Side,
    gate: Gate,
    tokens: Vec<(String, tollgate::foundation::secret::Secret)>,
) -> Step {
    match side {
        Side::Ours => Box::new(move |at| check_token(&gate.check(), &tokens[at % 64].0)),
        Side::Bare => {
            let of = |(token, secret): &(String, tollgate::foundation::secret::Secret)| {
                Hs256::of(token, secret.expose())
            };
            let all: Vec<_> = tokens.iter().map(of).collect();
            Box::new(move |at| all[at % 64].check())
        }
    }
}

/// Each token was never seen.
fn public(side: Side, issuer: Issuer, kid: &str, count: usize) -> Step {
    let gate = Gate::new();
    let tokens = (0..count).map(|visitor| issuer.token(visitor, gate.now()));
    match side {
        Side::Ours => {
            let tokens: Vec<String> = tokens.collect();
            Box::new(move |at| check_token(&gate.check(), &tokens[at]))
        }
        Side::Bare => {
            let all: Vec<_> = tokens.map(|token| Public::of(&token, kid)).collect();
            Box::new(move |at| all[at].check())
        }
    }
}

/// Tokens whose verdict is kept.
fn known(side: Side, issuer: &Issuer) -> Step {
    let gate = Gate::new();
    let tokens: Vec<String> = (0..16).map(|it| issuer.token(it, gate.now())).collect();
    match side {
        Side::Ours => {
            for token in &tokens {
                check_token(&gate.check(), token);
            }
            Box::new(move |at| check_token(&gate.check(), &tokens[at % 16]))
        }
        Side::Bare => Box::new(move |at| bare::digest_of(&tokens[at % 16])),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Allowed,
    Denied,
}

fn statement(effect: &str, logstore: &str, conditions: &str) -> String {
    format!(
        r#"{{"Effect":"{effect}","Action":["log:PostLogStoreLogs"],"Resource":["acs:log:*:*:project/*/logstore/{logstore}"]{conditions}}}"#
    )
}

fn conditions(site: &str) -> String {
    format!(
        r#","Condition":{{"IpAddress":{{"acs:SourceIp":["10.0.0.0/8","203.0.113.0/24"]}},"DateLessThan":{{"acs:CurrentTime":"2038-01-01T00:00:00Z"}},"StringLike":{{"tollgate:Origin":["https://{site}.example.*"]}}}}"#
    )
}

/// A policy of 50 statements, of which the last is the one that matters. There is nothing that it
/// could be held against: both sides are the decision.
fn policy(last: &str, conditions: &str, answer: Answer) -> Step {
    let logstore = |at: usize| match conditions {
        "" => format!("logstore-{at:02}"),
        _ => "web-tracking-*".to_owned(),
    };
    let first = (0..49).map(|at| statement("Allow", &logstore(at), conditions));
    let statements: Vec<String> = first.chain([last.to_owned()]).collect();
    let document = format!(
        r#"{{"Version":"1","Statement":[{}]}}"#,
        statements.join(",")
    );
    let policy = Policy::parse(PolicyKind::Identity, "fifty", &document);
    let held = [Arc::new(policy.expect("a policy"))];
    Box::new(move |_| {
        let policies = Policies {
            identity: &held,
            session: None,
            project: None,
        };
        let decision = policies.decide(&Question {
            action: &ActionName::Known(Action::PutLogs),
            resource: "acs:log:cn-hangzhou:1234567890123456:project/sls-webtracking-mini/logstore/web-tracking-logstore",
            context: &Known,
        });
        let is = match decision {
            Decision::Allowed(_) => Answer::Allowed,
            Decision::Denied(_) | Decision::NeedsBody => Answer::Denied,
        };
        assert!(is == answer, "{decision:?}");
        1
    })
}

struct Known;

impl Context for Known {
    fn fact(&self, key: &ConditionKey) -> Fact<'_> {
        match key {
            ConditionKey::SourceIp => Fact::Address(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7))),
            ConditionKey::CurrentTime => Fact::Time(1_781_510_400),
            ConditionKey::Origin => Fact::Text("https://shop.example.com"),
            _ => Fact::Absent,
        }
    }
}
