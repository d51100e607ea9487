//! A gate with every kind of credential, and credentials for it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, Method};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use tempfile::TempDir;
use tollgate::config::{
    AccessKeyRule, Config, JwtAlgorithm, JwtKey, PolicyRule, Role, SignatureVersion,
};
use tollgate::foundation::clock;
use tollgate::foundation::secret::{Secret, SecretRef};
use tollgate::gate::identity::state::{Grant, IdentityState, NewTicket};
use tollgate::gate::identity::sts::{NewSession, ReplayWindow};
use tollgate::gate::identity::{Action, Authenticator, Check, Facts, Origin, Trust, mint};
use tollgate::gate::policy::resource_name;
use tollgate::logstore::signature::{AccessKey, RequestParts, Signer, Unsigned};
use tollgate::telemetry::Metrics;

pub const PROJECT: &str = "sls-webtracking-mini";
pub const LOGSTORE: &str = "web-tracking-logstore";
pub const PATH: &str = "/logstores/web-tracking-logstore/shards/lb";
const ROLE: &str = "acs:ram::1234567890123456:role/sls-web-tracking";
const KEY_ID: &str = "tollgate-server-1";
pub const KEY_SECRET: &str = "a secret of the usual length ";
const ISSUER: &str = "https://login.example.com/";
const AUDIENCE: &str = "tollgate";
/// What the holders of keys and roles may do.
const POLICY: &str = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["log:PostLogStoreLogs","log:PutLogs"],"Resource":["acs:log:*:*:project/sls-webtracking-mini/logstore/*"]}]}"#;

/// A body of a KiB.
pub fn body() -> Vec<u8> {
    (0..=255u8).cycle().take(1024).collect()
}

/// A gate, in a folder of its own.
pub struct Gate {
    _folder: TempDir,
    config: Config,
    authenticator: Authenticator,
    trust: Arc<Trust>,
    facts: Facts<'static>,
}

/// A signed request, without its body.
#[derive(Debug)]
pub struct Signed {
    /// Its headers.
    pub headers: HeaderMap,
    /// The secret that signed it.
    pub secret: String,
}

impl Signed {
    /// What is checked of it.
    pub fn parts(&self) -> RequestParts<'_> {
        RequestParts {
            method: "POST",
            path: PATH,
            query: "",
            headers: &self.headers,
        }
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).expect("the header");
        value.to_str().expect("text")
    }
}

impl Gate {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let nonces = Arc::new(ReplayWindow::new(
            Duration::from_secs(900),
            ReplayWindow::USUAL,
        ));
        let trust = Trust::load(&config, &nonces).expect("the keys");
        let state = IdentityState::open(folder.path(), &config.identity, &Metrics::new());
        let authenticator =
            Authenticator::new(Arc::new(trust), Arc::new(state.expect("the journal")));
        let resource = resource_name("cn-hangzhou", "1234567890123456", PROJECT, LOGSTORE);
        let facts = Facts {
            project: PROJECT,
            logstore: LOGSTORE,
            action: Action::PutLogs,
            resource: resource.leak(),
            client: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)),
            secure: true,
            origin: Some("https://shop.example.com"),
            unix_seconds: clock::unix_seconds(),
        };
        Self {
            _folder: folder,
            trust: authenticator.trust(),
            config,
            authenticator,
            facts,
        }
    }

    /// The questions of one request.
    pub fn check(&self) -> Check<'_> {
        Check::new(&self.authenticator, &self.trust, &self.facts)
    }

    pub fn now(&self) -> u64 {
        self.facts.unix_seconds
    }

    /// A request that was signed by temporary credentials of its own.
    pub fn sts_request(&self, session: usize, policy: Option<&str>) -> Signed {
        let made = self.trust.service().issue(&NewSession {
            role_arn: ROLE,
            session_name: &format!("visitor-{session:06}"),
            duration: 3600,
            origin: &Origin::AccessKey {
                id: KEY_ID.to_owned(),
            },
            policy,
            unix_seconds: self.now(),
        });
        let made = made.expect("credentials");
        let key = AccessKey {
            id: made.access_key_id,
            secret: Secret::new(made.access_key_secret.clone()),
            security_token: Some(Secret::new(made.security_token)),
        };
        self.sign(&key, made.access_key_secret, SignatureVersion::V1)
    }

    /// A request that was signed by a long-lived key.
    pub fn key_request(&self, version: SignatureVersion) -> Signed {
        let key = AccessKey {
            id: KEY_ID.to_owned(),
            secret: Secret::new(KEY_SECRET),
            security_token: None,
        };
        self.sign(&key, KEY_SECRET.to_owned(), version)
    }

    fn sign(&self, key: &AccessKey, secret: String, version: SignatureVersion) -> Signed {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "sls-webtracking-mini.cn-hangzhou.log.example.com"),
            ("content-type", "application/x-protobuf"),
            ("user-agent", "sls-sdk/1.0"),
            ("x-log-bodyrawsize", "2048"),
            ("x-log-compresstype", "lz4"),
            ("content-length", "1024"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let signer = Signer {
            version,
            key,
            region: "cn-hangzhou",
        };
        let request = Unsigned {
            method: &Method::POST,
            path: PATH,
            query: &[],
            body: &body(),
        };
        let signed = signer.sign(&request, &mut headers, self.now());
        signed.expect("a signature");
        Signed { headers, secret }
    }

    /// A token as this program makes it, and the secret of its key.
    pub fn minted(&self, visitor: usize) -> (String, Secret) {
        let key = self.trust.session_key(None).expect("a key that signs");
        let subject = format!("visitor-{visitor:06}");
        let token = mint(key, PROJECT, LOGSTORE, 3600, Some(&subject));
        (token.expect("a token"), key.secret.clone())
    }

    /// The token of a ticket, and the secret of tickets.
    pub fn ticket(&self) -> (String, Secret) {
        let project = self.config.projects.first().expect("a project");
        let logstore = project.logstores.first().expect("a logstore");
        let made = self.authenticator.state().create_ticket(NewTicket {
            grant: Grant::Write {
                project: project.name.clone(),
                logstores: vec![logstore.name.clone()],
            },
            ttl_seconds: None,
            max_ttl_seconds: None,
            not_before: None,
            max_uses: None,
            addresses: Vec::new(),
            origins: Vec::new(),
            accounts: Vec::new(),
            note: String::new(),
            by: None,
        });
        let secret = std::fs::read(self.config.data_dir.join("ticket.secret"));
        (
            made.expect("a ticket").token,
            Secret::new(secret.expect("it")),
        )
    }
}

