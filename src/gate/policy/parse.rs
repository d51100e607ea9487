//! A document to a [`Policy`].
//!
//! Promise: what is not known, stands twice, is empty, is too long or has another type than it
//! should have is an error that names its place and its mend; the reading goes on, so that one try
//! finds all of them.

use std::fmt::Display;

use super::condition::{Condition, Family, OPERATORS, Operator, Values};
use super::document::Node;
use super::key::{ConditionKey, FactKind};
use super::pattern::{LONGEST_MASKED, Pattern};
use super::problems::{Excerpt, Place, PolicyProblems, Suggestion};
use super::statement::{Actions, Effect, Resources, Statement};
use super::value::{parse_bool, parse_network, parse_number, parse_time};
use super::{Policy, PolicyKind};

/// Characters of a session policy (AssumeRole).
const LONGEST_SESSION: usize = 2048;
/// Bytes of any other policy.
const LONGEST: usize = 16 * 1024;
const MOST_STATEMENTS: usize = 100;
/// Values of one list.
const MOST_VALUES: usize = 500;
/// Bytes of a value.
const LONGEST_VALUE: usize = 1024;

const STATEMENT: &[&str] = &[
    "Effect",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
    "Principal",
];

pub(super) fn parse(kind: PolicyKind, name: &str, json: &str) -> Result<Policy, PolicyProblems> {
    let mut reader = Reader {
        kind,
        errors: PolicyProblems::default(),
        warnings: PolicyProblems::default(),
    };
    let statements = reader.document(json);
    match statements {
        Some((statements, is_list)) if reader.errors.is_empty() => Ok(Policy {
            kind,
            name: name.into(),
            needs_body: statements.iter().any(Statement::needs_body),
            statements,
            is_list,
            warnings: reader.warnings,
        }),
        _ => Err(reader.errors),
    }
}

/// The members of an object, each once.
type Members<'n> = &'n [(String, Node)];

fn member<'n>(members: Members<'n>, name: &str) -> Option<&'n Node> {
    let found = members.iter().find(|(known, _)| known == name);
    found.map(|(_, node)| node)
}

/// Reads on after an error. What returns `None` has told why.
struct Reader {
    kind: PolicyKind,
    errors: PolicyProblems,
    warnings: PolicyProblems,
}

impl Reader {
    fn error<T>(&mut self, at: &Place<'_>, message: impl Display) -> Option<T> {
        self.errors.add(at, message);
        None
    }

    fn document(&mut self, json: &str) -> Option<(Vec<Statement>, bool)> {
        let root = Place::Root;
        let (length, most, unit) = match self.kind {
            // Counting stops mattering past the most bytes that the characters can have.
            PolicyKind::Session if json.len() <= LONGEST_SESSION * 4 => {
                (json.chars().count(), LONGEST_SESSION, "characters")
            }
            PolicyKind::Session => (json.len(), LONGEST_SESSION, "characters"),
            _ => (json.len(), LONGEST, "bytes"),
        };
        if length > most {
            let kind = self.kind;
            return self.error(&root, format_args!("the document is too long: {length} {unit} of at most {most} for a policy of kind {kind}"));
        }
        let node: Node = match serde_json::from_str(json) {
            Ok(node) => node,
            Err(error) => {
                return self.error(&root, format_args!("the document is not JSON: {error}"));
            }
        };
        let members = self.object(&node, &root, &["Version", "Statement"])?;
        self.version(members, &root);
        let place = root.member("Statement");
        match member(members, "Statement") {
            Some(Node::List(list)) => Some((self.statements(list, &place), true)),
            Some(one @ Node::Object(_)) => Some((vec![self.statement(one, &place)?], false)),
            Some(other) => self.error(
                &place,
                format_args!("{} stands here; write a list of statements", other.what()),
            ),
            None => self.error(&root, "`Statement` is missing; add a list of statements"),
        }
    }

    fn version(&mut self, members: Members<'_>, root: &Place<'_>) -> Option<()> {
        let place = root.member("Version");
        match member(members, "Version") {
            Some(Node::Text(version)) if version == "1" => Some(()),
            Some(Node::Text(other)) => self.error(
                &place,
                format_args!(
                    "`{}` is not a version that is known; write \"1\"",
                    Excerpt(other)
                ),
            ),
            Some(other) => self.error(
                &place,
                format_args!("{} stands here; write the string \"1\"", other.what()),
            ),
            None => self.error(root, "`Version` is missing; add \"Version\": \"1\""),
        }
    }

