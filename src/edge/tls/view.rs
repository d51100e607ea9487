//! What the certificates of a listener say of themselves, for somebody who asks.

use std::path::PathBuf;

use super::pair::Pair;
use crate::config::Tls;

/// A certificate with its key, as their files are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateView {
    /// The file of the certificate.
    pub cert: PathBuf,
    /// The file of the key.
    pub key: PathBuf,
    /// What stands in them, or why they cannot be used, for people.
    pub found: Result<CertificateFacts, String>,
}

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// DNS names, in lower case; a wildcard begins with `*.`.
    pub names: Vec<String>,
    /// Whether it is for addresses as well.
    pub has_addresses: bool,
    /// Unix seconds from which it counts.
    pub not_before: u64,
    /// Unix seconds until which it counts.
    pub not_after: u64,
    /// Certificates in the file, its own included.
    pub chain: usize,
    /// Whether it vouches for itself.
    pub self_signed: bool,
}

/// Reads the certificates of a listener.
#[must_use]
pub fn view(rules: &Tls) -> Vec<CertificateView> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let all = rules.certificates.iter();
    all.map(|files| CertificateView {
        cert: files.cert.clone(),
        key: files.key.clone(),
        found: match Pair::load(files, &provider) {
            Ok(pair) => Ok(CertificateFacts {
                names: pair.facts.names.clone(),
                has_addresses: pair.facts.has_addresses,
                not_before: pair.facts.not_before,
                not_after: pair.facts.not_after,
                chain: pair.key.cert.len(),
                self_signed: pair.facts.self_signed,
            }),
            Err(error) => Err(error.to_string()),
        },
    })
    .collect()
}
