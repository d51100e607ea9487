//! PEM files with a public key or a certificate (RFC 7468).
//!
//! Promise: a private key is refused by name, and what the file holds is never repeated. Of a chain
//! of certificates the first counts; its dates and its issuer are not checked, since the operator
//! has put it there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::server::ParsedCertificate;
use rustls_pki_types::CertificateDer;

use super::method::{PublicKey, PublicKeyFault};

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// Why a file holds no public key to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PemFault {
    #[error("it is not PEM: no `-----BEGIN PUBLIC KEY-----` stands in it")]
    NotPem,
    #[error("it holds a private key; give the public one (`openssl pkey -in key.pem -pubout`)")]
    Private,
    #[error(
        "it holds more than one public key; give each a file and an [[identity.jwt]] of its own"
    )]
    Several,
    #[error("it holds no public key and no certificate")]
    Other,
    #[error("its certificate cannot be read")]
    Certificate,
    #[error("{0}")]
    Key(#[from] PublicKeyFault),
}

/// The public key in a PEM file.
pub(super) fn public_key(text: &str) -> Result<PublicKey, PemFault> {
    let blocks = blocks(text).ok_or(PemFault::NotPem)?;
    if blocks.is_empty() {
        return Err(PemFault::NotPem);
    }
    if blocks
        .iter()
        .any(|(label, _)| label.ends_with("PRIVATE KEY"))
    {
        return Err(PemFault::Private);
    }
    let mut keys = blocks
        .iter()
        .filter(|(label, _)| label.ends_with("PUBLIC KEY"));
    match (keys.next(), keys.next()) {
        (Some(_), Some(_)) => Err(PemFault::Several),
        (Some(("PUBLIC KEY", der)), None) => Ok(PublicKey::from_spki(der)?),
        (Some(("RSA PUBLIC KEY", der)), None) => Ok(PublicKey::from_pkcs1(der)?),
        (Some(_), None) => Err(PemFault::Other),
        (None, _) => {
            let first = blocks
                .into_iter()
                .find(|(label, _)| *label == "CERTIFICATE");
            let (_, der) = first.ok_or(PemFault::Other)?;
            let der = CertificateDer::from(der);
            let parsed = ParsedCertificate::try_from(&der).map_err(|_| PemFault::Certificate)?;
            Ok(PublicKey::from_spki(
                parsed.subject_public_key_info().as_ref(),
            )?)
        }
    }
}

/// The labels and contents of a file. What stands between the blocks is left out.
fn blocks(text: &str) -> Option<Vec<(&str, Vec<u8>)>> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let (label, after) = after.split_once(DASHES)?;
        let (body, after) = after.split_once(END)?;
        let after = after.strip_prefix(label)?.strip_prefix(DASHES)?;
        // Some private keys begin with headers; they are refused by their label.
        let body: String = body.split_ascii_whitespace().collect();
        let content = if label.ends_with("PRIVATE KEY") {
            Vec::new()
        } else {
            STANDARD.decode(body).ok()?
        };
        blocks.push((label, content));
        rest = after;
    }
    Some(blocks)
}