    fn statements(&mut self, list: &[Node], at: &Place<'_>) -> Vec<Statement> {
        if list.is_empty() {
            self.errors.add(at, "the list is empty; add a statement");
        }
        if list.len() > MOST_STATEMENTS {
            let message = format_args!(
                "{} statements of at most {MOST_STATEMENTS}; join some of them",
                list.len()
            );
            self.errors.add(at, message);
            return Vec::new();
        }
        let read = |(n, node)| self.statement(node, &at.item(n));
        list.iter().enumerate().filter_map(read).collect()
    }

    fn statement(&mut self, node: &Node, at: &Place<'_>) -> Option<Statement> {
        let members = self.object(node, at, STATEMENT)?;
        let effect = self.effect(members, at);
        let actions = self.actions(members, at);
        let resources = self.resources(members, at);
        let conditions = match member(members, "Condition") {
            Some(node) => self.conditions(node, &at.member("Condition")),
            None => Some(Vec::new()),
        };
        if let Some(node) = member(members, "Principal") {
            self.principal(node, &at.member("Principal"));
        }
        Some(Statement {
            effect: effect?,
            actions: actions?,
            resources: resources?,
            conditions: conditions?,
        })
    }

    fn effect(&mut self, members: Members<'_>, at: &Place<'_>) -> Option<Effect> {
        let place = at.member("Effect");
        match member(members, "Effect") {
            Some(Node::Text(text)) => match text.as_str() {
                "Allow" => Some(Effect::Allow),
                "Deny" => Some(Effect::Deny),
                other => {
                    let other = Excerpt(other);
                    self.error(
                        &place,
                        format_args!("`{other}` is no effect; write \"Allow\" or \"Deny\""),
                    )
                }
            },
            Some(other) => {
                let message =
                    format_args!("{} stands here; write \"Allow\" or \"Deny\"", other.what());
                self.error(&place, message)
            }
            None => self.error(at, "`Effect` is missing; add \"Allow\" or \"Deny\""),
        }
    }

    fn principal(&mut self, node: &Node, at: &Place<'_>) {
        let everyone = |node: &Node| matches!(node, Node::Text(text) if text == "*");
        let is_everyone = match node {
            Node::List(list) => matches!(list.as_slice(), [one] if everyone(one)),
            one => everyone(one),
        };
        if self.kind != PolicyKind::Project {
            let kind = self.kind;
            self.errors.add(at, format_args!("only a project policy has a Principal, and this is one of kind {kind}; take it away"));
        } else if !is_everyone {
            self.errors.add(
                at,
                "only \"*\", everyone, is understood here; to bind fewer, write a Condition",
            );
        }
    }

    /// The one of two members that is there, and whether it is the second.
    fn either<'n>(
        &mut self,
        members: Members<'n>,
        at: &Place<'_>,
        names: [&'static str; 2],
    ) -> Option<(&'n Node, &'static str, bool)> {
        let [name, negated] = names;
        match (member(members, name), member(members, negated)) {
            (Some(node), None) => Some((node, name, false)),
            (None, Some(node)) => Some((node, negated, true)),
            (None, None) => self.error(
                at,
                format_args!("`{name}` is missing; add it, or `{negated}`"),
            ),
            (Some(_), Some(_)) => self.error(
                at,
                format_args!("both `{name}` and `{negated}` stand here; keep one"),
            ),
        }
    }

    fn actions(&mut self, members: Members<'_>, at: &Place<'_>) -> Option<Actions> {
        let (node, name, negated) = self.either(members, at, ["Action", "NotAction"])?;
        let patterns = self.values(node, &at.member(name), |reader, text, at| {
            if !is_action(text) {
                let message = format_args!("`{}` is no action; write `service:Name` such as \"log:PutLogs\", with `*` and `?` as wildcards, or \"*\"", Excerpt(text));
                return reader.error(at, message);
            }
            reader.pattern(&text.to_ascii_lowercase(), at)
        })?;
        Some(Actions::new(patterns, negated))
    }

