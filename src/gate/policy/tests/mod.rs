//! What documents mean, one rule at a time. Random documents are held to a model in
//! `tests/policy.rs`.

mod conditions;
mod decisions;
mod documents;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::*;

const WEB: &str = "acs:log:cn-hangzhou:1:project/shop/logstore/web";

/// Facts by the name of their key. What only the body tells is not known yet, where so said.
#[derive(Clone, Debug, Default)]
struct Facts {
    facts: BTreeMap<String, Held>,
    before_body: bool,
}

#[derive(Clone, Debug)]
enum Held {
    Text(String),
    Address(IpAddr),
    Time(u64),
    Bool(bool),
}

impl Facts {
    fn with(mut self, key: &str, held: Held) -> Self {
        self.facts.insert(key.to_owned(), held);
        self
    }

    fn text(self, key: &str, text: &str) -> Self {
        self.with(key, Held::Text(text.to_owned()))
    }
}

impl Context for Facts {
    fn fact(&self, key: &ConditionKey) -> Fact<'_> {
        assert_ne!(key.kind(), FactKind::Never);
        if self.before_body && key.is_in_body() {
            return Fact::Later;
        }
        match self.facts.get(&key.to_string()) {
            None => Fact::Absent,
            Some(Held::Text(text)) => Fact::Text(text),
            Some(Held::Address(address)) => Fact::Address(*address),
            Some(Held::Time(time)) => Fact::Time(*time),
            Some(Held::Bool(is)) => Fact::Bool(*is),
        }
    }
}

fn identity(json: &str) -> Arc<Policy> {
    Arc::new(Policy::parse(PolicyKind::Identity, "test", json).unwrap())
}

/// A policy of these statements.
fn statements(statements: &str) -> Arc<Policy> {
    identity(&format!(r#"{{"Version":"1","Statement":[{statements}]}}"#))
}

fn decide<'p>(
    policy: &'p Arc<Policy>,
    action: &str,
    resource: &str,
    facts: &Facts,
) -> Decision<'p> {
    let policies = Policies {
        identity: std::slice::from_ref(policy),
        session: None,
        project: None,
    };
    policies.decide(&Question {
        action: &ActionName::new(action),
        resource,
        context: facts,
    })
}

/// Whether the policy allows the action on the resource, without any facts.
fn allows(policy: &Arc<Policy>, action: &str, resource: &str) -> bool {
    matches!(
        decide(policy, action, resource, &Facts::default()),
        Decision::Allowed(_)
    )
}
