//! How the private listener of a node is reached: its URL, whom it is believed by, and the certificate that
//! is shown to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use http::Uri;
use hyper_rustls::ConfigBuilderExt as _;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsFault, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::api::Api;
use super::node::running;
use super::{Exit, Failure};
use crate::config::{Config, Tls};

/// The private listener of a running node.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct AdminArgs {
    /// Private listener of the running node. Without it: `admin.listen` of the configuration, and
    /// the files in the data directory when nothing listens there.
    #[arg(long, visible_alias = "admin", value_name = "URL")]
    pub(super) admin_url: Option<Uri>,
    #[command(flatten)]
    pub(super) tls: AdminTlsArgs,
}

/// A running node that is asked in the place of files.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct LiveArgs {
    /// Ask the running node with this private listener, and not the files here.
    #[arg(long, visible_alias = "admin", value_name = "URL")]
    pub(super) admin_url: Option<Uri>,
    #[command(flatten)]
    tls: AdminTlsArgs,
}

impl LiveArgs {
    /// The node that is to be asked, where one is named. Its token is that of `config`.
    pub(super) fn node(&self, config: &Config) -> Result<Option<Box<Api>>, Failure> {
        if self.admin_url.is_none() {
            return Ok(None);
        }
        let admin = AdminArgs {
            admin_url: self.admin_url.clone(),
            tls: self.tls.clone(),
        };
        running(config, &admin, None)
    }
}

/// TLS with the private listener of a node.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct AdminTlsArgs {
    /// PEM file of the authorities that a node with `https` is believed by, or of its very
    /// certificate. Without it: the certificates of `admin.tls` in the configuration, and where that
    /// has none the authorities that everybody knows.
    #[arg(long, value_name = "FILE", env = "TOLLGATE_ADMIN_CA")]
    pub(super) admin_ca: Option<PathBuf>,
    /// PEM file of a certificate that is shown to the node, and needs no token where
    /// `[[admin.client]]` gives it a role.
    #[arg(
        long,
        value_name = "FILE",
        env = "TOLLGATE_ADMIN_CERT",
        requires = "admin_key"
    )]
    pub(super) admin_cert: Option<PathBuf>,
    /// PEM file of its key.
    #[arg(
        long,
        value_name = "FILE",
        env = "TOLLGATE_ADMIN_KEY",
        requires = "admin_cert"
    )]
    pub(super) admin_key: Option<PathBuf>,
}

impl AdminTlsArgs {
    /// Whether a certificate is shown.
    pub(super) fn has_certificate(&self) -> bool {
        self.admin_cert.is_some()
    }

    /// What connections begin with, to a node whose configuration may be `of`.
    pub(super) fn client(&self, of: &Tls) -> Result<Arc<ClientConfig>, Failure> {
        let internal = |error: TlsFault| Failure::new(Exit::Internal, error);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut known = Vec::new();
        match &self.admin_ca {
            Some(path) => known = certificates(path, "--admin-ca")?,
            None => {
                for files in &of.certificates {
                    known.extend(certificates(&files.cert, "admin.tls")?);
                }
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(internal)?;
        let builder = match known.as_slice() {
            [] => builder.with_webpki_roots(),
            known => builder
                .dangerous()
                .with_custom_certificate_verifier(Known::new(known, &provider)?),
        };
        let config = match (&self.admin_cert, &self.admin_key) {
            (Some(cert), Some(key)) => {
                let chain = certificates(cert, "--admin-cert")?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| unusable("--admin-key", key, &error))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| unusable("--admin-cert and --admin-key", cert, &error))?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}

fn unusable(name: &str, path: &Path, why: &dyn std::fmt::Display) -> Failure {
    let message = format!("{name}: {} cannot be used: {why}", path.display());
    Failure::new(Exit::Config, message)
}

fn certificates(path: &Path, name: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = found.map_err(|error| unusable(name, path, &error))?;
    match found.is_empty() {
        true => Err(unusable(name, path, &"it holds no certificate")),
        false => Ok(found),
    }
}

/// What to do about a connection that could not be made.
pub(super) fn hint(url: &str, why: &str) -> &'static str {
    let has = |text: &str| why.contains(text);
    if !url.starts_with("https") {
        return match has("invalid HTTP") || has("message completed") || has("reset") {
            true => " (if it speaks TLS, begin its URL with https://)",
            false => "",
        };
    }
    if has("UnknownIssuer") || has("NotValidForName") || has("BadSignature") {
        " (name its authority, or its certificate, with --admin-ca)"
    } else if has("CertificateRequired") {
        " (it asks for a certificate: --admin-cert and --admin-key)"
    } else if has("InvalidContentType") || has("corrupt message") {
        " (it speaks plain HTTP: begin its URL with http://)"
    } else {
        ""
    }
}

/// Believes the authorities of a file; and a certificate that is in it itself, whatever name it is called
/// by, as long as it counts: that names the very node. What is no authority by its own words signs for
/// nobody else.
#[derive(Debug)]
struct Known {
    these: Vec<CertificateDer<'static>>,
    /// None where the file has no authority.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    signatures: WebPkiSupportedAlgorithms,
}

impl Known {
    fn new(
        these: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<Self>, Failure> {
        let mut roots = RootCertStore::empty();
        let authorities = these.iter().filter(|it| is_authority(it));
        roots.add_parsable_certificates(authorities.cloned());
        let verifier = |roots| {
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
                .map_err(|error| Failure::new(Exit::Config, error))
        };
        let authorities = (!roots.is_empty()).then(|| verifier(roots)).transpose()?;
        Ok(Arc::new(Self {
            these: these.to_vec(),
            authorities,
            signatures: provider.signature_verification_algorithms,
        }))
    }
}

/// Whether a certificate says of itself that it signs others.
fn is_authority(der: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der.as_ref()) else {
        return false;
    };
    let constraints = certificate.basic_constraints();
    constraints.is_ok_and(|found| found.is_some_and(|it| it.value.ca))
}

/// Whether a certificate counts at a time.
fn counts(der: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let (_, certificate) =
        X509Certificate::from_der(der.as_ref()).map_err(|_| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    if validity.not_after.timestamp() < now {
        Err(CertificateError::Expired)
    } else if validity.not_before.timestamp() > now {
        Err(CertificateError::NotValidYet)
    } else {
        Ok(())
    }
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsFault> {
        if self.these.iter().any(|known| known == end_entity) {
            counts(end_entity, now)?;
            return Ok(ServerCertVerified::assertion());
        }
        let Some(authorities) = &self.authorities else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsFault> {
        verify_tls12_signature(message, cert, dss, &self.signatures)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsFault> {
        verify_tls13_signature(message, cert, dss, &self.signatures)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_schemes()
    }
}
