//! Tokens that were verified before.
//!
//! A signature by a private key costs 40 to 130 us, so the same token is not checked twice. An HMAC
//! is checked each time, and takes less than to read the claims behind it: those are found again by
//! the MAC, from the second time that it is seen (`Again`). Only tokens that verified get in, so a
//! flood of bad ones displaces nothing, and a flood of good ones displaces the least used. Bounded by
//! [`CAPACITY`] bytes.
//!
//! The key is the SHA-256 of the whole token, or half of its MAC: two tokens never share a verdict,
//! and no token is kept in memory beyond its request. The digest costs about half of what a hit takes;
//! the token itself as key would be faster and would leave live credentials in a core dump. What a
//! verdict cannot say is asked anew at each hit: the times, and whether the key still counts.

use std::sync::atomic::{AtomicU32, Ordering};

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

/// Places of [`Again`], in 16 KiB.
const PLACES: usize = 4096;

/// What a token with an HMAC is found by. No digest is equal: nobody finds a text with such a one.
pub(super) fn id_of(mac: [u8; 16]) -> TokenDigest {
    let mut id = TokenDigest::default();
    for (to, from) in id.iter_mut().zip(mac) {
        *to = from;
    }
    id
}

/// Which MACs were seen lately. A token that is used once, as by a page that sends one batch, is not
/// worth a place among the verdicts: to put it there costs as much as to read it.
pub(super) struct Again(Box<[AtomicU32]>);

impl Default for Again {
    fn default() -> Self {
        Self((0..PLACES).map(|_| AtomicU32::new(0)).collect())
    }
}

impl Again {
    /// Whether it was seen before, as far as is remembered: each place knows the last one only.
    pub(super) fn seen(&self, mac: [u8; 16]) -> bool {
        let [a, b, c, d, e, f, ..] = mac;
        let tag = u32::from_le_bytes([a, b, c, d]);
        let place = usize::from(u16::from_le_bytes([e, f])) % PLACES;
        let place = self.0.get(place);
        place.is_some_and(|place| place.swap(tag, Ordering::Relaxed) == tag)
    }
}

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
