//! The keys that verify tokens: made of what the configuration names.
//!
//! Promise: a key belongs to one `[[identity.jwt]]`, whose rules hold for every token that it
//! verifies, and verifies with the algorithms that this one lists and with no other.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::jwk::{self, Jwk, JwkFault, MAX_DOCUMENT, Origin};
use super::method::{KeyType, Method, shortest_secret};
use super::pem;
use crate::config::{JwtAlgorithm, JwtKey};
use crate::gate::identity::keys::{KeyError, KeyFault, load_secret};

/// A key, put to each algorithm that it may be used with.
pub(super) struct Key {
    kid: Box<str>,
    rules: Arc<JwtKey>,
    methods: Arc<[(JwtAlgorithm, Method)]>,
    life: Arc<Life>,
    /// The source that it was fetched from.
    source: Option<usize>,
}

impl Key {
    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    pub(super) fn rules(&self) -> &JwtKey {
        &self.rules
    }

    pub(super) fn shared_rules(&self) -> &Arc<JwtKey> {
        &self.rules
    }

    pub(super) fn life(&self) -> &Life {
        &self.life
    }

    pub(super) fn source(&self) -> Option<usize> {
        self.source
    }

    /// What checks signatures of an algorithm, if it may be used with this key.
    pub(super) fn method(&self, algorithm: JwtAlgorithm) -> Option<&Method> {
        let mut methods = self.methods.iter();
        methods.find_map(|(it, method)| (*it == algorithm).then_some(method))
    }

    /// A key with a secret.
    pub(super) fn of_secret(rules: &Arc<JwtKey>, secret: &[u8]) -> Self {
        let algorithms = rules.algorithms.iter();
        let methods = algorithms.filter_map(|it| Some((*it, Method::of_secret(*it, secret)?)));
        Self {
            kid: rules.kid.as_str().into(),
            methods: methods.collect(),
            rules: Arc::clone(rules),
            life: Life::endless(),
            source: None,
        }
    }

    /// The keys of a fetched set; `None` when there are none. With them, how many were left out,
    /// and the last reason for that.
    pub(super) fn of_fetched(
        rules: &Arc<JwtKey>,
        source: usize,
        life: &Arc<Life>,
        keys: Vec<Result<Jwk, JwkFault>>,
    ) -> (Vec<Arc<Self>>, usize, Option<JwkFault>) {
        let alone = keys.len() == 1;
        let (mut used, mut skipped, mut why) = (Vec::new(), 0, None);
        for key in keys {
            let named = key.and_then(|jwk| match (jwk.kid, alone) {
                (Some(kid), _) => Ok((kid, jwk.methods)),
                (None, true) => Ok((rules.kid.clone(), jwk.methods)),
                (None, false) => Err(JwkFault::Bad("it has no `kid`, and is not alone")),
            });
            match named {
                Ok((kid, methods)) => used.push(Arc::new(Self {
                    kid: kid.into(),
                    rules: Arc::clone(rules),
                    methods: methods.into(),
                    life: Arc::clone(life),
                    source: Some(source),
                })),
                Err(fault) => {
                    skipped += 1;
                    why = Some(fault);
                }
            }
        }
        (used, skipped, why)
    }

    /// The same key under equal rules, at another place and with a life of its own.
    pub(super) fn inherited(&self, rules: &Arc<JwtKey>, source: usize, life: &Arc<Life>) -> Self {
        Self {
            kid: self.kid.clone(),
            rules: Arc::clone(rules),
            methods: Arc::clone(&self.methods),
            life: Arc::clone(life),
            source: Some(source),
        }
    }
}

/// How long a key counts. A key of a fetched set dies when the set changes, and rests when the set
/// has become too old.
pub(super) struct Life {
    /// The last unix second. 0: dead.
    until: AtomicU64,
}

/// What a key is worth at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    Good,
    Stale,
    Dead,
}

impl Life {
    fn endless() -> Arc<Self> {
        Self::until(u64::MAX)
    }

    pub(super) fn until(second: u64) -> Arc<Self> {
        let until = AtomicU64::new(second);
        Arc::new(Self { until })
    }

    pub(super) fn extend(&self, second: u64) {
        self.until.store(second, Ordering::Release);
    }

    pub(super) fn end(&self) {
        self.until.store(0, Ordering::Release);
    }

    pub(super) fn worth(&self, now: u64) -> Worth {
        match self.until.load(Ordering::Acquire) {
            0 => Worth::Dead,
            until if until < now => Worth::Stale,
            _ => Worth::Good,
        }
    }
}

