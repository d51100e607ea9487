//! The facts that conditions may ask for, by name.

use std::fmt;

/// The fact that a condition asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConditionKey {
    /// `acs:SourceIp`: the client's address.
    SourceIp,
    /// `acs:CurrentTime`.
    CurrentTime,
    /// `acs:SecureTransport`: whether the request came over TLS.
    SecureTransport,
    /// `tollgate:Origin`: the Origin header.
    Origin,
    /// `tollgate:Project`.
    Project,
    /// `tollgate:Logstore`.
    Logstore,
    /// `tollgate:Topic`: the topic of the events. Only the body tells.
    Topic,
    /// `tollgate:Source`: the source of the events. Only the body tells.
    Source,
    /// `tollgate:Tag/{name}`: a tag of the events. Only the body tells.
    Tag(Box<str>),
    /// `tollgate:Claim/{name}`: a claim of the token.
    Claim(Box<str>),
    /// `tollgate:SessionName`: the RoleSessionName of temporary credentials.
    SessionName,
    /// `tollgate:AccessKeyId`: the id of the key that signed.
    AccessKeyId,
    /// `tollgate:RoleArn`: the role of temporary credentials.
    RoleArn,
    /// `tollgate:Credential`: the kind of credential, as `accept` of a logstore writes it.
    Credential,
    /// A key of `acs:` that exists and is never known here, such as `acs:MFAPresent`: its whole name.
    Unknowable(Box<str>),
}

/// What kind of fact stands behind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactKind {
    /// Text: every operator may read it.
    Text,
    /// An address: `IpAddress`, `NotIpAddress`.
    Address,
    /// A time: `Date...`.
    Time,
    /// Truth: `Bool`.
    Bool,
    /// There never is one.
    Never,
}

const TAG: &str = "tollgate:Tag/";
const CLAIM: &str = "tollgate:Claim/";

/// The keys that are one word, as they are written.
const NAMED: &[(&str, ConditionKey)] = &[
    ("acs:SourceIp", ConditionKey::SourceIp),
    ("acs:CurrentTime", ConditionKey::CurrentTime),
    ("acs:SecureTransport", ConditionKey::SecureTransport),
    ("tollgate:Origin", ConditionKey::Origin),
    ("tollgate:Project", ConditionKey::Project),
    ("tollgate:Logstore", ConditionKey::Logstore),
    ("tollgate:Topic", ConditionKey::Topic),
    ("tollgate:Source", ConditionKey::Source),
    ("tollgate:SessionName", ConditionKey::SessionName),
    ("tollgate:AccessKeyId", ConditionKey::AccessKeyId),
    ("tollgate:RoleArn", ConditionKey::RoleArn),
    ("tollgate:Credential", ConditionKey::Credential),
];

/// The keys of RAM that exist and are never known here, as they are written. Every other key of
/// `acs:` is a mistake, which a `Deny` would silently not survive.
const UNKNOWABLE: &[&str] = &[
    "acs:MFAPresent",
    "acs:PrincipalARN",
    "acs:PrincipalName",
    "acs:PrincipalRDId",
    "acs:PrincipalRDPath",
    "acs:ResourceGroupId",
    "acs:SourceVpc",
    "acs:UserAgent",
    "acs:VpcSourceIp",
];
/// Those that the name of a tag follows.
const UNKNOWABLE_TAGS: &[&str] = &["acs:RequestTag/", "acs:ResourceTag/"];

impl ConditionKey {
    /// Reads a key. Letter case does not matter, but in the names of tags and claims.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let named = NAMED
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        if let Some((_, key)) = named {
            return Some(key.clone());
        }
        let after = |prefix| strip_ignoring_case(text, prefix).filter(|rest| !rest.is_empty());
        after(TAG)
            .map(|name| Self::Tag(name.into()))
            .or_else(|| after(CLAIM).map(|name| Self::Claim(name.into())))
            .or_else(|| unknowable(text).map(Self::Unknowable))
    }

    /// Every form that a key can have, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> + Clone {
        let named = NAMED.iter().map(|(name, _)| *name);
        named
            .chain(["tollgate:Tag/{name}", "tollgate:Claim/{name}"])
            .chain(UNKNOWABLE.iter().copied())
            .chain(["acs:RequestTag/{name}", "acs:ResourceTag/{name}"])
    }

    /// Whether only the body of a request can tell.
    #[must_use]
    pub fn is_in_body(&self) -> bool {
        matches!(self, Self::Topic | Self::Source | Self::Tag(_))
    }

    /// What kind of fact stands behind it.
    #[must_use]
    pub fn kind(&self) -> FactKind {
        match self {
            Self::SourceIp => FactKind::Address,
            Self::CurrentTime => FactKind::Time,
            Self::SecureTransport => FactKind::Bool,
            Self::Unknowable(_) => FactKind::Never,
            _ => FactKind::Text,
        }
    }
}

impl fmt::Display for ConditionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(name) => write!(f, "{TAG}{name}"),
            Self::Claim(name) => write!(f, "{CLAIM}{name}"),
            Self::Unknowable(name) => f.write_str(name),
            named => {
                let known = NAMED.iter().find(|(_, key)| key == named);
                f.write_str(known.map_or("?", |(name, _)| name))
            }
        }
    }
}

fn unknowable(text: &str) -> Option<Box<str>> {
    let mut plain = UNKNOWABLE.iter();
    if let Some(name) = plain.find(|name| name.eq_ignore_ascii_case(text)) {
        return Some((*name).into());
    }
    UNKNOWABLE_TAGS.iter().find_map(|prefix| {
        let tag = strip_ignoring_case(text, prefix).filter(|tag| !tag.is_empty())?;
        Some(format!("{prefix}{tag}").into())
    })
}

fn strip_ignoring_case<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_in_any_case_and_is_written_in_one() {
        for (name, key) in NAMED {
            for text in [name.to_lowercase(), name.to_uppercase()] {
                assert_eq!(ConditionKey::parse(&text).as_ref(), Some(key));
            }
            assert_eq!(key.to_string(), *name);
        }
        let tag = ConditionKey::parse("TOLLGATE:TAG/Device").unwrap();
        assert_eq!(tag, ConditionKey::Tag("Device".into()));
        assert_eq!(tag.to_string(), "tollgate:Tag/Device");
        let claim = ConditionKey::parse("tollgate:claim/a/b").unwrap();
        assert_eq!(claim.to_string(), "tollgate:Claim/a/b");
        for name in UNKNOWABLE
            .iter()
            .chain(&["acs:RequestTag/Team", "acs:ResourceTag/a/b"])
        {
            let key = ConditionKey::parse(name).unwrap();
            assert_eq!(key.kind(), FactKind::Never, "{name}");
            assert_eq!(key.to_string(), *name);
        }
        let mfa = ConditionKey::parse("ACS:mfapresent").unwrap();
        assert_eq!(mfa.to_string(), "acs:MFAPresent");
    }

    #[test]
    fn what_is_no_key_is_none() {
        for text in [
            "",
            "acs",
            "acs:",
            "acs:SorceIp",
            "acs:MFAPresent2",
            "acs:RequestTag",
            "acs:RequestTag/",
            "acs:\u{212a}",
            "SourceIp",
            "aws:SourceIp",
            "tollgate:",
            "tollgate:Nothing",
            "tollgate:Tag",
            "tollgate:Tag/",
            "tollgate:Claim/",
            "toll\u{212a}ate:Topic",
            "日:本",
        ] {
            assert_eq!(ConditionKey::parse(text), None, "{text}");
        }
    }
}
