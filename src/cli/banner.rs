//! The first words of `tollgate run`: where everything is, and what to type next.
//!
//! Promise: what is printed to be pasted is true of this configuration: the event is taken, and the
//! other command reads the logstore that it goes to.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::source::choose_logstore;
use super::{Exit, Failure};
use crate::app::Addresses;
use crate::config::{Accept, Config, Logstore, MAIN_LISTENER, Overrides, Project, UpstreamKind};
use crate::gate::identity::{self, SigningKey};

/// A token that is printed is good for so many seconds, if its key allows it.
const TOKEN_SECONDS: u64 = 3600;

/// A service that has started.
#[derive(Debug)]
pub(super) struct Banner<'a> {
    /// With what the command line has put in place.
    pub(super) config: &'a Config,
    pub(super) path: Option<&'a Path>,
    pub(super) overrides: &'a Overrides,
    pub(super) addresses: &'a Addresses,
    /// Keys that tokens can be made with.
    pub(super) keys: &'a [SigningKey],
    /// The program as it was started.
    pub(super) program: &'a str,
    /// Whether a person reads it now. What is kept, as a journal is, holds no token.
    pub(super) terminal: bool,
}

impl Banner<'_> {
    /// All of it.
    ///
    /// # Errors
    /// When no token can be made.
    pub(super) fn text(&self) -> Result<String, Failure> {
        let mut text = format!("tollgate {} is ready.\n\n", env!("CARGO_PKG_VERSION"));
        self.places(&mut text);
        let mut places = self.addresses.ingest.iter();
        if let Some((name, ingest)) = places.find(|(name, _)| self.takes_anybody(name)) {
            // A certificate is for a name, and this is an address.
            let curl = match self.scheme(name) {
                "https" => format!("curl -i --insecure https://{ingest}"),
                _ => format!("curl -i http://{ingest}"),
            };
            self.first_steps(&mut text, &curl)?;
        }
        text.push_str(match self.addresses.ingest.is_empty() {
            true => "\nCtrl-C stops it.",
            false => "\nCtrl-C stops it and delivers what is held.",
        });
        Ok(text)
    }

    /// Whether whoever connects to a listener can send events there.
    fn takes_anybody(&self, name: &str) -> bool {
        let listeners = self.config.ingest.all_listeners();
        let it = listeners.iter().find(|it| it.name == name);
        it.is_some_and(|it| {
            let asks = it.tls.client_ca.is_some();
            it.redirect_to_https.is_none() && it.proxy_protocol.trusted.is_empty() && !asks
        })
    }

    fn places(&self, text: &mut String) {
        // Writing to a string cannot fail.
        let mut row = |what: &str, place: String, note: &str| {
            writeln!(
                text,
                "{}",
                format!("  {what:<10} {place}  {note}").trim_end()
            )
            .unwrap_or_default();
        };
        for (name, address) in &self.addresses.ingest {
            let note = match name == MAIN_LISTENER {
                true => "POST /logstores/{logstore}/track",
                false => name,
            };
            let place = format!("{}://{address}", self.scheme(name));
            row("events in", place, note);
        }
        if let Some(admin) = self.addresses.admin {
            let secure = self.config.admin.tls.is_on();
            let place = format!("{}://{admin}", if secure { "https" } else { "http" });
            let page = self.config.admin.dashboard.enabled && !self.addresses.ingest.is_empty();
            row(
                "private",
                place.clone(),
                "/metrics /healthz /readyz /api/v1",
            );
            if page {
                row("dashboard", place, &self.login());
            }
        }
        if let Some(logstore) = self.addresses.logstore {
            let place = format!("http://{logstore}");
            row("logstore", place, "the API of SLS, on local disk");
            let id = &self.config.embedded.access_key_id;
            let secret = match &self.config.embedded.access_key_secret {
                Some(_) => "its secret is embedded.access_key_secret".to_owned(),
                None => {
                    let key = self.config.data_dir.join("keys/logstore.key");
                    format!("its secret is in {}", key.display())
                }
            };
            row("", format!("access key {id}"), &secret);
        }
        row("data", self.config.data_dir.display().to_string(), "");
    }

    fn login(&self) -> String {
        match &self.config.admin.token {
            Some(_) => "log in with admin.token".to_owned(),
            None => {
                let key = self.config.data_dir.join("keys/admin.key");
                format!("log in with the token in {}", key.display())
            }
        }
    }

    /// How the listener of this name is spoken to.
    fn scheme(&self, name: &str) -> &'static str {
        let all = self.config.ingest.all_listeners();
        let listener = all.iter().find(|it| it.name == name);
        match listener.is_some_and(|it| it.tls.is_on()) {
            true => "https",
            false => "http",
        }
    }

    /// A command to paste for the first logstore that takes a token, or else for the first that is
    /// open, and how to watch the events.
    fn first_steps(&self, text: &mut String, curl: &str) -> Result<(), Failure> {
        let (token, open) = (self.first(Accept::Jwt), self.first(Accept::Anonymous));
        let Some(((project, logstore), key)) = token
            .zip(self.keys.first().map(Some))
            .or(open.map(|open| (open, None)))
        else {
            return Ok(());
        };
        text.push_str("\nSend an event");
        let mut headers = String::new();
        if self.config.ingest.default_project.as_ref() != Some(&project.name) {
            headers.push_str(&format!("    -H 'x-log-project: {}' \\\n", project.name));
        }
        if let Some(key) = key {
            let ttl = key.rules.max_lifetime.as_secs().min(TOKEN_SECONDS);
            let token = match self.terminal {
                true => {
                    let (project, logstore) = (project.name.as_str(), logstore.name.as_str());
                    let token = identity::mint(key, project, logstore, ttl, None)
                        .map_err(|error| Failure::new(Exit::Internal, error))?;
                    format!("'Authorization: Bearer {token}'")
                }
                false => {
                    let mut mint = self.command(&["token", "mint"], Some((project, logstore)));
                    if ttl < TOKEN_SECONDS {
                        mint.push_str(&format!(" --ttl {ttl}s"));
                    }
                    format!("\"Authorization: Bearer $({mint})\"")
                }
            };
            headers.push_str(&format!("    -H {token} \\\n"));
            text.push_str(&format!(" (the token is good for {} minutes)", ttl / 60));
        }
        let name = &logstore.name;
        text.push_str(&format!(
            ":\n\n  {curl}/logstores/{name}/track \\\n{headers}    \
             -d '{{\"__topic__\":\"demo\",\"__logs__\":[{{\"event\":\"view_product\",\"product\":\"Tablet\",\"price\":\"500\"}}]}}'\n"
        ));
        if let Some(tail) = self.tail(project, logstore) {
            text.push_str(&format!("\nWatch events arrive:\n\n  {tail}\n"));
        }
        Ok(())
    }

    fn first(&self, accept: Accept) -> Option<(&Project, &Logstore)> {
        let mut all = self.config.projects.iter().flat_map(|project| {
            let logstores = project.logstores.iter();
            logstores.map(move |logstore| (project, logstore))
        });
        all.find(|(_, logstore)| logstore.accept.contains(&accept))
    }

    /// The command that shows what arrives in a logstore, where its store can be read. It begins
    /// before the event above was sent, whoever types it and when.
    fn tail(&self, project: &Project, logstore: &Logstore) -> Option<String> {
        let upstream = self.config.upstream(project.upstream_of(logstore))?;
        let unnamed = choose_logstore(self.config, None, None).ok();
        let is_unnamed = unnamed == Some((project.name.clone(), logstore.name.clone()));
        let named = (!is_unnamed).then_some((project, logstore));
        let mut command = self.command(&["tail"], named);
        match upstream.kind {
            UpstreamKind::Kafka | UpstreamKind::Files => return None,
            UpstreamKind::Embedded => {
                if let Some(address) = self.moved_logstore() {
                    command.push_str(&format!(" --logstore-url http://{address}"));
                }
            }
            UpstreamKind::Sls => {}
        }
        command.push_str(" --from 15m --follow");
        Some(command)
    }

    /// A command of this program on this configuration, and on a logstore, as a shell takes it.
    fn command(&self, name: &[&str], of: Option<(&Project, &Logstore)>) -> String {
        let mut words = vec![self.program.to_owned()];
        words.extend(name.iter().map(|&word| word.to_owned()));
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        if let Some(path) = self.path {
            option("--config", path.display().to_string());
        }
        if let Some(folder) = &self.overrides.data_dir {
            option("--data-dir", folder.display().to_string());
        }
        if let Some((project, logstore)) = of {
            option("--project", project.name.to_string());
            option("--logstore", logstore.name.to_string());
        }
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        words.join(" ")
    }

    /// Where the embedded logstore is, when the configuration does not say it.
    fn moved_logstore(&self) -> Option<SocketAddr> {
        let configured = self.config.embedded.listen;
        let mut address = self.addresses.logstore.unwrap_or(configured);
        if self.overrides.logstore_listen.is_none() && address == configured {
            return None;
        }
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        Some(address)
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Checked;
    use crate::foundation::secret::Secret;

    fn addresses(logstore: Option<&str>) -> Addresses {
        Addresses {
            ingest: vec![(MAIN_LISTENER.to_owned(), "127.0.0.1:8080".parse().unwrap())],
            admin: Some("127.0.0.1:8081".parse().unwrap()),
            logstore: logstore.map(|address| address.parse().unwrap()),
        }
    }

    /// What is printed of a configuration, without the line of the token.
    fn printed(
        config: &Config,
        path: Option<&str>,
        overrides: &Overrides,
        logstore: Option<&str>,
    ) -> String {
        let mut config = config.clone();
        config.apply(overrides);
        let keys: Vec<SigningKey> = config.identity.jwt.iter().map(key).collect();
        let banner = Banner {
            config: &config,
            path: path.map(Path::new),
            overrides,
            addresses: &addresses(logstore),
            keys: &keys,
            program: "tollgate",
            terminal: path.is_none(),
        };
        banner.text().unwrap()
    }

    fn key(rules: &crate::config::JwtKey) -> SigningKey {
        SigningKey {
            rules: rules.clone(),
            secret: Secret::new("0123456789abcdef0123456789abcdef"),
        }
    }

    fn configuration(text: &str) -> Config {
        Checked::parse(text, "tollgate.toml", &Overrides::default())
            .unwrap()
            .config
    }

    /// The command below "Watch events arrive".
    fn tail(text: &str) -> Option<&str> {
        let (_, rest) = text.split_once("Watch events arrive:\n\n  ")?;
        rest.lines().next()
    }

    #[test]
    fn of_the_built_in_configuration_only_the_time_is_named() {
        let text = printed(
            &Config::quickstart(),
            None,
            &Overrides::default(),
            Some("127.0.0.1:8082"),
        );
        assert_eq!(tail(&text), Some("tollgate tail --from 15m --follow"));
        assert!(
            text.contains(
                "/logstores/web-tracking-logstore/track \\\n    -H 'Authorization: Bearer "
            )
        );
        assert!(!text.contains("x-log-project"));
        assert!(
            text.contains(
                "access key tollgate  its secret is in ./tollgate-data/keys/logstore.key"
            )
        );
    }

    #[test]
    fn what_the_command_line_moved_is_named_and_fit_for_a_shell() {
        let overrides = Overrides {
            data_dir: Some("my data/it's".into()),
            logstore_listen: Some("0.0.0.0:9000".parse().unwrap()),
            ..Overrides::default()
        };
        // The gateway alone knows where the logstore is, and does not have it.
        for logstore in [None, Some("0.0.0.0:9000")] {
            let text = printed(&Config::quickstart(), None, &overrides, logstore);
            assert_eq!(
                tail(&text),
                Some(
                    "tollgate tail --data-dir 'my data/it'\\''s' \
                     --logstore-url http://127.0.0.1:9000 --from 15m --follow"
                )
            );
        }
    }

    const SHOP: &str = r#"
        [[project]]
        name = "shop"
        upstream = "store"
        [[project.logstore]]
        name = "links"
        accept = ["ticket"]
        [[project.logstore]]
        name = "web"
        [[identity.jwt]]
        kid = "k"
        issuer = "i"
        audience = "a"
    "#;
    const SLS: &str = r#"
        [[upstream]]
        name = "store"
        kind = "sls"
        endpoint = "https://cn-hangzhou.log.aliyuncs.com"
        access_key_id = "id"
        access_key_secret = "env:SECRET"
    "#;

    #[test]
    fn a_configuration_of_ones_own_is_named_with_the_logstore_that_takes_the_event() {
        let config = configuration(&format!("{SHOP}{SLS}"));
        let text = printed(&config, Some("shop.toml"), &Overrides::default(), None);
        assert!(text.contains("http://127.0.0.1:8080/logstores/web/track \\\n    -H 'x-log-project: shop' \\\n    -H \"Authorization: Bearer $(tollgate token mint --config shop.toml --project shop --logstore web)\" \\\n"), "{text}");
        assert!(!text.contains("eyJ"), "a journal keeps it: {text}");
        assert_eq!(
            tail(&text),
            Some(
                "tollgate tail --config shop.toml --project shop --logstore web --from 15m --follow"
            )
        );
    }

    #[test]
    fn where_nothing_can_be_read_no_command_reads_and_where_no_token_is_asked_for_none_is_shown() {
        let open = r#"
            [[project]]
            name = "shop"
            upstream = "store"
            [[project.logstore]]
            name = "demo"
            accept = ["anonymous"]
            [[upstream]]
            name = "store"
            kind = "files"
            [upstream.files]
            dir = "/tmp/archive"
        "#;
        let text = printed(&configuration(open), None, &Overrides::default(), None);
        assert!(
            text.contains("Send an event:\n\n  curl -i http://127.0.0.1:8080/logstores/demo/track"),
            "{text}"
        );
        assert!(!text.contains("Bearer") && tail(&text).is_none(), "{text}");
    }
}
