//! The keys that seal security tokens.
//!
//! Promise: there is at least one; the first seals, all of them open, and no two have one id. From
//! each secret of the configuration two values are derived under labels of their own (HMAC-SHA256):
//! the AES-256-GCM key and a public id of four bytes. Neither tells anything of the secret.

use std::fmt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::config::Identity;
use crate::foundation::secret::{Secret, SecretError};
use crate::gate::identity::keys::{KeyError, load_or_make};
use crate::logstore::signature::mac;

/// The least length of a secret, in bytes.
const MIN_SECRET: usize = 32;
/// Length of a key's id in a token, in bytes.
pub(super) const KEY_ID: usize = 4;
/// Length of a nonce, in bytes.
pub(super) const NONCE: usize = 12;
const SEALING: &[u8] = b"tollgate security token: AES-256-GCM key, version 1";
const NAMING: &[u8] = b"tollgate security token: id of the key, version 1";

/// Why there is no ring of keys.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// A secret reference did not resolve.
    #[error("identity.sts.keys[{index}]: {source}")]
    Secret {
        /// Which, from 0.
        index: usize,
        /// Why.
        source: SecretError,
    },
    /// The secret is too short to be one.
    #[error("identity.sts.keys[{index}] has {found} bytes; at least {MIN_SECRET} are needed")]
    TooShort {
        /// Which, from 0.
        index: usize,
        /// Its length in bytes.
        found: usize,
    },
    /// The same key again.
    #[error("identity.sts.keys[{index}] is there twice")]
    Twice {
        /// Which, from 0.
        index: usize,
    },
    /// The generated key could not be kept.
    #[error(transparent)]
    Keep(#[from] KeyError),
    /// The cryptographic library took no key.
    #[error("no key could be made for security tokens")]
    Unusable,
}

struct SealingKey {
    id: [u8; KEY_ID],
    key: LessSafeKey,
}

/// The keys of security tokens.
pub struct KeyRing {
    first: SealingKey,
    older: Vec<SealingKey>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.keys().map(|key| mac::hex(&key.id));
        f.debug_list().entries(ids).finish()
    }
}

impl KeyRing {
    /// The keys of the configuration; without one, `{data_dir}/keys/sts.key`, made on first use.
    ///
    /// # Errors
    /// See [`RingError`].
    pub fn load(identity: &Identity, data_dir: &Path) -> Result<Self, RingError> {
        let keys = &identity.sts.keys;
        if keys.is_empty() {
            return Self::new(&[load_or_make(data_dir, "sts")?]);
        }
        let read = |(index, key): (usize, &crate::foundation::secret::SecretRef)| {
            key.read()
                .map_err(|source| RingError::Secret { index, source })
        };
        let secrets: Result<Vec<Secret>, RingError> = keys.iter().enumerate().map(read).collect();
        Self::new(&secrets?)
    }

    /// A ring of secrets, the sealing one first.
    ///
    /// # Errors
    /// When there is none, one is too short, or one is there twice.
    pub fn new(secrets: &[Secret]) -> Result<Self, RingError> {
        let mut keys: Vec<SealingKey> = Vec::with_capacity(secrets.len());
        for (index, secret) in secrets.iter().enumerate() {
            let key = SealingKey::derive(secret, index)?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(RingError::Twice { index });
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        Ok(Self {
            first: keys.next().ok_or(RingError::Unusable)?,
            older: keys.collect(),
        })
    }

    fn keys(&self) -> impl Iterator<Item = &SealingKey> {
        std::iter::once(&self.first).chain(&self.older)
    }

    /// The id of the key that seals.
    pub(super) fn sealing_id(&self) -> [u8; KEY_ID] {
        self.first.id
    }

    /// Whether a key with this id is here.
    pub(super) fn knows(&self, id: &[u8]) -> bool {
        self.keys().any(|key| key.id == id)
    }

    /// Seals with the first key; the tag is appended. `header` goes with it in plain sight.
    pub(super) fn seal(
        &self,
        nonce: [u8; NONCE],
        header: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let key = &self.first.key;
        key.seal_in_place_append_tag(nonce, Aad::from(header), plain)
            .map_err(|_| Broken)
    }

    /// Opens what the key with this id has sealed under this header, in place.
    pub(super) fn open<'a>(
        &self,
        id: &[u8],
        nonce: [u8; NONCE],
        header: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a [u8], Broken> {
        let key = self.keys().find(|key| key.id == id).ok_or(Broken)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = key.key.open_in_place(nonce, Aad::from(header), sealed);
        opened.map(|plain| &*plain).map_err(|_| Broken)
    }
}

impl SealingKey {
    fn derive(secret: &Secret, index: usize) -> Result<Self, RingError> {
        let found = secret.expose().len();
        if found < MIN_SECRET {
            return Err(RingError::TooShort { index, found });
        }
        let name = mac::hmac_sha256(secret.expose(), &[NAMING]);
        let id = *name.first_chunk().ok_or(RingError::Unusable)?;
        let key = zeroize::Zeroizing::new(mac::hmac_sha256(secret.expose(), &[SEALING]));
        let key = UnboundKey::new(&AES_256_GCM, &*key).map_err(|_| RingError::Unusable)?;
        Ok(Self {
            id,
            key: LessSafeKey::new(key),
        })
    }
}

/// It does not open, or could not be sealed. There is no more to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::foundation::secret::SecretRef;

    #[test]
    fn a_ring_needs_long_keys_each_once() {
        let long = |text: &str| Secret::new(text.repeat(32));
        assert!(matches!(KeyRing::new(&[]), Err(RingError::Unusable)));
        assert!(KeyRing::new(&[long("a"), long("b")]).is_ok());
        let twice = KeyRing::new(&[long("a"), long("b"), long("a")]);
        assert!(matches!(twice, Err(RingError::Twice { index: 2 })));
        let short = KeyRing::new(&[long("a"), Secret::new("b".repeat(31))]).unwrap_err();
        assert_eq!(
            short.to_string(),
            "identity.sts.keys[1] has 31 bytes; at least 32 are needed"
        );
    }

    #[test]
    fn without_a_configured_key_one_is_made_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut identity = Config::quickstart().identity;
        identity.sts.keys = Vec::new();
        let first = KeyRing::load(&identity, folder.path()).unwrap();
        let again = KeyRing::load(&identity, folder.path()).unwrap();
        assert_eq!(first.sealing_id(), again.sealing_id());
        let path = folder.path().join("keys/sts.key");
        identity.sts.keys = vec![SecretRef::File(path)];
        let named = KeyRing::load(&identity, folder.path()).unwrap();
        assert_eq!(first.sealing_id(), named.sealing_id());
        identity.sts.keys = vec![SecretRef::File("/nowhere".into())];
        assert!(KeyRing::load(&identity, folder.path()).is_err());
    }
}
