//! TLS of a listener.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::foundation::units::Span;

/// TLS of this listener. Without a certificate it speaks plain HTTP. Certificates, keys and `client_ca` are read again when their files change, and on SIGHUP; what cannot be used is told of, and the one before it stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Certificates with their keys, chosen by the name that a client asks for: a certificate of that name before one with a wildcard, and else the first.
    #[serde(rename = "certificate")]
    pub certificates: Vec<Certificate>,
    /// The least version of TLS.
    pub min_version: TlsVersion,
    /// Refuses clients that name no host, or one that no certificate has, instead of showing them the first certificate.
    pub strict_sni: bool,
    /// Whether clients show a certificate of their own.
    pub client_auth: ClientAuth,
    /// PEM file of the authorities whose client certificates are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/tollgate/clients-ca.pem")]
    pub client_ca: Option<PathBuf>,
    /// Lets clients that come back skip most of the handshake (session tickets, under keys that change every 6 hours and are never on disk). Not done where clients show certificates: a ticket would outlive the certificate.
    pub session_tickets: bool,
    /// For how long browsers that were here once use https only (`Strict-Transport-Security`). Left out: they are not told. Begin with an hour: it cannot be taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"180d")]
    pub hsts: Option<Span>,
    /// How often the files are looked at.
    pub reload_interval: Span,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// PEM file of the certificate, followed by those of the authorities between it and the root.
    #[schemars(example = &"/etc/tollgate/edge.example.com.pem")]
    pub cert: PathBuf,
    /// PEM file of its private key, without a password.
    #[schemars(example = &"/etc/tollgate/edge.example.com.key")]
    pub key: PathBuf,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2, and 1.3 with clients that know it.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 only.
    #[serde(rename = "1.3")]
    Tls13,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// They are asked. One that is shown must be good; who shows none is served as well.
    Optional,
    /// Who shows none, or one that is not good, is not served.
    Required,
}

impl Tls {
    /// Whether the listener speaks TLS.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.certificates.is_empty()
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificates: Vec::new(),
            min_version: TlsVersion::Tls12,
            strict_sni: false,
            client_auth: ClientAuth::None,
            client_ca: None,
            session_tickets: true,
            hsts: None,
            reload_interval: Span::secs(10),
        }
    }
}