    fn resources(&mut self, members: Members<'_>, at: &Place<'_>) -> Option<Resources> {
        let (node, name, negated) = self.either(members, at, ["Resource", "NotResource"])?;
        let patterns = self.values(node, &at.member(name), |reader, text, at| {
            if !text.starts_with("acs:") && !text.starts_with('*') {
                let message = format_args!("`{}` is no resource; write `acs:log:*:*:project/P/logstore/L`, or \"*\"", Excerpt(text));
                return reader.error(at, message);
            }
            if names_region_or_account(text) {
                let message = "the region and the account are compared with those that Tollgate is configured with; write `*` for both, as in `acs:log:*:*:project/...`, unless they must be these";
                reader.warnings.add(at, message);
            }
            reader.pattern(text, at)
        })?;
        Some(Resources { patterns, negated })
    }

    fn conditions(&mut self, node: &Node, at: &Place<'_>) -> Option<Vec<Condition>> {
        let operators = self.any_object(node, at)?;
        let mut conditions = Vec::new();
        for (name, node) in operators {
            let at = at.member(name);
            let operator = Operator::named(name);
            if operator.is_none() {
                let known = OPERATORS.iter().map(|(known, _)| *known);
                self.errors.add(
                    &at,
                    format_args!(
                        "this is no operator that is known{}",
                        Suggestion(name, known)
                    ),
                );
            }
            let Some(keys) = self.any_object(node, &at) else {
                continue;
            };
            let mut seen: Vec<ConditionKey> = Vec::new();
            for (name, node) in keys {
                let at = at.member(name);
                let Some(key) = self.key(name, operator, &at) else {
                    continue;
                };
                if seen.contains(&key) {
                    self.errors.add(
                        &at,
                        "the key stands twice, letter case aside; write its values as one list",
                    );
                }
                seen.push(key.clone());
                if let Some(operator) = operator {
                    conditions.extend(self.condition(operator, key, node, &at));
                }
            }
        }
        Some(conditions)
    }

    fn key(
        &mut self,
        name: &str,
        operator: Option<Operator>,
        at: &Place<'_>,
    ) -> Option<ConditionKey> {
        let Some(key) = ConditionKey::parse(name) else {
            let hint = Suggestion(name, ConditionKey::names());
            return self.error(
                at,
                format_args!("this is no condition key that is known{hint}"),
            );
        };
        let fits = |operator: Operator| operator.family.reads(key.kind());
        if !operator.is_none_or(fits) {
            let use_ = match key.kind() {
                FactKind::Address => "an address; use IpAddress or NotIpAddress",
                FactKind::Time => "a time; use an operator that begins with Date",
                _ => "true or false; use Bool",
            };
            return self.error(at, format_args!("{key} is {use_}"));
        }
        if key.kind() == FactKind::Never {
            self.warnings.add(at, "Tollgate never knows this: a negated operator always holds for it, any other never does");
        }
        Some(key)
    }

    fn condition(
        &mut self,
        operator: Operator,
        key: ConditionKey,
        node: &Node,
        at: &Place<'_>,
    ) -> Option<Condition> {
        let values = match operator.family {
            Family::Equal => Values::Equal(self.values(node, at, |_, text, _| Some(text.into()))?),
            Family::EqualIgnoringCase => {
                Values::EqualIgnoringCase(self.values(node, at, |_, text, _| Some(text.into()))?)
            }
            Family::Like => Values::Like(self.values(node, at, |r, text, at| r.pattern(text, at))?),
            Family::Number(order) => Values::Number(
                order,
                self.parsed(node, at, parse_number, "number, such as \"12\" or \"-0.5\"")?,
            ),
            Family::Date(order) => Values::Date(
                order,
                self.parsed(
                    node,
                    at,
                    parse_time,
                    "time, such as \"2012-11-11T23:59:59Z\"",
                )?,
            ),
            Family::Bool => Values::Bool(self.parsed(
                node,
                at,
                parse_bool,
                "truth; write \"true\" or \"false\"",
            )?),
            Family::Address => Values::Address(self.parsed(
                node,
                at,
                parse_network,
                "address or network, such as \"10.0.0.1\" or \"10.0.0.0/8\"",
            )?),
        };
        Some(Condition {
            key,
            negated: operator.negated,
            values,
        })
    }