/// An issuer of tokens with a public key.
pub enum Issuer {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
}

impl Issuer {
    pub fn rsa() -> Self {
        let pair = RsaKeyPair::from_pkcs8(private_key("rsa").secret_pkcs8_der());
        Self::Rsa(Box::new(pair.expect("the key of the tests")))
    }

    pub fn p256() -> Self {
        let der = private_key("p256");
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der());
        Self::P256(pair.expect("the key of the tests"))
    }

    /// A token of a visitor.
    pub fn token(&self, visitor: usize, now: u64) -> String {
        let (algorithm, kid) = match self {
            Self::Rsa(_) => ("RS256", "rsa"),
            Self::P256(_) => ("ES256", "p256"),
        };
        let header = format!(r#"{{"alg":"{algorithm}","kid":"{kid}","typ":"JWT"}}"#);
        let claims = format!(
            r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"visitor-{visitor:06}","jti":"{visitor:022}","iat":{now},"exp":{},"project":"{PROJECT}","logstore":"{LOGSTORE}"}}"#,
            now + 3600
        );
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
                signed.expect("a signature");
                signature
            }
            Self::P256(pair) => {
                let signature = pair.sign(&random, message).expect("a signature");
                signature.as_ref().to_vec()
            }
        }
    }
}

fn private_key(name: &str) -> PrivatePkcs8KeyDer<'static> {
    let path = keys().join(format!("{name}.pem"));
    PrivatePkcs8KeyDer::from_pem_file(path).expect("the key of the tests")
}

pub fn keys() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parsers/keys"))
}

fn config(folder: &Path) -> Config {
    let secret = |name: &str, secret: &str| {
        let path = folder.join(name);
        std::fs::write(&path, secret).expect("a file");
        SecretRef::File(path)
    };
    let public = |kid: &str, algorithm| JwtKey {
        algorithms: vec![algorithm],
        public_key: Some(keys().join(format!("{kid}.pub.pem"))),
        ..JwtKey::named(kid, ISSUER, AUDIENCE)
    };
    let mut config = Config::quickstart();
    config.data_dir = folder.to_owned();
    let identity = &mut config.identity;
    identity.jwt.push(public("rsa", JwtAlgorithm::RS256));
    identity.jwt.push(public("p256", JwtAlgorithm::ES256));
    identity.ticket.keys = vec![secret("ticket.secret", &"ticket".repeat(8))];
    identity.sts.keys = vec![secret("sts.secret", &"sealed".repeat(8))];
    identity.access_keys = vec![AccessKeyRule {
        id: KEY_ID.to_owned(),
        secret: secret("key.secret", KEY_SECRET),
        policies: vec!["write".to_owned()],
        enabled: true,
    }];
    identity.policies = vec![PolicyRule {
        name: "write".to_owned(),
        file: None,
        document: Some(POLICY.to_owned()),
    }];
    identity.roles = vec![Role {
        arn: ROLE.to_owned(),
        policies: vec!["write".to_owned()],
        assumed_by: vec![KEY_ID.to_owned()],
        external_id: None,
        max_session_duration: tollgate::foundation::units::Span::secs(3600),
    }];
    config
}
