//! The host names to enter in the consoles of mini-program platforms.
//!
//! A mini program may only call hosts that its platform's console lists, and each platform has its
//! own rule for what an entry covers. DingTalk's rule is not known, so it is not here.

use std::collections::BTreeSet;
use std::fmt;

use super::Config;

/// A platform whose console has a list of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// WeChat.
    WeChat,
    /// QQ.
    Qq,
    /// Douyin, and other apps of ByteDance.
    Douyin,
    /// Baidu.
    Baidu,
    /// Alipay.
    Alipay,
}

impl Platform {
    /// Every platform, in the order of the advice.
    pub const ALL: [Self; 5] = [
        Self::WeChat,
        Self::Qq,
        Self::Douyin,
        Self::Baidu,
        Self::Alipay,
    ];

    /// What an entry covers.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::WeChat | Self::Qq | Self::Douyin => {
                "https only; each host on its own, a parent does not cover it; no port, not even :443, unless clients use one"
            }
            Self::Baidu => "https only; each host on its own; never a port",
            Self::Alipay => {
                "https only; the registrable domain covers every name under it; a change reaches only versions that are built after it, so keep old names alive"
            }
        }
    }

    /// The entry for a host.
    fn entry(self, host: &str) -> String {
        match self {
            Self::WeChat | Self::Qq | Self::Douyin | Self::Baidu => format!("https://{host}"),
            Self::Alipay => registrable(host).to_owned(),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WeChat => "WeChat",
            Self::Qq => "QQ",
            Self::Douyin => "Douyin",
            Self::Baidu => "Baidu",
            Self::Alipay => "Alipay",
        })
    }
}

/// What to enter in the console of one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAdvice {
    /// The platform.
    pub platform: Platform,
    /// The entries, sorted.
    pub entries: Vec<String>,
}

impl Config {
    /// What to enter in the console of each platform, from `ingest.domains` and `ingest.hosts`.
    /// Empty when neither names a host.
    #[must_use]
    pub fn mini_program_hosts(&self) -> Vec<HostAdvice> {
        let hosts: Vec<String> = self.public_hosts();
        if hosts.is_empty() {
            return Vec::new();
        }
        Platform::ALL
            .into_iter()
            .map(|platform| {
                let entries: BTreeSet<String> =
                    hosts.iter().map(|host| platform.entry(host)).collect();
                HostAdvice {
                    platform,
                    entries: entries.into_iter().collect(),
                }
            })
            .collect()
    }

    /// `{project}.{domain}` for every project and domain, then the custom domains.
    fn public_hosts(&self) -> Vec<String> {
        let domains = self.ingest.domains.iter().flat_map(|domain| {
            let projects = self.projects.iter();
            projects.map(move |project| format!("{}.{domain}", project.name))
        });
        domains.chain(self.ingest.hosts.keys().cloned()).collect()
    }
}

/// The advice as text, for `tollgate check`.
#[must_use]
pub fn render_host_advice(config: &Config) -> String {
    let advice = config.mini_program_hosts();
    if advice.is_empty() {
        return "Mini programs: no public host is configured. Set ingest.domains to the parent of \
                {project}.{domain}, to get the list for each platform's console.\n"
            .to_owned();
    }
    let mut out =
        "Mini programs: hosts to enter in each platform's console (for requests)\n".to_owned();
    for HostAdvice { platform, entries } in advice {
        out.push_str(&format!("\n{platform}: {}\n", platform.rule()));
        for entry in entries {
            out.push_str(&format!("  {entry}\n"));
        }
    }
    if config.ingest.domains.is_empty() {
        out.push_str(
            "\nThe mini-program SDK always sends to https://{project}.{host}. Names in ingest.hosts \
             serve it only if they begin with the project; else set ingest.domains.\n",
        );
    }
    out
}

/// The domain that someone registered: two labels, or three under a public second level such as
/// `com.cn`. A guess by shape, since the public list of suffixes is not part of Tollgate.
fn registrable(host: &str) -> &str {
    const PUBLIC_SECOND_LEVELS: [&str; 9] =
        ["ac", "co", "com", "edu", "gov", "mil", "ne", "net", "org"];
    let mut labels = host.rsplit('.');
    let (Some(top), Some(second)) = (labels.next(), labels.next()) else {
        return host;
    };
    let public = top.len() == 2 && PUBLIC_SECOND_LEVELS.contains(&second);
    let mut length = top.len() + 1 + second.len();
    if let (true, Some(third)) = (public, labels.next()) {
        length += 1 + third.len();
    }
    host.get(host.len() - length..).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::names::ProjectName;

    fn entries(config: &Config, platform: Platform) -> Vec<String> {
        config
            .mini_program_hosts()
            .into_iter()
            .find(|advice| advice.platform == platform)
            .unwrap()
            .entries
    }

    fn config() -> Config {
        let mut config = Config::quickstart();
        config.ingest.domains = vec!["edge.example.com.cn".to_owned()];
        config.ingest.hosts.insert(
            "track.example.com".to_owned(),
            ProjectName::new("sls-webtracking-mini").unwrap(),
        );
        config
    }

    #[test]
    fn exact_hosts_are_listed_for_every_project_of_a_domain_and_every_custom_domain() {
        for platform in [
            Platform::WeChat,
            Platform::Qq,
            Platform::Douyin,
            Platform::Baidu,
        ] {
            assert_eq!(
                entries(&config(), platform),
                [
                    "https://sls-webtracking-mini.edge.example.com.cn",
                    "https://track.example.com"
                ]
            );
        }
    }

    #[test]
    fn alipay_gets_registrable_domains() {
        assert_eq!(
            entries(&config(), Platform::Alipay),
            ["example.com", "example.com.cn"]
        );
        assert_eq!(registrable("a.b.example.io"), "example.io");
        assert_eq!(registrable("com.cn"), "com.cn");
        assert_eq!(registrable("localhost"), "localhost");
    }

    #[test]
    fn the_text_names_every_platform_or_says_what_to_set() {
        let text = render_host_advice(&config());
        for platform in Platform::ALL {
            assert!(text.contains(&format!("\n{platform}: ")), "{text}");
        }
        assert!(render_host_advice(&Config::quickstart()).contains("ingest.domains"));
    }

    #[test]
    fn custom_domains_alone_come_with_a_word_on_the_sdk() {
        let mut config = config();
        config.ingest.domains.clear();
        assert!(render_host_advice(&config).contains("https://{project}.{host}"));
    }
}
