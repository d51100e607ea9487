//! What a certificate says: for whom it is, and from when to when.

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// DNS names, in lower case; a wildcard begins with `*.`.
    pub(super) names: Vec<String>,
    /// Whether it is for addresses as well.
    pub(super) has_addresses: bool,
    /// Seconds since the Unix epoch from which it counts.
    pub(super) not_before: u64,
    /// Seconds since the Unix epoch until which it counts.
    pub(super) not_after: u64,
    /// Whether it names itself as its issuer.
    pub(super) self_signed: bool,
}

impl Facts {
    /// Reads a certificate, or `None` when it is not one.
    pub(super) fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der.as_ref()).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let mut names = Vec::new();
        let mut has_addresses = false;
        // Names in the subject (CN) count for no client of today.
        if let Some(extension) = certificate.subject_alternative_name().ok()? {
            for name in &extension.value.general_names {
                match name {
                    GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase()),
                    GeneralName::IPAddress(_) => has_addresses = true,
                    _ => {}
                }
            }
        }
        let validity = certificate.validity();
        let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
        Some(Self {
            names,
            has_addresses,
            not_before: seconds(validity.not_before.timestamp()),
            not_after: seconds(validity.not_after.timestamp()),
            self_signed: certificate.subject() == certificate.issuer(),
        })
    }

    /// Whether no client would find itself talking to what it asked for.
    pub(super) fn is_nameless(&self) -> bool {
        self.names.is_empty() && !self.has_addresses
    }
}