    fn parsed<T>(
        &mut self,
        node: &Node,
        at: &Place<'_>,
        parse: fn(&str) -> Option<T>,
        what: &str,
    ) -> Option<Vec<T>> {
        self.values(node, at, |reader, text, at| {
            parse(text)
                .or_else(|| reader.error(at, format_args!("`{}` is no {what}", Excerpt(text))))
        })
    }

    fn pattern(&mut self, text: &str, at: &Place<'_>) -> Option<Pattern> {
        Pattern::new(text).ok().or_else(|| {
            self.error(at, format_args!("a part with `?` between two `*` has more than {LONGEST_MASKED} characters; shorten it"))
        })
    }

    /// The values of a string or of a list of strings; none of them when one is wrong.
    fn values<T>(
        &mut self,
        node: &Node,
        at: &Place<'_>,
        mut read: impl FnMut(&mut Self, &str, &Place<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let list = match node {
            Node::List(list) if list.is_empty() => {
                return self.error(
                    at,
                    "the list is empty; add a value, or take the member away",
                );
            }
            Node::List(list) if list.len() > MOST_VALUES => {
                let message = format_args!(
                    "{} values of at most {MOST_VALUES}; use a wildcard or a network",
                    list.len()
                );
                return self.error(at, message);
            }
            Node::List(list) => list.as_slice(),
            one => {
                let value = self.text(one, at)?;
                return Some(vec![read(self, value, at)?]);
            }
        };
        let mut values = Vec::with_capacity(list.len());
        for (n, node) in list.iter().enumerate() {
            let at = at.item(n);
            values.extend(self.text(node, &at).and_then(|text| read(self, text, &at)));
        }
        (values.len() == list.len()).then_some(values)
    }

    fn text<'n>(&mut self, node: &'n Node, at: &Place<'_>) -> Option<&'n str> {
        match node {
            Node::Text(text) if text.len() > LONGEST_VALUE => {
                let message = format_args!(
                    "{} bytes of at most {LONGEST_VALUE}; shorten it",
                    text.len()
                );
                self.error(at, message)
            }
            Node::Text(text) if text.contains("${") => self.error(
                at,
                "`${` stands here, and variables are not understood; write the value itself",
            ),
            Node::Text(text) => Some(text),
            other => {
                let message =
                    format_args!("{} stands here; write a string in quotes", other.what());
                self.error(at, message)
            }
        }
    }

    /// An object with none but these members.
    fn object<'n>(
        &mut self,
        node: &'n Node,
        at: &Place<'_>,
        known: &[&str],
    ) -> Option<Members<'n>> {
        let members = self.any_object(node, at)?;
        for (name, _) in members {
            if !known.contains(&name.as_str()) {
                let hint = Suggestion(name, known.iter().copied());
                self.errors.add(
                    &at.member(name),
                    format_args!("this member is not known{hint}"),
                );
            }
        }
        Some(members)
    }

    /// An object with at least one member, and each of them once.
    fn any_object<'n>(&mut self, node: &'n Node, at: &Place<'_>) -> Option<Members<'n>> {
        let Node::Object(members) = node else {
            return self.error(
                at,
                format_args!("{} stands here; write an object", node.what()),
            );
        };
        if members.is_empty() {
            return self.error(at, "the object is empty; fill it, or take it away");
        }
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let mut twice = names.windows(2).filter_map(|pair| match pair {
            [a, b] if a == b => Some(*a),
            _ => None,
        });
        match twice.next() {
            Some(name) => self.error(&at.member(name), "this member stands twice; keep one"),
            None => Some(members),
        }
    }
}

/// `*`, or a service and a name: letters, digits, `-`, `_`, `/` and wildcards.
fn is_action(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_/*?".contains(&b))
    };
    text == "*"
        || text
            .split_once(':')
            .is_some_and(|(service, name)| is_part(service) && is_part(name))
}

fn names_region_or_account(resource: &str) -> bool {
    let mut parts = resource.splitn(5, ':').skip(2);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(region), Some(account), Some(_)) => region != "*" || account != "*",
        _ => false,
    }
}
