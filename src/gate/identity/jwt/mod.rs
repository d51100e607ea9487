//! JSON Web Tokens: verified, with every algorithm of the configuration, and made (HMAC).
//!
//! The key decides the algorithm, never the token. `exp`, `iss` and `aud` must be there and right,
//! `nbf` and `iat` are honoured, and a token that would live longer than `max_lifetime` is refused
//! (RFC 8725). Nothing that a token names is ever fetched.
//!
//! Tokens are verified here and not by the crate that makes them: it parses header and claims
//! several times into owned structures, which took 5.4 us of the 30 us of a whole request, four
//! fifths of it before or after the HMAC. Here the signature comes first, and a forged token costs
//! its HMAC and no more. Public keys are parsed once, and their verdicts kept (`verdicts`), as is
//! what was read of tokens with an HMAC that come again.

mod bearer;
mod claims;
mod fetch;
mod header;
mod jwk;
mod key;
mod known;
mod method;
mod mint;
mod pem;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod verdicts;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::bearer::Bearer;
use self::claims::claimed_issuer;
use self::header::{MAX_HEADER, Parts, TokenHeader};
pub(super) use self::key::needed_secret;
use self::key::{Key, Worth};
use self::known::KnownHeaders;
use self::method::{KeyType, Proof, algorithm_named};
pub use self::mint::{MintError, Minted, NewToken, mint, mint_token};
pub use self::source::SourceStatus;
use self::source::{Fetched, Source};
use self::table::{Choice, MAX_TRIES, Table, choose, fitting};
use self::verdicts::{Again, Verdicts, digest_of, id_of};
use super::SigningKey;
use super::keys::KeyError;
use crate::config::{Identity, JwtAlgorithm};
use crate::event::{Reason, Refusal};
use crate::foundation::clock;

/// A payload that is not longer, decoded, needs no allocation to be read.
const USUAL_PAYLOAD: usize = 768;
/// The shortest signature by a private key, in base64: 64 bytes (ES256, EdDSA).
const SHORTEST_PUBLIC: usize = 86;

/// Verifies tokens against the configured keys.
pub struct JwtVerifier {
    table: ArcSwap<Table>,
    sources: Vec<Source>,
    verdicts: Verdicts,
    again: Again,
    headers: KnownHeaders,
    /// Held while the table is replaced.
    replacing: Mutex<()>,
}

impl std::fmt::Debug for JwtVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let table = self.table.load();
        let kids: Vec<_> = table.keys().iter().map(|key| key.kid()).collect();
        f.debug_struct("JwtVerifier")
            .field("kids", &kids)
            .finish_non_exhaustive()
    }
}

