//! TLS of the public listeners, with real certificates in real files and clients that check them.

mod clients;
mod commands;
mod files;
mod handshakes;
mod https;
mod resting;
mod rules;
mod sessions;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::support::{Answer, Tollgate, connect, read_answer};

/// A certificate authority, with a folder for what it signs.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

/// Until when a certificate counts.
const GOOD: i32 = 2099;

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self {
            issuer,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The authority's own certificate as a file.
    fn file(&self) -> PathBuf {
        let path = self.path("authority.pem");
        std::fs::write(&path, self.issuer.pem()).unwrap();
        path
    }

    /// A certificate for these names until this year, and its key, as PEM.
    fn sign(&self, names: &[&str], until: i32) -> (String, String) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes `{name}.pem` and `{name}.key`, each at once as a careful tool would.
    fn put(&self, name: &str, names: &[&str]) -> String {
        let (certificate, key) = self.sign(names, GOOD);
        self.replace(&format!("{name}.key"), &key);
        self.replace(&format!("{name}.pem"), &certificate);
        self.table(name)
    }

    fn replace(&self, name: &str, text: &str) {
        let draft = self.path("draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, self.path(name)).unwrap();
    }

    /// The table of the configuration that uses a pair.
    fn table(&self, name: &str) -> String {
        format!(
            "[[ingest.tls.certificate]]\ncert = {:?}\nkey = {:?}\n",
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}.key")),
        )
    }

    fn client(&self) -> Client {
        Client {
            roots: self.roots(),
            versions: rustls::ALL_VERSIONS.to_vec(),
            protocols: Vec::new(),
            identity: None,
        }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }
}

/// What a client brings along.
#[derive(Clone)]
struct Client {
    roots: RootCertStore,
    versions: Vec<&'static SupportedProtocolVersion>,
    protocols: Vec<&'static str>,
    identity: Option<(String, String)>,
}

impl Client {
    fn versions(mut self, versions: &[&'static SupportedProtocolVersion]) -> Self {
        self.versions = versions.to_vec();
        self
    }

    fn protocols(mut self, protocols: &[&'static str]) -> Self {
        self.protocols = protocols.to_vec();
        self
    }

    fn config(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let protocols = self.protocols.iter();
        config.alpn_protocols = protocols.map(|it| it.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// Asks for `name` and sends an event.
    fn send(&self, tollgate: &Tollgate, name: &str) -> Result<Sent, std::io::Error> {
        exchange(&self.config(), tollgate.ingest.unwrap(), name)
    }
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// What came of sending an event.
struct Sent {
    answer: Answer,
    stream: Tls,
}

impl Sent {
    /// The DNS names of the certificate that was shown.
    fn certificate(&self) -> &CertificateDer<'static> {
        &self.stream.conn.peer_certificates().unwrap()[0]
    }

    fn kind(&self) -> rustls::HandshakeKind {
        self.stream.conn.handshake_kind().unwrap()
    }

    fn again(&mut self) -> u16 {
        self.stream
            .write_all(super::request("").as_bytes())
            .unwrap();
        read_answer(&mut self.stream).status
    }
}

fn open(config: &Arc<ClientConfig>, address: SocketAddr, name: &str) -> Tls {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    StreamOwned::new(connection, connect(address))
}

/// A handshake, an event and its answer; an error when the server or the client refuses the other.
fn exchange(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    name: &str,
) -> Result<Sent, std::io::Error> {
    let mut stream = open(config, address, name);
    stream.write_all(super::request("").as_bytes())?;
    stream.flush()?;
    // A server of TLS 1.3 refuses client certificates only now.
    let mut first = [0; 1];
    stream.read_exact(&mut first)?;
    let answer = read_answer(&mut first.chain(&mut stream));
    Ok(Sent { answer, stream })
}

/// A service whose main listener has these certificates and these lines of `[ingest.tls]`.
fn start(lines: &str, certificates: &str) -> Tollgate {
    start_with("", lines, certificates)
}

fn start_with(ingest: &str, lines: &str, certificates: &str) -> Tollgate {
    let tables = format!("[ingest.tls]\n{lines}\n{certificates}");
    Tollgate::start_config(&super::config(ingest, &tables))
}

/// Waits until `done`, which an earlier step has caused.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(std::time::Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn pem_of(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}
