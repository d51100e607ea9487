//! Which certificate a client is shown, by handshakes in memory.

use std::sync::Arc;

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConnection, SignatureScheme,
};

use super::*;

/// Takes every certificate: the tests ask which it is.
#[derive(Debug)]
struct Anything(Vec<SignatureScheme>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

/// The first name of the certificate that a client is shown, or the error of the server.
fn shown_to(tls: &ListenerTls, name: &str, schemes: &[SignatureScheme]) -> Result<String, Error> {
    let client = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything(schemes.to_vec())))
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(tls.config()).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets().unwrap();
    }
    let chain = client.peer_certificates().unwrap();
    Ok(facts::Facts::of(&chain[0]).unwrap().names[0].clone())
}

const ECDSA: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];

fn listener(tls: &Tls) -> Arc<ListenerTls> {
    ListenerTls::load("main", tls, &["h2", "http/1.1"], &Metrics::new()).unwrap()
}

#[test]
fn an_exact_name_comes_before_a_wildcard_and_that_before_the_first() {
    let folder = Folder::new();
    let tls = rules(vec![
        folder.pair("first", &["first.test"]),
        folder.pair("wild", &["*.edge.test", "edge.test"]),
        folder.pair("exact", &["shop.edge.test"]),
    ]);
    let listener = listener(&tls);
    for (asked, wanted) in [
        ("shop.edge.test", "shop.edge.test"),
        ("SHOP.Edge.Test", "shop.edge.test"),
        ("demo.edge.test", "*.edge.test"),
        ("edge.test", "*.edge.test"),
        ("first.test", "first.test"),
        // A wildcard stands for one label, never for none or two.
        ("a.b.edge.test", "first.test"),
        ("unknown.test", "first.test"),
        ("test", "first.test"),
        // An address is not sent as a name.
        ("192.0.2.1", "first.test"),
    ] {
        assert_eq!(
            shown_to(&listener, asked, ECDSA).unwrap(),
            wanted,
            "{asked}"
        );
    }
}

#[test]
fn strict_sni_shows_nothing_to_who_asks_for_nothing_known() {
    let folder = Folder::new();
    let mut tls = rules(vec![folder.pair("a", &["edge.test", "*.edge.test"])]);
    tls.strict_sni = true;
    let listener = listener(&tls);
    assert!(shown_to(&listener, "edge.test", ECDSA).is_ok());
    assert!(shown_to(&listener, "a.edge.test", ECDSA).is_ok());
    for unknown in ["other.test", "a.b.edge.test", "192.0.2.1"] {
        assert!(shown_to(&listener, unknown, ECDSA).is_err(), "{unknown}");
    }
}

#[test]
fn of_two_kinds_of_key_the_client_is_shown_one_that_it_can_check() {
    let folder = Folder::new();
    let with = |name: &str, names: &[&str], kind| {
        let files = folder.files(name);
        let key = KeyPair::generate_for(kind).unwrap();
        let (certificate, key) = self_signed(names, (2020, 2099), &key);
        std::fs::write(&files.cert, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
        files
    };
    // The second name tells which it was.
    let tls = rules(vec![
        with("ed", &["edge.test"], &PKCS_ED25519),
        with("ec", &["edge.test"], &PKCS_ECDSA_P256_SHA256),
    ]);
    let listener = listener(&tls);
    for name in ["edge.test", "unknown.test"] {
        for schemes in [ECDSA, &[SignatureScheme::ED25519]] {
            assert!(
                shown_to(&listener, name, schemes).is_ok(),
                "{name} {schemes:?}"
            );
        }
    }
}
