//! What is trusted now: keys, roles and policies, as one configuration says. Reloading makes a new
//! one and swaps it whole.
//!
//! Promise: a configuration of which anything cannot be had makes no [`Trust`] at all, and says
//! everything that is wrong with it.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use super::access_keys::{AccessKeyError, AccessKeys};
use super::jwt::JwtVerifier;
use super::keys::{SigningKey, load_jwt_keys};
use super::principal::HeldKey;
use super::principal::SessionPolicy;
use super::sts::{KeyRing, ReplayWindow, RingError, Roles, Sessions, TokenService};
use crate::config::{Config, Identity, Signed};
use crate::event::AttachedNames;
use crate::gate::policy::{Policy, PolicyKind};

type Map<T> = HashMap<Box<str>, T, foldhash::quality::RandomState>;

/// Everything of a configuration that cannot be had. Never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustErrors(pub Vec<String>);

impl Display for TrustErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for TrustErrors {}

/// Keys, roles and policies.
#[derive(Debug)]
pub struct Trust {
    pub(super) jwt: Arc<JwtVerifier>,
    /// Keys that can sign as well, for sessions and for people.
    signing: Vec<SigningKey>,
    pub(super) access_keys: Arc<AccessKeys>,
    pub(super) sessions: Sessions<SessionPolicy>,
    /// What the access keys may do, by id.
    pub(super) held: Map<Arc<HeldKey>>,
    /// The policies of each role, by its ARN.
    pub(super) roles: Map<Arc<[Arc<Policy>]>>,
    /// The policy of each project that has one.
    pub(super) projects: Map<Arc<Policy>>,
    pub(super) service: Arc<TokenService>,
    pub(super) signed: Signed,
    /// The configured keys of tokens by `kid`, with the greatest age that their tokens may have.
    pub(super) token_keys: Map<Option<u64>>,
    /// Names that only we give to fields and tags of events.
    pub(super) attached: AttachedNames,
}

impl Trust {
    /// Reads everything that the configuration names. Blocks on files. `nonces` outlives it.
    ///
    /// # Errors
    /// All that cannot be had.
    pub fn load(config: &Config, nonces: &Arc<ReplayWindow>) -> Result<Self, TrustErrors> {
        let mut errors = Vec::new();
        let (identity, data_dir) = (&config.identity, config.data_dir.as_path());
        let texts = read_policies(identity, &mut errors);
        let jwt = all(JwtVerifier::load(identity, data_dir), &mut errors);
        let access_keys = all(AccessKeys::load(identity), &mut errors);
        let access_keys = access_keys.map(Arc::new);
        let roles = access_keys
            .as_ref()
            .and_then(|keys| all(Roles::load(identity, keys), &mut errors));
        let ring = all(
            KeyRing::load(identity, data_dir).map_err(|e| vec![e]),
            &mut errors,
        );
        let signing = all(
            load_jwt_keys(identity, data_dir).map_err(|e| vec![e]),
            &mut errors,
        );
        let Compiled {
            identities,
            for_projects,
        } = Compiled::of(config, &texts, &mut errors);
        let (Some(jwt), Some(access_keys), Some(token_roles), Some(ring), Some(signing), true) =
            (jwt, access_keys, roles, ring, signing, errors.is_empty())
        else {
            return Err(TrustErrors(errors));
        };
        let ring = Arc::new(ring);
        let service = TokenService::new(
            identity,
            Arc::clone(&ring),
            Arc::clone(&access_keys),
            token_roles,
            Arc::clone(nonces),
            Box::new(|text| {
                let parsed = Policy::parse(PolicyKind::Session, "session", text);
                parsed.map(|_| ()).map_err(|problems| problems.to_string())
            }),
        );
        let chosen = |names: &[String]| -> Vec<Arc<Policy>> {
            let known = names
                .iter()
                .filter_map(|name| identities.get(name.as_str()));
            known.map(Arc::clone).collect()
        };
        let held = identity.access_keys.iter().map(|key| {
            let held = HeldKey {
                id: key.id.as_str().into(),
                policies: chosen(&key.policies).into(),
            };
            (key.id.as_str().into(), Arc::new(held))
        });
        let roles = identity.roles.iter();
        let roles = roles.map(|role| (role.arn.as_str().into(), chosen(&role.policies).into()));
        let projects = config.projects.iter().filter_map(|project| {
            let policy = for_projects.get(project.policy.as_deref()?)?;
            Some((project.name.as_str().into(), Arc::clone(policy)))
        });
        Ok(Self {
            jwt: Arc::new(jwt),
            signing,
            access_keys,
            sessions: Sessions::new(ring),
            held: held.collect(),
            roles: roles.collect(),
            projects: projects.collect(),
            service: Arc::new(service),
            signed: identity.signed.clone(),
            token_keys: token_keys(identity),
            attached: attached_names(config),
        })
    }

