//! A certificate and its key, read from their files.
//!
//! Promise: a pair that comes from here belongs together and can sign. Errors name the file and
//! never what stands in it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsFault, InconsistentKeys};
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::facts::Facts;
use crate::config::Certificate;

/// Bytes of a file of certificates or of a key.
const MAX_FILE: u64 = 1 << 20;
/// Certificates of a chain.
const MAX_CHAIN: usize = 16;

/// A certificate with its key, ready to be shown to clients.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) facts: Facts,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {fault}", path = path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub fault: FileFault,
}

/// Why a file of a certificate, a key or authorities cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says it in its message")]
pub enum FileFault {
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("is larger than {MAX_FILE} bytes")]
    TooLarge,
    #[error("is not PEM, or ends in the middle of a block")]
    Pem,
    #[error("holds no certificate")]
    NoCertificate,
    #[error("holds more than {MAX_CHAIN} certificates")]
    LongChain,
    #[error("holds a certificate that cannot be read")]
    Certificate,
    #[error("holds no private key")]
    NoKey,
    #[error(
        "holds a key under a password; write it out without one (`openssl pkey -in FILE -out NEW`)"
    )]
    Locked,
    #[error(
        "holds a key of a kind that TLS here does not know; use ECDSA (P-256), Ed25519 or RSA of 2048 bits or more"
    )]
    KeyKind,
    #[error("is not the key of the certificate in {}", .0.display())]
    OtherKey(PathBuf),
    #[error("the certificate has expired")]
    Expired,
    #[error("the certificate does not count yet; look at the clock of this machine")]
    NotYet,
    #[error("holds an authority that cannot be used: {0}")]
    Authority(String),
}

impl FileFault {
    fn at(self, path: &Path) -> FileError {
        FileError {
            path: path.to_owned(),
            fault: self,
        }
    }
}

impl Pair {
    /// Reads both files and tries them. The dates are not looked at.
    pub(super) fn load(files: &Certificate, provider: &CryptoProvider) -> Result<Self, FileError> {
        let chain = certificates(&files.cert)?;
        let first = chain.first().ok_or(FileFault::NoCertificate);
        let facts = first
            .and_then(|first| Facts::of(first).ok_or(FileFault::Certificate))
            .map_err(|fault| fault.at(&files.cert))?;
        let key = private_key(&files.key)?;
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            TlsFault::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                FileFault::OtherKey(files.cert.clone()).at(&files.key)
            }
            TlsFault::InvalidCertificate(_) => FileFault::Certificate.at(&files.cert),
            _ => FileFault::KeyKind.at(&files.key),
        })?;
        Ok(Self {
            key: Arc::new(key),
            facts,
        })
    }

    /// What the dates say against it at `now` (Unix seconds).
    pub(super) fn fault_at(&self, now: u64) -> Option<FileFault> {
        if self.facts.not_after < now {
            Some(FileFault::Expired)
        } else if self.facts.not_before > now {
            Some(FileFault::NotYet)
        } else {
            None
        }
    }
}

/// The certificates of a file, in its order; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let text = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|_| FileFault::Pem.at(path))?;
    match all.len() {
        0 => Err(FileFault::NoCertificate.at(path)),
        count if count > MAX_CHAIN => Err(FileFault::LongChain.at(path)),
        _ => Ok(all),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let text = read(path)?;
    let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(&text);
    let found = sections.find_map(|section| match section {
        Ok((kind, der)) => PrivateKeyDer::from_pem(kind, der).map(Ok),
        Err(_) => Some(Err(FileFault::Pem)),
    });
    match found {
        Some(key) => key.map_err(|fault| fault.at(path)),
        None if is_locked(&text) => Err(FileFault::Locked.at(path)),
        None => Err(FileFault::NoKey.at(path)),
    }
}

fn is_locked(text: &[u8]) -> bool {
    memchr::memmem::find(text, b"BEGIN ENCRYPTED PRIVATE KEY").is_some()
}

/// The bytes of a file, wiped when dropped: they may be a key.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let failed = |error: io::Error| FileFault::Read(error).at(path);
    let file = File::open(path).map_err(failed)?;
    // The room is made before reading, so that no copy of a key stays behind where it grew.
    let length = file.metadata().map_err(failed)?.len();
    if length > MAX_FILE {
        return Err(FileFault::TooLarge.at(path));
    }
    let room = usize::try_from(length).unwrap_or(0).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(FileFault::TooLarge.at(path));
    }
    Ok(bytes)
}
