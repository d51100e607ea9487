//! Which certificate a client is shown.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pair::Pair;

/// Certificates of the same names, of different kinds of key: the first that the client can check
/// is shown.
type Kinds = Vec<Arc<CertifiedKey>>;

/// Chooses by the name that a client asks for (SNI): a certificate of that name, else one whose
/// wildcard stands for its first label, else the first of the configuration, unless that is refused.
#[derive(Debug)]
pub(super) struct Chooser {
    exact: HashMap<String, Kinds, foldhash::quality::RandomState>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Kinds, foldhash::quality::RandomState>,
    /// The first, and those of exactly its names.
    default: Kinds,
    strict: bool,
}

impl Chooser {
    /// Chooses among these; of two with the same name the earlier comes first.
    pub(super) fn new<'p>(pairs: impl Iterator<Item = &'p Pair> + Clone, strict: bool) -> Self {
        let mut chooser = Self {
            exact: HashMap::default(),
            wildcard: HashMap::default(),
            default: Vec::new(),
            strict,
        };
        let first = pairs.clone().next().map(|pair| &pair.facts.names);
        for pair in pairs {
            if Some(&pair.facts.names) == first {
                chooser.default.push(Arc::clone(&pair.key));
            }
            for name in &pair.facts.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(rest) => (&mut chooser.wildcard, rest),
                    None => (&mut chooser.exact, name.as_str()),
                };
                let kinds = names.entry(name.to_owned()).or_default();
                kinds.push(Arc::clone(&pair.key));
            }
        }
        chooser
    }

    fn candidates(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let named = name.and_then(|name| {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            self.exact.get(&name).or_else(|| {
                let (_, parent) = name.split_once('.')?;
                self.wildcard.get(parent)
            })
        });
        match named {
            Some(kinds) => kinds,
            None if self.strict => &[],
            None => &self.default,
        }
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name());
        let schemes = hello.signature_schemes();
        let known = |it: &&Arc<CertifiedKey>| it.key.choose_scheme(schemes).is_some();
        let chosen = candidates.iter().find(known).or(candidates.first());
        chosen.map(Arc::clone)
    }
}
