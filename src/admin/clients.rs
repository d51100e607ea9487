//! Who is let in, by the token or by a certificate, and under which names of the listener.
//!
//! Promise: names are compared whole, and only those that the configuration lists count. A certificate is
//! good by TLS before it comes here; when it ends while its connection lives, or an authority is taken out,
//! it is good no more. All of it can change while connections are open: each call asks anew. What a token
//! has opened ends with it.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls_pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::config::{Admin, AdminRole, certificate_name};
use crate::foundation::clock;
use crate::foundation::secret::Secret;
use crate::foundation::serve::Connected;

/// Names of a certificate that are looked at.
const MOST_NAMES: usize = 100;

/// What a certificate says.
#[derive(Debug)]
pub(super) struct Shown {
    /// As the configuration names them.
    names: Vec<String>,
    /// Until when it counts, unix seconds.
    until: u64,
}

/// Who has connected.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) address: IpAddr,
    /// What it has shown, where it was asked to.
    pub(super) shown: Option<Arc<Shown>>,
    /// Ends when that may be good no more.
    pub(super) trust: CancellationToken,
}

impl Visitor {
    /// What is known of somebody who has connected.
    pub(super) fn of(connected: &Connected) -> Self {
        Self {
            address: connected.address.ip().to_canonical(),
            shown: connected
                .certificate
                .as_ref()
                .and_then(Shown::of)
                .map(Arc::new),
            trust: connected.trust.clone(),
        }
    }
}

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    /// The client of the configuration; none is the bearer of the token.
    pub(super) client: Option<Arc<str>>,
    pub(super) role: AdminRole,
    /// The number of the token that was shown; of a client 0.
    turn: u64,
}

impl Who {
    /// Its name, for the log.
    pub(super) fn name(&self) -> &str {
        self.client.as_deref().unwrap_or("token")
    }
}

impl Shown {
    /// Reads a certificate; none when it cannot be read.
    pub(super) fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der.as_ref()).ok()?;
        let mut names = Vec::new();
        if let Some(extension) = certificate.subject_alternative_name().ok()? {
            for name in extension.value.general_names.iter().take(MOST_NAMES) {
                match name {
                    GeneralName::DNSName(name) => names.push(certificate_name("dns", name)),
                    GeneralName::RFC822Name(name) => names.push(certificate_name("email", name)),
                    GeneralName::URI(name) => names.push(certificate_name("uri", name)),
                    _ => {}
                }
            }
        }
        let subject = certificate.subject();
        let mut common = subject.iter_common_name();
        // Of two it cannot be said which counts.
        if let (Some(only), None) = (common.next(), common.next())
            && let Ok(name) = only.as_str()
        {
            names.push(certificate_name("cn", name));
        }
        names.extend(whole(subject).map(|subject| certificate_name("subject", &subject)));
        let until = certificate.validity().not_after.timestamp();
        Some(Self {
            names,
            until: u64::try_from(until).unwrap_or(0),
        })
    }

    /// Its names, for people.
    pub(super) fn names(&self) -> String {
        self.names.join(", ")
    }
}

/// A subject as RFC 4514 writes it, the last part first; none when a part cannot be written so.
fn whole(subject: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for relative in subject.iter_rdn() {
        let attributes: Option<Vec<String>> = relative.iter().map(attribute).collect();
        parts.push(attributes?.join("+"));
    }
    parts.reverse();
    (!parts.is_empty()).then(|| parts.join(","))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let kind = match attribute.attr_type().to_id_string().as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    };
    let value = attribute.as_str().ok()?;
    let last = value.chars().count().saturating_sub(1);
    let mut written = format!("{kind}=");
    for (at, letter) in value.chars().enumerate() {
        let edge = (at == 0 && matches!(letter, ' ' | '#')) || (at == last && letter == ' ');
        if edge || matches!(letter, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            written.push('\\');
        }
        if letter.is_control() {
            return None;
        }
        written.push(letter);
    }
    Some(written)
}

/// Whom the configuration that is in force lets in.
#[derive(Debug, Default)]
pub struct AdminClients(ArcSwap<Listed>);

#[derive(Debug, Default)]
struct Listed {
    clients: Vec<(String, Who)>,
    /// Names of the listener, beside IP addresses and `localhost`.
    hosts: Vec<String>,
    /// None where there is nothing that asks for it.
    token: Option<Secret>,
    /// Counts the tokens that there were.
    turn: u64,
}

impl AdminClients {
    /// Takes over those of a configuration, and its token.
    pub fn set(&self, admin: &Admin, token: Option<Secret>) {
        let listed = admin.clients.iter().filter_map(|client| {
            let (kind, name) = client.certificate.split_once(':')?;
            let who = Who {
                client: Some(client.name.as_str().into()),
                role: client.role,
                turn: 0,
            };
            Some((certificate_name(kind, name), who))
        });
        let before = self.0.load();
        let is_same = match (&before.token, &token) {
            (Some(before), Some(now)) => before.matches(now.expose()),
            _ => false,
        };
        self.0.store(Arc::new(Listed {
            clients: listed.collect(),
            hosts: admin.hosts.clone(),
            turn: before.turn + u64::from(!is_same),
            token,
        }));
    }

    /// Whether the configuration still says that somebody is so.
    pub(super) fn has(&self, who: &Who) -> bool {
        let listed = self.0.load();
        match &who.client {
            None => who.turn == listed.turn,
            Some(_) => listed.clients.iter().any(|(_, listed)| listed == who),
        }
    }

