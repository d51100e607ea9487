//! How a listener speaks TLS: versions, protocols, tickets and client certificates, for rustls.
//!
//! Early data (0-RTT) stays off: it could be replayed, and an event would be taken twice.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::choose::Chooser;
use super::pair::{FileError, FileFault, certificates};
use crate::config::{ClientAuth, Tls, TlsVersion};

/// What stays while certificates change.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) rules: Tls,
    pub(super) provider: Arc<CryptoProvider>,
    /// Of this listener alone: a ticket of another could have been given to a client that showed no
    /// certificate there.
    tickets: Option<Arc<dyn ProducesTickets>>,
    protocols: Vec<Vec<u8>>,
}

impl Settings {
    /// Settings for a listener that speaks these protocols (ALPN), preferred first.
    pub(super) fn new(rules: &Tls, protocols: &[&str]) -> Result<Self, rustls::Error> {
        let tickets = rules.session_tickets && rules.client_auth == ClientAuth::None;
        Ok(Self {
            rules: rules.clone(),
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            tickets: tickets.then(Ticketer::new).transpose()?,
            protocols: protocols.iter().map(|it| it.as_bytes().to_vec()).collect(),
        })
    }

    /// What rustls is told, with these certificates and, where clients show theirs, these
    /// authorities.
    pub(super) fn config(
        &self,
        chooser: Chooser,
        authorities: Option<&Arc<RootCertStore>>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let versions: &[&SupportedProtocolVersion] = match self.rules.min_version {
            TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(self.verifier(authorities)?)
            .with_cert_resolver(Arc::new(chooser));
        config.alpn_protocols.clone_from(&self.protocols);
        config.max_early_data_size = 0;
        // What a session needs is in the ticket: nothing is kept here for clients that may not come back.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match &self.tickets {
            Some(tickets) => config.ticketer = Arc::clone(tickets),
            None => config.send_tls13_tickets = 0,
        }
        Ok(Arc::new(config))
    }

    fn verifier(
        &self,
        authorities: Option<&Arc<RootCertStore>>,
    ) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
        let roots = match (self.rules.client_auth, authorities) {
            (ClientAuth::None, _) => return Ok(WebPkiClientVerifier::no_client_auth()),
            (_, Some(roots)) => Arc::clone(roots),
            // The check of the configuration has refused this; no authority, no client.
            (_, None) => Arc::new(RootCertStore::empty()),
        };
        let provider = Arc::clone(&self.provider);
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
        if self.rules.client_auth == ClientAuth::Optional {
            builder = builder.allow_unauthenticated();
        }
        builder
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))
    }
}

/// The authorities of a file.
pub(super) fn authorities(path: &Path) -> Result<Arc<RootCertStore>, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| FileError {
            path: path.to_owned(),
            fault: FileFault::Authority(error.to_string()),
        })?;
    }
    Ok(Arc::new(roots))
}
