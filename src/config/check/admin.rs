//! The private listener: its TLS, and who is let in by a certificate.

use super::{Findings, tls};
use crate::config::{CERTIFICATE_NAMES, ClientAuth, Config, certificate_name};

/// Clients with a role. Each call of one that shows a certificate looks through them.
const MAX_CLIENTS: usize = 100;
/// Bytes of a client's name and of its certificate's.
const MAX_NAME: usize = 64;
const MAX_CERTIFICATE: usize = 1024;
/// Whom the log means by this name.
const TOKEN: &str = "token";

pub(super) fn check(config: &Config, findings: &mut Findings) {
    tls::check(&config.admin.tls, "admin.tls", findings);
    let clients = &config.admin.clients;
    if clients.is_empty() {
        return;
    }
    if config.admin.tls.client_auth == ClientAuth::None {
        findings
            .error("admin.client", "clients are not asked for certificates")
            .help("set client_auth = \"required\" or \"optional\" in [admin.tls], and client_ca")
            .beside("admin.tls.client_auth");
    }
    if clients.len() > MAX_CLIENTS {
        let message = format!("{} clients; at most {MAX_CLIENTS}", clients.len());
        findings.error("admin.client", message);
    }
    let mut seen: Vec<(usize, String)> = Vec::new();
    for (index, client) in clients.iter().enumerate() {
        let key = |name: &str| format!("admin.client[{index}].{name}");
        let printable = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && !text.chars().any(char::is_control)
        };
        if !printable(&client.name, MAX_NAME) {
            let message = format!("must be 1 to {MAX_NAME} characters that can be printed");
            findings.error(key("name"), message);
        }
        if client.name == TOKEN {
            findings
                .error(
                    key("name"),
                    format!("`{TOKEN}` is what the log calls the bearer of the token"),
                )
                .help("give the client a name of its own");
        }
        let mut before = clients.iter().take(index);
        if before.any(|other| other.name == client.name) {
            let message = format!("`{}` is the name of another client", client.name);
            findings.error(key("name"), message);
        }
        let (kind, name) = client.certificate.split_once(':').unwrap_or_default();
        if !CERTIFICATE_NAMES.contains(&kind) || !printable(name, MAX_CERTIFICATE) {
            findings
                .error(
                    key("certificate"),
                    format!("`{}` is no name of a certificate", client.certificate),
                )
                .help(
                    "write `dns:NAME`, `email:ADDRESS`, `uri:URI`, `cn:NAME` or `subject:SUBJECT`",
                );
            continue;
        }
        if kind == "dns" && name.contains('*') {
            findings
                .error(key("certificate"), "a wildcard is not looked into")
                .help("name one host");
        }
        let name = certificate_name(kind, name);
        if let Some((first, _)) = seen.iter().find(|(_, other)| *other == name) {
            let message = format!("{name} is that of another client");
            findings
                .error(key("certificate"), message)
                .beside(format!("admin.client[{first}].certificate"));
        }
        seen.push((index, name));
    }
}