impl JwtVerifier {
    /// Reads every key of the configuration, and makes the secrets that are made on first use.
    /// Sets with a URL are empty until [`Self::refresh`] has fetched them.
    ///
    /// # Errors
    /// Everything that is wrong with the keys, at once.
    pub fn load(identity: &Identity, data_dir: &Path) -> Result<Self, Vec<KeyError>> {
        let (mut keys, mut sources, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for (index, rules) in identity.jwt.iter().enumerate() {
            let rules = Arc::new(rules.clone());
            match key::load(index, &rules, data_dir) {
                Ok(loaded) => keys.extend(loaded),
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            }
            if let Some(url) = &rules.jwks_url {
                match Source::new(sources.len(), &rules, url) {
                    Ok(source) => sources.push(source),
                    Err(fault) => errors.push(KeyError::at(index, &rules.kid, fault)),
                }
            }
        }
        if errors.is_empty() {
            Ok(Self::of(keys, sources))
        } else {
            Err(errors)
        }
    }

    /// What is wrong with keys that are not secrets: nothing is made and nothing is fetched.
    #[must_use]
    pub fn check(identity: &Identity) -> Vec<KeyError> {
        let keys = identity.jwt.iter().enumerate();
        let public = keys.filter(|(_, rules)| !rules.holds_secret());
        let loaded = public.map(|(index, rules)| {
            // No folder of data: only a secret is ever made there.
            key::load(index, &Arc::new(rules.clone()), Path::new(""))
        });
        loaded.filter_map(Result::err).collect()
    }

    /// A verifier that knows only these keys.
    #[must_use]
    pub fn of_keys(keys: &[SigningKey]) -> Self {
        let keys = keys.iter().map(|key| {
            let rules = Arc::new(key.rules.clone());
            Arc::new(Key::of_secret(&rules, key.secret.expose()))
        });
        Self::of(keys.collect(), Vec::new())
    }

    fn of(keys: Vec<Arc<Key>>, sources: Vec<Source>) -> Self {
        Self {
            table: ArcSwap::from_pointee(Table::of(keys, sources.len())),
            sources,
            verdicts: Verdicts::new(),
            again: Again::default(),
            headers: KnownHeaders::default(),
            replacing: Mutex::new(()),
        }
    }

    /// Says whom a token speaks for at `now` (unix seconds). What its bearer may do is asked of the
    /// [`Bearer`]; whether the token was revoked, elsewhere.
    ///
    /// # Errors
    /// A refusal with one of the `Token…` reasons. It never repeats the token.
    pub fn verify(&self, token: &[u8], now: u64) -> Result<Bearer, Refusal> {
        let parts = Parts::of(token)?;
        // A kept token was read whole before: it is found without reading its header again. HMACs
        // are shorter, but for HS512, and found once they are proven.
        let digest = (parts.signature.len() >= SHORTEST_PUBLIC).then(|| digest_of(token));
        if let Some(bearer) = digest.and_then(|digest| self.verdicts.get(&digest)) {
            match bearer.key().life().worth(now) {
                Worth::Good => {
                    bearer.still_good(now)?;
                    return Ok(bearer);
                }
                Worth::Stale => return Err(Reason::TokenKeysUnavailable.into()),
                Worth::Dead => {}
            }
        }
        let known = self.headers.load();
        let known = KnownHeaders::find(&known, parts.header);
        let mut buffer;
        let header = match known {
            Some(known) => known.header(),
            None => {
                buffer = [0u8; MAX_HEADER];
                TokenHeader::read(parts.header, &mut buffer)?
            }
        };
        let algorithm = algorithm_named(&header.alg).ok_or(Reason::TokenUnknownKey)?;
        let bearer = self.verify_anew(&parts, &header, algorithm, now)?;
        if known.is_none() {
            self.headers.remember(parts.header, &header, now);
        }
        if let Some(digest) = digest.filter(|_| KeyType::of(algorithm) != KeyType::Secret) {
            self.verdicts.put(digest, bearer.clone());
        }
        Ok(bearer)
    }

    /// Whom a token speaks for whose signature is taken as given, by the rules of the
    /// `[[identity.jwt]]` with this `kid`; without one, by that which its header or its issuer names.
    /// Everything else is checked.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn presume(&self, name: Option<&str>, token: &[u8], now: u64) -> Result<Bearer, Refusal> {
        let parts = Parts::of(token)?;
        let mut buffer = [0u8; MAX_HEADER];
        let header = TokenHeader::read(parts.header, &mut buffer)?;
        let (mut usual, mut longer) = ([0u8; USUAL_PAYLOAD], Vec::new());
        let payload = payload(&parts, &mut usual, &mut longer)?;
        let table = self.table.load();
        let of_keys = table.keys().iter().map(|key| key.shared_rules());
        let all: Vec<_> = of_keys
            .chain(self.sources.iter().map(Source::rules))
            .collect();
        let named = |name: &str| all.iter().find(|rules| rules.kid == name).copied();
        // Keys of fetched sets have names of their own: their issuer tells.
        let by_issuer = || {
            let issuer = claimed_issuer(payload)?;
            all.iter().find(|rules| rules.issuer == issuer).copied()
        };
        let rules = match name {
            Some(name) => named(name),
            None => header.kid.as_deref().and_then(named).or_else(by_issuer),
        };
        let allowed = rules.filter(|rules| {
            algorithm_named(&header.alg).is_some_and(|it| rules.algorithms.contains(&it))
        });
        let rules = allowed.ok_or(Reason::TokenUnknownKey)?;
        if !header.has_type(rules.typ.as_deref()) {
            return Err(Refusal::new(Reason::TokenClaims, "typ"));
        }
        // Never put among those that verify: it knows no signature.
        let key = Arc::new(Key::of_secret(rules, b""));
        Bearer::admit(&key, payload, now)
    }

