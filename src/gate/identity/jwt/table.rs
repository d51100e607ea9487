//! Which key may verify a token.
//!
//! The rule: a token with a `kid` is verified by the keys of that name; one without, by the only key
//! that there is, or by none. Sets that are fetched count for this whether they have been fetched or
//! not, so that the answer does not depend on the time. Where several keys have the name, those of
//! the issuer that the token claims count, and at most [`MAX_TRIES`] of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::key::Key;
use crate::config::JwtAlgorithm;

/// Signature checks for one token.
pub(super) const MAX_TRIES: usize = 4;

type ByKid = HashMap<Box<str>, Vec<Arc<Key>>, foldhash::quality::RandomState>;

/// Every key, by its name.
#[derive(Default)]
pub(super) struct Table {
    keys: Vec<Arc<Key>>,
    by_kid: ByKid,
    /// Sets that may add keys.
    sources: usize,
}

impl Table {
    pub(super) fn of(keys: Vec<Arc<Key>>, sources: usize) -> Self {
        let mut by_kid = ByKid::default();
        for key in &keys {
            let named = by_kid.entry(key.kid().into()).or_default();
            named.push(Arc::clone(key));
        }
        Self {
            keys,
            by_kid,
            sources,
        }
    }

    pub(super) fn keys(&self) -> &[Arc<Key>] {
        &self.keys
    }

    /// The keys that a token with this header may be verified by.
    pub(super) fn candidates(&self, kid: Option<&str>) -> &[Arc<Key>] {
        match kid {
            Some(kid) => self.by_kid.get(kid).map_or(&[], Vec::as_slice),
            None if self.takes_nameless() => &self.keys,
            None => &[],
        }
    }

    /// Whether a token may do without `kid`: when it leaves no choice.
    pub(super) fn takes_nameless(&self) -> bool {
        match (self.keys.as_slice(), self.sources) {
            ([_], 0) | ([], 1) => true,
            ([only], 1) => only.source().is_some(),
            _ => false,
        }
    }
}

/// The one key among candidates that takes an algorithm; or that there are several, or none.
pub(super) enum Choice<'t> {
    None,
    One(&'t Arc<Key>),
    Several,
}

pub(super) fn choose(candidates: &[Arc<Key>], algorithm: JwtAlgorithm) -> Choice<'_> {
    let mut fitting = fitting(candidates, algorithm);
    match (fitting.next(), fitting.next()) {
        (None, _) => Choice::None,
        (Some(only), None) => Choice::One(only),
        (Some(_), Some(_)) => Choice::Several,
    }
}

/// The candidates that take an algorithm.
pub(super) fn fitting(
    candidates: &[Arc<Key>],
    algorithm: JwtAlgorithm,
) -> impl Iterator<Item = &Arc<Key>> {
    let fits = move |key: &&Arc<Key>| key.method(algorithm).is_some();
    candidates.iter().filter(fits)
}
