//! The embedded store's readers besides the holder of its own key: access keys and temporary
//! credentials of `[identity]`, under their policies, decided as the front decides. They write
//! through the front.
//!
//! Promise: what is trusted and revoked at the moment a request comes decides it, so a reload counts
//! at once. Every refusal is counted. The resources are named by the store's own names of projects
//! and logstores (`upstream_project`, `upstream_logstore`).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::upstreams::account_of;
use crate::config::{Config, Project};
use crate::embedded::{Access, Admitted, StoreAction, StoreRequest};
use crate::event::{EventGroup, Reason, Refusal};
use crate::foundation::clock;
use crate::gate::identity::{Action, Authenticator, Check, Denied, Facts, Principal, Trust};
use crate::gate::policy::{project_resource_name, resource_name};
use crate::logstore::signature::SignedBody;
use crate::telemetry::{CredentialKind, Metrics};

/// The identity of this process, as the embedded store asks it.
pub(super) struct StoreAccess {
    authenticator: Arc<Authenticator>,
    metrics: Arc<Metrics>,
    region: String,
    named: ArcSwap<Named>,
}

/// What of a configuration names resources.
struct Named {
    account: String,
    /// Projects that have one name here and at the front: the policy of another could not be found.
    projects: BTreeSet<String>,
}

impl Named {
    fn of(config: &Config) -> Self {
        Self {
            account: account_of(config).to_owned(),
            projects: projects_of(config),
        }
    }
}

impl StoreAccess {
    pub(super) fn of(
        config: &Config,
        authenticator: Arc<Authenticator>,
        metrics: &Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            authenticator,
            metrics: Arc::clone(metrics),
            region: config.embedded.region.clone(),
            named: ArcSwap::from_pointee(Named::of(config)),
        })
    }

    /// Names resources as another configuration does from now on.
    pub(super) fn take_over(&self, config: &Config) {
        self.named.store(Arc::new(Named::of(config)));
    }

    fn resource(&self, request: &StoreRequest<'_>) -> String {
        let named = self.named.load();
        let (region, account) = (&self.region, &named.account);
        match (request.logstore, request.action) {
            (Some(logstore), _) => resource_name(region, account, request.project, logstore),
            (None, StoreAction::ListLogstores) => {
                resource_name(region, account, request.project, "*")
            }
            (None, _) => project_resource_name(region, account, request.project),
        }
    }
}

/// Names of the embedded store that the front uses for the same project, and for no other.
fn projects_of(config: &Config) -> BTreeSet<String> {
    let name_at_store = |project: &Project| {
        let name = project.upstream_project.as_ref().unwrap_or(&project.name);
        name.to_string()
    };
    let names = config.projects.iter().map(name_at_store);
    let mut same: BTreeSet<String> = names.collect();
    for project in &config.projects {
        if project.name.as_str() != name_at_store(project) {
            same.remove(&name_at_store(project));
        }
    }
    same
}

fn refusal(metrics: &Metrics, denied: Denied) -> Refusal {
    let reason = denied.refusal.reason();
    metrics.credentials_refused(denied.kind, reason).inc();
    denied.refusal
}

impl Access for StoreAccess {
    fn admit(&self, request: &StoreRequest<'_>) -> Result<Box<dyn Admitted>, Refusal> {
        if !self.named.load().projects.contains(request.project) {
            let denied = Denied::new(CredentialKind::AccessKey, Reason::AccessKeyUnknown);
            return Err(refusal(&self.metrics, denied));
        }
        let asked = Asked {
            project: request.project.to_owned(),
            logstore: request.logstore.unwrap_or_default().to_owned(),
            action: action_of(request.action),
            resource: self.resource(request),
            client: request.client,
            origin: request
                .parts
                .headers
                .get(http::header::ORIGIN)
                .and_then(|origin| origin.to_str().ok())
                .map(str::to_owned),
            unix_seconds: clock::unix_seconds(),
        };
        let trust = self.authenticator.trust();
        let signed = asked.check(&self.authenticator, &trust, |check| {
            let kind = match check.signature_kind(&request.parts) {
                // Nothing is passed on from here: it counts as a key that is not known.
                CredentialKind::Passthrough => CredentialKind::AccessKey,
                kind => kind,
            };
            check.signature(kind, &request.parts)
        });
        let (principal, body) = signed.map_err(|denied| refusal(&self.metrics, denied))?;
        // Who writes goes through the front, where accept, limits and names that only we give hold.
        if matches!(request.action, StoreAction::PutLogs | StoreAction::Track) {
            let sentence = format!(
                "denied by sts or ram, action: {}, resource: {}; write through the front",
                asked.action.name(),
                asked.resource
            );
            let denied = Denied::new(
                principal.kind(),
                Refusal::told(Reason::PolicyDenied, sentence),
            );
            return Err(refusal(&self.metrics, denied));
        }
        Ok(Box::new(LetIn {
            authenticator: Arc::clone(&self.authenticator),
            metrics: Arc::clone(&self.metrics),
            trust,
            asked,
            principal,
            body,
        }))
    }
}

/// What is known of a request, for as long as it lasts.
struct Asked {
    project: String,
    logstore: String,
    action: Action,
    resource: String,
    client: IpAddr,
    origin: Option<String>,
    unix_seconds: u64,
}

impl Asked {
    fn check<T>(
        &self,
        authenticator: &Authenticator,
        trust: &Trust,
        ask: impl FnOnce(&Check<'_>) -> T,
    ) -> T {
        let facts = Facts {
            project: &self.project,
            logstore: &self.logstore,
            action: self.action,
            resource: &self.resource,
            client: self.client,
            secure: false,
            origin: self.origin.as_deref(),
            unix_seconds: self.unix_seconds,
        };
        ask(&Check::new(authenticator, trust, &facts))
    }
}

/// A request that was let in by its head. What was trusted then decides the rest.
struct LetIn {
    authenticator: Arc<Authenticator>,
    metrics: Arc<Metrics>,
    trust: Arc<Trust>,
    asked: Asked,
    principal: Principal,
    body: SignedBody,
}

impl LetIn {
    fn check<T>(&self, ask: impl FnOnce(&Check<'_>) -> T) -> T {
        self.asked.check(&self.authenticator, &self.trust, ask)
    }
}

impl Admitted for LetIn {
    fn check_body(&self, sent: &[u8]) -> Result<(), Refusal> {
        self.body.check(sent).map_err(|error| {
            let denied = Denied::new(self.principal.kind(), error);
            refusal(&self.metrics, denied)
        })
    }

    fn asks_for_events(&self) -> bool {
        self.principal.awaits_events()
    }

    fn without_events(&self) -> Refusal {
        let denied = self.check(|check| check.without_events(&self.principal));
        refusal(&self.metrics, denied)
    }

    fn check_events(&self, events: &EventGroup) -> Result<(), Refusal> {
        self.check(|check| check.after_body(&self.principal, events))
            .map_err(|denied| refusal(&self.metrics, denied))
    }
}

fn action_of(action: StoreAction) -> Action {
    match action {
        StoreAction::PutLogs => Action::PutLogs,
        StoreAction::Track => Action::TrackPost,
        StoreAction::GetCursorOrData => Action::GetCursorOrData,
        StoreAction::ListShards => Action::ListShards,
        StoreAction::GetLogs => Action::GetLogs,
        StoreAction::GetHistograms => Action::GetHistograms,
        StoreAction::GetLogstore => Action::GetLogstore,
        StoreAction::ListLogstores => Action::ListLogstores,
        StoreAction::GetProject => Action::GetProject,
    }
}