    fn verify_anew(
        &self,
        parts: &Parts<'_>,
        header: &TokenHeader<'_>,
        algorithm: JwtAlgorithm,
        now: u64,
    ) -> Result<Bearer, Refusal> {
        let table = self.table.load();
        let candidates = table.candidates(header.kid.as_deref());
        let (mut usual, mut longer) = ([0u8; USUAL_PAYLOAD], Vec::new());
        match choose(candidates, algorithm) {
            Choice::One(key) => {
                let proof = check(key, algorithm, header, parts, now)?;
                self.admit(key, proof, now, || payload(parts, &mut usual, &mut longer))
            }
            Choice::Several => {
                let payload = payload(parts, &mut usual, &mut longer)?;
                let issuer = claimed_issuer(payload).unwrap_or_default();
                let mut refusal = Refusal::new(Reason::TokenClaims, "iss");
                let of_issuer = |key: &&Arc<Key>| key.rules().issuer == issuer;
                let tried = fitting(candidates, algorithm).filter(of_issuer);
                for key in tried.take(MAX_TRIES) {
                    match check(key, algorithm, header, parts, now) {
                        Ok(proof) => return self.admit(key, proof, now, || Ok(payload)),
                        Err(why) => refusal = why,
                    }
                }
                Err(refusal)
            }
            Choice::None if header.kid.is_none() && !table.takes_nameless() => Err(Refusal::new(
                Reason::TokenUnknownKey,
                "its header has no kid",
            )),
            Choice::None if self.sources.is_empty() => Err(Reason::TokenUnknownKey.into()),
            Choice::None => {
                let payload = payload(parts, &mut usual, &mut longer)?;
                Err(self.unknown(algorithm, payload, now))
            }
        }
    }

    /// The bearer of a token that `key` has proven. One that comes again and again has its claims
    /// read no more: an HMAC costs less than to read them.
    fn admit<'p>(
        &self,
        key: &Arc<Key>,
        proof: Proof,
        now: u64,
        payload: impl FnOnce() -> Result<&'p str, Refusal>,
    ) -> Result<Bearer, Refusal> {
        let Proof::Mac(mac) = proof else {
            return Bearer::admit(key, payload()?, now);
        };
        let id = id_of(mac);
        if let Some(bearer) = self.verdicts.get(&id).filter(|kept| kept.is_under(key)) {
            bearer.still_good(now)?;
            return Ok(bearer);
        }
        let bearer = Bearer::admit(key, payload()?, now)?;
        if self.again.seen(mac) {
            self.verdicts.put(id, bearer.clone());
        }
        Ok(bearer)
    }

    /// No key is known for this token. A source of its issuer may have got one since.
    fn unknown(&self, algorithm: JwtAlgorithm, payload: &str, now: u64) -> Refusal {
        let issuer = claimed_issuer(payload).unwrap_or_default();
        let serves = |source: &&Source| source.serves(&issuer, algorithm);
        let mut unavailable = false;
        for source in self.sources.iter().filter(serves) {
            source.ask();
            unavailable |= source.is_empty_handed(now);
        }
        if unavailable {
            Reason::TokenKeysUnavailable.into()
        } else {
            Reason::TokenUnknownKey.into()
        }
    }

    /// Takes over the sets that `old` has fetched under equal rules, for as long as they count, so
    /// that their tokens stay good when an issuer cannot be reached now. Before [`Self::refresh`].
    pub fn inherit(&self, old: &Self) {
        let now = clock::unix_seconds();
        for (place, source) in self.sources.iter().enumerate() {
            let mut sets = old.sources.iter().map(|other| source.inherit(other, now));
            if let Some(keys) = sets.find(|keys| !keys.is_empty()) {
                self.take(place, Fetched { keys, former: None });
            }
        }
    }

    /// Fetches the sets that have a URL, at start and then ahead of their age, until `stop`. To be
    /// spawned once; without such sets it ends at once.
    pub async fn refresh(self: Arc<Self>, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        for place in 0..self.sources.len() {
            let (verifier, stop) = (Arc::clone(&self), stop.clone());
            tasks.spawn(async move {
                if let Some(source) = verifier.sources.get(place) {
                    let take = |fetched| verifier.take(place, fetched);
                    source.run(&stop, take).await;
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a set of keys is not fetched any more");
            }
        }
    }

    /// Puts the keys of a source in the place of its former ones.
    fn take(&self, place: usize, fetched: Fetched) {
        let guard = self
            .replacing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let table = self.table.load_full();
        let others = table
            .keys()
            .iter()
            .filter(|key| key.source() != Some(place));
        let keys = others.cloned().chain(fetched.keys).collect();
        self.table
            .store(Arc::new(Table::of(keys, self.sources.len())));
        if let Some(former) = fetched.former {
            former.end();
            self.verdicts.clear();
        }
        drop(guard);
    }

    /// How the sets that have a URL stand.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceStatus> {
        self.sources.iter().map(Source::status).collect()
    }
}