/// The keys of an `[[identity.jwt]]` that are had without the network. One with `jwks_url` has none.
pub(super) fn load(
    index: usize,
    rules: &Arc<JwtKey>,
    data_dir: &Path,
) -> Result<Vec<Arc<Key>>, KeyError> {
    let fail = |fault: KeyFault| KeyError::at(index, &rules.kid, fault);
    let given = [
        rules.secret.is_some(),
        rules.public_key.is_some(),
        rules.jwks.is_some(),
        rules.jwks_url.is_some(),
    ];
    if given.iter().filter(|given| **given).count() > 1 {
        return Err(fail(KeyFault::Sources));
    }
    let secrets = |algorithm: &&JwtAlgorithm| KeyType::of(**algorithm) == KeyType::Secret;
    let symmetric = rules.algorithms.iter().filter(secrets).count();
    let all = rules.algorithms.len();
    if all == 0 || (symmetric > 0 && symmetric < all) {
        return Err(fail(KeyFault::Algorithms));
    }
    if let Some(path) = &rules.public_key {
        let text = read(path).map_err(fail)?;
        return Ok(vec![of_pem(rules, &text, path).map_err(fail)?]);
    }
    if let Some(path) = &rules.jwks {
        let text = read(path).map_err(fail)?;
        return of_jwks(rules, &text, path).map_err(fail);
    }
    if rules.jwks_url.is_some() {
        return match symmetric {
            0 => Ok(Vec::new()),
            _ => Err(fail(KeyFault::Algorithms)),
        };
    }
    if symmetric == 0 {
        return Err(fail(KeyFault::NoSource));
    }
    let secret = load_secret(index, rules, data_dir)?;
    Ok(vec![Arc::new(Key::of_secret(rules, secret.expose()))])
}

fn of_pem(rules: &Arc<JwtKey>, text: &[u8], path: &Path) -> Result<Arc<Key>, KeyFault> {
    let wrong = |what: String| KeyFault::File {
        path: path.to_owned(),
        what,
    };
    let text = std::str::from_utf8(text).map_err(|_| wrong(pem::PemFault::NotPem.to_string()))?;
    let key = pem::public_key(text).map_err(|fault| wrong(fault.to_string()))?;
    let mut methods = Vec::new();
    for algorithm in &rules.algorithms {
        let method = Method::of_public(*algorithm, &key).ok_or_else(|| {
            let (name, kind) = (algorithm.as_str(), key.kind.name());
            wrong(format!(
                "it holds {kind}, which `{name}` of `algorithms` does not fit"
            ))
        })?;
        methods.push((*algorithm, method));
    }
    Ok(Arc::new(Key {
        kid: rules.kid.as_str().into(),
        rules: Arc::clone(rules),
        methods: methods.into(),
        life: Life::endless(),
        source: None,
    }))
}

fn of_jwks(rules: &Arc<JwtKey>, text: &[u8], path: &Path) -> Result<Vec<Arc<Key>>, KeyFault> {
    let wrong = |what: String| KeyFault::File {
        path: path.to_owned(),
        what,
    };
    let keys = jwk::read_keys(text, Origin::File, &rules.algorithms)
        .map_err(|fault| wrong(fault.to_string()))?;
    let alone = keys.len() == 1;
    let mut used = Vec::new();
    let mut unused = None;
    for (number, key) in keys.into_iter().enumerate() {
        let jwk = match key {
            Ok(jwk) => jwk,
            Err(JwkFault::NotForThis(why)) => {
                unused = Some((number, why));
                continue;
            }
            Err(JwkFault::Bad(what)) => return Err(wrong(format!("key {}: {what}", number + 1))),
        };
        let kid = match (jwk.kid, alone) {
            (Some(kid), _) => kid,
            (None, true) => rules.kid.clone(),
            (None, false) => {
                return Err(wrong(format!("key {} has no `kid`", number + 1)));
            }
        };
        used.push(Arc::new(Key {
            kid: kid.into(),
            rules: Arc::clone(rules),
            methods: jwk.methods.into(),
            life: Life::endless(),
            source: None,
        }));
    }
    match (used.is_empty(), unused) {
        (false, _) => Ok(used),
        (true, Some((number, why))) => Err(wrong(format!(
            "it holds no key to use; key {}: {why}",
            number + 1
        ))),
        (true, None) => Err(wrong("it holds no key".to_owned())),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KeyFault> {
    use std::io::Read as _;
    let unreadable = |source| KeyFault::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = Vec::new();
    let cap = MAX_DOCUMENT as u64 + 1;
    file.take(cap).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() > MAX_DOCUMENT {
        return Err(KeyFault::File {
            path: path.to_owned(),
            what: jwk::SetFault::TooLong.to_string(),
        });
    }
    Ok(text)
}

/// Whether a secret is as long as the hash of every algorithm of a key.
pub(in crate::gate::identity) fn needed_secret(algorithms: &[JwtAlgorithm]) -> usize {
    let lengths = algorithms.iter().map(|it| shortest_secret(*it));
    lengths.max().unwrap_or(32)
}
