//! Tokens of public keys that were verified before.
//!
//! A signature costs 40 to 130 us, so the same token is not checked twice. Only tokens that
//! verified get in, so a flood of bad ones displaces nothing, and a flood of good ones displaces
//! the least used. Bounded by [`CAPACITY`] bytes.
//!
//! The key is the SHA-256 of the whole token: two tokens never share a verdict, and no token is
//! kept in memory beyond its request. It costs about half of what a hit takes; the
//! token itself as key would be faster and would leave live credentials in a core dump. What a
//! verdict cannot say is asked anew at each hit: the times, and whether the key still counts.

use aws_lc_rs::digest;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::bearer::Bearer;

/// Bytes of all verdicts, about.
const CAPACITY: u64 = 8 << 20;
/// Bytes of one verdict beside what its bearer keeps: the digest, the bearer, the cache's own.
const OVERHEAD: usize = 640;
/// Bytes of a usual verdict, to size the tables of the cache.
const USUAL: u64 = 1280;

pub(super) type TokenDigest = [u8; 32];

/// The digest of a token.
pub(super) fn digest_of(token: &[u8]) -> TokenDigest {
    let mut out = TokenDigest::default();
    let digest = digest::digest(&digest::SHA256, token);
    for (to, from) in out.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    out
}

#[derive(Clone)]
struct Weight;

impl Weighter<TokenDigest, Bearer> for Weight {
    fn weight(&self, _: &TokenDigest, bearer: &Bearer) -> u64 {
        (bearer.weight() + OVERHEAD) as u64
    }
}

/// The verdicts.
pub(super) struct Verdicts(Cache<TokenDigest, Bearer, Weight>);

impl Verdicts {
    pub(super) fn new() -> Self {
        Self::holding(CAPACITY)
    }

    pub(super) fn holding(capacity: u64) -> Self {
        let usual = usize::try_from(capacity / USUAL).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(usual, capacity, Weight))
    }

    pub(super) fn get(&self, token: &TokenDigest) -> Option<Bearer> {
        self.0.get(token)
    }

    pub(super) fn put(&self, token: TokenDigest, bearer: Bearer) {
        self.0.insert(token, bearer);
    }

    /// Forgets every verdict, when keys have gone: theirs count no more, and need not be kept.
    pub(super) fn clear(&self) {
        self.0.clear();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.0.weight()
    }
}