    /// Says what is wrong with policies, keys and roles, as [`Trust::load`] would, without making any
    /// key. Secrets that cannot be read, or are too short, are told by
    /// [`Config::check_secrets`]. Blocks on files.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn check(config: &Config) -> Result<(), TrustErrors> {
        let (mut errors, identity) = (Vec::new(), &config.identity);
        let texts = read_policies(identity, &mut errors);
        Compiled::of(config, &texts, &mut errors);
        errors.extend(JwtVerifier::check(identity).iter().map(ToString::to_string));
        match AccessKeys::load(identity) {
            Ok(keys) => {
                all(Roles::load(identity, &Arc::new(keys)), &mut errors);
            }
            Err(found) => {
                let secret =
                    |error: &&AccessKeyError| !matches!(error, AccessKeyError::Secret { .. });
                errors.extend(found.iter().filter(secret).map(ToString::to_string));
            }
        }
        if !identity.sts.keys.is_empty() {
            match KeyRing::load(identity, config.data_dir.as_path()) {
                Ok(_) | Err(RingError::Secret { .. } | RingError::TooShort { .. }) => {}
                Err(error) => errors.push(error.to_string()),
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(TrustErrors(errors))
        }
    }

    /// Names that only we give to fields and tags of events.
    #[must_use]
    pub fn attached(&self) -> &AttachedNames {
        &self.attached
    }

    /// The verifier of tokens.
    #[must_use]
    pub fn jwt(&self) -> &Arc<JwtVerifier> {
        &self.jwt
    }

    /// The key that signs sessions: that of this name, or the first that can sign.
    #[must_use]
    pub fn session_key(&self, kid: Option<&str>) -> Option<&SigningKey> {
        let mut keys = self.signing.iter();
        keys.find(|key| kid.is_none_or(|kid| key.rules.kid == kid))
    }

    /// Keys that can sign tokens.
    #[must_use]
    pub fn signing_keys(&self) -> &[SigningKey] {
        &self.signing
    }

    /// The token service.
    #[must_use]
    pub fn service(&self) -> &Arc<TokenService> {
        &self.service
    }
}

/// The value, or its errors among the others.
fn all<T, E: Display>(result: Result<T, Vec<E>>, errors: &mut Vec<String>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(found) => {
            errors.extend(found.iter().map(ToString::to_string));
            None
        }
    }
}

/// Names of the policies that keys and roles have.
fn identity_policies(identity: &Identity) -> impl Iterator<Item = &str> {
    let of_keys = identity.access_keys.iter().flat_map(|key| &key.policies);
    let of_roles = identity.roles.iter().flat_map(|role| &role.policies);
    of_keys.chain(of_roles).map(String::as_str)
}