    /// Who shows this token, if it is that of the node.
    pub(super) fn bearer(&self, token: &[u8]) -> Option<Who> {
        let listed = self.0.load();
        let is_ours = listed.token.as_ref().is_some_and(|it| it.matches(token));
        is_ours.then(|| Who {
            client: None,
            role: AdminRole::Admin,
            turn: listed.turn,
        })
    }

    /// Whether the configuration calls the listener so.
    pub(super) fn knows_host(&self, name: &str) -> bool {
        let listed = self.0.load();
        listed
            .hosts
            .iter()
            .any(|host| name.eq_ignore_ascii_case(host))
    }

    /// Who a visitor is by its certificate, while the authorities that it was good by are in force.
    pub(super) fn visitor(&self, visitor: &Visitor) -> Option<Who> {
        if visitor.trust.is_cancelled() {
            return None;
        }
        self.who(visitor.shown.as_ref()?, clock::unix_seconds())
    }

    /// Who shows this at `now` (unix seconds): the first client that it names.
    fn who(&self, shown: &Shown, now: u64) -> Option<Who> {
        if shown.until < now {
            return None;
        }
        let listed = self.0.load();
        let mut clients = listed.clients.iter();
        let found = clients.find(|(certificate, _)| shown.names.contains(certificate));
        found.map(|(_, who)| who.clone())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;
    use crate::config::AdminClient;

    fn certificate(params: CertificateParams) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn named(parts: &[(DnType, &str)]) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params
    }

    fn clients(all: &[(&str, &str, AdminRole)]) -> AdminClients {
        let clients = AdminClients::default();
        let all = all.iter().map(|(name, certificate, role)| AdminClient {
            name: (*name).to_owned(),
            certificate: (*certificate).to_owned(),
            role: *role,
        });
        let admin = Admin {
            clients: all.collect(),
            ..Admin::default()
        };
        clients.set(&admin, None);
        clients
    }

    #[test]
    fn the_first_client_that_a_certificate_names_counts() {
        let mut params = named(&[
            (DnType::OrganizationName, "Shop"),
            (DnType::CommonName, "ops"),
        ]);
        params.subject_alt_names = vec![
            SanType::DnsName("Ops.Example.com".try_into().unwrap()),
            SanType::URI("spiffe://shop/ops".try_into().unwrap()),
            SanType::Rfc822Name("ops@example.com".try_into().unwrap()),
        ];
        let shown = Shown::of(&certificate(params)).unwrap();
        for name in [
            "dns:ops.EXAMPLE.com",
            "uri:spiffe://shop/ops",
            "email:ops@example.com",
            "cn:ops",
            "subject:CN=ops,O=Shop",
        ] {
            let one = clients(&[("a", name, AdminRole::Operator)]);
            let who = one
                .who(&shown, 0)
                .unwrap_or_else(|| panic!("{name}: {shown:?}"));
            assert_eq!((who.name(), who.role), ("a", AdminRole::Operator));
        }
        for name in [
            "dns:example.com",
            "dns:ops.example.com.",
            "dns:ops",
            "cn:OPS",
            "cn:op",
            "uri:ops.example.com",
            "subject:O=Shop,CN=ops",
            "subject:CN=ops",
            "email:ops.example.com",
        ] {
            let one = clients(&[("a", name, AdminRole::Admin)]);
            assert_eq!(one.who(&shown, 0), None, "{name}");
        }
        let two = clients(&[
            ("first", "cn:ops", AdminRole::Viewer),
            ("second", "dns:ops.example.com", AdminRole::Admin),
        ]);
        assert_eq!(two.who(&shown, 0).unwrap().name(), "first");
        assert!(two.who(&shown, shown.until).is_some());
        assert_eq!(two.who(&shown, shown.until + 1), None, "it has ended");
        two.set(&Admin::default(), None);
        assert_eq!(two.who(&shown, 0), None, "changed while it is connected");
    }

    #[test]
    fn another_token_ends_what_the_one_before_has_opened() {
        let clients = AdminClients::default();
        assert_eq!(clients.bearer(b""), None);
        let set = |token: &str| clients.set(&Admin::default(), Some(Secret::new(token)));
        set("one");
        let who = clients.bearer(b"one").unwrap();
        set("one");
        assert!(clients.has(&who), "a reload that changes nothing");
        set("two");
        assert!(!clients.has(&who));
        assert_eq!(clients.bearer(b"one"), None);
        set("one");
        assert!(!clients.has(&who), "it has been taken back once");
        assert!(!format!("{clients:?}").contains("one"));
    }

    #[test]
    fn what_a_subject_holds_cannot_be_taken_for_another() {
        let tricky = named(&[(DnType::OrganizationName, "Shop,CN=ops")]);
        let shown = Shown::of(&certificate(tricky)).unwrap();
        assert_eq!(shown.names, [r"subject:O=Shop\,CN=ops"]);
        let other = DnType::CustomDnType(vec![1, 2, 3]);
        let strange = named(&[(DnType::CommonName, " a "), (other, "x")]);
        let shown = Shown::of(&certificate(strange)).unwrap();
        assert_eq!(shown.names, ["cn: a "], "an attribute without a name here");
        assert!(Shown::of(&CertificateDer::from(vec![0x30, 0x00])).is_none());
    }
}
