//! Encryption of payloads at rest: AES-256-GCM with a key derived from a secret.
//!
//! Promise: a nonce is used once. It is made of the segment's random identity and the record's
//! offset, and nothing is ever written twice at one offset of a segment.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;

/// The least length of a secret, in bytes.
const MIN_SECRET: usize = 32;
const SEALING: &[u8] = b"tollgate spool: AES-256-GCM key, version 1";
const NAMING: &[u8] = b"tollgate spool: id of the key, version 1";
/// What sealing adds to a payload, in bytes.
pub(super) const TAG_BYTES: usize = 16;

/// Why there is no ring of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// A secret is too short to be one.
    #[error("key {index} of the spool has {found} bytes; at least {MIN_SECRET} are needed")]
    TooShort {
        /// Which, from 0.
        index: usize,
        /// Its length in bytes.
        found: usize,
    },
    /// The same key again.
    #[error("key {index} of the spool is there twice")]
    Twice {
        /// Which, from 0.
        index: usize,
    },
    /// No secret, or the cryptographic library took no key.
    #[error("no key could be made for the spool")]
    Unusable,
}

struct Key {
    id: u64,
    key: LessSafeKey,
}

/// The keys of a spool: the first seals, all open.
pub struct KeyRing {
    keys: Vec<Arc<Key>>,
    /// Off: what is written is not encrypted, and what was is read.
    seals: bool,
}

/// The keys of a spool that is open, which change with a reload.
///
/// Promise: a key that was once there opens until the process ends, for there may be segments that need it.
#[derive(Clone, Default)]
pub(super) struct StandingKeys(Arc<ArcSwapOption<KeyRing>>);

impl StandingKeys {
    pub(super) fn new(keys: Option<Arc<KeyRing>>) -> Self {
        Self(Arc::new(ArcSwapOption::new(keys)))
    }

    /// The keys that there are now.
    pub(super) fn now(&self) -> Option<Arc<KeyRing>> {
        self.0.load_full()
    }

    /// Seals with the first of these from now on, or not at all.
    pub(super) fn set(&self, keys: Option<&KeyRing>) {
        let before = self.now();
        let mut all: Vec<Arc<Key>> = keys.map(|it| it.keys.clone()).unwrap_or_default();
        for old in before.iter().flat_map(|it| &it.keys) {
            if !all.iter().any(|key| key.id == old.id) {
                all.push(Arc::clone(old));
            }
        }
        let ring = KeyRing {
            seals: keys.is_some_and(|it| it.seals),
            keys: all,
        };
        self.0
            .store((!ring.keys.is_empty()).then(|| Arc::new(ring)));
    }
}

impl fmt::Debug for StandingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.now().fmt(f)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.keys.iter().map(|key| format!("{:016x}", key.id));
        f.debug_list().entries(ids).finish()
    }
}

impl KeyRing {
    /// A ring of secrets, the sealing one first.
    ///
    /// # Errors
    /// See [`KeyRingError`].
    pub fn new(secrets: &[&[u8]]) -> Result<Self, KeyRingError> {
        let mut keys: Vec<Arc<Key>> = Vec::with_capacity(secrets.len());
        for (index, secret) in secrets.iter().enumerate() {
            let found = secret.len();
            if found < MIN_SECRET {
                return Err(KeyRingError::TooShort { index, found });
            }
            let master = hmac::Key::new(hmac::HMAC_SHA256, secret);
            let name = hmac::sign(&master, NAMING);
            let id = name.as_ref().first_chunk().copied().map(u64::from_le_bytes);
            // 0 says that a segment is not encrypted.
            let id = id.map_or(1, |id| id.max(1));
            if keys.iter().any(|other| other.id == id) {
                return Err(KeyRingError::Twice { index });
            }
            let sealing = hmac::sign(&master, SEALING);
            let key = UnboundKey::new(&AES_256_GCM, sealing.as_ref());
            keys.push(Arc::new(Key {
                id,
                key: LessSafeKey::new(key.map_err(|_| KeyRingError::Unusable)?),
            }));
        }
        if keys.is_empty() {
            return Err(KeyRingError::Unusable);
        }
        Ok(Self { keys, seals: true })
    }

    /// Id of the key that seals; 0: none does.
    pub(super) fn sealing(&self) -> u64 {
        let first = self.keys.first().filter(|_| self.seals);
        first.map_or(0, |key| key.id)
    }

    /// Whether the key is at hand.
    pub(super) fn has(&self, id: u64) -> bool {
        self.keys.iter().any(|key| key.id == id)
    }

    /// For the record at an offset of the segment with that identity: encrypts what follows the first `start` bytes of `record`, and appends [`TAG_BYTES`].
    pub(super) fn seal(
        &self,
        id: u64,
        (identity, offset): (u64, u64),
        aad: &[u8],
        record: &mut Vec<u8>,
        start: usize,
    ) -> Option<()> {
        let key = self.keys.iter().find(|key| key.id == id)?;
        let plain = record.get_mut(start..)?;
        let tag = key
            .key
            .seal_in_place_separate_tag(nonce(identity, offset)?, Aad::from(aad), plain)
            .ok()?;
        record.extend_from_slice(tag.as_ref());
        Some(())
    }

    /// Decrypts; `None` without the key, and when anything was changed.
    pub(super) fn open(
        &self,
        id: u64,
        identity: u64,
        offset: u64,
        aad: &[u8],
        sealed: &[u8],
    ) -> Option<Vec<u8>> {
        let key = self.keys.iter().find(|key| key.id == id)?;
        let mut bytes = sealed.to_vec();
        let nonce = nonce(identity, offset)?;
        let plain = key.key.open_in_place(nonce, Aad::from(aad), &mut bytes);
        let length = plain.ok()?.len();
        bytes.truncate(length);
        Some(bytes)
    }
}

fn nonce(identity: u64, offset: u64) -> Option<Nonce> {
    let mut bytes = [0; 12];
    let (salt, place) = bytes.split_at_mut(8);
    salt.copy_from_slice(&identity.to_le_bytes());
    place.copy_from_slice(&u32::try_from(offset).ok()?.to_le_bytes());
    Some(Nonce::assume_unique_for_key(bytes))
}
