//! Keyed hashes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::draft::Draft;
use super::names::NameSet;
use super::outcome::Fault;
use super::trouble::Trouble;
use crate::config::HashEncoding;

/// A key of hashes, ready to use.
#[derive(Clone)]
pub(super) struct HashKey(Hmac<Sha256>);

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(hidden)")
    }
}

impl HashKey {
    /// A key of any length. `None` cannot be: HMAC takes every key.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(key).ok().map(Self)
    }

    /// The hash of parts. Each goes in with its length, so that no two lists run together.
    pub(super) fn of_parts<'p>(&self, parts: impl Iterator<Item = &'p [u8]>) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// The hash of one text: HMAC-SHA256 as any tool computes it.
    pub(super) fn of_text(&self, text: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(text);
        mac.finalize().into_bytes().into()
    }
}

/// How a hash is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct HashForm {
    pub(super) encoding: HashEncoding,
    /// Characters that are kept.
    pub(super) length: usize,
}

impl HashForm {
    /// All of it, in hexadecimal.
    pub(super) const WHOLE: Self = Self {
        encoding: HashEncoding::Hex,
        length: 64,
    };

    /// Appends a hash.
    pub(super) fn put(self, hash: &[u8; 32], out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
        let mut text = [0u8; 64];
        let written = match self.encoding {
            HashEncoding::Hex => {
                for (byte, pair) in hash.iter().zip(text.chunks_exact_mut(2)) {
                    if let [high, low] = pair {
                        (*high, *low) = (digit(byte >> 4), digit(byte & 15));
                    }
                }
                64
            }
            HashEncoding::Base64url => URL_SAFE_NO_PAD
                .encode_slice(hash, &mut text)
                .unwrap_or_default(),
        };
        out.extend_from_slice(text.get(..written.min(self.length)).unwrap_or_default());
    }
}

/// A step that hashes.
#[derive(Debug)]
pub(super) struct HashStep {
    pub(super) fields: NameSet,
    pub(super) key: HashKey,
    pub(super) form: HashForm,
    pub(super) by_field: bool,
}

impl HashStep {
    /// The hash of one value, as it is written.
    pub(super) fn hashed(&self, name: &[u8], value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.form.put(&self.hash(name, value), &mut out);
        out
    }

    fn hash(&self, name: &[u8], value: &[u8]) -> [u8; 32] {
        if self.by_field {
            self.key.of_parts([name, value].into_iter())
        } else {
            self.key.of_text(value)
        }
    }

    pub(super) fn run(
        &self,
        draft: &mut Draft<'_>,
        scratch: &mut Vec<u8>,
        trouble: &mut Trouble<'_>,
    ) -> Result<(), Fault> {
        let mut place = 0;
        while let Some((name, value)) = draft.at(place) {
            if !self.fields.has(name) {
                place += 1;
                continue;
            }
            let hash = self.hash(name, value);
            scratch.clear();
            self.form.put(&hash, scratch);
            let result = draft.set_value(place, scratch);
            if !trouble.field(result, draft, place)? {
                place += 1;
            }
        }
        Ok(())
    }
}
