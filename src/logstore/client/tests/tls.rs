//! TLS towards the store: who is trusted, and that there is no way around it.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::NamedTempFile;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A certificate authority of our own, and its certificate as a PEM file.
fn authority() -> (CertifiedIssuer<'static, KeyPair>, NamedTempFile) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), issuer.pem()).unwrap();
    (issuer, file)
}

/// A store behind TLS, with a certificate for `name`.
async fn start(issuer: &CertifiedIssuer<'static, KeyPair>, name: &str) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&key, issuer)
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(checked(0, Arc::default(), |_| with_id("")));
    let tasks = TaskTracker::new();
    tasks.clone().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), Arc::clone(&answer));
            tasks.spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, answer).await;
                }
            });
        }
    });
    address
}

fn secure(base: &str, address: SocketAddr, ca_file: Option<&NamedTempFile>) -> StoreClient {
    let mut endpoint = endpoint(base.to_owned());
    endpoint.address = Some(address);
    endpoint.ca_file = ca_file.map(|file| file.path().to_owned());
    StoreClient::new(endpoint).unwrap()
}

const BASE: &str = "https://cn-hangzhou.log.example.com";

#[tokio::test]
async fn a_certificate_for_project_and_endpoint_from_a_trusted_authority_is_accepted() {
    let (issuer, file) = authority();
    for name in [
        "demo.cn-hangzhou.log.example.com",
        "*.cn-hangzhou.log.example.com",
    ] {
        let address = start(&issuer, name).await;
        put(&secure(BASE, address, Some(&file))).await.unwrap();
    }
}

#[tokio::test]
async fn an_address_over_tls_must_be_named_by_the_certificate() {
    let (issuer, file) = authority();
    let address = start(&issuer, "127.0.0.1").await;
    let base = format!("https://{address}");
    put(&secure(&base, address, Some(&file))).await.unwrap();
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_accepted() {
    let (issuer, file) = authority();
    for name in [
        "cn-hangzhou.log.example.com",
        "other.cn-hangzhou.log.example.com",
    ] {
        let address = start(&issuer, name).await;
        let result = put(&secure(BASE, address, Some(&file))).await;
        assert_eq!(transport(result), TransportFailure::Tls, "{name}");
    }
}

#[tokio::test]
async fn an_unknown_authority_is_not_accepted() {
    let (issuer, _) = authority();
    let (_, other) = authority();
    let address = start(&issuer, "demo.cn-hangzhou.log.example.com").await;
    for ca_file in [None, Some(&other)] {
        let result = put(&secure(BASE, address, ca_file)).await;
        assert_eq!(transport(result), TransportFailure::Tls);
    }
}

#[tokio::test]
async fn a_plain_server_is_never_spoken_to_without_tls() {
    let server = Server::start(|_| with_id("")).await;
    let result = put(&secure(BASE, server.address, None)).await;
    assert_eq!(transport(result), TransportFailure::Tls);
    assert!(server.seen().is_empty());
}

#[test]
fn a_file_without_certificates_is_refused_when_the_client_is_made() {
    let empty = NamedTempFile::new().unwrap();
    let garbage = NamedTempFile::new().unwrap();
    let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(garbage.path(), text).unwrap();
    for path in [
        empty.path().to_owned(),
        garbage.path().to_owned(),
        "/nonexistent".into(),
    ] {
        let mut endpoint = endpoint(BASE.to_owned());
        endpoint.ca_file = Some(path.clone());
        let error = StoreClient::new(endpoint).unwrap_err();
        assert!(
            error.to_string().contains(&*path.to_string_lossy()),
            "{error}"
        );
    }
}