/// What came of fetching a set of keys once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetProbe {
    /// The `kid` of its `[[identity.jwt]]`.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// How many keys can be used, or why there are none, for people.
    pub keys: Result<usize, String>,
}

/// Fetches each set of keys that has a URL once, each within `time`. Nothing is kept.
pub async fn probe_sets(identity: &Identity, time: Duration) -> Vec<SetProbe> {
    let mut probes = Vec::new();
    for (place, rules) in identity.jwt.iter().enumerate() {
        let Some(url) = &rules.jwks_url else {
            continue;
        };
        let keys = match Source::new(place, &Arc::new(rules.clone()), url) {
            Ok(source) => source.try_out(time).await,
            Err(fault) => Err(fault.to_string()),
        };
        probes.push(SetProbe {
            name: rules.kid.clone(),
            url: url.clone(),
            keys,
        });
    }
    probes
}

/// Checks what does not need the payload: whether the key counts, the type of the token, and its
/// signature.
fn check(
    key: &Key,
    algorithm: JwtAlgorithm,
    header: &TokenHeader<'_>,
    parts: &Parts<'_>,
    now: u64,
) -> Result<Proof, Refusal> {
    if key.life().worth(now) != Worth::Good {
        return Err(Reason::TokenKeysUnavailable.into());
    }
    if !header.has_type(key.rules().typ.as_deref()) {
        return Err(Refusal::new(Reason::TokenClaims, "typ"));
    }
    let method = key.method(algorithm);
    method
        .and_then(|method| method.verify(parts.message, parts.signature))
        .ok_or_else(|| Reason::TokenSignature.into())
}

/// The payload as text, in one of two buffers.
fn payload<'b>(
    parts: &Parts<'_>,
    usual: &'b mut [u8; USUAL_PAYLOAD],
    longer: &'b mut Vec<u8>,
) -> Result<&'b str, Refusal> {
    let buffer: &mut [u8] = if parts.payload.len() <= USUAL_PAYLOAD / 3 * 4 {
        usual
    } else {
        longer.resize(parts.payload.len(), 0);
        longer
    };
    let length = URL_SAFE_NO_PAD
        .decode_slice(parts.payload, buffer)
        .map_err(|_| Reason::TokenMalformed)?;
    let decoded = buffer.get(..length).unwrap_or_default();
    std::str::from_utf8(decoded).map_err(|_| Reason::TokenMalformed.into())
}