/// The text of each policy, by name, with where it stands.
fn read_policies<'c>(
    identity: &'c Identity,
    errors: &mut Vec<String>,
) -> HashMap<&'c str, (usize, String)> {
    let mut texts = HashMap::new();
    for (index, rule) in identity.policies.iter().enumerate() {
        let text = match (&rule.file, &rule.document) {
            (Some(path), _) => match read_bounded(path) {
                Ok(text) => text,
                Err(error) => {
                    let path = path.display();
                    errors.push(format!("identity.policy[{index}].file: {path}: {error}"));
                    continue;
                }
            },
            (None, Some(document)) => document.clone(),
            (None, None) => continue, // the check of the configuration has refused this
        };
        texts.insert(rule.name.as_str(), (index, text));
    }
    texts
}

/// A file of a policy is small; one that is not is no policy.
fn read_bounded(path: &Path) -> std::io::Result<String> {
    const MOST: u64 = 64 << 10;
    let length = std::fs::metadata(path)?.len();
    if length > MOST {
        let error = format!("{length} bytes; a policy has at most {MOST}");
        return Err(std::io::Error::other(error));
    }
    std::fs::read_to_string(path)
}

/// The policies of a configuration, by name and by what they are attached to.
struct Compiled<'c> {
    identities: HashMap<&'c str, Arc<Policy>>,
    for_projects: HashMap<&'c str, Arc<Policy>>,
}

impl<'c> Compiled<'c> {
    fn of(
        config: &'c Config,
        texts: &HashMap<&'c str, (usize, String)>,
        errors: &mut Vec<String>,
    ) -> Self {
        let names = identity_policies(&config.identity);
        let identities = parse_named(texts, PolicyKind::Identity, names, errors);
        let names = config.projects.iter().filter_map(|p| p.policy.as_deref());
        let for_projects = parse_named(texts, PolicyKind::Project, names, errors);
        // A policy that nothing uses is still checked: it is a mistake waiting to be used.
        let of_projects = config.projects.iter().filter_map(|p| p.policy.as_deref());
        let used: Vec<&str> = identity_policies(&config.identity)
            .chain(of_projects)
            .collect();
        let unused = texts.keys().copied().filter(|name| !used.contains(name));
        parse_named(texts, PolicyKind::Project, unused, errors);
        Self {
            identities,
            for_projects,
        }
    }
}

/// The policies of these names, compiled.
fn parse_named<'c>(
    texts: &HashMap<&'c str, (usize, String)>,
    kind: PolicyKind,
    names: impl Iterator<Item = &'c str>,
    errors: &mut Vec<String>,
) -> HashMap<&'c str, Arc<Policy>> {
    let mut parsed: HashMap<&str, Arc<Policy>> = HashMap::new();
    for name in names {
        let Some((index, text)) = texts.get(name).filter(|_| !parsed.contains_key(name)) else {
            continue;
        };
        match Policy::parse(kind, name, text) {
            Ok(policy) => {
                for warning in policy.warnings().iter() {
                    tracing::warn!("identity.policy[{index}] `{name}`: {warning}");
                }
                parsed.insert(name, Arc::new(policy));
            }
            Err(problems) => {
                for problem in problems.iter() {
                    let told = format!("identity.policy[{index}] `{name}`: {problem}");
                    // A policy may be used in several places.
                    if !errors.contains(&told) {
                        errors.push(told);
                    }
                }
            }
        }
    }
    parsed
}

fn token_keys(identity: &Identity) -> Map<Option<u64>> {
    let keys = identity.jwt.iter();
    keys.map(|key| {
        (
            key.kid.as_str().into(),
            key.max_age.map(|age| age.as_secs()),
        )
    })
    .collect()
}

/// Names that the credentials and cookies of a configuration give to fields and tags.
#[must_use]
pub fn attached_names(config: &Config) -> AttachedNames {
    let jwt = &config.identity.jwt;
    let logstores = config.projects.iter().flat_map(|p| &p.logstores);
    let of_cookies = logstores.flat_map(|l| l.cookie_fields.values());
    let fields = jwt.iter().flat_map(|key| key.fields.values());
    let tags = jwt.iter().flat_map(|key| key.tags.values());
    AttachedNames::new(
        fields.chain(of_cookies).map(String::as_str),
        tags.map(String::as_str),
    )
}
